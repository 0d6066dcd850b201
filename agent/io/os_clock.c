#include "agent/io/os_clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char boot_id_path[] = "/proc/sys/kernel/random/boot_id";

static int64_t read_ms(clockid_t clock)
{
    struct timespec t;
    /* Fails only for an unknown clock: Linux has had CLOCK_BOOTTIME since 2.6.39. */
    int rc = clock_gettime(clock, &t);

    assert(rc == 0);
    (void)rc;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

mono_t os_clock_now(void)
{
    return (mono_t){read_ms(CLOCK_BOOTTIME)};
}

int64_t os_clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

int os_clock_boot_id(char id[OS_BOOT_ID_TEXT], struct err *err)
{
    char text[OS_BOOT_ID_TEXT];
    ssize_t n;
    int fd;
    int rc = ERR_NONE;

    fd = open(boot_id_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_IO, errno, "open %s", boot_id_path);
    n = read(fd, text, sizeof text);
    if (n < 0) {
        rc = err_errno(err, ERR_IO, errno, "read %s", boot_id_path);
    } else if (n != OS_BOOT_ID_TEXT || text[OS_BOOT_ID_TEXT - 1] != '\n') {
        rc = err_set(err, ERR_INVALID, "%s does not hold an id of %d characters", boot_id_path,
                     OS_BOOT_ID_TEXT - 1);
    } else {
        memcpy(id, text, OS_BOOT_ID_TEXT - 1);
        id[OS_BOOT_ID_TEXT - 1] = '\0';
    }
    close(fd);
    return rc;
}
