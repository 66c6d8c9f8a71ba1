/* The public interface of splashdam's plugins: the only header that a plugin includes.
 *
 * A plugin is a shared object, built with hidden visibility, that exports one constant:
 *
 *     PLUGIN = { .abi = PLUGIN_ABI, .name = "upper", ... };
 *
 * The agent makes one instance a worker for each step of a chain that names the plugin, so an
 * instance is only ever used by one thread. It allocates `size` zeroed bytes, fills in the options
 * from the configuration through the table (type, default, range: checked before `open`), calls
 * `open` once, `process` for every batch, and `close` once.
 *
 * Memory: everything that a record points to lives in its batch: in the bytes that were read or in
 * the batch's arena. A plugin allocates with arena_alloc() and never frees. When the arena has no
 * room, arena_alloc() returns NULL and the arena remembers it; the agent checks once, after the step.
 *
 * A plugin never logs, sleeps or blocks, and never allocates from the heap in `process`.
 */
#ifndef SPLASHDAM_PLUGIN_H
#define SPLASHDAM_PLUGIN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLUGIN_ABI 1u

/* ---- slices: pointer and length, passed by value, not NUL-terminated ---- */

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})

static inline struct slice slice_of(const char *ptr, size_t len)
{
    return (struct slice){ptr, len};
}

