#include "agent/daemon/agent_logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "agent/logs/os_pages.h"

#define WAIT_MS 5000                            /* for a peer's answer */
#define ANSWER_MAX ((size_t)LOG_TAIL_BYTES * 2) /* bytes of one */

struct asked { /* a node, and its answer */
    struct gathering *gathering;
    char node[NODE_NAME_MAX + 1];
    bool came;
    bool malformed;
    char *text; /* NULL: none, and problem says why */
    size_t size;
    const char *part; /* of the cursor that the request came with; NULL: none */
    size_t part_len;
    char problem[ERR_TEXT_MAX];
};

struct gathering {
    struct worker_job job; /* first: merges, beside the loop */
    struct agent *agent;
    struct http_request *request; /* NULL: it was answered */
    struct log_query query;
    char cursor[LOG_CURSOR_MAX]; /* as it came */
    bool known;                  /* there is such a workload or instance */
    struct asked asked[LOG_NODES_MAX];
    size_t count;
    size_t waiting; /* answers that have not come, and one while nodes are being asked */
    uv_timer_t timer;
    bool late; /* the merge does not wait for what is still to come */
    bool merging;
    size_t sources; /* instances of all pages */
    char *merged;
    size_t merged_size;
};

/* ---- on the worker's thread ---- */

static void add_fields(json_t *object, const struct log_line *line)
{
    json_t *fields = line->len > 0 && line->text[0] == '{'
                         ? json_loadb(line->text, line->len, JSON_ALLOW_NUL, NULL)
                         : NULL;

    if (fields != NULL)
        json_object_set_new(object, "fields", fields);
}

/* What is no UTF-8 is shown as U+FFFD, byte for byte. */
static json_t *line_text(const struct log_line *line)
{
    static const char replacement[] = "\xef\xbf\xbd";
    json_t *text = json_stringn(line->text, line->len);
    char *copy;
    size_t used = 0;

    if (text != NULL)
        return text;
    copy = malloc(line->len * 3 + 1);
    for (size_t at = 0; copy != NULL && at < line->len;) {
        size_t n = line->len - at < 4 ? line->len - at : 4;
        json_t *whole = NULL;
        /* The longest sequence here that is a character. */
        for (; n > 0 && whole == NULL; n -= whole == NULL) {
            if ((unsigned char)line->text[at] < 0x80)
                n = 1;
            whole = json_stringn(line->text + at, n);
        }
        if (whole != NULL) {
            memcpy(copy + used, line->text + at, n);
            used += n;
            at += n;
        } else {
            memcpy(copy + used, replacement, 3);
            used += 3;
            at++;
        }
        json_decref(whole);
    }
    text = copy != NULL ? json_stringn(copy, used) : NULL;
    free(copy);
    return text;
}

static void emit(void *context, const struct log_answer *answer, const struct log_page_line *line)
{
    FILE *out = context;
    char time[LOG_STAMP + 1];
    json_t *object;

    log_time_write(line->line.time_ms, time);
    object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o?}", "time", time, "node", answer->node,
                       "instance", answer->page.sources[line->source].instance, "stream",
                       log_stream_name(line->line.stream), "level",
                       log_level_name(line->line.level), "text", line_text(&line->line));
    if (object == NULL)
        return;
    add_fields(object, &line->line);
    json_dumpf(object, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(object);
}

static void add_problem(json_t *problems, const char *node, const char *text)
{
    json_array_append_new(problems, json_sprintf("%s: %s", node, text));
}

