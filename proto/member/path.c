/* What is measured of the path to a member: round-trip times, loss, silences.
 *
 * A probe's sequence number holds the time of sending in its lower 16 bits, so that every answer,
 * however late, measures its own round trip and no table of outstanding probes is needed (as TCP's
 * timestamps, RFC 7323). */
#include "proto/member/machine.h"

#define RTO_START_MS 1000 /* before the first measurement (RFC 6298, section 2.1) */
#define RTO_MIN_MS 100
#define RTO_MAX_MS 4000
#define RTT_UNIT 4 /* of struct rtt */
#define RTT_MAX_MS 16000
#define NEEDED_MIN 10
#define NEEDED_MAX 40
/* How long a silence is taken to be: of one member so that its verdict takes no more than 12 s, of
 * all together less, because one that is hardly reachable must not slow down all verdicts. */
#define GAP_ALL_MAX_MS 1500
#define GAP_MAX_MS 2500
/* A process that starts is silent now and then, whatever its radio does, */
#define START_S 30
/* and its first answers wait for sessions, which takes longer than the path. */
#define FIRST_S 3
#define GAP_KEEP_S 1800 /* a gap counts in full for so long, */
#define GAP_FADE_S 1800 /* then ever less over this time */

/* Of first answers alone it is a guess, and too long at most. */
static uint32_t rto_of(const struct rtt *r)
{
    uint32_t variation = r->variation > 0 ? r->variation : r->smoothed / 2u;
    uint32_t rto = (r->smoothed + 4 * variation) / RTT_UNIT;

    if (rto < RTO_MIN_MS)
        return RTO_MIN_MS;
    return rto > RTO_MAX_MS ? RTO_MAX_MS : rto;
}

/* One that was not measured is taken to be twice as far as the others, if its first answer does not
 * say that it is closer. */
uint32_t path_rto(const struct membership *m, const struct member *p)
{
    uint32_t others = m->rtt.smoothed > 0 ? 2 * rto_of(&m->rtt) : RTO_START_MS;
    uint32_t own = p->rtt.smoothed > 0 ? rto_of(&p->rtt) : others;

    return p->rtt.variation > 0 || own < others ? own : others;
}

/* RFC 6298, section 2. */
static void rtt_add(struct rtt *r, int rtt)
{
    int smoothed = r->smoothed;
    int variation = r->variation;

    if (variation == 0) {
        smoothed = rtt;
        variation = rtt / 2 + 1;
    } else {
        int off = smoothed > rtt ? smoothed - rtt : rtt - smoothed;
        variation += (off - variation) / 4;
        smoothed += (rtt - smoothed) / 8;
    }
    r->smoothed = (uint16_t)(smoothed > 0 ? smoothed : 1);
    r->variation = (uint16_t)variation;
}

static uint32_t seconds(mono_t t)
{
    return (uint32_t)(t.ms / 1000);
}

/* How long the member is here, as what it is now. */
static unsigned present_s(const struct membership *m, const struct member *p)
{
    return (uint16_t)(seconds(m->now) - p->appeared_s);
}

/* Members that are no neighbours are seldom measured again: taken for a round trip, a first answer
 * that waited for its session would slow down their verdicts for minutes. */
static void rtt_guess(struct rtt *r, int rtt)
{
    if (r->variation == 0 && (r->smoothed == 0 || rtt < r->smoothed))
        r->smoothed = (uint16_t)(rtt > 0 ? rtt : 1);
}

/* Karn's rule is not needed: an answer names the probe that it answers. */
void path_measure(struct membership *m, struct member *p, uint32_t sequence)
{
    int rtt = (uint16_t)((uint16_t)m->now.ms - (uint16_t)sequence);

    if (rtt > RTT_MAX_MS)
        return;
    if ((uint32_t)rtt <= path_rto(m, p) && m->health > 0)
        m->health--;
    if (present_s(m, p) < FIRST_S) {
        rtt_guess(&p->rtt, rtt * RTT_UNIT);
        rtt_guess(&m->rtt, rtt * RTT_UNIT);
        return;
    }
    rtt_add(&p->rtt, rtt * RTT_UNIT);
    rtt_add(&m->rtt, rtt * RTT_UNIT);
}

static uint16_t smooth(uint16_t loss, bool lost)
{
    unsigned share = loss;

    share += lost ? (LOSS_ONE - share) >> LOSS_SHIFT : 0;
    return (uint16_t)(lost ? share : share - (share >> LOSS_SHIFT));
}

/* So many round trips in a row were lost, and then, if @answered, one was not. */
static void sample_loss(struct member *p, unsigned lost, bool answered)
{
    unsigned samples = p->samples + lost + answered;

    p->samples = (uint8_t)(samples < UINT8_MAX ? samples : UINT8_MAX);
    if (lost > 0 || answered)
        p->first_loss = smooth(p->first_loss, lost > 0);
    for (unsigned i = 0; i < lost; i++)
        p->loss = smooth(p->loss, true);
    if (answered)
        p->loss = smooth(p->loss, false);
}

/* What was measured, without the guess that it began with; 0 before the first measurement. */
uint8_t path_loss_pct(const struct member *p)
{
    uint32_t guess = LOSS_ONE; /* its weight by now */
    uint32_t measured;

    for (unsigned i = 0; i < p->samples; i++)
        guess -= guess >> LOSS_SHIFT;
    measured = LOSS_PRIOR * guess / LOSS_ONE;
    measured = p->loss > measured ? p->loss - measured : 0;
    if (guess == LOSS_ONE)
        return 0;
    measured = measured * 100 / (LOSS_ONE - guess);
    return (uint8_t)(measured < 100 ? measured : 100);
}

/* Unanswered probes in a row that happen by loss alone with a chance below 3e-7, so that one probe
 * per second errs about once in a thousand hours: ln 3e-7 / ln p, for a share p of lost round
 * trips. */
static uint8_t needed_at(uint16_t loss)
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

uint8_t path_needed(const struct member *p)
{
    return needed_at(p->loss);
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
    return needed_at(p->first_loss) * 3u / 4u + 1u;
}

static void note_gap(struct membership *m, struct member *p, const struct doubt *d)
{
    int64_t ms = mono_diff(m->now, d->began);

    if (d->probes < gap_least(p) || present_s(m, p) < START_S)
        return;
    gap_add(m, &p->gap, ms, GAP_MAX_MS);
    gap_add(m, &m->gap, ms, GAP_ALL_MAX_MS);
}

/* The longest of late, its own or another's. */
uint32_t path_silence(const struct membership *m, const struct member *p)
{
    uint32_t own = gap_now(m, &p->gap);
    uint32_t all = gap_now(m, &m->gap);

    return own > all ? own : all;
}

/* Of the probes of @d, those that an answer should have come to by now. */
static unsigned lost_probes(const struct member *p, const struct doubt *d, bool direct)
{
    unsigned in_flight = (direct ? 1u : 0u) + p->rtt.smoothed / RTT_UNIT / d->interval;

    return d->probes > in_flight ? d->probes - in_flight : 0;
}

void path_answered(struct membership *m, struct member *p, const struct doubt *d, enum proof by)
{
    if (p->state == MEMBER_UNKNOWN)
        return; /* what it did not answer was not lost: it may not have known us */
    if (by == BY_DATAGRAM)
        note_gap(m, p, d);
    if (d->probes > 0)
        sample_loss(p, lost_probes(p, d, by == BY_DATAGRAM), by != BY_STREAM);
}
