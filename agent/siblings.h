/* Where files that were being read have gone while the agent was down: looked for by identity among the other files
 * of their folders. */
#ifndef SPLASHDAM_SIBLINGS_H
#define SPLASHDAM_SIBLINGS_H

#include "agent/positions.h"

#include <dirent.h>

struct sibling {
    struct identity id;
    uint64_t offset; /* delivered of it */
    char *path;      /* its log's name */
    char *place;     /* its log is a symbolic link, and this is where that leads; else NULL */
    char *found;     /* where it is now; NULL: not in its folder, nor in its place's */
    bool looked;     /* these could be read */
};

struct siblings {
    struct sibling *items;
    size_t n;
    bool failed; /* something could not be looked at that may be later: what was not found need not be gone */
};

/* Those positions of the stream that nobody has claimed and whose log `wanted` accepts. They are looked for in the log's folder,
 * in the folders in it, and in those of `also`, absolute or relative to the log's folder. */
typedef bool siblings_wanted_fn(const char *path, void *arg);
void siblings_find(struct siblings *siblings, struct positions *positions, const char *stream,
                   const struct option_list *also, siblings_wanted_fn *wanted, void *arg);
void siblings_free(struct siblings *siblings);

/* Orders paths so that those of one folder stand together. */
int siblings_compare_folders(const char *a, const char *b);
/* The folder of a file, its name with a slash behind it in ret_folder, PATH_MAX bytes. NULL: it can't be read. */
DIR *siblings_open_folder(const char *file, char *ret_folder);
/* ns since 1970: when files last came to the folder or went from it, as coarse as its file system keeps times. -1: it can't be
 * looked at. */
int64_t siblings_changed(const char *folder);

#endif
