#include "proto/wire/stream.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/bytes.h"

#define LENGTH 4
#define TAG 16

static_assert(LENGTH + TAG == STREAM_OVERHEAD, "what a frame adds");
static_assert(TAG == crypto_aead_chacha20poly1305_IETF_ABYTES, "size of the tag");

static const char magic[4] = {'C', 'V', 'S', '1'};

enum phase { PHASE_HELLO, PHASE_KEY, PHASE_FRAMES, PHASE_BROKEN };

struct stream {
    struct keys_identity self;
    bool initiator;
    bool authenticated;
    enum phase phase;
    enum wire_reason reason;
    uint8_t own[STREAM_HELLO];
    uint8_t other[STREAM_HELLO];
    uint8_t key_in[KEYS_DERIVED];
    uint8_t key_out[KEYS_DERIVED];
    uint64_t frames_in;
    uint64_t frames_out;
    size_t filled; /* bytes of the hello, or of length and frame, in the buffer */
    uint8_t buffer[STREAM_FRAME_MAX + STREAM_OVERHEAD];
};

struct stream *stream_create(const struct keys_identity *self, bool initiator, uint32_t epoch,
                             const uint8_t random[STREAM_RANDOM])
{
    struct stream *s = calloc(1, sizeof *s);
    uint8_t *at;

    if (s == NULL)
        return NULL;
    s->self = *self;
    s->initiator = initiator;
    s->phase = PHASE_HELLO;
    at = put_bytes(s->own, magic, sizeof magic);
    at = put_uint(at, epoch, 4);
    at = put_uint(at, self->id.v, 8);
    put_bytes(at, random, STREAM_RANDOM);
    return s;
}

void stream_destroy(struct stream *s)
{
    if (s == NULL)
        return;
    keys_wipe(s, sizeof *s);
    free(s);
}

void stream_hello(const struct stream *s, uint8_t out[STREAM_HELLO])
{
    memcpy(out, s->own, STREAM_HELLO);
}

node_id stream_peer(const struct stream *s)
{
    return (node_id){get_uint(s->other + 8, 8)};
}

uint32_t stream_epoch(const struct stream *s)
{
    uint32_t own = (uint32_t)get_uint(s->own + 4, 4);
    uint32_t other = (uint32_t)get_uint(s->other + 4, 4);

    return own < other ? own : other;
}

static void direction_key(const struct stream *s, const uint8_t shared[KEYS_SHARED],
                          const uint8_t epoch_secret[KEYS_EPOCH_SECRET], bool by_initiator,
                          uint8_t key[KEYS_DERIVED])
{
    uint8_t fields[KEYS_EPOCH_SECRET + 2 * STREAM_HELLO + 1];
    uint8_t *at = put_bytes(fields, epoch_secret, KEYS_EPOCH_SECRET);

    at = put_bytes(at, s->initiator ? s->own : s->other, STREAM_HELLO);
    at = put_bytes(at, s->initiator ? s->other : s->own, STREAM_HELLO);
    put_uint(at, by_initiator, 1);
    keys_derive(shared, "covey stream 1", fields, sizeof fields, key);
    keys_wipe(fields, sizeof fields);
}

int stream_key(struct stream *s, const uint8_t peer_key[KEYS_PUBLIC],
               const uint8_t epoch_secret[KEYS_EPOCH_SECRET])
{
    uint8_t shared[KEYS_SHARED];

    if (s->phase != PHASE_KEY)
        return ERR_DENIED;
    if (!node_id_equal(keys_node_id(peer_key), stream_peer(s)) ||
        keys_shared(&s->self, peer_key, shared) != ERR_NONE)
        return ERR_INVALID;
    direction_key(s, shared, epoch_secret, s->initiator, s->key_out);
    direction_key(s, shared, epoch_secret, !s->initiator, s->key_in);
    keys_wipe(shared, sizeof shared);
    s->phase = PHASE_FRAMES;
    return ERR_NONE;
}

