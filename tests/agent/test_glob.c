#include "agent/glob.h"

#include "tests/agent/harness.h"

static void patterns_match_whole_paths(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool matches;
    } rows[] = {
        {"/var/log/a.log", "/var/log/a.log", true},
        {"/var/log/a.log", "/var/log/b.log", false},
        {"/var/log/a.log", "/var/log/a.log.1", false},
        {"/var/log/*.log", "/var/log/a.log", true},
        {"/var/log/*.log", "/var/log/.log", false},
        {"/var/log/.*", "/var/log/.hidden", true},
        {"/var/log/*", "/var/log/.hidden", false},
        {"/var/log/*.log", "/var/log/sub/a.log", false},
        {"/var/*/a.log", "/var/log/a.log", true},
        {"/var/*/a.log", "/var/a.log", false},
        {"/var/*/a.log", "/var/x/y/a.log", false},
        {"/l/?.log", "/l/a.log", true},
        {"/l/?.log", "/l/ab.log", false},
        {"/l/[a-c].log", "/l/b.log", true},
        {"/l/[a-c].log", "/l/d.log", false},
        {"/l/[!a-c].log", "/l/d.log", true},
        {"/l/[!a-c].log", "/l/b.log", false},
        {"/l/[", "/l/[", true},
        {"/l/a\\*b", "/l/a\\xb", true}, /* a backslash is a backslash */
        {"/l/a\\*b", "/l/a*b", false},
        {"/l/a b%.log", "/l/a b%.log", true},
        {"/l/\xff*", "/l/\xff\xfe", true},
        {"/l/**/x", "/l/x", true},
        {"/l/**/x", "/l/a/x", true},
        {"/l/**/x", "/l/a/b/c/x", true},
        {"/l/**/x", "/l/a/b/c/y", false},
        {"/l/**/x", "/m/x", false},
        {"/l/**/x", "/l/.git/x", false},
        {"/l/**/*.log", "/l/a/b.log", true},
        {"/l/**/a/**/x", "/l/1/a/2/x", true},
        {"/l/**/a/**/x", "/l/1/2/x", false},
        {"/**/x", "/x", true},
        {"/**/x", "/a/b/x", true},
        {"/l//x", "/l/x", true},
        {"/l/x", "/l//x", true},
        {"/l", "/l/x", false},
        {"/l/x", "/l", false},
        {"/l/a**b", "/l/axyb", true}, /* within a name it is no more than a star */
        {"/l/a**b", "/l/a/b", false},
    };
    for (size_t i = 0; i < ROWS(rows); i++)
        if (glob_match(rows[i].pattern, rows[i].path) != rows[i].matches)
            fail_msg("%s and %s", rows[i].pattern, rows[i].path);
}

static void a_component_longer_than_any_name_does_not_overrun(void **state)
{
    (void)state;
    char pattern[3 * NAME_MAX], path[3 * NAME_MAX];
    memset(pattern, 'a', sizeof(pattern));
    memset(path, 'a', sizeof(path));
    pattern[0] = path[0] = '/';
    pattern[sizeof(pattern) - 1] = path[sizeof(path) - 1] = '\0';
    path[NAME_MAX / 2] = 'b';
    assert_false(glob_match(pattern, path));
}

struct found {
    const char *folder;
    char files[4096];
    char folders[4096];
};

/* ` name`, without the temporary folder's own path; only what exists. */
static void note(char *list, const char *folder, const char *path)
{
    size_t len = strlen(folder), used = strlen(list);
    if (strncmp(path, folder, len) == 0 && access(path, F_OK) == 0)
        snprintf(list + used, 4096 - used, " %s", path[len] == '/' ? path + len + 1 : ".");
}

static void on_folder(const char *folder, bool leaf, void *arg)
{
    struct found *found = (struct found *)arg;
    if (leaf)
        note(found->folders, found->folder, folder);
}

