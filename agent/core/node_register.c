/* The gateway's ARP cache as a register (docs/vip.md, rule 18): whether it is one. Who holds an
 * address that nobody disputes has the gateway tested, and tells the other node of the pair, for
 * both have to go by the same rule. */
#include "agent/core/node_internal.h"
#include "proto/record/value_codec.h"

#define TEST_AFTER_MS 2000            /* the gateway has been told of the address by then */
#define TEST_KEPT_MS (3600 * 1000)    /* tested again after this: it may be another gateway, */
#define TEST_LOST_MS (10 * 60 * 1000) /* or have lost more frames than a test can bear */

/* Rule 18 is for a set of two voters; @peer is the other one. */
static bool pair(const struct node *node, node_id *peer)
{
    const struct voter_set *set = &node->adopted;

    for (int i = 0; set->count == 2 && i < 2; i++)
        if (node_id_equal(set->voters[i], node->config.self)) {
            *peer = set->voters[1 - i];
            return true;
        }
    return false;
}

static enum node_register told_by(const struct node *node, node_id peer)
{
    struct value_register value;
    struct record_view view;

    if (records_get(node->records, peer, "register", &view) != ERR_NONE ||
        value_register_decode(view.value, view.value_len, &value) != ERR_NONE)
        return NODE_REGISTER_UNTESTED;
    return value.kept ? NODE_REGISTER_KEPT : NODE_REGISTER_LOST;
}

static void use(struct node *node, enum node_register verdict)
{
    struct leases_event step = {.type = LEASES_REGISTER, .on = verdict == NODE_REGISTER_KEPT};

    if (verdict == node->register_used)
        return;
    node->register_used = verdict;
    node_lease_run(node, &step);
    node_effect(node, EFFECT_GATEWAY_KEEP)->gateway.kept = step.on;
    if (step.on)
        node_event(node, EFFECT_INFO, "gateway",
                   "the gateway keeps its ARP cache by the last writer: two Pis that reach it and "
                   "not each other settle by it who holds an address");
    else
        node_event(node, EFFECT_WARNING, "gateway",
                   "the gateway does not keep its ARP cache by the last writer: two Pis that reach "
                   "it and not each other may both hold an address. A witness would settle it");
}

/* The verdict of either counts for both, and a failure counts more. */
static void judge(struct node *node)
{
    enum node_register own = node->register_tested;
    enum node_register theirs;
    node_id peer;

    if (!pair(node, &peer))
        return;
    theirs = told_by(node, peer);
    if (own == NODE_REGISTER_LOST || theirs == NODE_REGISTER_LOST)
        use(node, NODE_REGISTER_LOST);
    else if (own == NODE_REGISTER_KEPT || theirs == NODE_REGISTER_KEPT)
        use(node, NODE_REGISTER_KEPT);
}

void node_register_tested(struct node *node, bool kept)
{
    struct value_register value = {.kept = kept};
    uint8_t bytes[RECORD_VALUE_MAX];
    size_t len;

    /* Lost frames fail a test as well, and a link that fails takes the address with it: a gateway
     * that has passed before is asked once more. */
    if (!kept && node->register_used == NODE_REGISTER_KEPT && !node->register_doubted) {
        node->register_doubted = true;
        node->register_at = mono_add(node->now, TEST_AFTER_MS);
        return;
    }
    node->register_doubted = false;
    node->register_tested = kept ? NODE_REGISTER_KEPT : NODE_REGISTER_LOST;
    node->register_at = mono_add(node->now, kept ? TEST_KEPT_MS : TEST_LOST_MS);
    if (value_register_encode(&value, bytes, sizeof bytes, &len) == ERR_NONE)
        node_publish(node, "register", bytes, len);
    judge(node);
}

void node_register_seen(struct node *node)
{
    judge(node);
}

void node_register_acquired(struct node *node)
{
    node->register_doubted = false;
    node->register_at = mono_min(node->register_at, mono_add(node->now, TEST_AFTER_MS));
}

/* An address that the other node has granted to this one: nobody else can hold it. */
static const struct held_vip *undisputed(const struct node *node, bool *held)
{
    *held = false;
    for (size_t i = 0; i < node->vip_count; i++) {
        const struct held_vip *vip = &node->vips[i];
        struct lease_view view;
        if (!vip->value.holding || !leases_get(node->leases, node->now, vip->lease, &view))
            continue;
        *held = true;
        if (view.state == LEASE_HELD && !view.solo)
            return vip;
    }
    return NULL;
}

void node_register_tick(struct node *node)
{
    const struct held_vip *vip;
    struct effect *effect;
    node_id peer;
    bool held;

    if (!mono_reached(node->now, node->register_at))
        return;
    vip = undisputed(node, &held);
    node->register_at = held ? mono_add(node->now, TEST_AFTER_MS) : MONO_NEVER;
    if (vip == NULL || !pair(node, &peer))
        return;
    node->register_at = mono_add(node->now, TEST_LOST_MS); /* if no result comes */
    effect = node_effect(node, EFFECT_GATEWAY_TEST);
    effect->gateway.lease = vip->lease;
    effect->gateway.address = vip->address;
}

const char *node_register_text(const struct node *node)
{
    static const char *const words[] = {[NODE_REGISTER_UNTESTED] = "untested",
                                        [NODE_REGISTER_KEPT] = "kept",
                                        [NODE_REGISTER_LOST] = "lost"};
    node_id peer;

    return pair(node, &peer) ? words[node->register_used] : "";
}

mono_t node_register_deadline(const struct node *node)
{
    return node->register_at;
}

void node_register_create(struct node *node)
{
    const struct node_saved *saved = node->config.saved;
    struct leases_event step = {.type = LEASES_REGISTER, .on = true};

    node->register_at = MONO_NEVER;
    if (saved != NULL ? !saved->leases.register_kept : !node->config.register_kept)
        return;
    node->register_used = NODE_REGISTER_KEPT;
    if (saved == NULL) /* else it is in the record of the leases */
        node_lease_run(node, &step);
}
