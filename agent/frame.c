#include "agent/frame.h"

#include "agent/clock.h"
#include "agent/container.h"
#include "agent/encoding.h"

#include <stdlib.h>

#define WRAPPING     \
    ((uint64_t)128 * \
     1024) /* what a runtime adds to a part's text: JSON's escapes, time, attributes */
#define PART_WAIT      (5 * NS_PER_S) /* for the rest of a line of which a runtime wrote a part */
#define GROUP_OVERHEAD ((size_t)64 * 1024)

struct frame {
    const struct config_tail *config;
    struct multiline *multiline; /* NULL: none */
    struct encoding
        *encoding[2]; /* NULL: UTF-8; [1]: the big-endian one where a mark decides, else NULL */
    struct line_end end[2];
};

/* ---- making ---- */

static bool has_multiline(const struct config_multiline *config)
{
    return config->start != NULL || config->continued != NULL || config->end != NULL ||
           config->preset.n != 0;
}

bool frame_wanted(const struct config_tail *config)
{
    return has_multiline(&config->multiline) || config->container != TAIL_PLAIN ||
           config->header_lines != 0 || strcmp(config->delimiter, "\n") != 0 ||
           !encoding_is_utf8(config->encoding);
}

/* A C string can't hold it. */
static struct slice delimiter_of(const struct config_tail *config)
{
    return strcmp(config->delimiter, "nul") == 0 ? slice_of("", 1) : slice_str(config->delimiter);
}

static int make_encoding(struct frame *frame, int i, const char *name, struct error *error)
{
    /* A part of a container's line may end with a \r that is content. */
    bool usual =
        strcmp(frame->config->delimiter, "\n") == 0 && frame->config->container == TAIL_PLAIN;
    if (!encoding_is_utf8(name) && (frame->encoding[i] = encoding_new(name, error)) == NULL)
        return -1;
    return encoding_line_end(frame->encoding[i], delimiter_of(frame->config), usual, &frame->end[i],
                             error);
}

static int prepare(struct frame *frame, const char **ret_key, struct error *error)
{
    const struct config_tail *config = frame->config;
    const char *name = config->encoding;
    *ret_key = "encoding";
    if (make_encoding(frame, 0, name, error) == -1 ||
        (encoding_by_mark(name) &&
         make_encoding(frame, 1, strcasecmp(name, "utf-16") == 0 ? "utf-16be" : "utf-32be",
                       error) == -1))
        return -1;
    *ret_key = "multiline";
    if (!has_multiline(&config->multiline))
        return 0;
    const struct config_multiline *multi = &config->multiline;
    struct multiline_config how = {.start = multi->start,
                                   .continued = multi->continued,
                                   .end = multi->end,
                                   .presets = multi->preset,
                                   .max_lines = (uint64_t)multi->max_lines,
                                   .max_bytes = multi->max_bytes};
    frame->multiline = multiline_new(&how, error);
    return frame->multiline == NULL ? -1 : 0;
}

struct frame *frame_new(const struct config_tail *config, const char **ret_key, struct error *error)
{
    struct frame *frame = (struct frame *)calloc(1, sizeof(*frame));
    if (frame == NULL) {
        error_set(error, "out of memory");
        return NULL;
    }
    frame->config = config;
    if (prepare(frame, ret_key, error) == -1)
        frame_free(&frame);
    return frame;
}

void frame_free(struct frame **frame)
{
    if (*frame == NULL)
        return;
    multiline_free(&(*frame)->multiline);
    encoding_free(&(*frame)->encoding[0]);
    encoding_free(&(*frame)->encoding[1]);
    free(*frame);
    *frame = NULL;
}

/* ---- what others have to know ---- */

uint64_t frame_max_line(const struct frame *frame)
{
    return frame->config->max_line + (frame->config->container != TAIL_PLAIN ? WRAPPING : 0);
}

