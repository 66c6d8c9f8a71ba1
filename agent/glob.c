#include "agent/glob.h"

#include <dirent.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 64 /* folders that ** goes down */

/* Copies the component at `at` (no slash in front) and returns what is behind its slash; NULL when it is the last. */
static const char *component(const char *at, char part[NAME_MAX + 1])
{
    size_t len = strcspn(at, "/");
    size_t kept = len > NAME_MAX ? NAME_MAX : len;
    memcpy(part, at, kept);
    part[kept] = '\0';
    at += len;
    while (*at == '/')
        at++;
    return *at == '\0' ? NULL : at;
}

static const char *skip_slashes(const char *at)
{
    while (*at == '/')
        at++;
    return at;
}

/* Both without a leading slash; NULL: nothing left. With `leads`, of the pattern something has to be left. */
static bool match_from(const char *pattern, const char *path, int depth, bool leads)
{
    char want[NAME_MAX + 1], have[NAME_MAX + 1];
    if (pattern == NULL || path == NULL)
        return path == NULL && (pattern != NULL) == leads;
    const char *pattern_rest = component(pattern, want);
    const char *path_rest = component(path, have);
    if (strcmp(want, "**") == 0) {
        if (match_from(pattern_rest, path, depth, leads))
            return true;
        return (path_rest != NULL || leads) && have[0] != '.' && depth < DEPTH_MAX &&
               match_from(pattern, path_rest, depth + 1, leads);
    }
    return fnmatch(want, have, FNM_PERIOD | FNM_NOESCAPE) == 0 &&
           match_from(pattern_rest, path_rest, depth, leads);
}

bool glob_match(const char *pattern, const char *path)
{
    return match_from(skip_slashes(pattern), skip_slashes(path), 0, false);
}

bool glob_leads(const char *pattern, const char *folder)
{
    return match_from(skip_slashes(pattern), skip_slashes(folder), 0, true);
}

struct walk {
    glob_folder_fn *folder;
    glob_file_fn *file;
    void *arg;
};

static void walk_from(const struct walk *walk, const char *folder, const char *pattern, int depth);

static bool is_folder(const char *path, bool follow)
{
    struct stat st;
    int result = follow ? stat(path, &st) : lstat(path, &st);
    return result == 0 && S_ISDIR(st.st_mode);
}

/* One entry that a component matched. */
static void walk_entry(const struct walk *walk, const char *folder, const char *name,
                       const char *rest, int depth)
{
    char path[PATH_MAX];
    const char *slash = folder[1] == '\0' ? "" : "/";
    if ((size_t)snprintf(path, sizeof(path), "%s%s%s", folder, slash, name) >= sizeof(path))
        return;
    if (rest == NULL)
        walk->file(path, walk->arg);
    else if (is_folder(path, true))
        walk_from(walk, path, rest, depth);
}

static void walk_down(const struct walk *walk, const char *folder, const char *name,
                      const char *pattern, int depth)
{
    char path[PATH_MAX];
    const char *slash = folder[1] == '\0' ? "" : "/";
    if ((size_t)snprintf(path, sizeof(path), "%s%s%s", folder, slash, name) >= sizeof(path))
        return;
    if (is_folder(path, false))
        walk_from(walk, path, pattern, depth + 1);
}

static void walk_from(const struct walk *walk, const char *folder, const char *pattern, int depth)
{
    char part[NAME_MAX + 1];
    const char *rest = component(pattern, part);
    bool deep = strcmp(part, "**") == 0;
    walk->folder(folder, rest == NULL || deep, walk->arg);
    if (!deep && strpbrk(part, "*?[") == NULL) {
        walk_entry(walk, folder, part, rest, depth);
        return;
    }
    if (deep && rest != NULL)
        walk_from(walk, folder, rest, depth);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (deep && entry->d_name[0] != '.' && depth < DEPTH_MAX)
            walk_down(walk, folder, entry->d_name, pattern, depth);
        else if (!deep && fnmatch(part, entry->d_name, FNM_PERIOD | FNM_NOESCAPE) == 0 &&
                 strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            walk_entry(walk, folder, entry->d_name, rest, depth);
    }
    closedir(dir);
}

void glob_walk(const char *pattern, glob_folder_fn *folder, glob_file_fn *file, void *arg)
{
    struct walk walk = {folder, file, arg};
    walk_from(&walk, "/", skip_slashes(pattern), 0);
}
