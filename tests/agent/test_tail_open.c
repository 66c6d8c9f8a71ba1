/* Restarts, and several workers on the same files. */
#include "agent/tail_inner.h"

#include "tests/agent/tail_rig.h"

static void a_restart_goes_on_exactly_where_it_was(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\nincom");
    start(rig);
    assert_read(rig, "1 2 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "plete\n");
    start(rig);
    assert_read(rig, "incomplete ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "3\n");
    assert_read(rig, "3 ");
}

static void what_was_in_flight_is_read_again(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    harness_append(at(rig, "a.log"), "2\n");
    events(rig);
    struct batch_private *first = take(rig, 0);
    tail_commit(first);
    harness_append(at(rig, "a.log"), "3\n");
    events(rig);
    struct batch_private *second = take(rig, 0);
    tail_commit(second);
    assert_text(rig, "2 3 ");
    finish(rig, second); /* out of order: it does not count before the first */
    stop(rig);
    start(rig);
    assert_read(rig, "2 3 ");
}

static void an_undone_batch_is_read_again_at_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n2\n");
    harness_put(at(rig, "b.log"), "3\n4\n");
    start(rig);
    struct batch_private *batch = take(rig, 0);
    assert_int_equal(strlen(rig->text), 8);
    tail_undo(batch);
    assert_null(batch->ranges);
    batch_give(&rig->pool, batch);
    rig->text[0] = '\0';
    assert_true(tail_ready(rig->sides[0].stream.tail));
    drain(rig);
    assert_int_equal(strlen(rig->text), 8);
    assert_non_null(strstr(rig->text, "1 2 "));
    assert_non_null(strstr(rig->text, "3 4 "));
}

static void undo(struct rig *rig)
{
    struct batch_private *batch = take(rig, 0);
    tail_undo(batch);
    batch_give(&rig->pool, batch);
    rig->text[0] = '\0';
}

static void an_undone_batch_keeps_the_generations_in_order(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    events(rig);
    undo(rig);
    assert_read(rig, "1 2 ");
}

static void after_an_undone_batch_a_truncation_is_still_seen(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    char more[2 * BATCH_RECORDS + 3]; /* than a batch takes: the file's end is not reached */
    for (size_t i = 0; i < sizeof(more) - 1; i += 2)
        memcpy(more + i, "2\n", 3);
    harness_append(at(rig, "a.log"), more);
    events(rig);
    undo(rig);
    harness_put(at(rig, "a.log"), "3\n4\n5\n6\n");
    assert_read(rig, "3 4 5 6 ");
}

static void a_restart_goes_on_inside_a_cut_line(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig->sides[0].config.tail.max_line = 4;
    harness_put(at(rig, "a.log"), "1234567");
    start(rig);
    assert_read(rig, "1234 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "89\nx\n");
    start(rig);
    assert_read(rig, "x ");
}

static void renamed_while_down_is_read_to_its_end_before_the_new_one(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), "2\n");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "3\n");
    start(rig);
    assert_read(rig, "2 3 ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void rotated_before_and_while_down_keeps_the_order(void **state)
{
    struct rig *rig = (struct rig *)*state;
    free((void *)(uintptr_t)rig->paths[0]);
    rig->paths[0] = strdup(at(rig, "a.log*"));
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n");
    events(rig); /* both known, nothing delivered */
    stop(rig);
    move(rig, "a.log.1", "a.log.2");
    move(rig, "a.log", "a.log.1");
    start(rig);
    assert_read(rig, "1 2 ");
}

static void truncated_and_written_anew_while_down_is_read_from_its_beginning(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char *const contents[] = {"x\n", "other\n", "other and more than before\n"};
    for (size_t i = 0; i < ROWS(contents); i++) {
        char expected[64];
        harness_put(at(rig, "a.log"), "first\n");
        start(rig);
        drain(rig);
        rig->text[0] = '\0';
        stop(rig);
        harness_put(at(rig, "a.log"), contents[i]); /* the same inode */
        start(rig);
        snprintf(expected, sizeof(expected), "%.*s ", (int)strlen(contents[i]) - 1, contents[i]);
        assert_read(rig, expected);
        stop(rig);
    }
}

static void replaced_while_down_by_a_file_of_the_same_name(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    harness_put(at(rig, "new"), "1\n2\n"); /* begins alike, but is another file */
    move(rig, "new", "a.log");
    start(rig);
    assert_read(rig, "1 2 ");
}

static void deleted_while_down_leaves_no_position(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "gone.log"), "1\n");
    harness_put(at(rig, "a.log"), "2\n");
    start(rig);
    drain(rig);
    stop(rig);
    assert_int_equal(unlink(at(rig, "gone.log")), 0);
    rig->text[0] = '\0';
    start(rig);
    assert_read(rig, "");
    stop(rig);
    char *text = harness_read(harness_path(rig->state, "positions"), NULL);
    assert_non_null(text);
    assert_null(strstr(text, "gone.log"));
    assert_non_null(strstr(text, "a.log"));
    free(text);
}

