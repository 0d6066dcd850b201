/* Who belongs to the flock: its tokens, nodes and keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "agent/web/flock_json.h"

/* ---- lists and changes that the store's worker makes ---- */

/* Answers when the store has done what was given to it before this. */
struct store_job {
    struct worker_job job; /* first */
    struct http_request *request;
    char id[STORE_TOKEN_ID_MAX]; /* of a token that is revoked; "": none */
    struct store_token *tokens;
    size_t token_count;
    char kind[16];
    char message[256];
    int rc;
    struct err err;
};

static void run_list(struct worker_job *job, struct store *store)
{
    struct store_job *s = (struct store_job *)job;

    s->rc = store_tokens(store, &s->tokens, &s->token_count, &s->err);
}

static void run_revoke_token(struct worker_job *job, struct store *store)
{
    struct store_job *s = (struct store_job *)job;

    s->rc = store_token_revoke(store, s->id, &s->err);
    if (s->rc == ERR_NOTFOUND)
        err_set(&s->err, s->rc, "there is no token %s. See agentctl token list", s->id);
}

static void run_nothing(struct worker_job *job, struct store *store)
{
    (void)job;
    (void)store;
}

static const char *token_state(const struct store_token *token, int64_t now)
{
    if (token->revoked)
        return "revoked";
    if (token->uses_left == 0)
        return "used";
    return token->expires <= now ? "expired" : "valid";
}

static json_t *tokens_json(const struct store_job *s)
{
    json_t *items = json_array();
    int64_t now = os_clock_wall_ms() / 1000;

    for (size_t i = 0; i < s->token_count; i++) {
        const struct store_token *token = &s->tokens[i];
        const struct flock_json_token item = {.id = token->id,
                                              .state = token_state(token, now),
                                              .created = token->created,
                                              .expires = token->expires,
                                              .uses_left = token->uses_left,
                                              .used = token->used};
        json_array_append_new(items, flock_json_token(&item));
    }
    return items;
}

static void store_job_done(struct worker_job *job)
{
    struct store_job *s = (struct store_job *)job;

    if (s->rc != ERR_NONE)
        api_reply_error(s->request, &s->err);
    else if (s->kind[0] != '\0')
        api_reply_message(s->request, s->kind, s->message);
    else
        api_reply_json(s->request, 200, status_json_list("TokenList", tokens_json(s)));
    if (s->tokens != NULL)
        keys_wipe(s->tokens, s->token_count * sizeof *s->tokens);
    free(s->tokens);
    free(s);
}

static struct store_job *new_store_job(struct http_request *request,
                                       void (*run)(struct worker_job *job, struct store *store))
{
    struct store_job *s = calloc(1, sizeof *s);

    if (s == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return NULL;
    }
    s->request = request;
    s->job.run = run;
    s->job.done = store_job_done;
    return s;
}

static void submit(struct agent *agent, struct store_job *s)
{
    struct err err;

    if (worker_submit(agent->store, &s->job, &err) == ERR_NONE)
        return; /* it is the worker's now */
    s->rc = err.code;
    s->err = err;
    store_job_done(&s->job);
}

void api_get_tokens(struct agent *agent, struct http_request *request)
{
    struct store_job *s = new_store_job(request, run_list);

    if (s != NULL)
        submit(agent, s);
}

/* The string @name of the request's body; NULL, and answered: there is none. The caller frees. */
static char *body_string(struct http_request *request, const char *name, const char *example)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    const char *value = json_string_value(json_object_get(body, name));
    char *copy = value != NULL ? strdup(value) : NULL;

    json_decref(body);
    if (copy == NULL)
        uv_http_text(request, 400, "expected {\"%s\": \"%s\"}\n", name, example);
    return copy;
}

void api_post_token_revoke(struct agent *agent, struct http_request *request)
{
    char *id = body_string(request, "id", "0123456789abcdef");
    struct store_job *s = id != NULL ? new_store_job(request, run_revoke_token) : NULL;

    if (s != NULL) {
        snprintf(s->id, sizeof s->id, "%s", id);
        snprintf(s->kind, sizeof s->kind, "TokenRevoke");
        snprintf(s->message, sizeof s->message, "token %s is revoked: nobody joins by it any more",
                 s->id);
        submit(agent, s);
    }
    free(id);
}

