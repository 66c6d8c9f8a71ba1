/* Which files are open: closed when idle or when descriptors run short, opened again when they have to be read. */
#include "agent/clock.h"
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

static struct source *source_at(struct rig *rig, const char *name)
{
    struct source *source = tail_by_path(tail_of(rig), at(rig, name));
    if (source == NULL)
        fail_msg("nothing known under %s", name);
    return source;
}

static bool is_open(struct rig *rig, const char *name)
{
    return source_at(rig, name)->fd != -1;
}

static uint64_t count(struct rig *rig, enum stat_id stat)
{
    uint64_t sums[STAT_COUNT] = {0};
    stats_read(&rig->sides[0].stream.stats, sums);
    return sums[stat];
}

/* As if so much time had passed since the file was last read. */
static void age(struct source *source, int64_t ns)
{
    assert_true(source->idle);
    source->quiet_since -= ns;
}

/* a.log with `text`, read and closed for being idle. */
static void start_with_closed(struct rig *rig, const char *text)
{
    rig->sides[0].config.tail.close_idle = 60000;
    harness_put(at(rig, "a.log"), text);
    start(rig);
    drain(rig);
    rig->text[0] = '\0';
    age(source_at(rig, "a.log"), 60 * NS_PER_S);
    tail_rescan(tail_of(rig));
    assert_false(is_open(rig, "a.log"));
    assert_int_equal(rig->sides[0].files.open, 0);
}

static void a_file_is_closed_when_it_was_idle_for_so_long(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.close_idle = 60000;
    harness_put(at(rig, "a.log"), "1\n");
    harness_put(at(rig, "b.log"), "2\nincomplete");
    start(rig);
    drain(rig);
    age(source_at(rig, "a.log"), 59 * NS_PER_S);
    age(source_at(rig, "b.log"), 61 * NS_PER_S);
    tail_rescan(tail_of(rig));
    assert_true(is_open(rig, "a.log"));
    rig->sides[0].config.tail.close_idle = 0;
    age(source_at(rig, "a.log"), 3600 * NS_PER_S);
    tail_rescan(tail_of(rig));
    assert_true(is_open(rig, "a.log"));
    rig->sides[0].config.tail.close_idle = 60000;
    tail_rescan(tail_of(rig));
    assert_false(is_open(rig, "a.log"));
    assert_false(is_open(rig, "b.log"));
    assert_false(tail_restless(tail_of(rig)));
}

static void what_is_not_delivered_keeps_its_file_open(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    assert_false(source_at(rig, "a.log")->idle);
    tail_commit(batch);
    assert_false(source_at(rig, "a.log")->idle);
    finish(rig, batch);
    assert_true(source_at(rig, "a.log")->idle);
}

static void a_closed_file_that_grows_is_read_on(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\nhalf");
    harness_append(at(rig, "a.log"), " line\n2\n");
    assert_read(rig, "half line 2 ");
    assert_true(is_open(rig, "a.log"));
    assert_int_equal(rig->sides[0].files.open, 1);
}

/* Opening it finds its new name, which queues it; so does a batch that has no room for it. */
static void a_closed_file_that_was_renamed_is_queued_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char much[14001];
    memset(much, 'x', sizeof(much) - 1);
    for (size_t i = 999; i < sizeof(much); i += 1000)
        much[i] = '\n';
    much[sizeof(much) - 1] = '\0';
    start_with_closed(rig, "1\n");
    harness_put(at(rig, "b.log"), much);
    harness_append(at(rig, "a.log"), "2\n");
    events(rig);
    move(rig, "a.log", "a.log.1");
    struct batch_private *batch = take(rig, 0);
    assert_int_equal(batch->b.n_records, 14);
    tail_commit(batch);
    finish(rig, batch);
    rig->text[0] = '\0';
    assert_read(rig, "2 ");
    harness_put(at(rig, "c.log"), "3\n");
    assert_read(rig, "3 ");
}

static void a_closed_file_that_grew_unseen_is_read_on_after_a_rescan(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    watch_pause(rig->sides[0].watch, true);
    harness_append(at(rig, "a.log"), "2\n");
    tail_rescan(tail_of(rig));
    assert_read(rig, "2 ");
}

