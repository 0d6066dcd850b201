/* orderctl dead-letters, replay, discard. */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/body.h"
#include "workloads/lib/emit.h"
#include "workloads/lib/out.h"
#include "workloads/orderctl/orderctl.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 1000000
#define SHOWN_MAX 60 /* bytes of a body in the table */
#define LINE_LIMIT (MESSAGE_BODY_MAX * 6)
#define CONFIRM_MS 30000

/* Bytes of anybody's, made fit for a terminal. */
static void print_text(struct span text, size_t limit)
{
    for (size_t i = 0; i < text.len && i < limit; i++) {
        unsigned char c = (unsigned char)text.at[i];
        putchar(c < 0x20 || c >= 0x7f ? '.' : c);
    }
    if (text.len > limit)
        fputs("...", stdout);
}

static void print_row(const struct delivery *letter)
{
    print_text(letter->id.len > 0 ? letter->id : (struct span){"-", 1}, 80);
    putchar('\t');
    print_text(letter->queue, 80);
    putchar('\t');
    print_text(letter->time.len > 0 ? letter->time : (struct span){"-", 1}, 30);
    putchar('\t');
    print_text(letter->reason, 200);
    putchar('\t');
    print_text(letter->body, SHOWN_MAX);
    putchar('\n');
}

static int print_json(const struct delivery *letter, struct err *err)
{
    const struct {
        const char *key;
        struct span value;
    } members[] = {{"message_id", letter->id},   {"queue", letter->queue},
                   {"service", letter->service}, {"time", letter->time},
                   {"reason", letter->reason},   {"traceparent", letter->traceparent},
                   {"body", letter->body}};
    struct out o;
    int rc = ERR_NONE;

    out_init(&o, NULL, 0, LINE_LIMIT);
    emit_object(&o);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        emit_key(&o, members[i].key);
        emit_string_n(&o, members[i].value.at, members[i].value.len);
    }
    emit_key_int(&o, "bytes", (int64_t)letter->size);
    emit_object_end(&o);
    out_char(&o, '\n');
    if (o.failed)
        rc = err_set(err, ERR_NOMEM, "print a message of %zu bytes", letter->body.len);
    else
        fwrite(o.data, 1, o.len, stdout);
    out_free(&o);
    return rc;
}

int cmd_dead_letters(struct orderctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"limit", required_argument, NULL, 'l'}, {0}};
    int64_t limit = LIMIT_DEFAULT;
    bool json = false;
    int64_t n = 0;
    struct err err;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            return orderctl_usage("dead-letters takes --json and --limit N");
        if (option == 'j')
            json = true;
        else if (!read_int(optarg, &limit) || limit < 1 || limit > LIMIT_MAX)
            return orderctl_usage("--limit takes a number from 1 to 1000000");
    }
    if (optind < argc)
        return orderctl_usage("dead-letters takes --json and --limit N");
    if (orderctl_connect(ctl, &err) != ERR_NONE)
        return orderctl_failed(&err);
    if (!json)
        puts("MESSAGE-ID\tQUEUE\tTIME\tREASON\tBODY");
    for (;; n++) {
        struct delivery letter;
        bool found = false;
        if (n < limit && link_get(ctl->link, QUEUE_DEAD, &found, &letter, &err) != ERR_NONE)
            return orderctl_failed(&err);
        if (!found) /* what was taken goes back when the connection ends */
            break;
        if (!json)
            print_row(&letter);
        else if (print_json(&letter, &err) != ERR_NONE)
            return orderctl_failed(&err);
    }
    if (!json)
        printf("%lld message%s%s\n", (long long)n, n == 1 ? "" : "s",
               n == limit ? ", and perhaps more (--limit)" : "");
    return fflush(stdout) == 0 ? 0 : 1;
}

static bool wanted(const struct delivery *letter, char **ids, int count, bool *seen)
{
    bool found = count == 0;

    for (int i = 0; i < count; i++)
        if (span_is(letter->id, ids[i])) {
            seen[i] = true;
            found = true;
        }
    return found;
}

