#include "tests/plugins/harness.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static void named_groups_become_fields(void **state)
{
    static const struct {
        const char *line, *options, *expected;
    } rows[] = {
        {"GET /x 200", "'^(?<method>\\S+) (?<path>\\S+) (?<status>\\d+)$'",
         "method=\"GET\" path=\"/x\" status=\"200\""},
        {"GET /x", "{pattern: '^(?<method>\\S+) (\\S+)', keep: true}",
         "message=\"GET /x\" method=\"GET\""},
        {"a b", "{pattern: '(?<a>\\w) (?<b>\\w)', into: http.}", "http.a=\"a\" http.b=\"b\""},
        /* groups that took no part, or are empty */
        {"b", "'(?<a>a)?(?<b>b)'", "b=\"b\""},
        {"b", "'(?<a>a*)(?<b>b)'", "a=\"\" b=\"b\""},
        {"x", "'(?<a>a)?x'", ""},
        /* the field that is parsed */
        {"warn: disk", "'(?<level>\\w+): (?<message>.*)'", "level=\"warn\" message=\"disk\""},
        {"warn: disk", "{pattern: '(?<level>\\w+): (?<message>.*)', keep: true}",
         "message=\"disk\" level=\"warn\""},
        {"x", "'(?<message>y)?(?<a>x)'", "a=\"x\""},
        {"x", "{pattern: '(?<message>y)?(?<a>x)', keep: true}", "message=\"x\" a=\"x\""},
        /* nested and repeated names */
        {"10.5", "'(?<all>(?<whole>\\d+)\\.\\d)'", "all=\"10.5\" whole=\"10\""},
        {"b7", "'(?J)^(?:a(?<n>\\d)|b(?<n>\\d))'", "n=\"7\""},
        {"12", "'(?J)(?<n>\\d)(?<n>\\d)'", "n=\"1\""}, /* the first one that takes part */
        /* types */
        {"200 1.50 -3 1e5",
         "{pattern: '(?<a>\\S+) (?<b>\\S+) (?<c>\\S+) (?<d>\\S+)', "
         "types: {a: number, b: number, c: number, d: number}}",
         "a=200 b=1.50 c=-3 d=1e5"},
        {"007 - +1 0x1",
         "{pattern: '(?<a>\\S+) (?<b>\\S+) (?<c>\\S+) (?<d>\\S+)', "
         "types: {a: number, b: number, c: number, d: number}}",
         "a=\"007\" b=\"-\" c=\"+1\" d=\"0x1\""},
        {"true false TRUE",
         "{pattern: '(?<a>\\S+) (?<b>\\S+) (?<c>\\S+)', "
         "types: {a: bool, b: bool, c: bool}}",
         "a=true b=false c=\"TRUE\""},
        {"{\"a\": [1]}|[1, {}]|{}|[]",
         "{pattern: '(?<a>.*)\\|(?<b>.*)\\|(?<c>.*)\\|(?<d>.*)', "
         "types: {a: json, b: json, c: json, d: json}}",
         "a={\"a\": [1]} b=[1, {}] c={} d=[]"},
        {"{\"a\":}|[1,]|5|[1],\"b\":[2]|[",
         "{pattern: "
         "'(?<a>.*)\\|(?<b>.*)\\|(?<c>.*)\\|(?<d>.*)\\|(?<e>.*)', "
         "types: {a: json, b: json, c: json, d: json, e: json}}",
         "a=\"{\\\"a\\\":}\" b=\"[1,]\" c=\"5\" d=\"[1],\\\"b\\\":[2]\" e=\"[\""},
        {"12345678901234567890", "{pattern: '(?<a>.*)', types: {a: number}}",
         "a=12345678901234567890"},
        {"1 2", "{pattern: '(?<a>\\d) (?<b>\\d)', types: {b: number, a: string}}", "a=\"1\" b=2"},
        /* another field, built-in ones too */
        {"x", "{pattern: '(?<file>[^/]+)$', field: log.file.path, keep: true}",
         "message=\"x\" file=\"test.log\""},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct batch *batch = batch_of_lines(1, rows[i].line);
        assert_int_equal(run_step(batch, "parse_regex", rows[i].options), 0);
        if (strcmp(record_text(&batch->records[0]), rows[i].expected) != 0)
            fail_msg("%s by %s: %s", rows[i].line, rows[i].options, record_text(&batch->records[0]));
        assert_int_equal(batch->n_failed, 0);
        batch_done(&batch);
    }
}

