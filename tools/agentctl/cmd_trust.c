/* agentctl trust, rollback: whose commits count, and a commit that goes back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

#define SIGNERS_MAX 32768
#define SIGNATURE_MAX 16384

static int read_file(const char *path, char *text, size_t size, struct err *err)
{
    FILE *in = fopen(path, "re");
    size_t n;

    if (in == NULL)
        return err_errno(err, ERR_NOTFOUND, errno, "read %s", path);
    n = fread(text, 1, size, in);
    fclose(in);
    if (n == size)
        return err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", path, size - 1);
    text[n] = '\0';
    return ERR_NONE;
}

static void print_trust(const struct context *context, const json_t *document)
{
    (void)context;
    printf("%s: %s\n  allowed signers: %s\n",
           json_is_true(json_object_get(document, "on")) ? "on" : "off",
           member_string(document, "message"), member_string(document, "file"));
}

int cmd_trust(const struct context *context, int argc, char **argv)
{
    static char signers[SIGNERS_MAX];
    json_t *body, *document = NULL;
    struct err err;
    int rc = ERR_NONE;

    if (argc == 0)
        return show(context, "/v1/trust", print_trust);
    if (argc == 2 && strcmp(argv[0], "on") == 0)
        rc = read_file(argv[1], signers, sizeof signers, &err);
    else if (argc != 1 || strcmp(argv[0], "off") != 0)
        return usage("trust", "needs on FILE, or off");
    if (rc != ERR_NONE)
        return fail(&err);
    body = json_pack("{s:s}", "signers", signers);
    rc = client_request(context, "POST", "/v1/trust", body, &document, NULL, &err);
    json_decref(body);
    if (rc != ERR_NONE)
        return fail(&err);
    if (context->json)
        print_json(document);
    else if (!context->quiet)
        print_trust(context, document);
    json_decref(document);
    return 0;
}

/* ssh-keygen -Y sign, as git does; the key may ask for its passphrase on the terminal. */
static int run_ssh_keygen(const char *key, const char *file, struct err *err)
{
    pid_t child = fork();
    int status = 0;

    if (child == 0) {
        execlp("ssh-keygen", "ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", key, file,
               (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return ERR_NONE;
    return err_set(err, ERR_DENIED, "ssh-keygen does not sign with %s", key);
}

/* @signed_text: the commit with its signature in the header, where git looks for it. */
static int insert_signature(const char *text, const char *signature, char *signed_text, size_t size,
                            struct err *err)
{
    const char *blank = strstr(text, "\n\n");
    size_t used;

    if (blank == NULL)
        return err_set(err, ERR_INVALID, "the agent's commit has no message");
    used = (size_t)(blank - text) + 1;
    if (used + 2 * strlen(signature) + strlen(blank) + 16 > size)
        return err_set(err, ERR_LIMIT, "the signed commit is too long");
    memcpy(signed_text, text, used);
    used += (size_t)snprintf(signed_text + used, size - used, "gpgsig");
    while (*signature != '\0') {
        size_t len = strcspn(signature, "\n");
        used += (size_t)snprintf(signed_text + used, size - used, " %.*s\n", (int)len, signature);
        signature += len + (signature[len] == '\n');
    }
    snprintf(signed_text + used, size - used, "%s", blank + 1);
    return ERR_NONE;
}

static int sign(const char *key, const char *text, char *signed_text, size_t size, struct err *err)
{
    char file[] = "/tmp/agentctl-commit.XXXXXX";
    char signature_file[sizeof file + 4];
    static char signature[SIGNATURE_MAX];
    size_t len = strlen(text);
    int fd = mkstemp(file);
    int rc = ERR_NONE;

    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "make a temporary file");
    snprintf(signature_file, sizeof signature_file, "%s.sig", file);
    if (write(fd, text, len) != (ssize_t)len)
        rc = err_errno(err, ERR_IO, errno, "write %s", file);
    close(fd);
    if (rc == ERR_NONE)
        rc = run_ssh_keygen(key, file, err);
    if (rc == ERR_NONE)
        rc = read_file(signature_file, signature, sizeof signature, err);
    unlink(file);
    unlink(signature_file);
    return rc == ERR_NONE ? insert_signature(text, signature, signed_text, size, err) : rc;
}

int cmd_rollback(const struct context *context, int argc, char **argv)
{
    static char signed_text[2 * SIGNATURE_MAX];
    const char *key = NULL, *revision = NULL;
    json_t *document = NULL, *done = NULL;
    char path[256];
    struct err err;
    int rc;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--key") == 0 && i + 1 < argc)
            key = argv[++i];
        else if (revision == NULL && argv[i][0] != '-')
            revision = argv[i];
        else
            return usage("rollback", "does not understand \"%s\"", argv[i]);
    }
    if (revision == NULL || strlen(revision) > 100 ||
        strcspn(revision, " ?#%&+") != strlen(revision))
        return usage("rollback", "needs a commit to go back to; see agentctl history");
    snprintf(path, sizeof path, "/v1/rollback?rev=%s", revision);
    rc = client_request(context, "GET", path, NULL, &document, NULL, &err);
    if (rc == ERR_NONE && key == NULL && json_is_true(json_object_get(document, "mustBeSigned")))
        rc = err_set(&err, ERR_DENIED,
                     "this flock takes only signed commits: add --key, the private key of an "
                     "allowed signer");
    if (rc == ERR_NONE && key != NULL)
        rc = sign(key, member_string(document, "text"), signed_text, sizeof signed_text, &err);
    if (rc == ERR_NONE)
        rc = client_send(context, "/v1/commit",
                         key != NULL ? signed_text : member_string(document, "text"), &done, &err);
    if (rc == ERR_NONE && context->json)
        print_json(done);
    else if (rc == ERR_NONE && !context->quiet)
        printf("%.10s goes back to %.10s\n", member_string(done, "commit"),
               member_string(document, "to"));
    json_decref(document);
    json_decref(done);
    return rc == ERR_NONE ? 0 : fail(&err);
}
