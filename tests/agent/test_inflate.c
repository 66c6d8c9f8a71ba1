/* Decompressing in steps, into a file with a hole. */
#include "agent/inflate.h"

#include "tests/agent/harness.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define TEXT_LEN ((size_t)300000)

struct files {
    char *folder;
    char *text;
    char packed[TEXT_LEN * 2];
    size_t packed_len;
};

static int setup(void **state)
{
    struct files *files = (struct files *)calloc(1, sizeof(*files));
    assert_non_null(files);
    files->folder = harness_folder();
    files->text = (char *)malloc(TEXT_LEN);
    assert_non_null(files->text);
    unsigned random = 1;
    for (size_t i = 0; i < TEXT_LEN; i++) {
        random = random * 1103515245 + 12345;
        files->text[i] = i % 80 == 79 ? '\n' : (char)('a' + (random >> 16) % 26);
    }
    *state = files;
    return 0;
}

static int teardown(void **state)
{
    struct files *files = (struct files *)*state;
    harness_remove(files->folder);
    free(files->text);
    free(files);
    return 0;
}

static void pack_gzip(struct files *files, const char *text, size_t len)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)files->packed + files->packed_len;
    z.avail_out = (uInt)(sizeof(files->packed) - files->packed_len);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    files->packed_len += z.total_out;
    deflateEnd(&z);
}

/* With a checksum, as the tool writes it. */
static void pack_zstd(struct files *files, const char *text, size_t len)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(context, files->packed + files->packed_len,
                              sizeof(files->packed) - files->packed_len, text, len);
    assert_false(ZSTD_isError(n));
    files->packed_len += n;
    ZSTD_freeCCtx(context);
}

