/* covers: agent/chain.c, agent/chain_plugins.c */
#include "agent/chain.h"

#include "agent/arena.h"
#include "agent/yaml.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/agent/made_plugin.h"

static char folder[] = "/tmp/test_chain.XXXXXX";

/* ---- chains and batches ---- */

struct bench {
    struct yaml_tree *tree;
    struct config config;
    struct chain *chain;
    struct record records[8];
    struct batch batch;
    const struct origin *origins[1];
    struct origin origin;
};

static int bench_open(struct bench *bench, const char *steps, struct error *error)
{
    memset(bench, 0, sizeof(*bench));
    *error = (struct error){.line = 0};
    bench->tree = yaml_tree_parse(slice_str(steps), "x.yaml", false, error);
    assert_non_null(bench->tree);
    bench->config.agent.plugins = folder;
    bench->chain = chain_open(&bench->config, yaml_tree_root(bench->tree), error);
    return bench->chain == NULL ? -1 : 0;
}

static void bench_close(struct bench *bench)
{
    chain_close(&bench->chain);
    assert_null(bench->chain);
    arena_reset(&bench->batch.arena);
    yaml_tree_free(&bench->tree);
}

/* A batch with a record for each line. */
static void bench_lines(struct bench *bench, const char *const *lines)
{
    arena_reset(&bench->batch.arena);
    bench->origins[0] = &bench->origin;
    bench->batch = (struct batch){.records = bench->records, .origins = bench->origins};
    arena_init(&bench->batch.arena, NULL, 1 << 20);
    for (uint32_t i = 0; lines[i] != NULL; i++) {
        struct record *record = &bench->records[bench->batch.n_records++];
        *record = (struct record){.line = slice_str(lines[i])};
        assert_int_equal(
            record_add(&bench->batch, record, SLICE("message"), record->line, FIELD_STRING), 0);
    }
}

static void assert_stats(const struct bench *bench, size_t step, uint64_t seen, uint64_t dropped,
                         uint64_t failed, uint64_t limited)
{
    const struct step_stats *stats = chain_step(bench->chain, step);
    assert_int_equal(stats->seen, seen);
    assert_int_equal(stats->dropped, dropped);
    assert_int_equal(stats->failed, failed);
    assert_int_equal(stats->limited, limited);
}

/* ---- opening ---- */

static void steps_are_opened_in_order(void **state)
{
    struct bench bench;
    struct error error;
    (void)state;
    if (bench_open(&bench, "- pick\n- pick: b\n- pick: {word: c, when: 'message == \"x\"'}\n",
                   &error) == -1)
        fail_msg("%d:%d: %s", error.line, error.column, error.text);
    assert_int_equal(chain_step_count(bench.chain), 3);
    assert_string_equal(chain_step(bench.chain, 0)->name, "pick");
    assert_int_equal(chain_step(bench.chain, 2)->line, 3);
    bench_close(&bench);
}

static void no_steps_are_an_empty_chain(void **state)
{
    struct bench bench;
    struct error error;
    (void)state;
    assert_int_equal(bench_open(&bench, "", &error), 0);
    assert_int_equal(chain_step_count(bench.chain), 0);
    bench_lines(&bench, (const char *const[]){"a", NULL});
    assert_int_equal(chain_run(bench.chain, &bench.batch), 0);
    bench_close(&bench);
}

