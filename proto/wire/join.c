#include "proto/wire/join.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "proto/wire/bytes.h"
#include "proto/wire/codec_io.h"
#include "proto/wire/envelope.h"

#define HEADER (4 + TOKEN_ID + JOIN_NONCE)
#define BODY_MAX (MSG_DATAGRAM_MAX - HEADER - ENVELOPE_TAG)
#define BOX (KEYS_EPOCH_SECRET + ENVELOPE_TAG)

static_assert(JOIN_NONCE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "XChaCha20's nonce");

enum reply { REPLY_WELCOME = 1, REPLY_REFUSAL = 2 };

static const char request_label[] = "covey join request 1";
static const char reply_label[] = "covey join reply 1";

static void seal(uint8_t kind, const uint8_t id[TOKEN_ID], const uint8_t nonce[JOIN_NONCE],
                 const uint8_t key[KEYS_DERIVED], const struct pack *body, uint8_t *out,
                 size_t *len)
{
    unsigned long long sealed;
    uint8_t *at = put_uint(out, (uint64_t)(ENVELOPE_FORM << 4 | kind), 1);

    assert(!body->full);
    at = put_uint(at, 0, 3);
    at = put_bytes(at, id, TOKEN_ID);
    at = put_bytes(at, nonce, JOIN_NONCE);
    crypto_aead_xchacha20poly1305_ietf_encrypt(at, &sealed, body->out, body->len, out, HEADER, NULL,
                                               nonce, key);
    *len = HEADER + (size_t)sealed;
}

/* Decrypts into @body, of BODY_MAX bytes. */
static enum wire_reason open_sealed(uint8_t kind, const uint8_t key[KEYS_DERIVED],
                                    const uint8_t *datagram, size_t len, uint8_t *body,
                                    size_t *body_len)
{
    unsigned long long opened = 0;

    if (len < HEADER + ENVELOPE_TAG)
        return WIRE_TRUNCATED;
    if (len > MSG_DATAGRAM_MAX)
        return WIRE_OVERSIZED;
    if (envelope_kind(datagram, len) != kind)
        return WIRE_KIND;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(body, &opened, NULL, datagram + HEADER,
                                                   len - HEADER, datagram, HEADER,
                                                   datagram + 4 + TOKEN_ID, key) != 0)
        return WIRE_AUTHENTICATION;
    *body_len = (size_t)opened;
    return WIRE_OK;
}

/* What the newcomer signs; returns its size. */
#define SIGNED_MAX (TOKEN_ID + JOIN_NONCE + KEYS_PUBLIC + 1 + NODE_NAME_MAX + 1 + 1 + 16 + 2)

static size_t signed_bytes(const struct join_request *r, uint8_t bytes[SIGNED_MAX])
{
    size_t name = strlen(r->name);
    size_t ip = r->addr.family == 0 ? 0 : r->addr.family == 4 ? 4 : 16;
    uint8_t *at = put_bytes(bytes, r->token, TOKEN_ID);

    at = put_bytes(at, r->nonce, JOIN_NONCE);
    at = put_bytes(at, r->public_key, KEYS_PUBLIC);
    at = put_uint(at, name, 1);
    at = put_bytes(at, r->name, name);
    at = put_uint(at, r->role, 1);
    at = put_uint(at, r->addr.family, 1);
    at = put_bytes(at, r->addr.ip, ip);
    at = put_uint(at, r->addr.port, 2);
    return (size_t)(at - bytes);
}

int join_request_seal(const struct token *token, const struct keys_identity *self, const char *name,
                      uint8_t role, const struct addr *addr, const uint8_t nonce[JOIN_NONCE],
                      uint8_t out[MSG_DATAGRAM_MAX], size_t *len)
{
    struct join_request r = {.role = role, .addr = *addr};
    uint8_t bytes[SIGNED_MAX], signature[KEYS_SIGNATURE], body[BODY_MAX], key[KEYS_DERIVED];
    struct pack p;

    *len = 0;
    if (!name_valid(name) || (addr->family != 0 && addr->family != 4 && addr->family != 6))
        return ERR_INVALID;
    if (addr->family == 0)
        r.addr.port = 0;
    memcpy(r.name, name, strlen(name));
    memcpy(r.public_key, self->public_key, KEYS_PUBLIC);
    memcpy(r.token, token->id, TOKEN_ID);
    memcpy(r.nonce, nonce, JOIN_NONCE);
    keys_sign(self, request_label, bytes, signed_bytes(&r, bytes), signature);
    pack_begin(&p, body, sizeof body);
    pack_array(&p, 5);
    pack_bin(&p, r.public_key, KEYS_PUBLIC);
    pack_text(&p, r.name, sizeof r.name);
    pack_uint(&p, r.role);
    pack_addr(&p, &r.addr);
    pack_bin(&p, signature, sizeof signature);
    keys_derive(token->secret, request_label, NULL, 0, key);
    seal(ENVELOPE_JOIN_REQUEST, token->id, nonce, key, &p, out, len);
    keys_wipe(key, sizeof key);
    return ERR_NONE;
}

