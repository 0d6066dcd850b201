/* What a workload takes from secrets: which nodes can open them, and when it needs a restart. */
#include <string.h>

#include "agent/desired/build.h"

static const struct desired_secret *secret_of(const struct build *build, const struct need *need)
{
    return strcmp(need->kind, "SealedSecret") == 0 ? desired_secret(build->desired, need->name)
                                                   : NULL;
}

static bool opened_by(const struct desired_secret *secret, const char *node)
{
    for (size_t i = 0; i < secret->recipient_count; i++)
        if (strcmp(secret->recipients[i].node, node) == 0)
            return true;
    return false;
}

/* The recipients of the first secret, then those of them that open the others too. */
static int find_nodes(struct build *build, struct workload_item *item)
{
    const char **nodes = NULL;
    size_t count = 0;

    for (const struct need *need = item->needs.first; need != NULL; need = need->next) {
        const struct desired_secret *secret = secret_of(build, need);
        size_t kept = 0;
        if (secret == NULL)
            continue;
        if (nodes == NULL) {
            nodes = arena_array(build->arena, secret->recipient_count + 1, sizeof *nodes);
            if (nodes == NULL)
                return report_no_memory(&build->report);
            for (; count < secret->recipient_count; count++)
                nodes[count] = secret->recipients[count].node;
        }
        for (size_t i = 0; i < count; i++)
            if (opened_by(secret, nodes[i]))
                nodes[kept++] = nodes[i];
        count = kept;
        nodes[count] = NULL;
        if (count == 0)
            return report_add(&build->report, ERR_INVALID, item->workload.file, need->line,
                              "%s: no node can open the secret %s and the others of this workload: "
                              "seal them to the same nodes",
                              need->path, need->name);
    }
    item->workload.sealed_for = nodes;
    return 0;
}

/* The sealed values of texts whose change needs a restart, or (@reload) of the others. */
static uint64_t add_sealed(const struct build *build, uint64_t hash, const struct needs *needs,
                           bool reload)
{
    for (const struct need *need = needs->first; need != NULL; need = need->next) {
        const struct desired_secret *secret = secret_of(build, need);
        const char *value = secret != NULL && need->part != NULL
                                ? desired_map_get(&secret->data, need->part)
                                : NULL;
        if (value != NULL && need->reload == reload)
            hash = hash64_mix(hash, hash64_string(value));
    }
    return hash != 0 ? hash : 1;
}

int workload_secrets(struct build *build, struct workload_item *item)
{
    struct desired_workload *w = &item->workload;

    w->generation = add_sealed(build, w->generation, &item->needs, false);
    w->digest = add_sealed(build, workload_digest(w), &item->needs, true);
    return find_nodes(build, item);
}