/* ---- nodes ---- */

static json_t *node_json(const struct agent *agent, const struct status_node *n)
{
    char fingerprint[KEYS_FINGERPRINT];
    char address[ADDR_TEXT] = "";
    char id[NODE_ID_TEXT];

    keys_fingerprint(agent->cluster_key, n->public_key, fingerprint);
    node_id_format(n->id, id);
    if (n->addr.family != 0)
        addr_format(&n->addr, address);
    return flock_json_node(
        &(struct flock_json_node){.name = n->name,
                                  .id = id,
                                  .fingerprint = fingerprint,
                                  .state = "admitted",
                                  .member = status_member_state_name(n->state),
                                  .role = n->role == VALUE_ROLE_WITNESS ? "witness" : "agent",
                                  .address = address,
                                  .self = n->self,
                                  .holder = n->keys.holder});
}

static json_t *revoked_json(const struct agent *agent, const struct keys_revocation *r)
{
    char fingerprint[KEYS_FINGERPRINT];
    char id[NODE_ID_TEXT];

    keys_fingerprint(agent->cluster_key, r->public_key, fingerprint);
    node_id_format(keys_node_id(r->public_key), id);
    return flock_json_node(&(struct flock_json_node){.name = r->name,
                                                     .id = id,
                                                     .fingerprint = fingerprint,
                                                     .state = "revoked",
                                                     .member = "",
                                                     .role = "",
                                                     .address = "",
                                                     .since = r->time});
}

static json_t *pending_json(const struct agent *agent, const struct agent_knock *knock)
{
    char fingerprint[KEYS_FINGERPRINT];
    char address[ADDR_TEXT] = "";
    char id[NODE_ID_TEXT];

    keys_fingerprint(agent->cluster_key, knock->knock.public_key, fingerprint);
    node_id_format(keys_node_id(knock->knock.public_key), id);
    if (knock->knock.addr.family != 0)
        addr_format(&knock->knock.addr, address);
    return flock_json_node(&(struct flock_json_node){.name = knock->knock.name,
                                                     .id = id,
                                                     .fingerprint = fingerprint,
                                                     .state = "pending",
                                                     .member = "",
                                                     .role = "",
                                                     .address = address});
}