static void fields_from_before_are_replaced_not_doubled(void **state)
{
    struct batch *batch = batch_of_lines(1, "1 2");
    (void)state;
    assert_int_equal(run_chain(batch, "- set: {a: x, c: y}\n"
                                      "- parse_regex: '(?<a>\\d) (?<b>\\d)'"),
                     0);
    assert_record(batch, 0, "a=\"1\" c=\"y\" b=\"2\"");
    batch_done(&batch);
}

static void a_batch_is_parsed_record_by_record(void **state)
{
    struct batch *batch = batch_of_lines(4, "a=1", "b=2", "no", "c=3");
    (void)state;
    assert_int_equal(run_chain(batch, "- drop: 'message == \"b=2\"'\n"
                                      "- parse_regex: {pattern: '^(?<k>\\w)=(?<v>\\d)', "
                                      "types: {v: number}, when: 'message != \"c=3\"'}"),
                     0);
    assert_record(batch, 0, "k=\"a\" v=1");
    assert_record(batch, 1, "dropped");
    assert_record(batch, 2,
                  "message=\"no\" error.message=\"parse_regex: the pattern does not match\"");
    assert_record(batch, 3, "message=\"c=3\"");
    assert_int_equal(batch->n_failed, 1);
    assert_int_equal(batch->n_limited, 0);
    batch_done(&batch);
}

static void what_can_not_be_parsed_goes_on_and_says_why(void **state)
{
    struct batch *batch = batch_of_lines(1, "x");
    (void)state;
    assert_int_equal(run_step(batch, "parse_regex", "{pattern: '(?<a>.)', field: missing}"), 0);
    assert_record(batch, 0,
                  "message=\"x\" error.message=\"parse_regex: the field to parse is not there\"");
    assert_int_equal(batch->n_failed, 1);
    batch_done(&batch);
}

static void a_pattern_that_explodes_is_stopped_and_counted(void **state)
{
    struct batch *batch = batch_of_lines(2, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "aaa");
    (void)state;
    assert_int_equal(run_step(batch, "parse_regex", "'^(?<a>(a+)+)$'"), 0);
    assert_record(batch, 0,
                  "message=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\" "
                  "error.message=\"parse_regex: the pattern took too many steps on this "
                  "text and was stopped\"");
    assert_record(batch, 1, "a=\"aaa\"");
    assert_int_equal(batch->n_failed, 1);
    assert_int_equal(batch->n_limited, 1);
    batch_done(&batch);
}

static void bytes_of_any_kind_are_kept(void **state)
{
    struct batch *batch = batch_empty(1024 * 1024);
    (void)state;
    batch_line(batch, slice_of("\xFF\0\x80 tail", 8));
    assert_int_equal(run_step(batch, "parse_regex", "'^(?<a>\\S+) (?<b>.*)$'"), 0);
    struct field *field = record_find(&batch->records[0], SLICE("a"));
    assert_non_null(field);
    assert_int_equal(field->value.len, 3);
    assert_memory_equal(field->value.ptr, "\xFF\0\x80", 3);
    batch_done(&batch);
}

static void values_are_slices_of_the_line(void **state)
{
    struct batch *batch = batch_of_lines(1, "GET /x 200");
    (void)state;
    assert_int_equal(run_step(batch, "parse_regex", "'^(?<m>\\S+) (?<p>\\S+)'"), 0);
    assert_ptr_equal(record_find(&batch->records[0], SLICE("p"))->value.ptr,
                     batch->records[0].line.ptr + 4);
    batch_done(&batch);
}

