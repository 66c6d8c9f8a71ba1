#include "agent/flusher.h"

#include "tests/agent/harness.h"

#include <errno.h>
#include <pthread.h>

struct rig {
    char *folder;
    int fd;
};

static int rig_setup(void **state)
{
    struct rig *rig = (struct rig *)malloc(sizeof(*rig));
    assert_non_null(rig);
    rig->folder = harness_folder();
    rig->fd = open(rig->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_not_equal(rig->fd, -1);
    *state = rig;
    return 0;
}

static int rig_teardown(void **state)
{
    struct rig *rig = (struct rig *)*state;
    close(rig->fd);
    harness_remove(rig->folder);
    free(rig);
    return 0;
}

static int replace(const struct rig *rig, const char *previous, const char *text)
{
    const char *step = NULL;
    int result = flusher_replace(rig->fd, "f", previous, text, strlen(text), &step);
    assert_non_null(step);
    return result;
}

static bool exists(const struct rig *rig, const char *name)
{
    struct stat st;
    return lstat(harness_path(rig->folder, name), &st) == 0;
}

static void the_first_file_has_no_previous_one(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    assert_int_equal(replace(rig, "f.old", "one"), 0);
    harness_assert_content(harness_path(rig->folder, "f"), "one");
    assert_false(exists(rig, "f.old"));
    assert_false(exists(rig, "f.tmp"));
}

static void the_previous_file_is_kept_and_only_that(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    assert_int_equal(replace(rig, "f.old", "one"), 0);
    assert_int_equal(replace(rig, "f.old", "two"), 0);
    assert_int_equal(replace(rig, "f.old", "three"), 0);
    harness_assert_content(harness_path(rig->folder, "f"), "three");
    harness_assert_content(harness_path(rig->folder, "f.old"), "two");
    assert_false(exists(rig, "f.tmp"));
}

static void without_a_name_for_it_the_previous_file_is_gone(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    assert_int_equal(replace(rig, NULL, "one"), 0);
    assert_int_equal(replace(rig, NULL, ""), 0);
    harness_assert_content(harness_path(rig->folder, "f"), "");
    assert_false(exists(rig, "f.old"));
}

static void who_has_the_old_file_open_still_reads_all_of_it(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    char text[16] = "";
    assert_int_equal(replace(rig, NULL, "one"), 0);
    int fd = open(harness_path(rig->folder, "f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(replace(rig, NULL, "two and more"), 0);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    assert_string_equal(text, "one");
    close(fd);
}

static void a_temporary_that_was_left_is_not_reused(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    harness_put(harness_path(rig->folder, "f.tmp"), "left by a crash, and longer");
    assert_int_equal(replace(rig, NULL, "new"), 0);
    harness_assert_content(harness_path(rig->folder, "f"), "new");
    assert_false(exists(rig, "f.tmp"));
}

static void a_symlink_in_the_way_is_not_followed(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    static const char *const names[] = {"f.tmp", "f", "f.old"};
    harness_put(harness_path(rig->folder, "victim"), "untouched");
    for (size_t i = 0; i < ROWS(names); i++) {
        unlink(harness_path(rig->folder, names[i]));
        assert_int_equal(
            symlink(harness_path(rig->folder, "victim"), harness_path(rig->folder, names[i])), 0);
        assert_int_equal(replace(rig, "f.old", "new"), 0);
        harness_assert_content(harness_path(rig->folder, "victim"), "untouched");
        harness_assert_content(harness_path(rig->folder, "f"), "new");
    }
}

static void the_file_is_for_its_owner_only(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    struct stat st;
    assert_int_equal(replace(rig, NULL, "x"), 0);
    assert_int_equal(stat(harness_path(rig->folder, "f"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void when_it_fails_the_file_stays_and_the_step_is_named(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    const char *step = "";
    assert_int_equal(replace(rig, "f.old", "one"), 0);

    /* A folder at the temporary's name. */
    assert_int_equal(mkdir(harness_path(rig->folder, "f.tmp"), 0755), 0);
    assert_int_equal(flusher_replace(rig->fd, "f", "f.old", "two", 3, &step), -1);
    assert_true(errno == EISDIR || errno == EPERM);
    assert_string_equal(step, "unlink of the temporary file");
    harness_assert_content(harness_path(rig->folder, "f"), "one");
    assert_int_equal(rmdir(harness_path(rig->folder, "f.tmp")), 0);

    /* A folder at the previous one's. */
    assert_int_equal(mkdir(harness_path(rig->folder, "f.old"), 0755), 0);
    assert_int_equal(flusher_replace(rig->fd, "f", "f.old", "two", 3, &step), -1);
    assert_int_equal(errno, EISDIR);
    assert_string_equal(step, "rename to the previous one's name");
    harness_assert_content(harness_path(rig->folder, "f"), "one");
    assert_int_equal(rmdir(harness_path(rig->folder, "f.old")), 0);

    /* And when that is over, it works again. */
    assert_int_equal(flusher_replace(rig->fd, "f", "f.old", "two", 3, &step), 0);
    harness_assert_content(harness_path(rig->folder, "f"), "two");
    harness_assert_content(harness_path(rig->folder, "f.old"), "one");
}

static void a_folder_that_is_gone_is_an_error(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    const char *step = "";
    assert_int_equal(mkdir(harness_path(rig->folder, "gone"), 0755), 0);
    int fd = open(harness_path(rig->folder, "gone"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(rmdir(harness_path(rig->folder, "gone")), 0);
    assert_int_equal(flusher_replace(fd, "f", NULL, "two", 3, &step), -1);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(step, "open of the temporary file");
    close(fd);
}

static void an_unwritable_folder_is_an_error(void **state)
{
    const struct rig *rig = (const struct rig *)*state;
    const char *step = "";
    bool root = geteuid() == 0; /* who may write everywhere: for the moment somebody else */
    assert_int_equal(replace(rig, NULL, "one"), 0);
    assert_int_equal(chmod(rig->folder, 0555), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    int result = flusher_replace(rig->fd, "f", NULL, "two", 3, &step);
    int error = errno;
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(rig->folder, 0700), 0);
    assert_int_equal(result, -1);
    assert_int_equal(error, EACCES);
    assert_non_null(strstr(step, "the temporary file"));
    harness_assert_content(harness_path(rig->folder, "f"), "one");
}

#define JOBS 500

struct count_job {
    struct flush_job job;
    pthread_t thread;
    int order;
};

static int jobs_run; /* the flusher's thread, then this one after a wait */

static void count(struct flush_job *job)
{
    struct count_job *count_job = (struct count_job *)job;
    count_job->order = jobs_run++;
    count_job->thread = pthread_self();
}

static void jobs_run_in_order_in_one_other_thread(void **state)
{
    (void)state;
    static struct count_job jobs[JOBS];
    struct flusher *flusher = flusher_new();
    assert_non_null(flusher);
    flusher_wait(flusher); /* nothing to wait for */
    jobs_run = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i].job.run = count;
        flusher_submit(flusher, &jobs[i].job);
    }
    flusher_wait(flusher);
    for (int i = 0; i < JOBS; i++) {
        assert_false(flusher_busy(&jobs[i].job));
        assert_int_equal(jobs[i].order, i);
        assert_true(pthread_equal(jobs[i].thread, jobs[0].thread));
        assert_false(pthread_equal(jobs[i].thread, pthread_self()));
    }
    flusher_free(&flusher);
    assert_null(flusher);
    flusher_free(&flusher);
}

static void freeing_runs_what_is_queued(void **state)
{
    (void)state;
    static struct count_job jobs[JOBS];
    struct flusher *flusher = flusher_new();
    jobs_run = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i].job.run = count;
        flusher_submit(flusher, &jobs[i].job);
    }
    flusher_free(&flusher);
    assert_int_equal(jobs_run, JOBS);
}

#define RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, rig_teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        RIG(the_first_file_has_no_previous_one),
        RIG(the_previous_file_is_kept_and_only_that),
        RIG(without_a_name_for_it_the_previous_file_is_gone),
        RIG(who_has_the_old_file_open_still_reads_all_of_it),
        RIG(a_temporary_that_was_left_is_not_reused),
        RIG(a_symlink_in_the_way_is_not_followed),
        RIG(the_file_is_for_its_owner_only),
        RIG(when_it_fails_the_file_stays_and_the_step_is_named),
        RIG(a_folder_that_is_gone_is_an_error),
        RIG(an_unwritable_folder_is_an_error),
        cmocka_unit_test(jobs_run_in_order_in_one_other_thread),
        cmocka_unit_test(freeing_runs_what_is_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
