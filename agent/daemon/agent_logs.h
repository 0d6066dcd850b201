/* Log lines of a workload from every node that has some, merged by time. */
#ifndef COVEY_DAEMON_AGENT_LOGS_H
#define COVEY_DAEMON_AGENT_LOGS_H

#include "agent/daemon/agent.h"

/* Answers GET
 * /v1/logs?name=NAME[&lines=N][&since=MS][&level=LEVEL][&node=NODE][&follow=1][&after=CURSOR] by
 * lines of JSON: one object for each line of log, then one of kind LogPage: a cursor for the next
 * request, whether there is more already, and what stood in the way. @lines 0: from the beginning.
 */
void agent_logs(struct agent *agent, struct http_request *request);

#endif
