/* A member whose card is in wrong hands: it says in other members' names what it likes. Signatures
 * are keyed hashes here, under a secret of each machine. */
#include <string.h>

#include "tests/sim/cluster_internal.h"

static size_t thief_of(const struct cluster *c)
{
    return c->options.nodes - 1;
}

/* ---- signatures ---- */

static uint64_t secret_of(const struct cluster *c, size_t machine)
{
    return hash64_mix(c->options.seed ^ 0x5ec4e7, machine + 1);
}

static uint64_t update_hash(uint64_t secret, const struct msg_update *u)
{
    uint64_t h = hash64_mix(secret, u->kind);

    h = hash64_mix(hash64_mix(h, u->subject.v), u->author.v);
    return hash64_mix(hash64_mix(h, u->incarnation), hash64(&u->addr.ip, sizeof u->addr.ip));
}

static uint64_t record_hash(uint64_t secret, node_id author, const struct msg_record *r)
{
    uint64_t h = hash64_mix(hash64_mix(secret, author.v), r->floor);

    h = hash64_mix(hash64_mix(h, r->version), hash64(r->key, r->key_len));
    return hash64_mix(h, hash64(r->value, r->value_len));
}

static void sign_update(void *context, struct msg_update *update)
{
    struct machine *m = context;
    uint64_t h = update_hash(secret_of(m->cluster, m->index), update);

    memset(update->signature, 0, sizeof update->signature);
    memcpy(update->signature, &h, sizeof h);
}

static bool verify_update(void *context, const struct msg_update *update)
{
    struct cluster *c = ((struct machine *)context)->cluster;
    uint64_t h = update_hash(secret_of(c, world_index(c, update->author)), update);

    return memcmp(update->signature, &h, sizeof h) == 0;
}

static void sign_record(void *context, node_id author, struct msg_record *record)
{
    struct machine *m = context;
    uint64_t h = record_hash(secret_of(m->cluster, m->index), author, record);

    memset(record->signature, 0, sizeof record->signature);
    memcpy(record->signature, &h, sizeof h);
}

static bool verify_record(void *context, node_id author, const struct msg_record *record)
{
    struct cluster *c = ((struct machine *)context)->cluster;
    uint64_t h = record_hash(secret_of(c, world_index(c, author)), author, record);

    return memcmp(record->signature, &h, sizeof h) == 0;
}

void thief_crypto(struct machine *m, struct node_crypto *crypto)
{
    *crypto = (struct node_crypto){.context = m,
                                   .sign_update = sign_update,
                                   .verify_update = verify_update,
                                   .sign_record = sign_record,
                                   .verify_record = verify_record};
}

/* ---- forgeries ---- */

static struct machine *victim(struct machine *m)
{
    return &m->cluster->machines[rng_index(m->cluster->rng, thief_of(m->cluster))];
}

/* A word about one member in the name of another, or its own; or, where that is allowed, in the
 * thief's own name. Signed by the thief, or by nobody. */
static void forge_update(struct machine *m, struct msg_probe *probe)
{
    struct rng *rng = m->cluster->rng;
    struct machine *subject = victim(m);
    struct machine *author = victim(m);
    struct msg_update *u = &probe->updates[probe->update_count];
    struct member_view view;

    if (probe->update_count == MSG_UPDATES_MAX ||
        membership_find(m->node->members, subject->id, &view) != ERR_NONE)
        return;
    *u = (struct msg_update){.kind = (uint8_t)rng_range(rng, MSG_ALIVE, MSG_LEFT),
                             .subject = subject->id,
                             .author = author->id,
                             .incarnation = view.incarnation + rng_below(rng, 3)};
    if (u->kind == MSG_ALIVE) {
        u->author = subject->id;
        u->addr = (struct addr){.family = 4, .ip = {6, 6, 6, 6}, .port = 666};
    } else if (u->kind == MSG_LEFT) {
        u->author = subject->id;
    } else if (m->cluster->thief == CLUSTER_FORGES_AND_LIES && rng_below(rng, 4) == 0) {
        u->author = m->id;
    }
    if (node_id_equal(u->author, m->id) || rng_below(rng, 2) == 0)
        sign_update(m, u);
    probe->update_count++;
}

/* A newest record of another: what that says of its machine, with another byte. */
static void forge_record(struct machine *m, struct msg *msg, uint8_t *bytes, size_t room)
{
    const struct machine *v = victim(m);
    struct msg_delta *delta = &msg->delta;
    struct record_view there;

    if (records_get(m->node->records, v->id, "node", &there) != ERR_NONE || there.value_len > room)
        return;
    memcpy(bytes, there.value, there.value_len);
    bytes[there.value_len - 1] ^= 1;
    msg->type = MSG_DELTA;
    *delta = (struct msg_delta){
        .author = v->id, .from = records_version(m->node->records, v->id), .count = 1};
    delta->to = delta->from + 1;
    delta->records[0] = (struct msg_record){.key = "node",
                                            .key_len = 4,
                                            .value = bytes,
                                            .value_len = there.value_len,
                                            .version = delta->to,
                                            .floor = there.floor};
    sign_record(m, v->id, &delta->records[0]);
}

void thief_forge(struct machine *m, struct msg *msg, uint8_t *bytes, size_t room)
{
    if (m->cluster->thief == CLUSTER_HONEST || m->index != thief_of(m->cluster) ||
        rng_below(m->cluster->rng, 2) == 0)
        return;
    if (msg->type < MSG_PING || msg->type > MSG_GOSSIP)
        return;
    if (rng_below(m->cluster->rng, 4) == 0)
        forge_record(m, msg, bytes, room);
    else
        forge_update(m, &msg->probe);
}

/* ---- what must hold ---- */

void cluster_forge(struct cluster *c, enum cluster_thief thief)
{
    c->thief = thief;
}

struct comparison {
    struct cluster *cluster;
    const struct machine *author, *observer;
};

static bool same_record(void *context, const struct record_view *own)
{
    struct comparison *x = context;
    struct record_view there;

    if (records_get(x->observer->node->records, x->author->id, own->key, &there) == ERR_NONE &&
        (there.version > own->version ||
         (there.version == own->version && (there.value_len != own->value_len ||
                                            memcmp(there.value, own->value, own->value_len) != 0))))
        cluster_break(x->cluster, "pi%zu holds of pi%zu's %s what that never said",
                      x->observer->index + 1, x->author->index + 1, own->key);
    return true;
}

void cluster_check_forged(struct cluster *c)
{
    for (size_t i = 0; i < thief_of(c); i++)
        for (size_t k = 0; k < thief_of(c); k++) {
            struct machine *a = &c->machines[i];
            struct machine *b = &c->machines[k];
            struct comparison x = {.cluster = c, .author = b, .observer = a};
            struct member_view view;
            if (i == k || a->node == NULL || b->node == NULL)
                continue;
            if (membership_find(a->node->members, b->id, &view) != ERR_NONE ||
                view.state == MEMBER_DEAD || view.state == MEMBER_LEFT ||
                (view.state == MEMBER_SUSPECT && c->thief == CLUSTER_FORGES))
                cluster_break(c, "pi%zu calls pi%zu %s on the word of a thief", i + 1, k + 1,
                              member_state_name(view.state));
            if (view.addr.ip[0] == 6)
                cluster_break(c, "pi%zu looks for pi%zu where a thief said", i + 1, k + 1);
            records_each(b->node->records, b->id, "", same_record, &x);
        }
}
