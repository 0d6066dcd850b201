/* What names, quantities and addresses in documents look like. */
#ifndef COVEY_DESIRED_FORMATS_H
#define COVEY_DESIRED_FORMATS_H

#include "agent/desired/schema.h"
#include "proto/base/id.h"

extern const struct schema_format format_name;        /* a DNS label */
extern const struct schema_format format_port_name;   /* a DNS label of at most 15 bytes */
extern const struct schema_format format_probe_port;  /* the name or number of a port */
extern const struct schema_format format_label_key;   /* at most 63 bytes */
extern const struct schema_format format_label_value; /* at most 63 bytes, may be empty */
extern const struct schema_format format_env_name;
extern const struct schema_format format_env_value;
extern const struct schema_format format_user;
extern const struct schema_format format_absolute_path;
extern const struct schema_format format_url_path;
extern const struct schema_format format_memory;
extern const struct schema_format format_cpu;
extern const struct schema_format format_not_empty;
extern const struct schema_format format_host;          /* a DNS name, lower case */
extern const struct schema_format format_object;        /* "rest-api" or "VirtualIP/front" */
extern const struct schema_format format_relative_path; /* inside its folder */
extern const struct schema_format format_mode;          /* 0440 */
extern const struct schema_format format_base64;
extern const struct schema_format format_secret_key; /* of a value of a SealedSecret */
extern const struct schema_format format_capability; /* "NET_BIND_SERVICE" */
extern const struct schema_format format_signal;     /* "SIGINT" */
extern const struct schema_format format_oom_score;  /* -1000 to 1000 */
extern const struct schema_format format_time_zone;  /* "Europe/Berlin" */
extern const struct schema_format format_ipv4;       /* of a host */
extern const struct schema_format format_pool;       /* "10.0.0.210-10.0.0.230" or one address */

/* "32Mi", "1G", "65536": bytes. */
bool format_read_memory(const char *text, uint64_t *bytes);

/* "500m", "0.5", "2": thousandths of a core. */
bool format_read_cpu(const char *text, uint32_t *milli);

/* "0440", "640": at most 0777; nobody but the owner may write. */
bool format_read_mode(const char *text, uint32_t *mode);

/* "NET_BIND_SERVICE", also with CAP_ before it: Linux' number of the capability. */
bool format_read_capability(const char *text, unsigned *number);

/* "SIGINT" or "INT". */
bool format_read_signal(const char *text, int32_t *number);

bool format_read_oom_score(const char *text, int32_t *score);

bool format_read_ipv4(const char *text, struct addr *address);
bool format_read_pool(const char *text, struct addr *first, struct addr *last);

#endif
