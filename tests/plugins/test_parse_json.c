#include "tests/plugins/harness.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- one line, one step ---- */

struct example {
    const char *options, *line, *record;
};

static void assert_examples(const struct example *examples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct batch *batch = batch_of_lines(1, examples[i].line);
        assert_int_equal(run_step(batch, "parse_json", examples[i].options), 0);
        assert_record(batch, 0, examples[i].record);
        batch_done(&batch);
    }
}

static void what_is_found_takes_the_fields_place(void **state)
{
    static const struct example examples[] = {
        {"", "{\"a\":1,\"b\":\"x\"}", "a=1 b=\"x\""},
        {"", " { \"a\" : 1.10 } ", "a=1.10"},
        {"", "{}", ""},
        {"", "{\"t\":true,\"z\":null,\"o\":{\"p\":[1, 2]},\"l\":[]}",
         "t=true z=null o={\"p\":[1, 2]} l=[]"},
        {"", "{\"s\":\"\\u0041\\n\",\"k\\u0041\":0}", "s=\"A\\n\" kA=0"},
        {"", "{\"a\":1,\"message\":\"inner\",\"b\":2}", "a=1 message=\"inner\" b=2"},
        {"", "{\"\":1}", "=1"},
        {"", "{\"n\":12345678901234567890123}", "n=12345678901234567890123"},
    };
    (void)state;
    assert_examples(examples, COUNT(examples));
}

static void keep_leaves_the_field(void **state)
{
    static const struct example examples[] = {
        {"{keep: true}", "{\"a\":1}", "message=\"{\\\"a\\\":1}\" a=1"},
        {"{keep: true}", "{}", "message=\"{}\""},
        {"{keep: true}", "{\"a\":1,\"message\":2}", "message=2 a=1"},
        {"{keep: false}", "{\"a\":1}", "a=1"},
    };
    (void)state;
    assert_examples(examples, COUNT(examples));
}

static void into_stands_before_every_name(void **state)
{
    static const struct example examples[] = {
        {"{into: app.}", "{\"a\":1,\"\":2}", "app.a=1 app.=2"},
        {"{into: x}", "{\"y\":1,\"y\":2}", "xy=2"},
        {"{into: mess}", "{\"age\":1}", "message=1"},
        {"{into: mess, keep: true}", "{\"age\":1}", "message=1"},
        {"{into: ''}", "{\"a\":1}", "a=1"},
        {"{into: app.}", "{\"o\":{\"a\":1}}", "app.o={\"a\":1}"},
    };
    (void)state;
    assert_examples(examples, COUNT(examples));
}

static void of_the_same_name_the_last_one_stays(void **state)
{
    static const struct example examples[] = {
        {"", "{\"a\":1,\"b\":2,\"a\":\"x\"}", "a=\"x\" b=2"},
        {"", "{\"a\":1,\"\\u0061\":2}", "a=2"},
        {"", "{\"message\":1,\"message\":2}", "message=2"},
        /* the same length and the same bytes at the ends and in the middle: told apart none the less */
        {"", "{\"axbxc\":1,\"aybyc\":2,\"axbxc\":3}", "axbxc=3 aybyc=2"},
    };
    (void)state;
    assert_examples(examples, COUNT(examples));
}

static void a_text_that_is_no_object_stays_and_it_is_said_why(void **state)
{
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"", "the text ends too early, at offset 0"},
        {"plain text", "no JSON object begins here, at offset 0"},
        {"[1]", "no JSON object begins here, at offset 0"},
        {"{\"a\":1", "the text ends too early, at offset 6"},
        {"{\"a\":1} tail", "something stands behind the object, at offset 8"},
        {"{\"a\":1,\"b\":tru}", "there is no valid value, at offset 11"},
        {"{\"a\":1,\"b\":{\"c\":[1,]}}", "there is no valid value, at offset 19"},
        {"{\"a\":\"\\n\",\"b\":\"\\x\"}", "there is no such escape, at offset 16"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct batch *batch = batch_of_lines(1, cases[i].line);
        char why[256];
        snprintf(why, sizeof(why), "parse_json: %s", cases[i].why);
        assert_int_equal(run_step(batch, "parse_json", "{into: x.}"), 0);
        assert_int_equal(batch->n_failed, 1);
        assert_int_equal(batch->records[0].n_fields, 2);
        assert_string_equal(field_text(&batch->records[0], "message"), cases[i].line);
        assert_string_equal(field_text(&batch->records[0], "error.message"), why);
        batch_done(&batch);
    }
}

