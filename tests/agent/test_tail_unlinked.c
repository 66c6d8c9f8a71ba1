/* Files without a name: how long they are kept, and what is given up. */
#include "agent/clock.h"
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

static uint64_t lost(struct rig *rig)
{
    uint64_t sums[STAT_COUNT] = {0};
    stats_read(&rig->sides[0].stream.stats, sums);
    return sums[STAT_lost_bytes];
}

/* Deletes a.log, which was read. */
static struct source *start_and_delete(struct rig *rig)
{
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    struct source *source = tail_by_path(tail_of(rig), at(rig, "a.log"));
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    events(rig);
    assert_false(source->named);
    return source;
}

static void a_deleted_file_is_closed_when_it_was_quiet_for_a_while(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct source *source = start_and_delete(rig);
    tail_tick(tail_of(rig));
    assert_ptr_equal(tail_of(rig)->sources, source);
    source->quiet_since -= QUIET_NS;
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    assert_int_equal(rig->sides[0].files.open, 0);
    assert_false(tail_restless(tail_of(rig)));
}

static void a_deleted_file_is_read_as_long_as_somebody_writes_to_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "");
    int writer = open(at(rig, "a.log"), O_WRONLY | O_APPEND);
    start(rig);
    struct source *source = tail_by_path(tail_of(rig), at(rig, "a.log"));
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    events(rig);
    for (int i = 0; i < 3; i++) {
        source->quiet_since -= 1000 * QUIET_NS;
        tail_tick(tail_of(rig));
        assert_ptr_equal(tail_of(rig)->sources, source);
        assert_int_equal(write(writer, "a\n", 2), 2);
        tail_tick(tail_of(rig));
        assert_read(rig, "a ");
    }
    close(writer);
    source->quiet_since -= QUIET_NS;
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
}

static void with_close_removed_it_is_closed_at_its_end(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.close_removed = true;
    start_and_delete(rig);
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
}

static void close_removed_waits_for_the_end_and_for_deliveries(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.close_removed = true;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    harness_append(at(rig, "a.log"), "2\n");
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    events(rig);
    tail_tick(tail_of(rig));
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    tail_tick(tail_of(rig));
    assert_non_null(tail_of(rig)->sources);
    finish(rig, batch);
    assert_text(rig, "1 2 ");
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    assert_int_equal(lost(rig), 0);
}

static void close_removed_is_not_for_files_that_were_only_renamed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.close_removed = true;
    assert_int_equal(mkdir(at(rig, "archive"), 0755), 0);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "archive/a.log");
    events(rig);
    tail_tick(tail_of(rig));
    harness_append(at(rig, "archive/a.log"), "2\n");
    tail_tick(tail_of(rig));
    assert_read(rig, "2 ");
}

/* Three generations, 10 bytes each, of which the first two are deleted before anything was read. */
static void delete_two_unread(struct rig *rig)
{
    start(rig);
    for (int i = 1; i <= 3; i++) {
        char line[16];
        snprintf(line, sizeof(line), "line %d...\n", i);
        harness_put(at(rig, "a.log"), line);
        events(rig);
        if (i < 3)
            assert_int_equal(unlink(at(rig, "a.log")), 0);
    }
    events(rig);
}

static void what_is_within_the_limit_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.unlinked_max = 20;
    delete_two_unread(rig);
    tail_tick(tail_of(rig));
    assert_read(rig, "line 1... line 2... line 3... ");
    assert_int_equal(lost(rig), 0);
}

static void beyond_it_the_oldest_file_is_given_up_and_counted(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.unlinked_max = 19;
    delete_two_unread(rig);
    tail_tick(tail_of(rig));
    assert_int_equal(lost(rig), 10);
    assert_int_equal(rig->sides[0].files.open, 2);
    tail_tick(tail_of(rig));
    assert_int_equal(lost(rig), 10);
    assert_read(rig, "line 2... line 3... ");
}

static void no_limit_keeps_them_all(void **state)
{
    struct rig *rig = (struct rig *)*state;
    delete_two_unread(rig);
    tail_tick(tail_of(rig));
    assert_read(rig, "line 1... line 2... line 3... ");
}

static void what_was_read_of_a_given_up_file_is_delivered_and_its_position_forgotten(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct mark mark;
    rig->sides[0].config.tail.unlinked_max = 5;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_text(rig, "1 ");
    harness_append(at(rig, "a.log"), "2345\n6");
    struct source *source = tail_by_path(tail_of(rig), at(rig, "a.log"));
    const struct identity id = source->id;
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    events(rig);
    tail_tick(tail_of(rig));
    assert_int_equal(lost(rig), 6); /* none of the bytes in flight */
    assert_int_equal(source->fd, -1);
    assert_read(rig, "");
    tail_tick(tail_of(rig));
    assert_ptr_equal(tail_of(rig)->sources, source);
    finish(rig, batch);
    assert_true(positions_find(rig->positions, "s", &id, &mark));
    assert_int_equal(mark.offset, 2);
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    assert_false(positions_find(rig->positions, "s", &id, &mark));
    assert_false(tail_restless(tail_of(rig)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(a_deleted_file_is_closed_when_it_was_quiet_for_a_while),
        RIG(a_deleted_file_is_read_as_long_as_somebody_writes_to_it),
        RIG(with_close_removed_it_is_closed_at_its_end),
        RIG(close_removed_waits_for_the_end_and_for_deliveries),
        RIG(close_removed_is_not_for_files_that_were_only_renamed),
        RIG(what_is_within_the_limit_is_read),
        RIG(beyond_it_the_oldest_file_is_given_up_and_counted),
        RIG(no_limit_keeps_them_all),
        RIG(what_was_read_of_a_given_up_file_is_delivered_and_its_position_forgotten),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