size_t frame_span(const struct frame *frame)
{
    size_t line = frame_max_line(frame) + 2 * LINE_END_MAX;
    size_t group =
        frame->multiline == NULL ? 0 : 2 * frame->config->multiline.max_bytes + GROUP_OVERHEAD;
    bool joins = frame->multiline != NULL || frame->config->container != TAIL_PLAIN;
    return group > line ? group : joins ? 2 * line : line;
}

int64_t frame_wait(const struct frame *frame)
{
    return frame->multiline != NULL ? frame->config->multiline.timeout * NS_PER_MS : PART_WAIT;
}

static int variant(const struct frame *frame, const struct frame_state *state)
{
    return frame->encoding[1] != NULL && state->big_endian;
}

const struct line_end *frame_line_end(const struct frame *frame, const struct frame_state *state)
{
    return &frame->end[variant(frame, state)];
}

bool frame_wants_look(const struct frame *frame, const struct frame_state *state)
{
    return !state->looked && (frame->encoding[1] != NULL || frame->config->header_lines != 0);
}

void frame_look(const struct frame *frame, struct frame_state *state, struct slice first,
                uint64_t offset)
{
    const char *marked = encoding_marked(frame->config->encoding, first);
    state->looked = true;
    state->big_endian =
        frame->encoding[1] != NULL && strcasecmp(marked + strlen(marked) - 2, "be") == 0;
    const struct line_end *end = frame_line_end(frame, state);
    uint64_t lines = 0;
    for (size_t at = 0; at + end->len <= first.len && at + end->len <= offset;) {
        bool found = memcmp(first.ptr + at, end->bytes, end->len) == 0;
        lines += found;
        at += found ? end->len : end->unit;
    }
    state->header = offset > first.len ? UINT64_MAX : lines;
}

/* ---- records ---- */

/* A record in the making. */
struct piece {
    struct record record;
    struct slice attrs;               /* of a runtime; ptr NULL: none */
    struct multiline_state before[2]; /* what it was when its first line was read */
    uint64_t joined, limited, cut_lines, cut_bytes;
    uint32_t regex_limited;
};

/* What is open of one of a log's streams: a line of which only parts were seen, and lines that others may join. */
struct pending {
    bool in_part, in_group;
    struct piece part, group;
    struct container_join join;
    size_t group_room; /* of the group's text, where it is a copy */
};

struct splitting {
    struct frame *frame;
    struct frame_read *read;
    struct batch_private *batch;
    struct lines *lines;
    bool names;   /* stdout and stderr are told apart */
    uint32_t out; /* the record to be written next */
    struct pending pending[2];
};

static void emit(struct splitting *s, const struct piece *piece)
{
    s->batch->b.records[s->out++] = piece->record;
    s->batch->b.n_limited += piece->regex_limited;
    s->read->joined += piece->joined;
    s->read->limited += piece->limited;
    s->lines->cut_lines += piece->cut_lines;
    s->lines->cut_bytes += piece->cut_bytes;
}

static void add_counts(struct piece *to, const struct piece *from)
{
    to->joined += from->joined;
    to->limited += from->limited;
    to->cut_lines += from->cut_lines;
    to->cut_bytes += from->cut_bytes;
    to->regex_limited += from->regex_limited;
}

static void close_group(struct splitting *s, struct pending *p)
{
    if (p->in_group)
        emit(s, &p->group);
    p->in_group = false;
}

/* The lines of a group mostly stand in the file as they are to stand in the record. */
static int append(struct splitting *s, struct pending *p, const struct piece *line)
{
    struct slice *text = &p->group.record.line;
    const char *end = text->ptr + text->len;
    const struct slice more = line->record.line;
    p->group.record.end = line->record.end;
    p->group.record.flags |= line->record.flags;
    p->group.joined++;
    add_counts(&p->group, line);
    if (p->group_room == 0 && end + 1 == more.ptr && *end == '\n') {
        text->len += more.len + 1;
        return 0;
    }
    if (arena_append(s->read->arena, text, &p->group_room, SLICE("\n")) == -1)
        return -1;
    return arena_append(s->read->arena, text, &p->group_room, more);
}

