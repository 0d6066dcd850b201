#include "agent/daemon/agent_logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/logs/os_tail.h"

#define SOURCES_MAX 64              /* instances asked for one answer */
#define GATHERED_MAX (16 * 1 << 20) /* bytes of all their answers */

struct gathering {
    struct worker_job job; /* first: merges, beside the loop */
    struct agent *agent;
    struct http_request *request;
    size_t waiting; /* sources that have not answered, and one while sources are being asked */
    size_t lines;
    char *text; /* all answers, one behind the other */
    size_t size;
    bool too_much;
    char problems[512]; /* of sources that gave nothing */
    char *merged;
    size_t merged_size;
};

/* ---- on the worker's thread ---- */

/* Lines begin with RFC 3339 times of one form, so their order is the order of time; lines of one
 * time stay as they came. Both point into one text. */
static int by_time(const void *a, const void *b)
{
    const char *x = *(char *const *)a;
    const char *y = *(char *const *)b;
    size_t len = strcspn(x, " ");
    int order = strncmp(x, y, len);

    return order != 0 ? order : x < y ? -1 : x > y;
}

static void run_merge(struct worker_job *job, struct store *store)
{
    struct gathering *g = (struct gathering *)job;
    size_t count = 0;
    size_t room = 1;
    char **lines;
    char *rest = NULL;
    FILE *out;

    (void)store;
    for (size_t i = 0; i < g->size; i++)
        room += g->text[i] == '\n';
    lines = calloc(room, sizeof *lines);
    if (lines == NULL)
        return;
    for (char *line = strtok_r(g->text, "\n", &rest); line != NULL && count < room;
         line = strtok_r(NULL, "\n", &rest))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, by_time);
    out = open_memstream(&g->merged, &g->merged_size);
    if (out != NULL) {
        for (size_t i = count > g->lines ? count - g->lines : 0; i < count; i++)
            fprintf(out, "%s\n", lines[i]);
        if (fclose(out) != 0) {
            free(g->merged);
            g->merged = NULL;
        }
    }
    free(lines);
}

struct local_read {        /* the log of an instance on this node */
    struct worker_job job; /* first */
    struct gathering *gathering;
    char instance[INSTANCE_MAX];
    char *text;
    size_t size;
    int rc;
    struct err err;
};

static void run_read(struct worker_job *job, struct store *store)
{
    struct local_read *read = (struct local_read *)job;
    const struct gathering *g = read->gathering;
    char folder[4096];

    (void)store;
    snprintf(folder, sizeof folder, "%s/logs", g->agent->config->state_dir);
    read->rc = os_tail(folder, read->instance, g->lines, &read->text, &read->size, &read->err);
}

/* ---- on the loop's thread ---- */

/* Files and long texts are dealt with on the worker of git, which the peers' wishes are for too. */
static int submit(struct agent *agent, struct worker_job *job, struct err *err)
{
    if (agent->git == NULL)
        return err_set(err, ERR_UNREACHABLE, "agentd is ending");
    return worker_submit(agent->git, job, err);
}

static void merged(struct worker_job *job)
{
    struct gathering *g = (struct gathering *)job;

    if (g->merged == NULL)
        uv_http_text(g->request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        uv_http_reply(g->request, 200, "text/plain; charset=utf-8", g->merged, g->merged_size,
                      NULL);
    free(g->text);
    free(g);
}

static void finish(struct gathering *g)
{
    struct err err;

    if (--g->waiting > 0)
        return;
    g->job.run = run_merge;
    g->job.done = merged;
    if (g->too_much)
        uv_http_text(g->request, 400,
                     "these logs are longer than %d MiB together: ask for fewer lines, or for one "
                     "instance\n",
                     GATHERED_MAX >> 20);
    else if (g->size == 0)
        uv_http_text(g->request, 404, "%s\n",
                     g->problems[0] != '\0' ? g->problems : "nothing was logged yet");
    else if (submit(g->agent, &g->job, &err) == ERR_NONE)
        return;
    else
        uv_http_text(g->request, 503, "%s\n", err.text);
    free(g->text);
    free(g);
}

static void add(struct gathering *g, const char *data, size_t size)
{
    char *grown = NULL;

    if (size <= GATHERED_MAX - g->size)
        grown = realloc(g->text, g->size + size + 1);
    if (grown == NULL) {
        g->too_much = true;
        return;
    }
    memcpy(grown + g->size, data, size);
    g->text = grown;
    g->size += size;
    g->text[g->size] = '\0';
}

static void answered(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct gathering *g = context;

    if (code == ERR_NONE)
        add(g, (const char *)data, size);
    else
        snprintf(g->problems, sizeof g->problems, "%s", reason);
    free(data);
    finish(g);
}

static void read_done(struct worker_job *job)
{
    struct local_read *read = (struct local_read *)job;

    answered(read->gathering, read->rc, (uint8_t *)read->text, read->size, read->err.text);
    free(read);
}

static void read_local(struct gathering *g, const char *instance)
{
    struct local_read *read = calloc(1, sizeof *read);
    struct err err;

    g->waiting++;
    if (read == NULL) {
        answered(g, ERR_NOMEM, NULL, 0, err_text(ERR_NOMEM));
        return;
    }
    read->job.run = run_read;
    read->job.done = read_done;
    read->gathering = g;
    snprintf(read->instance, sizeof read->instance, "%s", instance);
    if (submit(g->agent, &read->job, &err) == ERR_NONE)
        return;
    answered(g, err.code, NULL, 0, err.text);
    free(read);
}

void agent_logs(struct agent *agent, struct http_request *request, const struct status *status,
                const char *name, size_t lines)
{
    struct gathering *g = calloc(1, sizeof *g);
    size_t asked = 0;

    if (g == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    g->agent = agent;
    g->request = request;
    g->lines = lines > 0 && lines <= TAIL_LINES_MAX ? lines : TAIL_LINES_MAX;
    g->waiting = 1;
    for (size_t a = 0; a < status->app_count; a++) {
        const struct status_app *app = &status->apps[a];
        for (size_t i = app->first; i < app->first + app->count && asked < SOURCES_MAX; i++) {
            const struct status_instance *instance = &status->instances[i];
            if (strcmp(app->name, name) != 0 && strcmp(instance->name, name) != 0)
                continue;
            asked++;
            if (node_id_equal(instance->node, status->self)) {
                read_local(g, instance->name);
            } else if (instance->node_alive) {
                g->waiting++;
                agent_peer_logs(agent, instance->node, instance->name, g->lines, answered, g);
            }
        }
    }
    if (asked == 0)
        snprintf(g->problems, sizeof g->problems,
                 "there is no workload or instance %.64s. See agentctl apps", name);
    finish(g);
}
