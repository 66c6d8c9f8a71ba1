/* Generations that were compressed before they were read to their end. */
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

#include <fcntl.h>
#include <limits.h>
#include <zlib.h>

static void pack(const struct rig *rig, const char *name, const char *text, size_t cut)
{
    char packed[4096];
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = (Bytef *)packed;
    z.avail_out = sizeof(packed);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    harness_write(at(rig, name), packed, z.total_out - cut);
    deflateEnd(&z);
}

/* As gzip: the plain file is gone. */
static void gzip(const struct rig *rig, const char *name)
{
    char packed[64];
    char *text = harness_read(at(rig, name), NULL);
    assert_non_null(text);
    snprintf(packed, sizeof(packed), "%s.gz", name);
    pack(rig, packed, text, 0);
    assert_int_equal(unlink(at(rig, name)), 0);
    free(text);
}

static void assert_no_position_of(struct rig *rig, const char *name)
{
    stop(rig);
    char *text = harness_read(harness_path(rig->state, "positions"), NULL);
    assert_non_null(text);
    assert_null(strstr(text, name));
    free(text);
}

/* As if the quiet time were over. */
static void tick_later(struct rig *rig)
{
    struct tail *tail = rig->sides[0].stream.tail;
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        source->quiet_since -= (int64_t)3600 * 1000000000;
    tail_tick(tail);
}

static void rotated_and_compressed_while_down_is_read_on_before_the_new_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "3\n4\n");
    move(rig, "a.log", "a.log.1");
    gzip(rig, "a.log.1");
    pack(rig, "a.log.0.gz", "another\n", 0);
    pack(rig, "b.log.1.gz", "1\n2\nnot of this log\n", 0);
    harness_put(at(rig, "a.log"), "5\n");
    start(rig);
    assert_read(rig, "3 4 5 ");
    tick_later(rig);
    stop(rig);
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "6\n");
    assert_read(rig, "6 ");
}

static void what_is_decompressed_is_forgotten_when_it_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "b.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "b.log"), "2\n");
    move(rig, "b.log", "b.log-20260101");
    gzip(rig, "b.log-20260101");
    start(rig);
    assert_read(rig, "2 ");
    tick_later(rig);
    assert_null(rig->sides[0].stream.tail->sources);
    assert_no_position_of(rig, "b.log");
}

