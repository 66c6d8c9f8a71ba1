/* Outcomes: delivery reports, and deliveries that are tried again. All of it runs in the main thread. */
#include "agent/clock.h"
#include "agent/producer_inner.h"

#include <stdlib.h>

#define RETRY_FIRST 0.1 /* s until a failed delivery is tried again; doubles up to: */
#define RETRY_MOST  5.0

/* ---- outcomes ---- */

static void settle_run(struct producer *producer)
{
    struct batch_private *batch = producer->run;
    if (batch == NULL)
        return;
    producer->run = NULL;
    struct stats *stats = &batch->stream->delivery;
    stats_add(stats, STAT_delivered, producer->run_messages);
    stats_add(stats, STAT_bytes_delivered, producer->run_bytes);
    stats_add(stats, STAT_settled, producer->run_messages);
    producer_settle(producer, batch, producer->run_messages);
}

static void release_hold(struct batch_private *batch)
{
    atomic_fetch_sub_explicit(&batch->stream->held, 1, memory_order_acq_rel);
}

static void delivered(struct producer *producer, struct batch_private *batch, bool again,
                      size_t bytes)
{
    if (batch != producer->run) {
        settle_run(producer);
        producer->run = batch;
        producer->run_messages = 0;
        producer->run_bytes = 0;
    }
    producer->run_messages++;
    producer->run_bytes += bytes;
    if (again) {
        producer->retry_after = RETRY_FIRST;
        release_hold(batch);
    }
}

bool producer_complain(struct producer *producer, rd_kafka_resp_err_t code, unsigned *ret_times)
{
    unsigned slot = (unsigned)(code + 1000) % COMPLAINTS;
    if (producer->complaints[slot].code != code)
        producer->complaints[slot].limit = (struct log_limit){0};
    producer->complaints[slot].code = code;
    return log_allowed(&producer->complaints[slot].limit, ret_times);
}

static void discard(struct producer *producer, struct batch_private *batch, bool again,
                    const rd_kafka_message_t *message)
{
    struct stats *stats = &batch->stream->delivery;
    unsigned times;
    if (producer_complain(producer, message->err, &times))
        log_error("kafka", "a record is discarded: %s topic=%s bytes=%zu stream=%s times=%u",
                  rd_kafka_err2str(message->err), rd_kafka_topic_name(message->rkt), message->len,
                  batch->stream->config->name, times);
    stats_add(stats, producer_discard_stat(message->err), 1);
    stats_add(stats, STAT_settled, 1);
    if (again)
        release_hold(batch);
    producer_settle(producer, batch, 1);
}

/* When it is sent again. Kafka takes no record whose time is far ahead of its own: that one gets this machine's time by
 * then. */
static int64_t time_again(struct batch_private *batch, struct message_extra *extra,
                          rd_kafka_resp_err_t code)
{
    if (code != RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP)
        return extra != NULL ? extra->time : batch->time / NS_PER_MS;
    if (extra != NULL && extra->time != 0) {
        __atomic_store_n(&extra->time, 0, __ATOMIC_RELAXED); /* a worker may be writing it to disk */
        stats_add(&batch->stream->delivery, STAT_time_replaced, 1);
    }
    return 0;
}

