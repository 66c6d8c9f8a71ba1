/* covers: agent/config.c, agent/config_check.c, agent/config_sections.c */
#include "agent/config_sections.h"

#include "agent/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/agent/made_plugin.h"

static char folder[] = "/tmp/test_config.XXXXXX";
static char path_of[512];

static const char *in_folder(const char *name)
{
    snprintf(path_of, sizeof(path_of), "%s/%s", folder, name);
    return path_of;
}

static void put(const char *name, const char *text)
{
    FILE *out = fopen(in_folder(name), "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static struct config *load(const char *text, struct error *error)
{
    return config_load_text(slice_str(text), "x.yaml", error);
}

static struct config *load_ok(const char *text)
{
    struct error error;
    struct config *config = load(text, &error);
    if (config == NULL)
        fail_msg("%s\n%d:%d: %s", text, error.line, error.column, error.text);
    return config;
}

#define KAFKA  "kafka: {brokers: [k:9092]}\n"
#define STREAM "streams: {s: {tail: {paths: [/a]}, ship: {topic: t}}}\n"

/* ---- what is right ---- */

static void the_whole_example_is_loaded(void **state)
{
    struct slice text;
    (void)state;
    setenv("SD_HOST", "web", 1);
    struct config *config =
        load_ok("agent:\n"
                "  id: web-1\n"
                "  state: /var/lib/x\n"
                "  workers: 3\n"
                "  drain: 2s\n"
                "  memory: 1MiB\n"
                "  log_level: debug\n"
                "kafka:\n"
                "  brokers: [kafka-1:9092, '[2001:db8::1]:9093']\n"
                "  delivery: at-least-once\n"
                "  properties: {compression.codec: zstd, linger.ms: 20}\n"
                "streams:\n"
                "  nginx:\n"
                "    tail: {paths: [/var/log/nginx/*.log, /b], exclude: ['*.gz'], start: end,\n"
                "           max_line: 64KiB, rescan: 1m}\n"
                "    chain:\n"
                "      - pass\n"
                "      - pass: {text: '${SD_HOST}', when: 'status == 404'}\n"
                "    ship:\n"
                "      topic: logs.nginx\n"
                "      key: '%{client}'\n"
                "      partitioner: murmur2_random\n"
                "      encode: raw\n"
                "  other: {tail: {paths: /c}, ship: {topic: 'logs.%{app}'}}\n");
    assert_string_equal(config->agent.id, "web-1");
    assert_string_equal(config->agent.state, "/var/lib/x");
    assert_int_equal(config->agent.workers, 3);
    assert_int_equal(config->agent.drain, 2000);
    assert_int_equal(config->agent.memory, 1 << 20);
    assert_int_equal(config->agent.log_level, 3);
    assert_false(config->kafka.embedded);
    assert_int_equal(config->kafka.brokers.n, 2);
    assert_string_equal(config->kafka.brokers.items[1], "[2001:db8::1]:9093");
    assert_int_equal(config->kafka.properties.n, 2);
    assert_string_equal(config->kafka.properties.items[1].value, "20");
    assert_int_equal(config->n_streams, 2);
    const struct config_stream *nginx = &config->streams[0];
    assert_string_equal(nginx->name, "nginx");
    assert_int_equal(nginx->tail.paths.n, 2);
    assert_string_equal(nginx->tail.exclude.items[0], "*.gz");
    assert_int_equal(nginx->tail.start, START_END);
    assert_int_equal(nginx->tail.max_line, 65536);
    assert_int_equal(nginx->tail.rescan, 60000);
    assert_non_null(nginx->chain);
    assert_true(template_constant(nginx->ship.topic, &text));
    assert_true(slice_equal(text, SLICE("logs.nginx")));
    assert_false(template_constant(nginx->ship.key, &text));
    assert_string_equal(nginx->ship.partitioner, "murmur2_random");
    assert_int_equal(nginx->ship.encode, ENCODE_RAW);
    assert_null(config->streams[1].chain);
    config_free(&config);
    assert_null(config);
}

static void the_spool_has_its_options_and_defaults(void **state)
{
    (void)state;
    struct config *config = load_ok(KAFKA STREAM);
    assert_int_equal(config->spool.max_bytes, 1 << 30);
    assert_int_equal(config->spool.after, 5000);
    assert_int_equal(config->spool.when_full, SPOOL_BLOCK);
    assert_int_equal(config->spool.fsync, 1000);
    assert_int_equal(config->spool.segment_bytes, 16 << 20);
    assert_true(config->spool.max_age <= 0);
    assert_int_equal(config->spool.compression, SPOOL_LZ4);
    assert_null(config->spool.key_file);
    config_free(&config);
    config = load_ok("spool: {max_bytes: 0, after: 1m, when_full: drop_oldest, fsync: always,\n"
                     "        segment_bytes: 64KiB, max_age: 1d, compression: zstd}\n" KAFKA STREAM);
    assert_int_equal(config->spool.max_bytes, 0);
    assert_int_equal(config->spool.after, 60000);
    assert_int_equal(config->spool.when_full, SPOOL_DROP_OLDEST);
    assert_true(config->spool.fsync < 0);
    assert_int_equal(config->spool.segment_bytes, 65536);
    assert_int_equal(config->spool.max_age, 86400000);
    assert_int_equal(config->spool.compression, SPOOL_ZSTD);
    config_free(&config);
}

static void the_options_of_open_files_are_loaded(void **state)
{
    (void)state;
    struct config *config =
        load_ok("agent: {open_files: 100, workers: 25}\n" KAFKA
                "streams: {s: {tail: {paths: [/a], close_idle: 1h, close_removed: true,\n"
                "  unlinked_max_bytes: 1MiB, ignore_older: 2d, read_order: oldest, start: 1d},\n"
                "  ship: {topic: t}}}\n");
    const struct config_tail *tail = &config->streams[0].tail;
    assert_int_equal(config->agent.open_files, 100);
    assert_int_equal(tail->close_idle, 3600000);
    assert_true(tail->close_removed);
    assert_int_equal(tail->unlinked_max, 1 << 20);
    assert_int_equal(tail->ignore_older, 2 * 86400000);
    assert_int_equal(tail->read_order, ORDER_OLDEST);
    assert_int_equal(tail->start, 86400000);
    config_free(&config);
}

static void defaults_are_the_documented_ones(void **state)
{
    char host[256] = "";
    (void)state;
    gethostname(host, sizeof(host) - 1);
    struct config *config = load_ok(KAFKA STREAM);
    assert_string_equal(config->file, "x.yaml");
    assert_string_equal(config->host, host);
    assert_string_equal(config->agent.id, host);
    assert_string_equal(config->agent.state, "/var/lib/splashdam");
    assert_int_equal(config->agent.workers, 1);
    assert_int_equal(config->agent.drain, 10000);
    assert_int_equal(config->agent.memory, 32 << 20);
    assert_int_equal(config->agent.log_level, 2);
    assert_null(config->agent.plugins);
    const struct config_stream *stream = &config->streams[0];
    assert_int_equal(stream->tail.start, START_BEGINNING);
    assert_int_equal(stream->tail.close_idle, 300000);
    assert_false(stream->tail.close_removed);
    assert_int_equal(stream->tail.unlinked_max, 1 << 30);
    assert_true(stream->tail.ignore_older < 0);
    assert_int_equal(stream->tail.read_order, ORDER_FOUND);
    assert_true(config->agent.open_files < 0);
    assert_int_equal(stream->tail.max_line, 1 << 20);
    assert_int_equal(stream->tail.rescan, 10000);
    assert_null(stream->ship.key);
    assert_string_equal(stream->ship.partitioner, "consistent_random");
    assert_int_equal(stream->ship.encode, ENCODE_JSON);
    config_free(&config);
}

static void brokers_may_be_one_text_or_embedded(void **state)
{
    (void)state;
    struct config *config = load_ok("kafka: {brokers: 'a:1, b.c:2 ,d:65535'}\n" STREAM);
    assert_int_equal(config->kafka.brokers.n, 3);
    assert_string_equal(config->kafka.brokers.items[1], "b.c:2");
    config_free(&config);
    config = load_ok("kafka: {brokers: embedded}\n" STREAM);
    assert_true(config->kafka.embedded);
    config_free(&config);
}

static void auto_is_a_worker_for_each_processor(void **state)
{
    (void)state;
    struct config *config = load_ok("agent: {workers: auto}\n" KAFKA STREAM);
    assert_true(config->agent.workers >= 1);
    assert_true(config->agent.workers <= sysconf(_SC_NPROCESSORS_CONF));
    config_free(&config);
}

static void aliases_may_be_used(void **state)
{
    (void)state;
    struct config *config = load_ok(KAFKA "streams:\n"
                                          "  a: {tail: {paths: /a}, ship: &s {topic: t}}\n"
                                          "  b: {tail: {paths: /b}, ship: *s}\n");
    assert_int_equal(config->n_streams, 2);
    config_free(&config);
}

static void streams_are_found_by_name(void **state)
{
    struct error error;
    (void)state;
    struct config *config = load_ok(KAFKA STREAM);
    assert_ptr_equal(config_stream(config, "s", &error), &config->streams[0]);
    assert_null(config_stream(config, "other", &error));
    assert_string_equal(error.text, "no stream \"other\" in x.yaml; there is \"s\"");
    config_free(&config);
    config = load_ok(KAFKA "streams: {nginx: {tail: {paths: /a}, ship: {topic: t}}}\n");
    assert_null(config_stream(config, "ngnix", &error));
    assert_string_equal(error.text, "no stream \"ngnix\" in x.yaml; did you mean \"nginx\"?");
    config_free(&config);
}

/* ---- what is wrong ---- */

#define TAIL            "tail: {paths: [/a]}"
#define IN_STREAM(text) KAFKA "streams:\n  s: {" text "}\n"
#define IN_CHAIN(text)  KAFKA "streams:\n  s:\n    " TAIL "\n    ship: {topic: t}\n    chain:\n" text

static const struct {
    const char *text;
    int line;
    int column;
    const char *says;
} wrong[] = {
    /* the file */
    {"", 1, 1, "kafka needs \"brokers\""},
    {KAFKA, 1, 1, "no stream is configured"},
    {KAFKA "streams:\n", 1, 1, "no stream is configured"},
    {KAFKA "streams: {}\n", 1, 1, "no stream is configured"},
    {"[a]", 1, 1, "a configuration is a mapping, not a list"},
    {"a", 1, 1, "a configuration is a mapping, not a text"},
    {"stream: {}\n", 1, 1, "unknown key \"stream\" in the configuration; did you mean \"streams\"?"},
    {"http: {}\n", 1, 1, "unknown key \"http\" in the configuration; known are: agent, include"},
    {"spool: {max: 1}\n" KAFKA STREAM, 1, 9, "unknown key \"max\""},
    {"spool: {max_bytes: 1000}\n" KAFKA STREAM, 1, 20, "at least 1MiB"},
    {"spool: {when_full: drop}\n" KAFKA STREAM, 1, 20, "drop_oldest"},
    {"spool: {fsync: never}\n" KAFKA STREAM, 1, 16, "always"},
    {"spool: {key_file: key}\n" KAFKA STREAM, 1, 19, "key_file must be absolute"},
    {"spool: {key_file: /missing/key}\n" KAFKA STREAM, 1, 19, "/missing/key"},
    {"include: x\n", 1, 10, "include is not allowed here"},
    {"kafka: {brokers: [a:1]\nagent: 1\n", 2, 1, "not valid YAML"},
    /* agent */
    {"agent: 1\n", 1, 8, "agent must be a mapping of options, not a text"},
    {"agent: {worker: 2}\n", 1, 9, "unknown key \"worker\" in agent; did you mean \"workers\"?"},
    {"agent: {workers: 0}\n", 1, 18, "workers must be a whole number from 1 to 256 or auto"},
    {"agent: {workers: -1}\n", 1, 18, "workers must be"},
    {"agent: {workers: 3, open_files: 11}\n", 1, 33,
     "open_files must be at least 4 for each of the 3 workers"},
    {"agent: {open_files: 7}\n", 1, 21, "open_files must be a whole number from 8 to"},
    {"agent: {drain: 5}\n", 1, 16, "drain must be a time such as 5s"},
    {"agent: {memory: 1KiB}\n", 1, 17, "of at least 1MiB, not \"1KiB\""},
    {"agent: {log_level: trace}\n", 1, 20, "log_level must be error, warn, info or debug"},
    {"agent: {id: 'a b'}\n", 1, 13, "id must be of 1 to 64 letters"},
    {"agent: {id: ''}\n", 1, 13, "id must be of 1 to 64 letters"},
    {"agent: {state: var}\n", 1, 16, "state must be absolute"},
    {"agent: {plugins: p}\n", 1, 18, "plugins must be absolute"},
    /* kafka */
    {"kafka: {broker: a}\n", 1, 9, "unknown key \"broker\" in kafka; did you mean \"brokers\"?"},
    {"agent: {}\nkafka: {}\n", 2, 8, "kafka needs \"brokers\""},
    {"kafka: {brokers: []}\n", 1, 18, "brokers must be a text or a list of texts, not empty"},
    {"kafka: {brokers: k}\n", 1, 18, "\"k\" is no broker: brokers must be host:port"},
    {"kafka: {brokers: [a:1, 'b:']}\n", 1, 24, "\"b:\" is no broker"},
    {"kafka: {brokers: ['a:1,,b:2']}\n", 1, 19, "\"\" is no broker"},
    {"kafka: {brokers: [a:0]}\n", 1, 19, "\"a:0\" is no broker"},
    {"kafka: {brokers: [a:65536]}\n", 1, 19, "\"a:65536\" is no broker"},
    {"kafka: {brokers: ['::1:9092']}\n", 1, 19, "is no broker"},
    {"kafka: {brokers: [embedded, a:1]}\n", 1, 19, "\"embedded\" is no broker"},
    {"kafka: {brokers: k:1, delivery: exactly-once, positions: a b}\n", 1, 58,
     "\"a b\" is no topic's name"},
    {"kafka:\n  brokers: k:1\n  properties: {transactional.id: a}\n", 3, 16,
     "it is kafka.delivery that asks for transactions"},
    {"kafka:\n  brokers: k:1\n  properties: {enable.idempotence: 'false'}\n", 3, 16,
     "enable.idempotence must be true"},
    {"kafka: {brokers: k:1, delivery: once}\n", 1, 33,
     "delivery must be at-least-once or exactly-once"},
    {"kafka:\n  brokers: k:1\n  properties: {lingerms: 1}\n", 3, 16, "lingerms"},
    {"kafka:\n  brokers: k:1\n  properties: {linger.ms: x}\n", 3, 16, "linger.ms"},
    {"kafka:\n  brokers: k:1\n  properties: {acks: 0}\n", 3, 16, "acks"},
    /* streams */
    {KAFKA "streams: [a]\n", 2, 10, "streams must be a mapping of names to streams"},
    {KAFKA "streams: {'a b': {}}\n", 2, 11, "a stream's name must be of 1 to 64"},
    {KAFKA "streams: {'': {}}\n", 2, 11, "a stream's name must be"},
    {KAFKA "streams: {a: }\n", 2, 11,
     "stream \"a\" must be a mapping with tail and ship, not nothing"},
    {KAFKA "streams: {a: x}\n", 2, 11, "not a text"},
    {KAFKA "streams: {a: {}}\n", 2, 11, "stream \"a\" needs \"tail\""},
    {IN_STREAM(TAIL), 3, 3, "stream \"s\" needs \"ship\""},
    {IN_STREAM("tial: 1"), 3, 7, "unknown key \"tial\" in stream \"s\"; did you mean \"tail\"?"},
    {IN_STREAM("multiline: 1"), 3, 7, "known are: tail, chain, ship"},
    {IN_STREAM("tail: {}, ship: {topic: t}"), 3, 13, "tail needs \"paths\""},
    {IN_STREAM("tail: , ship: {topic: t}"), 3, 7, "tail needs \"paths\""},
    {IN_STREAM("tail: {paths: [/a, b/*.log]}, ship: {topic: t}"), 3, 26,
     "paths must be absolute: begin with a /, not as \"b/*.log\" does"},
    {IN_STREAM("tail: {paths: [/a, /x/**]}, ship: {topic: t}"), 3, 26,
     "paths must name files: \"/x/**\" names folders"},
    {IN_STREAM("tail: {paths: ''}, ship: {topic: t}"), 3, 21, "paths must be absolute"},
    {IN_STREAM("tail: {paths: /a, max_line: 255}, ship: {topic: t}"), 3, 35,
     "max_line must be a size such as 64KiB, 1MB or 512, from 256 to 64MiB"},
    {IN_STREAM("tail: {paths: /a, max_line: 65MiB}, ship: {topic: t}"), 3, 35, "from 256 to 64MiB"},
    {IN_STREAM("tail: {paths: /a, start: top}, ship: {topic: t}"), 3, 32,
     "start must be a time such as 5s, 200ms, 2m or 1h, or beginning or end, not \"top\""},
    {IN_STREAM(TAIL ", ship: {}"), 3, 34, "ship needs \"topic\""},
    {IN_STREAM(TAIL ", ship: {topik: t}"), 3, 35,
     "unknown key \"topik\" in ship; did you mean \"topic\"?"},
    {IN_STREAM(TAIL ", ship: {topic: 'a b'}"), 3, 42, "\"a b\" is no topic's name"},
    {IN_STREAM(TAIL ", ship: {topic: '..'}"), 3, 42, "\"..\" is no topic's name"},
    {IN_STREAM(TAIL ", ship: {topic: ''}"), 3, 42, "\"\" is no topic's name"},
    {IN_STREAM(TAIL ", ship: {topic: '%{}'}"), 3, 42, "topic: "},
    {IN_STREAM(TAIL ", ship: {topic: t, encode: xml}"), 3, 53, "encode must be json or raw"},
    {IN_STREAM(TAIL ", ship: {topic: t, partitioner: murmur}"), 3, 58,
     "partitioner must be random, consistent, consistent_random, murmur2, murmur2_random, "
     "fnv1a "
     "or fnv1a_random, not \"murmur\""},
    /* chains */
    {IN_CHAIN("      pass: {}\n"), 7, 7, "chain must be a list of steps, not a mapping"},
    {IN_CHAIN("      - pas\n"), 7, 9, "unknown step \"pas\"; did you mean \"pass\"?"},
    {IN_CHAIN("      - ../pass\n"), 7, 9, "\"../pass\" is no step's name"},
    {IN_CHAIN("      - something: {}\n"), 7, 9, "unknown step \"something\"; the plugins in"},
    {IN_CHAIN("      - pass: {texd: 1}\n"), 7, 16,
     "unknown key \"texd\" in pass; did you mean \"text\"?"},
    {IN_CHAIN("      - pass: {}\n        text: 1\n"), 8, 9, "a step has one plugin"},
    {IN_CHAIN("      - [pass]\n"), 7, 9, "a step must be a plugin's name, or the name with its"},
    {IN_CHAIN("      - \n"), 7, 8, "a step must be a plugin's name"},
    {IN_CHAIN("      - pass: {text: refuse}\n"), 7, 9, "text is refused"},
};

static void errors_say_where_and_what_is_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct error error;
        struct config *config = load(wrong[i].text, &error);
        if (config != NULL)
            fail_msg("%s: taken", wrong[i].text);
        if (strstr(error.text, wrong[i].says) == NULL || error.line != wrong[i].line ||
            error.column != wrong[i].column || strcmp(error.file, "x.yaml") != 0)
            fail_msg("%s\n%s:%d:%d: %s", wrong[i].text, error.file, error.line, error.column,
                     error.text);
    }
}

