#include "tests/sim/lease_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOSSIP_US 1000000

void world_trace(const struct world *w, const char *format, ...)
{
    va_list args;

    if (!w->config.trace)
        return;
    printf("%10.4f ", (double)w->now / 1e6);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static bool chance(struct world *w, int percent)
{
    return (int)rng_below(&w->rng, 100) < percent;
}

/* ---- clocks ---- */

int64_t world_local_us(const struct world *w, const struct node *n)
{
    int64_t t = w->now - n->born;
    return t + t / 1000000 * n->ppm + t % 1000000 * n->ppm / 1000000;
}

/* True microseconds that pass while the clock of @n advances by @us. */
int64_t world_true_span(const struct node *n, int64_t us)
{
    return us - us * n->ppm / 1000000;
}

/* ---- events ---- */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(struct world *w, struct event e)
{
    int i = w->events++;

    assert(w->events < EVENTS_MAX);
    e.order = ++w->order;
    while (i > 0 && earlier(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
}

static struct event pop(struct world *w)
{
    struct event first = w->heap[0];
    struct event last = w->heap[--w->events];
    int i = 0;

    for (;;) {
        int child = 2 * i + 1;
        if (child >= w->events)
            break;
        if (child + 1 < w->events && earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!earlier(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

void world_run_at(struct world *w, struct node *n, int64_t at)
{
    if (at < n->stopped_until)
        at = n->stopped_until;
    if (at < w->now)
        at = w->now;
    if (n->run_at <= at)
        return;
    n->run_at = at;
    push(w, (struct event){.at = at, .kind = EVENT_RUN, .node = n->index, .life = n->life});
}

void world_tell(struct world *w, struct node *n, struct leases_event ev)
{
    if (!n->running)
        return;
    assert(n->result_count < RESULTS_MAX);
    n->results[(n->result_first + n->result_count++) % RESULTS_MAX] = ev;
    world_run_at(w, n, w->now);
}

/* ---- network ---- */

void world_link(struct world *w, int from, int to, bool up)
{
    w->links[from][to] = up;
}

void world_quality(struct world *w, int loss_percent, int64_t delay_us, int tail_percent)
{
    world_trace(w, "loss %d %%, delay %.1f ms, late %d %%", loss_percent, (double)delay_us / 1e3,
                tail_percent);
    w->loss_percent = loss_percent;
    w->delay_us = delay_us;
    w->tail_percent = tail_percent;
}

static void transmit(struct world *w, int from, int to, const struct packet *content)
{
    if (!w->links[from][to])
        return;
    for (int copies = 1 + chance(w, 2); copies > 0; copies--) {
        int64_t delay = w->delay_us / 2 + (int64_t)rng_below(&w->rng, (uint64_t)w->delay_us + 1);
        struct packet *p;

        if (chance(w, w->loss_percent) || w->events > EVENTS_MAX - 64)
            continue;
        if (chance(w, w->tail_percent))
            delay += (int64_t)rng_below(&w->rng, 3000 * MS);
        p = malloc(sizeof *p);
        assert(p != NULL);
        *p = *content;
        p->from = from;
        p->life = from == WORLD_GATEWAY ? 0 : w->nodes[from].life;
        p->left = w->now;
        push(w, (struct event){
                    .at = w->now + delay,
                    .kind = to == WORLD_GATEWAY ? EVENT_GATEWAY : EVENT_ARRIVE,
                    .node = to,
                    .packet = p,
                });
    }
}

void world_transmit(struct world *w, int from, int to, int64_t sent, const struct msg *msg)
{
    struct packet p = {.sent = sent};

    if (msg != NULL)
        p.msg = *msg;
    transmit(w, from, to, &p);
}

void world_access(struct world *w, const struct node *n, const struct lease_register *access)
{
    struct packet p = {
        .sent = access->sent.ms, .access = access->type, .lease = lease_index(access->lease)};

    transmit(w, n->index, WORLD_GATEWAY, &p);
}

void world_forget(struct world *w, int lease)
{
    w->named[lease] = -1;
}

/* To answer an echo request it must know who has the address: it asks, and whose kernel answers for
 * it is named. */
static void gateway_read(struct world *w, const struct packet *p)
{
    struct packet reply = {.sent = p->sent, .access = p->access, .lease = p->lease};

    if (w->named[p->lease] < 0)
        w->named[p->lease] = world_holder(w, p->lease);
    /* An echo of what another has sent is nobody's answer. */
    if (w->named[p->lease] == p->from)
        transmit(w, WORLD_GATEWAY, p->from, &reply);
}

static void gateway(struct world *w, const struct packet *p)
{
    struct packet answer = {.sent = p->sent, .access = p->access, .lease = p->lease};

    if (p->access == LEASE_REGISTER_WRITE) {
        w->named[p->lease] = p->from;
        transmit(w, WORLD_GATEWAY, p->from, &answer);
    } else if (p->access == LEASE_REGISTER_READ)
        gateway_read(w, p);
    else
        world_transmit(w, WORLD_GATEWAY, p->from, p->sent, NULL);
}

static void arrive(struct world *w, struct event *e)
{
    struct node *n = &w->nodes[e->node];

    if (!n->running || n->inbox_count == INBOX_MAX) {
        free(e->packet);
        return;
    }
    n->inbox[(n->inbox_first + n->inbox_count++) % INBOX_MAX] = e->packet;
    world_run_at(w, n, w->now);
}

static void gossip(struct world *w, int node)
{
    const struct node *n = &w->nodes[node];
    int to = (int)rng_below(&w->rng, (uint64_t)w->config.nodes);

    if (n->running && w->now >= n->stopped_until && to != node)
        world_transmit(w, node, to, 0, NULL);
    push(w, (struct event){.at = w->now + GOSSIP_US, .kind = EVENT_GOSSIP, .node = node});
}

/* ---- lives ---- */

static void tell_wish(struct world *w, struct node *n, int lease)
{
    const struct world_wish *wish = &n->wishes[lease];

    world_tell(w, n,
               (struct leases_event){
                   .type = wish->wanted ? LEASES_WANT : LEASES_UNWANT,
                   .lease = lease_id(lease),
                   .kind = wish->kind,
                   .mode = wish->mode,
                   .rank = wish->rank,
               });
}

static void end_agent(struct node *n)
{
    leases_destroy(n->leases);
    n->leases = NULL;
    n->running = false;
    n->life++;
    free(n->taken);
    n->taken = NULL;
    n->clock_read = false;
    for (; n->inbox_count > 0; n->inbox_count--) {
        free(n->inbox[n->inbox_first]);
        n->inbox_first = (n->inbox_first + 1) % INBOX_MAX;
    }
    n->result_count = 0;
    n->persist_due = false;
    n->doing = (struct doing){0};
    n->stopped_until = 0;
    n->run_at = INT64_MAX;
}

static uint32_t shortest_term(struct world *w)
{
    static const uint32_t terms[] = {125, 250, 500, 1000, 2000, 4000};

    return w->config.terms_differ ? terms[rng_below(&w->rng, 6)] : w->config.term_min_ms;
}

static void start_agent(struct world *w, struct node *n)
{
    struct leases_config config = {
        .self = id_of(n->index),
        .boot = ++n->boot,
        .seed = rng_next(&w->rng),
        .term_min_ms = shortest_term(w),
        .calm_ms = w->config.calm_ms,
        .first_since_boot = n->booted,
        .voters = n->disk_voters,
    };
    mono_t now = to_mono(world_local_us(w, n));

    n->life++;
    n->started = w->now;
    memset(n->lives, 0, sizeof n->lives);
    n->running = true;
    n->booted = false;
    n->heard = w->now;
    n->leases = leases_create(&config, now);
    assert(n->leases != NULL);
    world_trace(w, "n%d agent starts, boot %u%s", n->index, (unsigned)n->boot,
                n->have_record ? ", with a record" : "");
    if (n->have_record) {
        leases_import(n->leases, now, &n->record, &n->out);
        agent_imported(w, n);
    }
    for (int i = 0; i < WORLD_LEASES; i++)
        tell_wish(w, n, i);
    if (w->config.register_kept)
        world_tell(w, n, (struct leases_event){.type = LEASES_REGISTER, .on = true});
    if (n->drained)
        world_tell(w, n, (struct leases_event){.type = LEASES_DRAIN, .on = true});
    world_run_at(w, n, w->now);
}

static void start_later(struct world *w, struct node *n, int64_t us)
{
    push(w,
         (struct event){.at = w->now + us, .kind = EVENT_START, .node = n->index, .life = n->life});
}

void world_stop(struct world *w, int node, int64_t us)
{
    struct node *n = &w->nodes[node];

    if (!n->running || !agent_may_stop(n) || w->now + us <= n->stopped_until)
        return;
    world_trace(w, "n%d stops for %.1f ms", node, (double)us / 1e3);
    n->stopped_until = w->now + us;
}

void world_kill(struct world *w, int node, int64_t restart_after_us, bool keep_record)
{
    struct node *n = &w->nodes[node];

    if (!n->running || !agent_may_stop(n))
        return;
    world_trace(w, "n%d agent killed", node);
    end_agent(n);
    n->have_record = n->have_record && keep_record;
    start_later(w, n, restart_after_us);
}

void world_reboot(struct world *w, int node, int64_t off_us, int64_t boot_us)
{
    struct node *n = &w->nodes[node];

    world_trace(w, "n%d machine off", node);
    if (n->running)
        end_agent(n);
    n->life++; /* a start that was due does not happen */
    n->booted = true;
    n->have_record = false;
    n->born = w->now + off_us;
    for (int i = 0; i < WORLD_LEASES; i++)
        n->fences[i].open_until = w->now;
    start_later(w, n, off_us + boot_us);
}

void world_wake_all(struct world *w)
{
    for (int i = 0; i < w->config.nodes; i++) {
        struct node *n = &w->nodes[i];
        n->persist_fails = false;
        n->stopped_until = 0;
        n->run_at = INT64_MAX;
        if (n->running)
            world_run_at(w, n, w->now);
        world_drain(w, i, false);
    }
}

void world_persist_fails(struct world *w, int node, bool fails)
{
    w->nodes[node].persist_fails = fails;
}

void world_stops(struct world *w, int per_million)
{
    w->config.stop_per_million = per_million;
}

void world_wish(struct world *w, int node, int lease, struct world_wish wish)
{
    w->nodes[node].wishes[lease] = wish;
    tell_wish(w, &w->nodes[node], lease);
}

void world_move(struct world *w, int lease, int to)
{
    int from = world_holder(w, lease);

    if (from < 0 || from == to)
        return;
    world_trace(w, "n%d is told to move %d to n%d", from, lease, to);
    world_tell(
        w, &w->nodes[from],
        (struct leases_event){.type = LEASES_MOVE, .lease = lease_id(lease), .to = id_of(to)});
}

void world_drain(struct world *w, int node, bool on)
{
    if (w->nodes[node].drained == on)
        return;
    world_trace(w, "n%d drains: %d", node, on);
    w->nodes[node].drained = on;
    world_tell(w, &w->nodes[node], (struct leases_event){.type = LEASES_DRAIN, .on = on});
}

void world_adopt(struct world *w, int node, const struct voter_set *set)
{
    struct node *n = &w->nodes[node];

    if (!voters_adopt(&n->disk_voters, set))
        return;
    n->disk_voters = *set;
    world_trace(w, "n%d adopts set %u of %d", node, (unsigned)set->number, set->count);
    world_tell(w, n, (struct leases_event){.type = LEASES_VOTERS, .voters = &n->disk_voters});
}

uint32_t world_adopted(const struct world *w, int node)
{
    const struct node *n = &w->nodes[node];
    return n->running ? leases_voters_number(n->leases) : 0;
}

/* ---- the world ---- */

struct world *world_create(const struct world_config *config, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);

    assert(w != NULL && config->nodes <= WORLD_NODES_MAX);
    w->config = *config;
    rng_seed(&w->rng, seed);
    w->delay_us = 3 * MS;
    memset(w->links, 1, sizeof w->links);
    memset(w->named, -1, sizeof w->named);
    for (int i = 0; i < config->nodes; i++) {
        struct node *n = &w->nodes[i];
        n->index = i;
        n->ppm = rng_range(&w->rng, -200, 200);
        n->born = -(int64_t)rng_below(&w->rng, 3600) * 1000000;
        n->booted = true;
        n->run_at = INT64_MAX;
        n->disk_voters = config->voters;
        start_later(w, n, (int64_t)rng_below(&w->rng, 2000 * MS));
        push(w, (struct event){.at = 1, .kind = EVENT_GOSSIP, .node = i});
    }
    return w;
}

void world_destroy(struct world *w)
{
    for (int i = 0; i < w->config.nodes; i++)
        if (w->nodes[i].running)
            end_agent(&w->nodes[i]);
    while (w->events > 0)
        free(pop(w).packet);
    free(w);
}

static void happen(struct world *w, struct event *e)
{
    struct node *n = &w->nodes[e->node < WORLD_NODES_MAX ? e->node : 0];

    switch (e->kind) {
    case EVENT_RUN:
        if (e->life == n->life && e->at == n->run_at)
            agent_run(w, n);
        break;
    case EVENT_ARRIVE:
        arrive(w, e);
        break;
    case EVENT_START:
        if (e->life == n->life)
            start_agent(w, n);
        break;
    case EVENT_GATEWAY:
        gateway(w, e->packet);
        free(e->packet);
        break;
    case EVENT_GOSSIP:
        gossip(w, e->node);
        break;
    }
}

bool world_run(struct world *w, int64_t until)
{
    while (w->events > 0 && w->heap[0].at <= until && w->failure[0] == '\0') {
        struct event e = pop(w);
        w->now = e.at;
        happen(w, &e);
    }
    if (w->failure[0] == '\0')
        w->now = until;
    return w->failure[0] == '\0';
}

const char *world_failure(const struct world *w)
{
    return w->failure;
}

int64_t world_now(const struct world *w)
{
    return w->now;
}

struct rng *world_rng(struct world *w)
{
    return &w->rng;
}

const struct world_stats *world_stats(const struct world *w)
{
    return &w->stats;
}
