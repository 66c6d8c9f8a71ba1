/* Which frames are told to be Kafka's, by what it has of their files. */
#include "agent/committed.h"

#include "agent/log.h"
#include "tests/agent/harness.h"

#define GENERATION 77 /* of the log's text */

static const struct identity log_id = {1, 10, 100}, copy_id = {1, 11, 200}, new_id = {1, 12, 300};

struct rig {
    char *folder;
    struct flusher *flusher;
    struct positions *positions;
    struct committed committed;
};

/* Kafka has 20 bytes of the log's text, in that file; the agent nothing. */
static void rig_open(struct rig *rig, const struct identity *id)
{
    char stream[] = "s", path[] = "/log";
    struct error error;
    *rig = (struct rig){.folder = harness_folder(), .flusher = flusher_new()};
    rig->positions = positions_open(rig->folder, rig->flusher, &error);
    assert_non_null(rig->positions);
    const struct position from = {.stream = stream,
                                  .path = path,
                                  .id = *id,
                                  .generation = GENERATION,
                                  .mark = {.offset = 20, .head = {100, 5}}};
    assert_int_equal(positions_adopt(rig->positions, &from), 0);
}

static void rig_close(struct rig *rig)
{
    committed_fini(&rig->committed);
    positions_close(&rig->positions);
    flusher_free(&rig->flusher);
    harness_remove(rig->folder);
}

/* Ten records of the file's bytes from `begin`, ten of them. */
static void note(struct rig *rig, uint64_t frame, const struct identity *id, uint64_t begin,
                 uint64_t head)
{
    const struct spool_position range = {.stream = SLICE("s"),
                                         .path = SLICE("/log"),
                                         .id = *id,
                                         .begin = begin,
                                         .generation = id == &new_id ? 5 : GENERATION,
                                         .records = 10,
                                         .mark = {.offset = begin + 10, .head = {100, head}},
                                         .frame = frame};
    assert_int_equal(committed_note(&rig->committed, &range), 0);
}

static uint64_t decide(struct rig *rig)
{
    uint64_t records;
    assert_int_equal(committed_decide(&rig->committed, rig->positions, "s", &records), 0);
    return records;
}

static void frames_up_to_where_kafka_is_are_its_whatever_stands_between(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, &log_id);
    note(&rig, 1, &log_id, 0, 5);
    note(&rig, 2, &new_id, 0, 6); /* another worker's, not committed */
    note(&rig, 3, &log_id, 10, 5);
    note(&rig, 4, &log_id, 20, 5);
    assert_int_equal(decide(&rig), 20);
    const bool expected[] = {false, true, false, true, false, false};
    for (uint64_t frame = 0; frame < ROWS(expected); frame++)
        assert_int_equal(committed_has(&rig.committed, frame), expected[frame]);
    rig_close(&rig);
}

static void a_frame_is_its_only_with_all_of_its_ranges(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, &log_id);
    note(&rig, 1, &log_id, 0, 5);
    note(&rig, 1, &new_id, 0, 6);
    assert_int_equal(decide(&rig), 0);
    assert_false(committed_has(&rig.committed, 1));
    rig_close(&rig);
}

static void the_text_counts_whatever_file_it_is_in_by_now(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, &copy_id);
    note(&rig, 1, &log_id, 0, 5);
    assert_int_equal(decide(&rig), 10);
    assert_true(committed_has(&rig.committed, 1));
    rig_close(&rig);
}

static void another_text_with_the_same_generation_is_not_kafka_s(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, &log_id);
    note(&rig, 1, &log_id, 0, 6); /* an inode that was used again, on a file system without births */
    assert_int_equal(decide(&rig), 0);
    rig_close(&rig);
}

static void what_is_not_kafka_s_has_its_positions(void **state)
{
    (void)state;
    struct rig rig;
    struct mark mark;
    rig_open(&rig, &log_id);
    note(&rig, 1, &log_id, 20, 5);
    note(&rig, 2, &log_id, 30, 5);
    assert_int_equal(decide(&rig), 0);
    assert_true(positions_find(rig.positions, "s", &log_id, &mark));
    assert_int_equal(mark.offset, 40);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_up_to_where_kafka_is_are_its_whatever_stands_between),
        cmocka_unit_test(a_frame_is_its_only_with_all_of_its_ranges),
        cmocka_unit_test(the_text_counts_whatever_file_it_is_in_by_now),
        cmocka_unit_test(another_text_with_the_same_generation_is_not_kafka_s),
        cmocka_unit_test(what_is_not_kafka_s_has_its_positions),
    };
    log_init(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
