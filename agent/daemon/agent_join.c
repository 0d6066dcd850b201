/* Entering a flock: founding one, joining one, taking newcomers in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "proto/record/value_codec.h"
#include "proto/wire/join.h"
#include "proto/wire/token.h"

/* ---- founding ---- */

/* Keys of a flock must not be replaced: what had failed was only to take part. */
static int check_unbound(struct agent *agent, struct err *err)
{
    uint8_t cluster_key[KEYS_PUBLIC];
    int rc;

    if (agent->revoked)
        return err_set(err, ERR_DENIED, AGENT_REVOKED_TEXT);
    rc = keystore_load_cluster_key(agent->keys, cluster_key, err);

    if (rc == ERR_NOTFOUND)
        return ERR_NONE;
    if (rc != ERR_NONE)
        return rc;
    return err_set(err, ERR_EXISTS,
                   "this node belongs to a flock already, but could not take part in it: restart "
                   "agentd, and see what it says");
}

int agent_found(struct agent *agent, struct err *err)
{
    struct keystore_epochs epochs = {.count = 1};
    struct keys_admission admission = {.serial = 1};
    struct keys_identity cluster;
    int rc;

    if (agent->node != NULL)
        return err_set(err, ERR_EXISTS, "this node is in a flock already, as %s", agent->name);
    if (agent->joining != NULL)
        return err_set(err, ERR_BUSY, "this node is joining a flock");
    rc = check_unbound(agent, err);
    if (rc != ERR_NONE)
        return rc;
    keys_generate(&cluster);
    memcpy(admission.public_key, agent->identity.public_key, sizeof admission.public_key);
    snprintf(admission.name, sizeof admission.name, "%s", agent->name);
    admission.role = agent->config->role == CONFIG_WITNESS ? VALUE_ROLE_WITNESS : VALUE_ROLE_AGENT;
    keys_sign_admission(&cluster, &admission);
    epochs.epochs[0].number = 1;
    keys_random(epochs.epochs[0].secret, sizeof epochs.epochs[0].secret);
    keys_sign_epoch(&cluster, &epochs.epochs[0]);
    /* The public key comes last: it is what says that the flock exists. */
    rc = keystore_save_cluster(agent->keys, &cluster, err);
    if (rc == ERR_NONE)
        rc = keystore_save_epochs(agent->keys, &epochs, err);
    if (rc == ERR_NONE)
        rc = keystore_save_admission(agent->keys, &admission, err);
    if (rc == ERR_NONE)
        rc = keystore_save_cluster_key(agent->keys, cluster.public_key, err);
    keys_wipe(&cluster, sizeof cluster);
    keys_wipe(&epochs, sizeof epochs);
    if (rc == ERR_NONE)
        rc = agent_enter(agent, err);
    if (rc == ERR_NONE)
        agent_report(agent, EFFECT_INFO, "node", "%s has founded a flock", agent->name);
    return rc;
}

/* ---- joining ---- */

#define JOIN_REPEAT_MS 500
#define KNOCK_REPEAT_MS 2000
#define JOIN_TRIES 30
#define KNOCK_TRIES 7

struct joining {
    struct agent *agent;
    struct token token; /* without one, the addresses to knock at until the holder is known */
    uint8_t nonce[JOIN_NONCE];
    bool knocking;
    bool known; /* the holder has answered, the token is that of knock_token */
    struct knock knock;
    struct keys_admission holder;
    uv_timer_t timer;
    int tries;
    void (*done)(void *context, int code, const char *text);
    void *context;
};

static void joining_closed(uv_handle_t *handle)
{
    struct joining *joining = handle->data;

    keys_wipe(joining, sizeof *joining);
    free(joining);
}

static void end_joining(struct joining *joining, int code, const char *text)
{
    joining->agent->joining = NULL;
    if (joining->done != NULL)
        joining->done(joining->context, code, text);
    else if (code != ERR_NONE && !joining->agent->stopping)
        agent_report(joining->agent, EFFECT_ERROR, "node", "joining has ended: %s", text);
    uv_close((uv_handle_t *)&joining->timer, joining_closed);
}

bool agent_join_waits(const struct agent *agent, char *text, size_t size)
{
    const struct joining *joining = agent->joining;
    char fingerprint[KEYS_FINGERPRINT];

    if (joining == NULL || !joining->known)
        return false;
    keys_fingerprint(joining->token.cluster_key, agent->identity.public_key, fingerprint);
    snprintf(text, size,
             "This node waits to be admitted to a flock, with the fingerprint %s. On %s: agentctl "
             "node approve %s",
             fingerprint, joining->holder.name, fingerprint);
    return true;
}

void agent_join_known(struct agent *agent, const struct knock_reply *reply, const struct addr *from)
{
    struct joining *joining = agent->joining;
    char text[256];

    if (!joining->knocking || joining->known ||
        memcmp(reply->nonce, joining->nonce, JOIN_NONCE) != 0 ||
        knock_token(&agent->identity, reply->holder.public_key, joining->nonce, reply->cluster_key,
                    &joining->token) != ERR_NONE)
        return;
    joining->token.addr_count = 1;
    joining->token.addrs[0] = *from;
    joining->holder = reply->holder;
    joining->known = true;
    (void)agent_join_waits(agent, text, sizeof text);
    agent_report(agent, EFFECT_WARNING, "node", "%s", text);
    if (joining->done != NULL)
        joining->done(joining->context, ERR_NONE, text);
    joining->done = NULL; /* it goes on by itself */
}

