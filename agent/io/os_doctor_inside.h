/* What the files of os_doctor share. */
#ifndef COVEY_IO_OS_DOCTOR_INSIDE_H
#define COVEY_IO_OS_DOCTOR_INSIDE_H

#include <stdbool.h>

#include "agent/io/os_doctor.h"

/* What was seen. The finding begins as DOCTOR_OK. */
void doctor_seen(struct doctor_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What is wrong. */
void doctor_wrong(struct doctor_finding *f, enum doctor_result result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void doctor_fix(struct doctor_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void doctor_skip(struct doctor_finding *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads a small file of @root ("/proc") into @text, without its last newline. False: it cannot. */
bool doctor_read(const char *root, const char *path, char *text, size_t size);

/* os_doctor_net.c */
void doctor_interface(const struct doctor_where *where, struct doctor_finding *f);
void doctor_power_save(const struct doctor_where *where, struct doctor_finding *f);
void doctor_firmware_arp(const struct doctor_where *where, struct doctor_finding *f);
void doctor_arp_ignore(const struct doctor_where *where, struct doctor_finding *f);
void doctor_rp_filter(const struct doctor_where *where, struct doctor_finding *f);
void doctor_fence(const struct doctor_where *where, struct doctor_finding *f);

#endif
