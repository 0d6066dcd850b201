#include "proto/wire/channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/bytes.h"
#include "proto/wire/channel_inside.h"

int channel_create(const struct channel_config *config, struct channel **channel, struct err *err)
{
    struct channel *ch;

    if (config->boot == 0)
        return err_set(err, ERR_INVALID, "the boot session of a channel must not be 0");
    ch = calloc(1, sizeof *ch);
    if (ch == NULL)
        return err_set(err, ERR_NOMEM, "no memory for the channel");
    ch->identity = *config->identity;
    ch->boot = config->boot;
    ch->peer_max = config->peer_max != 0 ? config->peer_max : CHANNEL_PEERS_MAX;
    ch->peers = calloc(ch->peer_max, sizeof(struct peer *));
    if (ch->peers == NULL) {
        free(ch);
        return err_set(err, ERR_NOMEM, "no memory for the channel's %u peers",
                       (unsigned)config->peer_max);
    }
    *channel = ch;
    return ERR_NONE;
}

static void drop_oldest(struct channel *ch, struct peer *p)
{
    struct pending *oldest = p->pending;

    p->pending = oldest->next;
    p->pending_count--;
    if (p->pending_count == 0)
        ch->waiting--;
    free(oldest);
}

static void free_peer(struct channel *ch, struct peer *p)
{
    while (p->pending != NULL)
        drop_oldest(ch, p);
    keys_wipe(p, sizeof *p);
    free(p);
}

void channel_destroy(struct channel *ch)
{
    if (ch == NULL)
        return;
    for (size_t i = 0; i < ch->peer_count; i++)
        free_peer(ch, ch->peers[i]);
    free(ch->peers);
    keys_wipe(ch, sizeof *ch);
    free(ch);
}

/* The index of the first peer that is not below @id. */
static size_t find_index(const struct channel *ch, node_id id)
{
    size_t low = 0, high = ch->peer_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ch->peers[middle]->id.v < id.v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct peer *channel_peer_of(const struct channel *ch, node_id id)
{
    size_t i = find_index(ch, id);

    if (i < ch->peer_count && node_id_equal(ch->peers[i]->id, id))
        return ch->peers[i];
    return NULL;
}

int channel_add_peer(struct channel *ch, const uint8_t public_key[KEYS_PUBLIC], struct err *err)
{
    node_id id = keys_node_id(public_key);
    size_t i = find_index(ch, id);
    struct peer *p;

    if (channel_peer_of(ch, id) != NULL)
        return ERR_NONE;
    if (node_id_equal(id, ch->identity.id))
        return err_set(err, ERR_INVALID, "a node cannot be its own peer");
    if (ch->peer_count == ch->peer_max)
        return err_set(err, ERR_FULL, "no room for more than %zu peers", ch->peer_max);
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "no memory for one more peer");
    if (keys_shared(&ch->identity, public_key, p->shared) != ERR_NONE) {
        free(p);
        return err_set(err, ERR_INVALID, "the public key of the peer is not usable");
    }
    p->id = id;
    p->number = ch->number_floor;
    p->confirmed = ch->number_floor;
    p->hello_next = (mono_t){INT64_MIN};
    p->answer_at = (mono_t){INT64_MIN};
    memmove(ch->peers + i + 1, ch->peers + i, (ch->peer_count - i) * sizeof(struct peer *));
    ch->peers[i] = p;
    ch->peer_count++;
    return ERR_NONE;
}

void channel_remove_peer(struct channel *ch, node_id id)
{
    size_t i = find_index(ch, id);
    struct peer *p = channel_peer_of(ch, id);

    if (p == NULL)
        return;
    if (p->number > ch->number_floor)
        ch->number_floor = p->number;
    free_peer(ch, p);
    ch->peer_count--;
    memmove(ch->peers + i, ch->peers + i + 1, (ch->peer_count - i) * sizeof(struct peer *));
}

const struct epoch *channel_epoch_of(const struct channel *ch, uint32_t number)
{
    for (size_t i = 0; i < EPOCHS; i++)
        if (number != 0 && ch->epochs[i].number == number)
            return &ch->epochs[i];
    return NULL;
}

