#include "tests/agent/spool_rig.h"

#include "agent/clock.h"

/* The whole spool folder, copied, so that each damage begins from the same state. */
struct image {
    char *bytes;
    size_t len;
    char path[PATH_MAX];
};

/* Six small frames in one segment, closed. */
static void make_image(struct spool_rig *rig, struct image *image)
{
    rig_open(rig);
    rig_fill(rig, 1, 6, 20);
    rig_close(rig);
    snprintf(image->path, sizeof(image->path), "%s", rig_segment(rig, 0));
    image->bytes = harness_read(image->path, &image->len);
    assert_non_null(image->bytes);
}

static void clean(struct spool_rig *rig)
{
    static const char *const folders[] = {"spool/s", "spool/quarantine"};
    rig_close(rig);
    for (size_t i = 0; i < ROWS(folders); i++) {
        char path[PATH_MAX];
        DIR *dir = opendir(harness_path(rig->folder, folders[i]));
        assert_non_null(dir);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            snprintf(path, sizeof(path), "%s/%s", folders[i], entry->d_name);
            if (entry->d_name[0] != '.')
                assert_int_equal(unlink(harness_path(rig->folder, path)), 0);
        }
        closedir(dir);
    }
}

/* Reads all that is there and asserts that it rises and what of 1..6 it is: bit n for frame n. */
static unsigned read_all(struct spool_rig *rig)
{
    unsigned seen = 0;
    uint64_t n, last = 0;
    for (; (n = rig_next(rig)) != 0; last = n) {
        assert_true(n > last && n <= 6);
        seen |= 1u << n;
    }
    return seen;
}

#define ALL 0x7eu

/* Offsets at which frames begin, and the end. */
static void find_frames(const struct image *image, uint64_t starts[7])
{
    struct segment_scan scan = {.fd = -1};
    struct segment_piece piece;
    struct segment_name name;
    int fd = open(image->path, O_RDONLY | O_CLOEXEC);
    assert_true(segment_name_find(image->path, &name));
    segment_scan_init(&scan, fd, name.salt, 0, image->len);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(segment_next(&scan, &piece), FOUND_FRAME);
        starts[i] = piece.from;
        starts[i + 1] = piece.to;
    }
    segment_scan_fini(&scan);
    close(fd);
}

static void a_flipped_bit_costs_its_frame_and_no_other(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct image image = {.len = 0};
    uint64_t starts[7];
    make_image(rig, &image);
    find_frames(&image, starts);
    for (size_t frame = 0; frame < 6; frame += 5) { /* the first and the last */
        for (size_t bit = starts[frame] * 8; bit < starts[frame + 1] * 8; bit++) {
            clean(rig);
            image.bytes[bit / 8] = (char)(image.bytes[bit / 8] ^ 1 << bit % 8);
            harness_write(image.path, image.bytes, image.len);
            image.bytes[bit / 8] = (char)(image.bytes[bit / 8] ^ 1 << bit % 8);
            rig_open(rig);
            assert_int_equal(read_all(rig), ALL & ~(1u << (frame + 1)));
            assert_int_equal(rig->last_offset, frame == 5 ? 5000 : 6000);
            struct spool_stats stats = rig_stats(rig);
            assert_int_equal(stats.damaged_frames, 1);
            assert_int_equal(stats.damaged_bytes, starts[frame + 1] - starts[frame]);
            assert_int_equal(stats.missing_frames, frame == 0 ? 1 : 0);
            assert_int_equal(rig_count(rig, "spool/quarantine"), 1);
        }
    }
    rig_reopen(rig); /* known by now */
    assert_int_equal(rig_stats(rig).damaged_frames, 0);
    assert_int_equal(rig_count(rig, "spool/quarantine"), 1);
    free(image.bytes);
}

