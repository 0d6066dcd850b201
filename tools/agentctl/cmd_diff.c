/* agentctl diff: what another state would change. Both sides are parsed here, by the parser that
 * agentd has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/desired/desired.h"
#include "agent/io/os_tree.h"
#include "tools/agentctl/agentctl.h"

#define NO_COMMIT "0000000000000000000000000000000000000000"
#define DIFF_TROUBLE 2 /* as flux and diff: 0 the same, 1 differs, more is an error */

struct side {
    char commit[64]; /* "" for a folder, or where nothing is applied */
    struct desired *desired;
};

static int trouble(const struct err *err)
{
    int status = err_exit_status(err->code);

    fprintf(stderr, "agentctl diff: %s\n", err->text);
    return status > 1 ? status : DIFF_TROUBLE;
}

/* The state at @path of the API: the documents of a commit. */
static int read_commit(const struct context *context, const char *path, struct side *side,
                       struct err *err)
{
    json_t *document = NULL;
    const json_t *files;
    struct desired_file *list;
    const char *name;
    json_t *text;
    size_t count = 0;
    int rc = client_request(context, "GET", path, NULL, &document, NULL, err);

    if (rc != ERR_NONE)
        return rc;
    files = json_object_get(document, "files");
    snprintf(side->commit, sizeof side->commit, "%s", member_string(document, "commit"));
    list = calloc(json_object_size(files) + 1, sizeof *list);
    if (list == NULL) {
        json_decref(document);
        return err_set(err, ERR_NOMEM, "compare: %s", err_text(ERR_NOMEM));
    }
    json_object_foreach((json_t *)files, name, text)
    {
        if (json_is_string(text))
            list[count++] = (struct desired_file){
                .path = name, .data = json_string_value(text), .size = json_string_length(text)};
    }
    rc = desired_parse(side->commit[0] != '\0' ? side->commit : NO_COMMIT, list, count,
                       &side->desired, NULL, err);
    free(list);
    json_decref(document);
    return rc;
}

static int read_folder(const char *folder, struct side *side, char **report, struct err *err)
{
    const struct desired_file *files;
    struct os_tree *tree;
    size_t count;
    int rc = os_tree_read(folder, &tree, err);

    if (rc != ERR_NONE)
        return rc;
    files = os_tree_files(tree, &count);
    rc = desired_parse(NO_COMMIT, files, count, &side->desired, report, err);
    os_tree_free(tree);
    return rc;
}

/* "~ Workload web (env, ports)" */
static json_t *change_json(char *line)
{
    static const char *const words[] = {"+", "add", "-", "remove", "~", "change", NULL};
    char *open = strchr(line, '(');
    char *kind = line + 2;
    char *name = strchr(kind, ' ');
    json_t *fields = json_array();
    const char *word = "change";

    for (int i = 0; words[i] != NULL; i += 2)
        if (line[0] == words[i][0])
            word = words[i + 1];
    if (name != NULL)
        *name++ = '\0';
    if (open != NULL && open > line) {
        char *rest = open + 1;
        char *field;
        open[-1] = '\0';
        rest[strcspn(rest, ")")] = '\0';
        while (line[0] == '~' && (field = strsep(&rest, ",")) != NULL)
            json_array_append_new(fields, json_string(field + strspn(field, " ")));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "change", word, "kind", kind, "name",
                     name != NULL ? name : "", "fields", fields);
}

static void show_json(const struct side *from, const struct side *to, char *diff)
{
    json_t *changes = json_array();
    json_t *document;
    char *line;

    while ((line = strsep(&diff, "\n")) != NULL)
        if (line[0] != '\0')
            json_array_append_new(changes, change_json(line));
    document = json_pack("{s:s, s:s, s:s, s:s, s:o}", "apiVersion", "covey.dev/v1", "kind", "Diff",
                         "from", from->commit, "to", to->commit, "changes", changes);
    print_json(document);
    json_decref(document);
}

static void show_text(const struct context *context, char *diff)
{
    char *line;

    while ((line = strsep(&diff, "\n")) != NULL) {
        const char *color = line[0] == '+' ? "\033[32m" : line[0] == '-' ? "\033[31m" : "\033[33m";
        if (line[0] != '\0')
            printf("%s%s%s\n", context->color ? color : "", line, context->color ? "\033[0m" : "");
    }
}

static int compare(const struct context *context, const struct side *from, const struct side *to)
{
    char *diff = desired_diff(from->desired, to->desired);
    bool same = diff != NULL && diff[0] == '\0';
    struct err err;

    if (diff == NULL) {
        err_set(&err, ERR_NOMEM, "compare: %s", err_text(ERR_NOMEM));
        return trouble(&err);
    }
    if (context->json)
        show_json(from, to, diff);
    else if (!same && !context->quiet)
        show_text(context, diff);
    free(diff);
    return same ? 0 : 1;
}

int cmd_diff(const struct context *context, int argc, char **argv)
{
    struct side from = {.commit = ""}, to = {.commit = ""};
    char path[256] = "/v1/files?rev=branch";
    char *report = NULL;
    struct stat st;
    struct err err;
    int status;
    int rc;

    if (argc > 1)
        return usage("diff", "takes one folder or revision at most");
    rc = read_commit(context, "/v1/files", &from, &err);
    if (rc == ERR_NONE && argc == 1 && stat(argv[0], &st) == 0 && S_ISDIR(st.st_mode)) {
        rc = read_folder(argv[0], &to, &report, &err);
    } else if (rc == ERR_NONE) {
        if (argc == 1 && (strlen(argv[0]) > 100 || strcspn(argv[0], " ?#%&+") != strlen(argv[0])))
            return usage("diff", "\"%s\" is neither a folder nor a revision", argv[0]);
        if (argc == 1)
            snprintf(path, sizeof path, "/v1/files?rev=%s", argv[0]);
        rc = read_commit(context, path, &to, &err);
    }
    status = rc == ERR_NONE ? compare(context, &from, &to) : trouble(&err);
    if (report != NULL)
        fputs(report, stderr);
    free(report);
    desired_free(from.desired);
    desired_free(to.desired);
    return status;
}