static void retry_later(struct producer *producer, const rd_kafka_message_t *reported, bool alone)
{
    bool again;
    struct message_extra *extra;
    struct batch_private *batch = producer_opaque(reported, &again, &extra);
    struct retry *retry = (struct retry *)malloc(sizeof(*retry) + reported->key_len);
    const char *name = rd_kafka_topic_name(reported->rkt);
    if (retry == NULL) {
        /* It stays unfinished: the position does not pass it and it is read again after a restart. */
        log_error("kafka", "out of memory: a record has to wait for a restart topic=%s", name);
        return;
    }
    *retry = (struct retry){.topic = producer_topic_find(producer, slice_str(name)),
                            .what = {.partition = reported->partition,
                                     .payload = reported->payload,
                                     .payload_len = reported->len,
                                     .key = reported->key == NULL ? NULL : retry->key,
                                     .key_len = reported->key_len,
                                     .time = time_again(batch, extra, reported->err),
                                     .batch = batch,
                                     .extra = extra},
                            .alone = alone};
    assert(retry->topic != NULL);
    if (reported->key != NULL)
        memcpy(retry->key, reported->key, reported->key_len);
    *producer->last_retry = retry;
    producer->last_retry = &retry->next;
    stats_add(&batch->stream->delivery, STAT_retried, 1);
    if (!again)
        atomic_fetch_add_explicit(&batch->stream->held, 1, memory_order_acq_rel);
}

void producer_schedule_retries(struct producer *producer)
{
    bool pending = producer->retries != NULL || producer->dying != NULL;
    if (!pending || ev_is_active(&producer->retry_timer))
        return;
    ev_timer_set(&producer->retry_timer, producer->retry_after, 0.);
    ev_timer_start(producer->loop, &producer->retry_timer);
    producer->retry_after *= 2;
    if (producer->retry_after > RETRY_MOST)
        producer->retry_after = RETRY_MOST;
}

static bool is_purged(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

static const char *way_out(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
               ? "; set this machine's clock if it is wrong, the records get its time"
               : "";
}

void producer_reported(struct client *client, const rd_kafka_message_t *message)
{
    struct producer *producer = client->producer;
    bool again;
    struct message_extra *own;
    struct batch_private *batch = producer_opaque(message, &again, &own);
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        delivered(producer, batch, again, message->len);
        return;
    }
    settle_run(producer);
    bool records_fault = producer_is_records_fault(message->err);
    if (records_fault && client->alone) {
        discard(producer, batch, again, message);
        return;
    }
    unsigned times;
    if (!is_purged(message->err) && !records_fault &&
        producer_complain(producer, message->err, &times))
        log_warn("kafka", "a delivery failed and is tried again: %s%s topic=%s stream=%s times=%u",
                 rd_kafka_err2str(message->err), way_out(message->err),
                 rd_kafka_topic_name(message->rkt), batch->stream->config->name, times);
    retry_later(producer, message, records_fault || client->alone);
}

void producer_spent(struct client *client, rd_kafka_event_t *event)
{
    struct producer *producer = client->producer;
    struct spent *spent = NULL;
    if (producer->spent != NULL && producer->run != NULL)
        spent = (struct spent *)malloc(sizeof(*spent));
    if (spent != NULL) {
        *spent = (struct spent){.event = event, .counter = &client->n_spent};
        atomic_fetch_add_explicit(&client->n_spent, 1, memory_order_relaxed);
        if (producer->spent(producer->run->stream, spent))
            return;
        atomic_fetch_sub_explicit(&client->n_spent, 1, memory_order_relaxed);
        free(spent);
    }
    rd_kafka_event_destroy(event);
}

void producer_free_spent(struct spent *spent)
{
    while (spent != NULL) {
        struct spent *next = spent->next;
        rd_kafka_event_destroy((rd_kafka_event_t *)spent->event);
        atomic_fetch_sub_explicit(spent->counter, 1, memory_order_release);
        free(spent);
        spent = next;
    }
}

/* ---- sending again ---- */

static int compare_retries(const void *left, const void *right)
{
    const struct retry *a = *(struct retry *const *)left;
    const struct retry *b = *(struct retry *const *)right;
    const struct batch_private *first = a->what.batch, *second = b->what.batch;
    if (first->stream != second->stream)
        return first->stream < second->stream ? -1 : 1;
    if (first->sequence != second->sequence)
        return first->sequence < second->sequence ? -1 : 1;
    int order =
        arena_order(&first->out, (const char *)a->what.payload, (const char *)b->what.payload);
    /* Empty payloads may share a place; then one is as good as the other. */
    return order;
}

