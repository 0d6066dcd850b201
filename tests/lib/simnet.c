#include "tests/lib/simnet.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct simnet_event event;
    uint64_t order;  /* of equal times */
    uint64_t serial; /* WAKE: valid while it is the node's */
    void *owned;
};

#define REPEAT_MS 200 /* TCP's first repetition; the next ones take twice as long each */
#define REPEATS_MAX 6

enum cut { CUT_ALL = 1, CUT_DATAGRAMS = 2 };

struct node {
    bool up;
    mono_t paused_until;
    uint64_t wake_serial;
    double loss;
    unsigned side;
    mono_t burst_from;
    mono_t burst_until;
    struct simnet_counts sent;
};

struct simnet {
    struct rng rng;
    struct rng dice;
    mono_t now;
    size_t count;
    struct node *nodes;
    uint8_t *cuts; /* enum cut of from * count + to; NULL: none */
    enum simnet_delay delay;
    double loss;
    double duplicate;
    int64_t burst_gap_ms;
    struct item *heap;
    size_t heap_count;
    size_t heap_capacity;
    uint64_t order;
    void *delivered;
};

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "simnet: out of memory\n");
        abort();
    }
    return p;
}

struct simnet *simnet_create(size_t nodes, uint64_t seed)
{
    struct simnet *net = must(calloc(1, sizeof *net));

    net->nodes = must(calloc(nodes, sizeof *net->nodes));
    net->count = nodes;
    net->now = SIMNET_START;
    rng_seed(&net->rng, seed);
    rng_seed(&net->dice, seed ^ 0x5eed);
    for (size_t i = 0; i < nodes; i++) {
        net->nodes[i].up = true;
        net->nodes[i].burst_from = MONO_NEVER;
    }
    return net;
}

void simnet_destroy(struct simnet *net)
{
    for (size_t i = 0; i < net->heap_count; i++)
        free(net->heap[i].owned);
    free(net->delivered);
    free(net->heap);
    free(net->cuts);
    free(net->nodes);
    free(net);
}

mono_t simnet_now(const struct simnet *net)
{
    return net->now;
}

struct rng *simnet_rng(struct simnet *net)
{
    return &net->dice;
}

void simnet_set_delay(struct simnet *net, enum simnet_delay delay)
{
    net->delay = delay;
}

void simnet_set_loss(struct simnet *net, double loss)
{
    net->loss = loss;
}

void simnet_set_node_loss(struct simnet *net, size_t node, double loss)
{
    net->nodes[node].loss = loss;
}

void simnet_set_duplicate(struct simnet *net, double probability)
{
    net->duplicate = probability;
}

static void plan_burst(struct simnet *net, struct node *n)
{
    double gap = -log(1.0 - rng_unit(&net->rng)) * (double)net->burst_gap_ms;

    n->burst_from = mono_add(net->now, (int64_t)gap);
    n->burst_until = mono_add(n->burst_from, rng_range(&net->rng, 200, 1000));
}

void simnet_set_bursts(struct simnet *net, int64_t mean_gap_ms)
{
    net->burst_gap_ms = mean_gap_ms;
    for (size_t i = 0; i < net->count; i++) {
        net->nodes[i].burst_from = MONO_NEVER;
        net->nodes[i].burst_until = MONO_NEVER;
        if (mean_gap_ms > 0)
            plan_burst(net, &net->nodes[i]);
    }
}

static bool in_burst(struct simnet *net, struct node *n)
{
    while (net->burst_gap_ms > 0 && mono_reached(net->now, n->burst_until)) {
        mono_t now = net->now;
        net->now = n->burst_until; /* the next gap starts where this burst ended */
        plan_burst(net, n);
        net->now = now;
    }
    return mono_reached(net->now, n->burst_from);
}

static void set_cut(struct simnet *net, size_t from, size_t to, enum cut kind, bool cut)
{
    uint8_t *cuts;

    if (net->cuts == NULL)
        net->cuts = must(calloc(net->count * net->count, sizeof *net->cuts));
    cuts = &net->cuts[from * net->count + to];
    *cuts = (uint8_t)(cut ? *cuts | kind : *cuts & ~(unsigned)kind);
}

