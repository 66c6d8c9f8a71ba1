#include "agent/source.h"

#include "agent/stream.h"
#include "tests/agent/harness.h"

#include <errno.h>

struct rig {
    char *folder;
    char path[PATH_MAX];
    struct config_stream config;
    struct stream stream;
    struct batch_pool pool;
    struct batch_private *batch;
    struct source source;
};

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->folder = harness_folder();
    snprintf(rig->path, sizeof(rig->path), "%s/a.log", rig->folder);
    harness_put(rig->path, "");
    rig->config.tail.max_line = 1000;
    rig->stream.config = &rig->config;
    rig->stream.read_size = 64 * 1024;
    batch_pool_init(&rig->pool, 4, (size_t)4 << 20);
    rig->batch = batch_take(&rig->pool, SLICE("h"));
    rig->source.stream = &rig->stream;
    rig->source.last = &rig->source.first;
    rig->source.want = rig->stream.read_size;
    rig->source.fd = open(rig->path, O_RDONLY | O_CLOEXEC);
    assert_int_not_equal(rig->source.fd, -1);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    while (rig->source.first != NULL) {
        struct range *range = rig->source.first;
        rig->source.first = range->next;
        batch_give_range(&rig->pool, range);
    }
    for (struct range *range = rig->batch->ranges, *next; range != NULL; range = next) {
        next = range->batch_next;
        batch_give_range(&rig->pool, range);
    }
    batch_pool_fini(&rig->pool);
    source_forget_json(&rig->source);
    close(rig->source.fd);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

static enum source_read read_once(struct rig *rig)
{
    return source_read(&rig->source, &rig->pool, rig->batch, 1);
}

/* The batch's lines with a blank behind each. */
static void assert_lines(const struct batch_private *batch, const char *expected)
{
    char text[1024];
    size_t len = 0;
    for (uint32_t i = 0; i < batch->b.n_records && len < sizeof(text); i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s ",
                                (int)batch->b.records[i].line.len, batch->b.records[i].line.ptr);
    assert_string_equal(batch->b.n_records == 0 ? "" : text, expected);
}

/* The ranges of the batch go to the source; the batch's place is taken by a new one. */
static struct range *commit(struct rig *rig)
{
    struct range *range = rig->batch->ranges;
    assert_non_null(range);
    assert_null(range->batch_next);
    source_commit_range(range);
    batch_give(&rig->pool, rig->batch);
    rig->batch = batch_take(&rig->pool, SLICE("h"));
    return range;
}

static uint64_t size_of(const struct rig *rig)
{
    struct file_facts facts;
    assert_int_equal(file_facts_fd(rig->source.fd, &facts), 0);
    return facts.size;
}

static enum source_content compare_with(const struct rig *rig, const struct mark *mark)
{
    return source_compare(rig->source.fd, size_of(rig), mark);
}

static void lines_are_read_and_the_rest_waits(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(rig->path, "one\ntwo\nthr");
    assert_int_equal(read_once(rig), READ_END);
    assert_lines(rig->batch, "one two ");
    assert_int_equal(rig->source.offset, 8);
    assert_int_equal(rig->source.scanned, 3);
    assert_int_equal(rig->batch->n_read, 8);
    assert_int_equal(read_once(rig), READ_END); /* nothing new: no range either */
    assert_null(rig->batch->ranges->batch_next);
    harness_append(rig->path, "ee\nfour\n");
    assert_int_equal(read_once(rig), READ_END);
    assert_lines(rig->batch, "one two three four ");
    assert_int_equal(rig->batch->n_origins, 2);
    assert_int_equal(rig->batch->b.records[2].begin, 8);
    assert_int_equal(rig->batch->b.records[2].origin, 1);
}

static void a_byte_at_a_time_gives_each_line_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char text[] = "one\r\n\ntwo and more\nend\n";
    for (size_t i = 0; text[i] != '\0'; i++) {
        harness_append(rig->path, (char[]){text[i], '\0'});
        assert_int_equal(read_once(rig), READ_END);
    }
    assert_lines(rig->batch, "one  two and more end ");
    assert_int_equal(rig->source.offset, strlen(text));
}

static void a_long_line_makes_reads_grow_up_to_its_limit(void **state)
{
    struct rig *rig = (struct rig *)*state;
    size_t most = 0, reads = 0;
    char *line = (char *)malloc(200000);
    assert_non_null(line);
    memset(line, 'x', 200000);
    line[99999] = '\n'; /* as long as is kept; then one too long */
    line[199999] = '\n';
    rig->config.tail.max_line = 99999;
    rig->stream.read_size = rig->source.want = 1000;
    harness_write(rig->path, line, 200000);
    free(line);
    for (enum source_read result = READ_MORE; result == READ_MORE; reads++) {
        result = read_once(rig);
        most = rig->source.want > most ? rig->source.want : most;
        assert_true(result == READ_MORE || result == READ_FULL);
    }
    assert_int_equal(most, rig->config.tail.max_line + 2);
    assert_true(reads < 12);
    assert_int_equal(rig->batch->b.n_records, 1); /* the other finds no room in the same batch */
    assert_int_equal(rig->batch->b.records[0].line.len, 99999);
    assert_int_equal(rig->batch->b.records[0].flags, 0);
    assert_int_equal(rig->source.offset, 100000);
}

