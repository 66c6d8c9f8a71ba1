/* Following files: names, rotation, truncation, what appears and disappears. Restarts: test_tail_open.c. */
#include "agent/tail.h"

#include "tests/agent/tail_rig.h"

#include <sys/inotify.h>

/* Each wants a batch of its own as the long line needs it; the others are ready again and again. */
static void a_long_line_finds_its_batch_among_busy_files(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct stream *stream = &rig->sides[0].stream;
    char busy[2001], line[30002];
    for (size_t i = 0; i < sizeof(busy) - 1; i += 2)
        memcpy(busy + i, "x\n", 3);
    memset(line, 'y', sizeof(line));
    memcpy(line + sizeof(line) - 2, "\n", 2);
    rig->sides[0].config.tail.max_line = 1 << 20;
    harness_put(at(rig, "long.log"), line);
    harness_put(at(rig, "busy1.log"), busy);
    harness_put(at(rig, "busy2.log"), busy);
    start(rig);
    for (int round = 0; round < 20; round++) {
        harness_append(at(rig, "busy1.log"), busy);
        harness_append(at(rig, "busy2.log"), busy);
        events(rig);
        struct batch_private *batch = batch_take(&rig->pool, stream->host);
        batch->stream = stream;
        tail_fill(stream->tail, batch);
        bool found = false;
        for (uint32_t i = 0; i < batch->b.n_records; i++)
            found |= batch->b.records[i].line.len == 30000;
        tail_commit(batch);
        finish(rig, batch);
        if (found)
            return;
    }
    fail_msg("the long line was never read");
}

static void what_is_there_and_what_comes_is_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\n");
    harness_put(at(rig, "other.txt"), "no\n");
    start(rig);
    assert_read(rig, "1 2 ");
    harness_append(at(rig, "a.log"), "3\nincom");
    assert_read(rig, "3 ");
    harness_append(at(rig, "a.log"), "plete\n");
    assert_read(rig, "incomplete ");
    harness_put(at(rig, "b.log"), "4\n");
    assert_read(rig, "4 ");
    assert_read(rig, "");
}

static void folders_that_appear_later_are_looked_into(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "x/**/*.log"));
    start(rig);
    assert_int_equal(mkdir(at(rig, "x"), 0755), 0);
    events(rig);
    assert_int_equal(mkdir(at(rig, "x/y"), 0755), 0);
    harness_put(at(rig, "x/y/a.log"), "1\n"); /* before anyone watches */
    assert_read(rig, "1 ");
    harness_append(at(rig, "x/y/a.log"), "2\n");
    assert_read(rig, "2 ");
    assert_int_equal(mkdir(at(rig, "x/.hidden"), 0755), 0);
    harness_put(at(rig, "x/.hidden/a.log"), "no\n");
    assert_read(rig, "");
}

static void lost_events_are_made_up_for_by_a_rescan(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    watch_pause(rig->sides[0].watch, true);
    harness_append(at(rig, "a.log"), "2\n");
    harness_put(at(rig, "b.log"), "3\n");
    assert_read(rig, "");
    tail_event(rig->sides[0].stream.tail, NULL, IN_Q_OVERFLOW);
    drain(rig);
    assert_true(strcmp(rig->text, "2 3 ") == 0 || strcmp(rig->text, "3 2 ") == 0);
    assert_false(tail_wants_rescan(rig->sides[0].stream.tail));
}

static void rotation_reads_the_old_file_to_its_end_before_the_new_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    for (int round = 0; round < 3; round++) {
        harness_append(at(rig, "a.log"), "2\n");
        move(rig, "a.log", "a.log.1");
        harness_put(at(rig, "a.log"), "4\n");
        harness_append(at(rig, "a.log.1"), "3\n"); /* its writer has not noticed yet */
        assert_read(rig, "2 3 4 ");
    }
}

static void the_new_file_waits_for_what_nobody_has_told_of_the_old_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(at(rig, "archive"), 0755), 0); /* not watched */
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "archive/a.log");
    harness_append(at(rig, "archive/a.log"), "2\n");
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 ");
}

