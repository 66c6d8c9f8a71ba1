/* Stack traces of the usual languages, told by the first bytes and the ends of their lines. No line is looked at with a
 * regular expression: an ordinary one costs a walk over its colons. */
#include "agent/multiline.h"

enum clue {
    CLUE_ERROR = 1 << 0, /* …Exception: …Error: …Throwable: or one of these at the end */
    CLUE_PANIC = 1 << 1, /* panic: or panic serving */
    CLUE_RUBY = 1 << 2,  /* .rb:12 */
    CLUE_PHP = 1 << 3,   /* Fatal error: Uncaught, or Laravel's "exception":"[object] */
};

/* ---- slices ---- */

#define STARTS(line, literal) starts(line, SLICE(literal))
#define ENDS(line, literal)   ends(line, SLICE(literal))

static inline bool starts(struct slice line, struct slice with)
{
    return line.len >= with.len && memcmp(line.ptr, with.ptr, with.len) == 0;
}

static inline bool ends(struct slice line, struct slice with)
{
    return line.len >= with.len && memcmp(line.ptr + line.len - with.len, with.ptr, with.len) == 0;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

static inline bool indented(struct slice line)
{
    return line.len != 0 && is_blank(line.ptr[0]);
}

static struct slice from(struct slice line, size_t at)
{
    return slice_of(line.ptr + at, line.len - at);
}

static struct slice after_blanks(struct slice line)
{
    size_t i = 0;
    while (i < line.len && is_blank(line.ptr[i]))
        i++;
    return i == 0 ? line : from(line, i);
}

static bool empty(struct slice line)
{
    return after_blanks(line).len == 0;
}

static bool has(struct slice line, struct slice part)
{
    return line.len >= part.len && memmem(line.ptr, line.len, part.ptr, part.len) != NULL;
}

/* ---- clues ---- */

static bool ends_with_error(struct slice text)
{
    if (text.len == 0)
        return false;
    switch (text.ptr[text.len - 1]) {
    case 'n': return ENDS(text, "Exception");
    case 'r': return ENDS(text, "Error");
    case 'e': return ENDS(text, "Throwable") || ENDS(text, "Failure");
    case ']': { /* Node's `TypeError [ERR_X]` */
        const char *open = (const char *)memrchr(text.ptr, '[', text.len);
        return open != NULL && open - text.ptr >= 6 &&
               ENDS(slice_of(text.ptr, (size_t)(open - text.ptr)), "Error ");
    }
    default: return false;
    }
}

/* Clues from what stands before a colon and behind it. */
static unsigned colon_clues(struct slice before, struct slice behind)
{
    unsigned clues = 0;
    if (behind.len == 0 || is_blank(behind.ptr[0])) {
        if (ends_with_error(before))
            clues |= CLUE_ERROR;
        if (ENDS(before, "panic") && (before.len == 5 || !is_word(before.ptr[before.len - 6])))
            clues |= CLUE_PANIC;
        if (STARTS(behind, " panic serving "))
            clues |= CLUE_PANIC;
        if (ENDS(before, "Fatal error") && STARTS(after_blanks(behind), "Uncaught "))
            clues |= CLUE_PHP;
    } else if (is_digit(behind.ptr[0])) {
        if (ENDS(before, ".rb"))
            clues |= CLUE_RUBY;
    } else if (behind.ptr[0] == '"') {
        if (ENDS(before, "\"exception\"") && STARTS(behind, "\"[object]"))
            clues |= CLUE_PHP;
    }
    return clues;
}

unsigned multiline_clues(struct slice line)
{
    unsigned clues = 0;
    if (line.len == 0)
        return 0;
    for (size_t at = 0; at < line.len; at++) {
        const char *colon = (const char *)memchr(line.ptr + at, ':', line.len - at);
        if (colon == NULL)
            break;
        at = (size_t)(colon - line.ptr);
        clues |= colon_clues(slice_of(line.ptr, at), from(line, at + 1));
    }
    return ends_with_error(line) ? clues | CLUE_ERROR : clues;
}

/* `com.example.Oops: why`, `com.example.Oops`: a class name in a package at the beginning of the line. */
static bool names_a_class(struct slice line)
{
    size_t i = 0, last = 0;
    while (i < line.len && (is_word(line.ptr[i]) || line.ptr[i] == '.' || line.ptr[i] == '$')) {
        if (line.ptr[i] == '.')
            last = i + 1;
        i++;
    }
    if (last < 2 || last >= i || line.ptr[last] < 'A' || line.ptr[last] > 'Z')
        return false;
    return i == line.len || (line.ptr[i] == ':' && (i + 1 == line.len || line.ptr[i + 1] == ' '));
}

/* A blank, `at`, and something: a frame of Java, .NET and JavaScript. */
static bool is_at(struct slice line)
{
    if (!indented(line))
        return false;
    struct slice text = after_blanks(line);
    if (STARTS(text, "eval at "))
        return true;
    return text.len > 3 && STARTS(text, "at ") && !is_blank(text.ptr[3]);
}

/* ---- Java and what runs beside it; .NET, whose traces differ in few words ---- */

enum { HEAD, FRAMES, AFTER, GAP, CHAIN, BLOCK, SOURCE, CARET, LAST_WORDS };

static bool java_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    state->step = HEAD;
    return (clues & CLUE_ERROR) != 0 || STARTS(line, "Exception in thread ") || names_a_class(line);
}

