/* The producer against librdkafka's mock cluster, with faults injected. What arrives is read back
 * by a consumer of its own and compared. */
#include "tests/agent/producer_rig.h"

#include <dlfcn.h>
#include <unistd.h>

static bool wake_late; /* see below */

/* librdkafka's, with its documented behaviour at its worst when wake_late is set: something is queued before the
 * wake-up is enabled. */
void rd_kafka_queue_io_event_enable(rd_kafka_queue_t *queue, int fd, const void *payload,
                                    size_t size)
{
    typedef void enable_fn(rd_kafka_queue_t *, int, const void *, size_t);
    void *symbol = dlsym(RTLD_NEXT, "rd_kafka_queue_io_event_enable");
    enable_fn *enable;
    memcpy(&enable, &symbol, sizeof(enable));
    for (int ms = 0; wake_late && rd_kafka_queue_length(queue) == 0; ms++) {
        assert_in_range(ms, 0, PATIENCE_S * 1000);
        usleep(1000);
    }
    enable(queue, fd, payload, size);
}

static void every_record_is_delivered_once_and_in_order(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    for (int i = 0; i < 10; i++)
        send_batch(&rig, 0, i * 1000, 1000, 40);
    run_until_finished(&rig, 10);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_delivered], 10000);
    assert_int_equal(sums[STAT_bytes_delivered], 400000);
    assert_int_equal(read_back(&rig, "t", 10000), 0);
    rig_close(&rig);
}

static void what_was_queued_before_the_wake_up_was_enabled_stops_nothing(void **state)
{
    (void)state;
    struct rig rig;
    wake_late = true;
    rig_open(&rig, "debug", "broker");
    wake_late = false;
    send_batch(&rig, 0, 0, 10, 20);
    run_until_finished(&rig, 1);
    assert_int_equal(read_back(&rig, "t", 10), 0);
    rig_close(&rig);
}

static void a_full_queue_blocks_and_loses_nothing(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "queue.buffering.max.messages", "100");
    send_batch(&rig, 0, 0, 1000, 40);
    assert_non_null(rig.blocked);
    run_until_finished(&rig, 1);
    assert_int_equal(read_back(&rig, "t", 1000), 0);
    rig_close(&rig);
}

static void after_a_fatal_error_a_new_producer_sends_what_was_not_acknowledged(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    send_batch(&rig, 0, 0, 1000, 40);
    run_until_finished(&rig, 1);
    send_batch(&rig, 0, 1000, 2000, 40);
    send_batch(&rig, 0, 3000, 500, 40);
    struct client *failing = rig.producer->client;
    rd_kafka_test_fatal_error(failing->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test");
    run_until_finished(&rig, 3);
    assert_non_null(rig.producer->client);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_delivered], 3500);
    assert_true(sums[STAT_retried] >= 2500);
    assert_true(read_back(&rig, "t", 3500) <= 2500); /* doubles: only of what was in flight */
    rig_close(&rig);
}

static void a_refused_message_set_is_sent_again_record_by_record(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    rd_kafka_mock_push_request_errors(rig.cluster, PRODUCE_REQUEST, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    send_batch(&rig, 0, 0, 100, 40);
    run_until_finished(&rig, 1);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_delivered], 100);
    assert_int_equal(sums[STAT_retried], 100);
    assert_int_equal(stats_discarded(sums), 0);
    assert_int_equal(read_back(&rig, "t", 100), 0);
    rig_close(&rig);
}

static void a_record_refused_even_alone_is_discarded_and_counted(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    rd_kafka_mock_push_request_errors(rig.cluster, PRODUCE_REQUEST, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    send_batch(&rig, 0, 0, 1, 40);
    run_until_finished(&rig, 1);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_discarded_too_large], 1);
    assert_int_equal(sums[STAT_delivered], 0);
    assert_int_equal(atomic_load(&rig.streams[0].held), 0);
    rig_close(&rig);
}

static void a_record_too_large_for_the_client_does_not_stop_the_others(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, "message.max.bytes", "10000");
    struct batch_private *batch = make_batch(&rig, 0, 0, 3, 40);
    char *large = (char *)arena_alloc(&batch->out, 20000);
    memset(large, 'x', 20000);
    batch->messages[2].payload = large;
    batch->messages[2].payload_len = 20000;
    assert_true(producer_send(rig.producer, batch));
    run_until_finished(&rig, 1);
    struct batch_private *alone = make_batch(&rig, 0, 0, 1, 20000);
    assert_true(producer_send(rig.producer, alone));
    assert_true(alone->finished_here); /* no report will ever come for it */
    batch_give(&rig.pool, alone);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_discarded_too_large], 2);
    assert_int_equal(sums[STAT_delivered], 2);
    assert_int_equal(read_back(&rig, "t", 2), 0);
    rig_close(&rig);
}