static void run_merge(struct worker_job *job, struct store *store)
{
    struct gathering *g = (struct gathering *)job;
    struct log_answer *answers = calloc(g->count + 1, sizeof *answers);
    struct log_merge merge = {.tail = g->query.tail, .follow = g->query.follow};
    json_t *problems = json_array();
    char *cursor = calloc(1, LOG_CURSOR_MAX);
    FILE *out = open_memstream(&g->merged, &g->merged_size);
    struct err err;
    size_t count = 0;
    int rc = ERR_NONE;

    (void)store;
    /* With a cursor its nodes go on; who is new to it shows all that it has: it is little. */
    if (g->cursor[0] != '\0')
        merge.tail = 0;
    for (size_t i = 0; answers != NULL && cursor != NULL && i < g->count; i++) {
        struct asked *a = &g->asked[i];
        if (a->text != NULL &&
            log_page_read(a->text, a->size, &answers[count].page, &err) != ERR_NONE) {
            snprintf(a->problem, sizeof a->problem, "%s", err.text);
            a->malformed = true;
        }
        if (a->text != NULL && !a->malformed) {
            answers[count++].node = a->node;
            continue;
        }
        add_problem(problems, a->node, a->problem);
        if (a->part != NULL)
            rc = log_cursor_keep(cursor, a->node, a->part, a->part_len);
    }
    if (answers != NULL && cursor != NULL && out != NULL)
        log_merge(answers, count, &merge, emit, out);
    for (size_t i = 0; i < count && cursor != NULL; i++) {
        g->sources += answers[i].page.source_count;
        if (answers[i].page.skipped)
            add_problem(problems, answers[i].node,
                        "lines were removed, for want of room, before they were read");
        if (rc == ERR_NONE)
            rc = log_cursor_add(cursor, answers[i].node, &answers[i].page);
    }
    if (rc != ERR_NONE)
        add_problem(problems, g->agent->name, "too many instances to follow: name one of them");
    if (out != NULL) {
        json_t *end =
            json_pack("{s:s, s:s, s:s?, s:b, s:o}", "apiVersion", API_VERSION, "kind", "LogPage",
                      "cursor", cursor, "more", (int)merge.more, "problems", problems);
        json_dumpf(end, out, JSON_COMPACT);
        fputc('\n', out);
        json_decref(end);
        if (fclose(out) != 0 || end == NULL) {
            free(g->merged);
            g->merged = NULL;
        }
    }
    free(cursor);
    free(answers);
}

struct local_read {        /* the page of this node */
    struct worker_job job; /* first */
    struct asked *asked;
    char *text;
    size_t size;
    int rc;
    struct err err;
};

static void run_read(struct worker_job *job, struct store *store)
{
    struct local_read *read = (struct local_read *)job;
    const struct gathering *g = read->asked->gathering;
    char folder[4096];

    (void)store;
    snprintf(folder, sizeof folder, "%s/logs", g->agent->config->state_dir);
    read->rc =
        os_pages_make(folder, &g->query, os_clock_wall_ms(), &read->text, &read->size, &read->err);
}

/* ---- on the loop's thread ---- */

static void free_gathering(uv_handle_t *timer)
{
    struct gathering *g = timer->data;

    for (size_t i = 0; i < g->count; i++)
        free(g->asked[i].text);
    free(g);
}

/* After the merge, and after the last answer. */
static void release(struct gathering *g)
{
    if (g->waiting == 0 && !g->merging && !uv_is_closing((uv_handle_t *)&g->timer))
        uv_close((uv_handle_t *)&g->timer, free_gathering);
}

static void merged(struct worker_job *job)
{
    struct gathering *g = (struct gathering *)job;

    if (g->merged == NULL) {
        uv_http_text(g->request, 500, "%s\n", err_text(ERR_NOMEM));
    } else if (g->sources == 0 && (!g->query.follow || (!g->known && g->cursor[0] == '\0'))) {
        const char *problem = g->known ? "it has logged nothing yet"
                                       : "there is no workload or instance of that name. See "
                                         "agentctl apps";
        for (size_t i = 0; i < g->count; i++)
            if (g->asked[i].text == NULL || g->asked[i].malformed)
                problem = g->asked[i].problem;
        uv_http_text(g->request, 404, "%s: %s\n", g->query.name, problem);
        free(g->merged);
    } else {
        uv_http_reply(g->request, 200, "application/x-ndjson", g->merged, g->merged_size, NULL);
    }
    g->request = NULL;
    g->merging = false;
    release(g);
}

/* Files and long texts are dealt with on the worker of git, which the peers' wishes are for too. */
static int submit(struct agent *agent, struct worker_job *job, struct err *err)
{
    if (agent->git == NULL)
        return err_set(err, ERR_UNREACHABLE, "agentd is ending");
    return worker_submit(agent->git, job, err);
}

