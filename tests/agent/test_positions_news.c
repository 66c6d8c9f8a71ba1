#include "agent/flusher.h"
#include "agent/positions_inner.h"

#include "tests/agent/harness.h"

#define STREAM "s"

static const struct identity log_id = {1, 10, 100}, copy_id = {1, 11, 200};

struct rig {
    char *folder;
    struct flusher *flusher;
    struct positions *positions;
};

static void rig_open(struct rig *rig)
{
    struct error error;
    rig->folder = harness_folder();
    rig->flusher = flusher_new();
    rig->positions = positions_open(rig->folder, rig->flusher, &error);
    assert_non_null(rig->positions);
    positions_name_agent(rig->positions, "agent");
}

static void rig_close(struct rig *rig)
{
    positions_close(&rig->positions);
    flusher_free(&rig->flusher);
    harness_remove(rig->folder);
}

static struct position *claim(struct rig *rig, const struct identity *id)
{
    bool known;
    struct position *position = positions_claim(rig->positions, STREAM, id, "/l/a.log", 0, &known);
    assert_non_null(position);
    return position;
}

static uint64_t offset_of(struct rig *rig, const struct identity *id)
{
    struct mark mark;
    assert_true(positions_find(rig->positions, STREAM, id, &mark));
    return mark.offset;
}

/* What Kafka has of the log's file. */
static int adopt(struct rig *rig, uint64_t generation, uint64_t offset)
{
    char stream[] = STREAM, path[] = "/l/b.log";
    const struct position from = {.stream = stream,
                                  .path = path,
                                  .id = log_id,
                                  .sequence = 7,
                                  .generation = generation,
                                  .mark = {.offset = offset}};
    return positions_adopt(rig->positions, &from);
}

static void what_only_kafka_has_is_taken(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    assert_int_equal(adopt(&rig, 99, 50), 0);
    assert_int_equal(offset_of(&rig, &log_id), 50);
    struct position *position = claim(&rig, &log_id);
    assert_string_equal(position->path, "/l/b.log");
    assert_true(position->generation == 99 && position->sequence == 7);
    struct position *later = claim(&rig, &copy_id);
    assert_true(later->sequence > 7);
    assert_int_equal(adopt(&rig, 99, 60), 0); /* claimed: not touched */
    assert_int_equal(offset_of(&rig, &log_id), 50);
    rig_close(&rig);
}

static void the_one_that_is_ahead_holds(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct position *position = claim(&rig, &log_id);
    const uint64_t first = position->generation;
    const struct mark mark = {.offset = 40};
    positions_set(rig.positions, position, &mark);
    positions_release(rig.positions, position);
    assert_int_equal(adopt(&rig, first, 30), 0); /* the same text, less of it */
    assert_int_equal(offset_of(&rig, &log_id), 40);
    assert_int_equal(adopt(&rig, first, 70), 0);
    assert_int_equal(offset_of(&rig, &log_id), 70);
    position = claim(&rig, &log_id);
    positions_renew(rig.positions, position);
    positions_release(rig.positions, position);
    assert_int_equal(adopt(&rig, first, 70), 0); /* the text before the truncation */
    assert_int_equal(offset_of(&rig, &log_id), 0);
    assert_int_equal(adopt(&rig, positions_generation_after(positions_generation_after(first)), 5),
                     0); /* truncated once more, and that was not saved here */
    assert_int_equal(offset_of(&rig, &log_id), 5);
    assert_int_equal(adopt(&rig, 12345, 3), 0); /* of nothing known here */
    assert_int_equal(offset_of(&rig, &log_id), 3);
    rig_close(&rig);
}

static void a_forgotten_generation_is_told_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    positions_keep_news(rig.positions);
    struct position *position = claim(&rig, &log_id);
    positions_forget(rig.positions, &position);
    assert_null(positions_take_news(rig.positions, "other", 0));
    assert_null(positions_take_news(rig.positions, STREAM, 1));
    struct position_news *news = positions_take_news(rig.positions, STREAM, 0);
    assert_non_null(news);
    assert_true(identity_equal(&news->id, &log_id));
    assert_null(news->text);
    assert_null(news->next);
    assert_null(positions_take_news(rig.positions, STREAM, 0));
    positions_return_news(rig.positions, news); /* there was no memory for a message */
    news = positions_take_news(rig.positions, STREAM, 0);
    assert_non_null(news);
    position_news_free(news);
    rig_close(&rig);
}

static void an_entry_that_moved_is_told_as_it_is_when_all_that_was_sent_is_there(void **state)
{
    (void)state;
    struct rig rig;
    struct error error;
    struct position_list list;
    rig_open(&rig);
    positions_keep_news(rig.positions);
    struct position *position = claim(&rig, &log_id);
    const struct mark delivered = {.offset = 10};
    positions_set(rig.positions, position, &delivered);
    position->sent = (struct mark){.offset = 30};
    const uint64_t generation = position->generation;
    struct position *fresh = positions_split(rig.positions, position, &copy_id, 7);
    assert_non_null(fresh);
    struct position_news *news = positions_take_news(rig.positions, STREAM, 0);
    assert_non_null(news);
    assert_null(news->next);
    assert_int_equal(positions_parse(slice_of(news->text, news->len), &list, &error), 0);
    assert_int_equal(list.n, 1);
    assert_true(identity_equal(&list.items[0]->id, &copy_id));
    assert_true(list.items[0]->generation == generation);
    assert_int_equal(list.items[0]->mark.offset, 30);
    position_list_free(&list);
    position_news_free(news);
    rig_close(&rig);
}

static void of_a_generation_that_was_forgotten_kafka_is_told_behind_what_the_spool_kept(void **state)
{
    (void)state;
    struct rig rig;
    int64_t copied;
    rig_open(&rig);
    positions_keep_news(rig.positions);
    struct position *position = claim(&rig, &log_id);
    position->copied = 9;
    assert_int_equal(positions_sequence(rig.positions, STREAM, &log_id, 0, &copied),
                     position->sequence);
    assert_int_equal(copied, 9);
    assert_null(positions_take_news(rig.positions, STREAM, 0));
    for (int frame = 0; frame < 3; frame++) /* told once */
        assert_int_equal(positions_sequence(rig.positions, STREAM, &copy_id, 0, &copied), 0);
    struct position_news *news = positions_take_news(rig.positions, STREAM, 0);
    assert_non_null(news);
    assert_null(news->text);
    assert_null(news->next);
    assert_true(identity_equal(&news->id, &copy_id));
    position_news_free(news);
    rig_close(&rig);
}

static void without_exactly_once_nothing_is_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    struct position *position = claim(&rig, &log_id);
    positions_forget(rig.positions, &position);
    assert_null(positions_take_news(rig.positions, STREAM, 0));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_only_kafka_has_is_taken),
        cmocka_unit_test(the_one_that_is_ahead_holds),
        cmocka_unit_test(a_forgotten_generation_is_told_once),
        cmocka_unit_test(an_entry_that_moved_is_told_as_it_is_when_all_that_was_sent_is_there),
        cmocka_unit_test(of_a_generation_that_was_forgotten_kafka_is_told_behind_what_the_spool_kept),
        cmocka_unit_test(without_exactly_once_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
