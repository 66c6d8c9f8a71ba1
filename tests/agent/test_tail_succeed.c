#include "agent/tail_inner.h"
#include "agent/yaml.h"
#include "tests/agent/tail_rig.h"

/* Side 0 has the stream as it was, side 1 its successor, in the same worker. */
static void succeed(struct rig *rig, const char *section)
{
    struct error error;
    struct side *side = &rig->sides[0], *next = &rig->sides[1];
    struct yaml_tree *before = yaml_tree_parse(SLICE("tail: {}"), "x.yaml", false, &error);
    struct yaml_tree *after = yaml_tree_parse(slice_str(section), "x.yaml", false, &error);
    assert_non_null(before);
    assert_non_null(after);
    side->config.node = yaml_tree_root(before);
    next->config.node = yaml_tree_root(after);
    assert_int_equal(tail_succeed(&side->stream, &next->stream, &error), 0);
    assert_non_null(next->stream.tail);
    tail_close(&side->stream.tail);
    yaml_tree_free(&before);
    yaml_tree_free(&after);
}

static void assert_next_reads(struct rig *rig, const char *expected)
{
    struct tail *tail = rig->sides[1].stream.tail;
    tail_rescan(tail);
    while (tail_ready(tail)) {
        struct batch_private *batch = take(rig, 1);
        tail_commit(batch);
        finish(rig, batch);
    }
    assert_text(rig, expected);
}

static void end(struct rig *rig)
{
    tail_close(&rig->sides[1].stream.tail);
    assert_int_equal(rig->sides[0].files.open, 0);
}

static const char *const sections[] = {"tail: {}", "tail: {max_line: 2KiB}"}; /* equal, and not */

static void goes_on_where_the_stream_stopped(void **state)
{
    struct rig *rig = (struct rig *)*state;
    for (size_t i = 0; i < ROWS(sections); i++) {
        harness_put(at(rig, "a.log"), "one\ntwo\nthr");
        start(rig);
        assert_read(rig, "one two ");
        harness_put(at(rig, "b.log"), "new\n"); /* no event of it was seen */
        succeed(rig, sections[i]);
        assert_next_reads(rig, "new ");
        harness_append(at(rig, "a.log"), "ee\nfour\n");
        assert_next_reads(rig, "three four ");
        end(rig);
        stop(rig);
        assert_int_equal(unlink(at(rig, "a.log")), 0);
        assert_int_equal(unlink(at(rig, "b.log")), 0);
    }
}

static void files_stay_open_when_they_are_read_as_before(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\n");
    start(rig);
    assert_read(rig, "one ");
    const struct source *source = tail_of(rig)->sources;
    int fd = source->fd;
    succeed(rig, "tail: {}");
    assert_ptr_equal(rig->sides[1].stream.tail->sources, source);
    assert_ptr_equal(source->stream, &rig->sides[1].stream);
    assert_int_equal(source->fd, fd);
    end(rig);
}

static void deleted_file_is_read_to_its_end_before_what_came_after_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    for (size_t i = 0; i < ROWS(sections); i++) {
        harness_put(at(rig, "a.log"), "one\n");
        start(rig);
        assert_read(rig, "one ");
        int writer = open(at(rig, "a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
        assert_int_equal(write(writer, "two\n", 4), 4);
        assert_int_equal(unlink(at(rig, "a.log")), 0);
        put_later(rig, "a.log", "three\n");
        events(rig);
        succeed(rig, sections[i]);
        assert_int_equal(rig->sides[0].files.open, 2);
        assert_next_reads(rig, "two three ");
        assert_int_equal(write(writer, "late\n", 5), 5);
        tail_tick(rig->sides[1].stream.tail);
        assert_next_reads(rig, "late ");
        close(writer);
        end(rig);
        stop(rig);
        assert_int_equal(unlink(at(rig, "a.log")), 0);
    }
}

static void renamed_file_is_found_by_its_identity(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\n");
    start(rig);
    assert_read(rig, "one ");
    harness_append(at(rig, "a.log"), "two\n");
    move(rig, "a.log", "a.log.1");
    put_later(rig, "a.log", "three\n");
    events(rig);
    succeed(rig, "tail: {max_line: 2KiB}");
    assert_next_reads(rig, "two three ");
    end(rig);
}

static void log_that_is_left_out_is_let_go_and_taken_up_where_it_was(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\n");
    start(rig);
    assert_read(rig, "one ");
    harness_put(at(rig, "b.log"), "first\n");
    assert_read(rig, "first ");
    int writer = open(at(rig, "a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    harness_put(at(rig, "c.log"), "c\n");
    assert_read(rig, "c ");
    assert_int_equal(unlink(at(rig, "c.log")), 0); /* and one that has no name any more */
    events(rig);
    rig->exclude[0] = "a.log";
    rig->exclude[1] = "c.log";
    rig->sides[1].config.tail.exclude = (struct option_list){2, rig->exclude};
    succeed(rig, "tail: {exclude: [a.log, c.log]}");
    assert_int_equal(rig->sides[0].files.open, 1);
    assert_int_equal(write(writer, "two\n", 4), 4);
    close(writer);
    harness_append(at(rig, "b.log"), "second\n");
    assert_next_reads(rig, "second ");
    end(rig);
    stop(rig);
    start(rig);
    assert_read(rig, "two ");
}

int main(void)
{
    log_init(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        RIG(goes_on_where_the_stream_stopped),
        RIG(files_stay_open_when_they_are_read_as_before),
        RIG(deleted_file_is_read_to_its_end_before_what_came_after_it),
        RIG(renamed_file_is_found_by_its_identity),
        RIG(log_that_is_left_out_is_let_go_and_taken_up_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
