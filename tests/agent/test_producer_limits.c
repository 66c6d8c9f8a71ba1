/* Which of a record's times and the time of reading a message gets. */
#include "agent/clock.h"
#include "tests/agent/producer_rig.h"

#define HOUR_MS INT64_C(3600000)

/* Three records: two hours old, of now, and two hours ahead. */
static struct batch_private *make_times(struct rig *rig)
{
    struct batch_private *batch = make_batch(rig, 0, 0, 3, 40);
    batch->extras =
        (struct message_extra *)arena_alloc(&batch->out, 3 * sizeof(struct message_extra));
    batch->time = clock_real();
    batch->timed = true;
    for (int i = 0; i < 3; i++)
        batch->extras[i] = (struct message_extra){
            .batch = batch, .time = batch->time / NS_PER_MS + (i - 1) * 2 * HOUR_MS};
    return batch;
}

/* Sends them; of each, whether it has its own time. Returns how many were counted as replaced. */
static uint64_t ship(struct rig *rig, bool own[3])
{
    uint64_t before[STAT_COUNT], sums[STAT_COUNT];
    const unsigned finished = rig->finished;
    struct batch_private *batch = make_times(rig);
    const int64_t read = batch->time / NS_PER_MS;
    sum_stats(rig, 0, before);
    if (!producer_send(rig->producer, batch))
        rig->blocked = batch;
    while (rig->blocked != NULL)
        ev_run(rig->loop, EVRUN_ONCE);
    for (int i = 0; i < 3; i++) { /* no report was looked at yet */
        own[i] = batch->extras[i].time == read + (i - 1) * 2 * HOUR_MS;
        assert_true(own[i] || batch->extras[i].time == read);
    }
    run_until_finished(rig, finished + 1);
    sum_stats(rig, 0, sums);
    return sums[STAT_time_replaced] - before[STAT_time_replaced];
}

/* Kafka has told, and is not asked again. */
static void told(struct rig *rig, int64_t max_age, int64_t max_ahead)
{
    struct topic_limits *limits = &rig->streams[0].topic->limits;
    limits->max_age = max_age;
    limits->max_ahead = max_ahead;
    limits->fresh_until = INT64_MAX;
}

static void what_the_topic_would_not_keep_gets_the_time_of_reading(void **state)
{
    (void)state;
    static const struct {
        int64_t max_age;     /* configured */
        int64_t kept, ahead; /* what Kafka tells */
        bool own[3];
        uint64_t replaced;
    } rows[] = {
        {MAX_AGE_AUTO, INT64_MAX, INT64_MAX, {true, true, true}, 0},
        {MAX_AGE_AUTO, 3 * HOUR_MS, 3 * HOUR_MS, {true, true, true}, 0},
        {MAX_AGE_AUTO, HOUR_MS, INT64_MAX, {false, true, true}, 1},
        {MAX_AGE_AUTO, INT64_MAX, HOUR_MS, {true, true, false}, 1},
        {MAX_AGE_OFF, HOUR_MS, INT64_MAX, {true, true, true}, 0},
        {HOUR_MS, INT64_MAX, INT64_MAX, {false, true, true}, 1},
        {3 * HOUR_MS, HOUR_MS, INT64_MAX, {true, true, true}, 0},
    };
    struct rig rig;
    rig_open(&rig, NULL, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool own[3];
        rig.stream_config[0].ship.max_age = rows[i].max_age;
        told(&rig, rows[i].kept, rows[i].ahead);
        uint64_t replaced = ship(&rig, own);
        if (replaced != rows[i].replaced || memcmp(own, rows[i].own, sizeof(own)) != 0)
            fail_msg("row %zu: replaced %ju, own %d %d %d", i, (uintmax_t)replaced, own[0], own[1],
                     own[2]);
    }
    rig_close(&rig);
}

static void a_time_before_1970_is_none(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    rig.stream_config[0].ship.max_age = MAX_AGE_OFF;
    struct batch_private *batch = make_times(&rig);
    batch->extras[0].time = -1000;
    assert_true(producer_send(rig.producer, batch));
    run_until_finished(&rig, 1);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_time_replaced], 1);
    assert_int_equal(sums[STAT_delivered], 3);
    rig_close(&rig);
}

/* As if it were a cluster, not the embedded broker: one that has no controller. */
static struct kafka_embedded *ask_the_mock(struct rig *rig)
{
    struct kafka_embedded *embedded = rig->producer->embedded;
    rig->stream_config[0].ship.max_age = MAX_AGE_AUTO;
    rig->producer->embedded = NULL;
    return embedded;
}

static void a_cluster_that_does_not_tell_stops_nothing(void **state)
{
    (void)state;
    struct rig rig;
    bool own[3];
    rig_open(&rig, NULL, NULL);
    struct kafka_embedded *embedded = ask_the_mock(&rig);
    assert_int_equal(ship(&rig, own), 0);
    assert_true(own[0] && own[1] && own[2]);
    rig.producer->embedded = embedded;
    rig_close(&rig);
}

static void the_embedded_broker_is_not_asked(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, NULL, NULL);
    rig.stream_config[0].ship.max_age = MAX_AGE_AUTO;
    assert_true(producer_send(rig.producer, make_times(&rig)));
    run_until_finished(&rig, 1);
    rig_close(&rig);
}

static void messages_with_the_time_of_reading_do_not_wait_for_an_answer(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, NULL, NULL);
    struct kafka_embedded *embedded = ask_the_mock(&rig);
    struct batch_private *timed = make_times(&rig);
    assert_false(producer_send(rig.producer, timed));
    batch_give(&rig.pool, timed);
    struct batch_private *batch = make_times(&rig);
    batch->timed = false;
    batch->extras[0].time = batch->extras[2].time = batch->time / NS_PER_MS;
    assert_true(producer_send(rig.producer, batch));
    run_until_finished(&rig, 1);
    rig.producer->embedded = embedded;
    rig_close(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_topic_would_not_keep_gets_the_time_of_reading),
        cmocka_unit_test(a_time_before_1970_is_none),
        cmocka_unit_test(a_cluster_that_does_not_tell_stops_nothing),
        cmocka_unit_test(the_embedded_broker_is_not_asked),
        cmocka_unit_test(messages_with_the_time_of_reading_do_not_wait_for_an_answer),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
