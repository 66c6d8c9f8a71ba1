/* Exactly-once: a batch on its way into a transaction, and what of it failed.
 *
 * Only failures are reported one by one; a commit says that all else is there. A failed message makes the transaction fail:
 *   for that record   too large, refused: the broker answers for a whole message set, so all of it is suspect. Suspects are sent again
 *                     each in a message set of its own; which fails then is at fault, is discarded and counted, and the others are sent
 *                     again without it
 *   anything else     its stream waits for a while, longer and longer, and the others go on */
#include "agent/clock.h"
#include "agent/producer_transaction.h"

#include <inttypes.h>
#include <stdio.h>

#define CLIENT_MOST 20000 /* messages */
#define ROOM_NS     NS_PER_MS
#define FULL_NS     (5 * NS_PER_MS) /* the client's queue is full: so long until it is tried again */
#define FLUSH_MS    100
#define HOLD_MOST   (30 * NS_PER_S)
#define HOLD_LEAST  (NS_PER_S / 10)
#define LATE_NS     NS_PER_S /* a message's time is given when the batch is older */

/* ---- reports: the main thread ---- */

void transactions_reported(struct client *client, const rd_kafka_message_t *message)
{
    struct transactions *t = client->producer->transactions;
    struct message *ours = (struct message *)message->_private; /* NULL: the transaction's name */
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    if (ours != NULL)
        ours->fault = (int16_t)message->err;
    if (!atomic_exchange(&t->failed, true))
        transactions_wake(t);
}

/* ---- sending ---- */

static bool is_lost(struct transactions *t)
{
    char text[16];
    return rd_kafka_fatal_error(t->rk, text, sizeof(text)) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

enum step transactions_flush(struct transactions *t)
{
    while (!atomic_load(&t->failed) && rd_kafka_flush(t->rk, FLUSH_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        if (is_lost(t) || transactions_must_yield(t))
            return STEP_ABORT;
        else if (transactions_are_impatient(t))
            return STEP_LOST;
        else if (transactions_pause(t, 0) == STEP_STOP)
            return STEP_STOP;
    return atomic_load(&t->failed) ? STEP_ABORT : STEP_DONE;
}

/* Why the client took no more. STEP_AGAIN: it may soon. */
static enum step stopped(struct transactions *t, struct stream *stream, int code)
{
    unsigned times;
    if (atomic_load(&t->failed) || is_lost(t) || transactions_must_yield(t))
        return STEP_ABORT;
    if (transactions_are_impatient(t))
        return STEP_LOST;
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return transactions_pause(t, FULL_NS) == STEP_STOP ? STEP_STOP : STEP_AGAIN;
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__FATAL: return STEP_ABORT;
    default:
        if (log_allowed(&t->aborts, &times))
            log_warn("kafka", "the client takes nothing for a topic: %s stream=%s times=%u",
                     rd_kafka_err2str((rd_kafka_resp_err_t)code), stream->config->name, times);
        transactions_hold(stream);
        return STEP_ABORT;
    }
}

static enum step send_until(struct transactions *t, struct batch_private *batch, uint32_t end)
{
    struct producer *producer = t->producer;
    while (batch->next_send < end) {
        pthread_rwlock_rdlock(&producer->lock);
        bool sent = producer_send_messages(producer, batch, end);
        pthread_rwlock_unlock(&producer->lock);
        if (sent)
            continue;
        enum step step = stopped(t, batch->stream, batch->stopped_by);
        if (step != STEP_AGAIN)
            return step;
    }
    return STEP_DONE;
}

/* Each in a message set of its own: nothing else is under way. */
static enum step send_suspect(struct transactions *t, struct batch_private *batch, uint32_t i)
{
    struct message *message = &batch->messages[i];
    enum step step = transactions_flush(t);
    if (step != STEP_DONE)
        return step;
    message->alone = true;
    step = send_until(t, batch, i + 1);
    if (step == STEP_DONE)
        step = transactions_flush(t);
    if (step == STEP_DONE)
        message->alone = message->suspect = false;
    return step;
}

static enum step send_messages(struct transactions *t, struct batch_private *batch)
{
    enum step step = STEP_DONE;
    for (uint32_t i = batch->next_send; batch->has_suspects && i < batch->n_messages; i++) {
        if (!batch->messages[i].suspect || batch->messages[i].refused)
            continue;
        step = send_until(t, batch, i);
        if (step == STEP_DONE)
            step = send_suspect(t, batch, i);
        if (step != STEP_DONE)
            return step;
    }
    return send_until(t, batch, batch->n_messages);
}

static rd_kafka_resp_err_t produce_position(struct transactions *t, struct message *message)
{
    rd_kafka_resp_err_t code = rd_kafka_producev(
        t->rk, RD_KAFKA_V_RKT(t->topic),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)message->payload, message->payload_len),
        RD_KAFKA_V_KEY(message->key, message->key_len), RD_KAFKA_V_OPAQUE(message), RD_KAFKA_V_END);
    return code;
}

/* What is delivered stays in its batch until the commit; the client has no more than CLIENT_MOST of it. */
static enum step wait_for_room(struct transactions *t)
{
    while (rd_kafka_outq_len(t->rk) > CLIENT_MOST) {
        if (atomic_load(&t->failed) || is_lost(t) || transactions_must_yield(t))
            return STEP_ABORT;
        if (transactions_are_impatient(t))
            return STEP_LOST;
        if (transactions_pause(t, ROOM_NS) == STEP_STOP)
            return STEP_STOP;
    }
    return STEP_DONE;
}

