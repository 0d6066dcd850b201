/* The keyring's events and effects: what the channel brings, the timer, people who rotate and
 * revoke; messages, the channel's epochs, what is written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "proto/record/value_codec.h"
#include "proto/wire/notice.h"

#define ROTATE_MIN_MS                                                                              \
    2000                  /* between two rotations by people: the channel keeps some epochs only   \
                           */
#define INTRODUCE_EVERY 4 /* one HELLO in so many that go unanswered */

static void step(struct agent *agent, const struct keyring_event *event, struct err *err);

/* ---- from the disk ---- */

static int load_revocations(struct agent *agent, struct err *err)
{
    struct keys_revocation *list = NULL;
    size_t count = 0;
    int rc = kept_load_revocations(agent->kept, &list, &count, err);

    /* What lies on the disk may be of another flock. */
    for (size_t i = 0; rc == ERR_NONE && i < count; i++)
        (void)keyring_load_revocation(agent->ring, &list[i]);
    free(list);
    return rc;
}

static int load_epochs(struct agent *agent, struct err *err)
{
    struct keystore_epochs kept;
    int rc = keystore_load_epochs(agent->keys, &kept, err);

    for (size_t i = 0; rc == ERR_NONE && i < kept.count; i++)
        if (keyring_load_epoch(agent->ring, &kept.epochs[i]) != ERR_NONE)
            rc = err_set(err, ERR_AUTH,
                         "the keys in epoch.keys are not of the flock of cluster.pub. Restore both "
                         "from one backup, or join again");
    keys_wipe(&kept, sizeof kept);
    return rc;
}

static void use_epochs(struct agent *agent)
{
    size_t count;
    const struct keys_epoch *epochs = keyring_epochs(agent->ring, &count);

    (void)channel_set_epochs(agent->channel, epochs, count); /* the ring keeps what it takes */
    if (agent->link != NULL)
        uv_link_set_epoch(agent->link, channel_epoch(agent->channel));
}

int agent_keys_open(struct agent *agent, struct err *err)
{
    struct keyring_config config = {.self = agent->identity.id,
                                    .cluster = agent->coordinator ? &agent->cluster : NULL};
    int rc;

    memcpy(config.cluster_key, agent->cluster_key, KEYS_PUBLIC);
    keys_random(&config.seed, sizeof config.seed);
    agent->keys_out = calloc(1, sizeof *agent->keys_out);
    if (agent->keys_out == NULL ||
        keyring_create(&config, os_clock_now(), &agent->ring) != ERR_NONE)
        return err_set(err, ERR_NOMEM, "prepare the keys: %s", err_text(ERR_NOMEM));
    rc = load_revocations(agent, err);
    if (rc == ERR_NONE)
        rc = load_epochs(agent, err);
    if (rc != ERR_NONE)
        return rc;
    use_epochs(agent);
    if (keyring_revoked(agent->ring, agent->identity.id) != NULL) {
        agent->revoked = true;
        return err_set(err, ERR_DENIED, AGENT_REVOKED_TEXT);
    }
    return ERR_NONE;
}

void agent_keys_close(struct agent *agent)
{
    keyring_destroy(agent->ring);
    free(agent->keys_out);
    agent->ring = NULL;
    agent->keys_out = NULL;
}

void agent_keys_tell(struct agent *agent)
{
    struct node_event event = {.type = NODE_KEYS};

    event.keys.epoch = channel_epoch(agent->channel);
    event.keys.holder = keyring_is_holder(agent->ring);
    agent_feed(agent, &event);
}

/* ---- peers ---- */

int agent_keys_add_peer(struct agent *agent, const struct value_head *head, struct err *err)
{
    int rc = keyring_add_peer(agent->ring, keys_node_id(head->public_key));

    if (rc != ERR_NONE)
        return err_set(err, rc, "%s", rc == ERR_DENIED ? "it was revoked" : err_text(rc));
    return channel_add_peer(agent->channel, head->public_key, err);
}