bool join_token_id(const uint8_t *datagram, size_t len, uint8_t id[TOKEN_ID])
{
    if (len < HEADER + ENVELOPE_TAG || envelope_kind(datagram, len) != ENVELOPE_JOIN_REQUEST)
        return false;
    memcpy(id, datagram + 4, TOKEN_ID);
    return true;
}

enum wire_reason join_request_open(const uint8_t secret[TOKEN_SECRET], const uint8_t *datagram,
                                   size_t len, struct join_request *request)
{
    uint8_t bytes[SIGNED_MAX], signature[KEYS_SIGNATURE], body[BODY_MAX], key[KEYS_DERIVED];
    struct unpack u;
    size_t body_len;
    enum wire_reason reason;

    keys_derive(secret, request_label, NULL, 0, key);
    reason = open_sealed(ENVELOPE_JOIN_REQUEST, key, datagram, len, body, &body_len);
    keys_wipe(key, sizeof key);
    if (reason != WIRE_OK)
        return reason;
    memset(request, 0, sizeof *request);
    memcpy(request->token, datagram + 4, TOKEN_ID);
    memcpy(request->nonce, datagram + 4 + TOKEN_ID, JOIN_NONCE);
    unpack_begin(&u, body, body_len);
    unpack_fields(&u, 5);
    unpack_bytes(&u, request->public_key, KEYS_PUBLIC);
    unpack_text(&u, request->name, sizeof request->name);
    request->role = (uint8_t)unpack_uint(&u, 0, UINT8_MAX);
    unpack_addr(&u, &request->addr);
    unpack_bytes(&u, signature, sizeof signature);
    reason = unpack_end(&u);
    if (reason == WIRE_OK && !name_valid(request->name))
        reason = WIRE_BODY_VALUE;
    if (reason == WIRE_OK && !keys_verify(request->public_key, request_label, bytes,
                                          signed_bytes(request, bytes), signature))
        reason = WIRE_AUTHENTICATION;
    return reason;
}

static void reply_key(const uint8_t secret[TOKEN_SECRET], const uint8_t request_nonce[JOIN_NONCE],
                      uint8_t key[KEYS_DERIVED])
{
    keys_derive(secret, reply_label, request_nonce, JOIN_NONCE, key);
}

/* The key of the box: used once, since the nonces never return. */
static int box_key(const struct keys_identity *self, const uint8_t other[KEYS_PUBLIC],
                   const uint8_t request_nonce[JOIN_NONCE], const uint8_t nonce[JOIN_NONCE],
                   uint8_t key[KEYS_DERIVED])
{
    uint8_t shared[KEYS_SHARED], nonces[2 * JOIN_NONCE];
    int rc = keys_shared(self, other, shared);

    if (rc != ERR_NONE)
        return rc;
    put_bytes(put_bytes(nonces, request_nonce, JOIN_NONCE), nonce, JOIN_NONCE);
    keys_derive(shared, "covey join epoch 1", nonces, sizeof nonces, key);
    keys_wipe(shared, sizeof shared);
    return ERR_NONE;
}

static const uint8_t box_nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];

static void pack_admission(struct pack *p, const struct keys_admission *a)
{
    pack_uint(p, a->role);
    pack_uint(p, a->serial);
    pack_bin(p, a->signature, KEYS_SIGNATURE);
}

static void unpack_admission(struct unpack *u, struct keys_admission *a)
{
    a->role = (uint8_t)unpack_uint(u, 0, UINT8_MAX);
    a->serial = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    unpack_bytes(u, a->signature, KEYS_SIGNATURE);
}

static void pack_welcome(struct pack *p, const struct join_welcome *w, const uint8_t box[BOX])
{
    pack_array(p, 8);
    pack_uint(p, REPLY_WELCOME);
    pack_bin(p, w->cluster_key, KEYS_PUBLIC);
    pack_admission(p, &w->admission);
    pack_array(p, 4);
    pack_uint(p, w->epoch.number);
    pack_uint(p, w->epoch.revoked);
    pack_uint(p, w->epoch.revoked_digest);
    pack_bin(p, w->epoch.signature, KEYS_SIGNATURE);
    pack_bin(p, box, BOX);
    pack_array(p, 6);
    pack_bin(p, w->seed.public_key, KEYS_PUBLIC);
    pack_text(p, w->seed.name, sizeof w->seed.name);
    pack_admission(p, &w->seed);
    pack_addr(p, &w->seed_addr);
}

int join_welcome_seal(const uint8_t secret[TOKEN_SECRET], const struct join_request *request,
                      const struct keys_identity *seed, const struct join_welcome *welcome,
                      const uint8_t nonce[JOIN_NONCE], uint8_t out[MSG_DATAGRAM_MAX], size_t *len)
{
    uint8_t body[BODY_MAX], key[KEYS_DERIVED], box[BOX];
    unsigned long long boxed;
    struct pack p;
    int rc = box_key(seed, request->public_key, request->nonce, nonce, key);

    *len = 0;
    if (rc != ERR_NONE)
        return rc;
    crypto_aead_chacha20poly1305_ietf_encrypt(box, &boxed, welcome->epoch.secret, KEYS_EPOCH_SECRET,
                                              NULL, 0, NULL, box_nonce, key);
    pack_begin(&p, body, sizeof body);
    pack_welcome(&p, welcome, box);
    reply_key(secret, request->nonce, key);
    seal(ENVELOPE_JOIN_REPLY, request->token, nonce, key, &p, out, len);
    keys_wipe(key, sizeof key);
    return ERR_NONE;
}

