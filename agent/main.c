/* agentd: argv, configuration, run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config/config.h"
#include "agent/daemon/agent.h"

#define DEFAULT_CONFIG "/etc/covey/agent.yaml"

static int read_file(const char *path, char **data, size_t *size, struct err *err)
{
    FILE *file = fopen(path, "re");
    int rc = ERR_NONE;

    if (file == NULL)
        return err_errno(err, ERR_IO, errno,
                         "open the configuration %s (name another one by --config)", path);
    *data = malloc(CONFIG_FILE_MAX + 1);
    if (*data == NULL) {
        rc = err_set(err, ERR_NOMEM, "read %s: %s", path, err_text(ERR_NOMEM));
    } else {
        *size = fread(*data, 1, CONFIG_FILE_MAX + 1, file);
        if (ferror(file)) {
            rc = err_errno(err, ERR_IO, errno, "read %s", path);
            free(*data);
            *data = NULL;
        }
    }
    fclose(file);
    return rc;
}

static int usage(FILE *out, int status)
{
    fprintf(out,
            "agentd runs one node of a Covey flock.\n\n"
            "usage: agentd [--config FILE] [--check] [--version] [--help]\n\n"
            "  --config FILE  the configuration (%s)\n"
            "  --check        read the configuration, say what is wrong with it, and end\n\n"
            "examples:\n"
            "  agentd --config /etc/covey/agent.yaml\n"
            "  agentctl init     # once it runs: found a flock\n",
            DEFAULT_CONFIG);
    return status;
}

int main(int argc, char **argv)
{
    const char *path = DEFAULT_CONFIG;
    struct config *config = NULL;
    bool check = false;
    char *report = NULL;
    char *data = NULL;
    struct err err;
    size_t size = 0;
    struct os_trial trial;
    int status;
    int rc;

    os_trial_begin(argv, &trial);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            path = argv[++i];
        } else if (strcmp(argv[i], "--check") == 0) {
            check = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("agentd %s\n", COVEY_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return usage(stdout, 0);
        } else {
            fprintf(stderr, "agentd: does not understand \"%s\"\n\n", argv[i]);
            return usage(stderr, 2);
        }
    }
    rc = read_file(path, &data, &size, &err);
    if (rc == ERR_NONE)
        rc = config_parse(path, data, size, &config, &report, &err);
    free(data);
    if (rc != ERR_NONE) {
        fprintf(stderr, "agentd: %s\n%s", err.text, report != NULL ? report : "");
        free(report);
        os_trial_fail("does not understand the configuration");
        return err_exit_status(rc);
    }
    free(report);
    if (check)
        printf("%s is a valid configuration\n", path);
    status = check ? 0 : agent_run(config, path, argv, &trial);
    if (status != 0)
        os_trial_fail("ended at its start; its log says why");
    config_free(config);
    return status;
}
