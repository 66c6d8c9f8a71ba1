/* Counters. Each stream has, in each worker, two sets: one that the worker writes and one that the
 * main thread writes (delivery reports), so that no counter has two writers. A worker's changes to a set become
 * visible together (a sequence lock), so that whoever reads sees the conservation law hold. */
#ifndef SPLASHDAM_STATS_H
#define SPLASHDAM_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stat_id {
#define STAT(name, help) STAT_##name,
#include "agent/stats.def"
#undef STAT
    STAT_COUNT,
};

struct stats {
    atomic_uint version; /* odd while the writer is at it */
    _Atomic uint64_t values[STAT_COUNT];
};

const char *stat_name(enum stat_id stat);
const char *stat_help(enum stat_id stat);

/* The writer: everything between begin and end is seen at once. Values are stored with release, so
 * that who sees one of them sees the odd version, too. */
static inline void stats_begin(struct stats *stats)
{
    unsigned version = atomic_load_explicit(&stats->version, memory_order_relaxed);
    atomic_store_explicit(&stats->version, version + 1, memory_order_relaxed);
}

static inline void stats_end(struct stats *stats)
{
    unsigned version = atomic_load_explicit(&stats->version, memory_order_relaxed);
    atomic_store_explicit(&stats->version, version + 1, memory_order_release);
}

static inline void stats_add(struct stats *stats, enum stat_id stat, uint64_t n)
{
    uint64_t value = atomic_load_explicit(&stats->values[stat], memory_order_relaxed);
    atomic_store_explicit(&stats->values[stat], value + n, memory_order_release);
}

/* Adds a consistent picture of *stats to sums[]. */
void stats_read(struct stats *stats, uint64_t sums[STAT_COUNT]);

/* The sum of the discarded_*. */
uint64_t stats_discarded(const uint64_t sums[STAT_COUNT]);
static inline uint64_t stats_in_flight(const uint64_t sums[STAT_COUNT])
{
    return sums[STAT_entered] - sums[STAT_settled];
}
static inline uint64_t stats_spooled(const uint64_t sums[STAT_COUNT])
{
    return sums[STAT_spool_found] + sums[STAT_spool_in] - sums[STAT_spool_out] -
           sums[STAT_discarded_spool_oldest] - sums[STAT_discarded_spool_damaged];
}
bool stats_law_holds(const uint64_t sums[STAT_COUNT]);

/* `read=1 delivered=1 dropped=0 discarded=0 spooled=0 in_flight=0` and then every other counter that is not 0.
 * Cut at `room`; 1 KiB takes all. */
void stats_format(const uint64_t sums[STAT_COUNT], char *text, size_t room);

#endif
