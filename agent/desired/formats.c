#include "agent/desired/formats.h"

#include <stdlib.h>
#include <string.h>

#include "agent/desired/desired.h"
#include "proto/record/value.h"

#define MEMORY_MIN (UINT64_C(1) << 20)
#define MEMORY_MAX (UINT64_C(1) << 40)
#define CPU_MAX_MILLI 1024000
#define ENV_NAME_MAX 128
#define URL_PATH_MAX 1024

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_port_name(const char *text)
{
    return strlen(text) < VALUE_PORT_NAME_MAX && name_valid(text);
}

static bool is_probe_port(const char *text)
{
    uint64_t number;

    if (schema_number(text, &number))
        return number >= 1 && number <= 65535;
    return is_port_name(text);
}

static bool made_of(const char *text, const char *allowed, size_t max)
{
    size_t len = strlen(text);

    return len <= max && strspn(text, allowed) == len;
}

static bool is_label_key(const char *text)
{
    return text[0] != '\0' && made_of(text, LOWER UPPER DIGITS "-._/", VALUE_LABEL_MAX - 1);
}

static bool is_label_value(const char *text)
{
    return made_of(text, LOWER UPPER DIGITS "-._", VALUE_LABEL_MAX - 1);
}

static bool is_env_name(const char *text)
{
    return text[0] != '\0' && strchr(DIGITS, text[0]) == NULL &&
           made_of(text, LOWER UPPER DIGITS "_", ENV_NAME_MAX);
}

static bool is_env_value(const char *text)
{
    return strlen(text) < DESIRED_ENV_VALUE_MAX;
}

static bool is_user(const char *text)
{
    return text[0] != '\0' && text[0] != '-' && strchr(DIGITS, text[0]) == NULL &&
           made_of(text, LOWER DIGITS "_-", 32);
}

static bool is_absolute_path(const char *text)
{
    return text[0] == '/' && strlen(text) < DESIRED_PATH_MAX;
}

static bool is_url_path(const char *text)
{
    if (text[0] != '/' || strlen(text) > URL_PATH_MAX)
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool is_not_empty(const char *text)
{
    return text[0] != '\0';
}

static bool is_host(const char *text)
{
    size_t label = 0;

    if (!made_of(text, LOWER DIGITS "-.", 253))
        return false;
    for (;; text++) {
        if (*text != '.' && *text != '\0') {
            label++;
            continue;
        }
        if (label < 1 || label > 63 || text[-1] == '-' || text[-(long)label] == '-')
            return false;
        if (*text == '\0')
            return true;
        label = 0;
    }
}

static bool is_object(const char *text)
{
    const char *slash = strchr(text, '/');

    if (slash == NULL)
        return name_valid(text);
    return slash > text && slash[1] != '\0' && strlen(text) < DESIRED_PATH_MAX &&
           strspn(text, LOWER UPPER DIGITS) == (size_t)(slash - text) &&
           made_of(slash + 1, LOWER UPPER DIGITS "-._/", DESIRED_PATH_MAX);
}

static bool is_relative_path(const char *text)
{
    const char *part = text;

    if (!made_of(text, LOWER UPPER DIGITS "-._/", 200))
        return false;
    for (;;) {
        size_t len = strcspn(part, "/");
        if (len == 0 || strncmp(part, "..", len) == 0)
            return false;
        if (part[len] == '\0')
            return true;
        part += len + 1;
    }
}

bool format_read_mode(const char *text, uint32_t *mode)
{
    size_t len = strlen(text);

    if (len < 3 || len > 4 || strspn(text, "01234567") != len || (len == 4 && text[0] != '0'))
        return false;
    *mode = (uint32_t)strtoul(text, NULL, 8);
    return (*mode & 0400) != 0 && (*mode & 0022) == 0;
}

static bool is_mode(const char *text)
{
    uint32_t mode;

    return format_read_mode(text, &mode);
}

static bool is_base64(const char *text)
{
    size_t len = strlen(text);
    size_t digits = strspn(text, LOWER UPPER DIGITS "+/");

    return len > 0 && len % 4 == 0 && len - digits <= 2 &&
           strspn(text + digits, "=") == len - digits;
}

static bool is_secret_key(const char *text)
{
    return text[0] != '\0' && made_of(text, LOWER UPPER DIGITS "-._", 63);
}

bool format_read_memory(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"k", 1000},
        {"M", 1000 * 1000},
        {"G", 1000 * 1000 * 1000},
        {"T", UINT64_C(1000) * 1000 * 1000 * 1000},
        {"Ki", UINT64_C(1) << 10},
        {"Mi", UINT64_C(1) << 20},
        {"Gi", UINT64_C(1) << 30},
        {"Ti", UINT64_C(1) << 40},
    };
    size_t digits = strspn(text, DIGITS);
    uint64_t number;

    if (digits < 1 || digits > 13)
        return false;
    number = strtoull(text, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].suffix) != 0)
            continue;
        if (number > MEMORY_MAX / units[i].factor)
            return false;
        *bytes = number * units[i].factor;
        return *bytes >= MEMORY_MIN;
    }
    return false;
}

