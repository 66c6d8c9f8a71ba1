/* A generation that was compressed before it was read to its end, and its file removed: found by its content, decompressed into an
 * unlinked file, and read there as if it were the old one. The source is in the queue of ready ones meanwhile, a step each turn,
 * so that newer generations wait for it. */
#include "agent/clock.h"
#include "agent/inflate.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#define STEP ((size_t)1 << 20)
#define SPARE \
    ((uint64_t)4 << 20) /* bytes of the state folder's file system that are left for positions */
#define BLOCK ((uint64_t)4096) /* in which a file's disk space is given back */

/* A file without a name for what is decompressed; counted as a source's. -1 and errno. */
static int open_temporary(struct tail *tail)
{
    int folder = positions_folder(tail->place.positions);
    char name[32];
    int fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd == -1) { /* not every file system can do that */
        snprintf(name, sizeof(name), "inflate.%d", tail->place.worker);
        fd = openat(folder, name, O_CREAT | O_TRUNC | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
        if (fd != -1)
            unlinkat(folder, name, 0);
    }
    if (fd != -1)
        tail_count_file(tail);
    return fd;
}

/* Does its text begin with these bytes? -1 and errno: not to be told now. */
static int begins_with(struct tail *tail, const char *path, const struct content_hash *head)
{
    char text[FINGERPRINT_MAX];
    struct file_facts facts;
    if (file_facts(path, &facts) == -1 || !facts.regular)
        return 0;
    int fd = tail_open_to_compare(tail, path, &facts.id);
    if (fd == -1)
        return errno == EMFILE || errno == ENFILE ? -1 : 0;
    size_t len = inflate_begin(path, fd, text, head->len);
    tail_drop_file(tail, fd);
    return len == head->len && XXH3_64bits(text, len) == head->hash;
}

enum packed tail_find_packed(struct tail *tail, const char *log, const struct content_hash *head,
                             char *path)
{
    enum packed found = PACKED_NONE;
    size_t n;
    if (head->len == 0)
        return PACKED_NONE; /* nothing is known to compare */
    char **paths = tail_list_rotated(tail, log, true, 0, &n);
    for (size_t i = 0; i < n && found != PACKED_FOUND; i++) {
        if (strcmp(paths[i], path) <= 0)
            continue;
        int begins = begins_with(tail, paths[i], head);
        if (begins == 1 && (size_t)snprintf(path, PATH_MAX, "%s", paths[i]) < PATH_MAX)
            found = PACKED_FOUND;
        else if (begins == -1)
            found = PACKED_LATER;
    }
    free(paths);
    return found;
}

/* path: of the compressed file; "" when it has to be looked for once more. */
void tail_read_packed(struct tail *tail, struct source *source, const char *path)
{
    const struct mark mark = tail_mark_of(source);
    char *copy = path[0] == '\0' ? NULL : tail_copy_path(source, path);
    if (copy != NULL) { /* not in the tree: it is no name */
        if (source->path != source->origin.path.ptr)
            free(source->path);
        source->path = copy;
    }
    source->begin = BEGUN;
    source_go_on_at(source, &mark);
    source->scanned = 0;
    source->touched = source->held = false;
    source->inflated = false;
    source->packed = source->unpacked = true;
    source->quiet_since = clock_monotonic();
    tail_make_ready(tail, source);
}

bool tail_read_compressed(struct tail *tail, struct position *position)
{
    char path[PATH_MAX] = "";
    if (tail_find_packed(tail, position->path, &position->mark.head, path) == PACKED_NONE)
        return false;
    const char *at = path[0] == '\0' ? position->path : path;
    struct source *source = tail_new_source(tail, at, &position->id, position, -1);
    if (source == NULL)
        return true; /* the next time */
    source->begin = BEGIN_RESUME;
    tail_read_packed(tail, source, path);
    tail_join_generations(tail, source);
    return true;
}

bool tail_unpack(struct tail *tail, struct source *source)
{
    const struct mark mark = tail_mark_of(source);
    char path[PATH_MAX] = "";
    if ((source->seen <= source->offset + source->scanned && !source->touched) ||
        tail_find_packed(tail, source->origin.path.ptr, &mark.head, path) == PACKED_NONE)
        return false; /* nothing of it is missing, or all */
    tail_read_packed(tail, source, path);
    return true;
}

bool tail_read_plain(struct tail *tail, struct source *source, const char *path)
{
    const struct mark mark = tail_mark_of(source);
    struct file_facts facts;
    int fd = tail_open_to_compare(tail, path, &source->id);
    bool same = fd != -1 && file_facts_fd(fd, &facts) == 0 &&
                source_compare(fd, facts.size, &mark) == CONTENT_SAME;
    tail_drop_file(tail, fd);
    if (!same)
        return false;
    tail_close_file(tail, source);
    source_forget_seen(source);
    source->packed = source->unpacked = source->gone = source->unlinked = false;
    return true;
}

/* ---- a step each turn ---- */

void tail_end_inflating(struct tail *tail, struct source *source)
{
    inflate_close(&source->inflate);
    tail_drop_file(tail, source->packed_fd);
    source->packed_fd = -1;
}

static void gone(struct tail *tail, struct source *source, const char *why)
{
    log_warn("tail", "%s: what a rotated file held behind the offset is lost path=%s offset=%ju",
             why, log_quote(source->path), (uintmax_t)source->offset);
    tail_retire(tail, source);
}

static void fail(struct tail *tail, struct source *source, const char *what)
{
    char text[160];
    snprintf(text, sizeof(text), "%s, trying again: %s", what, strerror(errno));
    tail_complain(tail, COMPLAINT_READ, text, source->path);
    source->failed = true; /* until tail_tick() */
}

