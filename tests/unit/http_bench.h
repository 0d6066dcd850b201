/* A server of agent/web/uv_http.h on a thread of its own, and blocking clients for it. */
#ifndef COVEY_TESTS_HTTP_BENCH_H
#define COVEY_TESTS_HTTP_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The server answers:
 *   GET /            "hello"             POST /echo     the body
 *   GET /later       when GET /release is asked
 *   GET /timer       from a timer        GET /cached    with a Cache-Control of its own
 *   GET /who         "local UID" or "remote"
 *   GET /args?name=  the value           GET /hang      never, until the server is closed: then
 * late GET /stream      a stream            POST /say      the body goes to all streams GET
 * /streams     how many            POST /close    closes the server */
struct bench;

struct bench *bench_start(bool unix_socket);
bool bench_closed(struct bench *bench); /* waits until the server said that it is closed */
void bench_stop(struct bench *bench);   /* closes it if it is not, and frees everything */

/* A connection from 127.0.0.@source, or to the unix socket. −1: refused. */
int bench_connect(struct bench *bench, uint8_t source);

void bench_send(int fd, const char *data, size_t size);
void bench_ask(int fd, const char *request); /* as bench_send, of a text */

/* Reads until @size bytes came, the other side ended (then less) or a bound passed (fails). */
size_t bench_read(int fd, char *data, size_t size);

struct reply {
    unsigned status; /* 0: the connection ended without one */
    char head[4096];
    char *body; /* of Content-Length bytes, zero-terminated; freed by the caller */
    size_t size;
};

/* Reads one answer with Content-Length; of a HEAD only the head. */
void bench_reply(int fd, bool head_only, struct reply *reply);

/* Asks "METHOD PATH" on a connection of its own with Host 127.0.0.1 and compares status and body
 * (NULL: not the body). */
void bench_expect(struct bench *bench, const char *what, unsigned status, const char *body);

/* Reads lines of a stream until one contains @text; fails if the stream ends before. */
void bench_until(int fd, const char *text);

#endif
