#include "agent/io/instance_secret.h"

#include <stdlib.h>
#include <string.h>

#include "agent/desired/reference.h"
#include "agent/io/os_files.h"
#include "proto/wire/seal.h"

/* The data key of @secret. Recipients are tried, not chosen by their names: a name may pass to
 * another machine. */
static int open_key(const struct keys_identity *identity, const struct desired_secret *secret,
                    uint8_t key[SEAL_KEY], struct err *err)
{
    int first_rc = ERR_DENIED;

    for (size_t i = 0; i < secret->recipient_count; i++) {
        int rc = seal_open_key(identity, secret->recipients[i].key, key);
        if (rc == ERR_NONE)
            return rc;
        if (rc != ERR_DENIED)
            first_rc = rc;
    }
    return err_set(err, first_rc,
                   first_rc == ERR_DENIED
                       ? "the secret %s (%s:%d) was not sealed to this node's identity: run "
                         "agentctl secret rotate on a node that can open it"
                       : "the secret %s (%s:%d) is damaged, or of a newer release: seal it anew",
                   secret->name, secret->file, secret->line);
}

/* Opens one value into @value, of SEAL_VALUE_MAX + 1 bytes. */
static int open_value(const struct keys_identity *identity, const struct desired *desired,
                      const struct reference *r, char *value, size_t *len, struct err *err)
{
    const struct desired_secret *secret = desired_secret(desired, r->name);
    const char *sealed = secret != NULL ? desired_map_get(&secret->data, r->key) : NULL;
    uint8_t key[SEAL_KEY];
    int rc;

    if (sealed == NULL)
        return err_set(err, ERR_NOTFOUND, "there is no value %s of the secret %s", r->key, r->name);
    rc = open_key(identity, secret, key, err);
    if (rc != ERR_NONE)
        return rc;
    rc = seal_open_value(key, r->name, r->key, sealed, value, len);
    keys_wipe(key, sizeof key);
    if (rc == ERR_NONE)
        return rc;
    return err_set(err, rc,
                   "the value %s of the secret %s (%s:%d) does not open: it was sealed for another "
                   "name or another secret, or is damaged. Seal it anew",
                   r->key, r->name, secret->file, secret->line);
}

/* Texts that grow are moved by hand: realloc would leave a copy behind. */
static int append(char **text, size_t *used, size_t *room, const char *more, size_t len,
                  struct err *err)
{
    if (*text == NULL || len + 1 > *room - *used) {
        size_t bytes = 2 * (*room + len) + 64;
        char *grown = malloc(bytes);
        if (grown == NULL)
            return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        if (*text != NULL) {
            memcpy(grown, *text, *used);
            keys_wipe(*text, *used);
        }
        free(*text);
        *text = grown;
        *room = bytes;
    }
    memcpy(*text + *used, more, len);
    *used += len;
    (*text)[*used] = '\0';
    return ERR_NONE;
}

int instance_secret_text(const struct keys_identity *identity, const struct desired *desired,
                         const char *text, char **filled, struct err *err)
{
    size_t used = 0, room = 0, from = 0, copied = 0, len;
    struct reference r;
    char *value = NULL;
    int rc = ERR_NONE;

    *filled = NULL;
    while (rc == ERR_NONE && reference_next(text, from, &r, NULL) == 1) {
        from = r.end;
        if (r.kind != REFERENCE_SECRET)
            continue;
        if (value == NULL)
            value = malloc(SEAL_VALUE_MAX + 1);
        if (value == NULL) {
            rc = err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
            break;
        }
        rc = open_value(identity, desired, &r, value, &len, err);
        if (rc == ERR_NONE)
            rc = append(filled, &used, &room, text + copied, r.begin - copied, err);
        if (rc == ERR_NONE)
            rc = append(filled, &used, &room, value, len, err);
        copied = r.end;
    }
    if (rc == ERR_NONE && *filled != NULL)
        rc = append(filled, &used, &room, text + copied, strlen(text + copied), err);
    if (value != NULL)
        keys_wipe(value, SEAL_VALUE_MAX + 1);
    free(value);
    if (rc != ERR_NONE) {
        instance_secret_free(*filled);
        *filled = NULL;
    }
    return rc;
}

void instance_secret_free(char *filled)
{
    if (filled != NULL)
        keys_wipe(filled, strlen(filled));
    free(filled);
}

static int make_copy(const struct desired_content *files, size_t count,
                     struct instance_secret_files *out, struct err *err)
{
    if (out->copy != NULL)
        return ERR_NONE;
    out->copy = calloc(count, sizeof *out->copy);
    out->filled = calloc(count, sizeof *out->filled);
    if (out->copy == NULL || out->filled == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    memcpy(out->copy, files, count * sizeof *out->copy);
    out->count = count;
    out->files = out->copy;
    return ERR_NONE;
}

int instance_secret_files(const struct keys_identity *identity, const struct desired *desired,
                          const char *run_dir, const struct desired_content *files, size_t count,
                          struct instance_secret_files *out, struct err *err)
{
    int rc = ERR_NONE;

    *out = (struct instance_secret_files){.files = files};
    for (size_t i = 0; i < count && rc == ERR_NONE; i++) {
        char *filled = NULL;
        if (!files[i].references) /* also what a template would fill in, and this is none */
            continue;
        rc = instance_secret_text(identity, desired, files[i].text, &filled, err);
        if (rc != ERR_NONE || filled == NULL)
            continue;
        rc = os_files_in_memory(run_dir, err);
        if (rc == ERR_NONE)
            rc = make_copy(files, count, out, err);
        if (rc != ERR_NONE) {
            instance_secret_free(filled);
            continue;
        }
        out->filled[i] = filled;
        out->copy[i].text = filled;
    }
    return rc;
}

void instance_secret_files_free(struct instance_secret_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        instance_secret_free(files->filled[i]);
    free(files->filled);
    free(files->copy);
}
