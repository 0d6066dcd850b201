#include "agent/io/os_folder.h"

#include <fts.h>
#include <sys/stat.h>

#define BLOCK 512 /* of st_blocks */

uint64_t os_folder_bytes(const char *path, size_t files_max)
{
    char *roots[] = {(char *)path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    uint64_t bytes = 0;
    FTSENT *entry;

    while (walk != NULL && files_max-- > 0 && (entry = fts_read(walk)) != NULL)
        if (entry->fts_info == FTS_F || entry->fts_info == FTS_D)
            bytes += (uint64_t)entry->fts_statp->st_blocks * BLOCK;
    if (walk != NULL)
        fts_close(walk);
    return bytes;
}
