/* The positions' inside, for positions*.c only. */
#ifndef SPLASHDAM_POSITIONS_INNER_H
#define SPLASHDAM_POSITIONS_INNER_H

#include "agent/log.h"
#include "agent/positions_text.h"

#include <pthread.h>
#include <stdatomic.h>

struct save_job {
    struct flush_job job;
    char *text; /* the job frees it */
    size_t len;
    int folder;
    atomic_bool failed;
    struct log_limit complaint; /* the flusher's */
};

struct positions {
    pthread_mutex_t lock;
    struct position_list list;
    void *index; /* tsearch(3) tree by stream and identity */
    uint64_t next_sequence;
    uint64_t agent; /* its name's hash */
    bool keeps_news;
    struct position_news *news, **last_news;
    bool dirty;
    positions_changed_fn *changed;
    void *changed_arg;
    bool damaged;
    int folder;
    int lock_fd;
    struct flusher *flusher;
    struct save_job save;
};

/* All of it under the lock. */
struct position *positions_entry_find(struct positions *positions, const char *stream,
                                      const struct identity *id);
/* Of no owner yet. NULL: no memory. */
struct position *positions_entry_new(struct positions *positions, const char *stream,
                                     const struct identity *id, const char *path);
void positions_set_dirty(struct positions *positions);
/* Of the text that follows after a truncation. */
uint64_t positions_generation_after(uint64_t generation);
/* Was the text put in the place of the other one, some truncations later? */
bool positions_is_later(uint64_t generation, uint64_t than);

/* positions_news.c */
/* The entry's identity is new, or the entry is about to be forgotten. */
void positions_add_news(struct positions *positions, const struct position *p);

#endif
