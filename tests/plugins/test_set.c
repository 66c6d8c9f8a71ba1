#include "tests/plugins/harness.h"

static void fields_are_set_by_templates(void **state)
{
    static const struct {
        const char *options, *expected; /* beside message="a b" n=1.50 t=true j=[1] z=null */
    } rows[] = {
        {"{service: shop}", "service=\"shop\""},
        {"{n2: '%{n}', t2: '%{t}', j2: '%{j}', z2: '%{z}', m2: '%{message}'}",
         "n2=1.50 t2=true j2=[1] z2=null m2=\"a b\""},
        {"{o: '%{log.offset}', h: '%{host.name}'}", "o=0 h=\"web-1\""},
        {"{x: '%{n}%{t}'}", "x=\"1.50true\""},
        {"{x: '%{n:-5}'}", "x=\"1.50\""}, /* with a default: a text */
        {"{x: '%{missing}'}", ""},        /* nothing to set */
        {"{x: '%{missing:-none}'}", "x=\"none\""},
        {"{x: '<%{missing}>'}", "x=\"<>\""},
        {"{x: 5, y: true}", "x=\"5\" y=\"true\""}, /* plain text is a string */
        {"{x: ''}", "x=\"\""},
        {"{x: a, y: '%{x}!'}", "x=\"a\" y=\"a!\""}, /* in order */
        {"{x: y, when: 't == true'}", "x=\"y\""},
        {"{x: y, when: 't == false'}", ""},
        {"{fields: {when: x, fields: y}}", "when=\"x\" fields=\"y\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct batch *batch = batch_of_lines(1, "a b");
        struct record *record = &batch->records[0];
        char expected[300];
        record_add(batch, record, SLICE("n"), SLICE("1.50"), FIELD_NUMBER);
        record_add(batch, record, SLICE("t"), SLICE("true"), FIELD_BOOL);
        record_add(batch, record, SLICE("j"), SLICE("[1]"), FIELD_JSON);
        record_add(batch, record, SLICE("z"), SLICE("null"), FIELD_NULL);
        assert_int_equal(run_step(batch, "set", rows[i].options), 0);
        snprintf(expected, sizeof(expected), "message=\"a b\" n=1.50 t=true j=[1] z=null%s%s",
                 rows[i].expected[0] == '\0' ? "" : " ", rows[i].expected);
        assert_record(batch, 0, expected);
        batch_done(&batch);
    }
}

static void fields_that_are_there_are_replaced_in_their_place(void **state)
{
    struct batch *batch = batch_of_lines(2, "a", "b");
    (void)state;
    assert_int_equal(run_chain(batch, "- set: {x: 1, y: 2}\n- set: {x: '%{message}', message: c}"),
                     0);
    assert_record(batch, 0, "message=\"c\" x=\"a\" y=\"2\"");
    assert_record(batch, 1, "message=\"c\" x=\"b\" y=\"2\"");
    batch_done(&batch);
}

static void built_in_fields_can_be_set(void **state)
{
    struct batch *batch = batch_of_lines(1, "a");
    (void)state;
    assert_int_equal(run_step(batch, "set", "{host.name: '%{host.name}.example'}"), 0);
    assert_record(batch, 0, "message=\"a\" host.name=\"web-1.example\"");
    batch_done(&batch);
}

static void full_record_says_so_and_stays(void **state)
{
    struct batch *batch = batch_of_lines(1, "a");
    struct record *record = &batch->records[0];
    (void)state;
    while (record->n_fields < RECORD_MAX_FIELDS - 1) {
        char name[16];
        int len = snprintf(name, sizeof(name), "f%u", record->n_fields);
        struct slice key = arena_copy(&batch->arena, slice_of(name, (size_t)len));
        assert_int_equal(record_add(batch, record, key, SLICE("1"), FIELD_NUMBER), 0);
    }
    assert_int_equal(run_step(batch, "set", "{error.message: '', x: 1, message: b}"), 0);
    assert_string_equal(field_text(record, "message"), "b");
    assert_string_equal(field_text(record, "error.message"), "set: the record has too many fields");
    assert_null(field_text(record, "x"));
    assert_int_equal(batch->n_failed, 1);
    batch_done(&batch);
}

static void no_room_is_told(void **state)
{
    struct batch *batch = batch_empty(64 * 1024);
    (void)state;
    batch_line(batch, SLICE("0123456789"));
    assert_int_equal(
        run_step(batch, "set",
                 "{a: '%{message}%{message}%{message}%{message}%{message}%{message}'}"),
        0);
    batch->arena.next = batch->arena.end;
    assert_int_equal(run_step(batch, "set", "{b: '%{message}%{message}'}"), -1);
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("- set: {x: '%{a'}", "x: \"%{\" without \"}\"");
    assert_chain_error("- set: {x: [1]}", "\"x\" must be a text, not a list");
    assert_chain_error("- set: {}", "set");
    assert_chain_error("- set: a", "set must be a mapping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_set_by_templates),
        cmocka_unit_test(fields_that_are_there_are_replaced_in_their_place),
        cmocka_unit_test(built_in_fields_can_be_set),
        cmocka_unit_test(full_record_says_so_and_stays),
        cmocka_unit_test(no_room_is_told),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
