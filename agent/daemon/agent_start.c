/* From a configuration to a running agent. */
#include <errno.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/agent.h"
#include "agent/daemon/agent_upgrade.h"
#include "agent/io/os_clock.h"
#include "agent/io/os_fence.h"
#include "agent/io/os_netlink.h"
#include "agent/io/os_notify.h"
#include "agent/io/os_sysctl.h"
#include "agent/io/os_wifi.h"

#define SLOW_MS 5000  /* the interface's address, the radio's power save, a failed sync */
#define GROUP "covey" /* may use the control socket */

/* ---- folders and programs ---- */

static int make_folder(const char *path, unsigned mode, struct err *err)
{
    char part[4096];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return err_set(err, ERR_LIMIT, "the path %.100s… is too long", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return err_errno(err, ERR_IO, errno, "make the folder %s", part);
        *slash = '/';
    }
    if (mkdir(part, mode) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, errno, "make the folder %s", part);
    return ERR_NONE;
}

/* A program of ours: beside agentd, else where the package puts it. */
static void find_program(const char *name, const char *installed, char path[4096])
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    snprintf(path, 4096, "%s", installed);
    if (n <= 0)
        return;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (slash == NULL || (size_t)(slash - self) + strlen(name) + 2 > sizeof self)
        return;
    snprintf(slash + 1, sizeof self - (size_t)(slash + 1 - self), "%s", name);
    if (access(self, X_OK) == 0)
        memcpy(path, self, sizeof self);
}

/* ---- this node's address ---- */

/* The address that peers are told: configured, listened on, or the interface's own. */
static void find_address(const struct config *config, struct addr *address)
{
    static const struct addr any4 = {.family = 4};
    struct addr listen = config->listen;
    struct os_netlink *netlink;
    struct os_address list[64];
    struct os_link link;
    size_t count = 0;

    memset(address, 0, sizeof *address);
    if (config->advertise.family != 0) {
        *address = config->advertise;
        return;
    }
    listen.port = 0;
    if (listen.family != 0 && !addr_equal(&listen, &any4)) {
        *address = config->listen;
        return;
    }
    if (os_netlink_open(&netlink, NULL) != ERR_NONE)
        return;
    if (os_link_get(netlink, config->interface, &link, NULL) == ERR_NONE)
        (void)os_address_list(netlink, link.index, list, 64, &count, NULL);
    for (size_t i = 0; i < count; i++)
        if (!list[i].ours && list[i].prefix < 32) {
            *address = list[i].ip;
            address->port = config->listen.port;
            break;
        }
    os_netlink_close(netlink);
}

static void check_address(struct agent *agent)
{
    struct node_event event = {.type = NODE_ADDRESS};
    char text[ADDR_TEXT];

    find_address(agent->config, &event.address);
    if (event.address.family == 0 || addr_equal(&event.address, &agent->address))
        return;
    agent->address = event.address;
    if (agent->instances != NULL)
        uv_instances_address(agent->instances, &event.address);
    addr_format(&event.address, text);
    agent_report(agent, EFFECT_INFO, "node", "this node's address is %s now", text);
    agent_feed(agent, &event);
}

/* A sleeping radio answers late and misses frames; drivers switch it on again by themselves. */
static void power_save_off(struct agent *agent)
{
    unsigned int index = if_nametoindex(agent->config->interface);
    bool on = false;

    if (index == 0 || os_wifi_power_save_get(index, &on, NULL) != ERR_NONE || !on)
        return;
    if (os_wifi_power_save_set(index, false, NULL) != ERR_NONE || agent->power_save_told)
        return;
    agent->power_save_told = true; /* once: some drivers switch it on again and again */
    agent_report(agent, EFFECT_INFO, "node", "the power save of %s is switched off",
                 agent->config->interface);
}

/* With two interfaces in one network, only the right one shall answer for an address, and answers
 * may leave by the other one. The kernel takes the greater of what the interface and "all" say. */
static void set_arp(struct agent *agent)
{
    static const struct {
        const char *name;
        int bad, good;
    } settings[] = {{"arp_ignore", 0, 1}, {"rp_filter", 1, 2}};
    const char *interface = agent->config->interface;

    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        int all = 0;
        int own = 0;
        if (os_sysctl_get("all", settings[i].name, &all, NULL) != ERR_NONE ||
            os_sysctl_get(interface, settings[i].name, &own, NULL) != ERR_NONE ||
            (all > own ? all : own) != settings[i].bad)
            continue;
        if (os_sysctl_set(interface, settings[i].name, settings[i].good, NULL) == ERR_NONE)
            agent_report(agent, EFFECT_INFO, "node", "net.ipv4.conf.%s.%s is set to %d", interface,
                         settings[i].name, settings[i].good);
    }
}