static void secrets_are_not_in_errors(void **state)
{
    static const char *const cases[] = {
        "kafka: {brokers: k:1, properties: {linger.ms: '${SD_SECRET}'}}\n",
        "kafka: {brokers: k:1, properties: {'x.password': hunter22}}\n",
        "kafka: {brokers: k:1, properties: {security.protocol: 'a${SD_SECRET}'}}\n",
        "kafka: {brokers: k:1, properties: {ssl.key.pem: [hunter22]}}\n",
        "kafka: {brokers: k:1, properties: {'${SD_UNSET}': '${SD_SECRET}'}}\n",
    };
    (void)state;
    setenv("SD_SECRET", "hunter22", 1);
    unsetenv("SD_UNSET");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        assert_null(load(cases[i], &error));
        if (strstr(error.text, "hunter22") != NULL)
            fail_msg("%s: %s", cases[i], error.text);
    }
    struct config *config =
        load_ok("kafka: {brokers: k:1, properties: {sasl.password: '${SD_SECRET}'}}\n" STREAM);
    assert_string_equal(config->kafka.properties.items[0].value, "hunter22");
    config_free(&config);
}

/* ---- files ---- */

#define ONE(name) "streams: {" name ": {tail: {paths: /a}, ship: {topic: t}}}\n"