enum step transactions_send(struct transactions *t, struct batch_private *batch)
{
    enum step step = wait_for_room(t);
    if (step != STEP_DONE)
        return step;
    batch->late |= clock_real() - batch->time > LATE_NS;
    step = send_messages(t, batch);
    while (step == STEP_DONE && batch->sent_positions < batch->n_positions) {
        struct message *message = &batch->positions[batch->sent_positions];
        rd_kafka_resp_err_t code = produce_position(t, message);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            batch->sent_positions++;
            continue;
        }
        step = stopped(t, batch->stream, code);
        if (step == STEP_AGAIN)
            step = STEP_DONE;
    }
    return step;
}

void transactions_name(const struct transactions *t, char name[TRANSACTION_NAME_MAX])
{
    snprintf(name, TRANSACTION_NAME_MAX, "%016" PRIx64 " %" PRIu64, t->instance, t->number);
}

enum step transactions_send_name(struct transactions *t)
{
    char name[TRANSACTION_NAME_MAX];
    transactions_name(t, name);
    for (;;) {
        rd_kafka_resp_err_t code =
            rd_kafka_producev(t->rk, RD_KAFKA_V_RKT(t->topic), RD_KAFKA_V_VALUE(name, strlen(name)),
                              RD_KAFKA_V_KEY(t->agent, strlen(t->agent)),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return STEP_DONE;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return STEP_ABORT;
        if (transactions_pause(t, FULL_NS) == STEP_STOP)
            return STEP_STOP;
    }
}

/* ---- what failed ---- */

void transactions_hold(struct stream *stream)
{
    int64_t *held = &stream->held_for;
    *held = *held == 0 ? HOLD_LEAST : *held * 2 < HOLD_MOST ? *held * 2 : HOLD_MOST;
    stream->held_until = clock_monotonic() + *held;
}

static bool is_purged(int code)
{
    return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

/* Is the stream to wait for what befell the message? */
static bool failed(struct transactions *t, struct batch_private *batch, struct message *message)
{
    const rd_kafka_resp_err_t code = (rd_kafka_resp_err_t)message->fault;
    unsigned times;
    const bool alone = message->alone;
    message->alone = false;
    if (producer_is_records_fault(code) && message->topic != NULL) {
        if (alone) {
            message->suspect = false;
            message->refused = true;
            return false;
        }
        message->suspect = batch->has_suspects = true;
        message->fault = 0;
        return false;
    }
    message->fault = 0;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || is_purged(code))
        return false;
    if (log_allowed(&t->aborts, &times))
        log_warn("kafka",
                 "a delivery failed, its transaction is aborted and sent again: %s topic=%s "
                 "stream=%s times=%u",
                 rd_kafka_err2str(code),
                 message->topic == NULL ? t->topic_name : message->topic->name,
                 batch->stream->config->name, times);
    return true;
}

static bool send_again(struct transactions *t, struct batch_private *batch)
{
    bool hold = false;
    batch->resent += batch->next_send;
    batch->next_send = batch->sent_positions = 0;
    batch->late = true;
    for (uint32_t i = 0; i < batch->n_messages; i++) {
        struct message *message = &batch->messages[i];
        if (message->refused)
            continue;
        hold |= message->fault != 0 && failed(t, batch, message);
        message->alone = false;
        message->gone = message->fault != 0;
    }
    for (uint32_t i = 0; i < batch->n_positions; i++)
        hold |= batch->positions[i].fault != 0 && failed(t, batch, &batch->positions[i]);
    return hold;
}

void transactions_again(struct transactions *t)
{
    const bool yields = transactions_must_yield(t);
    const int64_t now = clock_monotonic();
    for (struct batch_private *batch = t->sent.first; batch != NULL; batch = batch->next) {
        bool hold = send_again(t, batch) || yields;
        if (hold && batch->stream->held_until <= now)
            transactions_hold(batch->stream);
        else if (!hold && batch->stream->held_until <= t->opened)
            batch->stream->held_for = 0; /* it is another one's fault */
    }
    batch_list_append(&t->sent, &t->waiting);
    t->waiting = t->sent;
    if (t->waiting.first == NULL)
        batch_list_init(&t->waiting);
    batch_list_init(&t->sent);
    t->size = 0;
    atomic_store(&t->failed, false);
}

/* ---- what is settled: the main thread ---- */

static void discarded(struct batch_private *batch, const struct message *message)
{
    static struct log_limit limit;
    unsigned times;
    const rd_kafka_resp_err_t code = (rd_kafka_resp_err_t)message->fault;
    stats_add(&batch->stream->delivery, producer_discard_stat(code), 1);
    if (log_allowed(&limit, &times))
        log_error("kafka", "a record is discarded: %s topic=%s bytes=%u stream=%s times=%u",
                  rd_kafka_err2str(code), message->topic->name, message->payload_len,
                  batch->stream->config->name, times);
}

void transactions_count(struct batch_private *batch)
{
    struct stats *stats = &batch->stream->delivery;
    uint64_t delivered = 0, bytes = 0;
    for (uint32_t i = 0; i < batch->n_messages; i++) {
        const struct message *message = &batch->messages[i];
        if (message->refused) {
            discarded(batch, message);
            continue;
        }
        delivered++;
        bytes += message->payload_len;
    }
    stats_add(stats, STAT_delivered, delivered);
    stats_add(stats, STAT_bytes_delivered, bytes);
    stats_add(stats, STAT_settled, batch->n_messages);
    stats_add(stats, STAT_retried, batch->resent);
    stats_add(stats, STAT_time_replaced, batch->replaced);
}
