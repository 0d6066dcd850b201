/* What comes in: the handshake of channel.h, and data under its sessions. */
#include <assert.h>
#include <string.h>

#include "proto/wire/bytes.h"
#include "proto/wire/channel_inside.h"

#define SLOTS 3

/* The session of a finished handshake between @p and this node. */
static void make_session(const struct channel *ch, const struct peer *p, bool initiator,
                         uint8_t version, uint64_t boot, uint32_t a, uint32_t b, struct session *s)
{
    uint8_t fields[40];
    uint8_t tag[KEYS_DERIVED];
    uint8_t *at = put_uint(fields, initiator ? ch->identity.id.v : p->id.v, 8);

    at = put_uint(at, initiator ? p->id.v : ch->identity.id.v, 8);
    at = put_uint(at, initiator ? ch->boot : boot, 8);
    at = put_uint(at, initiator ? boot : ch->boot, 8);
    at = put_uint(at, a, 4);
    put_uint(at, b, 4);
    memset(s, 0, sizeof *s);
    s->valid = true;
    s->initiator = initiator;
    s->version = version;
    s->boot = boot;
    s->a = a;
    s->b = b;
    keys_derive(p->shared, "covey session 1", fields, sizeof fields, s->secret);
    keys_derive(s->secret, "covey tag 1", NULL, 0, tag);
    s->tag = (uint32_t)get_uint(tag, 4);
}

static void drop_session(struct session *s)
{
    keys_wipe(s, sizeof *s);
}

/* The peer is proven to run as @boot now. */
static void adopt_boot(struct channel *ch, struct peer *p, mono_t now, uint64_t boot,
                       struct channel_in *in)
{
    struct session *slots[SLOTS] = {&p->next, &p->current, &p->previous};

    if (p->boot == boot)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i]->valid && slots[i]->boot != boot)
            drop_session(slots[i]);
    if (p->boot != 0) {
        bool again = false;
        for (size_t i = 0; i < PAST_BOOTS; i++)
            again = again || p->past[i] == boot;
        p->past[p->past_at++ % PAST_BOOTS] = p->boot;
        p->restarts++;
        in->restarted = true;
        in->cloned = again && !p->cloned;
        p->cloned = p->cloned || again;
        p->boot_since = now;
        if (p->cloned)
            channel_drop_pending(ch, p);
    }
    p->boot = boot;
}

/* Something of @p has authenticated that cannot be a replay. Only the @newest says where the peer
 * is: what was lost on its way may be sent again by anybody, from anywhere. */
static void heard(struct peer *p, mono_t now, const struct addr *source, bool newest,
                  struct channel_in *in)
{
    if (p->cloned && mono_diff(now, p->boot_since) >= CHANNEL_CLONE_MS) {
        p->cloned = false;
        in->whole = true;
    }
    if (p->cloned)
        in->clone = p->id;
    else
        in->from = p->id;
    p->heard = now;
    if (newest || p->addr.family == 0)
        p->addr = *source;
    in->addr = p->addr;
    p->unanswered = 0;
    p->hello_wait = 0;
    p->hello_next = now;
}

/* A datagram of a session that is not known here: either side may have started again. Nothing is
 * proven, so a peer that is heard otherwise gets no HELLO for it, and any peer few. */
static void ask_again(struct channel *ch, struct peer *p, mono_t now, const struct addr *source,
                      struct channel_out *out)
{
    bool lately = p->current.valid && mono_diff(now, p->heard) < CHANNEL_SILENCE_MS;

    if (!lately && ch->epoch != 0)
        channel_hello(ch, p, now, source, out);
}

/* The highest version that both speak, by the body of a handshake; 0: there is none. */
static uint8_t agree_version(const struct channel *ch, const struct peer *p, const uint8_t *body,
                             size_t len, struct channel_in *in)
{
    uint8_t lowest = len >= 2 ? body[0] : 0;
    uint8_t highest = len >= 2 ? body[1] : 0;
    uint8_t version = highest < ch->version_max ? highest : ch->version_max;

    if (version >= lowest && version >= ch->version_min)
        return version;
    in->foreign = p->id;
    in->version_min = lowest;
    in->version_max = highest;
    return 0;
}

/* Whether a HELLO of this boot with this number, or a later one, was answered before. */
static bool hello_answered(const struct peer *p, uint64_t boot, uint32_t number)
{
    for (size_t i = 0; i < HELLO_BOOTS; i++)
        if (p->hellos[i].boot == boot)
            return number <= p->hellos[i].number;
    return false;
}

static void remember_hello(struct peer *p, uint64_t boot, uint32_t number)
{
    struct hello_seen *seen = NULL;

    for (size_t i = 0; i < HELLO_BOOTS; i++)
        if (p->hellos[i].boot == boot)
            seen = &p->hellos[i];
    if (seen == NULL)
        seen = &p->hellos[p->hello_at++ % HELLO_BOOTS];
    *seen = (struct hello_seen){.boot = boot, .number = number};
}