static void another_stream_reads_the_same_file_for_itself(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    rig->sides[0].config.name = "t";
    start(rig);
    assert_read(rig, "1 ");
}

/* ---- several workers ---- */

static void rotated_names_of_a_log_belong_to_the_same_worker(void **state)
{
    (void)state;
    static const char *const names[] = {"/l/a.log.1",          "/l/a.log.25", "/l/a.log-20261123",
                                        "/l/a.log.2026-11-23", "/l/a.log-1",  "/l/a.log_2"};
    for (int workers = 1; workers < 9; workers++) {
        for (int worker = 0; worker < workers; worker++)
            for (size_t i = 0; i < ROWS(names); i++)
                assert_int_equal(tail_owns(names[i], worker, workers),
                                 tail_owns("/l/a.log", worker, workers));
    }
}

static void every_path_has_exactly_one_worker_and_all_have_some(void **state)
{
    (void)state;
    static const char *const odd[] = {"/", "/1", "/l/1", "/l/.", "/l/-1", "/l/2026-11-23",
                                      "a", "1"};
    for (int workers = 1; workers < 9; workers++) {
        int owned[8] = {0};
        for (int i = 0; i < 500; i++) {
            char path[64];
            int owners = 0;
            snprintf(path, sizeof(path), "/var/log/service%d/a.log", i);
            for (int worker = 0; worker < workers; worker++) {
                bool owns = tail_owns(i < (int)ROWS(odd) ? odd[i] : path, worker, workers);
                owners += owns;
                owned[worker] += owns;
            }
            assert_int_equal(owners, 1);
        }
        for (int worker = 0; worker < workers; worker++)
            assert_true(owned[worker] > 500 / workers / 2); /* hashes: always the same numbers */
    }
}

static void two_workers_read_every_file_once(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32];
    enum { N = 60 };
    rig->workers = 2;
    for (int i = 0; i < N; i++) { /* half before, half while they run */
        snprintf(name, sizeof(name), "f%dx.log", i);
        if (i == N / 2) {
            start(rig);
            assert_true(tail_ready(rig->sides[0].stream.tail));
            assert_true(tail_ready(rig->sides[1].stream.tail));
        }
        harness_put(at(rig, name), name);
        harness_append(at(rig, name), "\n");
    }
    drain(rig);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "f%dx.log ", i);
        const char *found = strstr(rig->text, name);
        assert_non_null(found);
        assert_null(strstr(found + 1, name));
    }
    rig->text[0] = '\0';
    stop(rig);
    start(rig);
    assert_read(rig, "");
}

static void a_file_that_gets_another_workers_name_is_not_read_twice(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32] = "";
    rig->workers = 2;
    harness_put(at(rig, "a.log"), "1\n");
    bool first = tail_owns(at(rig, "a.log"), 0, 2);
    for (int i = 0; name[0] == '\0' || tail_owns(at(rig, name), 0, 2) == first; i++)
        snprintf(name, sizeof(name), "b%dx.log", i);
    start(rig);
    assert_read(rig, "1 ");
    move(rig, "a.log", name);
    harness_append(at(rig, name), "2\n");
    drain(rig);
    for (int i = 0; i < 2; i++)
        tail_rescan(rig->sides[i].stream.tail);
    assert_read(rig, "2 ");
}

static void another_number_of_workers_goes_on_where_the_others_were(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32];
    for (int round = 0; round < 4; round++) {
        size_t lines = 0;
        rig->workers = round % 2 + 1;
        for (int i = 0; i < 10; i++) {
            snprintf(name, sizeof(name), "f%dx.log", i);
            harness_append(at(rig, name), "line\n");
        }
        start(rig);
        drain(rig);
        for (const char *c = rig->text; *c != '\0'; c++)
            lines += *c == ' ';
        assert_int_equal(lines, 10);
        rig->text[0] = '\0';
        stop(rig);
    }
}

/* ---- files without a name ---- */

/* As if the quiet time were over. */
static void tick_later(struct rig *rig)
{
    struct tail *tail = rig->sides[0].stream.tail;
    for (struct source *source = tail->sources; source != NULL; source = source->next)
        source->quiet_since -= (int64_t)3600 * 1000000000;
    tail_tick(tail);
}

