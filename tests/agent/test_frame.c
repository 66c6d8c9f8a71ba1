/* Records of several lines: what goes out is the same however the bytes come in. */
#include "agent/frame.h"

#include "tests/agent/harness.h"

#define TEXT_MAX 65536

static const char *const java[] = {"java"};
static const char *const all_presets[] = {"java", "python", "go"};

static struct config_tail usual(void)
{
    return (struct config_tail){
        .max_line = 1000,
        .encoding = "utf-8",
        .delimiter = "\n",
        .multiline = {.max_lines = 50, .max_bytes = 4096, .timeout = 1000},
    };
}

struct rig {
    struct config_tail config;
    struct frame *frame;
    struct frame_state state;
    struct container_names names;
    struct batch_pool pool;
    uint64_t joined, limited, replaced, cut_lines, cut_bytes, failed, dropped;
    char text[TEXT_MAX];
    size_t len;
    uint64_t last_end; /* of each stream's records: they stand in order */
};

static void open_rig(struct rig *rig, const struct config_tail *config)
{
    struct error error = {.text = ""};
    const char *key = "";
    memset(rig, 0, sizeof(*rig));
    rig->config = *config;
    assert_true(frame_wanted(config));
    rig->frame = frame_new(&rig->config, &key, &error);
    if (rig->frame == NULL)
        fail_msg("%s: %s", key, error.text);
    batch_pool_init(&rig->pool, 4, (size_t)64 << 20);
}

static void close_rig(struct rig *rig)
{
    frame_free(&rig->frame);
    batch_pool_fini(&rig->pool);
}

/* Each record as `begin-end:text` or, with a stream, `begin-end/stderr:text`, and `!` behind the text when it is marked. */
static void show(struct rig *rig, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->n_records; i++) {
        const struct record *r = &batch->records[i];
        const struct field *stream = record_find(r, SLICE("stream"));
        rig->len += (size_t)snprintf(
            rig->text + rig->len, TEXT_MAX - rig->len, "%ju-%ju%s%.*s:%.*s%s%s|",
            (uintmax_t)r->begin, (uintmax_t)r->end, stream == NULL ? "" : "/",
            stream == NULL ? 0 : (int)stream->value.len, stream == NULL ? "" : stream->value.ptr,
            (int)r->line.len, r->line.ptr, (r->flags & RECORD_CUT) != 0 ? "!" : "",
            (r->flags & RECORD_DROPPED) != 0 ? "#" : "");
        assert_true(rig->len < TEXT_MAX);
    }
}

/* One read of bytes[from..to); returns how much of it was consumed. */
static size_t feed(struct rig *rig, struct slice bytes, uint64_t offset, bool flush, bool *cut)
{
    struct batch_private *batch = batch_take(&rig->pool, SLICE("h"));
    assert_non_null(batch);
    /* On its own heap block, so that a read outside of it shows. */
    char *copy = (char *)malloc(bytes.len + 1);
    memcpy(copy, bytes.ptr, bytes.len);
    struct frame_read read = {.state = &rig->state,
                              .names = &rig->names,
                              .arena = &batch->b.arena,
                              .flush = flush,
                              .fields = true};
    struct lines lines = {.bytes = {copy, bytes.len},
                          .offset = offset,
                          .max_line = frame_max_line(rig->frame),
                          .time = 7,
                          .incomplete = flush,
                          .cut = *cut};
    assert_int_equal(frame_split(rig->frame, &read, batch, &lines), 0);
    assert_true(lines.consumed <= bytes.len);
    *cut = lines.cut;
    show(rig, &batch->b);
    rig->joined += read.joined;
    rig->limited += read.limited;
    rig->replaced += read.replaced;
    rig->cut_lines += lines.cut_lines;
    rig->cut_bytes += lines.cut_bytes;
    rig->failed += batch->b.n_failed;
    rig->dropped += batch->b.n_dropped;
    batch_give(&rig->pool, batch);
    free(copy);
    return lines.consumed;
}

/* The file as it grows: read on `chance` says where; 0: all at once. At the end everything goes out. */
static void run(struct rig *rig, struct slice file, unsigned chance)
{
    uint64_t offset = 0;
    size_t seen = 0;
    bool cut = false;
    frame_look(rig->frame, &rig->state, file, 0);
    while (chance != 0 && seen < file.len) {
        size_t step = 1 + (size_t)rand() % chance;
        seen = seen + step < file.len ? seen + step : file.len;
        offset += feed(rig, slice_of(file.ptr + offset, seen - offset), offset, false, &cut);
    }
    while (offset < file.len) {
        size_t n = feed(rig, slice_of(file.ptr + offset, file.len - offset), offset, true, &cut);
        assert_true(n > 0);
        offset += n;
    }
}

