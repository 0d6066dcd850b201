/* agentctl validate: a desired state in a folder, without an agent. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/desired/desired.h"
#include "agent/io/os_tree.h"
#include "tools/agentctl/agentctl.h"

#define NO_COMMIT "0000000000000000000000000000000000000000"

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
    if (rc != ERR_NONE)
        fprintf(stderr, "%s\n%s", err.text, report != NULL ? report : "");
    else if (!context->quiet)
        printf("%s is valid: %zu workloads, %zu virtual addresses, %zu documents for k3s\n",
               argv[0], desired->workload_count, desired->vip_count, desired->foreign_count);
    free(report);
    desired_free(desired);
    os_tree_free(tree);
    return rc == ERR_NONE ? 0 : err_exit_status(rc);
}
