#include "agent/spool_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_DIGITS 20u
#define SALT_DIGITS  16u
#define NAME_LEN     (FIRST_DIGITS + 1 + SALT_DIGITS)
#define SUFFIX       ".seg"
#define PAGE         ((size_t)4096)
#define WINDOW       ((size_t)65536) /* bytes that are looked through at once for a header */
#define READ_TRIES   3

/* ---- names ---- */

void segment_name_format(char to[SEGMENT_NAME_ROOM], struct segment_name name)
{
    snprintf(to, SEGMENT_NAME_ROOM, "%020" PRIu64 "-%016" PRIx64 SUFFIX, name.first, name.salt);
}

/* SEQUENCE-SALT at the text's beginning. */
static bool read_name(const char *text, struct segment_name *name)
{
    char again[SEGMENT_NAME_ROOM];
    if (strnlen(text, NAME_LEN) < NAME_LEN)
        return false;
    name->first = strtoull(text, NULL, 10);
    name->salt = strtoull(text + FIRST_DIGITS + 1, NULL, 16);
    segment_name_format(again, *name); /* no other spelling of the same numbers */
    return name->first > 0 && memcmp(text, again, NAME_LEN) == 0;
}

bool segment_name_parse(const char *text, struct segment_name *ret_name)
{
    return read_name(text, ret_name) && strcmp(text + NAME_LEN, SUFFIX) == 0;
}

bool segment_name_find(const char *text, struct segment_name *ret_name)
{
    for (; *text != '\0'; text++)
        if (read_name(text, ret_name))
            return true;
    return false;
}

static bool plain(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

int spool_folder_name(const char *stream, char to[SPOOL_NAME_ROOM])
{
    size_t n = 0;
    bool taken = strcmp(stream, SPOOL_QUARANTINE) == 0;
    for (const char *at = stream; *at != '\0'; at++) {
        bool escape = !plain(*at) || (at == stream && (*at == '.' || taken));
        if (n + 4 > SPOOL_NAME_ROOM - 64) /* files in quarantine have more in their names */
            return -1;
        n += (size_t)snprintf(to + n, 4, escape ? "%%%02x" : "%c", (unsigned char)*at);
    }
    return n == 0 ? -1 : 0;
}

bool spool_stream_name(const char *folder, char to[SPOOL_NAME_ROOM])
{
    char again[SPOOL_NAME_ROOM];
    size_t n = 0;
    for (const char *at = folder; *at != '\0' && n < SPOOL_NAME_ROOM - 1; at++) {
        to[n] = *at;
        if (*at == '%' && at[1] != '\0' && at[2] != '\0') {
            const char digits[] = {at[1], at[2], '\0'};
            to[n] = (char)strtoul(digits, NULL, 16);
            at += 2;
        }
        n++;
    }
    to[n] = '\0';
    return spool_folder_name(to, again) == 0 && strcmp(again, folder) == 0;
}

/* ---- files ---- */

int spool_folder(int at, const char *name, bool make)
{
    struct stat st;
    if (make && mkdirat(at, name, 0700) == -1 && errno != EEXIST)
        return -1;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || fstat(fd, &st) == -1)
        return fd;
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()))
        return fd;
    close(fd);
    errno = EPERM;
    return -1;
}

int segment_open(int folder, const char *name, int flags)
{
    struct stat st;
    int fd = openat(folder, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd == -1)
        return -1;
    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = ENXIO;
        return -1;
    }
    return fd;
}

static int by_sequence(const void *left, const void *right)
{
    const struct segment_name *a = (const struct segment_name *)left;
    const struct segment_name *b = (const struct segment_name *)right;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a->salt < b->salt ? -1 : a->salt > b->salt;
}

int segment_list(int folder, struct segment_name **ret_names, size_t *ret_n)
{
    struct segment_name *names = NULL, name;
    size_t n = 0;
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        if (fd != -1)
            close(fd);
        return -1;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (!segment_name_parse(entry->d_name, &name))
            continue;
        struct segment_name *grown = (struct segment_name *)realloc(names, (n + 1) * sizeof(*names));
        if (grown == NULL) {
            free(names);
            closedir(dir);
            errno = ENOMEM;
            return -1;
        }
        names = grown;
        names[n++] = name;
    }
    closedir(dir);
    if (n > 0)
        qsort(names, n, sizeof(*names), by_sequence);
    *ret_names = names;
    *ret_n = n;
    return 0;
}

/* ---- looking through one ---- */

void segment_scan_init(struct segment_scan *scan, int fd, uint64_t salt, uint64_t at, uint64_t end)
{
    scan->fd = fd;
    scan->salt = salt;
    scan->at = at;
    scan->end = end;
    scan->unreadable = false;
}

void segment_scan_fini(struct segment_scan *scan)
{
    free(scan->bytes);
    *scan = (struct segment_scan){.fd = -1};
}

