/* Regular expressions: PCRE2, 8 bit, JIT-compiled where the machine has it, interpreted elsewhere.
 *
 * What a line may cost is bounded, whatever the pattern: some milliseconds. PCRE2's match limit alone
 * doesn't do that: it starts anew at every place in the text where a match could begin, and one step that
 * it counts may scan the whole line. So there are two programs of one pattern:
 *
 *   fast      as PCRE2 made it. Its match limit is so low that all places of a text of this length,
 *             with a scan of the text for every step, stay within FAST_NS. For nearly all lines that is the end.
 *   careful   the same with PCRE2_AUTO_CALLOUT, which calls back before each item of the pattern. The
 *             callback adds up calls and bytes passed, over all places, and ends the match when they
 *             come to COST_JIT. It runs where the fast one hit its match limit, and where the
 *             text is so long that no useful limit remains.
 *
 * Costs are counts, not time: the same line always has the same outcome, on a busy machine too.
 *
 * Lines are bytes, not UTF-8, unless the pattern begins with (*UTF); a match then never covers what is not valid UTF-8.
 *
 * An object owns its programs, match data and JIT stack; one thread uses it. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "plugins/plugin.h"

#include "agent/quote.h"

#include <pcre2.h>
#include <stdlib.h>

/* Measured on one core of 2024: a step of the fast program is 2.5 ns JIT-compiled and 13 ns interpreted, a callback
 * 8 and 18 ns, a byte scanned 0.2 to 0.7 ns. Rounded up. */
#define FAST_NS             3000000u
#define STEP_NS_JIT         4u
#define STEP_NS_INTERPRETED 20u
#define FAST_LIMIT_LEAST    4u  /* lower ones are hit by every other pattern: careful at once */
#define FAST_LIMIT_SHORT    64u /* at least that where a step can't scan far */
#define COST_JIT            8000000u
#define COST_INTERPRETED    4000000u
#define CALLBACK_COST       16u /* beside 1 for a byte */

#define CAREFUL_LIMIT   10000000u /* the callbacks end it earlier */
#define DEPTH_LIMIT     50000u    /* interpreted only, like the next one */
#define HEAP_LIMIT      4096u     /* KiB */
#define JIT_STACK_FIRST ((size_t)32 * 1024)
#define JIT_STACK_MOST  ((size_t)1024 * 1024)

#define LENGTH_CLASSES 65u /* by the number of bits of the text's length */

struct program {
    pcre2_code *code;
    pcre2_match_context *context;
    bool jit;
};

struct regex {
    struct program fast;
    struct program careful;
    pcre2_match_data *data; /* of both: their groups are the same */
    pcre2_jit_stack *stack;
    const PCRE2_SIZE *offsets; /* of data */
    unsigned n_groups;
    unsigned n_set;      /* of the last match */
    uint32_t fast_limit; /* set in the fast program's context */
    bool line_start;     /* it matches at the text's beginning and behind line feeds only */
    const char **names;  /* by group, NULL where it has none; they stand in the fast code */
    uint64_t cost;       /* of the careful program, so far in this text */
    uint64_t most_cost;
    size_t position;                 /* where its last callback was */
    uint32_t limits[LENGTH_CLASSES]; /* of the fast program; 0: not to be used */
};

/* ---- limits ---- */

/* Can one step pass over more of the text than the pattern is long? Says yes when in doubt. */
static bool scans(const char *pattern)
{
    static const char *const signs[] = {"*",    "+",   "(?R", "(?&", "(?P>", "(?0", "(?1",
                                        "(?-1", "\\g", "\\X", "\\R", ", }",  ",}"};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (strstr(pattern, signs[i]) != NULL)
            return true;
    for (const char *at = pattern; (at = strstr(at, "(?")) != NULL; at += 2)
        if (at[2] >= '0' && at[2] <= '9') /* recursion into a group */
            return true;
    return false;
}

static unsigned length_class(size_t len)
{
    return len == 0 ? 0 : 64 - (unsigned)__builtin_clzll(len);
}

