/* How people and the API read states and events of supervision. */
#include <assert.h>

#include "agent/core/supervise.h"

const char *supervise_state_name(enum supervise_state state)
{
    static const char *const names[SUPERVISE_STATES] = {
        [SUPERVISE_STOPPED] = "stopped",     [SUPERVISE_WAITING] = "waiting",
        [SUPERVISE_STARTING] = "starting",   [SUPERVISE_RUNNING] = "running",
        [SUPERVISE_READY] = "ready",         [SUPERVISE_STOPPING] = "stopping",
        [SUPERVISE_BACKOFF] = "backoff",     [SUPERVISE_FAILED] = "failed",
        [SUPERVISE_COMPLETED] = "completed",
    };

    assert((unsigned)state < SUPERVISE_STATES);
    return names[state];
}

const char *supervise_event_name(enum supervise_event_type type)
{
    static const char *const names[SUPERVISE_EVENTS] = {
        [SUPERVISE_WANT_RUN] = "want-run",
        [SUPERVISE_WANT_STOP] = "want-stop",
        [SUPERVISE_PERMIT] = "permit",
        [SUPERVISE_FORBID] = "forbid",
        [SUPERVISE_LEASE_GAINED] = "lease-gained",
        [SUPERVISE_LEASE_LOST] = "lease-lost",
        [SUPERVISE_STARTED] = "started",
        [SUPERVISE_START_FAILED] = "start-failed",
        [SUPERVISE_EXITED] = "exited",
        [SUPERVISE_FOUND] = "found",
        [SUPERVISE_PROBE_READY] = "probe-ready",
        [SUPERVISE_PROBE_UNREADY] = "probe-unready",
        [SUPERVISE_PROBE_DEAD] = "probe-dead",
        [SUPERVISE_TICK] = "tick",
    };

    assert((unsigned)type < SUPERVISE_EVENTS);
    return names[type];
}
