/* agentctl secret: values that go into Git sealed, for the flock's nodes alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/desired/desired.h"
#include "agent/desired/formats.h"
#include "proto/base/id.h"
#include "proto/wire/seal.h"
#include "tools/agentctl/agentctl.h"
#include "tools/agentctl/secret_file.h"

#define NODES_MAX DESIRED_NODES_MAX

struct sealing {
    const char *name; /* of the secret, or the file of rotate */
    const char *part; /* whose value comes on standard input; NULL: none */
    const char *keys; /* file of public keys; NULL: the agent is asked */
    const char *files[DESIRED_SECRET_KEYS_MAX]; /* [KEY=]FILE */
    const char *lists[DESIRED_SECRET_KEYS_MAX]; /* files of lines KEY=VALUE */
    const char *nodes[NODES_MAX];
    size_t file_count, list_count, node_count;
    bool all;  /* nodes; what seal does without --node */
    bool keep; /* the data key */
    uint8_t key[SEAL_KEY];
    json_t *data; /* values by name, sealed */
};

/* ---- arguments ---- */

static bool take_value(const char **list, size_t *count, size_t max, const char *value)
{
    if (*count >= max)
        return false;
    list[(*count)++] = value;
    return true;
}

/* One option with its value; false: it is none of ours, or there are too many. */
static bool take_option(struct sealing *s, bool rotate, const char *option, const char *value)
{
    if (strcmp(option, "--node") == 0)
        return take_value(s->nodes, &s->node_count, NODES_MAX, value);
    if (rotate)
        return false;
    if (strcmp(option, "--from-file") == 0)
        return take_value(s->files, &s->file_count, DESIRED_SECRET_KEYS_MAX, value);
    if (strcmp(option, "--from-env-file") == 0)
        return take_value(s->lists, &s->list_count, DESIRED_SECRET_KEYS_MAX, value);
    if (strcmp(option, "--keys") == 0)
        s->keys = value;
    return strcmp(option, "--keys") == 0;
}

static int arguments(struct sealing *s, bool rotate, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (rotate && strcmp(argv[i], "--all") == 0)
            s->all = true;
        else if (rotate && strcmp(argv[i], "--keep-values") == 0)
            s->keep = true;
        else if (argv[i][0] == '-' && i + 1 < argc && take_option(s, rotate, argv[i], argv[i + 1]))
            i++;
        else if (argv[i][0] == '-')
            return usage("secret", "does not understand \"%s\"", argv[i]);
        else if (s->name == NULL)
            s->name = argv[i];
        else if (!rotate && strchr(argv[i], '=') != NULL)
            return usage("secret",
                         "takes no value as an argument, where every user of this machine "
                         "could read it: give it on standard input or by --from-file");
        else if (!rotate && s->part == NULL)
            s->part = argv[i];
        else
            return usage("secret", "does not understand \"%s\"", argv[i]);
    }
    if (s->name == NULL)
        return usage("secret", rotate ? "rotate needs a file" : "seal needs a name");
    if (!rotate && !name_valid(s->name))
        return usage("secret", "\"%s\" is no name: a-z, 0-9 and -", s->name);
    if (!rotate && s->part == NULL && s->file_count == 0 && s->list_count == 0)
        return usage("secret", "seal needs a value: KEY, --from-file or --from-env-file");
    return 0;
}

/* ---- values ---- */

static int add_value(struct sealing *s, const char *part, const char *value, size_t len,
                     struct err *err)
{
    char *text = malloc(SEAL_VALUE_TEXT_MAX);
    int rc = ERR_NOMEM;

    if (!format_secret_key.check(part))
        rc = err_set(err, ERR_INVALID, "\"%.64s\" names no value; expected %s", part,
                     format_secret_key.expected);
    else if (json_object_get(s->data, part) != NULL)
        rc = err_set(err, ERR_INVALID, "the value %s is given twice", part);
    else if (json_object_size(s->data) >= DESIRED_SECRET_KEYS_MAX)
        rc = err_set(err, ERR_LIMIT, "a secret has at most %d values", DESIRED_SECRET_KEYS_MAX);
    else if (text != NULL) {
        rc = seal_value(s->key, s->name, part, value, len, text);
        if (rc == ERR_NONE)
            json_object_set_new(s->data, part, json_string(text));
        else
            err_set(err, rc, "the value %s cannot be sealed: %s", part,
                    rc == ERR_INVALID ? "it holds a zero byte, and values are texts"
                                      : err_text(rc));
    } else
        err_set(err, rc, "%s", err_text(rc));
    free(text);
    return rc;
}

