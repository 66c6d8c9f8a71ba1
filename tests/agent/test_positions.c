#include "agent/positions.h"

#include "agent/log.h"
#include "agent/positions_text.h"
#include "tests/agent/harness.h"

#include <dirent.h>
#include <errno.h>

#include <xxhash.h>

struct rig {
    char *folder;
    struct flusher *flusher;
    struct positions *positions;
};

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->folder = harness_folder();
    rig->flusher = flusher_new();
    assert_non_null(rig->flusher);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    positions_close(&rig->positions);
    flusher_free(&rig->flusher);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

static void reopen(struct rig *rig)
{
    struct error error;
    positions_close(&rig->positions);
    rig->positions = positions_open(rig->folder, rig->flusher, &error);
    if (rig->positions == NULL)
        fail_msg("%s", error.text);
}

static struct identity id_of(uint64_t ino)
{
    return (struct identity){.dev = (dev_t)8 << 32 | 1, .ino = ino, .birth = (int64_t)ino * 1000};
}

static struct mark mark_of(uint64_t offset)
{
    return (struct mark){.offset = offset,
                         .cut = offset % 2 != 0,
                         .head = {.len = 1024, .hash = offset * 0x9e3779b97f4a7c15u},
                         .tail = {.len = 64, .hash = ~offset},
                         .shipped = {offset, 7, true}};
}

static struct position *claim(struct rig *rig, const char *stream, uint64_t ino, const char *path,
                              int worker, bool expect_known)
{
    bool known = !expect_known;
    struct identity id = id_of(ino);
    struct position *p = positions_claim(rig->positions, stream, &id, path, worker, &known);
    if (p != NULL)
        assert_int_equal(known, expect_known);
    return p;
}

/* Claims, sets, releases. */
static void set(struct rig *rig, const char *stream, uint64_t ino, const char *path,
                uint64_t offset, bool known)
{
    struct mark mark = mark_of(offset);
    struct position *p = claim(rig, stream, ino, path, 0, known);
    assert_non_null(p);
    positions_set(rig->positions, p, &mark);
    positions_release(rig->positions, p);
}

static void assert_mark(const struct mark *a, const struct mark *b)
{
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->cut, b->cut);
    assert_true(a->head.len == b->head.len && a->head.hash == b->head.hash);
    assert_true(a->shipped.end == b->shipped.end && a->shipped.dropped == b->shipped.dropped);
    assert_true(a->tail.len == b->tail.len && a->tail.hash == b->tail.hash);
}

static void assert_offset(struct rig *rig, const char *stream, uint64_t ino, uint64_t offset)
{
    struct mark mark = mark_of(offset);
    struct position *p = claim(rig, stream, ino, "elsewhere", 0, true);
    assert_non_null(p);
    assert_mark(&p->mark, &mark);
    positions_release(rig->positions, p);
}

static size_t count_named(const char *folder, const char *prefix)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return n;
}

static void what_is_saved_is_loaded(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const char *const names[] = {
        "plain", "two words", "a%20b", "new\nline\r\ttab", "\xff\xfe\x80 not utf-8 \xc3\xa4",
        "%",     " "};
    reopen(rig);
    assert_false(positions_damaged(rig->positions));
    for (size_t i = 0; i < ROWS(names); i++)
        set(rig, names[i], i + 1, names[i], i * 1000 + i, false);
    set(rig, "plain", UINT64_MAX, "/huge", INT64_MAX, false);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    reopen(rig);
    assert_false(positions_damaged(rig->positions));
    for (size_t i = 0; i < ROWS(names); i++) {
        struct mark mark = mark_of(i * 1000 + i);
        struct position *p = claim(rig, names[i], i + 1, "elsewhere", 3, true);
        assert_string_equal(p->stream, names[i]);
        assert_string_equal(p->path, names[i]); /* the first name stays */
        assert_int_equal(p->owner, 3);
        assert_mark(&p->mark, &mark);
    }
    assert_offset(rig, "plain", UINT64_MAX, INT64_MAX);
}

static void each_part_of_an_identity_and_the_stream_tell_files_apart(void **state)
{
    struct rig *rig = (struct rig *)*state;
    static const struct identity ids[] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2}, {1, 1, -1}};
    static const char *const streams[] = {"a", "b"};
    for (int round = 0; round < 2; round++) {
        reopen(rig);
        for (size_t s = 0; s < ROWS(streams); s++) {
            for (size_t i = 0; i < ROWS(ids); i++) {
                bool known;
                struct mark mark = mark_of(10 * s + i);
                struct position *p =
                    positions_claim(rig->positions, streams[s], &ids[i], "/p", 0, &known);
                assert_non_null(p);
                assert_int_equal(known, round == 1);
                assert_true(identity_equal(&p->id, &ids[i]));
                if (known)
                    assert_mark(&p->mark, &mark);
                positions_set(rig->positions, p, &mark);
            }
        }
        assert_int_equal(positions_save_wait(rig->positions), 0);
    }
}

