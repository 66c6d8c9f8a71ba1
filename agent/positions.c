#include "agent/positions.h"

#include "agent/log.h"
#include "agent/positions_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_NAME        "positions"
#define OLD_NAME         "positions.old"
#define BYTE_ORDER_MARK  3  /* bytes at a text's start that may be no line's, at most */
#define RENEWALS_UNSAVED 64 /* truncations of a file between two saves that are looked for */
#define FILE_MAX         ((off_t)1 << 30) /* a positions file is never that large */

static int compare(const void *left, const void *right)
{
    const struct position *a = (const struct position *)left;
    const struct position *b = (const struct position *)right;
    int order = identity_compare(&a->id, &b->id);
    return order != 0 ? order : strcmp(a->stream, b->stream);
}

/* ---- opening ---- */

static int make_folder(const char *path, struct error *error)
{
    char part[4096];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return error_set(error, "agent.state: the path is empty or too long");
    memcpy(part, path, len + 1);
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(part, 0755) == -1 && errno != EEXIST)
            return error_set(error, "cannot make the folder %s: %s", part, strerror(errno));
        *at = '/';
    }
    if (mkdir(part, 0700) == -1 && errno != EEXIST)
        return error_set(error, "cannot make the state folder %s: %s", part, strerror(errno));
    return 0;
}

