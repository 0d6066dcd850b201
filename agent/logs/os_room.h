/* Keeps this node's logs within their room. Blocks while it looks at all of them; for a worker's
 * thread. */
#ifndef COVEY_LOGS_OS_ROOM_H
#define COVEY_LOGS_OS_ROOM_H

#include "agent/logs/room.h"
#include "proto/base/err.h"
#include "proto/base/id.h"

#define LOG_ROOM_FILES_MAX 20000 /* looked at, of all instances */

struct log_room_found {
    uint64_t bytes; /* that are left */
    uint64_t removed_bytes;
    unsigned removed;      /* files */
    unsigned removed_gone; /* folders of instances that are gone */
};

struct log_room_instances { /* that are not gone, besides those that have a shim */
    bool known;             /* false: none counts as gone */
    const char (*names)[INSTANCE_MAX];
    size_t count;
};

/* @dir holds the instances' folders of logs, @shims those of their shims. A file that its shim
 * rotates meanwhile stays until the next time. Errors: ERR_IO, ERR_NOMEM. */
int os_room_make(const char *dir, const char *shims, const struct log_room *room,
                 const struct log_room_instances *instances, int64_t now_s,
                 struct log_room_found *found, struct err *err);

#endif
