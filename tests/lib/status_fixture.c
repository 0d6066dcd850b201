#include "tests/lib/status_fixture.h"

#include <stdio.h>
#include <string.h>

#define NOW STATUS_FIXTURE_NOW
#define COMMIT "3f2a91c0d45be7781f02c6a9e1b3d5f708192a3b"
#define COMMIT_OLD "9b1c77aa02e4f6d8c0b2a49687d5e3f1a0c9b8d7"

static struct addr ip4(uint8_t last, uint16_t port)
{
    return (struct addr){.family = 4, .ip = {10, 77, 0, last}, .port = port};
}

static struct status_node *add_node(struct status_fixture *f, const char *name, uint8_t last)
{
    struct status_node *n = &f->nodes[f->status.node_count++];

    *n = (struct status_node){.id = {0x5be2a77100000000u + last},
                              .name = name,
                              .state = STATUS_ALIVE,
                              .addr = ip4(last, 8801),
                              .heard_ms = 412,
                              .rtt_ms = 3,
                              .role = VALUE_ROLE_AGENT,
                              .version = "0.1.0",
                              .facts = {.started = NOW - 7440, .cpus = 4, .memory_mib = 512},
                              .keys = {.epoch = 4, .holder = last == 11}};
    n->commit = (struct value_commit){.state = VALUE_COMMIT_APPLIED, .applied = NOW - 190};
    snprintf(n->commit.commit, sizeof n->commit.commit, "%s", COMMIT);
    snprintf(n->commit.subject, sizeof n->commit.subject, "web: two replicas of rest-api");
    return n;
}

static void set_self(struct status_fixture *f, struct status_node *n)
{
    n->self = true;
    n->heard_ms = 0;
    n->rtt_ms = -1;
    f->status.self = n->id;
    f->status.self_name = n->name;
}

static struct status_vip *add_vip(struct status_fixture *f, const char *name, uint8_t last,
                                  const struct status_node *owner)
{
    struct status_vip *v = &f->vips[f->status.vip_count++];

    *v = (struct status_vip){.name = name,
                             .app = "web",
                             .address = ip4(last, 0),
                             .owner = owner->id,
                             .owner_name = owner->name,
                             .here = owner->self,
                             .epoch = 3,
                             .left_ms = owner->self ? 1730 : -1,
                             .since = NOW - 180};
    return v;
}

static struct status_app *add_app(struct status_fixture *f, const char *name, const char *app,
                                  const char *file, uint32_t desired)
{
    struct status_app *a = &f->apps[f->status.app_count++];

    *a = (struct status_app){.name = name,
                             .app = app,
                             .kind = "Workload",
                             .file = file,
                             .desired = desired,
                             .first = f->status.instance_count};
    return a;
}

static struct status_instance *add_instance(struct status_fixture *f, struct status_app *app,
                                            const struct status_node *node, uint8_t state,
                                            uint16_t port)
{
    struct status_instance *i = &f->instances[f->status.instance_count++];

    *i = (struct status_instance){.node = node->id,
                                  .node_name = node->name,
                                  .node_alive = node->state == STATUS_ALIVE,
                                  .placed = true};
    i->value = (struct value_instance){.state = state,
                                       .generation = 0x77aa01fe2bc3d4e5u,
                                       .pid = 2210 + port % 100u,
                                       .since = NOW - 172,
                                       .exit_code = -1};
    snprintf(i->name, sizeof i->name, "%.100s.%zu", app->name, app->count++);
    if (port != 0) {
        i->value.port_count = 1;
        i->value.ports[0].port = port;
        snprintf(i->value.ports[0].name, sizeof i->value.ports[0].name, "http");
    }
    app->ready += state == VALUE_READY && i->node_alive;
    return i;
}

static void add_path(struct status_fixture *f, const struct status_node *to,
                     const struct status_node *from, bool hears, uint8_t loss_pct)
{
    f->paths[f->status.path_count++] = (struct status_path){
        .to = to->name, .from = from->name, .hears = hears, .rtt_ms = 3, .loss_pct = loss_pct};
}

static void add_drift(struct status_fixture *f, const char *subject, const char *app,
                      const char *what)
{
    struct status_drift *d = &f->drifts[f->status.drift_count++];

    snprintf(d->subject, sizeof d->subject, "%s", subject);
    d->node_name = f->nodes[0].name;
    d->value.since = NOW - 65;
    snprintf(d->value.app, sizeof d->value.app, "%s", app);
    snprintf(d->value.what, sizeof d->value.what, "%s", what);
    f->status.drifts = f->drifts;
}

static void add_event(struct status_fixture *f, int64_t ago_s, const char *severity,
                      const char *subject, const char *text)
{
    f->events[f->event_count++] = (struct page_event){.time_ms = (NOW - ago_s) * 1000 + 250,
                                                      .severity = severity,
                                                      .subject = subject,
                                                      .text = text};
}