static void finish(struct gathering *g)
{
    struct err err;

    if (g->request != NULL && !g->merging && (g->waiting == 0 || g->late)) {
        g->merging = true;
        g->job.run = run_merge;
        g->job.done = merged;
        if (submit(g->agent, &g->job, &err) != ERR_NONE) {
            uv_http_text(g->request, 503, "%s\n", err.text);
            g->request = NULL;
            g->merging = false;
        }
    }
    release(g);
}

static void on_late(uv_timer_t *timer)
{
    struct gathering *g = timer->data;

    g->late = true;
    for (size_t i = 0; i < g->count; i++)
        if (!g->asked[i].came)
            snprintf(g->asked[i].problem, sizeof g->asked[i].problem, "no answer within %d s",
                     WAIT_MS / 1000);
    finish(g);
}

static void answered(void *context, int code, uint8_t *data, size_t size, const char *reason)
{
    struct asked *a = context;
    struct gathering *g = a->gathering;

    g->waiting--;
    a->came = true;
    if (g->late || code != ERR_NONE || size > ANSWER_MAX) {
        free(data); /* the merge may be under way: nothing of it is touched */
        if (!g->late)
            snprintf(a->problem, sizeof a->problem, "%s",
                     code != ERR_NONE ? reason : "its answer is too large");
    } else {
        a->text = (char *)data;
        a->size = size;
    }
    finish(g);
}

static void read_done(struct worker_job *job)
{
    struct local_read *read = (struct local_read *)job;

    answered(read->asked, read->rc, (uint8_t *)read->text, read->size, read->err.text);
    free(read);
}

static void read_local(struct asked *asked)
{
    struct local_read *read = calloc(1, sizeof *read);
    struct err err;

    if (read == NULL) {
        answered(asked, ERR_NOMEM, NULL, 0, err_text(ERR_NOMEM));
        return;
    }
    read->job.run = run_read;
    read->job.done = read_done;
    read->asked = asked;
    if (submit(asked->gathering->agent, &read->job, &err) == ERR_NONE)
        return;
    answered(asked, err.code, NULL, 0, err.text);
    free(read);
}

static void ask(struct gathering *g, const struct status_node *node)
{
    struct log_query query = g->query;
    struct asked *a = &g->asked[g->count];

    a->gathering = g;
    snprintf(a->node, sizeof a->node, "%s", node->name);
    if (log_cursor_find(g->cursor, a->node, &a->part, &a->part_len)) {
        query.resume = a->part_len < sizeof query.cursor;
        snprintf(query.cursor, sizeof query.cursor, "%.*s", (int)a->part_len, a->part);
    }
    g->count++;
    g->waiting++;
    if (node->self) {
        g->query.resume = query.resume;
        memcpy(g->query.cursor, query.cursor, sizeof query.cursor);
        read_local(a);
    } else {
        agent_peer_logs(g->agent, node->id, &query, answered, a);
    }
}

static bool has_instance(const struct status *status, node_id node, const char *name)
{
    for (size_t a = 0; a < status->app_count; a++) {
        const struct status_app *app = &status->apps[a];
        for (size_t i = app->first; i < app->first + app->count; i++)
            if (node_id_equal(status->instances[i].node, node) &&
                (strcmp(app->name, name) == 0 || strcmp(status->instances[i].name, name) == 0))
                return true;
    }
    return false;
}

static bool is_known(const struct status *status, const char *name)
{
    for (size_t a = 0; a < status->app_count; a++)
        if (strcmp(status->apps[a].name, name) == 0)
            return true;
    for (size_t i = 0; i < status->instance_count; i++)
        if (strcmp(status->instances[i].name, name) == 0)
            return true;
    return false;
}

