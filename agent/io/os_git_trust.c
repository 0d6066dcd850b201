/* Whose commits count, what other repositories have, and commits that are made here. */
#include "agent/io/os_git.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_git_run.h"

#define SIGNERS ".signers"
#define OPTION_MAX (DESIRED_PATH_MAX + 64)

int git_signers_path(const struct git_repo *repo, char *path, size_t size)
{
    int n = snprintf(path, size, "%s" SIGNERS, repo->path);

    return n > 0 && (size_t)n < size ? ERR_NONE : ERR_LIMIT;
}

bool git_is_strict(const struct git_repo *repo)
{
    char path[DESIRED_PATH_MAX + sizeof SIGNERS];

    return git_signers_path(repo, path, sizeof path) == ERR_NONE && access(path, F_OK) == 0;
}

static int judge(const char *commit, const char *answer, char signer[GIT_AUTHOR_MAX],
                 struct err *err)
{
    const char *who = answer[0] != '\0' && answer[1] == '\n' ? answer + 2 : "";
    size_t len = strcspn(who, "\n");

    switch (answer[0]) {
    case 'G':
        snprintf(signer, GIT_AUTHOR_MAX, "%.*s", (int)(len < GIT_AUTHOR_MAX ? len : 0), who);
        return ERR_NONE;
    case 'N':
        return err_set(err, ERR_INVALID,
                       "commit %.10s is not signed, and this flock takes only commits of allowed "
                       "signers: git commit -S, with gpg.format ssh",
                       commit);
    case 'U':
        return err_set(err, ERR_INVALID,
                       "commit %.10s is signed by a key that is not among the allowed signers",
                       commit);
    default:
        return err_set(err, ERR_INVALID, "the signature of commit %.10s is not valid", commit);
    }
}

int git_verify(const struct git_repo *repo, const char *commit, char signer[GIT_AUTHOR_MAX],
               struct err *err)
{
    char option[OPTION_MAX] = "gpg.ssh.allowedSignersFile=";
    size_t used = strlen(option);
    /* Git takes the format from the commit: the others' programs are ones that always fail. */
    struct git_call call = {.args = {"-c", option, "-c", "gpg.program=false", "-c",
                                     "gpg.x509.program=false", "log", "-1", "--no-show-signature",
                                     "--format=%G?%n%GS", commit, "--"}};
    struct child_result result;
    int rc = git_check_commit(commit, err);

    if (rc == ERR_NONE && git_signers_path(repo, option + used, sizeof option - used) != ERR_NONE)
        rc = err_set(err, ERR_LIMIT, "the path of the repository is too long");
    if (rc == ERR_NONE)
        rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0)
        rc = git_or_missing(repo, commit, NULL, git_failed(&result, ERR_IO, err, "verify a commit"),
                            err);
    else
        rc = judge(commit, result.output, signer, err);
    child_result_free(&result);
    return rc;
}

/* ---- other repositories ---- */

/* ssh without a question to anybody, and with the deploy key alone. */
static int ssh_command(const struct git_remote *remote, char *text, size_t size, struct err *err)
{
    char key[512] = "", hosts[512] = "";
    int n;

    /* Paths come from agentd's own configuration; a quote in one would end the word. */
    if ((remote->key != NULL && strpbrk(remote->key, "'\\") != NULL) ||
        (remote->known_hosts != NULL && strpbrk(remote->known_hosts, "'\\") != NULL))
        return err_set(err, ERR_INVALID, "a path of the remote's key holds a quote");
    if (remote->key != NULL)
        snprintf(key, sizeof key, " -i '%.400s' -o IdentitiesOnly=yes", remote->key);
    if (remote->known_hosts != NULL)
        snprintf(hosts, sizeof hosts, " -o UserKnownHostsFile='%.400s'", remote->known_hosts);
    n = snprintf(text, size,
                 "core.sshCommand=ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=%s -o "
                 "ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=2%s%s",
                 remote->known_hosts != NULL ? "yes" : "accept-new", key, hosts);
    return n > 0 && (size_t)n < size
               ? ERR_NONE
               : err_set(err, ERR_LIMIT, "the paths of the remote's keys are too long");
}

/* ssh frames what matters with a banner that fills every message. */
static int fetch_failed(const struct child_result *result, struct err *err)
{
    if (strstr(result->errors, "Host key verification failed") != NULL)
        return err_set(err, ERR_UNREACHABLE,
                       "fetch: Host key verification failed: what answers there is not the host of "
                       "known_hosts, or that file does not know it");
    return git_failed(result, ERR_UNREACHABLE, err, "fetch");
}