static enum multiline_step java_goes_on(struct multiline_state *state, struct slice line)
{
    struct slice text = after_blanks(line);
    if (STARTS(text, "Caused by: ") || STARTS(text, "Suppressed: ") ||
        STARTS(text, "Wrapped by: ") || ENDS(text, "nested exception is:")) {
        state->step = HEAD;
        return MULTILINE_MORE;
    }
    if (is_at(line) || (text.len > 4 && STARTS(text, "... ") && is_digit(text.ptr[4])) ||
        STARTS(text, "[CIRCULAR REFERENCE")) {
        state->step = FRAMES;
        return MULTILINE_MORE;
    }
    /* A message of several lines has them indented, as PostgreSQL's `  Detail: …`. */
    return state->step == HEAD && indented(line) ? MULTILINE_MORE : MULTILINE_NOT;
}

static bool dotnet_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    state->step = HEAD;
    return (clues & CLUE_ERROR) != 0 || STARTS(line, "Unhandled exception") ||
           STARTS(line, "Unhandled Exception") || names_a_class(line) ||
           (STARTS(line, "System.") && has(line, SLICE("Exception (0x")));
}

static enum multiline_step dotnet_goes_on(struct multiline_state *state, struct slice line)
{
    struct slice text = after_blanks(line);
    if (STARTS(text, "---> ") || STARTS(text, "(Inner Exception #")) {
        state->step = HEAD;
        return MULTILINE_MORE;
    }
    if (is_at(line) || STARTS(text, "--- End of ")) {
        state->step = FRAMES;
        return MULTILINE_MORE;
    }
    return state->step == HEAD && indented(line) ? MULTILINE_MORE : MULTILINE_NOT;
}

/* ---- Node ---- */

enum { NODE_THROWN, NODE_UNCAUGHT }; /* form */

/* What Node says first of what nobody caught: `/app/x.js:10`. */
static bool is_place(struct slice line)
{
    size_t i = line.len;
    if (i < 5 || (line.ptr[0] != '/' && !STARTS(line, "file://") && !STARTS(line, "node:")))
        return false;
    while (i > 0 && is_digit(line.ptr[i - 1]))
        i--;
    if (i == line.len || i == 0 || line.ptr[i - 1] != ':')
        return false;
    struct slice path = slice_of(line.ptr, i - 1);
    return STARTS(line, "node:") || ENDS(path, "js") || ENDS(path, ".ts");
}

static bool node_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    if ((clues & CLUE_ERROR) != 0) {
        state->form = NODE_THROWN;
        state->step = HEAD;
        return true;
    }
    state->form = NODE_UNCAUGHT;
    state->step = SOURCE;
    return is_place(line);
}

static enum multiline_step node_after_block(struct multiline_state *state)
{
    state->step = AFTER;
    return state->form == NODE_THROWN ? MULTILINE_LAST : MULTILINE_MORE;
}

/* The lines before the error's own, and those behind its trace, of what nobody caught. */
static enum multiline_step node_uncaught(struct multiline_state *state, struct slice line)
{
    switch (state->step) {
    case SOURCE: state->step = CARET; return line.len != 0 ? MULTILINE_MORE : MULTILINE_NOT;
    case CARET: state->step = GAP; return ENDS(line, "^") ? MULTILINE_MORE : MULTILINE_NOT;
    case GAP:
        if (empty(line))
            return MULTILINE_MORE;
        state->step = HEAD;
        return (multiline_clues(line) & CLUE_ERROR) != 0 ? MULTILINE_MORE : MULTILINE_NOT;
    default: /* the trace is complete */
        state->step = LAST_WORDS;
        if (STARTS(line, "Node.js v"))
            return MULTILINE_LAST;
        return empty(line) ? MULTILINE_MORE : MULTILINE_NOT;
    }
}

