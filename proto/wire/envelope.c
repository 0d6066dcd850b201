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

/* Of a session's traffic the version is agreed on; every other kind has its final form. */
static bool version_fits(uint8_t kind, uint8_t version)
{
    if (kind == ENVELOPE_DATA || kind == ENVELOPE_FIRST)
        return version != 0;
    return version == ENVELOPE_FORM;
}

uint8_t envelope_kind(const uint8_t *datagram, size_t len)
{
    if (len == 0 || !version_fits(datagram[0] & 0x0f, datagram[0] >> 4))
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
    e->kind = datagram[0] & 0x0f;
    e->version = datagram[0] >> 4;
    if (!version_fits(e->kind, e->version))
        return WIRE_VERSION;
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
    assert(version_fits(e->kind, e->version) && e->version <= ENVELOPE_VERSION_LIMIT);
    at = put_uint(out, (uint64_t)(e->version << 4 | e->kind), 1);
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
