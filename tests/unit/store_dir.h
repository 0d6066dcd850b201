/* A folder of its own for each test of the store, and checks that show the error. */
#ifndef COVEY_TESTS_STORE_DIR_H
#define COVEY_TESTS_STORE_DIR_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Both use the `struct err err` of the test. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != ERR_NONE)                                                                    \
            fail_msg("%s: %s", #call, err.text);                                                   \
    } while (0)

#define FAILS(call, expected, part)                                                                \
    do {                                                                                           \
        assert_int_equal(call, expected);                                                          \
        if (strstr(err.text, part) == NULL)                                                        \
            fail_msg("%s: \"%s\" is not in \"%s\"", #call, part, err.text);                        \
    } while (0)

struct store_dir {
    char path[64];
};

static inline int store_dir_make(void **state)
{
    struct store_dir *dir = calloc(1, sizeof *dir);

    if (dir == NULL)
        return -1;
    snprintf(dir->path, sizeof dir->path, "%s", "/tmp/covey-store-XXXXXX");
    if (mkdtemp(dir->path) == NULL) {
        free(dir);
        return -1;
    }
    *state = dir;
    return 0;
}

/* Removes the folder with the files in it. */
static inline int store_dir_remove(void **state)
{
    struct store_dir *dir = *state;
    DIR *stream = opendir(dir->path);
    const struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir->path, entry->d_name);
        (void)unlink(path);
    }
    if (stream != NULL)
        closedir(stream);
    (void)rmdir(dir->path);
    free(dir);
    return 0;
}

static inline void store_dir_file(const struct store_dir *dir, const char *name, char path[512])
{
    snprintf(path, 512, "%s/%s", dir->path, name);
}

#endif
