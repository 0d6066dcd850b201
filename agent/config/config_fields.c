/* Names, types, ranges and defaults of all that agent.yaml may say. */
#include <net/if.h>
#include <string.h>

#include "agent/config/config_written.h"
#include "agent/desired/formats.h"

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
    {.name = "ca_file",
     .type = SCHEMA_TEXT,
     .format = &format_absolute_path,
     .offset = offsetof(struct written_remote, ca_file),
     .help = "certificates that vouch for an https remote; the system's where nothing is said"},
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

static const struct schema_field logs_fields[] = {
    {.name = "max_total",
     .type = SCHEMA_TEXT,
     .format = &format_memory,
     .offset = offsetof(struct written_logs, max_total),
     .help = "bytes of all workloads' logs together, such as 512Mi: the oldest files go first"},
    {.name = "keep_days",
     .type = SCHEMA_INTEGER,
     .low = 1,
     .high = 3650,
     .normal = CONFIG_LOGS_DAYS,
     .offset = offsetof(struct written_logs, keep_days),
     .help = "how long logs of an instance that is gone are kept"},
    {.name = NULL},
};
static const struct schema_table logs_table = {
    .size = sizeof(struct written_logs),
    .fields = logs_fields,
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

const char *const config_lease_lengths[] = {"125ms", "250ms", "500ms", "1s", "2s", "4s", NULL};
const uint32_t config_lease_milliseconds[] = {125, 250, 500, 1000, 2000, 4000};

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
     .choices = config_lease_lengths,
     .offset = offsetof(struct written, lease_min),
     .normal = 1,
     .help = "shortest lease of an address: how fast it moves on a link that loses nothing"},
    {.name = "lease_max",
     .type = SCHEMA_CHOICE,
     .choices = config_lease_lengths,
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
    {.name = "logs",
     .type = SCHEMA_OBJECT,
     .table = &logs_table,
     .offset = offsetof(struct written, logs),
     .help = "how much of workloads' logs is kept"},
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
const struct schema_table config_table = {
    .size = sizeof(struct written),
    .fields = config_fields,
};
