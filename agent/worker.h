/* A worker: one thread, one loop, its streams, its batches. Nothing of it is shared on the way of a line; what
 * comes from outside (finished batches, room in the producer, plans, stop) comes through atomics and one wake-up. */
#ifndef SPLASHDAM_WORKER_H
#define SPLASHDAM_WORKER_H

#include "agent/config.h"
#include "agent/positions.h"
#include "agent/producer.h"

struct worker;

/* Called in the worker's thread when it has carried out a plan, or a stream is gone. */
typedef void worker_told_fn(void *arg);

/* Without streams. NULL and *error. */
struct worker *worker_new(const struct config *config, int index, struct producer *producer,
                          struct positions *positions, worker_told_fn *told, void *told_arg,
                          struct error *error);
/* Before the thread begins: finds the stream's files. -1 and *error. */
int worker_open(struct worker *worker, struct stream *stream, struct error *error);
int worker_start(struct worker *worker); /* -1 and errno */
/* Stops reading; what is in flight goes on. */
void worker_stop_reading(struct worker *worker);
/* Ends the thread and waits for it. */
void worker_join(struct worker *worker);
void worker_free(struct worker **worker);

/* Any thread, after worker_stop_reading(): it has stopped, and every batch is finished. */
bool worker_drained(struct worker *worker);
/* The main thread: a batch is finished (producer_finished_fn). */
void worker_batch_finished(struct batch_private *batch);
/* The main thread: takes reports for freeing (producer_spent_fn). */
bool worker_take_spent(struct stream *stream, struct spent *spent);
/* The main thread: the producer has room again. */
void worker_room(struct worker *worker);

/* All the streams that the worker is to have from now on. Those that it has go on untouched; new ones are opened; those that are
 * not among them stop reading, and are gone when nothing of them is in flight any more. A new one that has the name of one that
 * leaves takes its place then, where it ended. */
struct plan {
    size_t n;
    struct stream **streams;
    uint64_t memory; /* bytes of this worker's batches */
};
/* The main thread: the plan is the worker's to read until worker_planned(). */
void worker_apply(struct worker *worker, struct plan *plan);
/* The main thread: is the plan carried out? */
bool worker_planned(struct worker *worker);
/* The main thread: streams that the worker has nothing to do with any more, by next_gone. */
struct stream *worker_take_gone(struct worker *worker);

#endif
