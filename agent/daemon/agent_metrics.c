#include "agent/daemon/agent_metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/os_host.h"
#include "agent/web/exposition.h"

static void gauge(struct exposition *e, const char *name, const char *help, double value)
{
    if (isnan(value))
        return; /* this machine does not say */
    exposition_family(e, name, EXPOSITION_GAUGE, help);
    exposition_sample(e, value, NULL);
}

static void counter(struct exposition *e, const char *name, const char *help, double value)
{
    if (isnan(value))
        return;
    exposition_family(e, name, EXPOSITION_COUNTER, help);
    exposition_sample(e, value, NULL);
}

static void write_host(struct exposition *e, const struct os_host *h)
{
    counter(e, "process_cpu_seconds_total", "Processor time of agentd.", h->self_cpu_s);
    gauge(e, "process_resident_memory_bytes", "Resident memory of agentd.", h->self_resident);
    gauge(e, "process_open_fds", "Open descriptors of agentd.", h->self_files);
    gauge(e, "covey_node_temperature_celsius", "Temperature of the processor.", h->temperature_c);
    gauge(e, "covey_node_undervoltage", "1 while the Pi's supply is too weak.", h->undervoltage);
    gauge(e, "covey_node_throttled", "Bits of the firmware: vcgencmd get_throttled.", h->throttled);
    gauge(e, "covey_node_card_life_used_ratio", "Used part of the card's life, as it estimates.",
          h->card_life_used);
    counter(e, "covey_node_card_written_bytes_total", "Written to the device of / since boot.",
            h->card_written);
    gauge(e, "covey_node_load1", "Runnable processes, mean of a minute.", h->load1);
    gauge(e, "covey_node_memory_bytes", "Memory of the node.", h->memory_total);
    gauge(e, "covey_node_memory_available_bytes", "Memory that is left.", h->memory_available);
    gauge(e, "covey_node_disk_bytes", "Size of the state folder's file system.", h->disk_total);
    gauge(e, "covey_node_disk_free_bytes", "Room left in it.", h->disk_free);
    gauge(e, "covey_node_uptime_seconds", "Time since boot.", h->uptime_s);
}

static void write_agent(struct exposition *e, const struct agent *agent,
                        const struct status *status)
{
    const struct wire_counters *wire = channel_counters(agent->channel);
    size_t alive = 0;
    size_t held = 0;

    for (size_t i = 0; i < status->node_count; i++)
        alive += status->nodes[i].state == STATUS_ALIVE;
    for (size_t i = 0; i < status->vip_count; i++)
        held += status->vips[i].here;
    exposition_family(e, "covey_build_info", EXPOSITION_GAUGE, "Version of agentd.");
    exposition_sample(e, 1, "version", COVEY_VERSION, "node", agent->name, NULL);
    gauge(e, "covey_logs_bytes", "Logs of workloads on the disk, all together.",
          (double)agent->room.bytes);
    counter(e, "covey_logs_removed_bytes_total",
            "Logs that were removed for want of room, or as their instance is gone.",
            (double)agent->room.removed_bytes);
    gauge(e, "covey_members_alive", "Members that are alive, as this node sees them.",
          (double)alive);
    gauge(e, "covey_members", "Members that this node knows.", (double)status->node_count);
    gauge(e, "covey_vips_held", "Virtual addresses that this node answers for.", (double)held);
    gauge(e, "covey_agreed", "1 while every living agent applies the same commit.", status->agreed);
    counter(e, "covey_sent_bytes_total", "Datagrams sent, headers included.",
            (double)agent->sent_bytes);
    counter(e, "covey_sent_lease_bytes_total", "Lease messages among them.",
            (double)agent->sent_lease_bytes);
    exposition_family(e, "covey_datagrams_total", EXPOSITION_COUNTER,
                      "Datagrams received, by what became of them.");
    for (int reason = 0; reason < WIRE_REASONS; reason++)
        exposition_sample(e, (double)wire->count[reason], "result", wire_reason_name(reason), NULL);
}

/* ---- workloads ---- */

static bool is_here(const struct status *status, const struct status_instance *instance)
{
    return node_id_equal(instance->node, status->self);
}

static void write_states(struct exposition *e, const struct status *status)
{
    exposition_family(e, "covey_instance_state", EXPOSITION_GAUGE,
                      "1 for the state that the instance is in.");
    for (size_t i = 0; i < status->instance_count; i++)
        if (is_here(status, &status->instances[i]))
            exposition_sample(e, 1, "instance", status->instances[i].name, "state",
                              status_instance_state_name(status->instances[i].value.state), NULL);
    exposition_family(e, "covey_instance_restarts_total", EXPOSITION_COUNTER,
                      "Starts after the first.");
    for (size_t i = 0; i < status->instance_count; i++)
        if (is_here(status, &status->instances[i]))
            exposition_sample(e, status->instances[i].value.restarts, "instance",
                              status->instances[i].name, NULL);
    exposition_family(e, "covey_workload_replicas", EXPOSITION_GAUGE,
                      "Replicas that the desired state asks for.");
    for (size_t i = 0; i < status->app_count; i++)
        exposition_sample(e, status->apps[i].desired, "workload", status->apps[i].name, NULL);
    exposition_family(e, "covey_workload_replicas_ready", EXPOSITION_GAUGE,
                      "Replicas that are ready, in the whole flock.");
    for (size_t i = 0; i < status->app_count; i++)
        exposition_sample(e, status->apps[i].ready, "workload", status->apps[i].name, NULL);
}