static void what_cannot_be_opened_says_why_and_where(void **state)
{
    static const struct {
        const char *steps;
        int line;
        int column;
        const char *says;
    } cases[] = {
        {"- pick\n- pikc\n", 2, 3, "unknown step \"pikc\"; did you mean \"pick\"?"},
        {"- something\n", 1, 3, "unknown step \"something\"; the plugins in "},
        {"- ../pick\n", 1, 3, "\"../pick\" is no step's name: those are of a-z, 0-9 and _"},
        {"- Pick\n", 1, 3, "is no step's name"},
        {"- ''\n", 1, 3, "\"\" is no step's name"},
        {"- pick: {word: refuse}\n", 1, 3, "the word is refused"},
        {"- pick: {word: refuse_here}\n", 7, 5, "the word is refused"},
        {"- pick: {words: a}\n", 1, 10, "unknown key \"words\" in pick; did you mean \"word\"?"},
        {"- pick: {wenn: a}\n", 1, 10, "did you mean \"when\"?"},
        {"- pick: {when: '=='}\n", 1, 16, "when: "},
        {"- pick: [a]\n", 1, 9, "word must be a text, not a list"},
        {"- own_when\n", 1, 3, "own_when needs \"when\""},
        {"- old\n", 1, 3,
         "it was built for version 999 of the plugin interface and this agent has version 1: "
         "build it again"},
        {"- other_name\n", 1, 3, "it calls itself strange"},
        {"- no_symbol\n", 1, 3, "it has no symbol splashdam_plugin"},
        {"- no_object\n", 1, 3, "plugin \"no_object\" can't be loaded"},
        {"- outside\n", 1, 3, "its option far lies outside its instance"},
        {"- unresolved\n", 1, 3, "undefined symbol"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bench bench;
        struct error error;
        if (bench_open(&bench, cases[i].steps, &error) == 0)
            fail_msg("%s: taken", cases[i].steps);
        if (strstr(error.text, cases[i].says) == NULL || error.line != cases[i].line ||
            error.column != cases[i].column || strcmp(error.file, "x.yaml") != 0)
            fail_msg("%s: %s:%d:%d: %s", cases[i].steps, error.file, error.line, error.column,
                     error.text);
        bench_close(&bench);
    }
}

/* ---- running ---- */

static void steps_count_what_they_do(void **state)
{
    static const char *const lines[] = {"a", "drop", "fail", "limit", "b", NULL};
    struct bench bench;
    struct error error;
    (void)state;
    assert_int_equal(bench_open(&bench, "- pick\n- pick: a\n", &error), 0);
    for (unsigned round = 1; round <= 2; round++) {
        bench_lines(&bench, lines);
        assert_int_equal(chain_run(bench.chain, &bench.batch), 0);
        assert_stats(&bench, 0, 5 * round, round, round, round);
        assert_stats(&bench, 1, 4 * round, round, round, round); /* drops the a, fails once more */
    }
    assert_int_equal(bench.batch.n_dropped, 2);
    bench_close(&bench);
}

static void when_lets_other_records_pass_by(void **state)
{
    static const char *const lines[] = {"a", "b", "a", "b", NULL};
    struct bench bench;
    struct error error;
    (void)state;
    assert_int_equal(bench_open(&bench,
                                "- pick: {word: b, when: 'message == \"a\"'}\n"
                                "- pick: {word: b, when: 'message == \"b\"'}\n"
                                "- pick: {word: a, when: 'message == \"c\"'}\n",
                                &error),
                     0);
    bench_lines(&bench, lines);
    assert_int_equal(chain_run(bench.chain, &bench.batch), 0);
    assert_stats(&bench, 0, 2, 0, 0, 0);
    assert_stats(&bench, 1, 2, 2, 0, 0);
    assert_stats(&bench, 2, 0, 0, 0, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bench.records[i].flags, i % 2 == 1 ? RECORD_DROPPED : 0);
    bench_close(&bench);
}

static void a_plugins_own_when_is_its_own(void **state)
{
    static const char *const lines[] = {"a", "b", NULL};
    struct bench bench;
    struct error error;
    (void)state;
    assert_int_equal(bench_open(&bench, "- own_when: {when: 'message == \"a\"'}\n", &error), 0);
    bench_lines(&bench, lines);
    assert_int_equal(chain_run(bench.chain, &bench.batch), 0);
    assert_stats(&bench, 0, 2, 1, 0, 0);
    bench_close(&bench);
}

static void a_full_arena_ends_the_run(void **state)
{
    static const char *const lines[] = {"greedy", "a", NULL};
    struct bench bench;
    struct error error;
    (void)state;
    assert_int_equal(bench_open(&bench, "- pick\n- pick: a\n", &error), 0);
    bench_lines(&bench, lines);
    assert_int_equal(chain_run(bench.chain, &bench.batch), -1);
    assert_stats(&bench, 1, 0, 0, 0, 0);
    bench_close(&bench);
}

/* ---- plugins ---- */

static void add_name(const struct plugin *plugin, void *arg)
{
    char *names = (char *)arg;
    size_t len = strlen(names);
    snprintf(names + len, 256 - len, "%s ", plugin->name);
}

static void plugins_are_listed_by_name(void **state)
{
    struct error error = {.line = 0};
    char names[256] = "";
    char good[512];
    char text[1024];
    (void)state;
    assert_int_equal(chain_plugins(folder, add_name, names, &error), -1); /* bad ones are in it */
    snprintf(good, sizeof(good), "%s/good", folder);
    names[0] = '\0';
    if (chain_plugins(good, add_name, names, &error) == -1)
        fail_msg("%s", error.text);
    assert_string_equal(names, "a b1 c_d ");
    snprintf(text, sizeof(text), "%s/none", folder);
    assert_int_equal(chain_plugins(text, add_name, names, &error), -1);
    assert_non_null(strstr(error.text, "No such file or directory"));
}

static void *open_plugin(void *arg)
{
    struct error error;
    (void)arg;
    return (void *)(uintptr_t)chain_plugin(folder, "pick", &error);
}

static void a_plugin_is_loaded_once_for_all_threads(void **state)
{
    pthread_t threads[8];
    struct error error;
    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_plugin, NULL), 0);
    for (int i = 0; i < 8; i++) {
        void *plugin;
        pthread_join(threads[i], &plugin);
        assert_ptr_equal(plugin, chain_plugin(folder, "pick", &error));
    }
}

