#include "agent/encode.h"

#include "tests/plugins/harness.h"

#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- encoding for tests ---- */

static struct arena out;
static uint64_t replaced;

static int encode(struct batch *batch)
{
    arena_reset(&out);
    replaced = 0;
    return encode_json(batch, &out, &replaced);
}

static void assert_payload(const struct record *record, const char *expected)
{
    struct slice payload = record->payload;
    if (!slice_equal(payload, slice_str(expected)))
        fail_msg("%.*s\nis not\n%s", (int)payload.len, payload.ptr, expected);
}

#define TIME "\"@timestamp\":\"2023-11-14T22:13:20.123456789Z\""
#define HOST "\"host.name\":\"web-1\""
#define PATH "\"log.file.path\":\"/var/log/test.log\""

static void set(struct batch *batch, const char *key, struct slice value, enum field_type type)
{
    assert_int_equal(record_set(batch, &batch->records[0], slice_str(key), value, type), 0);
}

/* ---- records ---- */

static void a_record_has_time_host_path_offset_and_its_fields(void **state)
{
    struct batch *batch = batch_of_lines(2, "first", "sec\"ond");
    (void)state;
    assert_int_equal(encode(batch), 0);
    assert_payload(&batch->records[0],
                   "{" TIME "," HOST "," PATH ",\"log.offset\":0,\"message\":\"first\"}");
    assert_payload(&batch->records[1],
                   "{" TIME "," HOST "," PATH ",\"log.offset\":6,\"message\":\"sec\\\"ond\"}");
    assert_int_equal(replaced, 0);
    batch_done(&batch);
}

static void fields_stand_in_their_order_by_their_type(void **state)
{
    struct batch *batch = batch_of_lines(1, "m");
    (void)state;
    set(batch, "n", SLICE("-1.10e+05"), FIELD_NUMBER);
    set(batch, "big", SLICE("12345678901234567890"), FIELD_NUMBER);
    set(batch, "t", SLICE("true"), FIELD_BOOL);
    set(batch, "z", SLICE("null"), FIELD_NULL);
    set(batch, "o", SLICE("{ \"a\" : [1 ,\"\\ud800\"]}"), FIELD_JSON);
    set(batch, "k\"\n", SLICE(""), FIELD_STRING);
    set(batch, "", (struct slice){NULL, 0}, FIELD_STRING);
    batch->records[0].flags |= RECORD_NO_TIME | RECORD_NO_HOST | RECORD_NO_PATH;
    assert_int_equal(encode(batch), 0);
    assert_payload(&batch->records[0],
                   "{\"log.offset\":0,\"message\":\"m\",\"n\":-1.10e+05,"
                   "\"big\":12345678901234567890,\"t\":true,\"z\":null,"
                   "\"o\":{ \"a\" : [1 ,\"\\ud800\"]},\"k\\\"\\n\":\"\",\"\":\"\"}");
    batch_done(&batch);
}

