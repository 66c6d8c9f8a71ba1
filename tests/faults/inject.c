/* Makes system calls and allocations of the agent fail, from outside: LD_PRELOAD=…/inject.so.
 *
 *   FAULT=CALL:N:ACTION   the Nth call (from 1) of CALL; `N+`: this one and all after it; N 0: none, only counts.
 *                         CALL may be several, with commas between, counted together; `memory` is all that allocate.
 *                         ACTION: an error (EIO, ENOSPC …); `short`: half of what was asked for; `kill-before`, `kill-after`:
 *                         SIGKILL; `kill-amid`: SIGKILL after half of a write
 *   FAULT_BY=agent        counts calls from the program and its plugins (the default); `libraries`: all others; `all`
 *   FAULT_REPORT=FILE     at the end, and before a SIGKILL, gets the line `seen=S fired=F`
 *   FAULT_JOURNAL=FILE    what is done to the files of the folder FAULT_FOLDER, a line each, for journal.py:
 *                         `open NAME`, `mkdir NAME`, `write NAME OFFSET HEX`, `truncate NAME LENGTH`, `sync NAME`,
 *                         `rename NAME NAME`, `unlink NAME`; names are within the folder, which itself is `.`
 *
 * Writes to standard error, which is the log, are never counted. The caller is told by its return address. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define OBJECTS_MAX 64

/* clang-format off */
#define CALLS(X) \
    X(open) X(openat) X(read) X(pread) X(preadv) X(write) X(pwrite) X(fsync) X(renameat) X(unlinkat) \
    X(ftruncate) X(mkdir) X(mkdirat) X(getrandom) X(fdopendir) X(flock) X(fcntl) X(stat) X(lstat) X(fstat) X(statx) X(access) X(readlink) X(realpath) \
    X(opendir) X(readdir) X(scandir) X(glob) X(fallocate) X(inotify_init1) X(inotify_add_watch) \
    X(eventfd) X(epoll_wait) X(pthread_create) \
    X(malloc) X(calloc) X(realloc) X(reallocarray) X(strdup) X(strndup) X(tsearch)
#define CALL_ENTRY(name) CALL_##name,
enum call { CALLS(CALL_ENTRY) CALL_COUNT };
/* clang-format on */

#define CALL_NAME(name) #name,
static const char *const call_names[CALL_COUNT] = {CALLS(CALL_NAME)};

enum action { PASS, FAIL, SHORT, KILL_BEFORE, KILL_AFTER, KILL_AMID };

static bool chosen[CALL_COUNT];
static unsigned long nth;
static bool for_ever;
static enum action wanted;
static int wanted_errno;
static bool by_agent = true, by_libraries;
static atomic_ulong seen, fired;
static char report[PATH_MAX];
static atomic_bool ready;

static struct {
    uintptr_t begin, end;
} objects[OBJECTS_MAX]; /* the program's and its plugins' */
static atomic_int n_objects;

/* ---- what is asked for ---- */

static const struct {
    const char *name;
    int number;
} errors[] = {
    {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},   {"EMFILE", EMFILE},
    {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"EAGAIN", EAGAIN},
    {"EDQUOT", EDQUOT}, {"EROFS", EROFS},   {"ESTALE", ESTALE}, {"ENOENT", ENOENT},
};

static void die(const char *what, const char *text)
{
    fprintf(stderr, "inject: %s: %s\n", what, text);
    _exit(125);
}

static void choose_calls(const char *names, size_t len)
{
    while (len > 0) {
        const char *comma = (const char *)memchr(names, ',', len);
        size_t part = comma == NULL ? len : (size_t)(comma - names);
        bool known = false;
        for (int i = 0; i < CALL_COUNT; i++) {
            bool match =
                (strlen(call_names[i]) == part && memcmp(call_names[i], names, part) == 0) ||
                (part == 6 && memcmp(names, "memory", 6) == 0 && i >= CALL_malloc);
            chosen[i] |= match;
            known |= match;
        }
        if (!known)
            die("FAULT: no such call", names);
        len -= comma == NULL ? part : part + 1;
        names += comma == NULL ? part : part + 1;
    }
}

