/* The spool: batches on disk while Kafka is away. A write-ahead log for each stream, in segments.
 *
 *   <state>/spool/STREAM/SEQUENCE-SALT.seg    frames, a batch each (spool_frame.h)
 *   <state>/spool/STREAM/ack                  how far the stream is acknowledged
 *   <state>/spool/quarantine/                 what was damaged, kept for a person to look at
 *
 *   worker: spool_batch_add…() ─▶ spool_append() ─▶ … fsync … ─▶ spool_durable() has passed its sequence
 *   worker: spool_next() ─▶ producer ─▶ spool_ack()              ─▶ … segment deleted
 *
 * Frames of a stream are numbered from 1, one by one, over restarts. Nothing here waits for an fsync: that, saving `ack` and
 * deleting are the flusher thread's. A frame is durable only when spool_durable() says so; positions may move then.
 * Frames that are not durable yet are kept in memory as well, so that they can be written anew when an fsync fails:
 * nobody has to append them again.
 *
 * Each function may be called from any thread; a lock a stream. One thread at a time drains a stream: spool_next() and spool_rewind()
 * share one cursor. */
#ifndef SPLASHDAM_SPOOL_H
#define SPLASHDAM_SPOOL_H

#include "agent/config.h"
#include "agent/flusher.h"
#include "agent/positions.h"

/* ---- a batch, before and after ---- */

struct spool_record {
    struct slice topic; /* 1 to 249 bytes */
    struct slice key;   /* ptr NULL: none */
    struct slice payload;
    struct slice headers; /* opaque; may be empty */
    int64_t timestamp;    /* ms since 1970, 0: none */
    int32_t partition;    /* -1: none chosen */
};

/* A range of a source that the batch holds. */
struct spool_position {
    struct slice stream;
    struct slice path; /* the log's name */
    struct identity id;
    uint64_t begin;
    uint64_t generation; /* of the text: see positions.h */
    uint32_t records;    /* of the frame's; those that were dropped before are none of them */
    struct mark mark;    /* the position behind it */
    uint64_t frame; /* while opening: its frame's sequence; 0: that is acknowledged, or was given up */
};

struct spool_buffer {
    char *bytes;
    size_t len, room;
};

/* A batch on its way to the disk. A worker has one and uses it again and again: all zero at first. */
struct spool_batch {
    struct spool_buffer positions, records;
    uint32_t n_positions, n_records;
    size_t topic; /* of the last record: where it stands in `records` */
    size_t topic_len;
    bool failed; /* no memory, or too large: spool_append() tells */
    void *zstd;
};

void spool_batch_reset(struct spool_batch *batch);
void spool_batch_fini(struct spool_batch *batch);
/* Copies everything. */
void spool_batch_add_record(struct spool_batch *batch, const struct spool_record *record);
void spool_batch_add_position(struct spool_batch *batch, const struct spool_position *position);

/* What was read back; slices point into the memory that it was read to. */
struct spool_frame {
    uint64_t sequence;
    int64_t time; /* ms since 1970: appended then */
    uint32_t n_records, n_positions;
    struct slice records, positions;
    struct slice topic; /* of the record read last */
};

/* Takes the first off what is left of the frame; false: that was all. A frame that was read is known to be well-formed. */
bool spool_frame_record(struct spool_frame *frame, struct spool_record *ret_record);
bool spool_frame_position(struct spool_frame *frame, struct spool_position *ret_position);

/* ---- the agent's ---- */

struct spool_store;

/* Makes <state>/spool; the state folder stays open for as long as the store. Half of max_bytes is divided equally and kept for each stream, of which there are `n_streams` (>= 1) or as many as are
 * open, if that is more; the other half is whose who needs it. NULL and *error. */
struct spool_store *spool_store_open(const struct config_spool *config, int state_folder,
                                     size_t n_streams, struct flusher *flusher, struct error *error);
/* After all of its spools. */
void spool_store_close(struct spool_store **store);

/* Calls `each` with the name of every stream that has a folder in the spool, be it configured or not. -1 and errno. */
typedef void spool_stream_fn(const char *stream, void *arg);
int spool_store_each(struct spool_store *store, spool_stream_fn *each, void *arg);

/* ---- a stream's ---- */

struct spool;

