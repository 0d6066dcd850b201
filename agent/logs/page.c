#include "agent/logs/page.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "covey-logs 1\n"
#define HEAD_LINE_MAX 512

/* ---- positions ---- */

void log_position_write(const struct log_position *p, char text[LOG_POSITION_TEXT])
{
    snprintf(text, LOG_POSITION_TEXT, "%" PRIx64 ".%" PRIx64 ".%" PRIx64, p->inode,
             (uint64_t)p->begin_ms, p->offset);
}

static bool read_number(const char **at, const char *end, int base, uint64_t limit, uint64_t *value)
{
    const char *begin = *at;
    uint64_t v = 0;

    for (; *at < end; ++*at) {
        const char c = **at;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= base)
            break;
        if (v > (limit - (uint64_t)digit) / (uint64_t)base)
            return false;
        v = v * (uint64_t)base + (uint64_t)digit;
    }
    *value = v;
    return *at > begin;
}

static bool skip(const char **at, const char *end, char c)
{
    if (*at == end || **at != c)
        return false;
    ++*at;
    return true;
}

static bool read_position(const char **at, const char *end, struct log_position *p)
{
    uint64_t begin;

    if (!read_number(at, end, 16, UINT64_MAX, &p->inode) || !skip(at, end, '.') ||
        !read_number(at, end, 16, INT64_MAX, &begin) || !skip(at, end, '.') ||
        !read_number(at, end, 16, INT64_MAX, &p->offset))
        return false;
    p->begin_ms = (int64_t)begin;
    return true;
}

bool log_position_read(const char *text, size_t len, struct log_position *position)
{
    const char *at = text;

    return read_position(&at, text + len, position) && at == text + len;
}

/* ---- writing ---- */

void log_page_head(FILE *out, const struct log_page *page)
{
    char start[LOG_POSITION_TEXT];
    char end[LOG_POSITION_TEXT];

    fprintf(out, HEAD "until %" PRId64 " %d %d\n", page->until_ms, page->more, page->skipped);
    for (size_t i = 0; i < page->source_count; i++) {
        log_position_write(&page->sources[i].start, start);
        log_position_write(&page->sources[i].end, end);
        fprintf(out, "source %s %s %s\n", page->sources[i].instance, start, end);
    }
    fputs(".\n", out);
}

void log_page_line(FILE *out, const struct log_page_line *line)
{
    char behind[LOG_POSITION_TEXT];

    log_position_write(&line->behind, behind);
    fprintf(out, "%zu %" PRId64 " %d %d %s ", line->source, line->line.time_ms,
            (int)line->line.stream, (int)line->line.level, behind);
    fwrite(line->line.text, 1, line->line.len, out);
    fputc('\n', out);
}

/* ---- reading ---- */

static bool read_until(const char *text, struct log_page *page)
{
    int more;
    int skipped;
    int used = 0;

    if (sscanf(text, "until %" SCNd64 " %1d %1d%n", &page->until_ms, &more, &skipped, &used) != 3 ||
        text[used] != '\0' || page->until_ms < 0)
        return false;
    page->more = more != 0;
    page->skipped = skipped != 0;
    return true;
}

static bool read_source(const char *text, struct log_page *page)
{
    struct log_source *source = &page->sources[page->source_count];
    char start[LOG_POSITION_TEXT];
    char end[LOG_POSITION_TEXT];
    int used = 0;

    static_assert(INSTANCE_MAX == 128, "the format below");
    if (page->source_count == LOG_SOURCES_MAX ||
        sscanf(text, "source %127s %55s %55s%n", source->instance, start, end, &used) != 3 ||
        text[used] != '\0' || strpbrk(source->instance, ",:~") != NULL ||
        !log_position_read(start, strlen(start), &source->start) ||
        !log_position_read(end, strlen(end), &source->end))
        return false;
    page->source_count++;
    return true;
}

