/* Start: configuration, log, flusher, positions, producer, workers. Stop, on SIGTERM or SIGINT:
 *
 *   1. workers stop reading
 *   2. until agent.drain is over, deliveries go on
 *   3. positions are saved and the account is logged
 *   4. threads end; what was left is said, and is read again next time
 *
 * The main thread has its own loop: signals, delivery reports (the producer's), saving positions, and what a reload changes
 * (agent_reload.c). */
#include "agent/agent.h"

#include "agent/agent_inner.h"
#include "agent/cli.h"
#include "agent/clock.h"
#include "agent/flusher.h"
#include "agent/log.h"
#include "agent/notify.h"
#include "agent/positions.h"
#include "agent/source.h"
#include "agent/writers.h"

#include <errno.h>
#include <ev.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define DRAIN_LOOK_S 0.01

static void on_show(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    uint64_t spooled;
    agent_log_account((const struct agent *)watcher->data, &spooled);
}

static void on_hangup(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    agent_reload((struct agent *)watcher->data);
}

/* ---- stopping ---- */

static bool drained(const struct agent *agent)
{
    for (int i = 0; i < agent->n_workers; i++)
        if (!worker_drained(agent->workers[i]))
            return false;
    return true;
}

static void on_drain_look(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct agent *agent = (struct agent *)timer->data;
    if (drained(agent) || clock_monotonic() >= agent->drain_end)
        ev_break(loop, EVBREAK_ALL);
}

static void on_stop(struct ev_loop *loop, struct ev_signal *watcher, int events)
{
    (void)events;
    struct agent *agent = (struct agent *)watcher->data;
    if (agent->draining) {
        log_warn("main", "asked again to stop: not waiting any longer");
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    agent->draining = true;
    notify("STOPPING=1");
    log_info("main", "stopping: reading ends, deliveries may take drain=%" PRId64 "ms",
             agent->config->agent.drain);
    for (int i = 0; i < agent->n_workers; i++)
        worker_stop_reading(agent->workers[i]);
    agent->drain_end = clock_monotonic() + agent->config->agent.drain * NS_PER_MS;
    ev_timer_start(loop, &agent->drain_look);
}

/* ---- starting ---- */

/* Goes on until what changed is on disk, and tries again when that failed. */
static void on_save(struct ev_loop *loop, struct ev_timer *timer, int events)
{
    (void)events;
    struct agent *agent = (struct agent *)timer->data;
    positions_save(agent->positions);
    if (!positions_pending(agent->positions))
        ev_timer_stop(loop, timer);
}

static void on_changed(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)events;
    struct agent *agent = (struct agent *)watcher->data;
    if (!ev_is_active(&agent->save))
        ev_timer_again(loop, &agent->save);
}

/* Any thread. */
static void tell_changed(void *arg)
{
    struct agent *agent = (struct agent *)arg;
    ev_async_send(agent->loop, &agent->changed);
}

static void on_room(void *arg)
{
    struct agent *agent = (struct agent *)arg;
    for (int i = 0; i < agent->n_workers; i++)
        worker_room(agent->workers[i]);
}

/* librdkafka allocates each message in a worker's thread and frees it later. glibc would give that thread an arena of
 * its own, which gives memory back to the system and faults it in again all the time; the main arena does so less.
 * In `make bench` that is some percent of the CPU. */
static void limit_arenas(const struct config *config)
{
    mallopt(M_ARENA_MAX, (int)config->agent.workers);
}

/* Descriptors that are kept from files: connections, the state folder, inotify, loops. */
#define DESCRIPTORS_KEPT 64

static void limit_open_files(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
        log_warn("main", "cannot raise the limit of open files: %s", strerror(errno));
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    if (limit.rlim_cur > UINT_MAX)
        limit.rlim_cur = UINT_MAX;
    rlim_t kept = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? DESCRIPTORS_KEPT : limit.rlim_cur / 2;
    rlim_t most = limit.rlim_cur - kept;
    if (config->agent.open_files > (int64_t)most)
        log_warn("main",
                 "agent.open_files is more than the system allows: raise LimitNOFILE= "
                 "open_files=%" PRId64 " allowed=%ju",
                 config->agent.open_files, (uintmax_t)most);
    else if (config->agent.open_files >= 0)
        most = (rlim_t)config->agent.open_files;
    source_limit_files((unsigned)most);
}