/* Where a peer is: as it was heard last, or as its head says. */
static bool find_address(struct agent *agent, node_id id, struct addr *at)
{
    const struct value_head *head = node_peer(agent->node, id);
    struct channel_peer peer;

    memset(at, 0, sizeof *at);
    if (channel_find_peer(agent->channel, id, &peer) == ERR_NONE)
        *at = peer.addr;
    if (at->family == 0 && head != NULL)
        *at = head->addr;
    return at->family != 0;
}

static void send_message(struct agent *agent, node_id to, const struct keymsg *msg)
{
    uint8_t body[KEYMSG_BODY_MAX];
    struct channel_out out;
    struct addr at;
    size_t len;

    if (!find_address(agent, to, &at) || keymsg_encode(msg, body, &len) != ERR_NONE)
        return;
    if (channel_seal_keys(agent->channel, os_clock_now(), to, &at, body, len, &out) == ERR_NONE)
        agent_net_out(agent, &out, false);
    keys_wipe(body, sizeof body);
}

/* ---- effects ---- */

static void quarantine(struct agent *agent, node_id id, bool on)
{
    struct node_event event = {.type = NODE_QUARANTINE, .quarantine = {.id = id, .on = on}};

    agent_feed(agent, &event);
}

/* It is told once more, for the case that it means well; then nothing of it is heard. */
static void forget_revoked(struct agent *agent, const struct keys_revocation *revocation)
{
    struct node_event event = {.type = NODE_REVOKE};
    struct keymsg msg = {.type = KEYMSG_REVOKED};
    node_id id = keys_node_id(revocation->public_key);

    if (node_id_equal(id, agent->identity.id))
        return;
    msg.revoked.count = 1;
    msg.revoked.list[0] = *revocation;
    send_message(agent, id, &msg);
    channel_remove_peer(agent->channel, id);
    if (agent->link != NULL)
        uv_link_drop(agent->link, id);
    event.peer.id = id;
    agent_feed(agent, &event);
    agent_report(agent, EFFECT_WARNING, "node", "%s was revoked: it is no member any more",
                 revocation->name);
}

/* What this node holds it gives away; nothing that the flock decides concerns it any more. */
static void leave_revoked(struct agent *agent)
{
    struct node_event leave = {.type = NODE_LEAVE};

    agent->revoked = true;
    agent_report(agent, EFFECT_ERROR, "node", AGENT_REVOKED_TEXT);
    agent_feed(agent, &leave);
}

static void set_cloned(struct agent *agent)
{
    struct node_event drain = {.type = NODE_DRAIN};
    bool cloned = keyring_cloned(agent->ring);

    drain.drain = cloned || agent->known_drain;
    quarantine(agent, agent->identity.id, cloned);
    agent_feed(agent, &drain);
}

static void carry_out(struct agent *agent, node_id from)
{
    struct keyring_out *out = agent->keys_out;
    struct channel_out sealed;

    if (out->epochs)
        use_epochs(agent);
    /* The revocations first: who has the epoch must know them (keyring.h). */
    for (size_t i = 0; i < out->revoked_count; i++) {
        agent_store_revocation(agent, &out->revoked[i]);
        forget_revoked(agent, &out->revoked[i]);
    }
    if (out->epochs) {
        agent_store_epochs(agent);
        agent_report(agent, EFFECT_INFO, "keys", "epoch %u is the newest now",
                     (unsigned)channel_epoch(agent->channel));
        agent_keys_tell(agent);
    }
    if (out->has) {
        channel_peer_has(agent->channel, os_clock_now(), from, out->has_epoch, &sealed);
        agent_net_out(agent, &sealed, false);
    }
    for (size_t i = 0; i < out->send_count; i++)
        send_message(agent, out->sends[i].to, &out->sends[i].msg);
    if (out->cloned_changed)
        set_cloned(agent);
    if (out->self_revoked)
        leave_revoked(agent);
}

static int rotate(struct agent *agent, struct err *err)
{
    struct keyring_event event = {.type = KEYRING_ROTATE};

    keys_random(event.secret, sizeof event.secret);
    agent->rotated_at = os_clock_now();
    step(agent, &event, err);
    keys_wipe(&event, sizeof event);
    return err->code;
}

