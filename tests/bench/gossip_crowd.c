/* The rest of a large flock, for one real agentd: gossip_crowd STATE-DIR AGENT:PORT ADDRESS PORT
 * COUNT
 *
 * So many members that the cluster's key in STATE-DIR has admitted live here, each with a socket at
 * ADDRESS from PORT on, with keys and a session of its own. They answer every probe, and their
 * signed records reach the agent through the first of them. They say nothing else. Ends when stdin
 * does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/io/os_keystore.h"
#include "proto/record/value_codec.h"
#include "proto/wire/channel.h"
#include "proto/wire/codec.h"
#include "proto/wire/notice.h"

#define BOOT 7u
#define RECORDS 4
#define DELTA_EVERY_MS 3

struct ghost {
    struct keys_identity identity;
    struct keys_admission admission;
    struct channel *channel;
    struct addr addr;
    struct msg_update alive;
    int fd;
};

struct crowd {
    struct ghost *ghosts;
    struct pollfd *polls; /* stdin is the last */
    size_t count;
    struct keys_identity agent, cluster;
    struct keystore_epochs epochs;
    struct addr agent_addr;
    size_t next; /* whose records go next */
};

static struct err err;

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "gossip_crowd: %s: %s\n", what,
            err.text[0] != '\0' ? err.text : strerror(errno));
    exit(1);
}

static mono_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    return (mono_t){t.tv_sec * 1000 + t.tv_nsec / 1000000};
}

static struct sockaddr_in to_socket(const struct addr *a)
{
    struct sockaddr_in s = {.sin_family = AF_INET, .sin_port = htons(a->port)};

    memcpy(&s.sin_addr, a->ip, 4);
    return s;
}

static void send_to(const struct ghost *g, const struct addr *to, const void *bytes, size_t len)
{
    struct sockaddr_in s = to_socket(to);

    (void)sendto(g->fd, bytes, len, 0, (const struct sockaddr *)&s, sizeof s);
}

static void send_out(const struct ghost *g, const struct channel_out *out)
{
    for (size_t i = 0; i < out->count; i++)
        send_to(g, &out->datagrams[i].to, out->datagrams[i].bytes, out->datagrams[i].len);
}

static void say(struct crowd *crowd, struct ghost *g, const struct msg *msg, const struct addr *to)
{
    uint8_t body[CODEC_BODY_MAX];
    struct channel_out out = {0};
    size_t len;

    must(codec_encode(msg, body, &len) == ERR_NONE, "encode a message");
    channel_seal(g->channel, now(), crowd->agent.id, to, body, len, &out);
    send_out(g, &out);
}

static void make_ghost(struct crowd *crowd, size_t i, const struct addr *first)
{
    struct ghost *g = &crowd->ghosts[i];
    struct channel_config config = {.identity = &g->identity, .boot = i + 1, .peer_max = 1};
    struct sockaddr_in at;

    keys_generate(&g->identity);
    g->addr = *first;
    g->addr.port = (uint16_t)(first->port + i);
    g->admission = (struct keys_admission){.role = VALUE_ROLE_AGENT, .serial = (uint32_t)i + 2};
    memcpy(g->admission.public_key, g->identity.public_key, KEYS_PUBLIC);
    snprintf(g->admission.name, sizeof g->admission.name, "ghost%04zu", i);
    keys_sign_admission(&crowd->cluster, &g->admission);
    must(channel_create(&config, &g->channel, &err) == ERR_NONE &&
             channel_set_epochs(g->channel, crowd->epochs.epochs, crowd->epochs.count) ==
                 ERR_NONE &&
             channel_add_peer(g->channel, crowd->agent.public_key, &err) == ERR_NONE,
         "make a channel");
    g->alive = (struct msg_update){.kind = MSG_ALIVE,
                                   .subject = g->identity.id,
                                   .author = g->identity.id,
                                   .incarnation = (uint64_t)BOOT << 32,
                                   .addr = g->addr};
    keys_sign_update(&g->identity, &g->alive);
    at = to_socket(&g->addr);
    g->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(g->fd >= 0 && bind(g->fd, (const struct sockaddr *)&at, sizeof at) == 0, "open a socket");
    crowd->polls[i] = (struct pollfd){.fd = g->fd, .events = POLLIN};
}

/* What an agent of a large flock without work publishes. */
static size_t make_values(const struct crowd *crowd, const struct ghost *g,
                          uint8_t values[RECORDS][RECORD_VALUE_MAX], size_t sizes[RECORDS])
{
    struct value_head head = {.addr = g->addr, .version = "0.1.0"};
    struct value_node node = {.facts = {.started = 1700000000, .cpus = 4, .memory_mib = 3800}};
    struct value_keys keys = {.epoch = crowd->epochs.epochs[0].number};
    struct value_paths paths = {.count = 1};

    value_head_admit(&head, &g->admission);
    paths.paths[0] = (struct value_path){.from = crowd->agent.id, .hears = true, .rtt_ms = 5};
    must(value_head_encode(&head, values[0], RECORD_VALUE_MAX, &sizes[0]) == ERR_NONE &&
             value_node_encode(&node, values[1], RECORD_VALUE_MAX, &sizes[1]) == ERR_NONE &&
             value_keys_encode(&keys, values[2], RECORD_VALUE_MAX, &sizes[2]) == ERR_NONE &&
             value_paths_encode(&paths, values[3], RECORD_VALUE_MAX, &sizes[3]) == ERR_NONE,
         "encode records");
    return RECORDS;
}

