#include "proto/wire/reason.h"

static const char *const names[WIRE_REASONS] = {
#define WIRE_ROW(name, word) [name] = (word),
    WIRE_REASON_MAP(WIRE_ROW)
#undef WIRE_ROW
};

const char *wire_reason_name(int reason)
{
    return names[reason >= 0 && reason < WIRE_REASONS ? reason : WIRE_OK];
}