static enum stream_event broken(struct stream *s, enum wire_reason reason)
{
    if (s->phase != PHASE_BROKEN)
        s->reason = reason;
    s->phase = PHASE_BROKEN;
    return STREAM_BROKEN;
}

/* Moves bytes into the buffer until it holds @want; returns whether it does. */
static bool fill(struct stream *s, size_t want, const uint8_t *data, size_t len, size_t *used)
{
    size_t n = want - s->filled;

    if (n > len - *used)
        n = len - *used;
    put_bytes(s->buffer + s->filled, data + *used, n);
    s->filled += n;
    *used += n;
    return s->filled == want;
}

static enum stream_event feed_hello(struct stream *s, const uint8_t *data, size_t len, size_t *used)
{
    if (!fill(s, STREAM_HELLO, data, len, used))
        return STREAM_MORE;
    s->filled = 0;
    if (memcmp(s->buffer, magic, sizeof magic) != 0)
        return broken(s, WIRE_VERSION);
    memcpy(s->other, s->buffer, STREAM_HELLO);
    if (node_id_equal(stream_peer(s), s->self.id)) /* ourselves, or our own hello sent back */
        return broken(s, WIRE_UNKNOWN_SENDER);
    s->phase = PHASE_KEY;
    return STREAM_HELLO_CAME;
}

static void write_nonce(uint64_t counter,
                        uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES])
{
    put_uint(put_uint(nonce, 0, 4), counter, 8);
}

static enum stream_event feed_frame(struct stream *s, const uint8_t *data, size_t len, size_t *used,
                                    const uint8_t **frame, size_t *frame_len)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
    unsigned long long opened = 0;
    uint8_t *sealed = s->buffer + LENGTH;
    size_t size;

    if (s->filled < LENGTH && !fill(s, LENGTH, data, len, used))
        return STREAM_MORE;
    size = (size_t)get_uint(s->buffer, LENGTH);
    if (size < TAG)
        return broken(s, WIRE_TRUNCATED);
    if (size > STREAM_FRAME_MAX + TAG)
        return broken(s, WIRE_OVERSIZED);
    if (!fill(s, LENGTH + size, data, len, used))
        return STREAM_MORE;
    s->filled = 0;
    write_nonce(s->frames_in, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(sealed, &opened, NULL, sealed, size, s->buffer,
                                                  LENGTH, nonce, s->key_in) != 0)
        return broken(s, WIRE_AUTHENTICATION);
    s->frames_in++;
    s->authenticated = true;
    *frame = sealed;
    *frame_len = (size_t)opened;
    return STREAM_FRAME;
}

enum stream_event stream_feed(struct stream *s, const uint8_t *data, size_t len, size_t *used,
                              const uint8_t **frame, size_t *frame_len)
{
    *used = 0;
    *frame = NULL;
    *frame_len = 0;
    switch (s->phase) {
    case PHASE_HELLO:
        return feed_hello(s, data, len, used);
    case PHASE_FRAMES:
        return feed_frame(s, data, len, used, frame, frame_len);
    case PHASE_KEY:
        return len == 0 ? STREAM_MORE : broken(s, WIRE_UNKNOWN_SESSION);
    default:
        return STREAM_BROKEN;
    }
}

int stream_seal(struct stream *s, const uint8_t *data, size_t len, uint8_t *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
    unsigned long long sealed;

    if (len > STREAM_FRAME_MAX)
        return ERR_LIMIT;
    if (s->phase != PHASE_FRAMES)
        return ERR_DENIED;
    put_uint(out, len + TAG, LENGTH);
    write_nonce(s->frames_out++, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(out + LENGTH, &sealed, data, len, out, LENGTH, NULL,
                                              nonce, s->key_out);
    return ERR_NONE;
}

bool stream_authenticated(const struct stream *s)
{
    return s->authenticated;
}

enum wire_reason stream_reason(const struct stream *s)
{
    return s->reason;
}
