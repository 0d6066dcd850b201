/* /metrics: this agent, the workloads on its node, the node. */
#ifndef COVEY_DAEMON_AGENT_METRICS_H
#define COVEY_DAEMON_AGENT_METRICS_H

#include "agent/daemon/agent.h"

/* Answers @request. */
void agent_metrics(struct agent *agent, struct http_request *request);

#endif