static void choose_action(const char *name)
{
    static const char *const names[] = {"", "", "short", "kill-before", "kill-after", "kill-amid"};
    for (unsigned i = SHORT; i <= KILL_AMID; i++)
        if (strcmp(name, names[i]) == 0)
            wanted = (enum action)i;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(name, errors[i].name) == 0) {
            wanted = FAIL;
            wanted_errno = errors[i].number;
        }
    if (wanted == PASS)
        die("FAULT: no such action", name);
}

static void choose(const char *spec)
{
    const char *number = strchr(spec, ':');
    if (number == NULL)
        die("FAULT is CALL:N:ACTION", spec);
    char *end;
    choose_calls(spec, (size_t)(number - spec));
    nth = strtoul(number + 1, &end, 10);
    for_ever = *end == '+';
    end += for_ever;
    if (*end != ':')
        die("FAULT is CALL:N:ACTION", spec);
    choose_action(end + 1);
}

/* ---- who calls ---- */

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    bool *first = (bool *)arg; /* the program comes first */
    if ((*first || strstr(info->dlpi_name, "/plugins/") != NULL) && n_objects < OBJECTS_MAX) {
        uintptr_t begin = UINTPTR_MAX, end = 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
            if (info->dlpi_phdr[i].p_type != PT_LOAD)
                continue;
            uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            begin = at < begin ? at : begin;
            end = at + info->dlpi_phdr[i].p_memsz > end ? at + info->dlpi_phdr[i].p_memsz : end;
        }
        int n = n_objects; /* plugins are opened by one thread */
        bool known = false;
        for (int i = 0; i < n; i++)
            known |= objects[i].begin == begin;
        if (!known) {
            objects[n].begin = begin;
            objects[n].end = end;
            n_objects = n + 1;
        }
    }
    *first = false;
    return 0;
}

static void note_objects(void)
{
    bool first = true;
    dl_iterate_phdr(note_object, &first);
}

static bool is_agent(uintptr_t caller)
{
    for (int i = 0; i < n_objects; i++)
        if (caller >= objects[i].begin && caller < objects[i].end)
            return true;
    return false;
}

/* ---- deciding ---- */

static void tell(void)
{
    char line[64];
    int len = snprintf(line, sizeof(line), "seen=%lu fired=%lu\n", seen, fired);
    static int (*real_open)(const char *, int, ...);
    static ssize_t (*real_write)(int, const void *, size_t);
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    int fd =
        report[0] == '\0' ? -1 : real_open(report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd != -1 && real_write(fd, line, (size_t)len) == len)
        close(fd);
}

static void end_it(void)
{
    tell();
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* With FAIL errno is set; KILL_BEFORE does not return. */
static enum action decide(enum call call, const void *caller)
{
    if (!ready || !chosen[call])
        return PASS;
    bool agent = is_agent((uintptr_t)caller);
    if (agent ? !by_agent : !by_libraries)
        return PASS;
    unsigned long number = atomic_fetch_add(&seen, 1) + 1;
    if (nth == 0 || number < nth || (number > nth && !for_ever))
        return PASS;
    atomic_fetch_add(&fired, 1);
    if (wanted == KILL_BEFORE)
        end_it();
    if (wanted == FAIL)
        errno = wanted_errno;
    return wanted;
}

static void copy_environment(char *to, const char *name)
{
    const char *text = getenv(name);
    if (text != NULL && strlen(text) < PATH_MAX)
        memcpy(to, text, strlen(text) + 1);
}

static char folder[PATH_MAX];
static int journal = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *spec = getenv("FAULT");
    const char *by = getenv("FAULT_BY");
    const char *file = getenv("FAULT_JOURNAL");
    copy_environment(report, "FAULT_REPORT");
    copy_environment(folder, "FAULT_FOLDER");
    if (file != NULL)
        journal = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (by != NULL) {
        by_agent = strcmp(by, "libraries") != 0;
        by_libraries = strcmp(by, "agent") != 0;
    }
    note_objects();
    if (spec != NULL)
        choose(spec);
    unsetenv("LD_PRELOAD"); /* children are not meant */
    ready = true;
}

