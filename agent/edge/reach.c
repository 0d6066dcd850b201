#include "agent/edge/reach.h"

#include <string.h>

void reach_init(struct reach *r, int64_t window_ms)
{
    *r = (struct reach){.window_ms = window_ms};
}

static void forget_oldest(struct reach *r, size_t n)
{
    r->count -= n;
    memmove(r->sent, r->sent + n, r->count * sizeof r->sent[0]);
}

static void forget_lost(struct reach *r, mono_t now)
{
    size_t n = 0;

    while (n < r->count && mono_diff(now, r->sent[n]) > r->window_ms)
        n++;
    forget_oldest(r, n);
}

void reach_sent(struct reach *r, mono_t now)
{
    forget_lost(r, now);
    /* With no place left the newest is not remembered: its answer will be credited to an older. */
    if (r->count < REACH_OUTSTANDING_MAX)
        r->sent[r->count++] = now;
}

bool reach_answered(struct reach *r, mono_t now, mono_t *sent)
{
    forget_lost(r, now);
    if (r->count == 0)
        return false;
    *sent = r->sent[0];
    forget_oldest(r, 1);
    return true;
}
