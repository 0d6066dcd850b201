#include "workloads/lib/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    CPU,
    RESIDENT,
    VIRTUAL,
    OPEN_FDS,
    START,
    SERIES,
};

struct process {
    struct metric *series[SERIES];
};

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* /proc/self/statm begins with the sizes of all and of the resident memory, in pages. */
static void read_memory(struct process *process)
{
    FILE *f = fopen("/proc/self/statm", "re");
    double page = (double)sysconf(_SC_PAGESIZE);
    char text[128];

    if (f == NULL)
        return;
    if (fgets(text, sizeof text, f) != NULL) {
        char *rest;
        metric_set(process->series[VIRTUAL], (double)strtoull(text, &rest, 10) * page);
        metric_set(process->series[RESIDENT], (double)strtoull(rest, NULL, 10) * page);
    }
    fclose(f);
}

static void read_descriptors(struct process *process)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory's own */

    if (dir == NULL)
        return;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    metric_set(process->series[OPEN_FDS], count);
}

static void collect(void *context)
{
    struct process *process = context;
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metric_set(process->series[CPU], seconds(usage.ru_utime) + seconds(usage.ru_stime));
    read_memory(process);
    read_descriptors(process);
}

int process_metrics(struct metrics *metrics, struct err *err)
{
    static const struct metric_spec specs[SERIES] = {
        [CPU] = {METRIC_COUNTER, "process_cpu_seconds_total", "CPU time used", NULL, NULL, 0},
        [RESIDENT] = {METRIC_GAUGE, "process_resident_memory_bytes", "Resident memory", NULL, NULL,
                      0},
        [VIRTUAL] = {METRIC_GAUGE, "process_virtual_memory_bytes", "Virtual memory", NULL, NULL, 0},
        [OPEN_FDS] = {METRIC_GAUGE, "process_open_fds", "Open file descriptors", NULL, NULL, 0},
        [START] = {METRIC_GAUGE, "process_start_time_seconds",
                   "When the process started, in seconds since 1970", NULL, NULL, 0},
    };
    struct process *process = calloc(1, sizeof *process);
    struct timespec now;

    if (process == NULL)
        return err_set(err, ERR_NOMEM, "declare the metrics of the process");
    metrics_on_render(metrics, collect, process);
    for (size_t i = 0; i < SERIES; i++) {
        struct metric_family *family;
        int rc = metrics_family(metrics, &specs[i], &family, err);
        if (rc != ERR_NONE)
            return rc;
        process->series[i] = metric_of(family);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    metric_set(process->series[START], (double)now.tv_sec + (double)now.tv_nsec / 1e9);
    return ERR_NONE;
}