/* One value, of standard input. A line's end that echo or Enter added is no part of it. */
static int read_input(struct sealing *s, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc = isatty(STDIN_FILENO) ? secret_prompt(s->part, &text, &len, err)
                                  : secret_file_read("-", SEAL_VALUE_MAX + 1, &text, &len, err);

    if (rc != ERR_NONE)
        return rc;
    if (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    rc = add_value(s, s->part, text, len, err);
    secret_free(text, len);
    return rc;
}

/* "[KEY=]FILE", byte for byte. */
static int read_file(struct sealing *s, const char *argument, struct err *err)
{
    const char *equals = strchr(argument, '=');
    const char *path = equals != NULL ? equals + 1 : argument;
    const char *slash = strrchr(path, '/');
    char part[128];
    char *text = NULL;
    size_t len = 0;
    int rc;

    if (equals != NULL)
        snprintf(part, sizeof part, "%.*s", (int)(equals - argument), argument);
    else
        snprintf(part, sizeof part, "%s", slash != NULL ? slash + 1 : path);
    rc = secret_file_read(path, SEAL_VALUE_MAX, &text, &len, err);
    if (rc == ERR_NONE)
        rc = add_value(s, part, text, len, err);
    secret_free(text, len);
    return rc;
}

/* Lines "KEY=VALUE"; empty ones and comments are left out. */
static int read_list(struct sealing *s, const char *path, struct err *err)
{
    char *text = NULL, *next;
    size_t len = 0;
    int number = 0;
    int rc = secret_file_read(path, DESIRED_FILE_MAX, &text, &len, err);

    for (char *line = text; rc == ERR_NONE && line != NULL && *line != '\0'; line = next) {
        char *equals;
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        number++;
        if (line[0] == '\0' || line[0] == '#')
            continue;
        equals = strchr(line, '=');
        if (equals == NULL) { /* the line itself may be the secret: not shown */
            rc = err_set(err, ERR_INVALID, "%s:%d: expected KEY=VALUE", path, number);
            break;
        }
        *equals = '\0';
        rc = add_value(s, line, equals + 1, strlen(equals + 1), err);
    }
    secret_free(text, len);
    return rc;
}

static int read_values(struct sealing *s, struct err *err)
{
    int rc = ERR_NONE;

    for (size_t i = 0; i < s->file_count && rc == ERR_NONE; i++)
        rc = read_file(s, s->files[i], err);
    for (size_t i = 0; i < s->list_count && rc == ERR_NONE; i++)
        rc = read_list(s, s->lists[i], err);
    if (rc == ERR_NONE && s->part != NULL)
        rc = read_input(s, err);
    return rc;
}

/* ---- nodes ---- */

static int get_keys(const struct context *context, const struct sealing *s, json_t **keys,
                    struct err *err)
{
    json_t *document = NULL;
    int rc;

    if (s->keys != NULL)
        return secret_read_keys(s->keys, keys, err);
    rc = client_request(context, "GET", "/v1/secrets/keys", NULL, &document, NULL, err);
    if (rc == ERR_NONE)
        *keys = json_incref(json_object_get(document, "items"));
    json_decref(document);
    return rc;
}

static bool wanted(const struct sealing *s, const char *node)
{
    for (size_t i = 0; i < s->node_count; i++)
        if (strcmp(s->nodes[i], node) == 0)
            return true;
    return s->node_count == 0;
}

static int add_recipients(const struct sealing *s, const json_t *keys, json_t *recipients,
                          struct err *err)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(keys, i, entry)
    {
        const char *node = member_string(entry, "node");
        uint8_t public_key[KEYS_PUBLIC];
        char text[SEAL_KEY_TEXT];
        if (!wanted(s, node))
            continue;
        if (seal_public_parse(member_string(entry, "key"), public_key) != ERR_NONE ||
            seal_key(public_key, s->key, text) != ERR_NONE)
            return err_set(err, ERR_INVALID, "the key of %s is none that can be sealed to", node);
        json_array_append_new(recipients, json_pack("{s:s, s:s}", "node", node, "key", text));
    }
    if (json_array_size(recipients) < (s->node_count > 0 ? s->node_count : 1))
        return err_set(err, ERR_NOTFOUND,
                       "a node that was named is not known. See agentctl secret keys");
    return ERR_NONE;
}

/* ---- the subcommands ---- */

