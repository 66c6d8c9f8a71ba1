/* set: fields by templates. */
#include "plugins/plugin.h"

struct set {
    struct option_templates fields;
};

/* A template that is one field only takes that field's type over, and sets nothing when it is missing. */
static void set_field(struct batch *batch, struct record *record, const char *name,
                      const struct template *template)
{
    struct slice source, key = slice_str(name);
    struct field field = {.type = FIELD_STRING};
    if (template_is_field(template, &source)) {
        if (!record_get(batch, record, source, &field))
            return;
    } else if (template_render(template, batch, record, &field.value) == -1) {
        return; /* no memory: the arena remembers it */
    }
    if (record_set(batch, record, key, field.value, field.type) == -1)
        record_fail(batch, record, "set", "the record has too many fields");
}

static void set_process(void *arg, struct batch *batch)
{
    struct set *self = (struct set *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        for (size_t i = 0; i < self->fields.n; i++)
            set_field(batch, record, self->fields.items[i].key, self->fields.items[i].template);
}

static const struct option options[] = {
    {.name = "fields",
     .type = OPTION_TEMPLATES,
     .offset = offsetof(struct set, fields),
     .min = 1,
     .max = INT64_MAX,
     .help = "Name and value of each field. A value is a template: %{field} stands for another "
             "field's text, %{field:-text} for one that may be missing. A value that is just "
             "%{field} keeps that field's type, and sets nothing when it is missing; any other "
             "value is a string, as plain text always is."},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "set",
    .help = "Sets fields to fixed texts, to other fields, or to texts made of them.",
    .example = "- set: {service: shop, url.full: 'https://%{host}%{path}'}",
    .options = options,
    .rest = "fields",
    .size = sizeof(struct set),
    .process = set_process,
};
