/* Steps of the machines of a flock, what goes between them, and the invariants after each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/codec.h"
#include "tests/sim/flock_inside.h"

void *flock_must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "flock: out of memory\n");
        abort();
    }
    return p;
}

void flock_check(struct flock *f, bool holds, const char *what)
{
    if (!holds && f->broken == NULL)
        f->broken = what;
}

size_t flock_index_of(const struct flock *f, node_id id)
{
    size_t low = 0;
    size_t high = f->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (f->places[mid].id.v < id.v)
            low = mid + 1;
        else
            high = mid;
    }
    return low < f->count && node_id_equal(f->places[low].id, id) ? f->places[low].node : SIZE_MAX;
}

bool flock_revoked(const struct flock *f, size_t observer, size_t subject)
{
    return f->revoked_at != NULL && f->revoked_at[observer * f->count + subject];
}

struct flock_opinion *flock_opinion_of(const struct flock *f, size_t observer, size_t subject)
{
    return &f->nodes[observer].opinions[subject];
}

static void send_stream(struct flock *f, size_t node, node_id to, const struct msg *msg)
{
    uint8_t body[CODEC_BODY_MAX];
    size_t len;
    int rc = codec_encode(msg, body, &len);

    flock_check(f, rc == ERR_NONE, "a message that came out can be encoded");
    flock_check(f, f->options.streams, "nothing goes over TCP where there is none");
    if (rc == ERR_NONE)
        simnet_send_stream(f->net, node, flock_index_of(f, to), body, len,
                           len + FLOCK_STREAM_OVERHEAD);
}

/* Until there is a session between both: what is sent before waits. */
static int64_t session_wait(struct flock *f, size_t a, size_t b)
{
    mono_t now = simnet_now(f->net);
    mono_t *ready;

    if (f->sessions == NULL)
        return 0;
    ready = &f->sessions[a < b ? a * f->count + b : b * f->count + a];
    if (ready->ms == 0)
        *ready = mono_add(now, rng_range(simnet_rng(f->net), 0, f->options.handshake_ms));
    return mono_reached(now, *ready) ? 0 : mono_diff(*ready, now);
}

static void send_message(struct flock *f, size_t node, const struct addr *addr,
                         const struct msg *msg)
{
    uint8_t body[CODEC_BODY_MAX];
    size_t to = (size_t)addr->ip[2] << 8 | addr->ip[3];
    size_t len;
    int rc = codec_encode(msg, body, &len);

    flock_check(f, rc == ERR_NONE, "a message that came out can be encoded and fits a datagram");
    if (rc != ERR_NONE)
        return;
    /* Who has moved is not found at its old address any more; the packet is sent all the same. */
    if (!addr_equal(addr, &f->nodes[to].addr))
        to = node;
    simnet_send_after(f->net, session_wait(f, node, to), node, to, body, len,
                      len + FLOCK_WIRE_OVERHEAD);
}

/* As an agent does that learns of an earlier life of its own. */
static void raise_boot(struct flock_node *n, uint64_t seen)
{
    if (n->boot < seen >> 32)
        n->boot = (uint32_t)(seen >> 32);
}

static bool reachable(const struct flock *f, size_t node)
{
    return simnet_up(f->net, node) && !simnet_paused(f->net, node);
}

static void member_changed(struct flock *f, size_t node, const struct membership_change *c)
{
    size_t subject = flock_index_of(f, c->id);
    struct flock_opinion *o = flock_opinion_of(f, node, subject);
    struct records_event event = {.from = c->id};

    flock_check(f, c->new_state == 0 || !flock_revoked(f, node, subject),
                "no state of a revoked member");
    flock_check(f, c->old_state == o->state, "changes follow each other without a gap");
    if (c->new_state != o->state) {
        if (c->new_state == MEMBER_DEAD && reachable(f, subject)) {
            f->deaths_false++;
            f->deaths_sick += f->nodes[node].sick || f->nodes[subject].sick;
        }
        if (c->new_state == MEMBER_SUSPECT && reachable(f, subject))
            f->suspicions_false++;
        o->since = (uint32_t)mono_diff(simnet_now(f->net), SIMNET_START);
    }
    o->state = c->new_state;
    if (f->options.bare)
        return;
    if (c->new_state == MEMBER_ALIVE || c->new_state == MEMBER_SUSPECT)
        event.type = RECORDS_PEER_UP;
    else if (c->new_state == MEMBER_DEAD || c->new_state == MEMBER_LEFT)
        event.type = RECORDS_PEER_DOWN;
    else
        return;
    flock_records_step(f, node, &event);
}

