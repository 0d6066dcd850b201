#include "agent/io/os_host.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512
#define LIFE_STEP 0.1       /* JEDEC: the estimate counts tenths */
#define UNDERVOLTAGE_BIT 1u /* of get_throttled: now */
#define SENSORS_MAX 32
#define PATH_SIZE 1024

static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool read_below(const char *root, const char *path, char *text, size_t size)
{
    char whole[PATH_SIZE];
    int n = snprintf(whole, sizeof whole, "%s%s", root, path);

    text[0] = '\0';
    return n > 0 && (size_t)n < sizeof whole && read_text(whole, text, size);
}

static double read_number(const char *root, const char *path, int base, double factor)
{
    char text[64];
    char *end;
    unsigned long long value;

    if (!read_below(root, path, text, sizeof text))
        return NAN;
    value = strtoull(text, &end, base);
    return end == text ? NAN : (double)value * factor;
}

/* The value of "<key>: <n> kB" in /proc/meminfo. */
static double memory(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    return at != NULL ? strtod(at + strlen(key), NULL) * 1024 : NAN;
}

/* The block device that "/" lies on: "mmcblk0" of mmcblk0p2. */
static bool root_device(const char *root, char name[64])
{
    char link[PATH_SIZE];
    char path[256];
    struct stat info;
    ssize_t n;
    char *last;

    if (stat("/", &info) != 0)
        return false;
    n = snprintf(link, sizeof link, "%s/sys/dev/block/%u:%u", root, major(info.st_dev),
                 minor(info.st_dev));
    if (n < 0 || (size_t)n >= sizeof link)
        return false;
    n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    last = strrchr(path, '/');
    if (last == NULL)
        return false;
    snprintf(name, 64, "%.63s", last + 1);
    /* A partition lies below its device. */
    *last = '\0';
    last = strrchr(path, '/');
    if (last != NULL && strncmp(name, last + 1, strlen(last + 1)) == 0)
        snprintf(name, 64, "%.63s", last + 1);
    return true;
}

/* eMMC and some cards tell how much of their life is used, for two kinds of memory: the worse. */
static double life_used(const char *root, const char *device)
{
    unsigned a;
    unsigned b;
    char path[128];
    char text[64];

    snprintf(path, sizeof path, "/sys/block/%s/device/life_time", device);
    if (!read_below(root, path, text, sizeof text) || sscanf(text, "%x %x", &a, &b) != 2 ||
        a + b == 0)
        return NAN;
    return (a > b ? a : b) * LIFE_STEP;
}

static double bytes_written(const char *root, const char *device)
{
    unsigned long long sectors;
    char path[128];
    char text[256];

    snprintf(path, sizeof path, "/sys/block/%s/stat", device);
    if (!read_below(root, path, text, sizeof text) ||
        sscanf(text, "%*u %*u %*u %*u %*u %*u %llu", &sectors) != 1)
        return NAN;
    return (double)sectors * SECTOR;
}

static double count_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the folder itself */

    if (folder == NULL)
        return NAN;
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void read_self(struct os_host *host)
{
    struct timespec cpu;
    unsigned long pages;
    char text[64];

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    host->self_cpu_s = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    host->self_resident = NAN;
    if (read_text("/proc/self/statm", text, sizeof text) && sscanf(text, "%*u %lu", &pages) == 1)
        host->self_resident = (double)pages * (double)sysconf(_SC_PAGESIZE);
    host->self_files = count_files();
}

/* 1 while the supply is too weak: by the firmware's own file, or by the sensor of newer kernels. */
static double undervoltage(const char *root, double throttled)
{
    char path[64];
    char text[32];

    if (!isnan(throttled))
        return (double)((unsigned)throttled & UNDERVOLTAGE_BIT);
    for (int i = 0; i < SENSORS_MAX; i++) {
        snprintf(path, sizeof path, "/sys/class/hwmon/hwmon%d/name", i);
        if (!read_below(root, path, text, sizeof text) || strcmp(text, "rpi_volt\n") != 0)
            continue;
        snprintf(path, sizeof path, "/sys/class/hwmon/hwmon%d/in0_lcrit_alarm", i);
        return read_number(root, path, 10, 1);
    }
    return NAN;
}

void os_host_read(const char *root, const char *folder, struct os_host *host)
{
    static const char throttled[] = "/sys/devices/platform/soc/soc:firmware/get_throttled";
    struct statvfs disk;
    char device[64];
    char text[4096];
    char *end;

    host->temperature_c = read_number(root, "/sys/class/thermal/thermal_zone0/temp", 10, 0.001);
    host->throttled = read_number(root, throttled, 16, 1);
    host->undervoltage = undervoltage(root, host->throttled);
    host->card_life_used = NAN;
    host->card_written = NAN;
    if (root_device(root, device)) {
        host->card_life_used = life_used(root, device);
        host->card_written = bytes_written(root, device);
    }
    host->load1 = read_text("/proc/loadavg", text, sizeof text) ? strtod(text, &end) : NAN;
    host->uptime_s = read_text("/proc/uptime", text, sizeof text) ? strtod(text, &end) : NAN;
    if (!read_text("/proc/meminfo", text, sizeof text))
        text[0] = '\0';
    host->memory_total = memory(text, "MemTotal:");
    host->memory_available = memory(text, "MemAvailable:");
    host->disk_total = NAN;
    host->disk_free = NAN;
    if (statvfs(folder, &disk) == 0) {
        host->disk_total = (double)disk.f_blocks * (double)disk.f_frsize;
        host->disk_free = (double)disk.f_bavail * (double)disk.f_frsize;
    }
    read_self(host);
}