static void step(struct agent *agent, const struct keyring_event *event, struct err *err)
{
    int rc = keyring_step(agent->ring, os_clock_now(), event, agent->keys_out);
    bool rotation = agent->keys_out->rotate;

    err->code = ERR_NONE;
    if (rc != ERR_NONE)
        err_set(err, rc, "%s", err_text(rc));
    carry_out(agent, event->from);
    if (agent->keys_out->send_count > 0)
        keys_wipe(agent->keys_out, sizeof *agent->keys_out);
    if (rotation && rotate(agent, err) != ERR_NONE)
        agent_report(agent, EFFECT_ERROR, "keys", "no new epoch can be made: %s", err->text);
}

/* ---- what comes in ---- */

static void report_foreign(struct agent *agent, const struct channel_in *in)
{
    const struct value_head *head = node_peer(agent->node, in->foreign);
    uint8_t lowest;
    uint8_t highest;

    channel_versions(agent->channel, &lowest, &highest);
    agent_report(agent, EFFECT_WARNING, "wire",
                 "%s speaks protocol versions %u to %u, this agent %u to %u: they cannot talk. "
                 "Bring both to releases that are at most one apart",
                 head != NULL ? head->name : "a node", (unsigned)in->version_min,
                 (unsigned)in->version_max, (unsigned)lowest, (unsigned)highest);
}

static void take_message(struct agent *agent, const struct channel_in *in, bool restarted)
{
    struct keyring_event event = {
        .type = KEYRING_MESSAGE, .from = in->from, .restarted = restarted};
    struct keymsg msg;
    struct err err;
    enum wire_reason reason = keymsg_decode(in->body, in->len, &msg);

    if (reason != WIRE_OK) {
        channel_count(agent->channel, reason);
        return;
    }
    event.msg = &msg;
    step(agent, &event, &err);
    if (err.code == ERR_AUTH) {
        const struct value_head *head = node_peer(agent->node, in->from);
        channel_count(agent->channel, WIRE_AUTHENTICATION);
        agent_report(agent, EFFECT_ERROR, "keys",
                     "%s sends keys or revocations that the cluster's key has not signed: its card "
                     "may be in wrong hands",
                     head != NULL ? head->name : "a node");
    }
    keys_wipe(&msg, sizeof msg);
}

void agent_keys_take(struct agent *agent, const struct channel_in *in)
{
    struct keyring_event event;
    struct err err;

    if (!node_id_none(in->foreign))
        report_foreign(agent, in);
    if (in->cloned)
        quarantine(agent, in->clone, true);
    if (in->whole)
        quarantine(agent, in->from, false);
    if (!node_id_none(in->from) && in->keys && in->body != NULL) {
        take_message(agent, in, in->restarted);
        return;
    }
    if (keyring_event_of(in, &event))
        step(agent, &event, &err);
}

void agent_keys_timer(struct agent *agent)
{
    struct keyring_event event = {.type = KEYRING_TIMER};
    struct err err;

    step(agent, &event, &err);
}

/* ---- introductions, and notices to who was revoked ---- */

/* Beside some of the HELLOs: who does not answer may not know us. */
void agent_keys_introduce(struct agent *agent, const struct channel_datagram *hello)
{
    uint8_t datagram[NOTICE_SIZE];
    struct envelope e;

    if (envelope_parse(hello->bytes, hello->len, &e) != WIRE_OK || e.kind != ENVELOPE_HELLO ||
        e.initiator % INTRODUCE_EVERY != 0)
        return;
    notice_introduce(&agent->admission, datagram);
    if (os_udp_send(agent->udp, &hello->to, datagram, sizeof datagram) == ERR_NONE)
        agent->sent_bytes += sizeof datagram + AGENT_UDP_OVERHEAD;
}

static void answer_revoked(struct agent *agent, node_id id, const struct addr *to)
{
    const struct keys_revocation *revocation = keyring_revoked(agent->ring, id);
    uint8_t datagram[NOTICE_SIZE];

    if (revocation == NULL || !agent_may_answer(agent))
        return;
    notice_revoked(revocation, datagram);
    (void)os_udp_send(agent->udp, to, datagram, sizeof datagram);
}

void agent_keys_unknown(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct envelope e;

    if (envelope_parse(datagram->data, datagram->len, &e) == WIRE_OK && e.kind == ENVELOPE_HELLO)
        answer_revoked(agent, e.sender, &datagram->from);
}