struct spool_events {
    /* The flusher has been at it: frames may have become durable, there may be room, spool_due_at() may be another one. In its
     * thread, without a lock; may call anything here but spool_close(). */
    void (*changed)(void *arg);
    /* when_full: drop_oldest and max_age: a range of a dropped frame, `records` of it. Under the lock: calls nothing of this file. */
    void (*dropped)(const struct spool_position *range, void *arg);
    /* While opening: a range of every valid frame on disk, in the frames' order. Where it is ahead of a saved position, it
     * wins: positions_restore(). */
    void (*position)(const struct spool_position *range, void *arg);
    void *arg;
};

/* Recovers what is on disk: see spool_recover.c. Damage is no error: it is counted, logged and kept aside. NULL and *error: the
 * folder can't be used, or frames are encrypted with a key that is not there; nothing was touched then. `events` may be NULL,
 * as any of its functions. */
struct spool *spool_open(struct spool_store *store, const char *stream,
                         const struct spool_events *events, struct error *error);
/* Makes all durable that can be, saves the ack, waits for both. */
void spool_close(struct spool **spool);

enum spool_append {
    SPOOL_APPENDED, /* *ret_sequence */
    SPOOL_WAIT, /* too much is on its way to the disk, or room is being made: again after `changed` */
    SPOOL_FULL,    /* its share of max_bytes is used up: again when frames were acknowledged */
    SPOOL_DROPPED, /* the same, with when_full: drop_newest: the batch is the caller's to count */
    SPOOL_FAILED, /* errno (ENOSPC, EIO, ENOMEM, EFBIG …); nothing of it is on disk. Again later */
};
/* `taken`: Kafka's client has the batch already, and only its outcome is awaited: as if it had been read, so that the cursor passes it; everything
 * before it must have been read. */
enum spool_append spool_append(struct spool *spool, struct spool_batch *batch, bool taken,
                               uint64_t *ret_sequence);

/* Frames up to this sequence are on disk for sure, or acknowledged. */
uint64_t spool_durable(struct spool *spool);
/* Nothing is left that was not acknowledged: a stream may go direct. */
bool spool_is_empty(struct spool *spool);
/* That is on disk: a crash brings nothing of it back. False: it will be, soon, and `changed` tells. */
bool spool_is_saved(struct spool *spool);

enum spool_read {
    SPOOL_READ,     /* *ret_frame */
    SPOOL_READ_END, /* every frame was read; some may not be acknowledged yet */
    SPOOL_READ_FULL, /* the arena has no room for it, or it can't be read just now: the cursor stays */
};
/* The next frame behind the cursor, into the arena. Damaged frames are skipped, counted and kept aside. */
enum spool_read spool_next(struct spool *spool, struct arena *arena, struct spool_frame *ret_frame);
/* The frame that was read last will be read again. */
void spool_unread(struct spool *spool);
/* The cursor goes back to the first frame that is not acknowledged. */
void spool_rewind(struct spool *spool);
/* A frame that was read is finished; in any order. The saved ack is what all before it is acknowledged, too. After a crash
 * frames come once more that were acknowledged in the last SPOOL_ACK_MS or stood behind one that was not. */
#define SPOOL_ACK_MS 250
void spool_ack(struct spool *spool, uint64_t sequence);

/* What time brings: fsync, saving the ack, max_age. Call it at spool_due_at(), ns, CLOCK_MONOTONIC; INT64_MAX: nothing waits. An append,
 * an ack and a tick may make it earlier. */
int64_t spool_due_at(struct spool *spool);
void spool_tick(struct spool *spool, int64_t now);

struct spool_stats {
    /* now */
    uint64_t frames, records, bytes; /* not acknowledged; bytes: of files */
    uint64_t segments;
    int64_t oldest; /* ms since 1970: when the first of them was appended; 0: there is none */
    /* since it was opened */
    uint64_t appended_records, acked_records;
    uint64_t dropped_frames, dropped_records; /* drop_oldest, max_age */
    uint64_t damaged_frames, damaged_bytes;   /* places that are no valid frames */
    uint64_t lost_records;     /* of damaged frames, as far as it is known how many they had */
    uint64_t missing_frames;   /* holes in the sequence */
    uint64_t duplicate_frames; /* skipped */
    uint64_t torn_bytes;       /* cut off at segments' ends */
    uint64_t aside;            /* files put into quarantine */
    uint64_t write_failures, fsync_failures;
};
void spool_stats(struct spool *spool, struct spool_stats *ret_stats);

#endif
