#include "agent/link.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool link_step(const char *path, char *ret_target)
{
    char text[PATH_MAX];
    ssize_t len = readlink(path, text, sizeof(text));
    if (len <= 0 || len == (ssize_t)sizeof(text))
        return false;
    int folder = text[0] == '/' ? 0 : (int)(strrchr(path, '/') - path) + 1;
    return snprintf(ret_target, PATH_MAX, "%.*s%.*s", folder, path, (int)len, text) < PATH_MAX;
}

bool link_end(const char *path, char *ret_end)
{
    char target[PATH_MAX];
    int steps = 0;
    while (steps <= LINK_STEPS && link_step(steps == 0 ? path : ret_end, target)) {
        memcpy(ret_end, target, strlen(target) + 1);
        steps++;
    }
    return steps > 0 && steps <= LINK_STEPS;
}
