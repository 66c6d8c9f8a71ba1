/* A file's text for a tree, and looks at a tree's nodes. */
#include "agent/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole open file in *ret_text, on the heap. Not more than YAML_MAX_FILE, whatever fstat() said. */
static int read_whole(int fd, struct slice *ret_text, struct error *error)
{
    struct stat status;
    if (fstat(fd, &status) == -1)
        return error_set(error, "cannot be read: %s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(error, "cannot be read: not a regular file");
    if (status.st_size > (off_t)YAML_MAX_FILE)
        return error_set(error, "larger than %zu MiB", YAML_MAX_FILE >> 20);
    size_t room = (size_t)status.st_size + 1;
    char *bytes = (char *)malloc(room);
    if (bytes == NULL)
        return error_set(error, "out of memory");
    size_t len = 0;
    for (;;) {
        ssize_t got = read(fd, bytes + len, room - len);
        if (got == -1 && errno == EINTR)
            continue;
        if (got == -1) {
            error_set(error, "cannot be read: %s", strerror(errno));
            free(bytes);
            return -1;
        }
        len += (size_t)got;
        if (got == 0)
            break;
        if (len == room) {
            error_set(error, "changed while it was read");
            free(bytes);
            return -1;
        }
    }
    *ret_text = slice_of(bytes, len);
    return 0;
}

struct yaml_tree *yaml_tree_read(const char *file, struct error *error)
{
    struct yaml_tree *tree = NULL;
    struct slice text;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1) {
        error_set(error, "cannot be read: %s", strerror(errno));
        yaml_error_at(error, file, 0, 0);
        return NULL;
    }
    if (read_whole(fd, &text, error) == -1) {
        yaml_error_at(error, file, 0, 0);
    } else {
        tree = yaml_tree_parse(text, file, true, error);
        free((void *)(uintptr_t)text.ptr);
    }
    close(fd);
    return tree;
}

static const struct yaml_node *pair_part(const struct yaml_node *mapping, const char *key,
                                         bool want_key)
{
    if (mapping == NULL || mapping->kind != YAML_MAPPING)
        return NULL;
    for (size_t i = 0; i < mapping->n; i++)
        if (strcmp(mapping->keys[i]->text, key) == 0)
            return want_key ? mapping->keys[i] : mapping->items[i];
    return NULL;
}

const struct yaml_node *yaml_get(const struct yaml_node *mapping, const char *key)
{
    return pair_part(mapping, key, false);
}

const struct yaml_node *yaml_get_key(const struct yaml_node *mapping, const char *key)
{
    return pair_part(mapping, key, true);
}

const char *yaml_kind_name(const struct yaml_node *node)
{
    if (yaml_is_null(node))
        return "nothing";
    static const char *const names[] = {
        [YAML_SCALAR] = "a text", [YAML_LIST] = "a list", [YAML_MAPPING] = "a mapping"};
    return names[node->kind];
}