static int wait_confirm(struct link *link, uint64_t seq, struct err *err)
{
    struct link_event event;

    if (link_flush(link, err) != ERR_NONE)
        return err->code;
    for (;;) {
        struct pollfd p = {.fd = link_fd(link), .events = POLLIN};
        if (!link_buffered(link) && poll(&p, 1, CONFIRM_MS) == 0)
            return err_set(err, ERR_TIMEOUT, "the broker did not confirm in %d s",
                           CONFIRM_MS / 1000);
        if (link_read(link, &event, err) != ERR_NONE)
            return err->code;
        if (event.type == LINK_BLOCKED)
            return err_set(err, ERR_BUSY, "the broker takes no messages now: %.*s",
                           (int)event.reason.len, event.reason.at);
        if (event.type == LINK_CONFIRM && event.seq >= seq)
            return ERR_NONE;
    }
}

/* To the queue alone that it came from: others had it the first time. */
static int send_back(struct link *link, const struct delivery *letter, struct err *err)
{
    char queue[MESSAGE_ID_MAX + 1];
    struct message message = {
        .exchange = "",
        .routing_key = queue,
        .id = letter->id,
        .content_type = letter->content_type,
        .traceparent = letter->traceparent,
        .tracestate = letter->tracestate,
        .body = letter->body,
    };
    uint64_t seq;

    if (letter->cut)
        return err_set(err, ERR_LIMIT, "message \"%.*s\" is longer than 32 MiB",
                       (int)letter->id.len, letter->id.at);
    if (letter->queue.len == 0 || letter->queue.len >= sizeof queue)
        return err_set(err, ERR_INVALID, "message \"%.*s\" does not say which queue it came from",
                       (int)letter->id.len, letter->id.at);
    memcpy(queue, letter->queue.at, letter->queue.len);
    queue[letter->queue.len] = '\0';
    if (link_publish(link, &message, &seq, err) != ERR_NONE ||
        wait_confirm(link, seq, err) != ERR_NONE)
        return err_wrap(err, "replay to %s", queue);
    return ERR_NONE;
}

/* Each letter that waits now is looked at once: one that is refused again comes behind them. */
static int go_through(struct orderctl *ctl, char **ids, int count, bool *seen, bool replay,
                      uint32_t *moved, struct err *err)
{
    uint32_t waiting;

    if (link_count(ctl->link, QUEUE_DEAD, &waiting, err) != ERR_NONE)
        return err->code;
    for (uint32_t i = 0; i < waiting; i++) {
        struct delivery letter;
        uint64_t tag;
        bool found;
        if (link_get(ctl->link, QUEUE_DEAD, &found, &letter, err) != ERR_NONE)
            return err->code;
        if (!found)
            break;
        if (!wanted(&letter, ids, count, seen))
            continue;
        tag = letter.tag;
        if (replay && send_back(ctl->link, &letter, err) != ERR_NONE)
            return err->code;
        if (link_ack(ctl->link, tag, false, err) != ERR_NONE)
            return err->code;
        (*moved)++;
    }
    /* An answer means that the broker has taken the acknowledgements before it. */
    return link_count(ctl->link, QUEUE_DEAD, &waiting, err);
}

int cmd_replay(struct orderctl *ctl, int argc, char **argv, bool replay)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'}, {0}};
    bool all = false;
    uint32_t moved = 0;
    bool *seen;
    struct err err;
    int option;
    int status = 0;
    int count;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?')
            return orderctl_usage("name message ids, or say --all");
        all = true;
    }
    count = argc - optind;
    if (all == (count > 0))
        return orderctl_usage("name message ids, or say --all");
    seen = calloc((size_t)count + 1, sizeof *seen);
    if (seen == NULL)
        return orderctl_usage("out of memory");
    if (orderctl_connect(ctl, &err) != ERR_NONE ||
        go_through(ctl, argv + optind, count, seen, replay, &moved, &err) != ERR_NONE)
        status = orderctl_failed(&err);
    printf("%u message%s %s\n", moved, moved == 1 ? "" : "s", replay ? "replayed" : "discarded");
    for (int i = 0; status == 0 && i < count; i++)
        if (!seen[i]) {
            fprintf(stderr, "orderctl: there is no dead letter \"%s\"\n", argv[optind + i]);
            status = 1;
        }
    free(seen);
    return status;
}
