#include "workloads/lib/stop.h"

#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <time.h>

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

void stop_prepare(void)
{
    sigset_t set;

    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

bool stop_wait(int64_t us)
{
    int64_t end = us < 0 ? INT64_MAX : now_us() + us;
    sigset_t set;

    stop_signals(&set);
    for (;;) {
        int64_t left = us < 0 ? 3600 * INT64_C(1000000) : end - now_us();
        struct timespec wait = {0};
        if (left > 0) {
            wait.tv_sec = (time_t)(left / 1000000);
            wait.tv_nsec = (long)(left % 1000000) * 1000;
        }
        if (sigtimedwait(&set, NULL, &wait) > 0)
            return true;
        if (us >= 0 && now_us() >= end)
            return false;
    }
}

int stop_fd(void)
{
    sigset_t set;

    stop_signals(&set);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
