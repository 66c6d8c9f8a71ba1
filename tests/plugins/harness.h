/* For tests of plugins: a batch of a few lines, a chain from YAML run over it, and what came of it.
 *
 *     struct batch *batch = batch_of_lines(2, "{\"a\":1}", "no JSON");
 *     run_step(batch, "parse_json", "{keep: true}");
 *     assert_record(batch, 0, "message=\"{\\\"a\\\":1}\" a=1");
 *     batch_done(&batch);
 *
 * Steps are loaded, checked and filled by the agent's own chain_open(). Every line is a heap block
 * of its own that ends with its last byte, so that the address sanitizer sees a step read past it.
 *
 * The records are as a tail makes them: `message`, time 2023-11-14T22:13:20.123456789Z, host web-1,
 * file /var/log/test.log, byte ranges as if the lines stood there one behind another. */
#ifndef SPLASHDAM_TESTS_HARNESS_H
#define SPLASHDAM_TESTS_HARNESS_H

#include "agent/batch.h"
#include "agent/chain.h"
#include "agent/encode.h"
#include "agent/json.h"
#include "agent/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define HARNESS_TIME INT64_C(1700000000123456789)
#define HARNESS_HOST "web-1"
#define HARNESS_PATH "/var/log/test.log"

struct harness_block {
    struct harness_block *next;
    char bytes[];
};

static struct {
    struct batch_pool pool;
    struct origin origin;
    char origin_json[512];
    struct harness_block *blocks; /* of all batches */
    struct chain *chains[16];     /* that were run: records may point into their instances */
    unsigned n_chains;
    unsigned n_batches;
} harness;

/* ---- batches ---- */

/* A batch without records, of at most `limit` bytes of scratch memory. */
static inline struct batch *batch_empty(size_t limit)
{
    if (harness.n_batches++ == 0) {
        struct slice path = SLICE(HARNESS_PATH);
        size_t len = encode_origin(harness.origin_json, SLICE(HARNESS_HOST), path);
        harness.origin = (struct origin){.path = path, .json = {harness.origin_json, len}};
        batch_pool_init(&harness.pool, 16, limit);
    }
    struct batch_private *own = batch_take(&harness.pool, SLICE(HARNESS_HOST));
    assert_non_null(own);
    own->b.arena.limit = limit;
    own->origins[0] = &harness.origin;
    own->n_origins = 1;
    return &own->b;
}

/* Adds a line: any bytes. */
static inline struct record *batch_line(struct batch *batch, struct slice text)
{
    assert_true(batch->n_records < BATCH_RECORDS);
    struct harness_block *block = (struct harness_block *)malloc(sizeof(*block) + text.len);
    assert_non_null(block);
    block->next = harness.blocks;
    harness.blocks = block;
    if (text.len != 0)
        memcpy(block->bytes, text.ptr, text.len);
    uint64_t begin = batch->n_records == 0 ? 0 : batch->records[batch->n_records - 1].end;
    struct record *record = &batch->records[batch->n_records++];
    *record = (struct record){
        .line = {block->bytes, text.len},
        .time = HARNESS_TIME,
        .begin = begin,
        .end = begin + text.len + 1,
    };
    assert_int_equal(record_add(batch, record, SLICE("message"), record->line, FIELD_STRING), 0);
    return record;
}

/* A batch of n lines: const char *, without line ends. */
static inline struct batch *batch_of_lines(unsigned n, ...)
{
    struct batch *batch = batch_empty((size_t)64 * 1024 * 1024);
    va_list lines;
    va_start(lines, n);
    for (unsigned i = 0; i < n; i++)
        batch_line(batch, slice_str(va_arg(lines, const char *)));
    va_end(lines);
    return batch;
}

static inline void batch_done(struct batch **batch)
{
    batch_give(&harness.pool, batch_of(*batch));
    *batch = NULL;
    if (--harness.n_batches != 0)
        return;
    batch_pool_fini(&harness.pool);
    while (harness.n_chains > 0)
        chain_close(&harness.chains[--harness.n_chains]);
    while (harness.blocks != NULL) {
        struct harness_block *block = harness.blocks;
        harness.blocks = block->next;
        free(block);
    }
}

/* ---- steps ---- */

/* $BUILD/plugins, else plugins/ of the build that the test's own program, <build>/tests/plugins/x, is of. */
static inline const char *plugin_folder(void)
{
    static char folder[4096 + 16];
    const char *build = getenv("BUILD");
    if (build != NULL) {
        snprintf(folder, sizeof(folder), "%s/plugins", build);
        return folder;
    }
    ssize_t len = readlink("/proc/self/exe", folder, 4096);
    assert_in_range(len, 1, 4095);
    folder[len] = '\0';
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(folder, '/');
        assert_non_null(slash);
        *slash = '\0';
    }
    memcpy(folder + strlen(folder), "/plugins", sizeof("/plugins"));
    return folder;
}