__attribute__((destructor)) static void finish(void)
{
    if (getenv("FAULT") != NULL)
        tell();
}

/* ---- the journal ---- */

/* The name within the folder of an open file, `.` for the folder itself; false: it is elsewhere. */
static bool name_of(int fd, char name[PATH_MAX])
{
    char link[64], path[PATH_MAX];
    if (journal == -1)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    static ssize_t (*real)(const char *, char *, size_t);
    *(void **)&real = dlsym(RTLD_NEXT, "readlink");
    ssize_t len = real(link, path, sizeof(path) - 1);
    size_t prefix = strlen(folder);
    if (len < (ssize_t)prefix || memcmp(path, folder, prefix) != 0)
        return false;
    path[len] = '\0';
    if ((size_t)len == prefix)
        memcpy(name, ".", 2);
    else if (path[prefix] == '/')
        memcpy(name, path + prefix + 1, (size_t)len - prefix);
    else
        return false;
    return strchr(name, ' ') == NULL; /* not deleted */
}

/* The same of a name in an open folder. */
static bool name_at(int folder_fd, const char *path, char name[PATH_MAX])
{
    size_t len;
    if (path[0] == '/' || !name_of(folder_fd, name))
        return false;
    len = strcmp(name, ".") == 0 ? 0 : strlen(name);
    snprintf(name + len, PATH_MAX - len, "%s%s", len > 0 ? "/" : "", path);
    return true;
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vdprintf(journal, format, args);
    va_end(args);
}

static void note_write(const char *name, off_t offset, const unsigned char *bytes, size_t len)
{
    size_t room = PATH_MAX + 64 + 2 * len;
    char *line = (char *)malloc(room);
    if (line == NULL)
        die("no memory for the journal", name);
    int at = snprintf(line, room, "write %s %jd ", name, (intmax_t)offset);
    for (size_t i = 0; i < len; i++)
        at += snprintf(line + at, room - (size_t)at, "%02x", bytes[i]);
    note("%s\n", line);
    free(line);
}

/* ---- what stands in for the calls ---- */