/* The records of one member after the other; what was lost comes with the next round. */
static void tell_records(struct crowd *crowd)
{
    static const char *const names[RECORDS] = {"", "node", "keys", "paths"};
    static uint8_t values[RECORDS][RECORD_VALUE_MAX];
    const struct ghost *g = &crowd->ghosts[crowd->next++ % crowd->count];
    struct msg msg = {.type = MSG_DELTA};
    size_t sizes[RECORDS];

    msg.delta.author = g->identity.id;
    msg.delta.count = (uint8_t)make_values(crowd, g, values, sizes);
    for (size_t i = 0; i < RECORDS; i++) {
        struct msg_record *r = &msg.delta.records[i];
        *r = (struct msg_record){.key = names[i],
                                 .key_len = (uint8_t)strlen(names[i]),
                                 .value = values[i],
                                 .value_len = (uint16_t)sizes[i],
                                 .version = ((uint64_t)BOOT << 32) + 1 + i,
                                 .floor = (uint64_t)BOOT << 32};
        keys_sign_record(&g->identity, r);
        msg.delta.to = r->version;
    }
    say(crowd, &crowd->ghosts[0], &msg, &crowd->agent_addr);
}

static void take(struct crowd *crowd, struct ghost *g)
{
    uint8_t data[MSG_DATAGRAM_MAX + 1];
    struct addr from = crowd->agent_addr;
    struct channel_out out = {0};
    struct channel_in in = {0};
    struct msg msg;
    struct msg answer = {.type = MSG_ACK};
    ssize_t n = recv(g->fd, data, sizeof data, 0);

    if (n <= 0)
        return;
    if (channel_open(g->channel, now(), &from, data, (size_t)n, &in, &out) != WIRE_OK)
        in.body = NULL;
    send_out(g, &out);
    if (in.body == NULL || in.keys || codec_decode(in.body, in.len, &msg) != WIRE_OK ||
        msg.type != MSG_PING)
        return;
    answer.probe.sequence = msg.probe.sequence;
    answer.probe.root = msg.probe.root; /* as if it held the same records */
    answer.probe.update_count = 1;
    answer.probe.updates[0] = g->alive;
    say(crowd, g, &answer, &from);
}

static void open_keys(struct crowd *crowd, const char *folder)
{
    struct keystore *store;

    must(keys_start(&err) == ERR_NONE && keystore_open(folder, &store, &err) == ERR_NONE &&
             keystore_identity(store, &crowd->agent, NULL, &err) == ERR_NONE &&
             keystore_load_cluster(store, &crowd->cluster, &err) == ERR_NONE &&
             keystore_load_epochs(store, &crowd->epochs, &err) == ERR_NONE,
         "read the agent's keys");
    keystore_close(store);
}

static void run(struct crowd *crowd)
{
    uint8_t introduction[NOTICE_SIZE];
    mono_t told = now();
    size_t rounds = 3 * crowd->count;

    notice_introduce(&crowd->ghosts[0].admission, introduction);
    send_to(&crowd->ghosts[0], &crowd->agent_addr, introduction, sizeof introduction);
    for (;;) {
        if (poll(crowd->polls, crowd->count + 1, DELTA_EVERY_MS) < 0)
            must(errno == EINTR, "wait");
        if (crowd->polls[crowd->count].revents != 0)
            return;
        for (size_t i = 0; i < crowd->count; i++)
            if ((crowd->polls[i].revents & POLLIN) != 0)
                take(crowd, &crowd->ghosts[i]);
        if (crowd->next < rounds && mono_diff(now(), told) >= DELTA_EVERY_MS) {
            told = now();
            tell_records(crowd);
        }
    }
}

int main(int argc, char **argv)
{
    struct crowd crowd = {.count = argc == 6 ? strtoul(argv[5], NULL, 10) : 0};
    struct addr first;

    if (crowd.count < 2 || crowd.count > FLOCK_NODES_MAX - 1) {
        fprintf(stderr, "usage: gossip_crowd STATE-DIR AGENT:PORT ADDRESS PORT COUNT\n");
        return 2;
    }
    open_keys(&crowd, argv[1]);
    must(addr_parse(argv[2], 8801, &crowd.agent_addr, &err) == ERR_NONE &&
             addr_parse(argv[3], (uint16_t)strtoul(argv[4], NULL, 10), &first, &err) == ERR_NONE,
         "read the addresses");
    crowd.ghosts = calloc(crowd.count, sizeof *crowd.ghosts);
    crowd.polls = calloc(crowd.count + 1, sizeof *crowd.polls);
    must(crowd.ghosts != NULL && crowd.polls != NULL, "make room");
    for (size_t i = 0; i < crowd.count; i++)
        make_ghost(&crowd, i, &first);
    crowd.polls[crowd.count] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    run(&crowd);
    return 0;
}
