/* Appending: a frame goes to the current segment's end, whole or not at all.
 *
 * After a write that failed, the segment is cut back to its last whole frame; where that can't be done it is left as it is,
 * with a torn end that recovery knows, and the next frame begins a new one. */
#include "agent/spool_inner.h"

#include "agent/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

void spool_complain(struct spool *spool, enum spool_complaint which, const char *what, int error)
{
    unsigned times;
    if (log_allowed(&spool->complaints[which], &times))
        log_error("spool", "stream=%s: %s: %s times=%u", log_quote(spool->name), what,
                  strerror(error), times);
}

/* ---- writing ---- */

static struct segment *segment_begin(struct spool *spool, uint64_t first)
{
    char name[SEGMENT_NAME_ROOM];
    struct segment *segment = (struct segment *)calloc(1, sizeof(*segment));
    if (segment == NULL)
        return NULL;
    segment->name.first = first;
    segment->last = first - 1;
    if (getrandom(&segment->name.salt, sizeof(segment->name.salt), 0) == -1)
        segment->name.salt = (uint64_t)clock_real();
    segment_name_format(name, segment->name);
    segment->fd = openat(spool->fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (segment->fd == -1) {
        free(segment);
        return NULL;
    }
    struct segment **link = &spool->segments;
    while (*link != NULL)
        link = &(*link)->next;
    *link = segment;
    spool->current = segment;
    spool->folder_dirty = true;
    spool->stats.segments++;
    return segment;
}

static int write_at(int fd, const char *bytes, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)offset);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

/* To the end of the current segment, or of a new one. -1 and errno: it stands nowhere. */
static int write_frame(struct spool *spool, struct spool_packed *frame, int64_t time)
{
    struct segment *segment = spool->current;
    if (segment == NULL && (segment = segment_begin(spool, frame->sequence)) == NULL)
        return -1;
    spool_frame_salt(frame, segment->name.salt);
    if (write_at(segment->fd, frame->bytes, frame->len, segment->len) == -1) {
        int saved = errno;
        if (ftruncate(segment->fd, (off_t)segment->len) == -1) {
            spool->current = NULL;
            if (segment->len == 0)
                spool_doom(spool, segment);
        }
        errno = saved;
        return -1;
    }
    if (segment->len == 0)
        segment->oldest = time;
    segment->newest = time;
    segment->len += frame->len;
    segment->last = frame->sequence;
    frame->segment = segment;
    frame->end = segment->len;
    spool_account(spool, (int64_t)frame->len);
    return 0;
}

int spool_rehome(struct spool *spool)
{
    struct spool_packed *frame = spool->unsynced;
    for (; spool->homeless && frame != NULL; frame = frame->next)
        if (frame->segment == NULL && write_frame(spool, frame, clock_real() / NS_PER_MS) == -1)
            return -1;
    if (spool->homeless)
        spool->sync_at = 0;
    spool->homeless = false;
    return 0;
}

/* ---- giving up ---- */

struct segment *spool_droppable(struct spool *spool)
{
    const struct spool_cursor *cursor = &spool->cursor;
    for (struct segment *s = spool->segments; s != NULL; s = s->next)
        if (!s->doomed && s->last > cursor->sequence &&
            (s->name.first > cursor->sequence || cursor->n == 0))
            return s;
    return NULL;
}

/* Tells of every range behind the cursor; returns the records. */
static uint64_t report_dropped(struct spool *spool, const struct segment *segment)
{
    char name[SEGMENT_NAME_ROOM];
    struct segment_scan scan = {.fd = -1};
    struct segment_piece piece;
    struct spool_frame frame;
    struct spool_position position;
    uint64_t records = 0, frames = 0;
    enum segment_found found;
    segment_name_format(name, segment->name);
    int fd = segment_open(spool->fd, name, O_RDONLY);
    segment_scan_init(&scan, fd, segment->name.salt, 0, segment->len);
    while (fd != -1 && (found = segment_next(&scan, &piece)) != FOUND_END && found != FOUND_FAILED) {
        if (found != FOUND_FRAME || piece.header.sequence <= spool->cursor.sequence)
            continue;
        frames++;
        records += piece.header.n_records;
        if (spool_frame_open(scan.bytes, &piece.header, spool->store->keys, NULL, &frame) != OPEN_OK)
            continue;
        while (spool_frame_position(&frame, &position))
            if (spool->events.dropped != NULL)
                spool->events.dropped(&position, spool->events.arg);
    }
    segment_scan_fini(&scan);
    if (fd != -1)
        close(fd);
    spool->stats.dropped_frames += frames;
    spool->stats.frames -= frames < spool->stats.frames ? frames : spool->stats.frames;
    return records;
}