void simnet_cut(struct simnet *net, size_t from, size_t to, bool cut)
{
    set_cut(net, from, to, CUT_ALL, cut);
}

void simnet_cut_datagrams(struct simnet *net, size_t from, size_t to, bool cut)
{
    set_cut(net, from, to, CUT_DATAGRAMS, cut);
}

static bool is_cut(const struct simnet *net, size_t from, size_t to, unsigned kinds)
{
    return net->nodes[from].side != net->nodes[to].side ||
           (net->cuts != NULL && (net->cuts[from * net->count + to] & kinds) != 0);
}

void simnet_set_side(struct simnet *net, size_t node, unsigned side)
{
    net->nodes[node].side = side;
}

void simnet_heal(struct simnet *net)
{
    net->loss = 0;
    net->duplicate = 0;
    simnet_set_bursts(net, 0);
    free(net->cuts);
    net->cuts = NULL;
    for (size_t i = 0; i < net->count; i++) {
        net->nodes[i].side = 0;
        net->nodes[i].loss = 0;
    }
}

void simnet_stop(struct simnet *net, size_t node)
{
    net->nodes[node].up = false;
    net->nodes[node].wake_serial++;
    net->nodes[node].paused_until = MONO_ZERO;
}

void simnet_start(struct simnet *net, size_t node)
{
    net->nodes[node].up = true;
}

bool simnet_up(const struct simnet *net, size_t node)
{
    return net->nodes[node].up;
}

void simnet_pause(struct simnet *net, size_t node, mono_t until)
{
    net->nodes[node].paused_until = until;
}

bool simnet_paused(const struct simnet *net, size_t node)
{
    return mono_before(net->now, net->nodes[node].paused_until);
}

/* The heap: earliest first, then in the order of insertion. */

static bool earlier(const struct item *a, const struct item *b)
{
    if (a->event.at.ms != b->event.at.ms)
        return a->event.at.ms < b->event.at.ms;
    return a->order < b->order;
}

