#include "agent/producer.h"

#include "agent/clock.h"
#include "agent/kafka_embedded.h"
#include "agent/producer_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#define SEND_AT_ONCE 256 /* messages of one rd_kafka_produce_batch() */

/* ---- topics ---- */

bool producer_topic_name_valid(struct slice name)
{
    if (name.len == 0 || name.len > 249 || slice_equal(name, SLICE(".")) ||
        slice_equal(name, SLICE("..")))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static struct topic **bucket_of(struct producer *producer, struct slice name)
{
    return &producer->buckets[XXH3_64bits(name.ptr, name.len) % TOPIC_BUCKETS];
}

struct topic *producer_topic_find(struct producer *producer, struct slice name)
{
    for (struct topic *t = *bucket_of(producer, name); t != NULL; t = t->chain)
        if (strlen(t->name) == name.len && memcmp(t->name, name.ptr, name.len) == 0)
            return t;
    return NULL;
}

static void topic_free(struct topic *topic)
{
    if (topic == NULL)
        return;
    if (topic->handle != NULL)
        rd_kafka_topic_destroy(topic->handle);
    free(topic->name);
    free(topic->partitioner);
    free(topic);
}

int producer_topic_bind(struct producer *producer, struct topic *topic, struct error *error)
{
    topic->handle = client_topic(producer->client, topic->name, topic->partitioner, error);
    return topic->handle == NULL ? -1 : 0;
}

static struct topic *topic_new(struct producer *producer, struct slice name, const char *partitioner)
{
    struct error error;
    unsigned times;
    if (producer->n_topics == PRODUCER_TOPICS_MAX) {
        if (log_allowed(&producer->too_many, &times))
            log_error("kafka",
                      "more than %u topics: records for others are discarded topic=%s times=%u",
                      PRODUCER_TOPICS_MAX, log_quote_len(name.ptr, name.len), times);
        return NULL;
    }
    struct topic *topic = (struct topic *)calloc(1, sizeof(*topic));
    if (topic == NULL)
        return NULL;
    topic->limits.max_age = topic->limits.max_ahead = INT64_MAX;
    topic->name = strndup(name.ptr, name.len);
    topic->partitioner = strdup(partitioner);
    if (topic->name == NULL || topic->partitioner == NULL) {
        topic_free(topic);
        return NULL;
    }
    if (producer->client != NULL && producer_topic_bind(producer, topic, &error) == -1) {
        log_error("kafka", "%s", error.text);
        topic_free(topic);
        return NULL;
    }
    topic->next = producer->topics;
    producer->topics = topic;
    struct topic **bucket = bucket_of(producer, name);
    topic->chain = *bucket;
    *bucket = topic;
    producer->n_topics++;
    return topic;
}

struct topic *producer_topic(struct producer *producer, struct slice name, const char *partitioner)
{
    if (!producer_topic_name_valid(name))
        return NULL;
    pthread_rwlock_rdlock(&producer->lock);
    struct topic *topic = producer_topic_find(producer, name);
    pthread_rwlock_unlock(&producer->lock);
    if (topic != NULL)
        return topic;
    pthread_rwlock_wrlock(&producer->lock);
    topic = producer_topic_find(producer, name); /* another worker may have made it meanwhile */
    if (topic == NULL)
        topic = topic_new(producer, name, partitioner);
    pthread_rwlock_unlock(&producer->lock);
    return topic;
}

struct slice producer_topic_name(const struct topic *topic)
{
    return slice_str(topic->name);
}

/* ---- sending: the worker's side ---- */

void producer_settle(struct producer *producer, struct batch_private *batch, unsigned n)
{
    if (atomic_fetch_sub_explicit(&batch->unfinished, n, memory_order_acq_rel) == n)
        producer->finished(batch);
}

enum stat_id producer_discard_stat(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? STAT_discarded_too_large
                                                        : STAT_discarded_rejected;
}

/* What the client itself refuses for good. The worker has not let go of the batch: when this was
 * its last message, the worker sees it by finished_here. */
static void discard_at_once(struct batch_private *batch, struct message *message,
                            rd_kafka_resp_err_t code)
{
    struct stats *stats = &batch->stream->stats;
    message->gone = true;
    message->fault = (int16_t)code;
    message->refused = true;
    if (batch->positions != NULL)
        return; /* it is counted with the batch's other messages */
    stats_begin(stats);
    stats_add(stats, producer_discard_stat(code), 1);
    stats_add(stats, STAT_settled, 1);
    stats_end(stats);
    batch->finished_here =
        atomic_fetch_sub_explicit(&batch->unfinished, 1, memory_order_acq_rel) == 1;
}

bool producer_is_records_fault(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__BAD_MSG: return true;
    default: return false;
    }
}

