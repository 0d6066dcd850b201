/* Deltas: made within a datagram's room, applied. */
#include <assert.h>
#include <string.h>

#include "proto/record/table.h"

/* Room in a sealed datagram, by the longest forms of codec.h and envelope.h. */
#define ENVELOPE_WIRE 80
#define DELTA_WIRE 36  /* type, author, from, to and the headers of arrays */
#define RECORD_WIRE 92 /* a record without key and value: two versions, signature, headers */
#define DELTA_ROOM (MSG_DATAGRAM_MAX - ENVELOPE_WIRE - DELTA_WIRE)

static_assert(RECORD_WIRE + RECORD_KEY_MAX + RECORD_VALUE_MAX <= DELTA_ROOM,
              "one record fits a datagram");

static size_t wire_bytes(const struct record *x)
{
    return RECORD_WIRE + (size_t)x->key_len + x->value_len;
}

static void add(struct msg_delta *d, const struct record *x)
{
    struct msg_record *m = &d->records[d->count++];

    m->key = x->data;
    m->key_len = x->key_len;
    m->value = (const uint8_t *)x->data + x->key_len + 1;
    m->value_len = x->value_len;
    m->version = x->version;
    m->floor = x->floor;
    memcpy(m->signature, x->signature, sizeof m->signature);
}

/* The record with the least version above @from that is part of the author's complete prefix. */
static const struct record *next_record(const struct author *a, uint64_t from)
{
    const struct record *next = NULL;

    for (uint16_t i = 0; i < a->count; i++) {
        const struct record *x = a->records[i];
        if (x->version > from && x->version <= a->version &&
            (next == NULL || x->version < next->version))
            next = x;
    }
    return next;
}

/* Fills in what fits above @d->from, with @head (NULL: none) besides, in whatever place it stands.
 * Returns false when not even one record fits. */
static bool fill(const struct author *a, const struct record *head, struct msg_delta *d)
{
    size_t room = DELTA_ROOM - (head == NULL ? 0 : wire_bytes(head));
    const struct record *x;

    d->count = 0;
    d->to = d->from;
    while ((x = next_record(a, d->to)) != NULL) {
        if (x == head)
            head = NULL; /* its room is reserved */
        else if (wire_bytes(x) > room || d->count + (head != NULL) >= MSG_RECORDS_MAX)
            break;
        else
            room -= wire_bytes(x);
        add(d, x);
        d->to = x->version;
    }
    if (x == NULL)
        d->to = a->version;
    if (head != NULL)
        add(d, head); /* its version is above all others here */
    return d->to > d->from;
}

/* Makes the delta of what @a has above @from; there must be something. Who knows nothing of this
 * life of the author gets the head too, because it may not know the author at all. */
void delta_fill(const struct author *a, uint64_t from, struct msg *msg)
{
    struct msg_delta *d = &msg->delta;
    const struct record *head = NULL;

    assert(a->version > from);
    msg->type = MSG_DELTA;
    d->author = a->id;
    d->from = from;
    if (from <= a->floor && a->count > 0 && a->records[0]->key_len == 0)
        head = a->records[0];
    if (!fill(a, head, d)) {
        bool fits = fill(a, NULL, d);
        assert(fits); /* one record always does */
        (void)fits;
    }
}

bool delta_head(const struct author *a, struct msg *msg)
{
    struct msg_delta *d = &msg->delta;

    if (a->count == 0 || a->records[0]->key_len > 0)
        return false;
    msg->type = MSG_DELTA;
    d->author = a->id;
    d->from = 0;
    d->to = 0;
    d->count = 0;
    add(d, a->records[0]);
    return true;
}

void change_report(struct records *r, uint8_t type, node_id author, node_id peer,
                   const struct msg_record *record)
{
    struct records_change *c;

    assert(r->out->change_count < RECORDS_CHANGES_MAX);
    c = &r->out->changes[r->out->change_count++];
    *c = (struct records_change){.type = type, .author = author, .peer = peer};
    if (record == NULL)
        return;
    c->key = record->key;
    c->key_len = record->key_len;
    c->value = record->value;
    c->value_len = record->value_len;
    c->version = record->version;
}

static bool verified(struct records *r, node_id author, const struct msg_record *record)
{
    return r->config.verify == NULL || r->config.verify(r->config.ctx, author, record);
}

static bool same_key(const struct msg_record *x, const struct msg_record *y)
{
    return x->key_len == y->key_len && (x->key_len == 0 || memcmp(x->key, y->key, x->key_len) == 0);
}

/* Each key fits and is there once, records ascend, nothing lies at or below its own floor. */
static bool well_formed(const struct msg_delta *d)
{
    if (d->count > MSG_RECORDS_MAX || d->from > d->to || node_id_none(d->author))
        return false;
    for (size_t i = 0; i < d->count; i++) {
        const struct msg_record *x = &d->records[i];
        if (x->key_len >= RECORD_KEY_MAX || x->value_len > RECORD_VALUE_MAX ||
            x->version <= x->floor || x->version <= d->from ||
            (i > 0 && x->version <= d->records[i - 1].version) ||
            (x->key_len == 0 && x->value_len == 0))
            return false;
        for (size_t k = 0; k < i; k++)
            if (same_key(x, &d->records[k]))
                return false;
    }
    return true;
}

