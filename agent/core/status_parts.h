/* Parts of node_status, shared by status*.c alone. */
#ifndef COVEY_CORE_STATUS_PARTS_H
#define COVEY_CORE_STATUS_PARTS_H

#include "agent/core/node.h"
#include "agent/core/status.h"

/* Allocates and fills status->drifts. ERR_NOMEM. */
int status_fill_drifts(const struct node *node, struct status *status);

#endif
