/* The ways of a stream's batches, as two workers' streams see them. */
#include "agent/route.h"

#include "agent/clock.h"
#include "agent/log.h"
#include "agent/stream.h"
#include "tests/agent/harness.h"

#include <errno.h>

#define AFTER (1000 * NS_PER_MS)

struct rig {
    char *folder;
    int fd;
    struct config_spool config;
    struct flusher *flusher;
    struct positions *positions;
    struct spool_store *store;
    struct route *route;
    struct stream streams[2];
    struct spool_batch batch;
    struct arena arena;
};

static unsigned woken;

static void on_wake(struct stream *stream)
{
    (void)stream;
    __atomic_add_fetch(&woken, 1, __ATOMIC_RELAXED);
}

static void rig_begin(struct rig *rig, size_t n_streams)
{
    struct error error;
    rig->store = spool_store_open(&rig->config, rig->fd, 1, rig->flusher, &error);
    assert_non_null(rig->store);
    const struct route_config config = {.after = AFTER, .n_workers = 2};
    rig->route = route_open(rig->store, "s", &config, rig->positions, &error);
    assert_non_null(rig->route);
    for (size_t i = 0; i < n_streams; i++)
        route_join(rig->route, &rig->streams[i], on_wake);
}

static void rig_end(struct rig *rig)
{
    for (size_t i = 0; i < 2; i++)
        route_leave(rig->route, &rig->streams[i]);
    route_close(&rig->route);
    spool_store_close(&rig->store);
}

static int rig_setup(void **state)
{
    struct error error;
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    log_init(-1);
    rig->folder = harness_folder();
    rig->fd = open(rig->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rig->flusher = flusher_new();
    rig->positions = positions_open(rig->folder, rig->flusher, &error);
    assert_non_null(rig->positions);
    rig->config = (struct config_spool){.max_bytes = 4 << 20,
                                        .fsync = -1,
                                        .segment_bytes = 64 << 10,
                                        .max_age = -1,
                                        .compression = SPOOL_PLAIN};
    arena_init(&rig->arena, NULL, (size_t)1 << 20);
    rig_begin(rig, 2);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    rig_end(rig);
    positions_close(&rig->positions);
    flusher_free(&rig->flusher);
    spool_batch_fini(&rig->batch);
    arena_reset(&rig->arena);
    close(rig->fd);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

/* One record, and a file's position behind it. */
static enum spool_append append(struct rig *rig, bool taken, uint64_t offset, uint64_t *sequence)
{
    const struct spool_record record = {.topic = SLICE("t"), .payload = SLICE("p"), .partition = -1};
    const struct spool_position position = {.stream = SLICE("s"),
                                            .path = SLICE("/log"),
                                            .id = {.dev = 1, .ino = 2, .birth = 3},
                                            .generation = 9,
                                            .records = 1,
                                            .mark = {.offset = offset}};
    spool_batch_reset(&rig->batch);
    spool_batch_add_record(&rig->batch, &record);
    spool_batch_add_position(&rig->batch, &position);
    return route_append(rig->route, &rig->batch, taken, sequence);
}

static void assert_next(struct rig *rig, const struct stream *stream, enum spool_read expected,
                        uint64_t sequence)
{
    struct spool_frame frame;
    arena_reset(&rig->arena);
    assert_int_equal(route_next(rig->route, stream, &rig->arena, &frame), expected);
    if (expected == SPOOL_READ)
        assert_int_equal(frame.sequence, sequence);
}

static void a_batch_that_has_no_outcome_for_too_long_turns_the_stream_away(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(route_way(rig->route), WAY_DIRECT);
    assert_int_equal(route_due_at(rig->route, INT64_MAX), INT64_MAX);
    assert_int_equal(route_due_at(rig->route, 7), 7 + AFTER);
    route_look(rig->route, 7, 7 + AFTER - 1);
    route_look(rig->route, INT64_MAX, INT64_MAX);
    assert_int_equal(route_way(rig->route), WAY_DIRECT);
    woken = 0;
    route_look(rig->route, 7, 7 + AFTER);
    assert_int_equal(route_way(rig->route), WAY_LEAVING);
    assert_int_equal(woken, 2);
    assert_false(route_go_direct(rig->route));
}

static void nothing_new_is_on_disk_before_all_workers_have_saved_what_is_out(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t first = 0, second = 0, third = 0;
    assert_true(route_go_direct(rig->route));
    assert_true(route_go_direct(rig->route));
    route_look(rig->route, 0, AFTER);
    assert_true(route_must_save(rig->route, &rig->streams[0]));
    assert_true(route_must_save(rig->route, &rig->streams[1]));
    assert_int_equal(append(rig, true, 10, &first), SPOOL_APPENDED);
    route_has_saved(rig->route, &rig->streams[0]);
    assert_false(route_must_save(rig->route, &rig->streams[0]));
    assert_int_equal(append(rig, false, 30, &third), SPOOL_WAIT);
    assert_int_equal(append(rig, true, 20, &second), SPOOL_APPENDED);
    route_has_saved(rig->route, &rig->streams[1]);
    assert_int_equal(route_way(rig->route), WAY_SPOOL);
    assert_int_equal(append(rig, true, 30, &third), SPOOL_WAIT);
    assert_int_equal(append(rig, false, 30, &third), SPOOL_APPENDED);

    /* What is out is not read back; and nothing is before all of it has an outcome. */
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    route_arrived(rig->route, second);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_SPOOL);
    route_arrived(rig->route, first);
    assert_next(rig, &rig->streams[1], SPOOL_READ_END, 0); /* it is not the first */
    assert_next(rig, &rig->streams[0], SPOOL_READ, third);

    /* Read again after it was put back. */
    route_put_back(rig->route);
    assert_next(rig, &rig->streams[0], SPOOL_READ, third);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_RETURNING);
    assert_false(route_go_direct(rig->route));
    assert_int_equal(append(rig, false, 40, &third), SPOOL_WAIT);
    route_drained(rig->route, third);
    assert_int_equal(route_way(rig->route), WAY_DIRECT);
    assert_true(spool_is_empty(route_spool(rig->route)));
    assert_true(route_go_direct(rig->route));
    route_arrived(rig->route, 0);
}

