/* An agent of the lease world: its loop in small steps, each of which may be the last before a
 * stop, and the kernel's fences, where the invariant is checked. */
#include "tests/sim/lease_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP_US 40     /* one step of an agent */
#define OMEGA_US 20000 /* rule 5: an older clock reading does not count */
#define JIFFY_US 10000 /* the kernel's timers are late by up to this */
#define GRAIN_US 5000  /* milliseconds cut off, clock rates, the steps themselves */

/* ---- fences ---- */

static bool open_now(const struct world *w, const struct node *n, int lease)
{
    return n->fences[lease].open_until > w->now;
}

int world_holder(const struct world *w, int lease)
{
    for (int i = 0; i < w->config.nodes; i++)
        if (open_now(w, &w->nodes[i], lease))
            return i;
    return -1;
}

/* G3: two solo leases, each extended after a silence of S (note_solo checks that), at least one
 * claimed after P, neither of them still within a lease that the peer had granted. */
static bool excused(const struct world *w, const struct fence *a, const struct fence *b)
{
    return a->solo && b->solo && (a->claimed || b->claimed) && a->granted_until <= w->now &&
           b->granted_until <= w->now;
}

/* A fence opens only by being written, so no overlap begins anywhere else. */
static void check_overlap(struct world *w, const struct node *n, int lease)
{
    const struct fence *mine = &n->fences[lease];

    for (int i = 0; i < w->config.nodes; i++) {
        const struct fence *f = &w->nodes[i].fences[lease];
        if (i == n->index || !open_now(w, &w->nodes[i], lease) || !open_now(w, n, lease))
            continue;
        if (mine->stale || f->stale)
            w->stats.blinks++;
        else if (excused(w, mine, f))
            w->stats.solo_overlaps++;
        else if (w->failure[0] == '\0')
            snprintf(w->failure, sizeof w->failure,
                     "at %.4f s: n%d and n%d hold lease %d (solo %d %d, claimed %d %d, granted for "
                     "%.1f and %.1f ms more)",
                     (double)w->now / 1e6, n->index, i, lease, mine->solo, f->solo, mine->claimed,
                     f->claimed, (double)(mine->granted_until - w->now) / 1e3,
                     (double)(f->granted_until - w->now) / 1e3);
    }
}

static void write_fence(struct world *w, struct node *n, const struct lease_op *op)
{
    int lease = lease_index(op->lease);
    struct fence *f = &n->fences[lease];
    int64_t left = op->until.ms * MS - n->doing.read;
    int64_t age = world_local_us(w, n) - n->doing.read;

    f->open_until = w->now + world_true_span(n, left) + (int64_t)rng_below(&w->rng, JIFFY_US);
    f->stale = age > OMEGA_US;
    f->solo = n->solo[lease];
    f->claimed = n->claimed[lease];
    if (!f->solo)
        f->granted_until = w->now + world_true_span(n, left - age);
    world_trace(w, "n%d fence %d open for %.1f ms%s%s", n->index, lease,
                (double)(f->open_until - w->now) / 1e3, f->solo ? ", solo" : "",
                f->stale ? ", STALE" : "");
    check_overlap(w, n, lease);
}

/* ---- effects ---- */

static void answer(struct world *w, struct node *n, enum leases_event_type type,
                   const struct lease_op *op)
{
    world_tell(
        w, n,
        (struct leases_event){.type = (uint8_t)type, .lease = op->lease, .number = op->number});
}

/* Rule 5 in three steps: read the clock, write a relative timeout, read again. True: done. */
static bool do_open(struct world *w, struct node *n, const struct lease_op *op)
{
    struct doing *d = &n->doing;
    struct fence *f = &n->fences[lease_index(op->lease)];

    switch (d->phase++) {
    case 0:
        d->read = world_local_us(w, n);
        if (d->read < op->until.ms * MS)
            return false;
        break;
    case 1:
        write_fence(w, n, op);
        return false;
    default:
        if (world_local_us(w, n) - d->read <= OMEGA_US) {
            d->phase = 0;
            answer(w, n, LEASES_OPENED, op);
            return true;
        }
        f->open_until = w->now;
        f->stale = false;
        break;
    }
    d->phase = 0;
    answer(w, n, LEASES_OPEN_FAILED, op);
    return true;
}

