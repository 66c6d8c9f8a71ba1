/* A source: one file generation, read from where it was delivered to.
 *
 *      0          position.mark          offset            size
 *      |-- delivered --|-- in flight: ranges --|-- not read --|
 *                       first ─▶ … ─▶ last
 *
 * No byte that was read is kept for the next read: an incomplete last line is read once more when
 * it has grown, from its beginning, as it may have been written anew; so an idle source has no buffer. */
#ifndef SPLASHDAM_SOURCE_H
#define SPLASHDAM_SOURCE_H

#include "agent/frame.h"
#include "agent/positions.h"

struct inflate;
struct stream;

/* What a source of a stream with a frame has. */
struct framing {
    struct frame_state state;
    struct container_names names; /* slices of these: */
    char *log;                    /* the log's name; NULL: not looked at */
    char *target;                 /* where its path leads to */
};

/* What the next read does not leave behind the offset although more may come. */
enum source_flush {
    FLUSH_LINES = 1,      /* lines that others may join */
    FLUSH_INCOMPLETE = 2, /* a last line without an end */
    FLUSH_GROWN = 4,      /* both also when the file has grown meanwhile */
};

/* What is still to be done when it is opened for the first time. */
enum source_begin { BEGUN, BEGIN_AT_START, BEGIN_AT_END, BEGIN_RESUME };

struct source {
    struct stream *stream;
    char *path; /* where it is now, as far as known; also its node's key in the tail's tree; may be the position's text */
    struct identity id;
    struct position *position;
    struct origin origin; /* path: under which it is shipped, the log's name; the position's text */
    uint64_t offset;      /* of the next byte to read */
    size_t scanned;       /* bytes behind offset that were looked through and are left there */
    uint64_t read_to;     /* what was read, and is left behind the offset, ends there */
    int64_t grown_at;     /* ns, monotonic: when the file was last seen to grow */
    struct source *next_holding;
    struct framing *framing; /* NULL: the stream has no frame */
    size_t want; /* bytes of the next read; grows for long lines, shrinks for many short ones */
    struct content_hash head; /* seen again when it has rested */
    struct content_hash tail; /* of the bytes before offset: seen again at each read */
    struct shipped shipped; /* before what the batch holds that is being built, if it holds any of it */
    struct range *first; /* ranges not finished, or behind one that is not */
    struct range **last;

    int fd;          /* -1: closed, and opened again by path when it has to be read */
    uint32_t epoch;  /* truncations seen */
    unsigned looked; /* the tail's rescan in which it was looked at last */
    enum source_begin begin;
    uint8_t flush;     /* enum source_flush */
    bool cut : 1;      /* offset stands inside a line of which the beginning was shipped */
    bool held : 1;     /* whole lines are among those scanned */
    bool holding : 1;  /* in the tail's list of those that are flushed some time */
    bool rested : 1;   /* read to its end: whoever writes may have truncated it since */
    bool ready : 1;    /* in the tail's queue */
    bool named : 1;    /* path is its name and stands in the tail's tree */
    bool failed : 1;   /* reading failed: not again before the next event or rescan */
    bool waiting : 1;  /* ready, in the tail's queue of those that wait for a descriptor */
    bool idle : 1;     /* open and could be closed: in the worker's list of these */
    bool touched : 1;  /* written to while closed, and gone before its size was seen */
    bool gone : 1;     /* closed for good: only what is in flight is awaited */
    bool unlinked : 1; /* known to be deleted, not only moved out of sight */
    uint64_t seen;     /* its size when it was looked at last */
    int64_t changed;   /* ns since 1970: modified last, when it was found */
    bool inflated : 1; /* so much is decompressed that it was seen to be the right file */
    bool packed : 1;   /* decompressing has not begun: it waits for its turn, or for descriptors */
    bool unpacked : 1; /* fd is not the file that bears the identity, but what was decompressed */
    struct inflate *inflate; /* fd's file is still being decompressed, from */
    int packed_fd;           /* this one; -1: it is not */
    struct source *idle_older, *idle_newer;
    struct source *next_ready;
    struct source *next, **link; /* of all sources of the tail */
    struct source *older; /* the generation of the same log that has to be read to its end first */
    struct source *newer; /* the one that has this as its older */
    int64_t quiet_since; /* ns, monotonic: idle since; or, without a name, when it was last seen to grow */
};

/* What statx(2) tells of a file. */
struct file_facts {
    struct identity id;
    uint64_t size;
    int64_t changed; /* ns since 1970: modified last */
    uint32_t links;
    bool regular;
    bool link; /* the path is a symbolic link; also told when what it leads to can't be looked at */
};
int file_facts(const char *path, struct file_facts *ret_facts); /* -1 and errno */
int file_facts_fd(int fd, struct file_facts *ret_facts);

/* Opens a regular file for reading, and nothing else, without ever waiting: a FIFO, a device, or a file that changed
 * meanwhile is -1 and errno. */
int source_open_file(const char *path, const struct identity *id);
void source_close_file(int fd);
/* A file that was opened otherwise, and will be given to source_close_file(). */
void source_count_file(void);
/* So many files may be open at once, over all workers; more are EMFILE. Before any is opened. */
void source_limit_files(unsigned limit);
unsigned source_files_limit(void);

enum source_content {
    CONTENT_SAME,    /* what stands before the mark is what was read */
    CONTENT_SHORTER, /* the file ends before the mark */
    CONTENT_OTHER,   /* other bytes: another file with the same inode, or written anew */
    CONTENT_UNKNOWN, /* it can't be read: errno */
};
/* Compares an open file with what is known of it. */
enum source_content source_compare(int fd, uint64_t size, const struct mark *mark);

/* The mark of a source that has nothing in flight, from what the file holds. */
void source_mark(struct source *source, struct mark *ret_mark);

/* Learns the fingerprint of a file of which nothing was read yet, from its complete lines. */
void source_know_head(struct source *source, uint64_t size);

/* Reads on behind the mark. */
void source_go_on_at(struct source *source, const struct mark *mark);
/* What was left behind the offset, and known of the lines before it, is looked at anew. */
void source_forget_seen(struct source *source);
/* The source begins at 0 as if it were new: after a truncation. */
void source_restart(struct source *source);

/* Does the offset stand inside a line, neither at the file's beginning nor behind a line's end? */
bool source_is_inside(struct source *source);
const struct line_end *source_line_end(const struct source *source);

/* When the source is to be flushed if it does not grow, ns, monotonic, and then what (enum source_flush); INT64_MAX: nothing waits. */
int64_t source_flush_at(const struct source *source, uint8_t *ret_flush);

enum source_read {
    READ_MORE,    /* lines were read and there may be more */
    READ_END,     /* everything that is there was read; an incomplete line may be left */
    READ_FULL,    /* the batch has no room for what the source needs */
    READ_FAILED,  /* errno */
    READ_CHANGED, /* before offset stands something else than was read: truncated and written anew */
};
/* Reads once, appends what it holds to the batch as records and one range. */
enum source_read source_read(struct source *source, struct batch_pool *pool,
                             struct batch_private *batch, int64_t time);

/* What its records' JSON has of it; made anew when it is read. Not while a batch with lines of it is being encoded. */
void source_forget_json(struct source *source);

/* The batch is on its way: its range goes to the source's FIFO. */
void source_commit_range(struct range *range);
/* The batch could not be built: as if the range had not been read. */
void source_undo_range(struct range *range);
/* Frees ranges that are finished together with all before them; true when the mark moved, then in *ret_mark. */
bool source_advance(struct source *source, struct batch_pool *pool, struct mark *ret_mark);

#endif
