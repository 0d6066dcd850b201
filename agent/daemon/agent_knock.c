/* Joining without a token, on both sides: a newcomer knocks and waits, people compare fingerprints,
 * the holder of the cluster key lets it in. The join itself is that of agent_join.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "proto/wire/envelope.h"

#define FORGET_MS 60000 /* who has not knocked for so long waits no more */

struct agent_knocks {
    size_t count;
    struct agent_knock list[AGENT_KNOCKS_MAX];
};

/* ---- the holder ---- */

static void forget_old(struct agent_knocks *knocks)
{
    mono_t now = os_clock_now();

    for (size_t i = knocks->count; i-- > 0;)
        if (mono_diff(now, knocks->list[i].heard) > FORGET_MS)
            knocks->list[i] = knocks->list[--knocks->count];
}

const struct agent_knock *agent_knocks(struct agent *agent, size_t *count)
{
    *count = 0;
    if (agent->knocks == NULL)
        return NULL;
    forget_old(agent->knocks);
    *count = agent->knocks->count;
    return agent->knocks->list;
}

static struct agent_knock *find(struct agent *agent, const uint8_t public_key[KEYS_PUBLIC])
{
    size_t count;

    (void)agent_knocks(agent, &count);
    for (size_t i = 0; i < count; i++)
        if (memcmp(agent->knocks->list[i].knock.public_key, public_key, KEYS_PUBLIC) == 0)
            return &agent->knocks->list[i];
    return NULL;
}

const struct agent_knock *agent_knock_of_token(struct agent *agent, const uint8_t id[TOKEN_ID])
{
    size_t count;
    const struct agent_knock *list = agent_knocks(agent, &count);

    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i].token.id, id, TOKEN_ID) == 0)
            return &list[i];
    return NULL;
}

static struct agent_knock *remember(struct agent *agent, const struct knock *knock)
{
    struct agent_knock *entry = find(agent, knock->public_key);
    char fingerprint[KEYS_FINGERPRINT];

    if (entry != NULL)
        return entry;
    if (agent->knocks == NULL)
        agent->knocks = calloc(1, sizeof *agent->knocks);
    if (agent->knocks == NULL || agent->knocks->count == AGENT_KNOCKS_MAX)
        return NULL;
    entry = &agent->knocks->list[agent->knocks->count++];
    memset(entry, 0, sizeof *entry);
    /* Who was admitted before, and whose welcome was lost, need not be approved again. */
    entry->approved = node_peer(agent->node, keys_node_id(knock->public_key)) != NULL;
    if (!entry->approved) {
        keys_fingerprint(agent->cluster_key, knock->public_key, fingerprint);
        agent_report(agent, EFFECT_WARNING, "node",
                     "%s wants to join and waits for approval. If it shows the same fingerprint: "
                     "agentctl node approve %s",
                     knock->name, fingerprint);
    }
    return entry;
}

static enum wire_reason take_knock(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct knock_reply reply = {.holder = agent->admission};
    uint8_t out[KNOCK_REPLY_SIZE];
    struct agent_knock *entry;
    struct knock knock;
    enum wire_reason reason;

    if (agent->node == NULL || !agent->coordinator || agent->revoked)
        return WIRE_UNKNOWN_SENDER; /* nobody here who could let it in */
    if (!agent_may_answer(agent))
        return WIRE_RATE;
    reason = knock_open(datagram->data, datagram->len, &knock);
    if (reason != WIRE_OK)
        return reason;
    if (keyring_revoked(agent->ring, keys_node_id(knock.public_key)) != NULL)
        return WIRE_UNKNOWN_SENDER;
    entry = remember(agent, &knock);
    if (entry == NULL)
        return WIRE_RATE;
    if (knock.addr.family == 0)
        knock.addr = datagram->from;
    entry->knock = knock;
    entry->heard = os_clock_now();
    if (knock_token(&agent->identity, knock.public_key, knock.nonce, agent->cluster_key,
                    &entry->token) != ERR_NONE)
        return WIRE_BODY_VALUE;
    memcpy(reply.nonce, knock.nonce, KNOCK_NONCE);
    memcpy(reply.cluster_key, agent->cluster_key, KEYS_PUBLIC);
    knock_reply_seal(&agent->identity, &reply, out);
    (void)os_udp_send(agent->udp, &datagram->from, out, sizeof out);
    return WIRE_OK;
}

static bool same_fingerprint(const char *typed, const char *fingerprint)
{
    while (*typed != '\0' || *fingerprint != '\0') {
        if (*typed == '-' || *typed == ' ') {
            typed++;
        } else if (*fingerprint == '-') {
            fingerprint++;
        } else {
            char letter = *typed >= 'a' && *typed <= 'z' ? (char)(*typed - 32) : *typed;
            if (letter != *fingerprint)
                return false;
            typed++;
            fingerprint++;
        }
    }
    return true;
}

int agent_knock_approve(struct agent *agent, const char *typed, char name[NODE_NAME_MAX + 1],
                        struct err *err)
{
    char holder[NODE_NAME_MAX + 1] = "the node that founded the flock";
    size_t count;

    if (!agent->coordinator) {
        agent_holder_name(agent, holder);
        return err_set(err, ERR_CONFLICT,
                       "only the holder of the cluster key can admit a node: run it on %s", holder);
    }
    (void)agent_knocks(agent, &count);
    for (size_t i = 0; i < count; i++) {
        struct agent_knock *entry = &agent->knocks->list[i];
        char fingerprint[KEYS_FINGERPRINT];
        keys_fingerprint(agent->cluster_key, entry->knock.public_key, fingerprint);
        if (!same_fingerprint(typed, fingerprint))
            continue;
        entry->approved = true;
        snprintf(name, NODE_NAME_MAX + 1, "%s", entry->knock.name);
        return ERR_NONE;
    }
    return err_set(
        err, ERR_NOTFOUND,
        "no node with the fingerprint %.40s waits here. See agentctl node list; if it "
        "waits with another one there, somebody stands between the two: do not approve it",
        typed);
}

void agent_knocks_free(struct agent *agent)
{
    if (agent->knocks != NULL)
        keys_wipe(agent->knocks, sizeof *agent->knocks);
    free(agent->knocks);
    agent->knocks = NULL;
}

/* ---- both ---- */

void agent_knock_datagram(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct knock_reply reply;
    enum wire_reason reason;

    if (envelope_kind(datagram->data, datagram->len) == ENVELOPE_KNOCK) {
        reason = take_knock(agent, datagram);
    } else {
        reason = agent->joining == NULL || agent->stopping
                     ? WIRE_REPLAY
                     : knock_reply_open(datagram->data, datagram->len, &reply);
        if (reason == WIRE_OK)
            agent_join_known(agent, &reply, &datagram->from);
    }
    if (agent->channel != NULL)
        channel_count(agent->channel, reason);
}
