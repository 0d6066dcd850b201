/* Updates: made, announced, passed on, refuted. */
#include <assert.h>
#include <string.h>

#include "proto/member/machine.h"

#define GOSSIP_MS 100 /* between rounds of gossip while there is something to tell */
#define GOSSIP_FANOUT 3
/* Packets that carry a rumour on: so many, one per doubling of the flock, and some more for a
 * death, which nobody repeats later. */
#define SENDS_BASE 2
#define SENDS_DEATH 4
#define REMIND_MS 2500 /* between reminders of members that are gone */
#define FRESH_MS 500   /* heard directly so lately, an accusation is not believed */
#define HEARD_LATELY_MS 2000
#define OWN_ROUNDS 5

/* Further ahead than this, an accusation with a later boot number than ours is a lie: whoever makes
 * it cannot prove it, and an id must not be driven to the end of its numbers. */
#define BOOT_JUMP_MAX (1u << 20)

/* When own updates are repeated, in milliseconds after the first time. A refutation spans three
 * seconds, so that no burst of loss takes all copies. */
static const uint16_t alive_rounds[OWN_ROUNDS] = {0, 300, 1000, 2000, 3200};
static const uint16_t other_rounds[OWN_ROUNDS] = {0, 150, 400, UINT16_MAX, UINT16_MAX};
static const uint16_t left_rounds[OWN_ROUNDS] = {0, 100, 200, UINT16_MAX, UINT16_MAX};

static const uint16_t *rounds_of(const struct msg_update *u)
{
    if (u->kind == MSG_ALIVE)
        return alive_rounds;
    return u->kind == MSG_LEFT ? left_rounds : other_rounds;
}

void gossip_make(struct membership *m, uint8_t kind, node_id subject, uint64_t incarnation,
                 struct msg_update *u)
{
    memset(u, 0, sizeof *u);
    u->kind = kind;
    u->subject = subject;
    u->author = m->config.self;
    u->incarnation = incarnation;
    if (kind == MSG_ALIVE)
        u->addr = m->config.addr;
    if (m->config.sign != NULL)
        m->config.sign(m->config.sign_ctx, u);
}

static bool is_gone(const struct member *p)
{
    return p->state == MEMBER_DEAD || p->state == MEMBER_LEFT;
}

static uint8_t sends_limit(const struct membership *m, const struct msg_update *u)
{
    uint8_t sends = u->kind == MSG_DEAD ? SENDS_BASE + SENDS_DEATH : SENDS_BASE;

    for (size_t n = m->present + 1; n > 0; n /= 2)
        sends++;
    return sends;
}

/* Of one subject the latest word is kept; suspicions of the same incarnation by different authors
 * stand beside each other, because each counts. */
static bool replaces(const struct msg_update *new, const struct msg_update *old)
{
    if (!node_id_equal(new->subject, old->subject))
        return false;
    if (new->kind == MSG_SUSPECT && old->kind == MSG_SUSPECT &&new->incarnation == old->incarnation)
        return node_id_equal(new->author, old->author);
    return true;
}

static bool has_sends(const struct rumour *r)
{
    return r->update.kind != 0 && r->sends_left > 0;
}

/* All changes of a rumour come by here: how many are to be sent, and when, is asked with each
 * packet. */
static void rumour_set(struct membership *m, struct rumour *r, const struct rumour *to)
{
    m->rumours_left -= has_sends(r);
    *r = *to;
    m->rumours_left += has_sends(r);
    if (r->own)
        m->announce_next = mono_min(m->announce_next, r->next);
}

static void rumour_drop(struct membership *m, struct rumour *r)
{
    rumour_set(m, r, &(struct rumour){0});
}

/* The slot for @u: a free one, else that of the rumour which is nearest to its end. What @u makes
 * stale is dropped. */
static struct rumour *rumour_slot(struct membership *m, const struct msg_update *u)
{
    struct rumour *slot = &m->rumours[0];

    for (size_t i = 0; i < RUMOURS_MAX; i++) {
        struct rumour *r = &m->rumours[i];
        if (r->update.kind != 0 && replaces(u, &r->update))
            rumour_drop(m, r);
        if (!r->own && (slot->own || r->sends_left < slot->sends_left))
            slot = r;
    }
    return slot;
}

static void pass_on(struct membership *m, const struct msg_update *u)
{
    struct rumour rumour = {.update = *u, .sends_left = sends_limit(m, u)};

    rumour_set(m, rumour_slot(m, u), &rumour);
    if (!table_eager(m) && mono_is_never(m->gossip_next))
        m->gossip_next = m->now;
}

void gossip_announce(struct membership *m, const struct msg_update *u)
{
    struct rumour rumour = {.update = *u, .own = true, .next = m->now};

    rumour_set(m, rumour_slot(m, u), &rumour);
}

