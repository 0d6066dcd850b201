/* Requests between agents over the TCP link: bundles of commits, log lines. Requests are one line
 * of text: "bundle HAVE WANT" (HAVE is "-" for nothing), "move ADDRESS NODE", and "logs …" as
 * agent/logs/os_pages.h has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_clock.h"
#include "agent/logs/os_pages.h"
#include "proto/wire/codec.h"

struct peer_job {          /* a request that is being served on the git worker */
    struct worker_job job; /* first */
    struct agent *agent;
    struct link_request *ticket;
    char have[COMMIT_TEXT];
    char want[COMMIT_TEXT];
    struct log_query logs;
    char *data;
    size_t size;
    int rc;
    struct err err;
};

static void log_folder(const struct agent *agent, char path[4096])
{
    snprintf(path, 4096, "%s/logs", agent->config->state_dir);
}

static void run_bundle(struct worker_job *job, struct store *store)
{
    struct peer_job *p = (struct peer_job *)job;

    (void)store;
    p->rc = git_bundle_create(&p->agent->repo, p->have, p->want, LINK_ANSWER_MAX, &p->data,
                              &p->size, &p->err);
}

static void run_logs(struct worker_job *job, struct store *store)
{
    struct peer_job *p = (struct peer_job *)job;
    char folder[4096];

    (void)store;
    log_folder(p->agent, folder);
    p->rc = os_pages_make(folder, &p->logs, os_clock_wall_ms(), &p->data, &p->size, &p->err);
}

static void serve_done(struct worker_job *job)
{
    struct peer_job *p = (struct peer_job *)job;

    uv_link_answer(p->ticket, p->rc, (uint8_t *)p->data, p->size, p->err.text);
    free(p);
}

/* On the loop: the node decides at once. */
static void serve_move(struct agent *agent, const char *ip, const char *to,
                       struct link_request *ticket)
{
    struct node_event event = {.type = NODE_MOVE};
    struct err err;
    node_id owner;
    int rc = addr_parse(ip, 0, &event.move.address, &err);

    if (rc == ERR_NONE && (agent->node == NULL || node_id_parse(to, &event.move.to) != ERR_NONE))
        rc = err_set(&err, ERR_INVALID, "\"%s\" is no node", to);
    if (rc == ERR_NONE)
        rc = node_may_move(agent->node, os_clock_now(), &event.move.address, event.move.to, &owner,
                           &err);
    if (rc == ERR_NONE)
        agent_feed(agent, &event);
    uv_link_answer(ticket, rc, NULL, 0, rc == ERR_NONE ? "" : err.text);
}

static void serve(void *context, node_id peer, const uint8_t *request, size_t len,
                  struct link_request *ticket)
{
    struct agent *agent = context;
    struct peer_job *p;
    char line[LINK_REQUEST_MAX + 1];
    char ip[ADDR_TEXT];
    char to[NODE_ID_TEXT];
    struct err err;

    (void)peer;
    memcpy(line, request, len);
    line[len] = '\0';
    if (sscanf(line, "move %55s %16s", ip, to) == 2) {
        serve_move(agent, ip, to, ticket);
        return;
    }
    p = calloc(1, sizeof *p);
    if (p == NULL) {
        uv_link_answer(ticket, ERR_NOMEM, NULL, 0, err_text(ERR_NOMEM));
        return;
    }
    p->agent = agent;
    p->ticket = ticket;
    p->job.done = serve_done;
    if (sscanf(line, "bundle %40s %40s", p->have, p->want) == 2) {
        if (strcmp(p->have, "-") == 0)
            p->have[0] = '\0';
        p->job.run = run_bundle;
    } else if (log_query_read(line, len, &p->logs, &err) == ERR_NONE) {
        p->job.run = run_logs;
    } else {
        uv_link_answer(ticket, ERR_INVALID, NULL, 0, "this agent does not know that request");
        free(p);
        return;
    }
    if (worker_submit(agent->git, &p->job, &err) != ERR_NONE) {
        uv_link_answer(ticket, ERR_BUSY, NULL, 0, err.text);
        free(p);
    }
}

/* The keys of a connection: the peer's public key, and the secret of the epoch it speaks under. */
static bool find_keys(void *context, node_id peer, uint32_t epoch, uint8_t public_key[KEYS_PUBLIC],
                      uint8_t secret[KEYS_EPOCH_SECRET])
{
    struct agent *agent = context;
    const struct value_head *head = agent->node != NULL ? node_peer(agent->node, peer) : NULL;
    const struct keys_epoch *epochs;
    size_t count;

    epochs = keyring_epochs(agent->ring, &count);
    for (size_t i = 0; head != NULL && i < count; i++)
        if (epochs[i].number == epoch) {
            memcpy(public_key, head->public_key, KEYS_PUBLIC);
            memcpy(secret, epochs[i].secret, KEYS_EPOCH_SECRET);
            return true;
        }
    return false;
}

