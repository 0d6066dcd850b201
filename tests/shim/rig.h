/* A folder of its own with real shims in it, and waiting with a bound for what they do. */
#ifndef COVEY_TESTS_SHIM_RIG_H
#define COVEY_TESTS_SHIM_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/io/os_shim.h"

#define RIG_WAIT_MS 60000 /* more than any event takes on a slow machine */

struct rig {
    char base[64];
    char run_dir[96];
    char log_dir[96];
    char fifo_path[96];
    int fifo; /* workloads write lines into it to say how far they are */
    struct os_shims where;
};

/* cmocka's setup and teardown: *state is the struct rig. The teardown ends every shim that lives
 * and fails if a process is left. */
int rig_setup(void **state);
int rig_teardown(void **state);

/* The specification of /bin/sh -c @script, with FIFO in its environment. */
struct shim_spec rig_shell(struct rig *rig, const char *instance, const char *script);

/* Starts and waits until it runs. */
struct os_shim *rig_start(struct rig *rig, const struct shim_spec *spec,
                          struct shim_record *record);

/* Waits for the next event of @type; others before it are skipped, save ends. */
void rig_wait(struct os_shim *shim, enum os_shim_event_type type, struct shim_record *record);

/* A line that a workload wrote into the fifo. */
void rig_line(struct rig *rig, char *line, size_t size);
pid_t rig_pid(struct rig *rig); /* the same, as a number */

/* Waits until the process, which may be nobody's child, is gone. */
void rig_wait_gone(pid_t pid);

/* Whether run_dir/shim/@name exists. */
bool rig_exists(const struct rig *rig, const char *name);

/* The only instance that a scan finds. */
enum os_shim_found rig_scan(struct rig *rig, struct shim_record *record);

int64_t rig_now_ms(void); /* CLOCK_BOOTTIME */

#endif
