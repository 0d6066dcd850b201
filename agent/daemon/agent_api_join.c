/* Entering a flock: founding one, joining one, tokens for those who join. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "proto/wire/token.h"

#define TOKEN_TTL_MAX_S (30 * 86400)

/* ---- founding and joining ---- */

void api_post_init(struct agent *agent, struct http_request *request)
{
    char text[160];
    struct err err;

    if (agent_found(agent, &err) != ERR_NONE) {
        api_reply_error(request, &err);
        return;
    }
    snprintf(text, sizeof text,
             "%s has founded a flock. Next: agentctl token create, for each node "
             "that shall join",
             agent->name);
    api_reply_message(request, "Init", text);
}

static void join_done(void *context, int code, const char *text)
{
    struct err err = {.code = code};

    snprintf(err.text, sizeof err.text, "%s", text);
    if (code == ERR_NONE)
        api_reply_message(context, "Join", text);
    else
        api_reply_error(context, &err);
}

void api_post_join(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    const char *token = NULL;
    struct err err;

    if (json_unpack(body, "{s:s}", "token", &token) != 0)
        err_set(&err, ERR_INVALID, "expected {\"token\": \"covey1-…\"}");
    else if (agent_join(agent, token, join_done, request, &err) == ERR_NONE)
        err.code = ERR_NONE;
    json_decref(body);
    if (err.code != ERR_NONE)
        api_reply_error(request, &err);
}

/* ---- tokens ---- */

struct token_job {
    struct worker_job job; /* first */
    struct http_request *request;
    struct store_token stored;
    char text[TOKEN_TEXT_MAX];
    int rc;
    struct err err;
};

static void run_token(struct worker_job *job, struct store *store)
{
    struct token_job *t = (struct token_job *)job;

    t->rc = store_token_create(store, &t->stored, &t->err);
}

static void token_done(struct worker_job *job)
{
    struct token_job *t = (struct token_job *)job;

    if (t->rc != ERR_NONE)
        api_reply_error(t->request, &t->err);
    else
        api_reply_json(t->request, 200,
                       json_pack("{s:s, s:s, s:s, s:s, s:o, s:I}", "apiVersion", API_VERSION,
                                 "kind", "Token", "id", t->stored.id, "token", t->text, "expires",
                                 status_json_time(t->stored.expires), "uses",
                                 (json_int_t)t->stored.uses_left));
    keys_wipe(t, sizeof *t);
    free(t);
}

static int make_token(struct agent *agent, struct token_job *t, json_int_t ttl_s, json_int_t uses)
{
    struct token token = {.addr_count = 1};
    int rc;

    if (!agent->coordinator)
        return err_set(&t->err, ERR_CONFLICT,
                       "tokens are made on the node that founded the flock: it has the cluster "
                       "key");
    if (ttl_s < 1 || ttl_s > TOKEN_TTL_MAX_S || uses < 1 || uses > 1000)
        return err_set(&t->err, ERR_INVALID, "ttlSeconds must be 1 to %d, uses 1 to 1000",
                       TOKEN_TTL_MAX_S);
    if (agent->address.family == 0)
        return err_set(&t->err, ERR_UNREACHABLE,
                       "this node has no address yet that another could be told: is %s connected?",
                       agent->config->interface);
    keys_random(token.id, sizeof token.id);
    keys_random(token.secret, sizeof token.secret);
    memcpy(token.cluster_key, agent->cluster_key, sizeof token.cluster_key);
    token.addrs[0] = agent->address;
    token_id_format(token.id, t->stored.id);
    memcpy(t->stored.secret, token.secret, sizeof token.secret);
    t->stored.secret_len = sizeof token.secret;
    t->stored.created = os_clock_wall_ms() / 1000;
    t->stored.expires = t->stored.created + ttl_s;
    t->stored.uses_left = (uint32_t)uses;
    rc = token_format(&token, t->text);
    keys_wipe(&token, sizeof token);
    return rc == ERR_NONE ? rc : err_set(&t->err, rc, "the token cannot be written");
}

void api_post_tokens(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    struct token_job *t = calloc(1, sizeof *t);
    struct err err;
    json_int_t ttl_s = 3600;
    json_int_t uses = 1;

    if (t == NULL) {
        json_decref(body);
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    if (json_unpack(body, "{s?I, s?I}", "ttlSeconds", &ttl_s, "uses", &uses) != 0)
        t->rc = err_set(&t->err, ERR_INVALID, "expected {\"ttlSeconds\": 3600, \"uses\": 1}");
    else
        t->rc = make_token(agent, t, ttl_s, uses);
    json_decref(body);
    t->request = request;
    t->job.run = run_token;
    t->job.done = token_done;
    /* Once it is submitted, it is the worker's to write to. */
    if (t->rc == ERR_NONE && worker_submit(agent->store, &t->job, &err) == ERR_NONE)
        return;
    if (t->rc == ERR_NONE) {
        t->rc = err.code;
        t->err = err;
    }
    token_done(&t->job);
}
