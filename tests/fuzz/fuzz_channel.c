/* Datagrams from anybody, against a channel with a live session. The first byte chooses: the rest
 * is a datagram; or a pattern that is laid over a true DATA, HELLO, ACCEPT or FIRST. What is not
 * exactly a true datagram must never reach the decoder or count as life. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/channel.h"
#include "tests/fuzz/fuzz.h"

static const struct keys_epoch epoch = {.number = 1, .secret = {1}};
static const struct addr addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 8801};

struct side {
    struct keys_identity identity;
    struct channel *ch;
};

static struct side a, b;
static struct channel_out out;
static struct channel_in in;
static int64_t now;

static void make(struct side *s, uint8_t fill)
{
    struct channel_config config = {.identity = &s->identity, .boot = fill};
    uint8_t seed[KEYS_SEED] = {fill};

    keys_from_seed(seed, &s->identity);
    if (channel_create(&config, &s->ch, NULL) != ERR_NONE ||
        channel_set_epochs(s->ch, &epoch, 1) != ERR_NONE)
        abort();
}

/* The datagrams of one handshake between fresh channels, up to @kind, which is not delivered. */
static struct channel_datagram provoke(uint8_t kind)
{
    static const uint8_t body[] = "body";
    struct channel_datagram d;

    channel_destroy(a.ch);
    channel_destroy(b.ch);
    make(&a, 1);
    make(&b, 2);
    channel_add_peer(a.ch, b.identity.public_key, NULL);
    channel_add_peer(b.ch, a.identity.public_key, NULL);
    channel_seal(a.ch, (mono_t){now}, b.identity.id, &addr, body, sizeof body, &out);
    d = out.datagrams[0];
    if (kind == ENVELOPE_HELLO)
        return d;
    channel_open(b.ch, (mono_t){now}, &addr, d.bytes, d.len, &in, &out);
    d = out.datagrams[0];
    if (kind == ENVELOPE_ACCEPT)
        return d;
    channel_open(a.ch, (mono_t){now}, &addr, d.bytes, d.len, &in, &out);
    d = out.datagrams[0];
    if (kind == ENVELOPE_FIRST)
        return d;
    channel_open(b.ch, (mono_t){now}, &addr, d.bytes, d.len, &in, &out);
    channel_seal(b.ch, (mono_t){now}, a.identity.id, &addr, body, sizeof body, &out);
    return out.datagrams[0];
}

static enum wire_reason open_at(struct side *s, const uint8_t *bytes, size_t len)
{
    enum wire_reason reason = channel_open(s->ch, (mono_t){now}, &addr, bytes, len, &in, &out);

    if (reason != WIRE_OK && (in.body != NULL || !node_id_none(in.from)))
        abort();
    return reason;
}

/* Everything true was delivered before, so that nothing that opens can be new. */
static void open_forged(const uint8_t *data, size_t size)
{
    const struct channel_datagram last = provoke(ENVELOPE_DATA);

    if (open_at(&a, last.bytes, last.len) != WIRE_OK)
        abort();
    if (open_at(&a, data, size) == WIRE_OK || open_at(&b, data, size) == WIRE_OK)
        abort();
}

static void open_mutated(uint8_t kind, const uint8_t *data, size_t size)
{
    const struct channel_datagram real = provoke(kind);
    struct side *to = kind == ENVELOPE_HELLO || kind == ENVELOPE_FIRST ? &b : &a;
    uint8_t bytes[MSG_DATAGRAM_MAX];
    size_t len = size > 0 && data[0] < real.len ? real.len - data[0] : real.len;
    size_t at = size > 1 ? data[1] : 0;

    memcpy(bytes, real.bytes, real.len);
    for (size_t i = 2; i < size && at < real.len; i++)
        bytes[at++] ^= data[i];
    if (len == real.len && memcmp(bytes, real.bytes, len) == 0)
        return;
    if (open_at(to, bytes, len) == WIRE_OK)
        abort();
    if (open_at(to, real.bytes, real.len) != WIRE_OK) /* the true one is still welcome */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || keys_start(NULL) != ERR_NONE)
        return 0;
    now += 1000;
    if (data[0] >= ENVELOPE_DATA && data[0] <= ENVELOPE_FIRST)
        open_mutated(data[0], data + 1, size - 1);
    else
        open_forged(data + 1, size - 1);
    return 0;
}
