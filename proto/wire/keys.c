#include "proto/wire/keys.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "proto/wire/bytes.h"

#define DIGEST 64      /* bytes of the hash that is signed */
#define FIELDS_MAX 128 /* bytes of the fixed fields of anything that is signed */

int keys_start(struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL,
                       "libsodium cannot start: it found no source of "
                       "random numbers");
    return ERR_NONE;
}

void keys_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void keys_wipe(void *secret, size_t len)
{
    sodium_memzero(secret, len);
}

bool keys_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

node_id keys_node_id(const uint8_t public_key[KEYS_PUBLIC])
{
    uint8_t hash[32];

    crypto_generichash(hash, sizeof hash, public_key, KEYS_PUBLIC, NULL, 0);
    return (node_id){get_uint(hash, 8)};
}

void keys_from_seed(const uint8_t seed[KEYS_SEED], struct keys_identity *identity)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    memcpy(identity->seed, seed, KEYS_SEED);
    crypto_sign_seed_keypair(identity->public_key, secret, seed);
    identity->id = keys_node_id(identity->public_key);
    keys_wipe(secret, sizeof secret);
}

void keys_generate(struct keys_identity *identity)
{
    uint8_t seed[KEYS_SEED];

    keys_random(seed, sizeof seed);
    keys_from_seed(seed, identity);
    keys_wipe(seed, sizeof seed);
}

/* sodium's form of a secret key: the seed, then the public key. */
static void secret_key(const struct keys_identity *identity,
                       uint8_t secret[crypto_sign_SECRETKEYBYTES])
{
    static_assert(crypto_sign_SECRETKEYBYTES == KEYS_SEED + KEYS_PUBLIC, "seed and public key");
    memcpy(secret, identity->seed, KEYS_SEED);
    memcpy(secret + KEYS_SEED, identity->public_key, KEYS_PUBLIC);
}

int keys_shared(const struct keys_identity *identity, const uint8_t peer[KEYS_PUBLIC],
                uint8_t shared[KEYS_SHARED])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uint8_t own[crypto_scalarmult_SCALARBYTES];
    uint8_t other[crypto_scalarmult_BYTES];
    int rc = ERR_INVALID;

    static_assert(crypto_scalarmult_BYTES == KEYS_SHARED, "the shared secret is an X25519 point");
    secret_key(identity, secret);
    if (crypto_sign_ed25519_sk_to_curve25519(own, secret) == 0 &&
        crypto_sign_ed25519_pk_to_curve25519(other, peer) == 0 &&
        crypto_scalarmult(shared, own, other) == 0)
        rc = ERR_NONE;
    keys_wipe(secret, sizeof secret);
    keys_wipe(own, sizeof own);
    return rc;
}

void keys_derive(const uint8_t secret[KEYS_SHARED], const char *label, const void *data, size_t len,
                 uint8_t key[KEYS_DERIVED])
{
    crypto_generichash_state state;
    uint8_t label_len = (uint8_t)strlen(label);

    crypto_generichash_init(&state, secret, KEYS_SHARED, KEYS_DERIVED);
    crypto_generichash_update(&state, &label_len, 1);
    crypto_generichash_update(&state, (const uint8_t *)label, label_len);
    if (len > 0)
        crypto_generichash_update(&state, data, len);
    crypto_generichash_final(&state, key, KEYS_DERIVED);
    keys_wipe(&state, sizeof state);
}

/* A piece of what is hashed; up to three of them follow the label. */
struct piece {
    const void *data;
    size_t len;
};

static void digest(const char *label, const struct piece *pieces, size_t count, uint8_t out[DIGEST])
{
    crypto_generichash_state state;
    uint8_t label_len = (uint8_t)strlen(label);

    crypto_generichash_init(&state, NULL, 0, DIGEST);
    crypto_generichash_update(&state, &label_len, 1);
    crypto_generichash_update(&state, (const uint8_t *)label, label_len);
    for (size_t i = 0; i < count; i++)
        if (pieces[i].len > 0)
            crypto_generichash_update(&state, pieces[i].data, pieces[i].len);
    crypto_generichash_final(&state, out, DIGEST);
}

