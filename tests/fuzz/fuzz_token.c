/* Join tokens as people paste them. */
#include <stdlib.h>
#include <string.h>

#include "proto/wire/token.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct token token;
    struct err err;
    char again[TOKEN_TEXT_MAX];
    char *text = malloc(size + 1);
    size_t start;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (token_parse(text, &token, &err) == ERR_NONE) {
        start = strspn(text, " \t\r\n");
        if (token_format(&token, again) != ERR_NONE ||
            strncmp(text + start, again, strlen(again)) != 0)
            abort();
    } else if (memchr(err.text, '\0', sizeof err.text) == NULL || err.text[0] == '\0') {
        abort();
    }
    free(text);
    return 0;
}
