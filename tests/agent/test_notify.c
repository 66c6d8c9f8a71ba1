#include "agent/notify.h"

#include "tests/agent/harness.h"

#include <sys/socket.h>
#include <sys/un.h>

/* A socket that listens under that name; '@' begins an abstract one. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    assert_true(len < sizeof(address.sun_path));
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_not_equal(fd, -1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    return fd;
}

static void assert_told(int fd, const char *expected)
{
    char text[200];
    ssize_t len = recv(fd, text, sizeof(text) - 1, 0);
    assert_int_not_equal(len, -1);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void state_is_one_datagram(void **state)
{
    (void)state;
    char *folder = harness_folder(), abstract[64];
    snprintf(abstract, sizeof(abstract), "@splashdam-test-%d", (int)getpid());
    const char *const names[] = {harness_path(folder, "notify"), abstract};
    for (size_t i = 0; i < ROWS(names); i++) {
        int fd = listen_at(names[i]);
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify("READY=1");
        notify("STOPPING=1");
        assert_told(fd, "READY=1");
        assert_told(fd, "STOPPING=1");
        close(fd);
    }
    harness_remove(folder);
}

static void reload_is_told_with_its_time(void **state)
{
    (void)state;
    char *folder = harness_folder(), text[200];
    const char *name = harness_path(folder, "notify");
    int fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_reloading();
    ssize_t len = recv(fd, text, sizeof(text) - 1, 0);
    assert_int_not_equal(len, -1);
    text[len] = '\0';
    const char *head = "RELOADING=1\nMONOTONIC_USEC=";
    assert_memory_equal(text, head, strlen(head));
    char *end;
    assert_true(strtoull(text + strlen(head), &end, 10) > 0);
    assert_int_equal(*end, '\0');
    close(fd);
    harness_remove(folder);
}

static void nobody_is_told_where_nobody_listens(void **state)
{
    (void)state;
    char *folder = harness_folder(), longer[300];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    const char *const names[] = {harness_path(folder, "nobody"), longer, "", "relative"};
    unsetenv("NOTIFY_SOCKET");
    notify("READY=1");
    int before = dup(0);
    for (size_t i = 0; i < ROWS(names); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        notify("READY=1");
    }
    int after = dup(0);
    assert_int_equal(after, before + 1); /* nothing stays open */
    close(before);
    close(after);
    harness_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_is_one_datagram),
        cmocka_unit_test(reload_is_told_with_its_time),
        cmocka_unit_test(nobody_is_told_where_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
