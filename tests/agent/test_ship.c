#include "agent/ship.h"

#include "agent/config_sections.h"
#include "agent/headers.h"
#include "tests/agent/harness.h"

struct rig {
    struct config *config;
    struct stream stream;
    struct batch_pool pool;
    struct batch_private *batch;
};

/* A stream of which `ship` says what is shipped; a batch of two records, of which the second has the field app. */
static void rig_open(struct rig *rig, const char *ship)
{
    char text[512];
    struct error error;
    *rig = (struct rig){.config = NULL};
    snprintf(text, sizeof(text),
             "kafka: {brokers: embedded}\n"
             "streams: {s: {tail: {paths: [/l]}, ship: {topic: t, encode: raw%s}}}\n",
             ship);
    rig->config = config_load_text(slice_str(text), "test.yaml", &error);
    if (rig->config == NULL)
        fail_msg("%s", error.text);
    rig->stream.config = &rig->config->streams[0];
    rig->stream.topic = (struct topic *)rig; /* only not NULL */
    batch_pool_init(&rig->pool, 4, (size_t)4 << 20);
    rig->batch = batch_take(&rig->pool, SLICE("h"));
    rig->batch->stream = &rig->stream;
    rig->batch->time = 1000;
    for (uint32_t i = 0; i < 2; i++)
        rig->batch->b.records[i] = (struct record){.line = SLICE("line"), .time = 1000};
    rig->batch->b.n_records = 2;
    assert_int_equal(record_add(&rig->batch->b, &rig->batch->b.records[1], SLICE("app"),
                                SLICE("web"), FIELD_STRING),
                     0);
}

static int prepare(struct rig *rig)
{
    uint64_t discarded = 0, replaced = 0;
    return ship_prepare(NULL, rig->batch, &discarded, &replaced);
}

static void rig_close(struct rig *rig)
{
    batch_give(&rig->pool, rig->batch);
    batch_pool_fini(&rig->pool);
    config_free(&rig->config);
}

/* `name=value ` of each. */
static void assert_headers(const struct rig *rig, uint32_t i, const char *expected)
{
    char text[256] = "";
    size_t len = 0;
    struct slice rest = rig->batch->extras[i].headers, name, value;
    while (headers_next(&rest, &name, &value) == 1)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s=%.*s ", (int)name.len,
                                name.ptr, (int)value.len, value.ptr);
    assert_string_equal(text, expected);
}

static void a_header_is_left_out_when_a_field_of_it_is_missing(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig,
             ", headers: {a: b, app: '%{app}', both: 'x-%{app}', sure: '%{app:-none}', no: ''}");
    assert_int_equal(prepare(&rig), 0);
    assert_headers(&rig, 0, "a=b sure=none no= ");
    assert_headers(&rig, 1, "a=b app=web both=x-web sure=web no= ");
    rig_close(&rig);
}

static void what_is_dropped_is_no_message(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, ", headers: {a: b}");
    record_drop(&rig.batch->b, &rig.batch->b.records[0]);
    assert_int_equal(prepare(&rig), 0);
    assert_int_equal(rig.batch->n_messages, 1);
    assert_memory_equal(rig.batch->messages[0].payload, rig.batch->b.records[1].payload.ptr, 1);
    assert_headers(&rig, 0, "a=b ");
    rig_close(&rig);
}

static void messages_without_headers_and_times_of_their_own_go_out_many_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *ship;
        int64_t time; /* of the second record */
        bool own;
    } rows[] = {
        {"", 1000, false},
        {"", 1001, true},
        {", timestamp: read", 1001, false},
        {", headers: {a: '%{b}'}", 1000, true},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct rig rig;
        rig_open(&rig, rows[i].ship);
        rig.batch->b.records[1].time = rows[i].time;
        assert_int_equal(prepare(&rig), 0);
        assert_int_equal(rig.batch->extras != NULL, rows[i].own);
        rig_close(&rig);
    }
}

static void names_of_headers_are_checked(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"sd: x", "proof: true"}, {"'': x", "needs a name"}, {"a: '%{'", "%{"}};
    for (size_t i = 0; i < ROWS(wrong); i++) {
        char text[256];
        struct error error;
        snprintf(text, sizeof(text),
                 "kafka: {brokers: embedded}\n"
                 "streams: {s: {tail: {paths: [/l]}, ship: {topic: t, headers: {%s}}}}\n",
                 wrong[i][0]);
        assert_null(config_load_text(slice_str(text), "test.yaml", &error));
        if (strstr(error.text, wrong[i][1]) == NULL || error.line != 2)
            fail_msg("%d: %s", error.line, error.text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_left_out_when_a_field_of_it_is_missing),
        cmocka_unit_test(what_is_dropped_is_no_message),
        cmocka_unit_test(messages_without_headers_and_times_of_their_own_go_out_many_at_once),
        cmocka_unit_test(names_of_headers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