static void check(const struct config_tail *config, struct slice file, const char *expected)
{
    static struct rig rig;
    for (unsigned round = 0; round < 40; round++) {
        open_rig(&rig, config);
        run(&rig, file, round == 0 ? 0 : round);
        if (strcmp(rig.text, expected) != 0)
            fail_msg("round %u:\n%s\nnot\n%s", round, rig.text, expected);
        close_rig(&rig);
    }
}

static void lines_that_belong_together_are_one_record(void **state)
{
    (void)state;
    struct config_tail config = usual();
    config.multiline.start = "^[0-9]";
    check(&config, SLICE("x\n1 a\n b\n\n2 c\n3 d\n e"),
          "0-2:x|2-10:1 a\n b\n|10-14:2 c|14-20:3 d\n e|");
    config = usual();
    config.multiline.continued = "^ ";
    check(&config, SLICE(" x\na\n b\r\n c\nd\n"), "0-3: x|3-12:a\n b\n c|12-14:d|");
    config = usual();
    config.multiline.end = ";$";
    check(&config, SLICE("a\nb;\nc;\nd"), "0-5:a\nb;|5-8:c;|8-9:d|");
    config = usual();
    config.multiline.preset = (struct option_list){1, (const char **)(uintptr_t)java};
    check(&config, SLICE("ok\na.B: x\n\tat c.d(E.java:1)\n\tat e.f(G.java:2)\nok\nb.C: y\nok\n"),
          "0-3:ok|3-46:a.B: x\n\tat c.d(E.java:1)\n\tat e.f(G.java:2)|46-49:ok|49-56:b.C: "
          "y|56-59:ok|");
}

static void limits_end_a_record_and_what_follows_is_the_next(void **state)
{
    (void)state;
    static struct rig rig;
    struct config_tail config = usual();
    config.multiline.start = "^1";
    config.multiline.max_lines = 3;
    check(&config, SLICE("1\na\nb\nc\nd\ne\nf\n1\n"), "0-6:1\na\nb|6-12:c\nd\ne|12-14:f|14-16:1|");
    config.multiline.max_lines = 50;
    config.multiline.max_bytes = 5;
    check(&config, SLICE("1\na\nb\nlonger\nd\n1\n"), "0-6:1\na\nb|6-13:longer|13-15:d|15-17:1|");
    config.multiline.max_bytes = 4096;
    config.max_line = 4;
    check(&config, SLICE("1abcdef\nxy\nzzzzzz\n1\n"), "0-18:1abc\nxy\nzzzz!|18-20:1|");
    open_rig(&rig, &config);
    run(&rig, SLICE("1abcdef\nxy\nzzzzzz\n1\n"), 3);
    assert_int_equal(rig.cut_lines, 2);
    assert_int_equal(rig.cut_bytes, 5);
    assert_int_equal(rig.joined, 2);
    close_rig(&rig);
}

#define T "2016-10-06T00:17:09.669794202Z "

static void parts_are_joined_and_streams_told_apart(void **state)
{
    (void)state;
    static struct rig rig;
    struct config_tail config = usual();
    config.container = TAIL_CRI;
    check(&config, SLICE(T "stdout F a\n" T "stderr F b\n"), "0-42/stdout:a|42-84/stderr:b|");
    check(&config, SLICE(T "stdout P a\r\n" T "stderr F b\r\n" T "stdout P c\n" T "stdout F d\n"),
          "43-86/stderr:b|0-170/stdout:a\rcd|");
    config.max_line = 3;
    check(&config, SLICE(T "stdout P ab\n" T "stdout F cd\n" T "stdout F e\n"),
          "0-86/stdout:abc!|86-128/stdout:e|");
    open_rig(&rig, &config);
    run(&rig, SLICE(T "stdout P ab\n" T "stdout F cd\n" T "stdout F e\n"), 5);
    assert_int_equal(rig.cut_lines, 1);
    assert_int_equal(rig.cut_bytes, 1);
    assert_int_equal(rig.joined, 1);
    close_rig(&rig);
    config = usual();
    config.container = TAIL_AUTO;
    check(&config,
          SLICE("{\"log\":\"a\\tb\",\"stream\":\"stdout\",\"time\":\"2016-10-06T00:17:09Z\"}\n"
                "no\n"
                "{\"log\":\"c\\n\",\"stream\":\"stdout\",\"time\":\"2016-10-06T00:17:09Z\"}\n"),
          "63-66:no|0-128/stdout:a\tbc|");
}

