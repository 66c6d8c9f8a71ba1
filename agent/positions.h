/* Positions: how far each file generation has been delivered; what survives a restart.
 *
 * One table for the whole agent, under one lock: it is touched when a generation is found or
 * forgotten and once for each finished batch, never for a record. A generation that is being read is claimed by one
 * worker; another one can't claim it meanwhile.
 *
 * On disk, in the state folder: `positions` (the format stands in positions.c), replaced whole at most
 * every POSITIONS_SAVE_MS; `positions.old`, the one before it; `lock`, held while the agent lives. */
#ifndef SPLASHDAM_POSITIONS_H
#define SPLASHDAM_POSITIONS_H

#include "agent/flusher.h"
#include "plugins/plugin.h"

#include <sys/types.h>

#define POSITIONS_SAVE_MS 250

#define FINGERPRINT_MAX 1024u /* bytes at a file's start that its fingerprint covers, at most */
#define TAIL_MAX        64u   /* bytes before a position that its hash covers, at most */

/* A file generation as the file system names it. */
struct identity {
    dev_t dev;
    ino_t ino;
    int64_t birth; /* ns since 1970, 0 where statx(2) doesn't tell */
};

static inline bool identity_equal(const struct identity *a, const struct identity *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->birth == b->birth;
}

static inline int identity_compare(const struct identity *a, const struct identity *b)
{
    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    return a->birth < b->birth ? -1 : a->birth > b->birth;
}

/* XXH3-64 of `len` bytes: of a file's first ones, or of those just before a position. */
struct content_hash {
    uint32_t len;
    uint64_t hash;
};

/* What was shipped last before some offset: where the next record's header `sd` (proof.h) goes on. */
struct shipped {
    uint64_t end; /* of the record that was shipped last; when there is none, where the chain begins */
    uint64_t dropped; /* records behind it that were not shipped: dropped or discarded */
    bool any;         /* a record was shipped */
};

/* What is saved with each finished batch. */
struct mark {
    uint64_t offset;          /* everything before it is delivered, dropped or discarded */
    bool cut;                 /* it stands inside a line of which the beginning was shipped */
    struct content_hash head; /* the fingerprint */
    struct content_hash tail; /* the bytes just before offset */
    struct shipped shipped;   /* before offset */
};

struct position {
    char *stream;
    char *path; /* the log's name: the path under which it was found first */
    struct identity id;
    int64_t copied; /* ns since 1970: birth of the youngest known copy of the file, which was then truncated; 0: there is none */
    uint64_t sequence; /* the higher the later it was found: the order of a log's generations */
    uint64_t generation; /* of the text: stays when it goes on in a copy, is another one after a truncation */
    struct mark mark;
    struct mark sent; /* exactly-once: the one behind all that is on its way; the owner's */
    uint64_t kafka_generation,
        kafka_offset; /* exactly-once: what Kafka told at the start; 0: nothing */
    struct content_hash kafka_head;
    int owner;      /* index of the worker that has claimed it, or -1 */
    uint32_t place; /* in the list of all: position_list_add(), position_list_remove() */
};

struct positions;

/* Makes the state folder where it is missing, locks it and loads. NULL and *error; a damaged file is
 * no error: it is kept aside, logged, and the previous one is used (positions_damaged()). */
struct positions *positions_open(const char *folder, struct flusher *flusher, struct error *error);
/* Before anything is claimed: generations of agents with other names are others. */
void positions_name_agent(struct positions *positions, const char *agent);
/* Releases the folder. Does not save. */
void positions_close(struct positions **positions);
/* The state folder, open. */
int positions_folder(const struct positions *positions);
/* Positions were lost: what is found without one is read from its beginning, whatever `start` says. */
bool positions_damaged(const struct positions *positions);

/* The generation's entry, made where there is none, now the worker's; *ret_known tells whether it was there. NULL:
 * another worker has it, or (errno ENOMEM) no memory. The caller reads all but `owner` without a lock. */
struct position *positions_claim(struct positions *positions, const char *stream,
                                 const struct identity *id, const char *path, int worker,
                                 bool *ret_known);
/* How far the generation is delivered, whoever has it. False: it is not known. */
bool positions_find(struct positions *positions, const char *stream, const struct identity *id,
                    struct mark *ret_mark);