/* At most CHANNEL_ANSWER_BURST at once, and one in CHANNEL_ANSWER_EVERY_MS. */
static bool may_answer(struct peer *p, mono_t now)
{
    mono_t from = mono_add(p->answer_at, -CHANNEL_ANSWER_EVERY_MS * (CHANNEL_ANSWER_BURST - 1));

    if (mono_before(now, from))
        return false;
    p->answer_at = mono_add(mono_max(now, p->answer_at), CHANNEL_ANSWER_EVERY_MS);
    return true;
}

static enum wire_reason open_hello(struct channel *ch, struct peer *p, mono_t now,
                                   const struct addr *source, const struct envelope *e,
                                   const uint8_t *datagram, size_t len, struct channel_in *in,
                                   struct channel_out *out)
{
    struct envelope answer = {.kind = ENVELOPE_ACCEPT, .initiator = e->initiator};
    uint8_t key[ENVELOPE_KEY];
    size_t body_len;
    bool opened;

    channel_handshake_key(p, "covey hello 1", p->id, ch->identity.id, e->boot, 0, key);
    opened = envelope_open(e, key, datagram, len, ch->body, &body_len);
    keys_wipe(key, sizeof key);
    if (!opened || e->boot == 0 || e->counter != e->initiator)
        return WIRE_AUTHENTICATION;
    if (agree_version(ch, p, ch->body, body_len, in) == 0)
        return WIRE_VERSION;
    if (hello_answered(p, e->boot, e->initiator))
        return WIRE_REPLAY;
    if (!may_answer(p, now))
        return WIRE_RATE;
    answer.responder = channel_number(p);
    if (answer.responder == 0)
        return WIRE_RATE;
    remember_hello(p, e->boot, e->initiator);
    answer.counter = answer.responder;
    channel_handshake_key(p, "covey accept 1", ch->identity.id, p->id, ch->boot, e->boot, key);
    channel_send_handshake(ch, &answer, key, source, out);
    keys_wipe(key, sizeof key);
    return WIRE_OK;
}

static enum wire_reason verdict(const struct peer *p)
{
    return p->cloned ? WIRE_CLONED : WIRE_OK;
}

static enum wire_reason open_accept(struct channel *ch, struct peer *p, mono_t now,
                                    const struct addr *source, const struct envelope *e,
                                    const uint8_t *datagram, size_t len, struct channel_in *in,
                                    struct channel_out *out)
{
    uint8_t key[ENVELOPE_KEY];
    uint8_t version;
    size_t body_len;
    bool opened;

    if (p->hello_first == 0 || e->initiator < p->hello_first || e->initiator > p->hello_last)
        return WIRE_REPLAY;
    channel_handshake_key(p, "covey accept 1", p->id, ch->identity.id, e->boot, ch->boot, key);
    opened = envelope_open(e, key, datagram, len, ch->body, &body_len);
    keys_wipe(key, sizeof key);
    if (!opened || e->boot == 0 || e->counter != e->responder)
        return WIRE_AUTHENTICATION;
    version = agree_version(ch, p, ch->body, body_len, in);
    if (version == 0)
        return WIRE_VERSION;
    p->hello_first = 0;
    adopt_boot(ch, p, now, e->boot, in);
    heard(p, now, source, true, in);
    p->has = e->epoch;
    make_session(ch, p, true, version, e->boot, e->initiator, e->responder, &p->next);
    /* Who has another epoch may not be able to open anything else. */
    if (p->has != ch->epoch)
        channel_send_data(ch, p, now, source, NULL, NULL, 0, out);
    if (!channel_flush(ch, p, now, source, out) && p->has == ch->epoch)
        channel_send_data(ch, p, now, source, channel_common_epoch(ch, p), NULL, 0, out);
    return verdict(p);
}

static struct session *find_session(struct peer *p, const struct envelope *e)
{
    struct session *slots[SLOTS] = {&p->current, &p->next, &p->previous};

    for (size_t i = 0; i < SLOTS; i++) {
        struct session *s = slots[i];
        if (!s->valid || s->tag != e->tag)
            continue;
        if (e->kind == ENVELOPE_DATA ||
            (s->boot == e->boot && s->a == e->initiator && s->b == e->responder && !s->initiator))
            return s;
    }
    return NULL;
}

static void move_to_current(struct peer *p, struct session *s)
{
    struct session confirmed = *s;

    drop_session(s);
    p->previous = p->current;
    p->current = confirmed;
    keys_wipe(&confirmed, sizeof confirmed);
}

/* What has authenticated under @e: its body, and that its sender has the epoch. */
static void receive(struct channel *ch, struct peer *p, const struct envelope *e, size_t len,
                    struct channel_in *in)
{
    if (e->epoch > p->has)
        p->has = e->epoch;
    in->keys = e->epoch == 0;
    if (len > 0 && !p->cloned) {
        in->body = ch->body;
        in->len = len;
    }
}

/* Data of a session that is known here. */
static enum wire_reason open_data(struct channel *ch, struct peer *p, struct session *s, mono_t now,
                                  const struct addr *source, const struct envelope *e,
                                  const uint8_t *datagram, size_t len, struct channel_in *in,
                                  struct channel_out *out)
{
    const struct epoch *epoch = channel_epoch_of(ch, e->epoch);
    uint8_t key[ENVELOPE_KEY];
    size_t body_len;
    bool newest = s != &p->previous && e->counter > s->replay.highest;
    bool opened;

