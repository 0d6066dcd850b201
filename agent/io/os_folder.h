/* How much a folder holds. */
#ifndef COVEY_IO_OS_FOLDER_H
#define COVEY_IO_OS_FOLDER_H

#include <stddef.h>
#include <stdint.h>

/* Bytes on the disk of what lies in @path, links not followed and other file systems left out; at
 * most @files_max entries are looked at. What cannot be read counts nothing. */
uint64_t os_folder_bytes(const char *path, size_t files_max);

#endif