/* True: nothing more is to be asked in this turn. */
static bool knock(struct joining *joining)
{
    struct agent *agent = joining->agent;
    uint8_t datagram[KNOCK_SIZE];
    char text[160 + ADDR_TEXT];
    char where[ADDR_TEXT];

    addr_format(&joining->token.addrs[0], where);
    if (!joining->known && joining->done != NULL && joining->tries++ == KNOCK_TRIES) {
        snprintf(
            text, sizeof text,
            "nobody at %s answered. Is that the node that holds the cluster key (agentctl node "
            "list), does agentd run there, and is its UDP port open?",
            where);
        end_joining(joining, ERR_TIMEOUT, text);
        return true;
    }
    snprintf(joining->knock.name, sizeof joining->knock.name, "%s", agent->name);
    memcpy(joining->knock.nonce, joining->nonce, KNOCK_NONCE);
    joining->knock.addr = agent->address;
    if (knock_seal(&agent->identity, &joining->knock, datagram) == ERR_NONE)
        for (uint8_t i = 0; i < joining->token.addr_count; i++)
            (void)os_udp_send(agent->udp, &joining->token.addrs[i], datagram, sizeof datagram);
    return !joining->known;
}

static void ask_to_join(uv_timer_t *timer)
{
    struct joining *joining = timer->data;
    struct agent *agent = joining->agent;
    uint8_t datagram[MSG_DATAGRAM_MAX];
    char text[ADDR_TEXT + 160];
    char where[ADDR_TEXT];
    size_t len;

    if (joining->knocking && knock(joining))
        return;
    addr_format(&joining->token.addrs[0], where);
    if (!joining->knocking && joining->tries++ == JOIN_TRIES) {
        snprintf(text, sizeof text,
                 "nobody at %s answered. Is agentd running there, is UDP port %u open, and is the "
                 "token still valid?",
                 where, (unsigned)joining->token.addrs[0].port);
        end_joining(joining, ERR_TIMEOUT, text);
        return;
    }
    if (join_request_seal(&joining->token, &agent->identity, agent->name, &agent->address,
                          joining->nonce, datagram, &len) != ERR_NONE) {
        end_joining(joining, ERR_INVALID, "the name of this node is no name that a flock takes");
        return;
    }
    for (uint8_t i = 0; i < joining->token.addr_count; i++)
        (void)os_udp_send(agent->udp, &joining->token.addrs[i], datagram, len);
}

void agent_join_end(struct agent *agent)
{
    if (agent->joining != NULL)
        end_joining(agent->joining, ERR_UNREACHABLE, "agentd is ending");
}

/* An address has no dash, a token begins with "covey1-". */
static int where_to(const char *text, struct joining *joining, struct err *err)
{
    if (strchr(text, '-') == NULL &&
        addr_parse(text, CONFIG_GOSSIP_PORT, &joining->token.addrs[0], NULL) == ERR_NONE) {
        joining->knocking = true;
        joining->token.addr_count = 1;
        return ERR_NONE;
    }
    return token_parse(text, &joining->token, err);
}

static void begin_joining(struct agent *agent, struct joining *joining,
                          void (*done)(void *context, int code, const char *text), void *context)
{
    joining->agent = agent;
    joining->done = done;
    joining->context = context;
    keys_random(joining->nonce, sizeof joining->nonce);
    uv_timer_init(agent->loop, &joining->timer);
    joining->timer.data = joining;
    agent->joining = joining;
    uv_timer_start(&joining->timer, ask_to_join, 0,
                   joining->knocking ? KNOCK_REPEAT_MS : JOIN_REPEAT_MS);
}

int agent_join(struct agent *agent, const char *text,
               void (*done)(void *context, int code, const char *text), void *context,
               struct err *err)
{
    struct joining *joining;
    int rc;

    if (agent->node != NULL)
        return err_set(err, ERR_EXISTS,
                       "this node is in a flock already, as %s. To move it to another one, stop "
                       "agentd and remove its state directory",
                       agent->name);
    if (agent->joining != NULL)
        return err_set(err, ERR_BUSY, "this node is joining already");
    rc = check_unbound(agent, err);
    if (rc != ERR_NONE)
        return rc;
    joining = calloc(1, sizeof *joining);
    if (joining == NULL)
        return err_set(err, ERR_NOMEM, "join: %s", err_text(ERR_NOMEM));
    rc = where_to(text, joining, err);
    if (rc != ERR_NONE) {
        keys_wipe(joining, sizeof *joining);
        free(joining);
        return rc;
    }
    begin_joining(agent, joining, done, context);
    return ERR_NONE;
}

