/* Runs a fuzz target over plain files, and over all files of folders, without libFuzzer: the corpora are part of the
 * tests. A target fails by crashing. */
#include <errno.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_files;

/* The input in a heap block of just its size, so that the address sanitizer sees a read past it. */
static int replay_file(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)place;
    if (kind != FTW_F)
        return 0;
    FILE *file = fopen(path, "rb");
    uint8_t *data = (uint8_t *)malloc(st->st_size > 0 ? (size_t)st->st_size : 1);
    if (file == NULL || data == NULL ||
        fread(data, 1, (size_t)st->st_size, file) != (size_t)st->st_size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)st->st_size);
    free(data);
    n_files++;
    return 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], replay_file, 16, FTW_PHYS) == -1) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
            return 1;
        }
    }
    printf("%s: %u inputs\n", argv[0], n_files);
    return n_files > 0 ? 0 : 1; /* an empty corpus shows nothing */
}