static int lock_folder(struct positions *positions, const char *path, struct error *error)
{
    positions->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (positions->folder == -1)
        return error_set(error, "cannot open the state folder %s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(positions->folder, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        log_warn("positions", "others may write to the state folder: chmod 0700 folder=%s mode=%04o",
                 log_quote(path), (unsigned)st.st_mode & 07777);
    positions->lock_fd =
        openat(positions->folder, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (positions->lock_fd == -1)
        return error_set(error, "cannot open %s/lock: %s", path, strerror(errno));
    if (flock(positions->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(error,
                         "another splashdam runs on the state folder %s; give each its own "
                         "agent.state, or stop the other one",
                         path);
    return error_set(error, "cannot lock %s/lock: %s", path, strerror(errno));
}

/* A descriptor, or -1 and errno: EINVAL for what is no file, EFBIG for one that is none of ours. */
static int open_file(int folder, const char *name, size_t *ret_size)
{
    struct stat st;
    int fd;
    do
        fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    while (fd == -1 && errno == EINTR);
    if (fd == -1)
        return -1;
    int error = 0;
    if (fstat(fd, &st) == -1)
        error = errno;
    else if (!S_ISREG(st.st_mode))
        error = EINVAL;
    else if (st.st_size >= FILE_MAX)
        error = EFBIG;
    if (error == 0) {
        *ret_size = (size_t)st.st_size;
        return fd;
    }
    close(fd);
    errno = error;
    return -1;
}

/* The whole file, malloc'ed, or NULL and errno. Closes it. */
static char *read_file(int fd, size_t size, size_t *ret_len)
{
    char *text = (char *)malloc(size + 1);
    size_t len = 0;
    while (text != NULL && len < size) {
        ssize_t n = read(fd, text + len, size - len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1) {
            int saved = errno;
            free(text);
            text = NULL;
            errno = saved;
        }
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    *ret_len = len;
    return text;
}

enum load_result { LOAD_OK, LOAD_MISSING, LOAD_DAMAGED, LOAD_FAILED };

static void keep_aside(struct positions *positions, const char *name)
{
    char aside[128];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(aside, sizeof(aside), "positions.damaged-%ld.%09ld", (long)now.tv_sec, now.tv_nsec);
    if (renameat(positions->folder, name, positions->folder, aside) == -1)
        log_error("positions", "cannot keep the damaged file aside: rename: %s", strerror(errno));
    else
        log_warn("positions", "the damaged file is kept file=%s", aside);
}

/* No file of ours stands there. */
static bool is_foreign(int error)
{
    return error == EINVAL || error == EFBIG || error == ELOOP || error == ENXIO;
}

/* FAILED: *error says why. What can't be opened now, or has no memory, is not damaged: what it says would be given up. */
static enum load_result load(struct positions *positions, const char *name, struct error *error)
{
    size_t size, len = 0;
    int fd = open_file(positions->folder, name, &size);
    if (fd == -1 && errno == ENOENT)
        return LOAD_MISSING;
    bool unopened = fd == -1 && !is_foreign(errno);
    char *text = fd == -1 ? NULL : read_file(fd, size, &len);
    if (text == NULL && (unopened || errno == ENOMEM)) {
        error_set(error, "cannot read %s in the state folder: %s", name, strerror(errno));
        return LOAD_FAILED;
    }
    if (text == NULL) {
        log_error("positions", "cannot read %s: %s", name, strerror(errno));
        keep_aside(positions, name);
        return LOAD_DAMAGED;
    }
    int result = positions_parse(slice_of(text, len), &positions->list, error);
    free(text);
    if (result == 0)
        return LOAD_OK;
    log_error("positions", "%s is damaged: %s", name, error->text);
    keep_aside(positions, name);
    return LOAD_DAMAGED;
}

static int load_newest(struct positions *positions, struct error *error)
{
    enum load_result newest = load(positions, FILE_NAME, error);
    if (newest == LOAD_OK || newest == LOAD_FAILED)
        return newest == LOAD_OK ? 0 : -1;
    enum load_result old = load(positions, OLD_NAME, error);
    if (old == LOAD_OK)
        log_warn("positions", "going on from the previous save: some lines may be sent again");
    if (old == LOAD_FAILED)
        return -1;
    if (old == LOAD_OK || (newest == LOAD_MISSING && old == LOAD_MISSING))
        return 0;
    positions->damaged = true;
    log_warn("positions", "no readable save is left: every file is read from its beginning, so "
                          "that nothing is lost; lines may be sent again");
    return 0;
}

static int build_index(struct positions *positions)
{
    for (size_t i = 0; i < positions->list.n; i++) {
        struct position *p = positions->list.items[i];
        if (tsearch(p, &positions->index, compare) == NULL)
            return -1;
        if (p->sequence >= positions->next_sequence)
            positions->next_sequence = p->sequence + 1;
    }
    return 0;
}

struct positions *positions_open(const char *folder, struct flusher *flusher, struct error *error)
{
    struct positions *positions = (struct positions *)calloc(1, sizeof(*positions));
    if (positions == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&positions->lock, NULL);
    positions->last_news = &positions->news;
    positions->folder = positions->lock_fd = -1;
    positions->flusher = flusher;
    if (make_folder(folder, error) == -1 || lock_folder(positions, folder, error) == -1 ||
        load_newest(positions, error) == -1) {
        positions_close(&positions);
        return NULL;
    }
    if (build_index(positions) == -1) {
        error_set(error, "out of memory for %zu positions", positions->list.n);
        positions_close(&positions);
    }
    return positions;
}

static void keep_node(void *node)
{
    (void)node; /* entries belong to the list */
}

void positions_close(struct positions **positions_ptr)
{
    struct positions *positions = *positions_ptr;
    if (positions == NULL)
        return;
    if (positions->folder != -1)
        flusher_wait(positions->flusher);
    tdestroy(positions->index, keep_node);
    position_list_free(&positions->list);
    position_news_free(positions->news);
    free(positions->save.text);
    if (positions->lock_fd != -1)
        close(positions->lock_fd);
    if (positions->folder != -1)
        close(positions->folder);
    pthread_mutex_destroy(&positions->lock);
    free(positions);
    *positions_ptr = NULL;
}

int positions_folder(const struct positions *positions)
{
    return positions->folder;
}

bool positions_damaged(const struct positions *positions)
{
    return positions->damaged;
}

/* ---- entries ---- */

void positions_set_dirty(struct positions *positions)
{
    if (!positions->dirty && positions->changed != NULL)
        positions->changed(positions->changed_arg);
    positions->dirty = true;
}

void positions_name_agent(struct positions *positions, const char *agent)
{
    positions->agent = XXH3_64bits(agent, strlen(agent));
}

/* The same after a crash before it was saved: of the agent, the stream and the file. */
static uint64_t first_generation(const struct positions *positions, const struct position *p)
{
    uint64_t what[] = {positions->agent, XXH3_64bits(p->stream, strlen(p->stream)), p->id.dev,
                       p->id.ino, (uint64_t)p->id.birth};
    return XXH3_64bits(what, sizeof(what));
}

uint64_t positions_generation_after(uint64_t generation)
{
    return XXH3_64bits(&generation, sizeof(generation));
}

struct position *positions_entry_new(struct positions *positions, const char *stream,
                                     const struct identity *id, const char *path)
{
    struct position *p = (struct position *)calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->stream = strdup(stream);
    p->path = strdup(path);
    p->id = *id;
    p->sequence = positions->next_sequence;
    p->owner = -1;
    if (p->stream == NULL || p->path == NULL || position_list_add(&positions->list, p) == -1) {
        position_free(p);
        return NULL;
    }
    p->generation = first_generation(positions, p);
    if (tsearch(p, &positions->index, compare) == NULL) {
        positions->list.n--;
        position_free(p);
        return NULL;
    }
    positions->next_sequence++;
    positions_set_dirty(positions);
    return p;
}

/* Under the lock. */
struct position *positions_entry_find(struct positions *positions, const char *stream,
                                      const struct identity *id)
{
    union { /* only compared, never written */
        const char *in;
        char *out;
    } name = {stream};
    struct position wanted = {.stream = name.out, .id = *id};
    void *node = tfind(&wanted, &positions->index, compare);
    return node == NULL ? NULL : *(struct position **)node;
}

bool positions_find(struct positions *positions, const char *stream, const struct identity *id,
                    struct mark *ret_mark)
{
    pthread_mutex_lock(&positions->lock);
    const struct position *p = positions_entry_find(positions, stream, id);
    if (p != NULL)
        *ret_mark = p->mark;
    pthread_mutex_unlock(&positions->lock);
    return p != NULL;
}

struct position *positions_claim(struct positions *positions, const char *stream,
                                 const struct identity *id, const char *path, int worker,
                                 bool *ret_known)
{
    pthread_mutex_lock(&positions->lock);
    struct position *p = positions_entry_find(positions, stream, id);
    errno = 0;
    *ret_known = p != NULL;
    if (p != NULL) {
        if (p->owner != -1)
            p = NULL;
    } else {
        p = positions_entry_new(positions, stream, id, path);
        if (p == NULL)
            errno = ENOMEM;
    }
    if (p != NULL)
        p->owner = worker;
    pthread_mutex_unlock(&positions->lock);
    return p;
}

bool positions_is_later(uint64_t generation, uint64_t than)
{
    for (int i = 0; i < RENEWALS_UNSAVED; i++) {
        than = positions_generation_after(than);
        if (than == generation)
            return true;
    }
    return false;
}

int positions_restore(struct positions *positions, const struct position *known, uint64_t begin)
{
    int result = 0;
    pthread_mutex_lock(&positions->lock);
    struct position *p = positions_entry_find(positions, known->stream, &known->id);
    const bool starts = begin <= BYTE_ORDER_MARK; /* of the text */
    if (p == NULL && starts) {
        p = positions_entry_new(positions, known->stream, &known->id, known->path);
        result = p == NULL ? -1 : 0;
        if (p != NULL)
            p->generation = known->generation;
    }
    bool later = starts && p != NULL && p->generation != known->generation &&
                 positions_is_later(known->generation, p->generation);
    bool ahead = p != NULL && p->generation == known->generation && begin <= p->mark.offset &&
                 known->mark.offset > p->mark.offset;
    if (later || ahead ||
        (p != NULL && p->mark.offset == 0 && starts && p->generation == known->generation)) {
        p->generation = known->generation;
        p->mark = known->mark;
        positions_set_dirty(positions);
    }
    pthread_mutex_unlock(&positions->lock);
    return result;
}

void positions_release(struct positions *positions, struct position *position)
{
    pthread_mutex_lock(&positions->lock);
    position->owner = -1;
    pthread_mutex_unlock(&positions->lock);
}

int positions_rename(struct positions *positions, struct position *position, const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return -1;
    pthread_mutex_lock(&positions->lock);
    free(position->path);
    position->path = copy;
    positions_set_dirty(positions);
    pthread_mutex_unlock(&positions->lock);
    return 0;
}

void positions_note_copy(struct positions *positions, struct position *position, int64_t birth)
{
    pthread_mutex_lock(&positions->lock);
    position->copied = birth;
    positions_set_dirty(positions);
    pthread_mutex_unlock(&positions->lock);
}

void positions_set(struct positions *positions, struct position *position, const struct mark *mark)
{
    pthread_mutex_lock(&positions->lock);
    position->mark = *mark;
    positions_set_dirty(positions);
    pthread_mutex_unlock(&positions->lock);
}

void positions_renew(struct positions *positions, struct position *position)
{
    pthread_mutex_lock(&positions->lock);
    position->generation = positions_generation_after(position->generation);
    position->mark = position->sent = (struct mark){0};
    positions_set_dirty(positions);
    pthread_mutex_unlock(&positions->lock);
}

static void entry_free(struct positions *positions, struct position *position)
{
    tdelete(position, &positions->index, compare);
    position_list_remove(&positions->list, position);
    positions_set_dirty(positions);
    position_free(position);
}

void positions_forget(struct positions *positions, struct position **position_ptr)
{
    pthread_mutex_lock(&positions->lock);
    positions_add_news(positions, *position_ptr);
    entry_free(positions, *position_ptr);
    pthread_mutex_unlock(&positions->lock);
    *position_ptr = NULL;
}

struct position *positions_split(struct positions *positions, struct position *position,
                                 const struct identity *copy, int64_t copied)
{
    const struct identity log = position->id;
    struct position *fresh = NULL;
    pthread_mutex_lock(&positions->lock);
    struct position *stale = positions_entry_find(positions, position->stream, copy);
    if (stale != NULL && stale->owner == -1)
        entry_free(positions, stale);
    else if (stale != NULL)
        goto out;
    tdelete(position, &positions->index, compare);
    position->id = *copy;
    if (tsearch(position, &positions->index, compare) == NULL ||
        (fresh = positions_entry_new(positions, position->stream, &log, position->path)) == NULL) {
        tdelete(position, &positions->index, compare);
        position->id = log; /* room for its node was there a moment ago */
        tsearch(position, &positions->index, compare);
        goto out;
    }
    positions_add_news(positions, position);
    fresh->owner = position->owner;
    fresh->generation = positions_generation_after(position->generation);
    fresh->copied = copied;
    position->copied = 0;
out:
    pthread_mutex_unlock(&positions->lock);
    return fresh;
}

void positions_each_unclaimed(struct positions *positions, const char *stream,
                              positions_each_fn *each, void *arg)
{
    pthread_mutex_lock(&positions->lock);
    for (size_t i = 0; i < positions->list.n; i++) {
        const struct position *p = positions->list.items[i];
        if (p->owner == -1 && strcmp(p->stream, stream) == 0)
            each(p, arg);
    }
    pthread_mutex_unlock(&positions->lock);
}

/* ---- saving ---- */

void positions_on_change(struct positions *positions, positions_changed_fn *changed, void *arg)
{
    pthread_mutex_lock(&positions->lock);
    positions->changed = changed;
    positions->changed_arg = arg;
    if (positions->dirty && changed != NULL)
        changed(arg);
    pthread_mutex_unlock(&positions->lock);
}

bool positions_pending(struct positions *positions)
{
    pthread_mutex_lock(&positions->lock);
    bool pending = positions->dirty || flusher_busy(&positions->save.job) ||
                   atomic_load(&positions->save.failed);
    pthread_mutex_unlock(&positions->lock);
    return pending;
}

static void save_run(struct flush_job *job)
{
    struct save_job *save = (struct save_job *)job;
    const char *step = "";
    unsigned times;
    int result = flusher_replace(save->folder, FILE_NAME, OLD_NAME, save->text, save->len, &step);
    if (result == -1 && log_allowed(&save->complaint, &times))
        log_error("positions",
                  "cannot save: %s: %s; tried again every %d ms; after a crash lines would be "
                  "sent again times=%u",
                  step, strerror(errno), POSITIONS_SAVE_MS, times);
    free(save->text); /* megabytes, with many files */
    save->text = NULL;
    atomic_store(&save->failed, result == -1);
}

void positions_save(struct positions *positions)
{
    struct save_job *save = &positions->save;
    if (flusher_busy(&save->job))
        return;
    pthread_mutex_lock(&positions->lock);
    if (atomic_exchange(&save->failed, false))
        positions->dirty = true;
    bool dirty = positions->dirty;
    if (dirty) {
        save->text = positions_format(&positions->list, &save->len);
        positions->dirty = save->text == NULL;
    }
    pthread_mutex_unlock(&positions->lock);
    if (!dirty)
        return;
    if (save->text == NULL) {
        log_error("positions", "cannot save: out of memory; trying again");
        return;
    }
    save->folder = positions->folder;
    save->job.run = save_run;
    flusher_submit(positions->flusher, &save->job);
}

int positions_save_wait(struct positions *positions)
{
    flusher_wait(positions->flusher);
    positions_save(positions);
    flusher_wait(positions->flusher);
    return atomic_load(&positions->save.failed) || positions->dirty ? -1 : 0;
}
