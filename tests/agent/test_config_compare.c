#include "agent/config_sections.h"

#include "tests/agent/harness.h"

#define AGENT "agent: {id: web-1, workers: 2}\n"
#define KAFKA "kafka: {brokers: [k:9092], properties: {linger.ms: 5}}\n"
#define APP   "streams: {app: {tail: {paths: [/a]}, chain: [{set: {x: '1'}}], ship: {topic: t}}}\n"

static struct config *load(const char *text)
{
    struct error error;
    struct config *config = config_load_text(slice_str(text), "x.yaml", &error);
    if (config == NULL)
        fail_msg("%s\n%d:%d: %s", text, error.line, error.column, error.text);
    return config;
}

static void stream_is_equal_wherever_it_stands_and_however_it_is_written(void **state)
{
    (void)state;
    static const char *const same[] = {
        APP AGENT KAFKA,
        AGENT KAFKA "# a comment\nstreams:\n  other: {tail: {paths: [/b]}, ship: {topic: t}}\n"
                    "  app:\n    tail:\n      paths:\n      - /a\n    chain:\n    - set:\n"
                    "        x: '1'\n    ship:\n      topic: t\n",
        "agent: {id: web-2, workers: 2, memory: 64MiB}\nkafka: {brokers: [l:9092]}\n" APP,
    };
    struct config *config = load(AGENT KAFKA APP);
    for (size_t i = 0; i < ROWS(same); i++) {
        struct config *other = load(same[i]);
        assert_true(config_stream_equal(config, config_named(config, "app"), other,
                                        config_named(other, "app")));
        config_free(&other);
    }
    config_free(&config);
}

static void stream_is_another_one_when_it_says_something_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool tail_equal;
    } others[] = {
        {"streams: {app: {tail: {paths: [/b]}, chain: [{set: {x: '1'}}], ship: {topic: t}}}\n",
         false},
        {"streams: {app: {tail: {paths: [/a, /b]}, chain: [{set: {x: '1'}}], ship: {topic: t}}}\n",
         false},
        {"streams: {app: {tail: {paths: [/a]}, chain: [{set: {x: '2'}}], ship: {topic: t}}}\n",
         true},
        {"streams: {app: {tail: {paths: [/a]}, chain: [{set: {x: 1}}], ship: {topic: t}}}\n", true},
        {"streams: {app: {tail: {paths: [/a]}, chain: [{set: {y: '1'}}], ship: {topic: t}}}\n",
         true},
        {"streams: {app: {tail: {paths: [/a]}, ship: {topic: t}}}\n", true},
        {"streams: {app: {tail: {paths: [/a]}, chain: [{set: {x: '1'}}], ship: {topic: u}}}\n",
         true},
    };
    struct config *config = load(AGENT KAFKA APP);
    for (size_t i = 0; i < ROWS(others); i++) {
        char text[500];
        snprintf(text, sizeof(text), AGENT KAFKA "%s", others[i].text);
        struct config *other = load(text);
        const struct config_stream *a = config_named(config, "app");
        const struct config_stream *b = config_named(other, "app");
        assert_false(config_stream_equal(config, a, other, b));
        assert_int_equal(config_tail_equal(a, b), others[i].tail_equal);
        config_free(&other);
    }
    config_free(&config);
}

static void kafka_clients_depend_on_brokers_properties_and_the_id(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool equal;
    } others[] = {
        {AGENT KAFKA APP, true},
        {"agent: {id: web-1, workers: 1, drain: 1s}\n" KAFKA APP, true},
        {"agent: {id: web-2}\n" KAFKA APP, false},
        {AGENT "kafka: {brokers: [k:9092, l:9092], properties: {linger.ms: 5}}\n" APP, false},
        {AGENT "kafka: {brokers: [l:9092], properties: {linger.ms: 5}}\n" APP, false},
        {AGENT "kafka: {brokers: [k:9092], properties: {linger.ms: 6}}\n" APP, false},
        {AGENT "kafka: {brokers: [k:9092], properties: {retry.backoff.ms: 5}}\n" APP, false},
        {AGENT "kafka: {brokers: [k:9092]}\n" APP, false},
    };
    struct config *config = load(AGENT KAFKA APP);
    for (size_t i = 0; i < ROWS(others); i++) {
        struct config *other = load(others[i].text);
        assert_int_equal(config_kafka_equal(config, other), others[i].equal);
        config_free(&other);
    }
    config_free(&config);
}

static void what_needs_a_restart_is_told_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key;
        int line, column;
    } others[] = {
        {AGENT KAFKA APP, NULL, 0, 0},
        {"agent: {id: web-2, workers: 2, memory: 1MiB, log_level: debug}\n" KAFKA APP, NULL, 0, 0},
        {"agent: {id: web-1, workers: 3}\n" KAFKA APP, "agent.workers", 1, 20},
        {"agent: {id: web-1}\n" KAFKA APP, "agent.workers", 1, 1},
        {KAFKA APP, "agent.workers", 1, 1},
        {KAFKA "agent:\n  workers: 2\n  state: /x\n" APP, "agent.state", 4, 3},
        {"agent: {open_files: 100, workers: 2}\n" KAFKA APP, "agent.open_files", 1, 9},
        {AGENT KAFKA "streams:\n  app: {tail: {paths: [/a]},\n"
                     "        ship: {topic: t, partitioner: murmur2}}\n",
         "ship.partitioner", 5, 26},
    };
    struct config *config = load(AGENT KAFKA APP);
    for (size_t i = 0; i < ROWS(others); i++) {
        char expected[200];
        struct error error;
        struct config *other = load(others[i].text);
        bool wrong = others[i].key != NULL;
        assert_int_equal(config_check_reload(config, other, &error), wrong ? -1 : 0);
        if (wrong) {
            snprintf(expected, sizeof(expected),
                     "%s is another one: that needs a restart, a reload can't change it",
                     others[i].key);
            assert_string_equal(error.text, expected);
            assert_string_equal(error.file, "x.yaml");
            assert_int_equal(error.line, others[i].line);
            assert_int_equal(error.column, others[i].column);
        }
        config_free(&other);
    }
    config_free(&config);
}

static void configuration_lives_until_its_last_holder_frees_it(void **state)
{
    (void)state;
    struct config *config = load(AGENT KAFKA APP), *held = config_hold(config);
    config_free(&config);
    assert_null(config);
    assert_string_equal(held->streams[0].name, "app");
    config_free(&held);
}

int main(void)
{
    const char *build = getenv("BUILD");
    char plugins[PATH_MAX];
    snprintf(plugins, sizeof(plugins), "%s/plugins", build == NULL ? "build" : build);
    setenv("SPLASHDAM_PLUGINS", plugins, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_is_equal_wherever_it_stands_and_however_it_is_written),
        cmocka_unit_test(stream_is_another_one_when_it_says_something_else),
        cmocka_unit_test(kafka_clients_depend_on_brokers_properties_and_the_id),
        cmocka_unit_test(what_needs_a_restart_is_told_with_its_place),
        cmocka_unit_test(configuration_lives_until_its_last_holder_frees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