static void full_record_says_so_and_stays(void **state)
{
    struct batch *batch = batch_of_lines(1, "1 2");
    struct record *record = &batch->records[0];
    (void)state;
    record_add(batch, record, SLICE("error.message"), SLICE(""), FIELD_STRING);
    while (record->n_fields < RECORD_MAX_FIELDS - 1) {
        char name[16];
        int len = snprintf(name, sizeof(name), "f%u", record->n_fields);
        struct slice key = arena_copy(&batch->arena, slice_of(name, (size_t)len));
        assert_int_equal(record_add(batch, record, key, SLICE("1"), FIELD_NUMBER), 0);
    }
    assert_int_equal(run_step(batch, "parse_regex", "{pattern: '(?<a>.) (?<b>.)', keep: true}"), 0);
    assert_string_equal(field_text(record, "a"), "1");
    assert_null(field_text(record, "b"));
    assert_string_equal(field_text(record, "error.message"),
                        "parse_regex: the record has too many fields");
    batch_done(&batch);
}

/* All of them new in a record that has none: the limit holds there, too. */
static void groups_beyond_the_records_limit_are_told(void **state)
{
    enum { GROUPS = RECORD_MAX_FIELDS + 10 };
    static char yaml[GROUPS * 20];
    char line[GROUPS + 1];
    char *at = yaml + snprintf(yaml, sizeof(yaml), "- parse_regex: '");
    (void)state;
    for (unsigned i = 0; i < GROUPS; i++)
        at += snprintf(at, 20, "(?<g%u>a)?", i);
    snprintf(at, 3, "'");
    memset(line, 'a', GROUPS);
    line[GROUPS] = '\0';
    struct batch *batch = batch_of_lines(1, line);
    assert_int_equal(run_chain(batch, yaml), 0);
    assert_int_equal(batch->records[0].n_fields, RECORD_MAX_FIELDS);
    assert_int_equal(batch->n_failed, 1);
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("- parse_regex", "parse_regex needs \"pattern\"");
    assert_chain_error("- parse_regex: '(?<a>x'",
                       "pattern: missing closing parenthesis, at the end");
    assert_chain_error("- parse_regex: {patern: '(?<a>x)'}", "did you mean \"pattern\"?");
    assert_chain_error("- parse_regex: '(a)'", "the pattern has no named group: write (?<name>");
    assert_chain_error("- parse_regex: {pattern: '(?<status>.)(?<b>.)', types: {staus: number}}",
                       "types: the pattern has no group named \"staus\"; did you mean \"status\"?");
    assert_chain_error("- parse_regex: {pattern: '(?<a>.)', types: {a: int}}",
                       "a must be string, number, bool or json, not \"int\"");
}

static void a_wrong_type_is_told_with_its_place(void **state)
{
    struct error error;
    (void)state;
    assert_null(
        chain_of("- parse_regex:\n    pattern: '(?<a>.)'\n    types:\n      b: number\n", &error));
    assert_int_equal(error.line, 4);
    assert_int_equal(error.column, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_groups_become_fields),
        cmocka_unit_test(fields_from_before_are_replaced_not_doubled),
        cmocka_unit_test(a_batch_is_parsed_record_by_record),
        cmocka_unit_test(what_can_not_be_parsed_goes_on_and_says_why),
        cmocka_unit_test(a_pattern_that_explodes_is_stopped_and_counted),
        cmocka_unit_test(bytes_of_any_kind_are_kept),
        cmocka_unit_test(values_are_slices_of_the_line),
        cmocka_unit_test(full_record_says_so_and_stays),
        cmocka_unit_test(groups_beyond_the_records_limit_are_told),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_wrong_type_is_told_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
