/* The spool's store and the streams' routes: opened with the agent, or when a reload brings a stream; closed with the agent. */
#include "agent/agent_inner.h"
#include "agent/log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Nobody sends what is there. */
static void tell_orphan(const char *stream, void *arg)
{
    const struct agent *agent = (const struct agent *)arg;
    if (config_named(agent->config, stream) == NULL)
        log_warn("spool",
                 "there are records of a stream that is not configured: `splashdam spool ls` shows "
                 "them; they are sent when there is a stream of that name again stream=%s",
                 log_quote(stream));
}

static void ignore(void *arg)
{
    (void)arg;
}

static void ignore_position(const struct spool_position *range, void *arg)
{
    (void)range;
    (void)arg;
}

/* -1: there is something. */
static int look_at_left(struct spool_store *store, const char *stream, struct error *error)
{
    const struct spool_events events = {
        .changed = ignore, .dropped = ignore_position, .position = ignore_position};
    struct spool *spool = spool_open(store, stream, &events, error);
    if (spool == NULL)
        return -1;
    bool empty = spool_is_empty(spool);
    spool_close(&spool);
    if (empty)
        return 0;
    return error_set(error,
                     "stream %s has records in its spool, which exactly-once does not use: start "
                     "with delivery: at-least-once until they are sent (splashdam spool ls)",
                     stream);
}

/* Exactly-once has no spool: what is not committed waits in its files. What at-least-once left there has to be sent by it, as the positions are
 * behind it. */
static int refuse_left(struct agent *agent, struct error *error)
{
    const struct config *config = agent->config;
    const int folder = positions_folder(agent->positions);
    if (faccessat(folder, "spool", F_OK, 0) == -1)
        return 0;
    struct spool_store *store =
        spool_store_open(&config->spool, folder, config->n_streams, agent->flusher, error);
    int result = store == NULL ? -1 : 0;
    for (size_t i = 0; result == 0 && i < config->n_streams; i++)
        result = look_at_left(store, config->streams[i].name, error);
    spool_store_close(&store);
    return result;
}

int agent_spool_open(struct agent *agent, struct error *error)
{
    const struct config *config = agent->config;
    if (config->spool.max_bytes == 0)
        return 0;
    if (config->kafka.delivery == DELIVERY_EXACTLY_ONCE)
        return refuse_left(agent, error);
    agent->spool = spool_store_open(&config->spool, positions_folder(agent->positions),
                                    config->n_streams, agent->flusher, error);
    if (agent->spool == NULL)
        return -1;
    if (spool_store_each(agent->spool, tell_orphan, agent) == -1)
        log_warn("spool", "cannot list the folder: %s", strerror(errno));
    return 0;
}

int agent_spool_route(struct agent *agent, const char *stream, struct route **ret_route,
                      bool *ret_new, struct error *error)
{
    *ret_route = NULL;
    *ret_new = false;
    if (agent->spool == NULL)
        return 0;
    for (size_t i = 0; i < agent->n_routes; i++)
        if (strcmp(route_name(agent->routes[i]), stream) == 0)
            *ret_route = agent->routes[i];
    if (*ret_route != NULL)
        return 0;
    *ret_new = true;
    *ret_route = route_open(agent->spool, stream, (size_t)agent->n_workers,
                            agent->config->spool.after, agent->positions, error);
    return *ret_route == NULL ? -1 : 0;
}

int agent_spool_keep(struct agent *agent, struct route *route)
{
    struct route **grown =
        (struct route **)realloc((void *)agent->routes, (agent->n_routes + 1) * sizeof(*grown));
    if (grown == NULL)
        return -1;
    agent->routes = grown;
    agent->routes[agent->n_routes++] = route;
    return 0;
}

void agent_spool_close(struct agent *agent)
{
    for (size_t i = 0; i < agent->n_routes; i++)
        route_close(&agent->routes[i]);
    free((void *)agent->routes);
    spool_store_close(&agent->spool);
}