static void fill_limits(struct regex *regex, const char *pattern)
{
    uint32_t options = 0, first_type = 0;
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_ALLOPTIONS, &options);
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_FIRSTCODETYPE, &first_type);
    bool anchored = (options & PCRE2_ANCHORED) != 0;
    bool far = scans(pattern);
    regex->line_start = !anchored && first_type == 2;
    for (unsigned i = 0; i < LENGTH_CLASSES; i++) {
        uint64_t most = i > 40 ? UINT64_C(1) << 40 : UINT64_C(1) << i; /* bytes, in this class */
        uint64_t places = anchored || regex->line_start ? 1 : most + 1;
        uint64_t step = (regex->fast.jit ? STEP_NS_JIT : STEP_NS_INTERPRETED) + (far ? most / 2 : 0);
        uint64_t limit = FAST_NS / places / step;
        if (!far && limit < FAST_LIMIT_SHORT)
            limit = FAST_LIMIT_SHORT;
        regex->limits[i] = limit < FAST_LIMIT_LEAST ? 0 : (uint32_t)limit;
    }
}

/* PCRE2 calls it before each item of the careful program. 0: go on. */
static int add_cost(pcre2_callout_block *block, void *arg)
{
    struct regex *regex = (struct regex *)arg;
    size_t position = block->current_position;
    size_t last = regex->position;
    regex->cost += CALLBACK_COST + (position > last ? position - last : last - position);
    regex->position = position;
    return regex->cost > regex->most_cost ? PCRE2_ERROR_CALLOUT : 0;
}

/* ---- making and freeing ---- */

/* Does it begin with (*UTF), other verbs such as (*UCP) perhaps before that? */
static bool wants_utf(const char *pattern)
{
    while (pattern[0] == '(' && pattern[1] == '*') {
        if (strncmp(pattern, "(*UTF)", 6) == 0)
            return true;
        pattern = strchr(pattern, ')');
        if (pattern == NULL)
            return false;
        pattern++;
    }
    return false;
}

/* Like error_set(). */
static int pattern_error(struct error *error, const char *pattern, int code, size_t offset)
{
    char why[200] = "it is wrong";
    size_t len = strlen(pattern);
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
    const char *hint = "";
    if (code == PCRE2_ERROR_DUPLICATE_SUBPATTERN_NAME)
        hint = "; with (?J) before it that is allowed";
    if (offset >= len)
        return error_set(error, "%s, at the end of the pattern (offset %zu)%s", why, len, hint);
    return error_set(error, "%s, at offset %zu of the pattern, before %s%s", why, offset,
                     quote_str(pattern + offset).text, hint);
}

static int program_make(struct program *program, const char *pattern, uint32_t options,
                        struct error *error)
{
    int code;
    PCRE2_SIZE offset;
    size_t jit_size = 0;
    program->code =
        pcre2_compile((PCRE2_SPTR)pattern, strlen(pattern), options, &code, &offset, NULL);
    if (program->code == NULL)
        return pattern_error(error, pattern, code, offset);
    program->context = pcre2_match_context_create(NULL);
    if (program->context == NULL)
        return error_set(error, "out of memory");
    pcre2_set_depth_limit(program->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(program->context, HEAP_LIMIT);
    /* It may succeed without a program, for (*NO_JIT). */
    if (pcre2_jit_compile(program->code, PCRE2_JIT_COMPLETE) == 0)
        pcre2_pattern_info(program->code, PCRE2_INFO_JITSIZE, &jit_size);
    program->jit = jit_size != 0;
    return 0;
}

static void program_free(struct program *program)
{
    pcre2_match_context_free(program->context);
    pcre2_code_free(program->code);
}

static int fill_names(struct regex *regex, struct error *error)
{
    uint32_t count = 0, size = 0;
    PCRE2_SPTR table = NULL;
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_CAPTURECOUNT, &regex->n_groups);
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_NAMECOUNT, &count);
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(regex->fast.code, PCRE2_INFO_NAMETABLE, &table);
    regex->names = (const char **)calloc(regex->n_groups + 1, sizeof(regex->names[0]));
    if (regex->names == NULL)
        return error_set(error, "out of memory");
    for (uint32_t i = 0; i < count; i++, table += size) /* a number of two bytes, then the name */
        regex->names[table[0] << 8 | table[1]] = (const char *)table + 2;
    return 0;
}

