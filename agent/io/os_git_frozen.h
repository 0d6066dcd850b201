/* The files of a commit, but for apps that stay as an earlier commit had them (suspended ones). */
#ifndef COVEY_IO_OS_GIT_FROZEN_H
#define COVEY_IO_OS_GIT_FROZEN_H

#include "agent/io/os_git.h"
#include "proto/base/id.h"

struct git_frozen {
    char app[NODE_NAME_MAX + 1];
    char commit[COMMIT_TEXT];
};

struct git_mixed;

/* An app whose commit is not here (yet), or is not continued by @commit, is taken from @commit as
 * the others are. Freed by git_mixed_free. Errors: those of git_read_tree, about @commit. */
int git_mixed_read(const struct git_repo *repo, const char *commit, const struct git_frozen *frozen,
                   size_t count, struct git_mixed **mixed, struct err *err);

/* Borrowed until git_mixed_free. */
const struct desired_file *git_mixed_files(const struct git_mixed *mixed, size_t *count);
void git_mixed_free(struct git_mixed *mixed); /* NULL is allowed */

#endif