static void a_closed_file_that_is_truncated_is_read_from_its_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "one\ntwo\n");
    harness_put(at(rig, "a.log"), "x\n");
    assert_read(rig, "x ");
    assert_int_equal(count(rig, STAT_truncations), 1);
}

static void a_closed_file_that_was_written_anew_is_read_from_its_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char end[TAIL_MAX + 2], text[2 * sizeof(end)];
    memset(end, '.', sizeof(end) - 1);
    end[sizeof(end) - 1] = '\0';
    snprintf(text, sizeof(text), "1%s\n", end);
    start_with_closed(rig, text);
    snprintf(text, sizeof(text), "2%s\n3\n",
             end); /* the same before the offset, other text at its beginning */
    harness_put(at(rig, "a.log"), text);
    drain(rig);
    assert_int_equal(rig->text[0], '2');
    assert_string_equal(rig->text + strlen(rig->text) - 3, " 3 ");
    assert_int_equal(count(rig, STAT_truncations), 1);
    age(source_at(rig, "a.log"), 60 * NS_PER_S);
    tail_rescan(tail_of(rig));
    assert_false(is_open(rig, "a.log"));
    rig->text[0] = '\0';
    text[0] = '4'; /* of the same size */
    harness_put(at(rig, "a.log"), text);
    drain(rig);
    assert_int_equal(rig->text[0], '4');
    assert_int_equal(count(rig, STAT_truncations), 2);
}

static void a_closed_file_that_is_renamed_is_known_under_its_new_name(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    move(rig, "a.log", "a.log.1"); /* no glob matches that */
    events(rig);
    assert_false(is_open(rig, "a.log.1"));
    harness_append(at(rig, "a.log.1"), "2\n");
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 ");
    assert_int_equal(count(rig, STAT_lost_bytes), 0);
}

static void a_closed_file_that_grew_and_was_renamed_is_read_before_the_new_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    for (int round = 0; round < 3; round++) {
        harness_append(at(rig, "a.log"), "2\n");
        move(rig, "a.log", "a.log.1");
        harness_append(at(rig, "a.log.1"), "3\n");
        harness_put(at(rig, "a.log"), "4\n");
        assert_read(rig, "2 3 4 ");
        age(source_at(rig, "a.log"), 60 * NS_PER_S);
        age(source_at(rig, "a.log.1"), 60 * NS_PER_S);
        tail_rescan(tail_of(rig));
        assert_int_equal(rig->sides[0].files.open, 0);
    }
}

/* As when inotify told nothing: polling, or its queue was full. */
static void a_closed_file_that_was_renamed_unseen_is_found_in_its_folder(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    watch_pause(rig->sides[0].watch, true);
    move(rig, "a.log", "a.log.1");
    harness_append(at(rig, "a.log.1"), "2\n");
    harness_put(at(rig, "a.log"), "3\n");
    tail_rescan(tail_of(rig));
    assert_read(rig, "2 3 ");
    move(rig, "a.log", "elsewhere");
    age(source_at(rig, "a.log.1"), 60 * NS_PER_S); /* it is idle for longer */
    age(source_at(rig, "a.log"), 60 * NS_PER_S);
    tail_close_idle(tail_of(rig));
    tail_rescan(tail_of(rig));
    assert_null(tail_by_path(tail_of(rig), at(rig, "a.log")));
    tail_tick(tail_of(rig));
    assert_false(is_open(rig, "elsewhere"));
}

static void a_closed_file_that_is_deleted_is_forgotten_without_a_loss(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    assert_read(rig, "");
    assert_true(tail_restless(tail_of(rig)));
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    assert_false(tail_restless(tail_of(rig)));
    assert_int_equal(count(rig, STAT_lost_bytes), 0);
    harness_put(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
}

static void what_was_seen_of_a_closed_file_and_deleted_before_it_was_opened_is_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    start_with_closed(rig, "1\n");
    harness_append(at(rig, "a.log"), "234\n");
    events(rig);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    assert_read(rig, "");
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    assert_int_equal(count(rig, STAT_lost_bytes), 4);
}

