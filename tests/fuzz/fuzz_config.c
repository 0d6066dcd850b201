/* agentd's configuration file. */
#include <stdlib.h>
#include <string.h>

#include "agent/config/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config;
    struct err err;
    char *report;

    if (config_parse("agent.yaml", (const char *)data, size, &config, &report, &err) != 0) {
        if (err.text[0] == '\0' || config != NULL)
            abort();
        free(report);
        return 0;
    }
    if (config->state_dir[0] != '/' || strlen(config->run_dir) > CONFIG_RUN_DIR_MAX ||
        config->listen.port == 0 || config->join_count > CONFIG_JOIN_MAX ||
        (config->node != NULL && !name_valid(config->node)))
        abort();
    config_free(config);
    return 0;
}