static void a_line_cut_anywhere_changes_nothing(void **state)
{
    static const char line[] = "{\"a\":\"x\\ny\",\"b\":[{\"c\":null}],\"d\":-1.5e3}";
    struct batch *batch = batch_empty((size_t)1 << 20);
    (void)state;
    for (size_t len = 0; len < sizeof(line) - 1; len++)
        batch_line(batch, slice_of(line, len));
    assert_int_equal(run_step(batch, "parse_json", ""), 0);
    assert_int_equal(batch->n_failed, sizeof(line) - 1);
    for (size_t len = 0; len < sizeof(line) - 1; len++) {
        const struct record *record = &batch->records[len];
        assert_int_equal(record->n_fields, 2);
        assert_true(slice_equal(record->fields[0].value, slice_of(line, len)));
        assert_true(slice_equal(record->fields[0].key, SLICE("message")));
        assert_true(slice_equal(record->fields[1].key, SLICE("error.message")));
    }
    batch_done(&batch);
}

static void records_go_each_their_own_way(void **state)
{
    struct batch *batch = batch_of_lines(4, "{\"a\":1}", "no", "{\"a\":2}", "{\"a\":3}");
    (void)state;
    batch->records[2].flags |= RECORD_SKIPPED;
    record_drop(batch, &batch->records[3]);
    assert_int_equal(run_step(batch, "parse_json", ""), 0);
    assert_record(batch, 0, "a=1");
    assert_record(
        batch, 1,
        "message=\"no\" error.message=\"parse_json: no JSON object begins here, at offset 0\"");
    assert_record(batch, 2, "message=\"{\\\"a\\\":2}\"");
    assert_record(batch, 3, "dropped");
    batch_done(&batch);
}

/* ---- field ---- */

static void another_field_can_be_parsed(void **state)
{
    static const struct {
        const char *chain, *line, *record;
    } cases[] = {
        {"[parse_json: {}, parse_json: {field: o}]", "{\"o\":{\"a\":1},\"b\":2}", "b=2 a=1"},
        {"[parse_json: {}, parse_json: o]", "{\"o\":{\"a\":1},\"b\":2}", "b=2 a=1"},
        {"[parse_json: {}, parse_json: {field: o, into: o.}]", "{\"o\":\"{\\\"a\\\":1}\"}", "o.a=1"},
        {"[parse_json: {}, parse_json: {field: o}]", "{\"o\":{\"b\":1},\"b\":2,\"c\":3}", "b=1 c=3"},
        {"[parse_json: {}, parse_json: {field: x}]", "{\"a\":1}",
         "a=1 error.message=\"parse_json: the field to parse is not there\""},
        {"[parse_json: {}, parse_json: {field: a}]", "{\"a\":1}",
         "a=1 error.message=\"parse_json: no JSON object begins here, at offset 0\""},
        {"[parse_json: {}, parse_json: {field: a}]", "{\"a\":[]}",
         "a=[] error.message=\"parse_json: no JSON object begins here, at offset 0\""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct batch *batch = batch_of_lines(1, cases[i].line);
        assert_int_equal(run_chain(batch, cases[i].chain), 0);
        assert_record(batch, 0, cases[i].record);
        batch_done(&batch);
    }
}

static void names_that_the_agent_adds_become_the_records_own(void **state)
{
    struct batch *batch =
        batch_of_lines(2, "{\"@timestamp\":\"t\",\"log.offset\":1}", "{\"host.name\":1");
    (void)state;
    assert_int_equal(run_step(batch, "parse_json", ""), 0);
    assert_int_equal(batch->records[0].flags, RECORD_NO_TIME | RECORD_NO_OFFSET);
    assert_int_equal(batch->records[1].flags, 0);
    batch_done(&batch);
}

/* ---- limits ---- */

/* {"k0":0,"k1":1,…} of n members. */
static struct slice object_of(unsigned n, char *buffer, size_t room)
{
    size_t len = 0;
    buffer[len++] = '{';
    for (unsigned i = 0; i < n; i++)
        len += (size_t)snprintf(buffer + len, room - len, "%s\"k%u\":%u", i == 0 ? "" : ",", i, i);
    buffer[len++] = '}';
    return slice_of(buffer, len);
}

static void members_beyond_max_fields_leave_the_record_alone(void **state)
{
    static const struct {
        const char *options;
        unsigned members;
        const char *why; /* NULL: parsed */
    } cases[] = {
        {"", 256, NULL},
        {"", 257, "parse_json: the object has more than 256 members (max_fields)"},
        {"{max_fields: 1}", 1, NULL},
        {"{max_fields: 1}", 2, "parse_json: the object has more than 1 members (max_fields)"},
        {"{max_fields: 1024}", 1024, NULL},
        {"{max_fields: 1024, keep: true}", 1023, NULL},
        {"{max_fields: 1024, keep: true}", 1024,
         "parse_json: the record would have too many fields"},
        {"{max_fields: 1024}", 1025,
         "parse_json: the object has more than 1024 members (max_fields)"},
    };
    static char buffer[32768];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct batch *batch = batch_empty((size_t)1 << 22);
        batch_line(batch, object_of(cases[i].members, buffer, sizeof(buffer)));
        assert_int_equal(run_step(batch, "parse_json", cases[i].options), 0);
        const struct record *record = &batch->records[0];
        unsigned kept = strstr(cases[i].options, "keep") != NULL;
        unsigned expected = cases[i].why == NULL ? cases[i].members + kept : 2;
        assert_int_equal(record->n_fields, expected);
        if (cases[i].why == NULL)
            assert_null(field_text(record, "error.message"));
        else
            assert_string_equal(field_text(record, "error.message"), cases[i].why);
        batch_done(&batch);
    }
}

