/* What changed between two commits, for people. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/desired.h"
#include "proto/base/id.h"

struct text {
    char *bytes;
    size_t used, size;
    bool no_memory;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
    va_list args;
    int need;

    va_start(args, format);
    need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (text->no_memory || need < 0)
        return;
    if (text->size - text->used <= (size_t)need) {
        size_t size = 2 * text->size + (size_t)need + 1;
        char *grown = realloc(text->bytes, size);
        if (grown == NULL) {
            text->no_memory = true;
            return;
        }
        text->bytes = grown;
        text->size = size;
    }
    va_start(args, format);
    vsnprintf(text->bytes + text->used, text->size - text->used, format, args);
    va_end(args);
    text->used += (size_t)need;
}

/* "~ Workload web (env, ports)": opened by the first field that differs, closed by end_fields. */
struct fields {
    struct text *text;
    const char *kind, *name;
    bool any;
};

static void differs(struct fields *fields, const char *field, bool different)
{
    if (!different)
        return;
    if (fields->any)
        add(fields->text, ", %s", field);
    else
        add(fields->text, "~ %s %s (%s", fields->kind, fields->name, field);
    fields->any = true;
}

static void end_fields(struct fields *fields)
{
    if (fields->any)
        add(fields->text, ")\n");
}

static bool other_text(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

static bool other_texts(const char *const *a, const char *const *b)
{
    if (a == NULL || b == NULL)
        return a != b;
    while (*a != NULL && *b != NULL)
        if (strcmp(*a++, *b++) != 0)
            return true;
    return *a != *b;
}

static bool other_map(const struct desired_map *a, const struct desired_map *b)
{
    if (a->count != b->count)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->pairs[i].name, b->pairs[i].name) != 0 ||
            strcmp(a->pairs[i].value, b->pairs[i].value) != 0)
            return true;
    return false;
}

static bool other_ports(const struct desired_workload *a, const struct desired_workload *b)
{
    if (a->port_count != b->port_count)
        return true;
    for (size_t i = 0; i < a->port_count; i++)
        if (strcmp(a->ports[i].name, b->ports[i].name) != 0 || a->ports[i].port != b->ports[i].port)
            return true;
    return false;
}

static bool other_probe(const struct desired_probe *a, const struct desired_probe *b)
{
    return a->kind != b->kind || other_text(a->path, b->path) || other_text(a->port, b->port) ||
           other_texts(a->command, b->command) || a->initial_delay_s != b->initial_delay_s ||
           a->period_s != b->period_s || a->timeout_s != b->timeout_s ||
           a->success_threshold != b->success_threshold ||
           a->failure_threshold != b->failure_threshold;
}

static bool other_files(const struct desired_workload *a, const struct desired_workload *b)
{
    if (a->file_count != b->file_count || a->reload_signal != b->reload_signal)
        return true;
    for (size_t i = 0; i < a->file_count; i++)
        if (strcmp(a->files[i].path, b->files[i].path) != 0 ||
            strcmp(a->files[i].text, b->files[i].text) != 0 ||
            a->files[i].mode != b->files[i].mode || a->files[i].change != b->files[i].change)
            return true;
    return false;
}

static bool other_spread(const struct desired_workload *a, const struct desired_workload *b)
{
    if (a->spread_count != b->spread_count)
        return true;
    for (size_t i = 0; i < a->spread_count; i++)
        if (strcmp(a->spread[i].key, b->spread[i].key) != 0 ||
            a->spread[i].max_skew != b->spread[i].max_skew ||
            a->spread[i].strict != b->spread[i].strict)
            return true;
    return false;
}

static const char *kind_of(const struct desired_workload *w)
{
    return w->cron ? "CronWorkload" : "Workload";
}

static void diff_schedule(struct fields *f, const struct desired_schedule *a,
                          const struct desired_schedule *b)
{
    differs(f, "schedule", other_text(a->expression, b->expression));
    differs(f, "concurrencyPolicy", a->concurrency != b->concurrency);
    differs(f, "startingDeadlineSeconds", a->starting_deadline_s != b->starting_deadline_s);
    differs(f, "suspend", a->suspend != b->suspend);
    differs(f, "timeZone", other_text(a->time_zone, b->time_zone));
    differs(f, "retryLost", a->retry_lost != b->retry_lost);
    differs(f, "historyLimit", a->history_limit != b->history_limit);
}

static bool other_hook(const struct desired_hook *a, const struct desired_hook *b)
{
    return other_texts(a->command, b->command) || a->timeout_s != b->timeout_s;
}