static int open_parts(struct agent *agent, struct error *error)
{
    agent->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    agent->flusher = flusher_new();
    if (agent->loop == NULL || agent->flusher == NULL)
        return error_set(error, "cannot start: %s", strerror(errno));
    agent->positions = positions_open(agent->config->agent.state, agent->flusher, error);
    if (agent->positions == NULL)
        return -1;
    positions_name_agent(agent->positions, agent->config->agent.id);
    agent->producer = producer_new(agent->config, agent->loop, worker_batch_finished,
                                   worker_take_spent, on_room, agent, error);
    if (agent->producer == NULL)
        return -1;
    agent->waiting = producer_is_transactional(agent->producer);
    if (producer_embedded(agent->producer) != NULL)
        log_info("kafka", "embedded broker listening bootstrap=%s",
                 producer_embedded(agent->producer));
    size_t n = (size_t)agent->config->agent.workers;
    agent->workers = (struct worker **)calloc(n, sizeof(struct worker *));
    if (agent->workers == NULL)
        return error_set(error, "out of memory");
    for (size_t i = 0; i < n; i++) {
        agent->workers[i] = worker_new(agent->config, (int)i, agent->producer, agent->positions,
                                       agent_reload_told, agent, error);
        if (agent->workers[i] == NULL)
            return -1;
        agent->n_workers++;
    }
    return 0;
}

/* All routes before any stream: spools may hold positions. */
static int open_routes(struct agent *agent, struct error *error)
{
    for (size_t i = 0; i < agent->config->n_streams; i++) {
        struct route *route;
        bool new;
        if (agent_spool_route(agent, agent->config->streams[i].name, &route, &new, error) == -1)
            return -1;
        if (new &&agent_spool_keep(agent, route) == -1) {
            route_close(&route);
            return error_set(error, "out of memory");
        }
    }
    return 0;
}

/* ---- exactly-once ---- */

static void on_producer_state(void *arg, enum producer_state state)
{
    struct agent *agent = (struct agent *)arg;
    if (state == PRODUCER_READY) {
        agent->waiting = false;
        agent_spool_skip(agent);
        if (!agent->draining)
            agent_reload_begin(agent);
        return;
    }
    log_error(
        "main",
        "another splashdam with the same agent.id sends to this Kafka and has fenced this one, "
        "which ends: give each its own agent.id, or stop the other one id=%s exit=%d",
        agent->config->agent.id, AGENT_EXIT_FENCED);
    agent->fenced = true;
    for (int i = 0; i < agent->n_workers; i++)
        worker_stop_reading(agent->workers[i]);
    ev_break(agent->loop, EVBREAK_ALL);
}

static int begin_producer(struct agent *agent, struct error *error)
{
    if (!agent->waiting)
        return 0;
    log_info("kafka",
             "delivery: exactly-once: files are read when Kafka told the positions in them "
             "topic=%s",
             agent->config->kafka.positions);
    if (producer_begin(agent->producer, agent->positions, on_producer_state, agent) == 0)
        return 0;
    return error_set(error, "cannot start a thread: %s", strerror(errno));
}

static int open_streams(struct agent *agent, struct error *error)
{
    struct config *config = agent->config;
    size_t n_workers = (size_t)agent->n_workers;
    agent->groups = (struct stream_group **)calloc(config->n_streams, sizeof(struct stream_group *));
    if (agent->groups == NULL)
        return error_set(error, "out of memory");
    if (agent_spool_open(agent, error) == -1 || open_routes(agent, error) == -1)
        return -1;
    for (size_t i = 0; i < config->n_streams; i++) {
        struct stream_group *group = stream_group_new(config, &config->streams[i], agent->workers,
                                                      n_workers, agent->producer, error);
        if (group == NULL)
            return -1;
        agent->groups[agent->n_groups++] = group;
        if (agent->spool != NULL)
            stream_group_take_route(group, agent->routes[i]);
        for (size_t w = 0; !agent->waiting && w < n_workers; w++)
            if (worker_open(agent->workers[w], group->streams[w], error) == -1)
                return -1;
    }
    return agent_reload_init(agent, error);
}

