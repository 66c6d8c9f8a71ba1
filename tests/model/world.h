/* The files, on a real file system and in the model alike: folders a and b that the globs lead to, `out` that they
 * do not. Knows which names lead the tail to which generation. */
#ifndef SPLASHDAM_MODEL_WORLD_H
#define SPLASHDAM_MODEL_WORLD_H

#include "tests/model/model.h"

#include <stdint.h>

#define LOGS      6
#define NAME_ROOM 96
#define NAMES     512

enum scheme {               /* how a log is rotated */
              NUMBERED,     /* app.log.1, app.log.2 … */
              DATED,        /* app.log-2025010101 */
              DATED_BEFORE, /* app-2025010101.log */
              COPIED,       /* copytruncate */
              REPLACED,     /* deleted and made anew */
              LINKED,       /* a symbolic link to the file of the day */
              SCHEMES
};

struct name {
    char path[NAME_ROOM]; /* from the world's folder */
    struct generation *in;
    bool link; /* symbolic */
};

/* A log and whoever writes it. */
struct writer {
    enum scheme scheme;
    char path[NAME_ROOM];
    struct generation *in; /* that it has open, or NULL */
    int fd;
    char rest[LINE_ROOM]; /* of the line that it is at */
    size_t rest_len;
    uint32_t line;
    int64_t born;            /* ns: its newest generation */
    struct generation *copy; /* made of what `in` holds; it is not truncated yet */
    size_t copied;           /* so many whole lines */
    unsigned counter;
};

struct world {
    struct model model;
    char folder[64];
    bool wide;    /* the globs match rotated names, too */
    bool copies;  /* some logs are copied and truncated */
    bool closing; /* the tail closes what is idle: a file without a name may be away at once */
    char globs[2][NAME_ROOM];
    const char *glob_list[2];
    struct name names[NAMES];
    size_t n_names;
    struct writer writers[LOGS];
    unsigned counter;
};

uint64_t world_random(uint64_t below); /* from main.c's seed */

/* `copies`: some logs are copied and truncated. */
void world_init(struct world *world, const char *folder, bool copies);
void world_fini(struct world *world);

struct name *world_find(struct world *world, const char *path);
/* A new empty file; the descriptor is the writer's from now on. */
void world_create(struct world *world, struct writer *writer, const char *path);
void world_rename(struct world *world, const char *from, const char *to);
void world_unlink(struct world *world, const char *path);
void world_hard_link(struct world *world, const char *from, const char *to);
void world_symlink(struct world *world, const char *target, const char *path);
/* Writes what is given behind what is there. */
void world_write(struct writer *writer, const char *bytes, size_t len);
/* What a copy holds, stands in it from now on. */
void world_truncate(struct world *world, struct writer *writer);
/* Copies the writer's file to a new name. */
void world_copy(struct world *world, struct writer *writer, const char *path);
/* Nothing of the writer's log was copied and truncated that is not known, or not on disk. */
bool world_is_settled(const struct world *world, const struct writer *writer);
/* The tail is about to read all there is: copies are found. */
void world_settle(struct world *world);
void world_close(struct writer *writer);

/* The tail has looked at everything; `first`: as it does when it starts. */
void world_looked(struct world *world, bool first);
void world_stopped(struct world *world, bool crashed);

#endif