/* Before anything is claimed: the spool holds this generation from `begin` up to `mark`. It wins when it is ahead of what was saved and
 * nothing is missing in between; an entry is made where there is none. -1: no memory. */
int positions_restore(struct positions *positions, const struct position *known, uint64_t begin);
void positions_release(struct positions *positions, struct position *position);
/* The log's name was another one. The caller is the worker that has it. -1: no memory. */
int positions_rename(struct positions *positions, struct position *position, const char *path);
void positions_set(struct positions *positions, struct position *position, const struct mark *mark);
/* The file was truncated: a new generation that begins at 0. */
void positions_renew(struct positions *positions, struct position *position);
/* A log was copied and truncated in place: the entry, with its mark, becomes that of the copy, and the log's own file gets a
 * new one that begins at 0 with a new generation, and of which `copied` is given; both in one step, so that no save holds one without the other. An entry that the copy's
 * inode has from before is dropped. Returns the new one, the worker's; NULL: another worker has the copy, or no memory. */
struct position *positions_split(struct positions *positions, struct position *position,
                                 const struct identity *copy, int64_t copied);
/* There is a copy of the log's own file that was born then. The caller is the worker that has it. */
void positions_note_copy(struct positions *positions, struct position *position, int64_t birth);
/* The generation is gone and finished. */
void positions_forget(struct positions *positions, struct position **position);

/* ---- exactly-once ---- */

/* From now on changes that no batch tells Kafka of are kept until they were taken. Before anything is claimed. */
void positions_keep_news(struct positions *positions);
/* What is told in no batch's own ranges: a generation that was forgotten, or that has another identity now. */
struct position_news {
    char *stream;
    struct identity id;
    int worker;
    char *text; /* positions_format() of the entry as it is when all that was sent is delivered; NULL: forgotten */
    size_t len;
    struct position_news *next;
};
/* Those of a worker's stream, in their order; free with position_news_free(). */
struct position_news *positions_take_news(struct positions *positions, const char *stream,
                                          int worker);
/* They could not be told: before all others. */
void positions_return_news(struct positions *positions, struct position_news *news);
void position_news_free(struct position_news *news);
/* An entry as Kafka has it, while nobody has claimed it. It takes the place of the one here, but not of one that is ahead: of the
 * same generation with a higher offset (the spool has what is between, or delivery was at-least-once meanwhile), or of a later
 * generation (the file was truncated and nothing of it sent yet). -1: no memory. */
int positions_adopt(struct positions *positions, const struct position *from);
/* The entry's sequence and copy, for a batch that the spool kept; where there is none, as it was forgotten meanwhile, Kafka is told so after
 * that batch, and they are 0. */
uint64_t positions_sequence(struct positions *positions, const char *stream,
                            const struct identity *id, int worker, int64_t *ret_copied);
/* What Kafka told at the start of the stream's generations; malloc'ed. -1: no memory. */
struct kafka_mark {
    uint64_t generation, offset;
    struct content_hash head;
};
int positions_kafka_marks(struct positions *positions, const char *stream,
                          struct kafka_mark **ret_marks, size_t *ret_n);
/* Is what Kafka told of this file a text that took the place of that one? */
bool positions_kafka_is_later(struct positions *positions, const char *stream,
                              const struct identity *id, uint64_t generation);

/* Calls `each` for every entry of the stream that nobody has claimed, under the lock: `each` calls nothing of this
 * file. */
typedef void positions_each_fn(const struct position *position, void *arg);
void positions_each_unclaimed(struct positions *positions, const char *stream,
                              positions_each_fn *each, void *arg);

/* `changed` is called, in whatever thread, when there is something to save and was nothing before; under the lock. */
typedef void positions_changed_fn(void *arg);
void positions_on_change(struct positions *positions, positions_changed_fn *changed, void *arg);
/* Is there something that is not on disk yet? */
bool positions_pending(struct positions *positions);

/* Hands what changed to the flusher, if it is not still busy with the last save. */
void positions_save(struct positions *positions);
/* Saves now and waits. -1: not saved; logged. */
int positions_save_wait(struct positions *positions);

#endif