/* The plugin as the agent loads it; fails the test when that doesn't work. */
static inline const struct plugin *plugin_load(const char *name)
{
    struct error error;
    const struct plugin *plugin = chain_plugin(plugin_folder(), name, &error);
    if (plugin == NULL)
        fail_msg("%s", error.text);
    return plugin;
}

/* A chain as it stands in the configuration: a YAML list. NULL and *error. */
static inline struct chain *chain_of(const char *yaml, struct error *error)
{
    *error = (struct error){.line = 0};
    struct yaml_tree *tree = yaml_tree_parse(slice_str(yaml), "chain.yaml", false, error);
    if (tree == NULL)
        return NULL;
    struct config config = {.agent = {.plugins = plugin_folder()}};
    struct chain *chain = chain_open(&config, yaml_tree_root(tree), error);
    yaml_tree_free(&tree);
    return chain;
}

/* Runs it over the batch. Returns chain_run()'s: -1 when the batch had no room. */
static inline int run_chain(struct batch *batch, const char *yaml)
{
    struct error error;
    struct chain *chain = chain_of(yaml, &error);
    if (chain == NULL)
        fail_msg("%s\n%d:%d: %s", yaml, error.line, error.column, error.text);
    assert_true(harness.n_chains < sizeof(harness.chains) / sizeof(harness.chains[0]));
    harness.chains[harness.n_chains++] = chain;
    return chain_run(chain, batch);
}

/* One step; options in YAML's flow style, `{keep: true}` or a plain value, "" for none. */
static inline int run_step(struct batch *batch, const char *name, const char *options)
{
    char yaml[4096];
    int len =
        snprintf(yaml, sizeof(yaml), options[0] == '\0' ? "- %s%s" : "- %s: %s", name, options);
    assert_in_range(len, 1, sizeof(yaml) - 1);
    return run_chain(batch, yaml);
}

/* The chain can't be opened, and the error's text contains `what`. */
static inline void assert_chain_error(const char *yaml, const char *what)
{
    struct error error;
    struct chain *chain = chain_of(yaml, &error);
    if (chain != NULL)
        fail_msg("accepted: %s", yaml);
    if (strstr(error.text, what) == NULL)
        fail_msg("%s\n\"%s\" does not say \"%s\"", yaml, error.text, what);
}

/* ---- what came of it ---- */

/* A field's value as a C text, NULL when there is none of that name. Good for the next 8 calls. */
static inline const char *field_text(const struct record *record, const char *key)
{
    static char texts[8][4096];
    static unsigned next;
    const struct field *field = record_find(record, slice_str(key));
    if (field == NULL)
        return NULL;
    char *text = texts[next++ % 8];
    assert_true(field->value.len < sizeof(texts[0]));
    memcpy(text, field->value.ptr, field->value.len);
    text[field->value.len] = '\0';
    return text;
}

static inline enum field_type field_type(const struct record *record, const char *key)
{
    const struct field *field = record_find(record, slice_str(key));
    if (field == NULL)
        fail_msg("no field %s", key);
    return field == NULL ? FIELD_NULL : field->type;
}

/* All fields of its own in their order: `message="as a JSON string" status=200 tags=["x"]`, strings
 * quoted, everything else verbatim; "dropped" for a dropped record. Good until the next call. */
static inline const char *record_text(const struct record *record)
{
    static char text[65536];
    if ((record->flags & RECORD_DROPPED) != 0)
        return "dropped";
    char *at = text;
    for (unsigned i = 0; i < record->n_fields; i++) {
        const struct field *field = &record->fields[i];
        size_t room = field->key.len + JSON_STRING_ROOM(field->value.len) + 3;
        assert_true(room < (size_t)(text + sizeof(text) - at));
        if (i > 0)
            *at++ = ' ';
        memcpy(at, field->key.ptr, field->key.len);
        at += field->key.len;
        *at++ = '=';
        uint64_t replaced = 0;
        if (field->type == FIELD_STRING) {
            at = json_write_string(at, field->value, &replaced);
        } else {
            memcpy(at, field->value.ptr, field->value.len);
            at += field->value.len;
        }
    }
    *at = '\0';
    return text;
}

#define assert_record(batch, i, expected)                                 \
    do {                                                                  \
        assert_in_range(i, 0, (batch)->n_records - 1);                    \
        assert_string_equal(record_text(&(batch)->records[i]), expected); \
    } while (0)

#endif