int log_page_read(const char *text, size_t size, struct log_page *page, struct err *err)
{
    const char *end = text + size;
    const char *at = text + sizeof HEAD - 1;
    char line[HEAD_LINE_MAX];
    bool dated = false;

    memset(page, 0, sizeof *page);
    if (size < sizeof HEAD - 1 || memcmp(text, HEAD, sizeof HEAD - 1) != 0)
        return err_set(err, ERR_INVALID, "it answers in a form that this agent does not know");
    for (;;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = stop != NULL ? (size_t)(stop - at) : 0;
        if (stop == NULL || len >= sizeof line || memchr(at, '\0', len) != NULL)
            break;
        memcpy(line, at, len);
        line[len] = '\0';
        at = stop + 1;
        if (strcmp(line, ".") == 0) {
            page->lines = at;
            page->size = (size_t)(end - at);
            if (dated)
                return ERR_NONE;
            break;
        }
        if (!(dated ? read_source(line, page) : read_until(line, page)))
            break;
        dated = true;
    }
    return err_set(err, ERR_INVALID, "its answer is malformed");
}

int log_page_next(const struct log_page *page, size_t *at, struct log_page_line *line)
{
    const char *from = page->lines + *at;
    const char *end = memchr(from, '\n', page->size - *at);
    uint64_t source;
    uint64_t time;
    uint64_t stream;
    uint64_t level;

    if (*at == page->size)
        return 0;
    if (end == NULL)
        return -1;
    *at = (size_t)(end - page->lines) + 1;
    if (!read_number(&from, end, 10, LOG_SOURCES_MAX, &source) || !skip(&from, end, ' ') ||
        !read_number(&from, end, 10, INT64_MAX, &time) || !skip(&from, end, ' ') ||
        !read_number(&from, end, 10, LOG_STREAMS - 1, &stream) || !skip(&from, end, ' ') ||
        !read_number(&from, end, 10, LOG_LEVELS - 1, &level) || !skip(&from, end, ' ') ||
        !read_position(&from, end, &line->behind) || !skip(&from, end, ' ') ||
        source >= page->source_count)
        return -1;
    line->source = (size_t)source;
    line->line = (struct log_line){.time_ms = (int64_t)time,
                                   .stream = (enum log_stream)stream,
                                   .level = (enum log_level)level,
                                   .text = from,
                                   .len = (size_t)(end - from)};
    return 1;
}

/* ---- cursors ---- */

bool log_cursor_find(const char *cursor, const char *node, const char **part, size_t *len)
{
    size_t name = strlen(node);

    while (*cursor != '\0') {
        size_t whole = strcspn(cursor, "~");
        if (whole > name && strncmp(cursor, node, name) == 0 && cursor[name] == ',') {
            *part = cursor + name + 1;
            *len = whole - name - 1;
            return true;
        }
        cursor += whole + (cursor[whole] == '~');
    }
    return false;
}

bool log_cursor_position(const char *part, size_t len, const char *instance,
                         struct log_position *position)
{
    const char *end = part + len;
    size_t name = strlen(instance);

    while (part < end) {
        const char *stop = memchr(part, ',', (size_t)(end - part));
        if (stop == NULL)
            stop = end;
        if ((size_t)(stop - part) > name + 1 && memcmp(part, instance, name) == 0 &&
            part[name] == ':')
            return log_position_read(part + name + 1, (size_t)(stop - part) - name - 1, position);
        part = stop + (stop < end);
    }
    return false;
}

int log_cursor_keep(char cursor[LOG_CURSOR_MAX], const char *node, const char *part, size_t len)
{
    size_t used = strlen(cursor);
    int n = snprintf(cursor + used, LOG_CURSOR_MAX - used, "%s%s,%.*s", used > 0 ? "~" : "", node,
                     (int)len, part);

    if (n > 0 && (size_t)n < LOG_CURSOR_MAX - used)
        return ERR_NONE;
    cursor[used] = '\0';
    return ERR_LIMIT;
}

