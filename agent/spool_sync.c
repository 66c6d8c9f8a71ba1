/* What waits for the disk, all of it in the flusher's thread: fsync, saving the ack, deleting segments; and when to.
 *
 * An fsync that failed says that anything since the last good one may be lost, and the next one on that descriptor would
 * not say so again. So all frames since then are cut off their segments and written anew, from memory, to a new one.
 *
 * The ack is one line: `splashdam-spool 1 ACKED FROM TO CHECKSUM`. Frames up to ACKED need not be sent any more, nor those
 * from FROM to TO, which were given up; the XXH3-64 of what is before it, 16 hexadecimal digits. */
#include "agent/spool_inner.h"

#include "agent/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

#define ACK      "ack"
#define ACK_ROOM 128u

/* ---- frames in memory ---- */

void spool_forget_unsynced(struct spool *spool, uint64_t from, uint64_t to)
{
    struct spool_packed **link = &spool->unsynced;
    bool homeless = false;
    while (*link != NULL) {
        struct spool_packed *frame = *link;
        if (frame->sequence >= from && frame->sequence <= to) {
            *link = frame->next;
            spool->unsynced_bytes -= frame->len;
            atomic_fetch_sub(&spool->store->unsynced, frame->len);
            free(frame);
        } else {
            homeless |= frame->segment == NULL;
            link = &frame->next;
        }
    }
    spool->last_unsynced = link;
    spool->homeless = homeless;
}

/* ---- fsync ---- */

static void segment_close(struct segment *segment)
{
    if (segment->fd != -1)
        close(segment->fd);
    segment->fd = -1;
}

/* After an fsync that failed. */
static void write_anew(struct spool *spool)
{
    struct spool_packed *frame;
    for (struct segment *s = spool->segments; s != NULL; s = s->next) {
        if (s->fd == -1 || s->doomed || s->len == s->durable_len)
            continue;
        if (ftruncate(s->fd, (off_t)s->durable_len) == -1)
            log_error("spool", "cannot cut a segment that has to be written anew: %s",
                      strerror(errno));
        spool_account(spool, (int64_t)s->durable_len - (int64_t)s->len);
        s->len = s->durable_len;
        s->last = spool->durable < s->last ? spool->durable : s->last;
        if (s->len == 0)
            spool_doom(spool, s);
        segment_close(s);
    }
    spool->current = NULL;
    for (frame = spool->unsynced; frame != NULL; frame = frame->next)
        frame->segment = NULL;
    spool->homeless = spool->unsynced != NULL;
    spool_cursor_reset(spool);
    if (spool_rehome(spool) == -1)
        spool_complain(spool, COMPLAIN_WRITE, "cannot write anew what an fsync did not", errno);
    spool->sync_at = clock_monotonic() + SPOOL_AGAIN_MS * NS_PER_MS;
}

/* Gives up the lock meanwhile. */
static int sync_unlocked(struct spool *spool, int fd)
{
    pthread_mutex_unlock(&spool->lock);
    int result = flusher_sync(fd);
    int saved = errno;
    pthread_mutex_lock(&spool->lock);
    errno = saved;
    return result;
}

/* A file is durable when its name is, and that of each folder on the way to it. */
static int sync_names(struct spool *spool)
{
    bool folder = spool->folder_dirty;
    spool->folder_dirty = false;
    if (folder && sync_unlocked(spool, spool->fd) == -1)
        return -1;
    if (!spool->placed && (sync_unlocked(spool, spool->store->folder) == -1 ||
                           sync_unlocked(spool, spool->store->state_folder) == -1))
        return -1;
    spool->placed = true;
    return 0;
}

static void sync_frames(struct spool *spool)
{
    uint64_t target = spool->written;
    int result = 0;
    if (spool->homeless && spool_rehome(spool) == -1) {
        spool->sync_at = clock_monotonic() + SPOOL_AGAIN_MS * NS_PER_MS;
        return;
    }
    spool->sync_at = INT64_MAX;
    for (struct segment *s = spool->segments; s != NULL && result == 0; s = s->next)
        if (s->fd != -1 && !s->doomed && s->durable_len < s->len)
            result = sync_unlocked(spool, s->fd);
    if (result == 0)
        result = sync_names(spool);
    if (result == -1) {
        spool->folder_dirty = true;
        spool->stats.fsync_failures++;
        spool_complain(spool, COMPLAIN_FSYNC,
                       "fsync failed; what it was for is written anew, to another file", errno);
        write_anew(spool);
        return;
    }
    for (const struct spool_packed *f = spool->unsynced; f != NULL; f = f->next)
        if (f->sequence <= target && f->segment->durable_len < f->end)
            f->segment->durable_len = f->end;
    for (struct segment *s = spool->segments; s != NULL; s = s->next)
        if (s != spool->current && s->durable_len == s->len)
            segment_close(s);
    spool_forget_unsynced(spool, 0, target);
    if (target > spool->durable)
        spool->durable = target;
}

/* ---- the ack ---- */

static int format_ack(char text[ACK_ROOM], uint64_t acked, uint64_t from, uint64_t to)
{
    int n = snprintf(text, ACK_ROOM, "splashdam-spool 1 %" PRIu64 " %" PRIu64 " %" PRIu64 " ",
                     acked, from, to);
    return n + snprintf(text + n, ACK_ROOM - (size_t)n, "%016" PRIx64 "\n",
                        (uint64_t)XXH3_64bits(text, (size_t)n));
}

