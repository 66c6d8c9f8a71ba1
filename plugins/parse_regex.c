/* parse_regex: the named groups of a regular expression become fields.
 *
 * Names and types are looked up once, in open(); for a record only the match itself and one field a group
 * remain. Where the record has no other fields, as for most lines, none is looked for: the names of the groups
 * are known to differ. */
#include "plugins/plugin.h"

#include <limits.h>
#include <stdlib.h>

#define MOST_NAME 64u /* longer names are near to nothing; PCRE2's are at most 32 bytes */

enum type { TYPE_STRING, TYPE_NUMBER, TYPE_BOOL, TYPE_JSON };

static const char *const type_names[] = {"string", "number", "bool", "json", NULL};

struct group {
    unsigned index;
    struct slice name; /* with the prefix */
    char *own;         /* its memory when there is a prefix */
    enum type type;
    bool repeated; /* (?J): an earlier group has the same name */
};

struct parse_regex {
    struct regex *pattern;
    const char *field;
    const char *into;
    bool keep;
    struct option_map types;
    struct group *groups;
    size_t n_groups;
    struct slice field_name;
};

static enum type type_of(const char *name)
{
    for (int i = 0; type_names[i] != NULL; i++)
        if (strcmp(type_names[i], name) == 0)
            return (enum type)i;
    return TYPE_STRING; /* the table's choices allow no other */
}

static int add_group(struct parse_regex *self, unsigned index, const char *name)
{
    struct group *group = &self->groups[self->n_groups];
    size_t prefix = strlen(self->into);
    *group = (struct group){.index = index, .name = slice_str(name)};
    if (prefix > 0) {
        size_t len = prefix + strlen(name);
        group->own = (char *)malloc(len);
        if (group->own == NULL)
            return -1;
        memcpy(group->own, self->into, prefix);
        memcpy(group->own + prefix, name, len - prefix);
        group->name = slice_of(group->own, len);
    }
    for (size_t i = 0; i < self->types.n; i++)
        if (strcmp(self->types.items[i].key, name) == 0)
            group->type = type_of(self->types.items[i].value);
    for (size_t i = 0; i < self->n_groups; i++)
        group->repeated |= slice_equal(self->groups[i].name, group->name);
    self->n_groups++;
    return 0;
}

/* How many characters are to be inserted, removed or changed to make one of the other; long names: many. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[MOST_NAME + 1]; /* of a's first characters to each beginning of b */
    size_t len = strlen(b);
    if (len > MOST_NAME)
        return UINT_MAX;
    for (unsigned j = 0; j <= len; j++)
        row[j] = j;
    for (unsigned i = 1; *a != '\0'; a++, i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            unsigned least = diagonal + (*a != b[j - 1]);
            least = row[j] + 1 < least ? row[j] + 1 : least;
            least = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
            diagonal = row[j];
            row[j] = least;
        }
    }
    return row[len];
}

/* Is there a group of the type's name? If not, the error names the one that was meant. */
static int check_type(const struct parse_regex *self, const struct option_pair *pair,
                      struct error *error)
{
    const char *nearest = NULL;
    unsigned least = UINT_MAX;
    for (unsigned i = 1; i <= regex_group_count(self->pattern); i++) {
        const char *name = regex_group_name(self->pattern, i);
        unsigned apart = name == NULL ? UINT_MAX : distance(pair->key, name);
        if (apart == 0)
            return 0;
        if (apart < least) {
            least = apart;
            nearest = name;
        }
    }
    error->line = pair->line;
    error->column = pair->column;
    if (nearest == NULL)
        return error_set(error, "types: the pattern has no group named \"%.100s\"", pair->key);
    return error_set(error, "types: the pattern has no group named \"%.100s\"; did you mean \"%s\"?",
                     pair->key, nearest);
}

static int parse_regex_open(void *arg, struct error *error)
{
    struct parse_regex *self = (struct parse_regex *)arg;
    unsigned count = regex_group_count(self->pattern);
    self->field_name = slice_str(self->field);
    self->groups = (struct group *)calloc(count + 1, sizeof(struct group));
    if (self->groups == NULL)
        return error_set(error, "out of memory");
    for (unsigned i = 1; i <= count; i++) {
        const char *name = regex_group_name(self->pattern, i);
        if (name != NULL && add_group(self, i, name) == -1)
            return error_set(error, "out of memory");
    }
    if (self->n_groups == 0)
        return error_set(error, "the pattern has no named group: write (?<name>…) around what "
                                "becomes a field");
    for (size_t i = 0; i < self->types.n; i++)
        if (check_type(self, &self->types.items[i], error) == -1)
            return -1;
    return 0;
}

static void parse_regex_close(void *arg)
{
    struct parse_regex *self = (struct parse_regex *)arg;
    for (size_t i = 0; i < self->n_groups; i++)
        free(self->groups[i].own);
    free(self->groups);
}

static bool is_object(struct slice text, struct arena *arena)
{
    struct json_object object;
    struct field member;
    int result;
    if (json_object_open(&object, text, arena) == -1)
        return false;
    while ((result = json_object_next(&object, &member)) == 1)
        continue;
    return result == 0;
}