/* What goes over TCP when datagrams do not come through: probes and records. Leases do not: who
 * hears their datagrams no more shall give them up. */
static bool is_carried(uint8_t type)
{
    return (type >= MSG_PING && type <= MSG_GOSSIP) || type == MSG_DIGEST || type == MSG_DELTA;
}

static void take_message(void *context, node_id from, const uint8_t *body, size_t len)
{
    struct agent *agent = context;
    struct node_event event = {.type = NODE_MESSAGE, .message = {.from = from, .stream = true}};
    struct channel_peer known;
    struct msg msg;
    enum wire_reason reason;

    if (agent->node == NULL || agent->revoked || node_peer(agent->node, from) == NULL ||
        (channel_find_peer(agent->channel, from, &known) == ERR_NONE && known.cloned))
        return;
    reason = codec_decode(body, len, &msg);
    if (reason == WIRE_OK && !is_carried(msg.type))
        reason = WIRE_BODY_TYPE;
    if (reason != WIRE_OK) {
        channel_count(agent->channel, reason);
        return;
    }
    event.message.msg = &msg;
    agent_feed(agent, &event);
}

int agent_peer_open(struct agent *agent, struct err *err)
{
    struct uv_link_config config = {.identity = &agent->identity,
                                    .epoch = channel_epoch(agent->channel),
                                    .keys = find_keys,
                                    .serve = serve,
                                    .message = take_message,
                                    .context = agent};
    int rc = os_tcp_listen(&agent->config->listen, &config.fd, err);

    return rc == ERR_NONE ? uv_link_create(agent->loop, &config, &agent->link, err) : rc;
}

/* Where the link of @peer listens: its gossip address. */
static bool link_address(struct agent *agent, node_id peer, struct addr *at)
{
    const struct value_head *head = agent->node != NULL ? node_peer(agent->node, peer) : NULL;
    struct channel_peer known;

    if (head == NULL)
        return false;
    *at = head->addr;
    if (at->family == 0 && channel_find_peer(agent->channel, peer, &known) == ERR_NONE)
        *at = known.addr;
    return at->family != 0;
}

void agent_peer_send(struct agent *agent, node_id to, const uint8_t *body, size_t len)
{
    struct addr at = {0};

    if (!link_address(agent, to, &at))
        return;
    agent->sent_bytes += len + AGENT_TCP_OVERHEAD;
    uv_link_send(agent->link, to, &at, body, len);
}

static void bundle_came(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct agent *agent = context;

    uv_sync_bundle_done(agent->sync, code, (char *)data, size, reason);
}

void agent_peer_fetch(struct agent *agent, node_id from, const char *have, const char *want)
{
    char request[128];
    struct addr at;
    int n = snprintf(request, sizeof request, "bundle %s %s", have[0] != '\0' ? have : "-", want);

    if (!link_address(agent, from, &at)) {
        uv_sync_bundle_done(agent->sync, ERR_UNREACHABLE, NULL, 0, "the peer's address is unknown");
        return;
    }
    uv_link_ask(agent->link, from, &at, request, (size_t)n, bundle_came, agent);
}

void agent_peer_move(struct agent *agent, node_id owner, const struct addr *address, node_id to,
                     void (*done)(void *context, int code, uint8_t *data, size_t size,
                                  const char *reason),
                     void *context)
{
    char request[ADDR_TEXT + NODE_ID_TEXT + 16];
    char ip[ADDR_TEXT];
    char id[NODE_ID_TEXT];
    struct addr at;
    int n;

    addr_format_ip(address, ip);
    node_id_format(to, id);
    n = snprintf(request, sizeof request, "move %s %s", ip, id);
    if (!link_address(agent, owner, &at))
        done(context, ERR_UNREACHABLE, NULL, 0, "the owner's address is unknown");
    else
        uv_link_ask(agent->link, owner, &at, request, (size_t)n, done, context);
}

void agent_peer_logs(struct agent *agent, node_id node, const struct log_query *query,
                     void (*done)(void *context, int code, uint8_t *data, size_t size,
                                  const char *reason),
                     void *context)
{
    char request[LINK_REQUEST_MAX];
    struct addr at;
    struct err err;

    if (!link_address(agent, node, &at))
        done(context, ERR_UNREACHABLE, NULL, 0, "its address is unknown");
    else if (log_query_write(query, request, sizeof request, &err) != ERR_NONE)
        done(context, err.code, NULL, 0, err.text);
    else
        uv_link_ask(agent->link, node, &at, request, strlen(request), done, context);
}
