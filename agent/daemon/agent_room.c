/* The room that all logs of this node may take: looked at every now and then, beside the loop. */
#include "agent/daemon/agent.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "agent/logs/os_room.h"

#define LOOK_MS 5000
#define SETTLE_MS 600000
#define TELL_S 3600 /* people are told once in this time */
#define DAY_S 86400

struct look_job {
    struct worker_job job; /* first */
    struct agent *agent;
    struct log_room room;
    struct log_room_instances instances;
    char (*names)[INSTANCE_MAX];
    struct log_room_found found;
    int64_t now_s;
    int rc;
    struct err err;
};

static void free_look(struct look_job *look)
{
    free(look->names);
    free(look);
}

static void run_look(struct worker_job *job, struct store *store)
{
    struct look_job *look = (struct look_job *)job;
    const struct config *config = look->agent->config;
    char logs[4096];
    char shims[4096];

    (void)store;
    snprintf(logs, sizeof logs, "%.4000s/logs", config->state_dir);
    snprintf(shims, sizeof shims, "%.4000s/shim", config->run_dir);
    look->rc = os_room_make(logs, shims, &look->room, &look->instances, look->now_s, &look->found,
                            &look->err);
}

static void look_done(struct worker_job *job)
{
    struct look_job *look = (struct look_job *)job;
    struct agent_room *room = &look->agent->room;

    room->looking = false;
    if (look->rc == ERR_NONE) {
        room->bytes = look->found.bytes;
        room->removed_bytes += look->found.removed_bytes;
    }
    if (look->rc == ERR_NONE && look->found.removed > look->found.removed_gone &&
        room->told_s + TELL_S < look->now_s) {
        room->told_s = look->now_s;
        agent_report(look->agent, EFFECT_WARNING, "node",
                     "the logs of this node have reached %" PRIu64
                     " MiB together (logs.max_total in agent.yaml): the oldest files are removed",
                     look->room.max_bytes >> 20);
    }
    free_look(look);
}

/* An agent that has just started does not know yet what it is to run. */
static void find_instances(struct look_job *look)
{
    struct agent *agent = look->agent;
    struct status *status = NULL;

    if (agent->node == NULL || mono_diff(os_clock_now(), agent->room.began) < SETTLE_MS ||
        api_take_status(agent, &status) != ERR_NONE)
        return;
    look->names = calloc(status->instance_count + 1, sizeof *look->names);
    for (size_t i = 0; look->names != NULL && i < status->instance_count; i++)
        if (node_id_equal(status->instances[i].node, status->self))
            snprintf(look->names[look->instances.count++], INSTANCE_MAX, "%s",
                     status->instances[i].name);
    look->instances.known = look->names != NULL;
    look->instances.names = (const char(*)[INSTANCE_MAX])look->names;
    status_free(status);
}

static void on_look(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct look_job *look;

    if (agent->room.looking || agent->git == NULL || (look = calloc(1, sizeof *look)) == NULL)
        return;
    look->job.run = run_look;
    look->job.done = look_done;
    look->agent = agent;
    look->room.max_bytes = agent->config->logs.max_total;
    look->room.keep_s = (int64_t)agent->config->logs.keep_days * DAY_S;
    look->now_s = os_clock_wall_ms() / 1000;
    find_instances(look);
    agent->room.looking = worker_submit(agent->git, &look->job, &look->err) == ERR_NONE;
    if (!agent->room.looking)
        free_look(look);
}

void agent_room_begin(struct agent *agent)
{
    uv_timer_init(agent->loop, &agent->room.timer);
    agent->room.timer.data = agent;
    agent->room.began = os_clock_now();
    uv_timer_start(&agent->room.timer, on_look, LOOK_MS, LOOK_MS);
}
