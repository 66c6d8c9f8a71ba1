/* Segments: files of frames, their names, and looking through one for valid frames whatever state it is in.
 *
 * A segment's name is SEQUENCE-SALT.seg: the sequence of its first frame, 20 digits, and the salt of its frames' checksums, 16
 * hexadecimal digits. Frames follow each other without a gap; nothing else is in it. */
#ifndef SPLASHDAM_SPOOL_SEGMENT_H
#define SPLASHDAM_SPOOL_SEGMENT_H

#include "agent/spool_frame.h"

struct segment_name {
    uint64_t first; /* sequence */
    uint64_t salt;
};

#define SEGMENT_NAME_ROOM 48u
#define SPOOL_NAME_ROOM   256u

void segment_name_format(char to[SEGMENT_NAME_ROOM], struct segment_name name);
bool segment_name_parse(const char *text, struct segment_name *ret_name);
/* The first SEQUENCE-SALT in the text: files in quarantine have more round it. */
bool segment_name_find(const char *text, struct segment_name *ret_name);

/* A stream's name as a folder's: what is not a letter, a digit, or one of . _ - becomes %XX, as a dot at the beginning; never
 * "quarantine". -1: too long, or empty. */
int spool_folder_name(const char *stream, char to[SPOOL_NAME_ROOM]);
/* The other way round. False: no stream has that folder. */
bool spool_stream_name(const char *folder, char to[SPOOL_NAME_ROOM]);
#define SPOOL_QUARANTINE "quarantine"

/* The folder's descriptor, never through a symbolic link; made (0700) where it is missing. -1 and errno; EPERM: somebody
 * else may write to it. */
int spool_folder(int at, const char *name, bool make);
/* A regular file, never through a symbolic link, without ever waiting. -1 and errno; ENXIO: it is something else. */
int segment_open(int folder, const char *name, int flags);
/* The folder's segments, by sequence, malloc'ed. -1 and errno. */
int segment_list(int folder, struct segment_name **ret_names, size_t *ret_n);

/* ---- looking through one ---- */

struct segment_scan {
    int fd;
    uint64_t salt;
    uint64_t at, end; /* looks at [at, end) */
    bool unreadable;  /* some of it: nothing is taken for torn then, which would be cut off */
    char *bytes;      /* of the frame that was found; freed by segment_scan_fini() */
    size_t room;
};

enum segment_found {
    FOUND_FRAME,  /* rules 1 to 3 hold; scan->bytes has it */
    FOUND_DAMAGE, /* no frame, though one follows, or what could have been one */
    FOUND_TORN,   /* the end is missing of what was written last */
    FOUND_LATER,  /* of a later version: up to the end */
    FOUND_END,
    FOUND_FAILED, /* no memory */
};

struct segment_piece {
    uint64_t from, to; /* offsets */
    bool known;        /* the header below is right: always with FOUND_FRAME */
    struct spool_header header;
};

void segment_scan_init(struct segment_scan *scan, int fd, uint64_t salt, uint64_t at, uint64_t end);
void segment_scan_fini(struct segment_scan *scan);
/* The next piece; never an empty one. What can't be read (EIO) counts as zeros, so it is damage. */
enum segment_found segment_next(struct segment_scan *scan, struct segment_piece *ret_piece);

#endif
