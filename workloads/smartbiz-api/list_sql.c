#include "workloads/smartbiz-api/list_sql.h"

#include <stdio.h>
#include <string.h>

#include "workloads/lib/body.h"
#include "workloads/lib/emit.h"

unsigned list_shape_index(const struct list_spec *spec, const struct list_shape *shape)
{
    unsigned index = (unsigned)shape->sort;

    index = index * 2 + shape->descending;
    index = index * 2 + shape->after;
    if (spec->search != NULL)
        index = index * 2 + shape->search;
    return (index << spec->filter_count) + shape->filters;
}

unsigned list_shapes(const struct list_spec *spec)
{
    unsigned shapes = (unsigned)spec->sort_count * 4;

    if (spec->search != NULL)
        shapes *= 2;
    return shapes << spec->filter_count;
}

struct sql_text {
    char *text;
    size_t size;
    size_t len;
    bool failed;
    unsigned param;
};

static void add(struct sql_text *sql, const char *part)
{
    size_t len = strlen(part);

    if (sql->len + len >= sql->size) {
        sql->failed = true;
        return;
    }
    memcpy(sql->text + sql->len, part, len + 1);
    sql->len += len;
}

/* @condition with the next parameter in each place of %s. */
static void add_condition(struct sql_text *sql, const char *condition)
{
    const char *place;
    char param[16];

    snprintf(param, sizeof param, "$%u", ++sql->param);
    while ((place = strstr(condition, "%s")) != NULL) {
        char part[256];
        size_t len = (size_t)(place - condition);
        if (len >= sizeof part) {
            sql->failed = true;
            return;
        }
        memcpy(part, condition, len);
        part[len] = '\0';
        add(sql, part);
        add(sql, param);
        condition = place + 2;
    }
    add(sql, condition);
}

bool list_sql(const struct list_spec *spec, const struct list_shape *shape, char *text, size_t size)
{
    const struct list_sort *sort = &spec->sorts[shape->sort];
    const char *direction = shape->descending ? " DESC" : "";
    struct sql_text sql = {.text = text, .size = size, .param = 1};
    char part[512];

    add(&sql, spec->select);
    if (!sort->has_column) {
        add(&sql, ", ");
        add(&sql, sort->expression);
    }
    add(&sql, spec->from);
    if (shape->after) {
        snprintf(part, sizeof part, " AND (%s, t.id) %c ($%u::%s, $%u::bigint)", sort->expression,
                 shape->descending ? '<' : '>', sql.param + 1, sort->is_number ? "bigint" : "text",
                 sql.param + 2);
        sql.param += 2;
        add(&sql, part);
    }
    if (shape->search)
        add_condition(&sql, spec->search);
    for (size_t i = 0; i < spec->filter_count; i++)
        if (shape->filters >> i & 1)
            add_condition(&sql, spec->filters[i].condition);
    if (shape->sort == 0)
        snprintf(part, sizeof part, " ORDER BY t.id%s LIMIT $1::bigint", direction);
    else
        snprintf(part, sizeof part, " ORDER BY %s%s, t.id%s LIMIT $1::bigint", sort->expression,
                 direction, direction);
    add(&sql, part);
    return !sql.failed;
}

/* --- cursors ------------------------------------------------------------------------------ */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cursor_print(const char *id, const char *value, size_t value_len, char text[CURSOR_TEXT_MAX])
{
    unsigned char plain[CURSOR_VALUE_MAX + 24];
    size_t id_len = strlen(id);
    size_t len = 0;
    unsigned bits = 0;
    unsigned held = 0;

    /* No value that is sorted by is longer; a cut one would still lie before what follows. */
    if (value_len > CURSOR_VALUE_MAX)
        value_len = CURSOR_VALUE_MAX;
    memcpy(plain, id, id_len);
    plain[id_len] = ':';
    memcpy(plain + id_len + 1, value, value_len);
    for (size_t i = 0; i < id_len + 1 + value_len; i++) {
        bits = bits << 8 | plain[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            text[len++] = digits[bits >> held & 63];
        }
    }
    if (held > 0)
        text[len++] = digits[bits << (6 - held) & 63];
    text[len] = '\0';
}

bool cursor_read(const char *text, char storage[CURSOR_VALUE_MAX + 32], const char **id,
                 const char **value)
{
    size_t len = 0;
    unsigned bits = 0;
    unsigned held = 0;
    int64_t ignored;
    char *colon;

    for (; *text != '\0'; text++) {
        const char *at = strchr(digits, *text);
        if (at == NULL || len >= CURSOR_VALUE_MAX + 24)
            return false;
        bits = bits << 6 | (unsigned)(at - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            storage[len++] = (char)(bits >> held & 255);
        }
    }
    storage[len] = '\0';
    if (strlen(storage) != len)
        return false;
    for (size_t at = 0, n; at < len; at += n) {
        n = utf8_sequence(storage + at, len - at);
        if (n == 0)
            return false;
    }
    colon = strchr(storage, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    *id = storage;
    *value = colon + 1;
    return read_int(storage, &ignored) && ignored > 0;
}