int git_fetch_remote(const struct git_repo *repo, const struct git_remote *remote,
                     char commit[COMMIT_TEXT], struct err *err)
{
    char ssh[1400], authority[512], refspec[2 * GIT_BRANCH_MAX + 64];
    struct git_call call = {.args = {"-c",        ssh,
                                     "-c",        authority,
                                     "-c",        "fetch.fsckObjects=true",
                                     "-c",        "fetch.unpackLimit=1",
                                     "-c",        "http.lowSpeedLimit=100",
                                     "-c",        "http.lowSpeedTime=15",
                                     "-c",        "protocol.allow=never",
                                     "-c",        "protocol.https.allow=always",
                                     "-c",        "protocol.ssh.allow=always",
                                     "-c",        "protocol.file.allow=always",
                                     "fetch",     "--quiet",
                                     "--no-tags", "--no-write-fetch-head",
                                     remote->url, refspec}};
    const struct git_repo there = {.path = repo->path, .branch = remote->branch};
    struct child_result result;
    int rc = git_check_branch(&there, err);

    if (rc == ERR_NONE)
        rc = ssh_command(remote, ssh, sizeof ssh, err);
    if (rc != ERR_NONE)
        return rc;
    /* Where there is nothing to say, a setting that nobody reads. */
    snprintf(authority, sizeof authority, "%s%.480s",
             remote->ca_file != NULL ? "http.sslCAInfo=" : "covey.unused=",
             remote->ca_file != NULL ? remote->ca_file : "true");
    snprintf(refspec, sizeof refspec, "+refs/heads/%s:refs/covey/remote", remote->branch);
    rc = git_run(repo, &call, &result, err);
    if (rc == ERR_NONE) {
        rc = result.status != 0 ? fetch_failed(&result, err) : ERR_NONE;
        child_result_free(&result);
    }
    if (rc != ERR_NONE) {
        err_wrap(err, "%.100s", remote->url);
        return rc;
    }
    return git_resolve(repo, "refs/covey/remote", commit, err);
}

/* ---- commits that are made here ---- */

int git_revert_text(const struct git_repo *repo, const char *to, const char *head, int64_t now,
                    char *text, size_t size, struct err *err)
{
    char tree[COMMIT_TEXT + 16];
    struct git_call call = {.args = {"rev-parse", "--verify", "--quiet", "--end-of-options", tree}};
    struct child_result result;
    struct git_commit info;
    int rc = git_check_commit(head, err);
    int n;

    if (rc == ERR_NONE)
        rc = git_describe(repo, to, &info, err);
    if (rc != ERR_NONE)
        return rc;
    snprintf(tree, sizeof tree, "%s^{tree}", to);
    rc = git_run(repo, &call, &result, err);
    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0 || result.output_size != COMMIT_TEXT) {
        rc = git_failed(&result, ERR_IO, err, "look up a tree");
    } else {
        result.output[COMMIT_TEXT - 1] = '\0';
        n = snprintf(text, size,
                     "tree %s\nparent %s\nauthor agentctl <agentctl@localhost> %lld +0000\n"
                     "committer agentctl <agentctl@localhost> %lld +0000\n\n"
                     "Go back to %.10s: %s\n",
                     result.output, head, (long long)now, (long long)now, to, info.subject);
        if (n < 0 || (size_t)n >= size)
            rc = err_set(err, ERR_LIMIT, "the commit is too long");
    }
    child_result_free(&result);
    return rc;
}

int git_write_commit(const struct git_repo *repo, const char *text, size_t size,
                     char commit[COMMIT_TEXT], struct err *err)
{
    struct git_call call = {.args = {"hash-object", "-t", "commit", "-w", "--stdin"},
                            .input = text,
                            .input_size = size};
    struct child_result result;
    int rc = git_run(repo, &call, &result, err);

    if (rc != ERR_NONE)
        return rc;
    if (result.status != 0 || result.output_size != COMMIT_TEXT)
        rc = git_failed(&result, ERR_INVALID, err, "write the commit");
    else {
        result.output[COMMIT_TEXT - 1] = '\0';
        memcpy(commit, result.output, COMMIT_TEXT);
    }
    child_result_free(&result);
    return rc;
}