/* Own words against @subject are not repeated any more. */
void gossip_withdraw(struct membership *m, node_id subject)
{
    for (size_t i = 0; i < RUMOURS_MAX; i++) {
        struct rumour *r = &m->rumours[i];
        if (node_id_equal(r->update.subject, subject) && r->update.kind != MSG_ALIVE &&
            node_id_equal(r->update.author, m->config.self))
            rumour_drop(m, r);
    }
}

void gossip_clear(struct membership *m)
{
    for (size_t i = 0; i < RUMOURS_MAX; i++)
        rumour_drop(m, &m->rumours[i]);
}

/* Nothing about @id, nor from it, is passed on. */
void gossip_forget(struct membership *m, node_id id)
{
    for (size_t i = 0; i < RUMOURS_MAX; i++) {
        struct rumour *r = &m->rumours[i];
        if (node_id_equal(r->update.subject, id) || node_id_equal(r->update.author, id))
            rumour_drop(m, r);
    }
    for (size_t i = 0; i < m->doubt_count; i++)
        if (node_id_equal(m->doubts[i].accusation.author, id))
            m->doubts[i].accusation.kind = 0;
}

static void add_update(struct membership_send *s, const struct msg_update *u)
{
    struct msg_probe *probe = &s->msg.probe;

    assert(probe->update_count < MSG_UPDATES_MAX);
    probe->updates[probe->update_count++] = *u;
}

/* Now and then a probe carries the name of a member that is gone: who missed all that was said
 * about it, and never probes it, would think it alive for ever. Who wrongly thinks it gone is
 * corrected by the member itself in the end. */
static void remind_of_gone(struct membership *m, struct membership_send *s)
{
    struct msg_update u;

    if (m->gone == 0 || !mono_reached(m->now, m->remind_next) ||
        (s->msg.type != MSG_PING && s->msg.type != MSG_ACK))
        return;
    m->remind_next = mono_add(m->now, REMIND_MS);
    for (size_t i = 0; i < m->gone; i++) {
        const struct member *p = &m->slots[m->gone_slots[++m->remind_at % m->gone]];
        if (p->incarnation == 0)
            continue;
        gossip_make(m, MSG_DEAD, p->id, p->incarnation, &u);
        add_update(s, &u);
        return;
    }
}

static void attach_rumours(struct membership *m, struct membership_send *s, const struct member *to)
{
    for (size_t i = 0; i < RUMOURS_MAX && s->msg.probe.update_count < MSG_UPDATES_MAX; i++) {
        struct rumour *r = &m->rumours[i];
        if (!has_sends(r) || node_id_equal(r->update.author, to->id) ||
            node_id_equal(r->update.subject, to->id))
            continue;
        r->sends_left--;
        m->rumours_left -= r->sends_left == 0;
        add_update(s, &r->update);
    }
}

/* Puts in what @to must know: our incarnation, our opinion of it, then rumours. */
void gossip_attach(struct membership *m, struct membership_send *s, struct member *to)
{
    struct doubt *d = doubt_of(m, to);
    struct msg_update u;

    if (to->told < TOLD_ENOUGH && !m->leaving && m->config.addr.family != 0) {
        to->told++;
        add_update(s, &m->self);
    }
    if (d != NULL && d->accusation.kind != 0) {
        add_update(s, &d->accusation);
    } else if (is_gone(to)) {
        gossip_make(m, MSG_DEAD, to->id, to->incarnation, &u);
        add_update(s, &u);
    } else if (to->incarnation == 0 || (to->flags & FLAG_TELL) != 0) {
        gossip_make(m, MSG_SUSPECT, to->id, to->incarnation, &u);
        add_update(s, &u);
    }
    if (m->rumours_left > 0)
        attach_rumours(m, s, to);
    if (to->state == MEMBER_ALIVE && s->msg.probe.update_count < MSG_UPDATES_MAX)
        remind_of_gone(m, s);
}

/* While it was away, or thought us away, nobody told it of the dead. In a large flock it gets some
 * of them from each that it meets. */
void gossip_tell_gone(struct membership *m, const struct member *to)
{
    struct membership_send *s = NULL;
    struct msg_update u;
    size_t start = m->gone == 0 ? 0 : rng_index(&m->rng, m->gone);

    for (size_t i = 0; i < m->gone; i++) {
        const struct member *p = &m->slots[m->gone_slots[(start + i) % m->gone]];
        if (p->incarnation == 0)
            continue;
        if (s == NULL)
            s = send_begin(m, MSG_GOSSIP, to->id, &to->addr);
        if (s == NULL)
            return;
        gossip_make(m, MSG_DEAD, p->id, p->incarnation, &u);
        add_update(s, &u);
        if (s->msg.probe.update_count == MSG_UPDATES_MAX)
            return;
    }
}