static enum multiline_step node_goes_on(struct multiline_state *state, struct slice line)
{
    struct slice text = after_blanks(line);
    if (state->step == BLOCK) {
        if (line.len != 0 && line.ptr[0] == '}')
            return node_after_block(state);
        return indented(line) ? MULTILINE_MORE : MULTILINE_NOT;
    }
    if (state->step != HEAD && state->step != FRAMES)
        return node_uncaught(state, line);
    if (is_at(line)) {
        state->step = ENDS(line, " {") ? BLOCK : FRAMES;
        return MULTILINE_MORE;
    }
    if (STARTS(text, "[cause]: ") || STARTS(text, "Caused by: ") || STARTS(text, "[errors]: ")) {
        state->step = ENDS(line, "{") || ENDS(line, "[") ? BLOCK : HEAD;
        return MULTILINE_MORE;
    }
    if (state->step == HEAD &&
        (indented(line) || STARTS(line, "Require stack:") || STARTS(line, "- /")))
        return MULTILINE_MORE;
    return state->form == NODE_UNCAUGHT && state->step == FRAMES ? node_uncaught(state, line)
                                                                 : MULTILINE_NOT;
}

/* ---- Python ---- */

#define TRACEBACK "Traceback (most recent call last):"

enum { PYTHON_ONE, PYTHON_GROUP }; /* form */

static bool python_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    (void)clues;
    state->step = FRAMES;
    if (ENDS(line, TRACEBACK)) {
        state->form = STARTS(after_blanks(line), "+ ") ? PYTHON_GROUP : PYTHON_ONE;
        return true;
    }
    /* A syntax error of the main file comes without the word. */
    return STARTS(line, "  File \"") && has(line, SLICE("\", line "));
}

/* `module.Name` alone or with a colon behind it. */
static bool python_exception(struct slice line)
{
    size_t i = 0;
    while (i < line.len && (is_word(line.ptr[i]) || (line.ptr[i] & 0x80) != 0 ||
                            line.ptr[i] == '.' || line.ptr[i] == '<' || line.ptr[i] == '>'))
        i++;
    return i != 0 && (i == line.len || line.ptr[i] == ':');
}

static bool python_chains(struct slice line)
{
    return STARTS(line, "During handling of the above exception, ") ||
           STARTS(line, "The above exception was the direct cause of ");
}

static enum multiline_step python_goes_on(struct multiline_state *state, struct slice line)
{
    struct slice text = after_blanks(line);
    bool gap = text.len == 0;
    switch (state->step) {
    case FRAMES:
        if (gap && state->form == PYTHON_GROUP) { /* of a chain, behind the group's last line */
            state->step = GAP;
            return MULTILINE_MORE;
        }
        if (indented(line))
            return MULTILINE_MORE;
        state->step = AFTER;
        return python_exception(line) ? MULTILINE_MORE : MULTILINE_NOT;
    case AFTER: /* notes and messages of several lines are often indented */
        if (gap)
            state->step = GAP;
        return gap || (indented(line) && !ENDS(line, TRACEBACK)) ? MULTILINE_MORE : MULTILINE_NOT;
    case GAP: state->step = CHAIN; return python_chains(text) ? MULTILINE_MORE : MULTILINE_NOT;
    default: /* CHAIN */
        if (gap)
            return MULTILINE_MORE;
        state->step = FRAMES;
        state->form = STARTS(text, "+ ") ? PYTHON_GROUP : PYTHON_ONE;
        return ENDS(line, TRACEBACK) ? MULTILINE_MORE : MULTILINE_NOT;
    }
}

/* ---- Go ---- */

static bool is_goroutine(struct slice line)
{
    return (STARTS(line, "goroutine ") && ENDS(line, "]:")) || STARTS(line, "runtime stack:");
}

static bool go_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    bool stack = is_goroutine(line);
    state->step = stack ? FRAMES : HEAD;
    return stack || (clues & CLUE_PANIC) != 0 || STARTS(line, "fatal error: ");
}

/* `main.(*T).Method(0x1, …)`, `created by main.main`. */
static bool go_function(struct slice line)
{
    if (STARTS(line, "created by ") || STARTS(line, "...additional frames elided"))
        return true;
    const char *paren = line.len == 0 ? NULL : (const char *)memchr(line.ptr, '(', line.len);
    if (paren == NULL || paren == line.ptr || !(ENDS(line, ")") || ENDS(line, "...")))
        return false;
    struct slice name = slice_of(line.ptr, (size_t)(paren - line.ptr));
    return memchr(name.ptr, ' ', name.len) == NULL &&
           (memchr(name.ptr, '.', name.len) != NULL || slice_equal(name, SLICE("panic")));
}

