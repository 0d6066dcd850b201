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
    ch->version_min = config->version_min != 0 ? config->version_min : ENVELOPE_VERSION_MIN;
    ch->version_max = config->version_max != 0 ? config->version_max : ENVELOPE_VERSION_MAX;
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

void channel_drop_pending(struct channel *ch, struct peer *p)
{
    while (p->pending != NULL)
        drop_oldest(ch, p);
}

static void free_peer(struct channel *ch, struct peer *p)
{
    channel_drop_pending(ch, p);
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
    for (size_t i = 0; i < CHANNEL_EPOCHS; i++)
        if (number != 0 && ch->epochs[i].number == number)
            return &ch->epochs[i];
    return NULL;
}

int channel_set_epochs(struct channel *ch, const struct keys_epoch *epochs, size_t count)
{
    if (count > CHANNEL_EPOCHS)
        return ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        if (epochs[i].number == 0 || epochs[i].number > ENVELOPE_EPOCH_MAX)
            return ERR_INVALID;
        for (size_t k = 0; k < i; k++)
            if (epochs[k].number == epochs[i].number)
                return ERR_INVALID;
    }
    keys_wipe(ch->epochs, sizeof ch->epochs);
    ch->epoch = 0;
    for (size_t i = 0; i < count; i++) {
        ch->epochs[i].number = epochs[i].number;
        memcpy(ch->epochs[i].secret, epochs[i].secret, KEYS_EPOCH_SECRET);
        if (epochs[i].number > ch->epoch)
            ch->epoch = epochs[i].number;
    }
    return ERR_NONE;
}

void channel_versions(const struct channel *ch, uint8_t *lowest, uint8_t *highest)
{
    *lowest = ch->version_min;
    *highest = ch->version_max;
}

uint32_t channel_epoch(const struct channel *ch)
{
    return ch->epoch;
}

const struct epoch *channel_common_epoch(const struct channel *ch, const struct peer *p)
{
    /* Who is ahead still accepts, for some epochs, what we have. */
    return channel_epoch_of(ch, p->has < ch->epoch ? p->has : ch->epoch);
}

void channel_peer_has(struct channel *ch, mono_t now, node_id id, uint32_t epoch,
                      struct channel_out *out)
{
    struct peer *p = channel_peer_of(ch, id);

    out->count = 0;
    if (p == NULL)
        return;
    p->has = epoch;
    channel_flush(ch, p, now, &p->addr, out);
}

void channel_traffic_key(const struct session *s, const struct epoch *epoch, bool by_initiator,
                         uint8_t key[ENVELOPE_KEY])
{
    uint8_t fields[4 + KEYS_EPOCH_SECRET + 1];
    uint8_t *at;

    static_assert(ENVELOPE_KEY == KEYS_DERIVED, "a derived key seals");
    if (epoch == NULL) {
        put_uint(fields, by_initiator, 1);
        keys_derive(s->secret, "covey keys 1", fields, 1, key);
        return;
    }
    at = put_uint(fields, epoch->number, 4);
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
                       const struct epoch *epoch, const uint8_t *body, size_t len,
                       struct channel_out *out)
{
    struct session *s = p->next.valid ? &p->next : &p->current;
    struct channel_datagram *d;
    struct envelope e = {
        .kind = p->next.valid ? ENVELOPE_FIRST : ENVELOPE_DATA,
        .version = s->version,
        .epoch = epoch != NULL ? epoch->number : 0,
        .tag = s->tag,
        .sender = ch->identity.id,
    };
    uint8_t key[ENVELOPE_KEY];

    assert(s->valid);
    if (out->count == CHANNEL_OUT_MAX || s->sent == UINT64_MAX)
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
    const uint8_t versions[] = {ch->version_min, ch->version_max};
    struct envelope full = *e;
    struct channel_datagram *d;