/* At first all who live: an instance may have run anywhere. Later those who had something. */
static void ask_nodes(struct gathering *g, const struct status *status, const char *only)
{
    for (size_t i = 0; i < status->node_count && g->count < LOG_NODES_MAX; i++) {
        const struct status_node *node = &status->nodes[i];
        const char *part;
        size_t len = 0;
        bool had = log_cursor_find(g->cursor, node->name, &part, &len);
        if (node->role == VALUE_ROLE_WITNESS || (only != NULL && strcmp(only, node->name) != 0))
            continue;
        if (g->cursor[0] != '\0' && len == 0 && !has_instance(status, node->id, g->query.name))
            continue;
        if (node->self || node->state == STATUS_ALIVE || node->state == STATUS_SUSPECT) {
            ask(g, node);
        } else if (had || has_instance(status, node->id, g->query.name) || only != NULL) {
            struct asked *a = &g->asked[g->count++];
            a->came = true;
            snprintf(a->node, sizeof a->node, "%s", node->name);
            snprintf(a->problem, sizeof a->problem, "is %s", status_member_state_name(node->state));
            a->part = had ? part : NULL;
            a->part_len = len;
        }
    }
}

/* ---- the request ---- */

static bool read_count(const struct http_request *request, const char *name, long long max,
                       long long *value)
{
    const char *text = http_query(request, name);
    char *end;

    if (text == NULL)
        return true;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= 0 && *value <= max;
}

static int read_query(const struct http_request *request, struct gathering *g, struct err *err)
{
    const char *name = http_query(request, "name");
    const char *level = http_query(request, "level");
    const char *after = http_query(request, "after");
    long long lines = 100;
    long long since = 0;
    long long follow = 0;
    long long previous = 0;

    if (name == NULL || strlen(name) >= sizeof g->query.name || strcspn(name, " ,:~") == 0 ||
        name[strcspn(name, " ,:~@")] != '\0')
        return err_set(err, ERR_INVALID, "name the workload: /v1/logs?name=rest-api");
    snprintf(g->query.name, sizeof g->query.name, "%s", name);
    if (!read_count(request, "lines", LOG_TAIL_MAX, &lines))
        return err_set(err, ERR_INVALID, "lines: a number up to %d is expected; 0: all",
                       LOG_TAIL_MAX);
    if (!read_count(request, "since", INT64_MAX, &since) ||
        !read_count(request, "follow", 1, &follow) ||
        !read_count(request, "previous", follow != 0 ? 0 : 1, &previous))
        return err_set(err, ERR_INVALID,
                       "since: milliseconds since 1970 are expected; follow: 1; previous: 1, and "
                       "not with follow");
    g->query.tail = (size_t)lines;
    g->query.since_ms = since;
    g->query.follow = follow != 0;
    g->query.previous = previous != 0;
    if (level != NULL && (g->query.level = log_level_find(level, strlen(level))) == 0)
        return err_set(err, ERR_INVALID,
                       "level: trace, debug, info, warning, error or fatal is expected");
    if (after != NULL && strlen(after) >= sizeof g->cursor)
        return err_set(err, ERR_INVALID, "after: no cursor is so long");
    snprintf(g->cursor, sizeof g->cursor, "%s", after != NULL ? after : "");
    return ERR_NONE;
}

void agent_logs(struct agent *agent, struct http_request *request)
{
    const char *only = http_query(request, "node");
    struct gathering *g = calloc(1, sizeof *g);
    struct status *status = NULL;
    struct err err;
    int rc;

    if (g == NULL || api_take_status(agent, &status) != ERR_NONE) {
        free(g);
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    rc = read_query(request, g, &err);
    if (rc != ERR_NONE) {
        api_reply_error(request, &err);
        status_free(status);
        free(g);
        return;
    }
    g->agent = agent;
    g->request = request;
    g->known = is_known(status, g->query.name);
    g->waiting = 1;
    uv_timer_init(agent->loop, &g->timer);
    g->timer.data = g;
    uv_timer_start(&g->timer, on_late, WAIT_MS, 0);
    ask_nodes(g, status, only);
    status_free(status);
    if (g->count == 0 && only != NULL) {
        uv_http_text(request, 404, "there is no node %.64s. See agentctl members\n", only);
        g->request = NULL;
    }
    g->waiting--;
    finish(g);
}
