/* Which lines of a log are one record: stack traces, or what the configuration's expressions say.
 *
 *   start            a line that matches begins a record, all others join the open one. While none is open
 *                    (before the first start, after a reset) each line is a record of its own
 *   continue         a line that matches joins the one before, if there is one
 *   end              a line that matches is the last of its record
 *   start and end    the record goes from the one to the other; lines outside are records of their own
 *   presets          recognise stack traces, and leave every other line a record of its own. The first preset that
 *                    recognises a trace's first line owns it; indent recognises every line, so it stands last
 *
 * A line that only looks like the head of a trace (`Foo.BarException: why`) is MULTILINE_NEW: what joins it is seen at the
 * next line. Other lines are MULTILINE_ALONE and need not be held. An empty line that may stand inside a trace joins it,
 * even when the trace turns out to end there.
 *
 * Nothing here keeps a line: the caller does, in the states it keeps for each source. An object is one thread's. */
#ifndef SPLASHDAM_MULTILINE_H
#define SPLASHDAM_MULTILINE_H

#include "plugins/plugin.h"

/* Not kept: multiline_new() copies what it needs. */
struct multiline_config {
    const char *start; /* expressions, NULL: not set */
    const char *continued;
    const char *end;
    struct option_list presets;
    uint64_t max_lines; /* of a record; 0: no limit */
    uint64_t max_bytes; /* of a record, with one for each line feed between its lines; 0: no limit */
};

enum multiline_verdict {
    MULTILINE_NEW,      /* begins a record, which may go on; what was open is complete */
    MULTILINE_ALONE,    /* is a whole record; what was open is complete */
    MULTILINE_JOIN,     /* belongs to the open record */
    MULTILINE_JOIN_END, /* belongs to it and completes it */
};

/* All zero: nothing is open. So is a caller to set it when it ends the record itself (time, end of file). */
struct multiline_state {
    uint64_t lines; /* of the open record */
    uint64_t bytes;
    bool open;
    uint8_t preset; /* that owns it */
    uint8_t step;   /* the preset's own */
    uint8_t form;   /* the preset's own */
    /* Of the last line only: */
    bool limited;       /* it would have joined, but max_lines or max_bytes kept it from that */
    bool regex_limited; /* an expression gave up on it and counts as not matching */
};

struct multiline;

/* NULL and *error: there is not just one of start/end, continue and presets, or one of them is wrong. */
struct multiline *multiline_new(const struct multiline_config *config, struct error *error);
void multiline_free(struct multiline **multiline);

/* The line is without its line end. Where a limit keeps it from joining it begins a record, to which the rest joins. */
enum multiline_verdict multiline_line(struct multiline *multiline, struct multiline_state *state,
                                      struct slice line);

/* May a further line join? When not, what there is of the record need not wait. The state is to be kept all the same: it
 * tells that a line behind a full record is its continuation. */
bool multiline_may_go_on(const struct multiline *multiline, const struct multiline_state *state);

/* ---- presets, in multiline_presets.c: for multiline.c only ---- */

enum multiline_step { MULTILINE_NOT, MULTILINE_MORE, MULTILINE_LAST };

/* What stands around a line's colons: found once for all presets, as most heads of traces have one. */
unsigned multiline_clues(struct slice line);

struct multiline_preset {
    const char *name;
    /* Is it the first line of a record? Then step and form are set; both are zero before. */
    bool (*begins)(struct multiline_state *state, struct slice line, unsigned clues);
    /* Does it belong to the open one? */
    enum multiline_step (*goes_on)(struct multiline_state *state, struct slice line);
};

extern const struct multiline_preset multiline_presets[];
extern const size_t multiline_n_presets;

#endif