/* Joins lines that are one record. */
static int add_line(struct splitting *s, int stream, struct piece *line)
{
    struct multiline *multiline = s->frame->multiline;
    struct pending *p = &s->pending[stream];
    if (multiline == NULL) {
        emit(s, line);
        return 0;
    }
    struct multiline_state *state = &s->read->state->multiline[stream];
    enum multiline_verdict verdict = multiline_line(multiline, state, line->record.line);
    bool joins = verdict == MULTILINE_JOIN || verdict == MULTILINE_JOIN_END;
    line->limited = state->limited;
    line->regex_limited = state->regex_limited;
    if (joins && p->in_group) {
        if (append(s, p, line) == -1)
            return -1;
    } else {
        close_group(s, p);
        p->in_group = true;
        p->group = *line;
        p->group_room = 0;
    }
    if (!multiline_may_go_on(multiline, state))
        close_group(s, p);
    return 0;
}

/* The fields that a container's log and its path give. */
static int add_fields(struct splitting *s, struct piece *piece, enum container_stream stream)
{
    const struct container_names *names = s->read->names;
    const struct {
        struct slice key, value;
    } fields[] = {
        {SLICE("stream"), container_stream_name(stream)},
        {SLICE("kubernetes.namespace"), names == NULL ? (struct slice){0} : names->namespace},
        {SLICE("kubernetes.pod.name"), names == NULL ? (struct slice){0} : names->pod},
        {SLICE("kubernetes.pod.uid"), names == NULL ? (struct slice){0} : names->uid},
        {SLICE("kubernetes.container.name"), names == NULL ? (struct slice){0} : names->container},
        {SLICE("container.id"), names == NULL ? (struct slice){0} : names->id},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].value.ptr != NULL && record_add(&s->batch->b, &piece->record, fields[i].key,
                                                      fields[i].value, FIELD_STRING) == -1)
            return -1;
    if (piece->attrs.ptr == NULL)
        return 0;
    return record_add(&s->batch->b, &piece->record, SLICE("docker.attrs"), piece->attrs, FIELD_JSON);
}

/* The last part of a line was seen, or there won't be more. */
static int end_part(struct splitting *s, enum container_stream stream)
{
    struct pending *p = &s->pending[stream];
    struct piece line = p->part;
    line.record.line = p->join.text;
    if (p->join.cut != 0) {
        line.record.flags |= RECORD_CUT;
        line.cut_lines = 1;
        line.cut_bytes += p->join.cut;
    }
    p->in_part = false;
    if (s->read->fields && add_fields(s, &line, stream) == -1)
        return -1;
    return add_line(s, stream, &line);
}

/* What is open of the other stream is complete when a line comes so much later, by the runtime's times: until the file rests all
 * that this one writes would have to wait. */
static int end_late(struct splitting *s, struct piece *line, const struct container_line *by)
{
    struct frame_state *state = s->read->state;
    int other = by->stream == CONTAINER_STDOUT ? CONTAINER_STDERR : CONTAINER_STDOUT;
    struct pending *p = &s->pending[other];
    int64_t later;
    bool far = __builtin_sub_overflow(by->time, state->newest[other], &later); /* centuries */
    bool late = far ? by->time > 0 : later > frame_wait(s->frame);
    state->newest[by->stream] = by->time;
    if (!late)
        return 0;
    if (p->in_part && end_part(s, (enum container_stream)other) == -1)
        return -1;
    close_group(s, p);
    state->multiline[other] = line->before[other] = (struct multiline_state){0};
    return 0;
}

static const char *unwrap(enum tail_container format, struct slice line, struct arena *arena,
                          struct container_line *ret_line)
{
    switch (format) {
    case TAIL_CRI: return container_parse_cri(line, ret_line);
    case TAIL_DOCKER: return container_parse_docker(line, arena, ret_line);
    default: return container_parse(line, arena, ret_line);
    }
}