/* An author whom we do not know must bring a head that verifies. */
static int introduce(struct records *r, node_id sender, const struct msg_delta *d,
                     struct author **a)
{
    const struct msg_record *head = NULL;
    int rc;

    for (size_t i = 0; i < d->count; i++)
        if (d->records[i].key_len == 0)
            head = &d->records[i];
    if (head == NULL)
        return ERR_NOTFOUND;
    if (!verified(r, d->author, head)) {
        change_report(r, RECORDS_FORGED, d->author, sender, head);
        return ERR_NOTFOUND;
    }
    rc = table_admit(r, d->author, a);
    if (rc != ERR_NONE) {
        change_report(r, RECORDS_REFUSED, d->author, sender, head);
        return rc;
    }
    change_report(r, RECORDS_ADMITTED, d->author, sender, NULL);
    return ERR_NONE;
}

/* Own records of another life that are newer than this one. */
static void apply_own(struct records *r, node_id sender, const struct msg_delta *d)
{
    const struct msg_record *highest = NULL;

    for (size_t i = 0; i < d->count; i++) {
        const struct msg_record *x = &d->records[i];
        if (x->version <= r->self->version)
            continue;
        if (verified(r, d->author, x))
            highest = x;
        else
            change_report(r, RECORDS_FORGED, d->author, sender, x);
    }
    if (highest == NULL)
        return;
    change_report(r, RECORDS_FUTURE, d->author, sender, highest);
    table_jump(r, highest->version);
    r->out->changes[r->out->change_count - 1].version = r->self->version;
}

/* Takes back reports of records that are no longer held: they would point to freed memory. */
static void drop_dangling(struct records *r, const struct author *a)
{
    size_t n = 0;

    for (size_t i = 0; i < r->out->change_count; i++) {
        const struct records_change *c = &r->out->changes[i];
        bool held = (c->type != RECORDS_SET && c->type != RECORDS_DELETED) ||
                    !node_id_equal(c->author, a->id);
        for (uint16_t k = 0; k < a->count && !held; k++)
            held = a->records[k]->data == c->key;
        if (held)
            r->out->changes[n++] = *c;
    }
    r->out->change_count = n;
}

static void raise_floor(struct records *r, struct author *a, uint64_t floor, node_id sender)
{
    bool lost = table_raise_floor(r, a, floor);

    drop_dangling(r, a);
    if (lost)
        change_report(r, RECORDS_RESET, a->id, sender, NULL);
}

/* Stores one record if it is news. Returns false when it was refused, so that the range it stands
 * in cannot be called complete. */
static bool apply_record(struct records *r, struct author *a, node_id sender,
                         const struct msg_record *m)
{
    struct record *old = table_record(a, m->key, m->key_len);
    bool was_live = old != NULL && old->value_len > 0;
    struct msg_record stored = *m;
    struct record *x;

    if (m->version <= a->floor || (old != NULL && old->version >= m->version))
        return true;
    if (!verified(r, a->id, m)) {
        change_report(r, RECORDS_FORGED, a->id, sender, m);
        return false;
    }
    /* A new life voids the one before at once. */
    if (m->floor >> 32 > a->floor >> 32)
        raise_floor(r, a, m->floor, sender);
    if (table_store(r, a, m) != ERR_NONE) {
        change_report(r, RECORDS_REFUSED, a->id, sender, m);
        return false;
    }
    x = table_record(a, m->key, m->key_len);
    stored.key = x->data;
    stored.value = (const uint8_t *)x->data + x->key_len + 1;
    if (x->value_len > 0)
        change_report(r, RECORDS_SET, a->id, sender, &stored);
    else if (was_live)
        change_report(r, RECORDS_DELETED, a->id, sender, &stored);
    return true;
}

/* The highest floor told by a record before which nothing is missing. */
static uint64_t floor_in_force(const struct author *a)
{
    uint64_t floor = a->floor;

    for (uint16_t i = 0; i < a->count; i++)
        if (a->records[i]->version <= a->version && a->records[i]->floor > floor)
            floor = a->records[i]->floor;
    return floor;
}

int delta_apply(struct records *r, struct author *peer, node_id sender, const struct msg_delta *d)
{
    struct author *a = table_author(r, d->author);
    uint64_t before;
    uint64_t root = r->root;
    bool complete = true;
    int rc;

    if (!well_formed(d))
        return ERR_INVALID;
    if (a == r->self) {
        apply_own(r, sender, d);
        return ERR_NONE;
    }
    if (a == NULL) {
        rc = introduce(r, sender, d, &a);
        if (rc != ERR_NONE)
            return rc;
    }
    before = a->version;
    for (size_t i = 0; i < d->count; i++)
        complete = apply_record(r, a, sender, &d->records[i]) && complete;
    if (complete && a->version >= d->from && d->to > a->version)
        a->version = d->to;
    /* Within a life a floor is in force once all before its record is held: until then it would
     * take away records whose successors are still under way. */
    raise_floor(r, a, floor_in_force(a), sender);
    if (a == peer && d->to > 0)
        sync_acknowledge(r, a);
    else if (peer != NULL && a->version < d->from)
        sync_request(r, peer, true);
    if (root != r->root) {
        if (peer != NULL)
            peer->backoff_ms = 0;
        if (a->version > before)
            sync_hot(r, a->id, before);
    }
    return ERR_NONE;
}
