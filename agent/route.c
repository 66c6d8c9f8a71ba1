#include "agent/route.h"

#include "agent/arena.h"
#include "agent/clock.h"
#include "agent/committed.h"
#include "agent/log.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct joined {
    struct stream *stream;
    route_wake_fn *wake;
    bool must_save;
    bool retired; /* another one takes its place */
};

struct route {
    char *name;
    struct spool *spool;
    struct positions *positions;
    struct route_config config;
    pthread_mutex_t lock;
    enum way way;
    size_t n, room;
    struct joined *joined;
    unsigned direct;            /* batches that went direct and have no outcome */
    unsigned read_back;         /* batches that were read back and have none */
    int64_t since;              /* RETURNING: ns, monotonic */
    bool stalled;               /* nothing was delivered since the way is SPOOL */
    uint64_t lost_told;         /* records of damaged frames that were counted */
    bool no_memory;             /* for a position, while opening */
    struct committed committed; /* exactly-once */
    /* Found is written at opening, dropped under the spool's lock, lost under the route's: each has one writer. */
    struct stats stats;
};

/* ---- opening and closing ---- */

static void wake_all(const struct route *route);
static void direct_when_delivered(struct route *route);

static void on_changed(void *arg)
{
    struct route *route = (struct route *)arg;
    pthread_mutex_lock(&route->lock);
    direct_when_delivered(route);
    wake_all(route);
    pthread_mutex_unlock(&route->lock);
}

static void on_dropped(const struct spool_position *range, void *arg)
{
    struct route *route = (struct route *)arg;
    stats_add(&route->stats, STAT_discarded_spool_oldest, range->records);
    log_warn("spool",
             "given up stream=%s path=%s inode=%ju from=%" PRIu64 " to=%" PRIu64
             " records=%" PRIu32,
             log_quote(route->name), log_quote_len(range->path.ptr, range->path.len),
             (uintmax_t)range->id.ino, range->begin, range->mark.offset, range->records);
}

static void on_position(const struct spool_position *range, void *arg)
{
    struct route *route = (struct route *)arg;
    struct position known = {.stream = strndup(range->stream.ptr, range->stream.len),
                             .path = strndup(range->path.ptr, range->path.len),
                             .id = range->id,
                             .generation = range->generation,
                             .mark = range->mark};
    if (known.stream == NULL || known.path == NULL ||
        positions_restore(route->positions, &known, range->begin) == -1)
        route->no_memory = true;
    if (route->config.exactly_once && range->frame != 0 &&
        committed_note(&route->committed, range) == -1)
        route->no_memory = true;
    free(known.stream);
    free(known.path);
}

struct route *route_open(struct spool_store *store, const char *stream,
                         const struct route_config *config, struct positions *positions,
                         struct error *error)
{
    struct spool_stats found;
    struct route *route = (struct route *)calloc(1, sizeof(*route));
    error_set(error, "out of memory");
    if (route == NULL)
        return NULL;
    const struct spool_events events = {
        .changed = on_changed, .dropped = on_dropped, .position = on_position, .arg = route};
    pthread_mutex_init(&route->lock, NULL);
    route->config = *config;
    route->positions = positions;
    route->name = strdup(stream);
    route->room = 2 * config->n_workers; /* a stream and the one that takes its place */
    route->joined = (struct joined *)calloc(route->room, sizeof(*route->joined));
    if (route->name != NULL && route->joined != NULL)
        route->spool = spool_open(store, stream, &events, error);
    if (route->spool != NULL && route->no_memory)
        spool_close(&route->spool);
    if (route->spool == NULL) {
        route_close(&route);
        return NULL;
    }
    spool_stats(route->spool, &found);
    route->lost_told = found.lost_records;
    stats_add(&route->stats, STAT_spool_found, found.records + found.lost_records);
    stats_add(&route->stats, STAT_discarded_spool_damaged, found.lost_records);
    if (spool_is_empty(route->spool))
        return route;
    route->way = WAY_SPOOL;
    route->stalled = true;
    log_info("spool",
             "there is something to be sent first stream=%s records=%" PRIu64 " bytes=%" PRIu64,
             log_quote(route->name), found.records, found.bytes);
    return route;
}