/* As the value of an object's only member. */
static bool is_array(struct slice text, struct arena *arena)
{
    static const struct slice before = {"{\"a\":", 5};
    struct json_object object;
    struct field member;
    char *whole = (char *)arena_alloc(arena, before.len + text.len + 1);
    if (whole == NULL)
        return false;
    memcpy(whole, before.ptr, before.len);
    memcpy(whole + before.len, text.ptr, text.len);
    whole[before.len + text.len] = '}';
    return json_object_open(&object, slice_of(whole, before.len + text.len + 1), arena) == 0 &&
           json_object_next(&object, &member) == 1 && json_object_next(&object, &member) == 0;
}

static bool is_json(struct slice text, struct arena *arena)
{
    if (text.len < 2)
        return false;
    return text.ptr[0] == '[' ? is_array(text, arena) : text.ptr[0] == '{' && is_object(text, arena);
}

/* A text that is not of the wanted type stays a string. */
static enum field_type field_type(enum type type, struct slice text, struct arena *arena)
{
    switch (type) {
    case TYPE_NUMBER: return json_is_number(text) ? FIELD_NUMBER : FIELD_STRING;
    case TYPE_BOOL:
        return slice_equal(text, SLICE("true")) || slice_equal(text, SLICE("false")) ? FIELD_BOOL
                                                                                     : FIELD_STRING;
    case TYPE_JSON: return is_json(text, arena) ? FIELD_JSON : FIELD_STRING;
    case TYPE_STRING: break;
    }
    return FIELD_STRING;
}

/* Did an earlier group of the same name take part? */
static bool is_set_already(const struct parse_regex *self, size_t at, struct slice text)
{
    for (size_t i = 0; i < at; i++)
        if (slice_equal(self->groups[i].name, self->groups[at].name) &&
            regex_group(self->pattern, self->groups[i].index, text).ptr != NULL)
            return true;
    return false;
}

static void set_groups(const struct parse_regex *self, struct batch *batch, struct record *record,
                       struct slice text)
{
    int (*set)(struct batch *, struct record *, struct slice, struct slice, enum field_type) =
        record->n_fields == 0 ? record_add : record_set;
    for (size_t i = 0; i < self->n_groups; i++) {
        const struct group *group = &self->groups[i];
        struct slice value = regex_group(self->pattern, group->index, text);
        if (value.ptr == NULL || (group->repeated && is_set_already(self, i, text)))
            continue;
        enum field_type type = group->type == TYPE_STRING
                                   ? FIELD_STRING
                                   : field_type(group->type, value, &batch->arena);
        if (set(batch, record, group->name, value, type) == -1) {
            record_fail(batch, record, "parse_regex", "the record has too many fields");
            return;
        }
    }
}

static void parse_record(struct parse_regex *self, struct batch *batch, struct record *record)
{
    struct field field;
    if (!record_get(batch, record, self->field_name, &field)) {
        record_fail(batch, record, "parse_regex", "the field to parse is not there");
        return;
    }
    int result = regex_match(self->pattern, field.value);
    if (result == REGEX_LIMIT) {
        batch->n_limited++;
        record_fail(batch, record, "parse_regex",
                    "the pattern took too many steps on this text and was stopped");
        return;
    }
    if (result == REGEX_NO_MATCH) {
        record_fail(batch, record, "parse_regex", "the pattern does not match");
        return;
    }
    if (!self->keep)
        record_remove(record, self->field_name);
    set_groups(self, batch, record, field.value);
}

static void parse_regex_process(void *arg, struct batch *batch)
{
    struct parse_regex *self = (struct parse_regex *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        parse_record(self, batch, record);
}

#define MEMBER(name) offsetof(struct parse_regex, name)

static const struct option options[] = {
    {.name = "pattern",
     .type = OPTION_REGEX,
     .offset = MEMBER(pattern),
     .help =
         "PCRE2 pattern; each named group (?<name>...) becomes a field. Bytes, not UTF-8, "
         "unless it begins with (*UTF). A group that takes no part gives no field. What a line may "
         "cost is bounded: where the pattern takes too many steps, the line counts as not matched.",
     .required = true},
    {.name = "field",
     .type = OPTION_STRING,
     .offset = MEMBER(field),
     .fallback = "message",
     .help = "The field to parse. It is removed when the pattern matches, unless keep is set."},
    {.name = "keep",
     .type = OPTION_BOOL,
     .offset = MEMBER(keep),
     .fallback = "false",
     .help =
         "Keep that field beside what was found. A group of its name replaces it all the same."},
    {.name = "into",
     .type = OPTION_STRING,
     .offset = MEMBER(into),
     .fallback = "",
     .help = "Put before the name of each field that was found, e.g. http. with its dot."},
    {.name = "types",
     .type = OPTION_MAP,
     .offset = MEMBER(types),
     .choices = type_names,
     .help =
         "Types of groups that are not strings: number (as JSON writes them; the text is kept), "
         "bool (true or false), json (an object or array). A text that is not of its type stays "
         "a string."},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "parse_regex",
    .help = "Parses a field with a regular expression; its named groups become fields.",
    .example = "- parse_regex: {pattern: '^(?<client>\\S+) (?<status>\\d+)', "
               "types: {status: number}}",
    .options = options,
    .shorthand = "pattern",
    .size = sizeof(struct parse_regex),
    .open = parse_regex_open,
    .process = parse_regex_process,
    .close = parse_regex_close,
};
