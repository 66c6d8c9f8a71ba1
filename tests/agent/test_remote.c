#include "agent/remote.h"

#include "tests/agent/harness.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static long type;
static int result;

/* Instead of libc's. */
int statfs(const char *path, struct statfs *st)
{
    assert_string_equal(path, "/folder");
    *st = (struct statfs){.f_type = type};
    errno = ENOENT;
    return result;
}

static void remote_file_systems_are_known_by_their_type(void **state)
{
    static const struct {
        uint32_t type;
        const char *name;
    } rows[] = {
        {NFS_SUPER_MAGIC, "NFS"}, {CIFS_SUPER_MAGIC, "CIFS"}, {SMB2_SUPER_MAGIC, "SMB2"},
        {SMB_SUPER_MAGIC, "SMB"}, {FUSE_SUPER_MAGIC, "FUSE"}, {V9FS_MAGIC, "9p"},
        {AFS_SUPER_MAGIC, "AFS"}, {AFS_FS_MAGIC, "AFS"},      {CEPH_SUPER_MAGIC, "Ceph"},
        {NCP_SUPER_MAGIC, "NCP"}, {CODA_SUPER_MAGIC, "Coda"}, {OCFS2_SUPER_MAGIC, "OCFS2"},
        {0x0bd00bd0u, "Lustre"},  {0x47504653u, "GPFS"},
    };
    (void)state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        type = (long)rows[i].type;
        assert_string_equal(remote_name("/folder"), rows[i].name);
        type = (int32_t)rows[i].type; /* as where a long has 32 bits */
        assert_string_equal(remote_name("/folder"), rows[i].name);
    }
}

static void others_are_not_remote(void **state)
{
    static const uint32_t types[] = {EXT4_SUPER_MAGIC,  XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC,
                                     TMPFS_MAGIC,       OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
                                     MSDOS_SUPER_MAGIC, SQUASHFS_MAGIC,        0};
    (void)state;
    for (size_t i = 0; i < ROWS(types); i++) {
        type = (long)types[i];
        assert_null(remote_name("/folder"));
    }
}

static void what_cannot_be_asked_is_not_remote(void **state)
{
    (void)state;
    type = NFS_SUPER_MAGIC;
    result = -1;
    assert_null(remote_name("/folder"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(remote_file_systems_are_known_by_their_type),
        cmocka_unit_test(others_are_not_remote),
        cmocka_unit_test(what_cannot_be_asked_is_not_remote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
