#include "agent/siblings.h"

#include "agent/source.h"
#include "tests/agent/harness.h"

struct rig {
    char *folder;
    char *state;
    struct flusher *flusher;
    struct positions *positions;
    struct siblings siblings;
    struct option_list also;
};

static int rig_setup(void **state)
{
    struct error error;
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->folder = harness_folder();
    rig->state = harness_folder();
    rig->flusher = flusher_new();
    rig->positions = positions_open(rig->state, rig->flusher, &error);
    assert_non_null(rig->positions);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    siblings_free(&rig->siblings);
    positions_close(&rig->positions);
    flusher_free(&rig->flusher);
    harness_remove(rig->state);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

/* A file, made where it is not there, with a position of that offset. */
static void know(struct rig *rig, const char *stream, const char *name, uint64_t offset)
{
    const char *path = harness_path(rig->folder, name);
    struct file_facts facts;
    struct mark mark = {.offset = offset};
    bool known;
    harness_append(path, "");
    assert_int_equal(file_facts(path, &facts), 0);
    struct position *p = positions_claim(rig->positions, stream, &facts.id, path, 0, &known);
    assert_non_null(p);
    positions_set(rig->positions, p, &mark);
    positions_release(rig->positions, p);
}

static bool all(const char *path, void *arg)
{
    (void)path;
    (void)arg;
    return true;
}

static bool ends_with(const char *path, void *arg)
{
    const char *end = (const char *)arg;
    size_t len = strlen(path), end_len = strlen(end);
    return len >= end_len && strcmp(path + len - end_len, end) == 0;
}

static const struct sibling *sibling_of(const struct rig *rig, const char *name)
{
    const char *path = harness_path(rig->folder, name);
    for (size_t i = 0; i < rig->siblings.n; i++)
        if (strcmp(rig->siblings.items[i].path, path) == 0)
            return &rig->siblings.items[i];
    fail_msg("%s is missing", name);
    return NULL;
}

static void a_renamed_file_is_found_by_identity(void **state)
{
    struct rig *rig = (struct rig *)*state;
    know(rig, "s", "a.log", 10);
    know(rig, "s", "b.log", 20);
    assert_int_equal(
        rename(harness_path(rig->folder, "a.log"), harness_path(rig->folder, "a.log.1")), 0);
    harness_put(harness_path(rig->folder, "a.log"), "another file");
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_int_equal(rig->siblings.n, 2);
    const struct sibling *a = sibling_of(rig, "a.log"), *b = sibling_of(rig, "b.log");
    assert_string_equal(a->found, harness_path(rig->folder, "a.log.1"));
    assert_string_equal(b->found, harness_path(rig->folder, "b.log"));
    assert_int_equal(a->offset, 10);
    assert_int_equal(b->offset, 20);
    assert_true(a->looked && b->looked);
    assert_false(rig->siblings.failed);
}

static void a_file_in_another_folder_is_found_where_rotation_puts_files(void **state)
{
    struct rig *rig = (struct rig *)*state;
    const char *also[] = {"../elsewhere", NULL};
    static const char *const folders[] = {"l", "l/old", "l/old/older", "elsewhere", "absolute"};
    static const char *const to[] = {"l/old/a", "elsewhere/b.log.1", "absolute/c", "l/old/older/d"};
    static const char *const from[] = {"l/a.log", "l/b.log", "l/c.log", "l/d.log"};
    for (size_t i = 0; i < ROWS(folders); i++)
        assert_int_equal(mkdir(harness_path(rig->folder, folders[i]), 0755), 0);
    for (size_t i = 0; i < ROWS(from); i++) {
        know(rig, "s", from[i], 1);
        assert_int_equal(
            rename(harness_path(rig->folder, from[i]), harness_path(rig->folder, to[i])), 0);
    }
    also[1] = harness_path(rig->folder, "absolute");
    rig->also = (struct option_list){2, also};
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_string_equal(sibling_of(rig, "l/a.log")->found, harness_path(rig->folder, "l/old/a"));
    assert_non_null(sibling_of(rig, "l/b.log")->found);
    assert_string_equal(sibling_of(rig, "l/c.log")->found, harness_path(rig->folder, "absolute/c"));
    assert_null(sibling_of(rig, "l/d.log")->found);
    assert_true(sibling_of(rig, "l/d.log")->looked);
}

static void a_file_that_is_gone_is_not_found(void **state)
{
    struct rig *rig = (struct rig *)*state;
    know(rig, "s", "a.log", 10);
    assert_int_equal(unlink(harness_path(rig->folder, "a.log")), 0);
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_null(sibling_of(rig, "a.log")->found);
    assert_true(sibling_of(rig, "a.log")->looked);
}

static void a_folder_that_is_gone_was_not_looked_into(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(harness_path(rig->folder, "sub"), 0755), 0);
    assert_int_equal(mkdir(harness_path(rig->folder, "sub2"), 0755), 0);
    know(rig, "s", "sub/a.log", 1);
    know(rig, "s", "sub2/a.log", 1);
    know(rig, "s", "a.log", 1);
    assert_int_equal(rename(harness_path(rig->folder, "sub"), harness_path(rig->folder, "moved")),
                     0);
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_false(sibling_of(rig, "sub/a.log")->looked);
    assert_null(sibling_of(rig, "sub/a.log")->found);
    assert_non_null(sibling_of(rig, "sub2/a.log")->found);
    assert_non_null(sibling_of(rig, "a.log")->found);
}

