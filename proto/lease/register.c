/* The gateway's ARP cache as a register (rule 18): whom it names for the address is whose frame it
 * saw last. Where the gateway has been found to keep it so, a solo lease rests on reading it. */
#include "proto/lease/internal.h"

#define REGISTER_DELAY_MIN 50        /* δ: no write takes longer to arrive, milliseconds */
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
    int64_t share = l->term / 5;
    return share > REGISTER_DELAY_MIN ? share : REGISTER_DELAY_MIN;
}

/* When what the register says shows that the holder before, if there is one, has lost its lease:
 * its last read that named it was sent before our write arrived. */
static mono_t matures(const struct leases *l, const struct claim *c)
{
    return mono_add(c->written, delay(l) + solo_claim_silence(l));
}

mono_t register_campaign_at(const struct leases *l, const struct claim *c)
{
    if (!register_rules(l, c) || mono_is_zero(c->written))
        return MONO_ZERO;
    return matures(l, c);
}

int64_t register_campaign_length(const struct leases *l)
{
    return (int64_t)REGISTER_READS * timing_heartbeat(l->term);
}

static void emit(struct leases *l, mono_t now, const struct claim *c, enum lease_register_type type)
{
    struct leases_out *out = l->out;

    if (out->register_count == LEASES_REGISTERS_MAX)
        return; /* as if it were lost */
    out->registers[out->register_count++] =
        (struct lease_register){.type = (uint8_t)type, .lease = c->id, .sent = now};
}

/* From when on it may write to challenge a holder that may be alive: the peer has been silent for
 * S, after which a living holder reads, and so defends. */
static mono_t challenge_at(const struct leases *l, const struct claim *c)
{
    mono_t at = mono_max(l->solo_from, l->silent_until);

    if (!register_rules(l, c) || !c->wanted || l->draining || !mono_is_zero(c->written) ||
        (c->state != LEASE_IDLE && c->state != LEASE_CAMPAIGN))
        return MONO_NEVER;
    at = mono_max(at, mono_max(c->challenge_from, c->write_asked));
    at = mono_max(at, mono_add(l->listening, timing_silence(l->term)));
    return mono_max(at, mono_add(l->heard, timing_silence(l->term)));
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
    if (!mono_reached(now, challenge_at(l, c)))
        return;
    c->write_began = now;
    c->write_asked = mono_add(now, REGISTER_ASKED_MS);
    emit(l, now, c, LEASE_REGISTER_WRITE);
}

void register_wrote(mono_t now, struct claim *c)
{
    if (c->state == LEASE_HELD || !mono_before(now, c->write_asked))
        return;
    c->write_asked = MONO_ZERO;
    c->written = now;
}

/* The challenge of a campaign that ends here has failed: somebody defends. */
void register_yielded(struct leases *l, mono_t now, struct claim *c)
{
    int64_t rest = REGISTER_REST_MS;

    if (!register_rules(l, c) || mono_is_zero(c->written) || !mono_reached(now, matures(l, c)))
        return;
    for (int i = 0; i < c->challenges && rest < REGISTER_REST_MAX; i++)
        rest *= 2;
    if (c->challenges < UINT8_MAX)
        c->challenges++;
    c->written = MONO_ZERO;
    c->challenge_from = mono_add(now, rest);
    lease_changed(l, now, c, LEASE_DEFENDED, LEASE_WHY_NONE);
}

/* With each round. A holder that was not named writes again as long as its lease lives. */
void register_round(struct leases *l, mono_t now, struct claim *c)
{
    if (!register_rules(l, c) || !solo_allowed(l, now, c))
        return;
    if (c->state == LEASE_CAMPAIGN && (mono_is_zero(c->written) || mono_before(now, matures(l, c))))
        return;
    if (c->state == LEASE_HELD && c->unread)
        emit(l, now, c, LEASE_REGISTER_WRITE);
    c->unread = true;
    emit(l, now, c, LEASE_REGISTER_READ);
}

bool register_reads(const struct leases *l, const struct claim *c, mono_t sent)
{
    if (c->state == LEASE_HELD)
        return true;
    return c->state == LEASE_CAMPAIGN && !mono_is_zero(c->written) &&
           mono_reached(sent, matures(l, c));
}

mono_t register_deadline(const struct leases *l, const struct claim *c)
{
    return challenge_at(l, c);
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