static void a_claim_keeps_others_out_until_the_release(void **state)
{
    struct rig *rig = (struct rig *)*state;
    reopen(rig);
    struct position *p = claim(rig, "s", 1, "/a", 0, false);
    struct mark mark = {.offset = 9};
    assert_true(positions_find(rig->positions, "s", &p->id, &mark) && mark.offset == 0);
    assert_false(positions_find(rig->positions, "t", &p->id, &mark));
    assert_int_equal(p->owner, 0);
    errno = ENOENT;
    assert_null(claim(rig, "s", 1, "/a", 1, true));
    assert_int_equal(errno, 0); /* not for want of memory */
    assert_null(claim(rig, "s", 1, "/a", 0, true));
    struct position *other = claim(rig, "t", 1, "/a", 1, false);
    assert_non_null(other); /* another stream reads the same file */
    positions_release(rig->positions, p);
    assert_ptr_equal(claim(rig, "s", 1, "/b", 1, true), p);
    assert_int_equal(p->owner, 1);
    assert_string_equal(p->path, "/a");
}

static void later_found_has_the_higher_sequence_across_restarts(void **state)
{
    struct rig *rig = (struct rig *)*state;
    uint64_t last = 0;
    for (uint64_t ino = 1; ino < 6; ino++) {
        reopen(rig);
        struct position *p = claim(rig, "s", ino, "/a", 0, false);
        assert_true(ino == 1 || p->sequence > last);
        last = p->sequence;
        assert_int_equal(positions_save_wait(rig->positions), 0);
    }
}

static void what_is_forgotten_is_gone(void **state)
{
    struct rig *rig = (struct rig *)*state;
    reopen(rig);
    for (uint64_t ino = 1; ino <= 20; ino++)
        set(rig, "s", ino, "/a", ino, false);
    for (uint64_t ino = 1; ino <= 20; ino += 2) {
        struct position *p = claim(rig, "s", ino, "/a", 0, true);
        positions_forget(rig->positions, &p);
        assert_null(p);
    }
    assert_int_equal(positions_save_wait(rig->positions), 0);
    reopen(rig);
    for (uint64_t ino = 1; ino <= 20; ino++) {
        if (ino % 2 == 0)
            assert_offset(rig, "s", ino, ino);
        else
            assert_non_null(claim(rig, "s", ino, "/a", 0, false));
    }
}

static void sum_inodes(const struct position *position, void *arg)
{
    *(uint64_t *)arg += position->id.ino;
}

static void only_unclaimed_ones_of_the_stream_are_listed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    reopen(rig);
    for (uint64_t i = 0; i < 4; i++)
        set(rig, "s", (uint64_t)1 << i, "/a", 1, false);
    set(rig, "t", 100, "/a", 1, false);
    assert_non_null(claim(rig, "s", 4, "/a", 1, true));
    uint64_t sum = 0;
    positions_each_unclaimed(rig->positions, "s", sum_inodes, &sum);
    assert_int_equal(sum, 1 + 2 + 8);
}

static void a_second_agent_on_the_same_folder_is_refused_in_words(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct error error = {.text = ""};
    reopen(rig);
    set(rig, "s", 1, "/a", 7, false);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    char *before = harness_read(harness_path(rig->folder, "positions"), NULL);
    assert_null(positions_open(rig->folder, rig->flusher, &error));
    assert_non_null(strstr(error.text, "another splashdam"));
    assert_non_null(strstr(error.text, rig->folder));
    harness_assert_content(harness_path(rig->folder, "positions"), before);
    free(before);
    reopen(rig); /* when the first is gone, it goes */
    assert_offset(rig, "s", 1, 7);
}

static void a_folder_that_cannot_be_is_refused_in_words(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char folder[PATH_MAX];
    struct error error;
    harness_put(harness_path(rig->folder, "file"), "");
    static const char *const below[] = {"file", "file/deep"};
    for (size_t i = 0; i < ROWS(below); i++) {
        snprintf(folder, sizeof(folder), "%s/%s", rig->folder, below[i]);
        error.text[0] = '\0';
        assert_null(positions_open(folder, rig->flusher, &error));
        assert_non_null(strstr(error.text, "folder"));
    }
    error.text[0] = '\0';
    assert_null(positions_open("", rig->flusher, &error));
    assert_non_null(strstr(error.text, "agent.state"));
}

