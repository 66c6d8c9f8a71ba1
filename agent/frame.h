/* Lines to records, where a record is not simply a line of the file: another encoding, what container runtimes write round a
 * line and its parts, a file's header, and several lines that are one record.
 *
 *   bytes ─▶ lines_split() ─▶ decode ─▶ unwrap, join parts ─▶ join lines ─▶ records
 *                                      (for stdout and stderr apart)
 *
 * Nothing is kept between two reads but a few numbers. What is not complete yet, a part or an open group, is held
 * back: its bytes count as not read, and are read once more when there is more. So the position of a file never stands inside
 * a record, and a restart neither splits nor loses one. As stdout and stderr stand between each other, a record may
 * span lines of others: what is consumed always ends where no record is open. */
#ifndef SPLASHDAM_FRAME_H
#define SPLASHDAM_FRAME_H

#include "agent/config.h"
#include "agent/container_path.h"
#include "agent/lines.h"
#include "agent/multiline.h"

/* A stream's, in one worker. */
struct frame;

/* A source's. All zero for a new one. */
struct frame_state {
    struct multiline_state multiline[2]; /* of stdout, or of all, and of stderr: at what is consumed */
    int64_t newest[2];                   /* the runtime's time of the last line of each, ns */
    uint64_t header;                     /* lines of the file's header that were read */
    bool looked;                         /* frame_look() was called */
    bool big_endian;                     /* by the file's byte order mark, where that decides */
};

/* What one read of a source does. */
struct frame_read {
    /* in */
    struct frame_state *state;
    const struct container_names *names; /* NULL: none */
    struct arena *arena; /* for texts that are made; the lines' bytes stay where they are */
    bool flush;          /* nothing is held back: what is open at the end is complete */
    bool fields;         /* somebody looks at the records' fields */
    /* out */
    bool held;         /* complete lines were held back */
    uint64_t joined;   /* lines that went into another one's record */
    uint64_t limited;  /* records that a limit of multiline ended */
    uint64_t replaced; /* ill-formed places in the file's encoding */
};

/* Does the configuration ask for anything of this? If not, lines_split() alone makes the records. */
bool frame_wanted(const struct config_tail *config);
/* NULL and *error, with *ret_key naming the option that is wrong. */
struct frame *frame_new(const struct config_tail *config, const char **ret_key, struct error *error);
void frame_free(struct frame **frame);

const struct line_end *frame_line_end(const struct frame *frame, const struct frame_state *state);
/* Bytes of a line that are kept, for lines.max_line: with what a container runtime wraps it in. */
uint64_t frame_max_line(const struct frame *frame);
/* Does the file's beginning have to be looked at (frame_look())? */
bool frame_wants_look(const struct frame *frame, const struct frame_state *state);
/* `first` are the file's first bytes, all up to `offset` when that is less than FRAME_LOOK: a byte order mark, and how much of
 * the header stands before the offset. */
#define FRAME_LOOK 65536u
void frame_look(const struct frame *frame, struct frame_state *state, struct slice first,
                uint64_t offset);

/* How long what is held back waits for more, ns: since the file has grown, or by the runtime's times until a line of the other
 * stream. */
int64_t frame_wait(const struct frame *frame);
/* Bytes that a record and what stands between its lines may span; what is longer is not held back any more. */
size_t frame_span(const struct frame *frame);

/* As lines_split(), which it calls; less may be consumed. -1: the arena has no room, and the batch is as it was. */
int frame_split(struct frame *frame, struct frame_read *read, struct batch_private *batch,
                struct lines *lines);

#endif
