/* Exactly-once: the topic of positions, and a batch's messages for it.
 *
 * Key `AGENT|STREAM|DEV-INO-BIRTH`, a file generation as the file system names it; value the text of a positions file with
 * one entry (positions_text.h), or none: the generation is gone and finished. They are sent behind the batch's records in the same
 * transaction. Key `AGENT`: the name of the agent's last transaction, by which it finds out whether that was committed when the answer was
 * lost. */
#include "agent/kafka_embedded.h"
#include "agent/positions_text.h"
#include "agent/producer_transaction.h"
#include "agent/source.h"
#include "agent/spool.h"

#include <inttypes.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_ROOM      256
#define MAKE_TIMEOUT  10000 /* ms */
#define POLL_MS       200
#define MAKE_REPLICAS -1 /* the broker's default */

/* ---- a batch's positions ---- */

static int add(struct transactions *t, struct batch_private *batch, const char *stream,
               const struct identity *id, struct slice text)
{
    char key[KEY_ROOM];
    int len = snprintf(key, sizeof(key), "%s|%s|%ju-%ju-%" PRId64, t->agent, stream,
                       (uintmax_t)id->dev, (uintmax_t)id->ino, id->birth);
    const struct slice kept = arena_copy(&batch->out, slice_of(key, (size_t)len));
    struct slice value = {NULL, 0};
    if (text.ptr != NULL)
        value = arena_copy(&batch->out, text);
    if (kept.ptr == NULL || (text.ptr != NULL && value.ptr == NULL))
        return -1;
    batch->positions[batch->n_positions++] = (struct message){.payload = value.ptr,
                                                              .payload_len = (uint32_t)value.len,
                                                              .key = kept.ptr,
                                                              .key_len = (uint32_t)kept.len};
    return 0;
}

static int add_range(struct transactions *t, struct batch_private *batch, const struct range *range)
{
    const struct position *position = range->source->position;
    if (position == NULL)
        return 0;
    struct position then = *position, *one = &then;
    then.generation = range->generation;
    then.mark = range->mark;
    const struct position_list list = {.items = &one, .n = 1};
    size_t len;
    char *text = positions_format(&list, &len);
    if (text == NULL)
        return -1;
    int result = add(t, batch, position->stream, &position->id, slice_of(text, len));
    free(text);
    return result;
}

