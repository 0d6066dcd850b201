#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/keys_world_inside.h"

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "keys_world: out of memory\n");
        abort();
    }
    return p;
}

/* ---- lives ---- */

void world_start(struct world *w, size_t machine)
{
    struct machine *m = &w->machines[machine];
    mono_t now = simnet_now(w->net);
    struct channel_config channel = {.identity = &m->keys, .version_max = m->version_max};
    struct keyring_config config = {.self = m->keys.id, .seed = rng_next(w->rng)};

    if (m->channel != NULL)
        return;
    memcpy(config.cluster_key, w->cluster.public_key, KEYS_PUBLIC);
    config.cluster = m->identity < w->options.holders ? &w->cluster : NULL;
    channel.boot = rng_next(w->rng) | 1;
    if (channel_create(&channel, &m->channel, NULL) != ERR_NONE ||
        keyring_create(&config, now, &m->ring) != ERR_NONE)
        abort();
    for (size_t i = 0; i < m->disk.revoked_count; i++)
        if (keyring_load_revocation(m->ring, &m->disk.revoked[i]) != ERR_NONE)
            world_break(w, "a kept revocation is refused");
    for (size_t i = 0; i < m->disk.epoch_count; i++)
        if (keyring_load_epoch(m->ring, &m->disk.epochs[i]) != ERR_NONE)
            world_break(w, "a kept epoch is refused");
    channel_set_epochs(m->channel, m->disk.epochs, m->disk.epoch_count);
    for (size_t i = 0; i < w->options.nodes; i++)
        if (i != m->identity && keyring_add_peer(m->ring, world_id(w, i)) == ERR_NONE &&
            channel_add_peer(m->channel, w->machines[i].keys.public_key, NULL) != ERR_NONE)
            abort();
    m->cache = m->disk;
    m->ping = mono_add(now, rng_range(w->rng, 0, w->options.ping_ms));
    m->life++;
    memset(m->heard, 0, sizeof m->heard);
    world_trace(w, "node %zu starts with epoch %u", machine, (unsigned)world_epoch(w, machine));
    simnet_start(w->net, machine);
    world_arm(w, machine);
}

void world_stop(struct world *w, size_t machine, bool power)
{
    struct machine *m = &w->machines[machine];

    if (m->channel == NULL)
        return;
    world_trace(w, "node %zu %s", machine, power ? "loses power" : "ends");
    if (power)
        m->cache = m->disk; /* of writes that are under way nothing arrives */
    else
        m->disk = m->cache;
    channel_destroy(m->channel);
    keyring_destroy(m->ring);
    m->channel = NULL;
    m->ring = NULL;
    simnet_stop(w->net, machine);
}

bool world_is_up(const struct world *w, size_t machine)
{
    return w->machines[machine].channel != NULL;
}

size_t world_clone(struct world *w, size_t node)
{
    size_t copy = w->count++;
    struct machine *m = &w->machines[copy];

    world_trace(w, "node %zu is a copy of %zu", copy, node);
    m->identity = node;
    m->keys = w->machines[node].keys;
    m->disk = m->cache = w->machines[node].disk;
    m->version_max = w->machines[node].version_max;
    world_start(w, copy);
    return copy;
}

struct world *world_create(const struct world_options *options)
{
    struct world *w = must(calloc(1, sizeof *w));
    struct keys_epoch first = {.number = 1, .secret = {1}};
    uint8_t seed[KEYS_SEED] = {0};

    w->options = *options;
    w->net = simnet_create(options->nodes + 1, options->seed);
    w->rng = simnet_rng(w->net);
    w->machines = must(calloc(options->nodes + 1, sizeof *w->machines));
    w->delivered = must(calloc(WORLD_PINGS_MAX + 1, 1));
    w->recorded = must(calloc(RECORDED_MAX, sizeof *w->recorded));
    w->count = options->nodes;
    keys_from_seed(seed, &w->cluster);
    keys_sign_epoch(&w->cluster, &first);
    w->made[w->made_count++] = (struct made){.number = 1, .mark = keys_epoch_mark(&first)};
    for (size_t i = 0; i < options->nodes; i++) {
        struct machine *m = &w->machines[i];
        seed[0] = 1;
        seed[1] = (uint8_t)i;
        keys_from_seed(seed, &m->keys);
        m->identity = i;
        m->disk.epochs[0] = first;
        m->disk.epoch_count = 1;
        m->version_max = options->releases && world_chance(w, 0.5) ? ENVELOPE_VERSION_MAX + 1 : 0;
    }
    simnet_set_delay(w->net, SIMNET_WIFI);
    for (size_t i = 0; i < options->nodes; i++)
        world_start(w, i);
    if (options->replays)
        simnet_script(w->net, simnet_now(w->net), TAG_REPLAY);
    return w;
}

void world_destroy(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        world_stop(w, i, false);
    simnet_destroy(w->net);
    free(w->machines);
    free(w->delivered);
    free(w->recorded);
    free(w);
}

/* ---- people ---- */

