/* What a source holds back in the hope of more – an open group of lines, a line without its end – goes out when the file has not
 * grown for long enough. The sources that hold something stand in a list; a worker's timer asks when the first is due. */
#include "agent/tail_inner.h"

#include <stdlib.h>

void tail_hold(struct tail *tail, struct source *source)
{
    uint8_t flush;
    int64_t at = source_flush_at(source, &flush);
    if (at == INT64_MAX || source->inflate != NULL) /* the rest is still being decompressed */
        return;
    if (at < tail->flush_at)
        tail->flush_at = at;
    if (source->holding)
        return;
    source->holding = true;
    source->next_holding = tail->holding;
    tail->holding = source;
}

void tail_leave_holding(struct tail *tail, struct source *source)
{
    struct source **at = &tail->holding;
    if (!source->holding)
        return;
    while (*at != source)
        at = &(*at)->next_holding;
    *at = source->next_holding;
    source->holding = false;
}

int64_t tail_flush_at(const struct tail *tail)
{
    return tail->holding == NULL ? INT64_MAX : tail->flush_at;
}

void tail_flush(struct tail *tail, int64_t now)
{
    struct source **link = &tail->holding;
    tail->flush_at = INT64_MAX;
    while (*link != NULL) {
        struct source *source = *link;
        uint8_t flush;
        int64_t at = source_flush_at(source, &flush);
        if (at <= now) {
            source->flush = flush;
            tail_make_ready(tail, source);
        } else if (at != INT64_MAX) {
            if (at < tail->flush_at)
                tail->flush_at = at;
            link = &source->next_holding;
            continue;
        }
        *link = source->next_holding;
        source->holding = false;
    }
}

bool tail_flush_now(struct tail *tail, struct source *source)
{
    uint8_t flush;
    if (source_flush_at(source, &flush) == INT64_MAX)
        return false;
    source->flush = flush | FLUSH_LINES | FLUSH_GROWN;
    tail_make_ready(tail, source);
    return true;
}

int tail_add_framing(struct tail *tail, struct source *source)
{
    struct framing *framing;
    if (tail->stream->frame == NULL)
        return 0;
    framing = (struct framing *)calloc(1, sizeof(*framing));
    source->framing = framing;
    if (framing == NULL)
        return -1;
    if (tail->stream->config->tail.container == TAIL_PLAIN)
        return 0;
    framing->log = strdup(source->origin.path.ptr);
    if (framing->log == NULL)
        return -1;
    container_path_names(slice_str(framing->log), &framing->names);
    framing->target = realpath(source->path, NULL);
    if (framing->target != NULL)
        container_path_names(slice_str(framing->target), &framing->names);
    return 0;
}

void tail_free_framing(struct source *source)
{
    if (source->framing == NULL)
        return;
    free(source->framing->log);
    free(source->framing->target);
    free(source->framing);
}
