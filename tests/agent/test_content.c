/* What two files hold, compared; where their lines begin. */
#include "agent/content.h"

#include "tests/agent/harness.h"

#include <xxhash.h>

static char *folder;

static int setup(void **state)
{
    (void)state;
    folder = harness_folder();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    harness_remove(folder);
    return 0;
}

static int file_of(const char *name, const char *bytes, size_t len)
{
    const char *path = harness_path(folder, name);
    harness_write(path, bytes, len);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_not_equal(fd, -1);
    return fd;
}

static void a_mark_knows_the_first_and_the_last_bytes_before_it(void **state)
{
    (void)state;
    char text[3000];
    struct mark mark;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 23);
    int fd = file_of("a", text, sizeof(text));
    assert_int_equal(content_mark(fd, 2000, &mark), 0);
    assert_int_equal(mark.offset, 2000);
    assert_int_equal(mark.head.len, FINGERPRINT_MAX);
    assert_true(mark.head.hash == XXH3_64bits(text, FINGERPRINT_MAX));
    assert_int_equal(mark.tail.len, TAIL_MAX);
    assert_true(mark.tail.hash == XXH3_64bits(text + 2000 - TAIL_MAX, TAIL_MAX));
    assert_int_equal(content_mark(fd, 10, &mark), 0);
    assert_int_equal(mark.head.len, 10);
    assert_int_equal(mark.tail.len, 10);
    assert_int_equal(content_mark(fd, 0, &mark), 0);
    assert_int_equal(mark.head.len, 0);
    assert_int_equal(content_mark(fd, sizeof(text) + 1, &mark), -1);
    close(fd);
}

static void the_line_before_an_offset_is_found(void **state)
{
    (void)state;
    static const struct line_end two = {.bytes = "\n", .len = 2, .unit = 2};
    char text[10000];
    memset(text, 'x', sizeof(text));
    text[9] = '\n';
    int fd = file_of("a", text, sizeof(text));
    assert_int_equal(content_line_start(fd, 0, &line_end_usual), 0);
    assert_int_equal(content_line_start(fd, 9, &line_end_usual), 0);
    assert_int_equal(content_line_start(fd, 10, &line_end_usual), 10);
    assert_int_equal(content_line_start(fd, 11, &line_end_usual), 10);
    for (uint64_t offset = 4090; offset < 4120; offset++)
        assert_int_equal(content_line_start(fd, offset, &line_end_usual), 10);
    assert_int_equal(content_line_start(fd, sizeof(text), &line_end_usual), 10);
    close(fd);
    memset(text, 0, sizeof(text));
    text[101] = '\n'; /* not at a multiple of two: half of another letter */
    text[50] = '\n';
    fd = file_of("b", text, sizeof(text));
    assert_int_equal(content_line_start(fd, 9000, &two), 52);
    for (uint64_t offset = 4140; offset < 4156; offset++)
        assert_int_equal(content_line_start(fd, offset, &two), 52);
    assert_int_equal(content_line_start(fd, 51, &two), 0);
    assert_int_equal(content_line_start(fd, 52, &two), 52);
    close(fd);
}

static void a_common_beginning_is_measured_to_the_byte(void **state)
{
    (void)state;
    static const size_t differences[] = {0, 1, 65535, 65536, 65537, 150000, 199999};
    char *text = (char *)calloc(1, 200000);
    assert_non_null(text);
    memset(text, 'x', 200000);
    int a = file_of("a", text, 200000);
    for (size_t i = 0; i < ROWS(differences); i++) {
        text[differences[i]] = 'y';
        int b = file_of("b", text, 200000);
        text[differences[i]] = 'x';
        uint64_t same = 0;
        while (content_common(a, b, 200000, 70000, &same) == COMMON_LATER)
            assert_in_range(same, 1, 199999);
        assert_int_equal(same, differences[i]);
        same = 0;
        assert_int_equal(content_common(a, b, differences[i], 1 << 20, &same), COMMON_ALL);
        assert_int_equal(same, differences[i]);
        assert_false(content_same(a, b, differences[i], 1));
        close(b);
    }
    uint64_t same = 0;
    assert_true(content_same(a, a, 199999, 1));
    assert_false(content_same(a, a, 199999, 2));
    assert_int_equal(content_common(a, a, 200001, 1 << 20, &same),
                     COMMON_LATER); /* it ends before */
    close(a);
    free(text);
}

#define FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        FOLDER(a_mark_knows_the_first_and_the_last_bytes_before_it),
        FOLDER(the_line_before_an_offset_is_found),
        FOLDER(a_common_beginning_is_measured_to_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
