/* What the supervised programs of tests/bench/supervise do:
 *   supervise_load stamp FILE          appends "<pid> <CLOCK_MONOTONIC ns>" to FILE, then waits
 *   supervise_load lines COUNT FILE    writes so many numbered lines of 100 bytes to its output as
 *                                      fast as it can, then appends the nanoseconds it took to FILE
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE 100
#define BLOCK 640 /* lines: 64,000 bytes, a pipe's content */

static long long now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void append(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0666);

    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(1);
    close(fd);
}

static int write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(1, data, size);
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char block[BLOCK * LINE + 1];
    long long began = now();
    char text[64];
    long count;

    if (argc == 3 && strcmp(argv[1], "stamp") == 0) {
        snprintf(text, sizeof text, "%d %lld\n", (int)getpid(), began);
        append(argv[2], text);
        for (;;)
            pause();
    }
    if (argc != 4 || strcmp(argv[1], "lines") != 0)
        return 2;
    count = atol(argv[2]);
    for (int i = 0; i < BLOCK; i++)
        snprintf(block + i * LINE, LINE + 1, "%-*s\n", LINE - 1,
                 "2026-01-31 payment 4711 accepted in 13 ms, by the card of customer 815");
    for (; count > 0; count -= BLOCK)
        if (write_all(block, (size_t)(count < BLOCK ? count : BLOCK) * LINE) != 0)
            return 1;
    snprintf(text, sizeof text, "%lld\n", now() - began);
    append(argv[3], text);
    return 0;
}
