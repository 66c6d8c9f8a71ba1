#include "agent/tail_inner.h"

void tail_lost(struct tail *tail, const struct source *source, uint64_t begin, uint64_t end,
               const char *why)
{
    unsigned times;
    if (begin >= end)
        return;
    tail_count(tail, STAT_lost_bytes, end - begin);
    if (log_allowed(&tail->complaints[COMPLAINT_LOST], &times))
        log_error("tail", "lost, %s path=%s inode=%ju from=%ju to=%ju bytes=%ju stream=%s times=%u",
                  why, log_quote(source->path), (uintmax_t)source->id.ino, (uintmax_t)begin,
                  (uintmax_t)end, (uintmax_t)(end - begin), tail->stream->config->name, times);
}