    if (e->version != s->version)
        return WIRE_VERSION;
    if (epoch == NULL && e->epoch != 0)
        return WIRE_UNKNOWN_EPOCH;
    if (!replay_fresh(&s->replay, e->counter))
        return WIRE_REPLAY;
    channel_traffic_key(s, epoch, !s->initiator, key);
    opened = envelope_open(e, key, datagram, len, ch->body, &body_len);
    keys_wipe(key, sizeof key);
    if (!opened)
        return WIRE_AUTHENTICATION;
    replay_mark(&s->replay, e->counter);
    heard(p, now, source, newest, in);
    if (s == &p->next)
        move_to_current(p, s);
    receive(ch, p, e, body_len, in);
    channel_flush(ch, p, now, &p->addr, out);
    return verdict(p);
}

/* The first data of a handshake that this node has answered. */
static enum wire_reason open_first(struct channel *ch, struct peer *p, mono_t now,
                                   const struct addr *source, const struct envelope *e,
                                   const uint8_t *datagram, size_t len, struct channel_in *in,
                                   struct channel_out *out)
{
    const struct epoch *epoch = channel_epoch_of(ch, e->epoch);
    struct session s;
    uint8_t key[ENVELOPE_KEY];
    size_t body_len;
    bool opened;

    if (e->responder > p->number)
        return WIRE_UNKNOWN_SESSION;
    if (e->responder <= p->confirmed || e->boot == 0)
        return WIRE_REPLAY;
    if (epoch == NULL && e->epoch != 0)
        return WIRE_UNKNOWN_EPOCH;
    make_session(ch, p, false, e->version, e->boot, e->initiator, e->responder, &s);
    channel_traffic_key(&s, epoch, true, key);
    opened = s.tag == e->tag && replay_fresh(&s.replay, e->counter) &&
             envelope_open(e, key, datagram, len, ch->body, &body_len);
    keys_wipe(key, sizeof key);
    if (!opened) {
        drop_session(&s);
        return WIRE_AUTHENTICATION;
    }
    replay_mark(&s.replay, e->counter);
    p->confirmed = e->responder;
    p->hello_first = 0; /* an answer that is still under way may be of an older boot */
    adopt_boot(ch, p, now, e->boot, in);
    heard(p, now, source, true, in);
    if (p->next.valid) /* both have asked at the same time: keep theirs to send, ours to hear */
        move_to_current(p, &p->next);
    move_to_current(p, &s);
    p->has = e->epoch; /* a new session, perhaps of a node that was set back */
    receive(ch, p, e, body_len, in);
    channel_flush(ch, p, now, source, out);
    return verdict(p);
}

static enum wire_reason open_datagram(struct channel *ch, mono_t now, const struct addr *source,
                                      const uint8_t *datagram, size_t len, struct channel_in *in,
                                      struct channel_out *out)
{
    struct envelope e;
    struct session *s;
    struct peer *p;
    enum wire_reason reason = envelope_parse(datagram, len, &e);

    if (reason != WIRE_OK)
        return reason;
    if ((e.kind == ENVELOPE_DATA || e.kind == ENVELOPE_FIRST) &&
        (e.version < ch->version_min || e.version > ch->version_max))
        return WIRE_VERSION;
    p = channel_peer_of(ch, e.sender);
    if (p == NULL)
        return WIRE_UNKNOWN_SENDER;
    if (e.kind == ENVELOPE_HELLO)
        return open_hello(ch, p, now, source, &e, datagram, len, in, out);
    if (e.kind == ENVELOPE_ACCEPT)
        return open_accept(ch, p, now, source, &e, datagram, len, in, out);
    s = find_session(p, &e);
    if (s != NULL) {
        reason = open_data(ch, p, s, now, source, &e, datagram, len, in, out);
        if (reason == WIRE_UNKNOWN_EPOCH || (reason == WIRE_AUTHENTICATION && e.epoch != 0))
            in->doubt = p->id;
        return reason;
    }
    reason = WIRE_UNKNOWN_SESSION;
    if (e.kind == ENVELOPE_FIRST)
        reason = open_first(ch, p, now, source, &e, datagram, len, in, out);
    if (reason == WIRE_UNKNOWN_EPOCH || (reason == WIRE_AUTHENTICATION && e.epoch != 0))
        in->doubt = p->id;
    if (reason == WIRE_UNKNOWN_SESSION || reason == WIRE_AUTHENTICATION)
        ask_again(ch, p, now, source, out);
    return reason;
}

enum wire_reason channel_open(struct channel *ch, mono_t now, const struct addr *source,
                              const uint8_t *datagram, size_t len, struct channel_in *in,
                              struct channel_out *out)
{
    enum wire_reason reason;

    memset(in, 0, sizeof *in);
    out->count = 0;
    reason = open_datagram(ch, now, source, datagram, len, in, out);
    channel_count(ch, reason);
    return reason;
}
