/* Where the broker is, who we are to it, and how long to try.
 *
 *     RABBITMQ_HOST             name or address (127.0.0.1)
 *     RABBITMQ_PORT             (5672)
 *     RABBITMQ_ADDRESS          HOST:PORT, instead of the two
 *     RABBITMQ_USER             (guest)
 *     RABBITMQ_PASSWORD         (guest)
 *     RABBITMQ_PASSWORD_FILE    a file whose first line is the password, instead
 *     RABBITMQ_VHOST            (/)
 *     RABBITMQ_HEARTBEAT        seconds; 0: none (600)
 *     RABBITMQ_TIMEOUT          seconds for a connection, a handshake, or an answer (10)
 *     RABBITMQ_RETRY_DELAY      seconds between the first attempts to connect (5)
 *     RABBITMQ_RETRY_ATTEMPTS   how many those are (10); then the delay doubles each time
 *     RABBITMQ_RETRY_MAX        seconds up to which it does (60)
 */
#ifndef COVEY_WORKLOADS_AMQP_BROKER_H
#define COVEY_WORKLOADS_AMQP_BROKER_H

#include <stdint.h>

#include "workloads/lib/env.h"

#define BROKER_PASSWORD_MAX 256 /* bytes, terminating zero included */
#define BROKER_HOST_MAX 256     /* the same */

struct broker {
    const char *host; /* the environment's, or address_host: a broker is not copied */
    uint16_t port;
    const char *user;
    const char *vhost;
    char password[BROKER_PASSWORD_MAX];
    char address_host[BROKER_HOST_MAX]; /* of RABBITMQ_ADDRESS; host points here */
    int heartbeat_s;
    int timeout_s;
    unsigned retry_attempts;
    int64_t retry_delay_ms;
    int64_t retry_max_ms;
};

/* Texts stay the environment's own. */
void broker_configure(struct broker *broker, struct env *env);

/* How long to wait after the failed attempt @attempt, counted from 1. */
int64_t broker_retry_ms(const struct broker *broker, unsigned attempt);

#endif