static void a_return_that_takes_too_long_is_given_up(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t first = 0, second = 0, third = 0;
    route_look(rig->route, 0, AFTER);
    route_has_saved(rig->route, &rig->streams[0]);
    route_has_saved(rig->route, &rig->streams[1]);
    assert_int_equal(append(rig, false, 10, &first), SPOOL_APPENDED);
    assert_int_equal(append(rig, false, 20, &second), SPOOL_APPENDED);
    assert_next(rig, &rig->streams[0], SPOOL_READ, first);
    assert_next(rig, &rig->streams[0], SPOOL_READ, second);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_SPOOL); /* Kafka has not taken anything yet */
    route_drained(rig->route, first);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_RETURNING);
    int64_t due = route_due_at(rig->route, INT64_MAX);
    route_look(rig->route, INT64_MAX, due - 1);
    assert_int_equal(route_way(rig->route), WAY_RETURNING);
    route_look(rig->route, INT64_MAX, due);
    assert_int_equal(route_way(rig->route), WAY_SPOOL);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_SPOOL); /* nor since then */
    assert_int_equal(append(rig, false, 30, &third), SPOOL_APPENDED);
    assert_next(rig, &rig->streams[0], SPOOL_READ, third);
    route_drained(rig->route, third);
    route_drained(rig->route, second);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_int_equal(route_way(rig->route), WAY_DIRECT);
}

static void the_first_stream_is_one_that_has_not_to_go(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t first = 0;
    route_look(rig->route, 0, AFTER);
    route_has_saved(rig->route, &rig->streams[0]);
    route_has_saved(rig->route, &rig->streams[1]);
    assert_int_equal(append(rig, false, 10, &first), SPOOL_APPENDED);
    route_retire(rig->route, &rig->streams[0]);
    assert_next(rig, &rig->streams[0], SPOOL_READ_END, 0);
    assert_next(rig, &rig->streams[1], SPOOL_READ, first);
    route_put_back(rig->route);
    route_retire(rig->route, &rig->streams[1]);
    assert_next(rig, &rig->streams[1], SPOOL_READ_END, 0);
    assert_next(rig, &rig->streams[0], SPOOL_READ, first);
    route_drained(rig->route, first);
}

static void a_stream_that_goes_leaves_its_part_to_the_others(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t first = 0;
    route_look(rig->route, 0, AFTER);
    route_has_saved(rig->route, &rig->streams[1]);
    route_leave(rig->route, &rig->streams[0]); /* had nothing out */
    assert_int_equal(route_way(rig->route), WAY_SPOOL);
    assert_int_equal(append(rig, false, 10, &first), SPOOL_APPENDED);
    assert_next(rig, &rig->streams[1], SPOOL_READ, first);
    route_drained(rig->route, first);
}

static void what_is_found_at_a_start_is_sent_first_and_its_positions_hold(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const struct identity id = {.dev = 1, .ino = 2, .birth = 3};
    uint64_t sequence = 0, sums[STAT_COUNT] = {0};
    struct mark mark;
    route_look(rig->route, 0, AFTER);
    route_has_saved(rig->route, &rig->streams[0]);
    route_has_saved(rig->route, &rig->streams[1]);
    assert_int_equal(append(rig, false, 10, &sequence), SPOOL_APPENDED);
    assert_int_equal(append(rig, false, 20, &sequence), SPOOL_APPENDED);
    rig_end(rig);
    assert_false(positions_find(rig->positions, "s", &id, &mark));
    rig_begin(rig, 2);
    assert_int_equal(route_way(rig->route), WAY_SPOOL);
    route_counters(rig->route, sums);
    assert_int_equal(sums[STAT_spool_found], 2);
    assert_int_equal(stats_spooled(sums), 2);
    assert_true(stats_law_holds(sums));
    assert_true(positions_find(rig->positions, "s", &id, &mark));
    assert_int_equal(mark.offset, 20);
    assert_next(rig, &rig->streams[0], SPOOL_READ, 1);
    assert_next(rig, &rig->streams[0], SPOOL_READ, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_batch_that_has_no_outcome_for_too_long_turns_the_stream_away, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(
            nothing_new_is_on_disk_before_all_workers_have_saved_what_is_out, rig_setup,
            rig_teardown),
        cmocka_unit_test_setup_teardown(a_return_that_takes_too_long_is_given_up, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(the_first_stream_is_one_that_has_not_to_go, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_stream_that_goes_leaves_its_part_to_the_others, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(
            what_is_found_at_a_start_is_sent_first_and_its_positions_hold, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