static int prepare(struct regex *regex, const char *pattern, struct error *error)
{
    uint32_t utf = wants_utf(pattern) ? PCRE2_MATCH_INVALID_UTF : 0;
    if (program_make(&regex->fast, pattern, utf, error) == -1 ||
        program_make(&regex->careful, pattern, utf | PCRE2_AUTO_CALLOUT, error) == -1 ||
        fill_names(regex, error) == -1)
        return -1;
    regex->data = pcre2_match_data_create_from_pattern(regex->fast.code, NULL);
    if (regex->data == NULL)
        return error_set(error, "out of memory");
    regex->offsets = pcre2_get_ovector_pointer(regex->data);
    if (regex->fast.jit || regex->careful.jit) {
        regex->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
        if (regex->stack == NULL)
            return error_set(error, "out of memory");
        pcre2_jit_stack_assign(regex->fast.context, NULL, regex->stack);
        pcre2_jit_stack_assign(regex->careful.context, NULL, regex->stack);
    }
    pcre2_set_match_limit(regex->careful.context, CAREFUL_LIMIT);
    pcre2_set_callout(regex->careful.context, add_cost, regex);
    regex->most_cost = regex->careful.jit ? COST_JIT : COST_INTERPRETED;
    fill_limits(regex, pattern);
    return 0;
}

struct regex *regex_new(const char *pattern, struct error *error)
{
    struct regex *regex = (struct regex *)calloc(1, sizeof(*regex));
    if (regex == NULL)
        error_set(error, "out of memory");
    else if (prepare(regex, pattern, error) == -1)
        regex_free(&regex);
    return regex;
}

void regex_free(struct regex **regex)
{
    if (*regex == NULL)
        return;
    program_free(&(*regex)->fast);
    program_free(&(*regex)->careful);
    pcre2_match_data_free((*regex)->data);
    pcre2_jit_stack_free((*regex)->stack);
    free((void *)(*regex)->names);
    free(*regex);
    *regex = NULL;
}

/* ---- matching ---- */

/* pcre2_jit_match() checks nothing: no options, the start within the text, the text not NULL. */
static inline int run(const struct regex *regex, const struct program *program, struct slice text)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.len == 0 ? "" : text.ptr);
    return (program->jit ? pcre2_jit_match : pcre2_match)(program->code, subject, text.len, 0, 0,
                                                          regex->data, program->context);
}

/* Could the fast program need more time than planned, as line feeds make many beginnings? */
static bool many_beginnings(const struct regex *regex, struct slice text)
{
    return regex->line_start && text.len != 0 && memchr(text.ptr, '\n', text.len) != NULL;
}

static int match_carefully(struct regex *regex, struct slice text)
{
    regex->cost = 0;
    regex->position = 0;
    return run(regex, &regex->careful, text);
}

int regex_match(struct regex *regex, struct slice text)
{
    uint32_t limit = regex->limits[length_class(text.len)];
    int result = PCRE2_ERROR_MATCHLIMIT;
    if (limit != 0 && !many_beginnings(regex, text)) {
        if (limit != regex->fast_limit) {
            pcre2_set_match_limit(regex->fast.context, limit);
            regex->fast_limit = limit;
        }
        result = run(regex, &regex->fast, text);
    }
    if (result == PCRE2_ERROR_MATCHLIMIT)
        result = match_carefully(regex, text);
    regex->n_set = result > 0 ? (unsigned)result : 0;
    if (result > 0)
        return result;
    return result == PCRE2_ERROR_NOMATCH ? REGEX_NO_MATCH : REGEX_LIMIT;
}

struct slice regex_group(const struct regex *regex, unsigned i, struct slice text)
{
    if (i >= regex->n_set)
        return (struct slice){NULL, 0};
    PCRE2_SIZE begin = regex->offsets[2 * (size_t)i];
    PCRE2_SIZE end = regex->offsets[2 * (size_t)i + 1];
    if (begin == PCRE2_UNSET)
        return (struct slice){NULL, 0};
    /* \K in a lookahead can put the beginning behind the end. */
    const char *text_begin = text.len == 0 ? "" : text.ptr;
    return slice_of(text_begin + begin, end > begin ? end - begin : 0);
}

unsigned regex_group_count(const struct regex *regex)
{
    return regex->n_groups;
}

const char *regex_group_name(const struct regex *regex, unsigned i)
{
    return i <= regex->n_groups ? regex->names[i] : NULL;
}
