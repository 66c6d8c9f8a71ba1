#include "tests/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *items, size_t n, size_t size)
{
    void *more = reallocarray(items, n, size);
    if (more == NULL)
        abort();
    return more;
}

void model_init(struct model *model, unsigned logs)
{
    *model = (struct model){.newest = (uint32_t *)grown(NULL, logs, sizeof(uint32_t))};
    memset(model->newest, 0, logs * sizeof(uint32_t));
    model->room = 1024;
    model->lines = (struct line *)grown(NULL, model->room, sizeof(struct line));
    model->n_lines = 1; /* 0 is none */
}

void model_fini(struct model *model)
{
    for (size_t i = 0; i < model->n_generations; i++) {
        free(model->generations[i]->lines);
        free(model->generations[i]);
    }
    free(model->generations);
    free(model->lines);
    free(model->newest);
}

struct generation *model_create(struct model *model, unsigned log)
{
    struct generation *in = (struct generation *)grown(NULL, 1, sizeof(*in));
    *in = (struct generation){
        .number = (uint32_t)model->n_generations, .log = log, .links = 1, .quiet = NAMED};
    if (model->n_generations == model->generations_room) {
        model->generations_room = model->generations_room * 2 + 64;
        model->generations = (struct generation **)grown(
            model->generations, model->generations_room, sizeof(struct generation *));
    }
    model->generations[model->n_generations++] = in;
    return in;
}

uint32_t model_begin_line(struct model *model, struct generation *in, uint32_t len)
{
    if (model->n_lines == model->room) {
        model->room *= 2;
        model->lines = (struct line *)grown(model->lines, model->room, sizeof(struct line));
    }
    if (in->n_lines == in->room) {
        in->room = in->room * 2 + 16;
        in->lines = (uint32_t *)grown(in->lines, in->room, sizeof(uint32_t));
    }
    uint32_t number = model->n_lines++;
    model->lines[number] = (struct line){.in = in, .len = len, .may = 1};
    in->lines[in->n_lines++] = number;
    return number;
}

void model_move_lines(struct model *model, struct generation *from, struct generation *to, size_t n)
{
    to->room = to->n_lines + n;
    to->lines = (uint32_t *)grown(to->lines, to->room + 1, sizeof(uint32_t));
    for (size_t i = 0; i < n; i++) {
        to->lines[to->n_lines++] = from->lines[i];
        model->lines[from->lines[i]].in = to;
    }
    from->n_lines -= n;
    if (from->n_lines > 0)
        memmove(from->lines, from->lines + n, from->n_lines * sizeof(uint32_t));
    to->newest = from->newest;
}

void model_end_line(struct model *model, uint32_t number)
{
    struct line *line = &model->lines[number];
    struct generation *in = line->in;
    line->whole = true;
    if (in->quiet == NAMED)
        return;
    line->gone |= model->now - in->quiet >= QUIET_NS;
    in->quiet = line->gone ? in->quiet : model->now;
}

size_t model_text(const struct model *model, uint32_t number, char *ret_text)
{
    const struct line *line = &model->lines[number];
    size_t at = (size_t)snprintf(ret_text, LINE_ROOM, "log=%u line=%u:", line->in->log, number);
    uint64_t bits = number * 0x9E3779B97F4A7C15u + 1;
    if ((model->alike >> line->in->log & 1) != 0) {
        memset(ret_text + at, '.', line->len - at);
        return line->len;
    }
    for (; at < line->len; at++) {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        ret_text[at] = (char)(bits >> 56);
        if (ret_text[at] == '\n' || ret_text[at] == '\r')
            ret_text[at] = ' ';
    }
    return at;
}

void model_destroy(struct model *model, struct generation *in)
{
    for (size_t i = 0; i < in->n_lines; i++)
        model->lines[in->lines[i]].gone = true;
    in->n_lines = 0;
}

bool model_recognize(const struct model *model, const char *text, size_t len, uint32_t *ret_number)
{
    static char expected[LINE_ROOM];
    char head[64];
    unsigned long number = 0;
    size_t n = len < sizeof(head) - 1 ? len : sizeof(head) - 1;
    memcpy(head, text, n);
    head[n] = '\0';
    const char *at = strstr(head, " line=");
    if (strncmp(head, "log=", 4) == 0 && at != NULL)
        number = strtoul(at + strlen(" line="), NULL, 10);
    if (number == 0 || number >= model->n_lines)
        model_fail("a record of %zu bytes that is no line: %.*s", len, (int)n, head);
    const struct line *line = &model->lines[number];
    size_t wanted = model_text(model, (uint32_t)number, expected);
    wanted = wanted > MAX_LINE ? MAX_LINE : wanted;
    bool part = len < wanted && !line->whole && line->in->links == 0;
    if ((len != wanted && !part) || memcmp(text, expected, len) != 0)
        model_fail("line %lu has other bytes than were written (%zu of %zu bytes)", number, len,
                   wanted);
    *ret_number = (uint32_t)number;
    return !part;
}

void model_arrived(struct model *model, uint32_t number)
{
    struct line *line = &model->lines[number];
    struct generation *in = line->in;
    uint32_t *newest = &model->newest[in->log];
    if (++line->arrived > line->may)
        model_fail("line %u of log %u, generation %u, arrives for the %uth time; %u is allowed",
                   number, in->log, in->number, line->arrived, line->may);
    if (line->arrived > 1) {
        model->doubled++;
        return;
    }
    if (number < in->newest || (!in->unordered && number < *newest))
        model_fail("line %u of log %u, generation %u, arrives after line %u", number, in->log,
                   in->number, number < in->newest ? in->newest : *newest);
    in->newest = number;
    if (!in->unordered)
        *newest = number;
}

void model_crashed(struct model *model)
{
    for (uint32_t i = 1; i < model->n_lines; i++) {
        struct line *line = &model->lines[i];
        if (line->arrived > 0 && !line->durable)
            line->may = line->arrived + 1;
    }
}

void model_check(struct model *model)
{
    model->lost = 0;
    for (uint32_t i = 1; i < model->n_lines; i++) {
        const struct line *line = &model->lines[i];
        if (!line->whole || line->arrived > 0)
            continue;
        if (!line->gone && line->in->open)
            model_fail("line %u of log %u, generation %u, was never read", i, line->in->log,
                       line->in->number);
        model->lost += line->gone;
    }
}
