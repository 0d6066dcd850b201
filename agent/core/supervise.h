/* Supervision of one workload instance: a pure state machine.
 *
 *   stopped ──want──▶ waiting ──may start──▶ starting ──started──▶ running ◀──probes──▶ ready
 *      ▲                 ▲                      ▲                     │ exited            │
 *      │                 │                      └── retry ── backoff ◀┴───────────────────┤
 *      │                 │                      └── retry ── failed  ◀── start limit ─────┤
 *      └──── exited ─── stopping ◀── not wanted, replaced, lease lost, liveness failed ───┘
 *                                                completed: ended, and the policy wants no restart
 *
 * The caller feeds what happened (`supervise_step`), carries out the effects in the order given,
 * and comes back with SUPERVISE_TICK at `supervise_deadline`. At most one process of the instance
 * exists in this machine's view: a start is asked for only in a state that knows of none, and the
 * shim's lock file holds the same rule against the world outside.
 *
 * After a restart of the agent feed SUPERVISE_FOUND for every living shim first, then the wishes.
 * An instance that was found runs on until a wish says otherwise, and without a lease until its
 * shim ends it at the deadline. For one whose recorded exit was
 * found feed SUPERVISE_FOUND and SUPERVISE_EXITED: the wish that follows then meets its policy (a
 * completed job is not run again). A job that must run again with the same document, as each tick
 * of a cron, gets another generation. */
#ifndef COVEY_CORE_SUPERVISE_H
#define COVEY_CORE_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/mono.h"
#include "proto/base/rng.h"

#define SUPERVISE_STOP_TIMEOUT_MS 30000 /* terminationGracePeriodSeconds of Kubernetes */
#define SUPERVISE_BACKOFF_MIN_MS 1000   /* upper bound of the first delay */
#define SUPERVISE_BACKOFF_MAX_MS 300000 /* upper bound of the last, and the pause when failed */
#define SUPERVISE_STABLE_MS 30000       /* a run of this length forgets earlier failures */
#define SUPERVISE_START_LIMIT 10        /* unstable runs in a row that make an instance failed */
#define SUPERVISE_KILL_AGAIN_MS 5000    /* grace beyond the stop timeout, and between kills */
#define SUPERVISE_EFFECTS_MAX 4

enum supervise_state {
    SUPERVISE_STOPPED,   /* not wanted, no process */
    SUPERVISE_WAITING,   /* wanted; a dependency or the lease is missing */
    SUPERVISE_STARTING,  /* the shim was asked to start it */
    SUPERVISE_RUNNING,   /* a process lives, not (or no longer) ready */
    SUPERVISE_READY,     /* lives and passes its readiness probe, or has none */
    SUPERVISE_STOPPING,  /* was told to end */
    SUPERVISE_BACKOFF,   /* ended; waits for its next start */
    SUPERVISE_FAILED,    /* start limit reached: reported, and tried again every few minutes */
    SUPERVISE_COMPLETED, /* ended, and its policy wants no other run */
    SUPERVISE_STATES
};

enum supervise_restart { SUPERVISE_ALWAYS, SUPERVISE_ON_FAILURE, SUPERVISE_NEVER };

enum supervise_event_type {
    SUPERVISE_WANT_RUN,     /* generation, policy; another generation replaces what runs */
    SUPERVISE_WANT_STOP,    /* no longer desired on this node */
    SUPERVISE_PERMIT,       /* every dependency is ready */
    SUPERVISE_FORBID,       /* a dependency is not; holds back starts, stops nothing */
    SUPERVISE_LEASE_GAINED, /* only of interest where policy.needs_lease */
    SUPERVISE_LEASE_LOST,   /* ends a run at once, without grace */
    SUPERVISE_STARTED,      /* pid */
    SUPERVISE_START_FAILED, /* the shim could not start it: no process exists */
    SUPERVISE_EXITED,       /* exit: the workload and all its descendants are gone */
    SUPERVISE_FOUND,        /* generation, pid, started_at: runs already under a living shim */
    SUPERVISE_PROBE_READY,
    SUPERVISE_PROBE_UNREADY,
    SUPERVISE_PROBE_DEAD, /* liveness or startup probe failed for good: restart it */
    SUPERVISE_TICK,       /* time passed; harmless at any time */
    SUPERVISE_EVENTS
};