static void push(struct simnet *net, struct item item)
{
    size_t i = net->heap_count++;

    if (net->heap_count > net->heap_capacity) {
        net->heap_capacity = 2 * net->heap_count + 64;
        net->heap = must(realloc(net->heap, net->heap_capacity * sizeof *net->heap));
    }
    for (; i > 0 && earlier(&item, &net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = item;
}

static struct item pop(struct simnet *net)
{
    struct item top = net->heap[0];
    struct item last = net->heap[--net->heap_count];
    size_t i = 0;

    while (2 * i + 1 < net->heap_count) {
        size_t child = 2 * i + 1;
        if (child + 1 < net->heap_count && earlier(&net->heap[child + 1], &net->heap[child]))
            child++;
        if (!earlier(&net->heap[child], &last))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    net->heap[i] = last;
    return top;
}

static int64_t one_way(struct simnet *net)
{
    static const struct {
        double below;
        int64_t ms;
    } powersave[] = {{0, 2}, {0.5, 50}, {0.9, 260}, {0.99, 650}, {1, 1400}};
    double u = rng_unit(&net->rng);

    if (net->delay == SIMNET_LAN)
        return u < 0.01 ? rng_range(&net->rng, 5, 40) : rng_range(&net->rng, 1, 3);
    if (net->delay == SIMNET_WIFI)
        return u < 0.02 ? rng_range(&net->rng, 8, 30) : rng_range(&net->rng, 1, 5);
    for (size_t i = 1;; i++)
        if (u <= powersave[i].below) {
            double share =
                (u - powersave[i - 1].below) / (powersave[i].below - powersave[i - 1].below);
            return powersave[i - 1].ms +
                   (int64_t)(share * (double)(powersave[i].ms - powersave[i - 1].ms));
        }
}

static bool is_lost(struct simnet *net, const struct node *a, const struct node *b)
{
    return rng_unit(&net->rng) < net->loss || rng_unit(&net->rng) < a->loss ||
           rng_unit(&net->rng) < b->loss;
}

static void deliver(struct simnet *net, struct simnet_event event, uint64_t order, const void *data,
                    size_t len)
{
    struct item item = {.event = event, .order = order, .owned = must(malloc(len > 0 ? len : 1))};

    memcpy(item.owned, data, len);
    item.event.kind = SIMNET_DELIVER;
    item.event.data = item.owned;
    item.event.len = len;
    push(net, item);
}

void simnet_send_after(struct simnet *net, int64_t wait_ms, size_t from, size_t to,
                       const void *data, size_t len, size_t wire_bytes)
{
    struct node *a = &net->nodes[from];
    struct node *b = &net->nodes[to];
    int copies = 1 + (rng_unit(&net->rng) < net->duplicate);

    a->sent.packets++;
    a->sent.bytes += wire_bytes;
    if (is_cut(net, from, to, CUT_ALL | CUT_DATAGRAMS) || in_burst(net, a) || in_burst(net, b))
        return;
    for (int i = 0; i < copies; i++) {
        struct simnet_event event = {.node = to, .from = from};
        uint64_t order = net->order++;
        if (is_lost(net, a, b))
            continue;
        event.at = mono_add(net->now, wait_ms + one_way(net));
        deliver(net, event, order, data, len);
    }
}

void simnet_send(struct simnet *net, size_t from, size_t to, const void *data, size_t len,
                 size_t wire_bytes)
{
    simnet_send_after(net, 0, from, to, data, len, wire_bytes);
}

void simnet_send_stream(struct simnet *net, size_t from, size_t to, const void *data, size_t len,
                        size_t wire_bytes)
{
    struct node *a = &net->nodes[from];
    struct node *b = &net->nodes[to];
    struct simnet_event event = {.node = to, .from = from, .stream = true};
    int64_t late = 0;
    int tries = 1;

    if (in_burst(net, a))
        late = mono_diff(a->burst_until, net->now);
    if (in_burst(net, b) && mono_diff(b->burst_until, net->now) > late)
        late = mono_diff(b->burst_until, net->now);
    for (; tries < REPEATS_MAX && is_lost(net, a, b); tries++)
        late += REPEAT_MS << (tries - 1);
    a->sent.packets += (uint64_t)tries;
    a->sent.bytes += wire_bytes * (uint64_t)tries;
    if (tries == REPEATS_MAX || is_cut(net, from, to, CUT_ALL) || is_cut(net, to, from, CUT_ALL))
        return;
    event.at = mono_add(net->now, late + one_way(net));
    deliver(net, event, net->order++, data, len);
}

void simnet_wake(struct simnet *net, size_t node, mono_t at)
{
    struct item item = {.order = net->order++, .serial = ++net->nodes[node].wake_serial};

    if (mono_is_never(at))
        return;
    item.event =
        (struct simnet_event){.at = mono_max(at, net->now), .kind = SIMNET_WAKE, .node = node};
    push(net, item);
}

void simnet_script(struct simnet *net, mono_t at, uint64_t tag)
{
    struct item item = {.order = net->order++};

    item.event = (struct simnet_event){.at = at, .kind = SIMNET_SCRIPT, .tag = tag};
    push(net, item);
}

bool simnet_next(struct simnet *net, mono_t until, struct simnet_event *event)
{
    free(net->delivered);
    net->delivered = NULL;
    while (net->heap_count > 0 && net->heap[0].event.at.ms <= until.ms) {
        struct item item = pop(net);
        const struct node *n = &net->nodes[item.event.node];

        net->now = item.event.at;
        if (item.event.kind != SIMNET_SCRIPT) {
            if (!n->up || (item.event.kind == SIMNET_WAKE && item.serial != n->wake_serial)) {
                free(item.owned);
                continue;
            }
            if (mono_before(net->now, n->paused_until)) {
                item.event.at = n->paused_until;
                push(net, item);
                continue;
            }
        }
        *event = item.event;
        net->delivered = item.owned;
        return true;
    }
    net->now = until;
    return false;
}

struct simnet_counts simnet_sent(const struct simnet *net, size_t node)
{
    return net->nodes[node].sent;
}
