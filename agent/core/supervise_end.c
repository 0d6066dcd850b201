/* A run has ended: whether another follows, and when. */
#include <signal.h>

#include "agent/core/supervise_inside.h"

/* Exponential back-off with full jitter: uniform in [0, min(max, min * 2^(failures - 1))]. */
static int64_t backoff_delay(const struct supervise *m, struct rng *rng)
{
    int64_t bound = m->policy.backoff_min_ms;

    for (unsigned i = 1; i < m->failures && bound < m->policy.backoff_max_ms; i++)
        bound *= 2;
    if (bound > m->policy.backoff_max_ms)
        bound = m->policy.backoff_max_ms;
    return rng_range(rng, 0, bound);
}

static enum supervise_state restart(struct supervise *m, const struct step *s)
{
    if (m->last_stable) {
        m->failures = 0;
        return supervise_start(m, s);
    }
    m->failures++;
    if (m->policy.start_limit > 0 && m->failures >= m->policy.start_limit) {
        s->out->start_limit = m->failures == m->policy.start_limit;
        /* A pause of full length: jitter may not turn "failed" into a quick retry. */
        m->wake_at = mono_add(s->now, m->policy.backoff_max_ms +
                                          rng_range(s->rng, 0, m->policy.backoff_max_ms / 10));
        return SUPERVISE_FAILED;
    }
    m->wake_at = mono_add(s->now, backoff_delay(m, s->rng));
    return SUPERVISE_BACKOFF;
}

enum supervise_state supervise_judge(struct supervise *m, const struct step *s)
{
    bool failed =
        m->unhealthy || m->last_exit.kind != SUPERVISE_EXIT_CODE || m->last_exit.value != 0;

    m->unjudged = false;
    m->left = m->policy.leave_killed && !m->unhealthy && m->killed;
    if (m->left || m->policy.restart == SUPERVISE_NEVER ||
        (m->policy.restart == SUPERVISE_ON_FAILURE && !failed))
        return SUPERVISE_COMPLETED;
    return restart(m, s);
}

/* By a signal that people send, not by one that tells of a fault of its own. */
static bool killed_by_somebody(const struct supervise_event *event)
{
    const struct supervise_exit *exit = &event->exit;

    return exit->kind == SUPERVISE_EXIT_SIGNAL && !event->starved &&
           (exit->value == SIGHUP || exit->value == SIGINT || exit->value == SIGQUIT ||
            exit->value == SIGKILL || exit->value == SIGTERM);
}

static void record_end(struct supervise *m, const struct step *s)
{
    supervise_probes_end(m, s);
    m->last_exit = s->event->exit;
    m->prepare_at = MONO_NEVER;
    m->killed = killed_by_somebody(s->event);
    m->last_stable = m->pid != 0 && mono_diff(s->now, m->started_at) >= m->policy.stable_ms;
    m->pid = 0;
}

enum supervise_state supervise_exited(struct supervise *m, const struct step *s)
{
    bool found_only = m->state == SUPERVISE_RUNNING && !m->wanted;

    record_end(m, s);
    if (!m->wanted) {
        m->unjudged = found_only;
        return SUPERVISE_STOPPED;
    }
    if (m->generation != m->run_generation) {
        m->failures = 0;
        return supervise_start(m, s);
    }
    return m->last_exit.kind == SUPERVISE_EXIT_LEASE ? supervise_start(m, s)
                                                     : supervise_judge(m, s);
}

enum supervise_state supervise_exited_stopping(struct supervise *m, const struct step *s)
{
    if (m->unhealthy)
        return supervise_exited(m, s);
    record_end(m, s);
    if (m->generation != m->run_generation)
        m->failures = 0;
    return supervise_start(m, s);
}
