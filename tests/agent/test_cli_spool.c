#include "tests/agent/spool_rig.h"

#include "agent/cli.h"

#include <sys/file.h>

/* Runs the program; its standard output and error go to *ret_text, malloc'ed. Returns the exit status. */
static int run(const struct spool_rig *rig, const char *arguments, char **ret_text)
{
    char command[4 * PATH_MAX];
    const char *build = getenv("BUILD");
    const char *out = harness_path(rig->folder, "out");
    snprintf(command, sizeof(command), "%s/splashdam spool %s --state %s >%s 2>&1",
             build == NULL ? "build" : build, arguments, rig->folder, out);
    int status = system(command);
    assert_true(WIFEXITED(status));
    *ret_text = harness_read(out, NULL);
    assert_non_null(*ret_text);
    return WEXITSTATUS(status);
}

static void assert_run(const struct spool_rig *rig, const char *arguments, int status,
                       const char *part)
{
    char *text;
    int result = run(rig, arguments, &text);
    if (result != status || strstr(text, part) == NULL)
        fail_msg("%s: exit %d, expected %d and %s, got:\n%s", arguments, result, status, part, text);
    free(text);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text++)
        n++;
    return n;
}

static void what_is_there_is_listed_checked_and_dumped_beside_the_agent(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    char *text;
    rig_open(rig);
    rig_fill(rig, 1, 4, 10);
    assert_run(rig, "ls", 0, "frames=4 records=12");
    assert_run(rig, "ls", 0, "stream=s segments=1 acknowledged=0 newest=4");
    assert_run(rig, "check", 0, "ok");
    assert_int_equal(run(rig, "dump -s s", &text), 0);
    assert_int_equal(count(text, "\"sequence\":"), 12);
    assert_non_null(strstr(text,
                           "\"topic\":\"topic\",\"partition\":-1,\"timestamp\":100,\"key\":null,"
                           "\"headers\":\"0068656164\",\"payload\":\""));
    free(text);
    assert_int_equal(run(rig, "dump -s other", &text), 0);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(run(rig, "dump --raw", &text), 0);
    assert_memory_equal(text, rig_payload(1, 0, 10).ptr, 10);
    free(text);
    rig_expect(rig, 1, 4); /* and nothing of it was touched */
}

static void what_is_bad_is_told_with_file_and_offset(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    size_t len = 0;
    rig_open(rig);
    rig_fill(rig, 1, 4, 10);
    rig_close(rig);
    const char *path = rig_segment(rig, 0);
    char *bytes = harness_read(path, &len);
    bytes[len / 2] ^= 1;
    harness_write(path, bytes, len);
    free(bytes);
    char *text;
    assert_int_equal(run(rig, "check", &text), 1);
    assert_non_null(strstr(text, ".seg:"));
    assert_non_null(strstr(text, ": damaged"));
    free(text);
    assert_run(rig, "ls", 1, "frames=3");
}

static void salvage_sends_what_is_good_and_keeps_the_file(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    char arguments[2 * PATH_MAX], aside[PATH_MAX];
    rig_open(rig);
    rig_fill(rig, 1, 4, 10);
    rig_close(rig);
    const char *path = rig_segment(rig, 0);
    snprintf(aside, sizeof(aside), "%s/spool/quarantine/s.%s", rig->folder, strrchr(path, '/') + 1);
    assert_int_equal(rename(path, aside), 0);
    size_t len = 0, kept_len = 0;
    char *bytes = harness_read(aside, &len);
    bytes[len - 1] ^= 1; /* the fourth is damaged */
    harness_write(aside, bytes, len);
    assert_run(rig, "dump -q", 1, "\"sequence\":3");
    snprintf(arguments, sizeof(arguments), "salvage %s", aside);
    int lock = open(harness_path(rig->folder, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_run(rig, arguments, 1, "the agent runs");
    close(lock);
    assert_run(rig, arguments, 1, "3 frames go to stream s");
    snprintf(arguments, sizeof(arguments), "%s.salvaged", aside);
    char *kept = harness_read(arguments, &kept_len);
    assert_int_equal(len, kept_len);
    assert_memory_equal(bytes, kept, len);
    free(bytes);
    free(kept);
    rig_open(rig);
    assert_int_equal(rig->positions, 0); /* they say nothing of where files are read on */
    struct spool_frame frame;
    struct spool_record record;
    unsigned n = 0;
    while (spool_next(rig->spool, &rig->arena, &frame) == SPOOL_READ)
        while (spool_frame_record(&frame, &record))
            n++;
    assert_int_equal(n, 9);
}

static void wrong_usage_is_answered_with_the_right_one(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    assert_run(rig, "", 2, "usage:");
    assert_run(rig, "list", 2, "no such command");
    assert_run(rig, "salvage", 2, "which file");
    assert_run(rig, "ls -x", 2, "usage:");
    assert_run(rig, "ls -h", 0, "usage:");
    assert_run(rig, "check", 0, "ok"); /* no spool yet: nothing is bad */
    assert_run(rig, "dump missing", 1, "missing");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_there_is_listed_checked_and_dumped_beside_the_agent),
        TEST(what_is_bad_is_told_with_file_and_offset),
        TEST(salvage_sends_what_is_good_and_keeps_the_file),
        TEST(wrong_usage_is_answered_with_the_right_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
