/* The producer: hands payloads to librdkafka without a copy and learns of each message's outcome.
 *
 * Workers call producer_send(); everything else runs in the main thread. An outcome is final only
 * with its delivery report (rdkafka.h: rd_kafka_message_t.err in a RD_KAFKA_EVENT_DR):
 *   delivered         settled
 *   for this record   too large, refused: sent once more alone, as the broker answers for a whole message set; then discarded,
 *                     counted with its reason, settled
 *   anything else     tried again, in order, with nothing new of that stream before it
 *   fatal             (rd_kafka_fatal_error()) a new client is made and everything unacknowledged
 *                     is sent again through it, in order, before anything new
 * When librdkafka's queue is full, producer_send() says so and the stream stops reading until delivery reports
 * make room. */
#ifndef SPLASHDAM_PRODUCER_H
#define SPLASHDAM_PRODUCER_H

#include "agent/batch.h"
#include "agent/config.h"

#include <ev.h>

struct producer;
struct topic;

/* Called in the main thread when a batch's last message has its outcome. */
typedef void producer_finished_fn(struct batch_private *batch);
/* Called in the main thread when what was blocked may go on. */
typedef void producer_room_fn(void *arg);

/* Reports that were looked at, on their way to being freed. librdkafka's messages were allocated in a worker's
 * thread; freed in another one at the same time as it allocates more, both would wait for one heap's lock, so
 * they go back to a worker. */
struct spent {
    struct spent *next;
    void *event;
    atomic_uint *counter; /* of its client, which lives until they are freed */
};
/* Called in the main thread with reports most of which are the stream's; true: taken, to be given to producer_free_spent(). */
typedef bool producer_spent_fn(struct stream *stream, struct spent *spent);
/* Any thread, while the producer lives. */
void producer_free_spent(struct spent *spent);

/* NULL and *error. The loop is the main thread's. `spent` may be NULL. */
struct producer *producer_new(const struct config *config, struct ev_loop *loop,
                              producer_finished_fn *finished, producer_spent_fn *spent,
                              producer_room_fn *room, void *room_arg, struct error *error);
/* The main thread: goes on with this configuration, which lives until the next one. When brokers, properties or the agent's name are
 * others, a new client is made as soon as the old one has delivered what it has, and nothing new is sent until then. After ten seconds
 * without an outcome the old one's messages are taken from it and sent again, in order. -1 and *error: the old one goes on. */
int producer_reconfigure(struct producer *producer, const struct config *config,
                         struct error *error);
/* Gives up what is still in flight: those batches are never finished. */
void producer_free(struct producer **producer);

/* ---- exactly-once: producer_transaction.c ---- */

enum producer_state {
    PRODUCER_READY, /* positions are what Kafka has; reading may begin */
    PRODUCER_FENCED, /* another agent with the same name took over: nothing can be delivered any more */
};
/* Called in the main thread. */
typedef void producer_state_fn(void *arg, enum producer_state state);
/* Does it deliver in transactions? */
bool producer_is_transactional(const struct producer *producer);
/* Once: waits for Kafka in a thread of its own, and gives the positions what Kafka has. Both live as long as the producer.
 * -1 and errno: no thread. */
int producer_begin(struct producer *producer, struct positions *positions, producer_state_fn *told,
                   void *arg);
/* The batch's positions become messages of it, after what is not told of its stream. Does nothing with at-least-once. The worker;
 * -1: no memory. */
int producer_add_positions(struct producer *producer, struct batch_private *batch, int worker);
/* The same for one that was read back: the frame's. */
struct spool_frame;
int producer_add_spooled(struct producer *producer, struct batch_private *batch,
                         struct spool_frame *frame, int worker);
/* Transactions that were committed, and aborted. */
void producer_transactions(const struct producer *producer, uint64_t *ret_committed,
                           uint64_t *ret_aborted);

#define PRODUCER_TOPICS_MAX 4096u

/* A topic by name, made on first use; lives as long as the producer. NULL: not a valid name, more than
 * PRODUCER_TOPICS_MAX, or no memory. Any thread. The first stream's partitioner holds for a topic. */
struct topic *producer_topic(struct producer *producer, struct slice name, const char *partitioner);
struct slice producer_topic_name(const struct topic *topic);
/* [a-zA-Z0-9._-]{1,249}, not "." or "..": Kafka's Topic.validate(). */
bool producer_topic_name_valid(struct slice name);

/* Sends the batch's messages from next_send on. True: all are with the producer. False: blocked, call it
 * again when there is room. Any worker. */
bool producer_send(struct producer *producer, struct batch_private *batch);

/* Is it a property of librdkafka's producer with an allowed value, and not one that the agent sets itself? */
int producer_check_property(const char *name, const char *value, struct error *error);

/* Would librdkafka make a producer of this configuration? Properties that are right one by one may not go together,
 * and files that they name may be missing. Connects to nothing. -1 and *error. */
int producer_check(const struct config *config, struct error *error);

/* Where clients reach the embedded broker; NULL when it is not used. */
const char *producer_embedded(const struct producer *producer);

#endif
