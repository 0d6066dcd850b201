#include "workloads/order-generator/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workloads/lib/emit.h"

#define RNG_TEXT 65 /* four numbers of 16 digits */

void outbox_init(struct outbox *outbox, const char *path)
{
    memset(outbox, 0, sizeof *outbox);
    outbox->path = path;
    out_init(&outbox->text, NULL, 0, OUTBOX_FILE_MAX);
}

void outbox_free(struct outbox *outbox)
{
    out_free(&outbox->text);
}

void outbox_clear(struct outbox *outbox)
{
    out_reset(&outbox->text);
    outbox->count = 0;
}

struct span outbox_body(const struct outbox *outbox, size_t index)
{
    return (struct span){outbox->text.data + outbox->orders[index].from, outbox->orders[index].len};
}

int outbox_add(struct outbox *outbox, const struct order *order, struct err *err)
{
    size_t from = outbox->text.len;

    if (outbox->count == OUTBOX_MAX)
        return err_set(err, ERR_FULL, "more than %d orders wait for the broker", OUTBOX_MAX);
    outbox->text.comma = false;
    order_write(order, &outbox->text);
    if (outbox->text.failed)
        return err_set(err, ERR_NOMEM, "make an order");
    outbox->orders[outbox->count].from = from;
    outbox->orders[outbox->count].len = outbox->text.len - from;
    outbox->orders[outbox->count].total_cents = order->total_cents;
    memcpy(outbox->orders[outbox->count++].id, order->order_id, ORDER_ID_TEXT);
    return ERR_NONE;
}

/* The first line: {"version":1,"generated":17,"rng":"..."} */
static int read_head(struct outbox *outbox, const char *line, size_t len)
{
    char rng[RNG_TEXT] = "";
    int64_t version = 0;
    int64_t generated = -1;
    struct scan in;
    struct span key;

    scan_begin(&in, line, len);
    if (scan_object(&in))
        while (scan_member(&in, &key)) {
            if (span_is(key, "version"))
                (void)scan_int(&in, &version);
            else if (span_is(key, "generated"))
                (void)scan_int(&in, &generated);
            else if (span_is(key, "rng"))
                (void)scan_string(&in, rng, sizeof rng);
            else
                (void)scan_skip(&in);
        }
    if (!scan_end(&in) || version != 1 || generated < 0 || strlen(rng) != RNG_TEXT - 1 ||
        strspn(rng, "0123456789abcdef") != RNG_TEXT - 1)
        return ERR_CORRUPT;
    outbox->generated = (uint64_t)generated;
    for (size_t i = 0; i < 4; i++) {
        char part[17];
        memcpy(part, rng + i * 16, 16);
        part[16] = '\0';
        outbox->rng.s[i] = strtoull(part, NULL, 16);
    }
    return ERR_NONE;
}

/* A body as it was, for not a byte of it may change. */
static int keep_line(struct outbox *outbox, const char *line, size_t len, struct err *err)
{
    struct order order;

    if (outbox->count == OUTBOX_MAX ||
        order_read((struct span){line, len}, &order, err) != ERR_NONE)
        return ERR_CORRUPT;
    outbox->orders[outbox->count].from = outbox->text.len;
    outbox->orders[outbox->count].len = len;
    outbox->orders[outbox->count].total_cents = order.total_cents;
    memcpy(outbox->orders[outbox->count++].id, order.order_id, ORDER_ID_TEXT);
    out_bytes(&outbox->text, line, len);
    return outbox->text.failed ? ERR_NOMEM : ERR_NONE;
}

int outbox_load(struct outbox *outbox, struct err *err)
{
    FILE *f;
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int rc = ERR_CORRUPT;

    outbox_clear(outbox);
    if (outbox->path == NULL)
        return ERR_NONE;
    f = fopen(outbox->path, "re");
    if (f == NULL)
        return errno == ENOENT ? ERR_NONE : err_errno(err, ERR_IO, errno, "read %s", outbox->path);
    for (size_t i = 0; (len = getline(&line, &size, f)) > 0; i++) {
        len -= line[len - 1] == '\n';
        rc = i == 0 ? read_head(outbox, line, (size_t)len)
                    : keep_line(outbox, line, (size_t)len, err);
        if (rc != ERR_NONE)
            break;
    }
    if (rc == ERR_NONE && ferror(f))
        rc = ERR_IO;
    free(line);
    fclose(f);
    if (rc != ERR_NONE)
        return err_set(err, rc,
                       "%s: %s; move it away to begin anew (orders in it are then not published)",
                       outbox->path, rc == ERR_CORRUPT ? "is no outbox of orders" : err_text(rc));
    return ERR_NONE;
}

static int write_all(struct outbox *outbox, FILE *f)
{
    if (fprintf(f, "{\"version\":1,\"generated\":%llu,\"rng\":\"%016llx%016llx%016llx%016llx\"}\n",
                (unsigned long long)outbox->generated, (unsigned long long)outbox->rng.s[0],
                (unsigned long long)outbox->rng.s[1], (unsigned long long)outbox->rng.s[2],
                (unsigned long long)outbox->rng.s[3]) < 0)
        return -1;
    for (size_t i = 0; i < outbox->count; i++) {
        struct span body = outbox_body(outbox, i);
        if (fwrite(body.at, 1, body.len, f) != body.len || putc('\n', f) == EOF)
            return -1;
    }
    return fflush(f) == 0 && fdatasync(fileno(f)) == 0 ? 0 : -1;
}

int outbox_save(struct outbox *outbox, struct err *err)
{
    char temporary[4096];
    FILE *f;
    int rc = ERR_NONE;

    if (outbox->path == NULL)
        return ERR_NONE;
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", outbox->path) >= sizeof temporary)
        return err_set(err, ERR_LIMIT, "the path of the outbox is too long");
    f = fopen(temporary, "we");
    if (f == NULL)
        return err_errno(err, ERR_IO, errno, "write %s", temporary);
    if (write_all(outbox, f) != 0)
        rc = err_errno(err, ERR_IO, errno, "write %s", temporary);
    if (fclose(f) != 0 && rc == ERR_NONE)
        rc = err_errno(err, ERR_IO, errno, "write %s", temporary);
    if (rc == ERR_NONE && rename(temporary, outbox->path) != 0)
        rc = err_errno(err, ERR_IO, errno, "rename %s", temporary);
    return rc;
}
