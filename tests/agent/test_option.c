/* covers: agent/option.c, agent/option_value.c, agent/quantity.c, agent/nearest.c */
#include "agent/option.h"

#include "agent/nearest.h"
#include "agent/quantity.h"
#include "agent/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a table with every type ---- */

struct thing {
    bool yes;
    int64_t number;
    int64_t workers;
    int64_t idle;
    uint64_t size;
    int64_t time;
    const char *text;
    int choice;
    struct regex *regex;
    struct condition *condition;
    struct template *template;
    struct option_list list;
    struct option_map map;
    struct option_map words;
    struct option_templates templates;
    const char *topic;
    struct condition *when;
};

static const char *const colours[] = {"red", "green", "blue", NULL};
static const char *const automatic[] = {"auto", NULL};
static const char *const never[] = {"soon", "never", NULL};

#define AT(member) .offset = offsetof(struct thing, member), .help = "Some help."

static const struct option all[] = {
    {.name = "yes", .type = OPTION_BOOL, AT(yes)},
    {.name = "number", .type = OPTION_INTEGER, AT(number), .fallback = "7", .min = -5, .max = 10},
    {.name = "workers", .type = OPTION_INTEGER, AT(workers), .min = 1, .max = 9, .choices = automatic},
    {.name = "size", .type = OPTION_SIZE, AT(size), .fallback = "64KiB", .min = 256, .max = 1 << 20},
    {.name = "time", .type = OPTION_TIME, AT(time), .fallback = "5s", .min = 10, .max = 3600000},
    {.name = "idle", .type = OPTION_TIME, AT(idle), .max = 60000, .choices = never},
    {.name = "text", .type = OPTION_STRING, AT(text), .fallback = "'de fault'", .max = 12},
    {.name = "choice", .type = OPTION_CHOICE, AT(choice), .fallback = "green", .choices = colours},
    {.name = "regex", .type = OPTION_REGEX, AT(regex)},
    {.name = "condition", .type = OPTION_CONDITION, AT(condition)},
    {.name = "template", .type = OPTION_TEMPLATE, AT(template), .fallback = "x"},
    {.name = "list", .type = OPTION_LIST, AT(list), .fallback = "[a, b]", .min = 1, .max = 3},
    {.name = "map", .type = OPTION_MAP, AT(map), .fallback = "{k: v}"},
    {.name = "words", .type = OPTION_MAP, AT(words), .choices = colours},
    {.name = "templates", .type = OPTION_TEMPLATES, AT(templates)},
    OPTION_END,
};

static const struct option needed[] = {
    {.name = "topic", .type = OPTION_STRING, AT(topic), .required = true},
    {.name = "text", .type = OPTION_STRING, AT(text)},
    OPTION_END,
};

static const struct option with_rest[] = {
    {.name = "yes", .type = OPTION_BOOL, AT(yes)},
    {.name = "map", .type = OPTION_MAP, AT(map), .required = true, .min = 1, .max = 3},
    OPTION_END,
};

static const struct option common[] = {
    {.name = "when", .type = OPTION_CONDITION, AT(when)},
    OPTION_END,
};

/* Fills from the text; -1 and *error. */
static int fill(const struct option_target *target, const char *text, struct error *error)
{
    static const struct yaml_node place = {.file = "place.yaml", .line = 9, .column = 8};
    struct yaml_tree *tree = yaml_tree_parse(slice_str(text), "x.yaml", false, error);
    if (tree == NULL)
        fail_msg("%s: %s", text, error->text);
    int result = option_fill(target, yaml_tree_root(tree), &place, error);
    yaml_tree_free(&tree);
    return result;
}

static int fill_all(struct thing *thing, const char *text, struct error *error)
{
    *thing = (struct thing){.yes = false};
    struct option_target target = {.what = "thing", .options = all, .into = thing};
    return fill(&target, text, error);
}

/* ---- values ---- */

static void defaults_are_filled_in(void **state)
{
    struct thing thing;
    struct error error = {.line = 0};
    struct slice text;
    (void)state;
    if (fill_all(&thing, "", &error) == -1)
        fail_msg("%s", error.text);
    assert_false(thing.yes);
    assert_int_equal(thing.number, 7);
    assert_int_equal(thing.workers, 0);
    assert_int_equal(thing.size, 65536);
    assert_int_equal(thing.time, 5000);
    assert_string_equal(thing.text, "de fault");
    assert_int_equal(thing.choice, 1);
    assert_null(thing.regex);
    assert_null(thing.condition);
    assert_true(template_constant(thing.template, &text));
    assert_true(slice_equal(text, SLICE("x")));
    assert_int_equal(thing.list.n, 2);
    assert_string_equal(thing.list.items[1], "b");
    assert_int_equal(thing.map.n, 1);
    assert_string_equal(thing.map.items[0].key, "k");
    assert_string_equal(thing.map.items[0].value, "v");
    option_free(all, &thing);
    assert_null(thing.text);
    assert_int_equal(thing.list.n, 0);
    option_free(all, &thing); /* once more does no harm */
}

