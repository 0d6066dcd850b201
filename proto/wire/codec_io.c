#include "proto/wire/codec_io.h"

#include <assert.h>
#include <msgpack.h>
#include <string.h>

#include "proto/wire/bytes.h"

#define ADDR_BYTES_MAX 18 /* 16 of the address, 2 of the port */

static int write_bytes(void *data, const char *bytes, size_t len)
{
    struct pack *p = data;

    if (p->full || len > p->cap - p->len) {
        p->full = true;
        return -1;
    }
    memcpy(p->out + p->len, bytes, len);
    p->len += len;
    return 0;
}

static msgpack_packer packer(struct pack *p)
{
    return (msgpack_packer){.data = p, .callback = write_bytes};
}

void pack_begin(struct pack *p, uint8_t *out, size_t cap)
{
    *p = (struct pack){.out = out, .cap = cap};
}

void pack_array(struct pack *p, size_t count)
{
    msgpack_packer pk = packer(p);
    msgpack_pack_array(&pk, count);
}

void pack_uint(struct pack *p, uint64_t value)
{
    msgpack_packer pk = packer(p);
    msgpack_pack_uint64(&pk, value);
}

void pack_int(struct pack *p, int64_t value)
{
    msgpack_packer pk = packer(p);
    msgpack_pack_int64(&pk, value);
}

