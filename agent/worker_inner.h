/* The worker's inside, for the worker*.c files only: worker.c is its loop, worker_round.c a batch's way,
 * worker_plan.c how its streams come and go. */
#ifndef SPLASHDAM_WORKER_INNER_H
#define SPLASHDAM_WORKER_INNER_H

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
/* Ends the streams that leave and of which nothing is in flight any more. True: there were any. */
bool worker_end_streams(struct worker *worker);

/* worker_round.c */
/* Reads and sends what there is. True: the stream could go on at once. */
bool worker_pump_stream(struct worker *worker, struct stream *stream);
/* Every record of it is finished. */
void worker_batch_done(struct worker *worker, struct batch_private *batch);

#endif