static void every_type_is_read(void **state)
{
    struct thing thing;
    struct error error = {.line = 0};
    (void)state;
    if (fill_all(
            &thing,
            "yes: true\nnumber: -5\nworkers: auto\nsize: 1MiB\ntime: 200ms\nidle: never\ntext: ''\n"
            "choice: blue\nregex: '(a)(b)'\ncondition: 'a == 1'\ntemplate: 'x%{y}'\n"
            "list: one\nmap: {a: 1, b: 'x y'}\nwords: {a: red}\ntemplates: {t: '%{u}'}\n",
            &error) == -1)
        fail_msg("%s", error.text);
    assert_true(thing.yes);
    assert_int_equal(thing.number, -5);
    assert_int_equal(thing.workers, -1);
    assert_int_equal(thing.size, 1 << 20);
    assert_int_equal(thing.time, 200);
    assert_int_equal(thing.idle, -2);
    assert_string_equal(thing.text, "");
    assert_int_equal(thing.choice, 2);
    assert_non_null(thing.regex);
    assert_non_null(thing.condition);
    assert_int_equal(thing.list.n, 1);
    assert_string_equal(thing.list.items[0], "one");
    assert_int_equal(thing.map.n, 2);
    assert_string_equal(thing.map.items[1].value, "x y");
    assert_int_equal(thing.map.items[1].line, 13);
    assert_int_equal(thing.map.items[1].column, 16);
    assert_string_equal(thing.templates.items[0].key, "t");
    option_free(all, &thing);
}

static void a_wrong_value_says_what_is_allowed(void **state)
{
    static const struct {
        const char *text;
        int column;
        const char *says;
    } cases[] = {
        {"yes: yes", 6, "yes must be true or false, not \"yes\""},
        {"yes:", 5, "yes has no value; it must be true or false"},
        {"yes: [true]", 6, "yes must be true or false, not a list"},
        {"number: 11", 9, "number must be a whole number from -5 to 10, not \"11\""},
        {"number: 1.5", 9, "not \"1.5\""},
        {"number: ''", 9, "not \"\""},
        {"number: 0x7", 9, "not \"0x7\""},
        {"number: 99999999999999999999", 9, "number must be"},
        {"workers: 0", 10, "workers must be a whole number from 1 to 9 or auto, not \"0\""},
        {"workers: Auto", 10, "or auto, not \"Auto\""},
        {"size: 64kib", 7,
         "size must be a size such as 64KiB, 1MB or 512, from 256 to 1MiB, not \"64kib\""},
        {"size: 255", 7, "from 256 to 1MiB"},
        {"size: -300", 7, "size must be"},
        {"size: 99999999999999999999", 7, "size must be"},
        {"size: 9000000000TiB", 7, "size must be"},
        {"size: 1.5MiB", 7, "size must be"},
        {"time: 5", 7,
         "time must be a time such as 5s, 200ms, 2m or 1h, from 10ms to 1h, not \"5\""},
        {"time: 2h", 7, "from 10ms to 1h"},
        {"time: 5 s", 7, "time must be"},
        {"time: 9223372036854775807d", 7, "time must be"},
        {"idle: 61s",
         7, "idle must be a time such as 5s, 200ms, 2m or 1h, from 0ms to 1m or soon or never, not \"61s\""},
        {"idle: Never", 7, "or soon or never, not \"Never\""},
        {"text: 0123456789012", 7, "text must be a text from 0 to 12 bytes"},
        {"text: {a: b}", 7, "not a mapping"},
        {"text: ~", 7, "text has no value"},
        {"choice: gren", 9, "choice must be red, green or blue, not \"gren\""},
        {"regex: '('", 8, "regex: "},
        {"template: '%{}'", 11, "template: "},
        {"list: []", 7, "list must be a text or a list of texts from 1 to 3 items, not a list"},
        {"list: [a, b, c, d]", 7, "from 1 to 3 items"},
        {"list: [a, [b]]", 11, "list holds texts; a list is none"},
        {"list: [a, ~]", 11, "list holds texts; nothing is none"},
        {"map: a", 6, "map must be a mapping of names to texts, not \"a\""},
        {"map: {a: }", 10, "\"a\" has no value; write '' for an empty text"},
        {"map: {a: [b]}", 10, "\"a\" must be a text, not a list"},
        {"words: {x: pink}", 12, "x must be red, green or blue, not \"pink\""},
        {"templates: {x: '%{}'}", 16, "x: "},
        {"[a]", 1, "thing must be a mapping of options, not a list"},
        {"a", 1, "thing must be a mapping of options, not a text"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct thing thing;
        struct error error = {.line = 0};
        if (fill_all(&thing, cases[i].text, &error) == 0)
            fail_msg("%s: taken", cases[i].text);
        if (strstr(error.text, cases[i].says) == NULL || error.line != 1 ||
            error.column != cases[i].column)
            fail_msg("%s: %d:%d: %s", cases[i].text, error.line, error.column, error.text);
        assert_string_equal(error.file, "x.yaml");
    }
}

/* ---- keys ---- */

static void unknown_keys_name_the_nearest(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"topic: a\ntopik: b", "unknown key \"topik\" in ship; did you mean \"topic\"?"},
        {"topic: a\ntxet: b", "unknown key \"txet\" in ship; did you mean \"text\"?"},
        {"topic: a\nwhne: b", "unknown key \"whne\" in ship; did you mean \"when\"?"},
        {"topic: a\nsomething: b",
         "unknown key \"something\" in ship; known are: topic, text, when"},
        {"topic: a\n<<: {text: b}", "unknown key \"<<\" in ship"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct thing thing = {.yes = false};
        struct error error = {.line = 0};
        struct option_target target = {.what = "ship",
                                       .options = needed,
                                       .into = &thing,
                                       .common = common,
                                       .common_into = &thing};
        assert_int_equal(fill(&target, cases[i].text, &error), -1);
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_int_equal(error.line, 2);
        assert_int_equal(error.column, 1);
        assert_null(thing.topic); /* nothing is left */
    }
}

