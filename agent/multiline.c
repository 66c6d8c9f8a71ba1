#include "agent/multiline.h"

#include "agent/quote.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_PRESETS 16u

struct multiline {
    struct regex *start;
    struct regex *continued;
    struct regex *end;
    uint64_t max_lines; /* UINT64_MAX: no limit */
    uint64_t max_bytes;
    unsigned n_presets;
    const struct multiline_preset *presets[MOST_PRESETS];
};

/* ---- making and freeing ---- */

static int check(const struct multiline_config *config, struct error *error)
{
    bool ranges = config->start != NULL || config->end != NULL;
    bool continued = config->continued != NULL;
    bool presets = config->presets.n != 0;
    if (ranges + continued + presets == 0)
        return error_set(error, "one of start, end, continue and preset is needed");
    if (ranges + continued + presets == 1)
        return 0;
    const char *a = config->start != NULL ? "start" : ranges ? "end" : "continue";
    const char *b = presets && !(ranges && continued) ? "preset" : "continue";
    return error_set(
        error,
        "%s and %s exclude each other: a record's lines are told by start, end or both "
        "of them, by continue, or by preset",
        a, b);
}

static int compile(struct regex **regex, const char *key, const char *pattern, struct error *error)
{
    if (pattern == NULL)
        return 0;
    struct error inner = {.text = ""};
    *regex = regex_new(pattern, &inner);
    return *regex != NULL ? 0 : error_set(error, "%s: %s", key, inner.text);
}

static int unknown_preset(const char *name, struct error *error)
{
    char names[256];
    size_t len = 0;
    for (size_t i = 0; i < multiline_n_presets && len < sizeof(names); i++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", i == 0 ? "" : ", ",
                                multiline_presets[i].name);
    return error_set(error, "there is no preset %s; there are %s", quote_str(name).text, names);
}

static int add_preset(struct multiline *multiline, const char *name, struct error *error)
{
    const struct multiline_preset *preset = NULL;
    for (size_t i = 0; i < multiline_n_presets; i++)
        if (strcmp(multiline_presets[i].name, name) == 0)
            preset = &multiline_presets[i];
    if (preset == NULL)
        return unknown_preset(name, error);
    for (unsigned i = 0; i < multiline->n_presets; i++)
        if (multiline->presets[i] == preset)
            return error_set(error, "preset %s is given twice", quote_str(name).text);
    const struct multiline_preset *before =
        multiline->n_presets == 0 ? NULL : multiline->presets[multiline->n_presets - 1];
    if (before != NULL && strcmp(before->name, "indent") == 0)
        return error_set(error, "preset indent recognises every line: it must stand last");
    assert(multiline->n_presets < MOST_PRESETS);
    multiline->presets[multiline->n_presets++] = preset;
    return 0;
}

static int prepare(struct multiline *multiline, const struct multiline_config *config,
                   struct error *error)
{
    multiline->max_lines = config->max_lines == 0 ? UINT64_MAX : config->max_lines;
    multiline->max_bytes = config->max_bytes == 0 ? UINT64_MAX : config->max_bytes;
    if (check(config, error) == -1 ||
        compile(&multiline->start, "start", config->start, error) == -1 ||
        compile(&multiline->continued, "continue", config->continued, error) == -1 ||
        compile(&multiline->end, "end", config->end, error) == -1)
        return -1;
    for (size_t i = 0; i < config->presets.n; i++)
        if (add_preset(multiline, config->presets.items[i], error) == -1)
            return -1;
    return 0;
}

struct multiline *multiline_new(const struct multiline_config *config, struct error *error)
{
    struct multiline *multiline = (struct multiline *)calloc(1, sizeof(*multiline));
    if (multiline == NULL)
        error_set(error, "out of memory");
    else if (prepare(multiline, config, error) == -1)
        multiline_free(&multiline);
    return multiline;
}

void multiline_free(struct multiline **multiline)
{
    if (*multiline == NULL)
        return;
    regex_free(&(*multiline)->start);
    regex_free(&(*multiline)->continued);
    regex_free(&(*multiline)->end);
    free(*multiline);
    *multiline = NULL;
}

/* ---- lines ---- */

static bool matches(struct regex *regex, struct multiline_state *state, struct slice line)
{
    int result = regex_match(regex, line);
    if (result == REGEX_LIMIT)
        state->regex_limited = true;
    return result > 0;
}

/* By start, end or both. */
static enum multiline_verdict range(struct multiline *multiline, struct multiline_state *state,
                                    struct slice line)
{
    bool starts = multiline->start != NULL && matches(multiline->start, state, line);
    bool ends = multiline->end != NULL && matches(multiline->end, state, line);
    if (starts || (!state->open && multiline->start == NULL))
        return ends ? MULTILINE_ALONE : MULTILINE_NEW;
    if (!state->open)
        return MULTILINE_ALONE;
    return ends ? MULTILINE_JOIN_END : MULTILINE_JOIN;
}

static enum multiline_verdict preset(const struct multiline *multiline,
                                     struct multiline_state *state, struct slice line)
{
    if (state->open) {
        switch (multiline->presets[state->preset]->goes_on(state, line)) {
        case MULTILINE_MORE: return MULTILINE_JOIN;
        case MULTILINE_LAST: return MULTILINE_JOIN_END;
        case MULTILINE_NOT: break;
        }
    }
    unsigned clues = multiline_clues(line);
    state->step = 0;
    state->form = 0;
    for (unsigned i = 0; i < multiline->n_presets; i++) {
        if (multiline->presets[i]->begins(state, line, clues)) {
            state->preset = (uint8_t)i;
            return MULTILINE_NEW;
        }
    }
    return MULTILINE_ALONE;
}

/* A joining line begins a record where there is no room for it. */
static enum multiline_verdict limit(const struct multiline *multiline, struct multiline_state *state,
                                    enum multiline_verdict verdict, size_t len)
{
    if (verdict != MULTILINE_JOIN && verdict != MULTILINE_JOIN_END)
        return verdict;
    uint64_t room =
        state->bytes < multiline->max_bytes ? multiline->max_bytes - state->bytes - 1 : 0;
    bool full = state->lines >= multiline->max_lines || state->bytes >= multiline->max_bytes;
    if (!full && len <= room)
        return verdict;
    state->limited = true;
    return verdict == MULTILINE_JOIN ? MULTILINE_NEW : MULTILINE_ALONE;
}

enum multiline_verdict multiline_line(struct multiline *multiline, struct multiline_state *state,
                                      struct slice line)
{
    enum multiline_verdict verdict;
    state->limited = false;
    state->regex_limited = false;
    if (multiline->n_presets != 0)
        verdict = preset(multiline, state, line);
    else if (multiline->continued != NULL)
        verdict = matches(multiline->continued, state, line) && state->open ? MULTILINE_JOIN
                                                                            : MULTILINE_NEW;
    else
        verdict = range(multiline, state, line);

    verdict = limit(multiline, state, verdict, line.len);
    state->open = verdict == MULTILINE_NEW || verdict == MULTILINE_JOIN;
    if (verdict == MULTILINE_NEW) {
        state->lines = 1;
        state->bytes = line.len;
    } else if (verdict == MULTILINE_JOIN) {
        state->lines++;
        state->bytes += line.len + 1;
    }
    return verdict;
}

bool multiline_may_go_on(const struct multiline *multiline, const struct multiline_state *state)
{
    return state->open && state->lines < multiline->max_lines && state->bytes < multiline->max_bytes;
}
