/* Replays a corpus in builds without libFuzzer: every file of every directory named on the command
 * line, and of the small ones every prefix too. Fails when there is nothing to replay. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1024 * 1024) /* bytes of one file */
#define PREFIX_MAX 2048         /* files up to this size are tried at every length */

/* A block of exactly @len bytes, so that a sanitizer or valgrind sees the first byte too many. */
static int feed(const uint8_t *bytes, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL) {
        fprintf(stderr, "out of memory\n");
        return -1;
    }
    memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
    return 0;
}

static int replay_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX + 1];
    FILE *file = fopen(path, "rb");
    size_t len;
    size_t prefix;
    int failed;

    if (file == NULL) {
        fprintf(stderr, "open %s: %s\n", path, strerror(errno));
        return -1;
    }
    len = fread(bytes, 1, sizeof bytes, file);
    failed = ferror(file);
    fclose(file);
    if (failed || len > INPUT_MAX) {
        fprintf(stderr, "%s cannot be read or is larger than %d bytes\n", path, INPUT_MAX);
        return -1;
    }
    for (prefix = len <= PREFIX_MAX ? 0 : len; prefix < len; prefix++) {
        if (feed(bytes, prefix) < 0)
            return -1;
    }
    return feed(bytes, len);
}

/* Returns the number of files replayed, or -1. */
static int replay_directory(const char *path)
{
    char file[4096];
    const struct dirent *entry;
    DIR *directory = opendir(path);
    int count = 0;

    if (directory == NULL) {
        fprintf(stderr, "open %s: %s\n", path, strerror(errno));
        return -1;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (replay_file(file) < 0) {
            count = -1;
            break;
        }
        count++;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    int i;

    for (i = 1; i < argc; i++) {
        int count = replay_directory(argv[i]);

        if (count < 0)
            return 1;
        total += count;
    }
    if (total == 0) {
        fprintf(stderr, "nothing to replay: %s DIRECTORY...\n", argv[0]);
        return 1;
    }
    printf("%d inputs replayed\n", total);
    return 0;
}
