/* `splashdam plugins` and `check`; `try` is in cli_try.c. Standard output has the answer, standard error the reason
 * why there is none. */
#include "agent/cli.h"

#include "agent/producer.h"
#include "agent/chain.h"
#include "agent/config.h"
#include "agent/option.h"

#include <stdio.h>

#define WIDTH 78

void cli_print_error(const struct error *error)
{
    if (error->file[0] != '\0' && error->line > 0)
        fprintf(stderr, "%s:%d:%d: %s\n", error->file, error->line, error->column, error->text);
    else if (error->file[0] != '\0')
        fprintf(stderr, "%s: %s\n", error->file, error->text);
    else
        fprintf(stderr, "splashdam: %s\n", error->text);
}

/* ---- plugins ---- */

static void print_plugin_line(const struct plugin *plugin, void *arg)
{
    (void)arg;
    printf("%-14s %s\n", plugin->name, plugin->help);
}

/* The text in lines that end before WIDTH, each after `indent` blanks. */
static void print_wrapped(const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        int len = (int)strcspn(text, " \n");
        if (column > 0 && column + 1 + len > WIDTH) {
            putchar('\n');
            column = 0;
        }
        if (column == 0)
            column = printf("%*s%.*s", indent, "", len, text);
        else
            column += printf(" %.*s", len, text);
        text += len;
        text += strspn(text, " \n");
    }
    putchar('\n');
}

static void print_options(const struct option *options)
{
    for (const struct option *option = options; option->name != NULL; option++) {
        char allowed[OPTION_TEXT_ROOM];
        option_allowed(option, allowed);
        printf("\n  %s: %s", option->name, allowed);
        if (option->required)
            printf("; required");
        else if (option->fallback != NULL)
            printf("; default %s", option->fallback[0] == '\0' ? "''" : option->fallback);
        putchar('\n');
        print_wrapped(option->help, 6);
    }
}

static void print_plugin(const struct plugin *plugin)
{
    printf("%s\n", plugin->name);
    print_wrapped(plugin->help, 2);
    print_options(plugin->options);
    if (option_find(plugin->options, "when") == NULL)
        print_options(chain_common_options());
    if (plugin->shorthand != NULL)
        printf("\n  A value in place of the options is that of %s.\n", plugin->shorthand);
    if (plugin->rest != NULL)
        printf("\n  All other keys belong to %s, which need not be written.\n", plugin->rest);
    printf("\nExample:\n\n%s%s", plugin->example,
           plugin->example[0] != '\0' && plugin->example[strlen(plugin->example) - 1] == '\n'
               ? ""
               : "\n");
}

int cli_plugins(const char *name)
{
    struct error error = {.line = 0};
    const char *folder = chain_plugin_folder(NULL);
    const struct plugin *plugin = NULL;
    int result = 0;
    if (name == NULL)
        result = chain_plugins(folder, print_plugin_line, NULL, &error);
    else if ((plugin = chain_plugin(folder, name, &error)) != NULL)
        print_plugin(plugin);
    else
        result = -1;
    if (result == -1)
        cli_print_error(&error);
    return result == -1 ? 1 : 0;
}

/* ---- check ---- */

static void print_stream(const struct config *config, const struct config_stream *stream)
{
    struct error error;
    struct chain *chain = chain_open(config, stream->chain, &error);
    printf("  stream %s:", stream->name);
    for (size_t i = 0; i < stream->tail.paths.n; i++)
        printf(" %s", stream->tail.paths.items[i]);
    for (size_t i = 0; chain != NULL && i < chain_step_count(chain); i++)
        printf("%s%s", i == 0 ? "; steps: " : ", ", chain_step(chain, i)->name);
    putchar('\n');
    chain_close(&chain);
}

int cli_check(const char *file)
{
    struct error error;
    struct config *config = config_load(file, &error);
    if (config == NULL) {
        cli_print_error(&error);
        return 1;
    }
    if (producer_check(config, &error) == -1) {
        fprintf(stderr, "%s: %s\n", file, error.text);
        config_free(&config);
        return 1;
    }
    printf("%s: ok\n", file);
    for (size_t i = 0; i < config->n_streams; i++)
        print_stream(config, &config->streams[i]);
    config_free(&config);
    return fflush(stdout) == 0 ? 0 : 1;
}
