/* Log lines of a workload from every node that runs it, merged by time. */
#ifndef COVEY_DAEMON_AGENT_LOGS_H
#define COVEY_DAEMON_AGENT_LOGS_H

#include "agent/core/status.h"
#include "agent/daemon/agent.h"

/* Answers @request with the last @lines lines of the workload, or instance, @name. */
void agent_logs(struct agent *agent, struct http_request *request, const struct status *status,
                const char *name, size_t lines);

#endif