static void built_in_fields_are_left_out_where_flags_say_so(void **state)
{
    static const struct {
        unsigned flags;
        const char *payload;
    } cases[] = {
        {RECORD_NO_TIME, "{" HOST "," PATH ",\"log.offset\":0,\"message\":\"m\"}"},
        {RECORD_NO_HOST, "{" TIME "," PATH ",\"log.offset\":0,\"message\":\"m\"}"},
        {RECORD_NO_PATH, "{" TIME "," HOST ",\"log.offset\":0,\"message\":\"m\"}"},
        {RECORD_NO_HOST | RECORD_NO_PATH, "{" TIME ",\"log.offset\":0,\"message\":\"m\"}"},
        {RECORD_NO_OFFSET, "{" TIME "," HOST "," PATH ",\"message\":\"m\"}"},
        {RECORD_NO_TIME | RECORD_NO_HOST | RECORD_NO_PATH | RECORD_NO_OFFSET,
         "{\"message\":\"m\"}"},
        {RECORD_NO_TIME | RECORD_NO_OFFSET, "{" HOST "," PATH ",\"message\":\"m\"}"},
        {RECORD_CUT | RECORD_NO_TIME,
         "{" HOST "," PATH ",\"log.offset\":0,\"log.flags\":[\"truncated\"],\"message\":\"m\"}"},
        {RECORD_SKIPPED, "{" TIME "," HOST "," PATH ",\"log.offset\":0,\"message\":\"m\"}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct batch *batch = batch_of_lines(1, "m");
        batch->records[0].flags = (uint16_t)cases[i].flags;
        assert_int_equal(encode(batch), 0);
        assert_payload(&batch->records[0], cases[i].payload);
        batch_done(&batch);
    }
}

static void a_record_without_anything_is_an_empty_object(void **state)
{
    struct batch *batch = batch_of_lines(1, "m");
    struct record *record = &batch->records[0];
    (void)state;
    record_remove(record, SLICE("message"));
    record_remove(record, SLICE("@timestamp"));
    record_remove(record, SLICE("host.name"));
    record_remove(record, SLICE("log.file.path"));
    record_remove(record, SLICE("log.offset"));
    assert_int_equal(encode(batch), 0);
    assert_payload(record, "{}");
    batch_done(&batch);
}

static void a_field_of_the_records_own_replaces_the_agents(void **state)
{
    struct batch *batch = batch_of_lines(1, "m");
    (void)state;
    set(batch, "@timestamp", SLICE("yesterday"), FIELD_STRING);
    set(batch, "log.offset", SLICE("7"), FIELD_NUMBER);
    set(batch, "log.flags", SLICE("[]"), FIELD_JSON);
    batch->records[0].flags |= RECORD_CUT;
    assert_int_equal(encode(batch), 0);
    assert_payload(&batch->records[0],
                   "{" HOST "," PATH ",\"message\":\"m\",\"@timestamp\":\"yesterday\","
                   "\"log.offset\":7,\"log.flags\":[]}");
    batch_done(&batch);
}

static void dropped_and_discarded_records_get_no_payload(void **state)
{
    struct batch *batch = batch_of_lines(3, "a", "b", "c");
    (void)state;
    batch->records[0].flags |= RECORD_DROPPED;
    batch->records[1].flags |= RECORD_DISCARDED;
    assert_int_equal(encode(batch), 0);
    assert_null(batch->records[0].payload.ptr);
    assert_null(batch->records[1].payload.ptr);
    assert_non_null(batch->records[2].payload.ptr);
    batch->records[2].payload = (struct slice){NULL, 0};
    encode_raw(batch);
    assert_null(batch->records[0].payload.ptr);
    assert_null(batch->records[1].payload.ptr);
    assert_ptr_equal(batch->records[2].payload.ptr, batch->records[2].line.ptr);
    assert_payload(&batch->records[2], "c");
    batch_done(&batch);
}

static void times_and_offsets_of_one_batch_may_differ(void **state)
{
    static const struct {
        int64_t time;
        uint64_t begin;
        const char *payload;
    } cases[] = {
        {0, 9, "{\"@timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"log.offset\":9}"},
        {0, 10, "{\"@timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"log.offset\":10}"},
        {1, 99, "{\"@timestamp\":\"1970-01-01T00:00:00.000000001Z\",\"log.offset\":99}"},
        {0, 100, "{\"@timestamp\":\"1970-01-01T00:00:00.000000000Z\",\"log.offset\":100}"},
        {1, UINT64_MAX,
         "{\"@timestamp\":\"1970-01-01T00:00:00.000000001Z\",\"log.offset\":18446744073709551615}"},
    };
    struct batch *batch = batch_of_lines(5, "", "", "", "", "");
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct record *record = &batch->records[i];
        record_remove(record, SLICE("message"));
        record_remove(record, SLICE("host.name"));
        record_remove(record, SLICE("log.file.path"));
        record->time = cases[i].time;
        record->begin = cases[i].begin;
    }
    assert_int_equal(encode(batch), 0);
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_payload(&batch->records[i], cases[i].payload);
    batch_done(&batch);
}