static void a_renamed_file_that_is_still_written_to_is_followed_by_its_events(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "a.log.1");
    assert_read(rig, "");
    harness_append(at(rig, "a.log.1"), "2\n");
    assert_read(rig, "2 ");
    move(rig, "a.log.1", "a.log.2");
    harness_append(at(rig, "a.log.2"), "3\n");
    assert_read(rig, "3 ");
}

static void rotation_to_a_name_that_matches_ships_nothing_twice(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "a.log*"));
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
    move(rig, "a.log.1", "a.log.2");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
    tail_rescan(rig->sides[0].stream.tail);
    assert_read(rig, "");
}

static void several_rotations_at_once_are_read_oldest_first(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    events(rig); /* seen, not read yet */
    move(rig, "a.log.1", "a.log.2");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "1 2 3 ");
}

static void a_record_bears_the_logs_name_after_its_file_was_renamed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    move(rig, "a.log", "a.log.1");
    events(rig);
    struct batch_private *batch = take(rig, 0);
    assert_int_equal(batch->n_origins, 1);
    assert_true(slice_equal(batch->origins[0]->path, slice_str(at(rig, "a.log"))));
    tail_commit(batch);
    finish(rig, batch);
}

static void a_truncated_file_is_read_from_its_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t sums[STAT_COUNT] = {0};
    harness_put(at(rig, "a.log"), "one\ntwo\n");
    start(rig);
    assert_read(rig, "one two ");
    harness_put(at(rig, "a.log"), "");
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "new content, longer than before\n");
    assert_read(rig, "new content, longer than before ");
    harness_put(at(rig, "a.log"), "x\n"); /* truncated and written before anyone looked */
    assert_read(rig, "x ");
    stats_read(&rig->sides[0].stream.stats, sums);
    assert_int_equal(sums[STAT_truncations], 2);
    stop(rig);
    harness_append(at(rig, "a.log"), "y\n");
    start(rig);
    assert_read(rig, "y ");
}

static void a_file_written_anew_beyond_the_old_offset_is_read_from_its_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t sums[STAT_COUNT] = {0};
    harness_put(at(rig, "a.log"), "1\n2\n");
    start(rig);
    assert_read(rig, "1 2 ");
    for (int round = 0; round < 5; round++) { /* the same inode: emptied and longer at once */
        harness_put(at(rig, "a.log"), "a\nb\nc\n");
        assert_read(rig, "a b c ");
        harness_put(at(rig, "a.log"), "7\n8\n9\n0\n");
        assert_read(rig, "7 8 9 0 ");
        harness_append(at(rig, "a.log"), "more\n");
        assert_read(rig, "more ");
    }
    stats_read(&rig->sides[0].stream.stats, sums);
    assert_int_equal(sums[STAT_truncations], 10);
}

static void a_delivery_of_before_a_truncation_moves_no_position(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "one\ntwo\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    harness_put(at(rig, "a.log"), "x\n");
    events(rig);
    struct batch_private *after = take(rig, 0); /* sees that it is shorter */
    tail_commit(after);
    finish(rig, after);
    finish(rig, batch);
    stop(rig);
    rig->text[0] = '\0';
    start(rig);
    assert_read(rig, "x ");
}

static void an_incomplete_line_that_is_taken_back_hides_nothing(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "no end yet");
    start(rig);
    assert_read(rig, "");
    watch_pause(rig->sides[0].watch, true);
    harness_put(at(rig, "a.log"), "new\n");
    tail_rescan(rig->sides[0].stream.tail);
    assert_read(rig, "new ");
}

static void lines_over_a_longer_incomplete_one_are_told_apart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "no end yet");
    start(rig);
    assert_read(rig, "");
    harness_put(at(rig, "a.log"), "1\n2\n3\n4\n5\n6\n7\n");
    assert_read(rig, "1 2 3 4 5 6 7 ");
}

static void a_truncation_that_nobody_told_of_is_seen_before_the_next_generation(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(at(rig, "out"), 0755), 0); /* not watched */
    harness_put(at(rig, "out/1"), "one\n");
    assert_int_equal(symlink(at(rig, "out/1"), at(rig, "a.log")), 0);
    start(rig);
    assert_read(rig, "one ");
    harness_put(at(rig, "out/1"), "2\n");
    harness_put(at(rig, "out/2"), "3\n");
    assert_int_equal(symlink(at(rig, "out/2"), at(rig, "new")), 0);
    move(rig, "new", "a.log");
    assert_read(rig, "2 3 ");
}