static bool is_memory(const char *text)
{
    uint64_t bytes;

    return format_read_memory(text, &bytes);
}

bool format_read_cpu(const char *text, uint32_t *milli)
{
    size_t digits = strspn(text, DIGITS);
    const char *rest = text + digits;
    unsigned long value;

    if (digits < 1 || digits > 7)
        return false;
    value = strtoul(text, NULL, 10);
    if (strcmp(rest, "m") != 0) {
        unsigned long scale = 100;
        value *= 1000;
        if (*rest == '.' && rest[1] != '\0') {
            for (rest++; *rest >= '0' && *rest <= '9' && scale > 0; rest++, scale /= 10)
                value += (unsigned long)(*rest - '0') * scale;
        }
        if (*rest != '\0')
            return false;
    }
    if (value < 1 || value > CPU_MAX_MILLI)
        return false;
    *milli = (uint32_t)value;
    return true;
}

static bool is_cpu(const char *text)
{
    uint32_t milli;

    return format_read_cpu(text, &milli);
}

bool format_read_ipv4(const char *text, struct addr *address)
{
    /* addr_parse would take a port as well. */
    if (!made_of(text, DIGITS ".", 15) || addr_parse(text, 0, address, NULL) != 0)
        return false;
    return address->ip[0] >= 1 && address->ip[0] < 224 && address->ip[0] != 127;
}

static bool is_ipv4(const char *text)
{
    struct addr address;

    return format_read_ipv4(text, &address);
}

bool format_read_pool(const char *text, struct addr *first, struct addr *last)
{
    const char *dash = strchr(text, '-');
    char begin[16];
    size_t len;

    if (dash == NULL) {
        if (!format_read_ipv4(text, first))
            return false;
        *last = *first;
        return true;
    }
    len = (size_t)(dash - text);
    if (len >= sizeof begin)
        return false;
    memcpy(begin, text, len);
    begin[len] = '\0';
    return format_read_ipv4(begin, first) && format_read_ipv4(dash + 1, last) &&
           memcmp(first->ip, last->ip, 4) <= 0;
}

static bool is_pool(const char *text)
{
    struct addr first, last;

    return format_read_pool(text, &first, &last);
}

#define IPV4_PATTERN "[0-9]{1,3}(\\.[0-9]{1,3}){3}"

