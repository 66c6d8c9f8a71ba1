/* A batch: the unit of work, of memory and of delivery.
 *
 * It goes round:
 *
 *   worker: batch_take() ─▶ tail fills it ─▶ chain ─▶ encode ─▶ producer_send()
 *      ▲                                                            │ the producer has it
 *      └──── inbox ◀── main thread: the last delivery report ◀──────┘
 *
 * Three memories, by how long they are needed:
 *   records    the array of records: the worker's, lent while the batch is built
 *   b.arena    scratch: fields, decoded strings, and the bytes read when they are encoded anew;
 *              given back as soon as everything is encoded
 *   out        what Kafka gets: the messages, their payloads and keys (for `raw`, the bytes as read); lives
 *              until the last delivery report
 *
 * Whoever has the batch is the only one to touch it; `unfinished` is what the worker and the main
 * thread share. */
#ifndef SPLASHDAM_BATCH_H
#define SPLASHDAM_BATCH_H

#include "agent/arena.h"
#include "agent/positions.h"

#include <stdatomic.h>

#define BATCH_RECORDS 2048u /* the most records of one batch */
#define BATCH_ORIGINS 256u  /* the most ranges (sources) of one batch */

/* What a message costs beside its payload, in librdkafka (rd_kafka_msg_t) and here: counted in the memory budget. */
#define BATCH_MESSAGE_COST 256u
/* And what its headers cost in librdkafka, which copies them. */
#define BATCH_HEADERS_COST 256u

struct source;
struct stream;
struct topic;

/* The part of a source that a batch holds. In its source's FIFO until everything before it is finished. */
struct range {
    struct source *source;
    uint64_t begin;
    bool begin_cut; /* the source's state at begin: to read it once more */
    struct content_hash begin_head, begin_tail;
    struct shipped begin_shipped; /* before all that the batch holds of the source */
    uint32_t n_messages;          /* of the batch's */
    uint32_t epoch;      /* of the source: a truncation makes earlier ranges count no more */
    uint64_t generation; /* of the source's position at that time */
    struct mark mark;    /* the position behind it */
    bool finished;
    struct range *next;       /* of the source */
    struct range *batch_next; /* of the batch */
};

/* What Kafka is to get: all that is left of a record once its batch is encoded. */
struct message {
    const char *payload, *key; /* in `out`; key NULL: none */
    struct topic *topic;
    uint32_t payload_len, key_len;
    bool gone; /* the producer has it, or it was discarded */
    /* In a transaction: */
    bool alone;    /* it is on its way in a message set of its own */
    bool suspect;  /* it, or another one of its message set, was refused */
    bool refused;  /* it was, and is discarded: `fault` says why */
    int16_t fault; /* why Kafka did not take it, librdkafka's code; 0: no reason */
};

/* What a message may have beside. */
struct message_extra {
    struct batch_private *batch;
    struct slice headers; /* in `out`: headers.h */
    int64_t time;         /* ms since 1970, 0: when it is sent */
};

struct batch_private {
    struct batch b;
    struct arena out;
    struct stream *stream;
    uint64_t sequence; /* of its stream: rises by one a batch */
    struct range *ranges;
    struct range **last_range;
    const struct origin *origins[BATCH_ORIGINS];
    uint32_t n_origins;
    int64_t time; /* when it was read: ns since 1970 */
    bool timed;   /* messages have times of their own, others than that */
    bool late;    /* it had to wait: its messages are no longer of the time when they are sent */
    struct message *messages; /* in `out` */
    uint32_t n_messages;
    uint32_t next_send; /* messages before it are gone */
    struct message_extra *
        extras; /* in `out`, for each message; NULL: they have neither headers nor times of their own */
    /* Exactly-once: its positions, sent with its messages; in `out`. NULL: it is not to be sent in a transaction. */
    struct message *positions;
    uint32_t n_positions;
    uint32_t sent_positions;
    uint32_t resent;   /* messages that were sent once more */
    uint32_t replaced; /* times of messages */
    bool has_suspects; /* among its messages */
    int stopped_by;    /* why the client took no more: librdkafka's code; 0: to be tried again */
    size_t n_read;     /* bytes of lines read into it */
    uint64_t cut_lines, cut_bytes;
    uint64_t joined,
        limited;      /* lines that went into another one's record; records that a limit ended */
    uint64_t decoded; /* ill-formed places of the file's encoding */
    atomic_uint unfinished; /* messages without an outcome */
    bool finished_here;     /* the last outcome came while sending: nobody will report it */
    size_t cost;            /* bytes that it counts for in the memory budget */
    /* On its way out, worker_spool.c: */
    bool with_client;                    /* the producer has it, or part of it */
    bool read_back;                      /* from the spool: it has no ranges */
    uint64_t frame;                      /* its frame's sequence in the spool; 0: it has none */
    int64_t since;                       /* ns, monotonic: with the client */
    struct batch_private *older, *newer; /* of its stream's */
    struct batch_private *next;          /* in an inbox or a free list */
    struct batch_private *all_next;
};

/* Neither dropped nor discarded: it is to be shipped. */
static inline bool record_is_left(const struct record *record)
{
    return (record->flags & (RECORD_DROPPED | RECORD_DISCARDED)) == 0;
}

static inline struct batch_private *batch_of(struct batch *batch)
{
    return batch->own;
}

/* Batches that were finished, on their way back to their worker: any thread pushes, the worker takes all. */
struct batch_inbox {
    _Atomic(struct batch_private *) first;
};

/* True when it was empty: the worker has to be woken. */
static inline bool batch_inbox_push(struct batch_inbox *inbox, struct batch_private *batch)
{
    struct batch_private *first = atomic_load_explicit(&inbox->first, memory_order_relaxed);
    do
        batch->next = first;
    while (!atomic_compare_exchange_weak_explicit(&inbox->first, &first, batch,
                                                  memory_order_release, memory_order_relaxed));
    return first == NULL;
}

static inline struct batch_private *batch_inbox_take(struct batch_inbox *inbox)
{
    return atomic_exchange_explicit(&inbox->first, NULL, memory_order_acquire);
}

/* What batches are made from; a worker's. */
struct batch_pool {
    struct arena_pool chunks;
    struct batch_private *all; /* that were ever made */
    struct batch_private *free;
    struct range *free_ranges;
    struct record *free_records; /* one spare array, or NULL */
    size_t scratch_limit;
};

void batch_pool_init(struct batch_pool *pool, size_t max_chunks, size_t scratch_limit);
void batch_pool_fini(struct batch_pool *pool);

/* An empty batch with its array of records, or NULL: no memory. */
struct batch_private *batch_take(struct batch_pool *pool, struct slice host);
/* Gives back the scratch memory: fields and values of its records are gone, payloads and keys stay. */
void batch_shrink(struct batch_private *batch);
/* Gives back the array of records: the batch has its messages. */
void batch_drop_records(struct batch_pool *pool, struct batch_private *batch);
/* The batch and all it has but its ranges, which are their sources'. */
void batch_give(struct batch_pool *pool, struct batch_private *batch);

/* A new range at the batch's end, not in any source's FIFO yet. NULL: no memory, or BATCH_ORIGINS. */
struct range *batch_add_range(struct batch_pool *pool, struct batch_private *batch,
                              const struct origin *origin);
/* Takes back the range that was added last. */
void batch_remove_last_range(struct batch_pool *pool, struct batch_private *batch,
                             struct range *range);
void batch_give_range(struct batch_pool *pool, struct range *range);

#endif