static void a_crash_while_it_is_decompressed_begins_anew_from_the_delivered(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n3\n");
    move(rig, "a.log", "a.log.2");
    gzip(rig, "a.log.2");
    for (int i = 0; i < 3; i++) {
        start(rig);
        struct batch_private *batch = take(rig, 0);
        tail_commit(batch);
        assert_text(rig, "2 3 ");
        stop(rig); /* nothing of it was delivered */
        batch_give(&rig->pool, batch);
    }
    start(rig);
    assert_read(rig, "2 3 ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_file_that_only_begins_alike_is_not_taken(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "header\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    finish(rig, batch);
    assert_text(rig, "header ");
    char line[100];
    for (int i = 0; i < 50; i++) {
        snprintf(line, sizeof(line), "a line that makes the file longer than a fingerprint, %d\n",
                 i);
        harness_append(at(rig, "a.log"), line);
    }
    drain(rig);
    rig->text[0] = '\0';
    stop(rig);
    char *text = harness_read(at(rig, "a.log"), NULL);
    size_t len = strlen(text);
    harness_append(at(rig, "a.log"), "right\n");
    move(rig, "a.log", "a.log.5");
    gzip(rig, "a.log.5");
    text[len - 5] = '!'; /* at the position it is another one */
    pack(rig, "a.log.1.gz", text, 0);
    pack(rig, "a.log.2.gz", "header\n", 0);
    free(text);
    start(rig);
    assert_read(rig, "right ");
}

static void what_no_compressed_file_holds_is_gone(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "b.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "b.log"), "2\n");
    assert_int_equal(unlink(at(rig, "b.log")), 0);
    pack(rig, "b.log.1.gz", "another\n", 0);
    harness_put(at(rig, "b.log.2.gz"), "not packed at all");
    harness_put(at(rig, "b.log.3.gz"), "");
    start(rig);
    assert_read(rig, "");
    assert_no_position_of(rig, "b.log");
}

static void a_cut_file_gives_the_lines_that_it_has(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "b.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    assert_int_equal(unlink(at(rig, "b.log")), 0);
    pack(rig, "b.log.1.gz", "1\n2\n3\n", 8); /* its check sum and length are missing */
    start(rig);
    drain(rig);
    assert_text(rig, "2 3 ");
    assert_non_null(rig->sides[0].stream.tail->sources->inflate); /* it may still grow */
    tick_later(rig);
    assert_read(rig, "");
    assert_null(rig->sides[0].stream.tail->sources->inflate);
    tick_later(rig);
    assert_null(rig->sides[0].stream.tail->sources);
}

static void a_copy_that_was_compressed_is_read_on_after_a_truncation(void **state)
{
    struct rig *rig = (struct rig *)*state;
    for (int stopped = 0; stopped < 2; stopped++) {
        harness_put(at(rig, "a.log"), stopped ? "one\n" : "1\n");
        start(rig);
        assert_read(rig, stopped ? "one " : "1 ");
        if (stopped)
            stop(rig);
        harness_append(at(rig, "a.log"), "2\n");
        char *text = harness_read(at(rig, "a.log"), NULL);
        pack(rig, "a.log.1.gz", text, 0);
        free(text);
        assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
        harness_append(at(rig, "a.log"), "3\n");
        if (stopped)
            start(rig);
        assert_read(rig, "2 3 ");
        assert_int_equal(count_of(rig, STAT_lost_bytes), 0);
        stop(rig); /* before it is forgotten: its position is the compressed file's */
        start(rig);
        assert_read(rig, "");
        tick_later(rig);
        stop(rig);
        assert_int_equal(unlink(at(rig, "a.log.1.gz")), 0);
        assert_int_equal(unlink(at(rig, "a.log")), 0);
    }
}

static void a_compressed_file_may_be_renamed_while_it_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n");
    pack(rig, "a.log.1.gz", "1\n2\n", 0);
    assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
    start(rig);
    assert_read(rig, "2 ");
    move(rig, "a.log.1.gz", "a.log.2.gz");
    assert_read(rig, "");
    tail_rescan(rig->sides[0].stream.tail);
    assert_read(rig, "");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_closed_file_that_is_rotated_and_compressed_is_read_on(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct tail *tail = rig->sides[0].stream.tail;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    tail = rig->sides[0].stream.tail;
    tail_close_file(tail, tail->sources);
    watch_pause(rig->sides[0].watch, true); /* all of it happens between two looks */
    harness_append(at(rig, "a.log"), "2\n");
    move(rig, "a.log", "a.log.1");
    gzip(rig, "a.log.1");
    harness_put(at(rig, "a.log"), "3\n");
    watch_pause(rig->sides[0].watch, false);
    events(rig);
    drain(rig);
    tail_tick(tail);
    drain(rig);
    assert_non_null(strstr(rig->text, "2 "));
    assert_non_null(strstr(rig->text, "3 "));
    assert_int_equal(strlen(rig->text), 4);
    rig->text[0] = '\0';
}

static void what_is_delivered_of_a_compressed_file_takes_no_room(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const size_t len = (size_t)3 << 20, most = (size_t)5 << 19;
    struct stat st = {0};
    char *text = (char *)calloc(1, len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, "1\n", 2);
    memcpy(text + len - 3, "\n2\n", 3);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    pack(rig, "a.log.1.gz", text, 0);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    free(text);
    start(rig);
    struct tail *tail = rig->sides[0].stream.tail;
    while (tail_ready(tail)) {
        struct batch_private *batch = take(rig, 0);
        tail_commit(batch);
        finish(rig, batch);
        if (tail->sources->fd == -1)
            break; /* read to its end, it needs no descriptor any more */
        assert_int_equal(fstat(tail->sources->fd, &st), 0);
        assert_in_range(st.st_blocks * 512, 0, most);
    }
    assert_int_equal(st.st_size, len);
    assert_int_equal(strlen(rig->text), 1000 + 3);
    assert_string_equal(rig->text + 1000, " 2 ");
    rig->text[0] = '\0';
}

static void many_generations_are_decompressed_through_few_descriptors(void **state)
{
    enum { LOGS = 20, LIMIT = FILES_TO_UNPACK };
    struct rig *rig = (struct rig *)*state;
    struct open_files *files = &rig->sides[0].files;
    char name[32], rotated[40];
    for (int i = 0; i < LOGS; i++) {
        snprintf(name, sizeof(name), "%d.log", i);
        harness_put(at(rig, name), "old\n");
    }
    start(rig);
    drain(rig);
    stop(rig);
    rig->text[0] = '\0';
    for (int i = 0; i < LOGS; i++) {
        snprintf(name, sizeof(name), "%d.log", i);
        snprintf(rotated, sizeof(rotated), "%s.1", name);
        harness_append(at(rig, name), "first\n");
        move(rig, name, rotated);
        gzip(rig, rotated);
        harness_put(at(rig, name), "then\n");
    }
    files->limit = LIMIT;
    start(rig);
    for (int rounds = 0; tail_ready(rig->sides[0].stream.tail); rounds++) {
        assert_true(rounds < 1000);
        struct batch_private *batch = take(rig, 0);
        assert_in_range(files->open, 0, LIMIT);
        tail_commit(batch);
        finish(rig, batch);
        tail_tick(rig->sides[0].stream.tail);
    }
    int first = 0, then = 0;
    for (const char *at = rig->text; *at != '\0'; at = strchr(at, ' ') + 1) {
        first += strncmp(at, "first ", 6) == 0;
        then += strncmp(at, "then ", 5) == 0;
        assert_true(first >= then);
    }
    assert_int_equal(first, LOGS);
    assert_int_equal(then, LOGS);
    rig->text[0] = '\0';
}

static void a_log_that_was_compressed_while_it_waited_for_a_descriptor_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct batch_private *batch;
    rig->sides[0].files.limit = FILES_TO_UNPACK;
    harness_put(at(rig, "a.log"), "a\n");
    harness_put(at(rig, "b.log"), "b\n");
    start(rig);
    batch = take(rig, 0);
    tail_commit(batch); /* what is in flight keeps its file open */
    assert_int_equal(batch->b.n_records, 2);
    rig->text[0] = '\0';
    harness_put(at(rig, "c.log"), "c\n");
    events(rig);
    struct batch_private *none = take(rig, 0);
    assert_int_equal(none->b.n_records, 0);
    batch_give(&rig->pool, none);
    move(rig, "c.log", "c.log.1");
    gzip(rig, "c.log.1");
    events(rig);
    finish(rig, batch);
    tail_tick(rig->sides[0].stream.tail);
    assert_read(rig, "c ");
}