static void sign_digest(const struct keys_identity *identity, const uint8_t hash[DIGEST],
                        uint8_t signature[KEYS_SIGNATURE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];

    secret_key(identity, secret);
    crypto_sign_detached(signature, NULL, hash, DIGEST, secret);
    keys_wipe(secret, sizeof secret);
}

static bool verify_digest(const uint8_t public_key[KEYS_PUBLIC], const uint8_t hash[DIGEST],
                          const uint8_t signature[KEYS_SIGNATURE])
{
    return crypto_sign_verify_detached(signature, hash, DIGEST, public_key) == 0;
}

void keys_sign(const struct keys_identity *identity, const char *label, const void *data,
               size_t len, uint8_t signature[KEYS_SIGNATURE])
{
    uint8_t hash[DIGEST];

    digest(label, &(struct piece){data, len}, 1, hash);
    sign_digest(identity, hash, signature);
}

bool keys_verify(const uint8_t public_key[KEYS_PUBLIC], const char *label, const void *data,
                 size_t len, const uint8_t signature[KEYS_SIGNATURE])
{
    uint8_t hash[DIGEST];

    digest(label, &(struct piece){data, len}, 1, hash);
    return verify_digest(public_key, hash, signature);
}

static void update_digest(const struct msg_update *update, uint8_t hash[DIGEST])
{
    uint8_t fields[FIELDS_MAX];
    uint8_t *at = put_uint(fields, update->kind, 1);
    size_t ip = update->addr.family == 0 ? 0 : update->addr.family == 4 ? 4 : 16;

    at = put_uint(at, update->subject.v, 8);
    at = put_uint(at, update->author.v, 8);
    at = put_uint(at, update->incarnation, 8);
    at = put_uint(at, update->addr.family, 1);
    at = put_bytes(at, update->addr.ip, ip);
    at = put_uint(at, ip == 0 ? 0 : update->addr.port, 2);
    digest("covey update 1", &(struct piece){fields, (size_t)(at - fields)}, 1, hash);
}

void keys_sign_update(const struct keys_identity *identity, struct msg_update *update)
{
    uint8_t hash[DIGEST];

    assert(node_id_equal(update->author, identity->id));
    update_digest(update, hash);
    sign_digest(identity, hash, update->signature);
}

bool keys_verify_update(const uint8_t public_key[KEYS_PUBLIC], const struct msg_update *update)
{
    uint8_t hash[DIGEST];

    if (!node_id_equal(keys_node_id(public_key), update->author))
        return false;
    update_digest(update, hash);
    return verify_digest(public_key, hash, update->signature);
}

static void record_digest(node_id author, const struct msg_record *record, uint8_t hash[DIGEST])
{
    uint8_t fields[FIELDS_MAX];
    uint8_t *at = put_uint(fields, author.v, 8);

    at = put_uint(at, record->floor, 8);
    at = put_uint(at, record->version, 8);
    at = put_uint(at, record->key_len, 1);
    at = put_uint(at, record->value_len, 2);
    digest("covey record 1",
           (struct piece[]){{fields, (size_t)(at - fields)},
                            {record->key, record->key_len},
                            {record->value, record->value_len}},
           3, hash);
}

void keys_sign_record(const struct keys_identity *identity, struct msg_record *record)
{
    uint8_t hash[DIGEST];

    record_digest(identity->id, record, hash);
    sign_digest(identity, hash, record->signature);
}

bool keys_verify_record(const uint8_t public_key[KEYS_PUBLIC], const struct msg_record *record)
{
    uint8_t hash[DIGEST];

    record_digest(keys_node_id(public_key), record, hash);
    return verify_digest(public_key, hash, record->signature);
}

static void admission_digest(const struct keys_admission *admission, uint8_t hash[DIGEST])
{
    uint8_t fields[FIELDS_MAX];
    size_t name_len = strnlen(admission->name, NODE_NAME_MAX);
    uint8_t *at = put_bytes(fields, admission->public_key, KEYS_PUBLIC);

    at = put_uint(at, admission->role, 1);
    at = put_uint(at, admission->serial, 4);
    at = put_uint(at, name_len, 1);
    at = put_bytes(at, admission->name, name_len);
    digest("covey admission 1", &(struct piece){fields, (size_t)(at - fields)}, 1, hash);
}

void keys_sign_admission(const struct keys_identity *cluster, struct keys_admission *admission)
{
    uint8_t hash[DIGEST];

    admission_digest(admission, hash);
    sign_digest(cluster, hash, admission->signature);
}

