#include "workloads/smartbiz-api/call.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/lib/emit.h"

#define ATTEMPTS_MAX 4 /* of a write that met a deadlock */

struct pg_statement api_statement(enum statement which)
{
    static const struct {
        enum pg_kind kind;
        const char *text;
    } statements[ST_COUNT] = {
        [ST_ARTICLE_GET] = {PG_READ, sql_article_get},
        [ST_ARTICLE_CREATE] = {PG_WRITE, sql_article_create},
        [ST_ARTICLE_UPDATE] = {PG_WRITE, sql_article_update},
        [ST_ARTICLE_DELETE] = {PG_WRITE, sql_article_delete},
        [ST_STOCK_ADJUST] = {PG_WRITE, sql_stock_adjust},
        [ST_CUSTOMER_GET] = {PG_READ, sql_customer_get},
        [ST_CUSTOMER_CREATE] = {PG_WRITE, sql_customer_create},
        [ST_CUSTOMER_UPDATE] = {PG_WRITE, sql_customer_update},
        [ST_CUSTOMER_DELETE] = {PG_WRITE, sql_customer_delete},
        [ST_ORDER_GET] = {PG_READ, sql_order_get},
        [ST_ORDER_CREATE] = {PG_WRITE, sql_order_create},
        [ST_ORDER_UPDATE] = {PG_WRITE, sql_order_update},
        [ST_ORDER_MOVE] = {PG_WRITE, sql_order_move},
        [ST_KEY_GET] = {PG_READ, sql_key_get},
        [ST_KEYS_EXPIRE] = {PG_WRITE, sql_keys_expire},
        [ST_TOTALS] = {PG_READ, sql_totals},
        [ST_DASHBOARD] = {PG_READ, sql_dashboard},
        [ST_IMPORT_ARTICLES] = {PG_WRITE, sql_import_articles},
    };

    return (struct pg_statement){which, statements[which].kind, statements[which].text, false};
}

struct number_text number(int64_t value)
{
    struct number_text n;

    snprintf(n.text, sizeof n.text, "%" PRId64, value);
    return n;
}

/* --- what a request says of itself --------------------------------------------------------- */

bool path_id(struct request *request, int64_t *id)
{
    if (read_int(request_param(request, 0), id) && *id > 0)
        return true;
    reply_problem(request, 400, "id", "must be a whole number greater than 0");
    return false;
}

bool read_if_match(struct request *request, char version[VERSION_TEXT])
{
    const char *tag = request_header(request, "If-Match");
    size_t digits;

    version[0] = '\0';
    if (tag == NULL || strcmp(tag, "*") == 0)
        return true;
    digits = strncmp(tag, "\"v", 2) == 0 ? strspn(tag + 2, "0123456789") : 0;
    /* A version has at most 18 digits here: what is longer was never given. */
    if (digits > 0 && digits <= 18 && tag[strlen(tag) - 1] == '"' &&
        (tag[2 + digits] == '"' || tag[2 + digits] == '-')) {
        memcpy(version, tag + 2, digits);
        version[digits] = '\0';
        return true;
    }
    if (tag[0] == '"' || strncmp(tag, "W/\"", 3) == 0)
        reply_problem(request, 412, "If-Match", "is not the entity tag of any version");
    else
        reply_problem(request, 400, "If-Match", "must be one entity tag, or *");
    return false;
}

/* X-User, percent-encoded UTF-8 as a header wants it. */
static bool read_actor(struct request *request, char actor[ACTOR_MAX + 1])
{
    const char *user = request_header(request, "X-User");
    char text[3 * ACTOR_MAX + 1];

    if (user == NULL || *user == '\0') {
        strcpy(actor, "anonymous");
        return true;
    }
    if (strlen(user) < sizeof text) {
        strcpy(text, user);
        if (percent_decode(text) && strlen(text) <= ACTOR_MAX) {
            strcpy(actor, text);
            return true;
        }
    }
    reply_problem(request, 400, "X-User", "must be UTF-8, percent-encoded, of at most %d bytes",
                  ACTOR_MAX);
    return false;
}