static void a_file_that_comes_back_while_its_text_is_decompressed_is_read_on(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char away[PATH_MAX];
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "a.log*"));
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    struct tail *tail = rig->sides[0].stream.tail;
    tail_close_file(tail, tail->sources);
    watch_pause(rig->sides[0].watch, true);
    harness_append(at(rig, "a.log"), "2\n");
    snprintf(away, sizeof(away), "%s/away", rig->state);
    assert_int_equal(rename(at(rig, "a.log"), away), 0);
    pack(rig, "a.log.1.gz", "1\n2\n", 0);
    watch_pause(rig->sides[0].watch, false);
    events(rig);
    tail_tick(tail);
    assert_true(tail->sources->packed);
    assert_int_equal(rename(away, at(rig, "a.log.1")), 0);
    assert_read(rig, "2 ");
    tail_tick(tail);
    harness_append(at(rig, "a.log.1"), "3\n");
    assert_read(rig, "3 ");
}

/* The one descriptor that is free is too little for a compressed file, and enough for a log. */
static void a_compressed_file_that_waits_keeps_no_log_waiting(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    harness_put(at(rig, "x.log"), "x\n");
    start(rig);
    drain(rig);
    stop(rig);
    rig->text[0] = '\0';
    harness_append(at(rig, "x.log"), "y\n");
    rig->sides[0].files.limit = FILES_TO_UNPACK;
    start(rig);
    assert_read(rig, "y ");
    struct tail *tail = rig->sides[0].stream.tail;
    struct source *x = tail_by_path(tail, at(rig, "x.log"));
    int writer = open(at(rig, "x.log"), O_WRONLY | O_APPEND);
    assert_int_equal(tail_wake(tail, x), 0);
    assert_int_equal(unlink(at(rig, "x.log")),
                     0); /* it keeps its descriptor as long as there is a writer */
    tail_close_file(tail, tail_by_path(tail, at(rig, "a.log")));
    watch_pause(rig->sides[0].watch, true);
    harness_append(at(rig, "a.log"), "2\n");
    pack(rig, "a.log.1.gz", "1\n2\n", 0);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    harness_put(at(rig, "b.log"), "b\n");
    watch_pause(rig->sides[0].watch, false);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch); /* b.log has the other one */
    tail_tick(tail);
    harness_put(at(rig, "c.log"), "c\n");
    events(rig);
    batch_give(&rig->pool, take(rig, 0));
    assert_text(rig, "b ");
    finish(rig, batch);
    assert_read(rig, "c ");
    close(writer);
}