const struct schema_format format_name = {
    .expected = "a name of at most 63 of a-z, 0-9 and -, such as rest-api",
    .pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
    .check = name_valid,
};
const struct schema_format format_port_name = {
    .expected = "a name of at most 15 of a-z, 0-9 and -, such as http",
    .pattern = "^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$",
    .check = is_port_name,
};
const struct schema_format format_probe_port = {
    .expected = "the name or the number of one of the workload's ports",
    .pattern = "^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$",
    .check = is_probe_port,
};
const struct schema_format format_label_key = {
    .expected = "at most 63 of letters, digits, '-', '.', '_' and '/'",
    .pattern = "^[A-Za-z0-9._/-]{1,63}$",
    .check = is_label_key,
};
const struct schema_format format_label_value = {
    .expected = "at most 63 of letters, digits, '-', '.' and '_'",
    .pattern = "^[A-Za-z0-9._-]{0,63}$",
    .check = is_label_value,
};
const struct schema_format format_env_name = {
    .expected = "letters, digits and _, not beginning with a digit, such as LOG_LEVEL",
    .pattern = "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    .check = is_env_name,
};
const struct schema_format format_env_value = {
    .expected = "a text of at most 4095 bytes",
    .pattern = "^[\\s\\S]{0,4095}$",
    .check = is_env_value,
};
const struct schema_format format_user = {
    .expected = "the name of a system user, such as www-data",
    .pattern = "^[a-z_][a-z0-9_-]{0,31}$",
    .check = is_user,
};
const struct schema_format format_absolute_path = {
    .expected = "an absolute path, such as /var/lib/app",
    .pattern = "^/",
    .check = is_absolute_path,
};
const struct schema_format format_url_path = {
    .expected = "a path without spaces that begins with '/', such as /health",
    .pattern = "^/[!-~]{0,1023}$",
    .check = is_url_path,
};
const struct schema_format format_memory = {
    .expected = "a whole number with a unit, 1Mi to 1Ti, such as 32Mi",
    .pattern = "^[0-9]{1,13}([kMGT]|[KMGT]i)?$",
    .check = is_memory,
};
const struct schema_format format_cpu = {
    .expected = "cores, such as 500m or 0.5",
    .pattern = "^([0-9]{1,7}m|[0-9]{1,7}(\\.[0-9]{1,3})?)$",
    .check = is_cpu,
};
const struct schema_format format_not_empty = {
    .expected = "a text that is not empty",
    .pattern = "^[\\s\\S]",
    .check = is_not_empty,
};
const struct schema_format format_host = {
    .expected = "a host name in lower case, such as grafana.local",
    .pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
    .check = is_host,
};
const struct schema_format format_object = {
    .expected = "the name of a workload, or Kind/name, such as VirtualIP/front",
    .pattern = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?|[A-Za-z0-9]+/[A-Za-z0-9._/-]+)$",
    .check = is_object,
};
const struct schema_format format_relative_path = {
    .expected = "a relative path without .., such as conf/app.ini",
    .pattern = "^[A-Za-z0-9._/-]{1,200}$",
    .check = is_relative_path,
};
const struct schema_format format_mode = {
    .expected = "octal permissions that let nobody but the owner write, such as 0440",
    .pattern = "^0?[4-7][0145][0145]$",
    .check = is_mode,
};
const struct schema_format format_base64 = {
    .expected = "base64, as agentctl secret seal writes it",
    .pattern = "^[A-Za-z0-9+/]+={0,2}$",
    .check = is_base64,
};
const struct schema_format format_secret_key = {
    .expected = "at most 63 of letters, digits, '-', '.' and '_', such as password",
    .pattern = "^[A-Za-z0-9._-]{1,63}$",
    .check = is_secret_key,
};
const struct schema_format format_ipv4 = {
    .expected = "the IPv4 address of a host, such as 192.168.1.210",
    .pattern = "^" IPV4_PATTERN "$",
    .check = is_ipv4,
};
const struct schema_format format_pool = {
    .expected = "a range of IPv4 addresses, lowest first, such as 192.168.1.210-192.168.1.230",
    .pattern = "^" IPV4_PATTERN "(-" IPV4_PATTERN ")?$",
    .check = is_pool,
};
