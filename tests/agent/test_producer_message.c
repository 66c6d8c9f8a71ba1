/* Headers and times of messages: what arrives, on whatever way it had to take. */
#include "agent/clock.h"
#include "agent/headers.h"
#include "tests/agent/producer_rig.h"

#define BASE_MS INT64_C(1700000000000)

/* Records `first` …, each with a time of its own and the headers `n` (its number) and `empty`. */
static struct batch_private *make_messages(struct rig *rig, int first, int n)
{
    struct batch_private *batch = make_batch(rig, 0, first, n, 40);
    batch->extras =
        (struct message_extra *)arena_alloc(&batch->out, (size_t)n * sizeof(struct message_extra));
    batch->time = clock_real();
    batch->timed = true;
    for (int i = 0; i < n; i++) {
        char number[16], *at = (char *)arena_alloc(&batch->out, 100);
        int len = snprintf(number, sizeof(number), "%d", first + i);
        char *end = headers_put(at, SLICE("n"), slice_of(number, (size_t)len));
        end = headers_put(end, SLICE("empty"), SLICE(""));
        batch->extras[i] = (struct message_extra){.batch = batch,
                                                  .headers = slice_of(at, (size_t)(end - at)),
                                                  .time = BASE_MS + first + i};
        batch->messages[i].key = batch->messages[i].payload;
        batch->messages[i].key_len = batch->messages[i].payload_len;
    }
    return batch;
}

static void ship(struct rig *rig, int first, int n)
{
    struct batch_private *batch = make_messages(rig, first, n);
    rig->stream_config[0].ship.max_age = MAX_AGE_OFF;
    if (!producer_send(rig->producer, batch))
        rig->blocked = batch;
}

static void assert_header(const rd_kafka_headers_t *headers, size_t i, const char *name,
                          const char *value)
{
    const char *found;
    const void *bytes;
    size_t len;
    assert_int_equal(rd_kafka_header_get_all(headers, i, &found, &bytes, &len), 0);
    assert_string_equal(found, name);
    assert_int_equal(len, strlen(value));
    assert_memory_equal(bytes, value, len);
}

/* Every message has the headers and the time of its number; or a time of now, when `replaced`. */
static void assert_arrived(struct rig *rig, int n, bool replaced)
{
    rd_kafka_t *consumer = reader_new(rig, "t");
    rd_kafka_message_t *message;
    int seen = 0;
    while ((message = reader_next(consumer)) != NULL) {
        rd_kafka_headers_t *headers;
        char number[16];
        const int64_t time = rd_kafka_message_timestamp(message, NULL);
        const long i = strtol((const char *)message->payload, NULL, 10);
        snprintf(number, sizeof(number), "%ld", i);
        assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
        assert_int_equal(rd_kafka_header_cnt(headers), 2);
        assert_header(headers, 0, "n", number);
        assert_header(headers, 1, "empty", "");
        assert_int_equal(message->key_len, message->len);
        assert_memory_equal(message->key, message->payload, message->len);
        if (replaced)
            assert_in_range(time, clock_real() / NS_PER_MS - 600000, clock_real() / NS_PER_MS + 1);
        else
            assert_int_equal(time, BASE_MS + i);
        seen += i == seen;
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(consumer);
    assert_int_equal(seen, n);
}

static void headers_and_times_arrive(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, NULL, NULL);
    ship(&rig, 0, 1000);
    ship(&rig, 1000, 500);
    run_until_finished(&rig, 2);
    assert_arrived(&rig, 1500, false);
    rig_close(&rig);
}

static void a_full_queue_blocks_and_keeps_them(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "queue.buffering.max.messages", "100");
    ship(&rig, 0, 1000);
    assert_non_null(rig.blocked);
    run_until_finished(&rig, 1);
    assert_arrived(&rig, 1000, false);
    rig_close(&rig);
}

static void what_is_sent_again_keeps_them(void **state)
{
    (void)state;
    static const rd_kafka_resp_err_t codes[] = {
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,         /* each alone, by another client */
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, /* by the same one */
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct rig rig;
        uint64_t sums[STAT_COUNT];
        rig_open(&rig, NULL, NULL);
        rd_kafka_mock_push_request_errors(rig.cluster, PRODUCE_REQUEST, 1, codes[i]);
        ship(&rig, 0, 100);
        run_until_finished(&rig, 1);
        sum_stats(&rig, 0, sums);
        assert_int_equal(sums[STAT_retried], 100);
        assert_arrived(&rig, 100, false);
        rig_close(&rig);
    }
}

static void a_new_producer_after_a_fatal_error_keeps_them(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, NULL, NULL);
    ship(&rig, 0, 1000);
    rd_kafka_test_fatal_error(rig.producer->client->rk,
                              RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test");
    run_until_finished(&rig, 1);
    assert_arrived(&rig, 1000, false);
    rig_close(&rig);
}

static void a_time_that_kafka_refuses_becomes_the_present_one(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    rd_kafka_mock_push_request_errors(rig.cluster, PRODUCE_REQUEST, 2,
                                      RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
                                      RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP);
    ship(&rig, 0, 10);
    run_until_finished(&rig, 1);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_time_replaced], 10); /* once each */
    assert_int_equal(sums[STAT_delivered], 10);
    assert_arrived(&rig, 10, true);
    rig_close(&rig);
}

static void a_message_too_large_for_the_client_does_not_stop_the_others(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, "message.max.bytes", "10000");
    rig.stream_config[0].ship.max_age = MAX_AGE_OFF;
    struct batch_private *batch = make_messages(&rig, 0, 3);
    char *large = (char *)arena_alloc(&batch->out, 20000);
    memset(large, 'x', 20000);
    batch->messages[2].payload = large;
    batch->messages[2].payload_len = 20000;
    assert_true(producer_send(rig.producer, batch));
    run_until_finished(&rig, 1);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_discarded_too_large], 1);
    assert_arrived(&rig, 2, false);
    rig_close(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_and_times_arrive),
        cmocka_unit_test(a_full_queue_blocks_and_keeps_them),
        cmocka_unit_test(what_is_sent_again_keeps_them),
        cmocka_unit_test(a_new_producer_after_a_fatal_error_keeps_them),
        cmocka_unit_test(a_time_that_kafka_refuses_becomes_the_present_one),
        cmocka_unit_test(a_message_too_large_for_the_client_does_not_stop_the_others),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