static void write_drift(struct exposition *e, const struct status *status)
{
    exposition_family(e, "covey_drift", EXPOSITION_GAUGE,
                      "1 for what somebody changed on this node, and drift: warn leaves so.");
    for (size_t i = 0; i < status->drift_count; i++)
        if (strcmp(status->drifts[i].node_name, status->self_name) == 0)
            exposition_sample(e, 1, "subject", status->drifts[i].subject, "app",
                              status->drifts[i].value.app, NULL);
}

struct column { /* one number of each instance */
    const char *name;
    enum exposition_type type;
    const char *help;
    double (*read)(const struct instance_stats *stats);
};

static double read_memory(const struct instance_stats *s)
{
    return s->usage.known[OS_CGROUP_MEMORY] ? (double)s->usage.memory : NAN;
}

static double read_cpu(const struct instance_stats *s)
{
    return s->usage.known[OS_CGROUP_CPU] ? (double)s->usage.cpu_us / 1e6 : NAN;
}

static double read_pids(const struct instance_stats *s)
{
    return s->usage.known[OS_CGROUP_PIDS] ? (double)s->usage.pids : NAN;
}

static double read_limit(const struct instance_stats *s)
{
    return s->memory_limit != 0 ? (double)s->memory_limit : NAN;
}

static double read_oom(const struct instance_stats *s)
{
    return s->usage.known[OS_CGROUP_MEMORY] ? (double)s->usage.oom_kills : NAN;
}

static double read_refused(const struct instance_stats *s)
{
    return s->usage.known[OS_CGROUP_PIDS] ? (double)s->usage.pids_refused : NAN;
}

static double read_bytes(const struct instance_stats *s)
{
    return (double)s->log_bytes;
}

static double read_lines(const struct instance_stats *s)
{
    return (double)s->log_lines;
}

static double read_dropped(const struct instance_stats *s)
{
    return (double)s->log_dropped;
}

static const struct column columns[] = {
    {"covey_instance_memory_bytes", EXPOSITION_GAUGE, "Memory of its control group.", read_memory},
    {"covey_instance_memory_limit_bytes", EXPOSITION_GAUGE, "Its limit of memory.", read_limit},
    {"covey_instance_cpu_seconds_total", EXPOSITION_COUNTER, "Processor time it has used.",
     read_cpu},
    {"covey_instance_processes", EXPOSITION_GAUGE, "Processes and threads.", read_pids},
    {"covey_instance_oom_kills_total", EXPOSITION_COUNTER, "Processes killed for want of memory.",
     read_oom},
    {"covey_instance_forks_refused_total", EXPOSITION_COUNTER,
     "Forks refused at its limit of processes.", read_refused},
    {"covey_instance_log_bytes_total", EXPOSITION_COUNTER,
     "Bytes that this run has written to its output.", read_bytes},
    {"covey_instance_log_lines_total", EXPOSITION_COUNTER, "Lines of this run that are in its log.",
     read_lines},
    {"covey_instance_log_dropped_total", EXPOSITION_COUNTER, "Lines of this run that were lost.",
     read_dropped},
};

static void write_instances(struct exposition *e, const struct instance_stats *stats, size_t count)
{
    static const char *const probes[] = {[HEALTH_STARTUP] = "startup",
                                         [HEALTH_READINESS] = "readiness",
                                         [HEALTH_LIVENESS] = "liveness"};

    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++) {
        exposition_family(e, columns[c].name, columns[c].type, columns[c].help);
        for (size_t i = 0; i < count; i++) {
            double value = columns[c].read(&stats[i]);
            if (!isnan(value))
                exposition_sample(e, value, "instance", stats[i].name, NULL);
        }
    }
    exposition_family(e, "covey_instance_probe_seconds", EXPOSITION_GAUGE,
                      "Time that the newest answer to a probe took.");
    for (size_t i = 0; i < count; i++)
        for (int which = 0; which < HEALTH_PROBES; which++)
            if (stats[i].probe_ms[which] >= 0)
                exposition_sample(e, (double)stats[i].probe_ms[which] / 1000, "instance",
                                  stats[i].name, "probe", probes[which], NULL);
}

void agent_metrics(struct agent *agent, struct http_request *request)
{
    bool open_metrics = exposition_wants_open_metrics(http_header(request, "Accept"));
    struct exposition *e = exposition_create(open_metrics);
    struct instance_stats *stats = NULL;
    struct status *status = NULL;
    struct os_host host;
    size_t count = 0;
    char *text;
    size_t size;

    if (e == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    os_host_read("", agent->config->state_dir, &host);
    write_host(e, &host);
    if (agent->node != NULL &&
        node_status(agent->node, os_clock_now(), os_clock_wall_ms() / 1000, &status) == ERR_NONE) {
        write_agent(e, agent, status);
        write_states(e, status);
        write_drift(e, status);
        uv_instances_stats(agent->instances, &stats, &count);
        write_instances(e, stats, count);
    }
    free(stats);
    status_free(status);
    if (exposition_finish(e, &text, &size) != ERR_NONE)
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
    else
        uv_http_reply(request, 200, exposition_content_type(open_metrics), text, size, NULL);
}
