/* Another client in the place of the one that workers send to: after a fatal error, and when the configuration of it changed. All
 * of it runs in the main thread. */
#include "agent/kafka_embedded.h"
#include "agent/producer_inner.h"

#include <stdlib.h>

#define PATIENCE_LOOK_S 0.1
#define PATIENCE_LOOKS  100 /* without a single outcome */

/* ---- making ---- */

static char *join(const struct option_list *list)
{
    size_t len = 1;
    for (size_t i = 0; i < list->n; i++)
        len += strlen(list->items[i]) + 1;
    char *text = (char *)malloc(len);
    char *at = text;
    for (size_t i = 0; text != NULL && i < list->n; i++) {
        if (i > 0)
            *at++ = ',';
        size_t item = strlen(list->items[i]);
        memcpy(at, list->items[i], item);
        at += item;
    }
    if (text != NULL)
        *at = '\0';
    return text;
}

int producer_set_brokers(struct producer *producer, const struct config *config, struct error *error)
{
    error_set(error, "out of memory");
    if (config->kafka.embedded && producer->embedded == NULL &&
        (producer->embedded = kafka_embedded_new(error)) == NULL)
        return -1;
    char *brokers = config->kafka.embedded ? strdup(kafka_embedded_bootstrap(producer->embedded))
                                           : join(&config->kafka.brokers);
    if (brokers == NULL)
        return -1;
    free(producer->brokers);
    producer->brokers = brokers;
    return 0;
}

void producer_drop_client(struct producer *producer)
{
    pthread_rwlock_wrlock(&producer->lock);
    struct client *client = producer->client;
    producer->open = false;
    producer->client = NULL;
    for (struct topic *topic = producer->topics; topic != NULL; topic = topic->next) {
        if (topic->handle != NULL)
            rd_kafka_topic_destroy(topic->handle);
        topic->handle = NULL;
    }
    pthread_rwlock_unlock(&producer->lock);
    client_free(&client, producer->loop);
}

int producer_renew(struct producer *producer, struct error *error)
{
    struct client *client =
        client_new(producer, producer->config, producer->brokers, false, producer->loop, error);
    if (client == NULL)
        return -1;
    int result = 0;
    pthread_rwlock_wrlock(&producer->lock);
    producer->client = client;
    for (struct topic *topic = producer->topics; result == 0 && topic != NULL; topic = topic->next)
        result = producer_topic_bind(producer, topic, error);
    producer->open = result == 0;
    pthread_rwlock_unlock(&producer->lock);
    if (result == 0)
        producer_limits_ask_again(producer);
    return result;
}

/* ---- fatal errors ---- */

/* Messages without an outcome, and reports that nobody has looked at or freed. */
static int left_in(struct client *client)
{
    if (client == NULL)
        return 0;
    return rd_kafka_outq_len(client->rk) +
           (int)atomic_load_explicit(&client->n_spent, memory_order_acquire);
}

/* It is purged, and freed when everything of it is reported. */
static void retire(struct producer *producer, struct client *client)
{
    client->dying = true;
    pthread_rwlock_wrlock(&producer->lock);
    if (client == producer->client) {
        producer->renewing = false; /* that is done by this */
        ev_timer_stop(producer->loop, &producer->patience);
        producer->open = false;
        producer->client = NULL;
        for (struct topic *topic = producer->topics; topic != NULL; topic = topic->next) {
            rd_kafka_topic_destroy(topic->handle);
            topic->handle = NULL;
        }
    } else if (client == producer->alone) {
        producer->alone = NULL;
    }
    pthread_rwlock_unlock(&producer->lock);
    client->next = producer->dying;
    producer->dying = client;
    rd_kafka_purge(client->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                   RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void producer_failed(struct client *client, rd_kafka_resp_err_t code, const char *text)
{
    struct producer *producer = client->producer;
    char fatal[512];
    unsigned times;
    if (client->dying)
        return;
    rd_kafka_resp_err_t cause = rd_kafka_fatal_error(client->rk, fatal, sizeof(fatal));
    if (cause != RD_KAFKA_RESP_ERR_NO_ERROR && client->transactional) {
        transactions_wake(producer->transactions); /* it asks for another client, or ends */
    } else if (cause != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_error("kafka",
                  "the producer failed: %s: %s; a new one is made and sends what was not "
                  "acknowledged again",
                  rd_kafka_err2name(cause), log_quote(fatal));
        retire(producer, client);
    } else if (producer_complain(producer, code, &times)) {
        log_warn("kafka", "%s: %s times=%u", rd_kafka_err2str(code), log_quote(text), times);
    }
}

/* Frees dying clients that have reported everything; when none is left, goes on with a new one. */
static void bury(struct producer *producer)
{
    struct error error;
    struct client **at = &producer->dying;
    while (*at != NULL) {
        struct client *client = *at;
        if (left_in(client) > 0) {
            at = &client->next;
            continue;
        }
        *at = client->next;
        client_free(&client, producer->loop);
    }
    if (producer->dying != NULL || producer->client != NULL)
        return;
    if (producer_renew(producer, &error) == -1) {
        log_error("kafka", "%s", error.text);
        exit(1); /* without a client nothing can be delivered; a restart loses nothing */
    }
    log_info("kafka", "a new producer goes on");
    producer_send_retries(producer);
    producer->room(producer->room_arg);
}

/* ---- another configuration ---- */

static void replace_clients(struct producer *producer)
{
    if (producer->alone != NULL)
        retire(producer, producer->alone);
    if (producer->client != NULL)
        retire(producer, producer->client);
}

/* Kafka may be away, or a topic stuck: then what the old client has is sent by the new one. */
static void on_patience(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct producer *producer = (struct producer *)timer->data;
    int left = left_in(producer->client) + left_in(producer->alone);
    if (left < producer->left) {
        producer->left = left;
        producer->looks = 0;
    } else if (++producer->looks >= PATIENCE_LOOKS) {
        log_warn("kafka",
                 "nothing was acknowledged for %d s: the new producer sends again what the old one "
                 "had, and lines that were under way may come twice left=%d",
                 (int)(PATIENCE_LOOKS * PATIENCE_LOOK_S), left);
        replace_clients(producer);
    }
    producer_renew_when_due(producer);
}

void producer_renew_init(struct producer *producer)
{
    ev_timer_init(&producer->patience, on_patience, PATIENCE_LOOK_S, PATIENCE_LOOK_S);
    producer->patience.data = producer;
}

void producer_renew_when_due(struct producer *producer)
{
    if (producer->renewing && left_in(producer->client) + left_in(producer->alone) == 0)
        replace_clients(producer);
    if (producer->dying != NULL)
        bury(producer);
}

int producer_reconfigure(struct producer *producer, const struct config *config, struct error *error)
{
    bool same = config_kafka_equal(producer->config, config);
    if (!same && producer_set_brokers(producer, config, error) == -1)
        return -1;
    producer->config = config;
    if (producer->transactions != NULL) {
        transactions_configure(producer->transactions, config, !same);
        return 0;
    }
    if (same || producer->client == NULL)
        return 0; /* NULL: one is about to be made */
    log_info("kafka", "the configuration changed: a new producer is made when the old one has "
                      "delivered what it has");
    pthread_rwlock_wrlock(&producer->lock);
    producer->open = false;
    pthread_rwlock_unlock(&producer->lock);
    producer->renewing = true;
    producer->looks = 0;
    producer->left = left_in(producer->client) + left_in(producer->alone);
    ev_timer_again(producer->loop, &producer->patience);
    producer_renew_when_due(producer);
    return 0;
}
