/* What instances use. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/uv_instances_inside.h"

/* Of the main process and what it has waited for, where no control group counts. */
static void count_process(pid_t pid, struct os_cgroup_usage *usage)
{
    unsigned long long ticks[4] = {0};
    char text[1024];
    char path[32];
    char *after;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    after = fgets(text, sizeof text, file) != NULL ? strrchr(text, ')') : NULL;
    fclose(file);
    if (after == NULL ||
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu",
               &ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 4)
        return;
    usage->known[OS_CGROUP_CPU] = true;
    usage->cpu_us = (ticks[0] + ticks[1] + ticks[2] + ticks[3]) * 1000000 /
                    (unsigned long long)sysconf(_SC_CLK_TCK);
}

static bool is_listed(const struct instance_stats *stats, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(stats[i].name, name) == 0)
            return true;
    return false;
}

void uv_instances_stats(struct uv_instances *instances, struct instance_stats **stats,
                        size_t *count)
{
    size_t room = 0;

    for (const struct run *run = instances->runs; run != NULL; run = run->next)
        room++;
    *count = 0;
    *stats = calloc(room + 1, sizeof **stats);
    if (*stats == NULL)
        return;
    for (struct run *run = instances->runs; run != NULL; run = run->next) {
        struct instance_stats *s = &(*stats)[*count];
        if (run->over || run->shim == NULL)
            continue;
        effect_base(run->name, s->name);
        if (is_listed(*stats, *count, s->name)) /* during a hand-over the newer one counts */
            continue;
        os_cgroup_usage(instances->keeper.cgroup, run->name, &s->usage);
        if (!s->usage.known[OS_CGROUP_CPU] && run->pid > 0)
            count_process(run->pid, &s->usage);
        if (run->counts.standby != 0 && s->usage.pids > 0)
            s->usage.pids--; /* the one that is kept ready */
        s->memory_limit = run->memory_limit;
        s->log_lines = run->counts.log_lines;
        s->log_bytes = run->counts.log_bytes;
        s->log_dropped = run->counts.log_dropped;
        memcpy(s->probe_ms, run->probe_ms, sizeof s->probe_ms);
        ++*count;
        (void)os_shim_ask(run->shim, NULL); /* its counts, for the next time */
    }
}
