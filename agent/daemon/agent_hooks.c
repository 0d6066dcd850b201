/* Programs of the operator that follow the addresses: every executable file of the hooks folder, in
 * the order of names, runs when an address has another holder. They run on a thread of their own,
 * one after the other, with bounded time; nothing else waits for them. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/agent.h"
#include "agent/io/os_child.h"

#define HOOK_TIMEOUT_MS 5000
#define HOOKS_MAX 64          /* programs of the folder */
#define HOOK_QUEUE_MAX 32     /* changes that wait; more are left out, and that is said */
#define HOOK_VARIABLE_MAX 200 /* bytes of NAME=value */
#define HOOK_VARIABLES 10
#define HOOK_PATH_MAX 4096
#define HOOK_REPORT_MAX 200

struct hook_job {
    struct worker_job job; /* first */
    struct agent *agent;
    const char *folder; /* the configuration's */
    char variables[HOOK_VARIABLES][HOOK_VARIABLE_MAX];
    char subject[RECORD_KEY_MAX];
    char report[HOOK_REPORT_MAX]; /* of the first that failed, or "" */
};

static bool is_program(const char *path, char *why, size_t size)
{
    struct stat status;

    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || access(path, X_OK) != 0)
        return false;
    /* It runs as root: who can write it is root. */
    if (status.st_uid == geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return true;
    if (why[0] == '\0')
        snprintf(why, size, "%.120s is not run: others than its owner may write it", path);
    return false;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run_one(struct hook_job *h, const char *path)
{
    const char *const argv[] = {path, NULL};
    const char *env[HOOK_VARIABLES + 2];
    struct child_spec spec = {
        .argv = argv, .env = env, .cwd = "/", .output_max = 65536, .timeout_ms = HOOK_TIMEOUT_MS};
    struct child_result result;
    struct err err;

    for (size_t i = 0; i < HOOK_VARIABLES; i++)
        env[i] = h->variables[i];
    env[HOOK_VARIABLES] = "PATH=" CHILD_PATH;
    env[HOOK_VARIABLES + 1] = NULL;
    if (child_run(&spec, &result, &err) == ERR_NONE) {
        if (result.status != 0)
            child_failed(&result, ERR_IO, &err, path);
        else
            err.code = ERR_NONE;
        child_result_free(&result);
    }
    if (err.code != ERR_NONE && h->report[0] == '\0')
        snprintf(h->report, sizeof h->report, "a hook failed: %.180s", err.text);
}

static void run_hooks(struct worker_job *job, struct store *store)
{
    struct hook_job *h = (struct hook_job *)job;
    struct dirent **entries;
    int count = scandir(h->folder, &entries, visible, by_name);

    (void)store;
    for (int i = 0; i < count; i++) {
        char path[HOOK_PATH_MAX];
        int n = snprintf(path, sizeof path, "%s/%s", h->folder, entries[i]->d_name);
        if (i < HOOKS_MAX && n < (int)sizeof path && is_program(path, h->report, sizeof h->report))
            run_one(h, path);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

static void hooks_done(struct worker_job *job)
{
    struct hook_job *h = (struct hook_job *)job;

    if (h->report[0] != '\0')
        agent_report(h->agent, EFFECT_WARNING, h->subject, "%s", h->report);
    free(h);
}

static void set(struct hook_job *h, size_t i, const char *name, const char *value)
{
    snprintf(h->variables[i], HOOK_VARIABLE_MAX, "%s=%s", name, value);
}

void agent_hooks_owner(struct agent *agent, const struct effect_owner *owner)
{
    struct hook_job *h;
    char text[ADDR_TEXT];
    char epoch[24];

    if (agent->hooks == NULL || access(agent->config->hooks, F_OK) != 0)
        return;
    h = calloc(1, sizeof *h);
    if (h == NULL)
        return; /* as one that is left out */
    addr_format_ip(&owner->address, text);
    snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)owner->epoch);
    snprintf(h->subject, sizeof h->subject, "vip/%s", text);
    set(h, 0, "VIP", text);
    set(h, 1, "NAME", owner->name);
    set(h, 2, "OLD", owner->before);
    set(h, 3, "NEW", owner->now);
    set(h, 4, "EPOCH", epoch);
    set(h, 5, "REASON", owner->reason);
    set(h, 6, "NODE", agent->name);
    set(h, 7, "HERE", owner->here ? "1" : "0");
    set(h, 8, "INTERFACE", agent->config->interface);
    set(h, 9, "EVENT", "owner");
    h->agent = agent;
    h->folder = agent->config->hooks;
    h->job.run = run_hooks;
    h->job.done = hooks_done;
    if (worker_pending(agent->hooks) < HOOK_QUEUE_MAX &&
        worker_submit(agent->hooks, &h->job, NULL) == ERR_NONE)
        return;
    agent_report(agent, EFFECT_WARNING, h->subject,
                 "its hooks are left out: %d changes wait for the programs in %s", HOOK_QUEUE_MAX,
                 agent->config->hooks);
    free(h);
}

int agent_hooks_open(struct agent *agent, struct err *err)
{
    return worker_create(agent->loop, NULL, &agent->hooks, err);
}