static void a_topic_that_fails_holds_only_its_own_stream(void **state)
{
    (void)state;
    struct rig rig;
    uint64_t sums[STAT_COUNT];
    rig_open(&rig, NULL, NULL);
    rd_kafka_mock_push_request_errors(rig.cluster, PRODUCE_REQUEST, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    send_batch(&rig, 0, 0, 100, 40);
    while (atomic_load(&rig.streams[0].held) == 0)
        ev_run(rig.loop, EVRUN_ONCE);
    struct batch_private *next = make_batch(&rig, 0, 100, 100, 40);
    assert_false(producer_send(rig.producer, next)); /* not before what was refused */
    rig.blocked = next;
    send_batch(&rig, 1, 0, 100, 40);
    run_until_finished(&rig, 3);
    sum_stats(&rig, 0, sums);
    assert_int_equal(sums[STAT_delivered], 200);
    assert_int_equal(sums[STAT_retried], 100);
    assert_int_equal(read_back(&rig, "t", 200), 0);
    assert_int_equal(read_back(&rig, "u", 100), 0);
    rig_close(&rig);
}

static void topic_names_are_those_that_kafka_accepts(void **state)
{
    (void)state;
    char longest[251];
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"logs", true},       {"a.b_c-D9", true},  {"..a", true},   {"", false},
        {".", false},         {"..", false},       {"a b", false},  {"a/b", false},
        {"../../etc", false}, {"\xc3\xa9", false}, {"a\nb", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(producer_topic_name_valid(slice_str(cases[i].name)), cases[i].valid);
    memset(longest, 'x', sizeof(longest));
    assert_true(producer_topic_name_valid(slice_of(longest, 249)));
    assert_false(producer_topic_name_valid(slice_of(longest, 250)));
    assert_false(producer_topic_name_valid(slice_of("a\0b", 3)));
}

static void properties_are_checked_with_words_and_without_their_values(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *words; /* NULL: accepted */
    } cases[] = {
        {"linger.ms", "5", NULL},
        {"compression.codec", "zstd", NULL},
        {"sasl.password", "secret", NULL},
        {"acks", "all", NULL},
        {"acks", "-1", NULL},
        {"acks", "1", "must be all"},
        {"request.required.acks", "0", "must be all"},
        {"enable.idempotence", "false", "must be true"},
        {"test.mock.num.brokers", "1", "embedded"},
        {"linger.mss", "5", "unknown property linger.mss"},
        {"security.protocol", "hunter2", "does not accept this value for security.protocol"},
        {"bootstrap.servers", "x:1", "kafka.brokers"},
        {"plugin.library.paths", "/tmp/x.so", "no code"},
        {"delivery.report.only.error", "true", "every delivery report"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error = {.text = ""};
        int result = producer_check_property(cases[i].name, cases[i].value, &error);
        assert_int_equal(result, cases[i].words == NULL ? 0 : -1);
        if (cases[i].words != NULL)
            assert_non_null(strstr(error.text, cases[i].words));
        assert_null(strstr(error.text, "hunter2"));
    }
}

static void properties_that_do_not_go_together_are_found_without_connecting(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *words; /* NULL: accepted */
    } cases[] = {
        {"linger.ms", "5", NULL},
        {"max.in.flight", "100", "max.in.flight"},
        {"ssl.ca.location", "/nonexistent", "refuses"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct option_pair properties[] = {{.key = "security.protocol", .value = "ssl"},
                                           {.key = cases[i].name, .value = cases[i].value}};
        struct config config = {.agent = {.id = "test"}, .kafka = {.properties = {2, properties}}};
        struct error error = {.text = ""};
        assert_int_equal(producer_check(&config, &error), cases[i].words == NULL ? 0 : -1);
        if (cases[i].words != NULL && strstr(error.text, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].name, error.text);
    }
}

static void topics_are_found_again_and_bounded(void **state)
{
    (void)state;
    struct rig rig;
    char name[32];
    rig_open(&rig, NULL, NULL);
    struct topic *first = producer_topic(rig.producer, SLICE("t"), "random");
    assert_ptr_equal(first, rig.streams[0].topic);
    for (unsigned i = 2; i < PRODUCER_TOPICS_MAX; i++) { /* "t" and "u" are there */
        snprintf(name, sizeof(name), "many-%u", i);
        assert_non_null(producer_topic(rig.producer, slice_str(name), "random"));
    }
    assert_null(producer_topic(rig.producer, SLICE("one-too-many"), "random"));
    assert_non_null(producer_topic(rig.producer, SLICE("many-7"), "random"));
    assert_ptr_equal(producer_topic(rig.producer, SLICE("t"), "random"), first);
    rig_close(&rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_delivered_once_and_in_order),
        cmocka_unit_test(what_was_queued_before_the_wake_up_was_enabled_stops_nothing),
        cmocka_unit_test(a_full_queue_blocks_and_loses_nothing),
        cmocka_unit_test(after_a_fatal_error_a_new_producer_sends_what_was_not_acknowledged),
        cmocka_unit_test(a_refused_message_set_is_sent_again_record_by_record),
        cmocka_unit_test(a_record_refused_even_alone_is_discarded_and_counted),
        cmocka_unit_test(a_record_too_large_for_the_client_does_not_stop_the_others),
        cmocka_unit_test(a_topic_that_fails_holds_only_its_own_stream),
        cmocka_unit_test(topic_names_are_those_that_kafka_accepts),
        cmocka_unit_test(properties_are_checked_with_words_and_without_their_values),
        cmocka_unit_test(properties_that_do_not_go_together_are_found_without_connecting),
        cmocka_unit_test(topics_are_found_again_and_bounded),
    };
    log_init(LOG_LEVEL_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
