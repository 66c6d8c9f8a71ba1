/* A batch's way out, where it is not simply the producer: to the spool and back (route.h).
 *
 * The batches of a stream stand in a list, oldest first, until their ranges are finished and the client has nothing of them. One
 * that is in the spool alone has given its memory back; its ranges are finished when its frame is durable. */
#include "agent/clock.h"
#include "agent/source.h"
#include "agent/worker_inner.h"

#define AGAIN_SOON (50 * NS_PER_MS) /* the flusher is at it, and tells */
#define AGAIN_FULL (200 * NS_PER_MS)
#define AGAIN_DISK NS_PER_S

/* ---- the list ---- */

void worker_list_batch(struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    batch->older = stream->newest;
    batch->newer = NULL;
    if (stream->newest != NULL)
        stream->newest->newer = batch;
    else
        stream->oldest = batch;
    stream->newest = batch;
}

void worker_unlist_batch(struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    *(batch->older != NULL ? &batch->older->newer : &stream->oldest) = batch->newer;
    *(batch->newer != NULL ? &batch->newer->older : &stream->newest) = batch->older;
}

/* Since when the oldest batch that went direct has no outcome. */
static int64_t oldest_since(const struct stream *stream)
{
    for (const struct batch_private *b = stream->oldest; b != NULL; b = b->newer)
        if (b->with_client)
            return b->since;
    return INT64_MAX;
}

/* ---- to the spool ---- */

static void add_messages(struct spool_batch *to, const struct batch_private *batch)
{
    for (uint32_t i = 0; i < batch->n_messages; i++) {
        const struct message *message = &batch->messages[i];
        const struct message_extra *extra = batch->extras == NULL ? NULL : &batch->extras[i];
        const struct spool_record record = {
            .topic = producer_topic_name(message->topic),
            .key = {message->key, message->key_len},
            .payload = {message->payload, message->payload_len},
            .headers = extra == NULL ? (struct slice){NULL, 0} : extra->headers,
            .timestamp = extra == NULL ? batch->time / NS_PER_MS
                                       : __atomic_load_n(&extra->time, __ATOMIC_RELAXED),
            .partition = -1};
        spool_batch_add_record(to, &record);
    }
}

/* What stands right before the range and is finished counts as its own: there was nothing to be sent in it, or it was delivered. */
static uint64_t begin_of(const struct range *range)
{
    uint64_t begin = range->begin;
    bool finished = false;
    for (const struct range *r = range->source->first; r != NULL && r != range; r = r->next) {
        const bool counts = r->finished && r->epoch == range->epoch;
        if (counts && !finished)
            begin = r->begin;
        finished = counts;
    }
    return finished ? begin : range->begin;
}

static void add_ranges(struct spool_batch *to, const struct batch_private *batch)
{
    for (const struct range *range = batch->ranges; range != NULL; range = range->batch_next) {
        const struct source *source = range->source;
        const struct spool_position position = {.stream = slice_str(batch->stream->config->name),
                                                .path = source->origin.path,
                                                .id = source->id,
                                                .begin = begin_of(range),
                                                .generation = range->generation,
                                                .records = range->n_messages,
                                                .mark = range->mark};
        spool_batch_add_position(to, &position);
    }
}

static enum spool_append append(struct worker *worker, struct batch_private *batch)
{
    struct spool_batch *to = &worker->spool_batch;
    spool_batch_reset(to);
    add_messages(to, batch);
    add_ranges(to, batch);
    return route_append(batch->stream->route, to, batch->with_client, &batch->frame);
}

static void try_later(struct stream *stream, enum spool_append result)
{
    int64_t wait = AGAIN_DISK;
    if (result == SPOOL_WAIT)
        wait = AGAIN_SOON;
    else if (result == SPOOL_FULL || result == SPOOL_DROPPED)
        wait = AGAIN_FULL;
    stream->again_at = clock_monotonic() + wait;
}