bool keys_verify_admission(const uint8_t cluster_key[KEYS_PUBLIC],
                           const struct keys_admission *admission)
{
    uint8_t hash[DIGEST];

    admission_digest(admission, hash);
    return verify_digest(cluster_key, hash, admission->signature);
}

static void epoch_digest(const struct keys_epoch *epoch, uint8_t hash[DIGEST])
{
    uint8_t fields[FIELDS_MAX];
    uint8_t *at = put_uint(fields, epoch->number, 4);

    at = put_uint(at, epoch->revoked, 2);
    at = put_uint(at, epoch->revoked_digest, 8);
    at = put_bytes(at, epoch->secret, KEYS_EPOCH_SECRET);
    digest("covey epoch 1", &(struct piece){fields, (size_t)(at - fields)}, 1, hash);
    keys_wipe(fields, sizeof fields);
}

void keys_sign_epoch(const struct keys_identity *cluster, struct keys_epoch *epoch)
{
    uint8_t hash[DIGEST];

    epoch_digest(epoch, hash);
    sign_digest(cluster, hash, epoch->signature);
}

bool keys_verify_epoch(const uint8_t cluster_key[KEYS_PUBLIC], const struct keys_epoch *epoch)
{
    uint8_t hash[DIGEST];

    epoch_digest(epoch, hash);
    return verify_digest(cluster_key, hash, epoch->signature);
}

uint64_t keys_epoch_mark(const struct keys_epoch *epoch)
{
    uint8_t hash[KEYS_DERIVED];

    keys_derive(epoch->secret, "covey epoch mark 1", NULL, 0, hash);
    return (uint64_t)epoch->revoked << 48 | get_uint(hash, 6);
}

static void revocation_digest(const struct keys_revocation *revocation, uint8_t hash[DIGEST])
{
    uint8_t fields[FIELDS_MAX];
    size_t name_len = strnlen(revocation->name, NODE_NAME_MAX);
    uint8_t *at = put_bytes(fields, revocation->public_key, KEYS_PUBLIC);

    at = put_uint(at, (uint64_t)revocation->time, 8);
    at = put_uint(at, name_len, 1);
    at = put_bytes(at, revocation->name, name_len);
    digest("covey revocation 1", &(struct piece){fields, (size_t)(at - fields)}, 1, hash);
}

void keys_sign_revocation(const struct keys_identity *cluster, struct keys_revocation *revocation)
{
    uint8_t hash[DIGEST];

    revocation_digest(revocation, hash);
    sign_digest(cluster, hash, revocation->signature);
}

bool keys_verify_revocation(const uint8_t cluster_key[KEYS_PUBLIC],
                            const struct keys_revocation *revocation)
{
    uint8_t hash[DIGEST];

    revocation_digest(revocation, hash);
    return verify_digest(cluster_key, hash, revocation->signature);
}

uint64_t keys_revoked_digest(const node_id *revoked, size_t count)
{
    crypto_generichash_state state;
    uint8_t bytes[32];

    if (count == 0)
        return 0;
    crypto_generichash_init(&state, NULL, 0, sizeof bytes);
    for (size_t i = 0; i < count; i++) {
        put_uint(bytes, revoked[i].v, 8);
        crypto_generichash_update(&state, bytes, 8);
    }
    crypto_generichash_final(&state, bytes, sizeof bytes);
    return get_uint(bytes, 8);
}

void keys_fingerprint(const uint8_t cluster_key[KEYS_PUBLIC], const uint8_t node[KEYS_PUBLIC],
                      char text[KEYS_FINGERPRINT])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const struct piece pieces[] = {{cluster_key, KEYS_PUBLIC}, {node, KEYS_PUBLIC}};
    uint8_t hash[DIGEST];
    char *at = text;

    digest("covey fingerprint 1", pieces, 2, hash);
    for (size_t i = 0; i < 20; i++) { /* 5 bits each, the first ones first */
        size_t bit = 5 * i;
        unsigned two = (unsigned)hash[bit / 8] << 8 | hash[bit / 8 + 1];
        if (i > 0 && i % 4 == 0)
            *at++ = '-';
        *at++ = letters[two >> (11 - bit % 8) & 31];
    }
    *at = '\0';
}