static void only_those_that_are_wanted_of_the_stream_and_unclaimed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct file_facts facts;
    bool known;
    char end[] = ".log";
    know(rig, "s", "a.log", 1);
    know(rig, "s", "b.txt", 1);
    know(rig, "other", "c.log", 1);
    know(rig, "s", "d.log", 1);
    assert_int_equal(file_facts(harness_path(rig->folder, "d.log"), &facts), 0);
    assert_non_null(positions_claim(rig->positions, "s", &facts.id, "d.log", 0, &known));
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, ends_with, end);
    assert_int_equal(rig->siblings.n, 1);
    assert_non_null(sibling_of(rig, "a.log")->found);
}

static void nothing_known_is_nothing_found(void **state)
{
    struct rig *rig = (struct rig *)*state;
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_int_equal(rig->siblings.n, 0);
    assert_false(rig->siblings.failed);
}

static void among_many_each_is_found(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char name[32], moved[32];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        snprintf(moved, sizeof(moved), "g%d", 99 - i);
        know(rig, "s", name, (uint64_t)i);
        assert_int_equal(rename(harness_path(rig->folder, name), harness_path(rig->folder, moved)),
                         0);
    }
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    assert_int_equal(rig->siblings.n, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        snprintf(moved, sizeof(moved), "g%d", 99 - i);
        const struct sibling *sibling = sibling_of(rig, name);
        assert_string_equal(sibling->found, harness_path(rig->folder, moved));
        assert_int_equal(sibling->offset, i);
    }
}

static void files_of_folders_within_folders_are_looked_for_in_their_own(void **state)
{
    struct rig *rig = (struct rig *)*state;
    assert_int_equal(mkdir(harness_path(rig->folder, "b"), 0755), 0);
    assert_int_equal(mkdir(harness_path(rig->folder, "b-c"), 0755), 0);
    static const char *const names[] = {"a.log", "b/a.log", "b-c/a.log", "c.log", "b/z.log"};
    for (size_t i = 0; i < ROWS(names); i++) { /* in their order, folders and files alternate */
        char moved[64];
        snprintf(moved, sizeof(moved), "%s.1", names[i]);
        know(rig, "s", names[i], i);
        assert_int_equal(
            rename(harness_path(rig->folder, names[i]), harness_path(rig->folder, moved)), 0);
    }
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    for (size_t i = 0; i < ROWS(names); i++) {
        char moved[64];
        snprintf(moved, sizeof(moved), "%s.1", names[i]);
        assert_string_equal(sibling_of(rig, names[i])->found, harness_path(rig->folder, moved));
        assert_int_equal(sibling_of(rig, names[i])->offset, i);
    }
}

static void a_file_that_was_read_through_a_link_is_found_where_that_leads(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char *const folders[] = {"links", "pods", "more"};
    for (size_t i = 0; i < ROWS(folders); i++)
        assert_int_equal(mkdir(harness_path(rig->folder, folders[i]), 0755), 0);
    assert_int_equal(symlink("../pods/0.log", harness_path(rig->folder, "links/a.log")), 0);
    assert_int_equal(symlink("../more/0.log", harness_path(rig->folder, "links/b.log")), 0);
    assert_int_equal(symlink("../none/0.log", harness_path(rig->folder, "links/c.log")), 0);
    harness_put(harness_path(rig->folder, "pods/0.log"), "");
    know(rig, "s", "links/a.log", 1);
    know(rig, "s", "links/b.log", 2); /* dangling: the file is made */
    assert_int_equal(mkdir(harness_path(rig->folder, "none"), 0755), 0);
    know(rig, "s", "links/c.log", 3);
    harness_remove(strdup(harness_path(rig->folder, "none")));
    assert_int_equal(
        rename(harness_path(rig->folder, "pods/0.log"), harness_path(rig->folder, "pods/0.log.1")),
        0);
    assert_int_equal(unlink(harness_path(rig->folder, "more/0.log")), 0);
    siblings_find(&rig->siblings, rig->positions, "s", &rig->also, all, NULL);
    const char *found = sibling_of(rig, "links/a.log")->found;
    assert_non_null(found);
    assert_non_null(strstr(found, "/links/../pods/0.log.1"));
    assert_null(sibling_of(rig, "links/b.log")->found);
    assert_true(sibling_of(rig, "links/b.log")->looked);
    assert_null(sibling_of(rig, "links/c.log")->found);
    assert_false(sibling_of(rig, "links/c.log")->looked); /* who knows what was in there */
}

static void folders_are_told_apart_and_stand_together(void **state)
{
    (void)state;
    assert_int_equal(siblings_compare_folders("/a/b", "/a/c"), 0);
    assert_int_equal(siblings_compare_folders("/a", "/c"), 0);
    assert_true(siblings_compare_folders("/a/b", "/a/b/c") < 0);
    assert_true(siblings_compare_folders("/a/b/c", "/a/b") > 0);
    assert_true(siblings_compare_folders("/a-b/c", "/a/c") > 0);
    assert_true(siblings_compare_folders("/b/a", "/a/b") > 0);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(a_renamed_file_is_found_by_identity),
        RIG(a_file_in_another_folder_is_found_where_rotation_puts_files),
        RIG(a_file_that_is_gone_is_not_found),
        RIG(a_folder_that_is_gone_was_not_looked_into),
        RIG(only_those_that_are_wanted_of_the_stream_and_unclaimed),
        RIG(nothing_known_is_nothing_found),
        RIG(among_many_each_is_found),
        RIG(files_of_folders_within_folders_are_looked_for_in_their_own),
        RIG(a_file_that_was_read_through_a_link_is_found_where_that_leads),
        cmocka_unit_test(folders_are_told_apart_and_stand_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
