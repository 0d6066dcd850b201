/* Writing and reading msgpack, bounded. Both ends latch their first failure, so that a codec is a
 * plain list of fields with one check at its end.
 *
 * Writing is msgpack-c's packer over a fixed buffer. Reading is done here, in place: msgpack-c's
 * unpacker builds a tree of objects in a zone whose size the sender chooses, and would accept the
 * many longer spellings of a number. What we need of the format is a cursor over eight kinds of
 * value; it allocates nothing, borrows bytes and strings from the buffer, and takes only the
 * shortest spelling, which is what the packer writes: a message has exactly one form, and decoding
 * and encoding it again gives the same bytes (the fuzz targets hold it to that). */
#ifndef COVEY_WIRE_CODEC_IO_H
#define COVEY_WIRE_CODEC_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/wire/reason.h"

struct pack {
    uint8_t *out;
    size_t cap;
    size_t len; /* written */
    bool full;  /* something did not fit; what was written is to be thrown away */
};

void pack_begin(struct pack *p, uint8_t *out, size_t cap);
void pack_array(struct pack *p, size_t count);
void pack_uint(struct pack *p, uint64_t value);
void pack_int(struct pack *p, int64_t value);
void pack_bool(struct pack *p, bool value);
void pack_bin(struct pack *p, const void *data, size_t len);
void pack_str(struct pack *p, const char *text, size_t len);
void pack_addr(struct pack *p, const struct addr *a);

/* A zero-terminated text for people, of at most @size - 1 bytes. What text_valid would refuse is
 * replaced, byte by byte: control characters by spaces, what is no UTF-8 by question marks. */
void pack_text(struct pack *p, const char *text, size_t size);

/* How many bytes a number takes. */
size_t pack_uint_size(uint64_t value);

struct unpack {
    const uint8_t *at;
    const uint8_t *end;
    enum wire_reason reason; /* WIRE_OK, or the first failure; reads then return zeros */
};

void unpack_begin(struct unpack *u, const uint8_t *data, size_t len);

/* Latches @reason if nothing failed before. */
void unpack_fail(struct unpack *u, enum wire_reason reason);

/* The number of elements that follow, at most @max. */
size_t unpack_array(struct unpack *u, size_t max);

/* Expects exactly @count elements (WIRE_BODY_FIELDS). */
void unpack_fields(struct unpack *u, size_t count);

uint64_t unpack_uint(struct unpack *u, uint64_t min, uint64_t max);
int64_t unpack_int(struct unpack *u, int64_t min, int64_t max);
bool unpack_bool(struct unpack *u);

/* Bytes in the buffer, from @min to @max; NULL after a failure. */
const uint8_t *unpack_bin(struct unpack *u, size_t min, size_t max, size_t *len);
const char *unpack_str(struct unpack *u, size_t min, size_t max, size_t *len);

/* Exactly @len bytes, copied. */
void unpack_bytes(struct unpack *u, void *out, size_t len);

/* A text for people or a name: valid by text_valid, copied and terminated. */
void unpack_text(struct unpack *u, char *out, size_t size);

void unpack_addr(struct unpack *u, struct addr *a);

/* To be called last: nothing may follow. Returns the verdict on the whole. */
enum wire_reason unpack_end(struct unpack *u);

/* Well-formed UTF-8 (RFC 3629) without control characters: fit for a terminal, a page and JSON. */
bool text_valid(const char *text, size_t len);

#endif
