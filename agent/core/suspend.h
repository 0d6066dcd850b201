/* Suspended apps: what people said last about each, on whichever node they said it.
 *
 * A register per app, of which the newest entry wins; every node keeps and passes on all of them,
 * so that an app stays suspended when the node on which it was said is gone. Pure. */
#ifndef COVEY_CORE_SUSPEND_H
#define COVEY_CORE_SUSPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"
#include "proto/record/value.h"

#define SUSPEND_MAX 64 /* apps that were ever suspended */

struct suspension {
    char app[NODE_NAME_MAX + 1];
    struct value_suspend value;
    bool active; /* on, and not over: as people were told last */
};

struct suspensions {          /* {0} is empty */
    struct suspension *items; /* sorted by app; malloc */
    size_t count;
};

/* Takes @value in if it is newer than what is known of @app. ERR_EXISTS: it is not; ERR_FULL;
 * ERR_NOMEM. */
int suspend_merge(struct suspensions *all, const char *app, const struct value_suspend *value);

/* A stamp for the next entry about @app: later than the known one, whatever the clock says. */
int64_t suspend_stamp(const struct suspensions *all, const char *app, int64_t now_ms);

struct suspension *suspend_find(const struct suspensions *all, const char *app); /* or NULL */
bool suspend_on(const struct suspension *item, int64_t now_s);

/* When the next one that is on ends, in Unix seconds; INT64_MAX: none does. */
int64_t suspend_end(const struct suspensions *all, int64_t now_s);

void suspend_free(struct suspensions *all);

#endif
