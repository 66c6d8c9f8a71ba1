#include "tests/plugins/harness.h"

static void fields_get_their_new_names_and_keep_values_and_types(void **state)
{
    static const char *const rows[][2] = {
        {"{n: count}", "message=\"x\" s=\"text\" j=[1] count=1.50"},
        {"{missing: a}", "message=\"x\" n=1.50 s=\"text\" j=[1]"},
        {"{n: s}", "message=\"x\" s=1.50 j=[1]"}, /* replaced, with the type */
        {"{n: n}", "message=\"x\" n=1.50 s=\"text\" j=[1]"},
        {"{n: a, a: b, s: a}", "message=\"x\" j=[1] b=1.50 a=\"text\""}, /* one after the other */
        {"{missing: s}", "message=\"x\" n=1.50 s=\"text\" j=[1]"},       /* s stays */
        {"{fields: {n: when}}", "message=\"x\" s=\"text\" j=[1] when=1.50"},
        {"{n: a, when: 's == \"other\"'}", "message=\"x\" n=1.50 s=\"text\" j=[1]"},
        {"{message: event.original}", "n=1.50 s=\"text\" j=[1] event.original=\"x\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct batch *batch = batch_of_lines(1, "x");
        struct record *record = &batch->records[0];
        record_add(batch, record, SLICE("n"), SLICE("1.50"), FIELD_NUMBER);
        record_add(batch, record, SLICE("s"), SLICE("text"), FIELD_STRING);
        record_add(batch, record, SLICE("j"), SLICE("[1]"), FIELD_JSON);
        assert_int_equal(run_step(batch, "rename", rows[i][0]), 0);
        assert_record(batch, 0, rows[i][1]);
        assert_int_equal(batch->n_failed, 0);
        batch_done(&batch);
    }
}

static void built_in_fields_can_be_renamed(void **state)
{
    struct batch *batch = batch_of_lines(1, "x");
    (void)state;
    assert_int_equal(run_step(batch, "rename", "{log.file.path: file, log.offset: offset}"), 0);
    assert_record(batch, 0, "message=\"x\" file=\"/var/log/test.log\" offset=0");
    assert_int_equal(batch->records[0].flags, RECORD_NO_PATH | RECORD_NO_OFFSET);
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("- rename: {a: [b]}", "\"a\" must be a text, not a list");
    assert_chain_error("- rename: {}", "rename");
    assert_chain_error("- rename: a", "rename must be a mapping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_get_their_new_names_and_keep_values_and_types),
        cmocka_unit_test(built_in_fields_can_be_renamed),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
