/* Evidence: round-trip times, loss, unanswered probes, verdicts.
 *
 * A probe's sequence number holds the time of sending in its lower 16 bits, so that every answer,
 * however late, measures its own round trip and no table of outstanding probes is needed (as TCP's
 * timestamps, RFC 7323). */
#include <assert.h>
#include <string.h>

#include "proto/member/machine.h"

#define RTO_START_MS 1000 /* before the first measurement (RFC 6298, section 2.1) */
#define RTO_MIN_MS 100
#define RTO_MAX_MS 4000
#define RTT_UNIT 4 /* of struct rtt */
#define RTT_MAX_MS 16000
#define RELAYS_PER_TRY 3 /* SWIM: k */
#define NEEDED_MIN 10
#define NEEDED_MAX 40
#define WAIT_PERIODS 3 /* for the verdict of others, then this node probes itself */
#define DEAD_PCT 75    /* of the evidence is enough when another has come to the verdict */
#define RELAYS_AFTER 4 /* unanswered probes, and again after so many more */
/* How long a silence is taken to be: of one member so that its verdict takes no more than 12 s, of
 * all together less, because one that is hardly reachable must not slow down all verdicts. */
#define GAP_ALL_MAX_MS 1500
#define GAP_MAX_MS 2500
#define GAP_KEEP_S 1800  /* a gap counts in full for so long, */
#define GAP_FADE_S 1800  /* then ever less over this time */
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
    s->msg.type = type;
    s->msg.probe.sequence = 0;
    s->msg.probe.target = NODE_NONE;
    s->msg.probe.address = (struct addr){0};
    s->msg.probe.root = m->root;
    s->msg.probe.update_count = 0;
    return s;
}

static uint32_t next_sequence(struct membership *m)
{
    return (uint32_t)m->sequence++ << 16 | (uint16_t)m->now.ms;
}

static uint32_t rto_of(const struct rtt *r)
{
    uint32_t rto = ((uint32_t)r->smoothed + 4u * r->variation) / RTT_UNIT;

    if (rto < RTO_MIN_MS)
        return RTO_MIN_MS;
    return rto > RTO_MAX_MS ? RTO_MAX_MS : rto;
}

/* One that was not measured is taken to be twice as far as the others. */
uint32_t probe_rto(const struct membership *m, const struct member *p)
{
    if (p->rtt.smoothed > 0)
        return rto_of(&p->rtt);
    return m->rtt.smoothed > 0 ? 2 * rto_of(&m->rtt) : RTO_START_MS;
}

/* RFC 6298, section 2. */
static void rtt_add(struct rtt *r, int rtt)
{
    int smoothed = r->smoothed;
    int variation = r->variation;

    if (smoothed == 0) {
        smoothed = rtt;
        variation = rtt / 2;
    } else {
        int off = smoothed > rtt ? smoothed - rtt : rtt - smoothed;
        variation += (off - variation) / 4;
        smoothed += (rtt - smoothed) / 8;
    }
    r->smoothed = (uint16_t)(smoothed > 0 ? smoothed : 1);
    r->variation = (uint16_t)variation;
}

/* Karn's rule is not needed: an answer names the probe that it answers. */
void probe_measure(struct membership *m, struct member *p, uint32_t sequence)
{
    int rtt = (uint16_t)((uint16_t)m->now.ms - (uint16_t)sequence);

    if (rtt > RTT_MAX_MS)
        return;
    if ((uint32_t)rtt <= probe_rto(m, p) && m->health > 0)
        m->health--;
    rtt_add(&p->rtt, rtt * RTT_UNIT);
    rtt_add(&m->rtt, rtt * RTT_UNIT);
}

static uint16_t smooth(uint16_t loss, bool lost)
{
    unsigned share = loss;

    share += lost ? (LOSS_ONE - share) >> LOSS_SHIFT : 0;
    return (uint16_t)(lost ? share : share - (share >> LOSS_SHIFT));
}

static void sample_loss(struct member *p, unsigned lost)
{
    unsigned samples = p->samples + lost + 1;

    p->samples = (uint8_t)(samples < UINT8_MAX ? samples : UINT8_MAX);
    p->first_loss = smooth(p->first_loss, lost > 0);
    for (unsigned i = 0; i < lost; i++)
        p->loss = smooth(p->loss, true);
    p->loss = smooth(p->loss, false);
}

static uint16_t clamp(uint32_t v, uint32_t low, uint32_t high)
{
    return (uint16_t)(v < low ? low : v > high ? high : v);
}

/* What was measured, without the guess that it began with; 0 before the first measurement. */
uint8_t probe_loss_pct(const struct member *p)
{
    uint32_t guess = LOSS_ONE; /* its weight by now */
    uint32_t measured;

    for (unsigned i = 0; i < p->samples; i++)
        guess -= guess >> LOSS_SHIFT;
    measured = LOSS_PRIOR * guess / LOSS_ONE;
    measured = p->loss > measured ? p->loss - measured : 0;
    return guess == LOSS_ONE ? 0 : (uint8_t)clamp(measured * 100 / (LOSS_ONE - guess), 0, 100);
}

/* Unanswered probes in a row that happen by loss alone with a chance below 3e-7, so that one probe
 * per second errs about once in a thousand hours: ln 3e-7 / ln p, for a share p of lost round
 * trips. */
