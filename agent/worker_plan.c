/* How a worker's streams come and go while it runs. A stream that leaves reads no more and is closed when nothing of it is in
 * flight, so its positions are then where it stopped; only then the one that takes its place is opened: no line is read twice, none is
 * left out, and the order holds. */
#include "agent/log.h"
#include "agent/worker_inner.h"

#include <stdlib.h>

/* ---- opening ---- */

/* All streams of a worker are looked at together. */
static void set_rescan(struct worker *worker)
{
    int64_t ms = INT64_MAX;
    for (size_t i = 0; i < worker->n_streams; i++)
        if (worker->streams[i]->config->tail.rescan < ms)
            ms = worker->streams[i]->config->tail.rescan;
    double rescan = ms == INT64_MAX ? 0. : (double)ms / 1000;
    if (worker->rescan.repeat == rescan)
        return;
    worker->rescan.repeat = rescan;
    ev_timer_again(worker->loop, &worker->rescan); /* 0: stops it */
}

int worker_open(struct worker *worker, struct stream *stream, struct error *error)
{
    if (worker->n_streams == worker->room_streams) {
        size_t room = worker->room_streams == 0 ? 16 : worker->room_streams * 2;
        struct stream **grown =
            (struct stream **)realloc(worker->streams, room * sizeof(struct stream *));
        if (grown == NULL)
            return error_set(error, "out of memory");
        worker->streams = grown;
        worker->room_streams = room;
    }
    struct tail_place place = {worker->watch, worker->positions, &worker->pool,
                               worker->index, worker->n_workers, &worker->files};
    stream->tail = tail_open(stream, &place, error);
    if (stream->tail == NULL)
        return -1;
    stream->planned = worker->planned;
    if (stream->route != NULL)
        route_join(stream->route, stream, worker_wake);
    worker->streams[worker->n_streams++] = stream;
    set_rescan(worker);
    return 0;
}

/* ---- leaving ---- */

static void is_gone(struct worker *worker, struct stream *stream)
{
    struct stream *first = atomic_load_explicit(&worker->gone, memory_order_relaxed);
    do
        stream->next_gone = first;
    while (!atomic_compare_exchange_weak_explicit(&worker->gone, &first, stream,
                                                  memory_order_release, memory_order_relaxed));
    worker->told(worker->told_arg);
}

static void cannot_open(struct worker *worker, struct stream *stream, const struct error *error)
{
    log_error("worker", "a stream is not read until a restart: %s stream=%s", error->text,
              stream->config->name);
    is_gone(worker, stream);
}

/* Its place is the successor's. False: it has none that could be opened. */
static bool hand_over(struct worker *worker, size_t i)
{
    struct stream *stream = worker->streams[i], *successor = stream->successor;
    struct error error;
    if (successor == NULL || atomic_load(&worker->stop_reading))
        return false;
    if (tail_succeed(stream, successor, &error) == -1) {
        cannot_open(worker, successor, &error);
        return false;
    }
    worker->streams[i] = successor;
    if (successor->route != NULL)
        route_join(successor->route, successor, worker_wake);
    return true;
}

void worker_leave(struct stream *stream)
{
    if (stream->route != NULL)
        route_leave(stream->route, stream);
    tail_close(&stream->tail);
}

/* Nothing of it is in flight, and nobody else would send what is in its spool. */
static bool has_left(const struct stream *stream)
{
    return stream->cost == 0 && (stream->successor != NULL || stream->route == NULL ||
                                 spool_is_empty(route_spool(stream->route)));
}

bool worker_end_streams(struct worker *worker)
{
    bool any = false;
    for (size_t i = worker->n_streams; i-- > 0;) {
        struct stream *stream = worker->streams[i];
        if (!stream->leaving || !has_left(stream))
            continue;
        any = true;
        worker->n_leaving--;
        if (!hand_over(worker, i))
            worker->streams[i] = worker->streams[--worker->n_streams];
        worker_leave(stream);
        is_gone(worker, stream);
    }
    if (!any)
        return false;
    watch_doubt(worker->watch);
    for (size_t i = 0; i < worker->n_streams; i++)
        if (stream_follows(worker->streams[i]))
            tail_watch_again(worker->streams[i]->tail);
    watch_drop_doubted(worker->watch);
    set_rescan(worker);
    return true;
}

/* ---- plans ---- */

static struct stream *find(struct worker *worker, const char *name)
{
    for (size_t i = 0; i < worker->n_streams; i++)
        if (strcmp(worker->streams[i]->config->name, name) == 0)
            return worker->streams[i];
    return NULL;
}

static void leave_what_is_not_planned(struct worker *worker)
{
    for (size_t i = 0; i < worker->n_streams; i++) {
        struct stream *stream = worker->streams[i];
        if (!stream->leaving && stream->planned != worker->planned) {
            stream->leaving = true;
            worker->n_leaving++;
        }
        if (stream->successor != NULL && stream->successor->planned != worker->planned) {
            is_gone(worker, stream->successor);
            stream->successor = NULL;
        }
    }
}

static void carry_out(struct worker *worker, const struct plan *plan)
{
    struct error error;
    worker->planned++;
    worker->budget = plan->memory;
    for (size_t i = 0; i < plan->n; i++) {
        struct stream *stream = plan->streams[i];
        stream->is_new = stream->planned == 0;
        stream->planned = worker->planned;
    }
    leave_what_is_not_planned(worker);
    for (size_t i = 0; i < plan->n; i++) {
        struct stream *stream = plan->streams[i];
        if (!stream->is_new)
            continue;
        struct stream *before = find(worker, stream->config->name);
        if (before != NULL && stream->route != NULL)
            route_retire(stream->route, before);
        if (before != NULL)
            before->successor = stream;
        else if (worker_open(worker, stream, &error) == -1)
            cannot_open(worker, stream, &error);
    }
}

void worker_take_plan(struct worker *worker)
{
    struct plan *plan = atomic_load_explicit(&worker->plan, memory_order_acquire);
    if (plan == NULL)
        return;
    if (!atomic_load(&worker->stopped))
        carry_out(worker, plan);
    atomic_store_explicit(&worker->plan, NULL, memory_order_release);
    worker->told(worker->told_arg);
}

/* ---- the main thread's side ---- */

void worker_apply(struct worker *worker, struct plan *plan)
{
    atomic_store_explicit(&worker->plan, plan, memory_order_release);
    ev_async_send(worker->loop, &worker->wake);
}

bool worker_planned(struct worker *worker)
{
    return atomic_load_explicit(&worker->plan, memory_order_acquire) == NULL;
}

struct stream *worker_take_gone(struct worker *worker)
{
    return atomic_exchange_explicit(&worker->gone, NULL, memory_order_acquire);
}
