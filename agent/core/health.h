/* Schedules the probes of one workload instance and turns their results into verdicts. Pure.
 *
 * The meaning of the numbers is that of Kubernetes: the startup probe runs first and holds the
 * others back until it succeeds once; readiness makes the instance ready and not ready; liveness
 * and startup, failing failure_threshold times in a row, give the instance up. A probe never
 * overlaps itself: the next run starts a period after the start of the last, or with its result if
 * that came later. One addition: until a startup or readiness probe succeeds for the first time, it
 * is tried between its regular runs too, soon and then ever more seldom, so that a program that is
 * up in 20 ms does not wait a period to be called ready; these tries count as no failures. How a
 * probe is made (HTTP, TCP, exec) is the caller's business. */
#ifndef COVEY_CORE_HEALTH_H
#define COVEY_CORE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/mono.h"

enum health_probe { HEALTH_STARTUP, HEALTH_READINESS, HEALTH_LIVENESS, HEALTH_PROBES };

/* The caller's results are late: this long after a probe's own timeout it counts as failed. */
#define HEALTH_RESULT_GRACE_MS 1000

/* Pause before the first try between regular runs; it doubles with each. */
#define HEALTH_EAGER_MS 25

struct health_policy {
    bool present;
    int64_t initial_delay_ms;   /* from the start of the process */
    int64_t period_ms;          /* >= 1 */
    int64_t timeout_ms;         /* >= 1 */
    unsigned success_threshold; /* >= 1; must be 1 for startup and liveness, as in Kubernetes */
    unsigned failure_threshold; /* >= 1 */
};

struct health_run {
    bool run;        /* start this probe now */
    uint32_t ticket; /* hand it back with the result */
    int64_t timeout_ms;
};

struct health_out {
    struct health_run probe[HEALTH_PROBES];
    bool ready_changed; /* health.ready has a new value */
    bool dead;          /* given up: restart the instance. No probe runs after that. */
};

struct health_track {
    struct health_policy policy;
    mono_t next;        /* start of the next run */
    mono_t regular;     /* start of the next one that the policy asks for; >= next */
    int64_t eager_ms;   /* pause before a try between them; 0: it has succeeded, no more of them */
    bool counts;        /* the run in flight or the last one: it was a regular one */
    mono_t timeout;     /* of the run in flight; MONO_NEVER: none is */
    uint32_t ticket;    /* of the run in flight or the last one */
    unsigned successes; /* in a row */
    unsigned failures;
};

struct health {
    struct health_track probe[HEALTH_PROBES];
    mono_t started_at; /* of the process */
    bool active;
    bool started; /* the startup probe has succeeded, or there is none */
    bool ready;
};

/* Defaults of Kubernetes: no delay, period 10 s, timeout 1 s, thresholds 1 and 3. */
struct health_policy health_policy_default(void);

/* Idle: no probe runs, not ready. @policy has HEALTH_PROBES entries. */
void health_init(struct health *h, const struct health_policy policy[HEALTH_PROBES]);

/* The process started at @started_at (in the past for one that was found running): schedule its
 * probes from the beginning. Tickets of earlier runs are void. */
void health_begin(struct health *h, mono_t now, mono_t started_at, struct health_out *out);

/* No more probes; results that still come are ignored. */
void health_end(struct health *h);

/* A probe ended. A result with an old ticket is ignored. */
void health_result(struct health *h, mono_t now, enum health_probe probe, uint32_t ticket,
                   bool success, struct health_out *out);

/* Time passed. Harmless at any time. */
void health_tick(struct health *h, mono_t now, struct health_out *out);

/* When health_tick is wanted; MONO_NEVER when idle. */
mono_t health_deadline(const struct health *h);

#endif
