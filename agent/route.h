/* Which way a stream's batches take: to Kafka's client, or to the spool. All workers' streams of one name share it, and the spool.
 *
 *     ┌──────────────── DIRECT ◀── all that was read back is delivered ── RETURNING
 *     │                                                                     ▲  │
 *  a batch has no outcome for spool.after       everything was read back ───┘  │ it takes longer than spool.after
 *     ▼                                                                     │  ▼
 *  LEAVING ── each worker has put on disk what the client still has ──────▶ SPOOL
 *
 * DIRECT     batches go to the client; nothing is in the spool but what it still has.
 * LEAVING    what the client has goes to disk as well, in its order, and nothing new goes anywhere. It stays with the client: is it
 *            delivered after all, its frame is acknowledged.
 * SPOOL      new batches go to the spool's end. One of the streams, the drainer, reads the spool back from its beginning as soon as nothing
 *            that went direct is without an outcome.
 * RETURNING  nothing is left to be read back, and nothing new goes anywhere until all of it is delivered. When that takes too long, new
 *            batches go to the spool again at least until one of those is delivered.
 *
 * So at each moment the client has the older batches and the spool the newer ones, and a source's order holds. What waits meanwhile waits in
 * its file. */
#ifndef SPLASHDAM_ROUTE_H
#define SPLASHDAM_ROUTE_H

#include "agent/spool.h"
#include "agent/stats.h"

struct route;
struct stream;

enum way { WAY_DIRECT, WAY_LEAVING, WAY_SPOOL, WAY_RETURNING };

/* Opens the stream's spool; positions that its frames hold are set. Before anything of the stream is read. NULL and *error. */
struct route_config {
    int64_t after; /* ns */
    size_t n_workers;
    bool exactly_once; /* goes direct only when it is saved that the spool is empty */
};
struct route *route_open(struct spool_store *store, const char *stream,
                         const struct route_config *config, struct positions *positions,
                         struct error *error);
/* Exactly-once, when the positions are known that Kafka has, and before any stream has joined: frames that it has will not be sent, and the
 * positions of the others are restored anew. -1: no memory. */
int route_skip_committed(struct route *route);
/* When no stream is on it any more. */
void route_close(struct route **route);
const char *route_name(const struct route *route);
struct spool *route_spool(struct route *route);
/* Its counters begin anew: those of a stream that was removed were told. */
void route_forget(struct route *route);
/* Adds the spool's own counters to sums[STAT_COUNT]. Any thread. */
void route_counters(struct route *route, uint64_t *sums);

/* ---- a worker's: each stream from its opening to its end ---- */

/* Called in any thread when there may be something for the stream to do. */
typedef void route_wake_fn(struct stream *stream);
void route_join(struct route *route, struct stream *stream, route_wake_fn *wake);
void route_leave(struct route *route, const struct stream *stream);

/* Another stream takes its place as soon as it can go: it is the first only while all others have to go as well. */
void route_retire(struct route *route, const struct stream *stream);

enum way route_way(struct route *route);

/* True: a batch goes to the client, and is awaited until route_arrived(). False: the way is another one. */
bool route_go_direct(struct route *route);
/* It has its outcome. `frame`: the sequence under which it is on disk as well; 0: it is not. */
void route_arrived(struct route *route, uint64_t frame);

/* The stream's oldest batch that went direct has no outcome since `since` (ns, monotonic; INT64_MAX: there is none). Too long: the way
 * is LEAVING now. */
void route_look(struct route *route, int64_t since, int64_t now);
/* When route_look() has something to do, ns, monotonic, if nothing happens before. */
int64_t route_due_at(struct route *route, int64_t since);

/* On the way LEAVING: has the stream still to put on disk what the client has? */
bool route_must_save(struct route *route, const struct stream *stream);
void route_has_saved(struct route *route, const struct stream *stream);

/* As spool_append(): what the client has too, when the way is LEAVING; else what is new, when it is SPOOL. On another way it is
 * SPOOL_WAIT. */
enum spool_append route_append(struct route *route, struct spool_batch *batch, bool taken,
                               uint64_t *ret_sequence);

/* The next frame, for the first stream on the way SPOOL when nothing is awaited that went direct; else END. When everything was read, the way
 * is another one. */
enum spool_read route_next(struct route *route, const struct stream *stream, struct arena *arena,
                           struct spool_frame *ret_frame);
/* The frame that was read last will be read again. */
void route_put_back(struct route *route);
/* What was read back has its outcome. */
void route_drained(struct route *route, uint64_t sequence);

#endif