enum supervise_exit_kind {
    SUPERVISE_EXIT_NONE,   /* has not ended yet */
    SUPERVISE_EXIT_CODE,   /* value: exit code */
    SUPERVISE_EXIT_SIGNAL, /* value: signal number */
    SUPERVISE_EXIT_FAILED, /* could not be started; value: errno */
    SUPERVISE_EXIT_LEASE,  /* the shim ended it at its lease's deadline: no failure */
    SUPERVISE_EXIT_LOST    /* its shim vanished; how it ended is unknown */
};

struct supervise_exit {
    enum supervise_exit_kind kind;
    int value;
};

struct supervise_policy {
    enum supervise_restart restart;
    bool probed;      /* has a startup or readiness probe: ready only when the probes say so */
    bool needs_lease; /* runs only while the lease is held (singletons) */
    int stop_signal;  /* 0: SIGTERM */
    int64_t stop_timeout_ms;
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    int64_t stable_ms;
    unsigned start_limit; /* 0: none */
    bool leave_killed;    /* what somebody killed from outside stays as it is */
};

struct supervise_event {
    enum supervise_event_type type;
    uint64_t generation;            /* WANT_RUN, FOUND */
    struct supervise_policy policy; /* WANT_RUN */
    int32_t pid;                    /* STARTED, FOUND */
    mono_t started_at;              /* FOUND */
    bool stopping;                  /* FOUND: it was told to end in an earlier life of the agent */
    struct supervise_exit exit;     /* EXITED; START_FAILED: value is the errno */
    bool starved;                   /* EXITED: the kernel killed it for want of memory */
};

enum supervise_effect_type {
    SUPERVISE_DO_START,       /* generation */
    SUPERVISE_DO_STOP,        /* signal, timeout_ms: the shim kills what is left after it */
    SUPERVISE_DO_KILL,        /* everything of this instance, now */
    SUPERVISE_DO_PROBE_BEGIN, /* started_at: initial delays count from there */
    SUPERVISE_DO_PROBE_END,
    SUPERVISE_DO_PREPARE /* it may end as a stable run: a start at once would follow */
};

struct supervise_effect {
    enum supervise_effect_type type;
    uint64_t generation;
    int signal;
    int64_t timeout_ms;
    mono_t started_at;
};

struct supervise_out {
    struct supervise_effect effect[SUPERVISE_EFFECTS_MAX];
    size_t effects;
    enum supervise_state from; /* state before and after the step */
    enum supervise_state to;
    bool illegal;     /* the event has no meaning in this state: nothing was changed; report it */
    bool start_limit; /* the start limit was reached by this step: report it */
};

struct supervise {
    enum supervise_state state;
    mono_t since; /* of this state */
    bool wanted;
    bool permitted; /* true until SUPERVISE_FORBID */
    bool leased;
    bool probing;
    uint64_t generation; /* wanted (valid while wanted) */
    struct supervise_policy policy;
    uint64_t run_generation; /* of the process that lives, starts or ended last */
    int32_t pid;             /* 0: none lives */
    mono_t started_at;
    mono_t wake_at;    /* end of back-off, or next kill */
    mono_t prepare_at; /* of DO_PREPARE, once in a run; MONO_NEVER: it was, or nothing lives */
    bool unhealthy;    /* stopping because a probe gave it up: counts as a failure */
    bool killed;       /* somebody has ended the last run by a signal, from outside */
    bool left;         /* somebody killed it, and its policy leaves it so; until the next start */
    bool unjudged;     /* ended before any wish: its policy has yet to say what follows */
    bool last_stable;  /* the last run was a stable one */
    unsigned failures; /* unstable runs in a row */
    uint64_t restarts; /* starts after the first */
    uint64_t starts;
    uint64_t illegal; /* events refused */
    struct supervise_exit last_exit;
};

/* The default policy: Always, not probed, no lease, SIGTERM, the times above. */
struct supervise_policy supervise_policy_default(void);

/* A machine in the state stopped, permitted to start, without lease. */
void supervise_init(struct supervise *m, mono_t now);

/* Advances @m by @event and fills @out. @rng is used for the jitter of back-off alone. */
void supervise_step(struct supervise *m, mono_t now, const struct supervise_event *event,
                    struct rng *rng, struct supervise_out *out);

/* When SUPERVISE_TICK is wanted; MONO_NEVER: not before something else happens. */
mono_t supervise_deadline(const struct supervise *m);

/* Somebody killed it, and it stays so by its policy. */
bool supervise_left(const struct supervise *m);

/* A process of this instance may exist (starting, running, ready, stopping). */
bool supervise_alive(const struct supervise *m);

/* "ready", "exited", "on-failure": as people and the API read them. */
const char *supervise_state_name(enum supervise_state state);
const char *supervise_event_name(enum supervise_event_type type);

#endif
