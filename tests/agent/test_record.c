#include "agent/batch.h"
#include "agent/encode.h"

#include "tests/agent/harness.h"

struct rig {
    struct batch_pool pool;
    struct batch_private *batch;
    struct record *record;
    struct origin origin;
};

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    batch_pool_init(&rig->pool, 4, (size_t)1 << 20);
    rig->batch = batch_take(&rig->pool, SLICE("web1"));
    rig->origin.path = SLICE("/var/log/x.log");
    rig->batch->origins[0] = &rig->origin;
    rig->record = rig->batch->b.records;
    rig->batch->b.n_records = 1;
    *rig->record =
        (struct record){.line = SLICE("line"), .begin = 4711, .time = 1700000000123456789};
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    batch_pool_fini(&rig->pool);
    free(rig);
    return 0;
}

static void assert_slice(struct slice text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.ptr, expected, text.len);
}

static void assert_keys(const struct record *record, const char *expected)
{
    char keys[256] = "";
    size_t len = 0;
    for (unsigned i = 0; i < record->n_fields; i++)
        len += (size_t)snprintf(keys + len, sizeof(keys) - len, "%.*s ",
                                (int)record->fields[i].key.len, record->fields[i].key.ptr);
    assert_string_equal(keys, expected);
}

static void setting_replaces_in_place_and_removing_keeps_the_order(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct batch *batch = &rig->batch->b;
    struct record *r = rig->record;
    assert_int_equal(record_add(batch, r, SLICE("a"), SLICE("1"), FIELD_NUMBER), 0);
    assert_int_equal(record_set(batch, r, SLICE("b"), SLICE("x"), FIELD_STRING), 0);
    assert_int_equal(record_set(batch, r, SLICE("c"), SLICE("true"), FIELD_BOOL), 0);
    assert_int_equal(record_set(batch, r, SLICE("b"), SLICE("null"), FIELD_NULL), 0);
    assert_keys(r, "a b c ");
    assert_slice(record_find(r, SLICE("b"))->value, "null");
    assert_int_equal(record_find(r, SLICE("b"))->type, FIELD_NULL);
    assert_true(record_remove(r, SLICE("a")));
    assert_keys(r, "b c ");
    assert_false(record_remove(r, SLICE("a")));
    assert_true(record_remove(r, SLICE("c")));
    assert_true(record_remove(r, SLICE("b")));
    assert_keys(r, "");
    assert_null(record_find(r, SLICE("b")));
}

static void a_record_has_at_most_its_limit_of_fields(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static char keys[RECORD_MAX_FIELDS + 1][8];
    for (unsigned i = 0; i <= RECORD_MAX_FIELDS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%u", i);
        int result = record_set(&rig->batch->b, rig->record, slice_str(keys[i]), slice_str(keys[i]),
                                FIELD_STRING);
        assert_int_equal(result, i < RECORD_MAX_FIELDS ? 0 : -1);
    }
    assert_int_equal(rig->record->n_fields, RECORD_MAX_FIELDS);
    for (unsigned i = 0; i < RECORD_MAX_FIELDS; i++)
        assert_slice(record_find(rig->record, slice_str(keys[i]))->value, keys[i]);
    /* Replacing needs no room. */
    assert_int_equal(
        record_set(&rig->batch->b, rig->record, SLICE("k7"), SLICE("new"), FIELD_STRING), 0);
}