/* Always all of it: pages that can't be read, or are gone, are zeros. */
static void read_at(struct segment_scan *scan, uint64_t offset, char *to, size_t len)
{
    size_t done = 0;
    int tries = 0;
    while (done < len) {
        ssize_t n = pread(scan->fd, to + done, len - done, (off_t)(offset + done));
        if (n == -1 && (errno == EINTR || ++tries < READ_TRIES))
            continue;
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        scan->unreadable |= n == -1;
        size_t page = PAGE - (size_t)((offset + done) % PAGE);
        size_t hole = n == 0 || page > len - done ? len - done : page;
        memset(to + done, 0, hole);
        done += hole;
    }
}

static int make_room(struct segment_scan *scan, size_t room)
{
    if (room <= scan->room)
        return 0;
    char *grown = (char *)realloc(scan->bytes, room);
    if (grown == NULL)
        return -1;
    scan->bytes = grown;
    scan->room = room;
    return 0;
}

static enum spool_header_result header_at(struct segment_scan *scan, uint64_t at,
                                          struct spool_header *header)
{
    char bytes[SPOOL_HEADER];
    if (scan->end - at < SPOOL_HEADER)
        return HEADER_WRONG;
    read_at(scan, at, bytes, sizeof(bytes));
    return spool_header_read(bytes, scan->salt, header);
}

/* The next header at or behind `from`; scan->end: there is none. Uses scan->bytes. -1: no memory. */
static int find_header(struct segment_scan *scan, uint64_t from, uint64_t *ret_at)
{
    struct spool_header header;
    if (make_room(scan, WINDOW + SPOOL_HEADER) == -1)
        return -1;
    while (scan->end - from >= SPOOL_HEADER) {
        uint64_t left = scan->end - from;
        size_t len = left < WINDOW + SPOOL_HEADER ? (size_t)left : WINDOW + SPOOL_HEADER;
        const char *at = scan->bytes;
        read_at(scan, from, scan->bytes, len);
        const char *last = scan->bytes + len - SPOOL_HEADER; /* where one could begin */
        while (at <= last) {
            at = (const char *)memmem(at, (size_t)(last - at) + 4, SPOOL_MAGIC, 4);
            if (at == NULL)
                break;
            if (spool_header_read(at, scan->salt, &header) != HEADER_WRONG) {
                *ret_at = from + (uint64_t)(at - scan->bytes);
                return 0;
            }
            at++;
        }
        from += len - SPOOL_HEADER + 1;
    }
    *ret_at = scan->end;
    return 0;
}

/* Could it be the beginning of a frame of which the rest was not written? Zeros are what a power cut leaves of a file that had grown. */
static bool looks_torn(struct segment_scan *scan, uint64_t from)
{
    char bytes[SPOOL_HEADER];
    uint64_t left = scan->end - from;
    if (left < SPOOL_HEADER) {
        size_t len = left < 4 ? (size_t)left : 4;
        read_at(scan, from, bytes, len);
        if (memcmp(bytes, SPOOL_MAGIC, len) == 0)
            return true;
    }
    for (uint64_t at = from; at < scan->end; at += sizeof(bytes)) {
        size_t len = scan->end - at < sizeof(bytes) ? (size_t)(scan->end - at) : sizeof(bytes);
        read_at(scan, at, bytes, len);
        for (size_t i = 0; i < len; i++)
            if (bytes[i] != 0)
                return false;
    }
    return true;
}

/* No frame begins at piece->from: how far that goes. */
static enum segment_found skip(struct segment_scan *scan, struct segment_piece *piece)
{
    struct spool_header next;
    const struct spool_header *header = &piece->header;
    uint64_t body = piece->from + SPOOL_HEADER;
    bool fits = piece->known && header->body_len <= scan->end - body;
    if (fits && (body + header->body_len == scan->end ||
                 header_at(scan, body + header->body_len, &next) != HEADER_WRONG))
        piece->to = body + header->body_len;
    else if (find_header(scan, piece->from + 1, &piece->to) == -1)
        return FOUND_FAILED;
    scan->at = piece->to;
    if (piece->to < scan->end || fits)
        return FOUND_DAMAGE;
    bool torn = piece->known || looks_torn(scan, piece->from);
    return torn && !scan->unreadable ? FOUND_TORN : FOUND_DAMAGE;
}

enum segment_found segment_next(struct segment_scan *scan, struct segment_piece *piece)
{
    *piece = (struct segment_piece){.from = scan->at, .to = scan->end};
    if (scan->at >= scan->end)
        return FOUND_END;
    enum spool_header_result header = header_at(scan, scan->at, &piece->header);
    if (header == HEADER_LATER) {
        scan->at = scan->end;
        return FOUND_LATER;
    }
    piece->known = header == HEADER_OK;
    uint64_t body = scan->at + SPOOL_HEADER;
    size_t len = piece->header.body_len;
    if (!piece->known || len > scan->end - body)
        return skip(scan, piece);
    if (make_room(scan, SPOOL_HEADER + len) == -1)
        return FOUND_FAILED;
    read_at(scan, scan->at, scan->bytes, SPOOL_HEADER + len);
    if (!spool_body_valid(&piece->header, scan->bytes + SPOOL_HEADER))
        return skip(scan, piece);
    piece->to = scan->at = body + len;
    return FOUND_FRAME;
}