int channel_set_epoch(struct channel *ch, uint32_t epoch, const uint8_t secret[KEYS_EPOCH_SECRET])
{
    const struct epoch *known = channel_epoch_of(ch, epoch);
    struct epoch *lowest = &ch->epochs[0];

    if (epoch == 0 || epoch > ENVELOPE_EPOCH_MAX)
        return ERR_INVALID;
    if (known != NULL)
        return keys_equal(known->secret, secret, KEYS_EPOCH_SECRET) ? ERR_NONE : ERR_CONFLICT;
    for (size_t i = 1; i < EPOCHS; i++)
        if (ch->epochs[i].number < lowest->number)
            lowest = &ch->epochs[i];
    if (epoch < lowest->number)
        return ERR_INVALID;
    lowest->number = epoch;
    memcpy(lowest->secret, secret, KEYS_EPOCH_SECRET);
    if (channel_epoch_of(ch, ch->epoch) == NULL) {
        /* None was in use, or the one that was is gone: the lowest that is there. */
        ch->epoch = epoch;
        for (size_t i = 0; i < EPOCHS; i++)
            if (ch->epochs[i].number != 0 && ch->epochs[i].number < ch->epoch)
                ch->epoch = ch->epochs[i].number;
    }
    return ERR_NONE;
}

int channel_use_epoch(struct channel *ch, uint32_t epoch)
{
    if (channel_epoch_of(ch, epoch) == NULL)
        return ERR_NOTFOUND;
    ch->epoch = epoch;
    return ERR_NONE;
}

uint32_t channel_epoch(const struct channel *ch)
{
    return ch->epoch;
}

void channel_traffic_key(const struct session *s, const struct epoch *epoch, bool by_initiator,
                         uint8_t key[ENVELOPE_KEY])
{
    uint8_t fields[4 + KEYS_EPOCH_SECRET + 1];
    uint8_t *at = put_uint(fields, epoch->number, 4);

    static_assert(ENVELOPE_KEY == KEYS_DERIVED, "a derived key seals");
    at = put_bytes(at, epoch->secret, KEYS_EPOCH_SECRET);
    put_uint(at, by_initiator, 1);
    keys_derive(s->secret, "covey data 1", fields, sizeof fields, key);
    keys_wipe(fields, sizeof fields);
}

void channel_handshake_key(const struct peer *p, const char *label, node_id from, node_id to,
                           uint64_t boot, uint64_t answered, uint8_t key[ENVELOPE_KEY])
{
    uint8_t fields[32];

    put_uint(put_uint(put_uint(put_uint(fields, from.v, 8), to.v, 8), boot, 8), answered, 8);
    keys_derive(p->shared, label, fields, sizeof fields, key);
}

uint32_t channel_number(struct peer *p)
{
    if (p->number == UINT32_MAX)
        return 0;
    return ++p->number;
}

void channel_send_data(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                       const uint8_t *body, size_t len, struct channel_out *out)
{
    struct session *s = p->next.valid ? &p->next : &p->current;
    const struct epoch *epoch = channel_epoch_of(ch, ch->epoch);
    struct channel_datagram *d;
    struct envelope e = {
        .kind = p->next.valid ? ENVELOPE_FIRST : ENVELOPE_DATA,
        .epoch = ch->epoch,
        .tag = s->tag,
        .sender = ch->identity.id,
    };
    uint8_t key[ENVELOPE_KEY];

    assert(s->valid);
    if (out->count == CHANNEL_OUT_MAX || epoch == NULL || s->sent == UINT64_MAX)
        return;
    if (e.kind == ENVELOPE_FIRST) {
        e.boot = ch->boot;
        e.initiator = s->a;
        e.responder = s->b;
    }
    e.counter = ++s->sent;
    d = &out->datagrams[out->count++];
    d->to = *at;
    channel_traffic_key(s, epoch, s->initiator, key);
    d->len = envelope_seal(&e, key, body, len, d->bytes);
    keys_wipe(key, sizeof key);
    if (p->unanswered++ == 0)
        p->silent_since = now;
}

void channel_send_handshake(struct channel *ch, const struct envelope *e,
                            const uint8_t key[ENVELOPE_KEY], const struct addr *at,
                            struct channel_out *out)
{
    static const uint8_t versions[] = {ENVELOPE_VERSION, ENVELOPE_VERSION};
    struct envelope full = *e;
    struct channel_datagram *d;

    if (out->count == CHANNEL_OUT_MAX)
        return;
    full.epoch = ch->epoch;
    full.sender = ch->identity.id;
    full.boot = ch->boot;
    d = &out->datagrams[out->count++];
    d->to = *at;
    d->len = envelope_seal(&full, key, versions, sizeof versions, d->bytes);
}

