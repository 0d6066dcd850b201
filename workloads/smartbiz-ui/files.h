/* The files of web/, made into C by embed_web.cmake. */
#ifndef COVEY_WORKLOADS_SMARTBIZ_UI_FILES_H
#define COVEY_WORKLOADS_SMARTBIZ_UI_FILES_H

#include <stddef.h>

struct file_form {
    const char *bytes;
    size_t len; /* 0: not in this form, because it would not be smaller */
};

struct file {
    const char *name;
    const char *type;
    const char *hash; /* of the plain bytes, in hexadecimal */
    struct file_form plain;
    struct file_form gzip;
    struct file_form brotli;
};

extern const struct file files[];
extern const size_t file_count;

#endif
