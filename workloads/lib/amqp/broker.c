#include "workloads/lib/amqp/broker.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "workloads/lib/body.h"

static void read_password_file(struct broker *broker, struct env *env, const char *path)
{
    FILE *f = fopen(path, "re");
    size_t len;

    if (f == NULL) {
        env_problem(env, "RABBITMQ_PASSWORD_FILE", "a file that can be read (%s)", strerror(errno));
        return;
    }
    if (fgets(broker->password, sizeof broker->password, f) == NULL)
        broker->password[0] = '\0';
    fclose(f);
    len = strcspn(broker->password, "\r\n");
    broker->password[len] = '\0';
    if (len == 0 || len == sizeof broker->password - 1)
        env_problem(env, "RABBITMQ_PASSWORD_FILE",
                    "a file with a password of at most %d bytes in its first line",
                    BROKER_PASSWORD_MAX - 2);
}

static void read_password(struct broker *broker, struct env *env)
{
    const char *path = env_string(env, "RABBITMQ_PASSWORD_FILE", NULL);
    const char *password = env_string(env, "RABBITMQ_PASSWORD", "guest");
    size_t len = strlen(password);

    if (path != NULL) {
        read_password_file(broker, env, path);
    } else if (len < sizeof broker->password) {
        memcpy(broker->password, password, len + 1);
    } else { /* env_problem would print it */
        env_problem(env, "RABBITMQ_PASSWORD_FILE",
                    "a file, for RABBITMQ_PASSWORD has more than %d bytes",
                    BROKER_PASSWORD_MAX - 1);
    }
}

/* "10.0.0.1:5672" or "[fe80::1]:5672". */
static void read_address(struct broker *broker, struct env *env)
{
    const char *address = env_string(env, "RABBITMQ_ADDRESS", NULL);
    const char *colon = address == NULL ? NULL : strrchr(address, ':');
    bool bracket = address != NULL && *address == '[';
    int64_t port = 0;
    size_t len;

    if (address == NULL)
        return;
    len = colon == NULL ? 0 : (size_t)(colon - address);
    if (len == 0 || len >= sizeof broker->address_host || !read_int(colon + 1, &port) || port < 1 ||
        port > UINT16_MAX || (bracket && (len < 3 || address[len - 1] != ']'))) {
        env_problem(env, "RABBITMQ_ADDRESS", "HOST:PORT");
        return;
    }
    if (bracket) {
        address++;
        len -= 2;
    }
    memcpy(broker->address_host, address, len);
    broker->address_host[len] = '\0';
    broker->host = broker->address_host;
    broker->port = (uint16_t)port;
}

void broker_configure(struct broker *broker, struct env *env)
{
    memset(broker, 0, sizeof *broker);
    broker->host = env_string(env, "RABBITMQ_HOST", "127.0.0.1");
    broker->port = (uint16_t)env_int(env, "RABBITMQ_PORT", 5672, 1, UINT16_MAX);
    read_address(broker, env);
    broker->user = env_string(env, "RABBITMQ_USER", "guest");
    broker->vhost = env_string(env, "RABBITMQ_VHOST", "/");
    read_password(broker, env);
    broker->heartbeat_s = (int)env_int(env, "RABBITMQ_HEARTBEAT", 600, 0, UINT16_MAX);
    broker->timeout_s = (int)env_int(env, "RABBITMQ_TIMEOUT", 10, 1, 3600);
    broker->retry_attempts = (unsigned)env_int(env, "RABBITMQ_RETRY_ATTEMPTS", 10, 0, 1000000);
    broker->retry_delay_ms = (int64_t)(env_real(env, "RABBITMQ_RETRY_DELAY", 5, 0.01, 3600) * 1000);
    broker->retry_max_ms = (int64_t)(env_real(env, "RABBITMQ_RETRY_MAX", 60, 0.01, 86400) * 1000);
    if (broker->retry_max_ms < broker->retry_delay_ms)
        env_problem(env, "RABBITMQ_RETRY_MAX", "not less than RABBITMQ_RETRY_DELAY");
}

int64_t broker_retry_ms(const struct broker *broker, unsigned attempt)
{
    int64_t delay = broker->retry_delay_ms;

    for (unsigned i = broker->retry_attempts; i < attempt; i++) {
        if (delay >= broker->retry_max_ms / 2)
            return broker->retry_max_ms;
        delay *= 2;
    }
    return delay;
}