static void what_is_excluded_is_not_read(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->exclude[0] = "debug*"; /* a name */
    rig->exclude[1] = strdup(at(rig, "b.log"));
    rig->sides[0].config.tail.exclude = (struct option_list){2, rig->exclude};
    harness_put(at(rig, "a.log"), "1\n");
    harness_put(at(rig, "debug1.log"), "no\n");
    harness_put(at(rig, "b.log"), "no\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "debug1.log"), "no\n");
    harness_put(at(rig, "debug2.log"), "no\n");
    assert_read(rig, "");
    free((void *)(uintptr_t)rig->exclude[1]);
    rig->sides[0].config.tail.exclude.n = 1;
}

static void a_file_deleted_while_unread_is_read_to_its_end(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    int fd = open(at(rig, "a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    harness_append(at(rig, "a.log"), "2\n");
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    assert_read(rig, "2 ");
    assert_int_equal(write(fd, "3\n", 2), 2); /* its writer still has it open */
    tail_tick(rig->sides[0].stream.tail);
    assert_read(rig, "3 ");
    close(fd);
    harness_put(at(rig, "a.log"), "4\n");
    assert_read(rig, "4 ");
}

static void a_hard_link_is_read_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    assert_int_equal(link(at(rig, "a.log"), at(rig, "b.log")), 0);
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "b.log"), "2\n");
    tail_rescan(rig->sides[0].stream.tail);
    assert_read(rig, "2 ");
    assert_int_equal(link(at(rig, "a.log"), at(rig, "c.log")), 0);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    harness_append(at(rig, "c.log"), "3\n");
    tail_rescan(rig->sides[0].stream.tail);
    assert_read(rig, "3 ");
}

static void what_is_no_file_is_skipped_and_nothing_blocks(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkfifo(at(rig, "fifo.log"), 0600), 0);
    assert_int_equal(mkdir(at(rig, "folder.log"), 0755), 0);
    assert_int_equal(symlink("nowhere", at(rig, "dead.log")), 0);
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    assert_int_equal(mkfifo(at(rig, "fifo2.log"), 0600), 0);
    harness_append(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
}

static void start_end_reads_only_what_comes_and_no_half_line(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = START_END;
    harness_put(at(rig, "a.log"), "old\n");
    harness_put(at(rig, "b.log"), "old\nhalf of a li");
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "b.log"), "ne\nnew\n");
    assert_read(rig, "new ");
    harness_put(at(rig, "c.log"), "from its beginning\n");
    assert_read(rig, "from its beginning ");
    stop(rig);
    harness_append(at(rig, "a.log"), "while down\n");
    harness_put(at(rig, "d.log"), "old, too\n");
    start(rig); /* a.log goes on where it stood, though nothing of it was ever delivered */
    assert_read(rig, "while down ");
}

static void start_end_notices_other_content_after_a_restart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = START_END;
    harness_put(at(rig, "a.log"), "old\n");
    start(rig);
    stop(rig);
    harness_put(at(rig, "a.log"), "new\nlines\n");
    start(rig);
    assert_read(rig, "new lines ");
}

static void after_lost_positions_everything_is_read_whatever_start_says(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.start = START_END;
    harness_put(at(rig, "a.log"), "1\n");
    harness_put(harness_path(rig->state, "positions"), "damaged");
    start(rig);
    assert_read(rig, "1 ");
}

static void a_file_written_anew_is_seen_though_it_ends_alike_where_it_was_read_to(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char end[TAIL_MAX + 3];
    memset(end, '.', sizeof(end) - 2);
    memcpy(end + sizeof(end) - 2, "\n", 2);
    harness_put(at(rig, "a.log"), "1\n");
    harness_append(at(rig, "a.log"), end);
    start(rig);
    drain(rig);
    rig->text[0] = '\0';
    harness_put(at(rig, "a.log"), "2\n");
    harness_append(at(rig, "a.log"), end);
    harness_append(at(rig, "a.log"), "3\n");
    end[sizeof(end) - 2] = ' ';
    drain(rig);
    assert_memory_equal(rig->text, "2 ", 2);
    assert_memory_equal(rig->text + 2, end, sizeof(end) - 1);
    assert_string_equal(rig->text + 2 + sizeof(end) - 1, "3 ");
}

