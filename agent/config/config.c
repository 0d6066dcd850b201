#include "agent/config/config.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/formats.h"
#include "agent/desired/schema.h"

struct written_web {
    bool enabled;
    const char *listen;
    const char *const *hosts;
};

struct written_remote {
    const char *url, *branch, *key, *known_hosts;
};

struct written_repository {
    const char *path, *branch, *user;
    struct schema_list remotes; /* struct written_remote */
    uint32_t poll_s;
    const char *webhook_secret_file;
};

/* The file as its table fills it. */
struct written {
    const char *node, *interface, *listen, *advertise;
    const char *const *join;
    const char *state_dir, *run_dir, *workload_path, *workload_user;
    uint32_t role, promiscuous, arp_settings;
    uint32_t lease_min, lease_max; /* indices of lease_lengths */
    bool power_save;
    const char *hooks;
    const struct written_web *web;
    const struct written_repository *repository;
};

/* The result and the memory that it lies in. */
struct owner {
    struct config config;
    struct arena arena;
};

static bool is_address(const char *text)
{
    struct addr a;

    return addr_parse(text, CONFIG_GOSSIP_PORT, &a, NULL) == 0;
}

static bool is_host_address(const char *text)
{
    static const uint8_t zero[16] = {0};
    struct addr a;

    return addr_parse(text, CONFIG_GOSSIP_PORT, &a, NULL) == 0 && memcmp(a.ip, zero, 16) != 0;
}

static bool is_interface(const char *text)
{
    return text[0] != '\0' && strlen(text) < IF_NAMESIZE && strpbrk(text, "/: \t\n") == NULL &&
           strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static bool is_run_dir(const char *text)
{
    return format_absolute_path.check(text) && strlen(text) <= CONFIG_RUN_DIR_MAX;
}

static bool is_host_name(const char *text)
{
    return text[0] != '\0' && strlen(text) <= 253 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-._:[]") == strlen(text);
}

/* What git check-ref-format allows, and less. */
static bool is_branch(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_./";
    size_t len = strlen(text);

    return len > 0 && len < 64 && strchr("-/.", text[0]) == NULL && strspn(text, allowed) == len &&
           strstr(text, "..") == NULL && strstr(text, "//") == NULL && strstr(text, "/.") == NULL &&
           strchr("/.", text[len - 1]) == NULL;
}

/* Nothing that git would take for an option or for a program to run. */
static bool is_remote_url(const char *text)
{
    static const char *const starts[] = {"https://", "ssh://", "file:///", "git@"};
    size_t len = strlen(text);

    for (const char *c = text; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0] && len <= 1024; i++)
        if (strncmp(text, starts[i], strlen(starts[i])) == 0)
            return text[strlen(starts[i])] != '-';
    return false;
}

/* Folders with ':' between them, each absolute: a relative one would depend on where it is used. */
static bool is_search_path(const char *text)
{
    if (strlen(text) > 1024)
        return false;
    for (;;) {
        if (*text != '/')
            return false;
        text = strchr(text, ':');
        if (text == NULL)
            return true;
        text++;
    }
}

static const struct schema_format gossip_address = {
    .expected = "an address, with a port if it is not 8801, such as 0.0.0.0:8801",
    .check = is_address,
};
static const struct schema_format web_address = {
    .expected = "an address, with a port if it is not 8800, such as 127.0.0.1:8800",
    .check = is_address,
};
static const struct schema_format host_address = {
    .expected = "the address of a host, with a port if it is not 8801, such as 192.168.1.10:8801",
    .check = is_host_address,
};
static const struct schema_format interface_name = {
    .expected = "the name of a network interface, such as wlan0",
    .check = is_interface,
};
static const struct schema_format run_dir = {
    .expected = "an absolute path of at most 90 bytes, such as /run/covey",
    .check = is_run_dir,
};
static const struct schema_format host_name = {
    .expected = "a host name in lower case, such as covey.local",
    .check = is_host_name,
};
static const struct schema_format remote_url = {
    .expected = "https://…, ssh://…, git@host:path or file://…",
    .check = is_remote_url,
};
static const struct schema_format branch_name = {
    .expected = "the name of a branch, such as main",
    .check = is_branch,
};
static const struct schema_format search_path = {
    .expected = "absolute folders with ':' between them, such as /usr/local/bin:/usr/bin",
    .check = is_search_path,
};

