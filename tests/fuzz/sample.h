/* What fuzz targets of conditions and templates have in common: the input as a C string, and one record to ask. */
#ifndef SPLASHDAM_FUZZ_SAMPLE_H
#define SPLASHDAM_FUZZ_SAMPLE_H

#include "agent/batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* malloc'ed; just long enough, so that the address sanitizer sees a read past it. */
static inline char *sample_text(const uint8_t *data, size_t size)
{
    char *text = (char *)malloc(size + 1);
    assert(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

struct sample {
    struct batch_pool pool;
    struct batch_private *own;
    struct batch *batch; /* of one record */
    struct record *record;
};

static inline void sample_init(struct sample *sample)
{
    static const struct origin origin = {.path = {"/x", 2}};
    static const struct field fields[] = {
        {{"status", 6}, {"404", 3}, FIELD_NUMBER},
        {{"a", 1}, {"text", 4}, FIELD_STRING},
        {{"b", 1}, {"true", 4}, FIELD_BOOL},
        {{"n", 1}, {"null", 4}, FIELD_NULL},
        {{"message", 7}, {"GET / 200", 9}, FIELD_STRING},
    };
    batch_pool_init(&sample->pool, 4, 1 << 20);
    sample->own = batch_take(&sample->pool, SLICE("host"));
    sample->own->origins[0] = &origin;
    sample->batch = &sample->own->b;
    sample->batch->n_records = 1;
    sample->record = &sample->batch->records[0];
    *sample->record = (struct record){.line = {"x", 1}};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        record_add(sample->batch, sample->record, fields[i].key, fields[i].value, fields[i].type);
}

static inline void sample_fini(struct sample *sample)
{
    batch_give(&sample->pool, sample->own);
    batch_pool_fini(&sample->pool);
}

#endif
