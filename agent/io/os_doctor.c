#include "agent/io/os_doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <time.h>

#include <linux/magic.h>

#include "agent/io/os_doctor_inside.h"

#define FILE_MAX 4096
#define PATH_LEN 512
#define MIB (1024.0 * 1024.0)
#define DISK_LOW_MIB 500          /* a log and an upgrade still fit */
#define DISK_FULL_MIB 100         /* commits are soon refused */
#define CLOCK_EARLIEST 1735689600 /* 2025-01-01: a Pi has no clock of its own */
#define UNDERVOLTAGE_NOW 0x1UL    /* of get_throttled */
#define UNDERVOLTAGE_BEFORE 0x10000UL

const char *doctor_result_name(enum doctor_result result)
{
    static const char *const names[] = {[DOCTOR_OK] = "ok",
                                        [DOCTOR_WARNING] = "warning",
                                        [DOCTOR_BAD] = "bad",
                                        [DOCTOR_SKIPPED] = "skipped"};
    return names[result];
}

void doctor_seen(struct doctor_finding *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(f->evidence, sizeof f->evidence, format, args);
    va_end(args);
}

void doctor_wrong(struct doctor_finding *f, enum doctor_result result, const char *format, ...)
{
    va_list args;

    f->result = result;
    va_start(args, format);
    vsnprintf(f->cause, sizeof f->cause, format, args);
    va_end(args);
}

void doctor_fix(struct doctor_finding *f, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(f->fix, sizeof f->fix, format, args);
    va_end(args);
}

void doctor_skip(struct doctor_finding *f, const char *format, ...)
{
    va_list args;

    f->result = DOCTOR_SKIPPED;
    va_start(args, format);
    vsnprintf(f->evidence, sizeof f->evidence, format, args);
    va_end(args);
}

bool doctor_read(const char *root, const char *path, char *text, size_t size)
{
    char whole[PATH_LEN];
    FILE *file;
    size_t n;

    if (snprintf(whole, sizeof whole, "%s/%s", root, path) >= (int)sizeof whole)
        return false;
    file = fopen(whole, "re");
    if (file == NULL)
        return false;
    n = fread(text, 1, size - 1, file);
    fclose(file);
    text[n] = '\0';
    while (n > 0 && text[n - 1] == '\n')
        text[--n] = '\0';
    return true;
}

static void clock_right(const struct doctor_where *where, struct doctor_finding *f)
{
    struct timex state = {.modes = 0};
    time_t now = time(NULL);
    char text[32] = "";
    struct tm tm;

    (void)where;
    if (gmtime_r(&now, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    if (now < CLOCK_EARLIEST) {
        doctor_seen(f, "it is said to be %s UTC", text);
        doctor_wrong(f, DOCTOR_BAD, "The clock is wrong: tokens, certificates and cron runs fail");
    } else if (adjtimex(&state) == TIME_ERROR && (state.status & STA_UNSYNC) != 0) {
        doctor_seen(f, "%s UTC; the kernel says that nobody synchronizes it", text);
        doctor_wrong(f, DOCTOR_WARNING, "Nothing keeps the clock right");
    } else {
        doctor_seen(f, "%s UTC, synchronized", text);
        return;
    }
    doctor_fix(f, "timedatectl set-ntp true; then timedatectl timesync-status shows the server");
}

static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);
    const char *at = text;

    while ((at = strstr(at, word)) != NULL) {
        bool begins = at == text || at[-1] == ' ';
        if (begins && (at[len] == ' ' || at[len] == '\0' || at[len] == '\n'))
            return true;
        at += len;
    }
    return false;
}

