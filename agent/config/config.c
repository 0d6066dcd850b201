#include "agent/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/config_written.h"
#include "agent/desired/formats.h"

/* The result and the memory that it lies in. */
struct owner {
    struct config config;
    struct arena arena;
};

static const char *or_default(const char *text, const char *normal)
{
    return text != NULL ? text : normal;
}

static int fill_join(struct owner *owner, const struct written *w, struct report *report)
{
    struct addr *join;
    size_t count = 0;

    while (w->join != NULL && w->join[count] != NULL)
        count++;
    join = arena_array(&owner->arena, count, sizeof *join);
    if (join == NULL)
        return report_no_memory(report);
    for (size_t i = 0; i < count; i++)
        addr_parse(w->join[i], CONFIG_GOSSIP_PORT, &join[i], NULL);
    owner->config.join = join;
    owner->config.join_count = count;
    return 0;
}

static int fill_remotes(struct owner *owner, const struct written_repository *r,
                        struct report *report)
{
    const struct written_remote *written = r->remotes.items;
    struct config *c = &owner->config;
    struct config_remote *remotes = arena_array(&owner->arena, r->remotes.count, sizeof *remotes);

    if (remotes == NULL)
        return report_no_memory(report);
    for (size_t i = 0; i < r->remotes.count; i++)
        remotes[i] = (struct config_remote){
            .url = written[i].url,
            .branch = or_default(written[i].branch, c->repository.branch),
            .key = written[i].key,
            .known_hosts = written[i].known_hosts,
            .ca_file = written[i].ca_file,
        };
    c->repository.remotes = remotes;
    c->repository.remote_count = r->remotes.count;
    c->repository.poll_s = r->poll_s;
    c->repository.webhook_secret_file = r->webhook_secret_file;
    return 0;
}

static int fill_repository(struct owner *owner, const struct written *w, struct report *report)
{
    static const struct written_repository nothing = {.poll_s = 30};
    const struct written_repository *r = w->repository != NULL ? w->repository : &nothing;
    struct config *c = &owner->config;

    c->repository.path = r->path;
    c->repository.branch = or_default(r->branch, "main");
    c->repository.user = r->user;
    if (r->path == NULL) {
        size_t size = strlen(c->state_dir) + sizeof "/flock.git";
        char *path = arena_alloc(&owner->arena, size);
        if (path == NULL)
            return report_no_memory(report);
        snprintf(path, size, "%s/flock.git", c->state_dir);
        c->repository.path = path;
    }
    return fill_remotes(owner, r, report);
}

static void fill_web(struct config *c, const struct written_web *web)
{
    static const char *const nobody[] = {NULL};
    static const struct written_web nothing = {.enabled = true};

    web = web != NULL ? web : &nothing;
    c->web.enabled = web->enabled;
    c->web.hosts = web->hosts != NULL ? web->hosts : nobody;
    addr_parse(or_default(web->listen, "0.0.0.0"), CONFIG_WEB_PORT, &c->web.listen, NULL);
}

static void fill_logs(struct config *c, const struct written_logs *logs)
{
    c->logs.max_total = CONFIG_LOGS_TOTAL;
    c->logs.keep_days = logs != NULL ? logs->keep_days : CONFIG_LOGS_DAYS;
    if (logs != NULL && logs->max_total != NULL)
        format_read_memory(logs->max_total, &c->logs.max_total);
}

static int fill(struct owner *owner, const struct written *w, struct report *report)
{
    struct config *c = &owner->config;
    int rc;

    c->node = w->node;
    c->interface = or_default(w->interface, "wlan0");
    addr_parse(or_default(w->listen, "0.0.0.0"), CONFIG_GOSSIP_PORT, &c->listen, NULL);
    if (w->advertise != NULL)
        addr_parse(w->advertise, c->listen.port, &c->advertise, NULL);
    c->state_dir = or_default(w->state_dir, "/var/lib/covey");
    c->run_dir = or_default(w->run_dir, "/run/covey");
    c->role = w->role;
    c->lease_min_ms = config_lease_milliseconds[w->lease_min];
    c->lease_max_ms = config_lease_milliseconds[w->lease_max];
    c->power_save = w->power_save;
    c->promiscuous = w->promiscuous;
    c->arp_settings = w->arp_settings;
    c->hooks = or_default(w->hooks, "/etc/covey/hooks.d");
    c->workload_path =
        or_default(w->workload_path, "/usr/lib/covey/workloads:/usr/local/bin:/usr/bin:/bin");
    c->workload_user = w->workload_user;
    fill_web(c, w->web);
    fill_logs(c, w->logs);
    rc = fill_join(owner, w, report);
    return rc != 0 ? rc : fill_repository(owner, w, report);
}

static int read_document(struct owner *owner, const char *file,
                         const struct tree_document *document, struct report *report)
{
    struct schema_reader reader = {.arena = &owner->arena, .report = report, .file = file};
    static const struct tree_node nothing = {.kind = TREE_MAP, .line = 1};
    const struct tree_node *root = &nothing;
    struct written written = {0};
    int rc;

    if (document != NULL && document->root != NULL && !tree_is_null(document->root))
        root = document->root;
    if (document != NULL && document->problem[0] != '\0')
        return report_add(report, ERR_INVALID, file, document->problem_line, "%s",
                          document->problem);
    if (document != NULL && document->next != NULL)
        return report_add(report, ERR_INVALID, file,
                          document->next->root != NULL ? document->next->root->line : 1,
                          "a second document; expected one");
    if (root->kind != TREE_MAP)
        return report_add(report, ERR_INVALID, file, root->line,
                          "no configuration; expected keys and values, such as \"node: pi1\"");
    rc = schema_read(&reader, root, &config_table, &written);
    if (rc == 0 && written.lease_min > written.lease_max)
        return report_add(report, ERR_INVALID, file, tree_line(root, "lease_max"),
                          "lease_max: %s is shorter than lease_min, %s",
                          config_lease_lengths[written.lease_max],
                          config_lease_lengths[written.lease_min]);
    return rc != 0 ? rc : fill(owner, &written, report);
}

int config_parse(const char *file, const char *data, size_t size, struct config **config,
                 char **report, struct err *err)
{
    struct owner *owner = calloc(1, sizeof *owner);
    struct arena trees = {0};
    struct report found = {0};
    const struct tree_document *document;
    struct err tree_err;
    int rc;

    *config = NULL;
    if (report != NULL)
        *report = NULL;
    if (owner == NULL)
        return err_set(err, ERR_NOMEM, "%s: out of memory", file);
    if (size > CONFIG_FILE_MAX)
        report_add(&found, ERR_LIMIT, file, 1, "the file has %zu bytes; expected at most %d", size,
                   CONFIG_FILE_MAX);
    else if (tree_parse(&trees, file, data, size, &document, &tree_err) != 0)
        report_err(&found, &tree_err);
    else
        read_document(owner, file, document, &found);
    arena_free(&trees);
    rc = report_finish(&found, report, err);
    if (rc != 0)
        config_free(&owner->config);
    else
        *config = &owner->config;
    return rc;
}

void config_free(struct config *config)
{
    struct owner *owner = (struct owner *)config; /* its first member */

    if (config == NULL)
        return;
    arena_free(&owner->arena);
    free(owner);
}