static void a_file_without_a_name_is_not_closed_before_it_is_finished(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.close_idle = 1;
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    int fd = open(at(rig, "a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    harness_put(at(rig, "b.log"), "3\n");
    assert_read(rig, ""); /* b.log waits */
    assert_true(tail_restless(tail_of(rig)));
    assert_int_equal(write(fd, "2\n", 2), 2);
    close(fd);
    tail_tick(tail_of(rig));
    assert_read(rig, "2 ");
    rig->sides[0].config.tail.close_removed = true;
    tail_tick(tail_of(rig));
    assert_read(rig, "3 ");
    assert_int_equal(count(rig, STAT_lost_bytes), 0);
}

static void a_file_that_left_the_globs_is_closed_soon_also_when_idle_ones_never_are(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
    age(source_at(rig, "a.log"), QUIET_NS);
    age(source_at(rig, "a.log.1"), QUIET_NS);
    tail_rescan(tail_of(rig));
    assert_false(is_open(rig, "a.log.1"));
    assert_true(is_open(rig, "a.log"));
    harness_append(at(rig, "a.log.1"), "3\n");
    assert_read(rig, "3 ");
}

/* ---- a budget ---- */

static const char *nth(const struct rig *rig, int n)
{
    char name[32];
    snprintf(name, sizeof(name), "%03d.log", n);
    return at(rig, name);
}

static void many_files_are_shipped_through_few_descriptors(void **state)
{
    enum { FILES = 200, LIMIT = 4, ROUNDS = 3 };
    struct rig *rig = (struct rig *)*state;
    char line[64];
    size_t lines = 0;
    rig->sides[0].files.limit = LIMIT;
    for (int i = 0; i < FILES; i++)
        harness_put(nth(rig, i), "0\n");
    start(rig);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < FILES; i++) {
            snprintf(line, sizeof(line), "%d\n", round + 1);
            harness_append(nth(rig, i), line);
        }
        events(rig);
        while (tail_ready(tail_of(rig))) {
            struct batch_private *batch = take(rig, 0);
            assert_true(rig->sides[0].files.open <= LIMIT);
            lines += batch->b.n_records;
            tail_commit(batch);
            finish(rig, batch);
            rig->text[0] = '\0';
        }
        assert_int_equal(lines, (round + 2) * FILES);
        assert_false(tail_restless(tail_of(rig)));
    }
    for (struct source *source = tail_of(rig)->sources; source != NULL; source = source->next)
        assert_int_equal(source->offset, 2 * (ROUNDS + 1));
}

static void the_file_that_was_idle_for_the_longest_time_is_closed_first(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].files.limit = 2;
    start(rig);
    harness_put(at(rig, "a.log"), "1\n");
    assert_read(rig, "1 ");
    harness_put(at(rig, "b.log"), "2\n");
    assert_read(rig, "2 ");
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
    harness_put(at(rig, "c.log"), "4\n");
    assert_read(rig, "4 ");
    assert_true(is_open(rig, "a.log"));
    assert_false(is_open(rig, "b.log"));
    assert_true(is_open(rig, "c.log"));
}

static void streams_of_a_worker_share_its_descriptors(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct side *other = &rig->sides[1];
    struct error error;
    const char *paths = strdup(at(rig, "*.txt"));
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    other->config.name = "t";
    other->config.tail.paths = (struct option_list){1, &paths};
    harness_put(at(rig, "b.txt"), "2\n");
    struct tail_place place = tail_of(rig)->place;
    other->stream.tail = tail_open(&other->stream, &place, &error);
    assert_non_null(other->stream.tail);
    assert_false(is_open(rig, "a.log"));
    struct batch_private *batch = take(rig, 1);
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 "); /* the other stream's line is not delivered yet */
    assert_false(tail_ready(tail_of(rig)));
    tail_commit(batch);
    finish(rig, batch);
    assert_true(tail_ready(tail_of(rig)));
    assert_read(rig, "3 ");
    tail_close(&other->stream.tail);
    free((void *)(uintptr_t)paths);
}

static void what_waits_for_a_descriptor_goes_on_where_it_was_after_a_restart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    harness_put(at(rig, "b.log"), "2\n");
    start(rig);
    drain(rig);
    stop(rig);
    rig->text[0] = '\0';
    rig->sides[0].files.limit = 1;
    harness_append(at(rig, "a.log"), "3\n");
    harness_append(at(rig, "b.log"), "4\n");
    harness_put(at(rig, "c.log"), "5\n");
    start(rig);
    drain(rig);
    for (const char *line = "345"; *line != '\0'; line++)
        assert_non_null(strchr(rig->text, *line));
    assert_int_equal(strlen(rig->text), 6);
}