static void the_largest_object_is_parsed_whole(void **state)
{
    static char buffer[32768];
    struct batch *batch = batch_empty((size_t)1 << 22);
    (void)state;
    batch_line(batch, object_of(RECORD_MAX_FIELDS, buffer, sizeof(buffer)));
    assert_int_equal(run_step(batch, "parse_json", "{max_fields: 1024}"), 0);
    const struct record *record = &batch->records[0];
    assert_int_equal(record->n_fields, RECORD_MAX_FIELDS);
    for (unsigned i = 0; i < RECORD_MAX_FIELDS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        assert_string_equal(field_text(record, key), key + 1);
    }
    batch_done(&batch);
}

static void a_full_arena_is_told_to_the_agent(void **state)
{
    static char buffer[32768];
    struct batch *batch = batch_empty(ARENA_CHUNK);
    (void)state;
    for (int i = 0; i < 8; i++)
        batch_line(batch, object_of(200, buffer, sizeof(buffer)));
    assert_int_equal(run_step(batch, "parse_json", "{into: app.}"), -1);
    assert_true(batch->arena.overflowed);
    batch_done(&batch);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    assert_chain_error("[parse_json: {max_fields: 0}]", "max_fields");
    assert_chain_error("[parse_json: {max_fields: 1025}]", "1024");
    assert_chain_error("[parse_json: {keep: perhaps}]", "keep");
    assert_chain_error("[parse_json: {fields: x}]", "field");
}

static void when_chooses_the_records(void **state)
{
    struct batch *batch = batch_of_lines(2, "{\"a\":1}", "no");
    (void)state;
    assert_int_equal(run_step(batch, "parse_json", "{when: 'message != \"no\"'}"), 0);
    assert_record(batch, 0, "a=1");
    assert_record(batch, 1, "message=\"no\"");
    assert_int_equal(batch->n_failed, 0);
    batch_done(&batch);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_takes_the_fields_place),
        cmocka_unit_test(keep_leaves_the_field),
        cmocka_unit_test(into_stands_before_every_name),
        cmocka_unit_test(of_the_same_name_the_last_one_stays),
        cmocka_unit_test(a_text_that_is_no_object_stays_and_it_is_said_why),
        cmocka_unit_test(a_line_cut_anywhere_changes_nothing),
        cmocka_unit_test(records_go_each_their_own_way),
        cmocka_unit_test(another_field_can_be_parsed),
        cmocka_unit_test(names_that_the_agent_adds_become_the_records_own),
        cmocka_unit_test(members_beyond_max_fields_leave_the_record_alone),
        cmocka_unit_test(the_largest_object_is_parsed_whole),
        cmocka_unit_test(a_full_arena_is_told_to_the_agent),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(when_chooses_the_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
