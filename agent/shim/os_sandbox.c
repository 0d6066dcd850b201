#include "agent/shim/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CAPABILITIES 64 /* more than there are: those that the kernel does not know are skipped */
#define FILTER_BYTES 32768 /* BPF_MAXINSNS instructions of 8 bytes */
#define TMP_OPTIONS "mode=1777"

/* ---- the file systems ---- */

/* Its folders on the way of @path, as far as they are missing: in a tmpfs that was just mounted. */
static void make_folders(const char *path)
{
    char part[4096];

    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return;
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0755);
        *slash = '/';
    }
    mkdir(part, 0755);
}

static int set_read_only(const char *path, bool on, unsigned flags)
{
    struct mount_attr attributes = {0};

    if (on)
        attributes.attr_set = MOUNT_ATTR_RDONLY;
    else
        attributes.attr_clr = MOUNT_ATTR_RDONLY;
    return mount_setattr(AT_FDCWD, path, flags, &attributes, sizeof attributes);
}

static int mount_tmp(void)
{
    static const char *const places[] = {"/tmp", "/var/tmp", "/dev/shm"};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        /* A small system may lack one of them; a workload will not find it either. */
        if (mount("tmpfs", places[i], "tmpfs", MS_NOSUID | MS_NODEV, TMP_OPTIONS) != 0 &&
            errno != ENOENT)
            return -1;
    }
    return 0;
}

/* Everything becomes read-only but devices, /proc and the private folders in memory. */
static int lock_root(bool private_tmp)
{
    static const char *const open_places[] = {"/dev", "/proc", "/tmp", "/var/tmp", "/dev/shm"};
    size_t count = private_tmp ? 5 : 2;

    if (set_read_only("/", true, AT_RECURSIVE) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        /* EINVAL: no mount of its own. */
        if (set_read_only(open_places[i], false, 0) != 0 && errno != EINVAL && errno != ENOENT)
            return -1;
    }
    return 0;
}

int sandbox_mount(const struct shim_sandbox *s)
{
    int trees[SHIM_PATHS_MAX];
    size_t count = 0;

    if (!s->private_tmp && !s->read_only)
        return 0;
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return -1;
    /* The writable folders are taken out before what lies around them is covered or locked. */
    for (; count < SHIM_PATHS_MAX && s->paths[count] != NULL; count++) {
        trees[count] = open_tree(AT_FDCWD, s->paths[count],
                                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        if (trees[count] < 0 && errno != ENOENT)
            return -1;
    }
    if (s->private_tmp && mount_tmp() != 0)
        return -1;
    for (size_t i = 0; s->private_tmp && i < count; i++)
        make_folders(s->paths[i]);
    if (s->read_only && lock_root(s->private_tmp) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (trees[i] < 0)
            continue;
        if (move_mount(trees[i], "", AT_FDCWD, s->paths[i], MOVE_MOUNT_F_EMPTY_PATH) != 0)
            return -1;
        close(trees[i]);
    }
    return 0;
}

/* ---- capabilities ---- */

static bool kept(const struct shim_sandbox *s, unsigned capability)
{
    return (s->capability >> capability & 1) != 0;
}

int sandbox_bound(const struct shim_sandbox *s)
{
    if (!s->bound)
        return 0;
    for (unsigned i = 0; i < CAPABILITIES; i++) {
        if (!kept(s, i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0 && errno != EINVAL)
            return -1;
    }
    return s->capability != 0 ? prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) : 0;
}

int sandbox_keep(const struct shim_sandbox *s)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (!s->bound)
        return 0;
    for (int i = 0; i < 2; i++) {
        uint32_t bits = (uint32_t)(s->capability >> (32 * i));
        data[i] = (struct __user_cap_data_struct){bits, bits, bits};
    }
    if (syscall(SYS_capset, &header, data) != 0)
        return -1;
    for (unsigned i = 0; i < CAPABILITIES; i++) {
        if (kept(s, i) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) != 0)
            return -1;
    }
    return 0;
}

/* ---- system calls ---- */

int sandbox_read_filter(const struct shim_sandbox *s, struct sandbox_filter *filter)
{
    ssize_t n;
    int fd;

    filter->size = 0;
    if (s->seccomp == NULL)
        return 0;
    fd = open(s->seccomp, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    n = read(fd, filter->text, sizeof filter->text);
    close(fd);
    if (n <= 0 || n % (ssize_t)sizeof(struct sock_filter) != 0) {
        errno = n < 0 ? errno : ENOEXEC;
        return -1;
    }
    filter->size = (size_t)n;
    return 0;
}

int sandbox_filter(struct sandbox_filter *filter)
{
    struct sock_fprog program = {
        .len = (unsigned short)(filter->size / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(void *)filter->text,
    };

    return filter->size == 0 ? 0 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}