static bool other_security(const struct desired_security *a, const struct desired_security *b)
{
    return a->writable_root != b->writable_root || a->shared_tmp != b->shared_tmp ||
           a->may_escalate != b->may_escalate || a->unfiltered != b->unfiltered ||
           a->capabilities != b->capabilities || other_texts(a->writable_paths, b->writable_paths);
}

static void diff_process(struct fields *f, const struct desired_workload *a,
                         const struct desired_workload *b)
{
    differs(f, "resources",
            a->memory_request != b->memory_request ||
                a->cpu_request_milli != b->cpu_request_milli ||
                a->memory_limit != b->memory_limit || a->cpu_limit_milli != b->cpu_limit_milli ||
                a->pids_limit != b->pids_limit || a->open_files_limit != b->open_files_limit);
    differs(f, "oomScoreAdjust", a->oom_score_adjust != b->oom_score_adjust);
    differs(f, "stopSignal", a->stop_signal != b->stop_signal);
    differs(f, "securityContext", other_security(&a->security, &b->security));
    differs(f, "lifecycle",
            other_hook(&a->pre_start, &b->pre_start) || other_hook(&a->post_stop, &b->post_stop));
    differs(f, "logs", a->log_bytes != b->log_bytes || a->log_age_s != b->log_age_s);
    differs(f, "updateStrategy",
            a->max_unavailable != b->max_unavailable || a->hand_over != b->hand_over);
}

static void diff_workload(struct text *text, const struct desired_workload *a,
                          const struct desired_workload *b)
{
    struct fields f = {.text = text, .kind = kind_of(b), .name = b->name};

    differs(&f, "kind", a->cron != b->cron);
    differs(&f, "app", strcmp(a->app, b->app) != 0);
    differs(&f, "labels", other_map(&a->labels, &b->labels));
    differs(&f, "replicas", a->replicas != b->replicas);
    differs(&f, "singleton", a->singleton != b->singleton);
    diff_schedule(&f, &a->schedule, &b->schedule);
    differs(&f, "command", other_texts(a->command, b->command));
    differs(&f, "env", other_map(&a->env, &b->env));
    differs(&f, "files", other_files(a, b));
    differs(&f, "topologySpreadConstraints", other_spread(a, b));
    differs(&f, "workingDir", other_text(a->working_dir, b->working_dir));
    differs(&f, "user", other_text(a->user, b->user));
    differs(&f, "listen", a->listen != b->listen);
    differs(&f, "ports", other_ports(a, b));
    differs(&f, "startupProbe", other_probe(&a->startup, &b->startup));
    differs(&f, "readinessProbe", other_probe(&a->readiness, &b->readiness));
    differs(&f, "livenessProbe", other_probe(&a->liveness, &b->liveness));
    differs(&f, "restartPolicy", a->restart != b->restart);
    differs(&f, "terminationGracePeriodSeconds", a->stop_grace_s != b->stop_grace_s);
    differs(&f, "nodeSelector", other_map(&a->node_selector, &b->node_selector));
    differs(&f, "dependsOn",
            other_texts(a->depends_on, b->depends_on) ||
                other_texts(a->depends_objects, b->depends_objects));
    diff_process(&f, a, b);
    end_fields(&f);
}

static void diff_workloads(struct text *text, const struct desired *old, const struct desired *new)
{
    size_t i = 0, j = 0;

    while (i < old->workload_count || j < new->workload_count) {
        const struct desired_workload *a = i < old->workload_count ? &old->workloads[i] : NULL;
        const struct desired_workload *b = j < new->workload_count ? &new->workloads[j] : NULL;
        int order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a->name, b->name);
        if (order == 0)
            diff_workload(text, a, b);
        else if (order < 0)
            add(text, "- %s %s\n", kind_of(a), a->name);
        else
            add(text, "+ %s %s\n", kind_of(b), b->name);
        i += order <= 0;
        j += order >= 0;
    }
}

static void diff_vips(struct text *text, const struct desired *old, const struct desired *new)
{
    size_t i = 0, j = 0;

    while (i < old->vip_count || j < new->vip_count) {
        const struct desired_vip *a = i < old->vip_count ? &old->vips[i] : NULL;
        const struct desired_vip *b = j < new->vip_count ? &new->vips[j] : NULL;
        int order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a->name, b->name);
        if (order == 0) {
            struct fields f = {.text = text, .kind = "VirtualIP", .name = b->name};
            differs(&f, "app", strcmp(a->app, b->app) != 0);
            differs(&f, "address", !addr_equal(&a->address, &b->address));
            differs(&f, "mode", a->strict != b->strict);
            end_fields(&f);
        } else if (order < 0) {
            add(text, "- VirtualIP %s\n", a->name);
        } else {
            add(text, "+ VirtualIP %s\n", b->name);
        }
        i += order <= 0;
        j += order >= 0;
    }
}

