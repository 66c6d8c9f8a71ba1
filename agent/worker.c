#include "agent/clock.h"
#include "agent/log.h"
#include "agent/worker_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GATHER_S      0.004 /* events that follow each other faster are looked at together */
#define TICK_S        1.0
#define RESCAN_GAP    (50 * NS_PER_MS) /* between two looks at everything that events asked for */
#define SCRATCH_LIMIT ((size_t)1 << 30)

/* The tick runs only while there is something that no event will tell of: an idle worker sleeps. */
static void set_tick(struct worker *worker)
{
    bool wanted = false;
    for (size_t i = 0; !atomic_load(&worker->stopped) && i < worker->n_streams; i++)
        wanted |= stream_follows(worker->streams[i]) && tail_restless(worker->streams[i]->tail);
    if (wanted && !ev_is_active(&worker->tick))
        ev_timer_again(worker->loop, &worker->tick);
    else if (!wanted)
        ev_timer_stop(worker->loop, &worker->tick);
}

/* One that leaves flushes nothing: nothing of it is read. */
static int64_t due_at(const struct stream *stream)
{
    if (!stream_follows(stream))
        return INT64_MAX;
    return stream->leaving ? tail_poll_at(stream->tail) : tail_due_at(stream->tail);
}

static void set_flush(struct worker *worker)
{
    int64_t at = INT64_MAX;
    const bool stopped = atomic_load(&worker->stopped);
    for (size_t i = 0; i < worker->n_streams; i++) {
        const struct stream *stream = worker->streams[i];
        int64_t due = worker_spool_due_at(stream);
        if (!stopped && due_at(stream) < due)
            due = due_at(stream);
        at = due < at ? due : at;
    }
    ev_timer_stop(worker->loop, &worker->flush);
    if (at == INT64_MAX)
        return;
    int64_t left = at - clock_monotonic();
    ev_timer_set(&worker->flush, left < NS_PER_MS ? 1e-3 : (double)left / (double)NS_PER_S, 0.);
    ev_timer_start(worker->loop, &worker->flush);
}

static void pump(struct worker *worker)
{
    bool more = false;
    for (size_t i = 0; i < worker->n_streams; i++)
        more |= worker_pump_stream(worker, worker->streams[i]);
    if (worker->n_leaving > 0)
        more |= worker_end_streams(worker);
    if (more)
        ev_idle_start(worker->loop, &worker->more);
    else
        ev_idle_stop(worker->loop, &worker->more);
    set_tick(worker);
    set_flush(worker);
}

/* ---- what wakes a worker ---- */

void worker_wake(struct stream *stream)
{
    ev_async_send(stream->worker->loop, &stream->worker->wake);
}

static void on_more(struct ev_loop *loop, struct ev_idle *watcher, int events)
{
    (void)loop;
    (void)events;
    pump((struct worker *)watcher->data);
}

static void stop_reading(struct worker *worker)
{
    atomic_store(&worker->stopped, true);
    watch_pause(worker->watch, true);
    ev_timer_stop(worker->loop, &worker->gather);
    ev_timer_stop(worker->loop, &worker->tick);
    ev_timer_stop(worker->loop, &worker->rescan);
    ev_timer_stop(worker->loop, &worker->flush);
}

static void on_wake(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)events;
    struct worker *worker = (struct worker *)watcher->data;
    producer_free_spent(atomic_exchange_explicit(&worker->spent, NULL, memory_order_acquire));
    struct batch_private *batch = batch_inbox_take(&worker->inbox);
    while (batch != NULL) {
        struct batch_private *next = batch->next;
        worker_batch_done(worker, batch);
        batch = next;
    }
    if (!atomic_load(&worker->stopped) && atomic_load(&worker->stop_reading))
        stop_reading(worker);
    worker_take_plan(worker);
    if (atomic_load(&worker->quit))
        ev_break(loop, EVBREAK_ALL);
    pump(worker);
}

/* Folders that come in a burst are looked at together. */
static void rescan_if_wanted(struct worker *worker)
{
    int64_t now = clock_monotonic();
    if (now - worker->last_rescan < RESCAN_GAP)
        return; /* the next tick does it */
    worker->last_rescan = now;
    for (size_t i = 0; i < worker->n_streams; i++)
        if (stream_follows(worker->streams[i]) && tail_wants_rescan(worker->streams[i]->tail))
            tail_rescan(worker->streams[i]->tail);
}

static void on_gathered(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct worker *worker = (struct worker *)timer->data;
    watch_pause(worker->watch, false);
    rescan_if_wanted(worker);
    pump(worker);
    worker->last_gathered = clock_monotonic();
}

/* Events come one by one from the watch; the reading is done once, after them. A writer that writes line by line
 * a hundred thousand times a second does not wake us as often: what follows within GATHER_S waits. */
static void on_event(const char *path, uint32_t mask, void *arg)
{
    struct worker *worker = (struct worker *)arg;
    for (size_t i = 0; i < worker->n_streams; i++)
        if (stream_follows(worker->streams[i]))
            tail_event(worker->streams[i]->tail, path, mask);
    if (ev_is_active(&worker->gather))
        return;
    int64_t quiet = clock_monotonic() - worker->last_gathered;
    bool busy = quiet < (int64_t)(GATHER_S * 1e9);
    if (busy)
        watch_pause(worker->watch, true);
    ev_timer_set(&worker->gather, busy ? GATHER_S : 0., 0.);
    ev_timer_start(worker->loop, &worker->gather);
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct worker *worker = (struct worker *)timer->data;
    rescan_if_wanted(worker);
    for (size_t i = 0; i < worker->n_streams; i++)
        if (stream_follows(worker->streams[i]))
            tail_tick(worker->streams[i]->tail);
    pump(worker);
}

