/* The inside of struct uv_instances, shared by uv_instances*.c alone. */
#ifndef COVEY_IO_UV_INSTANCES_INSIDE_H
#define COVEY_IO_UV_INSTANCES_INSIDE_H

#include <sys/types.h>
#include <uv.h>

#include "agent/io/instance_spec.h"
#include "agent/io/os_shim.h"
#include "agent/io/uv_instances.h"

#define PATH_SIZE 4096

struct run { /* one instance with a shim, or with what a killed shim left */
    struct uv_instances *owner;
    char name[INSTANCE_MAX];
    struct os_shim *shim;
    uv_poll_t poll;
    uv_timer_t sweep;
    int handles;
    bool started;        /* NODE_STARTED or NODE_FOUND was posted */
    bool over;           /* NODE_EXITED was posted */
    bool starved;        /* the kernel ended some of it for want of memory */
    pid_t pid, shim_pid; /* 0: not known */
    struct value_port ports[VALUE_PORTS_MAX];
    uint8_t port_count;
    uint16_t probe_port;           /* where it alone listens; 0: its sockets are its own */
    bool found;                    /* by a scan, while it had no main process yet */
    bool wanted;                   /* found so, and its start was asked for since */
    bool waiting;                  /* over, and its shim would go on with the next run */
    bool leaving;                  /* over, and its shim was told to end */
    bool forgotten;                /* its control groups are to be removed then */
    struct os_cgroup_usage before; /* at its start */
    uint64_t memory_limit;         /* as it was started with; 0: none, or not known */
    uint64_t open_files;           /* likewise */
    struct shim_record counts;     /* as the shim said last */
    bool seen;                     /* seen_…: at the last look */
    uint64_t seen_lines;
    uint64_t seen_bytes;
    char note[VALUE_REASON_MAX];     /* that the node was told last */
    int64_t probe_ms[HEALTH_PROBES]; /* −1: none answered yet */
    struct run *next;
};

struct uv_instances {
    uv_loop_t *loop;
    struct uv_instances_config config;
    struct instance_keeper keeper;
    struct os_shims where;
    char log_dir[PATH_SIZE];
    struct post post;
    struct run *runs;
    struct socket_set *sockets;
    struct group_left *groups_left;
    uv_timer_t look;
    uv_fs_event_t folder; /* of the shims: somebody may start one */
    uv_timer_t extra;
    unsigned handles;            /* of these three, not closed yet */
    struct probe_ticket *probes; /* under way */
    void (*closed)(void *context);
    void *closed_context;
};

struct probe_ticket {
    struct uv_instances *instances;
    struct uv_probe *probe;
    char name[INSTANCE_MAX];
    enum health_probe which;
    uint32_t ticket;
    uint64_t began_ms; /* of the loop's clock */
    struct probe_ticket *next;
};

/* uv_instances_notes.c: why @run ended, where more is known than its exit status; NULL: nothing.
 * *starved: the kernel has killed some of it for want of memory. */
const char *instance_explain_end(const struct run *run, const struct shim_record *record,
                                 char *text, size_t size, bool *starved);
/* Looks at those that run from now on, and tells the node what is wrong with them. */
void instance_notes_begin(struct uv_instances *instances);

/* uv_instances_notes.c: removes the control groups of @name, of which nothing runs any more; those
 * in which somebody is still dying, later. */
void instance_groups_remove(struct uv_instances *instances, const char *name);
void instance_groups_close(struct uv_instances *instances);

/* uv_instances_extra.c: from now on finds shims that somebody else starts: at once if that makes
 * their folder, else when it is asked to look. Best effort. */
void instance_extras_begin(struct uv_instances *instances);
void instance_extras_look(struct uv_instances *instances);
/* A shim that this agent has not started, or not in this life. */
void uv_instances_found(struct uv_instances *instances, enum os_shim_found kind,
                        const struct shim_record *record);

/* The run of instance @name that is not over; NULL: there is none. */
struct run *uv_instances_run(struct uv_instances *instances, const char *name);

/* The one that is over and waiting. */
struct run *uv_instances_waiting(struct uv_instances *instances, const char *name);

/* NULL: no memory. */
struct run *uv_instances_add(struct uv_instances *instances, const char *name);
int uv_instances_watch(struct run *run, struct err *err); /* its shim */
/* Its shim, which is waiting, goes on with the next run of it, or shall end. */
void uv_instances_revive(struct run *run);
void uv_instances_dismiss(struct run *run);
/* It could not be started: posts that, and closes it. */
void uv_instances_failed(struct run *run, int errnum, const char *reason);

/* Gives @run its ports. Where the document says handOver, with sockets that listen there, and one
 * for its probes alone as the last: those of @spec->sockets; all but the last are kept. Errors:
 * ERR_FULL, ERR_EXISTS, ERR_IO, ERR_NOMEM. */
int uv_instances_ports(struct run *run, const struct desired_workload *workload,
                       struct shim_spec *spec, struct err *err);
void uv_instances_keep_sockets(struct run *run); /* that its shim has sent */
void uv_instances_forget_sockets(struct uv_instances *instances, const char *process);
void uv_instances_close_sockets(struct uv_instances *instances);

#endif