static void watch_signals(struct agent *agent)
{
    ev_signal_init(&agent->stop[0], on_stop, SIGTERM);
    ev_signal_init(&agent->stop[1], on_stop, SIGINT);
    ev_signal_init(&agent->show, on_show, SIGUSR1);
    ev_signal_init(&agent->hangup, on_hangup, SIGHUP);
    agent->stop[0].data = agent->stop[1].data = agent->show.data = agent->hangup.data = agent;
    ev_signal_start(agent->loop, &agent->stop[0]);
    ev_signal_start(agent->loop, &agent->stop[1]);
    ev_signal_start(agent->loop, &agent->show);
    ev_signal_start(agent->loop, &agent->hangup);
    ev_async_init(&agent->changed, on_changed);
    ev_timer_init(&agent->save, on_save, 0., POSITIONS_SAVE_MS / 1000.);
    ev_timer_init(&agent->drain_look, on_drain_look, 0., DRAIN_LOOK_S);
    agent->save.data = agent->drain_look.data = agent->changed.data = agent;
    ev_async_start(agent->loop, &agent->changed);
    positions_on_change(agent->positions, tell_changed, agent);
}

/* Threads that are made from here on leave signals to the main thread. */
static void block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(how, &set, NULL);
}

static int start_workers(struct agent *agent, struct error *error)
{
    for (int i = 0; i < agent->n_workers; i++) {
        if (worker_start(agent->workers[i]) == -1)
            return error_set(error, "cannot start a thread: %s", strerror(errno));
        agent->n_started++;
    }
    return 0;
}

static void close_parts(struct agent *agent)
{
    for (int i = 0; i < agent->n_workers; i++)
        worker_free(&agent->workers[i]);
    free(agent->workers);
    for (size_t i = 0; i < agent->n_groups; i++)
        stream_group_free(&agent->groups[i]);
    free(agent->groups);
    while (agent->removed != NULL) {
        struct stream_group *group = agent->removed;
        agent->removed = group->next;
        stream_group_free(&group);
    }
    agent_spool_close(agent);
    if (agent->positions != NULL)
        positions_close(&agent->positions);
    flusher_free(&agent->flusher);
    if (agent->loop != NULL)
        ev_loop_destroy(agent->loop);
    config_free(&agent->config);
}

/* 0, or 1 when something is left. */
static int finish(struct agent *agent)
{
    for (int i = 0; i < agent->n_started; i++)
        worker_join(agent->workers[i]);
    agent_reload_end(agent);
    positions_on_change(agent->positions, NULL, NULL);
    int saved = positions_save_wait(agent->positions);
    uint64_t spooled, left = agent_log_account(agent, &spooled);
    if (spooled > 0)
        log_info("main",
                 "records are in the spool: they are sent at the next start spooled=%" PRIu64,
                 spooled);
    if (left > 0)
        log_warn("main",
                 "stopped with %" PRIu64 " records not acknowledged: they are read and "
                 "sent again at the next start left=%" PRIu64,
                 left, left);
    else
        log_info("main", "stopped, everything read is accounted for");
    if (agent->fenced)
        return AGENT_EXIT_FENCED;
    return saved == -1 ? 1 : 0;
}

int agent_run(const char *config_file)
{
    struct error error = {.text = ""};
    struct agent agent = {.config = config_load(config_file, &error)};
    if (agent.config == NULL) {
        cli_print_error(&error);
        return 1;
    }
    log_init(agent.config->agent.log_level);
    signal(SIGPIPE, SIG_IGN);
    writers_init();
    limit_arenas(agent.config);
    limit_open_files(agent.config);
    block_signals(SIG_BLOCK);
    int status = 1;
    if (open_parts(&agent, &error) == -1 || open_streams(&agent, &error) == -1 ||
        start_workers(&agent, &error) == -1 || begin_producer(&agent, &error) == -1) {
        log_error("main", "%s", error.text);
        for (int i = 0; i < agent.n_started; i++)
            worker_join(agent.workers[i]);
        agent_reload_end(&agent);
    } else {
        watch_signals(&agent);
        block_signals(SIG_UNBLOCK);
        log_info("main", "running version=%s pid=%d workers=%d streams=%zu state=%s", VERSION,
                 (int)getpid(), agent.n_workers, agent.config->n_streams,
                 log_quote(agent.config->agent.state));
        notify("READY=1");
        ev_run(agent.loop, 0);
        status = finish(&agent);
    }
    producer_free(&agent.producer);
    close_parts(&agent);
    return status;
}
