/* Any bytes as a configuration: no crash, no leak, an error always with a text. Includes are not
 * allowed, so nothing else is read. The environment is emptied and given a few variables, so that a
 * finding can be repeated. */
#include "agent/config_sections.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The plugins of the build that this program is in, two folders beneath it; else those of build/. */
static void prepare(void)
{
    char plugins[PATH_MAX + 32];
    const char *given = getenv("SPLASHDAM_PLUGINS");
    if (given != NULL) {
        snprintf(plugins, sizeof(plugins), "%s", given);
    } else {
        ssize_t len = readlink("/proc/self/exe", plugins, PATH_MAX);
        for (int slashes = 0; len > 0 && slashes < 2; len--)
            slashes += plugins[len - 1] == '/';
        snprintf(plugins + (len < 0 ? 0 : len), 32, "/plugins");
        if (access(plugins, R_OK) == -1)
            snprintf(plugins, sizeof(plugins), "build/plugins");
    }
    clearenv();
    setenv("SPLASHDAM_PLUGINS", plugins, 1);
    setenv("NAME", "value", 1);
    setenv("EMPTY", "", 1);
    setenv("ODD", "${NAME} %{field} [1, 2", 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool prepared;
    if (!prepared)
        prepare();
    prepared = true;
    struct error error;
    struct config *config =
        config_load_text(slice_of((const char *)data, size), "fuzz.yaml", &error);
    if (config == NULL) {
        assert(error.text[0] != '\0');
        return 0;
    }
    assert(config->n_streams > 0);
    assert(config_stream(config, config->streams[0].name, &error) == &config->streams[0]);
    config_free(&config);
    return 0;
}
