#include "agent/ship.h"

#include "agent/clock.h"
#include "agent/encode.h"
#include "agent/headers.h"
#include "agent/log.h"
#include "agent/proof.h"
#include "agent/template.h"

/* 0: found; 1: not a valid name; -1: no memory. `last`: the record before often has the same. */
static int find_topic(struct producer *producer, struct batch_private *batch, struct record *record,
                      struct slice *last_name, struct topic **last)
{
    const struct config_ship *config = &batch->stream->config->ship;
    struct slice name;
    if (template_render(config->topic, &batch->b, record, &name) == -1)
        return -1;
    if (*last == NULL || !slice_equal(name, *last_name)) {
        *last = producer_topic(producer, name, config->partitioner);
        *last_name = name;
    }
    record->topic = *last;
    return *last == NULL ? 1 : 0;
}

static int choose_topics(struct producer *producer, struct batch_private *batch,
                         uint64_t *ret_discarded)
{
    struct slice last_name = {NULL, 0};
    struct topic *last = NULL;
    for (uint32_t i = 0; i < batch->b.n_records; i++) {
        struct record *record = &batch->b.records[i];
        record->topic = batch->stream->topic;
        if (record->topic != NULL || !record_is_left(record))
            continue;
        int result = find_topic(producer, batch, record, &last_name, &last);
        if (result == -1)
            return -1;
        if (result == 1) {
            record->flags |= RECORD_DISCARDED;
            ++*ret_discarded;
        }
    }
    return 0;
}

static int make_keys(struct batch_private *batch)
{
    const struct template *template = batch->stream->config->ship.key;
    if (template == NULL)
        return 0;
    for (uint32_t i = 0; i < batch->b.n_records; i++) {
        struct record *record = &batch->b.records[i];
        struct slice key;
        if (!record_is_left(record))
            continue;
        if (template_render(template, &batch->b, record, &key) == -1)
            return -1;
        if (key.len > 0) /* no field of it is there: no key */
            record->key = arena_copy(&batch->out, key);
    }
    return batch->out.overflowed ? -1 : 0;
}

/* ---- headers ---- */

/* The configured headers' values, ptr NULL where a field is missing; adds up the room that they take. -1: no memory. */
static int render_headers(struct batch_private *batch, const struct record *record,
                          struct slice *values, size_t *room)
{
    const struct option_templates *headers = &batch->stream->config->ship.headers;
    for (size_t i = 0; i < headers->n; i++) {
        int missing = template_render(headers->items[i].template, &batch->b, record, &values[i]);
        if (missing == -1)
            return -1;
        if (missing > 0)
            values[i] = (struct slice){NULL, 0};
        else if (values[i].len == 0)
            values[i] = SLICE("");
        *room += headers_room(slice_str(headers->items[i].key), values[i]);
    }
    return 0;
}

/* `proof` NULL: none. */
static int make_headers(struct batch_private *batch, const struct record *record,
                        const struct proof *proof)
{
    const struct option_templates *headers = &batch->stream->config->ship.headers;
    char value[PROOF_MOST];
    size_t room = headers_room(SLICE(PROOF_HEADER), slice_of(value, sizeof(value)));
    struct slice *values = NULL;
    if (headers->n > 0) {
        values = (struct slice *)arena_alloc(&batch->b.arena, headers->n * sizeof(*values));
        if (values == NULL || render_headers(batch, record, values, &room) == -1)
            return -1;
    }
    char *to = arena_reserve(&batch->out, room);
    if (to == NULL)
        return -1;
    char *end = to;
    if (proof != NULL)
        end = headers_put(end, SLICE(PROOF_HEADER), slice_of(value, proof_encode(value, proof)));
    for (size_t i = 0; i < headers->n; i++)
        if (values[i].ptr != NULL)
            end = headers_put(end, slice_str(headers->items[i].key), values[i]);
    batch->extras[record - batch->b.records].headers = arena_commit(&batch->out, end);
    return 0;
}

/* In a stream without headers only records with times of their own need it. */
static bool needs_extras(const struct batch_private *batch)
{
    const struct config_ship *config = &batch->stream->config->ship;
    return config->proof || config->headers.n > 0 || batch->timed;
}

/* One for each record, those that are not left included. */
static int make_extras(struct batch_private *batch)
{
    const struct config_ship *config = &batch->stream->config->ship;
    const uint32_t n = batch->b.n_records;
    for (uint32_t i = 0; config->timestamp == TIMESTAMP_RECORD && i < n && !batch->timed; i++)
        batch->timed = batch->b.records[i].time != batch->time;
    if (!config->proof)
        proof_skip(batch);
    if (!needs_extras(batch))
        return 0;
    batch->extras =
        (struct message_extra *)arena_alloc(&batch->out, n * sizeof(struct message_extra));
    if (batch->extras == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        batch->extras[i] = (struct message_extra){
            .batch = batch,
            .time = (batch->timed ? batch->b.records[i].time : batch->time) / NS_PER_MS};
    if (config->proof)
        return proof_batch(batch, make_headers);
    for (uint32_t i = 0; config->headers.n > 0 && i < n; i++)
        if (record_is_left(&batch->b.records[i]) &&
            make_headers(batch, &batch->b.records[i], NULL) == -1)
            return -1;
    return 0;
}

/* Of the records that are left, in their order. */
static int make_messages(struct batch_private *batch)
{
    const uint32_t n = batch->b.n_records;
    struct range *range = batch->ranges;
    uint32_t left = 0;
    uint16_t origin = 0; /* of the range */
    batch->messages = (struct message *)arena_alloc(&batch->out, n * sizeof(struct message));
    if (batch->messages == NULL)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        const struct record *record = &batch->b.records[i];
        if (!record_is_left(record))
            continue;
        for (; range != NULL && origin < record->origin; origin++)
            range = range->batch_next;
        if (range != NULL)
            range->n_messages++;
        if (batch->extras != NULL)
            batch->extras[left] = batch->extras[i];
        batch->messages[left++] = (struct message){.payload = record->payload.ptr,
                                                   .key = record->key.ptr,
                                                   .topic = (struct topic *)record->topic,
                                                   .payload_len = (uint32_t)record->payload.len,
                                                   .key_len = (uint32_t)record->key.len};
    }
    batch->n_messages = left;
    return 0;
}

int ship_prepare(struct producer *producer, struct batch_private *batch, uint64_t *ret_discarded,
                 uint64_t *ret_replaced)
{
    if (choose_topics(producer, batch, ret_discarded) == -1 || make_keys(batch) == -1 ||
        make_extras(batch) == -1)
        return -1;
    if (batch->stream->config->ship.encode == ENCODE_RAW)
        encode_raw(&batch->b);
    else if (encode_json(&batch->b, &batch->out, ret_replaced) == -1)
        return -1;
    return make_messages(batch);
}

bool ship_discard_last(struct batch_private *batch, uint64_t *discarded)
{
    const struct arena *scratch = &batch->b.arena;
    const struct arena *out = &batch->out;
    bool limited = scratch->overflowed || out->overflowed;
    if (batch->b.n_records != 1 || !limited || scratch->starved || out->starved)
        return false; /* it is the system that has none */
    batch->b.records[0].flags |= RECORD_DISCARDED;
    batch->b.n_dropped = 0;
    batch->n_messages = 0;
    *discarded = 1;
    if (batch->stream->config->ship.proof)
        proof_batch(batch, make_headers); /* of no record: its bytes are told as dropped */
    else
        proof_skip(batch);
    log_error("ship", "a record is discarded: it does not fit into memory stream=%s",
              batch->stream->config->name);
    return true;
}
