/* Quarantine: what is no valid frame is kept for a person to look at, under a name that tells where it stood:
 *
 *     STREAM.SEQUENCE-SALT.seg           a whole segment
 *     STREAM.SEQUENCE-SALT.OFFSET.part   a piece of one; the same piece is kept, and counted, once
 *
 * All of it has at most an eighth of max_bytes. When that is used up nothing is thrown away: what should have gone there stays
 * where it is, and is skipped. */
#include "agent/spool_inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASIDE_PART 8
#define NAME_ROOM  (SPOOL_NAME_ROOM + 64)

uint64_t spool_aside_size(int quarantine)
{
    uint64_t size = 0;
    struct stat st;
    int fd = openat(quarantine, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd != -1)
            close(fd);
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (fstatat(quarantine, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            size += (uint64_t)st.st_size;
    closedir(dir);
    return size;
}

/* False: there is no room for so many bytes. */
static bool take_room(struct spool *spool, uint64_t bytes)
{
    struct spool_store *store = spool->store;
    pthread_mutex_lock(&store->lock);
    bool room = store->aside + bytes <= store->config.max_bytes / ASIDE_PART;
    if (room)
        store->aside += bytes;
    pthread_mutex_unlock(&store->lock);
    if (!room)
        spool_complain(spool, COMPLAIN_DAMAGE, "the quarantine is full; look at it, and empty it",
                       EDQUOT);
    return room;
}

int spool_aside_file(struct spool *spool, const char *name, const char *why)
{
    char to[NAME_ROOM];
    struct stat st;
    log_error("spool", "stream=%s: %s %s", log_quote(spool->name), log_quote(name), why);
    if (fstatat(spool->fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
        !take_room(spool, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0))
        return -1;
    snprintf(to, sizeof(to), "%s.%s", spool->folder, name);
    int result = renameat2(spool->fd, name, spool->store->quarantine, to, RENAME_NOREPLACE);
    for (unsigned i = 2; result == -1 && errno == EEXIST && i < 100; i++) {
        snprintf(to, sizeof(to), "%s.%s.%u", spool->folder, name, i);
        result = renameat2(spool->fd, name, spool->store->quarantine, to, RENAME_NOREPLACE);
    }
    if (result == -1) {
        spool_complain(spool, COMPLAIN_DAMAGE, "cannot put it into quarantine; it is skipped",
                       errno);
        return -1;
    }
    spool->stats.aside++;
    log_warn("spool", "it is kept as quarantine/%s", log_quote(to));
    return 1;
}

static int copy(int from, int to, const struct segment_piece *piece)
{
    char bytes[65536];
    for (uint64_t at = piece->from; at < piece->to;) {
        size_t len = piece->to - at < sizeof(bytes) ? (size_t)(piece->to - at) : sizeof(bytes);
        ssize_t n = pread(from, bytes, len, (off_t)at);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) /* what can't be read is not to be had: the rest is kept */
            return 0;
        if (write(to, bytes, (size_t)n) != n)
            return -1;
        at += (uint64_t)n;
    }
    return 0;
}

int spool_aside_piece(struct spool *spool, int fd, struct segment_name name,
                      const struct segment_piece *piece)
{
    char to[NAME_ROOM];
    snprintf(to, sizeof(to), "%s.%020" PRIu64 "-%016" PRIx64 ".%" PRIu64 ".part", spool->folder,
             name.first, name.salt, piece->from);
    if (faccessat(spool->store->quarantine, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (!take_room(spool, piece->to - piece->from))
        return -1;
    int out = openat(spool->store->quarantine, to,
                     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int result = out == -1 ? -1 : copy(fd, out, piece);
    int saved = errno;
    if (out != -1)
        close(out);
    if (result == -1) {
        spool_complain(spool, COMPLAIN_DAMAGE, "cannot keep it in quarantine", saved);
        return -1;
    }
    spool->stats.aside++;
    return 1;
}

void spool_damaged(struct spool *spool, int fd, struct segment_name name,
                   const struct segment_piece *piece)
{
    char text[SEGMENT_NAME_ROOM];
    struct spool_stats *stats = &spool->stats;
    segment_name_format(text, name);
    if (spool_aside_piece(spool, fd, name, piece) == 0)
        return;
    stats->damaged_frames++;
    stats->damaged_bytes += piece->to - piece->from;
    log_error("spool",
              "stream=%s: %s is damaged at %" PRIu64 ", %" PRIu64
              " bytes%s; it goes on behind that; `splashdam spool check` looks at all",
              log_quote(spool->name), text, piece->from, piece->to - piece->from,
              piece->known ? ", one frame" : "");
}
