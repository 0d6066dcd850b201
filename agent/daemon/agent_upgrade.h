/* agentctl upgrade: this process becomes another agentd, and is this one again if that fails. */
#ifndef COVEY_DAEMON_AGENT_UPGRADE_H
#define COVEY_DAEMON_AGENT_UPGRADE_H

#include "agent/daemon/agent.h"

/* After everything is open: reports how an upgrade went that led to this program. */
void agent_upgrade_begun(struct agent *agent);

void api_get_upgrade(struct agent *agent, struct http_request *request);
void api_post_upgrade(struct agent *agent, struct http_request *request);

#endif
