/* Exactly-once: reads the topic of positions to its end.
 *
 * read_committed ends where the first transaction is still open, and other agents' may be: it is read on until it has passed the end
 * that the partition had when the reading began. Nobody's group is joined. */
#include "agent/clock.h"
#include "agent/positions_text.h"
#include "agent/producer_transaction.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>

#define POLL_MS    200
#define ASK_MS     5000
#define SILENCE_NS (30 * NS_PER_S) /* without anything from Kafka; then all of it once more */
#define PARTITIONS 1000

struct kafka_entry {
    char *key;
    struct position *position;
};

struct reading {
    struct transactions *t;
    struct kafka_positions *found;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int n, n_left;
    bool *ended;
};

/* ---- what was found ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct kafka_entry *)a)->key, ((const struct kafka_entry *)b)->key);
}

static void entry_free(void *node)
{
    struct kafka_entry *entry = (struct kafka_entry *)node;
    free(entry->key);
    position_free(entry->position);
    free(entry);
}

void kafka_positions_free(struct kafka_positions *found)
{
    tdestroy(found->entries, entry_free);
    *found = (struct kafka_positions){.entries = NULL};
}

struct adopting {
    struct positions *positions;
    size_t n;
    int result;
};

static void adopt(const void *node, VISIT which, void *arg)
{
    struct adopting *adopting = (struct adopting *)arg;
    const struct kafka_entry *entry = *(const struct kafka_entry *const *)node;
    if (which != postorder && which != leaf)
        return;
    adopting->n++;
    if (positions_adopt(adopting->positions, entry->position) == -1)
        adopting->result = -1;
}

int kafka_positions_adopt(struct transactions *t, const struct kafka_positions *found)
{
    struct adopting adopting = {.positions = t->positions};
    twalk_r(found->entries, adopt, &adopting);
    log_info("kafka", "positions were read from Kafka topic=%s positions=%zu", t->topic_name,
             adopting.n);
    return adopting.result;
}

static void forget(struct kafka_positions *found, char *key)
{
    struct kafka_entry wanted = {.key = key};
    void *node = tfind(&wanted, &found->entries, compare);
    if (node == NULL)
        return;
    struct kafka_entry *entry = *(struct kafka_entry **)node;
    tdelete(entry, &found->entries, compare);
    entry_free(entry);
}

/* Takes the key and the position. -1: no memory. */
static int keep(struct kafka_positions *found, char *key, struct position *position)
{
    struct kafka_entry *entry = (struct kafka_entry *)malloc(sizeof(*entry));
    forget(found, key);
    if (entry == NULL) {
        position_free(position);
        free(key);
        return -1;
    }
    *entry = (struct kafka_entry){.key = key, .position = position};
    if (tsearch(entry, &found->entries, compare) != NULL)
        return 0;
    entry_free(entry);
    return -1;
}

/* ---- messages ---- */

static int take_position(struct reading *reading, char *key, struct slice value)
{
    struct position_list list;
    struct error error;
    if (positions_parse(value, &list, &error) == -1 || list.n != 1) {
        log_error("kafka", "a position in Kafka is not readable: %s topic=%s key=%s", error.text,
                  reading->t->topic_name, log_quote(key));
        free(key);
        return 0;
    }
    struct position *position = list.items[0];
    list.n = 0;
    position_list_free(&list);
    return keep(reading->found, key, position);
}

/* -1: no memory. */
static int take_message(struct reading *reading, const rd_kafka_message_t *message)
{
    const char *agent = reading->t->agent;
    const size_t len = strlen(agent);
    if (message->key_len < len || memcmp(message->key, agent, len) != 0)
        return 0;
    const struct slice value = slice_of((const char *)message->payload, message->len);
    if (message->key_len == len) {
        snprintf(reading->found->transaction, TRANSACTION_NAME_MAX, "%.*s", (int)value.len,
                 value.ptr == NULL ? "" : value.ptr);
        return 0;
    }
    if (((const char *)message->key)[len] != '|')
        return 0; /* another agent's */
    char *key = strndup((const char *)message->key, message->key_len);
    if (key == NULL)
        return -1;
    if (value.ptr != NULL)
        return take_position(reading, key, value);
    forget(reading->found, key);
    free(key);
    return 0;
}

