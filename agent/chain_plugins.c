/* Plugins by name. A shared object is loaded once and stays: instances in all workers point into it.
 * The list only grows; one mutex guards it (chains are opened at start and at reload, not while records run). */
#include "agent/chain.h"

#include "agent/nearest.h"
#include "agent/option.h"
#include "agent/quote.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MOST 64u

struct loaded {
    struct loaded *next;
    char *path;
    const struct plugin *plugin;
};

static pthread_mutex_t loaded_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct loaded *loaded_first;

/* ---- the folder ---- */

static char beside_binary[PATH_MAX + 16]; /* "" when there is no such folder */

/* plugins/ beside the binary (a build), or where `make install` puts them relative to it. */
static void find_beside_binary(void)
{
    static const char *const places[] = {"plugins", "../lib/splashdam/plugins"};
    char folder[PATH_MAX];
    struct stat status;
    ssize_t len = readlink("/proc/self/exe", folder, sizeof(folder));
    while (len > 0 && folder[len - 1] != '/')
        len--;
    for (size_t i = 0; len > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        int n =
            snprintf(beside_binary, sizeof(beside_binary), "%.*s%s", (int)len, folder, places[i]);
        if (n > 0 && (size_t)n < sizeof(beside_binary) && stat(beside_binary, &status) == 0 &&
            S_ISDIR(status.st_mode))
            return;
    }
    beside_binary[0] = '\0';
}

const char *chain_plugin_folder(const char *configured)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (configured != NULL)
        return configured;
    const char *environment = getenv("SPLASHDAM_PLUGINS");
    if (environment != NULL && environment[0] != '\0')
        return environment;
    pthread_once(&once, find_beside_binary);
    return beside_binary[0] != '\0' ? beside_binary : PLUGIN_DIR;
}

/* ---- names ---- */

/* [a-z0-9_]+: nothing that could lead out of the folder. */
static bool name_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return len > 0 && len < NAME_MOST && name[len] == '\0';
}

/* The plugin's name of a file `name.so`; false when it is none. */
static bool name_of_file(const char *file, char ret_name[NAME_MOST])
{
    size_t len = strlen(file);
    if (len < 4 || len - 3 >= NAME_MOST || strcmp(file + len - 3, ".so") != 0)
        return false;
    char name[NAME_MOST];
    memcpy(name, file, len - 3);
    name[len - 3] = '\0';
    if (!name_valid(name))
        return false;
    memcpy(ret_name, name, len - 2);
    return true;
}

