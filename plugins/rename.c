/* rename: fields under other names. */
#include "plugins/plugin.h"

struct rename {
    struct option_map fields;
};

static void rename_field(struct batch *batch, struct record *record, struct slice from,
                         struct slice to)
{
    struct field field;
    if (slice_equal(from, to) || !record_get(batch, record, from, &field))
        return;
    record_remove(record, from);
    if (record_set(batch, record, to, field.value, field.type) == -1)
        record_fail(batch, record, "rename", "the record has too many fields");
}

static void rename_process(void *arg, struct batch *batch)
{
    struct rename *self = (struct rename *)arg;
    for (struct record *record = NULL; (record = batch_next(batch, record)) != NULL;)
        for (size_t i = 0; i < self->fields.n; i++)
            rename_field(batch, record, slice_str(self->fields.items[i].key),
                         slice_str(self->fields.items[i].value));
}

static const struct option options[] = {
    {.name = "fields",
     .type = OPTION_MAP,
     .offset = offsetof(struct rename, fields),
     .min = 1,
     .max = INT64_MAX,
     .help = "Old name and new name of each field, one after the other. A field that has the new "
             "name already is replaced."},
    OPTION_END,
};

PLUGIN = {
    .abi = PLUGIN_ABI,
    .name = "rename",
    .help = "Renames fields; one that is not there is no error.",
    .example = "- rename: {ip: client.ip, ua: user_agent.original}",
    .options = options,
    .rest = "fields",
    .size = sizeof(struct rename),
    .process = rename_process,
};
