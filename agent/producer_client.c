#include "agent/producer_client.h"

#include "agent/log.h"
#include "agent/producer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What differs from librdkafka's own defaults (CONFIGURATION.md) and may be overridden by
 * kafka.properties. */
static const struct {
    const char *name, *value;
} defaults[] = {
    {"acks", "all"},
    {"enable.idempotence", "true"},
    {"message.timeout.ms", "0"}, /* never give a record up */
    {"linger.ms", "20"},
    {"compression.codec", "lz4"},
    {"message.max.bytes", "4194304"}, /* the broker's limit decides, not the client's */
    /* agent.memory is what bounds the queue: */
    {"queue.buffering.max.messages", "1000000"},
    {"queue.buffering.max.kbytes", "1048576"},
    {"reconnect.backoff.max.ms", "2000"}, /* an outage ends soon after its end */
    {"topic.metadata.refresh.interval.ms", "30000"},
    {"socket.keepalive.enable", "true"},
};

#define TRANSACTION_TIMEOUT "60000" /* ms */

static int conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct error *error)
{
    char text[300];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return 0;
    return error_set(error, "kafka.properties: %s: %s", name, text);
}

/* What a transaction did not deliver in its time is sent again in the next one: message.timeout.ms may not be longer. A commit
 * tells of all that was delivered; only failures are reported one by one. */
static int conf_transactional(rd_kafka_conf_t *conf, const struct config *config,
                              struct error *error)
{
    char id[128];
    snprintf(id, sizeof(id), "splashdam-%s", config->agent.id);
    return conf_set(conf, "message.timeout.ms", TRANSACTION_TIMEOUT, error) == -1 ||
                   conf_set(conf, "transaction.timeout.ms", TRANSACTION_TIMEOUT, error) == -1 ||
                   conf_set(conf, "transactional.id", id, error) == -1 ||
                   conf_set(conf, "delivery.report.only.error", "true", error) == -1
               ? -1
               : 0;
}

/* Of two properties that have to fit each other, one may be set alone. */
static int conf_fit_timeouts(rd_kafka_conf_t *conf, const struct config *config, struct error *error)
{
    const char *longest = NULL;
    for (size_t i = 0; i < config->kafka.properties.n; i++) {
        const struct option_pair *pair = &config->kafka.properties.items[i];
        if (strcmp(pair->key, "message.timeout.ms") == 0 ||
            strcmp(pair->key, "delivery.timeout.ms") == 0)
            return 0;
        if (strcmp(pair->key, "transaction.timeout.ms") == 0)
            longest = pair->value;
    }
    return longest == NULL ? 0 : conf_set(conf, "message.timeout.ms", longest, error);
}

/* brokers NULL: none. */
static int conf_fill(rd_kafka_conf_t *conf, const struct config *config, const char *brokers,
                     bool alone, struct error *error)
{
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
        if (conf_set(conf, defaults[i].name, defaults[i].value, error) == -1)
            return -1;
    if (config->kafka.delivery == DELIVERY_EXACTLY_ONCE &&
        conf_transactional(conf, config, error) == -1)
        return -1;
    if (conf_set(conf, "client.id", config->agent.id, error) == -1)
        return -1;
    for (size_t i = 0; i < config->kafka.properties.n; i++) {
        const struct option_pair *pair = &config->kafka.properties.items[i];
        if (conf_set(conf, pair->key, pair->value, error) == -1)
            return -1;
    }
    if (config->kafka.delivery == DELIVERY_EXACTLY_ONCE &&
        conf_fit_timeouts(conf, config, error) == -1)
        return -1;
    if (alone && conf_set(conf, "batch.num.messages", "1", error) == -1)
        return -1;
    if (conf_set(conf, "log.queue", "true", error) == -1)
        return -1;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    return brokers == NULL ? 0 : conf_set(conf, "bootstrap.servers", brokers, error);
}

int producer_check_property(const char *name, const char *value, struct error *error)
{
    static const char *const own[][2] = {
        {"bootstrap.servers", "it is kafka.brokers"},
        {"metadata.broker.list", "it is kafka.brokers"},
        {"log.queue", "the agent sets it"},
        {"delivery.report.only.error", "the agent needs every delivery report"},
        {"plugin.library.paths", "splashdam loads no code for librdkafka"},
        {"test.mock.num.brokers", "kafka.brokers: embedded is for trying it out"},
        {"transactional.id", "it is kafka.delivery that asks for transactions"},
    };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(name, own[i][0]) == 0)
            return error_set(error, "%s cannot be set here: %s", name, own[i][1]);
    bool acks = strcmp(name, "acks") == 0 || strcmp(name, "request.required.acks") == 0;
    if (acks && strcmp(value, "all") != 0 && strcmp(value, "-1") != 0)
        return error_set(error, "%s must be all: with less, acknowledged lines can be lost", name);
    if (strcmp(name, "enable.idempotence") == 0 && strcmp(value, "true") != 0)
        return error_set(error, "%s must be true: without it, retries double and reorder lines",
                         name);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[300] = "";
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, text, sizeof(text));
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return error_set(error, "unknown property %s; librdkafka's CONFIGURATION.md lists them",
                         name);
    /* librdkafka's text may quote the value, which may be a secret. */
    if (result != RD_KAFKA_CONF_OK)
        return error_set(error, "librdkafka does not accept this value for %s", name);
    return 0;
}

