#include "agent/watch.h"

#include "agent/log.h"

#include <errno.h>
#include <inotifytools/inotifytools.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define READS_MAX 64 /* of 32 KiB: more than the kernel queues by default */
#define MASK_PARENT \
    (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR) /* a folder may be opened to us */
#define MASK_LEAF                                                                  \
    (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MODIFY | IN_ATTRIB | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* One path of a watched folder; the same folder may have more than one. */
struct folder {
    struct folder *next;
    int wd;
    unsigned holds;
    bool kept; /* by watch_folder(): for as long as it is there */
    char path[];
};

struct watch {
    struct ev_loop *loop;
    struct ev_io watcher;
    int fd;
    watch_event_fn *event;
    void *arg;
    struct folder **by_wd; /* chains; wd modulo size */
    size_t size;
    size_t count;
    bool paused;
    bool busy;    /* with an event: no folder is freed meanwhile, */
    bool let_go;  /* but afterwards */
    bool used_up; /* said; until a folder can be watched again */
    struct log_limit complaint;
    struct log_limit overflow;
    struct log_limit unread;
};

static void on_events(struct ev_loop *loop, struct ev_io *watcher, int events);

struct watch *watch_open(struct ev_loop *loop, watch_event_fn *event, void *arg)
{
    struct watch *watch = (struct watch *)calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    watch->size = 256;
    watch->by_wd = (struct folder **)calloc(watch->size, sizeof(struct folder *));
    if (watch->by_wd == NULL) {
        free(watch);
        return NULL;
    }
    watch->fd = -1;
    watch->loop = loop;
    watch->event = event;
    watch->arg = arg;
    ev_init(&watch->watcher, on_events);
    watch->watcher.data = watch;
    return watch;
}

/* When the first folder is to be watched; tried again with each one. */
static int begin(struct watch *watch)
{
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd == -1)
        return -1;
    ev_io_set(&watch->watcher, watch->fd, EV_READ);
    if (!watch->paused)
        ev_io_start(watch->loop, &watch->watcher);
    return 0;
}

void watch_close(struct watch **watch_ptr)
{
    struct watch *watch = *watch_ptr;
    if (watch == NULL)
        return;
    ev_io_stop(watch->loop, &watch->watcher);
    if (watch->fd != -1)
        close(watch->fd);
    for (size_t i = 0; i < watch->size; i++) {
        while (watch->by_wd[i] != NULL) {
            struct folder *folder = watch->by_wd[i];
            watch->by_wd[i] = folder->next;
            free(folder);
        }
    }
    free(watch->by_wd);
    free(watch);
    *watch_ptr = NULL;
}

void watch_pause(struct watch *watch, bool paused)
{
    watch->paused = paused;
    if (paused)
        ev_io_stop(watch->loop, &watch->watcher);
    else if (watch->fd != -1)
        ev_io_start(watch->loop, &watch->watcher);
}

static struct folder **chain_of(struct watch *watch, int wd)
{
    return &watch->by_wd[(size_t)wd % watch->size];
}

static void grow(struct watch *watch)
{
    size_t size = watch->size * 4;
    struct folder **old = watch->by_wd;
    size_t old_size = watch->size;
    struct folder **by_wd = (struct folder **)calloc(size, sizeof(struct folder *));
    if (by_wd == NULL)
        return; /* slower, not wrong */
    watch->by_wd = by_wd;
    watch->size = size;
    for (size_t i = 0; i < old_size; i++) {
        while (old[i] != NULL) {
            struct folder *folder = old[i];
            old[i] = folder->next;
            struct folder **chain = chain_of(watch, folder->wd);
            folder->next = *chain;
            *chain = folder;
        }
    }
    free(old);
}

static void complain(struct watch *watch, const char *path, int error)
{
    unsigned times;
    bool used_up = error == ENOSPC || error == EMFILE;
    if (error == ENOENT || error == ENOTDIR || (used_up && watch->used_up))
        return;
    watch->used_up |= used_up;
    if (!log_allowed(&watch->complaint, &times))
        return;
    if (error == ENOSPC)
        log_error("watch",
                  "the inotify watches of this user are used up: raise fs.inotify.max_user_watches "
                  "(now %d); until then folders are polled path=%s times=%u",
                  inotifytools_get_max_user_watches(), log_quote(path), times);
    else if (error == EMFILE)
        log_error(
            "watch",
            "no inotify instance is left for this user, or no open file for this process: raise "
            "fs.inotify.max_user_instances (now %d) or LimitNOFILE=; until then all folders are "
            "polled times=%u",
            inotifytools_get_max_user_instances(), times);
    else
        log_warn("watch", "cannot watch a folder: %s path=%s times=%u", strerror(error),
                 log_quote(path), times);
}

static struct folder *find(struct watch *watch, int wd, const char *path)
{
    struct folder *folder = *chain_of(watch, wd);
    while (folder != NULL && (folder->wd != wd || strcmp(folder->path, path) != 0))
        folder = folder->next;
    return folder;
}