static uint8_t probes_needed(uint16_t loss)
{
    static const struct {
        uint8_t percent;
        uint8_t probes;
    } steps[] = {{22, NEEDED_MIN}, {25, 11}, {29, 12}, {32, 13}, {34, 14},
                 {37, 15},         {39, 16}, {42, 17}, {45, 19}, {48, 21},
                 {51, 23},         {55, 26}, {59, 29}, {63, 33}, {67, 38}};
    unsigned percent = loss * 100u / LOSS_ONE;

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (percent <= steps[i].percent)
            return steps[i].probes;
    return NEEDED_MAX;
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
    d->needed = probes_needed(p->loss);
    d->began = m->now;
    d->interval = clamp(clamp(probe_rto(m, p) / 3, period * 12 / 100, period / 2) * stretch, 1,
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

static uint32_t seconds(mono_t t)
{
    return (uint32_t)(t.ms / 1000);
}

/* The longest silence lately that ended well, which fades. Radios fall silent for a while, which
 * the share of lost packets does not show. */
static uint32_t gap_now(const struct membership *m, const struct gap *g)
{
    uint32_t age = seconds(m->now) - g->at_s;

    if (age <= GAP_KEEP_S)
        return g->ms;
    age -= GAP_KEEP_S;
    return age >= GAP_FADE_S ? 0 : g->ms * (GAP_FADE_S - age) / GAP_FADE_S;
}

static void gap_add(const struct membership *m, struct gap *g, int64_t ms, int64_t max)
{
    if (ms > max)
        ms = max;
    if (ms >= gap_now(m, g))
        *g = (struct gap){.ms = (uint16_t)ms, .at_s = seconds(m->now)};
}

/* Lost probes in a row that plain loss explains no more: their chance is below 1e-5. First probes
 * alone tell how much plain loss there is; those that follow fall into the same silence. */
static unsigned gap_least(const struct member *p)
{
    static const uint8_t limits[] = {1, 4, 10, 15, 20, 24}; /* per cent: 3, 4, 5 ... probes */
    unsigned percent = p->first_loss * 100u / LOSS_ONE;
    unsigned least = 3;

    for (size_t i = 0; i < sizeof limits && percent > limits[i]; i++)
        least++;
    if (least < 3 + sizeof limits)
        return least;
    return probes_needed(p->first_loss) * 3u / 4u + 1u;
}

static void note_gap(struct membership *m, struct member *p, const struct doubt *d)
{
    int64_t ms = mono_diff(m->now, d->began);

    if (d->probes < gap_least(p))
        return;
    gap_add(m, &p->gap, ms, GAP_MAX_MS);
    gap_add(m, &m->gap, ms, GAP_ALL_MAX_MS);
}

/* Probes before the verdict, all others confirming. */
static unsigned probes_minimum(const struct membership *m, const struct doubt *d)
{
    uint32_t own = gap_now(m, &m->slots[d->member].gap);
    uint32_t all = gap_now(m, &m->gap);
    uint32_t gap = own > all ? own : all;
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

/* Time to tell the flock: halfway to the verdict, in a large one, where this costs everybody
 * something, at the verdict that all would come to; earlier to confirm what another says, unless
 * enough others did. */
static bool should_accuse(const struct membership *m, const struct doubt *d)
{
    unsigned minimum = probes_minimum(m, d);
    uint8_t state = m->slots[d->member].state;

    if (d->accused || state == MEMBER_UNKNOWN)
        return false;
    if (state == MEMBER_SUSPECT)
        return d->probes >= minimum / 4 && d->accuser_count < confirmers(m);
    return d->probes >= (table_eager(m) ? minimum / 2 : minimum);
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
    if (d->probes % RELAYS_AFTER == 0)
        ask_relays(m, d);
    d->next = mono_add(m->now, d->interval);
    if (d->probes >= goal && probe_rto(m, p) > d->interval)
        d->next = mono_add(m->now, probe_rto(m, p));
}

void doubts_tick(struct membership *m)
{
    /* Backwards: a verdict moves the last doubt into the place of the one that ends. */
    for (size_t i = m->doubt_count; i-- > 0;)
        if (mono_reached(m->now, m->doubts[i].next) && out_has_room(m, 1 + RELAYS_PER_TRY))
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

/* Of the probes of @d, those that an answer should have come to by now. */
static unsigned lost_probes(const struct member *p, const struct doubt *d, bool direct)
{
    unsigned in_flight = (direct ? 1u : 0u) + p->rtt.smoothed / RTT_UNIT / d->interval;

    return d->probes > in_flight ? d->probes - in_flight : 0;
}

/* Any authenticated packet ends a doubt, also late ones. What the flock was told of it is
 * withdrawn, and the member shall refute it for those who heard. */
void probe_heard(struct membership *m, struct member *p, const struct addr *addr)
{
    struct doubt *d = doubt_of(m, p);
    bool mistrusted = p->state == MEMBER_SUSPECT || p->state == MEMBER_DEAD;
    bool returns = p->state == MEMBER_UNKNOWN || p->state == MEMBER_DEAD;

    if (addr != NULL) {
        p->relayed = 0;
        p->heard = m->now;
        table_set_addr(m, p, addr);
        relays_heard(m, p);
    } else if (d != NULL) {
        d->relays_answered = true;
        if (p->relayed < UINT8_MAX)
            p->relayed++;
    }
    if (d != NULL && addr != NULL)
        note_gap(m, p, d);
    if (d != NULL && d->probes > 0)
        sample_loss(p, lost_probes(p, d, addr != NULL));
    doubt_close(m, p);
    if (p->state == MEMBER_LEFT)
        return; /* its last packets may overtake its good-bye */
    if (mistrusted)
        p->flags |= FLAG_TELL;
    table_set_state(m, p, MEMBER_ALIVE);
    if (returns && addr != NULL)
        gossip_tell_gone(m, p);
}
