#include "agent/template.h"

#include "tests/plugins/harness.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static struct template *template_must(const char *text)
{
    struct error error = {.text = ""};
    struct template *template = template_new(text, &error);
    if (template == NULL)
        fail_msg("%s: %s", text, error.text);
    return template;
}

static struct batch *made_batch(void)
{
    struct batch *batch = batch_of_lines(1, "the line");
    struct record *record = &batch->records[0];
    record_add(batch, record, SLICE("app"), SLICE("shop"), FIELD_STRING);
    record_add(batch, record, SLICE("status"), SLICE("1.50"), FIELD_NUMBER);
    record_add(batch, record, SLICE("tls"), SLICE("true"), FIELD_BOOL);
    record_add(batch, record, SLICE("nothing"), SLICE("null"), FIELD_NULL);
    record_add(batch, record, SLICE("tags"), SLICE("[1, \"x\"]"), FIELD_JSON);
    record_add(batch, record, SLICE("empty"), SLICE(""), FIELD_STRING);
    record_add(batch, record, SLICE("a:b c"), SLICE("odd"), FIELD_STRING);
    return batch;
}

static void templates_render(void **state)
{
    static const struct {
        const char *text, *rendered;
        int missing;
    } rows[] = {
        {"", "", 0},
        {"plain", "plain", 0},
        {"%{app}", "shop", 0},
        {"logs.%{app}", "logs.shop", 0},
        {"%{app}.logs", "shop.logs", 0},
        {"%{app}%{status}", "shop1.50", 0},
        {"%{status} %{tls} %{nothing} %{tags}", "1.50 true null [1, \"x\"]", 0},
        {"%{host.name}:%{log.file.path}:%{log.offset}", "web-1:/var/log/test.log:0", 0},
        {"%{@timestamp}", "2023-11-14T22:13:20.123456789Z", 0},
        {"%{message}", "the line", 0},
        {"%{missing}", "", 1},
        {"x%{missing}y%{gone}z", "xyz", 2},
        {"%{missing:-none}", "none", 0},
        {"%{missing:-}", "", 0},
        {"%{app:-none}", "shop", 0},
        {"%{empty:-none}", "", 0}, /* it is there */
        {"x.%{missing:-a b%c}.y", "x.a b%c.y", 0},
        {"%{missing:-%{app}", "%{app", 0}, /* a default is plain text, up to the first brace */
        {"%{a:b c}", "odd", 0},
        {"%%{app}", "%{app}", 0},
        {"%%%{app}", "%%{app}", 0},
        {"%{app}%%{app}%{app}", "shop%{app}shop", 0},
        {"100%", "100%", 0},
        {"%%", "%%", 0},
        {"%d %s", "%d %s", 0},
        {"}%{app}}", "}shop}", 0},
    };
    struct batch *batch = made_batch();
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct template *template = template_must(rows[i].text);
        struct slice text = {NULL, 0};
        int missing = template_render(template, batch, &batch->records[0], &text);
        if (missing != rows[i].missing || !slice_equal(text, slice_str(rows[i].rendered)))
            fail_msg("%s: \"%.*s\", %d missing", rows[i].text, (int)text.len, text.ptr, missing);
        template_free(&template);
        assert_null(template);
    }
    batch_done(&batch);
}

static void wrong_templates_are_told(void **state)
{
    static const char *const rows[][2] = {
        {"logs.%{app", "\"%{\" without \"}\" in \"logs.%{app\"; \"%%{\" stands for a plain \"%{\""},
        {"%{a}%{", "\"%{\" without \"}\""},
        {"x%{}", "a field's name is missing behind \"%{\" in \"x%{}\""},
        {"%{:-x}", "a field's name is missing"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct error error = {.text = ""};
        assert_null(template_new(rows[i][0], &error));
        if (strstr(error.text, rows[i][1]) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i][0], error.text, rows[i][1]);
    }
}

static void constants_and_single_fields_are_not_copied(void **state)
{
    struct batch *batch = made_batch();
    const struct record *record = &batch->records[0];
    const char *next = batch->arena.next;
    struct slice constant, text;
    struct template *template = template_must("a%%{b}%%{c}d");
    (void)state;
    assert_true(template_constant(template, &constant));
    assert_true(slice_equal(constant, SLICE("a%{b}%{c}d")));
    assert_int_equal(template_render(template, batch, record, &text), 0);
    assert_ptr_equal(text.ptr, constant.ptr);
    template_free(&template);
    template = template_must("%{tags}");
    assert_false(template_constant(template, &constant));
    assert_int_equal(template_render(template, batch, record, &text), 0);
    assert_ptr_equal(text.ptr, record_find(record, SLICE("tags"))->value.ptr);
    template_free(&template);
    assert_ptr_equal(batch->arena.next, next);
    batch_done(&batch);
}

static void only_one_bare_field_is_a_field(void **state)
{
    static const char *const no[] = {"", "a", "%{a}x", "x%{a}", "%{a}%{b}", "%{a:-x}", "%%{a}"};
    struct slice key;
    struct template *template = template_must("%{log.file.path}");
    (void)state;
    assert_true(template_is_field(template, &key));
    assert_true(slice_equal(key, SLICE("log.file.path")));
    template_free(&template);
    for (size_t i = 0; i < ROWS(no); i++) {
        template = template_must(no[i]);
        assert_false(template_is_field(template, &key));
        template_free(&template);
    }
}

static void many_parts_render(void **state)
{
    enum { N = 300 };
    char text[N * 8 + 1];
    char expected[N * 5 + 1];
    struct batch *batch = made_batch();
    struct slice rendered;
    (void)state;
    for (int i = 0; i < N; i++) {
        memcpy(text + 7 * i, "%{app}-", 8);
        memcpy(expected + 5 * i, "shop-", 6);
    }
    struct template *template = template_must(text);
    assert_int_equal(template_render(template, batch, &batch->records[0], &rendered), 0);
    assert_true(slice_equal(rendered, slice_str(expected)));
    template_free(&template);
    batch_done(&batch);
}

static void no_room_is_told(void **state)
{
    static const char *const texts[] = {"%{message}%{message}", "%{@timestamp}", "x%{log.offset}"};
    (void)state;
    for (size_t i = 0; i < ROWS(texts); i++) {
        struct batch *batch = batch_of_lines(1, "x");
        struct slice text;
        batch->arena.limit = batch->arena.size; /* what is in use must do */
        batch->arena.next = batch->arena.end;
        struct template *template = template_must(texts[i]);
        assert_int_equal(template_render(template, batch, &batch->records[0], &text), -1);
        assert_true(batch->arena.overflowed);
        template_free(&template);
        batch_done(&batch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_render),
        cmocka_unit_test(wrong_templates_are_told),
        cmocka_unit_test(constants_and_single_fields_are_not_copied),
        cmocka_unit_test(only_one_bare_field_is_a_field),
        cmocka_unit_test(many_parts_render),
        cmocka_unit_test(no_room_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
