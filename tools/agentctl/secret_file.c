#include "tools/agentctl/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "agent/desired/desired.h"
#include "proto/wire/seal.h"

#define NO_COMMIT "0000000000000000000000000000000000000000"
#define KEYS_FILE_MAX 65536

/* ---- values ---- */

void secret_free(char *text, size_t len)
{
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
}

/* One buffer of the largest size: growing would leave copies of a secret behind. */
static int read_all(int fd, const char *name, size_t max, char **text, size_t *len, struct err *err)
{
    char *buffer = malloc(max + 2);
    ssize_t n = 0;

    if (buffer == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *len = 0;
    while (*len <= max && (n = read(fd, buffer + *len, max + 1 - *len)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        *len += n > 0 ? (size_t)n : 0;
    }
    if (n >= 0 && *len <= max) {
        buffer[*len] = '\0';
        *text = buffer;
        return ERR_NONE;
    }
    if (n < 0)
        err_errno(err, ERR_IO, errno, "read %s", name);
    else
        err_set(err, ERR_LIMIT, "%s has more than %zu bytes", name, max);
    secret_free(buffer, max + 1);
    return err->code;
}

int secret_file_read(const char *path, size_t max, char **text, size_t *len, struct err *err)
{
    int fd, rc;

    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", max, text, len, err);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, errno == ENOENT ? ERR_NOTFOUND : ERR_IO, errno, "open %s", path);
    rc = read_all(fd, path, max, text, len, err);
    close(fd);
    return rc;
}

int secret_prompt(const char *name, char **text, size_t *len, struct err *err)
{
    struct termios shown, hidden;
    int rc;

    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return err_errno(err, ERR_IO, errno, "ask for %s", name);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    hidden.c_lflag |= ICANON | ECHONL;
    fprintf(stderr, "%s, then Enter and Ctrl-D: ", name);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    rc = read_all(STDIN_FILENO, name, SEAL_VALUE_MAX + 1, text, len, err);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    return rc;
}

/* ---- public keys ---- */

static int read_key_line(const char *path, int number, char *line, json_t *keys, struct err *err)
{
    uint8_t public_key[KEYS_PUBLIC];
    char *rest = NULL;
    const char *node = strtok_r(line, " \t\r", &rest);
    const char *key = strtok_r(NULL, " \t\r", &rest);

    if (node == NULL || node[0] == '#')
        return ERR_NONE;
    if (!name_valid(node) || key == NULL || strtok_r(NULL, " \t\r", &rest) != NULL ||
        seal_public_parse(key, public_key) != ERR_NONE)
        return err_set(err, ERR_INVALID,
                       "%s:%d: expected a node and its key, as agentctl secret keys prints them",
                       path, number);
    json_array_append_new(keys, json_pack("{s:s, s:s}", "node", node, "key", key));
    return ERR_NONE;
}

int secret_read_keys(const char *path, json_t **keys, struct err *err)
{
    json_t *list = json_array();
    char *text = NULL, *rest = NULL;
    size_t len = 0;
    int number = 0;
    int rc = secret_file_read(path, KEYS_FILE_MAX, &text, &len, err);

    for (char *line = rc == ERR_NONE ? text : NULL; line != NULL && rc == ERR_NONE; line = rest) {
        rest = strchr(line, '\n');
        if (rest != NULL)
            *rest++ = '\0';
        rc = read_key_line(path, ++number, line, list, err);
    }
    secret_free(text, len);
    if (rc == ERR_NONE && json_array_size(list) == 0)
        rc = err_set(err, ERR_INVALID, "%s names no node", path);
    if (rc == ERR_NONE)
        *keys = list;
    else
        json_decref(list);
    return rc;
}

/* ---- documents ---- */

static json_t *secret_json(const struct desired_secret *secret)
{
    json_t *recipients = json_array(), *data = json_object();

    for (size_t i = 0; i < secret->recipient_count; i++)
        json_array_append_new(recipients,
                              json_pack("{s:s, s:s}", "node", secret->recipients[i].node, "key",
                                        secret->recipients[i].key));
    for (size_t i = 0; i < secret->data.count; i++)
        json_object_set_new(data, secret->data.pairs[i].name,
                            json_string(secret->data.pairs[i].value));
    return json_pack("{s:s, s:o, s:o}", "name", secret->name, "recipients", recipients,
                     "encryptedData", data);
}

int secret_read_document(const char *path, json_t **secret, struct err *err)
{
    struct desired_file file = {.path = "apps/secret/secret.yaml"};
    struct desired *desired = NULL;
    char *text = NULL;
    size_t len = 0;
    int rc = secret_file_read(path, DESIRED_FILE_MAX, &text, &len, err);

    if (rc != ERR_NONE)
        return rc;
    file.data = text;
    file.size = len;
    rc = desired_parse(NO_COMMIT, &file, 1, &desired, NULL, err);
    if (rc != ERR_NONE)
        err_wrap(err, "%s", path);
    else if (desired->secret_count != 1 || desired->workload_count + desired->vip_count +
                                                   desired->route_count + desired->k3s_count +
                                                   desired->foreign_count >
                                               0)
        rc = err_set(
            err, ERR_INVALID,
            "%s must hold one SealedSecret and nothing else: it is written anew as a whole", path);
    else
        *secret = secret_json(&desired->secrets[0]);
    desired_free(desired);
    secret_free(text, len);
    return rc;
}

char *secret_document(const json_t *secret)
{
    const json_t *recipients = json_object_get(secret, "recipients");
    json_t *data = json_object_get(secret, "encryptedData");
    const json_t *recipient, *value;
    const char *part;
    char *text = NULL;
    size_t size, i;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    fprintf(out,
            "# Written by agentctl secret: the agents of these nodes alone can open it.\n"
            "apiVersion: covey.dev/v1\nkind: SealedSecret\nmetadata:\n  name: \"%s\"\nspec:\n"
            "  recipients:\n",
            json_string_value(json_object_get(secret, "name")));
    json_array_foreach(recipients, i, recipient)
        fprintf(out, "    - node: \"%s\"\n      key: %s\n",
                json_string_value(json_object_get(recipient, "node")),
                json_string_value(json_object_get(recipient, "key")));
    fprintf(out, "  encryptedData:\n");
    json_object_foreach(data, part, value)
        fprintf(out, "    \"%s\": %s\n", part, json_string_value(value));
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

int secret_file_write(const char *path, const char *text, struct err *err)
{
    char temporary[4096];
    int n = snprintf(temporary, sizeof temporary, "%s.covey-new", path);
    struct stat st = {.st_mode = 0644};
    FILE *file;

    if (n < 0 || (size_t)n >= sizeof temporary)
        return err_set(err, ERR_LIMIT, "the path %s is too long", path);
    (void)stat(path, &st);
    file = fopen(temporary, "we");
    if (file == NULL)
        return err_errno(err, ERR_IO, errno, "write %s", temporary);
    (void)fchmod(fileno(file), st.st_mode & 07777);
    if (fputs(text, file) < 0 || fflush(file) != 0 || fsync(fileno(file)) != 0 ||
        rename(temporary, path) != 0) {
        err_errno(err, ERR_IO, errno, "write %s", path);
        (void)unlink(temporary);
        fclose(file);
        return err->code;
    }
    fclose(file);
    return ERR_NONE;
}
