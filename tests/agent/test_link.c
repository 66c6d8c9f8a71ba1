#include "agent/link.h"

#include "tests/agent/harness.h"

static int folder_setup(void **state)
{
    *state = harness_folder();
    return 0;
}

static int folder_teardown(void **state)
{
    harness_remove((char *)*state);
    return 0;
}

static void put_link(const char *folder, const char *name, const char *target)
{
    assert_int_equal(symlink(target, harness_path(folder, name)), 0);
}

static void assert_leads(const char *folder, const char *name, const char *step, const char *end)
{
    char target[PATH_MAX];
    assert_true(link_step(harness_path(folder, name), target));
    assert_string_equal(target, step);
    assert_true(link_end(harness_path(folder, name), target));
    assert_string_equal(target, end);
}

static void a_target_stands_where_its_link_does_unless_it_is_absolute(void **state)
{
    const char *folder = (const char *)*state;
    put_link(folder, "near", "x");
    put_link(folder, "up", "../y");
    put_link(folder, "far", "/a b/c");
    assert_leads(folder, "near", harness_path(folder, "x"), harness_path(folder, "x"));
    assert_leads(folder, "up", harness_path(folder, "../y"), harness_path(folder, "../y"));
    assert_leads(folder, "far", "/a b/c", "/a b/c");
}

static void a_chain_ends_at_what_is_no_link(void **state)
{
    const char *folder = (const char *)*state;
    put_link(folder, "1", "2");
    put_link(folder, "2", harness_path(folder, "3"));
    put_link(folder, "3", "4");
    assert_leads(folder, "1", harness_path(folder, "2"), harness_path(folder, "4"));
    harness_put(harness_path(folder, "4"), "");
    assert_leads(folder, "1", harness_path(folder, "2"), harness_path(folder, "4"));
}

static void what_is_no_link_leads_nowhere(void **state)
{
    const char *folder = (const char *)*state;
    char target[PATH_MAX];
    harness_put(harness_path(folder, "file"), "");
    static const char *const names[] = {"file", "none", ".", "file/x"};
    for (size_t i = 0; i < ROWS(names); i++) {
        assert_false(link_step(harness_path(folder, names[i]), target));
        assert_false(link_end(harness_path(folder, names[i]), target));
    }
}

static void a_loop_has_no_end(void **state)
{
    const char *folder = (const char *)*state;
    char target[PATH_MAX];
    put_link(folder, "a", "b");
    put_link(folder, "b", "a");
    assert_false(link_end(harness_path(folder, "a"), target));
}

static void a_target_without_room_leads_nowhere(void **state)
{
    const char *folder = (const char *)*state;
    char target[PATH_MAX], text[PATH_MAX];
    memset(text, 'x', sizeof(text));
    text[PATH_MAX - 2] = '\0';
    put_link(folder, "long", text);
    assert_false(link_step(harness_path(folder, "long"), target));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        IN_FOLDER(a_target_stands_where_its_link_does_unless_it_is_absolute),
        IN_FOLDER(a_chain_ends_at_what_is_no_link),
        IN_FOLDER(what_is_no_link_leads_nowhere),
        IN_FOLDER(a_loop_has_no_end),
        IN_FOLDER(a_target_without_room_leads_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
