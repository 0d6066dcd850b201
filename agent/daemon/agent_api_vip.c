/* What the control socket may ask of a virtual address: to hand it over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"
#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "agent/web/status_json.h"

/* By address or by the name of its VirtualIP. */
static const struct status_vip *find_vip(const struct status *status, const char *name)
{
    for (size_t i = 0; i < status->vip_count; i++) {
        char text[ADDR_TEXT];
        addr_format_ip(&status->vips[i].address, text);
        if (status->vips[i].address.family != 0 &&
            (strcmp(status->vips[i].name, name) == 0 || strcmp(text, name) == 0))
            return &status->vips[i];
    }
    return NULL;
}

static int read_move(struct agent *agent, const json_t *body, struct node_event_move *move,
                     struct err *err)
{
    const struct status_vip *vip;
    struct status *status;
    const char *name = NULL;
    const char *to = NULL;
    int rc = ERR_NONE;

    if (json_unpack((json_t *)body, "{s:s, s:s}", "vip", &name, "to", &to) != 0)
        return err_set(err, ERR_INVALID, "expected {\"vip\": \"10.0.0.210\", \"to\": \"pi2\"}");
    if (api_take_status(agent, &status) != ERR_NONE)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    vip = find_vip(status, name);
    if (vip == NULL)
        rc =
            err_set(err, ERR_NOTFOUND, "there is no virtual address %.64s: see agentctl vip", name);
    else
        move->address = vip->address;
    for (size_t i = 0; i < status->node_count; i++)
        if (strcmp(status->nodes[i].name, to) == 0)
            move->to = status->nodes[i].id;
    status_free(status);
    if (rc == ERR_NONE && node_id_none(move->to))
        rc = err_set(err, ERR_NOTFOUND, "there is no node %.64s: see agentctl members", to);
    return rc;
}

static void reply_move(struct http_request *request, const struct addr *address)
{
    char text[ADDR_TEXT];

    addr_format_ip(address, text);
    api_reply_json(request, 200,
                   json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", API_VERSION, "kind", "Move",
                             "address", text, "message", "it is being handed over"));
}

struct move_ticket {
    struct http_request *request;
    struct addr address;
};

static void moved_there(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct move_ticket *ticket = context;
    struct err err = {.code = code};

    (void)size;
    free(data);
    snprintf(err.text, sizeof err.text, "%s", reason != NULL ? reason : "");
    if (code == ERR_NONE)
        reply_move(ticket->request, &ticket->address);
    else
        api_reply_error(ticket->request, &err);
    free(ticket);
}

void api_post_move(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    struct node_event event = {.type = NODE_MOVE};
    struct move_ticket *ticket;
    node_id owner = NODE_NONE;
    struct err err;
    int rc = read_move(agent, body, &event.move, &err);

    json_decref(body);
    if (rc == ERR_NONE)
        rc = node_may_move(agent->node, os_clock_now(), &event.move.address, event.move.to, &owner,
                           &err);
    if (rc == ERR_NONE) {
        agent_feed(agent, &event);
        reply_move(request, &event.move.address);
        return;
    }
    ticket = node_id_none(owner) || node_id_equal(owner, agent->identity.id) ||
                     node_id_equal(owner, event.move.to)
                 ? NULL
                 : calloc(1, sizeof *ticket);
    if (ticket == NULL) {
        api_reply_error(request, &err);
        return;
    }
    ticket->request = request;
    ticket->address = event.move.address;
    agent_peer_move(agent, owner, &event.move.address, event.move.to, moved_there, ticket);
}
