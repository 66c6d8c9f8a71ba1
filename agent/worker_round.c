/* A batch's way: read, chain, encode, send; and back. */
#include "agent/clock.h"
#include "agent/log.h"
#include "agent/ship.h"
#include "agent/stream.h"
#include "agent/tail.h"
#include "agent/worker_inner.h"

#define RETRY_S 0.1 /* after memory ran out */
/* A stream may have SHARE times the memory that is still free; once that is used up, it goes on when
 * it has SHARE_AGAIN times of it, so that it does not wake for every batch that comes back. */
#define SHARE       8
#define SHARE_AGAIN 3

size_t worker_cost_of(const struct batch_private *batch)
{
    size_t message = BATCH_MESSAGE_COST + (batch->extras != NULL ? BATCH_HEADERS_COST : 0);
    if (batch->positions != NULL)
        message = 0; /* few of them are with the client at once */
    return sizeof(*batch) + batch->out.size + batch->n_messages * message;
}

void worker_cost(struct worker *worker, struct batch_private *batch, size_t cost)
{
    batch->stream->cost += cost - batch->cost;
    worker->cost += cost - batch->cost;
    batch->cost = cost;
}

void worker_batch_done(struct worker *worker, struct batch_private *batch)
{
    struct route *route = batch->stream->route;
    if (batch->read_back) {
        route_drained(route, batch->frame);
    } else {
        tail_finished(batch);
        worker_unlist_batch(batch);
    }
    if (route != NULL && batch->with_client && !batch->read_back)
        route_arrived(route, batch->frame);
    worker_cost(worker, batch, 0);
    batch_give(&worker->pool, batch);
    atomic_fetch_sub_explicit(&worker->outstanding, 1, memory_order_release);
}

/* Dynamic shares: a stream alone has nearly all of the memory, and one that is stuck leaves room
 * for the others. */
bool worker_has_room(const struct worker *worker, struct stream *stream)
{
    size_t left = worker->cost < worker->budget ? worker->budget - worker->cost : 0;
    size_t share = stream->waits_for_room ? SHARE_AGAIN : SHARE;
    bool room = stream->cost == 0 || stream->cost <= share * left;
    stream->waits_for_room = !room;
    return room;
}

static void count_batch(struct batch_private *batch, uint64_t discarded_topic,
                        uint64_t discarded_memory, uint64_t replaced)
{
    struct stats *stats = &batch->stream->stats;
    stats_begin(stats);
    stats_add(stats, STAT_read, batch->b.n_records);
    stats_add(stats, STAT_bytes_read, batch->n_read);
    stats_add(stats, STAT_dropped, batch->b.n_dropped);
    stats_add(stats, STAT_discarded_topic, discarded_topic);
    stats_add(stats, STAT_discarded_memory, discarded_memory);
    stats_add(stats, STAT_entered, batch->n_messages);
    stats_add(stats, STAT_parse_failed, batch->b.n_failed);
    stats_add(stats, STAT_regex_limited, batch->b.n_limited);
    stats_add(stats, STAT_cut_lines, batch->cut_lines);
    stats_add(stats, STAT_cut_bytes, batch->cut_bytes);
    stats_add(stats, STAT_invalid_utf8, replaced + batch->decoded);
    stats_add(stats, STAT_lines_joined, batch->joined);
    stats_add(stats, STAT_multiline_limited, batch->limited);
    stats_end(stats);
}

/* Chain and encoding. -1: no memory. */
static int build(struct worker *worker, struct batch_private *batch, uint64_t *ret_discarded,
                 uint64_t *ret_replaced)
{
    struct stream *stream = batch->stream;
    for (uint32_t i = 0; stream->fields && i < batch->b.n_records; i++) {
        struct record *record = &batch->b.records[i];
        if (record_add(&batch->b, record, SLICE("message"), record->line, FIELD_STRING) == -1)
            return -1;
    }
    if (chain_run(stream->chain, &batch->b) == -1)
        return -1;
    return ship_prepare(worker->producer, batch, ret_discarded, ret_replaced);
}

bool worker_send(struct worker *worker, struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    const bool nothing = batch->n_messages + batch->n_positions == 0;
    bool sent = nothing || producer_send(worker->producer, batch);
    if (!sent) {
        /* Room that came after the first try would not wake us: say that we wait, then try again. */
        atomic_store(&worker->waiting, true);
        sent = producer_send(worker->producer, batch);
    }
    *(batch->read_back ? &stream->returning : &stream->blocked) = sent ? NULL : batch;
    if (!sent)
        return false;
    if (batch->finished_here || nothing)
        worker_batch_done(worker, batch);
    return true;
}

