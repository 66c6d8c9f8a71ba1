#include "agent/stats.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const names[] = {
#define STAT(name, help) #name,
#include "agent/stats.def"
#undef STAT
};

static const char *const helps[] = {
#define STAT(name, help) help,
#include "agent/stats.def"
#undef STAT
};

const char *stat_name(enum stat_id stat)
{
    return names[stat];
}

const char *stat_help(enum stat_id stat)
{
    return helps[stat];
}

void stats_read(struct stats *stats, uint64_t sums[STAT_COUNT])
{
    uint64_t values[STAT_COUNT];
    unsigned before, after;
    do {
        before = atomic_load_explicit(&stats->version, memory_order_acquire);
        for (int i = 0; i < STAT_COUNT; i++)
            values[i] = atomic_load_explicit(&stats->values[i], memory_order_acquire);
        after = atomic_load_explicit(&stats->version, memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    for (int i = 0; i < STAT_COUNT; i++)
        sums[i] += values[i];
}

uint64_t stats_discarded(const uint64_t sums[STAT_COUNT])
{
    return sums[STAT_discarded_too_large] + sums[STAT_discarded_rejected] +
           sums[STAT_discarded_topic] + sums[STAT_discarded_memory] +
           sums[STAT_discarded_spool_oldest] + sums[STAT_discarded_spool_newest] +
           sums[STAT_discarded_spool_damaged];
}

bool stats_law_holds(const uint64_t sums[STAT_COUNT])
{
    return sums[STAT_read] + sums[STAT_spool_found] ==
           sums[STAT_delivered] + sums[STAT_dropped] + stats_discarded(sums) + stats_spooled(sums) +
               stats_in_flight(sums);
}

void stats_format(const uint64_t sums[STAT_COUNT], char *text, size_t room)
{
    int len = snprintf(text, room,
                       "read=%" PRIu64 " delivered=%" PRIu64 " dropped=%" PRIu64
                       " discarded=%" PRIu64 " spooled=%" PRIu64 " in_flight=%" PRIu64,
                       sums[STAT_read], sums[STAT_delivered], sums[STAT_dropped],
                       stats_discarded(sums), stats_spooled(sums), stats_in_flight(sums));
    for (int i = 0; i < STAT_COUNT && (size_t)len < room; i++) {
        bool shown = i == STAT_read || i == STAT_delivered || i == STAT_dropped;
        if (!shown && sums[i] != 0)
            len += snprintf(text + len, room - (size_t)len, " %s=%" PRIu64, names[i], sums[i]);
    }
}
