#include "workloads/log-generator/scenarios.h"

#include "workloads/lib/emit.h"
#include "workloads/lib/random.h"

#define PICK(rng, array) ((array)[rng_below((rng), sizeof(array) / sizeof(array)[0])])

static void user_login(struct rng *rng, struct out *o)
{
    char session[UUID_TEXT];
    char ip[sizeof "192.168.1."] = "192.168.1.";
    struct out address;
    char text[24];

    out_init(&address, text, sizeof text, 0);
    out_text(&address, ip);
    out_int(&address, rng_range(rng, 1, 254));
    random_uuid(rng, session);
    emit_key_int(o, "user_id", rng_range(rng, 1, 1000));
    emit_key(o, "ip");
    emit_string_n(o, address.data, address.len);
    emit_key_string(o, "session_id", session);
}

static void api_request(struct rng *rng, struct out *o)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    static const char *const paths[] = {"/api/users", "/api/orders", "/api/products"};
    static const int statuses[] = {200, 201, 204, 400, 404};
    char id[UUID_TEXT];

    random_uuid(rng, id);
    emit_key_string(o, "method", PICK(rng, methods));
    emit_key_string(o, "path", PICK(rng, paths));
    emit_key_int(o, "status", PICK(rng, statuses));
    emit_key_decimal(o, "duration_ms", rng_range(rng, 500, 50000), 2);
    emit_key_string(o, "request_id", id);
}

static void cache_lookup(struct rng *rng, struct out *o)
{
    struct out key;
    char text[24];

    out_init(&key, text, sizeof text, 0);
    out_text(&key, "user:");
    out_int(&key, rng_range(rng, 1, 1000));
    emit_key(o, "key");
    emit_string_n(o, key.data, key.len);
    emit_key_bool(o, "hit", rng_below(rng, 100) < 80);
}

static void slow_query(struct rng *rng, struct out *o)
{
    emit_key_string(o, "query", "SELECT * FROM orders WHERE customer_id = ?");
    emit_key_decimal(o, "duration_ms", rng_range(rng, 100000, 500000), 2);
}

static void payment_failed(struct rng *rng, struct out *o)
{
    static const char *const errors[] = {"insufficient_funds", "card_expired", "network_error"};

    emit_key_int(o, "order_id", rng_range(rng, 1000, 9999));
    emit_key_decimal(o, "amount", rng_range(rng, 1000, 100000), 2);
    emit_key_string(o, "error", PICK(rng, errors));
}

static void database_down(struct rng *rng, struct out *o)
{
    emit_key_string(o, "host", "postgres");
    emit_key_int(o, "port", 5432);
    emit_key_int(o, "retry_in_s", rng_range(rng, 1, 30));
}

enum {
    LOGIN,
    REQUEST,
    CACHE,
    SLOW_QUERY,
    PAYMENT,
    DATABASE,
    EVENTS,
};

static const struct {
    enum log_level level;
    const char *message;
    void (*members)(struct rng *rng, struct out *o);
} events[EVENTS] = {
    [LOGIN] = {LEVEL_INFO, "User logged in", user_login},
    [REQUEST] = {LEVEL_INFO, "API request completed", api_request},
    [CACHE] = {LEVEL_DEBUG, "Cache lookup", cache_lookup},
    [SLOW_QUERY] = {LEVEL_WARNING, "Slow database query", slow_query},
    [PAYMENT] = {LEVEL_ERROR, "Payment failed", payment_failed},
    [DATABASE] = {LEVEL_CRITICAL, "Database connection lost", database_down},
};

const char *const scenario_names[] = {"mixed", "web", "shop", "incident", NULL};

/* Shares in percent, in the order of scenario_names. */
static const unsigned char shares[][EVENTS] = {
    {20, 40, 20, 10, 8, 2},
    {5, 70, 20, 4, 1, 0},
    {40, 25, 10, 5, 20, 0},
    {2, 20, 8, 30, 15, 25},
};

_Static_assert(sizeof shares / sizeof shares[0] ==
                   sizeof scenario_names / sizeof scenario_names[0] - 1,
               "each scenario has its shares");

void scenario_write(size_t scenario, struct rng *rng, struct log *log)
{
    unsigned draw = (unsigned)rng_below(rng, 100);
    size_t i = 0;
    struct out *o;

    while (draw >= shares[scenario][i])
        draw -= shares[scenario][i++];
    o = log_begin(log, events[i].level, events[i].message);
    if (o == NULL)
        return;
    events[i].members(rng, o);
    log_end(log);
}
