/* Both formats are read in place. A line that is in neither is found out by its first bytes, at little cost. */
#include "agent/container.h"

#include "agent/arena.h"

#include "agent/rfc3339.h"

struct slice container_stream_name(enum container_stream stream)
{
    return stream == CONTAINER_STDERR ? SLICE("stderr") : SLICE("stdout");
}

static bool stream_of(struct slice name, enum container_stream *ret_stream)
{
    *ret_stream = slice_equal(name, SLICE("stderr")) ? CONTAINER_STDERR : CONTAINER_STDOUT;
    return slice_equal(name, container_stream_name(*ret_stream));
}

/* ---- CRI ---- */

/* Takes the word up to the next space, and the space, from the text. */
static inline struct slice take_word(struct slice *text)
{
    const char *space = text->len == 0 ? NULL : (const char *)memchr(text->ptr, ' ', text->len);
    size_t len = space == NULL ? text->len : (size_t)(space - text->ptr);
    size_t skip = len + (space != NULL);
    struct slice word = slice_of(text->ptr, len);
    *text = slice_of(skip == 0 ? text->ptr : text->ptr + skip, text->len - skip);
    return word;
}

const char *container_parse_cri(struct slice line, struct container_line *ret_line)
{
    struct container_line made = {0};
    struct slice rest = line;
    /* Without this a long line that has no space at all would be searched to its end. */
    if (container_format_of(line) != CONTAINER_CRI)
        return "the line does not begin with a time";
    const char *why = rfc3339_parse(take_word(&rest), &made.time);
    if (why != NULL)
        return why;
    if (!stream_of(take_word(&rest), &made.stream))
        return "the stream is neither stdout nor stderr";
    /* An empty content may stand there with or without the space before it. */
    struct slice tags = take_word(&rest);
    if (tags.len == 0 || (tags.ptr[0] != 'P' && tags.ptr[0] != 'F') ||
        (tags.len > 1 && tags.ptr[1] != ':'))
        return "the first tag is neither P nor F";
    made.partial = tags.ptr[0] == 'P';
    made.content = rest;
    *ret_line = made;
    return NULL;
}

/* ---- Docker ---- */

/* ptr NULL: there is none of the right type. */
struct members {
    struct slice log, stream, time, attrs;
};

/* The scanner's own reasons are about JSON, for which a person who reads the log has no need of a place. */
static const char *members_read(struct slice line, struct arena *arena, struct members *members)
{
    struct json_object object;
    struct field member;
    int result = json_object_open(&object, line, arena);
    while (result != -1 && (result = json_object_next(&object, &member)) == 1) {
        bool text = member.type == FIELD_STRING;
        struct slice value = text ? member.value : slice_of(NULL, 0);
        if (slice_equal(member.key, SLICE("log")))
            members->log = value;
        else if (slice_equal(member.key, SLICE("stream")))
            members->stream = value;
        else if (slice_equal(member.key, SLICE("time")))
            members->time = value;
        else if (slice_equal(member.key, SLICE("attrs")))
            members->attrs = member.type == FIELD_JSON && member.value.ptr[0] == '{'
                                 ? member.value
                                 : slice_of(NULL, 0);
    }
    return result == -1 ? object.error : NULL;
}

const char *container_parse_docker(struct slice line, struct arena *arena,
                                   struct container_line *ret_line)
{
    struct members members = {0};
    struct container_line made = {0};
    const char *why = members_read(line, arena, &members);
    if (why != NULL)
        return why;
    if (members.log.ptr == NULL)
        return "there is no text \"log\"";
    if (members.time.ptr == NULL)
        return "there is no text \"time\"";
    if (!stream_of(members.stream, &made.stream))
        return "the stream is neither stdout nor stderr";
    why = rfc3339_parse(members.time, &made.time);
    if (why != NULL)
        return why;
    struct slice log = members.log;
    made.partial = log.len == 0 || log.ptr[log.len - 1] != '\n';
    if (!made.partial)
        log.len--;
    /* The \r that ends a part may have something else than a newline behind it: it stays. */
    if (!made.partial && log.len > 0 && log.ptr[log.len - 1] == '\r')
        log.len--;
    made.content = log;
    made.attrs = members.attrs;
    *ret_line = made;
    return NULL;
}

/* ---- either ---- */

enum container_format container_format_of(struct slice line)
{
    size_t at = 0;
    while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'))
        at++;
    if (at == line.len)
        return CONTAINER_NEITHER;
    if (line.ptr[at] == '{')
        return CONTAINER_DOCKER;
    return at == 0 && line.ptr[0] >= '0' && line.ptr[0] <= '9' ? CONTAINER_CRI : CONTAINER_NEITHER;
}

const char *container_parse(struct slice line, struct arena *arena, struct container_line *ret_line)
{
    switch (container_format_of(line)) {
    case CONTAINER_CRI: return container_parse_cri(line, ret_line);
    case CONTAINER_DOCKER: return container_parse_docker(line, arena, ret_line);
    default: return "the line begins neither with a time nor with {";
    }
}

/* ---- joining parts ---- */

int container_join_add(struct container_join *join, const struct container_line *line,
                       struct arena *arena)
{
    assert(join->limit > 0);
    size_t kept = join->open ? join->text.len : 0;
    size_t fits = join->limit - kept;
    size_t more = line->content.len < fits ? line->content.len : fits;
    if (!join->open) {
        *join = (struct container_join){.limit = join->limit, .time = line->time};
        join->text = slice_of(line->content.ptr, more);
    } else if (more > 0 && arena_append(arena, &join->text, &join->room,
                                        slice_of(line->content.ptr, more)) == -1) {
        return -1;
    }
    join->cut += line->content.len - more;
    join->open = line->partial;
    return line->partial ? 0 : 1;
}
