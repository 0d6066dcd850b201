/* What the programs of tests/bench/kills do: kills_load FILE appends "<pid> <CLOCK_MONOTONIC ns>"
 * to FILE, then writes "<pid> <number>" every 50 ms, from 1 on. SIGUSR1 ends it with exit code 7,
 * after a last line "<pid> end". */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const struct timespec pause = {.tv_nsec = 50000000};
    struct timespec now;
    sigset_t asked;
    char text[64];
    int fd;

    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &asked, NULL);
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "%d %lld\n", (int)getpid(),
             (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    fd = argc == 2 ? open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0666) : -1;
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return 1;
    close(fd);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (long number = 1;; number++) {
        printf("%d %ld\n", (int)getpid(), number);
        if (sigtimedwait(&asked, NULL, &pause) == SIGUSR1) {
            printf("%d end\n", (int)getpid());
            return 7;
        }
    }
}