int route_skip_committed(struct route *route)
{
    uint64_t records;
    if (committed_decide(&route->committed, route->positions, route->name, &records) == -1)
        return -1;
    if (records == 0)
        return 0;
    stats_add(&route->stats, STAT_spool_found, -records);
    log_info("spool", "records that Kafka has already are not sent again stream=%s records=%" PRIu64,
             log_quote(route->name), records);
    return 0;
}

void route_close(struct route **route_ptr)
{
    struct route *route = *route_ptr;
    if (route == NULL)
        return;
    spool_close(&route->spool);
    pthread_mutex_destroy(&route->lock);
    committed_fini(&route->committed);
    free(route->joined);
    free(route->name);
    free(route);
    *route_ptr = NULL;
}

const char *route_name(const struct route *route)
{
    return route->name;
}

struct spool *route_spool(struct route *route)
{
    return route->spool;
}

void route_forget(struct route *route)
{
    for (size_t i = 0; i < STAT_COUNT; i++)
        atomic_store(&route->stats.values[i], 0);
}

void route_counters(struct route *route, uint64_t *sums)
{
    stats_read(&route->stats, sums);
}

/* ---- under the lock ---- */

static void wake_all(const struct route *route)
{
    for (size_t i = 0; i < route->n; i++)
        route->joined[i].wake(route->joined[i].stream);
}

static struct joined *find(const struct route *route, const struct stream *stream)
{
    for (size_t i = 0; i < route->n; i++)
        if (route->joined[i].stream == stream)
            return &route->joined[i];
    return NULL;
}

static void take_way(struct route *route, enum way way)
{
    route->way = way;
    wake_all(route);
}

static void spool_when_all_saved(struct route *route)
{
    bool all = true;
    for (size_t i = 0; i < route->n; i++)
        all &= !route->joined[i].must_save;
    if (!all || route->way != WAY_LEAVING)
        return;
    route->stalled = true;
    take_way(route, WAY_SPOOL);
}

static void direct_when_delivered(struct route *route)
{
    struct spool_stats stats;
    if (route->way != WAY_RETURNING || route->read_back > 0 || !spool_is_empty(route->spool) ||
        (route->config.exactly_once && !spool_is_saved(route->spool)))
        return;
    spool_stats(route->spool, &stats);
    stats_add(&route->stats, STAT_discarded_spool_damaged, stats.lost_records - route->lost_told);
    route->lost_told = stats.lost_records;
    log_info("spool", "everything of it is delivered, the stream goes direct stream=%s",
             log_quote(route->name));
    take_way(route, WAY_DIRECT);
}

/* ---- a worker's ---- */

void route_join(struct route *route, struct stream *stream, route_wake_fn *wake)
{
    pthread_mutex_lock(&route->lock);
    assert(route->n < route->room);
    route->joined[route->n++] = (struct joined){.stream = stream, .wake = wake};
    pthread_mutex_unlock(&route->lock);
}

void route_leave(struct route *route, const struct stream *stream)
{
    pthread_mutex_lock(&route->lock);
    struct joined *joined = find(route, stream);
    if (joined != NULL) {
        memmove(joined, joined + 1,
                (size_t)(route->joined + route->n - joined - 1) * sizeof(*joined));
        route->n--;
        spool_when_all_saved(route);
        wake_all(route); /* another one is the first */
    }
    pthread_mutex_unlock(&route->lock);
}

void route_retire(struct route *route, const struct stream *stream)
{
    pthread_mutex_lock(&route->lock);
    struct joined *joined = find(route, stream);
    if (joined != NULL)
        joined->retired = true;
    wake_all(route); /* another one is the first */
    pthread_mutex_unlock(&route->lock);
}

/* That has not to go, if there is such a one. */
static const struct stream *first_stream(const struct route *route)
{
    for (size_t i = 0; i < route->n; i++)
        if (!route->joined[i].retired)
            return route->joined[i].stream;
    return route->n > 0 ? route->joined[0].stream : NULL;
}

enum way route_way(struct route *route)
{
    pthread_mutex_lock(&route->lock);
    enum way way = route->way;
    pthread_mutex_unlock(&route->lock);
    return way;
}

bool route_go_direct(struct route *route)
{
    pthread_mutex_lock(&route->lock);
    bool direct = route->way == WAY_DIRECT;
    route->direct += direct;
    pthread_mutex_unlock(&route->lock);
    return direct;
}

