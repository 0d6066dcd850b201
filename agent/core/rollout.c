#include "agent/core/rollout.h"

#include <stdio.h>
#include <string.h>

static bool same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Puts @commit first; what was last falls out. */
static void push(char (*list)[COMMIT_TEXT], size_t max, const char *commit)
{
    memmove(list[1], list[0], (max - 1) * sizeof list[0]);
    snprintf(list[0], sizeof list[0], "%s", commit);
}

/* Takes @commit out. */
static void drop(char (*list)[COMMIT_TEXT], size_t max, const char *commit)
{
    size_t kept = 0;

    for (size_t i = 0; i < max; i++)
        if (!same(list[i], commit))
            memmove(list[kept++], list[i], sizeof list[0]);
    for (; kept < max; kept++)
        list[kept][0] = '\0';
}

void rollout_init(struct rollout *r, const struct rollout_marks *marks)
{
    *r = (struct rollout){.deadline = MONO_NEVER, .limit = MONO_NEVER, .ready_since = MONO_NEVER};
    if (marks != NULL)
        r->marks = *marks;
}

bool rollout_is_bad(const struct rollout *r, const char *commit)
{
    for (size_t i = 0; i < ROLLOUT_BAD_MAX && r->marks.bad[i][0] != '\0'; i++)
        if (same(r->marks.bad[i], commit))
            return true;
    return false;
}

static void become_good(struct rollout *r)
{
    r->state = ROLLOUT_GOOD;
    r->deadline = r->limit = MONO_NEVER;
    if (same(r->marks.good[0], r->commit))
        return;
    drop(r->marks.good, ROLLOUT_GOOD_MAX, r->commit);
    push(r->marks.good, ROLLOUT_GOOD_MAX, r->commit);
}

void rollout_applied(struct rollout *r, mono_t now, const char *commit, int64_t timeout_ms,
                     bool roll_back)
{
    bool back = r->state == ROLLOUT_BACK && same(r->marks.good[0], commit);

    if (back) /* it arrived where it was sent; the record goes on naming what was given up */
        return;
    if (r->state != ROLLOUT_NONE && same(r->commit, commit)) /* the same again */
        return;
    snprintf(r->commit, sizeof r->commit, "%s", commit);
    r->timeout_ms = timeout_ms;
    r->roll_back = roll_back;
    r->ready_since = MONO_NEVER;
    r->extensions = 0;
    if (timeout_ms == 0 || same(r->marks.good[0], commit)) {
        become_good(r);
        return;
    }
    r->state = ROLLOUT_WAITING;
    r->deadline = mono_add(now, timeout_ms);
    r->limit = mono_add(now, 2 * timeout_ms);
}

static void give_up(struct rollout *r, const char *commit)
{
    push(r->marks.bad, ROLLOUT_BAD_MAX, commit);
    drop(r->marks.good, ROLLOUT_GOOD_MAX, commit);
}

bool rollout_given_up(struct rollout *r, const char *commit, bool *go_back)
{
    bool running = r->state != ROLLOUT_NONE && r->state != ROLLOUT_BACK && same(r->commit, commit);

    *go_back = false;
    if (commit[0] == '\0' || rollout_is_bad(r, commit))
        return false;
    give_up(r, commit);
    if (!running)
        return true;
    *go_back = r->marks.good[0][0] != '\0';
    r->state = *go_back ? ROLLOUT_BACK : ROLLOUT_UNHEALTHY;
    r->deadline = r->limit = MONO_NEVER;
    return true;
}