static void on_flush(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct worker *worker = (struct worker *)timer->data;
    int64_t now = clock_monotonic();
    for (size_t i = 0; !atomic_load(&worker->stopped) && i < worker->n_streams; i++) {
        const struct stream *stream = worker->streams[i];
        if (!stream->leaving)
            tail_flush(stream->tail, now);
        if (stream_follows(stream))
            tail_poll(stream->tail, now);
    }
    if (!atomic_load(&worker->stopped))
        rescan_if_wanted(worker);
    pump(worker);
}

static void on_rescan(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)loop;
    (void)events;
    struct worker *worker = (struct worker *)timer->data;
    for (size_t i = 0; i < worker->n_streams; i++)
        if (stream_follows(worker->streams[i]))
            tail_look_regularly(worker->streams[i]->tail);
    pump(worker);
}

/* ---- start and stop ---- */

static int open_loop(struct worker *worker, struct error *error)
{
    worker->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (worker->loop == NULL)
        return error_set(error, "cannot make an event loop: %s", strerror(errno));
    worker->watch = watch_open(worker->loop, on_event, worker);
    if (worker->watch == NULL)
        return error_set(error, "out of memory");
    ev_async_init(&worker->wake, on_wake);
    ev_idle_init(&worker->more, on_more);
    ev_timer_init(&worker->gather, on_gathered, 0., 0.);
    ev_timer_init(&worker->tick, on_tick, TICK_S, TICK_S);
    ev_timer_init(&worker->rescan, on_rescan, 0., 0.);
    ev_timer_init(&worker->flush, on_flush, 0., 0.);
    worker->wake.data = worker->more.data = worker->gather.data = worker;
    worker->tick.data = worker->rescan.data = worker->flush.data = worker;
    ev_async_start(worker->loop, &worker->wake);
    return 0;
}

struct worker *worker_new(const struct config *config, int index, struct producer *producer,
                          struct positions *positions, worker_told_fn *told, void *told_arg,
                          struct error *error)
{
    struct worker *worker = (struct worker *)calloc(1, sizeof(*worker));
    if (worker == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    worker->index = index;
    worker->planned = 1; /* those that are opened before it begins */
    worker->n_workers = (int)config->agent.workers;
    worker->producer = producer;
    worker->positions = positions;
    worker->told = told;
    worker->told_arg = told_arg;
    worker->budget = config->agent.memory / (size_t)config->agent.workers;
    unsigned files = source_files_limit() / (unsigned)config->agent.workers;
    worker->files.limit = files > 2 * FILES_TO_COMPARE ? files - FILES_TO_COMPARE : FILES_TO_COMPARE;
    batch_pool_init(&worker->pool, worker->budget / ARENA_CHUNK + 8, SCRATCH_LIMIT);
    if (open_loop(worker, error) == -1)
        worker_free(&worker);
    return worker;
}

static void *worker_main(void *arg)
{
    struct worker *worker = (struct worker *)arg;
    char name[16];
    snprintf(name, sizeof(name), "worker %d", worker->index);
    pthread_setname_np(pthread_self(), name);
    pump(worker);
    ev_run(worker->loop, 0);
    return NULL;
}

int worker_start(struct worker *worker)
{
    int error = pthread_create(&worker->thread, NULL, worker_main, worker);
    errno = error;
    return error == 0 ? 0 : -1;
}

void worker_stop_reading(struct worker *worker)
{
    atomic_store(&worker->stop_reading, true);
    ev_async_send(worker->loop, &worker->wake);
}

void worker_join(struct worker *worker)
{
    atomic_store(&worker->quit, true);
    ev_async_send(worker->loop, &worker->wake);
    pthread_join(worker->thread, NULL);
    producer_free_spent(atomic_exchange(&worker->spent, NULL));
}

void worker_free(struct worker **worker_ptr)
{
    struct worker *worker = *worker_ptr;
    if (worker == NULL)
        return;
    for (size_t i = 0; i < worker->n_streams; i++)
        worker_leave(worker->streams[i]);
    spool_batch_fini(&worker->spool_batch);
    batch_pool_fini(&worker->pool);
    watch_close(&worker->watch);
    if (worker->loop != NULL)
        ev_loop_destroy(worker->loop);
    free(worker->streams);
    free(worker);
    *worker_ptr = NULL;
}

bool worker_drained(struct worker *worker)
{
    return atomic_load(&worker->stopped) &&
           atomic_load_explicit(&worker->outstanding, memory_order_acquire) == 0;
}

void worker_batch_finished(struct batch_private *batch)
{
    struct worker *worker = batch->stream->worker;
    if (batch_inbox_push(&worker->inbox, batch))
        ev_async_send(worker->loop, &worker->wake);
}

bool worker_take_spent(struct stream *stream, struct spent *spent)
{
    struct worker *worker = stream->worker;
    if (atomic_load(&worker->quit))
        return false;
    struct spent *first = atomic_load_explicit(&worker->spent, memory_order_relaxed);
    do
        spent->next = first;
    while (!atomic_compare_exchange_weak_explicit(&worker->spent, &first, spent,
                                                  memory_order_release, memory_order_relaxed));
    if (first == NULL) /* *spent may be freed by now */
        ev_async_send(worker->loop, &worker->wake);
    return true;
}

void worker_room(struct worker *worker)
{
    if (atomic_exchange(&worker->waiting, false))
        ev_async_send(worker->loop, &worker->wake);
}
