/* The flock's repository on this node, the remotes beside it, and what reads commits from them. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "agent/daemon/agent.h"

#define FIRST_POLL_MS 1000 /* of the remotes, after the start */

struct prepare_job {
    struct worker_job job; /* first */
    struct agent *agent;
    int rc;
    struct err err;
};

static int prepare(struct agent *agent, struct err *err)
{
    char socket[4096];
    struct git_hooks hooks = {.agentctl = agent->agentctl, .socket = socket};

    snprintf(socket, sizeof socket, "%s/agent.sock", agent->config->run_dir);
    return git_init_bare(&agent->repo, &hooks, err);
}

/* On git's thread: before everything else that it is given. */
static void run_prepare(struct worker_job *job, struct store *store)
{
    struct prepare_job *p = (struct prepare_job *)job;

    (void)store;
    p->rc = prepare(p->agent, &p->err);
}

static void prepare_done(struct worker_job *job)
{
    struct prepare_job *p = (struct prepare_job *)job;

    if (p->rc != ERR_NONE)
        agent_report(p->agent, EFFECT_ERROR, "git", "%s", p->err.text);
    free(p);
}

int agent_open_repository(struct agent *agent, struct err *err)
{
    const struct config *config = agent->config;
    struct prepare_job *p;
    const struct passwd *owner =
        config->repository.user != NULL ? getpwnam(config->repository.user) : NULL;

    if (config->repository.user != NULL && owner == NULL)
        return err_set(err, ERR_NOTFOUND,
                       "repository.user: there is no user %s on this node. Create it, or leave the "
                       "line out",
                       config->repository.user);
    agent->repo = (struct git_repo){.path = config->repository.path,
                                    .branch = config->repository.branch,
                                    .set_ids = owner != NULL && geteuid() == 0,
                                    .uid = owner != NULL ? owner->pw_uid : 0,
                                    .gid = owner != NULL ? owner->pw_gid : 0};
    if (!agent->restarted)
        return prepare(agent, err);
    /* It was there a moment ago, and the leases do not wait for programs. */
    p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "prepare the repository: %s", err_text(ERR_NOMEM));
    *p = (struct prepare_job){.job = {.run = run_prepare, .done = prepare_done}, .agent = agent};
    if (worker_submit(agent->git, &p->job, err) == ERR_NONE)
        return ERR_NONE;
    free(p);
    return err->code;
}

static void ask_for_bundle(void *context, node_id from, const char *have, const char *want)
{
    agent_peer_fetch(context, from, have, want);
}

/* ---- remotes ---- */

static void remote_answered(void *context, const char *reason)
{
    struct agent *agent = context;

    if (reason != NULL && !agent->remote_silent)
        agent_report(agent, EFFECT_WARNING, "remote",
                     "no remote answers: %s. What is applied goes on; pushes to a node work",
                     reason);
    if (reason == NULL && agent->remote_silent)
        agent_report(agent, EFFECT_INFO, "remote", "the remote answers again");
    agent->remote_silent = reason != NULL;
}

static void on_poll(uv_timer_t *timer);

/* A tenth of jitter, so that the nodes of a flock do not ask at the same moment. */
static void arm_poll(struct agent *agent)
{
    uint64_t period = (uint64_t)agent->config->repository.poll_s * 1000;
    uint32_t random;

    keys_random(&random, sizeof random);
    uv_timer_start(&agent->poll, on_poll, period - period / 10 + random % (period / 5), 0);
}

static void on_poll(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    if (agent->node != NULL)
        uv_sync_remote(agent->sync);
    arm_poll(agent);
}

int agent_open_sync(struct agent *agent, struct err *err)
{
    struct uv_sync_config config = {.repo = &agent->repo,
                                    .git = agent->git,
                                    .store = agent->store,
                                    .post = {.event = agent_post, .context = agent},
                                    .ask = ask_for_bundle,
                                    .idle = agent_sync_idle,
                                    .remote = remote_answered,
                                    .remotes = agent->remotes,
                                    .remote_count = agent->config->repository.remote_count,
                                    .context = agent};

    int rc;

    for (size_t i = 0; i < config.remote_count; i++) {
        const struct config_remote *remote = &agent->config->repository.remotes[i];
        agent->remotes[i] = (struct git_remote){.url = remote->url,
                                                .branch = remote->branch,
                                                .key = remote->key,
                                                .known_hosts = remote->known_hosts,
                                                .ca_file = remote->ca_file};
    }
    rc = uv_sync_create(&config, &agent->sync, err);

    if (rc != ERR_NONE)
        return rc;
    uv_sync_marks(agent->sync, &agent->known_marks);
    agent_suspended_known(agent);
    return rc;
}

void agent_poll_begin(struct agent *agent)
{
    uv_timer_start(&agent->poll, on_poll, FIRST_POLL_MS, 0);
}
