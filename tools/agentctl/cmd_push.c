/* agentctl push: a working copy to the flock's repository, on some nodes first if that is asked
 * for. */
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "agent/desired/desired.h"
#include "tools/agentctl/agentctl.h"

extern char **environ;

/* Runs git in the present folder; its output is the user's. Its exit status, or 127. */
static int git(char *const argv[])
{
    int status;
    pid_t child;

    if (posix_spawnp(&child, "git", NULL, NULL, argv, environ) != 0) {
        fprintf(stderr, "agentctl: cannot run git\n");
        return 127;
    }
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 127;
    return WEXITSTATUS(status);
}

/* The commit that says who goes first: empty, on top of what is to be pushed. Git signs it as the
 * user has set it up (commit.gpgSign). */
static int commit_canary(const char *nodes)
{
    char trailer[DESIRED_CANARY_MAX + 16];
    char subject[DESIRED_CANARY_MAX + 32];
    char *argv[] = {(char *)"git",
                    (char *)"commit",
                    (char *)"--quiet",
                    (char *)"--allow-empty",
                    (char *)"--only", /* what is staged stays staged */
                    (char *)"--message",
                    subject,
                    (char *)"--trailer",
                    trailer,
                    NULL};

    snprintf(subject, sizeof subject, "On %s first", nodes);
    snprintf(trailer, sizeof trailer, "Canary: %s", nodes);
    return git(argv);
}

static bool add_node(char nodes[DESIRED_CANARY_MAX], const char *name)
{
    size_t used = strlen(nodes);

    if (!name_valid(name) || used + strlen(name) + 3 > DESIRED_CANARY_MAX)
        return false;
    snprintf(nodes + used, DESIRED_CANARY_MAX - used, "%s%s", used > 0 ? ", " : "", name);
    return true;
}

/* Whether the flock has a node of every name in @nodes: a commit that waits for one that does not
 * exist waits for ever. Without an agent to ask nothing is checked. */
static bool check_nodes(const struct context *context, int argc, char **argv)
{
    json_t *document = NULL;
    struct err err;
    bool known = true;

    if (client_request(context, "GET", "/v1/status", NULL, &document, NULL, &err) != ERR_NONE)
        return true;
    for (int i = 0; i + 1 < argc && known; i++) {
        const json_t *node;
        size_t k;
        bool found = strcmp(argv[i], "--node") != 0;
        json_array_foreach(json_object_get(document, "nodes"), k, node) found =
            found || strcmp(member_string(node, "name"), argv[i + 1]) == 0;
        if (!found)
            fprintf(stderr, "agentctl: the flock has no node %s: see agentctl members\n",
                    argv[i + 1]);
        known = found;
    }
    json_decref(document);
    return known;
}

int cmd_push(const struct context *context, int argc, char **argv)
{
    char nodes[DESIRED_CANARY_MAX] = "";
    char *push[] = {(char *)"git", (char *)"push", NULL, (char *)"HEAD:main", NULL};
    char *undo[] = {(char *)"git",    (char *)"reset",  (char *)"--quiet",
                    (char *)"--soft", (char *)"HEAD~1", NULL};
    int status = 0;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--node") == 0 && i + 1 < argc) {
            if (!add_node(nodes, argv[++i]))
                return usage("push", "\"%s\" is no name of a node, or there are too many", argv[i]);
        } else if (argv[i][0] != '-' && push[2] == NULL)
            push[2] = argv[i];
        else
            return usage("push", "does not understand \"%s\"", argv[i]);
    }
    if (push[2] == NULL)
        return usage("push", "needs the repository: a remote's name, or NODE:flock");
    if (!check_nodes(context, argc, argv))
        return err_exit_status(ERR_NOTFOUND);
    if (nodes[0] != '\0')
        status = commit_canary(nodes);
    if (status == 0) {
        status = git(push);
        if (status != 0 && nodes[0] != '\0')
            (void)git(undo); /* refused: nothing of it is left */
    }
    return status == 0 ? 0 : 1;
}
