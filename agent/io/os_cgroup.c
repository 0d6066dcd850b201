#include "agent/io/os_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 512
#define CPU_PERIOD_US 100000
#define CPUACCT OS_CGROUP_CONTROLLERS /* v1 counts with another controller than it limits */
#define HIERARCHIES (OS_CGROUP_CONTROLLERS + 1)

struct os_cgroup {
    int version;
    char folder[HIERARCHIES][PATH_BYTES]; /* the agent's, by controller; "": it is missing */
};

static const char *const controllers[HIERARCHIES] = {
    [OS_CGROUP_MEMORY] = "memory",
    [OS_CGROUP_CPU] = "cpu",
    [OS_CGROUP_PIDS] = "pids",
    [CPUACCT] = "cpuacct",
};

/* ---- files ---- */

static int write_file(const char *folder, const char *name, const char *text)
{
    char path[PATH_BYTES + 64];
    size_t len = strlen(text);
    int rc = 0;
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (write(fd, text, len) != (ssize_t)len)
        rc = errno;
    close(fd);
    return rc;
}

static bool read_file(const char *folder, const char *name, char *text, size_t size)
{
    char path[PATH_BYTES + 64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, text, size - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The number behind @key in lines of "key number"; @key NULL: the file is the number. */
static bool read_count(const char *folder, const char *name, const char *key, uint64_t *count)
{
    char text[1024];
    size_t len = key != NULL ? strlen(key) : 0;
    const char *at = text;

    if (!read_file(folder, name, text, sizeof text))
        return false;
    while (at != NULL && key != NULL && !(strncmp(at, key, len) == 0 && at[len] == ' ')) {
        at = strchr(at, '\n');
        at += at != NULL;
    }
    if (at == NULL)
        return false;
    *count = strtoull(at + len, NULL, 10);
    return true;
}

/* Whether @word stands in @text, between blanks or commas. */
static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = text; (at = strstr(at, word)) != NULL; at += len) {
        bool begins = at == text || strchr(" ,\n", at[-1]) != NULL;
        if (begins && (at[len] == '\0' || strchr(" ,\n", at[len]) != NULL))
            return true;
    }
    return false;
}

/* ---- what there is ---- */

/* One mount of @type ("cgroup2", "cgroup") that has @option; its path, or false. */
static bool find_mount(const char *type, const char *option, char path[PATH_BYTES])
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[4096];
    bool found = false;

    while (mounts != NULL && !found && fgets(line, sizeof line, mounts) != NULL) {
        char where[PATH_BYTES];
        char kind[64];
        char options[2048];
        found = sscanf(line, "%*s %511s %63s %2047s", where, kind, options) == 3 &&
                strcmp(kind, type) == 0 && (option == NULL || has_word(options, option));
        if (found)
            memcpy(path, where, sizeof where);
    }
    if (mounts != NULL)
        fclose(mounts);
    return found;
}

static bool make_base(const char *mount, const char *base, char folder[PATH_BYTES])
{
    int n = snprintf(folder, PATH_BYTES, "%s/%s", mount, base);

    if (n > 0 && n < PATH_BYTES - INSTANCE_MAX - 1 && (mkdir(folder, 0755) == 0 || errno == EEXIST))
        return true;
    folder[0] = '\0';
    return false;
}

/* All controllers in one hierarchy. False: it has none of them for us. */
static bool open_v2(struct os_cgroup *c, const char *base)
{
    char mount[PATH_BYTES];
    char folder[PATH_BYTES];
    char text[256];
    bool any = false;

    if (!find_mount("cgroup2", NULL, mount) || !make_base(mount, base, folder))
        return false;
    for (int i = 0; i < OS_CGROUP_CONTROLLERS; i++) {
        char enable[16];
        snprintf(enable, sizeof enable, "+%s", controllers[i]);
        (void)write_file(mount, "cgroup.subtree_control", enable); /* it may be on already */
        (void)write_file(folder, "cgroup.subtree_control", enable);
        if (read_file(folder, "cgroup.subtree_control", text, sizeof text) &&
            has_word(text, controllers[i])) {
            memcpy(c->folder[i], folder, sizeof folder);
            any = true;
        }
    }
    if (!any)
        rmdir(folder);
    return any;
}

static bool open_v1(struct os_cgroup *c, const char *base)
{
    char mount[PATH_BYTES];
    bool any = false;

    for (int i = 0; i < HIERARCHIES; i++)
        if (find_mount("cgroup", controllers[i], mount) && make_base(mount, base, c->folder[i]))
            any = true;
    return any;
}

