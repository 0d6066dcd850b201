/* The gateway's ARP cache as a register (rule 18): whom it names for the address is whose frame it
 * saw last. Where the gateway has been found to keep it so, a solo lease rests on reading it. */
#include "proto/lease/internal.h"

#define REGISTER_DELAY_MIN 25        /* δ: no write takes longer to arrive, milliseconds */
#define REGISTER_REWRITE_MS 50       /* a write that is not answered is repeated; doubles */
#define REGISTER_REWRITES 5          /* times it doubles */
#define REGISTER_ASKED_MS 1000       /* a write whose end was not reported is asked for again */
#define REGISTER_READS 10            /* rounds of a challenger */
#define REGISTER_REST_MS (60 * 1000) /* after a challenge that failed; doubles */
#define REGISTER_REST_MAX (32 * REGISTER_REST_MS)

bool register_rules(const struct leases *l, const struct claim *c)
{
    return l->register_kept && solo_set(l) && c->used && c->mode == LEASE_SOLO;
}

static int64_t delay(const struct leases *l)
{
    int64_t share = l->term / 10;
    return share > REGISTER_DELAY_MIN ? share : REGISTER_DELAY_MIN;
}

int64_t register_term(uint32_t term)
{
    return term / 2;
}

/* How long the peer's fence may be open after a read that named it. Its T is what it told last, or
 * what it can have come to since: it has told that for as long itself, or has been alone for as
 * long before its claim, and we heard nothing of it. A new life of it is silent for B. */
static int64_t holds_on(const struct leases *l, mono_t now)
{
    int64_t silence = mono_diff(now, l->peer_told);
    uint32_t fitting = timing_fitting(silence);
    uint32_t term = l->peer_term > l->term ? l->peer_term : l->term;

    if (l->peer_term == 0 || silence >= LEASE_TERM_MAX + LEASE_FENCE_MAX)
        return register_term(LEASE_TERM_MAX) + LEASE_FENCE_MAX;
    return register_term(fitting > term ? fitting : term) +
           (l->peer_fence > l->fence ? l->peer_fence : l->fence);
}

/* When what the register says shows that the holder before, if there is one, has lost its lease:
 * its last read that named it was sent before our last write arrived. What rests on grants has our
 * own promise behind it. */
static mono_t matures(const struct leases *l, const struct claim *c)
{
    return mono_add(c->written, delay(l) + holds_on(l, l->now));
}

static bool ripe(const struct leases *l, const struct claim *c, mono_t sent)
{
    return c->taken && !mono_is_zero(c->written) && mono_reached(sent, matures(l, c));
}

mono_t register_campaign_at(const struct leases *l, const struct claim *c)
{
    if (!register_rules(l, c) || mono_is_zero(c->written))
        return MONO_ZERO;
    return c->taken ? matures(l, c) : MONO_NEVER;
}

bool register_holds(const struct leases *l)
{
    for (int i = 0; i < LEASES_MAX; i++)
        if (l->claims[i].state == LEASE_HELD && l->claims[i].solo &&
            register_rules(l, &l->claims[i]))
            return true;
    return false;
}

bool register_goes_on(const struct leases *l, const struct claim *c)
{
    return register_rules(l, c) && !mono_is_zero(c->written) && c->taken &&
           c->reads < REGISTER_READS;
}

/* The first read of a challenge whose campaign has begun. */
static mono_t first_read_at(const struct leases *l, const struct claim *c)
{
    if (c->state != LEASE_CAMPAIGN || c->reads > 0 || !register_goes_on(l, c))
        return MONO_NEVER;
    return mono_max(matures(l, c), solo_allowed_from(l, l->now, c));
}

static void emit(struct leases *l, mono_t now, const struct claim *c, enum lease_register_type type)
{
    struct leases_out *out = l->out;

    if (out->register_count == LEASES_REGISTERS_MAX)
        return; /* as if it were lost */
    out->registers[out->register_count++] =
        (struct lease_register){.type = (uint8_t)type, .lease = c->id, .sent = now};
}

/* How long the peer must have been silent: two of its frames are missing, and the second would have
 * come. Safety does not rest on this; a holder that is cut off and alive writes before its lease
 * ends. */
static int64_t missing(const struct leases *l)
{
    int64_t h = timing_heartbeat(l->peer_term > l->term ? l->peer_term : l->term);
    return 2 * h + h / 4;
}

/* A challenge has failed, and the peer has not been heard since: they are isolated from each other.
 * One that was heard and falls silent again is another matter. */
static bool rests(const struct leases *l, const struct claim *c)
{
    return mono_before(l->heard, c->rest_from);
}

/* From when on it may write to challenge a holder that may be alive. */
static mono_t challenge_at(const struct leases *l, const struct claim *c)
{
    mono_t at = mono_max(l->solo_from, l->silent_until);

    if (!register_rules(l, c) || !c->wanted || l->draining || !mono_is_zero(c->written) ||
        (c->state != LEASE_IDLE && c->state != LEASE_CAMPAIGN))
        return MONO_NEVER;
    at = mono_max(at, mono_max(rests(l, c) ? c->challenge_from : MONO_ZERO, c->write_asked));
    at = mono_max(at, mono_add(l->listening, missing(l)));
    return mono_max(at, mono_add(l->heard, missing(l)));
}

