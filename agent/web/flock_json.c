#include "agent/web/flock_json.h"

#include "agent/web/status_json.h"

json_t *flock_json_node(const struct flock_json_node *node)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:o}", "name", node->name, "id",
                     node->id, "fingerprint", node->fingerprint, "state", node->state, "member",
                     node->member, "role", node->role, "self", (int)node->self, "holder",
                     (int)node->holder, "address", node->address, "since",
                     status_json_time(node->since));
}

json_t *flock_json_token(const struct flock_json_token *token)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:I}", "id", token->id, "state", token->state,
                     "created", status_json_time(token->created), "expires",
                     status_json_time(token->expires), "usesLeft", (json_int_t)token->uses_left,
                     "used", (json_int_t)token->used);
}

json_t *flock_json_key(const struct flock_json_key *key)
{
    return json_pack("{s:s, s:s, s:I, s:b, s:b, s:b}", "name", key->name, "member", key->member,
                     "epoch", (json_int_t)key->epoch, "current", (int)key->current, "holder",
                     (int)key->holder, "self", (int)key->self);
}

json_t *flock_json_keys(uint32_t epoch, bool agreed, size_t revoked, json_t *nodes)
{
    return json_pack("{s:s, s:s, s:I, s:b, s:I, s:o}", "apiVersion", API_VERSION, "kind", "Keys",
                     "epoch", (json_int_t)epoch, "agreed", (int)agreed, "revoked",
                     (json_int_t)revoked, "nodes", nodes);
}
