/* The files of a desired state in a folder: for `agentctl validate DIR`, without Git or a daemon.
 */
#ifndef COVEY_IO_OS_TREE_H
#define COVEY_IO_OS_TREE_H

#include <stddef.h>

#include "agent/desired/desired.h"
#include "proto/base/err.h"

#define TREE_FOLDERS_MAX 16 /* folders inside each other below @dir */

struct os_tree; /* owns what was read */

/* Reads what desired_wants() of @dir: cluster.yaml and YAML files below apps/. Nothing outside @dir
 * is read: symbolic links are refused, and so is what is no file. Limits as desired_parse has them.
 * Errors: ERR_NOTFOUND (no such folder, or neither cluster.yaml nor apps/ in it), ERR_INVALID,
 * ERR_LIMIT, ERR_IO, ERR_NOMEM. */
int os_tree_read(const char *dir, struct os_tree **tree, struct err *err);

/* Sorted by path (bytewise); borrowed from @tree. */
const struct desired_file *os_tree_files(const struct os_tree *tree, size_t *count);

void os_tree_free(struct os_tree *tree); /* NULL is allowed */

#endif
