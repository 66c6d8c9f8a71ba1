/* A randomized test of tailing: files are written, rotated, truncated, deleted, linked and moved at random on a real
 * file system, the tail looks, reads, delivers, is stopped and killed between, and what comes out is held against a model.
 *
 *     model [SECONDS]          0: until it is stopped
 *
 *     MODEL_SEED=N     only this round, to see a failure again
 *     MODEL_STEPS=N    operations of a round (3000)
 *     MODEL_COPIES=1   logs are copied and truncated, too
 *     MODEL_VERBOSE=1  prints each operation and the tail's log
 *
 * A round does everything from its seed, which is printed when it fails. */
#include "tests/model/generator.h"

#include "agent/log.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOTES 60

static uint64_t seed, bits;
static unsigned step;
static char notes[NOTES][200];
static unsigned n_notes;
static bool verbose;
static char folder[40];

uint64_t world_random(uint64_t below)
{
    bits += 0x9E3779B97F4A7C15u;
    uint64_t mixed = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return (mixed ^ (mixed >> 31)) % below;
}

void generator_note(const char *format, ...)
{
    va_list args;
    char *note = notes[n_notes++ % NOTES];
    int len = snprintf(note, sizeof(notes[0]), "%6u  ", step);
    va_start(args, format);
    vsnprintf(note + len, sizeof(notes[0]) - (size_t)len, format, args);
    va_end(args);
    if (verbose)
        fprintf(stderr, "%s\n", note);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

void model_fail(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "\nmodel: FAILED, seed %" PRIu64 ", operation %u; the last ones:\n", seed, step);
    for (unsigned i = n_notes < NOTES ? 0 : n_notes - NOTES; i < n_notes; i++)
        fprintf(stderr, "%s\n", notes[i % NOTES]);
    fprintf(stderr, "model: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr,
            "\nmodel: again with  make model MODEL_SEED=%" PRIu64
            " (MODEL_VERBOSE=1 for all of it)\n",
            seed);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    exit(1);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

static void one_round(uint64_t steps, uint64_t *doubled, uint64_t *lines, uint64_t *gone)
{
    static struct trial trial;
    const char *base = getenv("TMPDIR");
    bits = seed;
    n_notes = 0;
    snprintf(folder, sizeof(folder), "%.20s/splashdam-XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(folder) == NULL)
        model_fail("cannot make a folder in %s", folder);
    world_init(&trial.world, folder, number_of("MODEL_COPIES", 0) != 0);
    subject_init(&trial.subject, &trial.world.model, folder, trial.world.glob_list, 2);
    if (trial.world.closing) {
        trial.subject.config.tail.close_idle = 2000;
        trial.subject.files.limit = world_random(2) == 0 ? 4 : 0;
    }
    for (step = 0; step < steps; step++)
        generator_step(&trial);
    generator_end(&trial);
    *doubled += trial.world.model.doubled;
    *lines += trial.world.model.n_lines - 1;
    *gone += trial.world.model.lost;
    subject_fini(&trial.subject);
    world_fini(&trial.world);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 60;
    uint64_t steps = number_of("MODEL_STEPS", 3000);
    uint64_t only = number_of("MODEL_SEED", 0);
    uint64_t rounds = 0, doubled = 0, lines = 0, gone = 0;
    time_t began = time(NULL);
    verbose = number_of("MODEL_VERBOSE", 0) != 0;
    log_init(verbose ? LOG_LEVEL_INFO : -1);
    seed = only != 0 ? only : (uint64_t)began * 1000000 + (uint64_t)getpid() % 1000 * 1000;
    do {
        if (only == 0 && seconds == 0)
            printf("model: seed %" PRIu64 "\n", seed);
        one_round(steps, &doubled, &lines, &gone);
        rounds++;
        seed++;
        if (only == 0 && seconds == 0)
            fflush(stdout);
    } while (only == 0 && (seconds == 0 || (uint64_t)(time(NULL) - began) < seconds));
    printf("model: %" PRIu64 " rounds, seeds %" PRIu64 " to %" PRIu64 ": %" PRIu64
           " operations, %" PRIu64 " lines, %" PRIu64 " doubled by crashes, %" PRIu64
           " destroyed before they could be read\n",
           rounds, seed - rounds, seed - 1, rounds * steps, lines, doubled, gone);
    return 0;
}