static void traces_of_both_streams_stand_between_each_other(void **state)
{
    (void)state;
    struct config_tail config = usual();
    config.container = TAIL_CRI;
    config.multiline.preset = (struct option_list){3, (const char **)(uintptr_t)all_presets};
    check(&config,
          SLICE(T "stderr F a.B: x\n" T "stdout F one\n" T "stderr F \tat c.d(E.java:1)\n" T
                  "stdout F c.D: y\n" T "stderr F end\n" T "stdout F \tat c.d(E.java:1)\n" T
                  "stdout F two\n"),
          "47-91/stdout:one|0-149/stderr:a.B: x\n\tat c.d(E.java:1)|196-240/stderr:end|"
          "149-298/stdout:c.D: y\n\tat c.d(E.java:1)|298-342/stdout:two|");
}

/* A file of both streams with parts, traces and other lines. */
static size_t make_file(char *file, size_t room)
{
    static const char *const texts[] = {"plain",
                                        "a.B: x",
                                        "\tat c.d(E.java:1)",
                                        "Caused by: e.F",
                                        "panic: z",
                                        "goroutine 1 [running]:",
                                        "",
                                        "main.f()",
                                        "\tx.go:1 +0x1"};
    size_t len = 0;
    int n = 5 + rand() % 60;
    for (int i = 0; i < n; i++)
        len += (size_t)snprintf(file + len, room - len, "%s%s %c %s\n", T,
                                rand() % 2 == 0 ? "stdout" : "stderr", rand() % 5 == 0 ? 'P' : 'F',
                                texts[(size_t)rand() % ROWS(texts)]);
    assert_true(len < room);
    return len;
}

/* The records of one stream, in their order. */
static void pick(const char *text, const char *stream, char to[TEXT_MAX])
{
    size_t len = 0;
    to[0] = '\0';
    for (const char *next; *text != '\0'; text = next) {
        next = strchr(text, '|') + 1;
        const char *found = strstr(text, stream);
        if (found != NULL && found < next)
            len += (size_t)snprintf(to + len, TEXT_MAX - len, "%.*s", (int)(next - text), text);
    }
}

/* The order in which records of two streams come depends on the reads; within each stream it must not. */
static void records_do_not_depend_on_how_the_bytes_come(void **state)
{
    (void)state;
    static struct rig whole, parts;
    static char file[TEXT_MAX], got[2][TEXT_MAX];
    static const char *const streams[] = {"/stdout:", "/stderr:"};
    struct config_tail config = usual();
    config.container = TAIL_CRI;
    config.multiline.preset = (struct option_list){3, (const char **)(uintptr_t)all_presets};
    srand(20260101);
    for (int i = 0; i < 1500; i++) {
        size_t len = make_file(file, sizeof(file));
        config.multiline.max_lines = i % 3 == 0 ? 4 : 50;
        open_rig(&whole, &config);
        open_rig(&parts, &config);
        run(&whole, slice_of(file, len), 0);
        run(&parts, slice_of(file, len), 1 + (unsigned)rand() % 400);
        for (int s = 0; s < 2; s++) {
            pick(whole.text, streams[s], got[0]);
            pick(parts.text, streams[s], got[1]);
            if (strcmp(got[0], got[1]) != 0)
                fail_msg("file %d:\n%.*s\nwhole: %s\nparts: %s", i, (int)len, file, got[0], got[1]);
        }
        assert_int_equal(whole.joined, parts.joined);
        assert_int_equal(whole.limited, parts.limited);
        close_rig(&whole);
        close_rig(&parts);
    }
}

static void other_encodings_and_delimiters(void **state)
{
    (void)state;
    struct config_tail config = usual();
    config.encoding = "utf-16";
    check(&config, SLICE("\xff\xfe\x0a\x01\r\0\n\0b\0\n\0"), "0-8:\xc4\x8a|8-12:b|");
    check(&config, SLICE("\xfe\xff\0a\0\r\0\n\x0a\x00\0\n"), "0-8:a|8-12:\xe0\xa8\x80|");
    config.multiline.continued = "^ ";
    check(&config, SLICE("a\0\n\0 \0\xe9\0\n\0b\0\n\0"), "0-10:a\n \xc3\xa9|10-14:b|");
    config = usual();
    config.encoding = "latin-1";
    check(&config, SLICE("\xe9\r\n\xe8"), "0-3:\xc3\xa9|3-4:\xc3\xa8|");
    config = usual();
    config.delimiter = "\r";
    check(&config, SLICE("a\rb\nc\r"), "0-2:a|2-6:b\nc|");
    config.delimiter = "nul";
    check(&config, SLICE("a\0b\n\0\0"), "0-2:a|2-5:b\n|5-6:|");
    config.delimiter = "--\n";
    check(&config, SLICE("a-\nb--\n--\n-"), "0-7:a-\nb|7-10:|10-11:-|");
}

