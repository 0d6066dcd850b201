/* Suspended apps: what the node knows of them goes to the store and to whoever reads commits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent.h"

static void freeze(struct agent *agent, const struct suspension *items, size_t count)
{
    struct git_frozen frozen[SUSPEND_MAX];
    size_t n = 0;

    memset(frozen, 0, sizeof frozen);
    for (size_t i = 0; i < count && n < SUSPEND_MAX; i++) {
        if (!items[i].active)
            continue;
        snprintf(frozen[n].app, sizeof frozen[n].app, "%s", items[i].app);
        snprintf(frozen[n].commit, sizeof frozen[n].commit, "%s", items[i].value.commit);
        n++;
    }
    uv_sync_frozen(agent->sync, frozen, n);
}

void agent_suspended(struct agent *agent, const struct suspensions *suspensions)
{
    agent_store_suspended(agent, suspensions);
    freeze(agent, suspensions->items, suspensions->count);
}

void agent_suspended_load(struct agent *agent, struct store *store)
{
    struct store_meta *list = NULL;
    size_t count = 0;

    if (store_meta_list(store, AGENT_SUSPENDED_META, &list, &count, NULL) != ERR_NONE)
        return;
    for (size_t i = 0; i < count && agent->known_suspended_count < SUSPEND_MAX; i++) {
        struct suspension *known = &agent->known_suspended[agent->known_suspended_count];
        if (list[i].size != sizeof *known) /* of another release: said anew, if it still matters */
            continue;
        memcpy(known, list[i].value, sizeof *known);
        agent->known_suspended_count++;
    }
    free(list);
}

/* What ended meanwhile is found over by the node, soon. */
void agent_suspended_known(struct agent *agent)
{
    freeze(agent, agent->known_suspended, agent->known_suspended_count);
}
