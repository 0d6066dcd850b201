#include "proto/member/member.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/member/machine.h"

#define PERIOD_MIN_MS 100
#define PERIOD_MAX_MS 60000
#define MEMBERS_LIMIT 32000
#define RELAYED_MAX 3 /* so often proven by others alone: the path is cut, not lossy */
#define PAUSE_PCT 25  /* of a period: a timer so late means that this process stood still */

static int config_check(const struct membership_config *c)
{
    if (node_id_none(c->self) || c->incarnation == 0 || c->member_max > MEMBERS_LIMIT ||
        c->ring_max > MEMBERS_LIMIT)
        return ERR_INVALID;
    if (c->period_ms != 0 && (c->period_ms < PERIOD_MIN_MS || c->period_ms > PERIOD_MAX_MS))
        return ERR_INVALID;
    return ERR_NONE;
}

static void config_defaults(struct membership_config *c)
{
    if (c->period_ms == 0)
        c->period_ms = MEMBERSHIP_PERIOD_MS;
    if (c->member_max == 0)
        c->member_max = MEMBERSHIP_MEMBERS_MAX;
    if (c->ring_max == 0)
        c->ring_max = MEMBERSHIP_RING_MAX;
}

int membership_create(const struct membership_config *config, mono_t now,
                      struct membership **result)
{
    struct membership *m;

    if (config_check(config) != ERR_NONE)
        return ERR_INVALID;
    m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    m->config = *config;
    config_defaults(&m->config);
    m->doubt_max = m->config.member_max < DOUBTS_MAX ? m->config.member_max : DOUBTS_MAX;
    m->slots = calloc(m->config.member_max, sizeof *m->slots);
    m->order = calloc(m->config.member_max, sizeof *m->order);
    m->shuffle = calloc(m->config.member_max, sizeof *m->shuffle);
    m->gone_slots = calloc(m->config.member_max, sizeof *m->gone_slots);
    m->doubts = calloc(m->doubt_max, sizeof *m->doubts);
    if (m->slots == NULL || m->order == NULL || m->shuffle == NULL || m->gone_slots == NULL ||
        m->doubts == NULL) {
        membership_destroy(m);
        return ERR_NOMEM;
    }
    rng_seed(&m->rng, config->seed);
    m->now = now;
    m->sequence = (uint16_t)rng_next(&m->rng);
    m->robin_next = mono_add(now, rng_range(&m->rng, 0, m->config.period_ms));
    m->mesh_next = mono_add(now, rng_range(&m->rng, 0, 25 * (int64_t)m->config.period_ms));
    m->unknown_next = now;
    m->gone_next = MONO_NEVER;
    m->gossip_next = MONO_NEVER;
    m->announce_next = MONO_NEVER;
    gossip_renew_self(m, config->incarnation, false);
    *result = m;
    return ERR_NONE;
}

void membership_destroy(struct membership *m)
{
    if (m == NULL)
        return;
    free(m->slots);
    free(m->order);
    free(m->shuffle);
    free(m->gone_slots);
    free(m->doubts);
    free(m);
}

/* Where the question came from. */
static struct membership_send *answer_begin(struct membership *m, uint8_t type,
                                            const struct member *from,
                                            const struct membership_event *event)
{
    return event->stream ? send_begin_stream(m, type, from)
                         : send_begin(m, type, from->id, &event->addr);
}

static void answer_ping(struct membership *m, struct member *from,
                        const struct membership_event *event)
{
    struct membership_send *s = answer_begin(m, MSG_ACK, from, event);

    watch_probed(m, from, true);
    if (s == NULL)
        return;
    s->msg.probe.sequence = event->msg->probe.sequence;
    gossip_attach(m, s, from);
}

static void take_ack(struct membership *m, struct member *from,
                     const struct membership_event *event)
{
    const struct msg_probe *probe = &event->msg->probe;
    struct member *target = from;

    if (!node_id_none(probe->target) && !node_id_equal(probe->target, from->id))
        target = table_find(m, probe->target);
    if (target == NULL)
        return;
    if (target != from) {
        probe_heard(m, target, BY_RELAY, NULL);
        return;
    }
    if (!event->stream) /* its round trips are no measure of the datagrams' */
        path_measure(m, from, probe->sequence);
    watch_probed(m, from, false);
}

static void take_nack(struct membership *m, const struct msg_probe *probe)
{
    struct member *target = table_find(m, probe->target);
    struct doubt *d = target == NULL ? NULL : doubt_of(m, target);

    if (d != NULL)
        d->relays_answered = true;
}

static int take_message(struct membership *m, struct member *from,
                        const struct membership_event *event)
{
    const struct msg_probe *probe = &event->msg->probe;
    bool answer = false;

    if (event->msg->type < MSG_PING || event->msg->type > MSG_GOSSIP ||
        probe->update_count > MSG_UPDATES_MAX)
        return ERR_INVALID;
    probe_heard(m, from, event->stream ? BY_STREAM : BY_DATAGRAM, &event->addr);
    for (size_t i = 0; i < probe->update_count; i++)
        answer = gossip_receive(m, from, &probe->updates[i]) || answer;
    switch (event->msg->type) {
    case MSG_PING:
        answer_ping(m, from, event);
        return ERR_NONE;
    case MSG_ACK:
        take_ack(m, from, event);
        break;
    case MSG_PING_REQ:
        if (!event->stream)
            relay_request(m, from, &event->addr, probe);
        break;
    case MSG_NACK:
        take_nack(m, probe);
        break;
    default:
        break;
    }
    if (answer) {
        struct membership_send *s = answer_begin(m, MSG_GOSSIP, from, event);
        if (s != NULL)
            gossip_attach(m, s, from);
    }
    return ERR_NONE;
}