static size_t count_sources(const struct rig *rig)
{
    size_t n = 0;
    for (const struct source *s = rig->sides[0].stream.tail->sources; s != NULL; s = s->next)
        n++;
    return n;
}

static void a_deleted_file_is_closed_when_it_is_quiet_and_delivered(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    events(rig);
    struct batch_private *batch = take(rig, 0);
    tail_commit(batch);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    drain(rig);
    tick_later(rig);
    assert_int_equal(count_sources(rig), 1); /* in flight */
    finish(rig, batch);
    tail_tick(rig->sides[0].stream.tail);
    assert_int_equal(count_sources(rig), 1); /* not quiet for long enough */
    tick_later(rig);
    assert_int_equal(count_sources(rig), 0);
    stop(rig);
    char *text = harness_read(harness_path(rig->state, "positions"), NULL);
    assert_null(strstr(text, "a.log"));
    free(text);
    rig->text[0] = '\0';
}

static void a_deleted_file_has_grown_whoever_saw_it_first(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    int fd = open(at(rig, "a.log"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(unlink(at(rig, "a.log")), 0);
    assert_read(rig, "");
    for (struct source *s = rig->sides[0].stream.tail->sources; s != NULL; s = s->next)
        s->quiet_since -= (int64_t)3600 * 1000000000;
    assert_int_equal(write(fd, "2\n", 2), 2);
    harness_put(at(rig, "a.log"), "3\n");
    assert_read(rig, "2 3 "); /* the new file has asked for it */
    tail_tick(rig->sides[0].stream.tail);
    assert_int_equal(count_sources(rig), 2);
    assert_int_equal(write(fd, "4\n", 2), 2);
    tail_tick(rig->sides[0].stream.tail);
    assert_read(rig, "4 ");
    close(fd);
}

static void a_renamed_file_is_closed_and_its_position_kept(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    assert_int_equal(mkdir(at(rig, "archive"), 0755), 0);
    move(rig, "a.log", "archive/a");
    drain(rig);
    tick_later(rig);
    assert_int_equal(count_sources(rig), 0);
    move(rig, "archive/a", "a.log"); /* it comes back: nothing of it is read again */
    harness_append(at(rig, "a.log"), "2\n");
    assert_read(rig, "2 ");
}

static void a_file_renamed_while_down_is_followed_as_long_as_its_writer_is_at_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    stop(rig);
    move(rig, "a.log", "a.log.1");
    start(rig);
    assert_read(rig, "");
    tick_later(rig);
    harness_append(at(rig, "a.log.1"), "2\n");
    assert_read(rig, "2 ");
}

static void a_named_file_is_never_closed_for_being_quiet(void **state)
{
    struct rig *rig = (struct rig *)*state;
    harness_put(at(rig, "a.log"), "1\n");
    start(rig);
    assert_read(rig, "1 ");
    tick_later(rig);
    assert_int_equal(count_sources(rig), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(a_restart_goes_on_exactly_where_it_was),
        RIG(what_was_in_flight_is_read_again),
        RIG(an_undone_batch_is_read_again_at_once),
        RIG(an_undone_batch_keeps_the_generations_in_order),
        RIG(after_an_undone_batch_a_truncation_is_still_seen),
        RIG(a_restart_goes_on_inside_a_cut_line),
        RIG(renamed_while_down_is_read_to_its_end_before_the_new_one),
        RIG(rotated_before_and_while_down_keeps_the_order),
        RIG(truncated_and_written_anew_while_down_is_read_from_its_beginning),
        RIG(replaced_while_down_by_a_file_of_the_same_name),
        RIG(deleted_while_down_leaves_no_position),
        RIG(another_stream_reads_the_same_file_for_itself),
        cmocka_unit_test(rotated_names_of_a_log_belong_to_the_same_worker),
        cmocka_unit_test(every_path_has_exactly_one_worker_and_all_have_some),
        RIG(two_workers_read_every_file_once),
        RIG(a_file_that_gets_another_workers_name_is_not_read_twice),
        RIG(another_number_of_workers_goes_on_where_the_others_were),
        RIG(a_deleted_file_is_closed_when_it_is_quiet_and_delivered),
        RIG(a_deleted_file_has_grown_whoever_saw_it_first),
        RIG(a_renamed_file_is_closed_and_its_position_kept),
        RIG(a_file_renamed_while_down_is_followed_as_long_as_its_writer_is_at_it),
        RIG(a_named_file_is_never_closed_for_being_quiet),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
