/* Copies beside a log that is truncated in place: held while the log holds the same, read on from after a truncation. Births of files
 * are waited apart only where the order of several generations hangs on them. */
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

#define BIRTH_STEP_US 15000 /* the kernel's clock for births ticks every 4 to 10 ms */

static const char *all_names(struct rig *rig)
{
    free((void *)(uintptr_t)rig->paths[0]);
    return rig->paths[0] = strdup(at(rig, "a.log*"));
}

/* As `cp`: the same inode where it was there before. */
static void copy(const struct rig *rig, const char *from, const char *to)
{
    size_t len = 0;
    char *text = harness_read(at(rig, from), &len);
    assert_non_null(text);
    harness_write(at(rig, to), text, len);
    free(text);
}

static void empty(const struct rig *rig, const char *name)
{
    assert_int_equal(truncate(at(rig, name), 0), 0);
}

/* As logrotate with copytruncate. */
static void copytruncate(struct rig *rig, int n)
{
    char from[32], to[32];
    for (int i = n; i > 1; i--) {
        snprintf(from, sizeof(from), "a.log.%d", i - 1);
        snprintf(to, sizeof(to), "a.log.%d", i);
        if (access(at(rig, from), F_OK) == 0)
            move(rig, from, to);
    }
    usleep(BIRTH_STEP_US);
    copy(rig, "a.log", "a.log.1");
    empty(rig, "a.log");
}

static void what_was_not_read_before_a_truncation_is_read_from_the_copy(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    harness_append(at(rig, "a.log"), "3\n4\n");
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "5\n6\n7\n8\n9\n");
    assert_read(rig, "3 4 5 6 7 8 9 ");
    harness_append(at(rig, "a.log"), "10\n");
    assert_read(rig, "10 ");
    assert_int_equal(count_of(rig, STAT_truncations), 1);
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
    stop(rig);
    harness_append(at(rig, "a.log"), "11\n");
    start(rig);
    assert_read(rig, "11 ");
}

static void every_line_goes_out_once_whether_the_copies_match_the_globs_or_not(void **state)
{
    struct rig *rig = (struct rig *)*state;
    for (int globs = 0; globs < 2; globs++) {
        char expected[64];
        if (globs == 1)
            all_names(rig);
        harness_put(at(rig, "a.log"), "0\n");
        start(rig);
        assert_read(rig, "0 ");
        for (int turn = 0; turn < 20; turn++) {
            char line[32];
            snprintf(line, sizeof(line), "%d\n", turn);
            harness_append(at(rig, "a.log"), line);
            snprintf(expected, sizeof(expected), "%d ", turn);
            if (turn % 4 == 1) {
                assert_read(rig, expected); /* all is read when the copy is made */
                expected[0] = '\0';
            }
            copytruncate(rig, 4);
            if (turn % 4 == 2) { /* and both seen only after the next start */
                stop(rig);
                start(rig);
            }
            if (turn % 4 == 3)
                continue; /* two at once */
            if (turn > 0 && turn % 4 == 0)
                snprintf(expected, sizeof(expected), "%d %d ", turn - 1, turn);
            assert_read(rig, expected);
        }
        assert_read(rig, "19 ");
        tail_rescan(tail_of(rig));
        stop(rig);
        start(rig);
        assert_read(rig, "");
        assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
        stop(rig);
        for (int i = 0; i < 5; i++) {
            char name[16];
            snprintf(name, sizeof(name), i == 0 ? "a.log" : "a.log.%d", i);
            assert_int_equal(unlink(at(rig, name)), 0);
        }
    }
}

