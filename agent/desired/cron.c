#include "agent/desired/cron.h"
#include "agent/desired/calendar.h"

#include <string.h>
#include <strings.h>

#define ALL_HOURS 0xffffffu
#define DAY_S 86400
#define EVERY_BIT (UINT64_C(1) << 63) /* beyond every field's values: the field was "*" or "?" */

struct field {
    const char *name;
    unsigned low;
    unsigned high;
    const char *const *names; /* of the values from low on, or NULL */
    size_t name_count;
};

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };

static const struct field fields[FIELDS] = {
    [MINUTE] = {"minute", 0, 59, NULL, 0},
    [HOUR] = {"hour", 0, 23, NULL, 0},
    [DAY] = {"day of the month", 1, 31, NULL, 0},
    [MONTH] = {"month", 1, 12, month_names, 12},
    [WEEKDAY] = {"day of the week", 0, 7, weekday_names, 7},
};

/* ---- parsing ---- */

struct parser {
    const char *text;
    size_t at;
    struct err *err;
};

static int expected(struct parser *p, const char *what)
{
    return err_set(p->err, ERR_INVALID,
                   "schedule \"%.*s\", position %zu: expected %s; five fields are minute hour "
                   "day-of-month month day-of-week, as in \"*/5 8-18 * * mon-fri\"",
                   CRON_TEXT_MAX, p->text, p->at + 1, what);
}

static int out_of_field(struct parser *p, const struct field *f, size_t at)
{
    p->at = at;
    return err_set(p->err, ERR_INVALID,
                   "schedule \"%.*s\", position %zu: expected a %s from %u to %u%s%s",
                   CRON_TEXT_MAX, p->text, p->at + 1, f->name, f->low, f->high,
                   f->names != NULL ? " or a name as " : "", f->names != NULL ? f->names[0] : "");
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads digits into @value, at most 9 of them; false where there is none, or too many. */
static bool read_digits(struct parser *p, unsigned *value)
{
    size_t from = p->at;

    for (*value = 0; digit(p->text[p->at]); p->at++) {
        if (p->at - from >= 9)
            return false;
        *value = *value * 10 + (unsigned)(p->text[p->at] - '0');
    }
    return p->at > from;
}

static int read_value(struct parser *p, const struct field *f, unsigned *value)
{
    size_t from = p->at;

    for (size_t i = 0; i < f->name_count; i++) {
        if (strncasecmp(p->text + p->at, f->names[i], 3) == 0) {
            p->at += 3;
            *value = f->low + (unsigned)i;
            return ERR_NONE;
        }
    }
    if (!read_digits(p, value) || *value < f->low || *value > f->high)
        return out_of_field(p, f, from);
    return ERR_NONE;
}

/* "*", "?", "a", "a-b", each with "/step" ("a/step" is "a-highest/step"). */
static int read_item(struct parser *p, const struct field *f, uint64_t *bits)
{
    unsigned low = f->low;
    unsigned high = f->high;
    unsigned step = 1;
    bool every = p->text[p->at] == '*' || p->text[p->at] == '?';
    bool single = false;

    if (every) {
        p->at++;
    } else {
        size_t from = p->at;
        if (read_value(p, f, &low) != ERR_NONE)
            return ERR_INVALID;
        single = p->text[p->at] != '-';
        if (!single) {
            p->at++;
            if (read_value(p, f, &high) != ERR_NONE)
                return ERR_INVALID;
            if (high < low) {
                p->at = from;
                return expected(p, "a range that runs upwards");
            }
        }
    }
    if (p->text[p->at] == '/') {
        p->at++;
        if (!read_digits(p, &step) || step == 0)
            return expected(p, "a step of at least 1");
        every = every && step == 1;
    } else if (single) {
        high = low;
    }
    for (unsigned v = low; v <= high; v += step)
        *bits |= UINT64_C(1) << v;
    if (every)
        *bits |= EVERY_BIT;
    return ERR_NONE;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static int read_field(struct parser *p, const struct field *f, uint64_t *bits)
{
    *bits = 0;
    for (;;) {
        if (read_item(p, f, bits) != ERR_NONE)
            return ERR_INVALID;
        if (p->text[p->at] != ',')
            break;
        p->at++;
    }
    if (p->text[p->at] != '\0' && !blank(p->text[p->at]))
        return expected(p, "\",\", \"-\", \"/\" or a blank");
    return ERR_NONE;
}

static void skip_blanks(struct parser *p)
{
    while (blank(p->text[p->at]))
        p->at++;
}

/* "1h30m10s", as Go writes a duration, in whole seconds. */
static int read_every(struct parser *p, struct cron_schedule *schedule)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};
    size_t from;
    size_t next = 0;

    skip_blanks(p);
    from = p->at;
    do {
        unsigned count;
        if (!read_digits(p, &count))
            return expected(p, "a duration such as 5m or 1h30m");
        while (next < 3 && units[next].unit != p->text[p->at])
            next++;
        if (next == 3)
            return expected(p, "the unit h, m or s, each once and in this order");
        schedule->every_s += (int64_t)count * units[next++].seconds;
        p->at++;
    } while (p->text[p->at] != '\0' && !blank(p->text[p->at]));
    if (schedule->every_s < 1 || schedule->every_s > CRON_EVERY_MAX_S) {
        p->at = from;
        return expected(p, "a duration from 1s to 366 days");
    }
    return ERR_NONE;
}

