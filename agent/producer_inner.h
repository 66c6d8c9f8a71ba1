/* The producer's inside, for producer.c and producer_report.c only. */
#ifndef SPLASHDAM_PRODUCER_INNER_H
#define SPLASHDAM_PRODUCER_INNER_H

#include "agent/log.h"
#include "agent/producer.h"
#include "agent/producer_client.h"
#include "agent/stream.h"

#include <pthread.h>

#define TOPIC_BUCKETS 1024
#define COMPLAINTS    16 /* error codes of which repetitions are kept apart */

struct kafka_embedded;

struct topic {
    struct topic *next;  /* of all */
    struct topic *chain; /* of its bucket */
    char *name;
    char *partitioner;
    rd_kafka_topic_t *handle; /* with the current client */
    unsigned blocked_pass;    /* the pass over the retries in which it took no message */
};

/* A message to send again. Its bytes are its batch's, which is not finished without it. */
struct retry {
    struct retry *next;
    struct batch_private *batch;
    struct topic *topic;
    void *payload, *key;
    size_t payload_len, key_len;
    int32_t partition; /* where it was bound for, so that order holds; or RD_KAFKA_PARTITION_UA */
    bool alone;        /* in a message set of its own */
};

struct producer {
    const struct config *config;
    struct ev_loop *loop;
    producer_finished_fn *finished;
    producer_spent_fn *spent;
    producer_room_fn *room;
    void *room_arg;
    struct kafka_embedded *embedded;
    char *brokers;

    pthread_rwlock_t lock; /* read: to send; write: to change client, topics or open */
    struct client *client;
    bool open; /* workers may send */
    struct topic *topics;
    struct topic *buckets[TOPIC_BUCKETS]; /* by name */
    unsigned n_topics;
    struct log_limit too_many;

    /* The main thread's: */
    struct client *alone; /* made when it is needed */
    struct client *dying;
    struct retry *retries; /* in the order of their records once sorted */
    struct retry **last_retry;
    struct ev_timer retry_timer;
    double retry_after;
    unsigned pass;
    struct batch_private *run; /* delivery reports come in runs of one batch: settled together */
    unsigned run_messages;
    uint64_t run_bytes;
    struct {
        rd_kafka_resp_err_t code;
        struct log_limit limit;
    } complaints[COMPLAINTS];
};

/* producer.c */
struct topic *producer_topic_find(struct producer *producer, struct slice name);
void producer_settle(struct producer *producer, struct batch_private *batch, unsigned n);
bool producer_is_records_fault(rd_kafka_resp_err_t code);
enum stat_id producer_discard_stat(rd_kafka_resp_err_t code); /* of such a fault */
/* Makes the client that workers send to. -1 and *error. */
int producer_renew(struct producer *producer, struct error *error);

/* producer_report.c */
void producer_report_init(struct producer *producer);
void producer_report_fini(struct producer *producer);

#endif
