#include "agent/io/os_saved.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_clock.h"

#define MAGIC 0x434f5659u /* "COVY" */
#define PATH_SIZE 4096

struct slot {
    uint32_t magic;
    uint32_t size; /* of this structure: another release may have another */
    uint64_t number;
    char boot_id[OS_BOOT_ID_TEXT];
    struct node_saved saved;
    uint64_t checksum; /* of all before it */
};

struct os_saved {
    int fd;
    uint64_t number; /* of the slot written last */
    struct slot slot; /* zeroed once, so that padding is not left to chance */
};

static uint64_t checksum(const struct slot *slot)
{
    return hash64(slot, offsetof(struct slot, checksum));
}

static bool read_slot(int fd, int which, const char *boot_id, struct slot *slot)
{
    ssize_t n = pread(fd, slot, sizeof *slot, (off_t)which * (off_t)sizeof *slot);

    return n == (ssize_t)sizeof *slot && slot->magic == MAGIC && slot->size == sizeof *slot &&
           slot->checksum == checksum(slot) && memcmp(slot->boot_id, boot_id, OS_BOOT_ID_TEXT) == 0;
}

int os_saved_open(const char *run_dir, struct os_saved **out, struct node_saved *saved, bool *found,
                  struct err *err)
{
    char path[PATH_SIZE];
    char boot_id[OS_BOOT_ID_TEXT] = "";
    struct os_saved *file;
    int rc = os_clock_boot_id(boot_id, err);

    if (rc != ERR_NONE)
        return rc;
    if (snprintf(path, sizeof path, "%s/leases", run_dir) >= (int)sizeof path)
        return err_set(err, ERR_LIMIT, "run_dir %.100s… is too long", run_dir);
    file = calloc(1, sizeof *file);
    if (file == NULL)
        return err_set(err, ERR_NOMEM, "open %s: %s", path, err_text(ERR_NOMEM));
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file->fd < 0) {
        rc = err_errno(err, ERR_IO, errno, "open %s", path);
        free(file);
        return rc;
    }
    *found = false;
    for (int which = 0; which < 2; which++) {
        if (!read_slot(file->fd, which, boot_id, &file->slot) ||
            (*found && file->slot.number < file->number))
            continue;
        *found = true;
        *saved = file->slot.saved;
        file->number = file->slot.number;
    }
    memset(&file->slot, 0, sizeof file->slot);
    memcpy(file->slot.boot_id, boot_id, sizeof boot_id);
    *out = file;
    return ERR_NONE;
}

int os_saved_write(struct os_saved *file, const struct node_saved *saved, struct err *err)
{
    struct slot *slot = &file->slot;
    off_t at;
    ssize_t n;

    slot->magic = MAGIC;
    slot->size = sizeof *slot;
    slot->number = file->number + 1;
    slot->saved = *saved;
    slot->checksum = checksum(slot);
    at = (off_t)(slot->number % 2) * (off_t)sizeof *slot;
    do
        n = pwrite(file->fd, slot, sizeof *slot, at);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof *slot)
        return err_errno(err, ERR_IO, n < 0 ? errno : ENOSPC,
                         "write the file \"leases\" in the runtime folder");
    file->number = slot->number;
    return ERR_NONE;
}

void os_saved_close(struct os_saved *file)
{
    if (file == NULL)
        return;
    close(file->fd);
    free(file);
}
