/* What of this node's logs is to go, for want of room or because its instance is gone. Pure. */
#ifndef COVEY_LOGS_ROOM_H
#define COVEY_LOGS_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_room {
    uint64_t max_bytes; /* of all logs of this node; 0: no limit */
    int64_t keep_s;     /* an instance that is gone: its log is kept so long after its last line */
};

#define LOG_FILE_NAME 16

struct log_file {
    char name[LOG_FILE_NAME]; /* "log.3" */
    uint64_t inode;
    size_t folder;       /* of one instance: number of the caller's */
    int64_t folder_at_s; /* Unix time of that instance's last line */
    bool gone;           /* that has no shim, and is to have none */
    bool present;        /* "log", which is written to; else a rotated one */
    uint64_t bytes;      /* on the disk */
    int64_t at_s;        /* Unix time of its last line */
    bool remove;         /* out */
};

/* Sorts @files by what would go first, and marks what goes: all of an instance that is gone for
 * longer than it is kept; then, as long as there is more than may be, the oldest rotated files of
 * all instances, then the last files of those that are gone. What a living shim writes to stays:
 * the limit of its own bounds it. Returns the bytes that are left. */
uint64_t log_room_plan(struct log_file *files, size_t count, const struct log_room *room,
                       int64_t now_s);

#endif
