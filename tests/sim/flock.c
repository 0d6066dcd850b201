/* The life of a flock: its nodes start, crash, move, write and leave. */
#include "tests/sim/flock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/flock_inside.h"

#define FIRST_BOOT 100000
#define CHECKED_MAX                                                                                \
    128                 /* nodes up to which versions are followed and compared after each delta   \
                         */
#define BOOTS_APART 100 /* no number is used twice, though a lost store sets it back */

/* What stands in a head here. */
struct head {
    struct addr addr;
};

static struct addr address_of(size_t node, uint32_t moves)
{
    struct addr a = {.family = 4, .port = 8801};

    a.ip[0] = 10;
    a.ip[1] = (uint8_t)(moves & 0xff);
    a.ip[2] = (uint8_t)(node >> 8);
    a.ip[3] = (uint8_t)(node & 0xff);
    return a;
}

/* An admission holds unless the node was told of its revocation. */
static bool verify(void *ctx, node_id author, const struct msg_record *record)
{
    const struct flock_context *c = ctx;
    size_t subject = flock_index_of(c->flock, author);

    (void)record;
    return subject != SIZE_MAX && !flock_revoked(c->flock, c->node, subject);
}

static void introduce(struct flock *f, size_t node, size_t other)
{
    struct records_event event = {.type = RECORDS_ADMIT, .from = f->nodes[other].id};

    if (node == other || flock_revoked(f, node, other))
        return;
    flock_admit(f, node, f->nodes[other].id, &f->nodes[other].addr);
    if (!f->options.bare)
        flock_records_step(f, node, &event);
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
        flock_members_step(f, node, &event);
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
    flock_settle(f, node);
}

static int by_id(const void *a, const void *b)
{
    const struct flock_place *x = a;
    const struct flock_place *y = b;

    return x->id.v < y->id.v ? -1 : x->id.v > y->id.v;
}

struct flock *flock_create(const struct flock_options *options)
{
    struct flock *f = flock_must(calloc(1, sizeof *f));
    struct rng rng;

    rng_seed(&rng, options->seed);
    f->options = *options;
    f->count = options->nodes;
    f->net = simnet_create(options->nodes, rng_next(&rng));
    f->nodes = flock_must(calloc(f->count, sizeof *f->nodes));
    f->places = flock_must(calloc(f->count, sizeof *f->places));
    if (options->handshake_ms > 0)
        f->sessions = flock_must(calloc(f->count * f->count, sizeof *f->sessions));
    for (size_t i = 0; i < f->count; i++) {
        f->nodes[i].context = (struct flock_context){.flock = f, .node = i};
        f->nodes[i].id = (node_id){rng_next(&rng) | 1};
        f->nodes[i].addr = address_of(i, 0);
        f->nodes[i].boot = FIRST_BOOT;
        f->nodes[i].crashed = MONO_NEVER;
        f->nodes[i].lowest_boot = FIRST_BOOT;
        f->nodes[i].opinions = flock_must(calloc(f->count, sizeof(struct flock_opinion)));
        if (!options->bare && f->count <= CHECKED_MAX)
            f->nodes[i].seen = flock_must(calloc(f->count, sizeof(struct flock_seen)));
        f->places[i] = (struct flock_place){.id = f->nodes[i].id, .node = i};
    }
    qsort(f->places, f->count, sizeof *f->places, by_id);
    for (size_t i = 0; i < f->count; i++)
        start_node(f, i);
    return f;
}

/* The sessions of one that has started are others. */
static void forget_sessions(struct flock *f, size_t node)
{
    for (size_t i = 0; f->sessions != NULL && i < f->count; i++)
        f->sessions[i < node ? i * f->count + node : node * f->count + i] = MONO_ZERO;
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
    free(f->sessions);
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
    forget_sessions(f, node);
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
    flock_members_step(f, node, &event);
    if (n->records != NULL)
        records_set(n->records, "", &head, sizeof head);
    flock_settle(f, node);
}

void flock_leave(struct flock *f, size_t node)
{
    struct membership_event event = {.type = MEMBERSHIP_LEAVE};

    if (!simnet_up(f->net, node))
        return;
    flock_members_step(f, node, &event);
    flock_settle(f, node);
}

void flock_revoke_at(struct flock *f, size_t observer, size_t subject)
{
    struct membership_event member = {.type = MEMBERSHIP_REVOKE, .from = f->nodes[subject].id};
    struct records_event record = {.type = RECORDS_REVOKE, .from = f->nodes[subject].id};

    f->nodes[subject].revoked = true;
    if (f->revoked_at == NULL)
        f->revoked_at = flock_must(calloc(f->count * f->count, sizeof *f->revoked_at));
    f->revoked_at[observer * f->count + subject] = true;
    if (!simnet_up(f->net, observer) || observer == subject)
        return;
    flock_members_step(f, observer, &member);
    flock_records_step(f, observer, &record);
    flock_settle(f, observer);
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
        flock_check(f, records_delete(n->records, key) == ERR_NONE, "a record can be deleted");
    } else {
        n->truth[k] = (uint32_t)rng_next(rng) | 1;
        memset(value, 'v', sizeof value);
        memcpy(value, &n->truth[k], sizeof n->truth[k]);
        flock_check(f, records_set(n->records, key, value, len) == ERR_NONE, "a record can be set");
    }
    flock_settle(f, node);
}

void flock_greet(struct flock *f, size_t node, size_t other)
{
    struct records_event event = {.type = RECORDS_GREET, .from = f->nodes[other].id};

    if (!simnet_up(f->net, node))
        return;
    flock_records_step(f, node, &event);
    flock_settle(f, node);
}

/* What a local name service tells: where @other is now. */
void flock_discover(struct flock *f, size_t node, size_t other)
{
    if (!simnet_up(f->net, node) || node == other || flock_revoked(f, node, other))
        return;
    flock_admit(f, node, f->nodes[other].id, &f->nodes[other].addr);
    flock_settle(f, node);
}

void flock_reset_counts(struct flock *f)
{
    f->deaths_false = 0;
    f->deaths_sick = 0;
    f->suspicions_false = 0;
    f->conflicts = 0;
}