static void the_folder_is_configured_or_found(void **state)
{
    (void)state;
    setenv("SPLASHDAM_PLUGINS", "/from/environment", 1);
    assert_string_equal(chain_plugin_folder("/configured"), "/configured");
    assert_string_equal(chain_plugin_folder(NULL), "/from/environment");
    unsetenv("SPLASHDAM_PLUGINS");
    assert_string_equal(chain_plugin_folder(NULL), PLUGIN_DIR); /* no plugins/ beside this test */
}

/* ---- set up ---- */

#define PROCESS_NOTHING \
    "static void process(void *self, struct batch *batch) { (void)self; (void)batch; }\n"
#define NO_OPTIONS "static const struct option options[] = {OPTION_END};\n"

static const char pick[] =
    "#include <stdlib.h>\n"
    "struct pick { const char *word; char *memory; };\n"
    "static const struct option options[] = {\n"
    "    {.name = \"word\", .type = OPTION_STRING, .offset = offsetof(struct pick, word),\n"
    "     .fallback = \"drop\", .help = \"Lines that are dropped.\"}, OPTION_END};\n"
    "static int open(void *self, struct error *error) {\n"
    "    const char *word = ((struct pick *)self)->word;\n"
    "    ((struct pick *)self)->memory = malloc(1);\n" /* close() is called whatever open() says */
    "    if (strcmp(word, \"refuse_here\") == 0) { error->line = 7; error->column = 5; }\n"
    "    return strncmp(word, \"refuse\", 6) == 0 ? error_set(error, \"the word is refused\") : 0; "
    "}\n"
    "static void close(void *self) { free(((struct pick *)self)->memory); }\n"
    "static void process(void *self, struct batch *batch) {\n"
    "    const char *word = ((struct pick *)self)->word;\n"
    "    for (struct record *r = NULL; (r = batch_next(batch, r)) != NULL;) {\n"
    "        if (slice_equal(r->line, slice_str(word))) record_drop(batch, r);\n"
    "        if (slice_equal(r->line, SLICE(\"fail\"))) record_fail(batch, r, \"pick\", \"why\");\n"
    "        if (slice_equal(r->line, SLICE(\"limit\"))) batch->n_limited++;\n"
    "        if (slice_equal(r->line, SLICE(\"greedy\"))) arena_alloc(&batch->arena, 1 << 21);\n"
    "    } }\n"
    "PLUGIN = {.abi = PLUGIN_ABI, .name = \"pick\", .help = \"Drops lines.\",\n"
    "    .example = \"- pick: x\", .options = options, .shorthand = \"word\",\n"
    "    .size = sizeof(struct pick), .open = open, .process = process, .close = close};\n";

