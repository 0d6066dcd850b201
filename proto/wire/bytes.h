/* Big-endian numbers in byte buffers. Each put returns the place behind what it wrote; the caller
 * has made sure of the room. */
#ifndef COVEY_WIRE_BYTES_H
#define COVEY_WIRE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint8_t *put_uint(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    return at + bytes;
}

static inline uint64_t get_uint(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint8_t *put_bytes(uint8_t *at, const void *data, size_t len)
{
    if (len > 0)
        memcpy(at, data, len);
    return at + len;
}

#endif
