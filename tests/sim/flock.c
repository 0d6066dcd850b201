#include "tests/sim/flock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/codec.h"

#define FIRST_BOOT 100000
#define CHECKED_MAX                                                                                \
    128                 /* nodes up to which versions are followed and compared after each delta   \
                         */
#define BOOTS_APART 100 /* no number is used twice, though a lost store sets it back */

/* What stands in a head here. */
struct head {
    struct addr addr;
};

static void run_members(struct flock *f, size_t node, const struct membership_event *event);
static void run_records(struct flock *f, size_t node, const struct records_event *event);

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "flock: out of memory\n");
        abort();
    }
    return p;
}

static void check(struct flock *f, bool holds, const char *what)
{
    if (!holds && f->broken == NULL)
        f->broken = what;
}

static size_t index_of(const struct flock *f, node_id id)
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

static struct addr address_of(size_t node, uint32_t moves)
{
    struct addr a = {.family = 4, .port = 8801};

    a.ip[0] = 10;
    a.ip[1] = (uint8_t)(moves & 0xff);
    a.ip[2] = (uint8_t)(node >> 8);
    a.ip[3] = (uint8_t)(node & 0xff);
    return a;
}

static bool revoked_at(const struct flock *f, size_t observer, size_t subject)
{
    return f->revoked_at != NULL && f->revoked_at[observer * f->count + subject];
}

static struct flock_opinion *opinion(const struct flock *f, size_t observer, size_t subject)
{
    return &f->nodes[observer].opinions[subject];
}

/* An admission holds unless the node was told of its revocation. */
static bool verify(void *ctx, node_id author, const struct msg_record *record)
{
    const struct flock_context *c = ctx;
    size_t subject = index_of(c->flock, author);

    (void)record;
    return subject != SIZE_MAX && !revoked_at(c->flock, c->node, subject);
}

static void send_stream(struct flock *f, size_t node, node_id to, const struct msg *msg)
{
    uint8_t body[CODEC_BODY_MAX];
    size_t len;
    int rc = codec_encode(msg, body, &len);

    check(f, rc == ERR_NONE, "a message that came out can be encoded");
    check(f, f->options.streams, "nothing goes over TCP where there is none");
    if (rc == ERR_NONE)
        simnet_send_stream(f->net, node, index_of(f, to), body, len, len + FLOCK_STREAM_OVERHEAD);
}

static void send_message(struct flock *f, size_t node, const struct addr *addr,
                         const struct msg *msg)
{
    uint8_t body[CODEC_BODY_MAX];
    size_t to = (size_t)addr->ip[2] << 8 | addr->ip[3];
    size_t len;
    int rc = codec_encode(msg, body, &len);

    check(f, rc == ERR_NONE, "a message that came out can be encoded and fits a datagram");
    if (rc != ERR_NONE)
        return;
    /* Who has moved is not found at its old address any more; the packet is sent all the same. */
    if (!addr_equal(addr, &f->nodes[to].addr))
        to = node;
    simnet_send(f->net, node, to, body, len, len + FLOCK_WIRE_OVERHEAD);
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
    size_t subject = index_of(f, c->id);
    struct flock_opinion *o = opinion(f, node, subject);
    struct records_event event = {.from = c->id};

    check(f, c->new_state == 0 || !revoked_at(f, node, subject), "no state of a revoked member");
    check(f, c->old_state == o->state, "changes follow each other without a gap");
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
    run_records(f, node, &event);
}

