#include "proto/wire/envelope.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "proto/wire/bytes.h"

static bool is_long(uint8_t kind)
{
    return kind == ENVELOPE_HELLO || kind == ENVELOPE_ACCEPT || kind == ENVELOPE_FIRST;
}

static size_t header_size(uint8_t kind)
{
    return is_long(kind) ? ENVELOPE_LONG : ENVELOPE_SHORT;
}

uint8_t envelope_kind(const uint8_t *datagram, size_t len)
{
    if (len == 0 || datagram[0] >> 4 != ENVELOPE_VERSION)
        return 0;
    return datagram[0] & 0x0f;
}

enum wire_reason envelope_parse(const uint8_t *datagram, size_t len, struct envelope *e)
{
    memset(e, 0, sizeof *e);
    if (len == 0)
        return WIRE_TRUNCATED;
    if (len > MSG_DATAGRAM_MAX)
        return WIRE_OVERSIZED;
    if (datagram[0] >> 4 != ENVELOPE_VERSION)
        return WIRE_VERSION;
    e->kind = datagram[0] & 0x0f;
    if (e->kind != ENVELOPE_DATA && !is_long(e->kind))
        return WIRE_KIND;
    if (len < header_size(e->kind) + ENVELOPE_TAG)
        return WIRE_TRUNCATED;
    e->epoch = (uint32_t)get_uint(datagram + 1, 3);
    e->tag = (uint32_t)get_uint(datagram + 4, 4);
    e->sender.v = get_uint(datagram + 8, 8);
    e->counter = get_uint(datagram + 16, 8);
    if (is_long(e->kind)) {
        e->boot = get_uint(datagram + 24, 8);
        e->initiator = (uint32_t)get_uint(datagram + 32, 4);
        e->responder = (uint32_t)get_uint(datagram + 36, 4);
    }
    return WIRE_OK;
}

static void write_nonce(uint64_t counter,
                        uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES])
{
    static_assert(crypto_aead_chacha20poly1305_IETF_NPUBBYTES == 12, "4 zeros and the counter");
    put_uint(put_uint(nonce, 0, 4), counter, 8);
}

size_t envelope_seal(const struct envelope *e, const uint8_t key[ENVELOPE_KEY], const uint8_t *body,
                     size_t len, uint8_t out[MSG_DATAGRAM_MAX])
{
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
    size_t header = header_size(e->kind);
    unsigned long long sealed;
    uint8_t *at;

    static_assert(crypto_aead_chacha20poly1305_IETF_ABYTES == ENVELOPE_TAG, "size of the tag");
    static_assert(crypto_aead_chacha20poly1305_IETF_KEYBYTES == ENVELOPE_KEY, "size of a key");
    assert(len <= ENVELOPE_BODY_MAX);
    assert(e->epoch <= ENVELOPE_EPOCH_MAX);
    assert(e->counter != 0);
    at = put_uint(out, (uint64_t)(ENVELOPE_VERSION << 4 | e->kind), 1);
    at = put_uint(at, e->epoch, 3);
    at = put_uint(at, e->tag, 4);
    at = put_uint(at, e->sender.v, 8);
    at = put_uint(at, e->counter, 8);
    if (is_long(e->kind)) {
        at = put_uint(at, e->boot, 8);
        at = put_uint(at, e->initiator, 4);
        at = put_uint(at, e->responder, 4);
    }
    write_nonce(e->counter, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(at, &sealed, body, len, out, header, NULL, nonce,
                                              key);
    return header + (size_t)sealed;
}

bool envelope_open(const struct envelope *e, const uint8_t key[ENVELOPE_KEY],
                   const uint8_t *datagram, size_t len, uint8_t body[MSG_DATAGRAM_MAX],
                   size_t *body_len)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
    size_t header = header_size(e->kind);
    unsigned long long opened = 0;

    write_nonce(e->counter, nonce);
    *body_len = 0;
    if (crypto_aead_chacha20poly1305_ietf_decrypt(body, &opened, NULL, datagram + header,
                                                  len - header, datagram, header, nonce, key) != 0)
        return false;
    *body_len = (size_t)opened;
    return true;
}

static size_t word_of(uint64_t counter)
{
    return (size_t)(counter / 64 % REPLAY_WORDS);
}

bool replay_fresh(const struct replay *r, uint64_t counter)
{
    if (counter == 0)
        return false;
    if (counter > r->highest)
        return true;
    if (r->highest - counter >= REPLAY_WINDOW)
        return false;
    return (r->seen[word_of(counter)] >> (counter % 64) & 1) == 0;
}

void replay_mark(struct replay *r, uint64_t counter)
{
    if (counter > r->highest) {
        uint64_t words = counter / 64 - r->highest / 64;

        /* The words between hold counters that have left the window. */
        for (uint64_t i = 1; i <= words && i <= REPLAY_WORDS; i++)
            r->seen[word_of(r->highest + 64 * i)] = 0;
        r->highest = counter;
    }
    r->seen[word_of(counter)] |= UINT64_C(1) << (counter % 64);
}
