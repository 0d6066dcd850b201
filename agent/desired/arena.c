#include "agent/desired/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK 8192 /* bytes of payload of a usual chunk */

struct arena_chunk {
    struct arena_chunk *older;
    size_t used, size;
    max_align_t payload[];
};

static struct arena_chunk *chunk_new(struct arena *arena, size_t need)
{
    size_t size = need > ARENA_CHUNK ? need : ARENA_CHUNK;
    struct arena_chunk *chunk;

    if (size > SIZE_MAX - sizeof *chunk)
        return NULL;
    chunk = malloc(sizeof *chunk + size);
    if (chunk == NULL)
        return NULL;
    chunk->used = 0;
    chunk->size = size;
    arena->total += sizeof *chunk + size;
    /* A piece with a chunk of its own goes behind the newest, whose rest stays in use. */
    if (need > ARENA_CHUNK && arena->newest != NULL) {
        chunk->older = arena->newest->older;
        arena->newest->older = chunk;
    } else {
        chunk->older = arena->newest;
        arena->newest = chunk;
    }
    return chunk;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    struct arena_chunk *chunk = arena->newest;
    size_t align = sizeof(max_align_t);
    unsigned char *piece;

    if (size > SIZE_MAX - align)
        return NULL;
    size = (size + align - 1) / align * align;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        chunk = chunk_new(arena, size);
        if (chunk == NULL)
            return NULL;
    }
    piece = (unsigned char *)chunk->payload + chunk->used;
    chunk->used += size;
    return memset(piece, 0, size);
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return arena_alloc(arena, count * size);
}

char *arena_text(struct arena *arena, const char *text, size_t len)
{
    char *copy;

    if (len == SIZE_MAX)
        return NULL;
    copy = arena_alloc(arena, len + 1);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

void arena_free(struct arena *arena)
{
    while (arena->newest != NULL) {
        struct arena_chunk *chunk = arena->newest;
        arena->newest = chunk->older;
        free(chunk);
    }
    arena->total = 0;
}
