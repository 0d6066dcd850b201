/* A small network in namespaces of its own: hosts on one bridge, like Pis and their clients on one
 * access point. The namespaces have no names and vanish with the process that made them, however it
 * ends. Needs root; fails loudly without. */
#ifndef COVEY_TESTS_NETLAB_H
#define COVEY_TESTS_NETLAB_H

#include <stddef.h>

#define NETLAB_HOSTS 4
#define NETLAB_GATEWAY "10.77.0.254"

/* Host i has 10.77.0.(i + 1)/24 on its link wlan0; at the bridge its port is port<i>. The bridge
 * itself is the gateway, NETLAB_GATEWAY. */
struct netlab {
    int home; /* the namespace of the process at start */
    int bridge;
    int host[NETLAB_HOSTS];
};

/* Returns 0, or -1 after it has said on standard error why not. */
int netlab_create(struct netlab *lab);

/* Goes back to the namespace of the start and lets the others vanish. */
void netlab_destroy(struct netlab *lab);

/* Moves the calling thread into a namespace of the lab. Sockets stay where they were made; children
 * begin where their parent is. Aborts when it fails. */
void netlab_enter(int namespace);

/* Runs a shell command in a namespace and comes back to the one before. Returns 0 if it succeeded;
 * it says on standard error what failed. */
int netlab_run(int namespace, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