/* The end that a read_committed reader sees; is it the end of all? */
static void take_end(struct reading *reading, const rd_kafka_message_t *message)
{
    int64_t low, high;
    if (reading->ended[message->partition] ||
        rd_kafka_get_watermark_offsets(reading->rk, reading->t->topic_name, message->partition,
                                       &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        message->offset < high)
        return;
    reading->ended[message->partition] = true;
    reading->n_left--;
}

static enum step complain(struct transactions *t, const char *text)
{
    unsigned times;
    if (log_allowed(&t->waits, &times))
        log_warn("kafka",
                 "waiting for Kafka: the positions can't be read, and nothing is sent before "
                 "that: %s topic=%s times=%u",
                 log_quote(text), t->topic_name, times);
    return STEP_AGAIN;
}

static enum step read_all(struct reading *reading)
{
    int64_t heard = clock_monotonic();
    while (reading->n_left > 0) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(reading->queue, POLL_MS);
        if (transactions_pause(reading->t, 0) == STEP_STOP) {
            if (message != NULL)
                rd_kafka_message_destroy(message);
            return STEP_STOP;
        }
        if (message == NULL && clock_monotonic() - heard > SILENCE_NS)
            return complain(reading->t, "Kafka is silent, or another agent's transaction is open");
        if (message == NULL)
            continue;
        heard = clock_monotonic();
        int result = 0;
        rd_kafka_resp_err_t code = message->err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            result = take_message(reading, message);
        else if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            take_end(reading, message);
        rd_kafka_message_destroy(message);
        if (result == -1)
            return complain(reading->t, "out of memory");
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            return complain(reading->t, rd_kafka_err2str(code));
    }
    return STEP_DONE;
}

/* ---- beginning and end ---- */

static int count_partitions(struct reading *reading, const char **ret_why)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(reading->rk, 0, reading->topic, &metadata, ASK_MS);
    int n = 0;
    *ret_why = rd_kafka_err2str(code);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    if (metadata->topic_cnt == 1) {
        *ret_why = rd_kafka_err2str(metadata->topics[0].err);
        if (metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            n = metadata->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    return n;
}

static enum step begin(struct reading *reading)
{
    const char *why;
    reading->n = reading->n_left = count_partitions(reading, &why);
    if (reading->n <= 0 || reading->n > PARTITIONS)
        return complain(reading->t, why);
    reading->ended = (bool *)calloc((size_t)reading->n, sizeof(bool));
    if (reading->ended == NULL)
        return complain(reading->t, "out of memory");
    for (int i = 0; i < reading->n; i++)
        if (rd_kafka_consume_start_queue(reading->topic, i, RD_KAFKA_OFFSET_BEGINNING,
                                         reading->queue) == -1)
            return complain(reading->t, rd_kafka_err2str(rd_kafka_last_error()));
    return STEP_DONE;
}

static void take_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    log_text(level <= 3 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "librdkafka", "%s text=%s", facility,
             log_quote(text));
}

/* As the producer is configured, TLS and names included. */
static rd_kafka_t *consumer_new(struct transactions *t)
{
    static const char *const own[][2] = {
        {"isolation.level", "read_committed"},
        {"enable.partition.eof", "true"},
        {"log.queue", "false"},
        {"allow.auto.create.topics", "false"},
        {"check.crcs", "true"},
        {"fetch.wait.max.ms", "100"},
    };
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(rd_kafka_conf(t->rk));
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        rd_kafka_conf_set(conf, own[i][0], own[i][1], NULL, 0);
    rd_kafka_conf_set_events(conf, 0);
    rd_kafka_conf_set_log_cb(conf, take_log);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        complain(t, text);
    }
    return rk;
}

enum step producer_positions_read(struct transactions *t, struct kafka_positions *ret_found)
{
    struct reading reading = {.t = t, .found = ret_found};
    *ret_found = (struct kafka_positions){.entries = NULL};
    reading.rk = consumer_new(t);
    if (reading.rk == NULL)
        return STEP_AGAIN;
    reading.topic = rd_kafka_topic_new(reading.rk, t->topic_name, NULL);
    reading.queue = rd_kafka_queue_new(reading.rk);
    enum step step = begin(&reading);
    if (step == STEP_DONE)
        step = read_all(&reading);
    for (int i = 0; reading.ended != NULL && i < reading.n; i++)
        rd_kafka_consume_stop(reading.topic, i);
    rd_kafka_queue_destroy(reading.queue);
    rd_kafka_topic_destroy(reading.topic);
    rd_kafka_destroy(reading.rk);
    free(reading.ended);
    return step;
}
