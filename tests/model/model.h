/* What must come out of a tail: every line that was ever written, in which file generation it stands, whether its bytes
 * are still to be had, and how often it may arrive. Knows no file system and no tail. */
#ifndef SPLASHDAM_MODEL_H
#define SPLASHDAM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_ROOM ((size_t)48 * 1024) /* for the text of any line */
#define MAX_LINE  ((size_t)32 * 1024) /* of the tail; what is longer is cut */

struct generation {
    uint32_t number; /* in the order of creation */
    unsigned log;
    unsigned links;
    uint32_t *lines; /* of what it holds now */
    size_t n_lines, room;
    uint32_t newest; /* line of it that has arrived */
    bool open;       /* the tail must have it open */
    bool was_open;   /* before it looked this time */
    bool known;      /* the tail must have a position of it */
    bool saved;      /* `known`, on disk */
    bool truncated;
    bool unordered; /* first seen under another name than its log's: a log of its own */
    bool told;      /* lines of what it holds now were read: by them its copy is found */
    bool told_saved;
    struct generation *copy_of; /* it is a copy of what this one held, until that was truncated */
    bool chained;               /* found only if the copies before it are */
    bool settled;               /* the tail must have found that out since */
    bool settled_saved;
    int64_t quiet; /* ns: nameless, and not grown since; NAMED: it has a name */
};

struct line {
    struct generation *in;
    uint32_t len;
    unsigned arrived;
    unsigned may; /* arrive so often */
    bool whole;   /* its end was written */
    bool durable; /* the position behind it is on disk */
    bool gone; /* its bytes were not to be had any more, or never, when the tail could have read them */
};

#define NAMED    INT64_MAX
#define QUIET_NS ((int64_t)5 * 1000000000) /* then the tail may close a file without a name */

/* Lines are numbered in the order in which they were begun; so are those of one log. */
struct model {
    struct line *lines;
    uint32_t n_lines, room;
    struct generation **generations;
    size_t n_generations, generations_room;
    uint32_t *newest; /* by log: the line that has arrived */
    uint64_t alike;   /* a bit a log: its lines are of one length, and end alike */
    int64_t now;      /* ns, as the tail sees it */
    uint64_t doubled, lost;
};

/* Prints what is wrong, how to repeat it, and ends the program. Defined by main.c. */
_Noreturn void model_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void model_init(struct model *model, unsigned logs);
void model_fini(struct model *model);

struct generation *model_create(struct model *model, unsigned log);
/* A new line of `len` bytes, its end not counted, in the generation. */
uint32_t model_begin_line(struct model *model, struct generation *in, uint32_t len);
void model_end_line(struct model *model, uint32_t number);
/* The text of a line without its end, into LINE_ROOM bytes. */
size_t model_text(const struct model *model, uint32_t number, char *ret_text);
/* The first `n` lines of one generation stand in the other one from now on. */
void model_move_lines(struct model *model, struct generation *from, struct generation *to, size_t n);
/* What the generation holds is gone: truncated, or out of reach. */
void model_destroy(struct model *model, struct generation *in);

/* A line as the tail read it; what was never written fails. False: no whole line, but the beginning of one that
 * was never ended. */
bool model_recognize(const struct model *model, const char *text, size_t len, uint32_t *ret_number);
/* It was sent: fails when it is too late or too often. */
void model_arrived(struct model *model, uint32_t number);
/* A crash: what has arrived without its position on disk may arrive once more. */
void model_crashed(struct model *model);
/* All is drained: fails when a line is missing that could have been read. */
void model_check(struct model *model);

#endif