static void the_folder_is_made_with_all_above_it(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char folder[PATH_MAX];
    struct error error;
    struct stat st;
    snprintf(folder, sizeof(folder), "%s/a/b/c", rig->folder);
    rig->positions = positions_open(folder, rig->flusher, &error);
    assert_non_null(rig->positions);
    assert_int_equal(stat(folder, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void nothing_is_written_when_nothing_changed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    reopen(rig);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    assert_int_equal(count_named(rig->folder, "positions"), 0);
    set(rig, "s", 1, "/a", 1, false);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    assert_int_equal(count_named(rig->folder, "positions"), 1); /* no second save: no old one */
}

static void a_save_that_failed_is_made_up_for(void **state)
{
    struct rig *rig = (struct rig *)*state;
    reopen(rig);
    set(rig, "s", 1, "/a", 1, false);
    assert_int_equal(mkdir(harness_path(rig->folder, "positions.tmp"), 0700), 0);
    assert_int_equal(positions_save_wait(rig->positions), -1);
    assert_int_equal(positions_save_wait(rig->positions), -1);
    assert_int_equal(rmdir(harness_path(rig->folder, "positions.tmp")), 0);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    reopen(rig);
    assert_offset(rig, "s", 1, 1);
}

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static void a_change_is_told_once_until_it_is_saved(void **state)
{
    struct rig *rig = (struct rig *)*state;
    unsigned told = 0;
    reopen(rig);
    set(rig, "s", 1, "/a", 1, false);
    positions_on_change(rig->positions, count, &told);
    assert_int_equal(told, 1); /* what was there before counts, too */
    set(rig, "s", 1, "/a", 2, true);
    set(rig, "s", 1, "/a", 3, true);
    assert_int_equal(told, 1);
    assert_true(positions_pending(rig->positions));
    assert_int_equal(positions_save_wait(rig->positions), 0);
    assert_false(positions_pending(rig->positions));
    set(rig, "s", 1, "/a", 4, true);
    assert_int_equal(told, 2);
    positions_on_change(rig->positions, NULL, NULL);
    assert_int_equal(positions_save_wait(rig->positions), 0);
    set(rig, "s", 1, "/a", 5, true);
    assert_int_equal(told, 2);
    assert_true(positions_pending(rig->positions));
}

/* Two saves: offset 1, then offset 2. Closed. */
static void save_twice(struct rig *rig)
{
    reopen(rig);
    for (uint64_t offset = 1; offset <= 2; offset++) {
        set(rig, "s", 1, "/a", offset, offset == 2);
        assert_int_equal(positions_save_wait(rig->positions), 0);
    }
    positions_close(&rig->positions);
}

/* The text with a checksum that agrees. */
static char *signed_text(const char *body, size_t count)
{
    size_t room = strlen(body) + 64;
    char *text = (char *)malloc(room);
    assert_non_null(text);
    snprintf(text, room, "%send %zu %016llx\n", body, count,
             (unsigned long long)XXH3_64bits(body, strlen(body)));
    return text;
}

static void damage_goes_back_to_the_previous_save_and_is_kept_aside(void **state)
{
    struct rig *rig = (struct rig *)*state;
    char *future = signed_text("splashdam-positions 2\n", 0);
    const char *const damages[] = {
        "", "\n", "splashdam-positions 1\n", "garbage\n", "end 0 0\n", future, NULL};
    for (size_t i = 0; i < ROWS(damages); i++) {
        save_twice(rig);
        const char *path = harness_path(rig->folder, "positions");
        if (damages[i] != NULL) {
            harness_put(path, damages[i]);
        } else { /* no file at all */
            assert_int_equal(unlink(path), 0);
            assert_int_equal(mkdir(path, 0700), 0);
        }
        reopen(rig);
        assert_false(positions_damaged(rig->positions));
        assert_offset(rig, "s", 1, 1);
        assert_int_equal(count_named(rig->folder, "positions.damaged-"), 1);
        positions_close(&rig->positions);
        harness_remove(rig->folder);
        rig->folder = harness_folder();
    }
    free(future);
}

static void a_crash_between_the_two_renames_costs_one_save(void **state)
{
    struct rig *rig = (struct rig *)*state;
    save_twice(rig);
    assert_int_equal(unlink(harness_path(rig->folder, "positions")), 0);
    reopen(rig);
    assert_false(positions_damaged(rig->positions));
    assert_offset(rig, "s", 1, 1);
}

static void when_both_are_damaged_the_agent_knows_and_both_are_kept_aside(void **state)
{
    struct rig *rig = (struct rig *)*state;
    save_twice(rig);
    harness_put(harness_path(rig->folder, "positions"), "x");
    harness_put(harness_path(rig->folder, "positions.old"), "y");
    reopen(rig);
    assert_true(positions_damaged(rig->positions));
    assert_int_equal(count_named(rig->folder, "positions.damaged-"), 2);
    assert_non_null(claim(rig, "s", 1, "/a", 0, false));
    assert_int_equal(positions_save_wait(rig->positions), 0);
    reopen(rig);
    assert_false(positions_damaged(rig->positions));
}

static void a_symlink_or_a_fifo_in_its_place_is_not_followed_and_does_not_block(void **state)
{
    struct rig *rig = (struct rig *)*state;
    save_twice(rig);
    assert_int_equal(
        rename(harness_path(rig->folder, "positions"), harness_path(rig->folder, "elsewhere")), 0);
    assert_int_equal(symlink("elsewhere", harness_path(rig->folder, "positions")), 0);
    reopen(rig);
    assert_offset(rig, "s", 1, 1);
    positions_close(&rig->positions);
    assert_int_equal(mkfifo(harness_path(rig->folder, "positions"), 0600), 0);
    reopen(rig);
    assert_offset(rig, "s", 1, 1);
}

/* ---- the text ---- */

static struct slice sample(void)
{
    char stream[] = "a stream", path[] = "/var/log/x y.log", other[] = "/\xff";
    struct position one = {.stream = stream, .path = path, .id = {5, 6, -7}, .mark = mark_of(99)};
    struct position two = {.stream = stream, .path = other, .id = {1, 2, 3}, .sequence = 1};
    struct position *items[] = {&one, &two};
    struct position_list list = {items, 2, 2};
    size_t len;
    char *text = positions_format(&list, &len);
    assert_non_null(text);
    return slice_of(text, len);
}

static bool accepted(const char *text, size_t len)
{
    struct position_list list = {0};
    struct error error = {.text = ""};
    char *exact = (char *)malloc(len + (len == 0)); /* so that a look behind it is found */
    assert_non_null(exact);
    memcpy(exact, text, len);
    int result = positions_parse(slice_of(exact, len), &list, &error);
    if (result == -1) {
        assert_int_equal(list.n, 0);
        assert_true(error.text[0] != '\0');
    }
    position_list_free(&list);
    free(exact);
    return result == 0;
}

static void a_text_cut_at_any_byte_is_refused(void **state)
{
    (void)state;
    struct slice text = sample();
    assert_true(accepted(text.ptr, text.len));
    for (size_t len = 0; len < text.len; len++)
        assert_false(accepted(text.ptr, len));
    for (size_t from = 1; from < text.len; from++)
        assert_false(accepted(text.ptr + from, text.len - from));
    free((void *)(uintptr_t)text.ptr);
}

static void a_text_with_any_bit_flipped_is_refused(void **state)
{
    (void)state;
    struct slice text = sample();
    char *copy = (char *)malloc(text.len);
    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    for (size_t bit = 0; bit < text.len * 8; bit++) {
        copy[bit / 8] ^= (char)(1 << bit % 8);
        if (accepted(copy, text.len))
            fail_msg("bit %zu of byte %zu", bit % 8, bit / 8);
        copy[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(accepted(copy, text.len));
    free(copy);
    free((void *)(uintptr_t)text.ptr);
}

/* Refused, or the same entries: zeros in front of a number in the last line are the only such case. */
static void assert_not_misread(const char *text, size_t len, struct slice original)
{
    struct position_list list;
    struct error error;
    size_t again_len;
    if (positions_parse(slice_of(text, len), &list, &error) == -1)
        return;
    char *again = positions_format(&list, &again_len);
    assert_true(slice_equal(slice_of(again, again_len), original));
    free(again);
    position_list_free(&list);
}

static void a_text_with_any_byte_added_or_taken_out_is_not_misread(void **state)
{
    (void)state;
    static const char added[] = {'\n', ' ', '0', 'x', '\0'};
    struct slice text = sample();
    char *copy = (char *)malloc(text.len + 1);
    assert_non_null(copy);
    for (size_t at = 0; at <= text.len; at++) {
        for (size_t i = 0; i < sizeof(added); i++) {
            memcpy(copy, text.ptr, at);
            copy[at] = added[i];
            memcpy(copy + at + 1, text.ptr + at, text.len - at);
            assert_not_misread(copy, text.len + 1, text);
        }
        if (at == text.len)
            break;
        memcpy(copy + at, text.ptr + at + 1, text.len - at - 1);
        assert_false(accepted(copy, text.len - 1));
    }
    free(copy);
    free((void *)(uintptr_t)text.ptr);
}

static void a_line_that_is_not_seventeen_parts_in_range_is_refused(void **state)
{
    (void)state;
#define REST " f 9 0 0 0000000000000000 0 0000000000000000 8 1 2 /p\n"
    static const struct {
        const char *line;
        bool accepted;
    } rows[] = {
        {"s 1 2 3 0 4" REST, true},
        {"s 1 2 -3 5 4" REST, true},
        {"%20%FF 1 2 3 0 4" REST, true},
        {"s 1 18446744073709551615 3 0 4" REST, true},
        {"s 1 18446744073709551616 3 0 4" REST, false},
        {"s 1 2 9223372036854775808 0 4" REST, false},
        {"s 1 2 3 4" REST, false},
        {"s 1 2 3 4 5 6" REST, false},
        {"s 1 2 3 9223372036854775808 4" REST, false},
        {"s 1 2 3 0 -4" REST, false},
        {"s 1 2 3 0 +4" REST, false},
        {"s 1 2 3 0 4a" REST, false},
        {"s  1 2 3 0 4" REST, false},
        {" 1 2 3 0 4" REST, false},
        {"%2 1 2 3 0 4" REST, false},
        {"%00 1 2 3 0 4" REST, false},
        {"%zz 1 2 3 0 4" REST, false},
        {"\n", false},
        {"s 1 2 3 0 4 f 9223372036854775808 0 0 0 0 0 8 1 2 /p\n", false},
        {"s 1 2 3 0 4 f 9 2 0 0 0 0 8 1 2 /p\n", false},
        {"s 1 2 3 0 4 f 9 1 1024 f 64 f 8 1 2 /p\n", true},
        {"s 1 2 3 0 4 g 9 1 1024 f 64 f 8 2 2 /p\n", false},
        {"s 1 2 3 0 4 f 9 1 1025 f 64 f 8 1 2 /p\n", false},
        {"s 1 2 3 0 4 f 9 1 1024 F 65 f 8 1 2 /p\n", false},
        {"s 1 2 3 0 4 f 9 1 1024 f 64 f 8 1 2\n", false},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        char body[256];
        snprintf(body, sizeof(body), "splashdam-positions 1\n%s", rows[i].line);
        char *text = signed_text(body, 1);
        if (accepted(text, strlen(text)) != rows[i].accepted)
            fail_msg("row %zu: %s", i, rows[i].line);
        free(text);
        text = signed_text(body, 2); /* the count is wrong */
        assert_false(accepted(text, strlen(text)));
        free(text);
    }
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(what_is_saved_is_loaded),
        RIG(each_part_of_an_identity_and_the_stream_tell_files_apart),
        RIG(a_claim_keeps_others_out_until_the_release),
        RIG(later_found_has_the_higher_sequence_across_restarts),
        RIG(what_is_forgotten_is_gone),
        RIG(only_unclaimed_ones_of_the_stream_are_listed),
        RIG(a_second_agent_on_the_same_folder_is_refused_in_words),
        RIG(a_folder_that_cannot_be_is_refused_in_words),
        RIG(the_folder_is_made_with_all_above_it),
        RIG(nothing_is_written_when_nothing_changed),
        RIG(a_save_that_failed_is_made_up_for),
        RIG(a_change_is_told_once_until_it_is_saved),
        RIG(damage_goes_back_to_the_previous_save_and_is_kept_aside),
        RIG(a_crash_between_the_two_renames_costs_one_save),
        RIG(when_both_are_damaged_the_agent_knows_and_both_are_kept_aside),
        RIG(a_symlink_or_a_fifo_in_its_place_is_not_followed_and_does_not_block),
        cmocka_unit_test(a_text_cut_at_any_byte_is_refused),
        cmocka_unit_test(a_text_with_any_bit_flipped_is_refused),
        cmocka_unit_test(a_text_with_any_byte_added_or_taken_out_is_not_misread),
        cmocka_unit_test(a_line_that_is_not_seventeen_parts_in_range_is_refused),
    };
    log_init(-1); /* what it says of damaged files is not wanted here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