static bool read_key(struct request *request, char key[KEY_MAX + 1])
{
    const char *text = request_header(request, "Idempotency-Key");
    size_t len = text == NULL ? 0 : strlen(text);

    key[0] = '\0';
    if (text == NULL)
        return true;
    for (size_t i = 0; i < len && len <= KEY_MAX; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            len = KEY_MAX + 1;
    if (len > 0 && len <= KEY_MAX) {
        memcpy(key, text, len + 1);
        return true;
    }
    reply_problem(request, 400, "Idempotency-Key", "must be 1 to %d visible ASCII characters",
                  KEY_MAX);
    return false;
}

/* FNV-1a: it tells apart what a client mixed up, not what an attacker made. */
static uint64_t mix(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(1099511628211);
    return hash;
}

static void make_fingerprint(struct call *call)
{
    const char *method = request_method(call->request);
    const char *path = request_path(call->request);
    size_t len;
    const char *body = request_body(call->request, &len);
    uint64_t hash = mix(UINT64_C(14695981039346656037), method, strlen(method));

    hash = mix(hash, path, strlen(path) + 1);
    hash = mix(hash, body, len);
    snprintf(call->fingerprint, sizeof call->fingerprint, "%016" PRIx64, hash);
}

/* --- life --------------------------------------------------------------------------------- */

static void call_free(struct call *call)
{
    if (call->on_free != NULL)
        call->on_free(call);
    free(call->state);
    free(call);
}

static void reply_unavailable(struct request *request, const char *detail)
{
    reply_problem(request, 503, NULL, "%s", detail);
    reply_header(request, "Retry-After", "1");
}

bool call_begin(struct call **out, struct request *request, void *context, void *state)
{
    struct api *api = context;
    struct call *call = NULL;
    char actor[ACTOR_MAX + 1];

    if (!read_actor(request, actor)) {
        free(state);
        return false;
    }
    if (api->ready)
        call = calloc(1, sizeof *call);
    if (call == NULL) {
        free(state);
        reply_unavailable(request, api->ready ? "out of memory" : "the database is not ready yet");
        return false;
    }
    call->request = request;
    call->api = api;
    call->state = state;
    strcpy(call->actor, actor);
    request_wait(request);
    *out = call;
    return true;
}

void call_end(struct call *call)
{
    struct request *request = call->request;

    call_free(call);
    request_finish(request);
}

void call_problem(struct call *call, int status, const char *field, const char *detail, ...)
{
    char text[256];
    va_list args;

    va_start(args, detail);
    if (vsnprintf(text, sizeof text, detail, args) < 0)
        text[0] = '\0';
    va_end(args);
    reply_problem(call->request, status, field, "%s", text);
    /* A refusal may come from the client's own first attempt, which took the stock: then that one
     * is the answer. */
    if (call->key[0] != '\0' && !call->done_before)
        call_key_taken(call);
    else
        call_end(call);
}

/* --- asking ------------------------------------------------------------------------------- */

static void violated(struct call *call, const struct pg_answer *answer)
{
    static const struct {
        const char *constraint;
        int status;
        const char *field;
        const char *detail;
    } known[] = {
        {"articles_sku_key", 409, "sku", "belongs to another article"},
        {"customers_email_key", 409, "email", "belongs to another customer"},
        {"articles_stock_not_negative", 409, "stock", "must not become negative"},
    };

    if (strcmp(answer->constraint, "idempotency_keys_pkey") == 0) {
        call_key_taken(call);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(answer->constraint, known[i].constraint) == 0) {
            call_problem(call, known[i].status, known[i].field, "%s", known[i].detail);
            return;
        }
    }
    if (strcmp(answer->sqlstate, "23502") == 0 && call->run != NULL)
        call_problem(call, 422, NULL, "a new article needs a name and a price");
    else if (strncmp(answer->sqlstate, "23", 2) == 0)
        call_problem(call, 409, NULL, "this contradicts what is stored already");
    else if (strncmp(answer->sqlstate, "22", 2) == 0)
        call_problem(call, 422, NULL, "a value is outside of what can be stored");
    else
        call_problem(call, 500, NULL,
                     "the database refused this; the log of the service says more");
}