void agent_join_configured(struct agent *agent)
{
    const struct config *config = agent->config;
    struct joining *joining;

    if (config->join_count == 0 || agent->joining != NULL || agent->revoked)
        return;
    joining = calloc(1, sizeof *joining);
    if (joining == NULL)
        return;
    joining->knocking = true;
    for (size_t i = 0; i < config->join_count && joining->token.addr_count < TOKEN_ADDRS_MAX; i++)
        joining->token.addrs[joining->token.addr_count++] = config->join[i];
    begin_joining(agent, joining, NULL, NULL);
}

static int keep_welcome(struct agent *agent, const struct join_welcome *welcome, struct err *err)
{
    struct keystore_epochs epochs = {.count = 1, .epochs = {welcome->epoch}};
    int rc;

    rc = keystore_save_epochs(agent->keys, &epochs, err);
    if (rc == ERR_NONE)
        rc = keystore_save_admission(agent->keys, &welcome->admission, err);
    if (rc == ERR_NONE)
        rc = keystore_save_cluster_key(agent->keys, welcome->cluster_key, err);
    keys_wipe(&epochs, sizeof epochs);
    return rc;
}

/* Joins are beside the channel, but their refusals stand in the same counters. */
static void count_refused(struct agent *agent, enum wire_reason reason)
{
    if (agent->channel != NULL)
        channel_count(agent->channel, reason);
}

static void take_reply(struct agent *agent, const struct os_udp_datagram *datagram)
{
    struct joining *joining = agent->joining;
    struct join_welcome welcome;
    struct value_head seed = {0};
    char text[192];
    struct err err;
    int rc;

    if (joining == NULL || agent->stopping ||
        (joining->knocking && !joining->known)) { /* to a request that was answered, or to none */
        count_refused(agent, WIRE_REPLAY);
        return;
    }
    rc = join_reply_open(&joining->token, &agent->identity, agent->name, joining->nonce,
                         datagram->data, datagram->len, &welcome, &err);
    if (rc == ERR_AUTH)
        return;
    if (rc != ERR_NONE) {
        end_joining(joining, rc, err.text);
        return;
    }
    rc = keep_welcome(agent, &welcome, &err);
    if (rc == ERR_NONE)
        rc = agent_enter(agent, &err);
    if (rc == ERR_NONE) {
        value_head_admit(&seed, &welcome.seed);
        seed.addr = welcome.seed_addr.family != 0 ? welcome.seed_addr : datagram->from;
        agent_admit(agent, &seed);
        snprintf(text, sizeof text, "joined the flock of %s as %s", seed.name, agent->name);
        agent_report(agent, EFFECT_INFO, "node", "%s", text);
    }
    keys_wipe(&welcome, sizeof welcome);
    end_joining(joining, rc, rc == ERR_NONE ? text : err.text);
}

/* ---- taking a newcomer in ---- */

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

/* A name belongs to one key. Asked here, where all who were admitted before are known. */
static bool is_name_taken(struct agent *agent, const struct join_request *request)
{
    node_id id = keys_node_id(request->public_key);
    struct status *status;
    bool taken = false;

    if (node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, &status) != ERR_NONE)
        return true;
    for (size_t i = 0; i < status->node_count; i++)
        taken = taken || (strcmp(status->nodes[i].name, request->name) == 0 &&
                          !node_id_equal(status->nodes[i].id, id));
    status_free(status);
    return taken;
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
    if (is_name_taken(agent, &w->request)) {
        join_refusal_seal(w->token.secret, &w->request,
                          "the name belongs to another node of the flock. Give this node another "
                          "one: node: NAME in its agent.yaml",
                          nonce, out, len);
        return;
    }
    memcpy(answer.admission.public_key, w->request.public_key, KEYS_PUBLIC);
    snprintf(answer.admission.name, sizeof answer.admission.name, "%s", w->request.name);
    answer.admission.role = VALUE_ROLE_AGENT;
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
        count_refused(agent, WIRE_AUTHENTICATION);
    else if (!agent_may_answer(agent))
        count_refused(agent, WIRE_RATE);
    else if (w->rc == ERR_NONE)
        welcome(w, nonce, out, &len);
    else
        join_refusal_seal(w->token.secret, &w->request, w->err.text, nonce, out, &len);
    if (len > 0 && agent->udp >= 0)
        (void)os_udp_send(agent->udp, &w->datagram.from, out, len);
    keys_wipe(w, sizeof *w);
    free(w);
}

static void take_request(struct agent *agent, const struct os_udp_datagram *datagram)
{
    const struct agent_knock *knock = NULL;
    uint8_t id[TOKEN_ID];
    struct welcoming *w;

    if (!agent->coordinator || agent->node == NULL || agent->welcoming >= WELCOMES_MAX) {
        count_refused(agent, agent->coordinator ? WIRE_RATE : WIRE_UNKNOWN_SENDER);
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

void agent_join_datagram(struct agent *agent, const struct os_udp_datagram *datagram)
{
    if (envelope_kind(datagram->data, datagram->len) == ENVELOPE_JOIN_REPLY)
        take_reply(agent, datagram);
    else
        take_request(agent, datagram);
}
