/* A producer with two streams against librdkafka's mock cluster, and a consumer that reads back what arrived. */
#ifndef SPLASHDAM_PRODUCER_RIG_H
#define SPLASHDAM_PRODUCER_RIG_H

#include "agent/kafka_embedded.h"
#include "agent/producer_inner.h"

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PRODUCE_REQUEST 0 /* Kafka protocol, API keys */
#define PATIENCE_S      30

struct rig {
    struct config config;
    struct option_pair properties[2];
    struct config_stream stream_config[2];
    struct stream streams[2];
    struct ev_loop *loop;
    struct producer *producer;
    rd_kafka_mock_cluster_t *cluster;
    struct batch_pool pool;
    unsigned finished;
    struct batch_private *blocked; /* sent again when there is room */
};

static struct rig *rig_now; /* callbacks carry no pointer to it */

static inline void on_finished(struct batch_private *batch)
{
    rig_now->finished++;
    batch_give(&rig_now->pool, batch);
}

static inline void on_room(void *arg)
{
    struct rig *rig = (struct rig *)arg;
    if (rig->blocked != NULL && producer_send(rig->producer, rig->blocked))
        rig->blocked = NULL;
}

/* One broker, topics "t" and "u" with a partition each. */
static inline void rig_open_for(struct rig *rig, enum kafka_delivery delivery, const char *name,
                                const char *value)
{
    struct error error = {.text = ""};
    *rig = (struct rig){.config = {.agent = {.id = "test", .memory = 1 << 24},
                                   .kafka = {.embedded = true,
                                             .delivery = (int)delivery,
                                             .positions = "positions",
                                             .transaction = 500}}};
    rig_now = rig;
    rig->properties[0] = (struct option_pair){.key = "linger.ms", .value = "50"};
    rig->properties[1] = (struct option_pair){.key = name, .value = value};
    rig->config.kafka.properties =
        (struct option_map){.n = name == NULL ? 1 : 2, .items = rig->properties};
    rig->loop = ev_loop_new(0);
    rig->producer = producer_new(&rig->config, rig->loop, on_finished, NULL, on_room, rig, &error);
    assert_non_null(rig->producer);
    rig->cluster = kafka_embedded_cluster(rig->producer->embedded);
    batch_pool_init(&rig->pool, 100, 1 << 26);
    for (int i = 0; i < 2; i++) {
        const char *topic = i == 0 ? "t" : "u";
        rd_kafka_mock_topic_create(rig->cluster, topic, 1, 1);
        rig->stream_config[i].name = topic;
        rig->streams[i].config = &rig->stream_config[i];
        rig->streams[i].topic = producer_topic(rig->producer, slice_str(topic), "consistent_random");
        assert_non_null(rig->streams[i].topic);
    }
}

static inline void rig_open(struct rig *rig, const char *name, const char *value)
{
    rig_open_for(rig, DELIVERY_AT_LEAST_ONCE, name, value);
}

static inline void rig_close(struct rig *rig)
{
    producer_free(&rig->producer);
    ev_loop_destroy(rig->loop);
    batch_pool_fini(&rig->pool);
}

/* A batch of `n` records, `first` … as text, padded to `size` bytes; not sent yet. */
static inline struct batch_private *make_batch(struct rig *rig, int stream, int first, int n,
                                               size_t size)
{
    struct batch_private *batch = batch_take(&rig->pool, SLICE("host"));
    batch->stream = &rig->streams[stream];
    batch->sequence = batch->stream->next_sequence++;
    batch->messages = (struct message *)arena_alloc(&batch->out, (size_t)n * sizeof(struct message));
    for (int i = 0; i < n; i++) {
        char *text = (char *)arena_alloc(&batch->out, size + 1);
        memset(text, '.', size);
        int len = snprintf(text, size, "%d", first + i);
        text[len] = '.';
        batch->messages[i] = (struct message){
            .payload = text, .payload_len = (uint32_t)size, .topic = batch->stream->topic};
    }
    batch->n_messages = (uint32_t)n;
    atomic_store(&batch->unfinished, (unsigned)n);
    stats_add(&batch->stream->stats, STAT_read, (uint64_t)n);
    stats_add(&batch->stream->stats, STAT_entered, (uint64_t)n);
    return batch;
}

static inline void send_batch(struct rig *rig, int stream, int first, int n, size_t size)
{
    struct batch_private *batch = make_batch(rig, stream, first, n, size);
    if (!producer_send(rig->producer, batch)) {
        assert_null(rig->blocked);
        rig->blocked = batch;
    } else if (batch->finished_here) {
        on_finished(batch);
    }
}

static inline void on_late(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static inline void run_until_finished(struct rig *rig, unsigned batches)
{
    struct ev_timer late;
    ev_timer_init(&late, on_late, PATIENCE_S, 0.);
    ev_timer_start(rig->loop, &late);
    while (rig->finished < batches && ev_is_active(&late))
        ev_run(rig->loop, EVRUN_ONCE);
    ev_timer_stop(rig->loop, &late);
    assert_int_equal(rig->finished, batches);
    assert_null(rig->blocked);
}

static inline void sum_stats(struct rig *rig, int stream, uint64_t sums[STAT_COUNT])
{
    memset(sums, 0, STAT_COUNT * sizeof(sums[0]));
    stats_read(&rig->streams[stream].stats, sums);
    stats_read(&rig->streams[stream].delivery, sums);
    assert_true(stats_law_holds(sums));
}

/* Of the topic's only partition, from its beginning. */
static inline rd_kafka_t *reader_new(struct rig *rig, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(rig->cluster),
                      NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "reader", NULL, 0);
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    assert_non_null(consumer);
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(parts, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(consumer, parts), 0);
    rd_kafka_topic_partition_list_destroy(parts);
    return consumer;
}

/* The next message, to be destroyed; NULL at the end. */
static inline rd_kafka_message_t *reader_next(rd_kafka_t *consumer)
{
    for (;;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, PATIENCE_S * 1000);
        assert_non_null(message);
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            return message;
        bool end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        rd_kafka_message_destroy(message);
        if (end)
            return NULL;
    }
}

/* Says how the topic's numbers, 0 to n-1, came: each at least once, first occurrences in order. Returns the number of doubles. */
static inline int read_back(struct rig *rig, const char *topic, int n)
{
    rd_kafka_t *consumer = reader_new(rig, topic);
    rd_kafka_message_t *message;
    int next = 0, doubles = 0;
    while ((message = reader_next(consumer)) != NULL) {
        int number = (int)strtol((const char *)message->payload, NULL, 10);
        assert_true(number <= next); /* a gap: lost, or out of order */
        doubles += number < next;
        next += number == next;
        rd_kafka_message_destroy(message);
    }
    rd_kafka_destroy(consumer);
    assert_int_equal(next, n);
    return doubles;
}

#endif
