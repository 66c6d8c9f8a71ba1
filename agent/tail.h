/* Tailing: the set of sources of one stream in one worker. Finds files by globs, follows them through
 * renames by identity, and queues those that have something to read.
 *
 * A path names a log; the files that bear it one after the other are its generations, shipped oldest
 * first: a generation is begun only when it has data and the one before it was then read to its end.
 *
 * With several workers, a log belongs to the worker that its name hashes to (tail_owns()); the rotated
 * names of a log hash alike. What still crosses is caught by positions_claim(). */
#ifndef SPLASHDAM_TAIL_H
#define SPLASHDAM_TAIL_H

#include "agent/source.h"
#include "agent/watch.h"

#define FILES_TO_COMPARE 2u /* of a worker's share are for short looks into files */

/* One worker's open files, of all its streams. */
struct open_files {
    unsigned limit; /* without those FILES_TO_COMPARE; 0: none */
    unsigned open;
    unsigned idle;                  /* of these, those that could be closed: */
    struct source *oldest, *newest; /* by the time since when that is so */
};

struct tail_place { /* what a tail needs of its worker */
    struct watch *watch;
    struct positions *positions;
    struct batch_pool *pool;
    int worker;
    int workers;
    struct open_files *files;
};

/* NULL and *error. Looks for files at once. */
struct tail *tail_open(struct stream *stream, const struct tail_place *place, struct error *error);
/* What was not delivered stays at its position. */
void tail_close(struct tail **tail);

/* The tail's stream has got another configuration: its successor gets a tail, which goes on where this one is; nothing of it may
 * be in flight, and what is left of it is closed. Files stay open where the way they are read is the same, and where they have no
 * name to be found by. -1 and *error. */
int tail_succeed(struct stream *stream, struct stream *successor, struct error *error);
/* Has its folders watched as they are now. */
void tail_watch_again(struct tail *tail);

/* An event of the watch; path NULL: events were lost. */
void tail_event(struct tail *tail, const char *path, uint32_t mask);
/* Looks at everything: folders and files that appeared or changed unseen. */
void tail_rescan(struct tail *tail);
/* The same every tail.rescan, but less and less often while nothing happens. */
void tail_look_regularly(struct tail *tail);
/* Looks at files that have lost their name; to be called about once a second while tail_restless(). */
void tail_tick(struct tail *tail);
bool tail_restless(const struct tail *tail);
/* When tail_poll() is to be called, ns, monotonic; INT64_MAX: all is watched. */
int64_t tail_poll_at(const struct tail *tail);
/* Looks at the folders that can't be watched and the files in them, if it is time. */
void tail_poll(struct tail *tail, int64_t now);
/* When tail_flush() or tail_poll() is to be called. */
int64_t tail_due_at(const struct tail *tail);
/* Was a rescan asked for, by an event? Reading this answers it. */
bool tail_wants_rescan(struct tail *tail);

/* When tail_flush() has something to do at the earliest, ns, monotonic; INT64_MAX: nothing is held back. */
int64_t tail_flush_at(const struct tail *tail);
/* Lets go what was held back long enough. */
void tail_flush(struct tail *tail, int64_t now);

/* After events and looks, before anything is read: opens the generations that came and went between two looks. */
void tail_look_for_missed(struct tail *tail);

bool tail_ready(const struct tail *tail);
/* Reads from ready sources until the batch is full or none is ready. */
void tail_fill(struct tail *tail, struct batch_private *batch);

/* The batch is being delivered. */
void tail_commit(struct batch_private *batch);
/* The batch could not be built: its ranges are read again, in smaller pieces. */
void tail_undo(struct batch_private *batch);
/* Every record of the batch is finished: moves positions. The ranges are no more. */
void tail_finished(struct batch_private *batch);

bool tail_owns(const char *path, int worker, int workers);

#endif
