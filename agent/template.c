/* Templates are compiled to parts: text, or a field with what stands for it when it is missing.
 *
 *     "logs.%{app:-none}"      text `logs.`, field `app` or else `none`
 *     "100%%{x}"               text `100%{x}`
 *
 * The parts point into a copy of the template. `%%{` is unescaped in it, in place, so that a text without
 * fields is one part however many of these it has. Rendering changes nothing in a template: workers share
 * those of the configuration. */
#include "agent/template.h"

#include "agent/quote.h"

#include <stdlib.h>

#define PARTS_ON_STACK 32u

struct part {
    struct slice text;     /* plain text, or the field's name */
    struct slice fallback; /* ptr NULL: none */
    bool field;
};

struct template
{
    char *source; /* what the parts point into */
    size_t n;
    struct part parts[];
};

/* ---- compiling ---- */

static void add_text(struct template *template, const char *from, const char *to)
{
    if (to > from)
        template->parts[template->n++] = (struct part){.text = {from, (size_t)(to - from)}};
}

/* `at` is behind "%{"; returns what is behind "}", or NULL and *error. */
static char *add_field(struct template *template, char *at, const char *text, struct error *error)
{
    char *end = strchr(at, '}');
    char *name_end = strstr(at, ":-");
    if (end == NULL) {
        error_set(error, "\"%%{\" without \"}\" in %s; \"%%%%{\" stands for a plain \"%%{\"",
                  quote_str(text).text);
        return NULL;
    }
    bool has_fallback = name_end != NULL && name_end < end;
    if (!has_fallback)
        name_end = end;
    if (name_end == at) {
        error_set(error,
                  "a field's name is missing behind \"%%{\" in %s; \"%%%%{\" stands for a plain "
                  "\"%%{\"",
                  quote_str(text).text);
        return NULL;
    }
    struct part *part = &template->parts[template->n++];
    *part = (struct part){.text = {at, (size_t)(name_end - at)}, .field = true};
    if (has_fallback)
        part->fallback = slice_of(name_end + 2, (size_t)(end - name_end) - 2);
    return end + 1;
}

static int compile(struct template *template, const char *text, struct error *error)
{
    char *at = template->source; /* what is looked at */
    char *begin = at;            /* of the text that is no part yet */
    char *to = at;               /* its end: behind `at` once something was unescaped */
    while (*at != '\0') {
        if (strncmp(at, "%%{", 3) == 0) {
            at++;
            *to++ = *at++;
            *to++ = *at++;
        } else if (strncmp(at, "%{", 2) == 0) {
            add_text(template, begin, to);
            at = add_field(template, at + 2, text, error);
            if (at == NULL)
                return -1;
            begin = to = at;
        } else {
            *to++ = *at++;
        }
    }
    add_text(template, begin, to);
    return 0;
}

/* The most parts that the text can have. */
static size_t count_parts(const char *text)
{
    size_t n = 1;
    for (const char *at = text; (at = strstr(at, "%{")) != NULL; at += 2)
        n += 2; /* a field, and text behind it */
    return n;
}

struct template *template_new(const char *text, struct error *error)
{
    struct template *template = (struct template *)calloc(
        1, sizeof(*template) + count_parts(text) * sizeof(template->parts[0]));
    if (template != NULL)
        template->source = strdup(text);
    if (template == NULL || template->source == NULL) {
        free(template);
        error_set(error, "out of memory");
        return NULL;
    }
    if (compile(template, text, error) == -1)
        template_free(&template);
    return template;
}

void template_free(struct template **template)
{
    if (*template == NULL)
        return;
    free((*template)->source);
    free(*template);
    *template = NULL;
}

bool template_constant(const struct template *template, struct slice *ret_text)
{
    if (template->n == 0)
        *ret_text = SLICE("");
    else if (template->n == 1 && !template->parts[0].field)
        *ret_text = template->parts[0].text;
    else
        return false;
    return true;
}

bool template_is_field(const struct template *template, struct slice *ret_key)
{
    if (template->n != 1 || !template->parts[0].field || template->parts[0].fallback.ptr != NULL)
        return false;
    *ret_key = template->parts[0].text;
    return true;
}

/* ---- rendering ---- */

/* The text that stands for the part; 1 when that is a field's that is missing, and nothing stands for it. */
static int part_text(const struct part *part, struct batch *batch, const struct record *record,
                     struct slice *ret_text)
{
    struct field field;
    if (!part->field) {
        *ret_text = part->text;
        return 0;
    }
    if (record_get(batch, record, part->text, &field)) {
        *ret_text = field.value;
        return 0;
    }
    *ret_text = part->fallback.ptr != NULL ? part->fallback : SLICE("");
    return part->fallback.ptr == NULL;
}

static int render_parts(const struct template *template, struct batch *batch,
                        const struct record *record, struct slice *texts, struct slice *ret_text)
{
    int missing = 0;
    size_t len = 0;
    for (size_t i = 0; i < template->n; i++) {
        missing += part_text(&template->parts[i], batch, record, &texts[i]);
        len += texts[i].len;
    }
    char *at = (char *)arena_alloc(&batch->arena, len);
    if (at == NULL || batch->arena.overflowed) /* a built-in field had no room */
        return -1;
    *ret_text = slice_of(at, len);
    for (size_t i = 0; i < template->n; i++) {
        if (texts[i].len != 0)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    return missing;
}

int template_render(const struct template *template, struct batch *batch,
                    const struct record *record, struct slice *ret_text)
{
    struct slice few[PARTS_ON_STACK];
    struct slice *texts = few;
    if (template_constant(template, ret_text))
        return 0;
    if (template->n == 1) {
        int missing = part_text(&template->parts[0], batch, record, ret_text);
        return batch->arena.overflowed ? -1 : missing;
    }
    if (template->n > PARTS_ON_STACK)
        texts = (struct slice *)arena_alloc(&batch->arena, template->n * sizeof(*texts));
    if (texts == NULL)
        return -1;
    return render_parts(template, batch, record, texts, ret_text);
}