static void several_truncations_while_stopped_miss_no_copy(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    for (char text[] = "2\n"; *text <= '5'; ++*text) {
        harness_append(at(rig, "a.log"), text);
        copytruncate(rig, 6);
    }
    harness_append(at(rig, "a.log"), "6\n");
    start(rig);
    assert_read(rig, "2 3 4 5 6 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "7\n");
    copytruncate(rig, 6);
    harness_append(at(rig, "a.log"), "8\n");
    copytruncate(rig, 7);
    start(rig);
    assert_read(rig, "7 8 ");
    copytruncate(rig, 8);
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_copy_is_not_read_while_the_log_holds_the_same(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    harness_append(at(rig, "a.log"), "3\n");
    harness_put(at(rig, "a.log.1"), "");
    assert_read(rig, "3 ");
    harness_append(at(rig, "a.log.1"), "1\n2"); /* still being written */
    assert_read(rig, "");
    harness_append(at(rig, "a.log.1"), "\n3\n");
    harness_append(at(rig, "a.log"), "4\n");
    assert_read(rig, "4 ");
    tail_rescan(tail_of(rig));
    assert_read(rig, "");
    stop(rig);
    start(rig); /* it is told again */
    assert_read(rig, "");
    empty(rig, "a.log");
    harness_append(at(rig, "a.log"), "5\n");
    assert_read(rig, "5 ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_copy_and_its_log_may_both_get_lines_of_their_own(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    copy(rig, "a.log", "a.log.1");
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
    harness_append(at(rig, "a.log.1"), "one\n");
    assert_read(rig, "one ");
    harness_append(at(rig, "a.log.1"), "two\n");
    harness_append(at(rig, "a.log"), "4\n");
    drain(rig);
    assert_true(strcmp(rig->text, "two 4 ") == 0 || strcmp(rig->text, "4 two ") == 0);
    rig->text[0] = '\0';
    empty(rig, "a.log");
    harness_append(at(rig, "a.log"), "5\n");
    harness_append(at(rig, "a.log.1"), "three\n");
    drain(rig);
    assert_true(strcmp(rig->text, "three 5 ") == 0 || strcmp(rig->text, "5 three ") == 0);
    rig->text[0] = '\0';
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void lines_of_its_own_wait_until_what_the_copy_shares_is_delivered(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_text(rig, "1 2 ");
    copy(rig, "a.log", "a.log.1");
    harness_append(at(rig, "a.log.1"), "one\n");
    assert_read(rig, "");
    assert_true(tail_restless(tail_of(rig)));
    finish(rig, batch);
    tail_tick(tail_of(rig));
    assert_read(rig, "one ");
    assert_false(tail_holds_pending(tail_of(rig)));
}

static void a_crash_with_lines_in_flight_reads_them_again_from_the_copy(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n3\n");
    events(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_text(rig, "2 3 ");
    harness_append(at(rig, "a.log"), "4\n");
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "5\n");
    assert_read(rig, "4 5 "); /* delivered, but behind what is not */
    stop(rig);
    start(rig);
    assert_read(rig, "2 3 4 ");
    batch_give(&rig->pool, batch);
}

static void deliveries_of_before_the_truncation_move_the_copys_position(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    harness_append(at(rig, "a.log"), "2\n");
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "1 2 3 ");
    finish(rig, batch);
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_copy_that_was_made_before_the_last_lines_were_read_is_finished(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char line[64];
    all_names(rig);
    for (int i = 0; i < 40; i++) {
        snprintf(line, sizeof(line), "a line that makes the log more than a fingerprint %d\n", i);
        harness_append(at(rig, "a.log"), line);
    }
    start(rig);
    drain(rig);
    rig->text[0] = '\0';
    watch_pause(rig->sides[0].watch, true);
    copy(rig, "a.log", "a.log.1");
    harness_append(at(rig, "a.log.1"), "half of a");
    harness_append(at(rig, "a.log"), "half of a line\nand one\n");
    tail_event(tail_of(rig), at(rig, "a.log"), 2); /* nobody has told of the copy yet */
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_text(rig, "half of a line and one ");
    empty(rig, "a.log");
    harness_append(at(rig, "a.log"), "new\n");
    tail_rescan(tail_of(rig));
    assert_read(rig, "new ");
    finish(rig, batch);
    stop(rig);
    start(rig);
    assert_read(rig, "");
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
}

static void a_copy_over_an_older_copy_is_told_too(void **state)
{
    struct rig *rig = (struct rig *)*state;
    for (int globs = 0; globs < 2; globs++) {
        if (globs == 1)
            all_names(rig);
        harness_put(at(rig, "a.log"), "0\n");
        start(rig);
        assert_read(rig, "0 ");
        for (int turn = 1; turn < 10; turn++) {
            char line[32], expected[32];
            snprintf(line, sizeof(line), "line %d\n", turn);
            snprintf(expected, sizeof(expected), "line %d ", turn);
            harness_append(at(rig, "a.log"), line);
            copy(rig, "a.log", "a.log.1");
            if (turn % 3 == 0)
                events(rig);
            empty(rig, "a.log");
            if (turn % 3 == 1) {
                stop(rig);
                start(rig);
            }
            assert_read(rig, expected);
        }
        stop(rig);
        start(rig);
        assert_read(rig, "");
        stop(rig);
        assert_int_equal(unlink(at(rig, "a.log")), 0);
        assert_int_equal(unlink(at(rig, "a.log.1")), 0);
    }
}

static void a_copy_over_a_copy_that_is_in_flight_is_safe(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    copy(rig, "a.log", "a.log.1");
    empty(rig, "a.log");
    events(rig);
    struct batch_private *first = take(rig, 0);
    struct batch_private *second = take(rig, 0);
    tail_commit(first);
    tail_commit(second);
    assert_text(rig, "2 ");
    harness_append(at(rig, "a.log"), "3\n");
    copy(rig, "a.log", "a.log.1");
    empty(rig, "a.log");
    assert_read(rig, "3 ");
    finish(rig, first);
    finish(rig, second);
    assert_read(rig, "");
    assert_null(tail_of(rig)->retired);
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void what_no_copy_has_is_counted_as_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "lost\n");
    tail_rescan(tail_of(rig)); /* seen, not read */
    empty(rig, "a.log");
    harness_put(at(rig, "a.log.1"), "another file\n");
    harness_append(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
    assert_int_equal(count_of(rig, STAT_lost_bytes), 5);
    assert_int_equal(count_of(rig, STAT_truncations), 1);
}

static void a_history_of_copies_is_read_oldest_first_with_the_log_itself_last(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    for (char text[] = "1\n"; *text <= '4'; ++*text) {
        harness_append(at(rig, "a.log"), text);
        copytruncate(rig, 6);
    }
    harness_append(at(rig, "a.log"), "5\n");
    start(rig);
    assert_read(rig, "1 2 3 4 5 ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_truncation_of_a_file_of_which_nothing_was_delivered_is_seen_after_a_crash(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_text(rig, "1 2 ");
    stop(rig);
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "3\n");
    start(rig);
    assert_read(rig, "1 2 3 ");
    batch_give(&rig->pool, batch);
}

static void a_rename_after_truncations_reads_no_old_copy(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    copytruncate(rig, 5); /* before the agent knew the log */
    harness_append(at(rig, "a.log"), "2\n");
    start(rig);
    assert_read(rig, "2 ");
    copytruncate(rig, 5);
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
    stop(rig);
    start(rig);
    usleep(BIRTH_STEP_US);
    move(rig, "a.log", "a.log.3");
    harness_put(at(rig, "a.log"), "4\n");
    assert_read(rig, "4 ");
}

static void what_a_missed_copy_holds_is_not_counted_as_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    copytruncate(rig, 4);
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 ");
    copytruncate(rig, 4);
    harness_append(at(rig, "a.log"), "4\n");
    stop(rig);
    start(rig); /* seen, not read */
    copytruncate(rig, 4);
    harness_append(at(rig, "a.log"), "5\n6\n");
    tail_find_missed_copies(tail_of(rig), at(rig, "a.log"));
    assert_read(rig, "4 5 6 ");
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
}

static void two_copies_of_the_same_are_read_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    copy(rig, "a.log", "a.log.1");
    events(rig);
    harness_append(at(rig, "a.log"), "3\n");
    copy(rig, "a.log", "a.log.2");
    tail_rescan(tail_of(rig)); /* both are seen, 3 is not read */
    empty(rig, "a.log");
    harness_append(at(rig, "a.log"), "4\n");
    assert_read(rig, "3 4 ");
    tail_rescan(tail_of(rig));
    assert_read(rig, "");
    stop(rig);
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log.1"), "one\n");
    assert_read(rig, "one ");
}

static void with_too_many_files_open_a_truncation_waits_and_loses_nothing(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "3\n");
    source_limit_files(1);
    assert_read(rig, "");
    tail_rescan(tail_of(rig));
    assert_read(rig, "");
    source_limit_files(UINT_MAX);
    tail_rescan(tail_of(rig));
    assert_read(rig, "2 3 ");
    assert_int_equal(count_of(rig, STAT_truncations), 1);
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
}

static void a_copy_in_the_globs_is_put_off_when_descriptors_are_short(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    struct batch_private *batch = take(rig, 0); /* what is in flight keeps the log open */
    tail_commit(batch);
    assert_text(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    copytruncate(rig, 3);
    harness_append(at(rig, "a.log"), "three\n");
    source_limit_files(
        2); /* the log and the copy can be compared, but no third one be opened meanwhile */
    events(rig);
    finish(rig, batch);
    assert_read(rig, "2 three ");
    source_limit_files(UINT_MAX);
    assert_int_equal(count_of(rig, STAT_truncations), 1);
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
}

static void a_copy_outlives_its_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    copy(rig, "a.log", "a.log.1");
    assert_read(rig, "");
    usleep(BIRTH_STEP_US);
    move(rig, "a.log", "a.log.2"); /* not truncated, but rotated */
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
    tail_tick(tail_of(rig));
    assert_read(rig, "");
    stop(rig);
    assert_int_equal(unlink(at(rig, "a.log.2")), 0);
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log.1"), "one\n");
    assert_read(rig, "one ");
}

static void a_log_that_is_not_a_copy_is_read_at_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    all_names(rig);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    usleep(BIRTH_STEP_US);
    harness_put(at(rig, "a.log-20260131"), "other\n"); /* written by the program itself */
    assert_read(rig, "other ");
    harness_append(at(rig, "a.log-20260131"), "more\n");
    assert_read(rig, "more ");
    harness_append(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
}

static void another_file_with_a_rotated_name_that_no_glob_matches_is_not_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_later(rig, "a.log", "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    put_later(rig, "a.log.1", "1\n2\n");
    assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 ");
    put_later(rig, "a.log.7", "2\n");
    assert_read(rig, "");
    harness_append(at(rig, "a.log.7"), "x\n");
    assert_read(rig, "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(another_file_with_a_rotated_name_that_no_glob_matches_is_not_read),
        RIG(what_was_not_read_before_a_truncation_is_read_from_the_copy),
        RIG(every_line_goes_out_once_whether_the_copies_match_the_globs_or_not),
        RIG(several_truncations_while_stopped_miss_no_copy),
        RIG(a_copy_is_not_read_while_the_log_holds_the_same),
        RIG(a_copy_and_its_log_may_both_get_lines_of_their_own),
        RIG(lines_of_its_own_wait_until_what_the_copy_shares_is_delivered),
        RIG(a_crash_with_lines_in_flight_reads_them_again_from_the_copy),
        RIG(deliveries_of_before_the_truncation_move_the_copys_position),
        RIG(a_copy_that_was_made_before_the_last_lines_were_read_is_finished),
        RIG(a_copy_over_an_older_copy_is_told_too),
        RIG(a_copy_over_a_copy_that_is_in_flight_is_safe),
        RIG(what_no_copy_has_is_counted_as_lost),
        RIG(a_history_of_copies_is_read_oldest_first_with_the_log_itself_last),
        RIG(a_truncation_of_a_file_of_which_nothing_was_delivered_is_seen_after_a_crash),
        RIG(a_rename_after_truncations_reads_no_old_copy),
        RIG(two_copies_of_the_same_are_read_once),
        RIG(what_a_missed_copy_holds_is_not_counted_as_lost),
        RIG(with_too_many_files_open_a_truncation_waits_and_loses_nothing),
        RIG(a_copy_in_the_globs_is_put_off_when_descriptors_are_short),
        RIG(a_copy_outlives_its_log),
        RIG(a_log_that_is_not_a_copy_is_read_at_once),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
