#include "agent/desired/calendar.h"

int64_t calendar_days(struct calendar_date d)
{
    int64_t y = d.year - (d.month <= 2 ? 1 : 0);
    int64_t era = calendar_floor(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((int64_t)d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

struct calendar_date calendar_date(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = calendar_floor(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    unsigned month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);

    return (struct calendar_date){.year = yoe + era * 400 + (month <= 2 ? 1 : 0),
                                  .month = month,
                                  .day = (unsigned)(doy - (153 * mp + 2) / 5 + 1)};
}
