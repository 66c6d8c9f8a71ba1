/* A stream in one worker: sources → chain → topic. */
#ifndef SPLASHDAM_STREAM_H
#define SPLASHDAM_STREAM_H

#include "agent/batch.h"
#include "agent/chain.h"
#include "agent/config.h"
#include "agent/stats.h"

struct frame;
struct producer;
struct route;
struct stream_group;
struct tail;
struct topic;
struct worker;

#define STREAM_READ_LEAST ((size_t)4096) /* bytes that a batch reads when memory is short */

struct stream {
    const struct config_stream *config; /* held by the group */
    struct stream_group *group;         /* all workers' streams of this section */
    struct worker *worker;
    struct slice host; /* host.name */
    struct chain *chain;
    struct tail *tail;
    uint32_t agent;                  /* proof_agent() */
    struct topic *topic;             /* when its name is constant */
    struct batch_private *blocked;   /* the producer has not taken all of it yet */
    struct batch_private *returning; /* the same, of what was read back from the spool */
    struct batch_private *waiting; /* for its way, or for room in the spool; nothing is read meanwhile */
    struct route *route;           /* the group's; NULL: there is no spool */
    struct batch_private *oldest,
        *newest; /* read, and their ranges not finished, or with the client */
    int64_t again_at; /* ns, monotonic: not before it is tried again to append to the spool; 0: at once */
    int64_t back_at;        /* … to read it back */
    uint64_t next_sequence; /* of its batches */
    bool waits_for_room;    /* its share of the memory was used up */
    size_t cost;            /* of its batches in flight */
    struct frame *frame;    /* how lines become records; NULL: each is one */
    bool fields;            /* somebody looks at the records' fields */
    bool raw;               /* payloads are the bytes as read: these are kept until delivered */
    size_t read_size;       /* bytes that a batch reads, but for longer lines */
    size_t read_usual;      /* what it is when memory suffices */
    struct stats stats;     /* written by the worker */
    struct stats delivery;  /* written by the main thread */
    /* The worker's, see worker_plan.c: */
    unsigned planned;         /* the plan that had it last, 1..; 0: it is not the worker's yet */
    bool is_new;              /* to that plan */
    bool leaving;             /* reads no more; closed when nothing of it is in flight */
    struct stream *successor; /* takes its place then */
    struct stream *next_gone;

    /* The transactions' thread's: */
    int64_t held_until; /* ns, monotonic: nothing of it is sent before */
    int64_t held_for;   /* ns; 0: its last transaction was committed */

    atomic_uint held; /* deliveries that the main thread has to try again first: nothing new meanwhile */
};

/* Makes the stream ready to be opened by the worker: its chain, its frame, its topic. Any thread. NULL and *error. */
struct stream *stream_new(const struct config *config, const struct config_stream *section,
                          struct worker *worker, struct producer *producer, struct error *error);
/* Without a tail. */
void stream_free(struct stream **stream);
/* Adds its counters to sums[STAT_COUNT]. Any thread. */
void stream_counters(struct stream *stream, uint64_t *sums);
/* Adds one step's counters to *sum. Any thread. */
void stream_step(const struct stream *stream, size_t step, struct step_stats *sum);

#endif
