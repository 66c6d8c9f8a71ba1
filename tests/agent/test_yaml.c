/* covers: agent/yaml.c, agent/yaml_file.c, agent/environment.c, agent/quote.c */
#include "agent/yaml.h"

#include "agent/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- trees as text: scalars plain or "quoted", ~ for null, @line:column where asked for ---- */

static void dump(FILE *out, const struct yaml_node *node, bool places)
{
    if (node == NULL) {
        fputs("nothing", out);
        return;
    }
    if (node->kind == YAML_SCALAR) {
        assert_int_equal(node->len, strlen(node->text));
        fprintf(out, node->null ? "~" : node->quoted ? "\"%s\"" : "%s", node->text);
    } else {
        fputc(node->kind == YAML_LIST ? '[' : '{', out);
        for (size_t i = 0; i < node->n; i++) {
            fputs(i == 0 ? "" : ", ", out);
            if (node->kind == YAML_MAPPING) {
                dump(out, node->keys[i], places);
                fputs(": ", out);
            }
            dump(out, node->items[i], places);
        }
        fputc(node->kind == YAML_LIST ? ']' : '}', out);
    }
    if (places)
        fprintf(out, "@%d:%d", node->line, node->column);
}

static char *dump_text(const char *text, bool places, struct error *error)
{
    struct yaml_tree *tree = yaml_tree_parse(slice_str(text), "x.yaml", true, error);
    if (tree == NULL)
        return NULL;
    char *dumped = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&dumped, &len);
    assert_non_null(out);
    dump(out, yaml_tree_root(tree), places);
    fclose(out);
    yaml_tree_free(&tree);
    assert_null(tree);
    return dumped;
}

