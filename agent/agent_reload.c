/* SIGHUP: another configuration, without a stop.
 *
 *   none ── SIGHUP ─▶ loading ── it is right ─▶ applying ── every worker has its plan ─▶ none
 *                        └── it is not: told, and nothing is changed ─▶ none
 *
 * Loading is a thread's of its own: files may be slow, and regular expressions take time to compile. It reads and checks everything,
 * and makes all that the new streams need; only what can't fail is left then. A SIGHUP meanwhile is remembered: once more
 * afterwards, however many came. Streams that leave are no part of this: they go when they can (worker_plan.c). */
#include "agent/agent_inner.h"
#include "agent/log.h"
#include "agent/notify.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum reload_state { RELOAD_NONE, RELOAD_LOADING, RELOAD_APPLYING };

#define NONE SIZE_MAX

/* So long a stream may leave until it is told what keeps it, and then each: */
#define LEAVING_FIRST_S 10.
#define LEAVING_AGAIN_S 60.

/* A stream of the new configuration. */
struct next {
    struct stream_group *group; /* NULL: the present one goes on */
    size_t before;              /* the present one of that name; NONE */
    struct route *route;        /* that was made for it; NULL: none was */
};

struct changes {
    size_t added, changed, removed, unchanged;
};

struct reload {
    struct agent *agent;
    struct ev_async told;
    enum reload_state state;
    bool again;
    struct ev_timer leaving; /* while streams are */

    /* While loading, the loader's: */
    pthread_t loader;
    struct config *config; /* NULL: *error says what is wrong */
    struct next *next;     /* for each of its streams */
    struct error error;
    atomic_bool loaded;

    /* While it is applied: */
    struct plan *plans; /* one a worker */
    struct stream **planned;
    struct changes changes;
};

/* ---- loading ---- */

static int take_route(struct reload *reload, struct next *next)
{
    struct route *route;
    bool new;
    if (agent_spool_route(reload->agent, next->group->section->name, &route, &new,
                          &reload->error) == -1)
        return -1;
    next->route = new ? route : NULL;
    stream_group_take_route(next->group, route);
    return 0;
}

static int make_groups(struct reload *reload)
{
    const struct agent *agent = reload->agent;
    struct config *config = reload->config;
    reload->next = (struct next *)calloc(config->n_streams, sizeof(struct next));
    if (reload->next == NULL)
        return error_set(&reload->error, "out of memory");
    for (size_t i = 0; i < config->n_streams; i++) {
        const struct config_stream *stream = &config->streams[i];
        const struct config_stream *before = config_named(agent->config, stream->name);
        struct next *next = &reload->next[i];
        next->before = before == NULL ? NONE : (size_t)(before - agent->config->streams);
        if (before != NULL && config_stream_equal(agent->config, before, config, stream))
            continue;
        next->group = stream_group_new(config, stream, agent->workers, (size_t)agent->n_workers,
                                       agent->producer, &reload->error);
        if (next->group == NULL || take_route(reload, next) == -1)
            return -1;
    }
    return 0;
}

static void drop_loaded(struct reload *reload)
{
    for (size_t i = 0; reload->next != NULL && i < reload->config->n_streams; i++) {
        stream_group_free(&reload->next[i].group);
        route_close(&reload->next[i].route);
    }
    free(reload->next);
    reload->next = NULL;
    config_free(&reload->config);
}

static void *load(void *arg)
{
    struct reload *reload = (struct reload *)arg;
    const struct config *present = reload->agent->config;
    pthread_setname_np(pthread_self(), "reload");
    reload->config = config_load(present->file, &reload->error);
    if (reload->config != NULL &&
        (config_check_reload(present, reload->config, &reload->error) == -1 ||
         producer_check(reload->config, &reload->error) == -1 || make_groups(reload) == -1))
        drop_loaded(reload);
    atomic_store_explicit(&reload->loaded, true, memory_order_release);
    ev_async_send(reload->agent->loop, &reload->told);
    return NULL;
}

/* ---- the end of it ---- */

static void begin(struct reload *reload);

static void end(struct reload *reload)
{
    reload->state = RELOAD_NONE;
    if (reload->agent->draining)
        return;
    notify("READY=1");
    if (reload->again)
        begin(reload);
}

static void refuse(struct reload *reload)
{
    const struct error *error = &reload->error;
    const char *text = "the configuration is refused, and the one that runs goes on as it is";
    if (error->file[0] != '\0')
        log_error("reload", "%s: %s:%d:%d: %s", text, error->file, error->line, error->column,
                  error->text);
    else
        log_error("reload", "%s: %s", text, error->text);
    end(reload);
}

