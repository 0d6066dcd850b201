/* Evidence: unanswered probes, verdicts, and what ends a doubt. */
#include <assert.h>
#include <string.h>

#include "proto/member/machine.h"

#define RELAYS_PER_TRY 3 /* SWIM: k */
#define WAIT_PERIODS 3   /* for the verdict of others, then this node probes itself */
#define DEAD_PCT 75      /* of the evidence is enough when another has come to the verdict */
#define RELAYS_AFTER 4   /* unanswered probes, and again after so many more */
/* Over TCP after so many unanswered probes, before anybody is told of the doubt, and with every
 * fourth: what is lost TCP repeats by itself. */
#define STREAM_AFTER 3
#define STREAM_EVERY 4
#define STREAMED_MAX 3   /* so often alive over TCP alone: datagrams do not come through */
#define GAP_TIMES 2      /* verdicts outlast such silences in a row, */
#define GAP_MORE_MS 2000 /* and longer ones: a probe sees only a part of a silence */

bool out_has_room(const struct membership *m, size_t sends)
{
    return m->out->send_count + sends <= MEMBERSHIP_SENDS_MAX &&
           m->out->change_count + 2 <= MEMBERSHIP_CHANGES_MAX;
}

/* A message without updates; NULL when there is no address or no room. */
struct membership_send *send_begin(struct membership *m, uint8_t type, node_id to,
                                   const struct addr *addr)
{
    struct membership_send *s;

    if (addr->family == 0 || m->out->send_count == MEMBERSHIP_SENDS_MAX)
        return NULL;
    s = &m->out->sends[m->out->send_count++];
    s->to = to;
    s->addr = *addr;
    s->stream = false;
    s->msg.type = type;
    s->msg.probe.sequence = 0;
    s->msg.probe.target = NODE_NONE;
    s->msg.probe.address = (struct addr){0};
    s->msg.probe.root = m->root;
    s->msg.probe.update_count = 0;
    return s;
}

struct membership_send *send_begin_stream(struct membership *m, uint8_t type,
                                          const struct member *p)
{
    struct addr any = {.family = 4}; /* the link may know an address that this table does not */
    struct membership_send *s = send_begin(m, type, p->id, p->addr.family != 0 ? &p->addr : &any);

    if (s == NULL)
        return NULL;
    s->addr = p->addr;
    s->stream = true;
    return s;
}

static uint32_t next_sequence(struct membership *m)
{
    return (uint32_t)m->sequence++ << 16 | (uint16_t)m->now.ms;
}

static uint16_t clamp(uint32_t v, uint32_t low, uint32_t high)
{
    return (uint16_t)(v < low ? low : v > high ? high : v);
}

struct doubt *doubt_of(struct membership *m, const struct member *p)
{
    return p->doubt == NO_DOUBT ? NULL : &m->doubts[p->doubt];
}

/* NULL when there are too many. A doubt that probes is due at once; one that waits for others is
 * due when they should long have come to a verdict. */
struct doubt *doubt_begin(struct membership *m, struct member *p, bool probing)
{
    uint32_t period = m->config.period_ms;
    uint32_t stretch = 1 + m->health;
    struct doubt *d;

    assert(p->doubt == NO_DOUBT);
    if (m->doubt_count == m->doubt_max)
        return NULL;
    p->doubt = (uint16_t)m->doubt_count;
    d = &m->doubts[m->doubt_count++];
    memset(d, 0, sizeof *d);
    d->member = table_slot(m, p);
    d->probing = probing;
    d->needed = path_needed(p);
    d->began = m->now;
    d->interval = clamp(clamp(path_rto(m, p) / 3, period * 12 / 100, period / 2) * stretch, 1,
                        10 * period > 60000 ? 60000 : 10 * period);
    d->next = probing ? m->now : mono_add(m->now, WAIT_PERIODS * (int64_t)period);
    return d;
}

void doubt_close(struct membership *m, struct member *p)
{
    struct doubt *d = doubt_of(m, p);

    if (d == NULL)
        return;
    if (d->accused)
        gossip_withdraw(m, p->id);
    m->doubt_count--;
    if (p->doubt != m->doubt_count) {
        *d = m->doubts[m->doubt_count];
        m->slots[d->member].doubt = p->doubt;
    }
    p->doubt = NO_DOUBT;
    p->due = mono_add(m->now, m->config.period_ms);
}

