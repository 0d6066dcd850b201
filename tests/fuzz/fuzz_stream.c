/* Bytes from a TCP connection. The first byte chooses: the rest is what a stranger sends from the
 * start; or what comes after the hellos, in pieces of a size that the second byte gives; or a
 * pattern over a true frame. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/stream.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t secret[KEYS_EPOCH_SECRET] = {1};
static const uint8_t random_bytes[STREAM_RANDOM] = {2};
static struct keys_identity ia, ib;

static struct stream *make(const struct keys_identity *self, bool initiator)
{
    struct stream *s = stream_create(self, initiator, 1, random_bytes);

    if (s == NULL)
        abort();
    return s;
}

static void greet(struct stream *from, const struct keys_identity *who, struct stream *to)
{
    uint8_t hello[STREAM_HELLO];
    const uint8_t *frame;
    size_t used, len;

    stream_hello(from, hello);
    if (stream_feed(to, hello, sizeof hello, &used, &frame, &len) != STREAM_HELLO_CAME ||
        stream_key(to, who->public_key, secret) != ERR_NONE)
        abort();
}

static void feed_all(struct stream *s, const uint8_t *data, size_t size, size_t piece)
{
    while (size > 0) {
        const uint8_t *frame;
        size_t used, len, n = piece < size ? piece : size;
        enum stream_event event = stream_feed(s, data, n, &used, &frame, &len);

        if (event == STREAM_FRAME) /* nobody here has the key */
            abort();
        if (event == STREAM_BROKEN)
            return;
        if (event == STREAM_HELLO_CAME && stream_key(s, ib.public_key, secret) != ERR_NONE)
            return;
        data += used;
        size -= used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t seed_a[KEYS_SEED] = {1}, seed_b[KEYS_SEED] = {2};
    uint8_t sealed[4 + STREAM_OVERHEAD];
    struct stream *a, *b;
    size_t piece;
    uint8_t mode;

    if (size < 2 || keys_start(NULL) != ERR_NONE)
        return 0;
    if (node_id_none(ia.id)) {
        keys_from_seed(seed_a, &ia);
        keys_from_seed(seed_b, &ib);
    }
    mode = data[0];
    piece = (size_t)data[1] + 1;
    data += 2;
    size -= 2;
    a = make(&ia, true);
    b = make(&ib, false);
    if (mode != 0) {
        greet(b, &ib, a);
        greet(a, &ia, b);
    }
    if (mode == 2 && stream_seal(b, (const uint8_t *)"data", 4, sealed) == ERR_NONE) {
        bool changed = false;

        for (size_t i = 0; i < size && i < sizeof sealed; i++) {
            changed = changed || data[i] != 0;
            sealed[i] ^= data[i];
        }
        if (changed)
            feed_all(a, sealed, sizeof sealed, piece);
    } else {
        feed_all(a, data, size, piece);
    }
    stream_destroy(a);
    stream_destroy(b);
    return 0;
}