static void describe_missing(const struct os_cgroup *c, char missing[ERR_TEXT_MAX])
{
    missing[0] = '\0';
    if (c->version == 0)
        snprintf(missing, ERR_TEXT_MAX,
                 "this machine lets agentd make no control groups: workloads run without limits of "
                 "memory, cpu and processes. Mount cgroup2 at /sys/fs/cgroup, writable for agentd");
    else if (c->folder[OS_CGROUP_MEMORY][0] == '\0')
        snprintf(
            missing, ERR_TEXT_MAX,
            "workloads run without limits of memory: the kernel's memory controller is off. On "
            "a Raspberry Pi add cgroup_enable=memory to the line in "
            "/boot/firmware/cmdline.txt and reboot");
    else if (c->folder[OS_CGROUP_CPU][0] == '\0' || c->folder[OS_CGROUP_PIDS][0] == '\0')
        snprintf(missing, ERR_TEXT_MAX,
                 "workloads run without limits of %s: the kernel lacks that controller, or whoever "
                 "made this machine does not let agentd have it",
                 c->folder[OS_CGROUP_CPU][0] == '\0' ? "cpu" : "processes");
}

int os_cgroup_open(const char *base, struct os_cgroup **result, char missing[ERR_TEXT_MAX],
                   struct err *err)
{
    struct os_cgroup *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_set(err, ERR_NOMEM, "look for control groups: %s", err_text(ERR_NOMEM));
    if (open_v2(c, base))
        c->version = 2;
    else if (open_v1(c, base))
        c->version = 1;
    describe_missing(c, missing);
    *result = c;
    return ERR_NONE;
}

void os_cgroup_close(struct os_cgroup *cgroup)
{
    for (int i = 0; cgroup != NULL && i < HIERARCHIES; i++)
        if (cgroup->folder[i][0] != '\0')
            rmdir(cgroup->folder[i]);
    free(cgroup);
}

int os_cgroup_version(const struct os_cgroup *cgroup)
{
    return cgroup->version;
}

bool os_cgroup_has(const struct os_cgroup *cgroup, enum os_cgroup_controller controller)
{
    return cgroup->folder[controller][0] != '\0';
}

/* ---- one instance ---- */

static void group_path(const struct os_cgroup *c, int hierarchy, const char *instance,
                       char path[PATH_BYTES])
{
    char name[INSTANCE_MAX];

    shim_instance_file(instance, name);
    snprintf(path, PATH_BYTES, "%.380s/%s", c->folder[hierarchy], name);
}

/* Sets one limit; @value 0 lifts it. */
static int set_limit(const char *folder, const char *name, const char *none, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, value);
    return write_file(folder, name, value != 0 ? text : none);
}

static int set_memory(const struct os_cgroup *c, const char *folder, uint64_t bytes)
{
    int rc;

    if (c->version == 1)
        return set_limit(folder, "memory.limit_in_bytes", "-1", bytes);
    rc = set_limit(folder, "memory.max", "max", bytes);
    /* A limit that swap would soften is none on a card that wears out; and half a workload is of no
     * use. Kernels without swap lack the file. */
    (void)write_file(folder, "memory.swap.max", bytes != 0 ? "0" : "max");
    (void)write_file(folder, "memory.oom.group", "1");
    return rc;
}

static int set_cpu(const struct os_cgroup *c, const char *folder, uint32_t milli)
{
    uint64_t quota = (uint64_t)milli * CPU_PERIOD_US / 1000;
    char text[48];
    int rc;

    if (c->version == 2) {
        snprintf(text, sizeof text, "%" PRIu64 " %d", quota, CPU_PERIOD_US);
        return write_file(folder, "cpu.max", milli != 0 ? text : "max");
    }
    if (quota != 0 && quota < 1000)
        quota = 1000; /* the kernel's least */
    rc = set_limit(folder, "cpu.cfs_quota_us", "-1", quota);
    return rc == ENOENT && milli == 0 ? 0 : rc; /* a kernel without CFS_BANDWIDTH */
}

static int set_limits(const struct os_cgroup *c, int hierarchy, const char *folder,
                      const struct os_cgroup_limits *limits)
{
    switch (hierarchy) {
    case OS_CGROUP_MEMORY:
        return set_memory(c, folder, limits->memory);
    case OS_CGROUP_CPU:
        return set_cpu(c, folder, limits->cpu_milli);
    case OS_CGROUP_PIDS:
        return set_limit(folder, "pids.max", "max", limits->pids);
    default:
        return 0;
    }
}

static void add_place(struct os_cgroup_place *place, const char path[PATH_BYTES])
{
    size_t n = 0;

    for (; place->cgroups[n] != NULL; n++)
        if (strcmp(place->cgroups[n], path) == 0)
            return; /* several controllers in one hierarchy */
    memcpy(place->path[n], path, PATH_BYTES);
    place->cgroups[n] = place->path[n];
}

