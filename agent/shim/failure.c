#include "agent/shim/failure.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Whether @path lies where a workload with a /tmp of its own sees an empty folder. */
static bool is_hidden(const struct shim_spec *s, const char *path)
{
    return s->sandbox.private_tmp &&
           (strncmp(path, "/tmp/", 5) == 0 || strncmp(path, "/var/tmp/", 9) == 0);
}

static int explain_execute(const struct shim_spec *s, const char *command, int errnum,
                           struct err *err)
{
    if (errnum == ENOENT && is_hidden(s, command))
        return err_set(err, ERR_NOTFOUND,
                       "%s does not exist for it: it has a /tmp of its own; move the program, or "
                       "set securityContext.privateTmp: false",
                       command);
    if (errnum == ENOENT)
        return err_set(err, ERR_NOTFOUND,
                       strchr(command, '/') != NULL
                           ? "%s does not exist (or the interpreter it names)"
                           : "%s is in no folder of PATH; give its whole path",
                       command);
    if (errnum == EACCES)
        return err_set(err, ERR_DENIED, "%s may not be executed; check its mode and owner",
                       command);
    if (errnum == ENOEXEC)
        return err_set(err, ERR_INVALID,
                       "%s is no program for this machine (another architecture, or a script "
                       "without #!)",
                       command);
    return err_errno(err, ERR_IO, errnum, "execute %s", command);
}

int failure_explain(const struct shim_spec *s, const char *command, const struct failure *f,
                    struct err *err)
{
    switch (f->stage) {
    case STAGE_SETUP:
        return err_errno(err, ERR_IO, f->errnum, "prepare a process for %s", s->instance);
    case STAGE_CGROUP:
        return err_errno(err, ERR_IO, f->errnum, "enter the cgroup %s", s->cgroups[0]);
    case STAGE_LIMITS:
        return err_errno(err, ERR_DENIED, f->errnum, "set the limit of %" PRIu64 " open files",
                         s->nofile);
    case STAGE_MOUNT:
        if (f->errnum == ENOSYS)
            return err_set(err, ERR_DENIED,
                           "%s: this kernel cannot lock its file systems (it takes Linux 5.12): "
                           "set securityContext.readOnlyRootFilesystem: false",
                           s->instance);
        return err_errno(err, ERR_DENIED, f->errnum,
                         "give %s file systems of its own (securityContext: "
                         "readOnlyRootFilesystem, privateTmp)",
                         s->instance);
    case STAGE_USER:
        return err_errno(err, ERR_DENIED, f->errnum, "become user %" PRIu32 ", group %" PRIu32,
                         s->uid, s->gid);
    case STAGE_FILTER:
        return err_errno(err, ERR_DENIED, f->errnum, "filter the system calls of %s by %s",
                         s->instance, s->sandbox.seccomp);
    case STAGE_FOLDER:
        return err_errno(err, ERR_NOTFOUND, f->errnum, "go to the working directory %s",
                         s->working_dir != NULL ? s->working_dir : "/");
    case STAGE_EXECUTE:
    case STAGE_READY:
        break;
    }
    return explain_execute(s, command, f->errnum, err);
}