static void begin(struct reload *reload)
{
    sigset_t all, before;
    struct agent *agent = reload->agent;
    reload->again = false;
    log_info("reload", "reading the configuration file=%s", log_quote(agent->config->file));
    notify_reloading();
    reload->error = (struct error){.line = 0};
    atomic_store(&reload->loaded, false);
    reload->state = RELOAD_LOADING;
    sigfillset(&all); /* they are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&reload->loader, NULL, load, reload);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == 0)
        return;
    error_set(&reload->error, "cannot start a thread: %s", strerror(code));
    refuse(reload);
}

/* ---- applying ---- */

static struct stream_group *take_removed(struct agent *agent, const char *name)
{
    struct stream_group **at = &agent->removed;
    while (*at != NULL && strcmp((*at)->section->name, name) != 0)
        at = &(*at)->next;
    struct stream_group *group = *at;
    if (group != NULL)
        *at = group->next;
    return group;
}

/* Ends a group of which nothing is left. */
static void settle(struct agent *agent, struct stream_group *group)
{
    while (group->n_left == 0 && group->after != NULL) {
        struct stream_group *after = group->after;
        stream_group_merge(&group);
        group = after;
    }
    if (group->n_left > 0 || group->before != NULL)
        return;
    struct stream_group **at = &agent->removed;
    while (*at != NULL && *at != group)
        at = &(*at)->next;
    if (*at == NULL)
        return; /* it is configured, and could not be opened */
    *at = group->next;
    agent_log_removed(group);
    if (group->route != NULL)
        route_forget(group->route);
    stream_group_free(&group);
}

/* Gives the agent the new groups; those without a place among them leave. */
static void take_groups(struct reload *reload, struct stream_group **groups)
{
    struct agent *agent = reload->agent;
    struct changes *changes = &reload->changes;
    *changes = (struct changes){.added = 0};
    for (size_t i = 0; i < reload->config->n_streams; i++) {
        const struct next *next = &reload->next[i];
        struct stream_group *before = NULL;
        groups[i] = next->group;
        if (next->before != NONE) {
            before = agent->groups[next->before];
            agent->groups[next->before] = NULL;
        }
        if (groups[i] == NULL) {
            assert(before != NULL);
            groups[i] = before;
            changes->unchanged++;
            continue;
        }
        changes->changed += before != NULL;
        changes->added += before == NULL;
        if (before == NULL)
            before = take_removed(agent, groups[i]->section->name);
        groups[i]->before = before;
        if (before != NULL) {
            before->after = groups[i];
            settle(agent, before);
        }
    }
    for (size_t i = 0; i < agent->n_groups; i++) {
        struct stream_group *group = agent->groups[i];
        if (group == NULL)
            continue;
        group->next = agent->removed;
        agent->removed = group;
        changes->removed++;
        settle(agent, group);
    }
    free((void *)agent->groups);
    agent->groups = groups;
    agent->n_groups = reload->config->n_streams;
}

static void send_plans(struct reload *reload)
{
    struct agent *agent = reload->agent;
    struct stream **at = reload->planned;
    for (size_t w = 0; w < (size_t)agent->n_workers; w++) {
        struct plan *plan = &reload->plans[w];
        plan->streams = at;
        plan->memory = agent->config->agent.memory / (size_t)agent->n_workers;
        for (size_t i = 0; i < agent->n_groups; i++)
            if (agent->groups[i]->streams[w] != NULL)
                at[plan->n++] = agent->groups[i]->streams[w];
        at += plan->n;
        worker_apply(agent->workers[w], plan);
    }
}

/* -1: no memory. What was kept stays, also when the configuration is refused. */
static int keep_routes(struct reload *reload)
{
    for (size_t i = 0; i < reload->config->n_streams; i++) {
        if (reload->next[i].route == NULL)
            continue;
        if (agent_spool_keep(reload->agent, reload->next[i].route) == -1)
            return -1;
        reload->next[i].route = NULL;
    }
    return 0;
}

static void apply(struct reload *reload)
{
    struct agent *agent = reload->agent;
    size_t n = reload->config->n_streams, n_workers = (size_t)agent->n_workers;
    struct stream_group **groups = (struct stream_group **)calloc(n, sizeof(struct stream_group *));
    reload->plans = (struct plan *)calloc(n_workers, sizeof(struct plan));
    reload->planned = (struct stream **)calloc(n * n_workers, sizeof(struct stream *));
    error_set(&reload->error, "out of memory");
    if (groups == NULL || reload->plans == NULL || reload->planned == NULL ||
        keep_routes(reload) == -1 ||
        producer_reconfigure(agent->producer, reload->config, &reload->error) == -1) {
        free((void *)groups);
        free(reload->plans);
        free((void *)reload->planned);
        drop_loaded(reload);
        refuse(reload);
        return;
    }
    take_groups(reload, groups);
    free(reload->next);
    reload->next = NULL;
    config_free(&agent->config);
    agent->config = reload->config;
    reload->config = NULL;
    log_set_level(agent->config->agent.log_level);
    reload->state = RELOAD_APPLYING;
    send_plans(reload);
}

/* ---- streams that leave ---- */

static bool tell_leaving(const struct stream_group *group, const char *waits)
{
    uint64_t sums[STAT_COUNT] = {0};
    if (group == NULL)
        return false;
    stream_group_counters(group, sums);
    log_warn("reload",
             "a stream was %s, and Kafka has not acknowledged what it read before stream=%s "
             "in_flight=%" PRIu64 " spooled=%" PRIu64,
             waits, group->section->name, stats_in_flight(sums), stats_spooled(sums));
    return true;
}

static void on_leaving(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    const struct agent *agent = (const struct agent *)timer->data;
    bool any = false;
    for (size_t i = 0; i < agent->n_groups; i++)
        any |= tell_leaving(agent->groups[i]->before,
                            "changed: as it is now it begins after that, or with a restart");
    for (const struct stream_group *group = agent->removed; group != NULL; group = group->next)
        any |= tell_leaving(group, "removed: it is gone after that");
    timer->repeat = LEAVING_AGAIN_S;
    if (any && !agent->draining)
        ev_timer_again(loop, timer);
    else
        ev_timer_stop(loop, timer);
}

static void watch_leaving(struct reload *reload)
{
    reload->leaving.repeat = LEAVING_FIRST_S;
    ev_timer_again(reload->agent->loop, &reload->leaving);
}

static bool is_applied(const struct reload *reload)
{
    const struct agent *agent = reload->agent;
    for (int i = 0; i < agent->n_workers; i++)
        if (!worker_planned(agent->workers[i]))
            return false;
    return true;
}

static void free_plans(struct reload *reload)
{
    free(reload->plans);
    free((void *)reload->planned);
    reload->plans = NULL;
    reload->planned = NULL;
}

/* ---- what is told ---- */

static void forget_gone(struct agent *agent)
{
    for (int i = 0; i < agent->n_workers; i++) {
        struct stream *stream = worker_take_gone(agent->workers[i]);
        while (stream != NULL) {
            struct stream *next = stream->next_gone;
            struct stream_group *group = stream->group;
            stream_group_forget(stream);
            settle(agent, group);
            stream = next;
        }
    }
}

static void on_told(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)loop;
    (void)events;
    struct reload *reload = (struct reload *)watcher->data;
    forget_gone(reload->agent);
    if (reload->state == RELOAD_LOADING &&
        atomic_load_explicit(&reload->loaded, memory_order_acquire)) {
        pthread_join(reload->loader, NULL);
        if (reload->config != NULL && !reload->agent->draining) {
            apply(reload);
        } else if (reload->config == NULL) {
            refuse(reload);
        } else { /* it stops */
            drop_loaded(reload);
            reload->state = RELOAD_NONE;
        }
    } else if (reload->state == RELOAD_APPLYING && is_applied(reload)) {
        const struct changes *changes = &reload->changes;
        log_info("reload",
                 "the new configuration holds added=%zu changed=%zu removed=%zu unchanged=%zu",
                 changes->added, changes->changed, changes->removed, changes->unchanged);
        free_plans(reload);
        watch_leaving(reload);
        end(reload);
    }
}

