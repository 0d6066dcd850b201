/* Identities and signatures.
 *
 * A node, and the cluster, is an Ed25519 key pair (RFC 8032). The same pair, converted to
 * X25519, gives two nodes a secret that nobody else has; traffic keys derive from it (channel.h).
 *
 * Every signature is made over a BLAKE2b-512 hash of a label, which names what is signed, and of
 * the fields in big-endian order, lengths before what varies. So no signature of one kind can be
 * passed off as one of another.
 *
 * Call keys_start() once before anything else here. Verification takes about 0.2 ms on a
 * Raspberry Pi 4, so remember its outcome where you can. */
#ifndef COVEY_WIRE_KEYS_H
#define COVEY_WIRE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/base/id.h"
#include "proto/wire/msg.h"

#define KEYS_PUBLIC 32
#define KEYS_SEED 32 /* what is kept of a secret key: the pair follows from it */
#define KEYS_SHARED 32
#define KEYS_EPOCH_SECRET 32
#define KEYS_SIGNATURE MSG_SIGNATURE

/* A key pair. Wipe it with keys_wipe(&identity, sizeof identity) when it is not needed any more. */
struct keys_identity {
    node_id id;
    uint8_t public_key[KEYS_PUBLIC];
    uint8_t seed[KEYS_SEED];
};

/* What the cluster key vouches for: this key belongs to a member of that name and role. */
struct keys_admission {
    uint8_t public_key[KEYS_PUBLIC];
    char name[NODE_NAME_MAX + 1];
    uint8_t role; /* enum value_role */
    uint32_t serial;
    uint8_t signature[KEYS_SIGNATURE];
};

/* A key epoch: a secret that all nodes share besides their pairwise ones. The cluster's key vouches
 * for its number, for the secret, and for the revocations that were known when it was made: who has
 * the epoch and lacks one of them must not hand it on (proto/keys/keyring.h). */
struct keys_epoch {
    uint32_t number; /* from 1; the header of a datagram has 24 bits for it */
    uint8_t secret[KEYS_EPOCH_SECRET];
    uint16_t revoked;        /* how many revocations, */
    uint64_t revoked_digest; /* and keys_revoked_digest of them */
    uint8_t signature[KEYS_SIGNATURE];
};

/* What the cluster key says of a node that is a member no more. For ever: a key that was revoked is
 * not admitted again. */
struct keys_revocation {
    uint8_t public_key[KEYS_PUBLIC];
    char name[NODE_NAME_MAX + 1];
    int64_t time; /* Unix seconds, for people */
    uint8_t signature[KEYS_SIGNATURE];
};

/* Prepares the library; safe to call again. Errors: ERR_INTERNAL. */
int keys_start(struct err *err);

/* Random bytes from the kernel, fit for keys. For the outer layers: what is pure takes its
 * randomness as an argument. */
void keys_random(void *out, size_t len);

/* Overwrites @len bytes at @secret; the compiler cannot leave it out. */
void keys_wipe(void *secret, size_t len);

/* Compares secrets in constant time. */
bool keys_equal(const void *a, const void *b, size_t len);

/* A fresh pair, and the pair of a kept seed. */
void keys_generate(struct keys_identity *identity);
void keys_from_seed(const uint8_t seed[KEYS_SEED], struct keys_identity *identity);

/* The node that a public key stands for. */
node_id keys_node_id(const uint8_t public_key[KEYS_PUBLIC]);

/* The secret that @identity and the holder of @peer share; the same on both sides. To be used as
 * input of a key derivation only. Errors: ERR_INVALID @peer is no point of the curve, or a weak
 * one. */
int keys_shared(const struct keys_identity *identity, const uint8_t peer[KEYS_PUBLIC],
                uint8_t shared[KEYS_SHARED]);

/* A key of 32 bytes from a secret of 32 bytes: keyed BLAKE2b-256 over the label, its length before
 * it, and @data. */
#define KEYS_DERIVED 32
void keys_derive(const uint8_t secret[KEYS_SHARED], const char *label, const void *data, size_t len,
                 uint8_t key[KEYS_DERIVED]);

/* Signatures over bytes under a label, for what has no function of its own below. */
void keys_sign(const struct keys_identity *identity, const char *label, const void *data,
               size_t len, uint8_t signature[KEYS_SIGNATURE]);
bool keys_verify(const uint8_t public_key[KEYS_PUBLIC], const char *label, const void *data,
                 size_t len, const uint8_t signature[KEYS_SIGNATURE]);

/* Membership updates: kind, subject, author, incarnation and address are covered. Signing fills
 * @update->signature; the author must be the signer (asserted). Verifying also refuses a key that
 * is not the author's. */
void keys_sign_update(const struct keys_identity *identity, struct msg_update *update);
bool keys_verify_update(const uint8_t public_key[KEYS_PUBLIC], const struct msg_update *update);

/* Records: author (the signer), floor, version, key and value are covered. */
void keys_sign_record(const struct keys_identity *identity, struct msg_record *record);
bool keys_verify_record(const uint8_t public_key[KEYS_PUBLIC], const struct msg_record *record);

/* Admissions, epochs, revocations, by the cluster's pair: everything in them is covered. */
void keys_sign_admission(const struct keys_identity *cluster, struct keys_admission *admission);
bool keys_verify_admission(const uint8_t cluster_key[KEYS_PUBLIC],
                           const struct keys_admission *admission);
void keys_sign_epoch(const struct keys_identity *cluster, struct keys_epoch *epoch);
bool keys_verify_epoch(const uint8_t cluster_key[KEYS_PUBLIC], const struct keys_epoch *epoch);
void keys_sign_revocation(const struct keys_identity *cluster, struct keys_revocation *revocation);
bool keys_verify_revocation(const uint8_t cluster_key[KEYS_PUBLIC],
                            const struct keys_revocation *revocation);

/* Names an epoch's secret without telling it. Of two epochs of one number the one with the higher
 * mark is meant on every node: the one that knows of more revocations, else either. */
uint64_t keys_epoch_mark(const struct keys_epoch *epoch);

/* Names a set of revoked nodes, ascending by id; 0 for none. */
uint64_t keys_revoked_digest(const node_id *revoked, size_t count);

/* What people compare: the node's key and the cluster's, so that neither can be another one without
 * being seen. 100 bits in the letters of RFC 4648's base32: "ABCD-EFGH-2345-WXYZ-7QQQ". */
#define KEYS_FINGERPRINT 25 /* bytes, terminating zero included */
void keys_fingerprint(const uint8_t cluster_key[KEYS_PUBLIC], const uint8_t node[KEYS_PUBLIC],
                      char text[KEYS_FINGERPRINT]);

#endif
