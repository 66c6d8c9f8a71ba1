/* Globs over whole paths: `*`, `?`, `[…]` within a component (fnmatch(3); a leading dot is only
 * matched by a dot), `**` for any number of folders. */
#ifndef SPLASHDAM_GLOB_H
#define SPLASHDAM_GLOB_H

#include <stdbool.h>

bool glob_match(const char *pattern, const char *path);
/* May something that matches stand in the folder or below it? Not asked for "/". */
bool glob_leads(const char *pattern, const char *folder);

/* A folder in which something that matches may stand or appear; `leaf`: matching files themselves. */
typedef void glob_folder_fn(const char *folder, bool leaf, void *arg);
typedef void glob_file_fn(const char *path, void *arg);

/* Walks what is there now. The pattern is absolute. Symbolic links to folders are followed where the pattern names a
 * component, not by `**`. */
void glob_walk(const char *pattern, glob_folder_fn *folder, glob_file_fn *file, void *arg);

#endif