static void a_line_beyond_the_limit_is_shipped_cut_before_it_ends(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct mark mark;
    rig->config.tail.max_line = 10;
    rig->stream.read_size = rig->source.want = 8;
    harness_put(rig->path, "0123456789abcdefghijklmnopqrstuvw");
    while (read_once(rig) == READ_MORE && rig->batch->ranges == NULL)
        ;
    assert_lines(rig->batch, "0123456789 ");
    assert_int_equal(rig->batch->b.records[0].flags, RECORD_CUT);
    assert_int_equal(rig->batch->cut_lines, 1);
    assert_true(rig->source.cut);
    commit(rig)->finished = true;
    while (rig->source.offset < size_of(rig)) {
        read_once(rig);
        assert_lines(rig->batch, "");
        commit(rig)->finished = true;
    }
    assert_true(source_advance(&rig->source, &rig->pool, &mark));
    assert_true(mark.cut);
    assert_int_equal(mark.offset, 33);
    harness_append(rig->path, "xyz\nn\n");
    read_once(rig);
    assert_lines(rig->batch, "n ");
    assert_false(rig->source.cut);
}

static void reads_shrink_when_a_batch_has_no_room_for_many_short_lines(void **state)
{
    struct rig *rig = (struct rig *)*state;
    enum { LINES = 3 * BATCH_RECORDS };
    char *text = (char *)malloc(LINES);
    assert_non_null(text);
    memset(text, '\n', LINES);
    rig->stream.read_size = rig->source.want = 64 * 1024;
    harness_write(rig->path, text, LINES);
    free(text);
    size_t total = 0;
    while (total < LINES) {
        assert_int_equal(read_once(rig), READ_MORE);
        assert_int_equal(rig->batch->b.n_records, BATCH_RECORDS);
        assert_int_equal(read_once(rig), READ_FULL);
        total += rig->batch->b.n_records;
        assert_int_equal(rig->source.offset, total);
        commit(rig);
    }
    assert_int_equal(read_once(rig), READ_END);
    assert_int_equal(rig->batch->b.n_records, 0);
}

static void a_batch_reads_no_more_than_its_size_but_for_a_longer_line(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->stream.read_size = rig->source.want = 10;
    harness_put(rig->path, "aaa\nbbb\nccc\nddd\n");
    assert_int_equal(read_once(rig), READ_MORE);
    assert_int_equal(rig->batch->n_read, 8);
    assert_int_equal(read_once(rig), READ_FULL);
    assert_lines(rig->batch, "aaa bbb ");
}

static void many_small_sources_share_a_batch_up_to_its_size(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char *text = (char *)malloc(60001);
    assert_non_null(text);
    for (size_t i = 0; i < 60000; i++)
        text[i] = i % 100 == 99 ? '\n' : 'x';
    rig->stream.raw = true;
    rig->stream.read_size = rig->source.want = ARENA_CHUNK_ROOM;
    for (size_t i = 1; i <= 150; i++) { /* 15000 bytes in reads of 100 each */
        harness_write_flags(rig->path, text, 100, O_APPEND);
        assert_int_equal(read_once(rig), READ_END);
    }
    assert_int_equal(rig->batch->n_origins, 150);
    text[60000] = '\0';
    harness_append(rig->path, text);
    assert_int_equal(read_once(rig), READ_MORE); /* as much as is left */
    assert_int_equal(read_once(rig), READ_FULL);
    assert_true(rig->batch->n_read > ARENA_CHUNK_ROOM - 4096);
    assert_true(rig->batch->n_read <= ARENA_CHUNK_ROOM);
    assert_int_equal(rig->batch->out.size, ARENA_CHUNK); /* one chunk has all of it */
    free(text);
}

