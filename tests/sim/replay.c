#include "tests/sim/replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/wire/channel.h"

#define RECORDED 10000
#define REPLAYS 200000 /* at a time: twice to each life of the receiver, but once to the first */
#define LIVES 3

struct side {
    struct keys_identity identity;
    struct addr addr;
    struct channel *channel;
};

struct recording {
    size_t count;
    struct channel_datagram *datagrams; /* all that ever went to the receiver */
};

static const struct keys_epoch epoch = {.number = 1, .secret = {0xe1}};

static void start(struct side *s, const struct side *peer, uint64_t boot)
{
    struct channel_config config = {.identity = &s->identity, .boot = boot};

    channel_destroy(s->channel);
    s->channel = NULL;
    if (channel_create(&config, &s->channel, NULL) != ERR_NONE ||
        channel_set_epochs(s->channel, &epoch, 1) != ERR_NONE ||
        channel_add_peer(s->channel, peer->identity.public_key, NULL) != ERR_NONE)
        abort();
}

static void identify(struct side *s, uint8_t fill)
{
    uint8_t seed[KEYS_SEED];

    memset(seed, fill, sizeof seed);
    keys_from_seed(seed, &s->identity);
    s->addr = (struct addr){.family = 4, .ip = {10, 0, 0, fill}, .port = 8801};
}

/* Carries what is in @out from @from to @to and back until nobody answers. Returns the bodies that
 * the receiver @counted took. */
static size_t carry(struct side *from, struct side *to, mono_t now, struct channel_out *out,
                    const struct side *counted, struct recording *kept)
{
    size_t bodies = 0;

    for (int round = 0; round < 8 && out->count > 0; round++) {
        struct channel_out answers = {0};
        struct side *swap = from;
        for (size_t i = 0; i < out->count; i++) {
            struct channel_out next;
            struct channel_in in;
            struct channel_datagram copy = out->datagrams[i];
            if (to == counted && kept->count < RECORDED)
                kept->datagrams[kept->count++] = copy;
            if (channel_open(to->channel, now, &from->addr, copy.bytes, copy.len, &in, &next) ==
                    WIRE_OK &&
                to == counted)
                bodies += in.body != NULL;
            for (size_t k = 0; k < next.count && answers.count < CHANNEL_OUT_MAX; k++)
                answers.datagrams[answers.count++] = next.datagrams[k];
        }
        *out = answers;
        from = to;
        to = swap;
    }
    return bodies;
}

/* Speaks until so many datagrams are recorded. To a receiver that has started again the first ones
 * say nothing: false when it stays so for a minute. */
static bool converse(struct side *a, struct side *b, mono_t *now, size_t upto,
                     struct recording *kept)
{
    static struct channel_out out;
    mono_t understood = *now;

    while (kept->count < upto) {
        *now = mono_add(*now, 20);
        if (channel_seal(a->channel, *now, b->identity.id, &b->addr, (const uint8_t *)"body", 4,
                         &out) != ERR_NONE)
            return false;
        if (carry(a, b, *now, &out, b, kept) > 0)
            understood = *now;
        else if (mono_diff(*now, understood) > 60000)
            return false;
        channel_step(a->channel, *now, &out);
        carry(a, b, *now, &out, b, kept);
    }
    return true;
}

/* A HELLO may be answered; what must not come of it is a body, or a proof of life. */
static uint64_t replay(struct side *a, struct side *b, mono_t *now, struct rng *rng,
                       const struct recording *kept, uint64_t *replayed)
{
    uint64_t accepted = 0;

    for (size_t i = 0; i < REPLAYS; i++) {
        struct channel_datagram copy = kept->datagrams[rng_index(rng, kept->count)];
        struct channel_out out;
        struct channel_in in = {0};
        enum wire_reason reason;
        *now = mono_add(*now, rng_below(rng, 10) == 0);
        reason = channel_open(b->channel, *now, &a->addr, copy.bytes, copy.len, &in, &out);
        ++*replayed;
        accepted += reason == WIRE_OK && (in.body != NULL || !node_id_none(in.from));
    }
    return accepted;
}

bool replay_run(uint64_t seed, bool json)
{
    static struct side a, b;
    struct recording kept = {.datagrams = calloc(RECORDED, sizeof(struct channel_datagram))};
    mono_t now = {1000};
    uint64_t accepted = 0;
    uint64_t replayed = 0;
    bool spoke = kept.datagrams != NULL && keys_start(NULL) == ERR_NONE;
    struct rng rng;

    rng_seed(&rng, seed);
    identify(&a, 1);
    identify(&b, 2);
    start(&a, &b, rng_next(&rng) | 1);
    for (size_t life = 0; life < LIVES && spoke; life++) {
        start(&b, &a, rng_next(&rng) | 1); /* the receiver remembers nothing */
        if (life > 0)
            accepted += replay(&a, &b, &now, &rng, &kept, &replayed);
        now = mono_add(now, 10000);
        spoke = converse(&a, &b, &now, RECORDED / LIVES * (life + 1), &kept);
        accepted += replay(&a, &b, &now, &rng, &kept, &replayed);
    }
    printf(json ? "{\"figure\": \"replay\", \"system\": \"covey\", \"replayed\": %" PRIu64 ", "
                  "\"restarts\": %d, \"accepted\": %" PRIu64 "}\n"
                : "replay: %" PRIu64 " datagrams over %d restarts of the receiver, %" PRIu64
                  " accepted\n",
           replayed, LIVES - 1, accepted);
    channel_destroy(a.channel);
    channel_destroy(b.channel);
    a.channel = NULL;
    b.channel = NULL;
    free(kept.datagrams);
    return spoke && accepted == 0 && replayed >= 1000000;
}