static void built_in_fields_are_found_without_being_set(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char time[ENCODE_TIME_LEN + 1] = "";
    encode_time(time, rig->record->time);
    const struct {
        struct slice key;
        const char *value;
        enum field_type type;
        unsigned flag;
    } rows[] = {
        {SLICE("host.name"), "web1", FIELD_STRING, RECORD_NO_HOST},
        {SLICE("log.file.path"), "/var/log/x.log", FIELD_STRING, RECORD_NO_PATH},
        {SLICE("log.offset"), "4711", FIELD_NUMBER, RECORD_NO_OFFSET},
        {SLICE("@timestamp"), time, FIELD_STRING, RECORD_NO_TIME},
    };
    struct field field;
    for (size_t i = 0; i < ROWS(rows); i++) {
        assert_true(record_get(&rig->batch->b, rig->record, rows[i].key, &field));
        assert_slice(field.value, rows[i].value);
        assert_int_equal(field.type, rows[i].type);
        assert_true(slice_equal(field.key, rows[i].key));
        assert_null(record_find(rig->record, rows[i].key));

        /* Set: the value set counts, and the agent adds none of its own. */
        assert_int_equal(
            record_set(&rig->batch->b, rig->record, rows[i].key, SLICE("mine"), FIELD_STRING), 0);
        assert_int_equal(rig->record->flags, rows[i].flag);
        assert_true(record_get(&rig->batch->b, rig->record, rows[i].key, &field));
        assert_slice(field.value, "mine");

        /* Removed: gone, and not back. */
        assert_true(record_remove(rig->record, rows[i].key));
        assert_false(record_get(&rig->batch->b, rig->record, rows[i].key, &field));
        assert_false(record_remove(rig->record, rows[i].key));

        rig->record->flags = 0;
        assert_true(record_remove(rig->record, rows[i].key)); /* never set, but there */
        assert_false(record_get(&rig->batch->b, rig->record, rows[i].key, &field));
        rig->record->flags = 0;
    }
    assert_false(record_get(&rig->batch->b, rig->record, SLICE("host.nam"), &field));
    assert_false(record_get(&rig->batch->b, rig->record, SLICE("host.names"), &field));
}

static void built_in_fields_that_are_empty_are_not_there(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct field field;
    rig->batch->b.host = SLICE("");
    rig->origin.path = SLICE("");
    assert_false(record_get(&rig->batch->b, rig->record, SLICE("host.name"), &field));
    assert_false(record_get(&rig->batch->b, rig->record, SLICE("log.file.path"), &field));
}

static void dropping_is_counted_and_the_record_seen_no_more(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct batch *batch = &rig->batch->b;
    batch->n_records = 4;
    for (int i = 0; i < 4; i++)
        batch->records[i] = (struct record){0};
    record_drop(batch, &batch->records[0]);
    record_drop(batch, &batch->records[2]);
    batch->records[3].flags = RECORD_SKIPPED;
    assert_int_equal(batch->n_dropped, 2);
    struct record *r = batch_next(batch, NULL);
    assert_ptr_equal(r, &batch->records[1]);
    assert_null(batch_next(batch, r));
}

static void failing_says_why_and_the_record_goes_on(void **state)
{
    struct rig *rig = (struct rig *)*state;
    record_fail(&rig->batch->b, rig->record, "json", "no object");
    record_fail(&rig->batch->b, rig->record, "kv", "no pairs");
    assert_int_equal(rig->batch->b.n_failed, 2);
    assert_int_equal(rig->record->n_fields, 1);
    assert_slice(record_find(rig->record, SLICE("error.message"))->value, "kv: no pairs");
    assert_int_equal(rig->record->flags, 0);
}

static void a_full_arena_is_an_error_and_nothing_is_torn(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct batch *batch = &rig->batch->b;
    struct field field;
    batch->arena.limit = 0;
    assert_int_equal(record_set(batch, rig->record, SLICE("a"), SLICE("b"), FIELD_STRING), -1);
    assert_int_equal(rig->record->n_fields, 0);
    assert_false(record_get(batch, rig->record, SLICE("@timestamp"), &field));
    record_fail(batch, rig->record, "json", "no object");
    assert_int_equal(batch->n_failed, 1);
    assert_true(batch->arena.overflowed);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(setting_replaces_in_place_and_removing_keeps_the_order),
        RIG(a_record_has_at_most_its_limit_of_fields),
        RIG(built_in_fields_are_found_without_being_set),
        RIG(built_in_fields_that_are_empty_are_not_there),
        RIG(dropping_is_counted_and_the_record_seen_no_more),
        RIG(failing_says_why_and_the_record_goes_on),
        RIG(a_full_arena_is_an_error_and_nothing_is_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