static void trees_are_as_written(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", "nothing"},
        {"# only a comment\n", "nothing"},
        {"---\n", "nothing"},
        {"~\n", "nothing"},
        {"a", "a"},
        {"a: 1\nb: [x, 'y', \"z\"]\n", "{a: 1, b: [x, \"y\", \"z\"]}"},
        {"a:\nb: ''\nc: ~\nd: null\ne: 'null'\n", "{a: ~, b: \"\", c: ~, d: ~, e: \"null\"}"},
        {"{a: {b: {c: d}}}", "{a: {b: {c: d}}}"},
        {"- a\n- - b\n  - c\n", "[a, [b, c]]"},
        {"a: |\n  one\n  two\n", "{a: \"one\ntwo\n\"}"},
        {"a: >\n  one\n  two\n", "{a: \"one two\n\"}"},
        {"\xEF\xBB\xBF"
         "a: b\n",
         "{a: b}"},
        {"a: &x [1, 2]\nb: *x\nc: *x\n", "{a: [1, 2], b: [1, 2], c: [1, 2]}"},
        {"a: &x 1\nb: &x 2\nc: *x\n", "{a: 1, b: 2, c: 2}"},
        {"&k a: 1\nb: *k\n", "{a: 1, b: a}"},
        {"%YAML 1.1\n---\na: b\n", "{a: b}"},
        {"a: b\r\nc: d\r\n", "{a: b, c: d}"},
        {"a: {x, y}", "{a: {x: ~, y: ~}}"},
        {"[a: b]", "[{a: b}]"},
        {"a: '^(?<client>\\S+) …$'", "{a: \"^(?<client>\\S+) …$\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        char *got = dump_text(cases[i].text, false, &error);
        if (got == NULL)
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

static void places_are_counted_from_one(void **state)
{
    struct error error;
    char *got = dump_text("a: b\nlist:\n  - 'ü': x\n  -   y\n", true, &error);
    (void)state;
    assert_string_equal(got, "{a@1:1: b@1:4, list@2:1: [{\"ü\"@3:5: x@3:10}@3:5, y@4:7]@3:3}@1:1");
    free(got);
}

static void what_is_wrong_is_said_with_its_place(void **state)
{
    static const struct {
        const char *text;
        int line;
        int column;
        const char *says;
    } cases[] = {
        {"a: [b\nc: d\n", 2, 2, "(while parsing a flow sequence that begins in line 1)"},
        {"a: 'b\n", 2, 1, "unexpected end of stream"},
        {"a: b: c\n", 1, 5, "mapping values are not allowed"},
        {"a:\n\t- b\n", 2, 1, "cannot start any token"},
        {"a: 1\nb: 2\na: 3\n", 3, 1, "key \"a\" stands here twice; the first is in line 1"},
        {"x: {b: 1, a: 1, b: 1}", 1, 17, "key \"b\" stands here twice"},
        {"a: 1\n---\nb: 2\n", 2, 1, "a second document begins here"},
        {"---\n---\n", 2, 1, "a second document begins here"},
        {"a: *x\n", 1, 4, "*x names nothing"},
        {"a: &x [b, *x]\n", 1, 11, "*x stands within what it names"},
        {"? [a, b]\n: c\n", 1, 3, "a key must be a text, not a list"},
        {"a: !!int 3\n", 1, 4, "tags (\"tag:yaml.org,2002:int\") are not used here"},
        {"a: !x [b]\n", 1, 4, "tags"},
        {"a: !x {b: c}\n", 1, 4, "tags"},
        {"a: \"x\\0y\"\n", 1, 4, "NUL byte"},
        {"a: b\n c: \xff\n", 2, 5, "invalid leading UTF-8 octet"},
        {"a: \x01\n", 1, 4, "control characters are not allowed"},
        {"a: \"\\q\"\n", 1, 5, "unknown escape character"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        char *got = dump_text(cases[i].text, false, &error);
        if (got != NULL)
            fail_msg("%s: taken as %s", cases[i].text, got);
        if (strstr(error.text, cases[i].says) == NULL || error.line != cases[i].line ||
            error.column != cases[i].column || strcmp(error.file, "x.yaml") != 0)
            fail_msg("%s: %s:%d:%d: %s", cases[i].text, error.file, error.line, error.column,
                     error.text);
    }
}

static void nul_bytes_are_refused_with_their_place(void **state)
{
    struct error error;
    (void)state;
    assert_null(yaml_tree_parse(SLICE("a: b\nc: \0d\n"), "x.yaml", true, &error));
    assert_non_null(strstr(error.text, "a NUL byte"));
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 4);
    /* UTF-16 is no way around it. */
    assert_null(yaml_tree_parse(SLICE("\xff\xfe\x60\x4f\x7d\x59"), "x.yaml", true, &error));
    assert_non_null(strstr(error.text, "not valid YAML"));
}

/* ---- bounds ---- */

static void depth_is_bounded(void **state)
{
    char text[2 * YAML_MAX_DEPTH + 8];
    struct error error;
    (void)state;
    for (unsigned depth = YAML_MAX_DEPTH; depth <= YAML_MAX_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        char *got = dump_text(text, false, &error);
        assert_int_equal(got != NULL, depth == YAML_MAX_DEPTH);
        free(got);
    }
    assert_non_null(strstr(error.text, "nested more than 64 levels deep"));
}

static void depth_by_aliases_is_bounded(void **state)
{
    struct error error;
    char *text = NULL;
    size_t len = 0;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    fputs("- &a0 [x]\n", out);
    for (int i = 1; i < 80; i++)
        fprintf(out, "- &a%d [*a%d]\n", i, i - 1);
    fclose(out);
    assert_null(dump_text(text, false, &error));
    assert_non_null(strstr(error.text, "levels deep by aliases"));
    free(text);
}

static void a_billion_laughs_are_refused(void **state)
{
    struct error error;
    char *text = NULL;
    size_t len = 0;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    fputs("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n", out);
    for (int i = 1; i < 10; i++) {
        fprintf(out, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            fprintf(out, "%s*a%d", j == 0 ? "" : ", ", i - 1);
        fputs("]\n", out);
    }
    fclose(out);
    assert_null(dump_text(text, false, &error));
    assert_non_null(strstr(error.text, "each alias counted as often as it is used"));
    free(text);
}

static void anchors_are_bounded(void **state)
{
    struct error error;
    char *text = NULL;
    size_t len = 0;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    for (unsigned i = 0; i <= YAML_MAX_ANCHORS; i++)
        fprintf(out, "- &a%u x\n", i);
    fclose(out);
    assert_null(dump_text(text, false, &error));
    assert_non_null(strstr(error.text, "more than 1024 anchors"));
    free(text);
}

/* ---- the environment ---- */

static void the_environment_is_put_in(void **state)
{
    static const struct {
        const char *text;
        const char *want; /* NULL: an error that says */
        const char *says;
    } cases[] = {
        {"a: ${SD_NAME}", "{a: value}", NULL},
        {"a: 'x${SD_NAME}y${SD_NAME}'",
         "{a: \"xvaluey"
         "value\"}",
         NULL},
        {"a: ${SD_EMPTY}", "{a: }", NULL},
        {"a: ${SD_EMPTY:-d}", "{a: d}", NULL},
        {"a: ${SD_UNSET:-}", "{a: }", NULL},
        {"a: '${SD_UNSET:-d e:-f}'", "{a: \"d e:-f\"}", NULL},
        {"a: ${SD_UNSET:-$x}", "{a: $x}", NULL},
        {"a: $${SD_NAME}", "{a: ${SD_NAME}}", NULL},
        {"a: $$${SD_NAME}", "{a: $${SD_NAME}}", NULL},
        {"a: $SD_NAME $ $$ $}", "{a: $SD_NAME $ $$ $}}", NULL},
        {"a: ${SD_AGAIN}", "{a: ${SD_NAME}}", NULL},
        {"a: '^x$'", "{a: \"^x$\"}", NULL},
        {"'${SD_NAME}': b", "{\"value\": b}", NULL},
        {"a: ${SD_NULL}", "{a: null}", NULL},
        {"a: ${SD_YAML}", "{a: [1, 2]}", NULL},
        {"a: ${SD_UNSET}", NULL, "the environment has no SD_UNSET"},
        {"a: '${}'", NULL, "no variable between ${ and }: \"\""},
        {"a: '${1A}'", NULL, "no variable between ${ and }: \"1A\""},
        {"a: '${A-b}'", NULL, "no variable between ${ and }: \"A-b\""},
        {"a: '${A:b}'", NULL, "no variable between"},
        {"a: '${SD_NAME'", NULL, "${ without its }"},
        {"a: b\nvalue: c\n${SD_NAME}: d\n", NULL, "key \"value\" stands here twice"},
    };
    (void)state;
    setenv("SD_NAME", "value", 1);
    setenv("SD_EMPTY", "", 1);
    setenv("SD_AGAIN", "${SD_NAME}", 1);
    setenv("SD_NULL", "null", 1);
    setenv("SD_YAML", "[1, 2]", 1);
    unsetenv("SD_UNSET");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        char *got = dump_text(cases[i].text, false, &error);
        if ((got != NULL) != (cases[i].want != NULL))
            fail_msg("%s: %s", cases[i].text, got != NULL ? got : error.text);
        if (got != NULL)
            assert_string_equal(got, cases[i].want);
        else if (cases[i].says == NULL || strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].text, error.text);
        free(got);
    }
}

static void what_the_environment_gave_is_marked(void **state)
{
    struct error error;
    (void)state;
    setenv("SD_NULL", "null", 1);
    struct yaml_tree *tree = yaml_tree_parse(SLICE("a: ${SD_NULL}\nb: $${x}\n"), "x", true, &error);
    const struct yaml_node *root = yaml_tree_root(tree);
    assert_true(yaml_get(root, "a")->from_environment);
    assert_false(yaml_get(root, "a")->null);
    assert_false(yaml_get(root, "b")->from_environment);
    assert_null(yaml_get(root, "c"));
    assert_null(yaml_get(NULL, "a"));
    assert_null(yaml_get(yaml_get(root, "a"), "a"));
    yaml_tree_free(&tree);
    tree = yaml_tree_parse(SLICE("a: ${SD_NULL}\n"), "x", false, &error);
    assert_string_equal(yaml_get(yaml_tree_root(tree), "a")->text, "${SD_NULL}");
    yaml_tree_free(&tree);
}

/* ---- files ---- */

static void files_are_read_or_refused(void **state)
{
    char folder[] = "/tmp/test_yaml.XXXXXX";
    char path[64];
    struct error error;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_null(yaml_tree_read(folder, &error));
    assert_non_null(strstr(error.text, "not a regular file"));
    snprintf(path, sizeof(path), "%s/x", folder);
    assert_null(yaml_tree_read(path, &error));
    assert_string_equal(error.text, "cannot be read: No such file or directory");
    assert_string_equal(error.file, path);
    assert_int_equal(error.line, 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not block */
    assert_null(yaml_tree_read(path, &error));
    assert_non_null(strstr(error.text, "not a regular file"));
    unlink(path);
    FILE *out = fopen(path, "w");
    fputs("a: b\n", out);
    fclose(out);
    struct yaml_tree *tree = yaml_tree_read(path, &error);
    assert_non_null(tree);
    assert_string_equal(yaml_get(yaml_tree_root(tree), "a")->file, path);
    yaml_tree_free(&tree);
    assert_int_equal(truncate(path, (off_t)YAML_MAX_FILE + 1), 0);
    assert_null(yaml_tree_read(path, &error));
    assert_string_equal(error.text, "larger than 4 MiB");
    unlink(path);
    rmdir(folder);
}

static void quoted_text_is_cut_and_escaped(void **state)
{
    char text[100];
    (void)state;
    assert_string_equal(quote(SLICE("a\"b\\c\n\x7f")).text, "\"a\\\"b\\\\c\\x0a\\x7f\"");
    assert_string_equal(quote(slice_of(NULL, 0)).text, "\"\"");
    memset(text, 'x', sizeof(text));
    memcpy(text + QUOTE_MOST - 1, "ü", 2); /* is not cut in half */
    struct quoted quoted = quote(slice_of(text, sizeof(text)));
    assert_int_equal(strlen(quoted.text), QUOTE_MOST - 1 + strlen("\"\"..."));
    assert_null(strchr(quoted.text, '\xc3'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_as_written),
        cmocka_unit_test(places_are_counted_from_one),
        cmocka_unit_test(what_is_wrong_is_said_with_its_place),
        cmocka_unit_test(nul_bytes_are_refused_with_their_place),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(depth_by_aliases_is_bounded),
        cmocka_unit_test(a_billion_laughs_are_refused),
        cmocka_unit_test(anchors_are_bounded),
        cmocka_unit_test(the_environment_is_put_in),
        cmocka_unit_test(what_the_environment_gave_is_marked),
        cmocka_unit_test(files_are_read_or_refused),
        cmocka_unit_test(quoted_text_is_cut_and_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
