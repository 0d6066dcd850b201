#include "proto/wire/codec.h"

#include <string.h>

#include "proto/wire/codec_io.h"

/* What both directions hold a message to, so that nothing is sent that its receiver refuses. */

static bool addr_valid(const struct addr *a)
{
    return a->family == 0 || a->family == 4 || a->family == 6;
}

static bool update_valid(const struct msg_update *u)
{
    if (u->kind < MSG_ALIVE || u->kind > MSG_LEFT || !addr_valid(&u->addr))
        return false;
    if (node_id_none(u->subject) || node_id_none(u->author))
        return false;
    return u->kind != MSG_ALIVE || (u->addr.family != 0 && node_id_equal(u->subject, u->author));
}

static bool digest_valid(const struct msg_digest *d)
{
    if (d->count > MSG_DIGEST_MAX || d->first.v > d->last.v)
        return false;
    for (size_t i = 0; i < d->count; i++) {
        uint64_t author = d->entries[i].author.v;
        if (author < d->first.v || author > d->last.v)
            return false;
        if (i > 0 && author <= d->entries[i - 1].author.v)
            return false;
    }
    return true;
}

static bool delta_valid(const struct msg_delta *d)
{
    if (d->count > MSG_RECORDS_MAX || node_id_none(d->author) || d->from > d->to)
        return false;
    for (size_t i = 0; i < d->count; i++) {
        const struct msg_record *r = &d->records[i];
        if (r->key_len >= RECORD_KEY_MAX || r->value_len > RECORD_VALUE_MAX)
            return false;
        if (r->key_len > 0 && !text_valid(r->key, r->key_len))
            return false;
        if (r->version <= (i > 0 ? d->records[i - 1].version : d->from))
            return false;
        if (r->version > d->to && r->key_len > 0)
            return false;
    }
    return true;
}

static bool lease_valid(const struct msg_lease *l)
{
    if (l->item_count > MSG_LEASE_ITEMS_MAX)
        return false;
    if (l->renewed != 0 && l->renewed != MSG_GRANT && l->renewed != MSG_REFUSE)
        return false;
    for (size_t i = 0; i < l->item_count; i++)
        if (l->items[i].verdict > MSG_VERDICT_MAX)
            return false;
    return true;
}

/* Updates */

static void pack_update(struct pack *p, const struct msg_update *u)
{
    pack_array(p, 6);
    pack_uint(p, u->kind);
    pack_uint(p, u->subject.v);
    pack_uint(p, node_id_equal(u->author, u->subject) ? 0 : u->author.v);
    pack_uint(p, u->incarnation);
    pack_addr(p, &u->addr);
    pack_bin(p, u->signature, MSG_SIGNATURE);
}

size_t codec_update_size(const struct msg_update *u)
{
    size_t address = u->addr.family == 0 ? 2 : u->addr.family == 4 ? 8 : 20;
    uint64_t author = node_id_equal(u->author, u->subject) ? 0 : u->author.v;

    return 2 + pack_uint_size(u->subject.v) + pack_uint_size(author) +
           pack_uint_size(u->incarnation) + address + 2 + MSG_SIGNATURE;
}

static void unpack_update(struct unpack *u, struct msg_update *update)
{
    uint64_t author;

    unpack_fields(u, 6);
    update->kind = (uint8_t)unpack_uint(u, MSG_ALIVE, MSG_LEFT);
    update->subject.v = unpack_uint(u, 1, UINT64_MAX);
    author = unpack_uint(u, 0, UINT64_MAX);
    if (author == update->subject.v)
        unpack_fail(u, WIRE_BODY_VALUE); /* has a shorter form */
    update->author.v = author == 0 ? update->subject.v : author;
    update->incarnation = unpack_uint(u, 0, UINT64_MAX);
    unpack_addr(u, &update->addr);
    unpack_bytes(u, update->signature, MSG_SIGNATURE);
    if (!update_valid(update))
        unpack_fail(u, WIRE_BODY_VALUE);
}

static int pack_updates(struct pack *p, const struct msg_probe *probe)
{
    if (probe->update_count > MSG_UPDATES_MAX)
        return ERR_INVALID;
    pack_array(p, probe->update_count);
    for (size_t i = 0; i < probe->update_count; i++) {
        if (!update_valid(&probe->updates[i]))
            return ERR_INVALID;
        pack_update(p, &probe->updates[i]);
    }
    return ERR_NONE;
}

