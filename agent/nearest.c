/* Edit distance by rows: row i holds the distances of a's first i characters to each beginning of b.
 * A swap of neighbours looks back two rows, so three are kept and used in turn. */
#include "agent/nearest.h"

#include <limits.h>
#include <string.h>

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned nearest_distance(const char *a, const char *b)
{
    unsigned rows[3][NEAREST_MAX + 1];
    size_t len_a = strlen(a);
    size_t len_b = strlen(b);
    if (len_a > NEAREST_MAX || len_b > NEAREST_MAX)
        return UINT_MAX;
    for (unsigned j = 0; j <= len_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= len_b; j++) {
            unsigned change = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(change, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[len_a % 3][len_b];
}

void nearest_init(struct nearest *nearest, const char *word)
{
    *nearest = (struct nearest){.word = word, .distance = UINT_MAX};
}

void nearest_offer(struct nearest *nearest, const char *name)
{
    unsigned distance = nearest_distance(nearest->word, name);
    size_t len = strlen(nearest->word);
    size_t most = len < 3 ? 1 : len < 6 ? 2 : len / 3 + 1;
    /* A word of which nothing is left is not near. */
    if (distance <= most && distance < len && distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = name;
    }
}
