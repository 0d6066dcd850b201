/* Join datagrams. The first byte says what the rest is: a whole request or reply, or the body of
 * one that is sealed here, since without the key nothing gets past the envelope. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/envelope.h"
#include "proto/wire/join.h"
#include "tests/fuzz/fuzz.h"

#define HEADER (4 + TOKEN_ID + JOIN_NONCE)
#define BODY_MAX (MSG_DATAGRAM_MAX - HEADER - ENVELOPE_TAG)

static const uint8_t nonce[JOIN_NONCE] = {1};
static struct keys_identity self;
static struct token token;

static void prepare(void)
{
    uint8_t seed[KEYS_SEED] = {2};

    if (token.addr_count != 0)
        return;
    if (keys_start(NULL) != ERR_NONE)
        abort();
    keys_from_seed(seed, &self);
    memset(token.secret, 3, sizeof token.secret);
    memcpy(token.cluster_key, self.public_key, KEYS_PUBLIC);
    token.addr_count = 1;
}

static size_t seal(uint8_t kind, const uint8_t *body, size_t len, uint8_t out[MSG_DATAGRAM_MAX])
{
    unsigned long long sealed;
    uint8_t key[KEYS_DERIVED];

    memset(out, 0, HEADER);
    out[0] = (uint8_t)(ENVELOPE_FORM << 4 | kind);
    memcpy(out + 4 + TOKEN_ID, nonce, JOIN_NONCE);
    if (kind == ENVELOPE_JOIN_REQUEST)
        keys_derive(token.secret, "covey join request 1", NULL, 0, key);
    else
        keys_derive(token.secret, "covey join reply 1", nonce, JOIN_NONCE, key);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + HEADER, &sealed, body, len, out, HEADER, NULL,
                                               nonce, key);
    return HEADER + (size_t)sealed;
}

static enum wire_reason open_request(const uint8_t *datagram, size_t len)
{
    struct join_request request;
    uint8_t id[TOKEN_ID];
    enum wire_reason reason = join_request_open(token.secret, datagram, len, &request);

    if (join_token_id(datagram, len, id) == (reason == WIRE_TRUNCATED || reason == WIRE_KIND))
        abort();
    if (reason == WIRE_OK && !name_valid(request.name))
        abort();
    return reason;
}

static void open_reply(const uint8_t *datagram, size_t len)
{
    struct join_welcome welcome;
    struct err err = {0};
    int rc = join_reply_open(&token, &self, "pi", nonce, datagram, len, &welcome, &err);

    if (rc != ERR_NONE && memchr(err.text, '\0', sizeof err.text) == NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t datagram[MSG_DATAGRAM_MAX];
    uint8_t mode;

    prepare();
    if (size == 0)
        return 0;
    mode = *data++;
    size--;
    if (mode >= 2 && size > BODY_MAX)
        return 0;
    if (mode == 0)
        open_request(data, size);
    else if (mode == 1)
        open_reply(data, size);
    else if (mode == 2 && open_request(datagram, seal(ENVELOPE_JOIN_REQUEST, data, size,
                                                      datagram)) == WIRE_AUTHENTICATION)
        return 0; /* well-formed, but not signed by the key that it names */
    else if (mode == 3)
        open_reply(datagram, seal(ENVELOPE_JOIN_REPLY, data, size, datagram));
    return 0;
}
