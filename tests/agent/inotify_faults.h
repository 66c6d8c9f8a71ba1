/* inotify that can be used up, in place of libc's functions: for one test program's only source file. */
#ifndef SPLASHDAM_INOTIFY_FAULTS_H
#define SPLASHDAM_INOTIFY_FAULTS_H

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

static int watches_left = INT_MAX; /* how many more folders can be watched; known ones always */
static int instances_left = INT_MAX;
static const char *unreadable; /* the folder whose path ends so is refused */
static int watch_calls, init_calls;

int inotify_init1(int flags)
{
    init_calls++;
    if (instances_left <= 0) {
        errno = EMFILE;
        return -1;
    }
    instances_left--;
    return (int)syscall(SYS_inotify_init1, flags);
}

static int watch_really(int fd, const char *path, uint32_t mask)
{
    return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    size_t len = strlen(path), end = unreadable == NULL ? 0 : strlen(unreadable);
    watch_calls++;
    if (end > 0 && len > end && strcmp(path + len - end, unreadable) == 0) {
        errno = EACCES;
        return -1;
    }
    if (watches_left == INT_MAX)
        return watch_really(fd, path, mask);
    int known = watch_really(
        fd, path, (mask & ~(uint32_t)IN_MASK_ADD) | IN_MASK_CREATE); /* EEXIST: it is watched */
    if (known == -1 && errno != EEXIST)
        return -1;
    if (known == -1)
        return watch_really(fd, path, mask);
    if (watches_left > 0) {
        watches_left--;
        return known;
    }
    inotify_rm_watch(fd, known);
    errno = ENOSPC;
    return -1;
}

#endif
