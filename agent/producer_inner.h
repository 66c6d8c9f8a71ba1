/* The producer's inside, for producer*.c only. */
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
struct transactions;

/* Which times Kafka keeps in a topic, as it was told: producer_limits.c. */
struct topic_limits {
    _Atomic int64_t max_age;     /* ms */
    _Atomic int64_t max_ahead;   /* ms */
    _Atomic int64_t fresh_until; /* ns, monotonic; 0: not known yet */
    atomic_bool wanted;          /* somebody waits for it */
    bool asked;                  /* the main thread's: an answer is under way */
};

struct topic {
    struct topic *next;  /* of all */
    struct topic *chain; /* of its bucket */
    char *name;
    char *partitioner;
    rd_kafka_topic_t *handle; /* with the current client */
    unsigned blocked_pass;    /* the pass over the retries in which it took no message */
    struct topic_limits limits;
};

/* A message on its way to a client, which copies key and headers. The payload is its batch's, which is not finished without
 * it. */
struct producing {
    rd_kafka_topic_t *topic;
    int32_t partition; /* or RD_KAFKA_PARTITION_UA */
    void *payload, *key;
    size_t payload_len, key_len;
    int64_t time; /* ms since 1970; 0: when it is sent */
    struct batch_private *batch;
    struct message_extra *extra; /* NULL: it has no headers */
    struct message *message;     /* in a transaction; else NULL */
};

/* A message to send again. */
struct retry {
    struct retry *next;
    struct topic *topic;
    struct producing what; /* to the partition that it was bound for, so that order holds */
    bool alone;            /* in a message set of its own */
    char key[];            /* the client's copy goes with its report */
};

struct producer {
    const struct config *config;
    struct ev_loop *loop;
    producer_finished_fn *finished;
    producer_spent_fn *spent;
    producer_room_fn *room;
    void *room_arg;
    struct kafka_embedded *embedded;
    struct transactions *transactions; /* NULL: at-least-once */
    char *brokers;

    pthread_rwlock_t lock; /* read: to send; write: to change client, topics or open */
    struct client *client;
    bool open; /* workers may send */
    struct topic *topics;
    struct topic *buckets[TOPIC_BUCKETS]; /* by name */
    unsigned n_topics;
    struct log_limit too_many;

    struct ev_async ask; /* a worker wants a topic's limits */

    /* The main thread's: */
    struct log_limit unknown_limits;
    struct client *alone; /* made when it is needed */
    struct client *dying;
    struct retry *retries; /* in the order of their records once sorted */
    struct retry **last_retry;
    struct ev_timer retry_timer;
    double retry_after;
    bool renewing; /* with another configuration, when the client has delivered what it has */
    struct ev_timer patience; /* for that */
    int left;                 /* messages, when an outcome was seen last */
    int looks;                /* since then */
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
/* Gives the client some of the batch's messages, from next_send on and before `end`, the lock held to read. False: it takes no more, stopped_by
 * says why. */
bool producer_send_messages(struct producer *producer, struct batch_private *batch, uint32_t end);
bool producer_is_records_fault(rd_kafka_resp_err_t code);
enum stat_id producer_discard_stat(rd_kafka_resp_err_t code); /* of such a fault */
/* A handle of the present client. -1 and *error. */
int producer_topic_bind(struct producer *producer, struct topic *topic, struct error *error);

/* producer_renew.c */
void producer_renew_init(struct producer *producer);
/* -1 and *error; then nothing is changed. */
int producer_set_brokers(struct producer *producer, const struct config *config,
                         struct error *error);
/* Makes the client that workers send to. -1 and *error. */
int producer_renew(struct producer *producer, struct error *error);
/* The present one is freed with all it has; topics have no handles then. */
void producer_drop_client(struct producer *producer);
/* Goes on with a new client when the old one has nothing any more. May free clients. */
void producer_renew_when_due(struct producer *producer);

/* producer_message.c */
/* Gives one message to the client; 0: it has it, without a copy of the payload. */
rd_kafka_resp_err_t producer_produce(struct client *client, const struct producing *what,
                                     bool again);
/* Whose message was reported; *ret_extra NULL: its batch has no more of it. */
struct batch_private *producer_opaque(const rd_kafka_message_t *reported, bool *ret_again,
                                      struct message_extra **ret_extra);

/* producer_limits.c */
void producer_limits_init(struct producer *producer);
void producer_limits_fini(struct producer *producer);
/* Any thread. False: the topic's limits are not known yet; Kafka is asked, and then there is room. */
bool producer_limits_known(struct producer *producer, struct topic *topic);
/* What was asked for is asked once more: there is another client. */
void producer_limits_ask_again(struct producer *producer);

/* producer_transaction.c */
/* A thread that has the client and what workers send. -1 and *error. */
int transactions_start(struct producer *producer, struct error *error);
/* Ends the thread; what is not committed is aborted if that can be done soon. */
void transactions_free(struct producer *producer);
/* Any worker: the batch is the thread's until it is finished. */
void transactions_take(struct transactions *transactions, struct batch_private *batch);
/* Any thread: there may be something to do. */
void transactions_wake(struct transactions *transactions);
/* The main thread: another configuration, and with `renew` another client. */
void transactions_configure(struct transactions *transactions, const struct config *config,
                            bool renew);

/* producer_report.c */
void producer_report_init(struct producer *producer);
void producer_report_fini(struct producer *producer);
void producer_send_retries(struct producer *producer);
void producer_schedule_retries(struct producer *producer);
/* Is the error to be logged now, or was it a moment ago? */
bool producer_complain(struct producer *producer, rd_kafka_resp_err_t code, unsigned *ret_times);

#endif
