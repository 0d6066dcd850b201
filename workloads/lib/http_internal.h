/* What the files of the HTTP server share: see http.h. */
#ifndef COVEY_WORKLOADS_HTTP_INTERNAL_H
#define COVEY_WORKLOADS_HTTP_INTERNAL_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include <microhttpd.h>

#include "workloads/lib/http.h"

#define STATUS_MIN 100
#define STATUS_MAX 599
#define NEVER INT64_MAX

enum stage {
    STAGE_IDLE,     /* between requests */
    STAGE_READING,  /* headers are read, the body may follow */
    STAGE_DEFERRED, /* the handler asked to be called again */
    STAGE_WAITING,  /* somebody will call request_finish */
    STAGE_REPLIED,  /* the reply is queued */
};

/* One connection, and the request that it carries at present: requests on a connection follow one
 * another, so the memory of one serves them all. */
struct request {
    struct http *http;
    struct MHD_Connection *connection;
    int fd;
    struct request *next;     /* under http->lock */
    struct request **link;    /* under http->lock */
    int64_t resume_at;        /* under http->lock; NEVER: not deferred */
    _Atomic int64_t deadline; /* microseconds; NEVER while the handler has the request */
    struct rng rng;
    char peer[INET6_ADDRSTRLEN];

    enum stage stage;
    const char *method; /* libmicrohttpd's, until completion */
    const char *url;    /* likewise */
    char path[256];     /* for the log: cut */
    char id[HTTP_ID_MAX + 1];
    int64_t started;   /* microseconds */
    _Atomic bool used; /* the connection has carried a request */
    enum route_result found;
    struct route_match match;
    bool header_too_large;
    bool body_too_large;
    uint64_t body_seen; /* bytes, the dropped ones too */
    struct out body;
    route_handler *resume;
    int64_t wants_resume; /* microseconds: what the handler asked for */
    bool finished;        /* STAGE_WAITING: the reply is made */
    bool suspended;       /* STAGE_WAITING: libmicrohttpd knows */

    int status; /* 0: no reply yet */
    const char *content_type;
    char content_type_text[128];
    const char *constant;
    size_t constant_len;
    size_t header_count;
    struct {
        const char *name;
        char value[REPLY_HEADER_VALUE_MAX];
    } headers[REPLY_HEADERS_MAX];
    struct out reply;
    char storage[1024];
};

/* Series that are found without a search. The last row is for what has no route. */
struct route_series {
    _Atomic(struct metric *) duration;
    _Atomic(struct metric *) by_status[STATUS_MAX - STATUS_MIN + 1];
};

struct http {
    struct http_config config;
    struct MHD_Daemon *daemon;
    int listen_fd;                   /* while the daemon has it; -1 afterwards */
    struct MHD_Daemon *probe_daemon; /* on a socket for probes alone (inherit.h); NULL: none */
    int probe_fd;                    /* -1: none */
    bool inherited;                  /* another process accepts from the sockets too */
    int64_t fresh_until;             /* until then a new connection's first request is waited for */
    int epoll_fd;                    /* of both, in the caller's loop; -1: there is one daemon */
    uint16_t port;
    struct metric_family *requests; /* NULL: requests are not counted */
    struct metric_family *durations;
    struct metric *in_flight_gauge;
    struct route_series *series; /* route_count + 1 of them */
    _Atomic unsigned in_flight;
    atomic_bool draining; /* no new connections, replies close theirs */

    pthread_mutex_t lock;
    struct request *first; /* every connection */
    struct rng seeds;      /* of the connections' generators */
    bool cancelled;        /* whoever is or wants to be deferred gets a 503 */
    bool clock_stop;
    int64_t clock_wakes; /* when the clock thread looks again */
    pthread_cond_t clock_changed;
    pthread_t clock;
};

int64_t now_us(void);

/* http_clock.c: one thread that resumes deferred requests and disconnects slow clients. */
int clock_start(struct http *http, struct err *err);
void clock_end(struct http *http);
/* Lets the clock thread look no later than @when. The caller holds http->lock. */
void clock_expect(struct http *http, int64_t when);
/* Resumes and disconnects what is due; returns when to look again. The caller holds http->lock. */
int64_t clock_look(struct http *http);

/* http_request.c: libmicrohttpd's callbacks. */
enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                           const char *method, const char *version, const char *upload,
                           size_t *upload_len, void **request_context);
void on_completed(void *cls, struct MHD_Connection *connection, void **request_context,
                  enum MHD_RequestTerminationCode code);
int metrics_prepare(struct http *http, struct err *err);

/* http_reply.c: sends the reply that the handler made. */
enum MHD_Result reply_send(struct request *request);

#endif