static void what_is_not_utf8_is_replaced_wherever_it_stands(void **state)
{
    struct batch *batch = batch_empty((size_t)1 << 20);
    (void)state;
    struct record *record = batch_line(batch, SLICE("a\xff"
                                                    "b\xf0\x9f"));
    set(batch, "k\xc0", SLICE("{\"x\":[\"\xed\xa0\x80\",\"\xe2\x82\xac\"]}"), FIELD_JSON);
    record->flags |= RECORD_NO_TIME | RECORD_NO_HOST | RECORD_NO_PATH | RECORD_NO_OFFSET;
    assert_int_equal(encode(batch), 0);
    assert_payload(record, "{\"message\":\"a\xef\xbf\xbd"
                           "b\xef\xbf\xbd\",\"k\xef\xbf\xbd\":"
                           "{\"x\":[\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"\xe2\x82\xac\"]}}");
    assert_int_equal(replaced, 6);
    assert_int_equal(encode_json(batch, &out, &replaced), 0);
    assert_int_equal(replaced, 12); /* added to */
    batch_done(&batch);
}

static void a_json_line_comes_out_as_it_went_in(void **state)
{
    static const char line[] =
        "{\"a\":\"\\u00e9\\ud83d\\ude00\\n\",\"n\":1.10,\"o\":{\"x\":[1, 2]},\"e\":\"\"}";
    struct batch *batch = batch_of_lines(1, line);
    (void)state;
    assert_int_equal(run_step(batch, "parse_json", ""), 0);
    batch->records[0].flags |= RECORD_NO_TIME | RECORD_NO_HOST | RECORD_NO_PATH | RECORD_NO_OFFSET;
    assert_int_equal(encode(batch), 0);
    assert_payload(&batch->records[0], "{\"a\":\"\xc3\xa9\xf0\x9f\x98\x80\\n\",\"n\":1.10,"
                                       "\"o\":{\"x\":[1, 2]},\"e\":\"\"}");
    batch_done(&batch);
}

/* ---- room ---- */

static void a_full_arena_is_told(void **state)
{
    static struct arena none;
    struct batch *batch = batch_of_lines(1, "m");
    (void)state;
    arena_init(&none, NULL, 1000);
    assert_int_equal(encode_json(batch, &none, &replaced), -1);
    assert_true(none.overflowed);
    batch_done(&batch);
}

static void a_long_line_takes_little_more_than_its_length(void **state)
{
    size_t len = (size_t)1 << 20;
    char *text = (char *)malloc(len);
    struct batch *batch = batch_empty(4 * len);
    (void)state;
    assert_non_null(text);
    memset(text, 'x', len);
    batch_line(batch, slice_of(text, len));
    assert_int_equal(encode(batch), 0);
    assert_in_range(batch->records[0].payload.len, len, len + 200);
    assert_in_range(out.size, len, len + 2 * ARENA_CHUNK);
    batch_done(&batch);
    free(text);
}

/* Every length, of the worst bytes, and chunks that end everywhere: the sanitizer sees a byte too
 * many. */
static void room_is_enough_for_the_worst_bytes(void **state)
{
    static const char worst[] = {'\x01', '\xff', '"', 'x', '\xf0'};
    char text[1000];
    (void)state;
    for (size_t kind = 0; kind < sizeof(worst); kind++) {
        struct batch *batch = batch_empty((size_t)8 << 20);
        memset(text, worst[kind], sizeof(text));
        for (size_t len = 0; len < sizeof(text); len += 1 + len / 20) {
            struct record *record = batch_line(batch, slice_of(text, len));
            struct slice key = slice_of(text, len);
            assert_int_equal(record_set(batch, record, key, SLICE("1"), FIELD_NUMBER), 0);
            record->flags |= RECORD_CUT;
            record->begin = UINT64_MAX;
        }
        assert_int_equal(encode(batch), 0);
        batch_done(&batch);
    }
}