static int admit(struct membership *m, node_id id, const struct addr *addr)
{
    struct member *p = table_find(m, id);

    if (node_id_none(id) || node_id_equal(id, m->config.self))
        return ERR_INVALID;
    if (p == NULL) {
        p = table_insert(m, id);
        if (p == NULL)
            return ERR_FULL;
        p->addr = *addr;
        table_set_state(m, p, MEMBER_UNKNOWN);
    } else if (mono_diff(m->now, p->heard) > 2 * (int64_t)m->config.period_ms &&
               addr->family != 0 && !addr_equal(&p->addr, addr)) {
        table_set_addr(m, p, addr);
        p->due = m->now;
        if (m->gone > 0)
            m->gone_next = mono_min(m->gone_next, m->now);
    }
    return ERR_NONE;
}

static void revoke(struct membership *m, struct member *p)
{
    for (size_t i = 0; i < RELAYS_MAX; i++)
        if (node_id_equal(m->relays[i].requester, p->id) ||
            node_id_equal(m->relays[i].target, p->id))
            relay_end(m, &m->relays[i]);
    gossip_forget(m, p->id);
    doubt_close(m, p);
    table_remove(m, p);
}

static void leave(struct membership *m)
{
    struct msg_update u;

    if (m->leaving)
        return;
    m->leaving = true;
    gossip_clear(m);
    while (m->doubt_count > 0)
        doubt_close(m, &m->slots[m->doubts[0].member]);
    gossip_make(m, MSG_LEFT, m->config.self, m->incarnation, &u);
    gossip_announce(m, &u);
}

static int take_event(struct membership *m, const struct membership_event *event)
{
    struct member *p = table_find(m, event->from);

    switch (event->type) {
    case MEMBERSHIP_TIMER:
        return ERR_NONE;
    case MEMBERSHIP_MESSAGE:
        if (event->msg == NULL)
            return ERR_INVALID;
        return p == NULL ? ERR_NOTFOUND : take_message(m, p, event);
    case MEMBERSHIP_HEARD:
        if (p == NULL)
            return ERR_NOTFOUND;
        probe_heard(m, p, event->stream ? BY_STREAM : BY_DATAGRAM, &event->addr);
        return ERR_NONE;
    case MEMBERSHIP_ADMIT:
        return admit(m, event->from, &event->addr);
    case MEMBERSHIP_REVOKE:
        if (p == NULL)
            return ERR_NOTFOUND;
        revoke(m, p);
        return ERR_NONE;
    case MEMBERSHIP_ADDRESS:
        if (addr_equal(&m->config.addr, &event->addr))
            return ERR_NONE;
        m->config.addr = event->addr;
        gossip_renew_self(m, m->incarnation + 1, true);
        return ERR_NONE;
    case MEMBERSHIP_ROOT:
        m->root = event->root;
        return ERR_NONE;
    case MEMBERSHIP_LEAVE:
        leave(m);
        return ERR_NONE;
    default:
        return ERR_INVALID;
    }
}

/* Drops changes that came to nothing within the step. */
static void tidy_changes(struct membership_out *out)
{
    size_t n = 0;

    for (size_t i = 0; i < out->change_count; i++)
        if (out->changes[i].moved || out->changes[i].old_state != out->changes[i].new_state)
            out->changes[n++] = out->changes[i];
    out->change_count = n;
}

int membership_step(struct membership *m, mono_t now, const struct membership_event *event,
                    struct membership_out *out)
{
    int64_t late = mono_diff(now, mono_max(membership_deadline(m), m->now));
    int rc;

    assert(!mono_before(now, m->now));
    out->send_count = 0;
    out->change_count = 0;
    out->conflict = 0;
    m->out = out;
    m->now = now;
    if (late > (int64_t)m->config.period_ms * PAUSE_PCT / 100)
        doubts_after_pause(m, late);
    rc = take_event(m, event);
    watch_tick(m);
    gossip_tick(m);
    tidy_changes(out);
    m->out = NULL;
    return rc;
}

mono_t membership_deadline(const struct membership *m)
{
    return mono_min(watch_deadline(m), gossip_deadline(m));
}

size_t membership_count(const struct membership *m)
{
    return m->count;
}

static void fill_view(const struct membership *m, const struct member *p, struct member_view *view)
{
    *view = (struct member_view){
        .id = p->id,
        .state = p->state,
        .incarnation = p->incarnation,
        .addr = p->addr,
        .heard = p->heard,
        .since = p->since,
        .rtt_ms = (p->rtt.smoothed + 3u) / 4u,
        .rto_ms = path_rto(m, p),
        .watched = watch_is_neighbour(m, p),
        .hears = p->heard.ms != 0 && p->state != MEMBER_DEAD && p->relayed < RELAYED_MAX,
        .stream = p->heard.ms != 0 && p->state != MEMBER_DEAD && probe_path_cut(p),
        .loss_pct = path_loss_pct(p),
    };
}

void membership_at(const struct membership *m, size_t index, struct member_view *view)
{
    assert(index < m->count);
    fill_view(m, &m->slots[m->order[index]], view);
}

int membership_find(const struct membership *m, node_id id, struct member_view *view)
{
    const struct member *p = table_find(m, id);

    if (p == NULL)
        return ERR_NOTFOUND;
    fill_view(m, p, view);
    return ERR_NONE;
}

size_t membership_present(const struct membership *m)
{
    return m->present + 1;
}

uint64_t membership_incarnation(const struct membership *m)
{
    return m->incarnation;
}

uint32_t membership_health(const struct membership *m)
{
    return m->health;
}

const char *member_state_name(uint8_t state)
{
    static const char *const names[] = {"none", "unknown", "alive", "suspect", "dead", "left"};

    return state < sizeof names / sizeof *names ? names[state] : names[0];
}
