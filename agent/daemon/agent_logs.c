#include "agent/daemon/agent_logs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/logs/os_tail.h"

#define SOURCES_MAX 64 /* instances asked for one answer */

struct gathering {
    struct http_request *request;
    size_t waiting; /* sources that have not answered, and one while sources are being asked */
    size_t lines;
    char *text; /* all answers, one behind the other */
    size_t size;
    char problems[512]; /* of sources that gave nothing */
};

static int by_time(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines begin with RFC 3339 times of one form, so their order is the order of time. */
static char *merge(struct gathering *g, size_t *size)
{
    size_t count = 0;
    size_t room = 1;
    char **lines;
    char *merged = NULL;
    char *rest = NULL;
    FILE *out;

    for (size_t i = 0; i < g->size; i++)
        room += g->text[i] == '\n';
    lines = calloc(room, sizeof *lines);
    if (lines == NULL)
        return NULL;
    for (char *line = g->text != NULL ? strtok_r(g->text, "\n", &rest) : NULL;
         line != NULL && count < room; line = strtok_r(NULL, "\n", &rest))
        lines[count++] = line;
    qsort(lines, count, sizeof *lines, by_time);
    out = open_memstream(&merged, size);
    if (out != NULL) {
        for (size_t i = count > g->lines ? count - g->lines : 0; i < count; i++)
            fprintf(out, "%s\n", lines[i]);
        if (fclose(out) != 0) {
            free(merged);
            merged = NULL;
        }
    }
    free(lines);
    return merged;
}

static void finish(struct gathering *g)
{
    char *merged;
    size_t size = 0;

    if (--g->waiting > 0)
        return;
    if (g->size == 0) {
        uv_http_text(g->request, 404, "%s\n",
                     g->problems[0] != '\0' ? g->problems : "nothing was logged yet");
    } else {
        merged = merge(g, &size);
        if (merged == NULL)
            uv_http_text(g->request, 500, "%s\n", err_text(ERR_NOMEM));
        else
            uv_http_reply(g->request, 200, "text/plain; charset=utf-8", merged, size, NULL);
    }
    free(g->text);
    free(g);
}

static void add(struct gathering *g, const char *data, size_t size)
{
    char *grown = realloc(g->text, g->size + size + 1);

    if (grown == NULL)
        return;
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

static void read_local(struct agent *agent, struct gathering *g, const char *instance)
{
    char folder[4096];
    char *text;
    size_t size;
    struct err err;

    snprintf(folder, sizeof folder, "%s/logs", agent->config->state_dir);
    if (os_tail(folder, instance, g->lines, &text, &size, &err) != ERR_NONE) {
        snprintf(g->problems, sizeof g->problems, "%s", err.text);
        return;
    }
    add(g, text, size);
    free(text);
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
                read_local(agent, g, instance->name);
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