static void what_is_required_is_missed(void **state)
{
    struct thing thing = {.yes = false};
    struct error error = {.line = 0};
    struct option_target target = {.what = "ship", .options = needed, .into = &thing};
    (void)state;
    assert_int_equal(fill(&target, "text: a", &error), -1);
    assert_string_equal(error.text, "ship needs \"topic\": Some help.");
    assert_string_equal(error.file, "x.yaml");
    assert_int_equal(error.line, 1);
    assert_int_equal(fill(&target, "~", &error), -1);
    assert_string_equal(error.file, "place.yaml");
    assert_int_equal(error.line, 9);
    assert_int_equal(
        option_fill(&target, NULL, &(struct yaml_node){.file = "p", .line = 1}, &error), -1);
    assert_int_equal(fill(&target, "topic: a", &error), 0);
    assert_string_equal(thing.topic, "a");
    option_free(needed, &thing);
}

static void a_plain_value_stands_for_the_shorthand(void **state)
{
    struct thing thing = {.yes = false};
    struct error error = {.line = 0};
    struct option_target target = {
        .what = "remove", .options = all, .into = &thing, .shorthand = "list"};
    (void)state;
    assert_int_equal(fill(&target, "[x, y, z]", &error), 0);
    assert_int_equal(thing.list.n, 3);
    assert_int_equal(thing.number, 7); /* the others have their defaults */
    option_free(all, &thing);
    assert_int_equal(fill(&target, "x", &error), 0);
    assert_int_equal(thing.list.n, 1);
    option_free(all, &thing);
    target.options = needed;
    target.shorthand = "topic";
    assert_int_equal(fill(&target, "x", &error), 0); /* a required one, too */
    assert_string_equal(thing.topic, "x");
    option_free(needed, &thing);
    assert_int_equal(fill(&target, "[x]", &error), -1);
    assert_non_null(strstr(error.text, "topic must be a text, not a list"));
}

static void all_other_keys_go_to_the_rest(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* 0: an error that says */
        const char *says;
    } cases[] = {
        {"{a: 1}", 1, NULL},
        {"{a: 1, b: 2, yes: true}", 2, NULL},
        {"{map: {yes: 1, when: 2}, yes: true}", 2, NULL},
        {"{map: a}", 1, NULL}, /* a key as any other */
        {"{map: a, b: c}", 2, NULL},
        {"{map: {a: b}, c: d}", 0, "\"c\" must stand under \"map\" like the others"},
        {"{a: [b]}", 0, "\"a\" must be a text, not a list"},
        {"{a: }", 0, "\"a\" has no value"},
        {"{}", 0, "set needs \"map\""},
        {"{yes: true}", 0, "set needs \"map\""},
        {"{map: {}}", 0, "from 1 to 3 items"},
        {"{a: 1, b: 2, c: 3, d: 4}", 0, "from 1 to 3 items, not 4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct thing thing = {.yes = false};
        struct error error = {.line = 0};
        struct option_target target = {.what = "set",
                                       .options = with_rest,
                                       .into = &thing,
                                       .rest = "map",
                                       .common = common,
                                       .common_into = &thing};
        int result = fill(&target, cases[i].text, &error);
        if ((result == 0) != (cases[i].says == NULL) ||
            (result == -1 && strstr(error.text, cases[i].says) == NULL))
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_int_equal(thing.map.n, cases[i].n);
        option_free(with_rest, &thing);
        option_free(common, &thing);
    }
}

