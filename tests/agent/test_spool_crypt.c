#include "agent/spool_crypt.h"

#include "tests/agent/spool_rig.h"

#define KEY_A "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define KEY_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

static void use_keys(struct spool_rig *rig, const char *text)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/key", rig->folder);
    harness_put(path, text);
    assert_int_equal(chmod(path, 0600), 0);
    rig->config.key_file = path;
}

/* All bytes of the stream's segments, one behind the other. */
static char *all_bytes(const struct spool_rig *rig, size_t *ret_len)
{
    char *all = NULL;
    const char *path;
    *ret_len = 0;
    for (size_t i = 0; (path = rig_segment(rig, i)) != NULL; i++) {
        size_t len = 0;
        char *bytes = harness_read(path, &len);
        all = (char *)realloc(all, *ret_len + len + 1);
        assert_non_null(all);
        memcpy(all + *ret_len, bytes, len);
        *ret_len += len;
        free(bytes);
    }
    assert_non_null(all);
    return all;
}

static void nothing_of_a_record_is_legible_on_disk(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const char *const parts[] = {"aaaaaaaa", "topic", "/var/log"};
    size_t len;
    rig->config.compression = SPOOL_PLAIN;
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        if (encrypted)
            use_keys(rig, "# ours\n\n" KEY_A "\n");
        rig_open(rig);
        uint64_t first = rig_stats(rig).frames + 1;
        rig_fill(rig, first, first + 2, 100);
        rig_expect(rig, 1, first + 2);
        rig_reopen(rig);
        rig_expect(rig, 1, first + 2); /* what was written without a key, too */
        rig_close(rig);
        char *bytes = encrypted ? harness_read(rig_segment(rig, 1), &len) : all_bytes(rig, &len);
        for (size_t i = 0; i < ROWS(parts); i++)
            assert_int_equal(memmem(bytes, len, parts[i], strlen(parts[i])) == NULL, encrypted);
        free(bytes);
    }
}

static void a_wrong_key_is_said_and_touches_nothing(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    size_t before, after;
    use_keys(rig, KEY_A);
    rig_open(rig);
    rig_fill(rig, 1, 4, 100);
    rig_close(rig);
    harness_append(rig_segment(rig, 0), "torn");
    char *bytes = all_bytes(rig, &before);
    for (int without = 0; without < 2; without++) {
        use_keys(rig, KEY_B);
        if (without)
            rig->config.key_file = NULL;
        assert_false(rig_try_open(rig, "s"));
        assert_non_null(strstr(rig->error.text, "key"));
        assert_null(strstr(rig->error.text, KEY_A));
        rig_close(rig);
        char *again = all_bytes(rig, &after);
        assert_int_equal(before, after);
        assert_memory_equal(bytes, again, before);
        assert_int_equal(rig_count(rig, "spool/quarantine"), 0);
        free(again);
    }
    free(bytes);
    use_keys(rig, KEY_B "\n" KEY_A "\n"); /* rotated: the new one writes, both read */
    rig_open(rig);
    rig_fill(rig, 5, 6, 100);
    rig_close(rig);
    rig_open(rig);
    rig_expect(rig, 1, 6);
}

static void a_changed_frame_is_damage_even_with_right_sums(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct segment_name name;
    size_t len = 0;
    use_keys(rig, KEY_A);
    rig_open(rig);
    rig_fill(rig, 1, 1, 100);
    rig_close(rig);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", rig_segment(rig, 0));
    char *bytes = harness_read(path, &len);
    assert_true(segment_name_find(path, &name));
    struct spool_packed *frame = (struct spool_packed *)malloc(sizeof(*frame) + len);
    assert_non_null(frame);
    static const size_t places[] = {16, 40, 52, 80, 200};
    for (size_t i = 0; i < ROWS(places); i++) {
        memcpy(frame->bytes, bytes, len);
        frame->bytes[places[i]] ^= 1;
        frame->len = len;
        if (places[i] >= SPOOL_HEADER) { /* its sum, by sealing without a key */
            char head[SPOOL_HEADER];
            memcpy(head, frame->bytes, 64);
            assert_int_equal(spool_frame_seal(frame, 1, 0, NULL), 0);
            memcpy(frame->bytes, head, 64);
        }
        spool_frame_salt(frame, name.salt);
        harness_write(path, frame->bytes, len);
        rig_open(rig);
        assert_int_equal(rig_next(rig), 0);
        assert_int_equal(rig->positions, 0);
        assert_int_equal(rig_stats(rig).damaged_frames, 1);
        assert_int_equal(rig_stats(rig).lost_records, places[i] == 40 ? 2 : 3);
        rig_close(rig);
        char aside[16]; /* what is in quarantine already is not counted again */
        snprintf(aside, sizeof(aside), "aside%zu", i);
        assert_int_equal(
            rename(harness_path(rig->folder, "spool/quarantine"), harness_path(rig->folder, aside)),
            0);
    }
    free(frame);
    free(bytes);
}

static void a_bad_key_file_is_refused_without_showing_it(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    static const struct {
        const char *text;
        mode_t mode;
        const char *error;
    } rows[] = {
        {KEY_A, 0640, "chmod 0600"},
        {KEY_A, 0604, "chmod 0600"},
        {"", 0600, "no key"},
        {"# only\n", 0600, "no key"},
        {KEY_A "\n" KEY_B "0\n", 0600, ":2: not a key"},
        {"g0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", 0600, ":1: not a key"},
        {"0011223344\n", 0600, ":1: not a key"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        use_keys(rig, rows[i].text);
        assert_int_equal(chmod(rig->config.key_file, rows[i].mode), 0);
        assert_false(rig_try_open(rig, "s"));
        assert_non_null(strstr(rig->error.text, rows[i].error));
        assert_null(strstr(rig->error.text, "112233"));
    }
}

static void the_systemd_credential_is_used_where_no_file_is_named(void **state)
{
    struct spool_rig *rig = (struct spool_rig *)*state;
    struct spool_keys *keys;
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", rig->folder, 1), 0);
    assert_int_equal(spool_keys_load(NULL, &keys, &rig->error), 0);
    assert_null(keys);
    harness_put(harness_path(rig->folder, "spool.key"), KEY_B);
    assert_int_equal(chmod(harness_path(rig->folder, "spool.key"), 0440), 0);
    assert_int_equal(spool_keys_load(NULL, &keys, &rig->error), 0);
    assert_non_null(keys);
    assert_true(spool_keys_have(keys, spool_keys_first(keys)));
    assert_false(spool_keys_have(keys, 0));
    spool_keys_free(&keys);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_of_a_record_is_legible_on_disk),
        TEST(a_wrong_key_is_said_and_touches_nothing),
        TEST(a_changed_frame_is_damage_even_with_right_sums),
        TEST(a_bad_key_file_is_refused_without_showing_it),
        TEST(the_systemd_credential_is_used_where_no_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