static void diff_route(struct text *text, const struct desired_route *a,
                       const struct desired_route *b)
{
    struct fields f = {.text = text, .kind = "Route", .name = b->name};

    differs(&f, "app", strcmp(a->app, b->app) != 0);
    differs(&f, "hosts", other_texts(a->hosts, b->hosts));
    differs(&f, "path", strcmp(a->path, b->path) != 0);
    differs(&f, "service", strcmp(a->workload, b->workload) != 0 || strcmp(a->port, b->port) != 0);
    differs(&f, "virtualIP", other_text(a->vip, b->vip));
    end_fields(&f);
}

static void diff_k3s(struct text *text, const struct desired_k3s *a, const struct desired_k3s *b)
{
    struct fields f = {.text = text, .kind = "K3s", .name = b->name};

    differs(&f, "spec", a->generation != b->generation);
    end_fields(&f);
}

static void diff_secret(struct text *text, const struct desired_secret *a,
                        const struct desired_secret *b)
{
    struct fields f = {.text = text, .kind = "SealedSecret", .name = b->name};
    bool other = a->recipient_count != b->recipient_count;

    for (size_t i = 0; !other && i < a->recipient_count; i++)
        other = strcmp(a->recipients[i].node, b->recipients[i].node) != 0;
    differs(&f, "recipients", other);
    differs(&f, "encryptedData", other_map(&a->data, &b->data));
    end_fields(&f);
}

/* Walks two arrays that are sorted by name. @name_at is the offset of the name in an item. */
struct pairing {
    const unsigned char *a, *b;
    size_t a_left, b_left, size, name_at;
};

static const char *pair_name(const struct pairing *p, const unsigned char *item)
{
    const char *name;

    memcpy(&name, item + p->name_at, sizeof name);
    return name;
}

/* Takes the next item from the left, the right, or both where their names are equal. */
static bool pair_next(struct pairing *p, const void **left, const void **right)
{
    int order;

    if (p->a_left == 0 && p->b_left == 0)
        return false;
    order = p->a_left == 0   ? 1
            : p->b_left == 0 ? -1
                             : strcmp(pair_name(p, p->a), pair_name(p, p->b));
    *left = order <= 0 ? p->a : NULL;
    *right = order >= 0 ? p->b : NULL;
    if (order <= 0) {
        p->a += p->size;
        p->a_left--;
    }
    if (order >= 0) {
        p->b += p->size;
        p->b_left--;
    }
    return true;
}

static void diff_objects(struct text *text, const struct desired *old, const struct desired *new)
{
    struct pairing routes = {(const void *)old->routes,
                             (const void *)new->routes,
                             old->route_count,
                             new->route_count,
                             sizeof(struct desired_route),
                             offsetof(struct desired_route, name)};
    struct pairing k3s = {
        (const void *)old->k3s, (const void *)new->k3s,     old->k3s_count,
        new->k3s_count,         sizeof(struct desired_k3s), offsetof(struct desired_k3s, name)};
    struct pairing secrets = {(const void *)old->secrets,
                              (const void *)new->secrets,
                              old->secret_count,
                              new->secret_count,
                              sizeof(struct desired_secret),
                              offsetof(struct desired_secret, name)};
    const void *a, *b;

    while (pair_next(&routes, &a, &b)) {
        if (a != NULL && b != NULL)
            diff_route(text, a, b);
        else
            add(text, "%c Route %s\n", a != NULL ? '-' : '+',
                pair_name(&routes, a != NULL ? a : b));
    }
    while (pair_next(&k3s, &a, &b)) {
        if (a != NULL && b != NULL)
            diff_k3s(text, a, b);
        else
            add(text, "%c K3s %s\n", a != NULL ? '-' : '+', pair_name(&k3s, a != NULL ? a : b));
    }
    while (pair_next(&secrets, &a, &b)) {
        if (a != NULL && b != NULL)
            diff_secret(text, a, b);
        else
            add(text, "%c SealedSecret %s\n", a != NULL ? '-' : '+',
                pair_name(&secrets, a != NULL ? a : b));
    }
}