static void on_slow(uv_timer_t *timer)
{
    struct agent *agent = timer->data;

    check_address(agent);
    if (agent->config->arp_settings == CONFIG_ARP_SET)
        set_arp(agent);
    if (!agent->config->power_save)
        power_save_off(agent);
    /* A commit that could not be stored (a full disk) is tried again. */
    if (agent->node != NULL && agent->sync_failed && uv_sync_idle(agent->sync)) {
        agent->sync_failed = false;
        uv_sync_branch(agent->sync);
    }
    os_notify("WATCHDOG=1");
}

/* ---- the control socket and the page ---- */

static int open_control(struct agent *agent, struct err *err)
{
    struct uv_http_config config = {
        .unix_socket = true, .handle = agent_api_control, .context = agent};
    char path[4096];
    const struct group *group = getgrnam(GROUP);
    int rc;

    snprintf(path, sizeof path, "%s/agent.sock", agent->config->run_dir);
    rc = os_unix_listen(path, 0660, &config.fd, err);
    if (rc != ERR_NONE)
        return rc;
    /* Without the group only root may ask; nothing is lost. */
    if (group != NULL && geteuid() == 0 && chown(path, (uid_t)-1, group->gr_gid) != 0)
        agent_report(agent, EFFECT_WARNING, "node", "the group " GROUP " cannot use %s: %s", path,
                     strerror(errno));
    return uv_http_create(agent->loop, &config, &agent->control, err);
}

static int open_page(struct agent *agent, struct err *err)
{
    struct uv_http_config config = {
        .fd = agent->fd_page, .handle = agent_api_page, .context = agent};
    int rc = ERR_NONE;

    config.hosts = agent->config->web.hosts;
    if (config.fd < 0 && !agent->config->web.enabled)
        return ERR_NONE;
    if (config.fd < 0)
        rc = os_tcp_listen(&agent->config->web.listen, &config.fd, err);
    return rc == ERR_NONE ? uv_http_create(agent->loop, &config, &agent->page, err) : rc;
}

/* ---- the start ---- */

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    agent_stop(handle->data, 0);
}

static void open_handles(struct agent *agent)
{
    static const int numbers[2] = {SIGTERM, SIGINT};

    uv_timer_init(agent->loop, &agent->slow);
    agent_room_begin(agent);
    uv_timer_init(agent->loop, &agent->poll);
    agent->poll.data = agent;
    uv_timer_init(agent->loop, &agent->batch_timer);
    uv_timer_init(agent->loop, &agent->changed_timer);
    uv_timer_init(agent->loop, &agent->leave_timer);
    agent->slow.data = agent->batch_timer.data = agent;
    agent->changed_timer.data = agent->leave_timer.data = agent;
    uv_timer_init(agent->loop, &agent->upgrade.timer);
    agent->upgrade.timer.data = agent;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(agent->loop, &agent->signals[i]);
        agent->signals[i].data = agent;
        uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
    }
    uv_timer_start(&agent->slow, on_slow, SLOW_MS, SLOW_MS);
    if (agent->config->repository.remote_count > 0)
        agent_poll_begin(agent);
}

static int open_keys(struct agent *agent, struct err *err)
{
    char id[NODE_ID_TEXT];
    int rc = keys_start(err);

    if (rc == ERR_NONE)
        rc = keystore_open(agent->config->state_dir, &agent->keys, err);
    if (rc == ERR_NONE)
        rc = keystore_identity(agent->keys, &agent->identity, &agent->new_identity, err);
    if (rc == ERR_NONE && agent->new_identity) {
        node_id_format(agent->identity.id, id);
        agent_report(agent, EFFECT_INFO, "node", "made an identity for this node: %s", id);
    }
    return rc;
}

static int find_name(struct agent *agent, struct err *err)
{
    char host[256] = "";

    if (agent->config->node != NULL) {
        snprintf(agent->name, sizeof agent->name, "%s", agent->config->node);
        return ERR_NONE;
    }
    if (gethostname(host, sizeof host - 1) != 0)
        return err_errno(err, ERR_IO, errno, "find the host's name");
    host[strcspn(host, ".")] = '\0';
    if (!name_valid(host))
        return err_set(err, ERR_INVALID,
                       "the host's name \"%.64s\" is no name for a node (a-z, 0-9 and \"-\"). Add "
                       "node: NAME to the configuration",
                       host);
    snprintf(agent->name, sizeof agent->name, "%.63s", host);
    return ERR_NONE;
}