/* Takes a new incarnation or address into our own MSG_ALIVE. */
void gossip_renew_self(struct membership *m, uint64_t incarnation, bool announce)
{
    m->incarnation = incarnation;
    gossip_make(m, MSG_ALIVE, m->config.self, incarnation, &m->self);
    for (size_t i = 0; i < m->slots_used; i++)
        m->slots[i].told = 0;
    if (announce && !m->leaving && m->config.addr.family != 0)
        gossip_announce(m, &m->self);
}

/* A word about ourselves. Returns true when its bearer should be answered. */
static bool about_self(struct membership *m, struct member *from, const struct msg_update *u)
{
    uint64_t boot = m->incarnation >> 32;
    struct member *author = table_find(m, u->author);
    bool ours = node_id_equal(u->author, m->config.self);

    if (m->leaving)
        return false;
    if (u->kind == MSG_ALIVE || u->kind == MSG_LEFT) {
        if (!ours || u->incarnation < m->incarnation ||
            (u->kind == MSG_ALIVE && u->incarnation == m->incarnation))
            return false;
    } else if (ours ||
               (u->incarnation >> 32 > boot && (u->incarnation >> 32) - boot > BOOT_JUMP_MAX)) {
        return false;
    }
    if (u->incarnation >= m->incarnation) {
        if (u->incarnation >> 32 > boot)
            m->out->conflict = u->incarnation;
        if (m->health < HEALTH_MAX)
            m->health++; /* Lifeguard: to be suspected is a sign of slowness here */
        gossip_renew_self(m, u->incarnation + 1, true);
    }
    from->told = 0;
    if (author != NULL)
        author->told = 0;
    return true;
}

static void receive_alive(struct membership *m, struct member *p, const struct msg_update *u)
{
    if (u->incarnation <= p->incarnation &&
        (u->incarnation < p->incarnation || p->state != MEMBER_UNKNOWN))
        return;
    if (u->incarnation >> 32 != p->incarnation >> 32) { /* another process: sessions have ended */
        p->flags |= FLAG_WARM;
        table_appeared(m, p);
    }
    p->incarnation = u->incarnation;
    p->flags &= (uint8_t)~FLAG_TELL;
    table_set_addr(m, p, &u->addr);
    doubt_close(m, p);
    table_set_state(m, p, MEMBER_ALIVE);
    pass_on(m, u);
}

static bool heard_within(const struct membership *m, const struct member *p, int64_t ms)
{
    return p->heard.ms != 0 && mono_diff(m->now, p->heard) < ms;
}

static void receive_suspect(struct membership *m, struct member *p, const struct msg_update *u)
{
    struct doubt *d = doubt_of(m, p);

    if (p->state == MEMBER_UNKNOWN || p->state == MEMBER_DEAD || p->state == MEMBER_LEFT)
        return;
    if (u->incarnation < p->incarnation) {
        /* Its author missed a refutation; yet there may be a reason to look. */
        if (d == NULL && !heard_within(m, p, HEARD_LATELY_MS) && table_verifies(m, p))
            doubt_begin(m, p, true);
        return;
    }
    if (heard_within(m, p, FRESH_MS)) {
        p->flags |= FLAG_TELL;
        pass_on(m, u);
        return;
    }
    if (d == NULL)
        d = doubt_begin(m, p, table_verifies(m, p));
    if (d != NULL) {
        size_t known = d->accuser_count;
        doubt_add_accuser(d, u->author);
        if (d->accusation.kind == 0)
            d->accusation = *u;
        table_set_state(m, p, MEMBER_SUSPECT);
        if (d->accuser_count == known)
            return; /* heard before */
    }
    pass_on(m, u);
}

/* Who probes the member itself takes the word of another for a part of the evidence; who does not,
 * because the flock is large, takes it for the whole, unless it heard from the member lately. */
static void receive_dead(struct membership *m, struct member *p, const struct msg_update *u)
{
    struct doubt *d;

    if (p->state == MEMBER_DEAD || p->state == MEMBER_LEFT || p->state == MEMBER_UNKNOWN)
        return;
    if (u->incarnation < p->incarnation || table_verifies(m, p) ||
        heard_within(m, p, HEARD_LATELY_MS)) {
        receive_suspect(m, p, u);
        d = doubt_of(m, p);
        if (d == NULL || u->incarnation < p->incarnation)
            return;
        d->told_dead = true;
        if (!d->probing) { /* we alone heard it lately: nobody else will tell us */
            d->probing = true;
            d->next = m->now;
        }
        if (d->probes < probes_goal(m, d))
            return;
    }
    doubt_close(m, p);
    table_set_state(m, p, MEMBER_DEAD);
    pass_on(m, u);
}