static enum rollout_verdict out_of_time(struct rollout *r, mono_t now,
                                        const struct rollout_view *view)
{
    /* What it waits for may be on a node that is away: not the commit's fault. */
    if (view->blocked && view->peers_away && r->extensions < ROLLOUT_EXTENSIONS) {
        r->extensions++;
        r->deadline = mono_add(now, r->timeout_ms);
        r->limit = mono_add(now, 2 * r->timeout_ms);
        return ROLLOUT_NO_CHANGE;
    }
    r->deadline = r->limit = MONO_NEVER;
    /* Where the others call it good it is this node that is ill. */
    if (!r->roll_back || view->peers_good || r->marks.good[0][0] == '\0') {
        r->state = ROLLOUT_UNHEALTHY;
        return ROLLOUT_BECOMES_UNHEALTHY;
    }
    give_up(r, r->commit);
    r->state = ROLLOUT_BACK;
    return ROLLOUT_BECOMES_BAD;
}

enum rollout_verdict rollout_look(struct rollout *r, mono_t now, const struct rollout_view *view)
{
    bool was_ready = !mono_is_never(r->ready_since);
    bool stable;

    if (r->state != ROLLOUT_WAITING && r->state != ROLLOUT_UNHEALTHY)
        return ROLLOUT_NO_CHANGE;
    if (view->ready != was_ready)
        r->ready_since = view->ready ? now : MONO_NEVER;
    /* Of replicas that are replaced one after the other each has the whole time for itself. */
    if (view->waits && r->state == ROLLOUT_WAITING) {
        r->deadline = mono_add(now, r->timeout_ms);
        r->limit = mono_add(now, 2 * r->timeout_ms);
    }
    /* Who is ready does not call good what others have yet to try. */
    if (view->peers_wait && r->state == ROLLOUT_WAITING)
        r->limit = mono_add(now, 2 * r->timeout_ms);
    /* What has moved here late, from a node that died, has not had its time. */
    if (!view->ready && r->state == ROLLOUT_WAITING)
        r->deadline =
            mono_max(r->deadline, mono_min(mono_add(view->since, r->timeout_ms), r->limit));
    stable = view->ready && mono_reached(now, mono_add(r->ready_since, ROLLOUT_STABLE_MS));
    if (r->state == ROLLOUT_UNHEALTHY) { /* it may recover, if nobody gave it up */
        if (!stable || rollout_is_bad(r, r->commit))
            return ROLLOUT_NO_CHANGE;
        become_good(r);
        return ROLLOUT_BECOMES_GOOD;
    }
    if (stable && (view->peers_ready || (mono_reached(now, r->deadline) && !view->peers_trying) ||
                   mono_reached(now, r->limit))) {
        become_good(r);
        return ROLLOUT_BECOMES_GOOD;
    }
    if (!view->ready && mono_reached(now, r->deadline))
        return out_of_time(r, now, view);
    if (view->ready != was_ready)
        return view->ready ? ROLLOUT_BECOMES_READY : ROLLOUT_BECOMES_UNREADY;
    return ROLLOUT_NO_CHANGE;
}

mono_t rollout_deadline(const struct rollout *r, mono_t now)
{
    const mono_t times[] = {mono_add(r->ready_since, ROLLOUT_STABLE_MS), r->deadline, r->limit};
    mono_t next = MONO_NEVER;

    if (r->state != ROLLOUT_WAITING && r->state != ROLLOUT_UNHEALTHY)
        return next;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (!mono_reached(now, times[i])) /* what has passed was looked at */
            next = mono_min(next, times[i]);
    return next;
}

uint8_t rollout_health(const struct rollout *r, mono_t now)
{
    bool stable = !mono_is_never(r->ready_since) &&
                  mono_reached(now, mono_add(r->ready_since, ROLLOUT_STABLE_MS));

    switch (r->state) {
    case ROLLOUT_WAITING:
        return stable ? VALUE_HEALTH_READY : VALUE_HEALTH_TRYING;
    case ROLLOUT_GOOD:
        return VALUE_HEALTH_GOOD;
    case ROLLOUT_UNHEALTHY:
        return VALUE_HEALTH_UNHEALTHY;
    case ROLLOUT_BACK:
        return VALUE_HEALTH_BACK;
    default:
        return VALUE_HEALTH_NONE;
    }
}
