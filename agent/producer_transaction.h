/* Exactly-once, for producer_transaction*.c and producer_positions*.c only.
 *
 *   workers ─ inbox ─▶ waiting ─ sent to the client ─▶ sent ─ commit ─▶ committed ─▶ main thread: settled, finished
 *                         ▲                              │
 *                         └──────── abort ───────────────┘
 *
 * A batch is in one of these lists until it is finished. The thread has `waiting` and `sent` and all that concerns the open
 * transaction; the lists at both ends are under the lock. */
#ifndef SPLASHDAM_PRODUCER_TRANSACTION_H
#define SPLASHDAM_PRODUCER_TRANSACTION_H

#include "agent/producer_inner.h"

#define TRANSACTION_NAME_MAX 64u

struct batch_list {
    struct batch_private *first, **last;
};

/* How a step ended. */
enum step {
    STEP_DONE,
    STEP_AGAIN,  /* not yet: the same once more */
    STEP_ABORT,  /* the transaction can't be committed */
    STEP_LOST,   /* the client is of no use any more; another one goes on */
    STEP_FENCED, /* the name is another agent's */
    STEP_STOP,   /* the agent ends */
};

/* What Kafka has. */
struct kafka_positions {
    void *entries;                          /* tsearch(3) tree of struct kafka_entry */
    char transaction[TRANSACTION_NAME_MAX]; /* the name of the agent's last committed one; empty: there is none */
};

struct transactions {
    struct producer *producer;
    struct positions *positions;
    char *agent;
    char *topic_name;
    producer_state_fn *told;
    void *told_arg;
    pthread_t thread;
    bool started;
    struct ev_async wake;    /* of the main thread */
    _Atomic int64_t longest; /* ns that a transaction is open */
    atomic_size_t most;      /* bytes of a transaction's batches */
    atomic_bool failed;      /* a message of the open transaction was not delivered */
    _Atomic uint64_t n_committed, n_aborted;

    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct batch_list inbox, committed;
    bool quit, ended;
    bool wants_client; /* the main thread is to make one */
    atomic_bool renew; /* the configuration changed: the same, as soon as nothing is open */
    int64_t renew_at;  /* ns, monotonic: asked then */
    int tell;          /* enum producer_state and 1; 0: nothing */

    /* The thread's: */
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic; /* of the positions */
    struct batch_list waiting, sent;
    uint64_t instance, number; /* of this run, of its last transaction: its name */
    bool begun;                /* positions were read once, streams may run */
    bool open;
    bool trial;             /* the open transaction, or the last one, is of streams that failed */
    int64_t opened, newest; /* ns, monotonic: begun; something was sent last */
    int64_t opened_boot; /* the same by CLOCK_BOOTTIME: Kafka's time goes on while this machine is suspended */
    int64_t timeout; /* ns: after so long Kafka itself aborts it */
    size_t size;     /* bytes of `sent` */
    struct log_limit waits, aborts;
};

static inline void batch_list_init(struct batch_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static inline void batch_list_add(struct batch_list *list, struct batch_private *batch)
{
    batch->next = NULL;
    *list->last = batch;
    list->last = &batch->next;
}

/* All of `from` behind what the list has. */
static inline void batch_list_append(struct batch_list *list, struct batch_list *from)
{
    if (from->first == NULL)
        return;
    *list->last = from->first;
    list->last = from->last;
    batch_list_init(from);
}

/* producer_transaction.c */
/* The thread; takes the struct transactions. */
void *transactions_main(void *arg);
/* Waits until there may be something to do, or until then (ns, monotonic). STEP_STOP: the agent ends. */
enum step transactions_wait(struct transactions *t, int64_t until);
/* Waits for so long, whatever comes. STEP_STOP: the agent ends. */
enum step transactions_pause(struct transactions *t, int64_t ns);

/* There is another configuration, and the client with the old one had time enough. */
bool transactions_are_impatient(struct transactions *t);
/* The open transaction is of streams that failed, and keeps others waiting for long. */
bool transactions_must_yield(struct transactions *t);

/* producer_transaction_send.c */
/* The client has reported everything that it was given. STEP_ABORT, STEP_STOP. */
enum step transactions_flush(struct transactions *t);
/* Gives the client a batch in the open transaction: STEP_DONE: all of it; else STEP_ABORT or STEP_STOP. */
enum step transactions_send(struct transactions *t, struct batch_private *batch);
/* The message that tells afterwards whether the transaction was committed. */
enum step transactions_send_name(struct transactions *t);
void transactions_name(const struct transactions *t, char name[TRANSACTION_NAME_MAX]);
/* The transaction is aborted: its batches wait again, before all others. */
void transactions_again(struct transactions *t);
/* Nothing of the stream is sent for a while, longer each time until a transaction of it is committed. */
void transactions_hold(struct stream *stream);
/* The main thread: what became of a committed batch's records. */
void transactions_count(struct batch_private *batch);

/* producer_positions.c */
/* Makes the topic where it is missing; what it is can't be used: logged. STEP_DONE or STEP_AGAIN. */
enum step producer_positions_make(struct transactions *t);

/* producer_positions_read.c */
/* All that was committed before it is called; only init_transactions() of the agent's name ends what was open. With a client's
 * configuration, connecting by itself. STEP_DONE, STEP_AGAIN (logged), or STEP_STOP; free in any case. */
enum step producer_positions_read(struct transactions *t, struct kafka_positions *ret_found);
/* Gives them to the positions. -1: no memory. */
int kafka_positions_adopt(struct transactions *t, const struct kafka_positions *found);
void kafka_positions_free(struct kafka_positions *found);

#endif