static void failed(struct call *call, const struct pg_answer *answer)
{
    const char *detail = "the database is not reachable";

    if (answer->code == ERR_INVALID &&
        (strcmp(answer->sqlstate, "40P01") == 0 || strcmp(answer->sqlstate, "40001") == 0) &&
        call->run != NULL && call->attempts < ATTEMPTS_MAX) {
        call->attempts++;
        call->run(call);
        return;
    }
    if (answer->code == ERR_INVALID) {
        violated(call, answer);
        return;
    }
    if (answer->unknown)
        detail = "the database went away while it worked on this: it may have been done. Look, or "
                 "repeat it with the same Idempotency-Key";
    else if (answer->code == ERR_TIMEOUT)
        detail = "the database took too long; nothing was changed";
    else if (answer->code == ERR_FULL || answer->code == ERR_NOMEM)
        detail = "too many requests at once";
    reply_unavailable(call->request, detail);
    call_end(call);
}

static void answered(void *context, const struct pg_answer *answer)
{
    struct call *call = context;

    if (answer->code == ERR_NONE)
        call->rows(call, answer->result);
    else
        failed(call, answer);
}

void call_ask(struct call *call, const struct pg_statement *statement, const char *const *params,
              size_t count, call_rows *rows)
{
    call->rows = rows;
    pg_query(call->api->pg, statement, params, count, answered, call);
}

void call_ask_for(struct call *call, enum statement which, const char *const *params, size_t count,
                  call_rows *rows)
{
    const struct pg_statement statement = api_statement(which);

    call_ask(call, &statement, params, count, rows);
}

/* --- Idempotency-Key ---------------------------------------------------------------------- */

const char *call_key(const struct call *call)
{
    return call->key[0] != '\0' ? call->key : NULL;
}

static void show_replayed(struct call *call, const PGresult *result)
{
    if (PQntuples(result) == 0) {
        call_problem(call, 410, NULL, "what this key has made does not exist any more");
        return;
    }
    call->show(call, result, call->status);
    reply_header(call->request, "Idempotency-Replayed", "true");
    call_end(call);
}

static void replay(struct call *call, const PGresult *key)
{
    const char *resource = PQgetvalue(key, 0, 2);

    call->done_before = true;
    if (strcmp(PQgetvalue(key, 0, 0), call->fingerprint) != 0) {
        call_problem(call, 422, "Idempotency-Key", "was used for another request");
        return;
    }
    call->status = atoi(PQgetvalue(key, 0, 1));
    call_ask_for(call, call->resource, &resource, 1, show_replayed);
}

static void found_before(struct call *call, const PGresult *result)
{
    if (PQntuples(result) > 0)
        replay(call, result);
    else
        call->run(call);
}

static void found_behind(struct call *call, const PGresult *result)
{
    if (PQntuples(result) > 0)
        replay(call, result);
    else if (request_is_replied(call->request))
        call_end(call); /* the refusal stands */
    else
        call_problem(call, 409, "Idempotency-Key", "belongs to a request that failed meanwhile");
}

void call_key_taken(struct call *call)
{
    const char *key = call->key;

    if (key[0] == '\0') {
        call_problem(call, 409, NULL, "something else was changed at the same time; try again");
        return;
    }
    call->done_before = true;
    call_ask_for(call, ST_KEY_GET, &key, 1, found_behind);
}

void call_write(struct call *call, enum statement resource, call_show *show, call_step *run)
{
    const char *key = call->key;

    call->resource = resource;
    call->show = show;
    call->run = run;
    if (!read_key(call->request, call->key)) {
        call_end(call);
        return;
    }
    if (call->key[0] == '\0') {
        run(call);
        return;
    }
    make_fingerprint(call);
    call_ask_for(call, ST_KEY_GET, &key, 1, found_before);
}
