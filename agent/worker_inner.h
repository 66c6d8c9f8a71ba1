/* The worker's inside, for the worker*.c files only: worker.c is its loop, worker_round.c a batch's way,
 * worker_spool.c the way round by the disk, worker_plan.c how its streams come and go. */
#ifndef SPLASHDAM_WORKER_INNER_H
#define SPLASHDAM_WORKER_INNER_H

#include "agent/route.h"
#include "agent/stream.h"
#include "agent/tail.h"
#include "agent/worker.h"

#include <pthread.h>

struct worker {
    int index, n_workers;
    struct producer *producer;
    struct positions *positions;
    pthread_t thread;
    struct ev_loop *loop;
    struct ev_async wake;
    struct ev_idle more;    /* runs while there is something to read and room for it */
    struct ev_timer gather; /* until then events are left to collect */
    struct ev_timer tick;
    struct ev_timer rescan;
    struct ev_timer flush; /* until something that is held back, or a poll, is due */
    struct watch *watch;
    struct batch_pool pool;
    struct open_files files;
    size_t n_streams, room_streams;
    struct stream **streams; /* open ones */
    size_t n_leaving;
    unsigned planned; /* the present plan's number */
    size_t cost;      /* of all batches in flight */
    size_t budget;
    int64_t last_gathered; /* ns, monotonic: when events were last followed by a round */
    int64_t last_rescan;
    struct spool_batch spool_batch; /* of what goes to the spool just now */

    /* From outside: */
    struct batch_inbox inbox;
    _Atomic(struct spent *) spent;
    _Atomic(struct plan *) plan;
    _Atomic(struct stream *) gone; /* on their way to the main thread */
    worker_told_fn *told;
    void *told_arg;
    atomic_bool waiting; /* for room in the producer */
    atomic_bool stop_reading;
    atomic_bool stopped; /* the worker has seen it: nothing new comes */
    atomic_bool quit;
    atomic_uint outstanding;
};

/* Are the stream's files followed? Not those of one that leaves for good. */
static inline bool stream_follows(const struct stream *stream)
{
    return !stream->leaving || stream->successor != NULL;
}

/* worker_plan.c */
/* Carries out the plan that came, if there is one. */
void worker_take_plan(struct worker *worker);
/* The worker has nothing to do with it any more. */
void worker_leave(struct stream *stream);
/* Ends the streams that leave and of which nothing is in flight any more. True: there were any. */
bool worker_end_streams(struct worker *worker);

/* worker.c: route_wake_fn */
void worker_wake(struct stream *stream);

/* worker_round.c */
#define ROUND_BATCHES 8 /* batches of a stream before the others and events have their turn */
/* Reads and sends what there is. True: the stream could go on at once. */
bool worker_pump_stream(struct worker *worker, struct stream *stream);
/* Every record of it is finished, or is in the spool for sure. */
void worker_batch_done(struct worker *worker, struct batch_private *batch);
/* Gives it to the producer; false: it takes no more for now, and the batch waits in `blocked`, or in `returning`. */
bool worker_send(struct worker *worker, struct batch_private *batch);
/* Has the stream its share of the memory? */
bool worker_has_room(const struct worker *worker, struct stream *stream);
size_t worker_cost_of(const struct batch_private *batch);
/* So much the batch costs from now on. */
void worker_cost(struct worker *worker, struct batch_private *batch, size_t cost);

/* worker_spool.c */
/* The list of a stream's batches on their way. */
void worker_list_batch(struct batch_private *batch);
void worker_unlist_batch(struct batch_private *batch);
/* Appends it to the spool. False: it can't be done for now. */
bool worker_spool_batch(struct worker *worker, struct batch_private *batch);
/* What the spool brings, and what time brings it. True: there is more to be read back at once. */
bool worker_look_at_spool(struct worker *worker, struct stream *stream);
/* When to look, ns, monotonic; INT64_MAX: when woken. */
int64_t worker_spool_due_at(const struct stream *stream);

#endif
