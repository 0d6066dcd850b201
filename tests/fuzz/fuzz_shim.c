/* What agentd and a shim say to each other. The first byte chooses: specification, record, request.
 * What is believed is written back and read as the same. */
#include <stdlib.h>
#include <string.h>

#include "agent/shim/shim.h"
#include "tests/fuzz/fuzz.h"

static void try_spec(const char *text, size_t size)
{
    static char again[SHIM_SPEC_MAX];
    static struct shim_spec spec;
    static struct shim_spec back;
    struct err err;
    size_t len;

    if (shim_spec_decode(text, size, &spec, &err) != ERR_NONE)
        return;
    if (shim_spec_encode(&spec, again, sizeof again, &len, &err) != ERR_NONE)
        return; /* an older form may say less than is demanded of a new one */
    if (shim_spec_decode(again, len, &back, &err) != ERR_NONE ||
        strcmp(back.instance, spec.instance) != 0 || back.generation != spec.generation ||
        back.uid != spec.uid || back.stop_timeout_ms != spec.stop_timeout_ms)
        abort();
}

static void try_record(const char *text, size_t size)
{
    struct shim_record record;
    struct shim_record back;
    char again[SHIM_RECORD_MAX];
    size_t len;

    if (shim_record_decode(text, size, &record) != ERR_NONE)
        return;
    len = shim_record_encode(&record, again);
    if (len > sizeof again || shim_record_decode(again, len, &back) != ERR_NONE ||
        memcmp(&back.state, &record.state, sizeof back.state) != 0 || back.pid != record.pid ||
        back.log_lines != record.log_lines || strcmp(back.note, record.note) != 0)
        abort();
}

static void try_request(const char *text, size_t size)
{
    struct shim_request request;
    struct shim_request back;
    char again[SHIM_REQUEST_MAX];
    size_t len;

    if (shim_request_decode(text, size, &request) != ERR_NONE)
        return;
    len = shim_request_encode(&request, again);
    if (len > sizeof again || shim_request_decode(again, len, &back) != ERR_NONE ||
        back.type != request.type || back.signal != request.signal ||
        back.timeout_ms != request.timeout_ms || back.deadline_ms != request.deadline_ms)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(const char *text, size_t size) = {try_spec, try_record,
                                                                   try_request};

    if (size > 0 && data[0] >= '0' && data[0] <= '2')
        tries[data[0] - '0']((const char *)data + 1, size - 1);
    return 0;
}