static bool other_sync(const struct desired *a, const struct desired *b)
{
    if (a->sync.health_timeout_s != b->sync.health_timeout_s ||
        a->sync.rollback != b->sync.rollback || other_text(a->sync.canary, b->sync.canary) ||
        a->sync.drift != b->sync.drift || a->app_count != b->app_count)
        return true;
    for (size_t i = 0; i < a->app_count; i++)
        if (strcmp(a->apps[i].name, b->apps[i].name) != 0 || a->apps[i].drift != b->apps[i].drift)
            return true;
    return false;
}

static bool other_nodes(const struct desired *a, const struct desired *b)
{
    if (a->node_count != b->node_count)
        return true;
    for (size_t i = 0; i < a->node_count; i++)
        if (strcmp(a->nodes[i].name, b->nodes[i].name) != 0 ||
            other_map(&a->nodes[i].labels, &b->nodes[i].labels))
            return true;
    return false;
}

static void diff_cluster(struct text *text, const struct desired *old, const struct desired *new)
{
    struct fields f = {.text = text, .kind = "Cluster", .name = new->cluster_name};

    differs(&f, "name", strcmp(old->cluster_name, new->cluster_name) != 0);
    differs(&f, "pool",
            !addr_equal(&old->pool_first, &new->pool_first) ||
                !addr_equal(&old->pool_last, &new->pool_last));
    differs(&f, "holdDownSeconds", old->hold_down_s != new->hold_down_s);
    differs(&f, "nodes", other_nodes(old, new));
    differs(&f, "sync", other_sync(old, new));
    end_fields(&f);
}

static int compare_foreign(const void *left, const void *right)
{
    const struct desired_foreign *a = *(const struct desired_foreign *const *)left;
    const struct desired_foreign *b = *(const struct desired_foreign *const *)right;
    int order = strcmp(a->kind, b->kind);

    if (order == 0)
        order = strcmp(a->name, b->name);
    if (order == 0)
        order = strcmp(a->api_version, b->api_version);
    if (order == 0)
        order = strcmp(a->file, b->file);
    return order;
}

/* Pointers to the foreign objects of @desired, sorted; NULL when memory ran out. */
static const struct desired_foreign **sorted_foreign(const struct desired *desired)
{
    const struct desired_foreign **sorted =
        calloc(desired->foreign_count + 1, sizeof(struct desired_foreign *));

    if (sorted == NULL)
        return NULL;
    for (size_t i = 0; i < desired->foreign_count; i++)
        sorted[i] = &desired->foreign[i];
    qsort(sorted, desired->foreign_count, sizeof(struct desired_foreign *), compare_foreign);
    return sorted;
}

static void foreign_line(struct text *text, char sign, const struct desired_foreign *foreign)
{
    char waiting[128];

    desired_waiting(foreign, waiting, sizeof waiting);
    add(text, "%c %s %s (waiting for %s)\n", sign, foreign->kind, foreign->name, waiting);
}

static void diff_foreign(struct text *text, const struct desired *old, const struct desired *new)
{
    const struct desired_foreign **a = sorted_foreign(old), **b = sorted_foreign(new);
    size_t i = 0, j = 0;

    if (a == NULL || b == NULL)
        text->no_memory = true;
    while (!text->no_memory && (a[i] != NULL || b[j] != NULL)) {
        int order = a[i] == NULL ? 1 : b[j] == NULL ? -1 : compare_foreign(&a[i], &b[j]);
        if (order < 0)
            foreign_line(text, '-', a[i]);
        else if (order > 0)
            foreign_line(text, '+', b[j]);
        else if (a[i]->digest != b[j]->digest)
            foreign_line(text, '~', b[j]);
        i += order <= 0;
        j += order >= 0;
    }
    free(a);
    free(b);
}

char *desired_diff(const struct desired *old, const struct desired *new)
{
    static const struct desired nothing = {
        .cluster_name = "flock",
        .hold_down_s = DESIRED_HOLD_DOWN_S,
        .sync = {.health_timeout_s = DESIRED_HEALTH_TIMEOUT_S, .rollback = true},
    };
    struct text text = {0};

    old = old != NULL ? old : &nothing;
    add(&text, "%s", "");
    diff_cluster(&text, old, new);
    diff_workloads(&text, old, new);
    diff_vips(&text, old, new);
    diff_objects(&text, old, new);
    diff_foreign(&text, old, new);
    if (text.no_memory) {
        free(text.bytes);
        return NULL;
    }
    return text.bytes;
}