bool spool_drop_segment(struct spool *spool)
{
    struct segment *segment = spool_droppable(spool);
    if (segment == NULL)
        return false;
    uint64_t records = report_dropped(spool, segment);
    spool->stats.dropped_records += records;
    spool->stats.records -= records < spool->stats.records ? records : spool->stats.records;
    spool_forget_unsynced(spool, segment->name.first, segment->last);
    if (spool->dropped_to <= spool->cursor.sequence)
        spool->dropped_from = segment->name.first;
    spool->dropped_to = segment->last;
    log_warn("spool", "stream=%s: given up: %" PRIu64 " records that waited longest",
             log_quote(spool->name), records);
    spool_doom(spool, segment);
    spool_settle(spool);
    spool_ack_changed(spool);
    return true;
}

/* SPOOL_APPENDED: there is room for so many bytes. */
static enum spool_append make_room(struct spool *spool, size_t bytes)
{
    if (spool_may_take(spool, bytes))
        return SPOOL_APPENDED;
    if (spool->doomed_bytes > 0) {
        spool_kick(spool);
        return SPOOL_WAIT;
    }
    if (spool->store->config.when_full == SPOOL_DROP_NEWEST)
        return SPOOL_DROPPED;
    if (spool->store->config.when_full == SPOOL_BLOCK || !spool_drop_segment(spool))
        return SPOOL_FULL;
    spool_kick(spool);
    return SPOOL_WAIT;
}

/* ---- the interface ---- */

/* A segment is also ended early enough for max_age to give up old records. */
static bool segment_ends(const struct spool *spool, size_t more, int64_t time)
{
    const struct segment *s = spool->current;
    const struct config_spool *config = &spool->store->config;
    return s != NULL && s->len > 0 &&
           (s->len + more > spool->store->segment_max ||
            (config->max_age > 0 && time - s->oldest > config->max_age / 4));
}

static enum spool_append append(struct spool *spool, struct spool_packed *frame, bool taken)
{
    int64_t time = clock_real() / NS_PER_MS;
    size_t others = atomic_load(&spool->store->unsynced) - spool->unsynced_bytes;
    if (spool->unsynced_bytes > 0 &&
        (spool->unsynced_bytes + frame->len > SPOOL_UNSYNCED_MAX ||
         others + spool->unsynced_bytes + frame->len > STORE_UNSYNCED_MAX)) {
        spool_kick(spool);
        return SPOOL_WAIT;
    }
    enum spool_append room = make_room(spool, frame->len + SPOOL_TAG);
    if (room != SPOOL_APPENDED)
        return room;
    if (segment_ends(spool, frame->len, time))
        spool->current = NULL;
    if (spool_frame_seal(frame, spool->written + 1, time, spool->store->keys) == -1) {
        errno = EIO;
        return SPOOL_FAILED;
    }
    if (spool_rehome(spool) == -1 || write_frame(spool, frame, time) == -1) {
        int saved = errno;
        spool->stats.write_failures++;
        spool_complain(spool, COMPLAIN_WRITE,
                       "cannot write; its lines stay in their files, and it is tried again", saved);
        errno = saved;
        return SPOOL_FAILED;
    }
    *spool->last_unsynced = frame;
    spool->last_unsynced = &frame->next;
    spool->unsynced_bytes += frame->len;
    atomic_fetch_add(&spool->store->unsynced, frame->len);
    spool->written = frame->sequence;
    if (taken)
        spool_cursor_pass(spool, frame->sequence, frame->n_records);
    spool->stats.frames++;
    spool->stats.records += frame->n_records;
    spool->stats.appended_records += frame->n_records;
    return SPOOL_APPENDED;
}

static void want_sync(struct spool *spool)
{
    int64_t interval = spool->store->config.fsync;
    if (interval < 0 || spool->unsynced_bytes >= SPOOL_UNSYNCED_MAX / 2)
        spool_kick(spool);
    else if (spool->sync_at == INT64_MAX)
        spool->sync_at = clock_monotonic() + interval * NS_PER_MS;
    if (spool->age_at == INT64_MAX && spool->store->config.max_age > 0)
        spool->age_at = clock_monotonic() + spool->store->config.max_age * (NS_PER_MS / 4);
}

enum spool_append spool_append(struct spool *spool, struct spool_batch *batch, bool taken,
                               uint64_t *ret_sequence)
{
    struct spool_packed *frame = spool_frame_pack(batch, spool->store->config.compression);
    if (frame == NULL)
        return SPOOL_FAILED;
    pthread_mutex_lock(&spool->lock);
    assert(!taken || spool->cursor.sequence == spool->written);
    enum spool_append result = SPOOL_FAILED;
    errno = ENOMEM;
    if (!taken || spool_cursor_reserve(spool) == 0)
        result = append(spool, frame, taken);
    int saved = errno;
    if (result == SPOOL_APPENDED) {
        *ret_sequence = frame->sequence;
        want_sync(spool);
    } else {
        free(frame);
    }
    pthread_mutex_unlock(&spool->lock);
    errno = saved;
    return result;
}
