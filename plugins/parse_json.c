/* parse_json: the members of a JSON object become fields.
 *
 * All or nothing: members are collected in the instance, and the record is changed only when the whole
 * object is known to be valid. Values stay slices into the text; nested objects and arrays stay one
 * field each, as they were written. */
#include "plugins/plugin.h"

#include <inttypes.h>
#include <stdio.h>

#define MOST_FIELDS 1024
#define WHY_ROOM    128u

static_assert(MOST_FIELDS <= RECORD_MAX_FIELDS, "an accepted object fits into a record");

struct parse_json {
    const char *field;
    bool keep;
    const char *into;
    int64_t max_fields;
    struct slice name;   /* of the field */
    struct slice prefix; /* into */
    struct field members[MOST_FIELDS];
};

static int parse_json_open(void *arg, struct error *error)
{
    struct parse_json *self = (struct parse_json *)arg;
    (void)error;
    self->name = slice_str(self->field);
    self->prefix = slice_str(self->into);
    return 0;
}

/* Why, with where: `a colon is missing, at offset 17`. */
static void fail_at(struct batch *batch, struct record *record, const struct json_object *object)
{
    char *why = arena_reserve(&batch->arena, WHY_ROOM);
    if (why == NULL)
        return;
    int len = snprintf(why, WHY_ROOM, "%s, at offset %zu", object->error, object->error_offset);
    assert(len > 0 && len < (int)WHY_ROOM);
    arena_commit(&batch->arena, why + len + 1);
    record_fail(batch, record, "parse_json", why);
}

static void fail_many(const struct parse_json *self, struct batch *batch, struct record *record)
{
    char *why = arena_reserve(&batch->arena, WHY_ROOM);
    if (why == NULL)
        return;
    int len = snprintf(why, WHY_ROOM, "the object has more than %" PRId64 " members (max_fields)",
                       self->max_fields);
    assert(len > 0 && len < (int)WHY_ROOM);
    arena_commit(&batch->arena, why + len + 1);
    record_fail(batch, record, "parse_json", why);
}

/* The name with the prefix before it. False: the arena has no room. */
static bool add_prefix(const struct parse_json *self, struct batch *batch, struct slice *name)
{
    size_t len = self->prefix.len + name->len;
    char *text = (char *)arena_alloc(&batch->arena, len);
    if (text == NULL)
        return false;
    memcpy(text, self->prefix.ptr, self->prefix.len);
    if (name->len != 0)
        memcpy(text + self->prefix.len, name->ptr, name->len);
    *name = slice_of(text, len);
    return true;
}

/* Members of the text into the instance. Their number, or -1: it is said why in the record, or the
 * arena is full, which the agent sees. */
static int collect(struct parse_json *self, struct batch *batch, struct record *record,
                   struct slice text)
{
    struct json_object object;
    struct field member;
    int n = 0;
    int result = json_object_open(&object, text, &batch->arena);
    while (result != -1 && (result = json_object_next(&object, &member)) == 1) {
        if (n == self->max_fields) {
            fail_many(self, batch, record);
            return -1;
        }
        if (self->prefix.len != 0 && !add_prefix(self, batch, &member.key))
            return -1;
        self->members[n++] = member;
    }
    if (result == 0)
        return n;
    if (!batch->arena.overflowed)
        fail_at(batch, record, &object);
    return -1;
}

/* A number from 0 to 255 that names which differ mostly don't share. */
static unsigned mark_of(struct slice name)
{
    if (name.len == 0)
        return 0;
    const unsigned char *bytes = (const unsigned char *)name.ptr;
    unsigned sum = (unsigned)name.len * 37 + bytes[0] * 5u + bytes[name.len / 2] * 11u +
                   bytes[name.len - 1] * 59u;
    return sum & 255;
}

static inline bool mark_seen(uint64_t seen[4], struct slice name)
{
    unsigned mark = mark_of(name);
    uint64_t bit = (uint64_t)1 << (mark & 63);
    bool before = (seen[mark >> 6] & bit) != 0;
    seen[mark >> 6] |= bit;
    return before;
}

/* Of members with the same name the last one stays. The record is searched for a name only when its
 * mark was seen before. */
static void set_members(const struct parse_json *self, struct batch *batch, struct record *record,
                        int n)
{
    uint64_t seen[4] = {0};
    for (unsigned i = 0; i < record->n_fields; i++)
        mark_seen(seen, record->fields[i].key);
    for (int i = 0; i < n; i++) {
        const struct field *field = &self->members[i];
        int result = mark_seen(seen, field->key)
                         ? record_set(batch, record, field->key, field->value, field->type)
                         : record_add(batch, record, field->key, field->value, field->type);
        if (result == -1)
            return; /* the arena is full: the agent sees it */
    }
}

static void parse_record(struct parse_json *self, struct batch *batch, struct record *record)
{
    struct field field;
    if (!record_get(batch, record, self->name, &field)) {
        record_fail(batch, record, "parse_json", "the field to parse is not there");
        return;
    }
    int n = collect(self, batch, record, field.value);
    if (n == -1)
        return;
    bool removes = !self->keep && record_find(record, self->name) != NULL;
    if (record->n_fields + (unsigned)n - removes > RECORD_MAX_FIELDS) {
        record_fail(batch, record, "parse_json", "the record would have too many fields");
        return;
    }
    if (!self->keep)
        record_remove(record, self->name);
    set_members(self, batch, record, n);
}

static void parse_json_process(void *arg, struct batch *batch)
{
    struct parse_json *self = (struct parse_json *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        parse_record(self, batch, record);
}

#define MEMBER(name) offsetof(struct parse_json, name)

static const struct option options[] = {
    {.name = "field",
     .type = OPTION_STRING,
     .offset = MEMBER(field),
     .fallback = "message",
     .help = "The field to parse."},
    {.name = "keep",
     .type = OPTION_BOOL,
     .offset = MEMBER(keep),
     .fallback = "false",
     .help = "Keep that field beside what was found."},
    {.name = "into",
     .type = OPTION_STRING,
     .offset = MEMBER(into),
     .fallback = "",
     .help = "Put before the name of each field that was found, e.g. app. with its dot."},
    {.name = "max_fields",
     .type = OPTION_INTEGER,
     .offset = MEMBER(max_fields),
     .fallback = "256",
     .help = "An object with more members than that is left as it is, with an error.message.",
     .min = 1,
     .max = MOST_FIELDS},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "parse_json",
    .help = "Parses a field that holds a JSON object; its members become fields.",
    .example = "- parse_json: {into: app., keep: true}",
    .options = options,
    .shorthand = "field",
    .size = sizeof(struct parse_json),
    .open = parse_json_open,
    .process = parse_json_process,
};