static int is_plugin_file(const struct dirent *entry)
{
    char name[NAME_MOST];
    return name_of_file(entry->d_name, name);
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The folder's plugin files, sorted. Their number, or -1 and *error. */
static int list_folder(const char *folder, struct dirent ***ret_entries, struct error *error)
{
    int n = scandir(folder, ret_entries, is_plugin_file, by_bytes);
    if (n == -1)
        return error_set(error, "the plugin folder %.300s can't be read: %s", folder,
                         strerror(errno));
    return n;
}

static void free_entries(struct dirent **entries, int n)
{
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
}

/* The text for a name that no file has. Returns -1. */
static int unknown_plugin(const char *folder, const char *name, struct error *error)
{
    struct dirent **entries;
    int n = list_folder(folder, &entries, error);
    if (n == -1)
        return -1;
    char known[300] = "";
    char best[NAME_MOST] = "";
    size_t len = 0;
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (int i = 0; i < n; i++) {
        char each[NAME_MOST];
        if (!name_of_file(entries[i]->d_name, each))
            continue;
        nearest.best = NULL;
        nearest_offer(&nearest, each);
        if (nearest.best != NULL)
            memcpy(best, each, sizeof(best));
        int added = snprintf(known + len, sizeof(known) - len, "%s%s", len == 0 ? "" : ", ", each);
        if (added > 0 && (size_t)added < sizeof(known) - len)
            len += (size_t)added;
    }
    free_entries(entries, n);
    struct quoted quoted = quote_str(name);
    if (best[0] != '\0')
        return error_set(error, "unknown step %s; did you mean \"%s\"?", quoted.text, best);
    return error_set(error, "unknown step %s; the plugins in %.100s are: %s", quoted.text, folder,
                     len == 0 ? "none" : known);
}

/* ---- loading ---- */

static size_t option_size(const struct option *option)
{
    static const size_t sizes[] = {
        [OPTION_BOOL] = sizeof(bool),
        [OPTION_INTEGER] = sizeof(int64_t),
        [OPTION_SIZE] = sizeof(uint64_t),
        [OPTION_TIME] = sizeof(int64_t),
        [OPTION_STRING] = sizeof(char *),
        [OPTION_CHOICE] = sizeof(int),
        [OPTION_REGEX] = sizeof(struct regex *),
        [OPTION_CONDITION] = sizeof(struct condition *),
        [OPTION_TEMPLATE] = sizeof(struct template *),
        [OPTION_LIST] = sizeof(struct option_list),
        [OPTION_MAP] = sizeof(struct option_map),
        [OPTION_TEMPLATES] = sizeof(struct option_templates),
    };
    size_t type = (size_t)option->type;
    return type < sizeof(sizes) / sizeof(sizes[0]) ? sizes[type] : SIZE_MAX;
}

static int check_option(const struct plugin *plugin, const struct option *option,
                        struct error *error)
{
    size_t size = option_size(option);
    if (size > plugin->size || option->offset > plugin->size - size)
        return error_set(error, "its option %.64s lies outside its instance", option->name);
    if (option->help == NULL)
        return error_set(error, "its option %.64s has no help", option->name);
    if (option->type == OPTION_CHOICE && option->choices == NULL)
        return error_set(error, "its option %.64s has no choices", option->name);
    return 0;
}

/* What a table has to say for the agent to trust it. */
static int check_table(const struct plugin *plugin, const char *name, struct error *error)
{
    if (plugin->name == NULL || strcmp(plugin->name, name) != 0)
        return error_set(error, "it calls itself %.64s; that and the file's name must be the same",
                         plugin->name == NULL ? "nothing" : plugin->name);
    if (plugin->help == NULL || plugin->example == NULL || plugin->options == NULL ||
        plugin->process == NULL)
        return error_set(error, "its table has no help, example, options or process");
    for (const struct option *option = plugin->options; option->name != NULL; option++)
        if (check_option(plugin, option, error) == -1)
            return -1;
    const struct option *rest = option_find(plugin->options, plugin->rest);
    if (plugin->rest != NULL && (rest == NULL || !option_is_map(rest)))
        return error_set(error, "its rest option is no map of its table");
    if (plugin->shorthand != NULL && option_find(plugin->options, plugin->shorthand) == NULL)
        return error_set(error, "its shorthand option is not in its table");
    return 0;
}

static const struct plugin *load_object(const char *path, const char *name, struct error *error)
{
    struct error why = {.line = 0};
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        error_set(error, "plugin \"%s\" can't be loaded: %.400s", name, dlerror());
        return NULL;
    }
    const struct plugin *plugin = (const struct plugin *)dlsym(object, "splashdam_plugin");
    if (plugin == NULL)
        error_set(&why, "it has no symbol splashdam_plugin");
    else if (plugin->abi != PLUGIN_ABI)
        error_set(&why,
                  "it was built for version %u of the plugin interface and this agent has version "
                  "%u: build it again with this agent's plugin.h",
                  plugin->abi, PLUGIN_ABI);
    else if (check_table(plugin, name, &why) == 0)
        return plugin;
    error_set(error, "plugin \"%s\" (%.200s) can't be used: %.200s", name, path, why.text);
    dlclose(object);
    return NULL;
}

/* With the mutex held. */
static const struct plugin *find_or_load(const char *path, const char *name, struct error *error)
{
    for (struct loaded *loaded = loaded_first; loaded != NULL; loaded = loaded->next)
        if (strcmp(loaded->path, path) == 0)
            return loaded->plugin;
    struct loaded *loaded = (struct loaded *)calloc(1, sizeof(*loaded));
    if (loaded == NULL || (loaded->path = strdup(path)) == NULL) {
        error_set(error, "out of memory");
    } else {
        loaded->plugin = load_object(path, name, error);
        if (loaded->plugin != NULL) {
            loaded->next = loaded_first;
            loaded_first = loaded;
            return loaded->plugin;
        }
        free(loaded->path);
    }
    free(loaded);
    return NULL;
}

const struct plugin *chain_plugin(const char *folder, const char *name, struct error *error)
{
    char path[PATH_MAX];
    if (!name_valid(name)) {
        error_set(error, "%s is no step's name: those are of a-z, 0-9 and _", quote_str(name).text);
        return NULL;
    }
    /* With a slash in it, dlopen() looks at no other place. */
    int len = snprintf(path, sizeof(path), "%s%s/%s.so", strchr(folder, '/') == NULL ? "./" : "",
                       folder, name);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        error_set(error, "the plugin folder's path is too long");
        return NULL;
    }
    if (access(path, F_OK) == -1) {
        unknown_plugin(folder, name, error);
        return NULL;
    }
    pthread_mutex_lock(&loaded_mutex);
    const struct plugin *plugin = find_or_load(path, name, error);
    pthread_mutex_unlock(&loaded_mutex);
    return plugin;
}

int chain_plugins(const char *folder, chain_each_plugin *each, void *arg, struct error *error)
{
    struct dirent **entries;
    int n = list_folder(folder, &entries, error);
    if (n == -1)
        return -1;
    int result = 0;
    for (int i = 0; i < n && result == 0; i++) {
        char name[NAME_MOST];
        if (!name_of_file(entries[i]->d_name, name))
            continue;
        const struct plugin *plugin = chain_plugin(folder, name, error);
        if (plugin == NULL)
            result = -1;
        else
            each(plugin, arg);
    }
    free_entries(entries, n);
    return result;
}