static struct status_app *add_cron(struct status_fixture *f)
{
    struct status_app *a = add_app(f, "batch-job", "batch", "apps/batch/batch-job.yaml", 0);

    a->kind = "CronWorkload";
    a->schedule = "* * * * *";
    a->next_run = NOW + 18;
    return a;
}

static void healthy(struct status_fixture *f)
{
    struct status_node *pi1 = add_node(f, "pi1", 11);
    struct status_node *pi2 = add_node(f, "pi2", 12);
    struct status_app *app;

    set_self(f, pi1);
    add_vip(f, "front", 210, pi1);
    app = add_cron(f);
    add_instance(f, app, pi2, VALUE_COMPLETED, 0)->value.exit_code = 0;
    app = add_app(f, "metrics-app", "web", "apps/web/metrics-app.yaml", 1);
    add_instance(f, app, pi2, VALUE_READY, 8000);
    app = add_app(f, "rest-api", "web", "apps/web/rest-api.yaml", 2);
    add_instance(f, app, pi1, VALUE_READY, 5000);
    add_instance(f, app, pi2, VALUE_READY, 5000);
    add_app(f, "smartbiz-api", "smartbiz", "apps/smartbiz/smartbiz.yaml", 0)->off = true;
    add_path(f, pi1, pi2, true, 0);
    add_path(f, pi2, pi1, true, 21);
    f->status.agreed = true;
    snprintf(f->status.headline, sizeof f->status.headline,
             "All good: 2 nodes, 4 workloads (1 off), 1 address");
    add_event(f, 42, "info", "batch-job.0", "completed on pi2");
    add_event(f, 172, "info", "rest-api.1", "ready on pi2");
    add_event(f, 173, "info", "rest-api.0", "ready on pi1");
    add_event(f, 180, "info", "front", "10.77.0.210 is held by pi1 (epoch 3)");
    add_event(f, 190, "info", "commit", "3f2a91c0 applied: web: two replicas of rest-api");
    add_event(f, 640, "warning", "pi2", "did not answer for 2 s; it answers again");
    add_event(f, 7438, "info", "pi2", "joined the flock");
}

static void degraded(struct status_fixture *f)
{
    struct status_instance *i;

    healthy(f);
    f->event_count = 0;
    f->status.path_count = 0;
    add_path(f, &f->nodes[0], &f->nodes[1], false, 0);
    f->status.health = STATUS_FAILED;
    f->status.app_count = f->status.instance_count = 0;
    f->nodes[1].state = STATUS_DEAD;
    add_drift(f, "app/metrics-app.0", "web", "has files that somebody edited");
    add_drift(f, "vip/10.77.0.210", "web", "was removed from the interface by somebody");
    f->nodes[1].heard_ms = 131000;
    f->nodes[1].rtt_ms = -1;
    f->nodes[0].commit.state = VALUE_COMMIT_FAILED;
    snprintf(f->nodes[0].commit.reason, sizeof f->nodes[0].commit.reason,
             "apps/web/rest-api.yaml:9: replicas is \"two\", expected a number from 0 to 256");
    f->nodes[1].commit.applied = NOW - 86400 * 3;
    snprintf(f->nodes[1].commit.commit, sizeof f->nodes[1].commit.commit, "%s", COMMIT_OLD);
    add_vip(f, "spare", 211, &f->nodes[1])->owner = NODE_NONE;
    f->vips[1].owner_name = "";
    snprintf(f->vips[1].reason, sizeof f->vips[1].reason,
             "pi2 held it; its lease has ended and no majority answers");
    struct status_app *cron = add_cron(f);
    add_instance(f, cron, &f->nodes[1], VALUE_RUNNING, 0);
    struct status_app *metrics = add_app(f, "metrics-app", "web", "apps/web/metrics-app.yaml", 1);
    i = add_instance(f, metrics, &f->nodes[0], VALUE_BACKOFF, 8000);
    i->value.restarts = 7;
    i->value.exit_code = 139;
    i->value.since = NOW - 12;
    snprintf(i->value.reason, sizeof i->value.reason,
             "ended by signal 11 after 3 s; the next start in 32 s");
    struct status_app *rest = add_app(f, "rest-api", "web", "apps/web/rest-api.yaml", 2);
    add_instance(f, rest, &f->nodes[0], VALUE_READY, 5000);
    add_instance(f, rest, &f->nodes[1], VALUE_READY, 5000);
    f->foreign[0] = (struct desired_foreign){.file = "apps/grafana/grafana.yaml",
                                             .line = 1,
                                             .api_version = "apps/v1",
                                             .kind = "Deployment",
                                             .name = "grafana"};
    f->status.foreign = f->foreign;
    f->status.foreign_count = 1;
    snprintf(f->status.headline, sizeof f->status.headline, "The address spare is held by nobody");
    add_event(f, 12, "error", "metrics-app.0", "ended by signal 11 after 3 s");
    add_event(f, 118, "warning", "front", "10.77.0.210 is held by pi1 (epoch 3); pi2 had it");
    add_event(f, 121, "error", "pi2", "is dead: it answers nobody");
    add_event(f, 126, "warning", "pi2", "is suspect: three probes went unanswered");
}

