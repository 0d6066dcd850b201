/* agent-seccomp FILE: writes the default filter of system calls for workloads, as BPF, to FILE.
 *
 * A program of its own, run by agentd at its start, so that libseccomp is in the memory of neither
 * agentd nor the shims. Every system call that libseccomp knows for this machine is allowed, save
 * those below: they are for administrators, or have been the way out of many a sandbox. What it
 * does not know, as those of a kernel newer than it, fails with ENOSYS. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBERS_MAX 1024     /* system calls are numbered below this */
#define ARM_PRIVATE 0x0f0000 /* those of 32-bit ARM, a handful, begin here */
#define ARM_PRIVATE_MAX 8

/* Fail with EPERM. */
static const char *const refused[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "chroot",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mbind",
    "migrate_pages",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "_sysctl",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "vhangup",
    "vm86",
    "vm86old",
};

static bool is_refused(const char *name)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (strcmp(name, refused[i]) == 0)
            return true;
    return false;
}

/* Namespaces of its own would give a workload the privileges that the filter is to keep from it.
 * clone3's flags lie in memory, where a filter cannot see them: with ENOSYS the C library takes
 * clone. */
static int add_clone(scmp_filter_ctx filter)
{
    const scmp_datum_t namespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces, 0));
}

static int add_number(scmp_filter_ctx filter, uint32_t arch, int number)
{
    char *name = seccomp_syscall_resolve_num_arch(arch, number);
    uint32_t action;
    int rc = 0;

    if (name == NULL)
        return 0;
    if (strcmp(name, "clone") == 0) {
        rc = add_clone(filter);
    } else if (strcmp(name, "clone3") != 0) {
        action = is_refused(name) ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW;
        rc = seccomp_rule_add(filter, action, seccomp_syscall_resolve_name(name), 0);
    }
    free(name);
    return rc;
}

static int make_filter(scmp_filter_ctx *result)
{
    uint32_t arch = seccomp_arch_native();
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc = 0;

    if (filter == NULL)
        return -ENOMEM;
    rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    /* A tree instead of a list: a system call costs ten comparisons, not hundreds. */
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (int n = 0; rc == 0 && n < NUMBERS_MAX; n++)
        rc = add_number(filter, arch, n);
    for (int n = 0; rc == 0 && arch == SCMP_ARCH_ARM && n < ARM_PRIVATE_MAX; n++)
        rc = add_number(filter, arch, ARM_PRIVATE + n);
    if (rc != 0) {
        seccomp_release(filter);
        return rc;
    }
    *result = filter;
    return 0;
}

int main(int argc, char **argv)
{
    scmp_filter_ctx filter;
    char temporary[4096];
    int rc;
    int fd;

    if (argc != 2 || snprintf(temporary, sizeof temporary, "%s.new", argv[1]) >= 4096) {
        fputs("usage: agent-seccomp FILE   (agentd runs it)\n", stderr);
        return 2;
    }
    rc = make_filter(&filter);
    if (rc != 0) {
        fprintf(stderr, "make the filter of system calls: %s\n", strerror(-rc));
        return 1;
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    rc = fd < 0 ? -errno : seccomp_export_bpf(filter, fd);
    seccomp_release(filter);
    if (rc == 0 && (close(fd) != 0 || rename(temporary, argv[1]) != 0))
        rc = -errno;
    if (rc != 0) {
        fprintf(stderr, "write %s: %s\n", argv[1], strerror(-rc));
        unlink(temporary);
        return 1;
    }
    return 0;
}