static void a_segment_cut_anywhere_keeps_what_is_before(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct image image = {.len = 0};
    uint64_t starts[7];
    make_image(rig, &image);
    find_frames(&image, starts);
    unsigned whole = 0;
    for (size_t len = 0; len <= image.len; len++) {
        if (whole < 6 && len == starts[whole + 1])
            whole++;
        clean(rig);
        harness_write(image.path, image.bytes, len);
        rig_open(rig);
        assert_int_equal(read_all(rig), (2u << whole) - 2);
        assert_int_equal(rig->last_offset, 1000 * whole);
        struct spool_stats stats = rig_stats(rig);
        assert_int_equal(stats.damaged_frames, 0);
        if (whole > 0)
            assert_int_equal(stats.torn_bytes, len - starts[whole]);
        if (whole == 6)
            break;
        rig_fill(rig, whole + 1, whole + 1, 20); /* it goes on where it broke off */
        assert_int_equal(rig_next(rig), whole + 1);
        rig_reopen(rig);
        assert_int_equal(read_all(rig), (4u << whole) - 2);
        assert_int_equal(rig_stats(rig).torn_bytes, 0);
    }
    free(image.bytes);
}

static void bytes_lost_or_added_in_the_middle_cost_what_they_hit(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct image image = {.len = 0};
    uint64_t starts[7];
    make_image(rig, &image);
    find_frames(&image, starts);
    char *bytes = (char *)malloc(image.len + 100);
    assert_non_null(bytes);
    for (int add = 0; add < 2; add++) {
        for (uint64_t at = starts[2]; at < starts[3]; at++) {
            size_t skip = add ? 0 : 1, more = add ? 100 : 0;
            clean(rig);
            memcpy(bytes, image.bytes, at);
            memset(bytes + at, 'x', more);
            memcpy(bytes + at + more, image.bytes + at + skip, image.len - at - skip);
            harness_write(image.path, bytes, image.len - skip + more);
            rig_open(rig);
            assert_int_equal(read_all(rig), at == starts[2] && add ? ALL : ALL & ~(1u << 3));
            assert_int_equal(rig_stats(rig).damaged_frames, 1);
        }
    }
    free(bytes);
    free(image.bytes);
}

static void zeros_at_the_end_are_what_a_power_cut_leaves(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct image image = {.len = 0};
    make_image(rig, &image);
    assert_int_equal(truncate(image.path, (off_t)image.len + 5000), 0);
    rig_open(rig);
    assert_int_equal(read_all(rig), ALL);
    assert_int_equal(rig_stats(rig).torn_bytes, 5000);
    assert_int_equal(rig_stats(rig).damaged_frames, 0);
    free(image.bytes);
}

/* Several segments: frames 1 to 60. Returns how many. */
static size_t make_segments(struct spool_rig *rig)
{
    rig_open(rig);
    rig_fill(rig, 1, 60, 2000);
    size_t n = rig_stats(rig).segments;
    assert_true(n > 3);
    rig_close(rig);
    return n;
}

static uint64_t first_of(const char *path)
{
    struct segment_name name;
    assert_true(segment_name_find(path, &name));
    return name.first;
}

static void a_missing_segment_is_counted_and_the_others_come(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    for (size_t which = 0; which < 2; which++) {
        make_segments(rig);
        uint64_t first = first_of(rig_segment(rig, which));
        uint64_t next = first_of(rig_segment(rig, which + 1));
        assert_int_equal(unlink(rig_segment(rig, which)), 0);
        rig_open(rig);
        assert_int_equal(rig_stats(rig).missing_frames, next - first);
        rig_expect(rig, 1, first - 1);
        rig_expect(rig, next, 60);
        assert_int_equal(rig_next(rig), 0);
        assert_int_equal(rig->last_offset, 60000);
        clean(rig);
    }
}

static void copy_file(const char *from, const char *to)
{
    size_t len = 0;
    char *bytes = harness_read(from, &len);
    assert_non_null(bytes);
    harness_write(to, bytes, len);
    free(bytes);
}

static void a_copied_segment_delivers_nothing_twice(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const uint64_t names[] = {1, 2, 30, 61, 1000};
    make_segments(rig);
    for (size_t i = 0; i < ROWS(names); i++) {
        struct segment_name name;
        char text[SEGMENT_NAME_ROOM], path[128];
        assert_true(segment_name_find(rig_segment(rig, 0), &name));
        name.first = names[i];
        name.salt += names[i] == 1; /* a copy under a salt of its own has no valid frame */
        segment_name_format(text, name);
        snprintf(path, sizeof(path), "spool/s/%s", text);
        copy_file(rig_segment(rig, 0), harness_path(rig->folder, path));
        rig_open(rig);
        rig_expect(rig, 1, 60);
        assert_int_equal(rig_next(rig), 0);
        assert_int_equal(rig_stats(rig).missing_frames, 0);
        /* The first has no valid frame: that is also a damaged piece, kept as such. */
        assert_int_equal(rig_stats(rig).aside, i == 0 ? 2 : 1);
        assert_int_equal(rig_count(rig, "spool/quarantine"), i + 2);
        rig_close(rig);
    }
}

