#ifndef COVEY_WORKLOADS_ORDERCTL_H
#define COVEY_WORKLOADS_ORDERCTL_H

#include "workloads/lib/amqp/dial.h"
#include "workloads/orders/topology.h"

struct orderctl {
    struct broker broker;
    struct link *link; /* after orderctl_connect; closed by main */
};

/* Connects and declares the topology. */
int orderctl_connect(struct orderctl *ctl, struct err *err);

/* Print and return exit codes. */
int orderctl_usage(const char *why);
int orderctl_failed(const struct err *err);

/* The commands: argv[0] is the command's name. They return exit codes. */
int cmd_dead_letters(struct orderctl *ctl, int argc, char **argv);
int cmd_replay(struct orderctl *ctl, int argc, char **argv, bool replay);
int cmd_tap(struct orderctl *ctl, int argc, char **argv);
int cmd_check(struct orderctl *ctl, int argc, char **argv);

#endif
