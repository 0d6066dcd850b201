#include "agent/io/os_mnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* Kernels send dumps in packets of at most 32 KiB to sockets that read with such a buffer. */
#define ANSWER_MAX 32768

int os_mnl_code(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_NONE;
    case EPERM:
    case EACCES:
        return ERR_DENIED;
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
    case EADDRNOTAVAIL:
        return ERR_NOTFOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_NOMEM;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

int os_mnl_ipv4(const struct addr *a, uint32_t *ip, struct err *err)
{
    if (a->family != 4)
        return err_set(err, ERR_INVALID, "a virtual IP must be an IPv4 address");
    memcpy(ip, a->ip, sizeof *ip);
    return ERR_NONE;
}

struct addr os_mnl_addr(uint32_t ip)
{
    struct addr a = {.family = 4};

    memcpy(a.ip, &ip, sizeof ip);
    return a;
}

int os_mnl_open(struct os_mnl *m, int bus, struct err *err)
{
    struct timeval limit = {.tv_sec = OS_MNL_ANSWER_MS / 1000};
    struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC);

    if (socket == NULL)
        return err_errno(err, ERR_IO, errno, "open a netlink socket");
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
        setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0) {
        int rc = err_errno(err, ERR_IO, errno, "prepare a netlink socket");
        mnl_socket_close(socket);
        return rc;
    }
    *m = (struct os_mnl){.socket = socket};
    return ERR_NONE;
}

void os_mnl_close(struct os_mnl *m)
{
    if (m->socket != NULL)
        mnl_socket_close(m->socket);
    m->socket = NULL;
}

static ssize_t receive(struct os_mnl *m, char *buffer, size_t size)
{
    ssize_t n;

    do {
        n = mnl_socket_recvfrom(m->socket, buffer, size);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        errno = ETIMEDOUT;
    return n;
}

/* The errno inside an NLMSG_ERROR message; 0 is an acknowledgement. */
static int error_of(const struct nlmsghdr *message)
{
    const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

    if (message->nlmsg_len < mnl_nlmsg_size(sizeof *error))
        return EBADMSG;
    return error->error < 0 ? -error->error : error->error;
}

int os_mnl_transact(struct os_mnl *m, const void *request, size_t len, uint32_t messages,
                    uint32_t acks)
{
    _Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
    uint32_t first = m->seq + 1;

    m->seq += messages;
    if (mnl_socket_sendto(m->socket, request, len) < 0)
        return errno;
    while (acks > 0) {
        ssize_t n = receive(m, answer, sizeof answer);
        const struct nlmsghdr *message = (const struct nlmsghdr *)answer;
        int left = (int)n;

        if (n < 0)
            return errno;
        for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
            /* Answers to a request that was given up are not ours. */
            if (message->nlmsg_seq - first >= messages || message->nlmsg_type != NLMSG_ERROR)
                continue;
            if (error_of(message) != 0)
                return error_of(message);
            if (acks > 0)
                acks--;
        }
    }
    return 0;
}

int os_mnl_request(struct os_mnl *m, struct nlmsghdr *request)
{
    request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
    request->nlmsg_seq = m->seq + 1;
    return os_mnl_transact(m, request, request->nlmsg_len, 1, 1);
}

int os_mnl_query(struct os_mnl *m, struct nlmsghdr *request, mnl_cb_t row, void *context)
{
    _Alignas(struct nlmsghdr) char answer[ANSWER_MAX];
    bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    bool stopped = false;

    request->nlmsg_flags |= NLM_F_REQUEST;
    request->nlmsg_seq = ++m->seq;
    if (mnl_socket_sendto(m->socket, request, request->nlmsg_len) < 0)
        return errno;
    for (;;) {
        ssize_t n = receive(m, answer, sizeof answer);
        const struct nlmsghdr *message = (const struct nlmsghdr *)answer;
        int left = (int)n;

        if (n < 0)
            return errno;
        for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
            if (message->nlmsg_seq != m->seq)
                continue;
            if (message->nlmsg_flags & NLM_F_DUMP_INTR)
                return EINTR;
            if (message->nlmsg_type == NLMSG_ERROR)
                return error_of(message);
            if (message->nlmsg_type == NLMSG_DONE)
                return 0;
            if (!stopped && row(message, context) != MNL_CB_OK)
                stopped = true;
            if (!dump)
                return 0;
        }
    }
}