void pack_bool(struct pack *p, bool value)
{
    msgpack_packer pk = packer(p);
    if (value)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

void pack_bin(struct pack *p, const void *data, size_t len)
{
    msgpack_packer pk = packer(p);
    msgpack_pack_bin(&pk, len);
    if (len > 0)
        write_bytes(p, data, len);
}

void pack_str(struct pack *p, const char *text, size_t len)
{
    msgpack_packer pk = packer(p);
    msgpack_pack_str(&pk, len);
    if (len > 0)
        write_bytes(p, text, len);
}

void pack_addr(struct pack *p, const struct addr *a)
{
    uint8_t bytes[ADDR_BYTES_MAX];
    uint8_t *at = bytes;

    if (a->family != 0) {
        at = put_bytes(at, a->ip, a->family == 4 ? 4 : 16);
        at = put_uint(at, a->port, 2);
    }
    pack_bin(p, bytes, (size_t)(at - bytes));
}

size_t pack_uint_size(uint64_t value)
{
    if (value < 0x80)
        return 1;
    if (value <= UINT8_MAX)
        return 2;
    if (value <= UINT16_MAX)
        return 3;
    return value <= UINT32_MAX ? 5 : 9;
}

/* Bytes of the character at @text, which has @len > 0 bytes left; 0 if it is none. */
static size_t utf8_length(const char *text, size_t len)
{
    uint8_t c = (uint8_t)text[0];
    size_t need = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    uint8_t second_min = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t second_max = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

    if (need == 0 || need > len)
        return 0;
    if (need > 1 && ((uint8_t)text[1] < second_min || (uint8_t)text[1] > second_max))
        return 0;
    for (size_t i = 2; i < need; i++)
        if (((uint8_t)text[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

/* C0, DEL, and C1 (which is 0xc2 0x80 to 0xc2 0x9f in UTF-8). */
static bool is_control(const char *character, size_t len)
{
    uint8_t c = (uint8_t)character[0];

    return len == 1 ? c < 0x20 || c == 0x7f : len == 2 && c == 0xc2 && (uint8_t)character[1] < 0xa0;
}

bool text_valid(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(text + i, len - i);
        if (n == 0 || is_control(text + i, n))
            return false;
        i += n;
    }
    return true;
}

void pack_text(struct pack *p, const char *text, size_t size)
{
    size_t len = strnlen(text, size - 1);
    size_t header;

    pack_str(p, text, len);
    if (p->full)
        return;
    header = p->len - len;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_length(text + i, len - i);
        if (n == 0)
            p->out[header + i] = '?';
        else if (is_control(text + i, n))
            memset(p->out + header + i, ' ', n);
        i += n > 0 ? n : 1;
    }
}

void unpack_begin(struct unpack *u, const uint8_t *data, size_t len)
{
    *u = (struct unpack){.at = data, .end = data + len, .reason = WIRE_OK};
}

void unpack_fail(struct unpack *u, enum wire_reason reason)
{
    if (u->reason == WIRE_OK)
        u->reason = reason;
}

/* The next @len bytes, or NULL. */
static const uint8_t *take(struct unpack *u, size_t len)
{
    const uint8_t *at = u->at;

    if (u->reason != WIRE_OK)
        return NULL;
    if (len > (size_t)(u->end - u->at)) {
        unpack_fail(u, WIRE_BODY_TRUNCATED);
        return NULL;
    }
    u->at += len;
    return at;
}

static uint8_t take_byte(struct unpack *u)
{
    const uint8_t *at = take(u, 1);

    return at == NULL ? 0 : *at;
}

/* A number of @bytes bytes that would not have fitted into a shorter form: above @shorter. */
static uint64_t take_number(struct unpack *u, size_t bytes, uint64_t shorter)
{
    const uint8_t *at = take(u, bytes);
    uint64_t value;

    if (at == NULL)
        return 0;
    value = get_uint(at, bytes);
    if (value <= shorter)
        unpack_fail(u, WIRE_BODY_VALUE);
    return value;
}

static uint64_t wrong_kind(struct unpack *u)
{
    unpack_fail(u, WIRE_BODY_VALUE);
    return 0;
}

static uint64_t read_uint(struct unpack *u, uint8_t first)
{
    if (first < 0x80)
        return first;
    switch (first) {
    case 0xcc:
        return take_number(u, 1, 0x7f);
    case 0xcd:
        return take_number(u, 2, UINT8_MAX);
    case 0xce:
        return take_number(u, 4, UINT16_MAX);
    case 0xcf:
        return take_number(u, 8, UINT32_MAX);
    default:
        return wrong_kind(u);
    }
}

uint64_t unpack_uint(struct unpack *u, uint64_t min, uint64_t max)
{
    uint64_t value = read_uint(u, take_byte(u));

    if (u->reason == WIRE_OK && (value < min || value > max))
        unpack_fail(u, WIRE_BODY_VALUE);
    return u->reason == WIRE_OK ? value : 0;
}

/* A negative number of @bytes bytes, below @shorter. */
static int64_t take_negative(struct unpack *u, size_t bytes, int64_t shorter)
{
    const uint8_t *at = take(u, bytes);
    uint64_t raw;
    int64_t value;

    if (at == NULL)
        return 0;
    raw = get_uint(at, bytes);
    if (bytes < 8)
        raw |= UINT64_MAX << (8 * bytes); /* a sign bit that is not set fails below */
    value = (int64_t)raw;
    if ((at[0] & 0x80) == 0 || value >= shorter)
        unpack_fail(u, WIRE_BODY_VALUE);
    return value;
}

static int64_t read_int(struct unpack *u, uint8_t first)
{
    uint64_t value;

    switch (first) {
    case 0xd0:
        return take_negative(u, 1, -32);
    case 0xd1:
        return take_negative(u, 2, INT8_MIN);
    case 0xd2:
        return take_negative(u, 4, INT16_MIN);
    case 0xd3:
        return take_negative(u, 8, INT32_MIN);
    default:
        if (first >= 0xe0)
            return (int64_t)first - 0x100;
        value = read_uint(u, first);
        if (value > INT64_MAX)
            unpack_fail(u, WIRE_BODY_VALUE);
        return (int64_t)value;
    }
}

int64_t unpack_int(struct unpack *u, int64_t min, int64_t max)
{
    int64_t value = read_int(u, take_byte(u));

    if (u->reason == WIRE_OK && (value < min || value > max))
        unpack_fail(u, WIRE_BODY_VALUE);
    return u->reason == WIRE_OK ? value : 0;
}

bool unpack_bool(struct unpack *u)
{
    uint8_t first = take_byte(u);

    if (u->reason == WIRE_OK && first != 0xc2 && first != 0xc3)
        unpack_fail(u, WIRE_BODY_VALUE);
    return u->reason == WIRE_OK && first == 0xc3;
}

static size_t read_array(struct unpack *u)
{
    uint8_t first = take_byte(u);

    if (u->reason != WIRE_OK)
        return 0;
    if ((first & 0xf0) == 0x90)
        return first & 0x0f;
    if (first == 0xdc)
        return (size_t)take_number(u, 2, 15);
    return (size_t)wrong_kind(u); /* nothing of ours has 65536 elements */
}

size_t unpack_array(struct unpack *u, size_t max)
{
    size_t count = read_array(u);

    if (count > max)
        unpack_fail(u, WIRE_BODY_VALUE);
    return u->reason == WIRE_OK ? count : 0;
}

void unpack_fields(struct unpack *u, size_t count)
{
    if (read_array(u) != count)
        unpack_fail(u, WIRE_BODY_FIELDS);
}

/* Bytes in the buffer after their length is known. */
static const uint8_t *take_sized(struct unpack *u, size_t size, size_t min, size_t max, size_t *len)
{
    *len = 0;
    if (u->reason == WIRE_OK && (size < min || size > max))
        unpack_fail(u, WIRE_BODY_VALUE);
    if (u->reason != WIRE_OK)
        return NULL;
    *len = size;
    return take(u, size);
}

const uint8_t *unpack_bin(struct unpack *u, size_t min, size_t max, size_t *len)
{
    uint8_t first = take_byte(u);
    size_t size = 0;

    if (first == 0xc4) {
        const uint8_t *at = take(u, 1);
        size = at == NULL ? 0 : *at;
    } else if (first == 0xc5) {
        size = (size_t)take_number(u, 2, UINT8_MAX);
    } else {
        wrong_kind(u);
    }
    return take_sized(u, size, min, max, len);
}

const char *unpack_str(struct unpack *u, size_t min, size_t max, size_t *len)
{
    uint8_t first = take_byte(u);
    size_t size = 0;

    if ((first & 0xe0) == 0xa0)
        size = first & 0x1f;
    else if (first == 0xd9)
        size = (size_t)take_number(u, 1, 31);
    else if (first == 0xda)
        size = (size_t)take_number(u, 2, UINT8_MAX);
    else
        wrong_kind(u);
    return (const char *)take_sized(u, size, min, max, len);
}

void unpack_bytes(struct unpack *u, void *out, size_t len)
{
    size_t got;
    const uint8_t *at = unpack_bin(u, len, len, &got);

    if (at != NULL)
        memcpy(out, at, len);
    else
        memset(out, 0, len);
}

void unpack_text(struct unpack *u, char *out, size_t size)
{
    size_t len;
    const char *at = unpack_str(u, 0, size - 1, &len);

    out[0] = '\0';
    if (at == NULL)
        return;
    if (!text_valid(at, len)) {
        unpack_fail(u, WIRE_BODY_VALUE);
        return;
    }
    memcpy(out, at, len);
    out[len] = '\0';
}

void unpack_addr(struct unpack *u, struct addr *a)
{
    size_t len;
    const uint8_t *at = unpack_bin(u, 0, ADDR_BYTES_MAX, &len);

    memset(a, 0, sizeof *a);
    if (at == NULL || len == 0)
        return;
    if (len != 6 && len != 18) {
        unpack_fail(u, WIRE_BODY_VALUE);
        return;
    }
    a->family = len == 6 ? 4 : 6;
    memcpy(a->ip, at, len - 2);
    a->port = (uint16_t)get_uint(at + len - 2, 2);
}

enum wire_reason unpack_end(struct unpack *u)
{
    if (u->reason == WIRE_OK && u->at != u->end)
        u->reason = WIRE_BODY_TRAILING;
    return u->reason;
}