static void includes_are_merged_in_name_order(void **state)
{
    struct error error;
    (void)state;
    mkdir(in_folder("conf[1]"), 0700);
    mkdir(in_folder("conf[1]/sub"), 0700);
    put("conf[1]/main.yaml", "include: ['*.yaml', none/*.yaml, sub/more.yaml]\n" ONE("m"));
    put("conf[1]/b.yaml", ONE("b"));
    put("conf[1]/a.yaml", KAFKA ONE("a"));
    put("conf[1]/c.yaml", "# nothing yet\n");
    put("conf[1]/sub/more.yaml", "include: other.yaml\n" ONE("d"));
    put("conf[1]/sub/other.yaml", "include: ../main.yaml\n" ONE("e")); /* was read already */
    struct config *config = config_load(in_folder("conf[1]/main.yaml"), &error);
    if (config == NULL) {
        fail_msg("%s:%d: %s", error.file, error.line, error.text);
        return;
    }
    static const char *const names[] = {"m", "a", "b", "d", "e"};
    assert_int_equal(config->n_streams, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(config->streams[i].name, names[i]);
    config_free(&config);
}

static void wrong_includes_are_errors(void **state)
{
    static const struct {
        const char *main;
        const char *other;
        const char *file;
        int line;
        const char *says; /* %s: the folder */
    } cases[] = {
        {"include: no.yaml\n", "", "main.yaml", 1, "\"no.yaml\" does not exist"},
        {"include: [[a]]\n", "", "main.yaml", 1,
         "include must be a glob or a list of globs, not a list"},
        {"include: {a: b}\n", "", "main.yaml", 1, "not a mapping"},
        {"include: [~]\n", "", "main.yaml", 1, "not nothing"},
        {"include: other.d\n", "", "main.yaml", 1, "not a regular file"},
        {KAFKA "include: other.yaml\n" ONE("a"), "\n" ONE("a"), "other.yaml", 2,
         "stream \"a\" is configured twice: also at %s/main.yaml:3:11"},
        {KAFKA "include: other.yaml\n" ONE("a"), KAFKA, "other.yaml", 1,
         "kafka is configured twice: also at %s/main.yaml:1:1"},
        {"include: other.yaml\nagent: {}\n", "agent: {}\n", "other.yaml", 1,
         "agent is configured twice: also at %s/main.yaml:2:1"},
        {KAFKA "include: other.yaml\n", "streams: {a: {tail: {paths: /a}, ship: {topik: a}}}",
         "other.yaml", 1, "unknown key \"topik\" in ship"},
        {KAFKA "include: other.yaml\n", "a: [", "other.yaml", 2, "not valid YAML"},
    };
    (void)state;
    mkdir(in_folder("other.d"), 0700);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        char says[512];
        put("other.yaml", cases[i].other);
        put("main.yaml", cases[i].main);
        assert_null(config_load(in_folder("main.yaml"), &error));
        snprintf(says, sizeof(says), "%.*s%s%s", (int)strcspn(cases[i].says, "%"), cases[i].says,
                 strchr(cases[i].says, '%') ? folder : "",
                 strchr(cases[i].says, '%') ? strchr(cases[i].says, '%') + 2 : "");
        if (strstr(error.text, says) == NULL || error.line != cases[i].line ||
            strcmp(error.file, in_folder(cases[i].file)) != 0)
            fail_msg("%zu: %s:%d:%d: %s", i, error.file, error.line, error.column, error.text);
    }
}

