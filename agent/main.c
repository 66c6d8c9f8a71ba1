#include "agent/agent.h"
#include "agent/cli.h"
#include "agent/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/splashdam/splashdam.yaml"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct arguments {
    const char *config;
    const char *stream;
    const char *name; /* the argument without a letter, if any */
};

struct command {
    const char *name;
    const char *usage;
    const char *help;
    const char *letters; /* for getopt(3) */
    int (*run)(const struct arguments *arguments);
    bool takes_name;
    bool hidden;
    int (*own)(int argc, char **argv, const char *config); /* has arguments of its own */
};

static int run_run(const struct arguments *a)
{
    return agent_run(a->config);
}

static int run_check(const struct arguments *a)
{
    return cli_check(a->config);
}

static int run_try(const struct arguments *a)
{
    return cli_try(a->config, a->stream);
}

static int run_plugins(const struct arguments *a)
{
    return cli_plugins(a->name);
}

static int run_reference(const struct arguments *a)
{
    int result;
    if (a->name != NULL && strcmp(a->name, "schema") == 0)
        result = reference_schema(stdout);
    else if (a->name != NULL && strcmp(a->name, "markdown") == 0)
        result = reference_markdown(stdout);
    else {
        fputs("usage: splashdam reference markdown|schema\n", stderr);
        return EXIT_USAGE;
    }
    return result == 0 && fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

static const struct command commands[] = {
    {"run", "run [-c FILE]", "tails, transforms and ships, until SIGTERM", "hc:", run_run, false,
     false, NULL},
    {"check", "check [-c FILE]",
     "checks a configuration, with all that it includes, without running it", "hc:", run_check,
     false, false, NULL},
    {"try", "try [-c FILE] -s STREAM",
     "sends standard input through a stream's chain and encoding: a record a line, no Kafka",
     "hc:s:", run_try, false, false, NULL},
    {"plugins", "plugins [NAME]", "lists the plugins, or tells one's options", "h", run_plugins,
     true, false, NULL},
    {.name = "spool",
     .usage = "spool COMMAND",
     .help = "lists, checks, dumps and salvages what waits on disk for Kafka",
     .letters = "h",
     .own = cli_spool},
    {"reference", "reference markdown|schema", "the configuration reference", "h", run_reference,
     true, true, NULL},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
    fputs("splashdam ships log lines to Kafka: none is lost, and each is accounted for.\n\n"
          "usage: splashdam COMMAND [ARGUMENTS]\n\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!commands[i].hidden)
            fprintf(out, "  %-26s %s\n", commands[i].usage, commands[i].help);
    fputs("  -h, --help                 this text; behind a command: about it\n"
          "  -V, --version              the version\n\n"
          "FILE is " DEFAULT_CONFIG " unless -c names another.\n"
          "Signals for run: TERM, INT stop (a second one at once); USR1 logs the account.\n"
          "Exit status: 0, 1 something failed, 2 wrong usage, 78 another agent has this agent.id "
          "(run, "
          "exactly-once).\n",
          out);
}

static int print_command_help(const struct command *command)
{
    printf("usage: splashdam %s\n\n%s\n", command->usage, command->help);
    if (strchr(command->letters, 'c') != NULL)
        printf("\n  -c FILE    the configuration (default " DEFAULT_CONFIG ")\n");
    if (strchr(command->letters, 's') != NULL)
        printf("  -s STREAM  the stream's name\n");
    return EXIT_OK;
}

static int wrong_usage(const struct command *command, const char *what)
{
    fprintf(stderr, "splashdam %s: %s\nusage: splashdam %s\n", command->name, what, command->usage);
    return EXIT_USAGE;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct arguments arguments = {.config = DEFAULT_CONFIG};
    int letter;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return print_command_help(command);
    while ((letter = getopt(argc, argv, command->letters)) != -1) {
        switch (letter) {
        case 'h': return print_command_help(command);
        case 'c': arguments.config = optarg; break;
        case 's': arguments.stream = optarg; break;
        default: /* getopt() has said what is wrong */
            return wrong_usage(command, "wrong arguments");
        }
    }
    bool takes_name = command->takes_name;
    if (optind < argc && takes_name)
        arguments.name = argv[optind++];
    if (optind < argc)
        return wrong_usage(command, "too many arguments");
    if (strchr(command->letters, 's') != NULL && arguments.stream == NULL)
        return wrong_usage(command, "which stream? -s STREAM");
    return command->run(&arguments);
}

/* A descriptor of ours must never get the number of a closed standard stream: the log would go into it. */
static void open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            open("/dev/null", O_RDWR); /* takes the lowest free number: this one */
}

/* What was printed has to have arrived. */
static int finish_output(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    fprintf(stderr, "splashdam: cannot write to standard output: %s\n", strerror(errno));
    return status == EXIT_OK ? EXIT_FAILED : status;
}

static int run_named(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_OK;
    }
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        puts("splashdam " VERSION);
        return EXIT_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].own != NULL ? commands[i].own(argc - 1, argv + 1, DEFAULT_CONFIG)
                                           : run_command(&commands[i], argc - 1, argv + 1);
    if (*name != '\0')
        fprintf(stderr, "splashdam: unknown command %s\n\n", name);
    print_help(stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    open_standard_streams();
    return finish_output(run_named(argc, argv));
}