static void a_link_is_never_followed(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    make_segments(rig);
    const char *path = rig_segment(rig, 1);
    const char *elsewhere = harness_path(rig->folder, "elsewhere");
    uint64_t first = first_of(path), next = first_of(rig_segment(rig, 2));
    size_t before = 0, after = 0;
    assert_int_equal(rename(path, elsewhere), 0);
    assert_int_equal(symlink(elsewhere, path), 0);
    char *bytes = harness_read(elsewhere, &before);
    rig_open(rig);
    rig_expect(rig, 1, first - 1);
    rig_expect(rig, next, 60);
    assert_int_equal(rig_stats(rig).aside, 1);
    assert_int_equal(rig_count(rig, "spool/quarantine"), 1);
    char *again = harness_read(elsewhere, &after);
    assert_int_equal(before, after);
    assert_memory_equal(bytes, again, before);
    free(bytes);
    free(again);
}

static void what_is_no_file_is_put_aside_without_waiting(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_close(rig);
    const char *fifo =
        harness_path(rig->folder, "spool/s/00000000000000000001-00000000000000aa.seg");
    const char *dir =
        harness_path(rig->folder, "spool/s/00000000000000000002-00000000000000aa.seg");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
    harness_put(harness_path(rig->folder, "spool/s/other"), "no segment: nothing of ours");
    rig_open(rig);
    assert_int_equal(rig_stats(rig).aside, 2);
    assert_int_equal(rig_count(rig, "spool/quarantine"), 2);
    rig_fill(rig, 1, 1, 5);
    assert_int_equal(rig_next(rig), 1);
    harness_assert_content(harness_path(rig->folder, "spool/s/other"),
                           "no segment: nothing of ours");
}

static void a_segment_of_a_later_version_is_kept_aside_untouched(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct image image = {.len = 0};
    size_t len = 0;
    make_image(rig, &image);
    struct segment_name name;
    assert_true(segment_name_find(image.path, &name));
    struct spool_packed *frame = (struct spool_packed *)malloc(sizeof(*frame) + image.len);
    assert_non_null(frame);
    memcpy(frame->bytes, image.bytes, image.len);
    frame->bytes[4] = 2;
    spool_frame_salt(frame, name.salt);
    harness_write(image.path, frame->bytes, image.len);
    rig_open(rig);
    assert_int_equal(rig_stats(rig).aside, 1);
    assert_int_equal(rig_stats(rig).damaged_frames, 0);
    assert_int_equal(rig_next(rig), 0);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/spool/quarantine/s.%s", rig->folder,
             strrchr(image.path, '/') + 1);
    char *kept = harness_read(path, &len);
    assert_non_null(kept);
    assert_int_equal(len, image.len);
    assert_memory_equal(kept, frame->bytes, len);
    free(kept);
    free(frame);
    free(image.bytes);
}

static void a_full_quarantine_leaves_things_where_they_are(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static char big[100000];
    struct stat st;
    rig->config.max_bytes = 512 << 10;
    rig_open(rig);
    rig_close(rig);
    const char *path =
        harness_path(rig->folder, "spool/s/00000000000000000001-00000000000000aa.seg");
    memset(big, 'x', sizeof(big));
    harness_write(path, big, sizeof(big));
    rig_open(rig);
    assert_int_equal(rig_count(rig, "spool/quarantine"), 0);
    assert_int_equal(stat(path, &st), 0);
    rig_fill(rig, 1, 2, 50);
    rig_expect(rig, 1, 2);
}

