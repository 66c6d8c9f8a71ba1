/* Exactly-once: records and positions in one transaction.
 *
 *   beginning ── init_transactions(), positions read, an own transaction committed ─▶ serving
 *   serving   ── something to send: begin ─▶ send ─▶ commit ─▶ …     abort, and all of it again
 *       └── a fatal error ─▶ another client ─▶ beginning
 *       └── the name is another agent's ─▶ told, end
 *
 * Calls for transactions block, so they are a thread's own; the main thread goes on serving the client's reports, without which
 * they would not end. A transaction holds whole batches. It is committed when nothing came for QUIET_NS, or it is old or large.
 *
 * A commit whose answer never came may have happened. Each transaction has a name, a message of it: after init_transactions() has
 * settled what was open, the name that Kafka has tells whether the last one was committed (its batches are finished) or not (they are sent
 * again). When the client is fenced although the transaction was older than transaction.timeout.ms, it may be Kafka that aborted it; then
 * the name tells, too, whether another agent has this one's place. */
#include "agent/clock.h"
#include "agent/producer_transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define QUIET_NS    (50 * NS_PER_MS)
#define CALL_MS     500 /* a call gives up for a moment after that, to look whether the agent ends */
#define TRIAL_NS    (3 * NS_PER_S) /* streams that failed keep others waiting so long */
#define RETRY_NS    (NS_PER_S / 2)
#define LOST_NS     (2 * NS_PER_S)  /* until another client is made */
#define PATIENCE_NS (10 * NS_PER_S) /* with the old configuration, when there is another one */
#define END_NS      (2 * NS_PER_S)  /* an ending agent tries so long to abort what is open */
#define IDLE_NS     (60 * NS_PER_S)

/* ---- waiting ---- */

/* Under the lock. */
static void wait_until(struct transactions *t, int64_t until)
{
    const struct timespec at = {until / NS_PER_S, until % NS_PER_S};
    pthread_cond_clockwait(&t->cond, &t->lock, CLOCK_MONOTONIC, &at);
}

enum step transactions_wait(struct transactions *t, int64_t until)
{
    pthread_mutex_lock(&t->lock);
    if (!t->quit && !t->renew && t->inbox.first == NULL && !atomic_load(&t->failed))
        wait_until(t, until);
    bool quit = t->quit;
    batch_list_append(&t->waiting, &t->inbox);
    pthread_mutex_unlock(&t->lock);
    return quit ? STEP_STOP : STEP_DONE;
}

enum step transactions_pause(struct transactions *t, int64_t ns)
{
    int64_t until = clock_monotonic() + ns;
    pthread_mutex_lock(&t->lock);
    while (!t->quit && ns > 0 && clock_monotonic() < until)
        wait_until(t, until);
    bool quit = t->quit;
    pthread_mutex_unlock(&t->lock);
    return quit ? STEP_STOP : STEP_DONE;
}

static void tell(struct transactions *t, enum producer_state state)
{
    pthread_mutex_lock(&t->lock);
    t->tell = (int)state + 1;
    pthread_mutex_unlock(&t->lock);
    ev_async_send(t->producer->loop, &t->wake);
}

/* ---- errors ---- */

