/* The agent's inside, for the agent*.c files only: agent.c starts and stops it, agent_account.c tells what became of the records,
 * agent_reload.c gives it another configuration. All of it is the main thread's. */
#ifndef SPLASHDAM_AGENT_INNER_H
#define SPLASHDAM_AGENT_INNER_H

#include "agent/producer.h"
#include "agent/route.h"
#include "agent/stream_group.h"
#include "agent/worker.h"

#include <ev.h>

struct reload;

struct agent {
    struct config *config; /* held */
    struct ev_loop *loop;
    struct flusher *flusher;
    struct positions *positions;
    struct producer *producer;
    struct spool_store *spool; /* NULL: there is none */
    struct route **routes;     /* of all streams that there ever were */
    size_t n_routes;
    struct worker **workers;
    int n_workers; /* made */
    int n_started;
    struct stream_group **groups; /* of the configuration's streams, in their order */
    size_t n_groups;
    struct stream_group *removed; /* still leaving */
    struct reload *reload;
    struct ev_signal stop[2]; /* SIGTERM, SIGINT */
    struct ev_signal show;    /* SIGUSR1: logs the account */
    struct ev_signal hangup;  /* SIGHUP: reloads */
    struct ev_async changed;  /* there are positions to save */
    struct ev_timer save;
    struct ev_timer drain_look;
    int64_t drain_end; /* ns, monotonic */
    bool draining;
    bool waiting; /* exactly-once: until Kafka told the positions, no stream is read */
    bool fenced;  /* exactly-once: another agent has this one's name */
};

/* agent_spool.c */
/* Opens the store, and tells of what is in it for streams that the configuration does not have. -1 and *error. */
int agent_spool_open(struct agent *agent, struct error *error);
/* The stream's, that is there or was just made; NULL without an error: there is no spool. -1 and *error. *ret_new: it is to be given to
 * agent_spool_keep(), or to be closed. */
int agent_spool_route(struct agent *agent, const char *stream, struct route **ret_route,
                      bool *ret_new, struct error *error);
/* -1: no memory. */
int agent_spool_keep(struct agent *agent, struct route *route);
/* Exactly-once: what Kafka has already is not sent again. Before anything is read. */
void agent_spool_skip(struct agent *agent);
void agent_spool_close(struct agent *agent);

/* agent_account.c */
/* Logs each stream's counters. Returns the records in flight. */
uint64_t agent_log_account(const struct agent *agent, uint64_t *ret_spooled);
/* A stream is removed and gone: its last account. */
void agent_log_removed(const struct stream_group *group);

/* agent_reload.c */
/* SIGHUP: reads the configuration and gives it to the agent, or says why not. */
void agent_reload(struct agent *agent);
/* Exactly-once: Kafka told the positions, the streams' files may be found. */
void agent_reload_begin(struct agent *agent);
/* Needs the loop. Before workers run. -1 and *error. */
int agent_reload_init(struct agent *agent, struct error *error);
/* Ends what is under way. After the workers' threads. */
void agent_reload_end(struct agent *agent);
/* Any thread: a worker has done what a reload waits for (worker_told_fn). */
void agent_reload_told(void *arg);

#endif
