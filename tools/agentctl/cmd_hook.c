/* agentctl hook: what the flock's repository runs on a push. The pre-receive hook checks the commit
 * while its objects are in Git's quarantine; the daemon could not see them there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/desired/desired.h"
#include "agent/io/os_git.h"
#include "tools/agentctl/agentctl.h"

#define PATH_SIZE 4096
#define LINE_SIZE 1024
#define ZERO "0000000000000000000000000000000000000000"

/* The repository's folder and the branch that HEAD names: the flock's. */
static int this_repository(char path[PATH_SIZE], char branch[GIT_BRANCH_MAX], struct err *err)
{
    char line[LINE_SIZE] = "";
    FILE *head;

    if (getcwd(path, PATH_SIZE) == NULL)
        return err_errno(err, ERR_IO, errno, "find the repository's folder");
    head = fopen("HEAD", "re");
    if (head == NULL)
        return err_errno(err, ERR_IO, errno, "read HEAD in %.200s", path);
    if (fgets(line, sizeof line, head) == NULL)
        line[0] = '\0';
    fclose(head);
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "ref: refs/heads/", 16) != 0 || strlen(line + 16) >= GIT_BRANCH_MAX)
        return err_set(err, ERR_INVALID, "HEAD of %.200s names no branch", path);
    snprintf(branch, GIT_BRANCH_MAX, "%s", line + 16);
    return ERR_NONE;
}

/* *report: further errors, one a line; freed by the caller. */
static int check_commit(const struct git_repo *repo, const char *commit, char **report,
                        struct err *err)
{
    struct desired *desired = NULL;
    const struct desired_file *files;
    struct git_tree *tree;
    size_t count;
    int rc = git_read_tree(repo, commit, &tree, err);

    if (rc != ERR_NONE)
        return rc;
    files = git_tree_files(tree, &count);
    rc = desired_parse(commit, files, count, &desired, report, err);
    if (rc == ERR_NONE)
        fprintf(stderr, "covey: %zu workloads and %zu virtual addresses are valid\n",
                desired->workload_count, desired->vip_count);
    desired_free(desired);
    git_tree_free(tree);
    return rc;
}

/* One line of standard input: "<old> <new> <reference>". */
static int check_reference(const struct git_repo *repo, char *line, char **report, struct err *err)
{
    char *rest = NULL;
    char *old = strtok_r(line, " \n", &rest);
    char *new = strtok_r(NULL, " \n", &rest);
    char *reference = strtok_r(NULL, " \n", &rest);

    if (old == NULL || new == NULL || reference == NULL)
        return err_set(err, ERR_INVALID, "Git gave the hook a line that it does not understand");
    if (strncmp(reference, "refs/heads/", 11) != 0 || strcmp(reference + 11, repo->branch) != 0)
        return err_set(err, ERR_DENIED,
                       "%.100s is refused: this repository takes the branch %s only. Push with "
                       "\"HEAD:%s\"",
                       reference, repo->branch, repo->branch);
    if (strcmp(new, ZERO) == 0)
        return err_set(err, ERR_DENIED, "the branch %s cannot be deleted", repo->branch);
    if (git_is_strict(repo)) {
        char signer[GIT_AUTHOR_MAX];
        int rc = git_verify(repo, new, signer, err);
        if (rc != ERR_NONE)
            return rc;
        fprintf(stderr, "covey: signed by %s\n", signer);
    }
    return check_commit(repo, new, report, err);
}

static int pre_receive(void)
{
    char path[PATH_SIZE];
    char branch[GIT_BRANCH_MAX];
    struct git_repo repo = {.path = path, .branch = branch, .in_hook = true};
    char line[LINE_SIZE];
    char *report = NULL;
    struct err err;
    int rc = this_repository(path, branch, &err);

    while (rc == ERR_NONE && fgets(line, sizeof line, stdin) != NULL) {
        free(report);
        report = NULL;
        rc = check_reference(&repo, line, &report, &err);
    }
    if (rc != ERR_NONE)
        fprintf(stderr, "covey: this push is refused, and nothing has changed:\n  %s\n%s", err.text,
                report != NULL ? report : "");
    free(report);
    return err_exit_status(rc);
}

static int post_receive(const struct context *context)
{
    json_t *document = NULL;
    struct err err;

    if (client_request(context, "POST", "/v1/sync", NULL, &document, NULL, &err) != ERR_NONE)
        fprintf(stderr, "covey: accepted, but not applied yet: %s\n", err.text);
    else
        fprintf(stderr, "covey: accepted here; %s\n", member_string(document, "message"));
    json_decref(document);
    return 0;
}

int cmd_hook(const struct context *context, int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "pre-receive") == 0)
        return pre_receive();
    if (argc == 1 && strcmp(argv[0], "post-receive") == 0)
        return post_receive(context);
    return usage("hook", "needs pre-receive or post-receive");
}
