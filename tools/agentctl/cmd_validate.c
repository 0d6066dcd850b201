/* agentctl validate: a desired state in a folder, without an agent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/desired.h"
#include "agent/io/os_tree.h"
#include "tools/agentctl/agentctl.h"

#define NO_COMMIT "0000000000000000000000000000000000000000"

/* Every error is "file:line: message". */
static json_t *error_json(const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    char *end = NULL;
    long number = colon != NULL ? strtol(colon + 1, &end, 10) : 0;

    if (colon == NULL || end == colon + 1 || *end != ':')
        return json_pack("{s:s, s:i, s:s%}", "file", "", "line", 0, "message", line, len);
    return json_pack("{s:s%, s:i, s:s%}", "file", line, (size_t)(colon - line), "line", (int)number,
                     "message", end + 2, len - (size_t)(end + 2 - line));
}

static void show_json(const struct desired *desired, const char *first, const char *report)
{
    json_t *errors = json_array();
    json_t *document;

    if (desired == NULL)
        json_array_append_new(errors, error_json(first, strlen(first)));
    while (report != NULL && *report != '\0') {
        size_t len = strcspn(report, "\n");
        json_array_append_new(errors, error_json(report, len));
        report += len + (report[len] == '\n');
    }
    document = json_pack("{s:s, s:s, s:b, s:o}", "apiVersion", "covey.dev/v1", "kind", "Validation",
                         "valid", (int)(desired != NULL), "errors", errors);
    if (desired != NULL)
        json_object_set_new(document, "objects",
                            json_pack("{s:I, s:I, s:I, s:I, s:I}", "workloads",
                                      (json_int_t)desired->workload_count, "virtualIPs",
                                      (json_int_t)desired->vip_count, "routes",
                                      (json_int_t)desired->route_count, "sealedSecrets",
                                      (json_int_t)desired->secret_count, "waitingForK3s",
                                      (json_int_t)desired->foreign_count));
    print_json(document);
    json_decref(document);
}

/* "1 workload, 2 routes", of what there is. */
static void show_counts(const struct desired *d)
{
    const struct {
        size_t count;
        const char *one, *many;
    } kinds[] = {{d->workload_count, "workload", "workloads"},
                 {d->vip_count, "virtual address", "virtual addresses"},
                 {d->route_count, "route", "routes"},
                 {d->secret_count, "sealed secret", "sealed secrets"},
                 {d->foreign_count, "document for k3s", "documents for k3s"}};
    bool first = true;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].count == 0 && i > 0) /* that there are no workloads is worth a word */
            continue;
        printf("%s%zu %s", first ? "" : ", ", kinds[i].count,
               kinds[i].count == 1 ? kinds[i].one : kinds[i].many);
        first = false;
    }
    putchar('\n');
}

int cmd_validate(const struct context *context, int argc, char **argv)
{
    struct desired *desired = NULL;
    const struct desired_file *files;
    struct os_tree *tree;
    char *report = NULL;
    struct err err;
    size_t count;
    int rc;

    if (argc != 1)
        return usage("validate", "needs a folder");
    if (os_tree_read(argv[0], &tree, &err) != ERR_NONE)
        return fail(&err);
    files = os_tree_files(tree, &count);
    rc = desired_parse(NO_COMMIT, files, count, &desired, &report, &err);
    if (context->json)
        show_json(desired, err.text, report);
    else if (rc != ERR_NONE)
        fprintf(stderr, "%s\n%s", err.text, report != NULL ? report : "");
    else if (!context->quiet) {
        printf("%s is valid: ", argv[0]);
        show_counts(desired);
    }
    free(report);
    desired_free(desired);
    os_tree_free(tree);
    return rc == ERR_NONE ? 0 : err_exit_status(rc);
}
