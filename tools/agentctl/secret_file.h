/* Files of agentctl secret: public keys, values, and the document that goes into Git. */
#ifndef COVEY_TOOLS_SECRET_FILE_H
#define COVEY_TOOLS_SECRET_FILE_H

#include <jansson.h>
#include <stddef.h>

#include "proto/base/err.h"

/* The bytes of @path ("-": standard input), at most @max, with a zero behind them. Freed by
 * secret_free. Errors: ERR_NOTFOUND, ERR_IO, ERR_LIMIT, ERR_NOMEM. */
int secret_file_read(const char *path, size_t max, char **text, size_t *len, struct err *err);
void secret_free(char *text, size_t len); /* wipes it first */

/* Asks for the value @name without showing it. Errors: ERR_IO. */
int secret_prompt(const char *name, char **text, size_t *len, struct err *err);

/* Lines "NODE KEY", as agentctl secret keys prints them: an array of {"node", "key"}. Errors:
 * ERR_INVALID with the line. */
int secret_read_keys(const char *path, json_t **keys, struct err *err);

/* The SealedSecret that @path holds, alone: {"name", "recipients", "encryptedData"}. Errors: those
 * of desired_parse; ERR_INVALID it holds something else. */
int secret_read_document(const char *path, json_t **secret, struct err *err);

/* The document of @secret, fit for Git. Freed by free; NULL: no memory. */
char *secret_document(const json_t *secret);

/* Replaces @path as a whole. */
int secret_file_write(const char *path, const char *text, struct err *err);

#endif