void doubt_add_accuser(struct doubt *d, node_id accuser)
{
    for (size_t i = 0; i < d->accuser_count; i++)
        if (node_id_equal(d->accusers[i], accuser))
            return;
    if (d->accuser_count < ACCUSERS_MAX)
        d->accusers[d->accuser_count++] = accuser;
}

/* How many others could confirm a suspicion: Lifeguard's K, less in a small flock. */
static size_t confirmers(const struct membership *m)
{
    size_t able = 0;

    for (size_t i = 0; i < m->count && able < 3; i++) {
        const struct member *p = &m->slots[m->order[i]];
        if (p->state == MEMBER_ALIVE && p->doubt == NO_DOUBT)
            able++;
    }
    return able;
}

/* Probes before the verdict, all others confirming. */
static unsigned probes_minimum(const struct membership *m, const struct doubt *d)
{
    uint32_t gap = path_silence(m, &m->slots[d->member]);
    unsigned by_gap = gap == 0 ? 0 : (GAP_TIMES * gap + GAP_MORE_MS) / d->interval;

    return by_gap > d->needed ? by_gap : d->needed;
}

/* Lifeguard: from twice the minimum, without confirmation, down to the minimum with all of them, by
 * log(C + 1) / log(K + 1). Nobody able to confirm: the minimum. */
unsigned probes_goal(const struct membership *m, const struct doubt *d)
{
    static const uint8_t share[4][4] = {/* per cent, by K and C */
                                        {100, 100, 100, 100},
                                        {0, 100, 100, 100},
                                        {0, 63, 100, 100},
                                        {0, 50, 79, 100}};
    unsigned minimum = probes_minimum(m, d);
    size_t k = confirmers(m);
    size_t c = d->accuser_count < 3 ? d->accuser_count : 3;

    if (d->told_dead)
        return minimum * DEAD_PCT / 100;
    if (m->slots[d->member].state == MEMBER_UNKNOWN)
        return minimum;
    return 2u * minimum - minimum * share[k][c] / 100u;
}

static void send_probe(struct membership *m, struct doubt *d)
{
    struct member *p = &m->slots[d->member];
    struct membership_send *s = send_begin(m, MSG_PING, p->id, &p->addr);

    if (s == NULL)
        return;
    s->msg.probe.sequence = next_sequence(m);
    gossip_attach(m, s, p);
}

void probe_by_stream(struct membership *m, struct member *p)
{
    struct membership_send *s = m->config.streams ? send_begin_stream(m, MSG_PING, p) : NULL;

    if (s == NULL)
        return;
    s->msg.probe.sequence = next_sequence(m);
    gossip_attach(m, s, p);
}

bool probe_path_cut(const struct member *p)
{
    return p->streamed >= STREAMED_MAX;
}

static void ask_relays(struct membership *m, struct doubt *d)
{
    struct member *p = &m->slots[d->member];
    struct member *relays[RELAYS_PER_TRY];
    size_t n = table_pick(m, p, RELAYS_PER_TRY, relays);

    for (size_t i = 0; i < n; i++) {
        struct membership_send *s = send_begin(m, MSG_PING_REQ, relays[i]->id, &relays[i]->addr);
        if (s == NULL)
            continue;
        s->msg.probe.sequence = next_sequence(m);
        s->msg.probe.target = p->id;
        s->msg.probe.address = p->addr;
        gossip_attach(m, s, relays[i]);
        d->relays_asked = true;
    }
}

static void accuse(struct membership *m, struct doubt *d)
{
    struct member *p = &m->slots[d->member];

    gossip_make(m, MSG_SUSPECT, p->id, p->incarnation, &d->accusation);
    gossip_announce(m, &d->accusation);
    d->accused = true;
    table_set_state(m, p, MEMBER_SUSPECT);
}

static void raise_health(struct membership *m)
{
    if (m->health < HEALTH_MAX)
        m->health++;
}

/* The member has not answered: it is dead. Nobody is told who told us, nor of one that never was
 * heard of. */
static void conclude(struct membership *m, struct doubt *d)
{
    struct member *p = &m->slots[d->member];
    bool public = p->state == MEMBER_SUSPECT && !d->told_dead;
    struct msg_update u;

    if (d->relays_asked && !d->relays_answered)
        raise_health(m); /* nobody answers: the trouble may be here */
    doubt_close(m, p);
    table_set_state(m, p, MEMBER_DEAD);
    if (public) {
        gossip_make(m, MSG_DEAD, p->id, p->incarnation, &u);
        gossip_announce(m, &u);
    }
}

