/* What libmicrohttpd itself can do: one constant reply, nothing read, logged or counted.
 *     bare_httpd PORT THREADS */
#include <microhttpd.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

static enum MHD_Result answer(void *response, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **context)
{
    static char seen;
    (void)url;
    (void)method;
    (void)version;
    (void)upload;
    (void)upload_len;

    if (*context == NULL) { /* a reply to the first call would close the connection */
        *context = &seen;
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

int main(int argc, char **argv)
{
    static char body[] = "{\"status\":\"healthy\",\"service\":\"rest-api\",\"timestamp\":"
                         "\"2026-01-31T09:30:00.000001Z\"}";
    struct MHD_Response *response;
    struct MHD_Daemon *daemon;
    sigset_t stop;
    int which;

    if (argc != 3)
        return 2;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    response = MHD_create_response_from_buffer(sizeof body - 1, body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL ||
        MHD_add_response_header(response, "Content-Type", "application/json") != MHD_YES)
        return 1;
    daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)atoi(argv[1]), NULL, NULL,
                              answer, response, MHD_OPTION_THREAD_POOL_SIZE,
                              (unsigned)atoi(argv[2]), MHD_OPTION_END);
    if (daemon == NULL)
        return 1;
    sigwait(&stop, &which);
    MHD_stop_daemon(daemon);
    MHD_destroy_response(response);
    return 0;
}