static void undone_ranges_are_read_again(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->config.tail.max_line = 4;
    harness_put(rig->path, "one\ntwo\ncut line");
    read_once(rig);
    assert_lines(rig->batch, "one two cut  ");
    assert_true(rig->source.cut);
    source_undo_range(rig->batch->ranges);
    assert_int_equal(rig->source.offset, 0);
    assert_int_equal(rig->source.head.len,
                     0); /* other bytes may stand there when it is read again */
    assert_false(rig->source.cut);
    assert_int_equal(rig->source.scanned, 0);
    batch_remove_last_range(&rig->pool, rig->batch, rig->batch->ranges);
    batch_give(&rig->pool, rig->batch);
    rig->batch = batch_take(&rig->pool, SLICE("h"));
    read_once(rig);
    assert_lines(rig->batch, "one two cut  ");
    commit(rig);
    harness_append(rig->path, " rest\nx\n"); /* begins inside the cut line */
    read_once(rig);
    assert_lines(rig->batch, "x ");
    source_undo_range(rig->batch->ranges);
    assert_true(rig->source.cut);
}

static void the_mark_waits_for_everything_before_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (size_t o = 0; o < ROWS(orders); o++) {
        struct range *ranges[3];
        bool done[3] = {false, false, false};
        struct mark mark = {0};
        uint64_t begin = rig->source.offset;
        for (int i = 0; i < 3; i++) {
            harness_append(rig->path, "line\n");
            read_once(rig);
            ranges[i] = commit(rig);
        }
        for (int i = 0; i < 3; i++) {
            int now = orders[o][i], before = 0, after = 0;
            while (before < 3 && done[before])
                before++;
            ranges[now]->finished = done[now] = true;
            while (after < 3 && done[after])
                after++;
            assert_int_equal(source_advance(&rig->source, &rig->pool, &mark), after > before);
            if (after > 0)
                assert_int_equal(mark.offset, begin + 5u * (unsigned)after);
        }
        assert_null(rig->source.first);
        assert_ptr_equal(rig->source.last, &rig->source.first);
        assert_int_equal(compare_with(rig, &mark), CONTENT_SAME);
    }
}

static void ranges_of_before_a_truncation_move_nothing(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct mark mark = {.offset = 4711};
    harness_put(rig->path, "before\n");
    read_once(rig);
    struct range *before = commit(rig);
    harness_put(rig->path, "");
    source_restart(&rig->source);
    assert_int_equal(rig->source.offset, 0);
    harness_append(rig->path, "x\n");
    read_once(rig);
    assert_lines(rig->batch, "x ");
    struct range *after = commit(rig);
    before->finished = true;
    assert_false(source_advance(&rig->source, &rig->pool, &mark));
    assert_int_equal(mark.offset, 4711);
    after->finished = true;
    assert_true(source_advance(&rig->source, &rig->pool, &mark));
    assert_int_equal(mark.offset, 2);
    assert_int_equal(compare_with(rig, &mark), CONTENT_SAME);
}

static void a_line_written_over_an_incomplete_one_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(rig->path, "no end yet");
    assert_int_equal(read_once(rig), READ_END);
    assert_int_equal(rig->source.scanned, 10);
    harness_put(rig->path, "new\n"); /* shorter: what was scanned is not there any more */
    assert_int_equal(read_once(rig), READ_END);
    assert_lines(rig->batch, "new ");
}

/* A mark at the end of what was read of `text`. */
static struct mark mark_after(struct rig *rig, const char *text)
{
    struct mark mark = {0};
    harness_put(rig->path, text);
    read_once(rig);
    commit(rig)->finished = true;
    assert_true(source_advance(&rig->source, &rig->pool, &mark));
    return mark;
}

static void content_is_compared_with_what_was_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct mark mark = mark_after(rig, "one\ntwo\n");
    static const struct {
        const char *text;
        enum source_content content;
    } rows[] = {
        {"one\ntwo\n", CONTENT_SAME},
        {"one\ntwo\nthree\n", CONTENT_SAME},
        {"one\ntwo\nincom", CONTENT_SAME},
        {"one\ntwo", CONTENT_SHORTER},
        {"", CONTENT_SHORTER},
        {"One\ntwo\n", CONTENT_OTHER},
        {"one\ntwO\nthree\n", CONTENT_OTHER},
        {"something else altogether\n", CONTENT_OTHER},
    };
    assert_int_equal(mark.offset, 8);
    for (size_t i = 0; i < ROWS(rows); i++) {
        harness_put(rig->path, rows[i].text);
        if (compare_with(rig, &mark) != rows[i].content)
            fail_msg("row %zu: %s", i, rows[i].text);
    }
    close(rig->source.fd); /* what can't be read is not other content */
    rig->source.fd = open(rig->folder, O_RDONLY | O_CLOEXEC);
    assert_int_equal(source_compare(rig->source.fd, 1000, &mark), CONTENT_UNKNOWN);
}

