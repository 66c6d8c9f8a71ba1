/* The spool's store and the streams' routes: opened with the agent, or when a reload brings a stream; closed with the agent. */
#include "agent/agent_inner.h"
#include "agent/clock.h"
#include "agent/log.h"

#include <errno.h>
#include <stdlib.h>

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

int agent_spool_open(struct agent *agent, struct error *error)
{
    const struct config *config = agent->config;
    if (config->spool.max_bytes == 0)
        return 0;
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
    const bool exactly_once = agent->config->kafka.delivery == DELIVERY_EXACTLY_ONCE;
    /* A transaction's batches have no outcome before its end. */
    const int64_t after =
        agent->config->spool.after + (exactly_once ? agent->config->kafka.transaction : 0);
    const struct route_config config = {.after = after * NS_PER_MS,
                                        .n_workers = (size_t)agent->n_workers,
                                        .exactly_once = exactly_once};
    *ret_route = route_open(agent->spool, stream, &config, agent->positions, error);
    /* One that a reload brings: Kafka's positions are known by then. */
    if (*ret_route != NULL && config.exactly_once && !agent->waiting &&
        route_skip_committed(*ret_route) == -1) {
        route_close(ret_route);
        return error_set(error, "out of memory");
    }
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

void agent_spool_skip(struct agent *agent)
{
    for (size_t i = 0; i < agent->n_routes; i++)
        if (route_skip_committed(agent->routes[i]) == -1) {
            log_error("main", "out of memory");
            exit(1); /* nothing was read yet */
        }
}
