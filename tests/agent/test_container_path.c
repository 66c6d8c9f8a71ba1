#include "agent/container_path.h"

#include "tests/agent/harness.h"

#define ID  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "4e2b0a4e-1111-2222-3333-444455556666"
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void assert_name(const char *path, struct slice name, const char *expected)
{
    if (expected == NULL ? name.ptr != NULL : !slice_equal(name, slice_str(expected)))
        fail_msg("%s: %.*s", path, (int)name.len, name.len == 0 ? "" : name.ptr);
}

static void paths_give_names(void **state)
{
    static const struct {
        const char *path, *namespace, *pod, *uid, *container, *id;
    } rows[] = {
        {"/var/log/containers/web-0_shop_nginx-main-" ID ".log", "shop", "web-0", NULL,
         "nginx-main", ID},
        {"/host/logs/a.b-c_kube-system_c-" ID ".log", "kube-system", "a.b-c", NULL, "c", ID},
        {"w_n_c-" ID ".log", "n", "w", NULL, "c", ID},
        {"/var/log/pods/shop_web-0_" UID "/nginx/0.log", "shop", "web-0", UID, "nginx", NULL},
        {"/var/log/pods/shop_web-0_" UID "/nginx/12.log.20250101-000000", "shop", "web-0", UID,
         "nginx", NULL},
        {"/var/log/pods/kube-system_etcd-a.b_0123456789abcdef0123456789abcdef/etcd/3.log",
         "kube-system", "etcd-a.b", "0123456789abcdef0123456789abcdef", "etcd", NULL},
        {"/var/lib/docker/containers/" ID "/" ID "-json.log", NULL, NULL, NULL, NULL, ID},
        {"/data/docker/" ID "/" ID "-json.log.1", NULL, NULL, NULL, NULL, ID},
        {"/var/lib/containers/storage/overlay-containers/" ID "/userdata/ctr.log", NULL, NULL, NULL,
         NULL, ID},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct container_names names = {0};
        if (!container_path_names(slice_str(rows[i].path), &names))
            fail_msg("%s", rows[i].path);
        assert_name(rows[i].path, names.namespace, rows[i].namespace);
        assert_name(rows[i].path, names.pod, rows[i].pod);
        assert_name(rows[i].path, names.uid, rows[i].uid);
        assert_name(rows[i].path, names.container, rows[i].container);
        assert_name(rows[i].path, names.id, rows[i].id);
    }
}

static void other_paths_give_nothing(void **state)
{
    static const char *const rows[] = {
        "",
        "/",
        "//",
        "_",
        "___",
        ".log",
        "/var/log/syslog",
        "/var/log/containers/.log",
        "/var/log/containers/web_shop_nginx.log",
        "/var/log/containers/web_shop_nginx-" ID,
        "/var/log/containers/web_shop_nginx-" ID "0.log",
        "/var/log/containers/web_shop-nginx-" ID ".log",
        "/var/log/containers/web_shop_nginx-0123.log",
        "/var/log/containers/web_shop_-" ID ".log",
        "/var/log/containers/_shop_nginx-" ID ".log",
        "/var/log/containers/web__nginx-" ID ".log",
        "/var/log/containers/.._.._..-" ID ".log",
        "/var/log/containers/web_sh.op_nginx-" ID ".log",
        "/var/log/containers/we b_shop_nginx-" ID ".log",
        "/var/log/containers/we\nb_shop_nginx-" ID ".log",
        "/var/log/containers/we\xff"
        "b_shop_nginx-" ID ".log",
        "/var/log/containers/we\"b_shop_nginx-" ID ".log",
        "/var/log/containers/web_" X50 X50 "_nginx-" ID ".log",
        "/var/log/containers/" X50 X50 X50 X50 X50 X50 "_shop_nginx-" ID ".log",
        "/var/log/pods/shop_web_" UID "/nginx/0.txt",
        "/var/log/pods/shop_web_" UID "/nginx/.log",
        "/var/log/pods/shop_web_" UID "/nginx/a.log",
        "/var/log/pods/shop_web_" UID "/nginx/99999999999999999999.log",
        "/var/log/pods/shop_web_" UID "/nginx/0.log.2025",
        "/var/log/pods/shop_web_" UID "/nginx/0.log.20250101-00000x",
        "/var/log/pods/shop_web_" UID "/../0.log",
        "/var/log/pods/shop_web_" UID "//0.log",
        "/var/log/pods/shop_web/nginx/0.log",
        "/var/log/pods/a_shop_web_/nginx/0.log",
        "/var/log/pods/../nginx/0.log",
        "nginx/0.log",
        "0.log",
        "/var/lib/docker/containers/" ID "/json.log",
        "/var/lib/docker/containers/x/" ID "-json.log",
        "/var/lib/docker/containers/" ID "/" ID "-json.log.x",
        "/var/lib/docker/containers/" ID "/" ID,
        "/overlay-containers/x/userdata/ctr.log",
        "/overlay-containers/" ID "/ctr.log",
        "userdata/ctr.log",
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        static const struct container_names none;
        struct container_names names = none;
        if (container_path_names(slice_str(rows[i]), &names))
            fail_msg("%s", rows[i]);
        assert_memory_equal(&names, &none, sizeof(names));
    }
}

static void paths_of_one_log_add_up_and_the_first_counts(void **state)
{
    struct container_names names = {0};
    (void)state;
    assert_true(container_path_names(SLICE("/l/web_shop_nginx-" ID ".log"), &names));
    assert_true(container_path_names(SLICE("/p/other_web_" UID "/nginx/0.log"), &names));
    assert_name("merged", names.namespace, "shop");
    assert_name("merged", names.uid, UID);
    assert_name("merged", names.id, ID);
}

static void a_path_that_is_cut_is_read_within_its_bytes(void **state)
{
    static const char *const rows[] = {
        "/l/web_shop_nginx-" ID ".log",
        "/p/shop_web_" UID "/nginx/0.log.20250101-000000",
        "/d/" ID "/" ID "-json.log.1",
        "/o/" ID "/userdata/ctr.log",
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++)
        for (size_t len = 0; len < strlen(rows[i]); len++) {
            struct container_names names = {0};
            char *copy = (char *)malloc(len + 1);
            assert_non_null(copy);
            memcpy(copy + 1, rows[i], len); /* ends with the block */
            bool fits = container_path_names(slice_of(copy + 1, len), &names);
            free(copy);
            assert_true(!fits || strstr(rows[i] + len, ".") == rows[i] + len);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_give_names),
        cmocka_unit_test(other_paths_give_nothing),
        cmocka_unit_test(paths_of_one_log_add_up_and_the_first_counts),
        cmocka_unit_test(a_path_that_is_cut_is_read_within_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
