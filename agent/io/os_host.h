/* The machine itself: what it measures of its own state. */
#ifndef COVEY_IO_OS_HOST_H
#define COVEY_IO_OS_HOST_H

#include <stdint.h>

struct os_host { /* NAN: this machine does not say */
    double temperature_c;
    double throttled;        /* bits of the Pi's firmware (vcgencmd get_throttled) */
    double undervoltage;     /* 1 now, 0 not */
    double card_life_used;   /* 0..1 of the card's or eMMC's life, as it estimates it itself */
    double card_written;     /* bytes written to the device of / since boot */
    double load1;            /* runnable processes, mean of a minute */
    double memory_total;     /* bytes */
    double memory_available; /* bytes */
    double disk_total;       /* bytes of the file system of a folder */
    double disk_free;        /* bytes of it that are left */
    double uptime_s;
    double self_cpu_s;    /* this process */
    double self_resident; /* bytes */
    double self_files;    /* open descriptors */
};

/* @root: "", or a folder whose "sys" is read instead of /sys. @folder: whose file system disk_* is
 * about. */
void os_host_read(const char *root, const char *folder, struct os_host *host);

#endif
