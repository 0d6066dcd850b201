#include "agent/daemon/agent_upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/io/os_child.h"
#include "agent/io/os_clock.h"
#include "agent/web/status_json.h"

#define PASS_MS 3000 /* a new program that has lived so long with all it needs is healthy */
#define REPLY_MS 50  /* for the answer to reach who asked, before this program is gone */
#define CHECK_MS 10000

/* ---- the new program ---- */

struct left_job {
    struct worker_job job; /* first */
    struct os_trial trial;
};

static void run_close(struct worker_job *job, struct store *store)
{
    struct left_job *l = (struct left_job *)job;

    (void)store;
    for (size_t i = 0; i < l->trial.left_count; i++)
        close(l->trial.left[i]);
}

static void close_done(struct worker_job *job)
{
    free(job);
}

/* On git's thread, because the kernel takes its time. What cannot be closed now goes with this
 * process. */
static void close_left(struct agent *agent)
{
    struct left_job *l = calloc(1, sizeof *l);

    if (l == NULL)
        return;
    *l = (struct left_job){.job = {.run = run_close, .done = close_done},
                           .trial = agent->upgrade.trial};
    if (worker_submit(agent->git, &l->job, NULL) != ERR_NONE)
        free(l);
}

static void on_passed(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct agent_upgrade *u = &agent->upgrade;

    os_trial_pass();
    u->under_way = false;
    u->trial.state = OS_TRIAL_NONE;
    store_drop_backup(agent->config->state_dir);
    close_left(agent);
    agent_report(agent, EFFECT_INFO, "node",
                 "upgraded from agentd %s to %s, %lld ms without supervision", u->trial.from,
                 COVEY_VERSION, (long long)u->gap_ms);
}

void agent_upgrade_begun(struct agent *agent)
{
    struct agent_upgrade *u = &agent->upgrade;

    u->gap_ms = -1;
    if (u->trial.state == OS_TRIAL_RUNNING) {
        u->under_way = true;
        u->gap_ms = os_clock_now().ms - u->trial.began_us / 1000;
        uv_timer_start(&u->timer, on_passed, PASS_MS, 0);
    } else if (u->trial.state == OS_TRIAL_ROLLED_BACK) {
        snprintf(u->failure, sizeof u->failure, "agentd %.31s %.180s; agentd %s runs again",
                 u->trial.from, u->trial.reason, COVEY_VERSION);
        agent_report(agent, EFFECT_ERROR, "node", "the upgrade failed: %s", u->failure);
    }
}

/* ---- the old one ---- */

static void on_go(uv_timer_t *timer)
{
    struct agent *agent = timer->data;
    struct agent_upgrade *u = &agent->upgrade;
    int raw[UV_VIP_RAW_MAX];
    size_t count = uv_vip_raw_sockets(agent->vip, raw);
    struct err err;

    uv_instances_extras(agent->instances, false);
    (void)os_trial_start(u->program, u->argv, COVEY_VERSION, raw, count, &err);
    uv_instances_extras(agent->instances, true);
    u->under_way = false;
    snprintf(u->failure, sizeof u->failure, "%s", err.text);
    agent_report(agent, EFFECT_ERROR, "node", "the upgrade failed: %s", err.text);
}

struct upgrade_job {
    struct worker_job job; /* first */
    struct agent *agent;
    struct http_request *request;
    int rc;
    struct err err;
};

static void refuse(struct upgrade_job *u)
{
    u->agent->upgrade.under_way = false;
    uv_http_text(u->request, u->rc == ERR_DENIED ? 403 : 400, "%s\n", u->err.text);
    free(u);
}

/* On the store's thread: behind every write that was on its way. */
static void run_backup(struct worker_job *job, struct store *store)
{
    struct upgrade_job *u = (struct upgrade_job *)job;

    u->rc = store_backup(store, u->agent->config->state_dir, &u->err);
}

static void backup_done(struct worker_job *job)
{
    struct upgrade_job *u = (struct upgrade_job *)job;
    struct agent *agent = u->agent;

    if (u->rc != ERR_NONE) {
        refuse(u);
        return;
    }
    uv_http_text(u->request, 202, "becomes %s\n", agent->upgrade.program);
    uv_timer_start(&agent->upgrade.timer, on_go, REPLY_MS, 0);
    free(u);
}

