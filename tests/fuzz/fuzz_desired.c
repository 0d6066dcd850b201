/* The files of a pushed commit. The input is split at lines "=== PATH"; what stands before the
 * first of them is the file apps/a/a.yaml. */
#include <stdlib.h>
#include <string.h>

#include "agent/desired/desired.h"
#include "tests/fuzz/fuzz.h"

#define FILES 16
#define SEPARATOR "=== "

static size_t split(char *text, size_t size, struct desired_file *files)
{
    size_t count = 1;
    char *end = text + size;

    files[0] = (struct desired_file){.path = "apps/a/a.yaml", .data = text, .size = size};
    while (count < FILES) {
        struct desired_file *last = &files[count - 1];
        char *begin = (char *)last->data;
        char *at = memmem(begin, (size_t)(end - begin), "\n" SEPARATOR, strlen(SEPARATOR) + 1);
        char *newline = at != NULL ? memchr(at + 1, '\n', (size_t)(end - at) - 1) : NULL;

        if (newline == NULL || memchr(at, '\0', (size_t)(newline - at)) != NULL)
            break;
        last->size = (size_t)(at + 1 - begin);
        *newline = '\0';
        files[count].path = at + 1 + strlen(SEPARATOR);
        files[count].data = newline + 1;
        files[count].size = (size_t)(end - newline - 1);
        count++;
    }
    return count;
}

/* What other layers rely on without looking again. */
static void check(const struct desired *d)
{
    for (size_t i = 0; i < d->workload_count; i++) {
        const struct desired_workload *w = &d->workloads[i];
        if (i > 0 && strcmp(d->workloads[i - 1].name, w->name) >= 0)
            abort();
        if (!name_valid(w->name) || !name_valid(w->app) || w->command[0] == NULL ||
            w->generation == 0 || w->replicas > DESIRED_REPLICAS_MAX ||
            w->port_count > DESIRED_PORTS_MAX || desired_workload(d, w->name) != w)
            abort();
        if (strlen(w->app) + strlen(w->name) + sizeof "/.255" > INSTANCE_MAX)
            abort();
        for (size_t j = 0; w->depends_on[j] != NULL; j++)
            if (desired_workload(d, w->depends_on[j]) == NULL)
                abort();
    }
    for (size_t i = 0; i < d->vip_count; i++)
        for (size_t j = 0; j < i; j++)
            if (d->vips[i].address.family != 0 &&
                addr_equal(&d->vips[i].address, &d->vips[j].address))
                abort();
}

static void check_message(const char *text)
{
    if (*text == '\0')
        abort();
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct desired_file files[FILES];
    struct desired *desired, *again;
    char *text = malloc(size + 1), *diff;
    struct err err;
    size_t count;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    count = split(text, size, files);
    if (desired_parse("", files, count, &desired, NULL, &err) != 0) {
        check_message(err.text);
    } else {
        check(desired);
        if (desired_parse("", files, count, &again, NULL, &err) != 0)
            abort();
        diff = desired_diff(desired, again);
        if (diff == NULL || diff[0] != '\0')
            abort();
        free(diff);
        desired_free(again);
        desired_free(desired);
    }
    free(text);
    return 0;
}