void join_refusal_seal(const uint8_t secret[TOKEN_SECRET], const struct join_request *request,
                       const char *text, const uint8_t nonce[JOIN_NONCE],
                       uint8_t out[MSG_DATAGRAM_MAX], size_t *len)
{
    uint8_t body[BODY_MAX], key[KEYS_DERIVED];
    struct pack p;

    pack_begin(&p, body, sizeof body);
    pack_array(&p, 2);
    pack_uint(&p, REPLY_REFUSAL);
    pack_text(&p, text, JOIN_TEXT_MAX);
    reply_key(secret, request->nonce, key);
    seal(ENVELOPE_JOIN_REPLY, request->token, nonce, key, &p, out, len);
    keys_wipe(key, sizeof key);
}

static int not_ours(struct err *err)
{
    return err_set(err, ERR_AUTH, "the answer is not of the flock that the token names");
}

static int read_refusal(struct unpack *u, size_t fields, struct err *err)
{
    char text[JOIN_TEXT_MAX];

    if (fields != 2)
        return not_ours(err);
    unpack_text(u, text, sizeof text);
    if (unpack_end(u) != WIRE_OK)
        return not_ours(err);
    return err_set(err, ERR_DENIED, "the flock refused: %s", text);
}

static bool read_welcome(struct unpack *u, size_t fields, struct join_welcome *w, uint8_t box[BOX])
{
    if (fields != 8)
        return false;
    unpack_bytes(u, w->cluster_key, KEYS_PUBLIC);
    unpack_admission(u, &w->admission);
    unpack_fields(u, 4);
    w->epoch.number = (uint32_t)unpack_uint(u, 1, ENVELOPE_EPOCH_MAX);
    w->epoch.revoked = (uint16_t)unpack_uint(u, 0, UINT16_MAX);
    w->epoch.revoked_digest = unpack_uint(u, 0, UINT64_MAX);
    unpack_bytes(u, w->epoch.signature, KEYS_SIGNATURE);
    unpack_bytes(u, box, BOX);
    unpack_fields(u, 6);
    unpack_bytes(u, w->seed.public_key, KEYS_PUBLIC);
    unpack_text(u, w->seed.name, sizeof w->seed.name);
    unpack_admission(u, &w->seed);
    unpack_addr(u, &w->seed_addr);
    return unpack_end(u) == WIRE_OK && name_valid(w->seed.name);
}

int join_reply_open(const struct token *token, const struct keys_identity *self, const char *name,
                    const uint8_t request_nonce[JOIN_NONCE], const uint8_t *datagram, size_t len,
                    struct join_welcome *welcome, struct err *err)
{
    uint8_t body[BODY_MAX], key[KEYS_DERIVED], box[BOX];
    unsigned long long opened;
    struct unpack u;
    size_t body_len, fields;
    enum wire_reason reason;
    uint64_t reply;
    bool good;

    memset(welcome, 0, sizeof *welcome);
    reply_key(token->secret, request_nonce, key);
    reason = open_sealed(ENVELOPE_JOIN_REPLY, key, datagram, len, body, &body_len);
    keys_wipe(key, sizeof key);
    if (reason != WIRE_OK)
        return not_ours(err);
    unpack_begin(&u, body, body_len);
    fields = unpack_array(&u, 8);
    reply = unpack_uint(&u, REPLY_WELCOME, REPLY_REFUSAL);
    if (reply == REPLY_REFUSAL)
        return read_refusal(&u, fields, err);
    if (!read_welcome(&u, fields, welcome, box))
        return not_ours(err);
    memcpy(welcome->admission.public_key, self->public_key, KEYS_PUBLIC);
    memcpy(welcome->admission.name, name, strnlen(name, NODE_NAME_MAX));
    if (!keys_equal(welcome->cluster_key, token->cluster_key, KEYS_PUBLIC) ||
        !keys_verify_admission(token->cluster_key, &welcome->admission) ||
        !keys_verify_admission(token->cluster_key, &welcome->seed))
        return not_ours(err);
    if (box_key(self, welcome->seed.public_key, request_nonce, datagram + 4 + TOKEN_ID, key) !=
        ERR_NONE)
        return not_ours(err);
    good = crypto_aead_chacha20poly1305_ietf_decrypt(welcome->epoch.secret, &opened, NULL, box, BOX,
                                                     NULL, 0, box_nonce, key) == 0 &&
           keys_verify_epoch(token->cluster_key, &welcome->epoch);
    keys_wipe(key, sizeof key);
    return good ? ERR_NONE : not_ours(err);
}