static const struct {
    const char *name;
    const char *means;
} macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

static int read_fields(struct parser *p, struct cron_schedule *schedule)
{
    uint64_t bits[FIELDS];

    for (int i = 0; i < FIELDS; i++) {
        skip_blanks(p);
        if (p->text[p->at] == '\0')
            return expected(p, fields[i].name);
        if (read_field(p, &fields[i], &bits[i]) != ERR_NONE)
            return ERR_INVALID;
    }
    schedule->minutes = bits[MINUTE] & ~EVERY_BIT;
    schedule->hours = (uint32_t)bits[HOUR];
    schedule->days = (uint32_t)bits[DAY];
    schedule->months = (uint16_t)bits[MONTH];
    schedule->weekdays = (uint8_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f);
    schedule->any_day = (bits[DAY] & EVERY_BIT) != 0;
    schedule->any_weekday = (bits[WEEKDAY] & EVERY_BIT) != 0;
    return ERR_NONE;
}

static int read_macro(struct parser *p, struct cron_schedule *schedule)
{
    size_t len = strcspn(p->text + p->at, " \t");

    if (len == strlen("@every") && strncasecmp(p->text + p->at, "@every", len) == 0) {
        p->at += len;
        return read_every(p, schedule);
    }
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
        if (len == strlen(macros[i].name) &&
            strncasecmp(p->text + p->at, macros[i].name, len) == 0) {
            struct parser meaning = {.text = macros[i].means};
            p->at += len;
            return read_fields(&meaning, schedule);
        }
    }
    return expected(p, "@yearly, @monthly, @weekly, @daily, @hourly or @every");
}

int cron_parse(const char *text, struct cron_schedule *schedule, struct err *err)
{
    struct parser p = {.text = text, .err = err};
    struct cron_schedule read = {.every_s = 0};
    int rc;

    if (strlen(text) >= CRON_TEXT_MAX)
        return err_set(err, ERR_INVALID, "a schedule has at most %d characters, not %zu",
                       CRON_TEXT_MAX - 1, strlen(text));
    skip_blanks(&p);
    rc = text[p.at] == '@' ? read_macro(&p, &read) : read_fields(&p, &read);
    if (rc != ERR_NONE)
        return rc;
    skip_blanks(&p);
    if (text[p.at] != '\0')
        return expected(&p, "the end of the schedule");
    *schedule = read;
    return ERR_NONE;
}

/* ---- the next tick ---- */

static bool day_matches(const struct cron_schedule *s, struct calendar_date d, int64_t days)
{
    bool day = (s->days >> d.day & 1) != 0;
    bool weekday = (s->weekdays >> calendar_weekday(days) & 1) != 0;

    return s->any_day || s->any_weekday ? day && weekday : day || weekday;
}

/* The first minute of a day at or after @minute (0 to 1440) that matches; -1 if there is none. */
static int minute_of_day(const struct cron_schedule *s, int minute)
{
    for (int hour = minute / 60; hour < 24; hour++, minute = hour * 60) {
        uint64_t rest = s->minutes >> (minute % 60);
        if ((s->hours >> hour & 1) != 0 && rest != 0)
            return minute + __builtin_ctzll(rest);
    }
    return -1;
}

/* The first matching minute later than @local_s, both by the clock on the wall. */
static int64_t next_local(const struct cron_schedule *s, int64_t local_s)
{
    int64_t minute = calendar_floor(local_s, 60) + 1;
    int64_t days = calendar_floor(minute, 1440);
    struct calendar_date d = calendar_date(days);
    struct calendar_date limit = d;

    limit.year += CRON_SEARCH_YEARS;
    while (d.year < limit.year) {
        int at;
        if ((s->months >> d.month & 1) == 0) {
            /* Straight to the first day of the next month. */
            d = d.month == 12 ? (struct calendar_date){d.year + 1, 1, 1}
                              : (struct calendar_date){d.year, d.month + 1, 1};
            days = calendar_days(d);
            minute = days * 1440;
            continue;
        }
        at = day_matches(s, d, days) ? minute_of_day(s, (int)(minute - days * 1440)) : -1;
        if (at >= 0)
            return (days * 1440 + at) * 60;
        days++;
        minute = days * 1440;
        d = calendar_date(days);
    }
    return CRON_NEVER;
}