static void a_file_written_anew_is_seen_though_its_size_and_its_end_are_the_same(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char line[TAIL_MAX + 4];
    memset(line, '.', sizeof(line) - 2);
    start(rig);
    for (const char *first = "1234"; *first != '\0'; first++) {
        line[0] = *first;
        memcpy(line + sizeof(line) - 2, "\n", 2);
        harness_put(at(rig, "a.log"), line);
        line[sizeof(line) - 2] = ' ';
        assert_read(rig, line);
        if (*first == '3') { /* not read since the start, too */
            stop(rig);
            start(rig);
        }
    }
}

static void compressed_files_are_not_read_as_lines(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *all = strdup(at(rig, "*"));
    rig->sides[0].config.tail.paths.items = &all;
    harness_put(at(rig, "a.log.2.gz"), "not lines\n");
    harness_put(at(rig, "agz"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_put(at(rig, "a.log-20260131.zst"), "not lines\n");
    harness_put(at(rig, ".gz.log"), "2\n");
    harness_put(at(rig, "gz.log"), "3\n");
    assert_read(rig, "3 ");
    free((void *)(uintptr_t)all);
}

static void folders_that_lead_to_no_file_cause_no_look_at_everything(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *paths = strdup(at(rig, "logs/*/a.log"));
    assert_int_equal(mkdir(at(rig, "logs"), 0755), 0);
    rig->sides[0].config.tail.paths.items = &paths;
    start(rig);
    struct tail *tail = rig->sides[0].stream.tail;
    ev_run(rig->loop, EVRUN_NOWAIT);
    tail_wants_rescan(tail);
    assert_int_equal(mkdir(at(rig, "other"), 0755), 0);
    assert_int_equal(rmdir(at(rig, "other")), 0);
    ev_run(rig->loop, EVRUN_NOWAIT);
    assert_false(tail_wants_rescan(tail));
    assert_int_equal(mkdir(at(rig, "logs/x"), 0755), 0);
    harness_put(at(rig, "logs/x/a.log"), "1\n");
    assert_read(rig, "1 ");
    free((void *)(uintptr_t)paths);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(folders_that_lead_to_no_file_cause_no_look_at_everything),
        RIG(a_file_written_anew_is_seen_though_it_ends_alike_where_it_was_read_to),
        RIG(a_file_written_anew_is_seen_though_its_size_and_its_end_are_the_same),
        RIG(compressed_files_are_not_read_as_lines),
        RIG(what_is_there_and_what_comes_is_read),
        RIG(a_long_line_finds_its_batch_among_busy_files),
        RIG(folders_that_appear_later_are_looked_into),
        RIG(lost_events_are_made_up_for_by_a_rescan),
        RIG(rotation_reads_the_old_file_to_its_end_before_the_new_one),
        RIG(the_new_file_waits_for_what_nobody_has_told_of_the_old_one),
        RIG(a_renamed_file_that_is_still_written_to_is_followed_by_its_events),
        RIG(rotation_to_a_name_that_matches_ships_nothing_twice),
        RIG(several_rotations_at_once_are_read_oldest_first),
        RIG(a_record_bears_the_logs_name_after_its_file_was_renamed),
        RIG(a_truncated_file_is_read_from_its_beginning),
        RIG(a_file_written_anew_beyond_the_old_offset_is_read_from_its_beginning),
        RIG(a_delivery_of_before_a_truncation_moves_no_position),
        RIG(an_incomplete_line_that_is_taken_back_hides_nothing),
        RIG(lines_over_a_longer_incomplete_one_are_told_apart),
        RIG(a_truncation_that_nobody_told_of_is_seen_before_the_next_generation),
        RIG(what_is_excluded_is_not_read),
        RIG(a_file_deleted_while_unread_is_read_to_its_end),
        RIG(a_hard_link_is_read_once),
        RIG(what_is_no_file_is_skipped_and_nothing_blocks),
        RIG(start_end_reads_only_what_comes_and_no_half_line),
        RIG(start_end_notices_other_content_after_a_restart),
        RIG(after_lost_positions_everything_is_read_whatever_start_says),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
