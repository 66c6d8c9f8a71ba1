/* Exactly-once, from outside the transactions' thread: the workers' and the main thread's side, its beginning and its end. */
#include "agent/clock.h"
#include "agent/producer_transaction.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* ---- any thread ---- */

void transactions_wake(struct transactions *t)
{
    pthread_mutex_lock(&t->lock);
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

void transactions_take(struct transactions *t, struct batch_private *batch)
{
    pthread_mutex_lock(&t->lock);
    bool first = t->inbox.first == NULL;
    batch_list_add(&t->inbox, batch);
    if (first)
        pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

/* ---- the main thread ---- */

static void make_client(struct transactions *t)
{
    struct error error;
    producer_drop_client(t->producer);
    if (producer_renew(t->producer, &error) == -1) {
        log_error("kafka", "%s", error.text);
        exit(1); /* without a client nothing can be delivered; a restart loses nothing */
    }
    pthread_mutex_lock(&t->lock);
    t->wants_client = false;
    t->renew = false;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

static void on_wake(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)loop;
    (void)events;
    struct transactions *t = (struct transactions *)watcher->data;
    pthread_mutex_lock(&t->lock);
    struct batch_private *batch = t->committed.first;
    batch_list_init(&t->committed);
    int told = t->tell;
    t->tell = 0;
    bool wants_client = t->wants_client && !t->quit;
    pthread_mutex_unlock(&t->lock);
    while (batch != NULL) {
        struct batch_private *next = batch->next;
        transactions_count(batch);
        t->producer->finished(batch);
        batch = next;
    }
    if (wants_client)
        make_client(t);
    if (told != 0)
        t->told(t->told_arg, (enum producer_state)(told - 1));
}

void transactions_configure(struct transactions *t, const struct config *config, bool renew)
{
    atomic_store(&t->longest, config->kafka.transaction * NS_PER_MS);
    atomic_store(&t->most, config->agent.memory / 4 * 3);
    if (!renew)
        return;
    log_info("kafka", "the configuration changed: another client is made when the open transaction "
                      "has ended");
    pthread_mutex_lock(&t->lock);
    t->renew = true;
    t->renew_at = clock_monotonic();
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

int transactions_start(struct producer *producer, struct error *error)
{
    const struct config *config = producer->config;
    struct transactions *t = (struct transactions *)calloc(1, sizeof(*t));
    producer->transactions = t;
    if (t == NULL || (t->agent = strdup(config->agent.id)) == NULL ||
        (t->topic_name = strdup(config->kafka.positions)) == NULL)
        return error_set(error, "out of memory");
    t->producer = producer;
    if (getrandom(&t->instance, sizeof(t->instance), 0) != sizeof(t->instance))
        t->instance = (uint64_t)clock_real();
    batch_list_init(&t->inbox);
    batch_list_init(&t->committed);
    batch_list_init(&t->waiting);
    batch_list_init(&t->sent);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->cond, NULL);
    ev_async_init(&t->wake, on_wake);
    t->wake.data = t;
    ev_async_start(producer->loop, &t->wake);
    transactions_configure(t, config, false);
    return 0;
}

void transactions_free(struct producer *producer)
{
    struct transactions *t = producer->transactions;
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    t->quit = true;
    pthread_cond_signal(&t->cond);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    while (t->started && !ended) { /* it needs the loop for reports */
        ev_run(producer->loop, EVRUN_ONCE);
        pthread_mutex_lock(&t->lock);
        ended = t->ended;
        pthread_mutex_unlock(&t->lock);
    }
    if (t->started)
        pthread_join(t->thread, NULL);
    if (t->wake.data != NULL)
        ev_async_stop(producer->loop, &t->wake);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
    free(t->agent);
    free(t->topic_name);
    free(t);
    producer->transactions = NULL;
}

bool producer_is_transactional(const struct producer *producer)
{
    return producer->transactions != NULL;
}

int producer_begin(struct producer *producer, struct positions *positions, producer_state_fn *told,
                   void *arg)
{
    struct transactions *t = producer->transactions;
    t->positions = positions;
    t->told = told;
    t->told_arg = arg;
    positions_keep_news(positions);
    errno = pthread_create(&t->thread, NULL, transactions_main, t);
    t->started = errno == 0;
    return t->started ? 0 : -1;
}

void producer_transactions(const struct producer *producer, uint64_t *ret_committed,
                           uint64_t *ret_aborted)
{
    *ret_committed = atomic_load(&producer->transactions->n_committed);
    *ret_aborted = atomic_load(&producer->transactions->n_aborted);
}