void api_get_nodes(struct agent *agent, struct http_request *request)
{
    json_t *items = json_array();
    const struct agent_knock *knocks;
    struct status *status;
    size_t count;

    if (api_take_status(agent, &status) != ERR_NONE) {
        json_decref(items);
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    for (size_t i = 0; i < status->node_count; i++)
        json_array_append_new(items, node_json(agent, &status->nodes[i]));
    status_free(status);
    knocks = agent_knocks(agent, &count);
    for (size_t i = 0; i < count; i++)
        if (!knocks[i].approved)
            json_array_append_new(items, pending_json(agent, &knocks[i]));
    for (size_t i = 0; i < keyring_revoked_count(agent->ring); i++)
        json_array_append_new(items, revoked_json(agent, keyring_revoked_at(agent->ring, i)));
    api_reply_json(request, 200, status_json_list("NodeList", items));
}

/* A node by its name, its id or its fingerprint. */
static int find_node(struct agent *agent, const char *wanted, uint8_t public_key[KEYS_PUBLIC],
                     char name[NODE_NAME_MAX + 1], struct err *err)
{
    struct status *status;
    int rc = ERR_NOTFOUND;

    if (api_take_status(agent, &status) != ERR_NONE)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    for (size_t i = 0; i < status->node_count && rc != ERR_NONE; i++) {
        const struct status_node *n = &status->nodes[i];
        char fingerprint[KEYS_FINGERPRINT];
        char id[NODE_ID_TEXT];
        keys_fingerprint(agent->cluster_key, n->public_key, fingerprint);
        node_id_format(n->id, id);
        if (strcmp(wanted, n->name) != 0 && strcmp(wanted, id) != 0 &&
            strcmp(wanted, fingerprint) != 0)
            continue;
        memcpy(public_key, n->public_key, KEYS_PUBLIC);
        snprintf(name, NODE_NAME_MAX + 1, "%s", n->name);
        rc = ERR_NONE;
    }
    status_free(status);
    return rc == ERR_NONE ? rc
                          : err_set(err, rc,
                                    "there is no node %.64s in the flock. See agentctl node "
                                    "list",
                                    wanted);
}

void api_post_approve(struct agent *agent, struct http_request *request)
{
    char *fingerprint = body_string(request, "fingerprint", "ABCD-EFGH-IJKL-MNOP-QRST");
    char name[NODE_NAME_MAX + 1];
    char text[NODE_NAME_MAX + 64];
    struct err err;

    if (fingerprint == NULL)
        return;
    if (agent_knock_approve(agent, fingerprint, name, &err) != ERR_NONE) {
        api_reply_error(request, &err);
    } else {
        snprintf(text, sizeof text, "%s is approved: it joins within seconds", name);
        api_reply_message(request, "NodeApprove", text);
    }
    free(fingerprint);
}

void api_post_revoke(struct agent *agent, struct http_request *request)
{
    char *wanted = body_string(request, "node", "pi2");
    uint8_t public_key[KEYS_PUBLIC];
    char name[NODE_NAME_MAX + 1];
    struct store_job *s;
    struct err err;
    int rc;

    if (wanted == NULL)
        return;
    rc = find_node(agent, wanted, public_key, name, &err);
    free(wanted);
    if (rc == ERR_NONE)
        rc = agent_keys_revoke(agent, public_key, name, &err);
    if (rc != ERR_NONE) {
        api_reply_error(request, &err);
        return;
    }
    s = new_store_job(request, run_nothing); /* the answer follows the write */
    if (s == NULL)
        return;
    snprintf(s->kind, sizeof s->kind, "NodeRevoke");
    snprintf(s->message, sizeof s->message,
             "%s is no member any more; epoch %u is on its way to the others: agentctl keys status",
             name, (unsigned)channel_epoch(agent->channel));
    submit(agent, s);
}

/* ---- keys ---- */

/* What every node says of itself, and whether that is what this node has. */
void api_get_keys(struct agent *agent, struct http_request *request)
{
    json_t *items = json_array();
    struct status *status;
    uint32_t epoch = channel_epoch(agent->channel);
    bool agreed = true;

    if (api_take_status(agent, &status) != ERR_NONE) {
        json_decref(items);
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    for (size_t i = 0; i < status->node_count; i++) {
        const struct status_node *n = &status->nodes[i];
        struct keyring_peer peer = {.known = true, .epoch = epoch, .current = true};
        uint32_t has;
        if (!n->self && keyring_find_peer(agent->ring, n->id, &peer) != ERR_NONE)
            peer = (struct keyring_peer){0};
        has = peer.known && peer.epoch > n->keys.epoch ? peer.epoch : n->keys.epoch;
        if ((n->state == STATUS_ALIVE || n->state == STATUS_SUSPECT) && has != epoch)
            agreed = false;
        json_array_append_new(items, flock_json_key(&(struct flock_json_key){
                                         .name = n->name,
                                         .member = status_member_state_name(n->state),
                                         .epoch = has,
                                         .current = has == epoch,
                                         .holder = n->keys.holder,
                                         .self = n->self}));
    }
    status_free(status);
    api_reply_json(request, 200,
                   flock_json_keys(epoch, agreed, keyring_revoked_count(agent->ring), items));
}

void api_post_rotate(struct agent *agent, struct http_request *request)
{
    char text[160];
    struct err err;

    if (agent_keys_rotate(agent, &err) != ERR_NONE) {
        api_reply_error(request, &err);
        return;
    }
    snprintf(text, sizeof text,
             "epoch %u is made and on its way to the others: agentctl keys status",
             (unsigned)channel_epoch(agent->channel));
    api_reply_message(request, "KeysRotate", text);
}
