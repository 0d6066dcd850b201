/* What a fuzz target defines: fuzz_NAME.c holds nothing but this function and what it needs. */
#ifndef COVEY_TESTS_FUZZ_H
#define COVEY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feeds @size bytes of untrusted input to one decoder, checks what must hold of the result, and
 * returns 0. Called by libFuzzer, or by replay_main.c with the files of the corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
