/* The inside of the agent's side of shims, shared by os_shim*.c alone. */
#ifndef COVEY_IO_OS_SHIM_INSIDE_H
#define COVEY_IO_OS_SHIM_INSIDE_H

#include <sys/types.h>

#include "agent/io/os_shim.h"

#define OS_SHIM_PATH 4096

struct os_shim {
    int fd;
    int dir;       /* of the instance */
    pid_t starter; /* the program that was started: it forks the shim and ends. 0: reaped */
    struct shim_record last; /* shim_pid 0: none came yet */
    int32_t ended;           /* main process of the run before this one; 0: there was none */
    int sockets[SHIM_LISTEN_MAX];
    uint32_t socket_count;
};

/* Harmless if it is there. Errors: ERR_IO. */
int os_shim_make_folder(const char *path, mode_t mode, struct err *err);
/* "<base>/<middle><name>"; errors: ERR_LIMIT. */
int os_shim_join(char path[OS_SHIM_PATH], const char *base, const char *middle, const char *name,
                 struct err *err);
/* The folder of an instance. Errors: ERR_INVALID, ERR_LIMIT; ERR_NOTFOUND, ERR_IO. */
int os_shim_folder(const struct os_shims *where, const char *instance, char path[OS_SHIM_PATH],
                   struct err *err);
int os_shim_open_folder(const struct os_shims *where, const char *instance, int *dir,
                        struct err *err);
/* Errors: ERR_UNREACHABLE. */
int os_shim_request(struct os_shim *shim, const struct shim_request *request, struct err *err);

#endif