/* Root will run it: nobody else may be able to change it. */
static int check_owner(const char *program, struct err *err)
{
    struct stat info;

    if (stat(program, &info) != 0)
        return err_errno(err, ERR_NOTFOUND, errno, "upgrade to %s", program);
    if (!S_ISREG(info.st_mode) || (info.st_uid != 0 && info.st_uid != geteuid()) ||
        (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return err_set(err, ERR_DENIED, "%s must be a file of root's that nobody else may write to",
                       program);
    return ERR_NONE;
}

/* On git's thread: does it run here at all, and does it understand the configuration? */
static void run_check(struct worker_job *job, struct store *store)
{
    struct upgrade_job *u = (struct upgrade_job *)job;
    const char *program = u->agent->upgrade.program;
    const char *argv[] = {program, "--config", u->agent->config_path, "--check", NULL};
    const struct child_spec spec = {.argv = argv, .output_max = 65536, .timeout_ms = CHECK_MS};
    struct child_result result;

    (void)store;
    u->rc = check_owner(program, &u->err);
    if (u->rc == ERR_NONE)
        u->rc = child_run(&spec, &result, &u->err);
    if (u->rc != ERR_NONE)
        return;
    if (result.status != 0)
        u->rc = child_failed(&result, ERR_INVALID, &u->err, program);
    child_result_free(&result);
}

static void check_done(struct worker_job *job)
{
    struct upgrade_job *u = (struct upgrade_job *)job;

    if (u->rc == ERR_NONE) {
        agent_store_flush(u->agent);
        u->job.run = run_backup;
        u->job.done = backup_done;
        u->rc = worker_submit(u->agent->store, &u->job, &u->err);
        if (u->rc == ERR_NONE)
            return;
    }
    refuse(u);
}

/* The file that this program was started from; a package's new one has its name. */
static void own_program(char path[4096])
{
    static const char deleted[] = " (deleted)";
    ssize_t n = readlink("/proc/self/exe", path, 4095);
    size_t len = n > 0 ? (size_t)n : 0;

    path[len] = '\0';
    if (len > sizeof deleted && strcmp(path + len - (sizeof deleted - 1), deleted) == 0)
        path[len - (sizeof deleted - 1)] = '\0';
}

void api_post_upgrade(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    struct agent_upgrade *upgrade = &agent->upgrade;
    const char *program = NULL;
    struct upgrade_job *u;
    struct err err;

    if (request->uid != 0 && request->uid != geteuid())
        uv_http_text(request, 403, "only root may give this node another agentd\n");
    else if (upgrade->under_way)
        uv_http_text(request, 409, "an upgrade is under way\n");
    else if (json_unpack(body, "{s?s}", "program", &program) != 0 ||
             (program != NULL && (program[0] != '/' || strlen(program) >= 4096)))
        uv_http_text(request, 400, "expected {\"program\": \"/path/of/agentd\"}\n");
    else if ((u = calloc(1, sizeof *u)) == NULL)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else {
        if (program != NULL)
            snprintf(upgrade->program, sizeof upgrade->program, "%s", program);
        else
            own_program(upgrade->program);
        upgrade->under_way = true;
        upgrade->failure[0] = '\0';
        *u = (struct upgrade_job){
            .job = {.run = run_check, .done = check_done}, .agent = agent, .request = request};
        if (worker_submit(agent->git, &u->job, &err) != ERR_NONE) {
            u->rc = err.code;
            u->err = err;
            refuse(u);
        }
    }
    json_decref(body);
}

void api_get_upgrade(struct agent *agent, struct http_request *request)
{
    const struct agent_upgrade *u = &agent->upgrade;
    const char *state = u->under_way ? "trial" : u->failure[0] != '\0' ? "failed" : "done";
    json_t *document =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "apiVersion", API_VERSION, "kind",
                  "Upgrade", "state", state, "version", COVEY_VERSION, "from", u->trial.from,
                  "gapMs", (json_int_t)u->gap_ms, "failure", u->failure);
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;

    json_decref(document);
    if (text == NULL)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        uv_http_reply(request, 200, "application/json", text, strlen(text), NULL);
}