void channel_hello(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                   struct channel_out *out)
{
    struct envelope e = {.kind = ENVELOPE_HELLO};
    uint8_t key[ENVELOPE_KEY];

    if (!mono_reached(now, p->hello_next) || out->count == CHANNEL_OUT_MAX)
        return;
    e.initiator = channel_number(p);
    if (e.initiator == 0) {
        p->hello_next = MONO_NEVER;
        return;
    }
    e.counter = e.initiator;
    channel_handshake_key(p, "covey hello 1", ch->identity.id, p->id, ch->boot, 0, key);
    channel_send_handshake(ch, &e, key, at, out);
    keys_wipe(key, sizeof key);
    if (p->hello_first == 0)
        p->hello_first = e.initiator;
    p->hello_last = e.initiator;
    p->hello_wait = p->hello_wait == 0 ? CHANNEL_HELLO_MIN_MS : 2 * p->hello_wait;
    if (p->hello_wait > CHANNEL_HELLO_MAX_MS)
        p->hello_wait = CHANNEL_HELLO_MAX_MS;
    p->hello_next = mono_add(now, p->hello_wait);
}

/* Keeps a body until there is a session. */
static int keep(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                const uint8_t *body, size_t len)
{
    struct pending *kept = malloc(sizeof *kept + len);
    struct pending **tail = &p->pending;

    if (kept == NULL)
        return ERR_NOMEM;
    kept->next = NULL;
    kept->since = now;
    kept->len = len;
    put_bytes(kept->body, body, len);
    if (p->pending_count == CHANNEL_PENDING_MAX)
        drop_oldest(ch, p);
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = kept;
    if (p->pending_count++ == 0)
        ch->waiting++;
    p->pending_addr = *at;
    return ERR_NONE;
}

bool channel_flush(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                   struct channel_out *out)
{
    bool any = false;

    while (p->pending != NULL) {
        struct pending *oldest = p->pending;
        if (mono_diff(now, oldest->since) <= CHANNEL_PENDING_MS) {
            channel_send_data(ch, p, now, at, oldest->body, oldest->len, out);
            any = true;
        }
        drop_oldest(ch, p);
    }
    return any;
}

int channel_seal(struct channel *ch, mono_t now, node_id to, const struct addr *at,
                 const uint8_t *body, size_t len, struct channel_out *out)
{
    struct peer *p = channel_peer_of(ch, to);
    int rc = ERR_NONE;

    out->count = 0;
    if (p == NULL)
        return ERR_NOTFOUND;
    if (len > ENVELOPE_BODY_MAX)
        return ERR_LIMIT;
    if (at->family == 0)
        return ERR_INVALID;
    if (ch->epoch == 0)
        return ERR_UNREACHABLE;
    if (p->next.valid || p->current.valid) {
        channel_send_data(ch, p, now, at, body, len, out);
        if (p->unanswered > CHANNEL_SILENCE_MANY &&
            mono_diff(now, p->silent_since) >= CHANNEL_SILENCE_MS)
            channel_hello(ch, p, now, at, out);
        return ERR_NONE;
    }
    rc = keep(ch, p, now, at, body, len);
    if (rc == ERR_NONE)
        channel_hello(ch, p, now, at, out);
    return rc;
}

void channel_step(struct channel *ch, mono_t now, struct channel_out *out)
{
    out->count = 0;
    for (size_t i = 0; i < ch->peer_count && ch->waiting > 0; i++) {
        struct peer *p = ch->peers[i];

        while (p->pending != NULL && mono_diff(now, p->pending->since) > CHANNEL_PENDING_MS)
            drop_oldest(ch, p);
        if (p->pending != NULL)
            channel_hello(ch, p, now, &p->pending_addr, out);
    }
}

mono_t channel_deadline(const struct channel *ch)
{
    mono_t deadline = MONO_NEVER;

    for (size_t i = 0; i < ch->peer_count && ch->waiting > 0; i++) {
        const struct peer *p = ch->peers[i];

        if (p->pending != NULL) {
            deadline = mono_min(deadline, p->hello_next);
            deadline = mono_min(deadline, mono_add(p->pending->since, CHANNEL_PENDING_MS + 1));
        }
    }
    return deadline;
}

void channel_count(struct channel *ch, enum wire_reason reason)
{
    ch->counters.count[reason]++;
}

const struct wire_counters *channel_counters(const struct channel *ch)
{
    return &ch->counters;
}

size_t channel_peer_count(const struct channel *ch)
{
    return ch->peer_count;
}

int channel_find_peer(const struct channel *ch, node_id id, struct channel_peer *peer)
{
    const struct peer *p = channel_peer_of(ch, id);

    if (p == NULL)
        return ERR_NOTFOUND;
    *peer = (struct channel_peer){
        .id = p->id,
        .session = p->next.valid || p->current.valid,
        .cloned = p->cloned,
        .epoch = p->epoch,
        .restarts = p->restarts,
        .heard = p->heard,
        .addr = p->addr,
    };
    return ERR_NONE;
}