void route_arrived(struct route *route, uint64_t frame)
{
    pthread_mutex_lock(&route->lock);
    if (frame != 0)
        spool_ack(route->spool, frame);
    route->stalled = false;
    if (--route->direct == 0 && route->way == WAY_SPOOL)
        wake_all(route);
    pthread_mutex_unlock(&route->lock);
}

static void leave_direct(struct route *route)
{
    for (size_t i = 0; i < route->n; i++)
        route->joined[i].must_save = true;
    log_warn("spool",
             "a batch has no outcome for %" PRId64 " ms: the stream goes to disk until Kafka takes "
             "it stream=%s",
             route->config.after / NS_PER_MS, log_quote(route->name));
    take_way(route, WAY_LEAVING);
}

void route_look(struct route *route, int64_t since, int64_t now)
{
    pthread_mutex_lock(&route->lock);
    if (route->way == WAY_DIRECT && since != INT64_MAX && now - since >= route->config.after)
        leave_direct(route);
    if (route->way == WAY_RETURNING && now - route->since >= route->config.after) {
        route->stalled = true;
        take_way(route, WAY_SPOOL);
    }
    pthread_mutex_unlock(&route->lock);
}

int64_t route_due_at(struct route *route, int64_t since)
{
    int64_t at = INT64_MAX;
    pthread_mutex_lock(&route->lock);
    if (route->way == WAY_RETURNING)
        at = route->since + route->config.after;
    else if (route->way == WAY_DIRECT && since != INT64_MAX)
        at = since + route->config.after;
    pthread_mutex_unlock(&route->lock);
    return at;
}

bool route_must_save(struct route *route, const struct stream *stream)
{
    pthread_mutex_lock(&route->lock);
    const struct joined *joined = find(route, stream);
    bool must = joined != NULL && joined->must_save;
    pthread_mutex_unlock(&route->lock);
    return must;
}

void route_has_saved(struct route *route, const struct stream *stream)
{
    pthread_mutex_lock(&route->lock);
    struct joined *joined = find(route, stream);
    if (joined != NULL)
        joined->must_save = false;
    spool_when_all_saved(route);
    pthread_mutex_unlock(&route->lock);
}

enum spool_append route_append(struct route *route, struct spool_batch *batch, bool taken,
                               uint64_t *ret_sequence)
{
    enum spool_append result = SPOOL_WAIT;
    pthread_mutex_lock(&route->lock);
    if (route->way == (taken ? WAY_LEAVING : WAY_SPOOL))
        result = spool_append(route->spool, batch, taken, ret_sequence);
    pthread_mutex_unlock(&route->lock);
    return result;
}

static enum spool_read next_uncommitted(struct route *route, struct arena *arena,
                                        struct spool_frame *ret_frame)
{
    enum spool_read result;
    while ((result = spool_next(route->spool, arena, ret_frame)) == SPOOL_READ &&
           committed_has(&route->committed, ret_frame->sequence)) {
        spool_ack(route->spool, ret_frame->sequence);
        arena_reset(arena);
    }
    return result;
}

/* Everything was read. Where nothing is awaited any more but that this is saved, new batches need not wait for it. */
static bool may_return(struct route *route)
{
    if (route->read_back > 0)
        return !route->stalled;
    return !route->config.exactly_once || spool_is_saved(route->spool);
}

enum spool_read route_next(struct route *route, const struct stream *stream, struct arena *arena,
                           struct spool_frame *ret_frame)
{
    enum spool_read result = SPOOL_READ_END;
    pthread_mutex_lock(&route->lock);
    if (route->way == WAY_SPOOL && route->direct == 0 && first_stream(route) == stream) {
        result = next_uncommitted(route, arena, ret_frame);
        route->read_back += result == SPOOL_READ;
        if (result == SPOOL_READ_END && may_return(route)) {
            route->since = clock_monotonic();
            take_way(route, WAY_RETURNING);
            direct_when_delivered(route);
        }
    }
    pthread_mutex_unlock(&route->lock);
    return result;
}

void route_put_back(struct route *route)
{
    pthread_mutex_lock(&route->lock);
    spool_unread(route->spool);
    route->read_back--;
    pthread_mutex_unlock(&route->lock);
}

void route_drained(struct route *route, uint64_t sequence)
{
    pthread_mutex_lock(&route->lock);
    spool_ack(route->spool, sequence);
    route->read_back--;
    route->stalled = false;
    direct_when_delivered(route);
    pthread_mutex_unlock(&route->lock);
}