/* The producer gets something of it: messages, or in a transaction its positions. */
static bool is_counted(const struct worker *worker, const struct batch_private *batch)
{
    return batch->n_messages > 0 || producer_is_transactional(worker->producer);
}

/* A batch of which the producer gets nothing finishes at once, but while the spool has the positions before it. */
static bool goes_direct(const struct worker *worker, const struct batch_private *batch)
{
    struct route *route = batch->stream->route;
    if (route == NULL || !is_counted(worker, batch))
        return route == NULL || route_way(route) == WAY_DIRECT;
    return route_go_direct(route);
}

static void again_later(struct worker *worker)
{
    ev_timer_stop(worker->loop, &worker->gather);
    ev_timer_set(&worker->gather, RETRY_S, 0.);
    ev_timer_start(worker->loop, &worker->gather);
}

/* It is as if it had not gone yet. */
static bool wait_for_memory(struct worker *worker, struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    if (stream->route != NULL && is_counted(worker, batch))
        route_arrived(stream->route, 0);
    stream->waiting = batch;
    again_later(worker);
    return false;
}

/* To the producer or to the spool, whichever way the stream's batches go. False: nothing more is read for now. */
static bool pass_on(struct worker *worker, struct batch_private *batch)
{
    struct stream *stream = batch->stream;
    if (goes_direct(worker, batch)) {
        if (producer_add_positions(worker->producer, batch, worker->index) == -1)
            return wait_for_memory(worker, batch);
        worker_cost(worker, batch, worker_cost_of(batch));
        stream->waiting = NULL;
        batch->with_client = is_counted(worker, batch);
        batch->since = clock_monotonic();
        return worker_send(worker, batch);
    }
    bool spooled = worker_spool_batch(worker, batch);
    stream->waiting = spooled ? NULL : batch;
    return spooled;
}

/* Reads and sends one batch. False: nothing more of this stream for now. */
static bool round_of(struct worker *worker, struct stream *stream)
{
    uint64_t discarded_topic = 0, discarded_memory = 0, replaced = 0;
    struct batch_private *batch = batch_take(&worker->pool, stream->host);
    if (batch == NULL) {
        again_later(worker);
        return false;
    }
    batch->stream = stream;
    batch->sequence = stream->next_sequence++;
    tail_fill(stream->tail, batch);
    if (batch->ranges == NULL) {
        bool starved = batch->b.arena.overflowed || batch->out.overflowed;
        batch_give(&worker->pool, batch);
        if (starved)
            again_later(worker);
        return !starved && tail_ready(stream->tail);
    }
    if (build(worker, batch, &discarded_topic, &replaced) == -1 &&
        !ship_discard_last(batch, &discarded_memory)) {
        tail_undo(batch);
        batch_give(&worker->pool, batch);
        again_later(worker);
        stream->read_size =
            STREAM_READ_LEAST; /* in the end a batch of one line fits, or that line is discarded */
        return false;
    }
    if (stream->read_size < stream->read_usual) /* back to what is usual, step by step */
        stream->read_size =
            stream->read_size * 2 < stream->read_usual ? stream->read_size * 2 : stream->read_usual;
    batch_shrink(batch);
    atomic_store_explicit(&batch->unfinished, batch->n_messages, memory_order_relaxed);
    worker_cost(worker, batch, worker_cost_of(batch));
    worker_list_batch(batch);
    atomic_fetch_add_explicit(&worker->outstanding, 1, memory_order_relaxed);
    count_batch(batch, discarded_topic, discarded_memory, replaced);
    batch_drop_records(&worker->pool, batch);
    tail_commit(batch);
    return pass_on(worker, batch);
}

/* What goes to disk takes no memory for longer than that, and does not wait for the producer. */
static bool may_read(const struct worker *worker, struct stream *stream)
{
    if (stream->leaving || atomic_load_explicit(&worker->stop_reading, memory_order_relaxed) ||
        !tail_ready(stream->tail))
        return false;
    return (stream->route != NULL && route_way(stream->route) == WAY_SPOOL) ||
           (stream->blocked == NULL && worker_has_room(worker, stream));
}

bool worker_pump_stream(struct worker *worker, struct stream *stream)
{
    tail_look_for_missed(stream->tail);
    bool more = worker_look_at_spool(worker, stream);
    if (stream->blocked != NULL)
        worker_send(worker, stream->blocked);
    if (stream->waiting != NULL && !pass_on(worker, stream->waiting))
        return more;
    for (int i = 0; i < ROUND_BATCHES; i++)
        if (!may_read(worker, stream) || !round_of(worker, stream))
            return more;
    return true;
}
