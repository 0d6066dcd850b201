/* A new agentd that fails its trial, in the way that its file's name says: …-crash, …-end, …-store.
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/io/os_trial.h"

/* As a release does whose schema is newer: the one before does not understand the store any more.
 */
static void spoil_store(const char *config)
{
    char line[512];
    char path[512] = "";
    FILE *file = fopen(config, "re");
    sqlite3 *db;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "state_dir: %500s", path) == 1)
            break;
    strcat(path, "/covey.db");
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA user_version=999", NULL, NULL, NULL) != SQLITE_OK)
        _exit(9);
    sqlite3_close(db);
}

int main(int argc, char **argv)
{
    char self[512] = "";
    struct os_trial trial;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--check") == 0)
            return 0;
    os_trial_begin(argv, &trial);
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return 1;
    if (strstr(self, "-crash") != NULL)
        raise(SIGSEGV);
    if (strstr(self, "-store") != NULL) {
        spoil_store(argv[2]);
        abort();
    }
    os_trial_fail("ended at its start; its log says why");
    return 1;
}
