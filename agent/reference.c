/* docs/configuration.md. */
#include "agent/reference.h"

#include "agent/chain.h"
#include "agent/cli.h"
#include "agent/config_sections.h"

static const char introduction[] =
    "# Configuration\n"
    "\n"
    "Generated from the option tables by `splashdam reference markdown`; `make docs` does it.\n"
    "\n"
    "splashdam reads `/etc/splashdam/splashdam.yaml`, or the file that `-c` names. It is YAML. "
    "`splashdam check`\n"
    "looks at all that can be known without running and reports errors as "
    "`file:line:column: what is wrong`.\n"
    "Keys that are not known are errors.\n"
    "\n"
    "```yaml\n"
    "agent:\n"
    "  id: web-1\n"
    "include: [conf.d/*.yaml]\n"
    "kafka:\n"
    "  brokers: [kafka-1:9092]\n"
    "  properties: {compression.codec: zstd, linger.ms: 20}\n"
    "streams:\n"
    "  nginx:\n"
    "    tail: {paths: [/var/log/nginx/*.log], exclude: ['*.gz']}\n"
    "    chain:\n"
    "      - parse_json\n"
    "      - drop: {when: 'status == 404'}\n"
    "    ship: {topic: logs.nginx, key: '%{client}'}\n"
    "```\n"
    "\n"
    "| what | how it is written |\n"
    "| --- | --- |\n"
    "| size | `512`, `64KiB`, `1MiB`, `1GiB`, `1TiB` (1024 each), `1kB`, `1MB`, `1GB`, `1TB` (1000 "
    "each) |\n"
    "| time | `200ms`, `5s`, `2m`, `1h`, `1d` |\n"
    "| environment | `${NAME}`: its value, an error when it is not set. `${NAME:-default}`: the "
    "default when it is not set or empty. `$${`: a plain `${`. In every text; what was put in is "
    "not looked at again. |\n"
    "| template | `%{field}`: the record's field. `%{field:-default}`: where it may be missing. "
    "`%%{`: a plain `%{`. |\n"
    "| condition | `status == 404`: fields of the record compared by `==` `!=` `<` `<=` `>` `>=` "
    "`~` `!~` `in` `exists`, joined by `and` `or` `not` |\n"
    "| list | `[a, b]`; where it has one item, this item alone |\n";

/* ---- texts ---- */

/* Text in a table's cell. Within backquotes a `<` is itself, elsewhere it would begin a tag. */
static void put_cell(FILE *out, const char *text)
{
    bool code = false;
    for (; *text != '\0'; text++) {
        code ^= *text == '`';
        if (*text == '|' || (*text == '<' && !code))
            putc('\\', out);
        putc(*text == '\n' ? ' ' : *text, out);
    }
}

static void put_options(FILE *out, const struct option *options)
{
    for (const struct option *option = options; option->name != NULL; option++) {
        char allowed[OPTION_TEXT_ROOM];
        option_allowed(option, allowed);
        fprintf(out, "| `%s` | ", option->name);
        put_cell(out, allowed);
        fputs(" | ", out);
        if (option->required) {
            fputs("required", out);
        } else if (option->fallback != NULL) {
            putc('`', out);
            put_cell(out, option->fallback[0] == '\0' ? "''" : option->fallback);
            putc('`', out);
        }
        fputs(" | ", out);
        put_cell(out, option->help);
        fputs(" |\n", out);
    }
}

static void put_table_head(FILE *out)
{
    fputs("\n| option | it must be | default | what it does |\n| --- | --- | --- | --- |\n", out);
}

static void put_example(FILE *out, const char *example)
{
    size_t len = strlen(example);
    fprintf(out, "\n```yaml\n%s%s```\n", example, len > 0 && example[len - 1] == '\n' ? "" : "\n");
}

static void put_keys(FILE *out, const struct option *keys)
{
    fputs("\n| key | what it is |\n| --- | --- |\n", out);
    for (const struct option *key = keys; key->name != NULL; key++)
        fprintf(out, "| `%s` | %s |\n", key->name, key->help);
}

/* ---- parts ---- */

static void put_section(FILE *out, const struct section *section)
{
    fprintf(out, "\n## %s\n\n%s\n", section->name, section->help);
    put_table_head(out);
    put_options(out, section->options);
    put_example(out, section->example);
    for (const struct option *option = section->options; option->name != NULL; option++) {
        if (option->type != OPTION_SECTION)
            continue;
        fprintf(out, "\n### %s.%s\n", section->name, option->name);
        put_table_head(out);
        put_options(out, option->options);
    }
}

static void put_plugin(const struct plugin *plugin, void *arg)
{
    FILE *out = (FILE *)arg;
    fprintf(out, "\n### %s\n\n%s\n", plugin->name, plugin->help);
    put_table_head(out);
    put_options(out, plugin->options);
    if (option_find(plugin->options, "when") == NULL)
        put_options(out, chain_common_options());
    if (plugin->shorthand != NULL)
        fprintf(out, "\nA value in place of the options is that of `%s`.\n", plugin->shorthand);
    if (plugin->rest != NULL)
        fprintf(out, "\nAll other keys of the step belong to `%s`, which need not be written.\n",
                plugin->rest);
    put_example(out, plugin->example);
}

static void count_plugin(const struct plugin *plugin, void *arg)
{
    (void)plugin;
    ++*(unsigned *)arg;
}

int reference_markdown(FILE *out)
{
    struct error error = {.line = 0};
    const char *folder = chain_plugin_folder(NULL);
    unsigned n = 0;
    if (chain_plugins(folder, count_plugin, &n, &error) == -1) {
        cli_print_error(&error);
        return -1;
    }
    fputs(introduction, out);
    fputs("\n## The file\n", out);
    put_keys(out, file_keys);
    put_section(out, &agent_section);
    put_section(out, &kafka_section);
    put_section(out, &spool_section);
    fprintf(out,
            "\n## streams\n\nA mapping of names to streams. A name is of 1 to %u letters, digits, "
            "and `.` `_` `-`;\npositions in files are remembered by it.\n",
            CONFIG_NAME_MAX);
    put_keys(out, stream_keys);
    put_section(out, &tail_section);
    put_section(out, &ship_section);
    fputs("\n## chain\n\nA list of steps. Each is a plugin's name, or its name with its options. "
          "A record goes through\nthe steps in their order; one that a step drops is seen by no "
          "later one.\n",
          out);
    chain_plugins(folder, put_plugin, out, &error);
    return 0;
}
