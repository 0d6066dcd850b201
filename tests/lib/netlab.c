#include "tests/lib/netlab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int current(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        fprintf(stderr, "netlab: open /proc/self/ns/net: %s\n", strerror(errno));
        abort();
    }
    return fd;
}

void netlab_enter(int namespace)
{
    if (setns(namespace, CLONE_NEWNET) < 0) {
        fprintf(stderr, "netlab: enter a network namespace: %s\n", strerror(errno));
        abort();
    }
}

int netlab_run(int namespace, const char *format, ...)
{
    char command[1024];
    va_list args;
    int before = current();
    int status;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    netlab_enter(namespace);
    status = system(command);
    netlab_enter(before);
    close(before);
    if (status == 0)
        return 0;
    fprintf(stderr, "netlab: failed: %s\n", command);
    return -1;
}

/* Makes a namespace and returns its descriptor, or -1. The caller is back home afterwards. */
static int make(int home)
{
    int fd;

    if (unshare(CLONE_NEWNET) < 0) {
        fprintf(stderr,
                "netlab: this machine cannot make network namespaces (%s). The lab tests need "
                "root, or a container with CAP_SYS_ADMIN: run them with sudo.\n",
                strerror(errno));
        return -1;
    }
    fd = current();
    netlab_enter(home);
    return fd;
}

static int connect_host(struct netlab *lab, int i)
{
    if (netlab_run(lab->bridge,
                   "ip link add port%d type veth peer name wlan0 netns /proc/%d/fd/%d && "
                   "ip link set port%d master br0 up",
                   i, (int)getpid(), lab->host[i], i) < 0)
        return -1;
    return netlab_run(lab->host[i],
                      "ip link set lo up && ip link set wlan0 up && "
                      "ip address add 10.77.0.%d/24 dev wlan0 && "
                      "ip route add default via " NETLAB_GATEWAY,
                      i + 1);
}

int netlab_create(struct netlab *lab)
{
    int i;

    lab->home = current();
    lab->bridge = -1;
    for (i = 0; i < NETLAB_HOSTS; i++)
        lab->host[i] = -1;
    lab->bridge = make(lab->home);
    if (lab->bridge < 0)
        return -1;
    if (netlab_run(lab->bridge, "ip link add br0 type bridge && ip link set br0 up && "
                                "ip address add " NETLAB_GATEWAY "/24 dev br0") < 0)
        return -1;
    for (i = 0; i < NETLAB_HOSTS; i++) {
        lab->host[i] = make(lab->home);
        if (lab->host[i] < 0 || connect_host(lab, i) < 0)
            return -1;
    }
    return 0;
}

void netlab_destroy(struct netlab *lab)
{
    int i;

    netlab_enter(lab->home);
    for (i = 0; i < NETLAB_HOSTS; i++) {
        if (lab->host[i] >= 0)
            close(lab->host[i]);
    }
    if (lab->bridge >= 0)
        close(lab->bridge);
    close(lab->home);
}
