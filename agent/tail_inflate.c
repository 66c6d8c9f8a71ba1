/* A generation that was compressed before it was read to its end, and its file removed: found by its content, decompressed into an
 * unlinked file, and read there as if it were the old one. The source is in the queue of ready ones meanwhile, a step each turn,
 * so that newer generations wait for it. */
#include "agent/clock.h"
#include "agent/inflate.h"
#include "agent/siblings.h"
#include "agent/tail_inner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STEP ((size_t)1 << 20)
#define SPARE \
    ((uint64_t)4 << 20) /* bytes of the state folder's file system that are left for positions */
#define BLOCK ((uint64_t)4096) /* in which a file's disk space is given back */

/* Is it a compressed generation of the log, by its name? */
static bool is_of_log(const char *path, const char *log)
{
    char plain[PATH_MAX], base[PATH_MAX];
    if (!inflate_knows(path))
        return false;
    int len = (int)(strrchr(path, '.') - path);
    if ((size_t)snprintf(plain, sizeof(plain), "%.*s", len, path) >= sizeof(plain))
        return false;
    return strcmp(plain, log) == 0 || (tail_rotation_base(plain, base) && strcmp(base, log) == 0);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The log's compressed generations behind `path`, in the order of their names: *ret_n paths, to be freed as the array is. The
 * folder is walked once, however many they are. NULL: there are none. */
static char **list_candidates(const char *log, const char *path, size_t *ret_n)
{
    char folder[PATH_MAX], one[PATH_MAX + NAME_MAX + 2];
    char **paths = NULL;
    size_t room = 0;
    struct dirent *entry;
    *ret_n = 0;
    DIR *dir = siblings_open_folder(log, folder);
    if (dir == NULL)
        return NULL;
    while ((entry = readdir(dir)) != NULL) {
        snprintf(one, sizeof(one), "%s%s", folder, entry->d_name);
        if (strcmp(one, path) <= 0 || !is_of_log(one, log))
            continue;
        if (*ret_n == room) {
            room = room == 0 ? 16 : room * 2;
            char **all = (char **)reallocarray(paths, room, sizeof(char *));
            if (all == NULL)
                break;
            paths = all;
        }
        paths[*ret_n] = strdup(one);
        if (paths[*ret_n] == NULL)
            break;
        ++*ret_n;
    }
    closedir(dir);
    if (*ret_n > 0)
        qsort(paths, *ret_n, sizeof(char *), compare_names);
    return paths;
}

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

/* Begins to decompress; NULL: it is another file. *ret_fd: what is decompressed. */
static struct inflate *try_candidate(struct tail *tail, const char *path, const struct mark *mark,
                                     struct file_facts *ret_facts, int *ret_fd)
{
    const struct mark head = {.head = mark->head};
    uint64_t keep = mark->offset > TAIL_MAX ? mark->offset - TAIL_MAX : 0;
    int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (in == -1 || file_facts_fd(in, ret_facts) == -1 || !ret_facts->regular) {
        if (in != -1)
            close(in);
        return NULL;
    }
    *ret_fd = open_temporary(tail);
    if (*ret_fd == -1) {
        close(in);
        tail_complain(tail, COMPLAINT_READ, "no file for decompressing in the state folder", path);
        return NULL;
    }
    struct inflate *inflate = inflate_open(path, in, *ret_fd, keep);
    while (inflate != NULL && inflate_size(inflate) < mark->head.len &&
           inflate_step(inflate, FINGERPRINT_MAX) == INFLATE_MORE)
        ;
    if (inflate != NULL && inflate_size(inflate) >= mark->head.len &&
        source_compare(*ret_fd, inflate_size(inflate), &head) == CONTENT_SAME)
        return inflate;
    inflate_close(&inflate);
    tail_drop_file(tail, *ret_fd);
    return NULL;
}

struct inflate *tail_find_compressed(struct tail *tail, const char *log, const struct mark *mark,
                                     char *path, struct file_facts *ret_facts, int *ret_fd)
{
    struct inflate *inflate = NULL;
    size_t n;
    if (mark->head.len == 0)
        return NULL; /* nothing is known to compare */
    char **paths = list_candidates(log, path, &n);
    for (size_t i = 0; i < n; i++) {
        if (inflate == NULL && (size_t)snprintf(path, PATH_MAX, "%s", paths[i]) < PATH_MAX)
            inflate = try_candidate(tail, path, mark, ret_facts, ret_fd);
        free(paths[i]);
    }
    free(paths);
    return inflate;
}

void tail_begin_inflate(struct tail *tail, struct source *source, struct inflate *inflate,
                        const char *path)
{
    source->inflate = inflate;
    source->scanned = 0;
    source->inflated = false;
    source->unpacked = true;
    source->quiet_since = clock_monotonic();
    log_info("tail", "decompressing a rotated file, reading on in it path=%s log=%s offset=%ju",
             log_quote(path), log_quote(source->origin.path.ptr), (uintmax_t)source->offset);
    tail_make_ready(tail, source);
}

bool tail_read_compressed(struct tail *tail, struct position *position)
{
    char path[PATH_MAX] = "";
    struct file_facts facts;
    int fd;
    struct inflate *inflate =
        tail_find_compressed(tail, position->path, &position->mark, path, &facts, &fd);
    if (inflate == NULL)
        return false;
    struct source *source = tail_new_source(tail, path, &position->id, position, fd);
    if (source == NULL) {
        inflate_close(&inflate);
        return true; /* the next time */
    }
    source->offset = position->mark.offset;
    source->cut = position->mark.cut;
    source->head = position->mark.head;
    source->tail = position->mark.tail;
    tail_join_generations(tail, source);
    tail_begin_inflate(tail, source, inflate, path);
    return true;
}

bool tail_unpack(struct tail *tail, struct source *source)
{
    const struct mark mark = tail_mark_of(source);
    char path[PATH_MAX] = "";
    struct file_facts facts;
    int fd;
    if (source->seen <= source->offset + source->scanned && !source->touched)
        return false; /* nothing of it is missing */
    struct inflate *inflate =
        tail_find_compressed(tail, source->origin.path.ptr, &mark, path, &facts, &fd);
    if (inflate == NULL)
        return false;
    source->fd = fd;
    source->begin = BEGUN;
    source->head = mark.head;
    source->tail = mark.tail;
    source->cut = mark.cut;
    source->touched = source->held = false;
    tail_begin_inflate(tail, source, inflate, path);
    return true;
}

/* Another file that begins alike. False: there is none. */
static bool try_next(struct tail *tail, struct source *source)
{
    const struct mark mark = {.offset = source->offset, .head = source->head, .tail = source->tail};
    char path[PATH_MAX];
    struct file_facts facts;
    int fd;
    snprintf(path, sizeof(path), "%s", source->path);
    struct inflate *inflate =
        tail_find_compressed(tail, source->origin.path.ptr, &mark, path, &facts, &fd);
    char *copy = inflate == NULL ? NULL : strdup(path);
    if (copy == NULL) {
        if (inflate != NULL)
            tail_drop_file(tail, fd);
        inflate_close(&inflate);
        return false;
    }
    tail_close_file(tail, source);
    if (source->path != source->origin.path.ptr)
        free(source->path); /* not in the tree: it is no name */
    source->path = copy;
    source->fd = fd;
    tail_begin_inflate(tail, source, inflate, path);
    return true;
}

/* What was looked for is in none of the files. */
static bool give_up(struct tail *tail, struct source *source, const char *why)
{
    inflate_close(&source->inflate);
    if (try_next(tail, source))
        return true;
    log_warn("tail", "%s: what a rotated file held behind the offset is lost path=%s offset=%ju",
             why, log_quote(source->path), (uintmax_t)source->offset);
    tail_retire(tail, source);
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
    inflate_close(&source->inflate);
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

/* True: there is nothing to read of it. */
static bool stuck(struct tail *tail, struct source *source)
{
    char what[128];
    snprintf(what, sizeof(what), "cannot decompress a file into the state folder, trying again: %s",
             strerror(errno));
    tail_complain(tail, COMPLAINT_READ, what, source->path);
    source->failed = true; /* until tail_tick() */
    return !source->inflated;
}

/* Enough of it waits to be read. */
static bool is_ahead(const struct source *source)
{
    return source->inflated && inflate_size(source->inflate) - source->offset > source->want + STEP;
}

bool tail_inflate(struct tail *tail, struct source *source)
{
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
    if (result == INFLATE_FAILED)
        return stuck(tail, source);
    if (!source->inflated && size >= mark.offset) {
        if (source_compare(source->fd, size, &mark) != CONTENT_SAME)
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