static int show_secret(const struct context *context, const json_t *secret, struct err *err)
{
    char *text;

    if (context->json) {
        json_t *document =
            json_pack("{s:s, s:s, s:{s:O}, s:{s:O, s:O}}", "apiVersion", "covey.dev/v1", "kind",
                      "SealedSecret", "metadata", "name", json_object_get(secret, "name"), "spec",
                      "recipients", json_object_get(secret, "recipients"), "encryptedData",
                      json_object_get(secret, "encryptedData"));
        print_json(document);
        json_decref(document);
        return ERR_NONE;
    }
    text = secret_document(secret);
    if (text == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    fputs(text, stdout);
    free(text);
    return ERR_NONE;
}

static int seal(const struct context *context, int argc, char **argv)
{
    struct sealing s = {.data = json_object()};
    json_t *recipients = json_array(), *keys = NULL, *secret = NULL;
    struct err err = {0};
    int status = arguments(&s, false, argc, argv);
    int rc = ERR_NONE;

    if (status == 0) {
        seal_new_key(s.key);
        rc = get_keys(context, &s, &keys, &err);
        if (rc == ERR_NONE)
            rc = add_recipients(&s, keys, recipients, &err);
        if (rc == ERR_NONE)
            rc = read_values(&s, &err);
        if (rc == ERR_NONE) {
            secret = json_pack("{s:s, s:O, s:O}", "name", s.name, "recipients", recipients,
                               "encryptedData", s.data);
            rc = show_secret(context, secret, &err);
        }
        keys_wipe(s.key, sizeof s.key);
        status = rc != ERR_NONE ? fail(&err) : 0;
    }
    json_decref(secret);
    json_decref(keys);
    json_decref(recipients);
    json_decref(s.data);
    return status;
}

/* The nodes of the file that are members still, or those that were named; NULL: all. */
static json_t *rotate_nodes(const struct sealing *s, const json_t *secret, const json_t *keys)
{
    json_t *nodes = json_array();
    const json_t *recipient, *entry;
    size_t i, k;

    for (i = 0; i < s->node_count; i++)
        json_array_append_new(nodes, json_string(s->nodes[i]));
    json_array_foreach(json_object_get(secret, "recipients"), i, recipient)
    {
        json_array_foreach(keys, k, entry)
        {
            const char *node = member_string(entry, "node");
            if (s->node_count == 0 && strcmp(node, member_string(recipient, "node")) == 0)
                json_array_append_new(nodes, json_string(node));
        }
    }
    if (!s->all)
        return nodes;
    json_decref(nodes);
    return NULL;
}

static int rotate_file(const struct context *context, const struct sealing *s, struct err *err)
{
    json_t *secret = NULL, *keys = NULL, *answer = NULL, *nodes;
    char *text = NULL;
    int rc = secret_read_document(s->name, &secret, err);

    if (rc == ERR_NONE)
        rc = get_keys(context, s, &keys, err);
    if (rc == ERR_NONE) {
        nodes = rotate_nodes(s, secret, keys);
        json_object_set_new(secret, "keepKey", json_boolean(s->keep));
        if (nodes != NULL)
            json_object_set_new(secret, "nodes", nodes);
        rc = client_request(context, "POST", "/v1/secrets/reseal", secret, &answer, NULL, err);
    }
    if (rc == ERR_NONE) {
        json_object_set(secret, "recipients", json_object_get(answer, "recipients"));
        json_object_set(secret, "encryptedData", json_object_get(answer, "encryptedData"));
        text = secret_document(secret);
        rc = text != NULL ? secret_file_write(s->name, text, err)
                          : err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    }
    if (rc == ERR_NONE && !context->quiet)
        printf("%s is sealed anew to %zu nodes. Next: commit it and push\n", s->name,
               json_array_size(json_object_get(secret, "recipients")));
    free(text);
    json_decref(answer);
    json_decref(keys);
    json_decref(secret);
    return rc;
}

static int rotate(const struct context *context, int argc, char **argv)
{
    struct sealing s = {0};
    struct err err;
    int status = arguments(&s, true, argc, argv);

    if (status != 0)
        return status;
    return rotate_file(context, &s, &err) == ERR_NONE ? 0 : fail(&err);
}

static void print_keys(const struct context *context, const json_t *document)
{
    const json_t *entry;
    size_t i;

    (void)context;
    printf("# Public keys of the flock's nodes, for agentctl secret seal --keys FILE. No secret,\n"
           "# but whoever can change this file can read what is sealed with it.\n");
    json_array_foreach(json_object_get(document, "items"), i, entry)
        printf("%s %s\n", member_string(entry, "node"), member_string(entry, "key"));
}

int cmd_secret(const struct context *context, int argc, char **argv)
{
    struct err err;

    if (keys_start(&err) != ERR_NONE)
        return fail(&err);
    if (argc > 0 && strcmp(argv[0], "seal") == 0)
        return seal(context, argc - 1, argv + 1);
    if (argc > 0 && strcmp(argv[0], "rotate") == 0)
        return rotate(context, argc - 1, argv + 1);
    if (argc == 1 && strcmp(argv[0], "keys") == 0)
        return show(context, "/v1/secrets/keys", print_keys);
    return usage("secret", "knows seal, rotate and keys");
}
