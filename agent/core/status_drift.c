/* What is left as somebody changed it, as the nodes say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/node_internal.h"
#include "agent/core/status_parts.h"
#include "proto/record/value_codec.h"

#define KEY "drift/"

struct gather {
    const struct node *node;
    struct status *status;
    size_t room;
};

static bool count_one(void *context, const struct record_view *view)
{
    (void)view;
    ++*(size_t *)context;
    return true;
}

static bool gather_one(void *context, const struct record_view *view)
{
    struct gather *gather = context;
    struct status *status = gather->status;
    const struct peer *peer = node_find_peer(gather->node, view->author);
    struct status_drift *out = &status->drifts[status->drift_count];

    if (status->drift_count >= gather->room || peer == NULL ||
        (!peer->self && !node_peer_present(peer)) ||
        value_drift_decode(view->value, view->value_len, &out->value) != ERR_NONE)
        return true;
    snprintf(out->subject, sizeof out->subject, "%s", view->key + strlen(KEY));
    out->node_name = peer->head.name;
    status->drift_count++;
    return true;
}

static int by_subject(const void *a, const void *b)
{
    const struct status_drift *x = a;
    const struct status_drift *y = b;
    int order = strcmp(x->subject, y->subject);

    return order != 0 ? order : strcmp(x->node_name, y->node_name);
}

int status_fill_drifts(const struct node *node, struct status *status)
{
    struct gather gather = {.node = node, .status = status};

    records_each(node->records, NODE_NONE, KEY, count_one, &gather.room);
    status->drifts = calloc(gather.room + 1, sizeof *status->drifts);
    if (status->drifts == NULL)
        return ERR_NOMEM;
    records_each(node->records, NODE_NONE, KEY, gather_one, &gather);
    qsort(status->drifts, status->drift_count, sizeof *status->drifts, by_subject);
    return ERR_NONE;
}

const struct status_drift *status_drift_of(const struct status *status, const char *subject,
                                           const char *node)
{
    for (size_t i = 0; i < status->drift_count; i++)
        if (strcmp(status->drifts[i].subject, subject) == 0 &&
            strcmp(status->drifts[i].node_name, node) == 0)
            return &status->drifts[i];
    return NULL;
}
