/* Which times Kafka keeps in a topic: it is asked for the topic's configuration (DescribeConfigs) when a worker first has
 * messages with times of their own for it, which wait for the answer, at most TIMEOUT_MS; and once more with the first of them
 * after FRESH_NS. What is older than the topic's retention would be deleted at once, what is too far ahead is refused. */
#include "agent/clock.h"
#include "agent/producer_inner.h"

#include <stdlib.h>

#define FRESH_NS (60 * NS_PER_S)
#define AGAIN_NS \
    (10 * NS_PER_S) /* after Kafka could not be reached, or a topic was not there yet */
#define TIMEOUT_MS 5000

/* ---- the worker's side ---- */

bool producer_limits_known(struct producer *producer, struct topic *topic)
{
    struct topic_limits *limits = &topic->limits;
    if (producer->embedded != NULL)
        return true; /* it keeps nothing */
    int64_t fresh_until = atomic_load_explicit(&limits->fresh_until, memory_order_acquire);
    if (clock_monotonic() >= fresh_until && !atomic_exchange(&limits->wanted, true))
        ev_async_send(producer->loop, &producer->ask);
    return fresh_until != 0;
}

/* ---- asking ---- */

static void request(struct producer *producer, rd_kafka_ConfigResource_t **topics, size_t n)
{
    struct client *client = producer->client;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(client->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_request_timeout(options, TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeConfigs(client->rk, topics, n, options, client->queue);
    rd_kafka_AdminOptions_destroy(options);
}

static void ask(struct producer *producer)
{
    rd_kafka_ConfigResource_t **topics = NULL;
    size_t n = 0;
    pthread_rwlock_rdlock(&producer->lock);
    if (producer->client != NULL)
        topics = (rd_kafka_ConfigResource_t **)malloc((producer->n_topics + 1) * sizeof(*topics));
    for (struct topic *topic = producer->topics; topics != NULL && topic != NULL;
         topic = topic->next) {
        if (!atomic_load(&topic->limits.wanted) || topic->limits.asked)
            continue;
        topic->limits.asked = true;
        topics[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic->name);
    }
    pthread_rwlock_unlock(&producer->lock);
    if (n > 0)
        request(producer, topics, n);
    rd_kafka_ConfigResource_destroy_array(topics, n);
    free((void *)topics);
}

void producer_limits_ask_again(struct producer *producer)
{
    for (struct topic *topic = producer->topics; topic != NULL; topic = topic->next)
        topic->limits.asked = false;
    ev_feed_event(producer->loop, &producer->ask, EV_ASYNC);
}

/* ---- the answer ---- */

static void answered(struct topic *topic, int64_t fresh_ns)
{
    struct topic_limits *limits = &topic->limits;
    atomic_store_explicit(&limits->fresh_until, clock_monotonic() + fresh_ns, memory_order_release);
    limits->asked = false;
    atomic_store(&limits->wanted, false);
}

static void know(struct topic *topic, int64_t max_age, int64_t max_ahead)
{
    struct topic_limits *limits = &topic->limits;
    atomic_store_explicit(&limits->max_age, max_age, memory_order_relaxed);
    atomic_store_explicit(&limits->max_ahead, max_ahead, memory_order_relaxed);
    answered(topic, FRESH_NS);
}

/* NULL: it is not told. */
static const char *value_of(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t n;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

/* Milliseconds; no limit where there is none, or it is not told. */
static int64_t limit_of(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    const char *value = value_of(resource, name);
    int64_t ms = value == NULL ? -1 : strtoll(value, NULL, 10);
    return ms < 0 ? INT64_MAX : ms;
}

static bool has_word(const rd_kafka_ConfigResource_t *resource, const char *name, const char *word)
{
    const char *value = value_of(resource, name);
    return value != NULL && strstr(value, word) != NULL;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void learn(struct topic *topic, const rd_kafka_ConfigResource_t *resource)
{
    if (has_word(resource, "message.timestamp.type", "LogAppendTime")) {
        know(topic, INT64_MAX, INT64_MAX); /* Kafka sets its own */
        return;
    }
    /* A topic that is only compacted keeps what is old. */
    int64_t kept = has_word(resource, "cleanup.policy", "delete")
                       ? limit_of(resource, "retention.ms")
                       : INT64_MAX;
    int64_t both = limit_of(resource, "message.timestamp.difference.max.ms"); /* before Kafka 3.6 */
    know(topic, least(least(kept, limit_of(resource, "message.timestamp.before.max.ms")), both),
         least(limit_of(resource, "message.timestamp.after.max.ms"), both));
}

static void take_topic(struct producer *producer, const rd_kafka_ConfigResource_t *resource)
{
    struct slice name = slice_str(rd_kafka_ConfigResource_name(resource));
    struct topic *topic = producer_topic_find(producer, name);
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    unsigned times;
    if (topic == NULL || !topic->limits.asked)
        return;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        learn(topic, resource);
        return;
    }
    /* One that is not there yet is made with the first record. */
    if (code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
        log_allowed(&producer->unknown_limits, &times))
        log_warn("kafka",
                 "how long a topic keeps records can't be asked, older ones are deleted at once; "
                 "set ship.max_age, or allow DescribeConfigs: %s topic=%s times=%u",
                 rd_kafka_err2str(code), topic->name, times);
    answered(topic, AGAIN_NS);
}

/* No answer for any of the topics; what was known of them before still holds. */
static void take_failure(struct producer *producer, rd_kafka_event_t *event)
{
    unsigned times;
    for (struct topic *topic = producer->topics; topic != NULL; topic = topic->next)
        if (topic->limits.asked)
            answered(topic, AGAIN_NS);
    if (log_allowed(&producer->unknown_limits, &times))
        log_info("kafka", "how long topics keep records can't be asked: %s times=%u",
                 log_quote(rd_kafka_event_error_string(event)), times);
}

void producer_limits_answered(struct client *client, rd_kafka_event_t *event)
{
    struct producer *producer = client->producer;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    size_t n;
    if (client != producer->client)
        return; /* the new one was asked */
    pthread_rwlock_rdlock(&producer->lock);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_failure(producer, event);
    } else {
        const rd_kafka_ConfigResource_t **topics = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &n);
        for (size_t i = 0; i < n; i++)
            take_topic(producer, topics[i]);
    }
    pthread_rwlock_unlock(&producer->lock);
    /* producer_polled() tells that there is room */
}

/* ---- beginning and end ---- */

static void on_ask(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)loop;
    (void)events;
    ask((struct producer *)watcher->data);
}

void producer_limits_init(struct producer *producer)
{
    ev_async_init(&producer->ask, on_ask);
    producer->ask.data = producer;
    ev_async_start(producer->loop, &producer->ask);
}

void producer_limits_fini(struct producer *producer)
{
    ev_async_stop(producer->loop, &producer->ask);
}
