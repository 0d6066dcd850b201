/* Framing and sealing of the TCP link between two agents. Pure; the caller moves the bytes.
 *
 * Each side first sends a hello of STREAM_HELLO bytes in clear:
 *
 *   0..3    "CVS1"
 *   4..7    number of the highest key epoch that it has
 *   8..15   its node
 *   16..31  random
 *
 * then frames: 4 bytes of length (of what follows), then ChaCha20-Poly1305 (IETF) of at most
 * STREAM_FRAME_MAX bytes, the length as associated data, the nonce a counter from 0 per direction.
 * Keys, one per direction: H(X25519 of both identities; secret of the lower of both epochs, both
 * hellos, direction). Since both sides' random bytes are in it, nothing can be replayed, and the
 * first frame that opens proves who is there: send one, empty if need be, right after the key, and
 * close what sends none in time. A frame that does not open ends the stream; there is no going on.
 *
 * That a stream was cut at its end shows only in what is carried: say the length, or the end. */
#ifndef COVEY_WIRE_STREAM_H
#define COVEY_WIRE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/keys.h"
#include "proto/wire/reason.h"

#define STREAM_HELLO 32
#define STREAM_RANDOM 16
#define STREAM_FRAME_MAX 65536 /* bytes of a frame's content */
#define STREAM_OVERHEAD 20     /* length and tag */

enum stream_event {
    STREAM_MORE = 1,       /* all was used, nothing is complete */
    STREAM_HELLO_CAME = 2, /* stream_peer and stream_epoch are known: call stream_key */
    STREAM_FRAME = 3,      /* a frame; the first one proves the peer */
    STREAM_BROKEN = 4,     /* close the connection; stream_reason says why */
};

struct stream;

/* @random: STREAM_RANDOM bytes from the kernel; @epoch: the highest that this node has. About
 * 64 KiB; NULL when memory is short. Free with stream_destroy, which wipes. */
struct stream *stream_create(const struct keys_identity *self, bool initiator, uint32_t epoch,
                             const uint8_t random[STREAM_RANDOM]);
void stream_destroy(struct stream *s); /* NULL is allowed */

/* What is to be sent first. */
void stream_hello(const struct stream *s, uint8_t out[STREAM_HELLO]);

/* Who the peer claims to be, and the epoch whose secret makes the keys, after STREAM_HELLO_CAME. */
node_id stream_peer(const struct stream *s);
uint32_t stream_epoch(const struct stream *s);

/* The peer's key and the secret of stream_epoch. Errors: ERR_INVALID the key is not of the node
 * that the peer claims to be; ERR_DENIED out of order (before the hello, or twice). */
int stream_key(struct stream *s, const uint8_t peer_key[KEYS_PUBLIC],
               const uint8_t epoch_secret[KEYS_EPOCH_SECRET]);

/* Takes bytes from the connection, up to the first event; @used says how many. For STREAM_FRAME,
 * @frame and @frame_len are the content, borrowed until the next call. Before stream_key no bytes
 * behind the hello may be given (STREAM_BROKEN). */
enum stream_event stream_feed(struct stream *s, const uint8_t *data, size_t len, size_t *used,
                              const uint8_t **frame, size_t *frame_len);

/* Seals @len bytes as one frame into @out, of @len + STREAM_OVERHEAD bytes. Errors: ERR_LIMIT more
 * than STREAM_FRAME_MAX; ERR_DENIED before stream_key. */
int stream_seal(struct stream *s, const uint8_t *data, size_t len, uint8_t *out);

bool stream_authenticated(const struct stream *s); /* a frame of the peer has opened */
enum wire_reason stream_reason(const struct stream *s);

#endif
