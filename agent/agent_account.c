#include "agent/agent_inner.h"
#include "agent/log.h"

#include <inttypes.h>

static void log_steps(const struct stream_group *group)
{
    const struct stream *some = NULL;
    for (size_t i = 0; i < group->n && some == NULL; i++)
        some = group->streams[i];
    size_t n = some == NULL ? 0 : chain_step_count(some->chain);
    for (size_t s = 0; s < n; s++) {
        struct step_stats sum = {0};
        for (size_t i = 0; i < group->n; i++)
            if (group->streams[i] != NULL)
                stream_step(group->streams[i], s, &sum);
        log_info("account",
                 "step stream=%s step=%zu plugin=%s seen=%" PRIu64 " dropped=%" PRIu64
                 " failed=%" PRIu64 " limited=%" PRIu64,
                 group->section->name, s + 1, sum.name, sum.seen, sum.dropped, sum.failed,
                 sum.limited);
    }
}

static uint64_t log_group(const struct stream_group *group, const char *what, uint64_t *spooled)
{
    uint64_t sums[STAT_COUNT] = {0};
    char text[1024];
    stream_group_counters(group, sums);
    stats_format(sums, text, sizeof(text));
    log_info("account", "%sstream=%s %s", what, group->section->name, text);
    log_steps(group);
    if (!stats_law_holds(sums))
        log_error("account",
                  "the account does not balance: this is a bug of splashdam "
                  "stream=%s",
                  group->section->name);
    *spooled += stats_spooled(sums);
    return stats_in_flight(sums);
}

uint64_t agent_log_account(const struct agent *agent, uint64_t *ret_spooled)
{
    uint64_t in_flight = 0, committed, aborted;
    *ret_spooled = 0;
    if (producer_is_transactional(agent->producer)) {
        producer_transactions(agent->producer, &committed, &aborted);
        log_info("account", "transactions committed=%" PRIu64 " aborted=%" PRIu64, committed,
                 aborted);
    }
    for (size_t i = 0; i < agent->n_groups; i++)
        in_flight += log_group(agent->groups[i], "", ret_spooled);
    for (const struct stream_group *group = agent->removed; group != NULL; group = group->next)
        in_flight += log_group(group, "", ret_spooled);
    return in_flight;
}

void agent_log_removed(const struct stream_group *group)
{
    uint64_t spooled = 0;
    log_group(group, "removed ", &spooled);
}