static void on_file(const char *path, void *arg)
{
    struct found *found = (struct found *)arg;
    note(found->files, found->folder, path);
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_words(char *list)
{
    char *words[256], copy[4096];
    size_t n = 0, len = 0;
    snprintf(copy, sizeof(copy), "%s", list);
    for (char *at = copy, *word; (word = strsep(&at, " ")) != NULL;)
        if (*word != '\0')
            words[n++] = word;
    qsort(words, n, sizeof(words[0]), compare_words);
    list[0] = '\0';
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(list + len, 4096 - len, "%s%s", i == 0 ? "" : " ", words[i]);
}

static int tree_setup(void **state)
{
    static const char *const folders[] = {"a", "a/b", "a/b/c", ".hidden", "z"};
    static const char *const files[] = {"x.log",       "y.txt",         "a/x.log", "a/b/x.log",
                                        "a/b/c/x.log", ".hidden/x.log", "z/y.txt", "a/.x.log"};
    char *folder = harness_folder();
    for (size_t i = 0; i < ROWS(folders); i++)
        assert_int_equal(mkdir(harness_path(folder, folders[i]), 0755), 0);
    for (size_t i = 0; i < ROWS(files); i++)
        harness_put(harness_path(folder, files[i]), "");
    /* To itself, up, to a folder beside, and to nowhere. */
    assert_int_equal(symlink(".", harness_path(folder, "self")), 0);
    assert_int_equal(symlink("..", harness_path(folder, "a/up")), 0);
    assert_int_equal(symlink("a", harness_path(folder, "link")), 0);
    assert_int_equal(symlink("nowhere", harness_path(folder, "dead")), 0);
    *state = folder;
    return 0;
}

static int tree_teardown(void **state)
{
    harness_remove((char *)*state);
    return 0;
}

static void a_walk_finds_what_matches_and_ends_in_spite_of_loops(void **state)
{
    const char *folder = (const char *)*state;
    static const struct {
        const char *pattern, *files, *leaves;
    } rows[] = {
        {"x.log", "x.log", "."},
        {"*.log", "x.log", "."},
        {"nothing/*.log", "", ""},
        {"y.txt/*.log", "", ""},
        {"*/x.log", "a/x.log link/x.log self/x.log", "a link self z"},
        {"link/b/*", "link/b/c link/b/x.log", "link/b"},
        {"**/x.log", "a/b/c/x.log a/b/x.log a/x.log x.log", ". . a a a/b a/b a/b/c a/b/c z z"},
        {"a/**/b/*.log", "a/b/x.log", "a a/b a/b a/b/c"},
        {"**/c/**/x.log", "a/b/c/x.log", ". a a/b a/b/c a/b/c a/b/c z"},
        {".hidden/*", ".hidden/x.log", ".hidden"},
        {"a/.*", "a/.x.log", "a"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct found found = {.folder = folder};
        glob_walk(harness_path(folder, rows[i].pattern), on_folder, on_file, &found);
        sort_words(found.files);
        sort_words(found.folders);
        if (strcmp(found.files, rows[i].files) != 0)
            fail_msg("%s: files %s", rows[i].pattern, found.files);
        if (strcmp(found.folders, rows[i].leaves) != 0)
            fail_msg("%s: folders %s", rows[i].pattern, found.folders);
    }
}

struct agree {
    const char *pattern;
    size_t n;
};

static void check_match(const char *path, void *arg)
{
    struct agree *agree = (struct agree *)arg;
    agree->n++;
    if (!glob_match(agree->pattern, path))
        fail_msg("%s was found for %s", path, agree->pattern);
}

static void ignore_folder(const char *folder, bool leaf, void *arg)
{
    (void)folder;
    (void)leaf;
    (void)arg;
}

static void what_a_walk_finds_matches(void **state)
{
    const char *folder = (const char *)*state;
    static const char *const patterns[] = {"*",         "*/*", "**/*",          "**/*.log",
                                           "**/b/**/*", ".*",  "self/**/x.log", "[a-z]*/?/*"};
    for (size_t i = 0; i < ROWS(patterns); i++) {
        struct agree agree = {.pattern = harness_path(folder, patterns[i])};
        glob_walk(agree.pattern, ignore_folder, check_match, &agree);
        assert_true(agree.n > 0);
    }
}

static void folders_on_the_way_are_named_from_the_root_on(void **state)
{
    const char *folder = (const char *)*state;
    struct found found = {.folder = ""};
    char expected[PATH_MAX];
    glob_walk(harness_path(folder, "missing/deep/*.log"), on_folder, on_file, &found);
    assert_string_equal(found.folders, ""); /* no leaf yet */
    glob_walk(harness_path(folder, "a/*.log"), on_folder, on_file, &found);
    snprintf(expected, sizeof(expected), " %s/a", folder + 1);
    assert_string_equal(found.folders, expected);
}

static void folders_that_lead_to_matches_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *folder;
        bool leads;
    } rows[] = {
        {"/var/log/*.log", "/var", true},
        {"/var/log/*.log", "/var/log", true},
        {"/var/log/*.log", "/var/log/a.log", false},
        {"/var/log/*.log", "/var/lib", false},
        {"/var/log/*.log", "/tmp", false},
        {"/srv/*/log/x", "/srv/a", true},
        {"/srv/*/log/x", "/srv/a/log", true},
        {"/srv/*/log/x", "/srv/a/lib", false},
        {"/srv/*/log/x", "/srv/.a", false},
        {"/srv/**/x", "/srv/a/b/c", true},
        {"/srv/**/x", "/srv/a/.b", false},
        {"/srv/**/x", "/usr", false},
        {"/srv/**/log/*", "/srv/a", true},
    };
    for (size_t i = 0; i < ROWS(rows); i++)
        if (glob_leads(rows[i].pattern, rows[i].folder) != rows[i].leads)
            fail_msg("%s %s", rows[i].pattern, rows[i].folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_that_lead_to_matches_are_told),
        cmocka_unit_test(patterns_match_whole_paths),
        cmocka_unit_test(a_component_longer_than_any_name_does_not_overrun),
        cmocka_unit_test(a_walk_finds_what_matches_and_ends_in_spite_of_loops),
        cmocka_unit_test(what_a_walk_finds_matches),
        cmocka_unit_test(folders_on_the_way_are_named_from_the_root_on),
    };
    return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