static const struct schema_field web_fields[] = {
    {.name = "enabled",
     .type = SCHEMA_BOOLEAN,
     .normal = true,
     .offset = offsetof(struct written_web, enabled),
     .help = "whether there is a status page"},
    {.name = "listen",
     .type = SCHEMA_TEXT,
     .format = &web_address,
     .offset = offsetof(struct written_web, listen),
     .help = "address of the status page"},
    {.name = "hosts",
     .type = SCHEMA_TEXTS,
     .high = CONFIG_HOSTS_MAX,
     .format = &host_name,
     .offset = offsetof(struct written_web, hosts),
     .help = "further names that a browser may use for it"},
    {.name = NULL},
};
static const struct schema_table web_table = {
    .size = sizeof(struct written_web),
    .fields = web_fields,
};

static const struct schema_field remote_fields[] = {
    {.name = "url",
     .type = SCHEMA_TEXT,
     .required = true,
     .format = &remote_url,
     .offset = offsetof(struct written_remote, url),
     .help = "where the desired state is fetched from"},
    {.name = "branch",
     .type = SCHEMA_TEXT,
     .format = &branch_name,
     .offset = offsetof(struct written_remote, branch),
     .help = "its branch; the repository's where nothing is said"},
    {.name = "key",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written_remote, key),
     .help = "deploy key: a private SSH key without a passphrase"},
    {.name = "known_hosts",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written_remote, known_hosts),
     .help = "known_hosts(5) of the remote"},
    {.name = NULL},
};
static const struct schema_table remote_table = {
    .size = sizeof(struct written_remote),
    .fields = remote_fields,
};

static const struct schema_field repository_fields[] = {
    {.name = "path",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written_repository, path),
     .help = "the bare repository that people push to"},
    {.name = "branch",
     .type = SCHEMA_TEXT,
     .format = &branch_name,
     .offset = offsetof(struct written_repository, branch),
     .help = "the branch that is applied"},
    {.name = "user",
     .type = SCHEMA_TEXT,
     .format = &format_user,
     .offset = offsetof(struct written_repository, user),
     .help = "system user that git runs as"},
    {.name = "remotes",
     .type = SCHEMA_LIST,
     .high = CONFIG_REMOTES_MAX,
     .table = &remote_table,
     .offset = offsetof(struct written_repository, remotes),
     .help = "repositories that are looked at, in this order until one answers"},
    {.name = "poll_seconds",
     .type = SCHEMA_INTEGER,
     .low = 5,
     .high = 3600,
     .normal = 30,
     .offset = offsetof(struct written_repository, poll_s),
     .help = "how often the remotes are looked at"},
    {.name = "webhook_secret_file",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written_repository, webhook_secret_file),
     .help = "file with the secret of POST /v1/webhook on the status page's port"},
    {.name = NULL},
};
static const struct schema_table repository_table = {
    .size = sizeof(struct written_repository),
    .fields = repository_fields,
};

static const char *const promiscuous[] = {
    [CONFIG_PROMISCUOUS_AUTO] = "auto",
    [CONFIG_PROMISCUOUS_ON] = "on",
    [CONFIG_PROMISCUOUS_OFF] = "off",
    NULL,
};

static const char *const arp_settings[] = {
    [CONFIG_ARP_CHECK] = "check",
    [CONFIG_ARP_SET] = "set",
    NULL,
};

static const char *const roles[] = {
    [CONFIG_AGENT] = "agent",
    [CONFIG_WITNESS] = "witness",
    NULL,
};

static const char *const lease_lengths[] = {"125ms", "250ms", "500ms", "1s", "2s", "4s", NULL};
static const uint32_t lease_milliseconds[] = {125, 250, 500, 1000, 2000, 4000};