/* NULL and errno. */
static struct folder *add(struct watch *watch, const char *path, bool leaf)
{
    int wd = -1;
    if (watch->fd != -1 || begin(watch) == 0)
        wd = inotify_add_watch(watch->fd, path, (leaf ? MASK_LEAF : MASK_PARENT) | IN_MASK_ADD);
    if (wd == -1) {
        int saved = errno;
        complain(watch, path, saved);
        errno = saved;
        return NULL;
    }
    struct folder *folder = find(watch, wd, path);
    if (folder != NULL)
        return folder;
    size_t len = strlen(path);
    folder = (struct folder *)calloc(1, sizeof(*folder) + len + 1);
    if (folder == NULL)
        return NULL;
    folder->wd = wd;
    memcpy(folder->path, path, len + 1);
    struct folder **chain = chain_of(watch, wd);
    folder->next = *chain;
    *chain = folder;
    if (++watch->count > watch->size * 2)
        grow(watch);
    if (watch->used_up)
        log_info("watch", "there are inotify watches again path=%s", log_quote(path));
    watch->used_up = false;
    log_debug("watch", "watching a folder path=%s", log_quote(path));
    return folder;
}

int watch_folder(struct watch *watch, const char *path, bool leaf)
{
    struct folder *folder = add(watch, path, leaf);
    if (folder == NULL)
        return -1;
    folder->kept = true;
    return 0;
}

int watch_hold(struct watch *watch, const char *path, bool leaf)
{
    struct folder *folder = add(watch, path, leaf);
    if (folder == NULL)
        return -1;
    folder->holds++;
    return folder->wd;
}

static bool is_watched(struct watch *watch, int wd)
{
    for (struct folder *f = *chain_of(watch, wd); f != NULL; f = f->next)
        if (f->wd == wd)
            return true;
    return false;
}

/* Frees the folders that nobody needs any more. */
static void sweep(struct watch *watch)
{
    watch->let_go = false;
    for (size_t i = 0; i < watch->size; i++) {
        for (struct folder **at = &watch->by_wd[i]; *at != NULL;) {
            struct folder *folder = *at;
            if (folder->kept || folder->holds > 0) {
                at = &folder->next;
                continue;
            }
            *at = folder->next;
            watch->count--;
            if (!is_watched(watch, folder->wd)) /* it may have another path */
                inotify_rm_watch(watch->fd, folder->wd);
            free(folder);
        }
    }
}

void watch_doubt(struct watch *watch)
{
    for (size_t i = 0; i < watch->size; i++)
        for (struct folder *folder = watch->by_wd[i]; folder != NULL; folder = folder->next)
            folder->kept = false;
}

void watch_drop_doubted(struct watch *watch)
{
    watch->let_go = true;
    if (!watch->busy)
        sweep(watch);
}

void watch_let_go(struct watch *watch, int number, const char *path)
{
    struct folder *folder = find(watch, number, path);
    if (folder == NULL || --folder->holds > 0 || folder->kept)
        return; /* not there: the kernel has dropped it */
    watch->let_go = true;
    if (!watch->busy)
        sweep(watch);
}

/* IN_IGNORED: the kernel has dropped the watch; the number may be used again. */
static void forget(struct watch *watch, int wd)
{
    struct folder **at = chain_of(watch, wd);
    while (*at != NULL) {
        struct folder *folder = *at;
        if (folder->wd != wd) {
            at = &folder->next;
            continue;
        }
        *at = folder->next;
        free(folder);
        watch->count--;
    }
}

static void take_event(struct watch *watch, const struct inotify_event *event)
{
    unsigned times;
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        if (log_allowed(&watch->overflow, &times))
            log_warn("watch",
                     "inotify lost events (fs.inotify.max_queued_events): looking at "
                     "all files anew times=%u",
                     times);
        watch->event(NULL, event->mask, watch->arg);
        return;
    }
    watch->busy = true;
    for (struct folder *f = *chain_of(watch, event->wd), *next; f != NULL; f = next) {
        char path[PATH_MAX + NAME_MAX + 2];
        next = f->next;
        if (f->wd != event->wd)
            continue;
        const char *slash = f->path[1] == '\0' ? "" : "/";
        const char *name = event->len > 0 ? event->name : "";
        snprintf(path, sizeof(path), "%s%s%s", f->path, *name == '\0' ? "" : slash, name);
        watch->event(path, event->mask, watch->arg);
    }
    watch->busy = false;
    if ((event->mask & IN_IGNORED) != 0)
        forget(watch, event->wd);
    if (watch->let_go)
        sweep(watch);
}

/* False: there is nothing more. */
static bool read_events(struct watch *watch)
{
    _Alignas(struct inotify_event) char buffer[32 * 1024];
    ssize_t len = read(watch->fd, buffer, sizeof(buffer));
    if (len == -1) {
        unsigned times;
        bool again = errno == EINTR;
        if (errno != EAGAIN && !again && log_allowed(&watch->unread, &times))
            log_error("watch", "inotify: %s times=%u", strerror(errno), times);
        return again;
    }
    for (char *at = buffer; at < buffer + len;) {
        const struct inotify_event *event = (const struct inotify_event *)(void *)at;
        at += sizeof(*event) + event->len;
        take_event(watch, event);
    }
    return len > 0;
}

/* All that is queued, before anything is read: a log's generations are then known together, and come in their order. */
static void on_events(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    (void)loop;
    (void)events;
    struct watch *watch = (struct watch *)watcher->data;
    for (int i = 0; i < READS_MAX && read_events(watch); i++)
        ;
}