static void what_could_not_be_looked_into_at_a_start_goes_before_its_log(void **state)
{
    struct rig *rig = (struct rig *)*state;
    put_later(rig, "a.log", "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    next_birth(rig);
    pack(rig, "a.log.1.gz", "1\n2\n", 0);
    assert_int_equal(truncate(at(rig, "a.log"), 0), 0);
    events(rig);
    tail_look(rig->sides[0].stream.tail, at(rig, "a.log"));
    stop(rig); /* the position is the compressed file's, the rest of it not delivered */
    harness_append(at(rig, "a.log"), "3\n");
    source_limit_files(0);
    start(rig);
    source_limit_files(UINT_MAX);
    for (int i = 0; i < 4; i++) {
        drain(rig);
        tail_tick(rig->sides[0].stream.tail);
    }
    assert_text(rig, "2 3 ");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(rotated_and_compressed_while_down_is_read_on_before_the_new_one),
        RIG(what_is_decompressed_is_forgotten_when_it_is_read),
        RIG(a_crash_while_it_is_decompressed_begins_anew_from_the_delivered),
        RIG(a_file_that_only_begins_alike_is_not_taken),
        RIG(what_no_compressed_file_holds_is_gone),
        RIG(a_cut_file_gives_the_lines_that_it_has),
        RIG(a_file_that_comes_back_while_its_text_is_decompressed_is_read_on),
        RIG(a_compressed_file_that_waits_keeps_no_log_waiting),
        RIG(what_could_not_be_looked_into_at_a_start_goes_before_its_log),
        RIG(many_generations_are_decompressed_through_few_descriptors),
        RIG(a_log_that_was_compressed_while_it_waited_for_a_descriptor_is_read),
        RIG(what_is_delivered_of_a_compressed_file_takes_no_room),
        RIG(a_closed_file_that_is_rotated_and_compressed_is_read_on),
        RIG(a_compressed_file_may_be_renamed_while_it_is_read),
        RIG(a_copy_that_was_compressed_is_read_on_after_a_truncation),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