/* Opens the compressed file, under another name if it has one by now. False: not now, or it is gone. */
static bool open_packed(struct tail *tail, struct source *source)
{
    char path[PATH_MAX] = "";
    struct file_facts facts;
    if (!inflate_knows(source->path) || begins_with(tail, source->path, &source->head) != 1) {
        enum packed found = tail_find_packed(tail, source->origin.path.ptr, &source->head, path);
        if (found == PACKED_NONE)
            gone(tail, source, "a compressed file is gone before it was read");
        if (found != PACKED_FOUND)
            return false;
        tail_read_packed(tail, source, path);
    }
    if (file_facts(source->path, &facts) == 0)
        source->packed_fd = tail_open_to_compare(tail, source->path, &facts.id);
    return source->packed_fd != -1;
}

/* There are descriptors for it. False: not now. */
static bool begin(struct tail *tail, struct source *source)
{
    if (!tail_make_room(tail, FILES_TO_UNPACK)) {
        tail_wait_for_file(tail, source);
        return false;
    }
    if (!open_packed(tail, source)) {
        if (source->position != NULL)
            fail(tail, source, "cannot open a compressed file");
        return false;
    }
    source->fd = open_temporary(tail);
    uint64_t keep = source->offset > TAIL_MAX ? source->offset - TAIL_MAX : 0;
    if (source->fd != -1)
        source->inflate = inflate_open(source->path, source->packed_fd, source->fd, keep);
    if (source->inflate == NULL) {
        fail(tail, source, "no file for decompressing in the state folder");
        tail_close_file(tail, source);
        return false;
    }
    source->packed = false;
    log_info("tail", "decompressing a rotated file, reading on in it path=%s log=%s offset=%ju",
             log_quote(source->path), log_quote(source->origin.path.ptr), (uintmax_t)source->offset);
    return true;
}

/* Another file that begins alike. False: there is none. */
static bool try_next(struct tail *tail, struct source *source)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", source->path);
    if (tail_find_packed(tail, source->origin.path.ptr, &source->head, path) != PACKED_FOUND)
        return false;
    tail_close_file(tail, source);
    tail_read_packed(tail, source, path);
    return true;
}

/* What was looked for is in none of the files. */
static bool give_up(struct tail *tail, struct source *source, const char *why)
{
    if (!try_next(tail, source))
        gone(tail, source, why);
    return true;
}

/* No more comes. */
static bool finish(struct tail *tail, struct source *source, enum inflate_result result)
{
    char what[128];
    if (!source->inflated)
        return give_up(tail, source, "a compressed file does not hold what was read");
    if (result != INFLATE_END) {
        snprintf(what, sizeof(what),
                 "a compressed file %s: what stands before is read, the rest is lost",
                 result == INFLATE_CUT ? "ends too early" : "is corrupt");
        tail_complain(tail, COMPLAINT_READ, what, source->path);
    }
    tail_end_inflating(tail, source);
    tail_make_ready(tail, source); /* to be read to its end */
    return false;
}

/* What is delivered is not read again, but for the bytes by which the text is known. */
static void give_back_delivered(const struct source *source)
{
    uint64_t offset = source->position->mark.offset;
    uint64_t begin = (INFLATE_HEAD + BLOCK - 1) / BLOCK * BLOCK;
    uint64_t end = offset < TAIL_MAX ? 0 : (offset - TAIL_MAX) / BLOCK * BLOCK;
    if (end > begin)
        fallocate(source->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)begin,
                  (off_t)(end - begin));
}

/* The positions of all streams are saved on the same file system. */
static bool has_room(struct tail *tail)
{
    struct statvfs fs;
    errno = ENOSPC;
    return fstatvfs(positions_folder(tail->place.positions), &fs) == -1 ||
           (uint64_t)fs.f_bavail * fs.f_frsize >= SPARE;
}

/* Enough of it waits to be read. */
static bool is_ahead(const struct source *source)
{
    return source->inflated && inflate_size(source->inflate) - source->offset > source->want + STEP;
}

bool tail_inflate(struct tail *tail, struct source *source)
{
    if (source->packed && !begin(tail, source))
        return true;
    if (source->inflate == NULL)
        return false;
    const struct mark mark = {.offset = source->offset, .head = source->head, .tail = source->tail};
    uint64_t before = inflate_size(source->inflate);
    if (is_ahead(source))
        return false;
    give_back_delivered(source);
    enum inflate_result result =
        has_room(tail) ? inflate_step(source->inflate, STEP) : INFLATE_FAILED;
    uint64_t size = inflate_size(source->inflate);
    int64_t now = clock_monotonic();
    if (size > before)
        source->quiet_since = now;
    if (result == INFLATE_FAILED) {
        fail(tail, source, "cannot decompress a file into the state folder");
        return !source->inflated;
    }
    if (!source->inflated && size >= mark.offset) {
        enum source_content content = source_compare(source->fd, size, &mark);
        if (content == CONTENT_UNKNOWN) {
            fail(tail, source, "cannot read what was decompressed");
            return true;
        }
        if (content != CONTENT_SAME)
            return give_up(
                tail, source,
                "a compressed file begins as the one that was read, and goes on otherwise");
        source->inflated = true;
    }
    /* A file that ends too early may still be written. */
    if (result == INFLATE_CUT && now - source->quiet_since < QUIET_NS) {
        source->failed = true; /* looked at again by tail_tick() */
        return !source->inflated;
    }
    if (result != INFLATE_MORE)
        return finish(tail, source, result);
    tail_make_ready(tail, source);
    return !source->inflated;
}
