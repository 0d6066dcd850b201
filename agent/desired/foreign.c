/* Documents for k3s: what they depend on, and the order in which they are to be applied. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/desired/build.h"

#define DEPENDS "covey.dev/depends-on"
#define DEPENDS_TEXT_MAX 1024

/* What others need comes first, webhooks last, as Flux orders them (fluxcd/pkg, ssa/sort.go). */
static const char *const ranks[] = {
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
};
#define RANKS (sizeof ranks / sizeof ranks[0])

static unsigned rank_of(const char *kind)
{
    for (unsigned i = 0; i < RANKS; i++)
        if (strcmp(ranks[i], kind) == 0)
            return i;
    if (strcmp(kind, "ValidatingWebhookConfiguration") == 0 ||
        strcmp(kind, "MutatingWebhookConfiguration") == 0)
        return RANKS + 1;
    return RANKS;
}

/* "Workload/db, K3s/home": names of workloads may stand without their kind. */
static int read_depends(const struct object *object, struct foreign_item *item, const char *text)
{
    static const char path[] = "metadata.annotations." DEPENDS;
    struct build *build = object->build;
    char copy[DEPENDS_TEXT_MAX];
    const char **names = arena_array(build->arena, DESIRED_DEPENDS_MAX + 1, sizeof *names);
    size_t count = 0;
    char *rest = copy;
    char *name;

    if (names == NULL)
        return report_no_memory(&build->report);
    if (strlen(text) >= sizeof copy)
        return object_error(object, path, "the text has more than %zu bytes", sizeof copy - 1);
    snprintf(copy, sizeof copy, "%s", text);
    while ((name = strsep(&rest, ", \n")) != NULL) {
        char kind[64];
        const char *plain;
        int rc;
        if (name[0] == '\0')
            continue;
        if (count == DESIRED_DEPENDS_MAX)
            return object_error(object, path, "more than %d objects", DESIRED_DEPENDS_MAX);
        names[count] = arena_text(build->arena, name, strlen(name));
        if (names[count++] == NULL)
            return report_no_memory(&build->report);
        plain = needs_split(name, kind, sizeof kind);
        rc = needs_add(object, &item->needs, path, kind, plain, NULL, true);
        if (rc != 0)
            return rc;
    }
    item->foreign.depends_on = names;
    return 0;
}

int foreign_add(struct build *build, const struct desired_foreign *foreign,
                const struct tree_node *root)
{
    struct object object = {.build = build, .file = foreign->file, .root = root};
    struct foreign_item *item = arena_alloc(&build->scratch, sizeof *item);
    const struct tree_node *depends =
        tree_get(tree_get(tree_get(root, "metadata"), "annotations"), DEPENDS);
    struct desired_foreign *f;

    if (item == NULL)
        return report_no_memory(&build->report);
    f = &item->foreign;
    *f = *foreign;
    f->api_version = arena_text(build->arena, f->api_version, strlen(f->api_version));
    f->kind = arena_text(build->arena, f->kind, strlen(f->kind));
    f->name = arena_text(build->arena, f->name, strlen(f->name));
    if (f->api_version == NULL || f->kind == NULL || f->name == NULL)
        return report_no_memory(&build->report);
    f->rank = rank_of(f->kind);
    item->number = build->foreign_count++;
    item->next = build->foreign_items;
    build->foreign_items = item;
    if (depends != NULL && depends->kind == TREE_SCALAR)
        return read_depends(&object, item, depends->text);
    return 0;
}

static int by_rank(const void *left, const void *right)
{
    const struct foreign_item *a = *(struct foreign_item *const *)left;
    const struct foreign_item *b = *(struct foreign_item *const *)right;

    if (a->foreign.rank != b->foreign.rank)
        return a->foreign.rank < b->foreign.rank ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* All documents that @item names are placed. */
static bool is_next(struct foreign_item *const *items, size_t count,
                    const struct foreign_item *item)
{
    for (const struct need *need = item->needs.first; need != NULL; need = need->next)
        for (size_t i = 0; i < count; i++)
            if (!items[i]->placed && strcmp(items[i]->foreign.kind, need->kind) == 0 &&
                strcmp(items[i]->foreign.name, need->name) == 0)
                return false;
    return true;
}

/* By rank; what depends on others after them. There are no cycles. */
int foreign_finish(struct build *build)
{
    size_t count = build->foreign_count, placed = 0, n = 0;
    struct desired_foreign *foreign = arena_array(build->arena, count, sizeof *foreign);
    struct foreign_item **items =
        arena_array(&build->scratch, count, sizeof(struct foreign_item *));

    if (foreign == NULL || items == NULL)
        return report_no_memory(&build->report);
    for (struct foreign_item *item = build->foreign_items; item != NULL; item = item->next)
        items[n++] = item;
    if (count > 0)
        qsort(items, count, sizeof(struct foreign_item *), by_rank);
    while (placed < count) {
        for (size_t i = 0; i < count; i++) {
            if (items[i]->placed || !is_next(items, count, items[i]))
                continue;
            items[i]->placed = true;
            foreign[placed++] = items[i]->foreign;
        }
    }
    build->desired->foreign = foreign;
    build->desired->foreign_count = count;
    return 0;
}
