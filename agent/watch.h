/* Folders watched by one inotify descriptor, a worker's. Folders, not files: thousands of logs in a
 * folder cost one watch, and a file is seen from its birth. */
#ifndef SPLASHDAM_WATCH_H
#define SPLASHDAM_WATCH_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct watch;

/* A path changed; mask as inotify(7) has it. path NULL: events were lost (IN_Q_OVERFLOW): look at everything. */
typedef void watch_event_fn(const char *path, uint32_t mask, void *arg);

/* NULL: no memory. Without an inotify instance to be had, it watches nothing until there is one. */
struct watch *watch_open(struct ev_loop *loop, watch_event_fn *event, void *arg);
void watch_close(struct watch **watch);
/* Stops and starts the delivery of events; the kernel keeps them. */
void watch_pause(struct watch *watch, bool paused);

/* Watches a folder; doing it again is cheap. With `leaf`, also for what is written to its files.
 * -1 and errno: ENOSPC when the user's watches are used up, EMFILE when its instances are (logged, with what to raise). */
int watch_folder(struct watch *watch, const char *path, bool leaf);
/* A stream is gone: folders that watch_folder() is not called for again before watch_drop_doubted() are not watched any
 * longer, unless they are held. The others' watches stay as they are. */
void watch_doubt(struct watch *watch);
void watch_drop_doubted(struct watch *watch);
/* As watch_folder(), for as long as it is needed: returns a number for watch_let_go(), which is called as often. */
int watch_hold(struct watch *watch, const char *path, bool leaf);
void watch_let_go(struct watch *watch, int number, const char *path);

#endif