static void origins_fit_into_their_room(void **state)
{
    static const struct {
        struct slice host, path;
        const char *json;
    } cases[] = {
        {{"web", 3}, {"/a", 2}, "\"host.name\":\"web\",\"log.file.path\":\"/a\","},
        {{"web", 3}, {"", 0}, "\"host.name\":\"web\","},
        {{"", 0}, {"/a\"\n", 4}, "\"log.file.path\":\"/a\\\"\\n\","},
        {{NULL, 0}, {NULL, 0}, ""},
        {{"\x01\x02\xff", 3},
         {"\x03\x04", 2},
         "\"host.name\":\"\\u0001\\u0002\xef\xbf\xbd\",\"log.file.path\":\"\\u0003\\u0004\","},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t room = encode_origin_room(cases[i].host, cases[i].path);
        char *buffer = (char *)malloc(room);
        assert_non_null(buffer);
        size_t len = encode_origin(buffer, cases[i].host, cases[i].path);
        assert_int_equal(len, strlen(cases[i].json));
        assert_memory_equal(buffer, cases[i].json, len);
        free(buffer);
    }
}

/* ---- time ---- */

static void times_are_written_as_rfc_3339(void **state)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000000000Z"},
        {999999999, "1970-01-01T00:00:00.999999999Z"},
        {INT64_C(86399999999999), "1970-01-01T23:59:59.999999999Z"},
        {INT64_C(951782400000000001), "2000-02-29T00:00:00.000000001Z"},
        {INT64_C(951868799123456780), "2000-02-29T23:59:59.123456780Z"},
        {INT64_C(1709164800000000000), "2024-02-29T00:00:00.000000000Z"},
        {INT64_C(1767225599000000000), "2025-12-31T23:59:59.000000000Z"},
        {INT64_C(4107542400000000000), "2100-03-01T00:00:00.000000000Z"},
        {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
        {-1, "1969-12-31T23:59:59.999999999Z"},
        {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
    };
    char text[ENCODE_TIME_LEN + 1] = "";
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        encode_time(text, cases[i].ns);
        assert_string_equal(text, cases[i].text);
    }
}

/* Every day that fits, at a time of day that wanders. */
static void every_day_is_the_librarys(void **state)
{
    char text[ENCODE_TIME_LEN + 1] = "";
    char expected[64];
    (void)state;
    for (int64_t seconds = INT64_MIN / 1000000000 + 1; seconds < INT64_MAX / 1000000000 - 86400;
         seconds += 86400 - 7) {
        struct tm tm;
        time_t time = (time_t)seconds;
        assert_non_null(gmtime_r(&time, &tm));
        size_t len = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000000000Z", &tm);
        assert_int_equal(len, ENCODE_TIME_LEN);
        encode_time(text, seconds * 1000000000);
        if (strcmp(text, expected) != 0)
            fail_msg("%s is not %s", text, expected);
    }
}

static int free_all(void **state)
{
    (void)state;
    arena_reset(&out);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_has_time_host_path_offset_and_its_fields),
        cmocka_unit_test(fields_stand_in_their_order_by_their_type),
        cmocka_unit_test(built_in_fields_are_left_out_where_flags_say_so),
        cmocka_unit_test(a_record_without_anything_is_an_empty_object),
        cmocka_unit_test(a_field_of_the_records_own_replaces_the_agents),
        cmocka_unit_test(dropped_and_discarded_records_get_no_payload),
        cmocka_unit_test(times_and_offsets_of_one_batch_may_differ),
        cmocka_unit_test(what_is_not_utf8_is_replaced_wherever_it_stands),
        cmocka_unit_test(a_json_line_comes_out_as_it_went_in),
        cmocka_unit_test(a_full_arena_is_told),
        cmocka_unit_test(a_long_line_takes_little_more_than_its_length),
        cmocka_unit_test(room_is_enough_for_the_worst_bytes),
        cmocka_unit_test(origins_fit_into_their_room),
        cmocka_unit_test(times_are_written_as_rfc_3339),
        cmocka_unit_test(every_day_is_the_librarys),
    };
    arena_init(&out, NULL, (size_t)64 << 20);
    return cmocka_run_group_tests(tests, NULL, free_all);
}
