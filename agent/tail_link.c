/* Logs that are symbolic links into folders of which no glob knows, as Kubernetes' /var/log/containers/x.log is: the folders of all
 * that such a link leads to are watched for as long as it does. */
#include "agent/link.h"
#include "agent/remote.h"
#include "agent/tail_inner.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <sys/inotify.h>

/* One path on the way from a link to its file, which is the last. */
struct link_target {
    char *path;               /* the node's key in the tail's tree of the first that has it */
    struct link_target *same; /* further ones of other links */
    struct link *link;
    char *folder; /* watched; NULL: none is */
    int number;   /* watch_hold()'s */
};

struct link {
    struct link *next, **link; /* of all of the tail */
    char *path;                /* the log; the node's key in the tail's tree */
    unsigned walked;           /* the tail's rescan in which it was looked at last */
    bool polled;               /* not all of its folders can be watched */
    size_t n;
    struct link_target targets[];
};

static int compare_link(const void *a, const void *b)
{
    return strcmp(((const struct link *)a)->path, ((const struct link *)b)->path);
}

static int compare_target(const void *a, const void *b)
{
    return strcmp(((const struct link_target *)a)->path, ((const struct link_target *)b)->path);
}

static struct link_target *find_target(const struct tail *tail, const char *path)
{
    union { /* only compared */
        const char *in;
        char *out;
    } name = {path};
    struct link_target wanted = {.path = name.out};
    void *node = tfind(&wanted, &tail->links_by_target, compare_target);
    return node == NULL ? NULL : *(struct link_target **)node;
}

/* The folder that the path is in; false: that is the root, or nothing above it. */
static bool cut_to_folder(char *path)
{
    char *slash = strrchr(path, '/');
    bool root = slash == path;
    slash[root] = '\0';
    return !root;
}

/* Watches the target's folder or, until it is there, the one above. */
static void hold(struct tail *tail, struct link_target *target)
{
    bool leaf = true, more = true;
    char *folder = strdup(target->path);
    target->number = -1;
    while (folder != NULL && more && target->number == -1) {
        more = cut_to_folder(folder);
        target->number = watch_hold(tail->place.watch, folder, leaf);
        more &= errno == ENOENT || errno == ENOTDIR;
        leaf = false;
    }
    if (target->number == -1) {
        free(folder);
        folder = NULL;
    }
    target->folder = folder;
    target->link->polled |= folder == NULL || (tail->stream->config->tail.watch == WATCH_AUTO &&
                                               remote_name(folder) != NULL);
}

/* The path is the target's then. -1: no memory. */
static int add_target(struct tail *tail, struct link *link, char *path)
{
    struct link_target *target = &link->targets[link->n];
    *target = (struct link_target){.path = path, .link = link};
    struct link_target **node =
        (struct link_target **)tsearch(target, &tail->links_by_target, compare_target);
    if (node == NULL)
        return -1;
    link->n++;
    if (*node != target) {
        target->same = (*node)->same;
        (*node)->same = target;
    }
    /* A link that is polled itself is followed each time. */
    if (tail->stream->config->tail.watch != WATCH_POLL)
        hold(tail, target);
    return 0;
}

static void remove_target(struct tail *tail, struct link_target *target)
{
    struct link_target **node =
        (struct link_target **)tfind(target, &tail->links_by_target, compare_target);
    if (*node != target) {
        struct link_target *before = *node;
        while (before->same != target)
            before = before->same;
        before->same = target->same;
    } else if (target->same != NULL) {
        *node = target->same; /* the key is the same text */
    } else {
        tdelete(target, &tail->links_by_target, compare_target);
    }
    if (target->folder != NULL)
        watch_let_go(tail->place.watch, target->number, target->folder);
    free(target->folder);
    free(target->path);
}

static void link_free(struct tail *tail, struct link *link)
{
    for (size_t i = 0; i < link->n; i++)
        remove_target(tail, &link->targets[i]);
    tail->polled_links -= link->polled;
    free(link->path);
    free(link);
}

static size_t resolve(const char *path, char *targets[LINK_STEPS])
{
    char from[PATH_MAX], to[PATH_MAX];
    size_t n = 0;
    while (n < LINK_STEPS && link_step(n == 0 ? path : from, to) &&
           (targets[n] = strdup(to)) != NULL) {
        memcpy(from, to, strlen(to) + 1);
        n++;
    }
    return n;
}

/* NULL: no memory. */
static struct link *link_new(struct tail *tail, const char *path)
{
    char *targets[LINK_STEPS];
    size_t n = resolve(path, targets);
    struct link *link = (struct link *)calloc(1, sizeof(*link) + n * sizeof(struct link_target));
    bool failed = link == NULL || (link->path = strdup(path)) == NULL;
    for (size_t i = 0; i < n; i++) { /* each is freed with the link from then on */
        if (failed || add_target(tail, link, targets[i]) == -1) {
            free(targets[i]);
            failed = true;
        }
    }
    if (link != NULL)
        tail->polled_links += link->polled;
    if (link != NULL && failed) {
        link_free(tail, link);
        link = NULL;
    }
    return link;
}

