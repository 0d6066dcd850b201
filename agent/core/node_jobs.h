/* Shared by node_jobs.c and node_cron.c alone: what this node has claimed and promised of the ticks
 * of each CronWorkload. */
#ifndef COVEY_CORE_NODE_JOBS_H
#define COVEY_CORE_NODE_JOBS_H

#include "agent/core/node_internal.h"
#include "agent/core/tick.h"

/* Of one CronWorkload. */
struct job {
    char name[INSTANCE_MAX];
    struct value_cron own;
    uint32_t number;   /* of the latest write */
    uint32_t promised; /* of the latest whose value binds: nothing is said or started before it is
                          durable */
    uint32_t stored;
    mono_t retry;    /* the store failed; MONO_NEVER: it has not */
    bool former;     /* its runs are of an earlier life of the agent */
    bool unanswered; /* people were told that its claim waits */
    bool crowded;    /* people were told that as many run as may */
    bool left;       /* the desired state does not name it; nothing is said of it */
};

struct jobs {
    struct job *list;
    size_t count;
    uint32_t claims; /* made in this life */
};

struct job *node_job(const struct node *node, const char *name); /* NULL: none */
struct job *node_job_add(struct node *node, const char *name);   /* NULL: no memory */

/* Makes job->own durable; @binds: nothing is said or started before it is. */
void node_job_store(struct node *node, struct job *job, bool binds);
void node_job_publish(struct node *node, const struct job *job);

/* What the others say of it. ERR_NOMEM; node_job_look_end in any case. */
struct job_view {
    struct tick_view view;
    struct tick_peer *peers;
    struct value_cron *values;
};
int node_job_look(const struct node *node, const char *name, struct job_view *others);
void node_job_look_end(struct job_view *others);

/* node_cron.c: what became of the runs of an earlier life. */
void node_cron_settle(struct node *node, struct job *job);

#endif