static void do_op(struct world *w, struct node *n)
{
    struct doing *d = &n->doing;
    const struct lease_op *op = &n->out.ops[d->op];
    struct fence *f = &n->fences[lease_index(op->lease)];

    if (op->type == LEASE_CLOSE) {
        f->open_until = w->now;
        f->granted_until = w->now;
        f->stale = false;
        world_trace(w, "n%d fence %d closed", n->index, lease_index(op->lease));
        answer(w, n, LEASES_CLOSED, op);
    } else if (d->failed) {
        answer(w, n, LEASES_OPEN_FAILED, op);
    } else if (!do_open(w, n, op)) {
        return;
    }
    d->op++;
}

/* An announcement reaches the gateway too: it is a write. */
static void announce(struct world *w, const struct node *n, uint64_t lease)
{
    struct lease_register write = {.type = LEASE_REGISTER_WRITE, .lease = lease};

    if (n->fences[lease_index(lease)].open_until > w->now)
        world_access(w, n, &write);
}

static void do_changes(struct world *w, struct node *n)
{
    static const char *const names[] = {"", "acquires", "loses", "prepares", "meets", "leaves"};

    for (int i = 0; i < n->out.change_count; i++) {
        const struct lease_change *c = &n->out.changes[i];
        world_trace(w, "n%d %s %d: %s, epoch %llx", n->index, names[c->type], lease_index(c->lease),
                    lease_reason_text(c->reason), (unsigned long long)c->epoch);
        w->stats.acquired += c->type == LEASE_ACQUIRED;
        w->stats.resumed += c->type == LEASE_ACQUIRED && c->reason == LEASE_WHY_RESUMED;
        w->stats.lost[c->reason & 15] += c->type == LEASE_LOST;
        w->stats.defended += c->type == LEASE_DEFENDED;
        if (c->type == LEASE_ACQUIRED || c->type == LEASE_MET)
            announce(w, n, c->lease);
    }
}

/* One effect, or one step of one. */
static void do_effect(struct world *w, struct node *n)
{
    struct doing *d = &n->doing;

    if (!d->persisted) {
        d->persisted = true;
        n->persist_due = n->persist_due || n->out.persist;
        d->failed = n->persist_due && n->persist_fails;
        if (n->persist_due && !d->failed) {
            leases_export(n->leases, to_mono(world_local_us(w, n)), &n->record);
            n->have_record = true;
            n->persist_due = false;
        }
    } else if (d->op < n->out.op_count) {
        do_op(w, n);
    } else if (!d->probed) {
        d->probed = true;
        if (n->out.probe && !d->failed)
            world_transmit(w, n->index, WORLD_GATEWAY, n->out.probe_sent.ms, NULL);
    } else if (d->access < n->out.register_count && !d->failed) {
        const struct lease_register *r = &n->out.registers[d->access++];
        world_access(w, n, r);
        if (r->type == LEASE_REGISTER_WRITE)
            world_tell(w, n, (struct leases_event){.type = LEASES_WROTE, .lease = r->lease});
    } else if (d->send < n->out.send_count && !d->failed) {
        const struct lease_send *s = &n->out.sends[d->send++];
        for (int i = 0; i < s->to_count; i++)
            world_transmit(w, n->index, (int)s->to[i].v - 1, 0, &s->msg);
    } else {
        do_changes(w, n);
        d->busy = false;
    }
}

/* ---- the loop ---- */

/* Where a lease is extended solo, the silence that this rests on must be long enough. */
static void note_solo(struct world *w, struct node *n)
{
    int64_t silence = w->now - n->heard + GRAIN_US;
    int64_t term = (int64_t)leases_term(n->leases) * MS;

    for (int i = 0; i < n->out.op_count; i++) {
        const struct lease_op *op = &n->out.ops[i];
        int lease = lease_index(op->lease);
        struct lease_view v;

        if (op->type != LEASE_OPEN)
            continue;
        if (!leases_get(n->leases, MONO_ZERO, op->lease, &v) || !v.solo) {
            n->solo[lease] = false;
            n->claimed[lease] = false;
            continue;
        }
        n->solo[lease] = true;
        n->claimed[lease] |= silence >= term + 50 * MS;
        if (v.reason != LEASE_WHY_RESUMED && silence < term / 10 * 6 && w->failure[0] == '\0')
            snprintf(w->failure, sizeof w->failure,
                     "at %.4f s: n%d extends lease %d solo, heard the peer %.1f ms ago",
                     (double)w->now / 1e6, n->index, lease, (double)silence / 1e3);
    }
}

void agent_imported(struct world *w, struct node *n)
{
    note_solo(w, n);
    n->doing = (struct doing){.busy = true};
}

static void step(struct world *w, struct node *n, mono_t now, const struct leases_event *ev)
{
    w->stats.steps++;
    leases_step(n->leases, now, ev, &n->out);
    note_solo(w, n);
    n->doing = (struct doing){.busy = true};
}