static void empty(struct status_fixture *f)
{
    struct status_node *pi1 = add_node(f, "pi1", 11);

    set_self(f, pi1);
    memset(&pi1->commit, 0, sizeof pi1->commit);
    f->status.agreed = true;
    f->status.cluster = "";
    snprintf(f->status.headline, sizeof f->status.headline,
             "Ready: one node and nothing to run yet. Push a desired state, or join a peer");
}

static void crowd(struct status_fixture *f)
{
    static char names[STATUS_FIXTURE_NODES][NODE_NAME_MAX + 1];

    for (size_t i = 0; i < STATUS_FIXTURE_NODES; i++) {
        snprintf(names[i], sizeof names[i], "%s%02zu",
                 i == 4 ? "the-raspberry-behind-the-shelf-" : "pi", i + 1);
        add_node(f, names[i], (uint8_t)(11 + i))->rtt_ms = (int32_t)(2 + i * i % 61);
    }
    set_self(f, &f->nodes[0]);
    f->nodes[3].state = STATUS_SUSPECT;
    f->nodes[5].state = STATUS_DEAD;
    f->nodes[7].state = STATUS_LEFT;
    f->nodes[8].role = VALUE_ROLE_WITNESS;
    f->nodes[9].facts.draining = true;
    for (uint8_t i = 0; i < 6; i++)
        add_vip(f, names[i], (uint8_t)(210 + i), &f->nodes[i / 2]);
    f->vips[3].left_ms = 480;
    f->vips[5].address = (struct addr){.family = 6, .ip = {0xfd, 0x77, [15] = 0x10}};
    f->vips[4] = (struct status_vip){.name = "spare",
                                     .app = "web",
                                     .owner_name = "",
                                     .left_ms = -1,
                                     .reason = "pending: the pool has no free address"};
    add_path(f, &f->nodes[0], &f->nodes[1], true, 3);
    add_path(f, &f->nodes[2], &f->nodes[6], false, 0);
    add_path(f, &f->nodes[6], &f->nodes[2], true, 44);
    f->status.agreed = true;
    f->status.health = STATUS_DEGRADED;
    snprintf(f->status.headline, sizeof f->status.headline, "pi06 is dead: it answers nobody");
}

#define EVIL "</p></script><script>document.title='pwned'</script><img src=x onerror=alert(1)>\"'&"

static void hostile(struct status_fixture *f)
{
    healthy(f);
    snprintf(f->status.headline, sizeof f->status.headline, "%s", EVIL);
    f->status.cluster = EVIL;
    snprintf(f->nodes[0].commit.subject, sizeof f->nodes[0].commit.subject, "%s", EVIL);
    snprintf(f->nodes[1].commit.reason, sizeof f->nodes[1].commit.reason, "%s", EVIL);
    f->nodes[1].commit.state = VALUE_COMMIT_DIVERGED;
    f->nodes[1].version = EVIL;
    snprintf(f->nodes[0].commit.reason, sizeof f->nodes[0].commit.reason, "cut within \xe2\x82");
    f->vips[0].name = f->vips[0].app = EVIL;
    snprintf(f->vips[0].reason, sizeof f->vips[0].reason, "%s\xff\xc3", EVIL);
    f->apps[0].schedule = f->apps[0].file = f->apps[0].app = EVIL;
    snprintf(f->instances[0].value.reason, sizeof f->instances[0].value.reason, "%s", EVIL);
    snprintf(f->instances[1].value.ports[0].name, VALUE_PORT_NAME_MAX, "http\"><script>");
    f->events[0].text = f->events[0].subject = EVIL;
    add_drift(f, EVIL, EVIL, EVIL);
    f->foreign[0] = (struct desired_foreign){
        .file = EVIL, .line = 7, .api_version = EVIL, .kind = EVIL, .name = EVIL};
    f->status.foreign = f->foreign;
    f->status.foreign_count = 1;
}

static void outside(struct status_fixture *f)
{
    f->outside = true;
    f->status.self_name = "pi1";
    add_event(f, 3, "info", "node", "agentd 0.1.0 started");
}

bool status_fixture(const char *name, struct status_fixture *fixture)
{
    static const struct {
        const char *name;
        void (*make)(struct status_fixture *fixture);
    } all[] = {{"healthy", healthy}, {"degraded", degraded}, {"empty", empty},
               {"outside", outside}, {"crowd", crowd},       {"hostile", hostile}};

    memset(fixture, 0, sizeof *fixture);
    fixture->status = (struct status){.now = NOW,
                                      .cluster = "home",
                                      .nodes = fixture->nodes,
                                      .vips = fixture->vips,
                                      .apps = fixture->apps,
                                      .instances = fixture->instances,
                                      .paths = fixture->paths};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, name) == 0) {
            all[i].make(fixture);
            return true;
        }
    return false;
}