/* Halfway to the verdict the flock is told. In a large one, where this costs everybody something,
 * not before plain loss is out of the question. */
static unsigned probes_to_accuse(const struct membership *m, const struct doubt *d,
                                 unsigned minimum)
{
    unsigned by_loss = d->needed * 3u / 2u;

    if (table_eager(m) || minimum / 2 >= by_loss)
        return minimum / 2;
    return by_loss < minimum ? by_loss : minimum;
}

/* What another says is confirmed earlier, unless enough others did. */
static bool should_accuse(const struct membership *m, const struct doubt *d)
{
    unsigned minimum = probes_minimum(m, d);
    uint8_t state = m->slots[d->member].state;

    if (d->accused || state == MEMBER_UNKNOWN)
        return false;
    if (state == MEMBER_SUSPECT)
        return d->probes >= minimum / 4 && d->accuser_count < confirmers(m);
    return d->probes >= probes_to_accuse(m, d, minimum);
}

static void doubt_tick(struct membership *m, struct doubt *d)
{
    struct member *p = &m->slots[d->member];
    unsigned goal;

    d->probing = true;
    if (should_accuse(m, d))
        accuse(m, d);
    goal = probes_goal(m, d);
    if (d->probes >= goal) {
        conclude(m, d);
        return;
    }
    send_probe(m, d);
    d->probes++;
    if (d->probes % STREAM_EVERY == (probe_path_cut(p) ? 1 : STREAM_AFTER))
        probe_by_stream(m, p);
    if (d->probes % RELAYS_AFTER == 0)
        ask_relays(m, d);
    d->next = mono_add(m->now, d->interval);
    if (d->probes >= goal && path_rto(m, p) > d->interval)
        d->next = mono_add(m->now, path_rto(m, p));
}

void doubts_tick(struct membership *m)
{
    /* Backwards: a verdict moves the last doubt into the place of the one that ends. */
    for (size_t i = m->doubt_count; i-- > 0;)
        if (mono_reached(m->now, m->doubts[i].next) && out_has_room(m, 2 + RELAYS_PER_TRY))
            doubt_tick(m, &m->doubts[i]);
}

/* This process stood still: answers may wait unread, so evidence counts for less. */
void doubts_after_pause(struct membership *m, int64_t late)
{
    raise_health(m);
    for (size_t i = 0; i < m->doubt_count; i++) {
        struct doubt *d = &m->doubts[i];
        d->probes = late > 2 * (int64_t)m->config.period_ms ? 0 : d->probes / 2;
        d->next = mono_add(m->now, d->probing ? 0 : d->interval);
    }
}

/* Which ways to @p are open. Over TCP it counts only if datagrams were waited for in vain. */
static void note_path(const struct membership *m, struct member *p, enum proof by)
{
    const struct doubt *d = p->doubt == NO_DOUBT ? NULL : &m->doubts[p->doubt];

    if (by != BY_RELAY) {
        p->relayed = 0;
        p->heard = m->now;
    }
    if (by == BY_DATAGRAM)
        p->streamed = 0;
    else if (by == BY_STREAM && d != NULL && d->probes > 0 && p->streamed < UINT8_MAX)
        p->streamed++;
    else if (by == BY_RELAY && d != NULL && p->relayed < UINT8_MAX)
        p->relayed++;
}

/* Any authenticated packet ends a doubt, also late ones. What the flock was told of it is
 * withdrawn, and the member shall refute it for those who heard. */
void probe_heard(struct membership *m, struct member *p, enum proof by, const struct addr *addr)
{
    struct doubt *d = doubt_of(m, p);
    bool mistrusted = p->state == MEMBER_SUSPECT || p->state == MEMBER_DEAD;
    bool returns = p->state == MEMBER_UNKNOWN || p->state == MEMBER_DEAD;

    note_path(m, p, by);
    if (by == BY_DATAGRAM)
        table_set_addr(m, p, addr);
    if (by != BY_RELAY)
        relays_heard(m, p);
    else if (d != NULL)
        d->relays_answered = true;
    if (d != NULL)
        path_answered(m, p, d, by);
    doubt_close(m, p);
    if (p->state == MEMBER_LEFT)
        return; /* its last packets may overtake its good-bye */
    if (mistrusted)
        p->flags |= FLAG_TELL;
    table_set_state(m, p, MEMBER_ALIVE);
    if (returns && by == BY_DATAGRAM)
        gossip_tell_gone(m, p);
}
