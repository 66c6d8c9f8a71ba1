/* covers: agent/producer_transaction.c, agent/producer_transaction_send.c, agent/producer_positions.c, agent/producer_positions_read.c
 *
 * Against librdkafka's mock cluster, which knows transactions but shows consumers what was aborted, too: that only committed records
 * are seen is shown on Kafka, by tests/e2e/test_exactly_once.py. */
#include "tests/agent/harness.h"
#include "tests/agent/producer_rig.h"

#include "agent/flusher.h"
#include "agent/producer_transaction.h"
#include "agent/source.h"

#define END_TXN 26

struct txn {
    struct rig rig;
    char *folder;
    struct flusher *flusher;
    struct positions *positions;
    unsigned ready, fenced;
};

static void on_state(void *arg, enum producer_state state)
{
    struct txn *txn = (struct txn *)arg;
    txn->ready += state == PRODUCER_READY;
    txn->fenced += state == PRODUCER_FENCED;
}

static void open_positions(struct txn *txn)
{
    struct error error;
    txn->folder = harness_folder();
    txn->flusher = flusher_new();
    txn->positions = positions_open(txn->folder, txn->flusher, &error);
    assert_non_null(txn->positions);
    positions_name_agent(txn->positions, "test");
}

static void close_positions(struct txn *txn)
{
    positions_close(&txn->positions);
    flusher_free(&txn->flusher);
    harness_remove(txn->folder);
}

/* Runs the loop until the number is not 0. */
static void run_until(struct txn *txn, const unsigned *number)
{
    struct ev_timer late;
    ev_timer_init(&late, on_late, PATIENCE_S, 0.);
    ev_timer_start(txn->rig.loop, &late);
    while (*number == 0 && ev_is_active(&late))
        ev_run(txn->rig.loop, EVRUN_ONCE);
    ev_timer_stop(txn->rig.loop, &late);
    assert_int_not_equal(*number, 0);
}

static void txn_begin(struct txn *txn)
{
    txn->ready = txn->fenced = 0;
    open_positions(txn);
    assert_int_equal(producer_begin(txn->rig.producer, txn->positions, on_state, txn), 0);
    run_until(txn, &txn->ready);
}

static void txn_open(struct txn *txn)
{
    rig_open_for(&txn->rig, DELIVERY_EXACTLY_ONCE, NULL, NULL);
    txn_begin(txn);
}

static void txn_close(struct txn *txn)
{
    rig_close(&txn->rig);
    close_positions(txn);
}

static void txn_send(struct txn *txn, int stream, int first, int n)
{
    struct batch_private *batch = make_batch(&txn->rig, stream, first, n, 40);
    assert_int_equal(producer_add_positions(txn->rig.producer, batch, 0), 0);
    assert_true(producer_send(txn->rig.producer, batch));
}

static void check_counts(struct txn *txn, int stream, uint64_t delivered, uint64_t discarded)
{
    uint64_t sums[STAT_COUNT];
    sum_stats(&txn->rig, stream, sums);
    assert_int_equal(sums[STAT_delivered], delivered);
    assert_int_equal(stats_discarded(sums), discarded);
    assert_int_equal(stats_in_flight(sums), 0);
}

static void check_transactions(struct txn *txn, bool aborted)
{
    uint64_t n_committed, n_aborted;
    producer_transactions(txn->rig.producer, &n_committed, &n_aborted);
    assert_true(n_committed >= 2); /* the first one is the agent's greeting */
    assert_int_equal(n_aborted > 0, aborted);
}

static void what_is_sent_is_committed_once_and_in_order(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    for (int i = 0; i < 10; i++)
        txn_send(&txn, i % 2, i / 2 * 1000, 1000);
    run_until_finished(&txn.rig, 10);
    check_counts(&txn, 0, 5000, 0);
    check_counts(&txn, 1, 5000, 0);
    check_transactions(&txn, false);
    assert_int_equal(read_back(&txn.rig, "t", 5000), 0);
    assert_int_equal(read_back(&txn.rig, "u", 5000), 0);
    txn_close(&txn);
}

