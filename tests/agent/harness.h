/* What tests share: a folder of their own, and files in it. Everything fails the test when it can't be done. */
#ifndef SPLASHDAM_HARNESS_H
#define SPLASHDAM_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* A new empty folder; harness_remove() removes and frees it. */
static inline char *harness_folder(void)
{
    const char *base = getenv("TMPDIR");
    char name[PATH_MAX], *real;
    snprintf(name, sizeof(name), "%s/splashdam-test-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(name));
    real = realpath(name, NULL);
    assert_non_null(real);
    return real;
}

static inline int harness_remove_one(const char *path, const struct stat *st, int kind,
                                     struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void harness_remove(char *folder)
{
    assert_int_equal(nftw(folder, harness_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(folder);
}

/* folder/name, in one of eight buffers that are used in turn. */
static inline const char *harness_path(const char *folder, const char *name)
{
    static char buffers[8][PATH_MAX];
    static unsigned turn;
    char *buffer = buffers[turn++ % 8];
    assert_true(snprintf(buffer, PATH_MAX, "%s/%s", folder, name) < PATH_MAX);
    return buffer;
}

static inline void harness_write_flags(const char *path, const char *bytes, size_t len, int flags)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
    assert_int_not_equal(fd, -1);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(close(fd), 0);
}

/* The same inode where the file was there before. */
static inline void harness_write(const char *path, const char *bytes, size_t len)
{
    harness_write_flags(path, bytes, len, O_TRUNC);
}

static inline void harness_put(const char *path, const char *text)
{
    harness_write(path, text, strlen(text));
}

static inline void harness_append(const char *path, const char *text)
{
    harness_write_flags(path, text, strlen(text), O_APPEND);
}

/* The whole file and a NUL, malloc'ed; NULL when there is none. */
static inline char *harness_read(const char *path, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        return NULL;
    assert_int_equal(fstat(fd, &st), 0);
    char *text = (char *)malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    close(fd);
    if (ret_len != NULL)
        *ret_len = (size_t)st.st_size;
    return text;
}

static inline void harness_assert_content(const char *path, const char *expected)
{
    char *text = harness_read(path, NULL);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

#endif