/* Takes off what the runtime wrote round the line, and joins its parts. */
static int add_wrapped(struct splitting *s, struct piece *piece)
{
    struct container_line line;
    struct record *record = &piece->record;
    const char *why = unwrap((enum tail_container)s->frame->config->container, record->line,
                             s->read->arena, &line);
    if (s->read->arena->overflowed)
        return -1;
    if (why != NULL) { /* not the runtime's: shipped as it is */
        record_fail(&s->batch->b, record, "container", why);
        emit(s, piece);
        return 0;
    }
    if (end_late(s, piece, &line) == -1)
        return -1;
    struct slice *content = &line.content;
    if (!line.partial && content->len > 0 && content->ptr[content->len - 1] == '\r' &&
        container_format_of(piece->record.line) == CONTAINER_CRI)
        content->len--;
    struct pending *p = &s->pending[line.stream];
    if (!p->in_part) {
        p->part = *piece;
        p->part.record.time = line.time;
        p->part.attrs = line.attrs;
        p->join = (struct container_join){.limit = s->frame->config->max_line};
        p->in_part = true;
    } else {
        p->part.record.end = record->end;
        p->part.record.flags |= record->flags;
        p->part.joined++;
        add_counts(&p->part, piece);
    }
    int whole = container_join_add(&p->join, &line, s->read->arena);
    return whole == 1 ? end_part(s, line.stream) : whole;
}

static bool in_header(const struct splitting *s)
{
    return s->read->state->header < (uint64_t)s->frame->config->header_lines;
}

/* One line of the file. */
static int add_physical(struct splitting *s, struct record record)
{
    struct frame_state *state = s->read->state;
    struct piece piece = {.record = record};
    struct slice *line = &piece.record.line;
    memcpy(piece.before, state->multiline, sizeof(piece.before));
    if ((record.flags & RECORD_CUT) != 0) {
        piece.cut_lines = 1;
        piece.cut_bytes = lines_left_out(s->lines, &record);
    }
    struct encoding *encoding = s->frame->encoding[variant(s->frame, state)];
    if (encoding != NULL &&
        encoding_decode(encoding, *line, s->read->arena, line, &s->read->replaced) == -1)
        return -1;
    if (record.begin == 0)
        *line = lines_without_mark(*line);
    if (in_header(s)) {
        state->header += lines_has_end(s->lines, &record) || (record.flags & RECORD_CUT) != 0;
        record_drop(&s->batch->b, &piece.record);
        emit(s, &piece);
        return 0;
    }
    return s->names ? add_wrapped(s, &piece) : add_line(s, 0, &piece);
}

/* ---- what is consumed ---- */

/* What is open has ended, though the line that shows it may stand behind what is consumed. */
static int end_seen(struct splitting *s)
{
    for (int stream = 0; stream < 2; stream++) {
        if (s->pending[stream].in_part && end_part(s, (enum container_stream)stream) == -1)
            return -1;
        close_group(s, &s->pending[stream]);
    }
    return 0;
}

/* Nothing of what is open is held back any more. */
static int end_all(struct splitting *s)
{
    int result = end_seen(s);
    memset(s->read->state->multiline, 0, sizeof(s->read->state->multiline));
    return result;
}

static const struct piece *first_pending(const struct pending *p)
{
    return p->in_group ? &p->group : p->in_part ? &p->part : NULL;
}

/* Where what is open begins, and the piece that does; NULL: nothing is. */
static const struct piece *first_open(const struct splitting *s)
{
    const struct piece *a = first_pending(&s->pending[0]);
    const struct piece *b = first_pending(&s->pending[1]);
    return a == NULL || (b != NULL && b->record.begin < a->record.begin) ? b : a;
}

/* The greatest offset up to `end` that is inside no record; *ret_behind: there are records behind it. */
static uint64_t clean_end(const struct splitting *s, uint32_t first, uint64_t end, bool *ret_behind)
{
    bool moved = true;
    *ret_behind = false;
    while (moved) {
        moved = false;
        for (uint32_t i = first; i < s->out; i++) {
            const struct record *record = &s->batch->b.records[i];
            *ret_behind |= record->end > end;
            if (record->begin < end && record->end > end) {
                end = record->begin;
                moved = true;
            }
        }
    }
    return end;
}

