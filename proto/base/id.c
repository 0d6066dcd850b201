#include "proto/base/id.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void node_id_format(node_id id, char text[NODE_ID_TEXT])
{
    snprintf(text, NODE_ID_TEXT, "%016llx", (unsigned long long)id.v);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int node_id_parse(const char *text, node_id *id)
{
    uint64_t v = 0;

    if (strlen(text) != NODE_ID_TEXT - 1)
        return ERR_INVALID;
    for (const char *p = text; *p != '\0'; p++) {
        int digit = hex_digit(*p);
        if (digit < 0)
            return ERR_INVALID;
        v = v << 4 | (uint64_t)digit;
    }
    id->v = v;
    return ERR_NONE;
}

static size_t ip_size(const struct addr *a)
{
    return a->family == 4 ? 4 : 16;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family || a->port != b->port)
        return false;
    return a->family == 0 || memcmp(a->ip, b->ip, ip_size(a)) == 0;
}

void addr_format_ip(const struct addr *a, char text[ADDR_TEXT])
{
    if (a->family == 0)
        snprintf(text, ADDR_TEXT, "none");
    else if (inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, text, ADDR_TEXT) == NULL)
        text[0] = '\0';
}

void addr_format(const struct addr *a, char text[ADDR_TEXT])
{
    char ip[ADDR_TEXT];

    addr_format_ip(a, ip);
    if (a->family == 0)
        snprintf(text, ADDR_TEXT, "none");
    else
        snprintf(text, ADDR_TEXT, a->family == 6 ? "[%.45s]:%u" : "%.45s:%u", ip,
                 (unsigned)a->port);
}

static int parse_port(const char *text, uint16_t *port)
{
    char *end;
    long v;

    if (*text < '0' || *text > '9')
        return ERR_INVALID;
    v = strtol(text, &end, 10);
    if (*end != '\0' || v < 1 || v > 65535)
        return ERR_INVALID;
    *port = (uint16_t)v;
    return ERR_NONE;
}

int addr_parse(const char *text, uint16_t default_port, struct addr *a, struct err *err)
{
    char host[ADDR_TEXT];
    const char *colon = strrchr(text, ':');
    const char *port = NULL;
    size_t len = strlen(text);

    memset(a, 0, sizeof *a);
    a->port = default_port;
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':'))
            goto err_text;
        port = close[1] == ':' ? close + 2 : NULL;
        text++;
        len = (size_t)(close - text);
    } else if (colon != NULL && strchr(text, ':') == colon) {
        port = colon + 1;
        len = (size_t)(colon - text);
    }
    if (len >= sizeof host || (port != NULL && parse_port(port, &a->port) != 0))
        goto err_text;
    memcpy(host, text, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, a->ip) == 1)
        a->family = 4;
    else if (inet_pton(AF_INET6, host, a->ip) == 1)
        a->family = 6;
    else
        goto err_text;
    return ERR_NONE;

err_text:
    memset(a, 0, sizeof *a);
    return err_set(err, ERR_INVALID,
                   "\"%.64s\" is no address: expected something like 192.168.1.10:8801 or "
                   "[fe80::1]:8801",
                   text);
}

bool name_valid(const char *name)
{
    size_t len = strlen(name);

    if (len < 1 || len > NODE_NAME_MAX || name[0] == '-' || name[len - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static uint64_t finish(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t hash64(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return finish(h);
}

uint64_t hash64_string(const char *text)
{
    return hash64(text, strlen(text));
}

uint64_t hash64_mix(uint64_t a, uint64_t b)
{
    return finish(a ^ finish(b + 0x9e3779b97f4a7c15u));
}
