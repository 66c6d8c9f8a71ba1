/* What a file's age decides. */
#include "agent/clock.h"
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

#include <errno.h>

#define HOUR_MS INT64_C(3600000)

static void put_aged(struct rig *rig, const char *name, const char *text, int hours)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    harness_put(at(rig, name), text);
    times[1].tv_sec = (time_t)(clock_real() / NS_PER_S - (int64_t)hours * 3600);
    assert_int_equal(utimensat(AT_FDCWD, at(rig, name), times, 0), 0);
}

static bool is_open(struct rig *rig, const char *name)
{
    const struct source *source = tail_by_path(tail_of(rig), at(rig, name));
    assert_non_null(source);
    return source->fd != -1;
}

/* ---- start ---- */

static void start_with_an_age_reads_only_younger_files_from_their_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = 2 * HOUR_MS;
    put_aged(rig, "old.log", "old\n", 3);
    put_aged(rig, "young.log", "young\n", 1);
    start(rig);
    assert_read(rig, "young ");
    harness_append(at(rig, "old.log"), "more\n");
    assert_read(rig, "more ");
    put_aged(rig, "later.log", "later, and from the beginning\n", 5);
    assert_read(rig, "later, and from the beginning ");
    stop(rig);
    put_aged(rig, "meanwhile.log", "no\n", 4);
    start(rig);
    assert_read(rig, "");
}

/* ---- ignore_older ---- */

static void an_old_file_is_not_opened_until_it_changes(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    put_aged(rig, "old.log", "1\n", 3);
    put_aged(rig, "young.log", "2\n", 1);
    start(rig);
    assert_read(rig, "2 ");
    assert_false(is_open(rig, "old.log"));
    tail_rescan(tail_of(rig));
    assert_read(rig, "");
    harness_append(at(rig, "old.log"), "3\n");
    assert_read(rig, "1 3 ");
}

static void a_rescan_sees_that_an_old_file_changed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    put_aged(rig, "old.log", "1\n", 3);
    start(rig);
    watch_pause(rig->sides[0].watch, true);
    harness_append(at(rig, "old.log"), "2\n");
    tail_rescan(tail_of(rig));
    assert_read(rig, "1 2 ");
}

static void an_old_file_that_changes_is_begun_where_start_says(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    rig->sides[0].config.tail.start = START_END;
    put_aged(rig, "old.log", "old\nhal", 3);
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "old.log"), "f\nnew\n");
    assert_read(rig, "new ");
}

static void an_old_file_stays_unread_and_unopened_over_restarts(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    put_aged(rig, "old.log", "1\n", 3);
    for (int i = 0; i < 3; i++) {
        start(rig);
        assert_read(rig, "");
        assert_false(is_open(rig, "old.log"));
        stop(rig);
    }
    assert_int_equal(unlink(at(rig, "old.log")), 0);
    start(rig);
    assert_read(rig, "");
}

static void an_old_file_that_was_read_in_part_is_finished(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_aged(rig, "a.log", "1\n", 3);
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    start(rig); /* read to its end: not opened */
    assert_read(rig, "");
    assert_false(is_open(rig, "a.log"));
    stop(rig);
    put_aged(rig, "a.log", "1\n2\n", 3);
    start(rig);
    assert_read(rig, "2 ");
}

static void deleting_an_ignored_file_is_no_loss(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t sums[STAT_COUNT] = {0};
    rig->sides[0].config.tail.ignore_older = 2 * HOUR_MS;
    put_aged(rig, "old.log", "1\n", 3);
    start(rig);
    assert_int_equal(unlink(at(rig, "old.log")), 0);
    assert_read(rig, "");
    tail_tick(tail_of(rig));
    assert_null(tail_of(rig)->sources);
    stats_read(&rig->sides[0].stream.stats, sums);
    assert_int_equal(sums[STAT_lost_bytes], 0);
}

/* ---- read_order ---- */

static void files_found_together_are_begun_in_the_order_that_is_asked_for(void **state)
{
    static const struct {
        int order;
        const char *expected;
    } cases[] = {
        {ORDER_OLDEST, "old middle young "},
        {ORDER_NEWEST, "young middle old "},
    };
    struct rig *rig = (struct rig *)*state;
    put_aged(rig, "b.log", "old\n", 3);
    put_aged(rig, "c.log", "middle\n", 2);
    put_aged(rig, "a.log", "young\n", 1);
    for (size_t i = 0; i < ROWS(cases); i++) {
        for (unsigned limit = 0; limit < 3; limit++) { /* with few descriptors, too */
            rig->sides[0].config.tail.read_order = cases[i].order;
            rig->sides[0].files.limit = limit;
            start(rig);
            assert_read(rig, cases[i].expected);
            stop(rig);
            assert_int_equal(unlink(harness_path(rig->state, "positions")), 0);
            if (unlink(harness_path(rig->state, "positions.old")) == -1)
                assert_int_equal(errno, ENOENT);
        }
    }
}

static void generations_keep_their_order_whatever_order_is_asked_for(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "a.log*"));
    rig->sides[0].config.tail.read_order = ORDER_NEWEST;
    start(rig);
    harness_put(at(rig, "a.log"), "1\n");
    events(rig);
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    stop(rig);
    start(rig);
    assert_read(rig, "1 2 ");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(start_with_an_age_reads_only_younger_files_from_their_beginning),
        RIG(an_old_file_is_not_opened_until_it_changes),
        RIG(a_rescan_sees_that_an_old_file_changed),
        RIG(an_old_file_that_changes_is_begun_where_start_says),
        RIG(an_old_file_stays_unread_and_unopened_over_restarts),
        RIG(an_old_file_that_was_read_in_part_is_finished),
        RIG(deleting_an_ignored_file_is_no_loss),
        RIG(files_found_together_are_begun_in_the_order_that_is_asked_for),
        RIG(generations_keep_their_order_whatever_order_is_asked_for),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
