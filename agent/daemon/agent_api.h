/* What the files of the API share. For agent_api*.c only. */
#ifndef COVEY_DAEMON_AGENT_API_H
#define COVEY_DAEMON_AGENT_API_H

#include <jansson.h>

#include "agent/daemon/agent.h"
#include "agent/web/status_json.h"

/* All of them end the request; @document is theirs, NULL is answered as a lack of memory. */
void api_reply_json(struct http_request *request, unsigned code, json_t *document);
void api_reply_error(struct http_request *request, const struct err *err);
void api_reply_message(struct http_request *request, const char *kind, const char *message);

#define API_LIST_DEFAULT 50

/* Events after number @since, at most the newest @limit, oldest first. */
json_t *api_events(const struct agent *agent, uint64_t since, uint64_t limit);
/* The whole status; a node that is in no flock has one too. */
json_t *api_status(struct agent *agent);

int api_take_status(struct agent *agent, struct status **status); /* ERR_NOMEM */

/* agent_api_flock.c */
void api_get_nodes(struct agent *agent, struct http_request *request);
void api_post_approve(struct agent *agent, struct http_request *request);
void api_post_revoke(struct agent *agent, struct http_request *request);
void api_get_tokens(struct agent *agent, struct http_request *request);
void api_post_token_revoke(struct agent *agent, struct http_request *request);
void api_get_keys(struct agent *agent, struct http_request *request);
void api_post_rotate(struct agent *agent, struct http_request *request);

/* agent_api_join.c */
void api_post_init(struct agent *agent, struct http_request *request);
void api_post_join(struct agent *agent, struct http_request *request);
void api_post_tokens(struct agent *agent, struct http_request *request);

/* agent_api_suspend.c */
void api_post_suspend(struct agent *agent, struct http_request *request);
void api_post_resume(struct agent *agent, struct http_request *request);

/* agent_api_secret.c */
void api_get_secret_keys(struct agent *agent, struct http_request *request);
void api_post_reseal(struct agent *agent, struct http_request *request);

/* agent_api_vip.c */
void api_post_move(struct agent *agent, struct http_request *request);

/* agent_api_state.c */
void api_get_files(struct agent *agent, struct http_request *request);
void api_get_objects(struct agent *agent, struct http_request *request);
void api_get_history(struct agent *agent, struct http_request *request);

/* agent_api_trust.c */
void api_get_trust(struct agent *agent, struct http_request *request);
void api_post_trust(struct agent *agent, struct http_request *request);
void api_get_rollback(struct agent *agent, struct http_request *request);
void api_post_commit(struct agent *agent, struct http_request *request);
void api_post_webhook(struct agent *agent, struct http_request *request);

#endif