/* What is in `packed`, as a file of that name. */
static struct inflate *open_packed(struct files *files, const char *name, uint64_t keep,
                                   int *ret_out)
{
    const char *path = harness_path(files->folder, name);
    harness_write(path, files->packed, files->packed_len);
    *ret_out =
        open(harness_path(files->folder, "out"), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    assert_int_not_equal(*ret_out, -1);
    int in = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_not_equal(in, -1);
    struct inflate *inflate = inflate_open(path, in, *ret_out, keep);
    assert_non_null(inflate);
    return inflate;
}

static enum inflate_result run(struct inflate *inflate, size_t most)
{
    enum inflate_result result;
    unsigned steps = 0;
    do {
        assert_in_range(steps++, 0, 100000);
        result = inflate_step(inflate, most);
    } while (result == INFLATE_MORE);
    return result;
}

static void assert_text(struct files *files, uint64_t begin, uint64_t end)
{
    size_t len;
    char *out = harness_read(harness_path(files->folder, "out"), &len);
    assert_non_null(out);
    assert_int_equal(len, end);
    assert_memory_equal(out, files->text, end < INFLATE_HEAD ? end : INFLATE_HEAD);
    assert_memory_equal(out + begin, files->text + begin, end - begin);
    free(out);
}

static void both_kinds_are_known_by_their_names_and_no_others(void **state)
{
    (void)state;
    assert_true(inflate_knows("/l/a.log.1.gz"));
    assert_true(inflate_knows("/l/a.log.zst"));
    assert_false(inflate_knows("/l/a.log.xz"));
    assert_false(inflate_knows("/l/a.log"));
    assert_false(inflate_knows(".gz"));
}

static void text_comes_out_at_its_offsets_in_steps_of_any_size(void **state)
{
    struct files *files = (struct files *)*state;
    static const char *const names[] = {"a.gz", "a.zst"};
    static const size_t steps[] = {1, 1000, 65536, 1 << 20};
    static const uint64_t keeps[] = {0, 100, 1024, INFLATE_HEAD, 150000, TEXT_LEN - 1};
    for (size_t n = 0; n < ROWS(names); n++) {
        files->packed_len = 0;
        (n == 0 ? pack_gzip : pack_zstd)(files, files->text, TEXT_LEN);
        for (size_t i = 0; i < ROWS(steps); i++) {
            for (size_t k = 0; k < ROWS(keeps); k++) {
                int out;
                struct inflate *inflate = open_packed(files, names[n], keeps[k], &out);
                assert_int_equal(run(inflate, steps[i]), INFLATE_END);
                assert_int_equal(inflate_size(inflate), TEXT_LEN);
                inflate_close(&inflate);
                close(out);
                assert_text(files, keeps[k], TEXT_LEN);
            }
        }
    }
}

static void what_lies_between_takes_no_room(void **state)
{
    struct files *files = (struct files *)*state;
    struct stat st;
    int out;
    pack_gzip(files, files->text, TEXT_LEN);
    struct inflate *inflate = open_packed(files, "a.gz", TEXT_LEN - 1000, &out);
    assert_int_equal(run(inflate, 1 << 20), INFLATE_END);
    assert_int_equal(fstat(out, &st), 0);
    assert_int_equal(st.st_size, TEXT_LEN);
    assert_in_range(st.st_blocks * 512, 0, TEXT_LEN / 2);
    inflate_close(&inflate);
    close(out);
}

static void several_members_are_one_text_and_padding_is_none(void **state)
{
    struct files *files = (struct files *)*state;
    for (int zstd = 0; zstd < 2; zstd++) {
        int out;
        files->packed_len = 0;
        for (size_t at = 0; at < TEXT_LEN; at += TEXT_LEN / 3)
            (zstd ? pack_zstd : pack_gzip)(files, files->text + at, TEXT_LEN / 3);
        if (!zstd)
            memset(files->packed + files->packed_len, 0, 512);
        files->packed_len += zstd ? 0 : 512;
        struct inflate *inflate = open_packed(files, zstd ? "a.zst" : "a.gz", 0, &out);
        assert_int_equal(run(inflate, 1000), INFLATE_END);
        inflate_close(&inflate);
        close(out);
        assert_text(files, 0, TEXT_LEN);
    }
}

/* A long run of one letter: the last bytes of the compressed file stand for far more text than one step takes. */
static void text_that_is_far_longer_than_its_file_comes_out_whole(void **state)
{
    struct files *files = (struct files *)*state;
    for (int zstd = 0; zstd < 2; zstd++) {
        int out;
        files->packed_len = 0;
        memset(files->text, 'x', TEXT_LEN);
        (zstd ? pack_zstd : pack_gzip)(files, files->text, TEXT_LEN);
        struct inflate *inflate = open_packed(files, zstd ? "a.zst" : "a.gz", 0, &out);
        assert_int_equal(run(inflate, 10), INFLATE_END);
        inflate_close(&inflate);
        close(out);
        assert_text(files, 0, TEXT_LEN);
    }
}

static void a_file_that_ends_too_early_gives_what_it_has_and_goes_on_when_it_grows(void **state)
{
    struct files *files = (struct files *)*state;
    for (int zstd = 0; zstd < 2; zstd++) {
        int out;
        const char *name = zstd ? "a.zst" : "a.gz";
        files->packed_len = 0;
        (zstd ? pack_zstd : pack_gzip)(files, files->text, TEXT_LEN);
        size_t whole = files->packed_len;
        files->packed_len = whole * 3 / 4;
        struct inflate *inflate = open_packed(files, name, 0, &out);
        assert_int_equal(run(inflate, 65536), INFLATE_CUT);
        assert_in_range(inflate_size(inflate), TEXT_LEN / 4, TEXT_LEN - 1);
        assert_text(files, 0, inflate_size(inflate));
        assert_int_equal(inflate_step(inflate, 1), INFLATE_CUT);
        harness_write_flags(harness_path(files->folder, name), files->packed + whole * 3 / 4,
                            whole - whole * 3 / 4, O_APPEND);
        assert_int_equal(run(inflate, 65536), INFLATE_END);
        inflate_close(&inflate);
        close(out);
        assert_text(files, 0, TEXT_LEN);
    }
    int out;
    files->packed_len = 0;
    struct inflate *inflate = open_packed(files, "empty.gz", 0, &out);
    assert_int_equal(run(inflate, 1), INFLATE_CUT);
    inflate_close(&inflate);
    close(out);
}

static void a_damaged_file_gives_what_stands_before_the_damage(void **state)
{
    struct files *files = (struct files *)*state;
    for (int zstd = 0; zstd < 2; zstd++) {
        int out;
        files->packed_len = 0;
        (zstd ? pack_zstd : pack_gzip)(files, files->text, TEXT_LEN);
        memset(files->packed + files->packed_len * 3 / 4, 0xa5, 200);
        struct inflate *inflate = open_packed(files, zstd ? "a.zst" : "a.gz", 0, &out);
        assert_int_equal(run(inflate, 65536), INFLATE_CORRUPT);
        assert_in_range(inflate_size(inflate), TEXT_LEN / 4, TEXT_LEN * 2);
        char begin[TEXT_LEN / 4];
        assert_int_equal(pread(out, begin, sizeof(begin), 0), sizeof(begin));
        assert_memory_equal(begin, files->text, sizeof(begin));
        inflate_close(&inflate);
        close(out);
        files->packed_len = 10;
        memcpy(files->packed, "not packed", 10);
        inflate = open_packed(files, zstd ? "a.zst" : "a.gz", 0, &out);
        assert_int_equal(run(inflate, 65536), INFLATE_CORRUPT);
        assert_int_equal(inflate_size(inflate), 0);
        inflate_close(&inflate);
        close(out);
    }
}

static void a_step_that_can_not_write_is_done_again(void **state)
{
    struct files *files = (struct files *)*state;
    int out;
    pack_gzip(files, files->text, TEXT_LEN);
    struct inflate *inflate = open_packed(files, "a.gz", 0, &out);
    assert_int_equal(inflate_step(inflate, 1), INFLATE_MORE);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), good = dup(out);
    assert_int_not_equal(full, -1);
    assert_int_not_equal(dup2(full, out), -1);
    for (int i = 0; i < 3; i++) {
        uint64_t size = inflate_size(inflate);
        assert_int_equal(inflate_step(inflate, 1 << 20), INFLATE_FAILED);
        assert_int_equal(errno, ENOSPC);
        assert_int_equal(inflate_size(inflate), size);
    }
    assert_int_not_equal(dup2(good, out), -1);
    assert_int_equal(run(inflate, 1 << 20), INFLATE_END);
    inflate_close(&inflate);
    close(full);
    close(good);
    close(out);
    assert_text(files, 0, TEXT_LEN);
}

#define INFLATE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        INFLATE(both_kinds_are_known_by_their_names_and_no_others),
        INFLATE(text_comes_out_at_its_offsets_in_steps_of_any_size),
        INFLATE(what_lies_between_takes_no_room),
        INFLATE(several_members_are_one_text_and_padding_is_none),
        INFLATE(text_that_is_far_longer_than_its_file_comes_out_whole),
        INFLATE(a_file_that_ends_too_early_gives_what_it_has_and_goes_on_when_it_grows),
        INFLATE(a_damaged_file_gives_what_stands_before_the_damage),
        INFLATE(a_step_that_can_not_write_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