static void unlink_link(struct tail *tail, struct link *link)
{
    *link->link = link->next;
    if (link->next != NULL)
        link->next->link = link->link;
    tdelete(link, &tail->links_by_path, compare_link);
    link_free(tail, link);
}

static struct link *find_link(const struct tail *tail, const char *path)
{
    union { /* only compared */
        const char *in;
        char *out;
    } name = {path};
    struct link wanted = {.path = name.out};
    void *node = tfind(&wanted, &tail->links_by_path, compare_link);
    return node == NULL ? NULL : *(struct link **)node;
}

/* The link goes, or leads elsewhere: a closed target that has something unread is found by its own name from now on. */
static void leave_last_target(struct tail *tail, const struct link *link)
{
    struct file_facts facts;
    const struct source *source = tail_by_path(tail, link->path);
    const char *target = link->n == 0 ? NULL : link->targets[link->n - 1].path;
    if (source != NULL && source->fd == -1 && target != NULL && file_facts(target, &facts) == 0 &&
        identity_equal(&facts.id, &source->id) && facts.size > source->offset + source->scanned)
        tail_look_for_ours(tail, target);
}

void tail_follow_link(struct tail *tail, const char *path, bool is_link)
{
    struct link *old = find_link(tail, path);
    if (old == NULL && !is_link)
        return;
    if (old != NULL)
        leave_last_target(tail, old);
    /* The new one first: what both need is not let go in between. */
    struct link *link = is_link ? link_new(tail, path) : NULL;
    if (old != NULL)
        unlink_link(tail, old);
    if (link == NULL)
        return; /* without memory, the rescan looks at it */
    link->walked = tail->rescans;
    if (tsearch(link, &tail->links_by_path, compare_link) == NULL) {
        link_free(tail, link);
        return;
    }
    link->link = &tail->links;
    link->next = tail->links;
    if (link->next != NULL)
        link->next->link = &link->next;
    tail->links = link;
}

/* False: one of them is closed, and has to be looked at. */
static bool make_ready(struct tail *tail, const struct link_target *target)
{
    bool all = true;
    for (; target != NULL; target = target->same) {
        struct source *source = tail_by_path(tail, target->link->path);
        if (source != NULL && source->fd != -1)
            tail_make_ready(tail, source);
        all &= source == NULL || source->fd != -1;
    }
    return all;
}

/* Looking at a link makes its targets anew. */
static void look_at_links(struct tail *tail, const struct link_target *target)
{
    char *paths[16];
    size_t n = 0;
    while (target != NULL && n < sizeof(paths) / sizeof(paths[0]) &&
           (paths[n] = strdup(target->link->path)) != NULL) {
        target = target->same;
        n++;
    }
    if (target != NULL)
        tail->wants_rescan = true;
    while (n > 0) {
        tail_look(tail, paths[--n]);
        free(paths[n]);
    }
}

void tail_link_event(struct tail *tail, const char *path, uint32_t mask)
{
    const struct link_target *target = find_target(tail, path);
    if ((mask & ~(uint32_t)IN_MODIFY) != 0 || !make_ready(tail, target))
        look_at_links(tail, target);
}

bool tail_link_leads(const struct tail *tail, const char *folder)
{
    size_t len = strlen(folder);
    for (const struct link *link = tail->links; link != NULL; link = link->next)
        for (size_t i = 0; i < link->n; i++)
            if (strncmp(link->targets[i].path, folder, len) == 0 &&
                (link->targets[i].path[len] == '/' || link->targets[i].path[len] == '\0'))
                return true;
    return false;
}

const char *tail_linked_log(const struct tail *tail, const char *target)
{
    const struct link_target *found = find_target(tail, target);
    return found == NULL ? NULL : found->link->path;
}

void tail_each_target(const struct tail *tail, const char *log, tail_target_fn *each, void *arg)
{
    const struct link *link = find_link(tail, log);
    for (size_t i = 0; link != NULL && i < link->n; i++)
        each(link->targets[i].path, arg);
}

void tail_link_poll(struct tail *tail)
{
    for (struct link *link = tail->links, *next; tail->polled_links > 0 && link != NULL;
         link = next) {
        next = link->next;
        char *path =
            link->polled ? strdup(link->path) : NULL; /* looking at it makes the link anew */
        if (path != NULL)
            tail_look(tail, path);
        free(path);
    }
}

void tail_link_sweep(struct tail *tail)
{
    for (struct link *link = tail->links, *next; link != NULL; link = next) {
        next = link->next;
        if (link->walked != tail->rescans)
            unlink_link(tail, link);
    }
}

void tail_link_end(struct tail *tail)
{
    while (tail->links != NULL)
        unlink_link(tail, tail->links);
}