/* It is in the spool alone. */
static void count_spooled(const struct batch_private *batch, enum stat_id stat)
{
    struct stats *stats = &batch->stream->stats;
    stats_begin(stats);
    stats_add(stats, STAT_settled, batch->n_messages);
    stats_add(stats, stat, batch->n_messages);
    stats_end(stats);
}

bool worker_spool_batch(struct worker *worker, struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    if (stream->again_at != 0)
        return false;
    enum spool_append result = append(worker, batch);
    switch (result) {
    case SPOOL_APPENDED:
        count_spooled(batch, STAT_spool_in);
        arena_reset(&batch->out);
        batch->messages = NULL;
        batch->extras = NULL;
        worker_cost(worker, batch, sizeof(*batch));
        return true;
    case SPOOL_DROPPED:
        count_spooled(batch, STAT_discarded_spool_newest);
        worker_batch_done(worker, batch);
        return true;
    default: try_later(stream, result); return false;
    }
}

/* What the client has goes to disk as well: all of it, or nothing new may, as that would be told to be behind it. */
static void save_what_is_out(struct worker *worker, struct stream *stream)
{
    enum spool_append result = SPOOL_APPENDED;
    if (stream->again_at != 0 || !route_must_save(stream->route, stream))
        return;
    for (struct batch_private *b = stream->oldest; b != NULL && result == SPOOL_APPENDED;
         b = b->newer)
        if (b->with_client && b->frame == 0)
            result = append(worker, b);
    if (result == SPOOL_APPENDED)
        route_has_saved(stream->route, stream);
    else
        try_later(stream, result);
}

/* ---- durable ---- */

static void finish_durable(struct worker *worker, struct stream *stream)
{
    const uint64_t durable = spool_durable(route_spool(stream->route));
    struct batch_private *next;
    for (struct batch_private *b = stream->oldest; b != NULL; b = next) {
        next = b->newer;
        if (b->frame == 0 || b->frame > durable)
            continue;
        if (b->with_client)
            tail_finished(b);
        else
            worker_batch_done(worker, b);
    }
}

/* ---- back from it ---- */

/* -1: there is no such topic, nor room for it. */
static int add_message(struct worker *worker, struct batch_private *batch,
                       const struct spool_record *record, struct slice *last_name,
                       struct topic **last)
{
    const struct config_ship *ship = &batch->stream->config->ship;
    if (*last == NULL || !slice_equal(*last_name, record->topic)) {
        *last = producer_topic(worker->producer, record->topic, ship->partitioner);
        *last_name = record->topic;
    }
    if (*last == NULL)
        return -1;
    const uint32_t i = batch->n_messages++;
    batch->messages[i] = (struct message){.payload = record->payload.ptr,
                                          .key = record->key.ptr,
                                          .topic = *last,
                                          .payload_len = (uint32_t)record->payload.len,
                                          .key_len = (uint32_t)record->key.len};
    batch->extras[i] = (struct message_extra){
        .batch = batch, .headers = record->headers, .time = record->timestamp};
    batch->timed |= record->timestamp != batch->extras[0].time;
    return 0;
}

/* The frame's records become the batch's messages. Returns those that can't be sent; -1: no memory. */
static int64_t take_records(struct worker *worker, struct batch_private *batch,
                            struct spool_frame *frame)
{
    struct slice last_name = {NULL, 0};
    struct topic *last = NULL;
    struct spool_record record;
    int64_t unsendable = 0;
    batch->messages =
        (struct message *)arena_alloc(&batch->out, frame->n_records * sizeof(struct message));
    batch->extras = (struct message_extra *)arena_alloc(
        &batch->out, frame->n_records * sizeof(struct message_extra));
    if (batch->messages == NULL || batch->extras == NULL)
        return -1;
    while (spool_frame_record(frame, &record))
        unsendable += add_message(worker, batch, &record, &last_name, &last) == -1;
    batch->time =
        (batch->timed || batch->n_messages == 0 ? frame->time : batch->extras[0].time) * NS_PER_MS;
    return unsendable;
}