static enum wire_reason take_introduction(struct agent *agent,
                                          const struct os_udp_datagram *datagram)
{
    struct keys_admission admission;
    struct value_head head = {.addr = datagram->from};
    enum wire_reason reason;
    node_id id;

    if (!agent_may_answer(agent))
        return WIRE_RATE;
    reason = notice_open_introduce(agent->cluster_key, datagram->data, datagram->len, &admission);
    if (reason != WIRE_OK)
        return reason;
    id = keys_node_id(admission.public_key);
    if (keyring_revoked(agent->ring, id) != NULL) {
        answer_revoked(agent, id, &datagram->from);
        return WIRE_UNKNOWN_SENDER;
    }
    value_head_admit(&head, &admission);
    if (node_peer(agent->node, id) == NULL)
        agent_admit(agent, &head);
    return WIRE_OK;
}

static enum wire_reason take_notice(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct keyring_event event = {.type = KEYRING_NOTICE};
    enum wire_reason reason;
    struct err err;

    if (!agent_may_answer(agent))
        return WIRE_RATE;
    reason =
        notice_open_revoked(agent->cluster_key, datagram->data, datagram->len, &event.revocation);
    if (reason == WIRE_OK)
        step(agent, &event, &err);
    return reason;
}

void agent_keys_notice(struct agent *agent, const struct os_udp_datagram *datagram)
{
    bool introduction = envelope_kind(datagram->data, datagram->len) == ENVELOPE_INTRODUCE;
    enum wire_reason reason =
        introduction ? take_introduction(agent, datagram) : take_notice(agent, datagram);

    channel_count(agent->channel, reason);
}

/* ---- people ---- */

bool agent_holder_name(struct agent *agent, char name[NODE_NAME_MAX + 1])
{
    struct status *status;
    bool found = false;

    if (node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, &status) != ERR_NONE)
        return false;
    for (size_t i = 0; i < status->node_count && !found; i++)
        if (status->nodes[i].keys.holder) {
            snprintf(name, NODE_NAME_MAX + 1, "%s", status->nodes[i].name);
            found = true;
        }
    status_free(status);
    return found;
}

static int check_holder(struct agent *agent, struct err *err)
{
    char name[NODE_NAME_MAX + 1] = "the node that founded the flock";

    if (keyring_is_holder(agent->ring))
        return ERR_NONE;
    agent_holder_name(agent, name);
    return err_set(err, ERR_CONFLICT,
                   "only the holder of the cluster key can do that: run it on %s", name);
}

int agent_keys_rotate(struct agent *agent, struct err *err)
{
    int rc = check_holder(agent, err);

    if (rc != ERR_NONE)
        return rc;
    if (agent->rotated_at.ms != 0 && mono_diff(os_clock_now(), agent->rotated_at) < ROTATE_MIN_MS)
        return err_set(err, ERR_BUSY,
                       "the last rotation was a moment ago: wait until agentctl keys status shows "
                       "that all nodes have it");
    return rotate(agent, err);
}

int agent_keys_revoke(struct agent *agent, const uint8_t public_key[KEYS_PUBLIC], const char *name,
                      struct err *err)
{
    struct keyring_event event = {.type = KEYRING_REVOKE};
    int rc = check_holder(agent, err);

    if (rc != ERR_NONE)
        return rc;
    memcpy(event.revocation.public_key, public_key, KEYS_PUBLIC);
    snprintf(event.revocation.name, sizeof event.revocation.name, "%s", name);
    event.revocation.time = os_clock_wall_ms() / 1000;
    step(agent, &event, err);
    if (err->code == ERR_DENIED)
        return err_set(err, ERR_DENIED,
                       "%s holds the cluster key and cannot be revoked by itself. If its card was "
                       "stolen, found a new flock: docs/security.md",
                       name);
    if (err->code == ERR_EXISTS)
        return err_set(err, ERR_EXISTS, "%s was revoked before", name);
    if (err->code == ERR_FULL)
        return err_set(err, ERR_FULL, "this flock has revoked %d nodes, its limit: found a new one",
                       KEYRING_REVOKED_MAX);
    return err->code;
}
