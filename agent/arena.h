/* Arenas: bump allocation from chunks; everything goes at once (arena_reset()).
 *
 *   arena.chunks ─▶ [newest chunk: used … next | free … end] ─▶ [older, full] ─▶ NULL
 *
 * Standard chunks come from a pool and go back to it, so that a busy worker asks the system for
 * nothing; larger ones, for long lines, are the heap's. A pool belongs to one thread. */
#ifndef SPLASHDAM_ARENA_H
#define SPLASHDAM_ARENA_H

#include "plugins/plugin.h"

#define ARENA_CHUNK      ((size_t)64 * 1024) /* bytes of a standard chunk, its head included */
#define ARENA_CHUNK_ROOM (ARENA_CHUNK - 64) /* the largest allocation that a standard chunk takes */

struct arena_chunk;

struct arena_pool {
    struct arena_chunk *free;
    size_t n_free;
    size_t max_free; /* more than that go back to the heap */
};

void arena_pool_init(struct arena_pool *pool, size_t max_free);
void arena_pool_fini(struct arena_pool *pool);

/* Takes no memory yet. pool may be NULL: every chunk from the heap. */
void arena_init(struct arena *arena, struct arena_pool *pool, size_t limit);
/* Gives all chunks back; the arena can be used again. */
void arena_reset(struct arena *arena);
/* Adds `more` to a text of which `*room` bytes in the arena are its own (0: it stands elsewhere and is copied), doubling them.
 * -1: the arena has no room; the text is as it was. */
int arena_append(struct arena *arena, struct slice *text, size_t *room, struct slice more);
/* Which of two places in the arena was allocated first: <0: a, >0: b, 0: the same place. */
int arena_order(const struct arena *arena, const char *a, const char *b);

#endif