    if (out->count == CHANNEL_OUT_MAX)
        return;
    full.version = ENVELOPE_FORM;
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

/* Keeps a body until it can be sent. */
static int keep(struct channel *ch, struct peer *p, mono_t now, const struct addr *at, bool keys,
                const uint8_t *body, size_t len)
{
    struct pending *kept = malloc(sizeof *kept + len);
    struct pending **tail = &p->pending;

    if (kept == NULL)
        return ERR_NOMEM;
    kept->next = NULL;
    kept->since = now;
    kept->keys = keys;
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

static bool has_session(const struct peer *p)
{
    return p->next.valid || p->current.valid;
}

bool channel_flush(struct channel *ch, struct peer *p, mono_t now, const struct addr *at,
                   struct channel_out *out)
{
    const struct epoch *epoch = channel_common_epoch(ch, p);
    struct pending **link = &p->pending;
    bool any = false;

    while (*link != NULL && has_session(p)) {
        struct pending *kept = *link;
        bool late = mono_diff(now, kept->since) > CHANNEL_PENDING_MS;
        if (!late && !kept->keys && epoch == NULL) {
            link = &kept->next;
            continue;
        }
        if (!late) {
            channel_send_data(ch, p, now, at, kept->keys ? NULL : epoch, kept->body, kept->len,
                              out);
            any = true;
        }
        *link = kept->next;
        if (--p->pending_count == 0)
            ch->waiting--;
        free(kept);
    }
    return any;
}

static int seal(struct channel *ch, struct peer *p, mono_t now, const struct addr *at, bool keys,
                const uint8_t *body, size_t len, struct channel_out *out)
{
    const struct epoch *epoch = keys ? NULL : channel_common_epoch(ch, p);
    int rc;

    if (len > ENVELOPE_BODY_MAX)
        return ERR_LIMIT;
    if (at->family == 0)
        return ERR_INVALID;
    if (ch->epoch == 0)
        return ERR_UNREACHABLE;
    if (!has_session(p)) {
        rc = keep(ch, p, now, at, keys, body, len);
        if (rc == ERR_NONE)
            channel_hello(ch, p, now, at, out);
        return rc;
    }
    if (!keys && epoch == NULL)
        return keep(ch, p, now, at, keys, body, len);
    channel_send_data(ch, p, now, at, epoch, body, len, out);
    if (p->unanswered > CHANNEL_SILENCE_MANY &&
        mono_diff(now, p->silent_since) >= CHANNEL_SILENCE_MS)
        channel_hello(ch, p, now, at, out);
    return ERR_NONE;
}

int channel_seal(struct channel *ch, mono_t now, node_id to, const struct addr *at,
                 const uint8_t *body, size_t len, struct channel_out *out)
{
    struct peer *p = channel_peer_of(ch, to);

    out->count = 0;
    if (p == NULL)
        return ERR_NOTFOUND;
    return p->cloned ? ERR_CONFLICT : seal(ch, p, now, at, false, body, len, out);
}

int channel_seal_keys(struct channel *ch, mono_t now, node_id to, const struct addr *at,
                      const uint8_t *body, size_t len, struct channel_out *out)
{
    struct peer *p = channel_peer_of(ch, to);

    out->count = 0;
    return p == NULL ? ERR_NOTFOUND : seal(ch, p, now, at, true, body, len, out);
}

void channel_step(struct channel *ch, mono_t now, struct channel_out *out)
{
    out->count = 0;
    for (size_t i = 0; i < ch->peer_count && ch->waiting > 0; i++) {
        struct peer *p = ch->peers[i];

        while (p->pending != NULL && mono_diff(now, p->pending->since) > CHANNEL_PENDING_MS)
            drop_oldest(ch, p);
        if (p->pending != NULL && !has_session(p))
            channel_hello(ch, p, now, &p->pending_addr, out);
    }
}

mono_t channel_deadline(const struct channel *ch)
{
    mono_t deadline = MONO_NEVER;

    for (size_t i = 0; i < ch->peer_count && ch->waiting > 0; i++) {
        const struct peer *p = ch->peers[i];

        if (p->pending != NULL) {
            if (!has_session(p))
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
        .session = has_session(p),
        .cloned = p->cloned,
        .epoch = p->has,
        .version = p->next.valid ? p->next.version : p->current.version,
        .restarts = p->restarts,
        .heard = p->heard,
        .addr = p->addr,
    };
    return ERR_NONE;
}
