/* When truncations are found out, and what is known then; what is done about them: test_tail_copy.c. */
#include "agent/tail_inner.h"
#include "tests/agent/tail_rig.h"

/* `text`: what the log holds. */
static void copytruncate(const struct rig *rig, const char *text)
{
    put_later(rig, "a.log.1", text);
    assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
}

static void what_could_not_be_built_before_a_truncation_is_read_from_the_copy(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    events(rig);
    struct batch_private *batch = take(rig, 0);
    tail_undo(batch);
    batch_give(&rig->pool, batch);
    assert_text(rig, "2 ");
    copytruncate(rig, "1\n2\n");
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 ");
}

/* The log was truncated before anything was read of what it held: the copy goes first, though no event told of it yet. */
static void a_copy_of_what_was_not_read_at_all_goes_out_before_the_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    copytruncate(rig, "1\n");
    assert_read(rig, ""); /* now it is known to be copied */
    harness_append(at(rig, "a.log"), "2\n");
    events(rig);
    move(rig, "a.log.1", "a.log.2");
    copytruncate(rig, "2\n");
    harness_append(at(rig, "a.log"), "3\n");
    struct batch_private *batch = take(rig, 0); /* before the events */
    tail_commit(batch);
    finish(rig, batch);
    assert_read(rig, "2 3 ");
}

static void what_is_written_over_a_text_that_was_read_is_not_counted_as_lost(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_put(at(rig, "a.log"), "one\ntwo\n");
    tail_rescan(tail_of(rig)); /* its size is seen before it is read */
    assert_read(rig, "one two ");
    tail_close_file(tail_of(rig), tail_of(rig)->sources);
    harness_put(at(rig, "a.log"), "three\nfour\nfive\n");
    tail_rescan(tail_of(rig));
    assert_read(rig, "three four five ");
    assert_int_equal(count_of(rig, STAT_truncations), 2);
    assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
}

static void truncated_and_grown_past_the_old_end_again_and_again_loses_nothing(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char line[32], expected[64] = "";
    harness_put(at(rig, "a.log"), "r00 first\n");
    start(rig);
    assert_read(rig, "r00 first ");
    for (int turn = 1; turn <= 51; turn++) {
        snprintf(line, sizeof(line), "r%02d first\n", turn);
        harness_put(at(rig, "a.log"), line);
        harness_append(at(rig, "a.log"), "second\n");
        snprintf(expected, sizeof(expected), "r%02d first second ", turn);
        assert_read(rig, expected);
    }
    assert_int_equal(count_of(rig, STAT_truncations), 51);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(what_could_not_be_built_before_a_truncation_is_read_from_the_copy),
        RIG(what_is_written_over_a_text_that_was_read_is_not_counted_as_lost),
        RIG(truncated_and_grown_past_the_old_end_again_and_again_loses_nothing),
        RIG(a_copy_of_what_was_not_read_at_all_goes_out_before_the_log),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
