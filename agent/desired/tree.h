/* YAML as a small immutable tree.
 *
 * Scalars keep the text that was written: what it means is decided by the schema of its field, so
 * that `value: no` stays "no". Aliases are never followed, so a bomb of them costs nothing. */
#ifndef COVEY_DESIRED_TREE_H
#define COVEY_DESIRED_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/desired/arena.h"
#include "proto/base/err.h"

#define TREE_DEPTH_MAX 32
#define TREE_NODES_MAX 100000 /* values of one file */

enum tree_kind { TREE_SCALAR, TREE_LIST, TREE_MAP, TREE_ALIAS };

struct tree_node {
    enum tree_kind kind;
    int line;         /* from 1 */
    bool plain;       /* scalar written without quotes */
    const char *text; /* scalar: zero-terminated, no other zero inside; alias: its name */
    const char *key;  /* of this node in its map; NULL elsewhere */
    int key_line;
    size_t count;                  /* list, map: children */
    const struct tree_node *first; /* list, map: first child, in the order of the file */
    const struct tree_node *next;  /* next child of the same parent */
};

struct tree_document {
    const struct tree_node *root; /* NULL: an empty document */
    /* The first thing that Covey's own documents may not have, though other YAML may: a key given
     * twice, an anchor, an alias, a tag, a zero byte. "" if there is none. */
    int problem_line;
    const char *problem;
    const struct tree_document *next;
};

/* Reads every document of @data. @file is for messages. The tree lives in @arena and borrows
 * nothing; an empty file has no documents. *@documents is the first of them, in order.
 * Errors, "file:line: ...": ERR_INVALID (no YAML, no UTF-8, a key that is no scalar), ERR_LIMIT
 * (TREE_DEPTH_MAX, TREE_NODES_MAX), ERR_NOMEM. */
int tree_parse(struct arena *arena, const char *file, const char *data, size_t size,
               const struct tree_document **documents, struct err *err);

/* The child of @map with the name @key, or NULL; NULL also where @map is NULL or no map. */
const struct tree_node *tree_get(const struct tree_node *map, const char *key);

/* Nothing was written, or the plain scalars "~" and "null". */
bool tree_is_null(const struct tree_node *node);

/* The line of what @path ("spec.env[2].value") names below @root; where it ends early, the line of
 * the last part that exists. */
int tree_line(const struct tree_node *root, const char *path);

/* A hash of all that @node (NULL is allowed) says; comments, quotes and layout are left out. */
uint64_t tree_hash(const struct tree_node *node);

#endif
