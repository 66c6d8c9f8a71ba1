#include "tests/plugins/harness.h"

static void fields_are_removed_and_the_others_keep_their_order(void **state)
{
    static const char *const rows[][2] = {
        {"a", "message=\"x\" b=\"2\" c=\"3\""},
        {"[b]", "message=\"x\" a=\"1\" c=\"3\""},
        {"[c, a]", "message=\"x\" b=\"2\""},
        {"{fields: [message, missing, a, a]}", "b=\"2\" c=\"3\""},
        {"[message, a, b, c]", ""},
        {"missing", "message=\"x\" a=\"1\" b=\"2\" c=\"3\""},
        {"{fields: a, when: 'b == 3'}", "message=\"x\" a=\"1\" b=\"2\" c=\"3\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct batch *batch = batch_of_lines(1, "x");
        assert_int_equal(run_step(batch, "set", "{a: 1, b: 2, c: 3}"), 0);
        assert_int_equal(run_step(batch, "remove", rows[i][0]), 0);
        assert_record(batch, 0, rows[i][1]);
        assert_int_equal(batch->n_failed, 0);
        batch_done(&batch);
    }
}

static void built_in_fields_are_removed_for_the_encoder(void **state)
{
    struct batch *batch = batch_of_lines(1, "x");
    struct field field;
    (void)state;
    assert_int_equal(run_step(batch, "remove", "['@timestamp', host.name]"), 0);
    assert_int_equal(batch->records[0].flags, RECORD_NO_TIME | RECORD_NO_HOST);
    assert_false(record_get(batch, &batch->records[0], SLICE("host.name"), &field));
    assert_true(record_get(batch, &batch->records[0], SLICE("log.file.path"), &field));
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("- remove: {}", "remove needs \"fields\"");
    assert_chain_error("- remove: []", "fields must be a text or a list of texts");
    assert_chain_error("- remove: {field: a}",
                       "unknown key \"field\" in remove; did you mean \"fields\"?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_removed_and_the_others_keep_their_order),
        cmocka_unit_test(built_in_fields_are_removed_for_the_encoder),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
