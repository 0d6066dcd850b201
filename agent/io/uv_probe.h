/* One health probe: HTTP, TCP or exec, bounded in time, answered exactly once. */
#ifndef COVEY_IO_UV_PROBE_H
#define COVEY_IO_UV_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/desired/desired.h"
#include "proto/base/id.h"

#define PROBE_REASON_MAX 128

struct uv_loop_s;
struct uv_probe; /* one under way */

struct uv_probe_spec { /* borrowed for the call */
    const struct desired_probe *probe;
    struct addr target; /* HTTP, TCP */
    int64_t timeout_ms;
    const char *const *argv; /* exec: in the place of the probe's command; NULL: that */
    const char *const *env;  /* exec; NULL-terminated */
    const char *cwd;
    bool set_ids; /* exec: as uid and gid */
    uid_t uid;
    gid_t gid;
    /* @reason of a failure, else "". */
    void (*done)(void *context, bool success, const char *reason);
    void *context; /* freed by the caller in done, if at all */
};

/* Starts it; done is called later, always, and *probe is of no more use from then on. Returns
 * ERR_NOMEM, and done is not called then. */
int uv_probe_start(struct uv_loop_s *loop, const struct uv_probe_spec *spec,
                   struct uv_probe **probe);

/* Ends it before its time; calls done, as a failure, at once. */
void uv_probe_cancel(struct uv_probe *probe);

#endif