void agent_reload_told(void *arg)
{
    const struct agent *agent = (const struct agent *)arg;
    ev_async_send(agent->loop, &agent->reload->told);
}

void agent_reload(struct agent *agent)
{
    struct reload *reload = agent->reload;
    if (agent->draining)
        return;
    if (agent->waiting) {
        log_info("reload", "waiting for Kafka to tell the positions: the configuration is read "
                           "again after that; what Kafka is reached by needs a restart now");
        notify_reloading();
        notify("READY=1");
        reload->again = true;
        return;
    }
    if (reload->state == RELOAD_NONE) {
        begin(reload);
        return;
    }
    if (!reload->again)
        log_info("reload", "asked again: once more after this one");
    reload->again = true;
}

/* ---- beginning and end ---- */

void agent_reload_begin(struct agent *agent)
{
    struct reload *reload = agent->reload;
    size_t n_workers = (size_t)agent->n_workers;
    reload->plans = (struct plan *)calloc(n_workers, sizeof(struct plan));
    reload->planned = (struct stream **)calloc(agent->n_groups * n_workers, sizeof(struct stream *));
    if (reload->plans == NULL || reload->planned == NULL) {
        log_error("main", "out of memory");
        exit(1); /* nothing was read yet */
    }
    reload->changes = (struct changes){.added = agent->n_groups};
    reload->state = RELOAD_APPLYING;
    send_plans(reload);
}

int agent_reload_init(struct agent *agent, struct error *error)
{
    struct reload *reload = (struct reload *)calloc(1, sizeof(*reload));
    if (reload == NULL)
        return error_set(error, "out of memory");
    reload->agent = agent;
    ev_async_init(&reload->told, on_told);
    reload->told.data = reload;
    ev_init(&reload->leaving, on_leaving);
    reload->leaving.data = agent;
    ev_async_start(agent->loop, &reload->told);
    agent->reload = reload;
    return 0;
}

void agent_reload_end(struct agent *agent)
{
    struct reload *reload = agent->reload;
    if (reload == NULL)
        return;
    if (reload->state == RELOAD_LOADING) {
        pthread_join(reload->loader, NULL);
        drop_loaded(reload);
    }
    free_plans(reload);
    ev_async_stop(agent->loop, &reload->told);
    ev_timer_stop(agent->loop, &reload->leaving);
    free(reload);
    agent->reload = NULL;
}
