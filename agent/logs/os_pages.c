#include "agent/logs/os_pages.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/shim/shim.h"

#define VIEW_PREVIOUS 2     /* in a request, where 1 is to follow */
#define SCAN_MAX (32 << 20) /* bytes of log read for one page, all instances together */

/* ---- queries ---- */

int log_query_write(const struct log_query *q, char *text, size_t size, struct err *err)
{
    int n = snprintf(text, size, "logs %s %zu %" PRId64 " %d %d %s%s", q->name, q->tail,
                     q->since_ms, (int)q->level, q->previous ? VIEW_PREVIOUS : (int)q->follow,
                     q->resume ? "@" : "-", q->resume ? q->cursor : "");

    return n > 0 && (size_t)n < size
               ? ERR_NONE
               : err_set(err, ERR_LIMIT, "too many instances: name one of them");
}

int log_query_read(const char *text, size_t len, struct log_query *q, struct err *err)
{
    char copy[LOG_NODE_CURSOR_MAX + 256];
    int level;
    int view;
    int used = 0;

    memset(q, 0, sizeof *q);
    if (len >= sizeof copy || memchr(text, '\0', len) != NULL)
        return err_set(err, ERR_INVALID, "a request for logs is malformed");
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (sscanf(copy, "logs %127s %6zu %" SCNd64 " %1d %1d %n", q->name, &q->tail, &q->since_ms,
               &level, &view, &used) != 5 ||
        used == 0 || !shim_instance_valid(q->name) || q->tail > LOG_TAIL_MAX || q->since_ms < 0 ||
        level < 0 || level >= LOG_LEVELS || (copy[used] != '@' && copy[used] != '-') ||
        strlen(copy + used + 1) >= sizeof q->cursor)
        return err_set(err, ERR_INVALID, "a request for logs is malformed");
    q->level = (enum log_level)level;
    q->follow = view != 0 && view != VIEW_PREVIOUS;
    q->previous = view == VIEW_PREVIOUS;
    q->resume = copy[used] == '@';
    memcpy(q->cursor, copy + used + 1, strlen(copy + used + 1) + 1);
    return ERR_NONE;
}

/* ---- which instances ---- */

/* @entry is the folder of @name or of one of its replicas, @name.N. */
static bool belongs(const char *entry, const char *name)
{
    size_t len = strlen(name);

    if (strncmp(entry, name, len) != 0)
        return false;
    if (entry[len] == '\0')
        return true;
    if (entry[len] != '.' || entry[len + 1] == '\0')
        return false;
    for (const char *c = entry + len + 1; *c != '\0'; c++)
        if (!isdigit((unsigned char)*c)) /* the second process of a hand-over: @name.N_ */
            return c > entry + len + 1 && strcmp(c, "_") == 0;
    return true;
}

static int by_instance(const void *a, const void *b)
{
    const struct log_source *x = a;
    const struct log_source *y = b;

    return strcmp(x->instance, y->instance);
}

static int find_sources(const char *dir, const char *name, struct log_page *page, struct err *err)
{
    char wanted[INSTANCE_MAX];
    struct dirent *entry;
    DIR *folder = opendir(dir);
    int rc = ERR_NONE;

    if (folder == NULL)
        return errno == ENOENT ? ERR_NONE : err_errno(err, ERR_IO, errno, "open %s", dir);
    shim_instance_file(name, wanted);
    while (rc == ERR_NONE && (entry = readdir(folder)) != NULL) {
        struct log_source *source = &page->sources[page->source_count];
        if (!belongs(entry->d_name, wanted) || strlen(entry->d_name) >= sizeof source->instance)
            continue;
        if (page->source_count == LOG_SOURCES_MAX) {
            rc = err_set(err, ERR_LIMIT, "more than %d instances: name one of them",
                         LOG_SOURCES_MAX);
            break;
        }
        snprintf(source->instance, sizeof source->instance, "%.*s", INSTANCE_MAX - 1,
                 entry->d_name);
        for (char *c = source->instance; *c != '\0'; c++)
            if (*c == '@')
                *c = '/';
        page->source_count++;
    }
    closedir(folder);
    qsort(page->sources, page->source_count, sizeof page->sources[0], by_instance);
    return rc;
}

/* ---- the page ---- */

struct making {
    const struct log_query *query;
    struct log_page page;
    struct log_reader *readers[LOG_SOURCES_MAX];
    size_t unwanted; /* lines to be left out, of the tail of each */
};

static void place(struct making *m, size_t i)
{
    const struct log_query *q = m->query;
    struct log_source *source = &m->page.sources[i];
    struct log_reader *reader = m->readers[i];
    struct log_position position = {0};

    if (q->previous)
        log_reader_seek_previous(reader);
    if (q->resume) { /* an instance that is new since begins at its beginning */
        log_cursor_position(q->cursor, strlen(q->cursor), source->instance, &position);
        if (!log_reader_seek(reader, &position))
            m->page.skipped = true;
    } else if (q->tail > 0 && !q->previous) {
        log_reader_seek_tail(reader, q->tail);
    } else if (q->since_ms > 0 && !q->previous) {
        log_reader_seek_since(reader);
    } else if (!q->previous) {
        log_reader_seek(reader, &position);
    }
    log_reader_position(reader, &source->start);
}

