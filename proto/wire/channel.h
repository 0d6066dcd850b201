/* Sealed datagrams between admitted nodes: who the peers are, under which keys one speaks with
 * them, and the handshake that agrees on a session. Pure; bytes in, bytes out.
 *
 * Two nodes A and B share the X25519 secret of their identities. Every start of an agent is a boot
 * with a random number. A session belongs to two boots and to one handshake between them:
 *
 *   A -> B  HELLO   boot of A, a = number of this handshake at A     key: secret, A, B, boot of A
 *   B -> A  ACCEPT  boot of B, a, b = number of the answer at B      key: secret, B, A, both boots
 *   A -> B  FIRST   boot of A, a, b, and the first body              key: the session's
 *   both    DATA                                                     key: the session's
 *
 *   session = H(secret, A, B, boot of A, boot of B, a, b)
 *   key     = H(session, epoch number and secret, direction)
 *
 * Epochs. HELLO and ACCEPT need none, and carry the number of the newest that their sender has.
 * DATA and FIRST are sealed under the newest epoch that both have, so that nothing is lost when
 * epochs change: a new one is used towards a peer once that peer has said that it has it. Epoch
 * number 0 stands for H(session, direction) alone: traffic about keys (proto/keys), by which a node
 * that was away gets the epochs that it missed. It is told apart from everything else
 * (channel_in.keys).
 *
 * Versions. HELLO and ACCEPT keep their form for ever and carry the lowest and the highest protocol
 * version of their sender; the session speaks the highest that both know. Who has none in common is
 * refused, and named (channel_in.foreign).
 *
 * Numbers a and b are never used twice in one boot. So an ACCEPT proves that B lives and has seen
 * this very HELLO, and a FIRST proves that A lives and has seen this very ACCEPT: replayed ones
 * prove nothing and change nothing. B keeps nothing about a HELLO but that it answered it; a FIRST
 * carries what B needs to compute its session, so a flood of replayed HELLOs cannot push anything
 * out. A sends FIRST until it is answered, then DATA. What was agreed before stays good for
 * reception until the new session is confirmed, and one session longer, since packets overtake each
 * other; but as soon as a peer is known to have a new boot, all of its old one is refused.
 *
 * A boot that was superseded and proves alive again means that two machines use one identity (a
 * cloned card). From then on nothing of either is taken but handshakes and what keeps their
 * sessions, until one of them has been alone for CHANNEL_CLONE_MS.
 *
 * Replays are refused by a window per session, which is moved only by what has authenticated. */
#ifndef COVEY_WIRE_CHANNEL_H
#define COVEY_WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/base/mono.h"
#include "proto/wire/envelope.h"
#include "proto/wire/keys.h"
#include "proto/wire/reason.h"

#define CHANNEL_PEERS_MAX FLOCK_NODES_MAX /* default */
#define CHANNEL_PENDING_MAX 4 /* bodies per peer that wait for a session; the oldest gives way */
#define CHANNEL_OUT_MAX 8     /* datagrams out of one call */

#define CHANNEL_PENDING_MS 5000     /* a body that waited longer is dropped */
#define CHANNEL_HELLO_MIN_MS 300    /* first repetition of an unanswered HELLO; then doubled */
#define CHANNEL_HELLO_MAX_MS 8000   /* up to this */
#define CHANNEL_SILENCE_MS 3000     /* sent without an answer for so long, */
#define CHANNEL_SILENCE_MANY 3      /* and more than so often: ask for a new session */
#define CHANNEL_ANSWER_BURST 4      /* HELLOs of one peer that are answered at once */
#define CHANNEL_ANSWER_EVERY_MS 250 /* and one more in this time */
#define CHANNEL_CLONE_MS 60000 /* well above the pause between two attempts of either machine */
#define CHANNEL_EPOCHS 4       /* kept: the newest, and what may still be under way */

struct channel_config {
    const struct keys_identity *identity; /* copied */
    uint64_t boot;                        /* random, new at each start; not 0 */
    uint32_t peer_max;                    /* 0 is CHANNEL_PEERS_MAX */
    uint8_t version_min, version_max;     /* 0 are ENVELOPE_VERSION_MIN and _MAX */
};

struct channel_datagram {
    struct addr to;
    size_t len;
    uint8_t bytes[MSG_DATAGRAM_MAX];
};

/* What to send after a call, in this order; reset by each call. */
struct channel_out {
    size_t count;
    struct channel_datagram datagrams[CHANNEL_OUT_MAX];
};

