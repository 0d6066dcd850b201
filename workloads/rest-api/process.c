#include "workloads/lib/emit.h"
#include "workloads/lib/http.h"
#include "workloads/rest-api/api.h"

#define ITEMS_MAX 1000

void process_configure(struct rest_api *api, struct env *env)
{
    double min = env_real(env, "PROCESS_MIN", 0.1, 0, 60);
    double max = env_real(env, "PROCESS_MAX", 0.5, 0, 60);

    api->process_min_ms = (int64_t)(min * 1000);
    api->process_max_ms = (int64_t)(max * 1000);
    api->process_failure_rate = env_real(env, "PROCESS_FAILURE_RATE", 0.1, 0, 1);
    if (max < min)
        env_problem(env, "PROCESS_MAX", "not less than PROCESS_MIN, which is %g", min);
}

/* How many items the client wants, or a random number. False: replied. */
static bool read_items(struct request *request, int64_t *items)
{
    static const struct field fields[] = {{"items", FIELD_INT, FIELD_OPTIONAL, 1, ITEMS_MAX, NULL}};
    struct field_value value = {0};
    size_t len;

    request_body(request, &len);
    if (len > 0) {
        json_t *root = request_fields(request, fields, 1, &value);
        if (root == NULL)
            return false;
        json_decref(root);
    }
    *items = value.present ? value.integer : rng_range(request_rng(request), 1, 100);
    return true;
}

static void finish(struct request *request, void *context)
{
    const struct rest_api *api = context;
    int64_t items;
    struct out *o;

    if (!read_items(request, &items))
        return;
    if (rng_unit(request_rng(request)) < api->process_failure_rate) {
        o = reply_json(request, 500);
        emit_object(o);
        emit_key_string(o, "status", "error");
        emit_key_string(o, "error", "processing failed");
        emit_object_end(o);
        return;
    }
    o = reply_json(request, 200);
    emit_object(o);
    emit_key_string(o, "status", "success");
    emit_key_decimal(o, "processing_time", request_elapsed_us(request) / 1000, 3);
    emit_key_int(o, "items", items);
    emit_object_end(o);
}

void process_handle(struct request *request, void *context)
{
    const struct rest_api *api = context;
    int64_t delay = rng_range(request_rng(request), api->process_min_ms, api->process_max_ms);
    int64_t items;

    if (!read_items(request, &items))
        return;
    if (delay > 0)
        request_defer(request, (unsigned)delay, finish);
    else
        finish(request, context);
}