int spool_read_ack(int folder, struct spool_acked *ret_acked)
{
    char text[ACK_ROOM] = "", again[ACK_ROOM], *at = text;
    uint64_t numbers[4];
    int fd = segment_open(folder, ACK, O_RDONLY);
    if (fd == -1 && errno == ENOENT)
        return 0;
    ssize_t n = fd == -1 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
    if (fd != -1)
        close(fd);
    for (size_t i = 0; i < 4; i++) {
        at += strcspn(at, " ");
        numbers[i] = strtoull(at, &at, 10);
    }
    /* Only the very text that these numbers would give is valid. */
    int len = format_ack(again, numbers[1], numbers[2], numbers[3]);
    if (n != len || memcmp(text, again, (size_t)len) != 0)
        return -1;
    *ret_acked = (struct spool_acked){numbers[1], numbers[2], numbers[3]};
    return 0;
}

int spool_load_ack(struct spool *spool)
{
    struct spool_acked acked = {.sequence = 0};
    if (spool_read_ack(spool->fd, &acked) == -1) {
        spool_aside_file(spool, ACK, "is no ack: frames that were acknowledged may be sent again");
        return -1;
    }
    spool->acked = acked.sequence;
    spool->dropped_from = acked.dropped_from;
    spool->dropped_to = acked.dropped_to;
    return 0;
}

static void save_ack(struct spool *spool)
{
    char text[ACK_ROOM];
    const char *step = "";
    int len = format_ack(text, spool->acked, spool->dropped_from, spool->dropped_to);
    spool->ack_dirty = false;
    spool->ack_at = INT64_MAX;
    pthread_mutex_unlock(&spool->lock);
    int result = flusher_replace(spool->fd, ACK, NULL, text, (size_t)len, &step);
    int saved = errno;
    pthread_mutex_lock(&spool->lock);
    if (result == 0)
        return;
    spool_complain(spool, COMPLAIN_ACK, "cannot save how far it is acknowledged", saved);
    spool->ack_dirty = true;
    spool->ack_at = clock_monotonic() + SPOOL_AGAIN_MS * NS_PER_MS;
}

void spool_ack_changed(struct spool *spool)
{
    if (!spool->ack_dirty)
        spool->ack_at = clock_monotonic() + SPOOL_ACK_MS * NS_PER_MS;
    spool->ack_dirty = true;
}

/* ---- deleting ---- */

void spool_doom(struct spool *spool, struct segment *segment)
{
    if (spool->current == segment)
        spool->current = NULL;
    if (spool->cursor.segment == segment)
        spool_cursor_reset(spool);
    segment->doomed = true;
    spool->doomed_bytes += segment->len;
    if (spool->ack_at == INT64_MAX)
        spool->ack_at = clock_monotonic() + SPOOL_ACK_MS * NS_PER_MS;
}

static void remove_doomed(struct spool *spool)
{
    char name[SEGMENT_NAME_ROOM];
    for (struct segment **link = &spool->segments; *link != NULL;) {
        struct segment *s = *link;
        if (!s->doomed) {
            link = &s->next;
            continue;
        }
        segment_name_format(name, s->name);
        if (unlinkat(spool->fd, name, 0) == -1 && errno != ENOENT)
            spool_complain(spool, COMPLAIN_ACK, "cannot delete a segment", errno);
        segment_close(s);
        spool_account(spool, -(int64_t)s->len);
        spool->doomed_bytes -= s->len;
        spool->stats.segments--;
        *link = s->next;
        free(s);
    }
}

/* ---- when ---- */

void spool_kick(struct spool *spool)
{
    spool->again = spool->queued;
    if (spool->queued)
        return;
    spool->queued = true;
    flusher_submit(spool->store->flusher, &spool->job);
}

void spool_job(struct flush_job *job)
{
    struct spool *spool = (struct spool *)((char *)job - offsetof(struct spool, job));
    pthread_mutex_lock(&spool->lock);
    spool->again = false;
    if (spool->unsynced != NULL)
        sync_frames(spool);
    if (spool->ack_dirty)
        save_ack(spool);
    /* Even if the ack could not be saved: on a full disk this is what makes room. */
    remove_doomed(spool);
    if (!spool->ack_dirty)
        spool->ack_at = INT64_MAX;
    spool->queued = spool->again; /* behind the others' jobs */
    if (spool->again)
        flusher_submit(spool->store->flusher, &spool->job);
    pthread_mutex_unlock(&spool->lock);
    if (spool->events.changed != NULL)
        spool->events.changed(spool->events.arg);
}

int64_t spool_due_at(struct spool *spool)
{
    pthread_mutex_lock(&spool->lock);
    int64_t at = spool->sync_at < spool->ack_at ? spool->sync_at : spool->ack_at;
    at = spool->age_at < at ? spool->age_at : at;
    at = spool->queued ? spool->age_at : at;
    pthread_mutex_unlock(&spool->lock);
    return at;
}

static void drop_aged(struct spool *spool)
{
    int64_t oldest = clock_real() / NS_PER_MS - spool->store->config.max_age;
    const struct segment *s;
    while ((s = spool_droppable(spool)) != NULL && s->newest < oldest && spool_drop_segment(spool))
        spool_kick(spool);
    spool->age_at =
        s == NULL ? INT64_MAX : clock_monotonic() + spool->store->config.max_age * (NS_PER_MS / 4);
}

void spool_tick(struct spool *spool, int64_t now)
{
    pthread_mutex_lock(&spool->lock);
    if (!spool->queued && (now >= spool->sync_at || now >= spool->ack_at))
        spool_kick(spool);
    if (now >= spool->age_at)
        drop_aged(spool);
    pthread_mutex_unlock(&spool->lock);
}