static void give_packet(struct world *w, struct node *n)
{
    struct packet *p = n->taken;
    struct leases_event ev = {.type = LEASES_MESSAGE, .msg = &p->msg};

    n->taken = NULL;
    n->clock_read = false;
    if (p->from == WORLD_GATEWAY) {
        ev.type = p->access == LEASE_REGISTER_WRITE  ? LEASES_WRITTEN
                  : p->access == LEASE_REGISTER_READ ? LEASES_READ
                                                     : LEASES_GATEWAY;
        ev.lease = lease_id(p->lease);
        ev.sent.ms = p->sent;
    } else {
        ev.from = id_of(p->from);
        if (p->msg.type == 0)
            ev.type = LEASES_HEARD;
        n->heard = n->clock_at;
    }
    step(w, n, to_mono(n->clock), &ev);
    free(p);
}

/* Off the socket and through the channel: a session is of one life of either agent, so a frame of a
 * life that is over, or to one, does not open; and the first of a new life tells of it. */
static void take_packet(struct world *w, struct node *n)
{
    struct packet *p = n->inbox[n->inbox_first];
    bool agent = p->from != WORLD_GATEWAY;

    if (agent && n->lives[p->from] != 0 && p->life > n->lives[p->from])
        world_tell(w, n, (struct leases_event){.type = LEASES_RESTARTED, .from = id_of(p->from)});
    else
        n->taken = p;
    if (agent && p->life > n->lives[p->from])
        n->lives[p->from] = p->life;
    if (n->taken == NULL)
        return; /* the event first */
    n->inbox_first = (n->inbox_first + 1) % INBOX_MAX;
    n->inbox_count--;
    if (agent && (p->life < n->lives[p->from] || p->left < n->started)) {
        free(p);
        n->taken = NULL;
    }
}

static bool timer_due(const struct world *w, const struct node *n)
{
    return mono_reached(to_mono(world_local_us(w, n)), leases_deadline(n->leases));
}

/* One step of the loop; false: nothing to do. */
static bool loop(struct world *w, struct node *n)
{
    static const struct leases_event timer = {.type = LEASES_TIMER};

    if (n->doing.busy) {
        do_effect(w, n);
    } else if (n->taken != NULL && !n->clock_read) {
        n->clock = world_local_us(w, n);
        n->clock_at = w->now;
        n->clock_read = true;
    } else if (n->taken != NULL) {
        give_packet(w, n);
    } else if (n->result_count > 0) {
        struct leases_event ev = n->results[n->result_first];
        n->result_first = (n->result_first + 1) % RESULTS_MAX;
        n->result_count--;
        step(w, n, to_mono(world_local_us(w, n)), &ev);
    } else if (timer_due(w, n) && (w->config.timers_first || n->inbox_count == 0)) {
        step(w, n, to_mono(world_local_us(w, n)), &timer);
    } else if (n->inbox_count > 0) {
        take_packet(w, n);
    } else {
        return false;
    }
    return true;
}

/* Everywhere but between a stale write and the second reading of the clock: two stops around one
 * write are outside the guarantee (docs/vip.md, assumptions). */
bool agent_may_stop(const struct node *n)
{
    if (!n->doing.busy || n->doing.phase != 2)
        return true;
    return !n->fences[lease_index(n->out.ops[n->doing.op].lease)].stale;
}

static void maybe_stop(struct world *w, struct node *n)
{
    static const int64_t longest[] = {30 * MS, 300 * MS, 3000 * MS, 9000 * MS};
    int64_t pause;

    if (!agent_may_stop(n) || (int)rng_below(&w->rng, 1000000) >= w->config.stop_per_million)
        return;
    pause = 1 + (int64_t)rng_below(&w->rng, (uint64_t)longest[rng_below(&w->rng, 4)]);
    world_trace(w, "n%d stops for %.1f ms", n->index, (double)pause / 1e3);
    n->stopped_until = w->now + pause;
}

void agent_run(struct world *w, struct node *n)
{
    int64_t wait;

    n->run_at = INT64_MAX;
    if (!n->running)
        return;
    if (w->now < n->stopped_until) {
        world_run_at(w, n, n->stopped_until);
        return;
    }
    if (loop(w, n)) {
        maybe_stop(w, n);
        world_run_at(w, n, w->now + STEP_US);
        return;
    }
    if (mono_is_never(leases_deadline(n->leases)))
        return;
    wait = leases_deadline(n->leases).ms * MS - world_local_us(w, n);
    world_run_at(w, n, w->now + world_true_span(n, wait) + 1 + (int64_t)rng_below(&w->rng, 2 * MS));
}