static void unpack_updates(struct unpack *u, struct msg_probe *probe)
{
    probe->update_count = (uint8_t)unpack_array(u, MSG_UPDATES_MAX);
    for (size_t i = 0; i < probe->update_count && u->reason == WIRE_OK; i++)
        unpack_update(u, &probe->updates[i]);
}

/* One pair of functions per message. The unpacking ones find the type consumed and get the number
 * of all elements. */

static int pack_ping(struct pack *p, const struct msg_probe *probe)
{
    pack_array(p, 4);
    pack_uint(p, MSG_PING);
    pack_uint(p, probe->sequence);
    pack_uint(p, probe->root);
    return pack_updates(p, probe);
}

static void unpack_ping(struct unpack *u, size_t fields, struct msg_probe *probe)
{
    if (fields != 4)
        unpack_fail(u, WIRE_BODY_FIELDS);
    probe->sequence = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    probe->root = unpack_uint(u, 0, UINT64_MAX);
    unpack_updates(u, probe);
}

/* ACK and NACK */
static int pack_answer(struct pack *p, uint8_t type, const struct msg_probe *probe)
{
    pack_array(p, 5);
    pack_uint(p, type);
    pack_uint(p, probe->sequence);
    pack_uint(p, probe->target.v);
    pack_uint(p, probe->root);
    return pack_updates(p, probe);
}

static void unpack_answer(struct unpack *u, size_t fields, struct msg_probe *probe)
{
    if (fields != 5)
        unpack_fail(u, WIRE_BODY_FIELDS);
    probe->sequence = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    probe->target.v = unpack_uint(u, 0, UINT64_MAX);
    probe->root = unpack_uint(u, 0, UINT64_MAX);
    unpack_updates(u, probe);
}

static int pack_ping_req(struct pack *p, const struct msg_probe *probe)
{
    if (node_id_none(probe->target) || !addr_valid(&probe->address))
        return ERR_INVALID;
    pack_array(p, 6);
    pack_uint(p, MSG_PING_REQ);
    pack_uint(p, probe->sequence);
    pack_uint(p, probe->target.v);
    pack_addr(p, &probe->address);
    pack_uint(p, probe->root);
    return pack_updates(p, probe);
}

static void unpack_ping_req(struct unpack *u, size_t fields, struct msg_probe *probe)
{
    if (fields != 6)
        unpack_fail(u, WIRE_BODY_FIELDS);
    probe->sequence = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    probe->target.v = unpack_uint(u, 1, UINT64_MAX);
    unpack_addr(u, &probe->address);
    probe->root = unpack_uint(u, 0, UINT64_MAX);
    unpack_updates(u, probe);
}

static int pack_gossip(struct pack *p, const struct msg_probe *probe)
{
    pack_array(p, 2);
    pack_uint(p, MSG_GOSSIP);
    return pack_updates(p, probe);
}

static void unpack_gossip(struct unpack *u, size_t fields, struct msg_probe *probe)
{
    if (fields != 2)
        unpack_fail(u, WIRE_BODY_FIELDS);
    unpack_updates(u, probe);
}

static int pack_digest(struct pack *p, const struct msg_digest *d)
{
    if (!digest_valid(d))
        return ERR_INVALID;
    pack_array(p, 5);
    pack_uint(p, MSG_DIGEST);
    pack_bool(p, d->reply);
    pack_uint(p, d->first.v);
    pack_uint(p, d->last.v);
    pack_array(p, d->count);
    for (size_t i = 0; i < d->count; i++) {
        pack_array(p, 2);
        pack_uint(p, d->entries[i].author.v);
        pack_uint(p, d->entries[i].version);
    }
    return ERR_NONE;
}

static void unpack_digest(struct unpack *u, size_t fields, struct msg_digest *d)
{
    if (fields != 5)
        unpack_fail(u, WIRE_BODY_FIELDS);
    d->reply = unpack_bool(u);
    d->first.v = unpack_uint(u, 0, UINT64_MAX);
    d->last.v = unpack_uint(u, 0, UINT64_MAX);
    d->count = (uint8_t)unpack_array(u, MSG_DIGEST_MAX);
    for (size_t i = 0; i < d->count && u->reason == WIRE_OK; i++) {
        unpack_fields(u, 2);
        d->entries[i].author.v = unpack_uint(u, 0, UINT64_MAX);
        d->entries[i].version = unpack_uint(u, 0, UINT64_MAX);
    }
    if (u->reason == WIRE_OK && !digest_valid(d))
        unpack_fail(u, WIRE_BODY_VALUE);
}

