#include "agent/writers.h"

#include "tests/agent/harness.h"

#include <sys/wait.h>

static void a_writer_is_seen_and_its_end_too(void **state)
{
    (void)state;
    char *folder = harness_folder();
    const char *path = harness_path(folder, "a");
    int writer = open(path, O_WRONLY | O_CREAT, 0600);
    int fd = open(path, O_RDONLY);
    assert_int_equal(writers_of(fd), WRITERS_SOME);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(writers_of(fd), WRITERS_SOME);
    close(writer);
    assert_int_equal(writers_of(fd), WRITERS_NONE);
    assert_int_equal(writers_of(fd), WRITERS_NONE);
    close(fd);
    harness_remove(folder);
}

static void readers_are_no_writers(void **state)
{
    (void)state;
    char *folder = harness_folder();
    const char *path = harness_path(folder, "a");
    close(open(path, O_WRONLY | O_CREAT, 0600));
    int fd = open(path, O_RDONLY), other = open(path, O_RDONLY);
    assert_int_equal(writers_of(fd), WRITERS_NONE);
    int writer = open(path, O_WRONLY | O_NONBLOCK); /* no lease is left behind */
    assert_true(writer != -1);
    assert_int_equal(writers_of(fd), WRITERS_SOME);
    close(writer);
    close(other);
    close(fd);
    harness_remove(folder);
}

static void what_has_no_leases_is_not_known(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY);
    assert_int_equal(writers_of(fd), WRITERS_UNKNOWN);
    close(fd);
    assert_int_equal(writers_of(-1), WRITERS_UNKNOWN);
}

static void files_of_others_are_not_known_without_the_right(void **state)
{
    (void)state;
    if (geteuid() != 0)
        return;
    char *folder = harness_folder();
    const char *path = harness_path(folder, "a");
    close(open(path, O_WRONLY | O_CREAT, 0644));
    int fd = open(path, O_RDONLY);
    pid_t child = fork();
    if (child == 0)
        _exit(setuid(65534) == 0 ? (int)writers_of(fd) : 99);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), WRITERS_UNKNOWN);
    close(fd);
    harness_remove(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_is_seen_and_its_end_too),
        cmocka_unit_test(readers_are_no_writers),
        cmocka_unit_test(what_has_no_leases_is_not_known),
        cmocka_unit_test(files_of_others_are_not_known_without_the_right),
    };
    writers_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
