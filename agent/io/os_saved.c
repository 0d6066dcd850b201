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

struct head {
    uint32_t magic;
    uint32_t layout; /* size of struct node_saved: another release may have another */
    uint64_t number;
    char boot_id[OS_BOOT_ID_TEXT];
    uint32_t size;     /* of the packed record behind */
    uint64_t checksum; /* of that, and of the head with 0 here */
};

/* The packed record is the structure without the places of its lists that are not in use: it is
 * written 20 times a second by who holds a lease. */
struct slot {
    struct head head;
    uint8_t packed[sizeof(struct node_saved)];
};

struct os_saved {
    int fd;
    uint64_t number;  /* of the slot written last */
    struct slot slot; /* zeroed once, so that padding is not left to chance */
};

static uint64_t checksum(const struct slot *slot)
{
    struct head head;

    memcpy(&head, &slot->head, sizeof head);
    head.checksum = 0;
    return hash64_mix(hash64(&head, sizeof head), hash64(slot->packed, head.size));
}

/* The parts of a record, in the order in which they are packed. */
enum { PARTS = 5 };

struct part {
    size_t offset;
    size_t size;
};

static bool list_parts(const struct node_saved *saved, struct part parts[PARTS])
{
    const struct leases_record *leases = &saved->leases;

    if (leases->promise_count > LEASES_PROMISES_MAX || leases->holding_count > LEASES_MAX ||
        saved->address_count > LEASES_MAX)
        return false;
    parts[0] = (struct part){0, offsetof(struct node_saved, leases.promises)};
    parts[1] = (struct part){offsetof(struct node_saved, address_count), sizeof(uint32_t)};
    parts[2] = (struct part){offsetof(struct node_saved, leases.promises),
                             leases->promise_count * sizeof leases->promises[0]};
    parts[3] = (struct part){offsetof(struct node_saved, leases.holdings),
                             leases->holding_count * sizeof leases->holdings[0]};
    parts[4] = (struct part){offsetof(struct node_saved, addresses),
                             saved->address_count * sizeof saved->addresses[0]};
    return true;
}

static bool pack(const struct node_saved *saved, struct slot *slot)
{
    struct part parts[PARTS];

    slot->head.size = 0;
    if (!list_parts(saved, parts))
        return false;
    for (int i = 0; i < PARTS; i++) {
        memcpy(slot->packed + slot->head.size, (const uint8_t *)saved + parts[i].offset,
               parts[i].size);
        slot->head.size += (uint32_t)parts[i].size;
    }
    return true;
}

static bool unpack(const struct slot *slot, struct node_saved *saved)
{
    struct part parts[PARTS];
    size_t at = 0;

    memset(saved, 0, sizeof *saved);
    for (int i = 0; i < PARTS; i++) {
        /* The first two parts say how long the others are. */
        if (!list_parts(saved, parts) || slot->head.size - at < parts[i].size)
            return false;
        memcpy((uint8_t *)saved + parts[i].offset, slot->packed + at, parts[i].size);
        at += parts[i].size;
    }
    return at == slot->head.size;
}

static bool read_slot(int fd, int which, const char *boot_id, struct slot *slot,
                      struct node_saved *saved)
{
    const struct head *head = &slot->head;
    ssize_t n;

    memset(slot, 0, sizeof *slot);
    n = pread(fd, slot, sizeof *slot, (off_t)which * (off_t)sizeof *slot);
    return n >= (ssize_t)sizeof *head && head->magic == MAGIC &&
           head->layout == sizeof(struct node_saved) && head->size <= sizeof slot->packed &&
           n >= (ssize_t)(sizeof *head + head->size) && head->checksum == checksum(slot) &&
           memcmp(head->boot_id, boot_id, OS_BOOT_ID_TEXT) == 0 && unpack(slot, saved);
}

int os_saved_open(const char *run_dir, struct os_saved **out, struct node_saved *saved, bool *found,
                  struct err *err)
{
    char path[PATH_SIZE];
    char boot_id[OS_BOOT_ID_TEXT] = "";
    struct node_saved candidate;
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
        if (!read_slot(file->fd, which, boot_id, &file->slot, &candidate) ||
            (*found && file->slot.head.number < file->number))
            continue;
        *found = true;
        *saved = candidate;
        file->number = file->slot.head.number;
    }
    memset(&file->slot, 0, sizeof file->slot);
    memcpy(file->slot.head.boot_id, boot_id, sizeof boot_id);
    *out = file;
    return ERR_NONE;
}

int os_saved_write(struct os_saved *file, const struct node_saved *saved, struct err *err)
{
    struct slot *slot = &file->slot;
    size_t size;
    off_t at;
    ssize_t n;

    if (!pack(saved, slot))
        return err_set(err, ERR_IO, "the record of leases names more of them than there can be");
    size = sizeof slot->head + slot->head.size;
    slot->head.magic = MAGIC;
    slot->head.layout = sizeof(struct node_saved);
    slot->head.number = file->number + 1;
    slot->head.checksum = checksum(slot);
    at = (off_t)(slot->head.number % 2) * (off_t)sizeof *slot;
    do
        n = pwrite(file->fd, slot, size, at);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)size)
        return err_errno(err, ERR_IO, n < 0 ? errno : ENOSPC,
                         "write the file \"leases\" in the runtime folder");
    file->number = slot->head.number;
    return ERR_NONE;
}

void os_saved_close(struct os_saved *file)
{
    if (file == NULL)
        return;
    close(file->fd);
    free(file);
}
