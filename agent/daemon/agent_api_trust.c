/* Trust, going back, and the webhook of a Git host. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/daemon/agent_api.h"
#include "agent/io/os_clock.h"
#include "agent/web/status_json.h"
#include "proto/wire/hmac.h"

#define SIGNERS_PATH 4200
#define COMMIT_BYTES_MAX 16384
#define SECRET_MAX 256

/* ---- allowed signers ---- */

static void reply_trust(struct agent *agent, struct http_request *request)
{
    char path[SIGNERS_PATH] = "";
    bool on = git_is_strict(&agent->repo);

    git_signers_path(&agent->repo, path, sizeof path);
    api_reply_json(request, 200,
                   json_pack("{s:s, s:s, s:b, s:s, s:s}", "apiVersion", API_VERSION, "kind",
                             "Trust", "on", (int)on, "file", path, "message",
                             on ? "only commits of allowed signers are applied"
                                : "every commit that is pushed is applied"));
}

void api_get_trust(struct agent *agent, struct http_request *request)
{
    reply_trust(agent, request);
}

/* Every line: a principal, options, a key (ssh-keygen(1), ALLOWED SIGNERS). */
static bool are_signers(const char *text)
{
    bool any = false;

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len > 0 && text[0] != '#') {
            const char *key = memmem(text, len, " ssh-", 5);
            const char *hardware = memmem(text, len, " sk-ssh-", 8);
            const char *curve = memmem(text, len, " ecdsa-", 7);
            if (key == NULL && hardware == NULL && curve == NULL)
                return false;
            any = true;
        }
        text += len + (text[len] == '\n');
    }
    return any;
}

static int write_signers(const char *path, const char *text, struct err *err)
{
    char temporary[SIGNERS_PATH + 8];
    size_t size = strlen(text);
    int fd;

    snprintf(temporary, sizeof temporary, "%s.new", path);
    (void)unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "write %s", temporary);
    if (write(fd, text, size) != (ssize_t)size || fchmod(fd, 0644) != 0 || fsync(fd) != 0) {
        err_errno(err, ERR_IO, errno, "write %s", temporary);
        close(fd);
        return err->code;
    }
    close(fd);
    if (rename(temporary, path) != 0)
        return err_errno(err, ERR_IO, errno, "write %s", path);
    return ERR_NONE;
}

void api_post_trust(struct agent *agent, struct http_request *request)
{
    json_t *body = json_loadb(request->body, request->size, 0, NULL);
    const char *signers = NULL;
    char path[SIGNERS_PATH];
    struct err err = {.code = ERR_NONE};

    if (json_unpack(body, "{s:s}", "signers", &signers) != 0)
        err_set(&err, ERR_INVALID, "expected {\"signers\": \"ann@home ssh-ed25519 AAAA…\"}");
    else if (request->uid != 0 && request->uid != geteuid())
        err_set(&err, ERR_DENIED, "who is trusted is root's to say: use sudo");
    else if (git_signers_path(&agent->repo, path, sizeof path) != ERR_NONE)
        err_set(&err, ERR_LIMIT, "the path of the repository is too long");
    else if (signers[0] == '\0') {
        if (unlink(path) != 0 && errno != ENOENT)
            err_errno(&err, ERR_IO, errno, "remove %s", path);
    } else if (!are_signers(signers))
        err_set(&err, ERR_INVALID,
                "these are no allowed signers: expected lines such as \"ann@home ssh-ed25519 "
                "AAAA…\" (ssh-keygen(1), ALLOWED SIGNERS)");
    else
        write_signers(path, signers, &err);
    json_decref(body);
    if (err.code != ERR_NONE) {
        api_reply_error(request, &err);
        return;
    }
    agent_report(agent, EFFECT_WARNING, "trust", "%s",
                 git_is_strict(&agent->repo) ? "from now on only commits of allowed signers are "
                                               "applied"
                                             : "from now on every commit is applied");
    reply_trust(agent, request);
}

/* ---- going back ---- */

struct commit_job {
    struct worker_job job; /* first */
    struct agent *agent;
    struct http_request *request;
    struct git_repo repo;
    char revision[GIT_REVISION_MAX]; /* of GET /v1/rollback */
    char text[COMMIT_BYTES_MAX];
    size_t size;
    char commit[COMMIT_TEXT];
    int rc;
    struct err err;
};

static void run_rollback(struct worker_job *job, struct store *store)
{
    struct commit_job *c = (struct commit_job *)job;
    char head[COMMIT_TEXT];

    (void)store;
    c->rc = git_resolve(&c->repo, c->revision, c->commit, &c->err);
    if (c->rc == ERR_NONE)
        c->rc = git_head(&c->repo, head, &c->err);
    if (c->rc == ERR_NONE)
        c->rc = git_revert_text(&c->repo, c->commit, head, os_clock_wall_ms() / 1000, c->text,
                                sizeof c->text, &c->err);
}