#define REAL(name)                 \
    static __typeof__(&name) real; \
    if (real == NULL)              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define STAND_IN(type, name, parameters, arguments, failed)                    \
    type name parameters                                                       \
    {                                                                          \
        REAL(name);                                                            \
        enum action action = decide(CALL_##name, __builtin_return_address(0)); \
        if (action == FAIL)                                                    \
            return failed;                                                     \
        type result = real arguments;                                          \
        if (action == KILL_AFTER)                                              \
            end_it();                                                          \
        return result;                                                         \
    }

STAND_IN(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
STAND_IN(DIR *, fdopendir, (int fd), (fd), NULL)
STAND_IN(ssize_t, getrandom, (void *to, size_t len, unsigned flags), (to, len, flags), -1)
STAND_IN(int, flock, (int fd, int how), (fd, how), -1)
STAND_IN(int, stat, (const char *path, struct stat *st), (path, st), -1)
STAND_IN(int, lstat, (const char *path, struct stat *st), (path, st), -1)
STAND_IN(int, fstat, (int fd, struct stat *st), (fd, st), -1)
STAND_IN(int, access, (const char *path, int how), (path, how), -1)
STAND_IN(char *, realpath, (const char *path, char *resolved), (path, resolved), NULL)
STAND_IN(ssize_t, readlink, (const char *path, char *to, size_t room), (path, to, room), -1)
STAND_IN(int, statx, (int at, const char *path, int flags, unsigned mask, struct statx *stx),
         (at, path, flags, mask, stx), -1)
STAND_IN(DIR *, opendir, (const char *path), (path), NULL)
STAND_IN(struct dirent *, readdir, (DIR * dir), (dir), NULL)
STAND_IN(int, scandir,
         (const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
          int (*order)(const struct dirent **, const struct dirent **)),
         (path, list, filter, order), -1)
STAND_IN(int, glob,
         (const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found),
         (pattern, flags, failed, found), errno == ENOMEM ? GLOB_NOSPACE : GLOB_ABORTED)
STAND_IN(int, fallocate, (int fd, int mode, off_t offset, off_t len), (fd, mode, offset, len), -1)
STAND_IN(int, inotify_init1, (int flags), (flags), -1)
STAND_IN(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1)
STAND_IN(int, eventfd, (unsigned count, int flags), (count, flags), -1)
STAND_IN(int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout),
         (fd, events, n, timeout), -1)
STAND_IN(int, pthread_create,
         (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg),
         (thread, attributes, run, arg), errno)
STAND_IN(void *, malloc, (size_t size), (size), NULL)
STAND_IN(void *, calloc, (size_t n, size_t size), (n, size), NULL)
STAND_IN(void *, realloc, (void *old, size_t size), (old, size), NULL)
STAND_IN(void *, reallocarray, (void *old, size_t n, size_t size), (old, n, size), NULL)
STAND_IN(char *, strdup, (const char *text), (text), NULL)
STAND_IN(char *, strndup, (const char *text, size_t len), (text, len), NULL)
STAND_IN(void *, tsearch, (const void *key, void **root, int (*compare)(const void *, const void *)),
         (key, root, compare), NULL)

/* How much of `len` is to be asked for. The 8 bytes of an eventfd come whole or not at all. */
static size_t part_of(enum action action, size_t len)
{
    return (action == SHORT || action == KILL_AMID) && len > 8 ? len / 2 : len;
}

#define STAND_IN_TRANSFER(name, parameters, arguments)                         \
    ssize_t name parameters                                                    \
    {                                                                          \
        REAL(name);                                                            \
        enum action action = decide(CALL_##name, __builtin_return_address(0)); \
        if (action == FAIL)                                                    \
            return -1;                                                         \
        len = part_of(action, len);                                            \
        ssize_t result = real arguments;                                       \
        if (action == KILL_AFTER || action == KILL_AMID)                       \
            end_it();                                                          \
        return result;                                                         \
    }

STAND_IN_TRANSFER(read, (int fd, void *to, size_t len), (fd, to, len))
STAND_IN_TRANSFER(pread, (int fd, void *to, size_t len, off_t offset), (fd, to, len, offset))
ssize_t pwrite(int fd, const void *from, size_t len, off_t offset)
{
    REAL(pwrite);
    char name[PATH_MAX];
    enum action action = decide(CALL_pwrite, __builtin_return_address(0));
    if (action == FAIL)
        return -1;
    ssize_t result = real(fd, from, part_of(action, len), offset);
    if (action == KILL_AFTER || action == KILL_AMID)
        end_it();
    if (result > 0 && name_of(fd, name))
        note_write(name, offset, (const unsigned char *)from, (size_t)result);
    return result;
}

int ftruncate(int fd, off_t len)
{
    REAL(ftruncate);
    char name[PATH_MAX];
    enum action action = decide(CALL_ftruncate, __builtin_return_address(0));
    int result = action == FAIL ? -1 : real(fd, len);
    if (action == KILL_AFTER)
        end_it();
    if (result == 0 && name_of(fd, name))
        note("truncate %s %jd\n", name, (intmax_t)len);
    return result;
}

int mkdirat(int at, const char *path, mode_t mode)
{
    REAL(mkdirat);
    char name[PATH_MAX];
    enum action action = decide(CALL_mkdirat, __builtin_return_address(0));
    int result = action == FAIL ? -1 : real(at, path, mode);
    if (action == KILL_AFTER)
        end_it();
    if (result == 0 && name_at(at, path, name))
        note("mkdir %s\n", name);
    return result;
}

ssize_t preadv(int fd, const struct iovec *parts, int n, off_t offset)
{
    REAL(preadv);
    enum action action = decide(CALL_preadv, __builtin_return_address(0));
    if (action == FAIL)
        return -1;
    struct iovec half;
    if (action == SHORT && n > 0) {
        half = (struct iovec){parts[0].iov_base, part_of(action, parts[0].iov_len)};
        return real(fd, &half, 1, offset);
    }
    return real(fd, parts, n, offset);
}

ssize_t write(int fd, const void *from, size_t len)
{
    REAL(write);
    char name[PATH_MAX];
    enum action action =
        fd == STDERR_FILENO ? PASS : decide(CALL_write, __builtin_return_address(0));
    if (action == FAIL)
        return -1;
    off_t offset = journal == -1 ? 0 : lseek(fd, 0, SEEK_CUR);
    ssize_t result = real(fd, from, part_of(action, len));
    if (action == KILL_AFTER || action == KILL_AMID)
        end_it();
    if (result > 0 && name_of(fd, name))
        note_write(name, offset, (const unsigned char *)from, (size_t)result);
    return result;
}

int fcntl(int fd, int command, ...)
{
    REAL(fcntl);
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *); /* as glibc's own does */
    va_end(args);
    return decide(CALL_fcntl, __builtin_return_address(0)) == FAIL ? -1 : real(fd, command, arg);
}

int open(const char *path, int flags, ...)
{
    REAL(open);
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    enum action action = decide(CALL_open, __builtin_return_address(0));
    int fd = action == FAIL ? -1 : real(path, flags, mode);
    if (action == KILL_AFTER)
        end_it();
    return fd;
}

int openat(int at, const char *path, int flags, ...)
{
    REAL(openat);
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    char name[PATH_MAX];
    enum action action = decide(CALL_openat, __builtin_return_address(0));
    int fd = action == FAIL ? -1 : real(at, path, flags, mode);
    if (action == KILL_AFTER)
        end_it();
    if (fd != -1 && (flags & O_CREAT) != 0 && name_at(at, path, name))
        note("open %s\n", name);
    return fd;
}

int fsync(int fd)
{
    REAL(fsync);
    char name[PATH_MAX];
    enum action action = decide(CALL_fsync, __builtin_return_address(0));
    int result = action == FAIL ? -1 : real(fd);
    if (action == KILL_AFTER)
        end_it();
    if (result == 0 && name_of(fd, name))
        note("sync %s\n", name);
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    REAL(renameat);
    char name[PATH_MAX], other[PATH_MAX];
    enum action action = decide(CALL_renameat, __builtin_return_address(0));
    int result = action == FAIL ? -1 : real(from_at, from, to_at, to);
    if (action == KILL_AFTER)
        end_it();
    if (result == 0 && name_at(from_at, from, name) && name_at(to_at, to, other))
        note("rename %s %s\n", name, other);
    return result;
}

int unlinkat(int at, const char *path, int flags)
{
    REAL(unlinkat);
    char name[PATH_MAX];
    enum action action = decide(CALL_unlinkat, __builtin_return_address(0));
    int result = action == FAIL ? -1 : real(at, path, flags);
    if (action == KILL_AFTER)
        end_it();
    if (result == 0 && name_at(at, path, name))
        note("unlink %s\n", name);
    return result;
}

void *dlopen(const char *path, int flags)
{
    REAL(dlopen);
    void *object = real(path, flags);
    note_objects();
    return object;
}
