/* The flusher thread: the only place that waits for a disk. Jobs run one after the other, in the
 * order they were handed over. A job belongs to its maker again as soon as flusher_busy() is false. */
#ifndef SPLASHDAM_FLUSHER_H
#define SPLASHDAM_FLUSHER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct flusher;

struct flush_job {
    void (*run)(struct flush_job *job); /* in the flusher's thread */
    atomic_bool busy;
    struct flush_job *next;
};

struct flusher *flusher_new(void); /* NULL and errno */
/* Runs what is queued, then ends the thread. */
void flusher_free(struct flusher **flusher);
void flusher_submit(struct flusher *flusher, struct flush_job *job);
/* Waits until everything submitted so far has run. Only for start and stop. */
void flusher_wait(struct flusher *flusher);

static inline bool flusher_busy(struct flush_job *job)
{
    return atomic_load_explicit(&job->busy, memory_order_acquire);
}

/* fsync(2), in the flusher's thread only. -1 and errno: what was written since the last one may be lost, and another one on
 * the same descriptor would not say so: it has to be written anew, to another file. */
int flusher_sync(int fd);

/* Replaces `name` in the folder by these bytes so that after a crash at any moment there is either
 * the old file or the new one, and after 0 the new one: temporary, fsync, rename, fsync of the
 * folder. With `previous`, the old file is kept under that name. -1 and errno; *ret_step names the
 * call that failed. */
int flusher_replace(int folder, const char *name, const char *previous, const char *bytes,
                    size_t len, const char **ret_step);

#endif