static void includes_are_bounded_in_depth(void **state)
{
    struct error error;
    char name[32];
    char text[64];
    (void)state;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "deep%d.yaml", i);
        snprintf(text, sizeof(text), "include: deep%d.yaml\n", i + 1);
        put(name, text);
    }
    assert_null(config_load(in_folder("deep0.yaml"), &error));
    assert_string_equal(error.text, "includes are nested more than 8 deep");
    assert_string_equal(error.file, in_folder("deep8.yaml"));
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    struct error error;
    (void)state;
    assert_null(config_load(in_folder("none.yaml"), &error));
    assert_string_equal(error.file, in_folder("none.yaml"));
    assert_int_equal(error.line, 0);
    assert_string_equal(error.text, "cannot be read: No such file or directory");
}

/* ---- set up ---- */

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    mkdir(in_folder("plugins"), 0700);
    setenv("SPLASHDAM_PLUGINS", in_folder("plugins"), 1);
    char plugins[512];
    snprintf(plugins, sizeof(plugins), "%s/plugins", folder);
    make_plugin(plugins, "pass",
                "struct pass { const char *text; };\n"
                "static const struct option options[] = {\n"
                "  {.name = \"text\", .type = OPTION_STRING, .help = \"Any text.\"}, OPTION_END};\n"
                "static int open(void *self, struct error *error) {\n"
                "  const char *text = ((struct pass *)self)->text;\n"
                "  if (text != NULL && strcmp(text, \"refuse\") == 0)\n"
                "    return error_set(error, \"text is refused\");\n"
                "  return 0; }\n"
                "static void process(void *self, struct batch *batch) {\n"
                "  (void)self; (void)batch; }\n"
                "PLUGIN = {.abi = PLUGIN_ABI, .name = \"pass\", .help = \"Does nothing.\",\n"
                "  .example = \"- pass\", .options = options, .size = sizeof(struct pass),\n"
                "  .open = open, .process = process};\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_example_is_loaded),
        cmocka_unit_test(the_options_of_open_files_are_loaded),
        cmocka_unit_test(the_spool_has_its_options_and_defaults),
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(brokers_may_be_one_text_or_embedded),
        cmocka_unit_test(auto_is_a_worker_for_each_processor),
        cmocka_unit_test(aliases_may_be_used),
        cmocka_unit_test(streams_are_found_by_name),
        cmocka_unit_test(errors_say_where_and_what_is_allowed),
        cmocka_unit_test(secrets_are_not_in_errors),
        cmocka_unit_test(includes_are_merged_in_name_order),
        cmocka_unit_test(wrong_includes_are_errors),
        cmocka_unit_test(includes_are_bounded_in_depth),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