static int open_readers(struct making *m, const char *dir, struct err *err)
{
    const struct log_filter filter = {
        .level = m->query->level, .since_ms = m->query->since_ms, .whole = m->query->follow};
    bool tail = m->query->tail > 0 && !m->query->resume;
    int rc = ERR_NONE;

    for (size_t i = 0; i < m->page.source_count && rc == ERR_NONE; i++)
        rc = log_reader_open(dir, m->page.sources[i].instance, &filter,
                             tail ? UINT64_MAX : SCAN_MAX / m->page.source_count, &m->readers[i],
                             err);
    return rc;
}

/* The reader with the earliest line; one that has paused stands for lines that may come. */
static size_t earliest(const struct making *m)
{
    size_t first = m->page.source_count;

    for (size_t i = 0; i < m->page.source_count; i++)
        if (log_reader_state(m->readers[i]) != LOG_END &&
            (first == m->page.source_count ||
             log_reader_time(m->readers[i]) < log_reader_time(m->readers[first])))
            first = i;
    return first;
}

/* How many of the tails' lines are too many, and how many bytes too much the rest is. */
static void count_tail(struct making *m)
{
    size_t count = 0;
    size_t bytes = 0;
    size_t *sizes = NULL;
    size_t room = 0;

    for (size_t i; (i = earliest(m)) < m->page.source_count;) {
        if (log_reader_state(m->readers[i]) != LOG_LINE)
            break;
        if (count == room) {
            size_t *grown = realloc(sizes, (room + 1024) * sizeof *sizes);
            if (grown == NULL)
                break;
            sizes = grown;
            room += 1024;
        }
        sizes[count] = log_reader_line(m->readers[i])->len + 64;
        bytes += sizes[count++];
        log_reader_next(m->readers[i]);
    }
    m->unwanted = count > m->query->tail ? count - m->query->tail : 0;
    for (size_t i = 0; i < count; i++) {
        if (i >= m->unwanted && bytes <= LOG_TAIL_BYTES) {
            m->unwanted = i;
            break;
        }
        bytes -= sizes[i];
    }
    free(sizes);
    for (size_t i = 0; i < m->page.source_count; i++) {
        log_reader_seek(m->readers[i], &m->page.sources[i].start);
        log_reader_position(m->readers[i], &m->page.sources[i].start);
    }
}

static void write_lines(struct making *m, FILE *out)
{
    size_t max = m->query->tail > 0 && !m->query->resume ? SIZE_MAX : LOG_PAGE_MAX;
    size_t bytes = 0;

    for (size_t i; (i = earliest(m)) < m->page.source_count;) {
        struct log_reader *reader = m->readers[i];
        struct log_page_line line = {.source = i};
        if (bytes >= max || log_reader_state(reader) == LOG_PAUSED) {
            m->page.more = true;
            m->page.until_ms = log_reader_time(reader);
            break;
        }
        line.line = *log_reader_line(reader);
        log_reader_behind(reader, &line.behind);
        if (m->unwanted > 0) {
            m->unwanted--;
        } else {
            log_page_line(out, &line);
            bytes += line.line.len + 64;
        }
        log_reader_next(reader);
    }
    for (size_t i = 0; i < m->page.source_count; i++)
        log_reader_position(m->readers[i], &m->page.sources[i].end);
}

static int assemble(struct making *m, const char *lines, size_t len, int64_t now_ms, char **text,
                    size_t *size)
{
    FILE *out = open_memstream(text, size);

    if (out == NULL)
        return ERR_NOMEM;
    if (!m->page.more)
        m->page.until_ms = now_ms;
    log_page_head(out, &m->page);
    fwrite(lines, 1, len, out);
    if (fclose(out) == 0)
        return ERR_NONE;
    free(*text);
    return ERR_NOMEM;
}

int os_pages_make(const char *dir, const struct log_query *query, int64_t now_ms, char **text,
                  size_t *size, struct err *err)
{
    struct making *m = calloc(1, sizeof *m);
    char *lines = NULL;
    size_t len = 0;
    FILE *out = m != NULL ? open_memstream(&lines, &len) : NULL;
    int rc = ERR_NONE;

    if (out == NULL) {
        free(m);
        return err_set(err, ERR_NOMEM, "read logs: %s", err_text(ERR_NOMEM));
    }
    m->query = query;
    rc = find_sources(dir, query->name, &m->page, err);
    if (rc == ERR_NONE)
        rc = open_readers(m, dir, err);
    for (size_t i = 0; i < m->page.source_count && rc == ERR_NONE; i++)
        place(m, i);
    if (rc == ERR_NONE && query->tail > 0 && !query->resume)
        count_tail(m);
    if (rc == ERR_NONE)
        write_lines(m, out);
    for (size_t i = 0; i < m->page.source_count; i++)
        log_reader_close(m->readers[i]);
    if (fclose(out) != 0 && rc == ERR_NONE)
        rc = err_set(err, ERR_NOMEM, "read logs: %s", err_text(ERR_NOMEM));
    if (rc == ERR_NONE && assemble(m, lines, len, now_ms, text, size) != ERR_NONE)
        rc = err_set(err, ERR_NOMEM, "read logs: %s", err_text(ERR_NOMEM));
    free(lines);
    free(m);
    return rc;
}
