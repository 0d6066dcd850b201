#include "agent/core/suspend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

struct suspension *suspend_find(const struct suspensions *all, const char *app)
{
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i].app, app) == 0)
            return &all->items[i];
    return NULL;
}

/* A total order, so that all nodes come to the same whichever entry they hear of first. */
static bool newer(const struct value_suspend *a, const struct value_suspend *b)
{
    int order;

    if (a->stamp != b->stamp)
        return a->stamp > b->stamp;
    if (a->on != b->on)
        return b->on; /* said at once: to let it run is the safer guess */
    order = strcmp(a->by, b->by);
    if (order == 0)
        order = strcmp(a->reason, b->reason);
    if (order == 0)
        order = strcmp(a->commit, b->commit);
    return order != 0 ? order > 0 : a->until > b->until;
}

static struct suspension *add(struct suspensions *all, const char *app, int *rc)
{
    struct suspension *grown;
    size_t at = 0;

    *rc = all->count >= SUSPEND_MAX ? ERR_FULL : ERR_NOMEM;
    if (all->count >= SUSPEND_MAX)
        return NULL;
    grown = realloc(all->items, (all->count + 1) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    all->items = grown;
    while (at < all->count && strcmp(grown[at].app, app) < 0)
        at++;
    memmove(&grown[at + 1], &grown[at], (all->count - at) * sizeof *grown);
    grown[at] = (struct suspension){.active = false};
    snprintf(grown[at].app, sizeof grown[at].app, "%s", app);
    all->count++;
    return &grown[at];
}

int suspend_merge(struct suspensions *all, const char *app, const struct value_suspend *value)
{
    struct suspension *item = suspend_find(all, app);
    int rc = ERR_NONE;

    if (item != NULL && !newer(value, &item->value))
        return ERR_EXISTS;
    if (item == NULL)
        item = add(all, app, &rc);
    if (item == NULL)
        return rc;
    item->value = *value;
    return ERR_NONE;
}

int64_t suspend_stamp(const struct suspensions *all, const char *app, int64_t now_ms)
{
    const struct suspension *item = suspend_find(all, app);

    return item != NULL && item->value.stamp >= now_ms ? item->value.stamp + 1 : now_ms;
}

bool suspend_on(const struct suspension *item, int64_t now_s)
{
    return item->value.on && (item->value.until == 0 || item->value.until > now_s);
}

int64_t suspend_end(const struct suspensions *all, int64_t now_s)
{
    int64_t end = INT64_MAX;

    for (size_t i = 0; i < all->count; i++) {
        int64_t until = all->items[i].value.until;
        if (until != 0 && suspend_on(&all->items[i], now_s) && until < end)
            end = until;
    }
    return end;
}

void suspend_free(struct suspensions *all)
{
    free(all->items);
    *all = (struct suspensions){0};
}