/* Found out at the start and not only at the first address that is to be set. */
static int check_interface(const struct agent *agent, struct err *err)
{
    const char *wanted = agent->config->interface;
    struct if_nameindex *list;
    char names[256] = "";
    size_t used = 0;

    if (if_nametoindex(wanted) != 0)
        return ERR_NONE;
    list = if_nameindex();
    for (size_t i = 0; list != NULL && list[i].if_index != 0; i++)
        if (used + strlen(list[i].if_name) + 2 < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, " %s", list[i].if_name);
    if (list != NULL)
        if_freenameindex(list);
    return err_set(err, ERR_NOTFOUND,
                   "interface: this machine has no network interface %s; expected one of:%s",
                   wanted, names);
}

/* The rules of an earlier life are set anew, beside all the rest that a start has to do. */
static void begin_fence(struct agent *agent)
{
    char path[4096];

    if (snprintf(path, sizeof path, "%s/leases", agent->config->run_dir) < (int)sizeof path &&
        access(path, F_OK) == 0)
        agent->fence = os_fence_begin(agent->config->interface);
}

/* In this order, because each needs what stands before it. */
static int open_all(struct agent *agent, struct err *err)
{
    int rc = find_name(agent, err);

    if (rc == ERR_NONE)
        rc = check_interface(agent, err);
    if (rc == ERR_NONE)
        rc = make_folder(agent->config->state_dir, 0711, err);
    if (rc == ERR_NONE)
        rc = make_folder(agent->config->run_dir, 0755, err);
    if (rc == ERR_NONE)
        begin_fence(agent);
    find_program("agentctl", "/usr/bin/agentctl", agent->agentctl);
    find_program("agent-shim", "/usr/libexec/covey/agent-shim", agent->shim);
    find_program("agent-seccomp", "/usr/libexec/covey/agent-seccomp", agent->seccomp);
    find_address(agent->config, &agent->address);
    if (rc == ERR_NONE)
        rc = open_keys(agent, err);
    if (rc == ERR_NONE)
        rc = agent_open_store(agent, err);
    if (rc == ERR_NONE)
        rc = agent_open_kept(agent, err);
    if (rc == ERR_NONE)
        rc = worker_create(agent->loop, NULL, &agent->git, err);
    if (rc == ERR_NONE)
        rc = agent_open_repository(agent, err);
    if (rc == ERR_NONE)
        rc = agent_hooks_open(agent, err);
    if (rc == ERR_NONE)
        rc = agent_open_sync(agent, err);
    if (rc == ERR_NONE)
        rc = agent_net_open(agent, err);
    if (rc == ERR_NONE)
        rc = open_control(agent, err);
    if (rc == ERR_NONE)
        rc = open_page(agent, err);
    if (rc == ERR_NONE && !agent->config->power_save)
        power_save_off(agent);
    if (rc == ERR_NONE && agent->config->arp_settings == CONFIG_ARP_SET)
        set_arp(agent);
    if (rc != ERR_NONE)
        return rc;
    if (keystore_load_cluster_key(agent->keys, agent->cluster_key, err) == ERR_NOTFOUND) {
        agent_report(agent, EFFECT_INFO, "node",
                     "this node is in no flock yet: agentctl init founds one, agentctl join TOKEN "
                     "joins one");
        agent_join_configured(agent);
        return ERR_NONE;
    }
    rc = agent_enter(agent, err);
    if (rc != ERR_DENIED || !agent->revoked)
        return rc;
    agent_report(agent, EFFECT_ERROR, "node", "%s", err->text); /* it can still be asked why */
    return ERR_NONE;
}

int agent_run(struct config *config, const char *path, char **argv, const struct os_trial *trial)
{
    struct agent *agent = calloc(1, sizeof *agent);
    struct err err = {0};
    int status;

    if (agent == NULL) {
        fprintf(stderr, "agentd: %s\n", err_text(ERR_NOMEM));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    agent->loop = uv_default_loop();
    agent->config = config;
    snprintf(agent->config_path, sizeof agent->config_path, "%s", path);
    agent->upgrade.argv = argv;
    agent->upgrade.trial = *trial;
    agent->udp = -1;
    agent->fd_page = os_notify_listen_fd();
    open_handles(agent);
    if (open_all(agent, &err) != ERR_NONE) {
        fprintf(stderr, "agentd: %s\n", err.text);
        agent->exit_status = 1;
        agent_close(agent); /* what was opened so far */
    } else {
        os_notify("READY=1");
        fprintf(stderr, "agentd %s runs as %s\n", COVEY_VERSION, agent->name);
        agent_upgrade_begun(agent);
    }
    uv_run(agent->loop, UV_RUN_DEFAULT);
    status = agent->exit_status;
    agent_free(agent);
    return status;
}
