/* For tests: plugins compiled when the test runs, out of the tree's build, as a third party's are. */
#ifndef SPLASHDAM_TESTS_MADE_PLUGIN_H
#define SPLASHDAM_TESTS_MADE_PLUGIN_H

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a program of the path to its end; it must succeed. */
static inline void run_program(const char *const *arguments)
{
    extern char **environ;
    pid_t child;
    int status;
    assert_int_equal(posix_spawnp(&child, arguments[0], NULL, NULL,
                                  (char *const *)(uintptr_t)arguments, environ),
                     0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static inline void remove_folder(const char *folder)
{
    run_program((const char *const[]){"rm", "-rf", folder, NULL});
}

/* Compiles the C text to folder/name.so with the tree's plugin.h; the current folder is the project's. */
static inline void make_plugin(const char *folder, const char *name, const char *text)
{
    char source[1024];
    char object[1024];
    snprintf(source, sizeof(source), "%s/%s.c", folder, name);
    snprintf(object, sizeof(object), "%s/%s.so", folder, name);
    FILE *out = fopen(source, "w");
    assert_non_null(out);
    fprintf(out, "#include \"plugins/plugin.h\"\n%s", text);
    fclose(out);
    run_program((const char *const[]){"cc", "-std=gnu11", "-D_GNU_SOURCE", "-I.", "-fPIC",
                                      "-shared", "-fvisibility=hidden", "-o", object, source, NULL});
    unlink(source);
}

#endif