static void a_file_that_waits_for_a_descriptor_is_begun_at_the_end_that_it_had(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = START_END;
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "old\n");
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "1\n");
    events(rig);
    struct batch_private *batch = take(rig, 0);
    tail_undo(batch);
    batch_give(&rig->pool, batch);
    stop(rig);
    rig->text[0] = '\0';
    harness_put(at(rig, "b.log"), "old\nol");
    start(rig); /* a.log is read first and has the descriptor, b.log waits */
    harness_append(at(rig, "b.log"), "d\n2\n");
    drain(rig);
    assert_true(strcmp(rig->text, "1 2 ") == 0 || strcmp(rig->text, "2 1 ") == 0);
}

/* With one descriptor the new file has to give way to the one that it waits for. */
static void a_new_generation_lets_the_older_one_be_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    for (int round = 0; round < 3; round++) {
        move(rig, "a.log", "a.log.1");
        harness_put(at(rig, "a.log"), "3\n");
        events(rig);
        assert_true(is_open(rig, "a.log"));
        harness_append(at(rig, "a.log.1"), "2\n");
        assert_read(rig, "2 3 ");
        assert_int_equal(rig->sides[0].files.open, 1);
    }
}

/* Whether it is a copy is told all the same. */
static void a_rotated_file_that_waits_for_a_descriptor_is_read_in_its_turn(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "*.log*"));
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    move(rig, "a.log", "a.log.2");
    put_later(rig, "a.log.1", "2\n"); /* was a.log for a moment */
    put_later(rig, "a.log", "3\n");
    harness_append(at(rig, "a.log.2"), "1b\n");
    events(rig);
    finish(rig, batch);
    assert_read(rig, "1 1b 2 3 ");
    assert_int_equal(rig->sides[0].files.open, 1);
}

static void a_file_deleted_while_it_waits_for_a_descriptor_is_lost_and_counted(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    harness_put(at(rig, "b.log"), "12345\n");
    events(rig);
    struct batch_private *batch = take(rig, 0);
    assert_int_equal(unlink(at(rig, "b.log")), 0);
    tail_commit(batch);
    finish(rig, batch);
    assert_read(rig, "1 ");
    tail_tick(tail_of(rig));
    assert_int_equal(count(rig, STAT_lost_bytes), 6);
    assert_false(tail_restless(tail_of(rig)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(a_file_is_closed_when_it_was_idle_for_so_long),
        RIG(what_is_not_delivered_keeps_its_file_open),
        RIG(a_closed_file_that_grows_is_read_on),
        RIG(a_rotated_file_that_waits_for_a_descriptor_is_read_in_its_turn),
        RIG(a_closed_file_that_was_renamed_is_queued_once),
        RIG(a_closed_file_that_grew_unseen_is_read_on_after_a_rescan),
        RIG(a_closed_file_that_is_truncated_is_read_from_its_beginning),
        RIG(a_closed_file_that_was_written_anew_is_read_from_its_beginning),
        RIG(a_closed_file_that_is_renamed_is_known_under_its_new_name),
        RIG(a_closed_file_that_grew_and_was_renamed_is_read_before_the_new_one),
        RIG(a_closed_file_that_was_renamed_unseen_is_found_in_its_folder),
        RIG(a_closed_file_that_is_deleted_is_forgotten_without_a_loss),
        RIG(what_was_seen_of_a_closed_file_and_deleted_before_it_was_opened_is_lost),
        RIG(a_file_without_a_name_is_not_closed_before_it_is_finished),
        RIG(a_file_that_left_the_globs_is_closed_soon_also_when_idle_ones_never_are),
        RIG(many_files_are_shipped_through_few_descriptors),
        RIG(the_file_that_was_idle_for_the_longest_time_is_closed_first),
        RIG(streams_of_a_worker_share_its_descriptors),
        RIG(what_waits_for_a_descriptor_goes_on_where_it_was_after_a_restart),
        RIG(a_file_that_waits_for_a_descriptor_is_begun_at_the_end_that_it_had),
        RIG(a_new_generation_lets_the_older_one_be_read),
        RIG(a_file_deleted_while_it_waits_for_a_descriptor_is_lost_and_counted),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
