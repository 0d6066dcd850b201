/* Taking newcomers in: the holder of the cluster key answers their requests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "proto/record/value_codec.h"
#include "proto/wire/join.h"
#include "proto/wire/token.h"

#define WELCOMES_MAX 8       /* requests under way at a time; others are dropped and repeated */
#define ANSWERS_PER_SECOND 8 /* to strangers */

struct welcoming {
    struct worker_job job; /* first */
    struct agent *agent;
    struct os_udp_datagram datagram;
    struct store_token token;
    bool knocked; /* by approval, not by a token */
    struct join_request request;
    uint32_t serial;
    int rc; /* ERR_AUTH: be silent; ERR_DENIED: refuse with err.text */
    struct err err;
};

/* An earlier admission of this key is given again, unless it was revoked. */
static int find_serial(struct store *store, struct welcoming *w)
{
    struct store_peer *peers = NULL;
    struct store_meta meta;
    uint32_t highest = 1;
    uint32_t given = 0;
    size_t count = 0;
    int rc = store_peers(store, &peers, &count, &w->err);

    for (size_t i = 0; rc == ERR_NONE && i < count; i++) {
        const struct store_peer *peer = &peers[i];
        if (peer->serial > highest)
            highest = peer->serial;
        if (memcmp(peer->public_key, w->request.public_key, sizeof peer->public_key) != 0)
            continue;
        w->serial = peer->serial;
        if (peer->revoked)
            rc = err_set(&w->err, ERR_DENIED,
                         "this node's key was revoked. Stop its agentd, remove its state "
                         "directory, and join anew");
    }
    free(peers);
    if (rc != ERR_NONE || w->serial != 0)
        return rc;
    if (store_meta_get(store, "admission/serial", &meta, NULL) == ERR_NONE &&
        meta.size == sizeof given)
        memcpy(&given, meta.value, sizeof given);
    if (given > highest)
        highest = given;
    w->serial = highest + 1;
    return store_meta_set(store, "admission/serial", &w->serial, sizeof w->serial, &w->err);
}

static void run_welcome(struct worker_job *job, struct store *store)
{
    struct welcoming *w = (struct welcoming *)job;
    uint8_t id[TOKEN_ID];
    char text[TOKEN_ID_TEXT_MAX];

    w->rc = ERR_AUTH;
    if (!join_token_id(w->datagram.data, w->datagram.len, id))
        return;
    token_id_format(id, text);
    if ((!w->knocked && store_token_get(store, text, &w->token, &w->err) != ERR_NONE) ||
        w->token.secret_len != TOKEN_SECRET ||
        join_request_open(w->token.secret, w->datagram.data, w->datagram.len, &w->request) !=
            WIRE_OK)
        return;
    w->rc = find_serial(store, w);
    if (w->rc == ERR_NONE && !w->knocked)
        w->rc = store_token_use(store, text, w->request.public_key, os_clock_wall_ms() / 1000, NULL,
                                &w->err);
}

/* A name belongs to one key, and no node has room for more members than FLOCK_NODES_MAX. Asked
 * here, where all who were admitted before are known. */
static int may_admit(struct agent *agent, const struct join_request *request, struct err *err)
{
    node_id id = keys_node_id(request->public_key);
    struct status *status;
    bool known = false, taken = false;
    size_t count;

    if (node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, &status) != ERR_NONE)
        return err_set(err, ERR_NOMEM, "the node that admits has no memory left: try again later");
    count = status->node_count;
    for (size_t i = 0; i < count; i++) {
        if (node_id_equal(status->nodes[i].id, id))
            known = true;
        else if (strcmp(status->nodes[i].name, request->name) == 0)
            taken = true;
    }
    status_free(status);
    if (taken)
        return err_set(err, ERR_CONFLICT,
                       "the name belongs to another node of the flock. Give this node another one: "
                       "node: NAME in its agent.yaml");
    if (!known && count >= FLOCK_NODES_MAX)
        return err_set(err, ERR_FULL,
                       "the flock has %zu nodes, its limit. Remove one that is gone there: "
                       "agentctl node revoke NAME",
                       count);
    return ERR_NONE;
}