static void an_aborted_transaction_is_sent_again(void **state)
{
    (void)state;
    struct txn txn;
    uint64_t sums[STAT_COUNT];
    txn_open(&txn);
    /* One request is for the positions. */
    rd_kafka_mock_push_request_errors(txn.rig.cluster, PRODUCE_REQUEST, 2,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    txn_send(&txn, 0, 0, 500);
    txn_send(&txn, 0, 500, 500);
    run_until_finished(&txn.rig, 2);
    check_counts(&txn, 0, 1000, 0);
    check_transactions(&txn, true);
    sum_stats(&txn.rig, 0, sums);
    assert_true(sums[STAT_retried] > 0);
    txn_close(&txn);
}

static void a_commit_that_has_to_wait_is_asked_for_again(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    rd_kafka_mock_push_request_errors(txn.rig.cluster, END_TXN, 2,
                                      RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                      RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
    txn_send(&txn, 0, 0, 100);
    run_until_finished(&txn.rig, 1);
    check_counts(&txn, 0, 100, 0);
    check_transactions(&txn, false);
    assert_int_equal(read_back(&txn.rig, "t", 100), 0);
    txn_close(&txn);
}

static void after_a_fatal_error_another_client_finds_out_what_was_committed(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    txn_send(&txn, 0, 0, 100);
    run_until_finished(&txn.rig, 1);
    struct client *failing = txn.rig.producer->client;
    rd_kafka_test_fatal_error(failing->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "test");
    txn_send(&txn, 0, 100, 100);
    run_until_finished(&txn.rig, 2);
    check_counts(&txn, 0, 200, 0);
    assert_int_equal(read_back(&txn.rig, "t", 200), 0);
    txn_close(&txn);
}

static void a_commit_without_an_outcome_is_looked_up_by_its_name(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    /* The mock cluster has the records and the name, whatever it says: so they are committed. */
    rd_kafka_mock_push_request_errors(txn.rig.cluster, END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    txn_send(&txn, 0, 0, 100);
    run_until_finished(&txn.rig, 1);
    check_counts(&txn, 0, 100, 0);
    check_transactions(&txn, false);
    assert_int_equal(read_back(&txn.rig, "t", 100), 0);
    assert_int_equal(txn.fenced, 0);
    txn_close(&txn);
}

static void a_fenced_agent_is_told_so(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    rd_kafka_mock_push_request_errors(txn.rig.cluster, END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_PRODUCER_FENCED);
    txn_send(&txn, 0, 0, 100);
    run_until(&txn, &txn.fenced);
    assert_int_equal(txn.rig.finished, 0);
    txn_close(&txn);
}

static void a_refused_message_set_is_sent_again_record_by_record(void **state)
{
    (void)state;
    struct txn txn;
    txn_open(&txn);
    rd_kafka_mock_push_request_errors(txn.rig.cluster, PRODUCE_REQUEST, 2,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    txn_send(&txn, 0, 0, 20);
    run_until_finished(&txn.rig, 1);
    check_counts(&txn, 0, 20, 0);
    check_transactions(&txn, true);
    txn_close(&txn);
}

static void a_record_larger_than_the_client_takes_is_discarded_and_counted(void **state)
{
    (void)state;
    struct txn txn;
    rig_open_for(&txn.rig, DELIVERY_EXACTLY_ONCE, "message.max.bytes", "2000");
    txn_begin(&txn);
    struct batch_private *batch = make_batch(&txn.rig, 0, 0, 1, 5000);
    assert_int_equal(producer_add_positions(txn.rig.producer, batch, 0), 0);
    assert_true(producer_send(txn.rig.producer, batch));
    txn_send(&txn, 0, 0, 10);
    run_until_finished(&txn.rig, 2);
    check_counts(&txn, 0, 10, 1);
    check_transactions(&txn, false);
    assert_int_equal(read_back(&txn.rig, "t", 10), 0);
    txn_close(&txn);
}

static void another_configuration_makes_another_client(void **state)
{
    (void)state;
    struct txn txn;
    struct error error;
    txn_open(&txn);
    txn_send(&txn, 0, 0, 100);
    struct config other = txn.rig.config;
    struct option_pair property = {.key = "linger.ms", .value = "1"};
    other.kafka.properties = (struct option_map){.n = 1, .items = &property};
    assert_int_equal(producer_reconfigure(txn.rig.producer, &other, &error), 0);
    txn_send(&txn, 0, 100, 100);
    run_until_finished(&txn.rig, 2);
    check_counts(&txn, 0, 200, 0);
    assert_int_equal(read_back(&txn.rig, "t", 200), 0);
    txn_close(&txn);
}

/* ---- positions ---- */

static const struct identity first_id = {1, 10, 100}, second_id = {1, 11, -5};

static void send_forgotten(struct txn *txn, const struct identity *id)
{
    bool known;
    struct position *position = positions_claim(txn->positions, "t", id, "/l/x", 0, &known);
    positions_forget(txn->positions, &position);
    txn_send(txn, 0, 0, 1);
}

/* A batch with one range of a file, as a worker makes it. */
static void send_range(struct txn *txn, const struct identity *id, uint64_t offset)
{
    bool known;
    struct source source = {.position =
                                positions_claim(txn->positions, "t", id, "/l/a b", 0, &known)};
    struct origin origin = {.path = SLICE("/l/a b")};
    struct batch_private *batch = make_batch(&txn->rig, 0, 0, 1, 40);
    struct range *range = batch_add_range(&txn->rig.pool, batch, &origin);
    range->source = &source;
    range->generation = source.position->generation;
    range->mark = (struct mark){.offset = offset, .head = {7, 1}, .tail = {7, 2}};
    assert_int_equal(producer_add_positions(txn->rig.producer, batch, 0), 0);
    assert_int_equal(source.position->sent.offset, offset);
    batch->ranges = NULL;
    assert_true(producer_send(txn->rig.producer, batch));
    batch_give_range(&txn->rig.pool, range);
    positions_release(txn->positions, source.position);
}

static void what_kafka_has_is_known_to_an_agent_that_lost_its_state(void **state)
{
    (void)state;
    struct txn txn, again;
    struct mark mark;
    txn_open(&txn);
    send_range(&txn, &first_id, 40);
    send_range(&txn, &first_id, 70);
    send_range(&txn, &second_id, 30);
    send_forgotten(&txn, &second_id);
    run_until_finished(&txn.rig, 4);
    /* Another agent of that name, on the same cluster, with an empty folder. */
    const char *bootstrap = strdup(producer_embedded(txn.rig.producer));
    again = (struct txn){.rig = {.config = txn.rig.config, .loop = txn.rig.loop}};
    again.rig.config.kafka.embedded = false;
    again.rig.config.kafka.brokers = (struct option_list){.n = 1, .items = &bootstrap};
    again.rig.config.kafka.properties.items = again.rig.properties;
    again.rig.properties[0] = txn.rig.properties[0];
    struct error error;
    again.rig.producer = producer_new(&again.rig.config, again.rig.loop, on_finished, NULL, on_room,
                                      &again.rig, &error);
    assert_non_null(again.rig.producer);
    again.rig.producer->embedded =
        txn.rig.producer->embedded; /* it makes no topics when it is asked to */
    txn_begin(&again);
    assert_true(positions_find(again.positions, "t", &first_id, &mark));
    assert_int_equal(mark.offset, 70);
    assert_true(mark.head.hash == 1 && mark.tail.hash == 2);
    assert_false(positions_find(again.positions, "t", &second_id, &mark));
    again.rig.producer->embedded = NULL;
    producer_free(&again.rig.producer);
    close_positions(&again);
    free((void *)(uintptr_t)bootstrap);
    txn_close(&txn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_committed_once_and_in_order),
        cmocka_unit_test(an_aborted_transaction_is_sent_again),
        cmocka_unit_test(a_commit_that_has_to_wait_is_asked_for_again),
        cmocka_unit_test(after_a_fatal_error_another_client_finds_out_what_was_committed),
        cmocka_unit_test(a_commit_without_an_outcome_is_looked_up_by_its_name),
        cmocka_unit_test(a_fenced_agent_is_told_so),
        cmocka_unit_test(a_refused_message_set_is_sent_again_record_by_record),
        cmocka_unit_test(a_record_larger_than_the_client_takes_is_discarded_and_counted),
        cmocka_unit_test(another_configuration_makes_another_client),
        cmocka_unit_test(what_kafka_has_is_known_to_an_agent_that_lost_its_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