/* With v1 each hierarchy that a process is moved into costs a grace period of the kernel's, up to
 * some milliseconds: those that would only count are left out. */
static bool is_entered(const struct os_cgroup *c, int hierarchy,
                       const struct os_cgroup_limits *limits)
{
    if (c->version == 2)
        return true;
    return hierarchy != CPUACCT && (hierarchy != OS_CGROUP_CPU || limits->cpu_milli != 0);
}

void os_cgroup_place(const struct os_cgroup *c, const char *instance,
                     const struct os_cgroup_limits *limits, struct os_cgroup_place *place)
{
    char path[PATH_BYTES];

    memset(place, 0, sizeof *place);
    for (int i = 0; i < HIERARCHIES; i++) {
        if (c->folder[i][0] == '\0' || !is_entered(c, i, limits))
            continue;
        group_path(c, i, instance, path);
        add_place(place, path);
    }
}

void os_cgroup_places(const struct os_cgroup *c, const char *instance,
                      struct os_cgroup_place *place)
{
    const struct os_cgroup_limits every = {.cpu_milli = 1};

    os_cgroup_place(c, instance, &every, place);
}

void os_cgroup_stop_forks(const struct os_cgroup *c, const char *instance)
{
    char path[PATH_BYTES];

    if (!os_cgroup_has(c, OS_CGROUP_PIDS))
        return;
    group_path(c, OS_CGROUP_PIDS, instance, path);
    (void)write_file(path, "pids.max", "0");
}

int os_cgroup_make(const struct os_cgroup *c, const char *instance,
                   const struct os_cgroup_limits *limits, struct err *err)
{
    char path[PATH_BYTES];
    int rc;

    for (int i = 0; i < HIERARCHIES; i++) {
        if (c->folder[i][0] == '\0')
            continue;
        group_path(c, i, instance, path);
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return err_errno(err, ERR_IO, errno, "make the control group %s", path);
        rc = set_limits(c, i, path, limits);
        if (rc != 0)
            return err_errno(err, ERR_IO, rc, "set the limit of %s in the control group %s",
                             controllers[i], path);
    }
    return ERR_NONE;
}

void os_cgroup_refused(const struct os_cgroup *c, const char *instance,
                       struct os_cgroup_usage *usage)
{
    const char *oom = c->version == 2 ? "memory.events" : "memory.oom_control";
    char path[PATH_BYTES];

    memset(usage, 0, sizeof *usage);
    if (os_cgroup_has(c, OS_CGROUP_MEMORY)) {
        group_path(c, OS_CGROUP_MEMORY, instance, path);
        (void)read_count(path, oom, "oom_kill", &usage->oom_kills);
    }
    if (os_cgroup_has(c, OS_CGROUP_PIDS)) {
        group_path(c, OS_CGROUP_PIDS, instance, path);
        (void)read_count(path, "pids.events", "max", &usage->pids_refused);
    }
}

void os_cgroup_usage(const struct os_cgroup *c, const char *instance, struct os_cgroup_usage *usage)
{
    char path[PATH_BYTES];
    bool v2 = c->version == 2;
    int cpu = v2 ? OS_CGROUP_CPU : CPUACCT;

    os_cgroup_refused(c, instance, usage);
    if (os_cgroup_has(c, OS_CGROUP_MEMORY)) {
        group_path(c, OS_CGROUP_MEMORY, instance, path);
        usage->known[OS_CGROUP_MEMORY] =
            read_count(path, v2 ? "memory.current" : "memory.usage_in_bytes", NULL, &usage->memory);
    }
    if (c->folder[cpu][0] != '\0') {
        group_path(c, cpu, instance, path);
        usage->known[OS_CGROUP_CPU] =
            v2 ? read_count(path, "cpu.stat", "usage_usec", &usage->cpu_us)
               : read_count(path, "cpuacct.usage", NULL, &usage->cpu_us) && usage->cpu_us > 0;
        if (!v2)
            usage->cpu_us /= 1000;
    }
    if (os_cgroup_has(c, OS_CGROUP_PIDS)) {
        group_path(c, OS_CGROUP_PIDS, instance, path);
        usage->known[OS_CGROUP_PIDS] = read_count(path, "pids.current", NULL, &usage->pids);
    }
}

bool os_cgroup_remove(const struct os_cgroup *c, const char *instance)
{
    char path[PATH_BYTES];
    bool gone = true;

    for (int i = 0; i < HIERARCHIES; i++) {
        if (c->folder[i][0] == '\0')
            continue;
        group_path(c, i, instance, path);
        gone = (rmdir(path) == 0 || errno != EBUSY) && gone;
    }
    return gone;
}