int producer_check(const struct config *config, struct error *error)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk = NULL;
    if (conf_fill(conf, config, NULL, false, error) == 0) {
        /* Without brokers there is no more to say than the error. */
        rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
        rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        if (rk == NULL)
            error_set(error, "kafka.properties: librdkafka refuses them: %s", text);
    }
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    rd_kafka_destroy(rk);
    return 0;
}

/* ---- the way into the loop ---- */

static void take_log(rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level; /* syslog(3)'s */
    if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
        return;
    /* Errors come as events of their own, in better words. */
    int ours = level <= 4 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
    static struct log_limit limit; /* the main thread's */
    unsigned times = 1;
    if (ours == LOG_LEVEL_DEBUG || log_allowed(&limit, &times))
        log_text(ours, "librdkafka", "%s text=%s times=%u", facility, log_quote(text), times);
}

static void take_event(struct client *client, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        while ((message = rd_kafka_event_message_next(event)) != NULL)
            if (client->transactional)
                transactions_reported(client, message);
            else
                producer_reported(client, message);
        producer_spent(client, event);
        return;
    case RD_KAFKA_EVENT_ERROR:
        producer_failed(client, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
        break;
    case RD_KAFKA_EVENT_LOG: take_log(event); break;
    case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT: producer_limits_answered(client, event); break;
    default: break;
    }
    rd_kafka_event_destroy(event);
}

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    struct client *client = (struct client *)watcher->data;
    uint64_t count;
    rd_kafka_event_t *event;
    /* EAGAIN: nothing was written; then the queue is looked at once for nothing. */
    if (read(client->wake, &count, sizeof(count)) == -1 && errno != EAGAIN && errno != EINTR)
        log_error("kafka", "eventfd: %s", strerror(errno));
    while ((event = rd_kafka_queue_poll(client->queue, 0)) != NULL)
        take_event(client, event);
    producer_polled(client);
}

struct client *client_new(struct producer *producer, const struct config *config,
                          const char *brokers, bool alone, struct ev_loop *loop, struct error *error)
{
    static const uint64_t one = 1;
    char text[512];
    struct client *client = (struct client *)calloc(1, sizeof(*client));
    if (client == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    client->producer = producer;
    client->alone = alone;
    client->transactional = config->kafka.delivery == DELIVERY_EXACTLY_ONCE;
    client->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (client->wake == -1) {
        error_set(error, "eventfd: %s", strerror(errno));
        free(client);
        return NULL;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (conf_fill(conf, config, brokers, alone, error) == 0) {
        client->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        if (client->rk == NULL)
            error_set(error, "cannot make a Kafka producer: %s", text);
    }
    if (client->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        close(client->wake);
        free(client);
        return NULL;
    }
    client->queue = rd_kafka_queue_get_main(client->rk);
    rd_kafka_set_log_queue(client->rk, client->queue);
    rd_kafka_queue_io_event_enable(client->queue, client->wake, &one, sizeof(one));
    ev_io_init(&client->watcher, on_readable, client->wake, EV_READ);
    client->watcher.data = client;
    ev_io_start(loop, &client->watcher);
    /* librdkafka writes only when something comes into an empty queue. What came before it was told to (a refused
     * connection, say) would keep it from ever writing: so the queue is looked at once without being asked. */
    ev_feed_event(loop, &client->watcher, EV_READ);
    return client;
}

void client_free(struct client **client_ptr, struct ev_loop *loop)
{
    struct client *client = *client_ptr;
    if (client == NULL)
        return;
    ev_io_stop(loop, &client->watcher);
    rd_kafka_queue_io_event_enable(client->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(client->queue);
    /* Whatever is still queued is given up; its batches are the caller's matter. */
    rd_kafka_purge(client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_destroy(client->rk);
    close(client->wake);
    free(client);
    *client_ptr = NULL;
}

rd_kafka_topic_t *client_topic(struct client *client, const char *name, const char *partitioner,
                               struct error *error)
{
    char text[300];
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(client->rk);
    if (partitioner != NULL && rd_kafka_topic_conf_set(conf, "partitioner", partitioner, text,
                                                       sizeof(text)) != RD_KAFKA_CONF_OK) {
        error_set(error, "partitioner: %s", text);
        rd_kafka_topic_conf_destroy(conf);
        return NULL;
    }
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client->rk, name, conf);
    if (topic == NULL) {
        rd_kafka_resp_err_t code = rd_kafka_last_error(); /* conf is ours again */
        error_set(error, "topic %s: %s", name, rd_kafka_err2str(code));
        rd_kafka_topic_conf_destroy(conf);
    }
    return topic;
}