static void pack_record(struct pack *p, const struct msg_record *r)
{
    pack_array(p, 5);
    pack_uint(p, r->version);
    pack_uint(p, r->floor);
    pack_str(p, r->key, r->key_len);
    pack_bin(p, r->value, r->value_len);
    pack_bin(p, r->signature, MSG_SIGNATURE);
}

size_t codec_record_size(const struct msg_record *r)
{
    size_t key = r->key_len < 32 ? 1 : 2;
    size_t value = r->value_len <= UINT8_MAX ? 2 : 3;

    return 1 + pack_uint_size(r->version) + pack_uint_size(r->floor) + key + r->key_len + value +
           r->value_len + 2 + MSG_SIGNATURE;
}

static void unpack_record(struct unpack *u, struct msg_record *r)
{
    size_t len;

    unpack_fields(u, 5);
    r->version = unpack_uint(u, 0, UINT64_MAX);
    r->floor = unpack_uint(u, 0, UINT64_MAX);
    r->key = unpack_str(u, 0, RECORD_KEY_MAX - 1, &len);
    r->key_len = (uint8_t)len;
    r->value = unpack_bin(u, 0, RECORD_VALUE_MAX, &len);
    r->value_len = (uint16_t)len;
    unpack_bytes(u, r->signature, MSG_SIGNATURE);
}

static int pack_delta(struct pack *p, const struct msg_delta *d)
{
    if (!delta_valid(d))
        return ERR_INVALID;
    pack_array(p, 5);
    pack_uint(p, MSG_DELTA);
    pack_uint(p, d->author.v);
    pack_uint(p, d->from);
    pack_uint(p, d->to);
    pack_array(p, d->count);
    for (size_t i = 0; i < d->count; i++)
        pack_record(p, &d->records[i]);
    return ERR_NONE;
}

static void unpack_delta(struct unpack *u, size_t fields, struct msg_delta *d)
{
    if (fields != 5)
        unpack_fail(u, WIRE_BODY_FIELDS);
    d->author.v = unpack_uint(u, 1, UINT64_MAX);
    d->from = unpack_uint(u, 0, UINT64_MAX);
    d->to = unpack_uint(u, 0, UINT64_MAX);
    d->count = (uint8_t)unpack_array(u, MSG_RECORDS_MAX);
    for (size_t i = 0; i < d->count && u->reason == WIRE_OK; i++)
        unpack_record(u, &d->records[i]);
    if (u->reason == WIRE_OK && !delta_valid(d))
        unpack_fail(u, WIRE_BODY_VALUE);
}

/* How many elements the item takes: trailing zeros are left out in two steps. */
static size_t lease_item_fields(const struct msg_lease_item *item)
{
    if (item->left != 0 || !node_id_none(item->to))
        return 5;
    return item->verdict != 0 ? 3 : 2;
}

size_t codec_lease_item_size(const struct msg_lease_item *item)
{
    size_t fields = lease_item_fields(item);
    size_t size = 1 + pack_uint_size(item->lease) + pack_uint_size(item->session);

    if (fields > 2)
        size += 1;
    if (fields > 3)
        size += pack_uint_size(item->left) + pack_uint_size(item->to.v);
    return size;
}

static void pack_lease_item(struct pack *p, const struct msg_lease_item *item)
{
    size_t fields = lease_item_fields(item);

    pack_array(p, fields);
    pack_uint(p, item->lease);
    pack_uint(p, item->session);
    if (fields > 2)
        pack_uint(p, item->verdict);
    if (fields > 3) {
        pack_uint(p, item->left);
        pack_uint(p, item->to.v);
    }
}

static void unpack_lease_item(struct unpack *u, struct msg_lease_item *item)
{
    size_t fields = unpack_array(u, 5);

    memset(item, 0, sizeof *item);
    item->lease = unpack_uint(u, 0, UINT64_MAX);
    item->session = unpack_uint(u, 0, UINT64_MAX);
    if (fields > 2)
        item->verdict = (uint8_t)unpack_uint(u, 0, MSG_VERDICT_MAX);
    if (fields > 3) {
        item->left = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
        item->to.v = unpack_uint(u, 0, UINT64_MAX);
    }
    if (fields != lease_item_fields(item))
        unpack_fail(u, WIRE_BODY_FIELDS);
}

/* The seventh element: 0 is left out. */
static uint64_t lease_extra(uint8_t type, const struct msg_lease *l)
{
    if (type == MSG_LEASE_REQUEST)
        return l->digest;
    return type == MSG_LEASE_REPLY ? l->renewed : 0;
}