void flock_members_step(struct flock *f, size_t node, const struct membership_event *event)
{
    struct flock_node *n = &f->nodes[node];
    struct membership_out *out = f->members_out; /* taken until this step has ended */

    f->members_out = NULL;
    if (out == NULL)
        out = flock_must(malloc(sizeof *out));
    membership_step(n->members, simnet_now(f->net), event, out);
    f->conflicts += out->conflict != 0;
    raise_boot(n, out->conflict);
    for (size_t i = 0; i < out->send_count; i++) {
        size_t to = flock_index_of(f, out->sends[i].to);
        flock_check(f, !flock_revoked(f, node, to), "nothing is sent to a revoked member");
        if (out->sends[i].stream)
            send_stream(f, node, out->sends[i].to, &out->sends[i].msg);
        else
            send_message(f, node, &out->sends[i].addr, &out->sends[i].msg);
    }
    for (size_t i = 0; i < out->change_count; i++)
        member_changed(f, node, &out->changes[i]);
    free(f->members_out);
    f->members_out = out;
}

static size_t key_index(const char *key, size_t key_len)
{
    unsigned n = FLOCK_KEYS;

    if (key_len > 0)
        sscanf(key, "key/%u", &n);
    return n;
}

void flock_admit(struct flock *f, size_t node, node_id id, const struct addr *addr)
{
    struct membership_event event = {.type = MEMBERSHIP_ADMIT, .from = id, .addr = *addr};

    flock_members_step(f, node, &event);
}

static void record_changed(struct flock *f, size_t node, const struct records_change *c)
{
    size_t subject = flock_index_of(f, c->author);
    struct records_event greet = {.type = RECORDS_GREET, .from = c->author};
    uint64_t *seen;

    if (c->type == RECORDS_FUTURE) {
        f->conflicts++;
        raise_boot(&f->nodes[node], c->version);
    }
    flock_check(f,
                c->type == RECORDS_FORGED || c->type == RECORDS_REVOKED ||
                    !flock_revoked(f, node, subject),
                "no record of a revoked author");
    flock_check(f, c->type != RECORDS_REFUSED, "there is room for all records");
    if (c->type == RECORDS_ADMITTED)
        flock_records_step(f, node, &greet);
    if ((c->type != RECORDS_SET && c->type != RECORDS_DELETED) || f->nodes[node].seen == NULL)
        return;
    seen = &f->nodes[node].seen[subject].keys[key_index(c->key, c->key_len)];
    flock_check(f, c->version > *seen, "the versions of a key only grow");
    *seen = c->version;
}

void flock_records_step(struct flock *f, size_t node, const struct records_event *event)
{
    struct flock_node *n = &f->nodes[node];
    struct records_out *out = flock_must(malloc(sizeof *out));
    struct addr addresses[RECORDS_CHANGES_MAX];

    records_step(n->records, simnet_now(f->net), event, out);
    for (size_t i = 0; i < out->send_count; i++) {
        struct member_view view;
        if (membership_find(n->members, out->sends[i].to, &view) != ERR_NONE)
            continue;
        if (view.stream)
            send_stream(f, node, out->sends[i].to, &out->sends[i].msg);
        else if (view.addr.family != 0)
            send_message(f, node, &view.addr, &out->sends[i].msg);
    }
    for (size_t i = 0; i < out->change_count; i++)
        if (out->changes[i].type == RECORDS_SET && out->changes[i].key_len == 0)
            memcpy(&addresses[i], out->changes[i].value, sizeof(struct addr));
    for (size_t i = 0; i < out->change_count; i++) {
        const struct records_change *c = &out->changes[i];
        bool head = c->type == RECORDS_SET && c->key_len == 0;
        record_changed(f, node, c); /* may step the records again: borrowed data is gone then */
        if (head)
            flock_admit(f, node, c->author, &addresses[i]);
    }
    free(out);
}