/* A purge reports what was queued and what was under way in no order that can be relied on. */
static int sort_retries(struct producer *producer)
{
    size_t n = 0;
    for (struct retry *r = producer->retries; r != NULL; r = r->next)
        n++;
    struct retry **all = (struct retry **)malloc((n + 1) * sizeof(struct retry *));
    if (all == NULL)
        return -1;
    n = 0;
    for (struct retry *r = producer->retries; r != NULL; r = r->next)
        all[n++] = r;
    qsort(all, n, sizeof(struct retry *), compare_retries);
    producer->last_retry = &producer->retries;
    for (size_t i = 0; i < n; i++) {
        *producer->last_retry = all[i];
        producer->last_retry = &all[i]->next;
    }
    *producer->last_retry = NULL;
    free(all);
    return 0;
}

static struct client *retry_client(struct producer *producer, const struct retry *retry)
{
    struct error error;
    if (!retry->alone)
        return producer->client;
    if (producer->alone == NULL) {
        producer->alone =
            client_new(producer, producer->config, producer->brokers, true, producer->loop, &error);
        if (producer->alone == NULL)
            log_error("kafka", "%s", error.text);
    }
    return producer->alone;
}

/* 0: the client has it. */
static rd_kafka_resp_err_t retry_send(struct producer *producer, const struct retry *retry)
{
    struct client *client = retry_client(producer, retry);
    struct producing what = retry->what;
    struct error error;
    if (client == NULL)
        return RD_KAFKA_RESP_ERR__STATE;
    what.topic = retry->topic->handle;
    if (retry->alone)
        what.topic = client_topic(client, retry->topic->name, retry->topic->partitioner, &error);
    if (what.topic == NULL)
        return RD_KAFKA_RESP_ERR__STATE;
    rd_kafka_resp_err_t code = producer_produce(client, &what, true);
    if (retry->alone)
        rd_kafka_topic_destroy(what.topic);
    return code;
}

void producer_send_retries(struct producer *producer)
{
    if (producer->retries == NULL || producer->client == NULL || producer->renewing ||
        sort_retries(producer) == -1)
        return;
    producer->pass++;
    struct retry **at = &producer->retries;
    while (*at != NULL) {
        struct retry *retry = *at;
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__STATE;
        if (retry->topic->blocked_pass != producer->pass)
            code = retry_send(producer, retry);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            retry->topic->blocked_pass = producer->pass; /* what comes behind it waits, too */
            at = &retry->next;
            continue;
        }
        *at = retry->next;
        free(retry);
    }
    producer->last_retry = at;
    producer_schedule_retries(producer);
}

/* ---- beginning and end ---- */

void producer_polled(struct client *client)
{
    struct producer *producer = client->producer;
    settle_run(producer);
    producer_schedule_retries(producer);
    producer_renew_when_due(producer); /* may free the client */
    producer->room(producer->room_arg);
}

static void on_retry(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct producer *producer = (struct producer *)timer->data;
    producer_renew_when_due(producer);
    producer_send_retries(producer);
    producer_schedule_retries(producer);
    producer->room(producer->room_arg);
}

void producer_report_init(struct producer *producer)
{
    producer->last_retry = &producer->retries;
    producer->retry_after = RETRY_FIRST;
    ev_timer_init(&producer->retry_timer, on_retry, 0., 0.);
    producer->retry_timer.data = producer;
    producer_renew_init(producer);
}

void producer_report_fini(struct producer *producer)
{
    ev_timer_stop(producer->loop, &producer->retry_timer);
    ev_timer_stop(producer->loop, &producer->patience);
    while (producer->retries != NULL) {
        struct retry *retry = producer->retries;
        producer->retries = retry->next;
        free(retry);
    }
    while (producer->dying != NULL) {
        struct client *client = producer->dying;
        producer->dying = client->next;
        client_free(&client, producer->loop);
    }
}
