#include "agent/stream_group.h"

#include "agent/route.h"

#include <stdlib.h>

struct stream_group *stream_group_new(struct config *config, const struct config_stream *section,
                                      struct worker **workers, size_t n_workers,
                                      struct producer *producer, struct error *error)
{
    struct stream_group *group =
        (struct stream_group *)calloc(1, sizeof(*group) + n_workers * sizeof(struct stream *));
    if (group == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    group->section = section;
    group->config = config_hold(config);
    group->n = n_workers;
    for (size_t i = 0; i < n_workers; i++) {
        struct stream *stream = stream_new(config, section, workers[i], producer, error);
        if (stream == NULL) {
            stream_group_free(&group);
            return NULL;
        }
        stream->group = group;
        group->streams[i] = stream;
        group->n_left++;
    }
    return group;
}

void stream_group_take_route(struct stream_group *group, struct route *route)
{
    group->route = route;
    for (size_t i = 0; i < group->n; i++)
        group->streams[i]->route = route;
}

void stream_group_free(struct stream_group **group_ptr)
{
    struct stream_group *group = *group_ptr;
    if (group == NULL)
        return;
    stream_group_free(&group->before);
    for (size_t i = 0; i < group->n; i++)
        stream_free(&group->streams[i]);
    config_free(&group->config);
    free(group);
    *group_ptr = NULL;
}

void stream_group_forget(struct stream *stream)
{
    struct stream_group *group = stream->group;
    stream_counters(stream, group->gone);
    for (size_t i = 0; i < group->n; i++)
        if (group->streams[i] == stream)
            group->streams[i] = NULL;
    group->n_left--;
    stream_free(&stream);
}

void stream_group_merge(struct stream_group **group_ptr)
{
    struct stream_group *group = *group_ptr, *after = group->after;
    for (size_t i = 0; i < STAT_COUNT; i++)
        after->gone[i] += group->gone[i];
    after->before = group->before;
    if (group->before != NULL)
        group->before->after = after;
    group->before = NULL;
    stream_group_free(group_ptr);
}

void stream_group_counters(const struct stream_group *group, uint64_t sums[STAT_COUNT])
{
    if (group->route != NULL && group->after == NULL)
        route_counters(group->route, sums);
    for (; group != NULL; group = group->before) {
        for (size_t i = 0; i < STAT_COUNT; i++)
            sums[i] += group->gone[i];
        for (size_t i = 0; i < group->n; i++)
            if (group->streams[i] != NULL)
                stream_counters(group->streams[i], sums);
    }
}
