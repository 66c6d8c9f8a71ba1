/* A worker: one thread, one loop, its streams, its batches. Nothing of it is shared on the way of a line; what
 * comes from outside (finished batches, room in the producer, stop) comes through atomics and one wake-up. */
#ifndef SPLASHDAM_WORKER_H
#define SPLASHDAM_WORKER_H

#include "agent/config.h"
#include "agent/positions.h"
#include "agent/producer.h"
#include "agent/stats.h"

struct step_stats;
struct worker;

/* Opens streams and chains; finds the files. The thread begins with worker_start(). NULL and *error. */
struct worker *worker_new(const struct config *config, int index, struct producer *producer,
                          struct positions *positions, struct error *error);
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
/* Adds the stream's counters to sums[STAT_COUNT]. */
void worker_stats(struct worker *worker, size_t stream, uint64_t *sums);
size_t worker_step_count(struct worker *worker, size_t stream);
/* Adds one step's counters to *sum. */
void worker_step(struct worker *worker, size_t stream, size_t step, struct step_stats *sum);

#endif
