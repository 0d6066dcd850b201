/* Sealing to the flock: who can be sealed to, and sealing anew what this node can open. No answer
 * holds a value, and none can be got by asking: what comes in sealed goes out sealed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "proto/wire/seal.h"

/* Nodes that run workloads; the revoked are no members. NULL: no memory. */
static json_t *keys_json(struct agent *agent)
{
    json_t *items = json_array();
    struct status *status;

    if (api_take_status(agent, &status) != ERR_NONE) {
        json_decref(items);
        return NULL;
    }
    for (size_t i = 0; i < status->node_count; i++) {
        char key[SEAL_PUBLIC_TEXT];
        if (status->nodes[i].role == VALUE_ROLE_WITNESS)
            continue;
        seal_public_format(status->nodes[i].public_key, key);
        json_array_append_new(items,
                              json_pack("{s:s, s:s}", "node", status->nodes[i].name, "key", key));
    }
    status_free(status);
    return items;
}

void api_get_secret_keys(struct agent *agent, struct http_request *request)
{
    json_t *items = keys_json(agent);

    if (items == NULL)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        api_reply_json(request, 200, status_json_list("NodeKeyList", items));
}

/* ---- sealing anew ---- */

static int open_old_key(const struct agent *agent, const json_t *recipients, uint8_t key[SEAL_KEY],
                        struct err *err)
{
    const json_t *recipient;
    size_t i;

    json_array_foreach(recipients, i, recipient)
    {
        const char *text = json_string_value(json_object_get(recipient, "key"));
        if (text != NULL && seal_open_key(&agent->identity, text, key) == ERR_NONE)
            return ERR_NONE;
    }
    return err_set(
        err, ERR_DENIED,
        "%s cannot open this secret: it was not sealed to it. Ask on a node that it names",
        agent->name);
}

/* To those of @wanted, or to all (NULL). */
static int seal_to(struct agent *agent, const json_t *wanted, const uint8_t key[SEAL_KEY],
                   json_t *recipients, struct err *err)
{
    json_t *nodes = keys_json(agent);
    const json_t *node;
    size_t i, k;
    int rc = nodes != NULL ? ERR_NONE : ERR_NOMEM;

    if (wanted != NULL && json_array_size(wanted) == 0)
        rc = err_set(err, ERR_NOTFOUND,
                     "none of the nodes that the secret names is a member: name others");
    for (k = 0; rc == ERR_NONE && k < (wanted != NULL ? json_array_size(wanted) : 1); k++) {
        const char *name = wanted != NULL ? json_string_value(json_array_get(wanted, k)) : NULL;
        bool found = false;
        json_array_foreach(nodes, i, node)
        {
            const char *own = json_string_value(json_object_get(node, "node"));
            uint8_t public_key[KEYS_PUBLIC];
            char text[SEAL_KEY_TEXT];
            if (wanted != NULL && (name == NULL || strcmp(name, own) != 0))
                continue;
            found = true;
            if (seal_public_parse(json_string_value(json_object_get(node, "key")), public_key) !=
                    ERR_NONE ||
                seal_key(public_key, key, text) != ERR_NONE)
                rc = err_set(err, ERR_INVALID, "the key of %s cannot be sealed to", own);
            else
                json_array_append_new(recipients,
                                      json_pack("{s:s, s:s}", "node", own, "key", text));
        }
        if (!found)
            rc = err_set(err, ERR_NOTFOUND,
                         "there is no node %.64s in the flock. See agentctl node list",
                         name != NULL ? name : "at all");
    }
    json_decref(nodes);
    return rc == ERR_NOMEM ? err_set(err, rc, "%s", err_text(rc)) : rc;
}

static int seal_anew(const char *name, const char *part, const char *text,
                     const uint8_t old[SEAL_KEY], const uint8_t fresh[SEAL_KEY], json_t *data,
                     struct err *err)
{
    char *value = malloc(SEAL_VALUE_MAX + 1);
    char *sealed = malloc(SEAL_VALUE_TEXT_MAX);
    size_t len;
    int rc = ERR_NOMEM;

    if (value != NULL && sealed != NULL)
        rc = seal_open_value(old, name, part, text, value, &len);
    if (rc == ERR_NONE) {
        rc = seal_value(fresh, name, part, value, len, sealed);
        keys_wipe(value, SEAL_VALUE_MAX + 1);
    }
    if (rc == ERR_NONE)
        json_object_set_new(data, part, json_string(sealed));
    free(value);
    free(sealed);
    return rc == ERR_NONE
               ? rc
               : err_set(err, rc, "the value %.64s of the secret %.64s does not open: %s", part,
                         name, err_text(rc));
}

/* @data keeps its ciphertexts where the data key stays the same. */
static int reseal(struct agent *agent, const json_t *body, json_t *recipients, json_t *data,
                  struct err *err)
{
    const json_t *old_recipients = NULL, *wanted = NULL;
    json_t *old_data = NULL;
    const char *name = NULL, *part;
    uint8_t old[SEAL_KEY] = {0}, fresh[SEAL_KEY] = {0};
    json_t *text;
    int keep = 0, rc;

    if (json_unpack((json_t *)body, "{s:s, s:o, s:o, s?o, s?b}", "name", &name, "recipients",
                    &old_recipients, "encryptedData", &old_data, "nodes", &wanted, "keepKey",
                    &keep) != 0 ||
        !json_is_array(old_recipients) || !json_is_object(old_data) ||
        (wanted != NULL && !json_is_array(wanted)))
        return err_set(
            err, ERR_INVALID,
            "expected {\"name\": \"db\", \"recipients\": [...], \"encryptedData\": {...}}");
    rc = open_old_key(agent, old_recipients, old, err);
    if (rc != ERR_NONE)
        return rc;
    if (keep)
        memcpy(fresh, old, sizeof fresh);
    else
        seal_new_key(fresh);
    rc = seal_to(agent, wanted, fresh, recipients, err);
    json_object_foreach(old_data, part, text)
    {
        if (rc != ERR_NONE)
            break;
        if (keep)
            json_object_set(data, part, text);
        else
            rc = seal_anew(name, part, json_is_string(text) ? json_string_value(text) : "", old,
                           fresh, data, err);
    }
    keys_wipe(old, sizeof old);
    keys_wipe(fresh, sizeof fresh);
    return rc;
}

void api_post_reseal(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    json_t *recipients = json_array(), *data = json_object();
    struct err err;

    if (reseal(agent, body, recipients, data, &err) == ERR_NONE) {
        api_reply_json(request, 200,
                       json_pack("{s:s, s:s, s:O, s:O}", "apiVersion", API_VERSION, "kind",
                                 "Resealed", "recipients", recipients, "encryptedData", data));
    } else {
        api_reply_error(request, &err);
    }
    json_decref(recipients);
    json_decref(data);
    json_decref(body);
}
