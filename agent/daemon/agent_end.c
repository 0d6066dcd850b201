/* From a running agent back to nothing. */
#include <stdlib.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_fence.h"
#include "agent/io/os_notify.h"

#define LEAVE_MS 400 /* good-byes are repeated for so long */

static void part_closed(void *context)
{
    (void)context; /* the loop ends with the last of them */
}

static void close_servers(void *context)
{
    struct agent *agent = context;

    uv_http_close(agent->control, part_closed, NULL);
    uv_http_close(agent->page, part_closed, NULL);
    agent->control = NULL;
    agent->page = NULL;
}

static void stop_store(void *context)
{
    struct agent *agent = context;
    struct worker *store = agent->store;

    agent_store_flush(agent);
    agent->store = NULL;
    if (store != NULL)
        worker_stop(store, close_servers, agent);
    else
        close_servers(agent);
}

static void stop_git(void *context)
{
    struct agent *agent = context;
    struct worker *git = agent->git;

    agent->git = NULL;
    if (git != NULL)
        worker_stop(git, stop_store, agent);
    else
        stop_store(agent);
}

static void stop_workers(struct agent *agent)
{
    struct worker *hooks = agent->hooks;

    agent->hooks = NULL;
    if (hooks != NULL)
        worker_stop(hooks, stop_git, agent);
    else
        stop_git(agent);
}

/* The workers end before the servers, git's first: what it has read is stored yet, and every
 * request that waits for one of them is answered while there is somebody to answer by. */
void agent_close(struct agent *agent)
{
    agent->stopping = true;
    agent->closed = true;
    agent_join_end(agent);
    uv_sync_close(agent->sync);
    uv_link_close(agent->link, part_closed, NULL);
    uv_vip_close(agent->vip, !agent->released, part_closed, NULL);
    uv_instances_close(agent->instances, part_closed, NULL);
    agent->link = NULL;
    agent->vip = NULL;
    agent->instances = NULL;
    agent_net_close(agent);
    uv_close((uv_handle_t *)&agent->slow, NULL);
    uv_close((uv_handle_t *)&agent->room.timer, NULL);
    uv_close((uv_handle_t *)&agent->poll, NULL);
    uv_close((uv_handle_t *)&agent->batch_timer, NULL);
    uv_close((uv_handle_t *)&agent->changed_timer, NULL);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&agent->signals[i], NULL);
    uv_close((uv_handle_t *)&agent->leave_timer, NULL);
    uv_close((uv_handle_t *)&agent->upgrade.timer, NULL);
    stop_workers(agent);
}

static void on_left(uv_timer_t *timer)
{
    agent_close(timer->data);
}

void agent_stop(struct agent *agent, int exit_status)
{
    struct node_event leave = {.type = NODE_LEAVE};

    if (agent->stopping)
        return;
    os_notify("STOPPING=1");
    agent->exit_status = exit_status;
    agent->released = agent->node != NULL;
    agent_feed(agent, &leave);
    agent->stopping = true;
    uv_timer_start(&agent->leave_timer, on_left, agent->node != NULL ? LEAVE_MS : 0, 0);
}

void agent_end(struct agent *agent, int exit_status)
{
    if (agent->stopping)
        return;
    agent->exit_status = exit_status;
    agent->stopping = true;
    uv_timer_start(&agent->leave_timer, on_left, 0, 0);
}

void agent_free(struct agent *agent)
{
    while (agent->queue_first != NULL)
        agent_drop_event(agent);
    node_free(agent->node);
    agent_keys_close(agent);
    agent_knocks_free(agent);
    channel_destroy(agent->channel);
    uv_sync_free(agent->sync);
    os_fence_drop(agent->fence);
    os_saved_close(agent->saved);
    keystore_close(agent->keys);
    kept_close(agent->kept);
    keys_wipe(&agent->identity, sizeof agent->identity);
    keys_wipe(&agent->cluster, sizeof agent->cluster);
    free(agent->known);
    free(agent->known_crons);
    free(agent->batch);
    free(agent);
}
