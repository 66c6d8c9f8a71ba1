#include "tests/plugins/harness.h"

static void records_for_which_it_holds_are_dropped(void **state)
{
    static const struct {
        const char *options;
        bool left[3];
    } rows[] = {
        {"'message == 2'", {true, false, true}},
        {"{when: 'message != 2'}", {false, true, false}},
        {"'exists message'", {false, false, false}},
        {"'exists missing'", {true, true, true}},
        {"'missing != 2'", {false, false, false}},
        {"'message ~ \"^[13]$\"'", {false, true, false}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct batch *batch = batch_of_lines(3, "1", "2", "3");
        unsigned dropped = 0;
        assert_int_equal(run_step(batch, "drop", rows[i].options), 0);
        for (unsigned k = 0; k < 3; k++) {
            bool left = (batch->records[k].flags & RECORD_DROPPED) == 0;
            if (left != rows[i].left[k])
                fail_msg("drop: %s: record %u", rows[i].options, k);
            dropped += !left;
        }
        assert_int_equal(batch->n_dropped, dropped);
        batch_done(&batch);
    }
}

/* Dropped ones are neither looked at nor counted again. */
static void steps_behind_it_see_what_is_left(void **state)
{
    struct batch *batch = batch_of_lines(4, "1", "2", "3", "4");
    (void)state;
    assert_int_equal(
        run_chain(batch, "- drop: 'message == 1'\n- drop: 'message in [1, 2, 4]'\n- set: {x: 1}"),
        0);
    assert_record(batch, 0, "dropped");
    assert_record(batch, 1, "dropped");
    assert_record(batch, 2, "message=\"3\" x=\"1\"");
    assert_record(batch, 3, "dropped");
    assert_int_equal(batch->n_dropped, 3);
    assert_int_equal(batch->records[0].n_fields, 1); /* set didn't see it */
    batch_done(&batch);
}

static void each_step_counts_its_own(void **state)
{
    struct error error;
    struct batch *batch = batch_of_lines(3, "1", "2", "3");
    struct chain *chain = chain_of("- drop: 'message == 1'\n- drop: 'message == 2'", &error);
    (void)state;
    assert_non_null(chain);
    assert_int_equal(chain_run(chain, batch), 0);
    assert_int_equal(chain_step(chain, 0)->seen, 3);
    assert_int_equal(chain_step(chain, 0)->dropped, 1);
    assert_int_equal(chain_step(chain, 1)->seen, 2);
    assert_int_equal(chain_step(chain, 1)->dropped, 1);
    chain_close(&chain);
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("- drop", "drop needs \"when\"");
    assert_chain_error("- drop: {}", "drop needs \"when\"");
    assert_chain_error("- drop: 'a = 1'",
                       "when: column 3: unknown operator \"=\", did you mean \"==\"?");
    assert_chain_error("- drop: {wen: 'a == 1'}", "did you mean \"when\"?");
    assert_chain_error("- drop: ''", "the condition is empty");
    assert_chain_error("- drop: [a]", "when must be a condition");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_for_which_it_holds_are_dropped),
        cmocka_unit_test(steps_behind_it_see_what_is_left),
        cmocka_unit_test(each_step_counts_its_own),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
