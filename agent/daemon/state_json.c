/* The JSON of the desired state. */
#include "agent/daemon/state_json.h"

#include <stdio.h>
#include <string.h>

#include "agent/web/status_json.h"

static json_t *texts_json(const char *const *texts)
{
    json_t *list = json_array();

    for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
        json_array_append_new(list, json_string(texts[i]));
    return list;
}

static json_t *object_json(const char *kind, const char *app, const char *name, const char *file,
                           int line)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", kind, "name", name, "app", app, "file",
                     file, "line", line);
}

static void add_workloads(json_t *items, const struct desired *d)
{
    for (size_t i = 0; i < d->workload_count; i++) {
        const struct desired_workload *w = &d->workloads[i];
        json_t *o =
            object_json(w->cron ? "CronWorkload" : "Workload", w->app, w->name, w->file, w->line);
        char generation[24];

        snprintf(generation, sizeof generation, "%016llx", (unsigned long long)w->generation);
        json_object_set_new(o, "generation", json_string(generation));
        json_object_set_new(o, "replicas", json_integer(w->replicas));
        json_object_set_new(o, "command", texts_json(w->command));
        json_object_set_new(o, "dependsOn", texts_json(w->depends_on));
        if (w->cron)
            json_object_set_new(o, "schedule", json_string(w->schedule.expression));
        json_array_append_new(items, o);
    }
}

static void add_vips(json_t *items, const struct desired *d, state_json_address address_of,
                     const void *context)
{
    for (size_t i = 0; i < d->vip_count; i++) {
        const struct desired_vip *v = &d->vips[i];
        json_t *o = object_json("VirtualIP", v->app, v->name, v->file, v->line);
        const struct addr *address = address_of(context, v);
        char text[ADDR_TEXT] = "";

        if (address != NULL && address->family != 0)
            addr_format_ip(address, text);
        json_object_set_new(o, "address", json_string(text));
        json_object_set_new(o, "mode", json_string(v->strict ? "strict" : "solo"));
        json_array_append_new(items, o);
    }
}

static void add_others(json_t *items, const struct desired *d)
{
    for (size_t i = 0; i < d->route_count; i++) {
        const struct desired_route *r = &d->routes[i];
        json_t *o = object_json("Route", r->app, r->name, r->file, r->line);

        json_object_set_new(o, "hosts", texts_json(r->hosts));
        json_object_set_new(o, "path", json_string(r->path));
        json_object_set_new(o, "workload", json_string(r->workload));
        json_object_set_new(o, "port", json_string(r->port));
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->k3s_count; i++) {
        json_t *o =
            object_json("K3s", d->k3s[i].app, d->k3s[i].name, d->k3s[i].file, d->k3s[i].line);

        json_object_set_new(o, "servers", texts_json(d->k3s[i].servers));
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->secret_count; i++) { /* names of values, never the values */
        const struct desired_secret *s = &d->secrets[i];
        json_t *o = object_json("SealedSecret", s->app, s->name, s->file, s->line);
        json_t *keys = json_array(), *nodes = json_array();

        for (size_t k = 0; k < s->data.count; k++)
            json_array_append_new(keys, json_string(s->data.pairs[k].name));
        for (size_t k = 0; k < s->recipient_count; k++)
            json_array_append_new(nodes, json_string(s->recipients[k].node));
        json_object_set_new(o, "keys", keys);
        json_object_set_new(o, "nodes", nodes);
        json_array_append_new(items, o);
    }
    for (size_t i = 0; i < d->foreign_count; i++) {
        const struct desired_foreign *f = &d->foreign[i];
        json_t *o = object_json(f->kind, "", f->name, f->file, f->line);
        char waits[64];

        desired_waiting(f, waits, sizeof waits);
        json_object_set_new(o, "objectApiVersion", json_string(f->api_version));
        json_object_set_new(o, "waitingFor", json_string(waits));
        json_array_append_new(items, o);
    }
}

json_t *state_json_objects(const struct desired *desired, state_json_address address,
                           const void *context)
{
    json_t *items = json_array();

    if (desired == NULL)
        return items;
    add_workloads(items, desired);
    add_vips(items, desired, address, context);
    add_others(items, desired);
    return items;
}

json_t *state_json_history(const struct store_history *list, size_t count, const char *running)
{
    json_t *items = json_array();

    for (size_t i = 0; i < count; i++) {
        const struct store_commit *c = &list[i].commit;
        bool failed = list[i].state == STORE_FAILED;
        json_array_append_new(items, json_pack("{s:I, s:s, s:s, s:s, s:s, s:o, s:b, s:s}", "number",
                                               (json_int_t)list[i].number, "commit", c->commit,
                                               "parent", c->parent, "subject", c->subject, "state",
                                               failed ? "failed" : "applied", "time",
                                               status_json_time(c->applied_at), "running",
                                               (int)(!failed && strcmp(c->commit, running) == 0),
                                               "reason", failed ? list[i].reason : ""));
    }
    return items;
}
