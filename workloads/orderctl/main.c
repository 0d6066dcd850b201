/* orderctl: looks after the order pipeline. See usage() below; where the broker is stands in the
 * environment (workloads/lib/amqp/broker.h). */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/orderctl/orderctl.h"

static void usage(FILE *to)
{
    fputs(
        "usage: orderctl COMMAND [OPTION...]\n"
        "\n"
        "  dead-letters [--json] [--limit N]  lists what the services refused, and why\n"
        "  replay --all | MESSAGE-ID...       sends it once more to the queue that it came from\n"
        "  discard --all | MESSAGE-ID...      forgets it\n"
        "  tap start | stop                   keeps a copy of all that is published from now on\n"
        "  check [--notifications FILE]...    proves from the copies, and from the logs of\n"
        "                                     notification-service, that each order was paid and\n"
        "                                     shipped once; exit status 1: it was not\n"
        "\n"
        "The broker: RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER, RABBITMQ_PASSWORD[_FILE],\n"
        "RABBITMQ_VHOST. Exit status: 0 done, 1 failed, 2 wrong usage.\n",
        to);
}

int orderctl_usage(const char *why)
{
    fprintf(stderr, "orderctl: %s (orderctl --help)\n", why);
    return 2;
}

int orderctl_failed(const struct err *err)
{
    fprintf(stderr, "orderctl: %s\n", err->text);
    return 1;
}

static int dispatch(struct orderctl *ctl, int argc, char **argv)
{
    if (strcmp(argv[1], "dead-letters") == 0)
        return cmd_dead_letters(ctl, argc - 1, argv + 1);
    if (strcmp(argv[1], "replay") == 0)
        return cmd_replay(ctl, argc - 1, argv + 1, true);
    if (strcmp(argv[1], "discard") == 0)
        return cmd_replay(ctl, argc - 1, argv + 1, false);
    if (strcmp(argv[1], "tap") == 0)
        return cmd_tap(ctl, argc - 1, argv + 1);
    if (strcmp(argv[1], "check") == 0)
        return cmd_check(ctl, argc - 1, argv + 1);
    return orderctl_usage("there is no such command");
}

int main(int argc, char **argv)
{
    struct orderctl ctl = {0};
    struct env env;
    int status;

    if (argc < 2)
        return usage(stderr), 2;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return usage(stdout), 0;
    env_init(&env);
    broker_configure(&ctl.broker, &env);
    status = env_check(&env, "orderctl");
    if (status == 0)
        status = dispatch(&ctl, argc, argv);
    link_close(ctl.link);
    return status;
}

int orderctl_connect(struct orderctl *ctl, struct err *err)
{
    struct topology topology = {0};

    /* Once more for each queue that the broker has with other arguments. */
    for (int i = 0; i < DIAL_REPEATS; i++) {
        if (link_open(&ctl->link, &ctl->broker, "orderctl", err) != ERR_NONE)
            return err->code;
        if (topology_declare(&topology, ctl->link, err) == ERR_NONE)
            return ERR_NONE;
        link_close(ctl->link);
        ctl->link = NULL;
        if (err->code != ERR_CONFLICT)
            return err->code;
    }
    return err->code;
}
