#include "tests/sim/world.h"

#include <stdio.h>

#define LINK_HEADER 14 /* Ethernet; the model of memberlist has counted it */

struct world world_create(const struct world_options *options)
{
    struct memberlist_options peer = {.nodes = options->nodes, .seed = options->seed};
    struct flock_options flock = {.nodes = options->nodes,
                                  .seed = options->seed,
                                  .ring_max = options->ring_max,
                                  .bare = options->bare,
                                  .streams = options->streams,
                                  .handshake_ms = options->handshake_ms,
                                  .strangers = options->strangers,
                                  .acquainted = !options->strangers};
    struct world w = {.count = options->nodes};

    if (options->peer) {
        w.peer = memberlists_create(&peer);
        w.net = memberlists_net(w.peer);
    } else {
        w.flock = flock_create(&flock);
        w.net = w.flock->net;
    }
    return w;
}

void world_destroy(struct world *w)
{
    if (w->peer != NULL)
        memberlists_destroy(w->peer);
    else
        flock_destroy(w->flock);
}

static void no_script(struct flock *f, uint64_t tag, void *ctx)
{
    (void)f;
    (void)tag;
    (void)ctx;
}

bool world_run(struct world *w, int64_t ms)
{
    mono_t until = mono_add(simnet_now(w->net), ms);

    if (w->peer != NULL) {
        memberlists_run(w->peer, until);
        return true;
    }
    if (flock_run(w->flock, until, no_script, NULL))
        return true;
    printf("not true: %s\n", w->flock->broken);
    return false;
}

void world_crash(struct world *w, size_t node)
{
    if (w->peer != NULL)
        memberlists_crash(w->peer, node);
    else
        flock_crash(w->flock, node);
}

void world_restart(struct world *w, size_t node)
{
    if (w->peer != NULL)
        memberlists_restart(w->peer, node);
    else
        flock_restart(w->flock, node, false);
}

void world_set_sick(struct world *w, size_t node)
{
    if (w->peer != NULL)
        memberlists_set_sick(w->peer, node);
    else
        w->flock->nodes[node].sick = true;
}

bool world_dead(const struct world *w, size_t observer, size_t subject)
{
    if (w->peer != NULL)
        return memberlists_dead(w->peer, observer, subject);
    return flock_sees(w->flock, observer, subject, MEMBER_DEAD);
}

mono_t world_since(const struct world *w, size_t observer, size_t subject)
{
    return w->peer != NULL ? memberlists_since(w->peer, observer, subject)
                           : flock_since(w->flock, observer, subject);
}

bool world_whole(const struct world *w)
{
    return w->peer != NULL ? memberlists_whole(w->peer) : flock_views_whole(w->flock);
}

struct world_counts world_counts(const struct world *w)
{
    struct world_counts sum = {0};

    if (w->peer != NULL) {
        struct memberlist_counts c = memberlists_counts(w->peer);
        sum.deaths = c.deaths_false - c.deaths_sick;
        sum.deaths_sick = c.deaths_sick;
        sum.suspicions = c.suspicions_false;
    } else {
        sum.deaths = w->flock->deaths_false - w->flock->deaths_sick;
        sum.deaths_sick = w->flock->deaths_sick;
        sum.suspicions = w->flock->suspicions_false;
    }
    for (size_t i = 0; i < w->count; i++) {
        struct simnet_counts sent = simnet_sent(w->net, i);
        sum.packets += sent.packets;
        sum.bytes += sent.bytes + (w->peer != NULL ? 0 : LINK_HEADER * sent.packets);
    }
    return sum;
}
