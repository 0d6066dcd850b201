/* Entering a flock: founding one, joining one. */
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

static uint8_t own_role(const struct agent *agent)
{
    return agent->config->role == CONFIG_WITNESS ? VALUE_ROLE_WITNESS : VALUE_ROLE_AGENT;
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
    admission.role = own_role(agent);
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
    if (join_request_seal(&joining->token, &agent->identity, agent->name, own_role(agent),
                          &agent->address, joining->nonce, datagram, &len) != ERR_NONE) {
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
void agent_join_refused(struct agent *agent, enum wire_reason reason)
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
        agent_join_refused(agent, WIRE_REPLAY);
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

void agent_join_datagram(struct agent *agent, const struct os_udp_datagram *datagram)
{
    if (envelope_kind(datagram->data, datagram->len) == ENVELOPE_JOIN_REPLY)
        take_reply(agent, datagram);
    else
        agent_welcome(agent, datagram);
}