static void rollback_done(struct worker_job *job)
{
    struct commit_job *c = (struct commit_job *)job;

    if (c->rc != ERR_NONE)
        api_reply_error(c->request, &c->err);
    else
        api_reply_json(c->request, 200,
                       json_pack("{s:s, s:s, s:s, s:s, s:b}", "apiVersion", API_VERSION, "kind",
                                 "Rollback", "to", c->commit, "text", c->text, "mustBeSigned",
                                 (int)git_is_strict(&c->repo)));
    free(c);
}

static void submit(struct agent *agent, struct commit_job *c)
{
    struct err err;

    c->agent = agent;
    c->repo = agent->repo;
    if (worker_submit(agent->git, &c->job, &err) == ERR_NONE)
        return;
    c->rc = err.code;
    c->err = err;
    c->job.done(&c->job);
}

void api_get_rollback(struct agent *agent, struct http_request *request)
{
    const char *revision = http_query(request, "rev");
    struct commit_job *c;

    if (revision == NULL || strlen(revision) >= GIT_REVISION_MAX) {
        uv_http_text(request, 400, "name a commit: /v1/rollback?rev=main~1\n");
        return;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    c->request = request;
    snprintf(c->revision, sizeof c->revision, "%s", revision);
    c->job.run = run_rollback;
    c->job.done = rollback_done;
    submit(agent, c);
}

static void run_commit(struct worker_job *job, struct store *store)
{
    struct commit_job *c = (struct commit_job *)job;
    char signer[GIT_AUTHOR_MAX];

    (void)store;
    c->rc = git_write_commit(&c->repo, c->text, c->size, c->commit, &c->err);
    if (c->rc == ERR_NONE && git_is_strict(&c->repo))
        c->rc = git_verify(&c->repo, c->commit, signer, &c->err);
}

/* It goes the way of a peer's commit: descent, signature and validity are judged there. */
static void commit_done(struct worker_job *job)
{
    struct commit_job *c = (struct commit_job *)job;
    struct effect_fetch fetch = {.from = c->agent->identity.id};

    if (c->rc != ERR_NONE) {
        api_reply_error(c->request, &c->err);
    } else {
        memcpy(fetch.commit, c->commit, sizeof fetch.commit);
        uv_sync_fetch(c->agent->sync, &fetch);
        api_reply_json(
            c->request, 200,
            json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", API_VERSION, "kind", "Commit", "commit",
                      c->commit, "message",
                      "accepted here; agentctl wait commit=… waits until it is applied"));
    }
    free(c);
}

void api_post_commit(struct agent *agent, struct http_request *request)
{
    struct commit_job *c;

    if (request->size == 0 || request->size > COMMIT_BYTES_MAX) {
        uv_http_text(request, 400, "expected the text of a commit, at most %d bytes\n",
                     COMMIT_BYTES_MAX);
        return;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        uv_http_text(request, 500, "%s\n", err_text(ERR_NOMEM));
        return;
    }
    c->request = request;
    c->size = request->size;
    memcpy(c->text, request->body, request->size);
    c->job.run = run_commit;
    c->job.done = commit_done;
    submit(agent, c);
}

/* ---- webhook ---- */

/* The first line of the secret's file; 0: there is none. */
static size_t read_secret(const char *path, char secret[SECRET_MAX])
{
    FILE *in = fopen(path, "re");
    size_t len = 0;

    if (in == NULL)
        return 0;
    if (fgets(secret, SECRET_MAX, in) != NULL)
        len = strcspn(secret, "\n");
    fclose(in);
    return len;
}

void api_post_webhook(struct agent *agent, struct http_request *request)
{
    const char *given = http_header(request, "X-Hub-Signature-256");
    const char *path = agent->config->repository.webhook_secret_file;
    char expected[8 + HMAC_SHA256_TEXT] = "sha256=";
    char secret[SECRET_MAX];
    size_t len = path != NULL ? read_secret(path, secret) : 0;

    if (len == 0) {
        uv_http_text(request, 404, "there is nothing at %s\n", request->path);
        return;
    }
    hmac_sha256_text(secret, len, request->body, request->size, expected + strlen(expected));
    explicit_bzero(secret, sizeof secret);
    if (given == NULL || !hmac_same_text(expected, given)) {
        uv_http_text(request, 403, "the signature is not valid\n");
        return;
    }
    uv_sync_remote(agent->sync);
    uv_http_text(request, 202, "the remotes are looked at\n");
}
