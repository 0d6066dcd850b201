/* How a process of a workload is kept, from what is written to desired_workload; and what the texts
 * look like that say so. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"
#include "agent/desired/formats.h"

#define OOM_SCORE_MAX 1000

/* ---- formats ---- */

/* By number: linux/capability.h. */
static const char *const capabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

bool format_read_capability(const char *text, unsigned *number)
{
    if (strncmp(text, "CAP_", 4) == 0)
        text += 4;
    for (unsigned i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++) {
        if (strcmp(text, capabilities[i]) == 0) {
            *number = i;
            return true;
        }
    }
    return false;
}

static bool is_capability(const char *text)
{
    unsigned number;

    return format_read_capability(text, &number);
}

bool format_read_signal(const char *text, int32_t *number)
{
    static const struct {
        const char *name;
        int32_t number;
    } signals[] = {
        {"TERM", SIGTERM}, {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"HUP", SIGHUP},
        {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"KILL", SIGKILL}, {"WINCH", SIGWINCH},
    };

    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        if (strcmp(text, signals[i].name) == 0) {
            *number = signals[i].number;
            return true;
        }
    }
    return false;
}

static bool is_signal(const char *text)
{
    int32_t number;

    return format_read_signal(text, &number);
}

bool format_read_oom_score(const char *text, int32_t *score)
{
    size_t sign = *text == '-' ? 1 : 0;
    size_t digits = strspn(text + sign, "0123456789");
    long value;

    if (digits < 1 || digits > 4 || text[sign + digits] != '\0')
        return false;
    value = strtol(text, NULL, 10);
    if (value < -OOM_SCORE_MAX || value > OOM_SCORE_MAX)
        return false;
    *score = (int32_t)value;
    return true;
}

static bool is_oom_score(const char *text)
{
    int32_t score;

    return format_read_oom_score(text, &score);
}

/* A path below /usr/share/zoneinfo, and none that leaves it. */
static bool is_time_zone(const char *text)
{
    size_t len = strlen(text);

    return len >= 1 && len <= 64 && strstr(text, "..") == NULL && text[0] != '/' &&
           text[0] != '.' &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/.") ==
               len;
}

const struct schema_format format_capability = {
    .expected = "a capability of Linux, such as NET_BIND_SERVICE",
    .pattern = "^(CAP_)?[A-Z_]{3,20}$",
    .check = is_capability,
};
const struct schema_format format_signal = {
    .expected = "SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH or SIGKILL",
    .pattern = "^(SIG)?(TERM|INT|QUIT|HUP|USR1|USR2|KILL|WINCH)$",
    .check = is_signal,
};
const struct schema_format format_oom_score = {
    .expected = "a whole number from -1000 to 1000",
    .pattern = "^-?[0-9]{1,4}$",
    .check = is_oom_score,
};
const struct schema_format format_time_zone = {
    .expected = "a time zone's name, such as Europe/Berlin",
    .pattern = "^[A-Za-z0-9_+-][A-Za-z0-9_+/.-]{0,63}$",
    .check = is_time_zone,
};

/* ---- reading ---- */

static void read_security(const struct kind_security *written, struct desired_security *security)
{
    const char *const *names = NULL;

    if (written == NULL)
        return;
    security->writable_root = !written->read_only_root;
    security->shared_tmp = !written->private_tmp;
    security->may_escalate = written->may_escalate;
    security->unfiltered = written->seccomp != NULL && written->seccomp->type == 1;
    security->writable_paths = written->writable_paths;
    if (written->capabilities != NULL)
        names = written->capabilities->add;
    for (; names != NULL && *names != NULL; names++) {
        unsigned number;
        if (format_read_capability(*names, &number))
            security->capabilities |= UINT64_C(1) << number;
    }
}

static struct desired_hook read_hook(const struct kind_hook *written)
{
    if (written == NULL)
        return (struct desired_hook){0};
    return (struct desired_hook){written->exec->command, written->timeout_s};
}

void workload_read_process(const struct kind_workload *spec, struct desired_workload *workload)
{
    const struct kind_limits *limits = spec->resources != NULL ? spec->resources->limits : NULL;
    const struct kind_requests *requests =
        spec->resources != NULL ? spec->resources->requests : NULL;

    if (requests != NULL && requests->memory != NULL)
        format_read_memory(requests->memory, &workload->memory_request);
    if (requests != NULL && requests->cpu != NULL)
        format_read_cpu(requests->cpu, &workload->cpu_request_milli);
    workload->pids_limit = DESIRED_PIDS_NORMAL;
    if (limits != NULL) {
        if (limits->memory != NULL)
            format_read_memory(limits->memory, &workload->memory_limit);
        if (limits->cpu != NULL)
            format_read_cpu(limits->cpu, &workload->cpu_limit_milli);
        workload->pids_limit = limits->pids;
        workload->open_files_limit = limits->open_files;
    }
    if (spec->oom_score != NULL)
        format_read_oom_score(spec->oom_score, &workload->oom_score_adjust);
    if (spec->stop_signal != NULL)
        format_read_signal(spec->stop_signal, &workload->stop_signal);
    read_security(spec->security, &workload->security);
    if (spec->lifecycle != NULL) {
        workload->pre_start = read_hook(spec->lifecycle->pre_start);
        workload->post_stop = read_hook(spec->lifecycle->post_stop);
    }
    if (spec->logs != NULL) {
        if (spec->logs->max_size != NULL)
            format_read_memory(spec->logs->max_size, &workload->log_bytes);
        workload->log_age_s = spec->logs->max_age_s;
    }
    workload->max_unavailable = 1;
    if (spec->strategy != NULL) {
        workload->max_unavailable = spec->strategy->max_unavailable;
        workload->hand_over = spec->strategy->hand_over;
    }
}