/* Splits lines->bytes. What is open at the end stays in s->pending. */
static int split(struct splitting *s, uint32_t first)
{
    if (in_header(s)) /* the rest of its line is counted, too, if nothing but the end is left */
        s->lines->inside = false;
    lines_split(s->batch, s->lines);
    uint32_t n = s->batch->b.n_records;
    s->out = first;
    for (uint32_t i = first; i < n; i++) {
        const struct record *record = &s->batch->b.records[i];
        if ((record->flags & RECORD_CUT) != 0) { /* counted with its record, if that goes out */
            s->lines->cut_lines--;
            s->lines->cut_bytes -= lines_left_out(s->lines, record);
        }
    }
    for (uint32_t i = first; i < n; i++)
        if (add_physical(s, s->batch->b.records[i]) == -1)
            return -1;
    return 0;
}

/* What a split changes, to do it once more. */
struct before {
    struct frame_state state;
    struct lines lines;
    uint32_t n_records, n_dropped, n_failed, n_limited;
};

static void save(struct before *before, const struct splitting *s)
{
    const struct batch *batch = &s->batch->b;
    *before = (struct before){*s->read->state,  *s->lines,       batch->n_records,
                              batch->n_dropped, batch->n_failed, batch->n_limited};
}

static void restore(const struct before *before, struct splitting *s)
{
    struct batch *batch = &s->batch->b;
    *s->read->state = before->state;
    *s->lines = before->lines;
    batch->n_records = before->n_records;
    batch->n_dropped = before->n_dropped;
    batch->n_failed = before->n_failed;
    batch->n_limited = before->n_limited;
    s->read->joined = s->read->limited = s->read->replaced = 0;
    memset(s->pending, 0, sizeof(s->pending));
}

/* Stops before what is open. Where lines of the other stream that are complete stand behind that, all is done once more, for the
 * bytes before it only. */
static int hold(struct splitting *s, const struct before *before, const struct piece *open)
{
    bool behind;
    uint64_t end = clean_end(s, before->n_records, open->record.begin, &behind);
    s->read->held = true;
    if (!behind) {
        memcpy(s->read->state->multiline, open->before, sizeof(open->before));
        s->lines->consumed = (size_t)(end - s->lines->offset);
        s->lines->cut = false;
        return 0;
    }
    bool full = s->lines->full;
    restore(before, s);
    s->lines->bytes.len = (size_t)(end - s->lines->offset);
    s->lines->incomplete = false;
    if (split(s, before->n_records) == -1)
        return -1;
    s->lines->full = full; /* of more records there was no room to see what they are */
    return end_seen(s);
}

/* `all`: nothing is held back, also where only the batch's room ends. */
static int split_and_hold(struct splitting *s, const struct before *before, bool all)
{
    int result = split(s, before->n_records);
    const struct piece *open = first_open(s);
    s->read->held = false;
    if (result == 0 && (all || (s->read->flush && !s->lines->full)))
        return end_all(s);
    return result == 0 && open != NULL ? hold(s, before, open) : result;
}

int frame_split(struct frame *frame, struct frame_read *read, struct batch_private *batch,
                struct lines *lines)
{
    struct splitting s = {.frame = frame, .read = read, .batch = batch, .lines = lines};
    struct before before;
    s.names = frame->config->container != TAIL_PLAIN;
    lines->end = frame_line_end(frame, read->state);
    read->joined = read->limited = read->replaced = 0;
    save(&before, &s);
    int result = split_and_hold(&s, &before, false);
    /* An empty batch has no room for more of what is open: the next one won't either. */
    if (result == 0 && lines->full && lines->consumed == 0 && before.n_records == 0) {
        restore(&before, &s);
        result = split_and_hold(&s, &before, true);
    }
    if (result == -1)
        restore(&before, &s);
    else
        batch->b.n_records = s.out;
    return result;
}