/* When the wall shows @local_s: the first time, where an hour comes twice; the end of the gap,
 * where it is left out. */
static int64_t first_showing(const struct cron_zone *zone, int64_t local_s)
{
    int64_t summer = local_s - zone->summer_s;
    int64_t winter = local_s - zone->offset_s;

    if (!zone->daylight)
        return winter;
    if (cron_zone_offset(zone, summer) == zone->summer_s)
        return summer;
    if (cron_zone_offset(zone, winter) == zone->offset_s)
        return winter;
    return cron_zone_change(zone, summer - 1);
}

/* Every hour of the day: what counts is how much time passes, so the hour that comes twice has its
 * ticks twice, and the one that is left out none. */
static int64_t next_elapsed(const struct cron_schedule *s, const struct cron_zone *zone,
                            int64_t after_s)
{
    for (;;) {
        int32_t offset = cron_zone_offset(zone, after_s);
        int64_t change = cron_zone_change(zone, after_s);
        int64_t local = next_local(s, after_s + offset);
        if (local == CRON_NEVER || local - offset < change)
            return local == CRON_NEVER ? local : local - offset;
        /* From the change on, itself included, by the other offset. */
        after_s = change;
        offset = cron_zone_offset(zone, change);
        local = next_local(s, change - 1 + offset);
        if (local - offset < cron_zone_change(zone, change))
            return local - offset;
    }
}

int64_t cron_next(const struct cron_schedule *s, const struct cron_zone *zone, int64_t after_s)
{
    int64_t local;

    if (s->every_s > 0)
        return (calendar_floor(after_s, s->every_s) + 1) * s->every_s;
    if (zone->daylight && s->hours == ALL_HOURS)
        return next_elapsed(s, zone, after_s);
    local = after_s + cron_zone_offset(zone, after_s);
    for (;;) {
        int64_t tick;
        local = next_local(s, local);
        if (local == CRON_NEVER)
            return local;
        tick = first_showing(zone, local);
        if (tick > after_s)
            return tick;
    }
}

/* ---- ticks ---- */

/* The last tick in (after_s, until_s], or CRON_NEVER. Looks back in windows that double, so that
 * years of downtime cost no more than the ticks of one day. */
static int64_t last_tick(const struct cron *c, int64_t after_s, int64_t until_s)
{
    int64_t found = CRON_NEVER;

    for (int64_t window = 3600; found == CRON_NEVER; window *= 2) {
        int64_t from = until_s - window > after_s ? until_s - window : after_s;
        for (int64_t t = cron_next(&c->schedule, &c->zone, from); t <= until_s;
             t = cron_next(&c->schedule, &c->zone, t))
            found = t;
        if (from == after_s)
            break;
    }
    return found;
}

static unsigned count_before(const struct cron *c, int64_t after_s, int64_t tick_s)
{
    unsigned count = 0;

    for (int64_t t = cron_next(&c->schedule, &c->zone, after_s);
         t < tick_s && count < CRON_MISSED_MAX; t = cron_next(&c->schedule, &c->zone, t))
        count++;
    return count;
}

static enum cron_action decide(const struct cron *c, int64_t late_s, bool running)
{
    if (c->suspended)
        return CRON_NOTHING;
    if (c->starting_deadline_s >= 0 && late_s > c->starting_deadline_s)
        return CRON_LATE;
    if (!running || c->concurrency == CRON_ALLOW)
        return CRON_START;
    return c->concurrency == CRON_REPLACE ? CRON_STOP_AND_START : CRON_SKIP;
}

void cron_step(struct cron *c, int64_t now_s, bool running, struct cron_out *out)
{
    int64_t tick;

    *out = (struct cron_out){.action = CRON_NOTHING};
    if (now_s <= c->handled_s)
        return;
    tick = last_tick(c, c->handled_s, now_s);
    if (tick == CRON_NEVER)
        return;
    out->tick_s = tick;
    out->missed = count_before(c, c->handled_s, tick);
    out->action = decide(c, now_s - tick, running);
    c->handled_s = tick;
}

int64_t cron_deadline(const struct cron *c)
{
    return cron_next(&c->schedule, &c->zone, c->handled_s);
}
