#include "agent/ship.h"

#include "agent/encode.h"
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

int ship_prepare(struct producer *producer, struct batch_private *batch, uint64_t *ret_discarded,
                 uint64_t *ret_replaced)
{
    if (choose_topics(producer, batch, ret_discarded) == -1 || make_keys(batch) == -1)
        return -1;
    if (batch->stream->config->ship.encode == ENCODE_JSON)
        return encode_json(&batch->b, &batch->out, ret_replaced);
    encode_raw(&batch->b);
    return 0;
}