static void a_header_and_a_mark_are_left_out(void **state)
{
    (void)state;
    static struct rig rig;
    struct config_tail config = usual();
    config.header_lines = 2;
    check(&config, SLICE("\xef\xbb\xbfh1\nh2\na\n"), "0-6:h1#|6-9:h2#|9-11:a|");
    open_rig(&rig, &config);
    assert_true(frame_wants_look(rig.frame, &rig.state));
    frame_look(rig.frame, &rig.state, SLICE("h1\nh2\n"), 3);
    assert_false(frame_wants_look(rig.frame, &rig.state));
    bool cut = false;
    assert_int_equal(feed(&rig, SLICE("h2\na\n"), 3, false, &cut), 5);
    assert_string_equal(rig.text, "3-6:h2#|6-8:a|");
    assert_int_equal(rig.dropped, 1);
    close_rig(&rig);
}

static void names_of_the_container_are_fields(void **state)
{
    (void)state;
    static struct rig rig;
    struct config_tail config = usual();
    config.container = TAIL_DOCKER;
    open_rig(&rig, &config);
    container_path_names(
        SLICE(
            "/x/pod-1_ns_app-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.log"),
        &rig.names);
    struct batch_private *batch = batch_take(&rig.pool, SLICE("h"));
    struct frame_read read = {
        .state = &rig.state, .names = &rig.names, .arena = &batch->b.arena, .fields = true};
    struct lines lines = {
        .bytes = SLICE("{\"log\":\"a\\n\",\"stream\":\"stderr\",\"attrs\":{\"k\":\"v\"},"
                       "\"time\":\"1970-01-01T00:00:01Z\"}\n"),
        .max_line = frame_max_line(rig.frame)};
    assert_int_equal(frame_split(rig.frame, &read, batch, &lines), 0);
    assert_int_equal(batch->b.n_records, 1);
    static const struct {
        struct slice key, value;
    } fields[] = {
        {SLICE("stream"), SLICE("stderr")},
        {SLICE("kubernetes.namespace"), SLICE("ns")},
        {SLICE("kubernetes.pod.name"), SLICE("pod-1")},
        {SLICE("kubernetes.container.name"), SLICE("app")},
        {SLICE("container.id"),
         SLICE("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")},
        {SLICE("docker.attrs"), SLICE("{\"k\":\"v\"}")},
    };
    for (size_t i = 0; i < ROWS(fields); i++) {
        const struct field *field = record_find(&batch->b.records[0], fields[i].key);
        if (field == NULL || !slice_equal(field->value, fields[i].value))
            fail_msg("%s", fields[i].key.ptr);
    }
    assert_true(batch->b.records[0].time == 1000000000);
    close_rig(&rig);
}

static void a_record_that_finds_no_memory_leaves_the_batch_as_it_was(void **state)
{
    (void)state;
    static struct rig rig;
    struct config_tail config = usual();
    config.container = TAIL_CRI;
    open_rig(&rig, &config);
    for (size_t limit = 0; limit < 4096; limit += 8) {
        struct batch_private *batch = batch_take(&rig.pool, SLICE("h"));
        batch->b.arena.limit = limit;
        struct frame_read read = {.state = &rig.state, .arena = &batch->b.arena, .fields = true};
        struct lines lines = {.bytes = SLICE("x\n" T "stdout P a\n" T "stdout F b\n"),
                              .max_line = frame_max_line(rig.frame)};
        int result = frame_split(rig.frame, &read, batch, &lines);
        assert_int_equal(result, batch->b.arena.overflowed ? -1 : 0);
        assert_int_equal(batch->b.n_records, result == -1 ? 0 : 2);
        assert_int_equal(batch->b.n_failed, result == -1 ? 0 : 1);
        batch_give(&rig.pool, batch);
    }
    close_rig(&rig);
}

static void wrong_configurations_are_refused_with_the_key(void **state)
{
    (void)state;
    struct error error;
    const char *key;
    struct config_tail config = usual();
    assert_false(frame_wanted(&config));
    config.multiline.start = "(";
    assert_null(frame_new(&config, &key, &error));
    assert_string_equal(key, "multiline");
    config = usual();
    config.encoding = "utf-7";
    assert_null(frame_new(&config, &key, &error));
    assert_string_equal(key, "encoding");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_that_belong_together_are_one_record),
        cmocka_unit_test(limits_end_a_record_and_what_follows_is_the_next),
        cmocka_unit_test(parts_are_joined_and_streams_told_apart),
        cmocka_unit_test(traces_of_both_streams_stand_between_each_other),
        cmocka_unit_test(records_do_not_depend_on_how_the_bytes_come),
        cmocka_unit_test(other_encodings_and_delimiters),
        cmocka_unit_test(a_header_and_a_mark_are_left_out),
        cmocka_unit_test(names_of_the_container_are_fields),
        cmocka_unit_test(a_record_that_finds_no_memory_leaves_the_batch_as_it_was),
        cmocka_unit_test(wrong_configurations_are_refused_with_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