/* `rax    0x0`, as Go shows at a signal. */
static bool go_register(struct slice line)
{
    size_t i = 0;
    while (i < line.len && is_word(line.ptr[i]))
        i++;
    return i >= 2 && i <= 6 && i < line.len && is_blank(line.ptr[i]) &&
           STARTS(after_blanks(from(line, i)), "0x");
}

static enum multiline_step go_goes_on(struct multiline_state *state, struct slice line)
{
    if (line.len == 0) {
        if (state->step == GAP)
            return MULTILINE_NOT;
        state->step = GAP;
        return MULTILINE_MORE;
    }
    if (is_goroutine(line)) {
        state->step = FRAMES;
        return MULTILINE_MORE;
    }
    if (STARTS(line, "exit status ") && state->step != HEAD)
        return MULTILINE_LAST;
    if (state->step == FRAMES)
        return line.ptr[0] == '\t' || go_function(line) || go_register(line) ? MULTILINE_MORE
                                                                             : MULTILINE_NOT;
    if (STARTS(line, "[signal ") || STARTS(line, "runtime: ") || go_register(line))
        return MULTILINE_MORE;
    return state->step == HEAD &&
                   (line.ptr[0] == '\t' || STARTS(line, "panic: ") || STARTS(line, "fatal error: "))
               ? MULTILINE_MORE
               : MULTILINE_NOT;
}

/* ---- Ruby ---- */

static bool ruby_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    state->step = HEAD;
    if ((clues & CLUE_RUBY) != 0 && !indented(line))
        return has(line, SLICE(":in "));
    if (!ENDS(line, "):"))
        return false;
    return ENDS(line, TRACEBACK) || has(line, SLICE("Error (")) || /* Rails */
           has(line, SLICE("Exception ("));
}

static enum multiline_step ruby_goes_on(struct multiline_state *state, struct slice line)
{
    struct slice text = after_blanks(line);
    bool place = (multiline_clues(text) & CLUE_RUBY) != 0 && has(text, SLICE(":in "));
    if (indented(line) && (place || STARTS(text, "from ") || STARTS(text, "... "))) {
        state->form = text.len != 0 && is_digit(text.ptr[0]); /* `2: from`: innermost frame last */
        state->step = FRAMES;
        return MULTILINE_MORE;
    }
    if (state->step == FRAMES && state->form != 0 && place) { /* the error, behind its frames */
        state->form = 0;
        state->step = HEAD;
        return MULTILINE_MORE;
    }
    if (state->step == HEAD && (text.len == 0 || indented(line) || STARTS(line, "Did you mean?")))
        return MULTILINE_MORE;
    return MULTILINE_NOT;
}

/* ---- PHP ---- */

static bool php_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    state->step = HEAD;
    return (clues & (CLUE_PHP | CLUE_ERROR)) != 0 || STARTS(line, "exception '");
}

static enum multiline_step php_goes_on(struct multiline_state *state, struct slice line)
{
    if (STARTS(line, "Stack trace:") || STARTS(line, "PHP Stack trace:") ||
        STARTS(line, "[stacktrace]")) {
        state->step = FRAMES;
        return MULTILINE_MORE;
    }
    if (state->step == HEAD)
        return MULTILINE_NOT;
    if (line.len == 0) /* before the next of a chain */
        return MULTILINE_MORE;
    if (STARTS(line, "  thrown in ") || STARTS(line, "\"}"))
        return MULTILINE_LAST;
    if (STARTS(line, "Next ")) {
        state->step = HEAD;
        return MULTILINE_MORE;
    }
    return (line.len > 1 && line.ptr[0] == '#' && is_digit(line.ptr[1])) ||
                   STARTS(line, "PHP   ") || STARTS(line, "[previous exception]")
               ? MULTILINE_MORE
               : MULTILINE_NOT;
}

/* ---- by indentation ---- */

static bool indent_begins(struct multiline_state *state, struct slice line, unsigned clues)
{
    (void)state, (void)line, (void)clues;
    return true;
}

static enum multiline_step indent_goes_on(struct multiline_state *state, struct slice line)
{
    (void)state;
    return indented(line) ? MULTILINE_MORE : MULTILINE_NOT;
}

const struct multiline_preset multiline_presets[] = {
    {"dotnet", dotnet_begins, dotnet_goes_on}, {"go", go_begins, go_goes_on},
    {"indent", indent_begins, indent_goes_on}, {"java", java_begins, java_goes_on},
    {"node", node_begins, node_goes_on},       {"php", php_begins, php_goes_on},
    {"python", python_begins, python_goes_on}, {"ruby", ruby_begins, ruby_goes_on},
};
const size_t multiline_n_presets = sizeof(multiline_presets) / sizeof(multiline_presets[0]);