static void run_members(struct flock *f, size_t node, const struct membership_event *event)
{
    struct flock_node *n = &f->nodes[node];
    struct membership_out *out = f->members_out; /* taken until this step has ended */

    f->members_out = NULL;
    if (out == NULL)
        out = must(malloc(sizeof *out));
    membership_step(n->members, simnet_now(f->net), event, out);
    f->conflicts += out->conflict != 0;
    raise_boot(n, out->conflict);
    for (size_t i = 0; i < out->send_count; i++) {
        size_t to = index_of(f, out->sends[i].to);
        check(f, !revoked_at(f, node, to), "nothing is sent to a revoked member");
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

static void admit_member(struct flock *f, size_t node, node_id id, const struct addr *addr)
{
    struct membership_event event = {.type = MEMBERSHIP_ADMIT, .from = id, .addr = *addr};

    run_members(f, node, &event);
}

static void record_changed(struct flock *f, size_t node, const struct records_change *c)
{
    size_t subject = index_of(f, c->author);
    struct records_event greet = {.type = RECORDS_GREET, .from = c->author};
    uint64_t *seen;

    if (c->type == RECORDS_FUTURE) {
        f->conflicts++;
        raise_boot(&f->nodes[node], c->version);
    }
    check(f,
          c->type == RECORDS_FORGED || c->type == RECORDS_REVOKED || !revoked_at(f, node, subject),
          "no record of a revoked author");
    check(f, c->type != RECORDS_REFUSED, "there is room for all records");
    if (c->type == RECORDS_ADMITTED)
        run_records(f, node, &greet);
    if ((c->type != RECORDS_SET && c->type != RECORDS_DELETED) || f->nodes[node].seen == NULL)
        return;
    seen = &f->nodes[node].seen[subject].keys[key_index(c->key, c->key_len)];
    check(f, c->version > *seen, "the versions of a key only grow");
    *seen = c->version;
}

static void run_records(struct flock *f, size_t node, const struct records_event *event)
{
    struct flock_node *n = &f->nodes[node];
    struct records_out *out = must(malloc(sizeof *out));
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
            admit_member(f, node, c->author, &addresses[i]);
    }
    free(out);
}

static void settle(struct flock *f, size_t node)
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
            run_members(f, node, &members);
        }
        if (n->records != NULL && mono_reached(now, records_deadline(n->records))) {
            due = true;
            run_records(f, node, &records);
        }
        if (n->records != NULL && records_root(n->records) != n->root) {
            due = true;
            n->root = root.root = records_root(n->records);
            run_members(f, node, &root);
        }
        if (!due) {
            mono_t next = membership_deadline(n->members);
            if (n->records != NULL)
                next = mono_min(next, records_deadline(n->records));
            simnet_wake(f->net, node, next);
            return;
        }
    }
    check(f, false, "a machine comes to rest");
}

