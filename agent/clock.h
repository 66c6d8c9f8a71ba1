/* Clocks, in nanoseconds. Timers and waits go by the monotonic one, records' times by the real one. */
#ifndef SPLASHDAM_CLOCK_H
#define SPLASHDAM_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS ((int64_t)1000000)
#define NS_PER_S  ((int64_t)1000000000)

static inline int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static inline int64_t clock_monotonic(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline int64_t clock_real(void)
{
    return clock_ns(CLOCK_REALTIME);
}

#endif