static void the_ack_may_be_behind_ahead_damaged_or_gone(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    make_segments(rig);
    rig_open(rig);
    rig_expect(rig, 1, 60);
    for (uint64_t n = 1; n <= 10; n++)
        spool_ack(rig->spool, n);
    rig_close(rig);
    const char *ack = harness_path(rig->folder, "spool/s/ack");
    char *text = harness_read(ack, NULL);
    assert_non_null(text);
    for (size_t i = 0; i < strlen(text); i++) { /* each character another one */
        text[i] ^= 1;
        harness_put(ack, text);
        text[i] ^= 1;
        rig_open(rig);
        assert_int_equal(rig_next(rig), 1);
        assert_int_equal(rig_stats(rig).missing_frames, 0);
        assert_int_equal(rig_stats(rig).aside, 1);
        rig_close(rig);
    }
    harness_put(ack, text);
    rig_open(rig);
    rig_expect(rig, 11, 60);
    rig_close(rig);
    assert_int_equal(unlink(ack), 0);
    rig_open(rig);
    rig_expect(rig, 1, 60);
    for (uint64_t n = 1; n <= 60; n++)
        spool_ack(rig->spool, n);
    rig_close(rig);
    rig_open(rig); /* nothing is left but the ack */
    rig_fill(rig, 61, 61, 5);
    assert_int_equal(rig_next(rig), 61);
    rig_close(rig);
    harness_put(ack, text); /* an older one */
    rig_open(rig);
    assert_int_equal(rig_next(rig), 61);
    assert_int_equal(rig_stats(rig).missing_frames, 50);
    free(text);
}

static void positions_of_all_frames_are_told_even_of_acknowledged_ones(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    rig_open(rig);
    rig_fill(rig, 1, 5, 100);
    rig_expect(rig, 1, 4);
    for (uint64_t n = 1; n <= 4; n++)
        spool_ack(rig->spool, n);
    rig_reopen(rig);
    assert_int_equal(rig->positions, 5);
    assert_int_equal(rig->last_offset, 5000);
    assert_int_equal(rig_next(rig), 5);
}

static void what_may_not_be_read_stops_the_start_in_words(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    make_segments(rig);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", harness_path(rig->folder, "spool/s"));
    assert_int_equal(chmod(path, 0770), 0);
    assert_false(rig_try_open(rig, "s"));
    assert_non_null(strstr(rig->error.text, "only the agent may write"));
    assert_int_equal(rename(path, harness_path(rig->folder, "real")), 0);
    assert_int_equal(symlink("../real", path), 0);
    assert_int_equal(chmod(path, 0700), 0);
    assert_false(rig_try_open(rig, "s"));
    assert_non_null(strstr(rig->error.text, "spool/s"));
}

static void streams_never_leave_the_spool(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const char *const names[] = {"..", ".", "quarantine", "a/../../x", "\n\xff%", "s.s-_9"};
    for (size_t i = 0; i < ROWS(names); i++) {
        assert_true(rig_try_open(rig, names[i]));
        rig_fill(rig, 1, 1, 10);
        rig_close(rig);
        assert_int_equal(rig_count(rig, "."), 1);
        assert_int_equal(rig_count(rig, "spool"), i + 2);
        assert_true(rig_try_open(rig, names[i]));
        assert_int_equal(rig_next(rig), 1);
        rig_close(rig);
    }
    assert_int_equal(rig_count(rig, "spool/quarantine"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_flipped_bit_costs_its_frame_and_no_other),
        TEST(a_segment_cut_anywhere_keeps_what_is_before),
        TEST(bytes_lost_or_added_in_the_middle_cost_what_they_hit),
        TEST(zeros_at_the_end_are_what_a_power_cut_leaves),
        TEST(a_missing_segment_is_counted_and_the_others_come),
        TEST(a_copied_segment_delivers_nothing_twice),
        TEST(a_link_is_never_followed),
        TEST(what_is_no_file_is_put_aside_without_waiting),
        TEST(a_segment_of_a_later_version_is_kept_aside_untouched),
        TEST(a_full_quarantine_leaves_things_where_they_are),
        TEST(the_ack_may_be_behind_ahead_damaged_or_gone),
        TEST(positions_of_all_frames_are_told_even_of_acknowledged_ones),
        TEST(what_may_not_be_read_stops_the_start_in_words),
        TEST(streams_never_leave_the_spool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