static const struct schema_field config_fields[] = {
    {.name = "node",
     .type = SCHEMA_TEXT,
     .format = &format_name,
     .offset = offsetof(struct written, node),
     .help = "name of this node; the host's name where nothing is said"},
    {.name = "interface",
     .type = SCHEMA_TEXT,
     .format = &interface_name,
     .offset = offsetof(struct written, interface),
     .help = "interface of the flock's network"},
    {.name = "listen",
     .type = SCHEMA_TEXT,
     .format = &gossip_address,
     .offset = offsetof(struct written, listen),
     .help = "address of gossip, UDP and TCP"},
    {.name = "advertise",
     .type = SCHEMA_TEXT,
     .format = &host_address,
     .offset = offsetof(struct written, advertise),
     .help = "address that peers are told, where it is another one"},
    {.name = "join",
     .type = SCHEMA_TEXTS,
     .high = CONFIG_JOIN_MAX,
     .format = &host_address,
     .offset = offsetof(struct written, join),
     .help = "addresses of peers to ask first"},
    {.name = "state_dir",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written, state_dir),
     .help = "what must survive a reboot"},
    {.name = "run_dir",
     .type = SCHEMA_TEXT,
     .format = &run_dir,
     .offset = offsetof(struct written, run_dir),
     .help = "sockets, and what may vanish with a reboot"},
    {.name = "role",
     .type = SCHEMA_CHOICE,
     .choices = roles,
     .offset = offsetof(struct written, role),
     .help = "agent, or witness: only votes"},
    {.name = "lease_min",
     .type = SCHEMA_CHOICE,
     .choices = lease_lengths,
     .offset = offsetof(struct written, lease_min),
     .normal = 1,
     .help = "shortest lease of an address: how fast it moves on a link that loses nothing"},
    {.name = "lease_max",
     .type = SCHEMA_CHOICE,
     .choices = lease_lengths,
     .offset = offsetof(struct written, lease_max),
     .normal = 5,
     .help = "longest lease of an address: for a link that loses much"},
    {.name = "promiscuous",
     .type = SCHEMA_CHOICE,
     .choices = promiscuous,
     .offset = offsetof(struct written, promiscuous),
     .help = "the interface's flag: auto, on, off"},
    {.name = "arp_settings",
     .type = SCHEMA_CHOICE,
     .choices = arp_settings,
     .offset = offsetof(struct written, arp_settings),
     .help = "arp_ignore and rp_filter: check, set"},
    {.name = "hooks",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written, hooks),
     .help = "folder of programs that run when an address has another holder"},
    {.name = "power_save",
     .type = SCHEMA_BOOLEAN,
     .offset = offsetof(struct written, power_save),
     .help = "leave the radio's power save on"},
    {.name = "web",
     .type = SCHEMA_OBJECT,
     .table = &web_table,
     .offset = offsetof(struct written, web),
     .help = "the status page"},
    {.name = "repository",
     .type = SCHEMA_OBJECT,
     .table = &repository_table,
     .offset = offsetof(struct written, repository),
     .help = "where the desired state is pushed to"},
    {.name = "workload_path",
     .type = SCHEMA_TEXT,
     .format = &search_path,
     .offset = offsetof(struct written, workload_path),
     .help = "PATH of workloads"},
    {.name = "workload_user",
     .type = SCHEMA_TEXT,
     .format = &format_user,
     .offset = offsetof(struct written, workload_user),
     .help =
         "system user of workloads that name none; each has one of its own where nothing is said"},
    {.name = NULL},
};
static const struct schema_table config_table = {
    .size = sizeof(struct written),
    .fields = config_fields,
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
    c->lease_min_ms = lease_milliseconds[w->lease_min];
    c->lease_max_ms = lease_milliseconds[w->lease_max];
    c->power_save = w->power_save;
    c->promiscuous = w->promiscuous;
    c->arp_settings = w->arp_settings;
    c->hooks = or_default(w->hooks, "/etc/covey/hooks.d");
    c->workload_path =
        or_default(w->workload_path, "/usr/lib/covey/workloads:/usr/local/bin:/usr/bin:/bin");
    c->workload_user = w->workload_user;
    fill_web(c, w->web);
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
                          lease_lengths[written.lease_max], lease_lengths[written.lease_min]);
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