static void common_options_come_after_the_tables_own(void **state)
{
    struct thing thing = {.yes = false};
    struct error error = {.line = 0};
    struct option_target target = {.what = "set",
                                   .options = with_rest,
                                   .into = &thing,
                                   .rest = "map",
                                   .common = common,
                                   .common_into = &thing};
    (void)state;
    assert_int_equal(fill(&target, "{when: 'a == 1', b: c}", &error), 0);
    assert_non_null(thing.when);
    assert_int_equal(thing.map.n, 1);
    option_free(with_rest, &thing);
    option_free(common, &thing);
}

/* ---- quantities ---- */

static void sizes_and_times_are_exact_or_refused(void **state)
{
    static const struct {
        int (*read)(const char *text, int64_t *ret_value);
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        {quantity_size, "0", 0},
        {quantity_size, "512B", 512},
        {quantity_size, "1kB", 1000},
        {quantity_size, "1KB", 1000},
        {quantity_size, "64KiB", 65536},
        {quantity_size, "1MB", 1000000},
        {quantity_size, "3GiB", 3221225472},
        {quantity_size, "2TB", 2000000000000},
        {quantity_size, "9223372036854775807", INT64_MAX},
        {quantity_size, "9223372036854775808", -1},
        {quantity_size, "8388608TiB", -1},
        {quantity_size, "KiB", -1},
        {quantity_size, "1K", -1},
        {quantity_size, " 1", -1},
        {quantity_size, "1 ", -1},
        {quantity_size, "+1", -1},
        {quantity_time, "0s", 0},
        {quantity_time, "200ms", 200},
        {quantity_time, "2m", 120000},
        {quantity_time, "1h", 3600000},
        {quantity_time, "1d", 86400000},
        {quantity_time, "1", -1},
        {quantity_time, "106751991168d", -1},
        {quantity_time, "1M", -1},
        {quantity_integer, "007", 7},
        {quantity_integer, "-0", 0},
        {quantity_integer, "-", -1},
        {quantity_integer, "--1", -1},
        {quantity_integer, "1x", -1},
        {quantity_integer, "", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = -1;
        int result = cases[i].read(cases[i].text, &value);
        if (value != cases[i].want || (result == 0) != (cases[i].want != -1))
            fail_msg("%s: %lld", cases[i].text, (long long)value);
    }
}

static void quantities_are_written_short(void **state)
{
    char text[QUANTITY_ROOM];
    (void)state;
    quantity_size_text(text, 0);
    assert_string_equal(text, "0");
    quantity_size_text(text, 1536);
    assert_string_equal(text, "1536");
    quantity_size_text(text, 3 << 20);
    assert_string_equal(text, "3MiB");
    quantity_time_text(text, 90000);
    assert_string_equal(text, "90s");
    quantity_time_text(text, 7200000);
    assert_string_equal(text, "2h");
    quantity_time_text(text, 1500);
    assert_string_equal(text, "1500ms");
}

static void distances_count_swaps_as_one(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        unsigned want;
    } cases[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"topic", "topic", 0},
        {"topik", "topic", 1},
        {"tpoic", "topic", 1},
        {"topi", "topic", 1},
        {"toppic", "topic", 1},
        {"kitten", "sitting", 3},
        {"ab", "ba", 1},
        {"abc", "ca", 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(nearest_distance(cases[i].a, cases[i].b), cases[i].want);
        assert_int_equal(nearest_distance(cases[i].b, cases[i].a), cases[i].want);
    }
    char text[NEAREST_MAX + 2];
    memset(text, 'x', sizeof(text));
    text[NEAREST_MAX + 1] = '\0';
    assert_true(nearest_distance(text, "x") > NEAREST_MAX);
    text[NEAREST_MAX] = '\0';
    assert_int_equal(nearest_distance(text, "x"), NEAREST_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(a_wrong_value_says_what_is_allowed),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(what_is_required_is_missed),
        cmocka_unit_test(a_plain_value_stands_for_the_shorthand),
        cmocka_unit_test(all_other_keys_go_to_the_rest),
        cmocka_unit_test(common_options_come_after_the_tables_own),
        cmocka_unit_test(sizes_and_times_are_exact_or_refused),
        cmocka_unit_test(quantities_are_written_short),
        cmocka_unit_test(distances_count_swaps_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