static void check_versions(struct flock *f, size_t node)
{
    for (size_t i = 0; i < f->count; i++) {
        struct flock_seen *o = &f->nodes[node].seen[i];
        uint64_t version = records_version(f->nodes[node].records, f->nodes[i].id);
        check(f, version >= o->version || revoked_at(f, node, i), "what is known never goes back");
        check(f, i == node || !revoked_at(f, node, i) || version == 0,
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

    if (e->from == e->node || revoked_at(f, e->node, e->from))
        return; /* lost on its way to an address that nobody has; or refused by the envelope */
    check(f, codec_decode(e->data, e->len, &msg) == WIRE_OK, "what was encoded can be decoded");
    if (msg.type <= MSG_GOSSIP) {
        member.type = MEMBERSHIP_MESSAGE;
        member.msg = &msg;
        record.root = msg.probe.root;
    } else {
        record.type = RECORDS_MESSAGE;
        record.msg = &msg;
    }
    run_members(f, e->node, &member);
    if (msg.type == MSG_GOSSIP || f->options.bare)
        return;
    run_records(f, e->node, &record);
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
        settle(f, e.node);
    }
    return f->broken == NULL;
}

static void introduce(struct flock *f, size_t node, size_t other)
{
    struct records_event event = {.type = RECORDS_ADMIT, .from = f->nodes[other].id};

    if (node == other || revoked_at(f, node, other))
        return;
    admit_member(f, node, f->nodes[other].id, &f->nodes[other].addr);
    if (!f->options.bare)
        run_records(f, node, &event);
}

/* The node has the word of each of the others that it lives, as if they had met before. */
static void acquaint(struct flock *f, size_t node)
{
    struct msg msg = {.type = MSG_GOSSIP};
    struct membership_event event = {.type = MEMBERSHIP_MESSAGE, .msg = &msg};
    size_t own = 0;

    /* In the order of their ids, which is quick; first both neighbours, so that the ring is found
     * by one look. */
    while (f->places[own].node != node)
        own++;
    for (size_t i = 0; i < f->count; i++) {
        size_t place = (own + f->count - 1 + i) % f->count;
        const struct flock_node *o = &f->nodes[f->places[place].node];
        struct msg_probe *probe = &msg.probe;
        if (place == own)
            continue;
        event.from = o->id;
        event.addr = o->addr;
        probe->updates[probe->update_count++] =
            (struct msg_update){.kind = MSG_ALIVE,
                                .subject = o->id,
                                .author = o->id,
                                .incarnation = (uint64_t)o->boot << 32,
                                .addr = o->addr};
        if (probe->update_count < MSG_UPDATES_MAX && i + 1 < f->count)
            continue;
        run_members(f, node, &event);
        probe->update_count = 0;
    }
}

static void start_records(struct flock *f, size_t node)
{
    struct flock_node *n = &f->nodes[node];
    struct head head;
    struct records_config records = {.self = n->id,
                                     .boot = n->boot,
                                     .seed = rng_next(simnet_rng(f->net)),
                                     .verify = verify,
                                     .ctx = &n->context};

    memset(&head, 0, sizeof head);
    head.addr = n->addr;
    memset(n->truth, 0, sizeof n->truth);
    if (n->seen != NULL)
        memset(n->seen, 0, f->count * sizeof *n->seen);
    if (records_create(&records, simnet_now(f->net), &n->records) != ERR_NONE ||
        records_set(n->records, "", &head, sizeof head) != ERR_NONE)
        abort();
}

static void start_node(struct flock *f, size_t node)
{
    struct flock_node *n = &f->nodes[node];
    struct membership_config members = {.self = n->id,
                                        .addr = n->addr,
                                        .incarnation = (uint64_t)n->boot << 32,
                                        .ring_max = f->options.ring_max,
                                        .member_max = (uint32_t)f->count,
                                        .streams = f->options.streams,
                                        .seed = rng_next(simnet_rng(f->net))};

    memset(n->opinions, 0, f->count * sizeof *n->opinions);
    n->root = 0;
    n->started = simnet_now(f->net);
    n->crashed = MONO_NEVER;
    if (membership_create(&members, simnet_now(f->net), &n->members) != ERR_NONE)
        abort();
    if (!f->options.bare)
        start_records(f, node);
    for (size_t i = 0; i < f->count; i++) /* in the order of their ids, which is quick */
        if (!f->options.strangers || (f->places[i].node == 0 && node != 0))
            introduce(f, node, f->places[i].node);
    if (f->options.acquainted && mono_reached(SIMNET_START, n->started))
        acquaint(f, node);
    settle(f, node);
}

static int by_id(const void *a, const void *b)
{
    const struct flock_place *x = a;
    const struct flock_place *y = b;

    return x->id.v < y->id.v ? -1 : x->id.v > y->id.v;
}

struct flock *flock_create(const struct flock_options *options)
{
    struct flock *f = must(calloc(1, sizeof *f));
    struct rng rng;

    rng_seed(&rng, options->seed);
    f->options = *options;
    f->count = options->nodes;
    f->net = simnet_create(options->nodes, rng_next(&rng));
    f->nodes = must(calloc(f->count, sizeof *f->nodes));
    f->places = must(calloc(f->count, sizeof *f->places));
    for (size_t i = 0; i < f->count; i++) {
        f->nodes[i].context = (struct flock_context){.flock = f, .node = i};
        f->nodes[i].id = (node_id){rng_next(&rng) | 1};
        f->nodes[i].addr = address_of(i, 0);
        f->nodes[i].boot = FIRST_BOOT;
        f->nodes[i].crashed = MONO_NEVER;
        f->nodes[i].lowest_boot = FIRST_BOOT;
        f->nodes[i].opinions = must(calloc(f->count, sizeof(struct flock_opinion)));
        if (!options->bare && f->count <= CHECKED_MAX)
            f->nodes[i].seen = must(calloc(f->count, sizeof(struct flock_seen)));
        f->places[i] = (struct flock_place){.id = f->nodes[i].id, .node = i};
    }
    qsort(f->places, f->count, sizeof *f->places, by_id);
    for (size_t i = 0; i < f->count; i++)
        start_node(f, i);
    return f;
}

static void stop_node(struct flock_node *n)
{
    membership_destroy(n->members);
    records_destroy(n->records);
    n->members = NULL;
    n->records = NULL;
}

void flock_destroy(struct flock *f)
{
    for (size_t i = 0; i < f->count; i++) {
        stop_node(&f->nodes[i]);
        free(f->nodes[i].opinions);
        free(f->nodes[i].seen);
    }
    simnet_destroy(f->net);
    free(f->members_out);
    free(f->revoked_at);
    free(f->places);
    free(f->nodes);
    free(f);
}

void flock_crash(struct flock *f, size_t node)
{
    if (!simnet_up(f->net, node))
        return;
    simnet_stop(f->net, node);
    stop_node(&f->nodes[node]);
    f->nodes[node].crashed = simnet_now(f->net);
}

void flock_restart(struct flock *f, size_t node, bool lost)
{
    if (simnet_up(f->net, node))
        return;
    f->nodes[node].boot =
        lost ? (f->nodes[node].lowest_boot -= BOOTS_APART) : f->nodes[node].boot + 1;
    simnet_start(f->net, node);
    start_node(f, node);
}

void flock_move(struct flock *f, size_t node)
{
    struct flock_node *n = &f->nodes[node];
    struct membership_event event = {.type = MEMBERSHIP_ADDRESS};
    struct head head;

    n->addr = address_of(node, ++n->moves);
    if (!simnet_up(f->net, node))
        return;
    memset(&head, 0, sizeof head);
    head.addr = event.addr = n->addr;
    run_members(f, node, &event);
    if (n->records != NULL)
        records_set(n->records, "", &head, sizeof head);
    settle(f, node);
}

void flock_leave(struct flock *f, size_t node)
{
    struct membership_event event = {.type = MEMBERSHIP_LEAVE};

    if (!simnet_up(f->net, node))
        return;
    run_members(f, node, &event);
    settle(f, node);
}

void flock_revoke_at(struct flock *f, size_t observer, size_t subject)
{
    struct membership_event member = {.type = MEMBERSHIP_REVOKE, .from = f->nodes[subject].id};
    struct records_event record = {.type = RECORDS_REVOKE, .from = f->nodes[subject].id};

    f->nodes[subject].revoked = true;
    if (f->revoked_at == NULL)
        f->revoked_at = must(calloc(f->count * f->count, sizeof *f->revoked_at));
    f->revoked_at[observer * f->count + subject] = true;
    if (!simnet_up(f->net, observer) || observer == subject)
        return;
    run_members(f, observer, &member);
    run_records(f, observer, &record);
    settle(f, observer);
}

void flock_write(struct flock *f, size_t node)
{
    struct flock_node *n = &f->nodes[node];
    struct rng *rng = simnet_rng(f->net);
    size_t k = rng_index(rng, FLOCK_KEYS);
    char key[16];
    uint8_t value[RECORD_VALUE_MAX];
    size_t len = sizeof(uint32_t) + rng_index(rng, rng_index(rng, 8) == 0 ? 700 : 60);

    if (!simnet_up(f->net, node))
        return;
    snprintf(key, sizeof key, "key/%02zu", k);
    if (n->truth[k] != 0 && rng_below(rng, 3) == 0) {
        n->truth[k] = 0;
        check(f, records_delete(n->records, key) == ERR_NONE, "a record can be deleted");
    } else {
        n->truth[k] = (uint32_t)rng_next(rng) | 1;
        memset(value, 'v', sizeof value);
        memcpy(value, &n->truth[k], sizeof n->truth[k]);
        check(f, records_set(n->records, key, value, len) == ERR_NONE, "a record can be set");
    }
    settle(f, node);
}

void flock_greet(struct flock *f, size_t node, size_t other)
{
    struct records_event event = {.type = RECORDS_GREET, .from = f->nodes[other].id};

    if (!simnet_up(f->net, node))
        return;
    run_records(f, node, &event);
    settle(f, node);
}

/* What a local name service tells: where @other is now. */
void flock_discover(struct flock *f, size_t node, size_t other)
{
    if (!simnet_up(f->net, node) || node == other || revoked_at(f, node, other))
        return;
    admit_member(f, node, f->nodes[other].id, &f->nodes[other].addr);
    settle(f, node);
}

void flock_reset_counts(struct flock *f)
{
    f->deaths_false = 0;
    f->deaths_sick = 0;
    f->suspicions_false = 0;
    f->conflicts = 0;
}
