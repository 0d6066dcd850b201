/* Datagrams of strangers, which prove themselves. The first byte chooses whose decoder gets the
 * rest: as it is, and laid over a true one. What opens is the true one, byte by byte. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/knock.h"
#include "proto/wire/notice.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_ALL KNOCK_SIZE

static struct keys_identity cluster, node;

static void make(struct keys_identity *identity, uint8_t fill)
{
    uint8_t seed[KEYS_SEED] = {fill};

    keys_from_seed(seed, identity);
}

static struct keys_admission admission(void)
{
    struct keys_admission a = {.name = "pi1", .role = 1, .serial = 2};

    memcpy(a.public_key, node.public_key, KEYS_PUBLIC);
    keys_sign_admission(&cluster, &a);
    return a;
}

/* A true datagram of this kind; its size. */
static size_t provoke(uint8_t kind, uint8_t out[SIZE_MAX_ALL])
{
    struct knock knock = {.addr = {.family = 4, .ip = {10, 0, 0, 1}, .port = 8801}, .name = "pi3"};
    struct knock_reply reply = {.holder = admission()};
    struct keys_revocation revocation = {.name = "pi3", .time = 5};
    const struct keys_admission own = admission();

    memcpy(reply.cluster_key, cluster.public_key, KEYS_PUBLIC);
    memcpy(revocation.public_key, node.public_key, KEYS_PUBLIC);
    keys_sign_revocation(&cluster, &revocation);
    switch (kind) {
    case 0:
        if (knock_seal(&node, &knock, out) != ERR_NONE)
            abort();
        return KNOCK_SIZE;
    case 1:
        knock_reply_seal(&node, &reply, out);
        return KNOCK_REPLY_SIZE;
    case 2:
        notice_introduce(&own, out);
        return NOTICE_SIZE;
    default:
        notice_revoked(&revocation, out);
        return NOTICE_SIZE;
    }
}

static bool opens(uint8_t kind, const uint8_t *data, size_t size)
{
    struct keys_revocation revocation;
    struct keys_admission own;
    struct knock_reply reply;
    struct knock knock;

    switch (kind) {
    case 0:
        return knock_open(data, size, &knock) == WIRE_OK;
    case 1:
        return knock_reply_open(data, size, &reply) == WIRE_OK;
    case 2:
        return notice_open_introduce(cluster.public_key, data, size, &own) == WIRE_OK;
    default:
        return notice_open_revoked(cluster.public_key, data, size, &revocation) == WIRE_OK;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t real[SIZE_MAX_ALL], changed[SIZE_MAX_ALL];
    uint8_t kind;
    size_t len, at;

    if (size == 0 || keys_start(NULL) != ERR_NONE)
        return 0;
    make(&cluster, 1);
    make(&node, 2);
    kind = data[0] & 3;
    len = provoke(kind, real);
    if (!opens(kind, real, len))
        abort();
    if (opens(kind, data + 1, size - 1) && (size - 1 != len || memcmp(real, data + 1, len) != 0))
        abort();
    memcpy(changed, real, len);
    at = size > 1 ? data[1] + 256u * (data[0] >> 2 & 1) : 0;
    for (size_t i = 2; i < size && at < len; i++)
        changed[at++] ^= data[i];
    if (memcmp(changed, real, len) != 0 && opens(kind, changed, len))
        abort();
    return 0;
}