/* One that was lost on the air says nothing of a holder. */
static mono_t rewrite_at(const struct leases *l, const struct claim *c)
{
    if (!register_rules(l, c) || !c->wanted || l->draining || mono_is_zero(c->written) ||
        c->taken || (c->state != LEASE_IDLE && c->state != LEASE_CAMPAIGN))
        return MONO_NEVER;
    return c->rewrite_at;
}

/* The peer lives: it may be the holder, to which the gateway now sends nothing. */
static void call_off(mono_t now, struct claim *c)
{
    c->written = MONO_ZERO;
    c->defend_left = 3;
    c->defend_at = now;
}

void register_work(struct leases *l, mono_t now, struct claim *c)
{
    bool touched = !mono_is_zero(c->written) || mono_before(now, c->write_asked);

    if (touched && c->state != LEASE_HELD && mono_reached(l->heard, c->write_began)) {
        c->write_asked = MONO_ZERO;
        call_off(now, c);
    }
    if (mono_reached(now, first_read_at(l, c)))
        l->round_now = true;
    if (mono_reached(now, challenge_at(l, c))) {
        c->write_began = now;
        c->rewrites = 0;
        c->taken = false;
    } else if (!mono_reached(now, rewrite_at(l, c))) {
        return;
    }
    c->rewrite_at = MONO_NEVER; /* until it has left */
    c->write_asked = mono_add(now, REGISTER_ASKED_MS);
    emit(l, now, c, LEASE_REGISTER_WRITE);
}

void register_wrote(const struct leases *l, mono_t now, struct claim *c)
{
    if (c->state == LEASE_HELD)
        return;
    c->written = mono_before(now, c->write_asked) ? now : MONO_ZERO; /* else all over again */
    c->write_asked = MONO_ZERO;
    c->rewrite_at =
        mono_add(now, (timing_heartbeat(l->term) < REGISTER_REWRITE_MS ? timing_heartbeat(l->term)
                                                                       : REGISTER_REWRITE_MS)
                          << c->rewrites);
    if (c->rewrites < REGISTER_REWRITES)
        c->rewrites++;
}

void register_written(mono_t now, struct claim *c)
{
    if (!mono_is_zero(c->written) && mono_reached(now, c->written))
        c->taken = true;
}

/* The challenge of a campaign that ends here has failed: somebody defends. */
void register_yielded(struct leases *l, mono_t now, struct claim *c)
{
    int64_t rest = REGISTER_REST_MS;

    if (!register_rules(l, c) || c->reads < REGISTER_READS)
        return;
    if (!rests(l, c))
        c->challenges = 0;
    for (int i = 0; i < c->challenges && rest < REGISTER_REST_MAX; i++)
        rest *= 2;
    if (c->challenges < UINT8_MAX)
        c->challenges++;
    c->written = MONO_ZERO;
    c->challenge_from = mono_add(now, rest);
    c->rest_from = now;
    lease_changed(l, now, c, LEASE_DEFENDED, LEASE_WHY_NONE);
}

/* With each round. A holder that was not named writes again as long as its lease lives. */
void register_round(struct leases *l, mono_t now, struct claim *c)
{
    if (!register_rules(l, c) || !solo_allowed(l, now, c)) {
        /* Somebody may challenge before the first read: that begins with a write. */
        c->unread = true;
        c->read_named = MONO_ZERO; /* and between two times alone there is no gap of reads */
        return;
    }
    if (c->state == LEASE_CAMPAIGN && !ripe(l, c, now))
        return;
    if (c->state == LEASE_HELD && !c->unread &&
        mono_before(now, mono_add(c->read_sent, timing_heartbeat(l->term))))
        return; /* there are two rounds in a heartbeat, so that a lost read is soon repeated */
    if (c->state == LEASE_HELD && c->unread)
        emit(l, now, c, LEASE_REGISTER_WRITE);
    c->read_sent = now;
    c->unread = true;
    if (c->state == LEASE_CAMPAIGN && c->reads < REGISTER_READS)
        c->reads++;
    emit(l, now, c, LEASE_REGISTER_READ);
}

bool register_reads(const struct leases *l, const struct claim *c, mono_t sent)
{
    if (c->state == LEASE_HELD)
        return true;
    return c->state == LEASE_CAMPAIGN && ripe(l, c, sent);
}

mono_t register_deadline(const struct leases *l, const struct claim *c)
{
    return mono_min(first_read_at(l, c), mono_min(challenge_at(l, c), rewrite_at(l, c)));
}

void register_send_defend(struct leases *l, mono_t now)
{
    for (int i = 0; i < LEASES_MAX; i++) {
        struct claim *c = &l->claims[i];
        struct lease_send *send;
        struct msg_lease *m;
        if (!c->used || c->defend_left == 0 || mono_before(now, c->defend_at))
            continue;
        c->defend_left--;
        c->defend_at = mono_add(now, timing_heartbeat(l->term));
        m = solo_set(l) ? lease_send_begin(l, MSG_LEASE_RELEASE, &send) : NULL;
        if (m == NULL)
            return;
        send->to[send->to_count++] = solo_peer(l);
        m->items[m->item_count++] = (struct msg_lease_item){.lease = c->id, .verdict = MSG_DEFEND};
    }
}