static void in_a_long_file_its_beginning_and_what_is_before_the_mark_count(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char text[4001];
    for (size_t i = 0; i < 4000; i++)
        text[i] = i % 40 == 39 ? '\n' : (char)('a' + i % 26);
    text[4000] = '\0';
    struct mark mark = mark_after(rig, text);
    assert_int_equal(mark.offset, 4000);
    assert_int_equal(mark.head.len, FINGERPRINT_MAX);
    assert_int_equal(mark.tail.len, TAIL_MAX);
    for (size_t i = 0; i < 4000; i += 7) {
        bool covered = i < FINGERPRINT_MAX || i >= 4000 - TAIL_MAX;
        text[i] ^= 1;
        harness_put(rig->path, text);
        assert_int_equal(compare_with(rig, &mark), covered ? CONTENT_OTHER : CONTENT_SAME);
        text[i] ^= 1;
    }
}

static void a_mark_that_says_nothing_of_the_content_agrees_with_any(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct mark mark = {.offset = 0};
    harness_put(rig->path, "one\n");
    assert_int_equal(compare_with(rig, &mark), CONTENT_SAME); /* found, nothing delivered yet */
    mark.offset = 4;
    assert_int_equal(compare_with(rig, &mark), CONTENT_SAME);
    mark.offset = 5;
    assert_int_equal(compare_with(rig, &mark), CONTENT_SHORTER);
}

static void a_mark_out_of_range_is_other_content(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(rig->path, "one\n");
    struct mark tail = {.offset = 3, .tail = {.len = 4}};
    struct mark head = {.offset = 3, .head = {.len = FINGERPRINT_MAX + 1}};
    assert_int_equal(compare_with(rig, &tail), CONTENT_OTHER);
    assert_int_equal(compare_with(rig, &head), CONTENT_OTHER);
}

static void an_error_of_reading_is_told(void **state)
{
    struct rig *rig = (struct rig *)*state;
    close(rig->source.fd);
    rig->source.fd = open(rig->folder, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read_once(rig), READ_FAILED);
    assert_int_equal(errno, EISDIR);
    assert_null(rig->batch->ranges);
}

static void without_memory_nothing_moves(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(rig->path, "one\n");
    rig->batch->b.arena.limit = 0;
    assert_int_equal(read_once(rig), READ_FAILED);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(rig->source.offset, 0);
    rig->batch->b.arena.limit = (size_t)1 << 20;
    assert_int_equal(read_once(rig), READ_END);
    assert_lines(rig->batch, "one ");
}

static void raw_streams_keep_their_bytes_where_kafka_needs_them(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->stream.raw = true;
    harness_put(rig->path, "one\n");
    read_once(rig);
    batch_shrink(rig->batch);
    assert_lines(rig->batch, "one ");
}

static void only_regular_files_are_opened_and_nothing_blocks(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct file_facts facts;
    int fd;
    assert_int_equal(file_facts(rig->path, &facts), 0);
    assert_true(facts.regular);
    assert_int_equal(facts.links, 1);
    fd = source_open_file(rig->path, &facts.id);
    assert_int_not_equal(fd, -1);
    close(fd);

    struct identity other = facts.id;
    other.ino++;
    assert_int_equal(source_open_file(rig->path, &other), -1);
    assert_int_equal(errno, ESTALE);

    const char *fifo = harness_path(rig->folder, "fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const char *const others[] = {fifo, rig->folder, "/dev/null"};
    for (size_t i = 0; i < ROWS(others); i++) {
        assert_int_equal(file_facts(others[i], &facts), 0);
        assert_false(facts.regular);
        assert_int_equal(source_open_file(others[i], &facts.id), -1);
    }
    assert_int_equal(file_facts(harness_path(rig->folder, "none"), &facts), -1);
    assert_int_equal(errno, ENOENT);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(lines_are_read_and_the_rest_waits),
        RIG(a_byte_at_a_time_gives_each_line_once),
        RIG(a_long_line_makes_reads_grow_up_to_its_limit),
        RIG(a_line_beyond_the_limit_is_shipped_cut_before_it_ends),
        RIG(reads_shrink_when_a_batch_has_no_room_for_many_short_lines),
        RIG(a_batch_reads_no_more_than_its_size_but_for_a_longer_line),
        RIG(many_small_sources_share_a_batch_up_to_its_size),
        RIG(undone_ranges_are_read_again),
        RIG(the_mark_waits_for_everything_before_it),
        RIG(ranges_of_before_a_truncation_move_nothing),
        RIG(a_line_written_over_an_incomplete_one_is_read),
        RIG(content_is_compared_with_what_was_read),
        RIG(in_a_long_file_its_beginning_and_what_is_before_the_mark_count),
        RIG(a_mark_that_says_nothing_of_the_content_agrees_with_any),
        RIG(a_mark_out_of_range_is_other_content),
        RIG(an_error_of_reading_is_told),
        RIG(without_memory_nothing_moves),
        RIG(raw_streams_keep_their_bytes_where_kafka_needs_them),
        RIG(only_regular_files_are_opened_and_nothing_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