void world_set_ping(struct world *w, int64_t ping_ms)
{
    w->options.ping_ms = ping_ms;
    for (size_t i = 0; i < w->count; i++)
        if (world_is_up(w, i)) {
            w->machines[i].ping = mono_add(simnet_now(w->net), rng_range(w->rng, 0, ping_ms));
            world_arm(w, i);
        }
}

void world_rotate(struct world *w, size_t holder)
{
    struct keyring_event event = {.type = KEYRING_ROTATE};

    if (!world_is_up(w, holder))
        return;
    world_secret(w, event.secret);
    world_step(w, holder, &event);
    world_arm(w, holder);
    world_trace(w, "node %zu makes epoch %u", holder, (unsigned)world_epoch(w, holder));
}

void world_revoke(struct world *w, size_t holder, size_t node)
{
    struct keyring_event event = {.type = KEYRING_REVOKE};

    if (!world_is_up(w, holder) || node < w->options.holders)
        return;
    world_trace(w, "node %zu revokes %zu", holder, node);
    w->revoked[node] = true;
    snprintf(event.revocation.name, sizeof event.revocation.name, "pi%zu", node);
    memcpy(event.revocation.public_key, w->machines[node].keys.public_key, KEYS_PUBLIC);
    event.revocation.time = world_now(w);
    world_step(w, holder, &event);
    w->machines[holder].disk = w->machines[holder].cache; /* written before it is reported */
    world_arm(w, holder);
}

bool world_is_revoked(const struct world *w, size_t node)
{
    return w->revoked[node];
}

/* ---- what is seen ---- */

uint64_t world_lost(const struct world *w, uint64_t first)
{
    uint64_t lost = 0;

    for (uint64_t i = first; i < w->counts.sent; i++)
        lost += !w->delivered[i];
    return lost;
}

bool world_knows_revoked(const struct world *w, size_t machine, size_t revoked)
{
    return keyring_revoked(w->machines[machine].ring, world_id(w, revoked)) != NULL;
}

bool world_says_cloned(const struct world *w, size_t machine)
{
    return keyring_cloned(w->machines[machine].ring);
}

bool world_quarantines(const struct world *w, size_t machine, size_t clone)
{
    struct channel_peer peer;

    return channel_find_peer(w->machines[machine].channel, world_id(w, clone), &peer) == ERR_NONE &&
           peer.cloned;
}

uint32_t world_epoch(const struct world *w, size_t machine)
{
    size_t count;
    const struct keys_epoch *epochs = keyring_epochs(w->machines[machine].ring, &count);

    return count == 0 ? 0 : epochs[0].number;
}

static bool are_neighbours(const struct world *w, size_t a, size_t b)
{
    for (size_t i = (a + 1) % w->options.nodes; i != a; i = (i + 1) % w->options.nodes)
        if (world_is_up(w, i) && !w->revoked[i])
            return i == b;
    return false;
}

bool world_converged(struct world *w, char *why, size_t size)
{
    const struct machine *first = NULL;

    for (size_t i = 0; i < w->options.nodes; i++) {
        const struct machine *m = &w->machines[i];
        size_t count;
        if (m->channel == NULL || w->revoked[i])
            continue;
        if (first == NULL)
            first = m;
        if (keys_epoch_mark(keyring_epochs(m->ring, &count)) !=
            keys_epoch_mark(keyring_epochs(first->ring, &count))) {
            snprintf(why, size, "node %zu has epoch %u, another has %u", i,
                     (unsigned)world_epoch(w, i),
                     (unsigned)keyring_epochs(first->ring, &count)->number);
            return false;
        }
        for (size_t k = 0; k < w->options.nodes; k++) {
            if (w->revoked[k] && !world_knows_revoked(w, i, k)) {
                snprintf(why, size, "node %zu does not know that %zu was revoked", i, k);
                return false;
            }
            if (k == i || w->revoked[k] || !world_is_up(w, k) ||
                (w->options.ring && !are_neighbours(w, i, k)))
                continue;
            if (!m->heard[k]) {
                snprintf(why, size, "node %zu has not heard %zu", i, k);
                return false;
            }
        }
    }
    return true;
}

int64_t world_settle(struct world *w, int64_t limit_ms)
{
    int64_t began = world_now(w);
    char why[128] = "";

    for (size_t i = 0; i < w->count; i++)
        memset(w->machines[i].heard, 0, sizeof w->machines[i].heard);
    while (world_run(w, 50)) {
        if (world_converged(w, why, sizeof why))
            return world_now(w) - began;
        if (world_now(w) - began > limit_ms) {
            for (size_t i = 0; i < w->count; i++)
                world_trace(w, "node %zu: epoch %u, revocations %zu, complete %d%s", i,
                            (unsigned)world_epoch(w, i), keyring_revoked_count(w->machines[i].ring),
                            keyring_is_complete(w->machines[i].ring),
                            w->revoked[i] ? ", revoked" : "");
            world_break(w, "not settled after %lld ms: %s", (long long)limit_ms, why);
            break;
        }
    }
    return -1;
}
