/* A stream of the configuration in all workers, as the main thread sees it: it owns their streams, holds the configuration that
 * these point into, and has the counters of those that are gone. */
#ifndef SPLASHDAM_STREAM_GROUP_H
#define SPLASHDAM_STREAM_GROUP_H

#include "agent/stream.h"

struct stream_group {
    const struct config_stream *section;
    struct config *config;       /* held */
    struct route *route;         /* of the agent; NULL: there is no spool */
    struct stream_group *before; /* the one whose place it takes, while that is still leaving */
    struct stream_group *after;  /* the one that takes its place */
    struct stream_group *next;   /* of the removed ones */
    uint64_t gone[STAT_COUNT]; /* counters of what is gone: streams of its own, and groups before it */
    size_t n_left;             /* streams that are not gone */
    size_t n;
    struct stream *streams[]; /* by worker; NULL: gone */
};

/* With a stream for each worker. Any thread, while nobody else has the configuration. NULL and *error. */
struct stream_group *stream_group_new(struct config *config, const struct config_stream *section,
                                      struct worker **workers, size_t n_workers,
                                      struct producer *producer, struct error *error);
/* Before any of its streams is opened. */
void stream_group_take_route(struct stream_group *group, struct route *route);
void stream_group_free(struct stream_group **group);
/* One of its streams is gone: its counters are kept, and it is freed. */
void stream_group_forget(struct stream *stream);
/* All of it is gone, and its successor has its counters from now on. */
void stream_group_merge(struct stream_group **group);
/* Adds its counters, and those of the groups before it, to sums[STAT_COUNT]. */
void stream_group_counters(const struct stream_group *group, uint64_t sums[STAT_COUNT]);

#endif