static inline struct slice slice_str(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ---- errors for a person ---- */

struct error {
    char text[512]; /* what is wrong and what is allowed */
    char file[256]; /* "" when no place is known */
    int line;       /* 1.. ; 0 when no place is known */
    int column;     /* 1.. */
};

/* Fills the text, cut to its room. Returns -1, so that a caller can return it. */
int error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- arena: a batch's own memory ---- */

struct arena {
    char *next;                 /* next free byte of the newest chunk */
    char *end;                  /* one past that chunk */
    struct arena_chunk *chunks; /* newest first; the agent's */
    struct arena_pool *pool;    /* where standard chunks come from and go back to; the agent's */
    size_t size;                /* bytes of all chunks */
    size_t limit;               /* `size` never exceeds it */
    bool overflowed;            /* an allocation failed: sticky until the arena is reset */
    bool starved;               /* it failed as the system had no memory, not for the limit */
};

#define ARENA_ALIGN 8u

/* Slow path of arena_alloc(). */
void *arena_grow(struct arena *arena, size_t size);

/* `size` bytes, aligned to ARENA_ALIGN, or NULL (and `overflowed`). Not zeroed. */
static inline void *arena_alloc(struct arena *arena, size_t size)
{
    char *at = arena->next;
    if ((size_t)(arena->end - at) < size + ARENA_ALIGN)
        return arena_grow(arena, size);
    arena->next = (char *)(((uintptr_t)at + size + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
    return at;
}

/* Writing what has no known length: reserve the most it can take, write, commit what it took.
 * Nothing else may be allocated in between. */
static inline char *arena_reserve(struct arena *arena, size_t most)
{
    if ((size_t)(arena->end - arena->next) < most + ARENA_ALIGN) {
        char *at = (char *)arena_grow(arena, most);
        if (at == NULL)
            return NULL;
        arena->next = at; /* give it back; it stays free until committed */
    }
    return arena->next;
}

static inline struct slice arena_commit(struct arena *arena, char *written_end)
{
    struct slice written = {arena->next, (size_t)(written_end - arena->next)};
    assert(written_end <= arena->end);
    arena->next =
        (char *)(((uintptr_t)written_end + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
    return written;
}

/* A copy in the arena; an empty slice when it has no room. */
struct slice arena_copy(struct arena *arena, struct slice text);

/* ---- records ---- */

enum field_type {
    FIELD_STRING, /* value: the bytes, any, not escaped */
    FIELD_NUMBER, /* value: its text as it came in, valid as a JSON number */
    FIELD_BOOL,   /* value: true or false */
    FIELD_NULL,   /* value: null */
    FIELD_JSON,   /* value: a valid raw JSON object or array */
};

struct field {
    struct slice key;
    struct slice value;
    enum field_type type;
};

enum record_flag {
    RECORD_DROPPED = 1 << 0,   /* a filter dropped it: no later step sees it */
    RECORD_SKIPPED = 1 << 1,   /* the step's `when:` is false: this step doesn't see it */
    RECORD_CUT = 1 << 2,       /* the line was longer than max_line: only its beginning is here */
    RECORD_DISCARDED = 1 << 3, /* cannot be shipped (counted with its reason) */
    /* Which of the fields that the agent adds are not added any more, as a step set or removed them: */
    RECORD_NO_TIME = 1 << 4,   /* @timestamp */
    RECORD_NO_HOST = 1 << 5,   /* host.name */
    RECORD_NO_PATH = 1 << 6,   /* log.file.path */
    RECORD_NO_OFFSET = 1 << 7, /* log.offset */
};

#define RECORD_MAX_FIELDS 1024u /* a record never has more; record_set() fails */

struct record {
    struct slice line; /* as it was read, without its line end */
    int64_t time;      /* ns since 1970-01-01T00:00:00Z */
    uint64_t begin;    /* its byte range in its source, line end included: [begin, end) */
    uint64_t end;
    struct field *fields; /* keys are unique; "message" is one of them */
    uint16_t n_fields;
    uint16_t fields_room;
    uint16_t origin; /* index into batch->origins */
    uint16_t flags;  /* enum record_flag */
    /* Filled in after the chain, by the agent: */
    struct slice payload; /* what Kafka gets */
    struct slice key;     /* ptr NULL: no key */
    void *topic;
};

/* Where records come from: fields that all records of one source share. */
struct origin {
    struct slice path; /* log.file.path */
    struct slice json; /* the agent's: `"host.name":…,"log.file.path":…` ready encoded */
};

/* A batch owns every byte that its records point to. */
struct batch {
    struct record *records;
    uint32_t n_records;
    uint32_t n_dropped; /* counted by record_drop() */
    uint32_t n_failed;  /* counted by record_fail() */
    uint32_t n_limited; /* lines that hit a regex limit, counted by regex_match() callers */
    struct arena arena;
    const struct origin *const *origins;
    struct slice host; /* host.name */

    /* The agent's own; not part of the interface: */
    struct batch_private *own;
};

/* The first (record NULL) or next record that this step has to see; NULL after the last.
 *     for (struct record *r = NULL; (r = batch_next(batch, r)) != NULL;) */
static inline struct record *batch_next(const struct batch *batch, struct record *record)
{
    struct record *end = batch->records + batch->n_records;
    record = record == NULL ? batch->records : record + 1;
    while (record < end && (record->flags & (RECORD_DROPPED | RECORD_SKIPPED)) != 0)
        record++;
    return record < end ? record : NULL;
}

/* A field of the record's own, or NULL. The built-in ones (host.name …) are not found here. */
static inline struct field *record_find(const struct record *record, struct slice key)
{
    for (unsigned i = 0; i < record->n_fields; i++)
        if (slice_equal(record->fields[i].key, key))
            return &record->fields[i];
    return NULL;
}

/* The value of a field, own or built-in (@timestamp host.name log.file.path log.offset), in
 * *ret_field. False when there is none. May write into the arena. */
bool record_get(struct batch *batch, const struct record *record, struct slice key,
                struct field *ret_field);

/* Sets a field, replacing one of that name. Key and value are not copied: they must live in the
 * batch or in the instance. Returns -1 when the arena is full or the record has RECORD_MAX_FIELDS. */
int record_set(struct batch *batch, struct record *record, struct slice key, struct slice value,
               enum field_type type);

/* Adds a field whose key is known not to be there yet: no look for a double. */
int record_add(struct batch *batch, struct record *record, struct slice key, struct slice value,
               enum field_type type);

/* Removes a field, own or built-in. False when there was none. The others keep their order. */
bool record_remove(struct record *record, struct slice key);

/* Drops the record: counted for this step. */
void record_drop(struct batch *batch, struct record *record);

/* Says in error.message, in words, why this step could not do its work; the record goes on. */
void record_fail(struct batch *batch, struct record *record, const char *step, const char *why);

/* ---- regular expressions: PCRE2, JIT where it can, with match limits; one thread an object ---- */

struct regex;

enum { REGEX_NO_MATCH = 0, REGEX_LIMIT = -1 }; /* LIMIT: gave up, the text counts as unmatched */

/* NULL and *error when the pattern is wrong (its text says where in the pattern). */
struct regex *regex_new(const char *pattern, struct error *error);
void regex_free(struct regex **regex);
/* > 0: it matches; the number of groups set, as pcre2_match() says it. */
int regex_match(struct regex *regex, struct slice text);
/* Group i (0: the whole) of the last match; ptr NULL when it took no part. */
struct slice regex_group(const struct regex *regex, unsigned i, struct slice text);
unsigned regex_group_count(const struct regex *regex); /* without group 0 */
/* Name of group i, or NULL. */
const char *regex_group_name(const struct regex *regex, unsigned i);

/* ---- conditions (`when:`) and templates (%{field}); one thread an object ---- */

struct condition;
struct template;

bool condition_matches(struct condition *condition, struct batch *batch,
                       const struct record *record);
/* The text in *ret_text; it lives in the batch or in the template. A field that is not there is
 * empty. Returns how many of its fields were not there; -1 when the arena has no room. */
int template_render(const struct template *template, struct batch *batch,
                    const struct record *record, struct slice *ret_text);

/* Is it exactly one %{field} without a default? Then its name, with which record_get() tells the type, too. */
bool template_is_field(const struct template *template, struct slice *ret_key);

/* ---- JSON (RFC 8259) ---- */

/* Next member of an object: see json_object_*(). */
struct json_object {
    const char *at;
    const char *end;
    const char *error;   /* why, when something was wrong */
    size_t error_offset; /* where, in bytes from the object's start */
    const char *start;
    struct arena *arena; /* decoded strings (those with escapes) go there */
};

/* Depth of nesting that is accepted. */
#define JSON_MAX_DEPTH 64

/* Opens the object in `text` (blanks around it allowed). 0, or -1 and ->error. */
int json_object_open(struct json_object *object, struct slice text, struct arena *arena);
/* 1: a member (key and strings decoded, other values verbatim); 0: the end, nothing behind it;
 * -1: not valid, see ->error. Nested values are validated whole. */
int json_object_next(struct json_object *object, struct field *ret_member);
/* Is the text one valid JSON number? */
bool json_is_number(struct slice text);

/* ---- options ---- */

enum option_type {
    OPTION_BOOL,      /* bool */
    OPTION_INTEGER,   /* int64_t, min..max; a word of .choices gives -1 minus its index */
    OPTION_SIZE,      /* uint64_t bytes: 64KiB, 1MB, min..max */
    OPTION_TIME,      /* int64_t milliseconds: 5s, 200ms, 1h, min..max; words as for an integer */
    OPTION_STRING,    /* const char * */
    OPTION_CHOICE,    /* int, index into .choices */
    OPTION_REGEX,     /* struct regex * */
    OPTION_CONDITION, /* struct condition * */
    OPTION_TEMPLATE,  /* struct template * */
    OPTION_LIST,      /* struct option_list: one string or a list of them */
    OPTION_MAP,       /* struct option_map: name: string */
    OPTION_TEMPLATES, /* struct option_templates: name: template */
    OPTION_SECTION, /* a struct of its own, by .options: for the agent's sections, not for plugins */
};

struct option_list {
    size_t n;
    const char **items;
};

struct option_pair {
    const char *key;
    const char *value;
    int line; /* of the value, for errors */
    int column;
};

struct option_map {
    size_t n;
    struct option_pair *items;
};

struct option_templates {
    size_t n;
    struct {
        const char *key;
        struct template *template;
    } * items;
};

struct option {
    const char *name;
    enum option_type type;
    size_t offset;        /* of the member in the instance */
    const char *fallback; /* default as it would stand in YAML; NULL: zero */
    const char *help;     /* a sentence or two */
    bool required;
    int64_t min, max;             /* of the number, the length or the count; both 0: none */
    const char *const *choices;   /* OPTION_CHOICE and the values of OPTION_MAP; ends with NULL */
    const struct option *options; /* OPTION_SECTION */
};

#define OPTION_END   \
    {                \
        .name = NULL \
    }

/* ---- the plugin ---- */

struct plugin {
    unsigned abi;                 /* PLUGIN_ABI */
    const char *name;             /* as chains name it */
    const char *help;             /* what it does, in a sentence */
    const char *example;          /* a step as it stands in YAML */
    const struct option *options; /* ends with OPTION_END; `when` is added where it is not there */
    const char *shorthand;        /* option that a step's plain value or list stands for, or NULL */
    const char *rest; /* OPTION_MAP or OPTION_TEMPLATES that takes all other keys, or NULL */
    size_t size;      /* of an instance */
    int (*open)(void *self, struct error *error); /* may be NULL; -1: *error says why */
    void (*process)(void *self, struct batch *batch);
    void (*close)(void *self); /* may be NULL; called after a failed open, too */
};

#define PLUGIN __attribute__((visibility("default"))) const struct plugin splashdam_plugin

#endif
