/* Sealed keys and values as they stand in a repository. The first byte says what the others are: a
 * recipient's key, a value, a public key, what is laid over a value that is right, or what a value
 * that is rightly encrypted holds (its padding is its author's choice). */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/seal.h"
#include "tests/fuzz/fuzz.h"

#define HEADER 25                                  /* version and nonce */
#define ABOUT "covey sealed value 1\0db\0password" /* and the zero of the literal */

static const uint8_t key[SEAL_KEY] = {7};

static void fuzz_value(const char *text)
{
    static char value[SEAL_VALUE_MAX + 1];
    size_t len;

    if (seal_open_value(key, "db", "password", text, value, &len) == ERR_NONE &&
        (len > SEAL_VALUE_MAX || strlen(value) != len))
        abort();
}

static void fuzz_over(const uint8_t *data, size_t size)
{
    static char text[SEAL_VALUE_TEXT_MAX];
    static char value[SEAL_VALUE_MAX + 1];
    bool changed = false;
    size_t len;

    if (seal_value(key, "db", "password", "hunter2", 7, text) != ERR_NONE)
        abort();
    for (size_t i = 0; i < size && text[i] != '\0'; i++)
        if (data[i] != 0 && (text[i] ^ data[i]) != 0) {
            text[i] = (char)(text[i] ^ data[i]);
            changed = true;
        }
    if ((seal_open_value(key, "db", "password", text, value, &len) == ERR_NONE) == changed)
        abort();
}

static void fuzz_padding(const uint8_t *data, size_t size)
{
    static uint8_t bytes[HEADER + SEAL_VALUE_MAX + SEAL_BLOCK + 16];
    static char text[SEAL_VALUE_TEXT_MAX];
    unsigned long long sealed;

    if (size > SEAL_VALUE_MAX + SEAL_BLOCK)
        return;
    memset(bytes, 0, HEADER);
    bytes[0] = 1;
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + HEADER, &sealed, data, size,
                                               (const uint8_t *)ABOUT, sizeof ABOUT, NULL,
                                               bytes + 1, key);
    sodium_bin2base64(text, sizeof text, bytes, HEADER + (size_t)sealed,
                      sodium_base64_VARIANT_ORIGINAL);
    fuzz_value(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keys_identity node;
    uint8_t opened[SEAL_KEY], public_key[KEYS_PUBLIC];
    char *text;

    if (size == 0 || keys_start(NULL) != ERR_NONE)
        return 0;
    text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    keys_from_seed((const uint8_t[KEYS_SEED]){1}, &node);
    switch (data[0] % 5) {
    case 0:
        (void)seal_open_key(&node, text, opened);
        break;
    case 1:
        fuzz_value(text);
        break;
    case 2:
        (void)seal_public_parse(text, public_key);
        break;
    case 3:
        fuzz_over(data + 1, size - 1);
        break;
    default:
        fuzz_padding(data + 1, size - 1);
        break;
    }
    free(text);
    return 0;
}
