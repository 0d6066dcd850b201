/* agentctl: what its subcommands share. One file per subcommand (cmd_NAME.c); main.c has the table
 * that help, errors and dispatch come from. */
#ifndef COVEY_TOOLS_AGENTCTL_H
#define COVEY_TOOLS_AGENTCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/base/err.h"

#define AGENTCTL_SOCKET "/run/covey/agent.sock"
#define AGENTCTL_TIMEOUT_S 15

struct context {
    const char *socket;
    bool json;  /* -o json */
    bool quiet; /* -q */
    bool color;
    long timeout_s; /* --timeout */
};

struct command {
    const char *name;
    const char *arguments; /* "[NAME]" */
    const char *summary;
    const char *help;                                                 /* examples and details */
    int (*run)(const struct context *context, int argc, char **argv); /* exit status */
};

int cmd_status(const struct context *context, int argc, char **argv);
int cmd_members(const struct context *context, int argc, char **argv);
int cmd_net(const struct context *context, int argc, char **argv);
int cmd_cron(const struct context *context, int argc, char **argv);
int cmd_apps(const struct context *context, int argc, char **argv);
int cmd_vip(const struct context *context, int argc, char **argv);
int cmd_doctor(const struct context *context, int argc, char **argv);
int cmd_events(const struct context *context, int argc, char **argv);
int cmd_sync(const struct context *context, int argc, char **argv);
int cmd_logs(const struct context *context, int argc, char **argv);
int cmd_init(const struct context *context, int argc, char **argv);
int cmd_token(const struct context *context, int argc, char **argv);
int cmd_node(const struct context *context, int argc, char **argv);
int cmd_keys(const struct context *context, int argc, char **argv);
int cmd_join(const struct context *context, int argc, char **argv);
int cmd_drain(const struct context *context, int argc, char **argv);
int cmd_undrain(const struct context *context, int argc, char **argv);
int cmd_wait(const struct context *context, int argc, char **argv);
int cmd_validate(const struct context *context, int argc, char **argv);
int cmd_trust(const struct context *context, int argc, char **argv);
int cmd_rollback(const struct context *context, int argc, char **argv);
int cmd_diff(const struct context *context, int argc, char **argv);
int cmd_get(const struct context *context, int argc, char **argv);
int cmd_history(const struct context *context, int argc, char **argv);
int cmd_explain(const struct context *context, int argc, char **argv);
int cmd_hook(const struct context *context, int argc, char **argv);
int cmd_secret(const struct context *context, int argc, char **argv);
int cmd_push(const struct context *context, int argc, char **argv);
int cmd_suspend(const struct context *context, int argc, char **argv);
int cmd_resume(const struct context *context, int argc, char **argv);
int cmd_upgrade(const struct context *context, int argc, char **argv);
int cmd_version(const struct context *context, int argc, char **argv);

/* Seconds of "90", "15m", "2h", "1d"; 0: it is none. */
json_int_t duration(const char *text);

/* client.c: one request to the agent. On success *answer is the body's JSON, or, where text is
 * wanted instead, *text its bytes (malloc); both may be NULL. A refusal by the agent becomes an
 * error with its words. Errors: ERR_UNREACHABLE, ERR_TIMEOUT, ERR_DENIED, and what the agent says.
 */
int client_request(const struct context *context, const char *method, const char *path,
                   const json_t *body, json_t **answer, char **text, struct err *err);

/* POSTs @text, which is no JSON; the answer is. */
int client_send(const struct context *context, const char *path, const char *text, json_t **answer,
                struct err *err);

/* Prints "agentctl: …" and returns the exit status of the error. */
int fail(const struct err *err);
/* Prints "agentctl NAME: …" and how to get help; returns 2. */
int usage(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sends @body (NULL: none) to @path and prints the answer, as JSON or its member @field; the exit
 * status. */
int post(const struct context *context, const char *path, const json_t *body, const char *field);

/* Requests @path and prints it as JSON (context->json) or by @print; the exit status. */
int show(const struct context *context, const char *path,
         void (*print)(const struct context *context, const json_t *document));
void print_json(const json_t *document);

/* table.c: columns as wide as their widest cell. On a terminal the last one is wrapped at its edge.
 */
#define TABLE_COLUMNS_MAX 10

struct table;
enum table_color { TABLE_PLAIN, TABLE_GOOD, TABLE_WARNING, TABLE_BAD };

/* @columns: names, NULL-terminated. NULL when memory is short: the other calls accept that. */
struct table *table_new(const struct context *context, const char *const *columns);
void table_cell(struct table *table, enum table_color color, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void table_print(struct table *table); /* and frees it */

/* "3 min": how long ago an RFC 3339 time was; "-" for none. */
const char *age(const json_t *time, char *buffer, size_t size);
enum table_color state_color(const char *state);
const char *member_string(const json_t *object, const char *name); /* "" if it is none */

#endif
