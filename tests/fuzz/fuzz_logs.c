/* Logs as workloads and peers write them. The first byte chooses: a frame and its level, a peer's
 * page (which is merged with itself), a peer's query, a cursor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/logs/os_pages.h"
#include "tests/fuzz/fuzz.h"

static void try_frame(const char *text, size_t size)
{
    struct log_frame frame;
    char time[LOG_STAMP + 1];

    if (!log_frame_read(text, size, &frame))
        return;
    if (frame.text < text || frame.text + frame.len != text + size)
        abort();
    log_time_write(frame.time_ms, time);
    if (text[17] != '6' && memcmp(time, text, LOG_STAMP) != 0 && memcmp(text + 8, "3", 1) != 0 &&
        memcmp(text + 5, "02", 2) != 0) /* leap seconds and 30 February are other moments */
        abort();
    if ((unsigned)log_level_of(frame.text, frame.len) >= LOG_LEVELS)
        abort();
}

struct counted {
    size_t lines;
    size_t bytes;
};

static void count(void *context, const struct log_answer *answer, const struct log_page_line *line)
{
    struct counted *c = context;

    if (line->source >= answer->page.source_count)
        abort();
    c->lines++;
    c->bytes += line->line.len;
}

static void try_page(const char *text, size_t size)
{
    struct log_answer *answers = calloc(2, sizeof *answers);
    struct log_merge merge = {.follow = size % 2 == 0, .tail = size % 3};
    char *cursor = calloc(1, LOG_CURSOR_MAX);
    struct counted counted = {0};
    struct err err;

    if (answers == NULL || cursor == NULL)
        abort();
    answers[0].node = "pi1";
    answers[1].node = "pi2";
    if (log_page_read(text, size, &answers[0].page, &err) == ERR_NONE &&
        log_page_read(text, size, &answers[1].page, &err) == ERR_NONE) {
        if (log_merge(answers, 2, &merge, count, &counted) != counted.lines ||
            counted.bytes > 2 * size || (merge.tail > 0 && counted.lines > merge.tail))
            abort();
        (void)log_cursor_add(cursor, "pi1", &answers[0].page);
    }
    free(cursor);
    free(answers);
}

static void try_query(const char *text, size_t size)
{
    struct log_query query;
    struct log_query back;
    char again[LOG_NODE_CURSOR_MAX + 512];
    struct err err;

    if (log_query_read(text, size, &query, &err) != ERR_NONE)
        return;
    if (log_query_write(&query, again, sizeof again, &err) != ERR_NONE ||
        log_query_read(again, strlen(again), &back, &err) != ERR_NONE || back.tail != query.tail ||
        back.level != query.level || strcmp(back.name, query.name) != 0)
        abort();
}

static void try_cursor(const char *text, size_t size)
{
    char *cursor = calloc(1, size + 1);
    struct log_position position;
    const char *part;
    size_t len;

    if (cursor == NULL)
        abort();
    memcpy(cursor, text, size);
    if (log_cursor_find(cursor, "pi1", &part, &len)) {
        if (part < cursor || part + len > cursor + size)
            abort();
        (void)log_cursor_position(part, len, "api.0", &position);
    }
    free(cursor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(const char *text, size_t size) = {try_frame, try_page, try_query,
                                                                   try_cursor};
    const char *text = (const char *)data + 1;

    if (size > 0 && data[0] >= '0' && data[0] <= '3')
        tries[data[0] - '0'](text, size - 1);
    return 0;
}