/* What came in. */
struct channel_in {
    node_id from;     /* who is proven to live now; NODE_NONE: nobody (a HELLO may be replayed) */
    struct addr addr; /* and where: the source of the newest of its datagrams */
    const uint8_t *body; /* borrowed until the next call; NULL: nothing for a decoder */
    size_t len;
    bool keys;      /* the body is about keys: for keymsg_decode, and no other */
    bool restarted; /* @from has started again since it was last heard */
    node_id clone;  /* whose datagram was authentic and not taken, since two use its identity */
    bool cloned;    /* that was just found out */
    bool whole;     /* @from was cloned, and is one machine again */
    node_id doubt; /* not proven: who speaks under an epoch that this node has not, or has otherwise
                    */
    node_id foreign; /* who speaks no version of ours, but these */
    uint8_t version_min, version_max;
};

struct channel_peer {
    node_id id;
    bool session;      /* datagrams can be sent at once */
    bool cloned;       /* two use its identity */
    uint32_t epoch;    /* the newest that it is known to have; 0: not known */
    uint8_t version;   /* of the session; 0 for none */
    uint32_t restarts; /* changes of its boot since the peer was added */
    mono_t heard;      /* last proof of life; MONO_ZERO for none */
    struct addr addr;  /* where it came from */
};

struct channel;

/* Errors: ERR_NOMEM, ERR_INVALID (boot 0). *channel is set on success only; free with
 * channel_destroy, which wipes. keys_start must have been called. */
int channel_create(const struct channel_config *config, struct channel **channel, struct err *err);
void channel_destroy(struct channel *ch); /* NULL is allowed */

/* Admits a peer: its datagrams are taken from now on. Nothing happens if it is known. About 1 kB
 * and 0.5 ms (a Raspberry Pi 4) per peer.
 * Errors: ERR_INVALID no public key of anybody, or our own; ERR_FULL; ERR_NOMEM. */
int channel_add_peer(struct channel *ch, const uint8_t public_key[KEYS_PUBLIC], struct err *err);

/* Forgets a peer (revocation): nothing from it is taken any more. */
void channel_remove_peer(struct channel *ch, node_id id);

/* Replaces the epochs that are accepted. Their signatures are not looked at.
 * Errors: ERR_INVALID more than CHANNEL_EPOCHS, or a number 0, above ENVELOPE_EPOCH_MAX, or twice.
 */
int channel_set_epochs(struct channel *ch, const struct keys_epoch *epochs, size_t count);
/* The lowest and the highest protocol version that it speaks. */
void channel_versions(const struct channel *ch, uint8_t *lowest, uint8_t *highest);
uint32_t channel_epoch(const struct channel *ch); /* the newest; 0 for none */

/* The peer has said that @epoch is the newest that it has. What waited for that is sent. */
void channel_peer_has(struct channel *ch, mono_t now, node_id id, uint32_t epoch,
                      struct channel_out *out);

/* Seals @body for @to, to be sent to @at. Without a session, or an epoch that both have, the body
 * waits for one; @out may then hold a HELLO. An empty body is allowed; it proves life and reaches
 * no decoder. Errors, nothing being sent: ERR_NOTFOUND not admitted; ERR_LIMIT longer than
 * ENVELOPE_BODY_MAX; ERR_INVALID @at is no address; ERR_UNREACHABLE no epoch is set; ERR_CONFLICT
 * two use its identity; ERR_NOMEM. */
int channel_seal(struct channel *ch, mono_t now, node_id to, const struct addr *at,
                 const uint8_t *body, size_t len, struct channel_out *out);

/* Likewise, for what is about keys: needs no epoch, and is allowed towards a clone. */
int channel_seal_keys(struct channel *ch, mono_t now, node_id to, const struct addr *at,
                      const uint8_t *body, size_t len, struct channel_out *out);

/* Takes a datagram (of the kinds DATA, HELLO, ACCEPT, FIRST) that came from @source. Counts and
 * returns WIRE_OK or why it was dropped; @out may hold something to send in either case. */
enum wire_reason channel_open(struct channel *ch, mono_t now, const struct addr *source,
                              const uint8_t *datagram, size_t len, struct channel_in *in,
                              struct channel_out *out);

/* Repeats HELLOs that wait for an answer, and drops bodies that waited too long. Call again while
 * channel_deadline has come. */
void channel_step(struct channel *ch, mono_t now, struct channel_out *out);
mono_t channel_deadline(const struct channel *ch); /* MONO_NEVER: nothing waits */

/* Counts a refusal that came later (codec_decode), beside the channel's own. */
void channel_count(struct channel *ch, enum wire_reason reason);
const struct wire_counters *channel_counters(const struct channel *ch);

size_t channel_peer_count(const struct channel *ch);
int channel_find_peer(const struct channel *ch, node_id id,
                      struct channel_peer *peer); /* ERR_NOTFOUND */

#endif
