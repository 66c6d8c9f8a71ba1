/* One librdkafka client and its way into the main loop: the producer's inner part. */
#ifndef SPLASHDAM_PRODUCER_CLIENT_H
#define SPLASHDAM_PRODUCER_CLIENT_H

#include "agent/config.h"

#include <ev.h>
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

struct producer;

struct client {
    struct producer *producer;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* delivery reports, errors, log lines */
    int wake;                /* eventfd that librdkafka writes when the queue becomes non-empty */
    struct ev_io watcher;
    bool alone;          /* one message a message set: for records that may have spoilt theirs */
    bool transactional;  /* begins, commits and aborts are the transactions' thread's */
    bool dying;          /* a fatal error: purged, waiting for its last reports */
    atomic_uint n_spent; /* reports that are on their way to being freed */
    struct client *next; /* of the dying ones */
};

/* What the producer does with what a client's queue brings; called in the main thread. */
void producer_reported(struct client *client, const rd_kafka_message_t *message);
void transactions_reported(struct client *client, const rd_kafka_message_t *message);
void producer_failed(struct client *client, rd_kafka_resp_err_t code, const char *text);
/* The event is its own from here on. */
void producer_spent(struct client *client, rd_kafka_event_t *event);
void producer_polled(struct client *client); /* after the queue was emptied */
void producer_limits_answered(struct client *client, rd_kafka_event_t *event);

/* NULL and *error. */
struct client *client_new(struct producer *producer, const struct config *config,
                          const char *brokers, bool alone, struct ev_loop *loop,
                          struct error *error);
void client_free(struct client **client, struct ev_loop *loop);
/* A handle, or NULL and *error. */
rd_kafka_topic_t *client_topic(struct client *client, const char *name, const char *partitioner,
                               struct error *error);

#endif
