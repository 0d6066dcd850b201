/* listen-exec ADDRESS:PORT -- COMMAND [ARGUMENT...]
 *
 * Opens a listening TCP socket in the network namespace that it is started in and becomes COMMAND,
 * which finds the socket as descriptor 3 with LISTEN_FDS and LISTEN_PID, as sd_listen_fds(3)
 * describes. The demonstration hands a socket of the host into a Pi's namespace by it; it is also
 * what systemd's agentd.socket does, without systemd. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_FD 3 /* SD_LISTEN_FDS_START */
#define BACKLOG 64

/* Splits "127.0.0.1:80" or "[::1]:80" in place. Returns 0, or -1 if @text is neither. */
static int split(char *text, const char **host, const char **port)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL || colon == text || colon[1] == '\0')
        return -1;
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    if (text[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        *host = text + 1;
    }
    return 0;
}

/* Returns the descriptor, or -1 with errno set; EINVAL for an address that is none. */
static int listen_at(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *address;
    int on = 1;
    int error;
    int fd;

    if (getaddrinfo(host, port, &hints, &address) != 0) {
        errno = EINVAL;
        return -1;
    }
    fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        goto out;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        goto out;
    error = errno;
    close(fd);
    fd = -1;
    errno = error;
out:
    freeaddrinfo(address);
    return fd;
}

int main(int argc, char **argv)
{
    const char *host;
    const char *port;
    char pid[16];
    int fd;

    if (argc < 4 || strcmp(argv[2], "--") != 0 || split(argv[1], &host, &port) < 0) {
        fprintf(stderr, "usage: listen-exec ADDRESS:PORT -- COMMAND [ARGUMENT...]\n");
        return 2;
    }
    fd = listen_at(host, port);
    if (fd < 0) {
        fprintf(stderr, "listen-exec: cannot listen on %s port %s: %s\n", host, port,
                strerror(errno));
        return 1;
    }
    /* dup2 leaves no close-on-exec on the copy; where the socket is 3 already it must be cleared.
     */
    if (fd == LISTEN_FD ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, LISTEN_FD) < 0) {
        perror("listen-exec: descriptor 3");
        return 1;
    }
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    if (setenv("LISTEN_FDS", "1", 1) < 0 || setenv("LISTEN_PID", pid, 1) < 0) {
        perror("listen-exec: environment");
        return 1;
    }
    execvp(argv[3], argv + 3);
    fprintf(stderr, "listen-exec: cannot run %s: %s\n", argv[3], strerror(errno));
    return 127;
}
