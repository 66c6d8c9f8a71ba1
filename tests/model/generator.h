/* Random operations on the world and on the tail, by weight. */
#ifndef SPLASHDAM_MODEL_GENERATOR_H
#define SPLASHDAM_MODEL_GENERATOR_H

#include "tests/model/subject.h"
#include "tests/model/world.h"

struct trial {
    struct world world;
    struct subject subject;
};

/* One operation; it is told to generator_note(). */
void generator_step(struct trial *trial);
/* Everything that is left is written, read, delivered and checked. */
void generator_end(struct trial *trial);

/* What was done, for people. Defined by main.c. */
void generator_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
