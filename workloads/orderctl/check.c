/* orderctl tap, check. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/orderctl/orderctl.h"
#include "workloads/orders/verify.h"

#define COMPLAINTS_MAX 20 /* lines */

static const struct option options[] = {{"notifications", required_argument, NULL, 'n'}, {0}};

/* Queues that hold a copy of all that is published. */
static const struct {
    const char *queue;
    const char *exchange;
    enum verify_kind kind;
} taps[] = {
    {"tap_orders_queue", EXCHANGE_ORDERS, VERIFY_ORDER},
    {"tap_payments_queue", EXCHANGE_PAYMENTS, VERIFY_PAYMENT},
    {"tap_shipments_queue", EXCHANGE_SHIPMENTS, VERIFY_SHIPMENT},
};
#define TAPS (sizeof taps / sizeof taps[0])

static int tap(struct orderctl *ctl, bool start, struct err *err)
{
    if (orderctl_connect(ctl, err) != ERR_NONE)
        return err->code;
    for (size_t i = 0; i < TAPS; i++) {
        if (!start && link_delete_queue(ctl->link, taps[i].queue, err) != ERR_NONE)
            return err->code;
        if (start && (link_queue(ctl->link, taps[i].queue, NULL, false, err) != ERR_NONE ||
                      link_bind(ctl->link, taps[i].queue, taps[i].exchange, err) != ERR_NONE))
            return err->code;
    }
    return ERR_NONE;
}

int cmd_tap(struct orderctl *ctl, int argc, char **argv)
{
    struct err err;
    bool start = argc == 2 && strcmp(argv[1], "start") == 0;

    if (argc != 2 || (!start && strcmp(argv[1], "stop") != 0))
        return orderctl_usage("say tap start, or tap stop");
    if (tap(ctl, start, &err) != ERR_NONE)
        return orderctl_failed(&err);
    puts(start ? "all that is published is kept from now on" : "the copies are gone");
    return 0;
}

static int read_tap(struct orderctl *ctl, size_t i, struct verify *verify, struct err *err)
{
    for (;;) {
        struct delivery delivery;
        bool found;
        if (link_get(ctl->link, taps[i].queue, &found, &delivery, err) != ERR_NONE)
            return err->code == ERR_NOTFOUND ? err_wrap(err, "say orderctl tap start first")
                                             : err->code;
        if (!found)
            return ERR_NONE;
        if (verify_message(verify, taps[i].kind, delivery.id, delivery.body, err) != ERR_NONE)
            return err->code;
    }
}

static int read_log(const char *path, struct verify *verify, struct err *err)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int rc = ERR_NONE;

    if (f == NULL)
        return err_errno(err, ERR_IO, errno, "read %s", path);
    while (rc == ERR_NONE && (len = getline(&line, &size, f)) > 0)
        rc = verify_log_line(verify, (struct span){line, (size_t)len}, err);
    if (rc == ERR_NONE && ferror(f))
        rc = err_errno(err, ERR_IO, errno, "read %s", path);
    free(line);
    fclose(f);
    return rc;
}

/* Messages that are still on their way make every verdict early. */
static int print_queues(struct orderctl *ctl, uint64_t *left, struct err *err)
{
    static const char *const queues[] = {QUEUE_PAYMENT, QUEUE_FULFILLMENT, QUEUE_NOTIFY_ORDERS,
                                         QUEUE_NOTIFY_PAYMENTS, QUEUE_NOTIFY_SHIPMENTS};
    uint32_t dead;

    *left = 0;
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        uint32_t count;
        if (link_count(ctl->link, queues[i], &count, err) != ERR_NONE)
            return err->code;
        if (count > 0)
            printf("%s: %" PRIu32 " messages wait\n", queues[i], count);
        *left += count;
    }
    if (link_count(ctl->link, QUEUE_DEAD, &dead, err) != ERR_NONE)
        return err->code;
    printf("dead letters: %" PRIu32 "\n", dead);
    return ERR_NONE;
}

static void complain(void *context, const char *text)
{
    unsigned *told = context;

    if ((*told)++ < COMPLAINTS_MAX)
        printf("WRONG: %s\n", text);
}

static void print_counts(const struct verify_counts *counts)
{
    static const char *const names[] = {"orders", "payments", "shipments", "notifications"};

    for (size_t i = 0; i < VERIFY_KINDS; i++)
        printf("%-14s %8" PRIu64 " distinct, %8" PRIu64 " messages, %" PRIu64 " of them repeats\n",
               names[i], counts->distinct[i], counts->messages[i],
               counts->messages[i] - counts->distinct[i]);
    printf("of the payments %" PRIu64 " succeeded\n", counts->paid);
    printf("lost %" PRIu64 ", paid or shipped twice %" PRIu64 ", not notified %" PRIu64
           ", otherwise wrong %" PRIu64 "\n",
           counts->lost, counts->twice, counts->silent, counts->wrong);
}

static int gather(struct orderctl *ctl, int argc, char **argv, struct verify *verify,
                  uint64_t *left, struct err *err)
{

    optind = 1;
    while (getopt_long(argc, argv, "", options, NULL) == 'n')
        if (read_log(optarg, verify, err) != ERR_NONE)
            return err->code;
    if (orderctl_connect(ctl, err) != ERR_NONE || print_queues(ctl, left, err) != ERR_NONE)
        return err->code;
    for (size_t i = 0; i < TAPS; i++)
        if (read_tap(ctl, i, verify, err) != ERR_NONE)
            return err->code;
    return ERR_NONE;
}

int cmd_check(struct orderctl *ctl, int argc, char **argv)
{
    struct verify_counts counts;
    struct verify *verify;
    unsigned told = 0;
    uint64_t left = 0;
    struct err err;
    bool has_log = false;
    bool holds;
    int option;
    int status = 1;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == '?')
            return orderctl_usage("check takes --notifications FILE");
        else
            has_log = true;
    if (optind < argc)
        return orderctl_usage("check takes --notifications FILE");
    if (verify_new(&verify, &err) != ERR_NONE)
        return orderctl_failed(&err);
    if (!has_log)
        verify_without_log(verify);
    if (gather(ctl, argc, argv, verify, &left, &err) != ERR_NONE) {
        status = orderctl_failed(&err);
        goto out;
    }
    holds = verify_judge(verify, &counts, complain, &told);
    if (told > COMPLAINTS_MAX)
        printf("and %u more\n", told - COMPLAINTS_MAX);
    print_counts(&counts);
    if (!has_log)
        puts("whether customers were notified was not looked at: --notifications names the log");
    if (left > 0)
        puts("NOT FINISHED: messages wait in the queues above");
    else if (counts.distinct[VERIFY_ORDER] == 0)
        puts("NOTHING TO PROVE: no order was published since the tap was started");
    else if (holds) {
        puts("PROVED: each order was paid or refused once, and each that was paid shipped once");
        status = 0;
    }
out:
    verify_free(verify);
    return status;
}
