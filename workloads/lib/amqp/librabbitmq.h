/* librabbitmq's headers lie elsewhere since its version 0.12. */
#ifndef COVEY_WORKLOADS_LIBRABBITMQ_H
#define COVEY_WORKLOADS_LIBRABBITMQ_H

#if defined __has_include && __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

#endif
