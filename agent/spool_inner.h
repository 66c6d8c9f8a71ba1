/* The spool's inside, for spool*.c only.
 *
 *     segments ─▶ [sealed] ─▶ [sealed] ─▶ [current: being written]      doomed ones wait for the flusher to delete them
 *                    │ cursor                │ unsynced frames, in memory, too
 *                acked … read … durable … written                        sequences
 *
 * All of a spool is under its lock. Segments are only freed, and their descriptors closed, in the flusher's thread, which
 * gives the lock up while it waits for the disk. A store's lock is taken within a spool's. */
#ifndef SPLASHDAM_SPOOL_INNER_H
#define SPLASHDAM_SPOOL_INNER_H

#include "agent/log.h"
#include "agent/spool_segment.h"

#include <pthread.h>

/* Frames that are not durable yet, bytes of a stream: from half of it on an fsync is asked for at once, and when it is used up
 * appends wait. */
#define SPOOL_UNSYNCED_MAX ((size_t)4 * 1024 * 1024)
#define STORE_UNSYNCED_MAX \
    (2 * SPOOL_UNSYNCED_MAX) /* of all streams; one frame each may have in any case */
#define SPOOL_AGAIN_MS 1000  /* after a disk's error */

struct segment {
    struct segment *next;
    struct segment_name name;
    uint64_t last;          /* sequence of its last frame; name.first - 1: it has none */
    uint64_t len;           /* bytes; of the current one, of whole frames */
    uint64_t durable_len;   /* of these */
    int64_t oldest, newest; /* ms since 1970, of its frames */
    int fd;                 /* while it is written to, or not durable; else -1 */
    bool doomed;
};

/* A frame that was read and is not acknowledged, or stands behind one that is not. */
struct spool_flight {
    uint64_t sequence;
    uint32_t n_records;
    bool done;
};

struct spool_cursor {
    uint64_t sequence;       /* read last */
    struct segment *segment; /* in which scan goes on; NULL: looked for by sequence */
    struct segment_scan scan;
    struct spool_flight *flights; /* a ring of `room` */
    size_t first, n, room;
};

struct spool {
    struct spool_store *store;
    struct spool *next;           /* of the store's; its lock */
    char *name;                   /* the stream's */
    char folder[SPOOL_NAME_ROOM]; /* its folder's */
    int fd;                       /* of that */
    struct spool_events events;
    pthread_mutex_t lock;

    struct segment *segments;
    struct segment *current; /* NULL: the next append begins one */
    uint64_t used;           /* bytes on disk; the store's lock */
    uint64_t doomed_bytes;   /* of these */
    uint64_t written, durable, acked;
    uint64_t dropped_from, dropped_to; /* sequences that were given up; 0: none */
    struct spool_packed *unsynced, **last_unsynced;
    size_t unsynced_bytes;
    bool homeless; /* some of them have to be written anew */
    bool folder_dirty;
    bool placed; /* the folder itself, and those it stands in, are durable */
    struct spool_cursor cursor;

    struct flush_job job;
    bool queued;                               /* the flusher has the job */
    bool again;                                /* something came while it ran */
    bool ack_dirty;                            /* acked or dropped_… are not saved */
    int64_t sync_at, ack_at, age_at, again_at; /* ns, monotonic; INT64_MAX: not */
    struct spool_stats stats;
    struct log_limit complaints[4]; /* enum spool_complaint */
};

enum spool_complaint { COMPLAIN_WRITE, COMPLAIN_FSYNC, COMPLAIN_ACK, COMPLAIN_DAMAGE };

struct spool_store {
    struct config_spool config;
    struct flusher *flusher;
    struct spool_keys *keys; /* NULL: no encryption */
    int state_folder;
    int folder;
    int quarantine;
    size_t n_streams;
    uint64_t segment_max; /* bytes */
    pthread_mutex_t lock;
    struct spool *spools; /* open ones */
    size_t n_spools;
    uint64_t used;          /* bytes of all spools */
    uint64_t aside;         /* bytes in quarantine */
    atomic_size_t unsynced; /* bytes of all spools' frames that are in memory */
};

/* spool.c: the share of a stream. */
bool spool_may_take(struct spool *spool, uint64_t bytes);
void spool_account(struct spool *spool, int64_t bytes);

/* spool_append.c */
/* Writes the frames anew that are in memory only. -1 and errno. */
int spool_rehome(struct spool *spool);
/* Gives up what waited longest and was not read yet, a segment. False: there is nothing. */
bool spool_drop_segment(struct spool *spool);
struct segment *spool_droppable(struct spool *spool);
void spool_complain(struct spool *spool, enum spool_complaint which, const char *what, int error);

/* spool_sync.c */
/* Has the flusher do what there is to do. */
void spool_kick(struct spool *spool);
/* No more use for the segment: the flusher deletes it. */
void spool_doom(struct spool *spool, struct segment *segment);
/* Frames up to there need not be kept in memory. */
void spool_forget_unsynced(struct spool *spool, uint64_t from, uint64_t to);
void spool_ack_changed(struct spool *spool);
void spool_job(struct flush_job *job);
struct spool_acked {
    uint64_t sequence, dropped_from, dropped_to;
};
/* -1: it is damaged. Without one nothing is set. */
int spool_read_ack(int folder, struct spool_acked *ret_acked);
/* -1: it is damaged, and was put aside. None is 0, as before the first ack. */
int spool_load_ack(struct spool *spool);

/* spool_read.c */
/* acked moves on as far as it can; segments go that nobody needs any more. */
void spool_settle(struct spool *spool);
void spool_cursor_reset(struct spool *spool);
/* Room for one more frame that is not acknowledged. -1: no memory. */
int spool_cursor_reserve(struct spool *spool);
/* The frame counts as read. After spool_cursor_reserve(). */
void spool_cursor_pass(struct spool *spool, uint64_t sequence, uint32_t n_records);

/* spool_recover.c: -1 and *error. */
int spool_recover(struct spool *spool, struct error *error);

/* spool_aside.c: 1: put into quarantine, 0: it was there already, -1: no room, or the disk fails; logged. */
int spool_aside_file(struct spool *spool, const char *name, const char *why);
int spool_aside_piece(struct spool *spool, int fd, struct segment_name name,
                      const struct segment_piece *piece);
/* Bytes of what is there. */
uint64_t spool_aside_size(int quarantine);
/* A piece that is no frame: kept, counted and logged, but once for a place. */
void spool_damaged(struct spool *spool, int fd, struct segment_name name,
                   const struct segment_piece *piece);

#endif
