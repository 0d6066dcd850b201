/* Memory of one parse: many small pieces, freed together. */
#ifndef COVEY_DESIRED_ARENA_H
#define COVEY_DESIRED_ARENA_H

#include <stddef.h>

struct arena_chunk;

/* {0} is a valid, empty arena. */
struct arena {
    struct arena_chunk *newest;
    size_t total; /* bytes taken from malloc */
};

/* @size bytes of zeroes, aligned for every type; NULL when memory ran out. @size 0 gives a valid
 * pointer too. */
void *arena_alloc(struct arena *arena, size_t size);

/* As arena_alloc for @count pieces of @size bytes; NULL on overflow as well. */
void *arena_array(struct arena *arena, size_t count, size_t size);

/* A zero-terminated copy of the @len bytes at @text, or NULL. */
char *arena_text(struct arena *arena, const char *text, size_t len);

/* Frees all pieces; the arena is empty and can be used again. */
void arena_free(struct arena *arena);

#endif