bool agent_may_answer(struct agent *agent)
{
    mono_t now = os_clock_now();

    if (mono_diff(now, agent->answered_at) >= 1000) {
        agent->answered_at = now;
        agent->answered = 0;
    }
    return agent->answered++ < ANSWERS_PER_SECOND;
}

static void welcome(struct welcoming *w, const uint8_t nonce[JOIN_NONCE],
                    uint8_t out[MSG_DATAGRAM_MAX], size_t *len)
{
    struct agent *agent = w->agent;
    struct join_welcome answer = {.seed_addr = agent->address};
    size_t epochs;
    struct value_head head = {0};

    *len = 0;
    if (may_admit(agent, &w->request, &w->err) != ERR_NONE) {
        join_refusal_seal(w->token.secret, &w->request, w->err.text, nonce, out, len);
        return;
    }
    memcpy(answer.admission.public_key, w->request.public_key, KEYS_PUBLIC);
    snprintf(answer.admission.name, sizeof answer.admission.name, "%s", w->request.name);
    answer.admission.role =
        w->request.role == VALUE_ROLE_WITNESS ? VALUE_ROLE_WITNESS : VALUE_ROLE_AGENT;
    answer.admission.serial = w->serial;
    keys_sign_admission(&agent->cluster, &answer.admission);
    answer.seed = agent->admission;
    memcpy(answer.cluster_key, agent->cluster_key, KEYS_PUBLIC);
    answer.epoch = *keyring_epochs(agent->ring, &epochs);
    value_head_admit(&head, &answer.admission);
    head.addr = w->request.addr.family != 0 ? w->request.addr : w->datagram.from;
    if (node_peer(agent->node, keys_node_id(head.public_key)) == NULL)
        agent_report(agent, EFFECT_INFO, "node", "%s is admitted to the flock", head.name);
    agent_admit(agent, &head);
    if (join_welcome_seal(w->token.secret, &w->request, &agent->identity, &answer, nonce, out,
                          len) != ERR_NONE)
        *len = 0;
    keys_wipe(&answer, sizeof answer);
}

static void welcome_done(struct worker_job *job)
{
    struct welcoming *w = (struct welcoming *)job;
    struct agent *agent = w->agent;
    uint8_t out[MSG_DATAGRAM_MAX];
    uint8_t nonce[JOIN_NONCE];
    size_t len = 0;

    agent->welcoming--;
    keys_random(nonce, sizeof nonce);
    if (w->rc == ERR_AUTH)
        agent_join_refused(agent, WIRE_AUTHENTICATION);
    else if (!agent_may_answer(agent))
        agent_join_refused(agent, WIRE_RATE);
    else if (w->rc == ERR_NONE)
        welcome(w, nonce, out, &len);
    else
        join_refusal_seal(w->token.secret, &w->request, w->err.text, nonce, out, &len);
    if (len > 0 && agent->udp >= 0)
        (void)os_udp_send(agent->udp, &w->datagram.from, out, len);
    keys_wipe(w, sizeof *w);
    free(w);
}

void agent_welcome(struct agent *agent, const struct os_udp_datagram *datagram)
{
    const struct agent_knock *knock = NULL;
    uint8_t id[TOKEN_ID];
    struct welcoming *w;

    if (!agent->coordinator || agent->node == NULL || agent->welcoming >= WELCOMES_MAX) {
        agent_join_refused(agent, agent->coordinator ? WIRE_RATE : WIRE_UNKNOWN_SENDER);
        return;
    }
    if (join_token_id(datagram->data, datagram->len, id))
        knock = agent_knock_of_token(agent, id);
    if (knock != NULL && !knock->approved)
        return; /* it asks again */
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return;
    w->job.run = run_welcome;
    w->job.done = welcome_done;
    w->agent = agent;
    w->datagram = *datagram;
    if (knock != NULL) {
        w->knocked = true;
        memcpy(w->token.secret, knock->token.secret, TOKEN_SECRET);
        w->token.secret_len = TOKEN_SECRET;
    }
    if (worker_submit(agent->store, &w->job, NULL) == ERR_NONE)
        agent->welcoming++;
    else
        free(w);
}