void flock_settle(struct flock *f, size_t node)
{
    struct flock_node *n = &f->nodes[node];
    struct membership_event members = {.type = MEMBERSHIP_TIMER};
    struct membership_event root = {.type = MEMBERSHIP_ROOT};
    struct records_event records = {.type = RECORDS_TIMER};
    mono_t now = simnet_now(f->net);

    for (int i = 0; i < 1000; i++) {
        bool due = false;
        if (mono_reached(now, membership_deadline(n->members))) {
            due = true;
            flock_members_step(f, node, &members);
        }
        if (n->records != NULL && mono_reached(now, records_deadline(n->records))) {
            due = true;
            flock_records_step(f, node, &records);
        }
        if (n->records != NULL && records_root(n->records) != n->root) {
            due = true;
            n->root = root.root = records_root(n->records);
            flock_members_step(f, node, &root);
        }
        if (!due) {
            mono_t next = membership_deadline(n->members);
            if (n->records != NULL)
                next = mono_min(next, records_deadline(n->records));
            simnet_wake(f->net, node, next);
            return;
        }
    }
    flock_check(f, false, "a machine comes to rest");
}

static void check_versions(struct flock *f, size_t node)
{
    for (size_t i = 0; i < f->count; i++) {
        struct flock_seen *o = &f->nodes[node].seen[i];
        uint64_t version = records_version(f->nodes[node].records, f->nodes[i].id);
        flock_check(f, version >= o->version || flock_revoked(f, node, i),
                    "what is known never goes back");
        flock_check(f, i == node || !flock_revoked(f, node, i) || version == 0,
                    "nothing is held of a revoked author");
        o->version = version;
    }
}

static void deliver(struct flock *f, const struct simnet_event *e)
{
    struct flock_node *from = &f->nodes[e->from];
    struct membership_event member = {
        .type = MEMBERSHIP_HEARD, .from = from->id, .addr = from->addr, .stream = e->stream};
    struct records_event record = {.type = RECORDS_ROOT, .from = from->id};
    struct msg msg;

    if (e->from == e->node || flock_revoked(f, e->node, e->from))
        return; /* lost on its way to an address that nobody has; or refused by the envelope */
    flock_check(f, codec_decode(e->data, e->len, &msg) == WIRE_OK,
                "what was encoded can be decoded");
    if (msg.type <= MSG_GOSSIP) {
        member.type = MEMBERSHIP_MESSAGE;
        member.msg = &msg;
        record.root = msg.probe.root;
    } else {
        record.type = RECORDS_MESSAGE;
        record.msg = &msg;
    }
    flock_members_step(f, e->node, &member);
    if (msg.type == MSG_GOSSIP || f->options.bare)
        return;
    flock_records_step(f, e->node, &record);
    if (msg.type == MSG_DELTA && f->nodes[e->node].seen != NULL)
        check_versions(f, e->node);
}

bool flock_run(struct flock *f, mono_t until,
               void (*script)(struct flock *f, uint64_t tag, void *ctx), void *ctx)
{
    struct simnet_event e;

    while (f->broken == NULL && simnet_next(f->net, until, &e)) {
        if (e.kind == SIMNET_SCRIPT) {
            script(f, e.tag, ctx);
            continue;
        }
        if (e.kind == SIMNET_DELIVER)
            deliver(f, &e);
        flock_settle(f, e.node);
    }
    return f->broken == NULL;
}