static bool is_fence(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

static enum step is_fatal(struct transactions *t, const char *what)
{
    char text[512];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(t->rk, text, sizeof(text));
    if (is_fence(code))
        return STEP_FENCED;
    log_error("kafka", "%s: %s: %s; another client goes on", what, rd_kafka_err2name(code),
              log_quote(text));
    return STEP_LOST;
}

/* Frees the error. */
static enum step take_error(struct transactions *t, rd_kafka_error_t *error, const char *what)
{
    unsigned times;
    enum step step = STEP_LOST;
    if (rd_kafka_error_is_fatal(error)) {
        step = is_fatal(t, what);
    } else if (rd_kafka_error_txn_requires_abort(error)) {
        step = STEP_ABORT;
        if (log_allowed(&t->aborts, &times))
            log_warn("kafka", "a transaction is aborted and sent again: %s times=%u",
                     log_quote(rd_kafka_error_string(error)), times);
    } else if (rd_kafka_error_is_retriable(error)) {
        step = STEP_AGAIN;
        if (log_allowed(&t->waits, &times))
            log_warn("kafka", "waiting for Kafka: %s: %s times=%u", what,
                     log_quote(rd_kafka_error_string(error)), times);
    } else {
        log_error("kafka", "%s: %s; another client goes on", what,
                  log_quote(rd_kafka_error_string(error)));
    }
    rd_kafka_error_destroy(error);
    return step;
}

/* ---- a transaction ---- */

bool transactions_are_impatient(struct transactions *t)
{
    pthread_mutex_lock(&t->lock);
    bool impatient = t->renew && clock_monotonic() - t->renew_at > PATIENCE_NS;
    pthread_mutex_unlock(&t->lock);
    if (impatient)
        log_warn("kafka",
                 "nothing was answered for %d s: the client with the new configuration finds out "
                 "what was committed",
                 (int)(PATIENCE_NS / NS_PER_S));
    return impatient;
}

static enum step begin(struct transactions *t)
{
    rd_kafka_error_t *error = rd_kafka_begin_transaction(t->rk);
    if (error != NULL)
        return take_error(t, error, "a transaction can't begin");
    t->open = true;
    t->number++;
    t->opened = t->newest = clock_monotonic();
    t->opened_boot = clock_ns(CLOCK_BOOTTIME);
    return transactions_send_name(t);
}

static void finished(struct transactions *t)
{
    t->open = false;
    t->size = 0;
    atomic_fetch_add(&t->n_committed, 1);
    for (struct batch_private *batch = t->sent.first; batch != NULL; batch = batch->next)
        batch->stream->held_for = 0;
    if (t->sent.first == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    batch_list_append(&t->committed, &t->sent);
    pthread_mutex_unlock(&t->lock);
    ev_async_send(t->producer->loop, &t->wake);
}

/* A step that Kafka has to answer, until it does. */
static enum step call(struct transactions *t,
                      rd_kafka_error_t *(*function)(rd_kafka_t *rk, int timeout_ms),
                      const char *what)
{
    for (;;) {
        int64_t began = clock_monotonic();
        rd_kafka_error_t *error = function(t->rk, CALL_MS);
        if (error == NULL)
            return STEP_DONE;
        enum step step = take_error(t, error, what);
        if (step != STEP_AGAIN)
            return step;
        if (transactions_are_impatient(t))
            return STEP_LOST;
        int64_t left = CALL_MS * NS_PER_MS - (clock_monotonic() - began);
        if (transactions_pause(t, left > 0 ? left : 0) == STEP_STOP)
            return STEP_STOP;
    }
}

/* It was not committed, and never will be. */
static void again(struct transactions *t)
{
    atomic_fetch_add(&t->n_aborted, 1);
    transactions_again(t);
    t->open = false;
}

static enum step abort_all(struct transactions *t)
{
    char text[16];
    enum step step;
    if (rd_kafka_fatal_error(t->rk, text, sizeof(text)) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return is_fatal(t, "a transaction failed");
    step = call(t, rd_kafka_abort_transaction, "a transaction can't be aborted yet");
    if (step == STEP_ABORT)
        step = STEP_LOST;
    if (step != STEP_DONE)
        return step;
    again(t);
    return STEP_DONE;
}

static enum step commit(struct transactions *t)
{
    enum step step = transactions_flush(t);
    if (step != STEP_DONE)
        return step;
    step = call(t, rd_kafka_commit_transaction, "a transaction can't be committed yet");
    if (step == STEP_DONE)
        finished(t);
    return step;
}

/* ---- serving ---- */

static bool is_full(const struct transactions *t)
{
    return t->size >= atomic_load(&t->most) ||
           clock_monotonic() - t->opened >= atomic_load(&t->longest);
}

/* Is there something to send of streams that did not fail, of others whose time has come? */
static bool any_waits(const struct transactions *t, bool failed, int64_t now)
{
    for (const struct batch_private *batch = t->waiting.first; batch != NULL; batch = batch->next)
        if (failed ? batch->stream->held_for != 0 && batch->stream->held_until <= now
                   : batch->stream->held_for == 0)
            return true;
    return false;
}

bool transactions_must_yield(struct transactions *t)
{
    const int64_t now = clock_monotonic();
    if (!t->open || !t->trial || now - t->opened < TRIAL_NS)
        return false;
    transactions_wait(t, 0); /* takes what came */
    return any_waits(t, false, now);
}

/* Streams that failed are tried in transactions of their own, in turn with the others: so they can't make these fail. */
static bool may_send(const struct transactions *t, const struct stream *stream, int64_t now)
{
    return t->trial ? stream->held_for != 0 && stream->held_until <= now : stream->held_for == 0;
}

/* Gives the client what waits, of the streams that need not; `now` is one for all of a stream's batches. */
static enum step send_waiting(struct transactions *t)
{
    const int64_t now = clock_monotonic();
    if (!t->open)
        t->trial = any_waits(t, true, now) && (!t->trial || !any_waits(t, false, now));
    struct batch_private **at = &t->waiting.first;
    enum step step = STEP_DONE;
    while (step == STEP_DONE && *at != NULL && !(t->open && is_full(t))) {
        struct batch_private *batch = *at;
        if (!may_send(t, batch->stream, now)) {
            at = &batch->next;
            continue;
        }
        if (!t->open)
            step = begin(t);
        if (step != STEP_DONE)
            break;
        *at = batch->next;
        if (*at == NULL)
            t->waiting.last = at;
        batch_list_add(&t->sent,
                       batch); /* also when only a part is sent: an abort takes all of it back */
        t->size += batch->cost;
        t->newest = now;
        step = transactions_send(t, batch);
    }
    return step;
}

/* When there is something to do without anything new. */
static int64_t due_at(const struct transactions *t)
{
    int64_t at = clock_monotonic() + IDLE_NS;
    if (t->open) {
        int64_t end = t->opened + atomic_load(&t->longest), quiet = t->newest + QUIET_NS;
        return is_full(t) ? 0 : end < quiet ? end : quiet;
    }
    for (const struct batch_private *batch = t->waiting.first; batch != NULL; batch = batch->next)
        if (batch->stream->held_until < at)
            at = batch->stream->held_until;
    return at;
}

static bool is_due(const struct transactions *t)
{
    return is_full(t) || t->renew || clock_monotonic() - t->newest >= QUIET_NS;
}

static enum step serve_once(struct transactions *t)
{
    enum step step = send_waiting(t);
    if (step == STEP_DONE && atomic_load(&t->failed))
        step = STEP_ABORT;
    if (step == STEP_DONE && t->open && is_due(t))
        step = commit(t);
    if (step == STEP_ABORT)
        step = abort_all(t);
    return step;
}

static enum step serve(struct transactions *t)
{
    char text[16];
    for (;;) {
        enum step step = transactions_wait(t, due_at(t));
        if (step == STEP_DONE &&
            rd_kafka_fatal_error(t->rk, text, sizeof(text)) != RD_KAFKA_RESP_ERR_NO_ERROR)
            step = is_fatal(t, "the client failed");
        if (step == STEP_DONE)
            step = serve_once(t);
        if (step != STEP_DONE && step != STEP_AGAIN)
            return step;
        if (t->renew && !t->open)
            return STEP_LOST;
        if (step == STEP_AGAIN && transactions_pause(t, RETRY_NS) == STEP_STOP)
            return STEP_STOP;
    }
}

/* ---- beginning ---- */

static int64_t timeout_of(rd_kafka_t *rk)
{
    char text[32] = "";
    size_t room = sizeof(text);
    rd_kafka_conf_get(rd_kafka_conf(rk), "transaction.timeout.ms", text, &room);
    return strtoll(text, NULL, 10) * NS_PER_MS;
}

/* The main thread makes it. */
static enum step take_client(struct transactions *t)
{
    if (t->topic != NULL)
        rd_kafka_topic_destroy(t->topic);
    t->topic = NULL;
    pthread_mutex_lock(&t->lock);
    if (t->rk != NULL) {
        t->wants_client = true;
        ev_async_send(t->producer->loop, &t->wake);
    }
    while (t->wants_client && !t->quit)
        pthread_cond_wait(&t->cond, &t->lock);
    bool quit = t->quit;
    pthread_mutex_unlock(&t->lock);
    if (quit)
        return STEP_STOP;
    t->rk = t->producer->client->rk;
    t->topic = rd_kafka_topic_new(t->rk, t->topic_name, NULL);
    t->timeout = timeout_of(t->rk);
    return t->topic == NULL ? STEP_LOST : STEP_DONE;
}

static enum step read_positions(struct transactions *t, struct kafka_positions *found)
{
    enum step step;
    while ((step = producer_positions_read(t, found)) == STEP_AGAIN) {
        kafka_positions_free(found);
        if (transactions_pause(t, RETRY_NS) == STEP_STOP)
            return STEP_STOP;
    }
    return step;
}

/* Was the transaction that the last client left committed? */
static void resolve(struct transactions *t, const struct kafka_positions *found)
{
    char name[TRANSACTION_NAME_MAX];
    transactions_name(t, name);
    if (t->sent.first == NULL && !t->open)
        return;
    if (strcmp(found->transaction, name) == 0) {
        log_info("kafka", "the transaction whose outcome was not known is committed");
        finished(t);
        return;
    }
    log_info("kafka",
             "the transaction whose outcome was not known is not committed: it is sent again");
    again(t);
}

/* A transaction of nothing but its name: whoever reads it knows who has this name now, and what may not be done is found out before a file is
 * read. */
static enum step greet(struct transactions *t)
{
    enum step step = begin(t);
    if (step == STEP_DONE)
        step = commit(t);
    if (step == STEP_ABORT)
        step = abort_all(t) == STEP_DONE ? STEP_AGAIN : STEP_LOST;
    return step;
}

static enum step start(struct transactions *t)
{
    struct kafka_positions found = {.entries = NULL};
    enum step step = call(t, rd_kafka_init_transactions, "transactions can't be used yet");
    while (step == STEP_DONE && (step = producer_positions_make(t)) == STEP_AGAIN)
        step = transactions_pause(t, RETRY_NS);
    if (step == STEP_DONE)
        step = read_positions(t, &found);
    if (step == STEP_DONE) {
        resolve(t, &found);
        while ((step = greet(t)) == STEP_AGAIN)
            if (transactions_pause(t, RETRY_NS) == STEP_STOP)
                break;
    }
    if (step == STEP_DONE && !t->begun && kafka_positions_adopt(t, &found) == -1) {
        log_error("kafka", "out of memory: positions are read again");
        step = STEP_LOST;
    }
    kafka_positions_free(&found);
    if (step != STEP_DONE)
        return step == STEP_ABORT ? STEP_LOST : step;
    if (!t->begun)
        tell(t, PRODUCER_READY);
    t->begun = true;
    log_info("kafka", "transactions are used id=splashdam-%s", t->agent);
    return STEP_DONE;
}

/* Fenced: by Kafka itself, or has another agent taken the name? */
static enum step is_replaced(struct transactions *t)
{
    struct kafka_positions found;
    char name[TRANSACTION_NAME_MAX];
    if (!t->begun || !t->open || clock_ns(CLOCK_BOOTTIME) - t->opened_boot < t->timeout)
        return STEP_FENCED;
    enum step step = read_positions(t, &found);
    if (step != STEP_DONE) {
        kafka_positions_free(&found);
        return step;
    }
    snprintf(name, sizeof(name), "%016" PRIx64 " ", t->instance);
    bool ours = strncmp(found.transaction, name, strlen(name)) == 0;
    kafka_positions_free(&found);
    if (ours)
        log_warn("kafka", "Kafka aborted a transaction that was open for longer than "
                          "transaction.timeout.ms; another client goes on");
    return ours ? STEP_LOST : STEP_FENCED;
}

/* ---- the thread ---- */

static void end_open(struct transactions *t)
{
    int64_t until = clock_monotonic() + END_NS;
    while (t->open && clock_monotonic() < until) {
        rd_kafka_error_t *error = rd_kafka_abort_transaction(t->rk, CALL_MS);
        bool again = error != NULL && rd_kafka_error_is_retriable(error);
        if (error != NULL)
            rd_kafka_error_destroy(error);
        t->open = again;
    }
}

void *transactions_main(void *arg)
{
    struct transactions *t = (struct transactions *)arg;
    enum step step;
    pthread_setname_np(pthread_self(), "transactions");
    do {
        step = take_client(t);
        if (step == STEP_DONE)
            step = start(t);
        if (step == STEP_DONE)
            step = serve(t);
        if (step == STEP_FENCED)
            step = is_replaced(t);
        if (step == STEP_LOST && !t->renew)
            step = transactions_pause(t, LOST_NS) == STEP_STOP ? STEP_STOP : STEP_LOST;
    } while (step != STEP_STOP && step != STEP_FENCED);
    if (step == STEP_FENCED)
        tell(t, PRODUCER_FENCED);
    else if (t->rk != NULL)
        end_open(t);
    if (t->topic != NULL)
        rd_kafka_topic_destroy(t->topic);
    pthread_mutex_lock(&t->lock);
    t->ended = true;
    pthread_mutex_unlock(&t->lock);
    ev_async_send(t->producer->loop, &t->wake);
    return NULL;
}