static int pack_lease(struct pack *p, uint8_t type, const struct msg_lease *l)
{
    uint64_t extra = lease_extra(type, l);

    if (!lease_valid(l))
        return ERR_INVALID;
    pack_array(p, extra != 0 ? 7 : 6);
    pack_uint(p, type);
    pack_uint(p, l->sequence);
    pack_uint(p, l->set);
    pack_uint(p, l->lease_ms);
    pack_uint(p, l->fence_ms);
    pack_array(p, l->item_count);
    for (size_t i = 0; i < l->item_count; i++)
        pack_lease_item(p, &l->items[i]);
    if (extra != 0)
        pack_uint(p, extra);
    return ERR_NONE;
}

static void unpack_lease(struct unpack *u, uint8_t type, size_t fields, struct msg_lease *l)
{
    bool extends = fields == 7 && (type == MSG_LEASE_REQUEST || type == MSG_LEASE_REPLY);

    if (fields != 6 && !extends)
        unpack_fail(u, WIRE_BODY_FIELDS);
    l->digest = 0;
    l->renewed = 0;
    l->sequence = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    l->set = (uint32_t)unpack_uint(u, 0, UINT32_MAX);
    l->lease_ms = (uint16_t)unpack_uint(u, 0, UINT16_MAX);
    l->fence_ms = (uint16_t)unpack_uint(u, 0, UINT16_MAX);
    l->item_count = (uint8_t)unpack_array(u, MSG_LEASE_ITEMS_MAX);
    for (size_t i = 0; i < l->item_count && u->reason == WIRE_OK; i++)
        unpack_lease_item(u, &l->items[i]);
    if (extends && type == MSG_LEASE_REQUEST)
        l->digest = unpack_uint(u, 1, UINT64_MAX);
    else if (extends)
        l->renewed = (uint8_t)unpack_uint(u, MSG_GRANT, MSG_REFUSE);
}

static int pack_message(struct pack *p, const struct msg *m)
{
    switch (m->type) {
    case MSG_PING:
        return pack_ping(p, &m->probe);
    case MSG_ACK:
    case MSG_NACK:
        return pack_answer(p, m->type, &m->probe);
    case MSG_PING_REQ:
        return pack_ping_req(p, &m->probe);
    case MSG_GOSSIP:
        return pack_gossip(p, &m->probe);
    case MSG_DIGEST:
        return pack_digest(p, &m->digest);
    case MSG_DELTA:
        return pack_delta(p, &m->delta);
    case MSG_LEASE_REQUEST:
    case MSG_LEASE_REPLY:
    case MSG_LEASE_RELEASE:
    case MSG_LEASE_TRANSFER:
        return pack_lease(p, m->type, &m->lease);
    default:
        return ERR_INVALID;
    }
}

int codec_encode(const struct msg *m, uint8_t out[CODEC_BODY_MAX], size_t *len)
{
    struct pack p;
    int rc;

    *len = 0;
    pack_begin(&p, out, CODEC_BODY_MAX);
    rc = pack_message(&p, m);
    if (rc == ERR_NONE && p.full)
        rc = ERR_LIMIT;
    if (rc == ERR_NONE)
        *len = p.len;
    return rc;
}

enum wire_reason codec_decode(const uint8_t *body, size_t len, struct msg *m)
{
    struct unpack u;
    size_t fields;

    unpack_begin(&u, body, len);
    memset(&m->probe, 0, offsetof(struct msg_probe, updates));
    fields = unpack_array(&u, 8);
    m->type = (uint8_t)unpack_uint(&u, 0, UINT8_MAX);
    if (u.reason != WIRE_OK)
        return u.reason;
    switch (m->type) {
    case MSG_PING:
        unpack_ping(&u, fields, &m->probe);
        break;
    case MSG_ACK:
    case MSG_NACK:
        unpack_answer(&u, fields, &m->probe);
        break;
    case MSG_PING_REQ:
        unpack_ping_req(&u, fields, &m->probe);
        break;
    case MSG_GOSSIP:
        unpack_gossip(&u, fields, &m->probe);
        break;
    case MSG_DIGEST:
        unpack_digest(&u, fields, &m->digest);
        break;
    case MSG_DELTA:
        unpack_delta(&u, fields, &m->delta);
        break;
    case MSG_LEASE_REQUEST:
    case MSG_LEASE_REPLY:
    case MSG_LEASE_RELEASE:
    case MSG_LEASE_TRANSFER:
        unpack_lease(&u, m->type, fields, &m->lease);
        break;
    default:
        return WIRE_BODY_TYPE;
    }
    return unpack_end(&u);
}
