#include "agent/web/html.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOM_FIRST 16384
#define NUMBER_MAX 24

static void append(struct html *html, const char *data, size_t size)
{
    size_t room = html->room > 0 ? html->room : ROOM_FIRST;
    char *grown;

    if (html->failed)
        return;
    while (room - html->size <= size)
        room *= 2;
    if (room != html->room) {
        grown = realloc(html->data, room);
        if (grown == NULL) {
            html->failed = true;
            return;
        }
        html->data = grown;
        html->room = room;
    }
    memcpy(html->data + html->size, data, size);
    html->size += size;
    html->data[html->size] = '\0';
}

void html_raw(struct html *html, const char *markup)
{
    append(html, markup, strlen(markup));
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void put_text(struct html *html, const char *text)
{
    const char *from = text;

    if (text == NULL)
        return;
    for (; *text != '\0'; text++) {
        const char *escaped = entity(*text);
        if (escaped == NULL)
            continue;
        append(html, from, (size_t)(text - from));
        html_raw(html, escaped);
        from = text + 1;
    }
    append(html, from, (size_t)(text - from));
}

void html_put(struct html *html, const char *format, ...)
{
    char number[NUMBER_MAX];
    const char *percent;
    va_list args;

    va_start(args, format);
    while ((percent = strchr(format, '%')) != NULL) {
        append(html, format, (size_t)(percent - format));
        number[0] = '\0';
        format = percent + 2;
        switch (percent[1]) {
        case 's':
            put_text(html, va_arg(args, const char *));
            break;
        case 'd':
            snprintf(number, sizeof number, "%d", va_arg(args, int));
            break;
        case 'u':
            snprintf(number, sizeof number, "%u", va_arg(args, unsigned));
            break;
        case 'z': /* %zu */
            snprintf(number, sizeof number, "%zu", va_arg(args, size_t));
            format++;
            break;
        default: /* %% */
            html_raw(html, "%");
        }
        html_raw(html, number);
    }
    html_raw(html, format);
    va_end(args);
}

/* The same words as ago() of app.js. */
static void relative(int64_t seconds, char text[NUMBER_MAX + 8])
{
    int64_t size = seconds < 0 ? -seconds : seconds;
    const char *unit = "s";

    if (size >= 172800) {
        size /= 86400;
        unit = "days";
    } else if (size >= 3600) {
        size /= 3600;
        unit = "h";
    } else if (size >= 60) {
        size /= 60;
        unit = "min";
    }
    if (seconds == 0)
        snprintf(text, NUMBER_MAX + 8, "now");
    else
        snprintf(text, NUMBER_MAX + 8, "%s%lld %s%s", seconds < 0 ? "in " : "", (long long)size,
                 unit, seconds > 0 ? " ago" : "");
}

void html_time(struct html *html, int64_t now, int64_t at, const char *none)
{
    char words[NUMBER_MAX + 8];
    char machine[32];
    char people[32];
    time_t t = (time_t)at;
    struct tm tm;

    if (at == 0 || gmtime_r(&t, &tm) == NULL ||
        strftime(machine, sizeof machine, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0 ||
        strftime(people, sizeof people, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        html_raw(html, none);
        return;
    }
    relative(now - at, words);
    html_put(html, "<time datetime=\"%s\" title=\"%s\">%s</time>", machine, people,
             now == 0 ? people : words);
}

void html_badge(struct html *html, const char *tone, const char *symbol, const char *word)
{
    html_put(html,
             "<span class=\"badge %s\"><svg class=\"i\" aria-hidden=\"true\">"
             "<use href=\"#i-%s\"/></svg>%s</span>",
             tone, symbol, word);
}

void html_ip(struct html *html, const struct addr *addr)
{
    char text[ADDR_TEXT] = "";

    if (addr->family != 0)
        addr_format_ip(addr, text);
    put_text(html, text);
}