int log_cursor_add(char cursor[LOG_CURSOR_MAX], const char *node, const struct log_page *page)
{
    char part[LOG_NODE_CURSOR_MAX];
    char position[LOG_POSITION_TEXT];
    size_t used = 0;

    part[0] = '\0';
    for (size_t i = 0; i < page->source_count; i++) {
        int n;
        log_position_write(&page->sources[i].end, position);
        n = snprintf(part + used, sizeof part - used, "%s%s:%s", i > 0 ? "," : "",
                     page->sources[i].instance, position);
        if (n < 0 || (size_t)n >= sizeof part - used)
            return ERR_LIMIT;
        used += (size_t)n;
    }
    return log_cursor_keep(cursor, node, part, used);
}

/* ---- merging ---- */

struct stream {
    struct log_answer *answer;
    size_t at;
    bool has;
    struct log_page_line next;
    int64_t time_ms; /* never falling */
    struct log_position whole[LOG_SOURCES_MAX];
    size_t left[LOG_SOURCES_MAX]; /* lines of each source that were not emitted */
};

static void advance(struct stream *s)
{
    s->has = log_page_next(&s->answer->page, &s->at, &s->next) > 0;
    if (s->has && s->next.line.time_ms > s->time_ms)
        s->time_ms = s->next.line.time_ms;
}

/* Until an emitted line says more, a source stands where the page begins, if lines of it are due.
 */
static void begin(struct stream *s, struct log_answer *answer, size_t *lines)
{
    struct log_page *page = &answer->page;
    struct log_page_line line;
    size_t at = 0;

    s->answer = answer;
    while (log_page_next(page, &at, &line) > 0) {
        s->left[line.source]++;
        ++*lines;
    }
    for (size_t i = 0; i < page->source_count; i++) {
        s->whole[i] = page->sources[i].end;
        if (s->left[i] > 0)
            page->sources[i].end = page->sources[i].start;
    }
    advance(s);
}

static void pass(struct stream *s)
{
    struct log_source *source = &s->answer->page.sources[s->next.source];

    source->end = --s->left[s->next.source] > 0 ? s->next.behind : s->whole[s->next.source];
    advance(s);
}

static struct stream *earliest(struct stream *streams, size_t count)
{
    struct stream *first = NULL;

    for (size_t i = 0; i < count; i++)
        if (streams[i].has && (first == NULL || streams[i].time_ms < first->time_ms))
            first = &streams[i];
    return first;
}

/* No line that comes later is older than this, save where clocks differ by more than they may. */
static int64_t watermark(const struct log_answer *answers, size_t count, bool follow)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t until = answers[i].page.until_ms;
        if (!answers[i].page.more && !follow)
            continue;
        least = until < least ? until : least;
        if (!answers[i].page.more)
            most = until > most ? until : most;
    }
    for (size_t i = 0; i < count; i++) /* what is there already is waited for, however old */
        if (answers[i].page.more)
            return least;
    return most - LOG_SKEW_MAX_MS > least ? most - LOG_SKEW_MAX_MS : least;
}

size_t log_merge(struct log_answer *answers, size_t count, struct log_merge *merge,
                 void (*emit)(void *context, const struct log_answer *answer,
                              const struct log_page_line *line),
                 void *context)
{
    struct stream *streams = calloc(count + 1, sizeof *streams);
    int64_t limit = watermark(answers, count, merge->follow);
    struct stream *s;
    size_t lines = 0;
    size_t emitted = 0;
    size_t unwanted;

    merge->more = false;
    if (streams == NULL)
        return 0;
    for (size_t i = 0; i < count; i++) {
        begin(&streams[i], &answers[i], &lines);
        merge->more = merge->more || answers[i].page.more;
    }
    unwanted = merge->tail > 0 && lines > merge->tail ? lines - merge->tail : 0;
    while ((s = earliest(streams, count)) != NULL) {
        /* A line from the future of its own node's clock waits for nobody. */
        bool due = merge->tail > 0 || s->time_ms <= limit ||
                   (!s->answer->page.more && s->next.line.time_ms > s->answer->page.until_ms);
        if (!due)
            break;
        if (unwanted > 0) {
            unwanted--;
        } else {
            emit(context, s->answer, &s->next);
            emitted++;
        }
        pass(s);
    }
    free(streams);
    return emitted;
}