static int add_all(struct transactions *t, struct batch_private *batch,
                   const struct position_news *news)
{
    size_t n = 1;
    for (const struct position_news *one = news; one != NULL; one = one->next)
        n++;
    for (const struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        n++;
    batch->n_positions = 0;
    batch->positions = (struct message *)arena_alloc(&batch->out, n * sizeof(struct message));
    if (batch->positions == NULL)
        return -1;
    for (const struct position_news *one = news; one != NULL; one = one->next)
        if (add(t, batch, one->stream, &one->id, slice_of(one->text, one->len)) == -1)
            return -1;
    for (const struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        if (add_range(t, batch, range) == -1)
            return -1;
    for (const struct range *range = batch->ranges; range != NULL; range = range->batch_next)
        if (range->source->position != NULL &&
            range->generation == range->source->position->generation)
            range->source->position->sent = range->mark;
    return 0;
}

static int add_spooled(struct transactions *t, struct batch_private *batch,
                       const struct spool_position *range, int worker)
{
    struct position then = {.stream = strndup(range->stream.ptr, range->stream.len),
                            .path = strndup(range->path.ptr, range->path.len),
                            .id = range->id,
                            .generation = range->generation,
                            .mark = range->mark};
    struct position *one = &then;
    const struct position_list list = {.items = &one, .n = 1};
    char *text = NULL;
    size_t len;
    int result = -1;
    if (then.stream != NULL && then.path != NULL) {
        then.sequence =
            positions_sequence(t->positions, then.stream, &then.id, worker, &then.copied);
        text = positions_format(&list, &len);
    }
    if (text != NULL)
        result = add(t, batch, then.stream, &then.id, slice_of(text, len));
    free(text);
    free(then.stream);
    free(then.path);
    return result;
}

int producer_add_spooled(struct producer *producer, struct batch_private *batch,
                         struct spool_frame *frame, int worker)
{
    struct transactions *t = producer->transactions;
    struct spool_position range;
    if (t == NULL)
        return 0;
    batch->n_positions = 0;
    batch->positions = (struct message *)arena_alloc(&batch->out, (frame->n_positions + 1) *
                                                                      sizeof(struct message));
    int result = batch->positions == NULL ? -1 : 0;
    while (result == 0 && spool_frame_position(frame, &range))
        result = add_spooled(t, batch, &range, worker);
    return result;
}

int producer_add_positions(struct producer *producer, struct batch_private *batch, int worker)
{
    struct transactions *t = producer->transactions;
    if (t == NULL)
        return 0;
    struct position_news *news =
        positions_take_news(t->positions, batch->stream->config->name, worker);
    int result = add_all(t, batch, news);
    if (result == -1) {
        batch->positions = NULL;
        batch->n_positions = 0;
        positions_return_news(t->positions, news);
    } else {
        position_news_free(news);
    }
    return result;
}

/* ---- the topic ---- */

static rd_kafka_resp_err_t made(const rd_kafka_CreateTopics_result_t *result, const char **ret_text)
{
    size_t n;
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &n);
    if (n == 0)
        return RD_KAFKA_RESP_ERR__FAIL;
    *ret_text = rd_kafka_topic_result_error_string(topics[0]);
    return rd_kafka_topic_result_error(topics[0]);
}

static rd_kafka_event_t *answer(struct transactions *t, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = NULL;
    for (int ms = 0; event == NULL && ms < 2 * MAKE_TIMEOUT; ms += POLL_MS) {
        event = rd_kafka_queue_poll(queue, POLL_MS);
        if (event == NULL && transactions_pause(t, 0) == STEP_STOP)
            break;
    }
    return event;
}

/* Has the agent no right to make it, an operator has. */
static enum step take_answer(struct transactions *t, rd_kafka_event_t *event)
{
    const char *text = "no answer";
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    unsigned times;
    if (event != NULL) {
        code = rd_kafka_event_error(event);
        text = rd_kafka_event_error_string(event);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = made(rd_kafka_event_CreateTopics_result(event), &text);
    }
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        log_info("kafka", "the topic of positions is made topic=%s", t->topic_name);
        return STEP_DONE;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return STEP_DONE;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
        log_info("kafka",
                 "the topic of positions can't be made by the agent, so it must be there: "
                 "%s topic=%s",
                 log_quote(text == NULL ? rd_kafka_err2str(code) : text), t->topic_name);
        return STEP_DONE;
    default:
        if (log_allowed(&t->waits, &times))
            log_warn("kafka", "the topic of positions can't be made yet: %s topic=%s times=%u",
                     log_quote(text == NULL ? rd_kafka_err2str(code) : text), t->topic_name, times);
        return STEP_AGAIN;
    }
}

enum step producer_positions_make(struct transactions *t)
{
    char text[256];
    if (t->producer->embedded !=
        NULL) { /* when it is there already, that is an error which says nothing */
        rd_kafka_mock_topic_create(kafka_embedded_cluster(t->producer->embedded), t->topic_name, 1,
                                   1);
        return STEP_DONE;
    }
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(t->topic_name, 1, MAKE_REPLICAS, text, sizeof(text));
    if (topic == NULL)
        return STEP_AGAIN;
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
    rd_kafka_queue_t *queue = rd_kafka_queue_new(t->rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(t->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, MAKE_TIMEOUT, NULL, 0);
    rd_kafka_CreateTopics(t->rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = answer(t, queue);
    enum step step = take_answer(t, event);
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    return step;
}
