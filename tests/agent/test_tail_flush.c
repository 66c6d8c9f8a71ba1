/* What is held back: until more comes, the time is over, or a newer generation begins. */
#include "agent/clock.h"
#include "agent/tail_inner.h"
#include "tests/agent/tail_rig.h"

#define LATER (3600 * NS_PER_S)

static void configure(struct rig *rig, const char *start, int64_t incomplete_after)
{
    struct config_tail *config = &rig->sides[0].config.tail;
    struct error error = {.text = ""};
    const char *key;
    config->encoding = "utf-8";
    config->delimiter = "\n";
    config->incomplete_after = incomplete_after;
    config->multiline = (struct config_multiline){
        .start = start, .max_lines = 100, .max_bytes = 10000, .timeout = 1000};
    if (!frame_wanted(config))
        return;
    rig->sides[0].stream.frame = frame_new(config, &key, &error);
    if (rig->sides[0].stream.frame == NULL)
        fail_msg("%s: %s", key, error.text);
}

static int teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    struct frame *frame = rig->sides[0].stream.frame;
    int result = rig_teardown(state);
    frame_free(&frame);
    return result;
}

/* The time is over. */
static void flush(struct rig *rig)
{
    tail_flush(rig->sides[0].stream.tail, clock_monotonic() + LATER);
}

static bool waits(const struct rig *rig)
{
    return tail_flush_at(rig->sides[0].stream.tail) != INT64_MAX;
}

static void an_open_record_waits_and_goes_out_when_the_time_is_over(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    start(rig);
    harness_put(at(rig, "a.log"), "1\n a\n");
    assert_read(rig, "");
    assert_true(waits(rig));
    harness_append(at(rig, "a.log"), " b\n2\n c\n");
    assert_read(rig, "1\n a\n b ");
    tail_flush(rig->sides[0].stream.tail, clock_monotonic());
    assert_read(rig, "");
    flush(rig);
    assert_read(rig, "2\n c ");
    assert_false(waits(rig));
    harness_append(at(rig, "a.log"), " d\n3\n");
    assert_read(rig, " d ");
    assert_true(waits(rig));
}

static void a_file_of_which_lines_are_held_back_is_not_closed(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    rig->sides[0].files.limit = 1;
    harness_put(at(rig, "a.log"), "1\n a\n");
    start(rig);
    assert_read(rig, "");
    harness_put(at(rig, "b.log"), "2\n3\n");
    assert_read(rig, "");
    assert_int_equal(unlink(at(rig, "a.log")), 0); /* its lines would be gone with its descriptor */
    flush(rig);
    assert_read(rig, "1\n a ");
    rig->sides[0].config.tail.close_removed = true;
    tail_tick(rig->sides[0].stream.tail);
    assert_read(rig, "2 ");
    flush(rig);
    assert_read(rig, "3 ");
}

static void what_grows_is_not_flushed_yet(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    start(rig);
    harness_put(at(rig, "a.log"), "1\n");
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), " a\n");
    flush(rig);
    assert_read(rig, "");
    assert_true(waits(rig));
    flush(rig);
    assert_read(rig, "1\n a ");
}

static void a_restart_does_not_split_a_record(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    start(rig);
    harness_put(at(rig, "a.log"), "1\n2\n a\n");
    assert_read(rig, "1 ");
    stop(rig);
    harness_append(at(rig, "a.log"), " b\n3\n");
    start(rig);
    assert_read(rig, "2\n a\n b ");
    stop(rig);
    start(rig);
    assert_read(rig, "");
    flush(rig);
    assert_read(rig, "3 ");
}

static void a_newer_generation_ends_what_is_open(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    start(rig);
    harness_put(at(rig, "a.log"), "1\n a\n");
    assert_read(rig, "");
    move(rig, "a.log", "a.log.1");
    harness_put(at(rig, "a.log"), "2\n3\n");
    assert_read(rig, "1\n a 2 ");
}

static void a_truncation_ends_what_was_held_back(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    start(rig);
    harness_put(at(rig, "a.log"), "1\n2\n a\n");
    assert_read(rig, "1 ");
    harness_put(at(rig, "a.log"), "5\n6\n");
    assert_read(rig, "5 ");
    flush(rig);
    assert_read(rig, "6 ");
}

static void a_record_larger_than_a_read_is_whole(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, "^[0-9]", 0);
    rig->sides[0].stream.read_size = 4096;
    char text[9000] = "1\n";
    size_t len = 2;
    while (len < 8500)
        len += (size_t)snprintf(text + len, sizeof(text) - len, " %0100d\n", (int)len);
    start(rig);
    harness_put(at(rig, "a.log"), text);
    harness_append(at(rig, "a.log"), "2\n");
    drain(rig);
    assert_int_equal(strlen(rig->text), len);
    assert_memory_equal(rig->text, text, len - 1);
}

static void an_incomplete_line_goes_out_once_and_its_rest_as_a_record(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, NULL, 1000);
    start(rig);
    harness_put(at(rig, "a.log"), "a\nb");
    assert_read(rig, "a ");
    assert_true(waits(rig));
    flush(rig);
    assert_read(rig, "b ");
    assert_false(waits(rig));
    harness_append(at(rig, "a.log"), "\nc");
    assert_read(rig, "");
    flush(rig);
    assert_read(rig, "c ");
    stop(rig);
    harness_append(at(rig, "a.log"), "d\n");
    start(rig);
    assert_read(rig, "d ");
}

static void by_default_an_incomplete_line_waits_for_ever(void **state)
{
    struct rig *rig = (struct rig *)*state;
    configure(rig, NULL, 0);
    start(rig);
    harness_put(at(rig, "a.log"), "a");
    assert_read(rig, "");
    assert_false(waits(rig));
    flush(rig);
    assert_read(rig, "");
    harness_append(at(rig, "a.log"), "b\n");
    assert_read(rig, "ab ");
}

#define FLUSH(test) cmocka_unit_test_setup_teardown(test, rig_setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        FLUSH(an_open_record_waits_and_goes_out_when_the_time_is_over),
        FLUSH(a_file_of_which_lines_are_held_back_is_not_closed),
        FLUSH(what_grows_is_not_flushed_yet),
        FLUSH(a_restart_does_not_split_a_record),
        FLUSH(a_newer_generation_ends_what_is_open),
        FLUSH(a_truncation_ends_what_was_held_back),
        FLUSH(a_record_larger_than_a_read_is_whole),
        FLUSH(an_incomplete_line_goes_out_once_and_its_rest_as_a_record),
        FLUSH(by_default_an_incomplete_line_waits_for_ever),
    };
    log_init(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