/* ---- many messages with one call, without headers and times ---- */

/* librdkafka does not write to payload and key, nor frees them: neither F_FREE nor F_COPY is set. */
static void *unconst(const char *ptr)
{
    union {
        const char *in;
        void *out;
    } pointer = {ptr};
    return pointer.out;
}

/* The next messages of one topic, from next_send on; *ret_end is one past the last that was looked at. */
static int gather(struct batch_private *batch, uint32_t end, rd_kafka_message_t *messages,
                  struct message **taken, uint32_t *ret_end, struct topic **ret_topic)
{
    const bool in_transaction = batch->positions != NULL;
    int n = 0;
    uint32_t i = batch->next_send;
    for (; i < end && n < SEND_AT_ONCE; i++) {
        struct message *message = &batch->messages[i];
        if (message->gone)
            continue;
        if (n == 0)
            *ret_topic = message->topic;
        else if (message->topic != *ret_topic)
            break;
        messages[n] = (rd_kafka_message_t){.payload = unconst(message->payload),
                                           .len = message->payload_len,
                                           .key = unconst(message->key),
                                           .key_len = message->key_len,
                                           ._private = in_transaction ? (void *)message : batch};
        taken[n++] = message;
    }
    *ret_end = i;
    return n;
}

/* True: everything gathered has left the worker's hands. */
static bool take_results(struct batch_private *batch, rd_kafka_message_t *messages,
                         struct message **taken, int n)
{
    bool all = true;
    for (int i = 0; i < n; i++) {
        if (messages[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            taken[i]->gone = true;
        else if (producer_is_records_fault(messages[i].err))
            discard_at_once(batch, taken[i], messages[i].err);
        else {
            all = false; /* queue full, fatal, no such topic: later */
            batch->stopped_by = messages[i].err;
        }
    }
    return all;
}

static bool send_some(struct batch_private *batch, uint32_t most)
{
    rd_kafka_message_t messages[SEND_AT_ONCE];
    struct message *taken[SEND_AT_ONCE];
    struct topic *topic = NULL;
    uint32_t end;
    int n = gather(batch, most, messages, taken, &end, &topic);
    if (n > 0 && rd_kafka_produce_batch(topic->handle, RD_KAFKA_PARTITION_UA, 0, messages, n) != n &&
        !take_results(batch, messages, taken, n))
        return false;
    batch->next_send = end;
    return true;
}

/* ---- one message with each call ---- */

static int64_t max_age_of(const struct config_ship *ship, const struct topic *topic)
{
    switch (ship->max_age) {
    case MAX_AGE_AUTO: return atomic_load_explicit(&topic->limits.max_age, memory_order_relaxed);
    case MAX_AGE_OFF: return INT64_MAX;
    default: return ship->max_age;
    }
}

/* The message's time for Kafka, ms since 1970. */
static int64_t time_of(const struct batch_private *batch, const struct message *message,
                       const struct message_extra *extra, bool *ret_replaced)
{
    const struct topic *topic = message->topic;
    const int64_t read = batch->time / NS_PER_MS;
    *ret_replaced = false;
    if (!batch->timed || extra == NULL || extra->time == read)
        return read;
    const int64_t time = extra->time;
    *ret_replaced =
        time <= 0 || read - time > max_age_of(&batch->stream->config->ship, topic) ||
        time - read > atomic_load_explicit(&topic->limits.max_ahead, memory_order_relaxed);
    return *ret_replaced ? read : time;
}

/* `extra` NULL: none. */
static rd_kafka_resp_err_t send_one(struct producer *producer, struct batch_private *batch,
                                    struct message *message, struct message_extra *extra,
                                    bool *ret_replaced)
{
    const int64_t time = time_of(batch, message, extra, ret_replaced);
    const int64_t own = extra == NULL ? 0 : extra->time;
    if (extra != NULL)
        __atomic_store_n(&extra->time, time,
                         __ATOMIC_RELAXED); /* a worker may be writing it to disk */
    const struct producing what = {.topic = message->topic->handle,
                                   .partition = RD_KAFKA_PARTITION_UA,
                                   .payload = unconst(message->payload),
                                   .payload_len = message->payload_len,
                                   .key = unconst(message->key),
                                   .key_len = message->key_len,
                                   .time = time,
                                   .batch = batch,
                                   .extra = extra,
                                   .message = batch->positions == NULL ? NULL : message};
    rd_kafka_resp_err_t code = producer_produce(producer->client, &what, false);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && extra != NULL)
        __atomic_store_n(&extra->time, own, __ATOMIC_RELAXED);
    return code;
}

/* False: later. */
static bool try_one(struct producer *producer, struct batch_private *batch, struct message *message)
{
    struct message_extra *extra =
        batch->extras == NULL ? NULL : &batch->extras[message - batch->messages];
    bool replaced;
    batch->stopped_by = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (batch->timed && !producer_limits_known(producer, message->topic))
        return false;
    rd_kafka_resp_err_t code = send_one(producer, batch, message, extra, &replaced);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        message->gone = true;
    else if (producer_is_records_fault(code))
        discard_at_once(batch, message, code);
    else {
        batch->stopped_by = code;
        return false; /* queue full, fatal, no such topic */
    }
    if (replaced && batch->positions != NULL) {
        batch->replaced++;
    } else if (replaced) {
        stats_begin(&batch->stream->stats);
        stats_add(&batch->stream->stats, STAT_time_replaced, 1);
        stats_end(&batch->stream->stats);
    }
    return true;
}

static bool send_each(struct producer *producer, struct batch_private *batch, uint32_t end)
{
    for (; batch->next_send < end; batch->next_send++) {
        struct message *message = &batch->messages[batch->next_send];
        if (!message->gone && !try_one(producer, batch, message))
            return false;
    }
    return true;
}

bool producer_send_messages(struct producer *producer, struct batch_private *batch, uint32_t end)
{
    bool each = batch->extras != NULL || batch->late;
    return each ? send_each(producer, batch, end) : send_some(batch, end);
}

bool producer_send(struct producer *producer, struct batch_private *batch)
{
    bool sent = true;
    if (batch->positions != NULL) {
        transactions_take(producer->transactions, batch);
        return true;
    }
    pthread_rwlock_rdlock(&producer->lock);
    while (sent && batch->next_send < batch->n_messages)
        sent = producer->open &&
               atomic_load_explicit(&batch->stream->held, memory_order_acquire) == 0 &&
               producer_send_messages(producer, batch, batch->n_messages);
    pthread_rwlock_unlock(&producer->lock);
    batch->late |= !sent;
    return sent;
}

/* ---- making and freeing ---- */

struct producer *producer_new(const struct config *config, struct ev_loop *loop,
                              producer_finished_fn *finished, producer_spent_fn *spent,
                              producer_room_fn *room, void *room_arg, struct error *error)
{
    struct producer *producer = (struct producer *)calloc(1, sizeof(*producer));
    if (producer == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    producer->config = config;
    producer->loop = loop;
    producer->finished = finished;
    producer->spent = spent;
    producer->room = room;
    producer->room_arg = room_arg;
    producer_report_init(producer);
    producer_limits_init(producer);
    pthread_rwlock_init(&producer->lock, NULL);
    if (producer_set_brokers(producer, config, error) == -1 ||
        producer_renew(producer, error) == -1 ||
        (config->kafka.delivery == DELIVERY_EXACTLY_ONCE &&
         transactions_start(producer, error) == -1))
        producer_free(&producer);
    return producer;
}

void producer_free(struct producer **producer_ptr)
{
    struct producer *producer = *producer_ptr;
    if (producer == NULL)
        return;
    transactions_free(producer);
    producer_report_fini(producer);
    producer_limits_fini(producer);
    while (producer->topics != NULL) {
        struct topic *topic = producer->topics;
        producer->topics = topic->next;
        topic_free(topic);
    }
    client_free(&producer->client, producer->loop);
    client_free(&producer->alone, producer->loop);
    kafka_embedded_free(&producer->embedded);
    pthread_rwlock_destroy(&producer->lock);
    free(producer->brokers);
    free(producer);
    *producer_ptr = NULL;
}

const char *producer_embedded(const struct producer *producer)
{
    return producer->embedded == NULL ? NULL : kafka_embedded_bootstrap(producer->embedded);
}