static void count_read_back(const struct batch_private *batch, uint64_t unsendable)
{
    struct stats *stats = &batch->stream->stats;
    stats_begin(stats);
    stats_add(stats, STAT_spool_out, batch->n_messages + unsendable);
    stats_add(stats, STAT_entered, batch->n_messages);
    stats_add(stats, STAT_discarded_topic, unsendable);
    stats_end(stats);
}

/* False: no more for now. */
static bool read_back(struct worker *worker, struct stream *stream)
{
    struct spool_frame frame;
    struct batch_private *batch = batch_take(&worker->pool, stream->host);
    if (batch == NULL)
        return false;
    batch_drop_records(&worker->pool, batch);
    batch->stream = stream;
    enum spool_read result = route_next(stream->route, stream, &batch->out, &frame);
    if (result != SPOOL_READ) {
        batch_give(&worker->pool, batch);
        if (result == SPOOL_READ_FULL)
            stream->back_at = clock_monotonic() + AGAIN_DISK;
        return false;
    }
    batch->sequence = stream->next_sequence++;
    batch->read_back = batch->with_client = batch->late = true;
    batch->frame = frame.sequence;
    int64_t unsendable = take_records(worker, batch, &frame);
    if (unsendable == -1 ||
        producer_add_spooled(worker->producer, batch, &frame, worker->index) == -1) {
        route_put_back(stream->route);
        batch_give(&worker->pool, batch);
        stream->back_at = clock_monotonic() + AGAIN_DISK;
        return false;
    }
    atomic_store_explicit(&batch->unfinished, batch->n_messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&worker->outstanding, 1, memory_order_relaxed);
    worker_cost(worker, batch, worker_cost_of(batch));
    count_read_back(batch, (uint64_t)unsendable);
    return worker_send(worker, batch);
}

/* What waits for room in the spool must not keep the room from being made. */
static bool may_read_back(const struct worker *worker, struct stream *stream)
{
    return worker_has_room(worker, stream) ||
           (stream->waiting != NULL && stream->cost == stream->waiting->cost);
}

/* A stream that has to go does so as soon as it can. */
static bool reads_back(const struct worker *worker, const struct stream *stream)
{
    return stream->back_at == 0 && (stream->successor == NULL || stream->waiting != NULL) &&
           !atomic_load_explicit(&worker->stop_reading, memory_order_relaxed) &&
           route_way(stream->route) == WAY_SPOOL;
}

/* ---- a stream's turn ---- */

bool worker_look_at_spool(struct worker *worker, struct stream *stream)
{
    struct route *route = stream->route;
    const int64_t now = clock_monotonic();
    if (route == NULL)
        return false;
    if (stream->again_at <= now)
        stream->again_at = 0;
    if (stream->back_at <= now)
        stream->back_at = 0;
    if (stream->oldest != NULL)
        finish_durable(worker, stream);
    if (now >= spool_due_at(route_spool(route)))
        spool_tick(route_spool(route), now);
    route_look(route, oldest_since(stream), now);
    save_what_is_out(worker, stream);
    if (stream->returning != NULL && !worker_send(worker, stream->returning))
        return false;
    for (int i = 0; i < ROUND_BATCHES; i++)
        if (!reads_back(worker, stream) || !may_read_back(worker, stream) ||
            !read_back(worker, stream))
            return false;
    return true;
}

int64_t worker_spool_due_at(const struct stream *stream)
{
    if (stream->route == NULL)
        return INT64_MAX;
    int64_t at = route_due_at(stream->route, oldest_since(stream));
    const int64_t due = spool_due_at(route_spool(stream->route));
    at = due < at ? due : at;
    if (stream->again_at != 0 && stream->again_at < at)
        at = stream->again_at;
    if (stream->back_at != 0 && stream->back_at < at)
        at = stream->back_at;
    return at;
}
