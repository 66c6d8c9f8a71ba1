/* The nearest of some known names to a word that is none of them: for "did you mean". */
#ifndef SPLASHDAM_NEAREST_H
#define SPLASHDAM_NEAREST_H

#include <stddef.h>

#define NEAREST_MAX 64u /* longer words and names are near to nothing */

struct nearest {
    const char *word;
    const char *best; /* as it was offered; NULL: nothing is near */
    unsigned distance;
};

void nearest_init(struct nearest *nearest, const char *word);
void nearest_offer(struct nearest *nearest, const char *name);

/* The number of single-character insertions, deletions, changes and swaps of neighbours that make
 * one of the other (optimal string alignment). More than NEAREST_MAX when one is too long. */
unsigned nearest_distance(const char *a, const char *b);

#endif
