#include "agent/logs/room.h"

#include <stdlib.h>

static int by_age(const void *a, const void *b)
{
    const struct log_file *x = a;
    const struct log_file *y = b;

    if (x->present != y->present)
        return x->present ? 1 : -1;
    if (x->at_s != y->at_s)
        return x->at_s < y->at_s ? -1 : 1;
    return x->folder < y->folder ? -1 : x->folder > y->folder;
}

uint64_t log_room_plan(struct log_file *files, size_t count, const struct log_room *room,
                       int64_t now_s)
{
    uint64_t left = 0;

    if (count > 0) /* there is no list otherwise */
        qsort(files, count, sizeof *files, by_age);
    for (size_t i = 0; i < count; i++) {
        files[i].remove = files[i].gone && files[i].folder_at_s < now_s - room->keep_s;
        left += files[i].remove ? 0 : files[i].bytes;
    }
    for (size_t i = 0; i < count && room->max_bytes > 0 && left > room->max_bytes; i++) {
        if (files[i].remove || (files[i].present && !files[i].gone))
            continue;
        files[i].remove = true;
        left -= files[i].bytes;
    }
    return left;
}