static const char own_when[] =
    "struct own { struct condition *when; };\n"
    "static const struct option options[] = {\n"
    "    {.name = \"when\", .type = OPTION_CONDITION, .offset = offsetof(struct own, when),\n"
    "     .required = true, .help = \"Which are dropped.\"}, OPTION_END};\n"
    "static void process(void *self, struct batch *batch) {\n"
    "    for (struct record *r = NULL; (r = batch_next(batch, r)) != NULL;)\n"
    "        if (condition_matches(((struct own *)self)->when, batch, r)) record_drop(batch, r);\n"
    "}\n"
    "PLUGIN = {.abi = PLUGIN_ABI, .name = \"own_when\", .help = \"Drops.\", .example = \"\",\n"
    "    .options = options, .size = sizeof(struct own), .process = process};\n";

#define TABLE(abi, name, more)                                                              \
    "PLUGIN = {.abi = " abi ", .name = \"" name "\", .help = \"Help.\", .example = \"\",\n" \
    "    .options = options, " more " .process = process};\n"

static int set_up(void **state)
{
    char good[512];
    (void)state;
    assert_non_null(mkdtemp(folder));
    make_plugin(folder, "pick", pick);
    make_plugin(folder, "own_when", own_when);
    make_plugin(folder, "old", NO_OPTIONS PROCESS_NOTHING TABLE("999", "old", ""));
    make_plugin(folder, "other_name", NO_OPTIONS PROCESS_NOTHING TABLE("PLUGIN_ABI", "strange", ""));
    make_plugin(folder, "no_symbol", "int splashdam_plugins;\n");
    make_plugin(folder, "outside",
                "static const struct option options[] = {{.name = \"far\", .type = OPTION_STRING,\n"
                "    .offset = 8, .help = \"\"}, OPTION_END};\n" PROCESS_NOTHING TABLE(
                    "PLUGIN_ABI", "outside", ".size = 8,"));
    make_plugin(folder, "unresolved",
                "void nowhere(void);\n" NO_OPTIONS
                "static void process(void *self, struct batch *batch) {\n"
                "    (void)self; (void)batch; nowhere(); }\n" TABLE("PLUGIN_ABI", "unresolved", ""));
    snprintf(good, sizeof(good), "%s/no_object.so", folder);
    FILE *out = fopen(good, "w");
    fputs("not an object\n", out);
    fclose(out);
    snprintf(good, sizeof(good), "%s/good", folder);
    run_program((const char *const[]){"mkdir", good, NULL});
    make_plugin(good, "c_d", NO_OPTIONS PROCESS_NOTHING TABLE("PLUGIN_ABI", "c_d", ""));
    make_plugin(good, "a", NO_OPTIONS PROCESS_NOTHING TABLE("PLUGIN_ABI", "a", ""));
    make_plugin(good, "b1", NO_OPTIONS PROCESS_NOTHING TABLE("PLUGIN_ABI", "b1", ""));
    make_plugin(good, "Not", NO_OPTIONS PROCESS_NOTHING TABLE("PLUGIN_ABI", "Not", ""));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_opened_in_order),
        cmocka_unit_test(no_steps_are_an_empty_chain),
        cmocka_unit_test(what_cannot_be_opened_says_why_and_where),
        cmocka_unit_test(steps_count_what_they_do),
        cmocka_unit_test(when_lets_other_records_pass_by),
        cmocka_unit_test(a_plugins_own_when_is_its_own),
        cmocka_unit_test(a_full_arena_ends_the_run),
        cmocka_unit_test(plugins_are_listed_by_name),
        cmocka_unit_test(a_plugin_is_loaded_once_for_all_threads),
        cmocka_unit_test(the_folder_is_configured_or_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
