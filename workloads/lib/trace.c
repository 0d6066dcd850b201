#include "workloads/lib/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/id.h"

/* Offsets in "vv-tttttttttttttttttttttttttttttttt-ssssssssssssssss-ff". */
#define AT_TRACE 3
#define AT_SPAN 36
#define AT_FLAGS 53
#define LENGTH 55

/* Takes @count lower-case hexadecimal digits. False where there are others or only zeros, unless
 * zeros are fine. */
static bool take_hex(const char *text, size_t count, bool zeros, char *to)
{
    bool nonzero = false;

    for (size_t i = 0; i < count; i++) {
        char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        nonzero |= c != '0';
        to[i] = c;
    }
    to[count] = '\0';
    return nonzero || zeros;
}

static unsigned char nibble(char c)
{
    return (unsigned char)(c <= '9' ? c - '0' : c - 'a' + 10);
}

bool trace_parse(const char *text, size_t len, struct trace *trace)
{
    struct trace read;
    char version[3];
    char flags[3];

    if (len < LENGTH || !take_hex(text, 2, true, version) || strcmp(version, "ff") == 0)
        return false;
    /* A later version may have more behind a further '-'. */
    if (len > LENGTH && (strcmp(version, "00") == 0 || text[LENGTH] != '-'))
        return false;
    if (text[AT_TRACE - 1] != '-' || text[AT_SPAN - 1] != '-' || text[AT_FLAGS - 1] != '-')
        return false;
    if (!take_hex(text + AT_TRACE, 32, false, read.trace_id) ||
        !take_hex(text + AT_SPAN, 16, false, read.span_id) ||
        !take_hex(text + AT_FLAGS, 2, true, flags))
        return false;
    read.flags = (unsigned char)(nibble(flags[0]) << 4 | nibble(flags[1]));
    *trace = read;
    return true;
}

/* 16 digits of what is not zero, since the standard forbids zeros. */
static void put_hex(uint64_t value, char *text)
{
    snprintf(text, 17, "%016llx", (unsigned long long)(value | 1));
}

void trace_begin(struct trace *trace, const char *subject)
{
    uint64_t hash = hash64_string(subject);

    put_hex(hash64_mix(hash, 1), trace->trace_id);
    put_hex(hash64_mix(hash, 2), trace->trace_id + 16);
    put_hex(hash64_mix(hash, 3), trace->span_id);
    trace->flags = 1;
}

void trace_child(struct trace *trace, const struct trace *parent, const char *name)
{
    uint64_t hash = hash64_mix(hash64_string(parent->trace_id), hash64_string(parent->span_id));

    if (trace != parent)
        *trace = *parent;
    put_hex(hash64_mix(hash, hash64_string(name)), trace->span_id);
}

void trace_format(const struct trace *trace, char text[TRACE_PARENT_TEXT])
{
    snprintf(text, TRACE_PARENT_TEXT, "00-%s-%s-%02x", trace->trace_id, trace->span_id,
             trace->flags & 1); /* the one flag that version 0 knows */
}