static void receive_left(struct membership *m, struct member *p, const struct msg_update *u)
{
    if (u->incarnation < p->incarnation || p->state == MEMBER_LEFT)
        return;
    p->incarnation = u->incarnation;
    doubt_close(m, p);
    table_set_state(m, p, MEMBER_LEFT);
    pass_on(m, u);
}

bool gossip_receive(struct membership *m, struct member *from, const struct msg_update *u)
{
    bool by_subject = node_id_equal(u->subject, u->author);
    struct member *p;

    if (node_id_equal(u->subject, m->config.self))
        return about_self(m, from, u);
    p = table_find(m, u->subject);
    if (p == NULL || table_find(m, u->author) == NULL)
        return false;
    if (by_subject != (u->kind == MSG_ALIVE || u->kind == MSG_LEFT))
        return false;
    if (u->kind == MSG_ALIVE)
        receive_alive(m, p, u);
    else if (u->kind == MSG_SUSPECT)
        receive_suspect(m, p, u);
    else if (u->kind == MSG_DEAD)
        receive_dead(m, p, u);
    else
        receive_left(m, p, u);
    return false;
}

static void next_round(struct membership *m, struct rumour *r)
{
    const uint16_t *rounds = rounds_of(&r->update);
    uint16_t at = rounds[r->round];

    struct rumour next = *r;

    next.round++;
    next.own = next.round < OWN_ROUNDS && rounds[next.round] != UINT16_MAX;
    if (next.own)
        next.next = mono_add(m->now, rounds[next.round] - at);
    if (!next.own || !table_eager(m))
        next.sends_left = sends_limit(m, &r->update);
    rumour_set(m, r, &next);
}

/* To every member, gone ones too when it concerns them: one message with all that is due. */
static void broadcast(struct membership *m, struct rumour **due, size_t due_count)
{
    for (size_t i = 0; i < m->count; i++) {
        struct member *p = &m->slots[m->order[i]];
        struct membership_send *s = NULL;
        for (size_t k = 0; k < due_count; k++) {
            const struct msg_update *u = &due[k]->update;
            if (is_gone(p) && u->kind != MSG_ALIVE)
                continue;
            if (s == NULL)
                s = probe_path_cut(p) ? send_begin_stream(m, MSG_GOSSIP, p)
                                      : send_begin(m, MSG_GOSSIP, p->id, &p->addr);
            if (s != NULL)
                add_update(s, u);
        }
    }
}

static void announce_tick(struct membership *m)
{
    struct rumour *due[MSG_UPDATES_MAX];
    size_t due_count = 0;

    if (!mono_reached(m->now, m->announce_next) || (table_eager(m) && !out_has_room(m, m->count)))
        return;
    for (size_t i = 0; i < RUMOURS_MAX && due_count < MSG_UPDATES_MAX; i++)
        if (m->rumours[i].own && mono_reached(m->now, m->rumours[i].next))
            due[due_count++] = &m->rumours[i];
    if (due_count > 0 && table_eager(m))
        broadcast(m, due, due_count);
    for (size_t k = 0; k < due_count; k++)
        next_round(m, due[k]);
    if (due_count > 0 && !table_eager(m) && mono_is_never(m->gossip_next))
        m->gossip_next = m->now;
    m->announce_next = MONO_NEVER;
    for (size_t i = 0; i < RUMOURS_MAX; i++)
        if (m->rumours[i].own)
            m->announce_next = mono_min(m->announce_next, m->rumours[i].next);
}

/* Rumour mongering in a flock that is too large to tell everybody. */
static void mongering_tick(struct membership *m)
{
    struct member *to[GOSSIP_FANOUT];
    size_t n;

    m->gossip_next = MONO_NEVER;
    if (m->rumours_left == 0)
        return;
    m->gossip_next = mono_add(m->now, GOSSIP_MS);
    n = table_pick(m, NULL, GOSSIP_FANOUT, to);
    for (size_t i = 0; i < n; i++) {
        struct membership_send *s = send_begin(m, MSG_GOSSIP, to[i]->id, &to[i]->addr);
        if (s == NULL)
            continue;
        gossip_attach(m, s, to[i]);
        if (s->msg.probe.update_count == 0)
            m->out->send_count--; /* it is the last one */
    }
}

void gossip_tick(struct membership *m)
{
    announce_tick(m);
    if (!table_eager(m) && mono_reached(m->now, m->gossip_next) && out_has_room(m, GOSSIP_FANOUT))
        mongering_tick(m);
}

mono_t gossip_deadline(const struct membership *m)
{
    return table_eager(m) ? m->announce_next : mono_min(m->announce_next, m->gossip_next);
}