/* The unified hierarchy lists what it can limit; Raspberry Pi OS leaves memory out by default. */
static void cgroup_controllers(const struct doctor_where *where, struct doctor_finding *f)
{
    static const char *const wanted[] = {"memory", "cpu", "pids"};
    char text[FILE_MAX];
    char missing[64] = "";
    size_t used = 0;

    if (!doctor_read(where->sys, "fs/cgroup/cgroup.controllers", text, sizeof text)) {
        doctor_seen(f, "there is no unified hierarchy at %s/fs/cgroup", where->sys);
        doctor_wrong(f, DOCTOR_WARNING,
                     "Limits of workloads rest on the old control groups, if on anything");
        doctor_fix(f, "add systemd.unified_cgroup_hierarchy=1 to the kernel's command line");
        return;
    }
    doctor_seen(f, "controllers: %.200s", text);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (!has_word(text, wanted[i]))
            used += (size_t)snprintf(missing + used, sizeof missing - used, " %s", wanted[i]);
    if (used == 0)
        return;
    doctor_wrong(f, DOCTOR_WARNING, "Limits are not kept: the kernel has no controller for%s",
                 missing);
    doctor_fix(f, "append cgroup_enable=memory cgroup_memory=1 to the one line of "
                  "/boot/firmware/cmdline.txt, and reboot");
}

static void disk_space(const struct doctor_where *where, struct doctor_finding *f)
{
    struct statvfs disk;
    double left;

    if (statvfs(where->state_dir, &disk) != 0) {
        doctor_skip(f, "%.200s cannot be looked at", where->state_dir);
        return;
    }
    left = (double)disk.f_bavail * (double)disk.f_frsize / MIB;
    doctor_seen(f, "%.0f MiB and %llu files are left for %.150s", left,
                (unsigned long long)disk.f_favail, where->state_dir);
    if (left < DISK_FULL_MIB || (disk.f_files > 0 && disk.f_favail < 1000))
        doctor_wrong(f, DOCTOR_BAD, "The disk is full: commits will be refused");
    else if (left < DISK_LOW_MIB)
        doctor_wrong(f, DOCTOR_WARNING, "The disk is nearly full");
    else
        return;
    doctor_fix(f, "see what is large: du -xh --max-depth=2 / | sort -h | tail");
}

static void run_folder(const struct doctor_where *where, struct doctor_finding *f)
{
    struct statfs disk;

    if (statfs(where->run_dir, &disk) != 0) {
        doctor_skip(f, "there is no %.200s: the agent has not run since the boot", where->run_dir);
        return;
    }
    doctor_seen(f, "%.200s is %s", where->run_dir,
                disk.f_type == TMPFS_MAGIC ? "in memory" : "on a disk");
    if (disk.f_type == TMPFS_MAGIC)
        return;
    doctor_wrong(f, DOCTOR_WARNING,
                 "Every vote and lease is written to flash, some ten times a second");
    doctor_fix(f, "set run_dir to a folder below /run");
}

static void supply_voltage(const struct doctor_where *where, struct doctor_finding *f)
{
    char text[64];
    unsigned long flags;

    if (!doctor_read(where->sys, "devices/platform/soc/soc:firmware/get_throttled", text,
                     sizeof text)) {
        doctor_skip(f, "this machine's firmware does not tell its supply voltage");
        return;
    }
    flags = strtoul(text, NULL, 16);
    doctor_seen(f, "the firmware reports throttled=0x%lx", flags);
    if ((flags & UNDERVOLTAGE_NOW) != 0)
        doctor_wrong(f, DOCTOR_BAD, "The supply voltage is too low now: cards and radios fail so");
    else if ((flags & UNDERVOLTAGE_BEFORE) != 0)
        doctor_wrong(f, DOCTOR_WARNING, "The supply voltage was too low since the boot");
    else
        return;
    doctor_fix(f, "use the official power supply and a short, thick cable");
}

const struct doctor_check doctor_checks[] = {
    {"interface", doctor_interface},
    {"power-save", doctor_power_save},
    {"firmware-arp", doctor_firmware_arp},
    {"arp_ignore", doctor_arp_ignore},
    {"rp_filter", doctor_rp_filter},
    {"fence", doctor_fence},
    {"clock", clock_right},
    {"cgroups", cgroup_controllers},
    {"disk", disk_space},
    {"run-folder", run_folder},
    {"voltage", supply_voltage},
    {NULL, NULL},
};
