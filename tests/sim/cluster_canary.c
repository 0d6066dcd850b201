/* Which nodes have shown a commit ready, and that nobody else applies it before they have. */
#include "tests/sim/cluster_internal.h"

#include <stdio.h>
#include <string.h>

/* Whom the commit itself asks for, by bits; none: whom its cluster.yaml names. */
static uint64_t canaries(const struct commit *commit)
{
    return commit->spec.first != 0 ? commit->spec.first : commit->spec.canary ? 1 : 0;
}

void canary_name(const struct cluster *c, struct commit *commit)
{
    size_t used = 0;

    for (size_t i = 0; i < c->options.nodes && used < sizeof commit->canary; i++)
        if ((commit->spec.first >> i & 1) != 0)
            used += (size_t)snprintf(commit->canary + used, sizeof commit->canary - used, "%spi%zu",
                                     used > 0 ? ", " : "", i + 1);
}

static bool good_somewhere(const struct cluster *c, int commit)
{
    for (size_t i = 0; i < c->options.nodes; i++)
        if (c->machines[i].good[commit])
            return true;
    return false;
}

static void check_taken(struct machine *m, int commit)
{
    struct cluster *c = m->cluster;
    uint64_t first = canaries(&c->commits[commit]);

    if ((first >> m->index & 1) != 0 || good_somewhere(c, commit))
        return;
    for (size_t i = 0; i < c->options.nodes; i++)
        if ((first >> i & 1) != 0 && !c->machines[i].shown[commit])
            cluster_break(c, "pi%zu applies commit %d before pi%zu has shown it ready",
                          m->index + 1, commit, i + 1);
}

void canary_look(struct machine *m)
{
    const struct value_commit *shown = &m->node->commit;
    int commit = shown->commit[0] != '\0' ? git_find(m->cluster, shown->commit) : -1;

    if (commit < 0)
        return;
    if (commit != m->runs) {
        check_taken(m, commit);
        m->tried[commit] = true;
    }
    if (commit != m->runs || shown->health != m->health)
        world_trace(m->cluster, "pi%zu has commit %d, health %u", m->index + 1, commit,
                    (unsigned)shown->health);
    m->runs = commit;
    m->health = shown->health;
    m->shown[commit] |= shown->health == VALUE_HEALTH_READY || shown->health == VALUE_HEALTH_GOOD;
    m->good[commit] |= shown->health == VALUE_HEALTH_GOOD;
}

unsigned cluster_tried(const struct cluster *c)
{
    unsigned count = 0;

    for (size_t i = 0; i < c->options.nodes; i++)
        count += c->machines[i].tried[c->newest];
    return count;
}

enum cluster_outcome cluster_outcome(const struct cluster *c)
{
    const char *commit = c->commits[c->newest].id;
    bool good = true, given_up = true;

    for (size_t i = 0; i < c->options.nodes; i++) {
        const struct node *n = c->machines[i].node;
        if (n == NULL)
            continue;
        good = good && n->rollout.state == ROLLOUT_GOOD && strcmp(n->commit.commit, commit) == 0;
        given_up = given_up && rollout_is_bad(&n->rollout, commit);
    }
    return good ? CLUSTER_GOOD : given_up ? CLUSTER_GIVEN_UP : CLUSTER_UNDECIDED;
}
