/* Hand-over: the next process of an instance is ready before the former one ends.
 *
 * Where a document says handOver, agentd holds the listening sockets and passes them to each
 * process. A new version then starts beside the old one, as a second process of the same instance
 * (its name with a '_' behind it), and is probed at a socket of its own. When it is ready it takes
 * the instance over: its record, its probes, its name for people. The old one is told to end, and
 * finishes what it has accepted; no connection is refused, for the sockets have never been closed.
 * A new version that does not get ready changes nothing. */
#include <stdio.h>
#include <string.h>

#include "agent/core/node_internal.h"

static struct instance *find_heir(const struct node *node, const struct instance *elder)
{
    for (size_t i = 0; i < node->instance_count; i++)
        if (node->instances[i]->elder == elder)
            return node->instances[i];
    return NULL;
}

static struct instance *add_heir(struct node *node, struct instance *elder)
{
    struct instance *heir = node_add_instance(node, elder->name);

    if (heir == NULL)
        return NULL;
    heir->elder = elder;
    heir->second = !elder->second;
    heir->placed = true;
    heir->placed_at = elder->placed_at;
    node_place_heir(node, heir);
    return heir;
}

void node_handover_found(struct node *node, const struct node_event_instance *event,
                         struct instance *elder)
{
    struct instance *heir = add_heir(node, elder);

    if (heir == NULL)
        return;
    node_work_adopt(node, heir, event);
    /* What has ended, or ends anyhow, is the one to be followed. */
    if (!event->stopping &&
        (elder->machine.state == SUPERVISE_STOPPING || !supervise_alive(&elder->machine)))
        node_handover_take(node, heir);
}

/* The two change places: @heir becomes the instance. Names are the same in both, so what an effect
 * of this step borrows stays what it is. */
void node_handover_take(struct node *node, struct instance *heir)
{
    struct instance *elder = heir->elder;
    struct instance old = *elder;

    *elder = *heir;
    *heir = old;
    elder->elder = NULL;
    heir->elder = elder;
    elder->placed = old.placed;
    elder->doomed = old.doomed;
    elder->moving = old.moving;
    elder->moved_to = old.moved_to;
    elder->published = old.published;
    elder->shown = old.shown;
    elder->since = old.since;
    elder->outdated = false;
    node_instance_publish(node, elder);
}

/* Whether the second process may take over now: it is what is wanted, and ready. */
static bool is_heir_ready(const struct instance *heir)
{
    return heir->machine.state == SUPERVISE_READY && heir->wished != 0 &&
           heir->machine.run_generation == heir->wished &&
           heir->machine.run_generation == heir->rendering.generation;
}

static void report(struct node *node, const struct instance *instance)
{
    char subject[INSTANCE_MAX + 8];

    snprintf(subject, sizeof subject, "app/%s", instance->name);
    node_event(node, EFFECT_INFO, subject, "%s was handed over to its next version",
               instance->name);
}

/* Nothing is away while it is handed over, but each that is takes as much again as one replica, and
 * a version that is no good is not tried everywhere at once. */
static bool may_begin(const struct node *node, const struct instance *instance)
{
    return !node_turn_needed(instance->workload) || node_turn_come(node, instance);
}

/* A restarted agent finds two processes, in any order: the next version may have been taken for the
 * one that it is to follow, and nobody knows yet whether it is ready. */
static bool is_reversed(const struct instance *instance, const struct instance *heir,
                        uint64_t generation)
{
    return instance->machine.state == SUPERVISE_RUNNING && instance->unprobed &&
           instance->machine.run_generation == generation && !heir->doomed &&
           supervise_alive(&heir->machine) && heir->machine.state != SUPERVISE_STOPPING &&
           heir->machine.run_generation != generation;
}

bool node_handover(struct node *node, struct instance *instance, uint64_t generation)
{
    struct instance *heir = find_heir(node, instance);
    bool counted;
    bool wanted;

    if (heir != NULL && is_reversed(instance, heir, generation))
        node_handover_take(node, heir);
    counted = instance->machine.state == SUPERVISE_READY ||
              (instance->machine.state == SUPERVISE_RUNNING && instance->unprobed);
    wanted = instance->workload->hand_over && instance->probe_port != 0 && counted &&
             generation != instance->machine.run_generation;
    instance->succeeded = wanted;
    if (heir != NULL && !heir->doomed && supervise_alive(&heir->machine) &&
        !supervise_alive(&instance->machine)) { /* it ended meanwhile */
        node_handover_take(node, heir);
        instance->succeeded = false;
        node_instance_end(node, heir);
        return true;
    }
    if (heir != NULL && wanted && !heir->doomed && is_heir_ready(heir)) {
        node_handover_take(node, heir);
        instance->succeeded = false;
        node_instance_end(node, heir);
        report(node, instance);
        return true;
    }
    if (heir != NULL && !wanted)
        node_instance_end(node, heir);
    else if (heir == NULL && wanted && !may_begin(node, instance))
        instance->outdated = true;
    else if (heir == NULL && wanted && add_heir(node, instance) != NULL)
        node->work_dirty = true;
    return wanted;
}

bool node_handover_has_heir(const struct node *node, const struct instance *instance)
{
    return find_heir(node, instance) != NULL;
}
