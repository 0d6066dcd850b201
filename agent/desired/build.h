/* A commit while it is being read: what desired_parse keeps until all documents are known. */
#ifndef COVEY_DESIRED_BUILD_H
#define COVEY_DESIRED_BUILD_H

#include "agent/desired/kinds.h"

/* Another object that a document names: looked up when all of them are known. */
struct need {
    const char *path; /* of the field that names it */
    int line;
    const char *kind; /* "Workload", "SealedSecret", "VirtualIP", or any other for dependsOn */
    const char *name;
    const char *part; /* a port of the workload, or a key of the secret; NULL: all of it */
    bool order;       /* dependsOn: it must be ready before */
    bool reload;      /* it stands in a file whose change needs no restart */
    struct need *next;
};

struct needs {
    struct need *first, **end; /* @end NULL: empty */
    size_t count;
};

struct workload_item {
    struct desired_workload workload;
    struct needs needs;
    struct workload_item *next;
};

struct vip_item {
    struct desired_vip vip; /* address: as written, family 0 where it is not */
    int address_line;
    struct vip_item *next;
};

struct route_item {
    struct desired_route route;
    struct needs needs;
    struct route_item *next;
};

struct k3s_item {
    struct desired_k3s k3s;
    struct k3s_item *next;
};

struct secret_item {
    struct desired_secret secret;
    struct secret_item *next;
};

struct foreign_item {
    struct desired_foreign foreign;
    struct needs needs;
    size_t number; /* its place in the repository */
    bool placed;   /* in the order of application */
    struct foreign_item *next;
};

struct build {
    struct desired *desired;
    struct arena *arena;  /* of the result */
    struct arena scratch; /* of everything that ends with the parse */
    struct report report;
    struct desired_map variables;              /* of the cluster */
    const struct desired_file *const *sources; /* files that workloads may take in, by path */
    size_t source_count;
    int cluster_line; /* of the Cluster document; 0: none yet */
    size_t objects;
    struct workload_item *workload_items; /* newest first */
    struct vip_item *vip_items;
    struct route_item *route_items;
    struct k3s_item *k3s_items;
    struct secret_item *secret_items;
    struct foreign_item *foreign_items;
    size_t foreign_count;
};

/* A native document being read. */
struct object {
    struct build *build;
    const char *file; /* in the result's arena */
    const char *app;
    const struct tree_node *root;
    const struct kind_document *document;
};

/* Adds "file:line: path: message" for a field of @object and returns ERR_INVALID. */
int object_error(const struct object *object, const char *path, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The line of metadata.name. */
int object_line(const struct object *object);

/* Each turns one document into an item of the build (cluster_read: into the result itself). They
 * return 0 or the code of an error that stands in the report. */
int cluster_read(const struct object *object);
int workload_read(const struct object *object, bool cron);
int vip_read(const struct object *object);
int route_read(const struct object *object);
int k3s_read(const struct object *object);
int secret_read(const struct object *object);

/* @root NULL: a folder. The texts of @foreign are copied, its file is not. */
int foreign_add(struct build *build, const struct desired_foreign *foreign,
                const struct tree_node *root);

/* Notes that @object names another one (texts are copied). */
int needs_add(const struct object *object, struct needs *needs, const char *path, const char *kind,
              const char *name, const char *part, bool order);

/* Splits "name" or "Kind/name" of a dependsOn. @kind has @size bytes. */
const char *needs_split(const char *object, char *kind, size_t size);

/* The file below the app's files/ folder, or NULL. */
const struct desired_file *build_source(const struct build *build, const char *app,
                                        const char *path);

/* Limits, privileges, hooks, log: what kinds_process.c describes. */
void workload_read_process(const struct kind_workload *spec, struct desired_workload *workload);

/* Checks that need all documents, then the sorted arrays of the result. To be called only when the
 * report is empty. */
int graph_finish(struct build *build); /* names, references, cycles: before the others */
int vips_finish(struct build *build);
int secrets_finish(struct build *build);
int workloads_finish(struct build *build);
int objects_finish(struct build *build); /* routes, k3s */
int foreign_finish(struct build *build);

/* Where a text stands decides what may be in it. */
enum place { PLACE_ENV, PLACE_ARGS, PLACE_FILE };

/* Fills in variables and notes the other references of @text, which stands at @path. *@out is @text
 * or lies in the result's arena. */
int workload_text(const struct object *object, const struct kind_workload *spec,
                  struct workload_item *item, const char *path, enum place place, const char *text,
                  const char **out);
int workload_files(const struct object *object, const struct kind_workload *spec,
                   struct workload_item *item);

/* After secrets_finish: which nodes can open all the secrets that @item names, its generation and
 * its digest with the sealed values in them. */
int workload_secrets(struct build *build, struct workload_item *item);

/* Hash of the generation and of what needs no restart. */
uint64_t workload_digest(const struct desired_workload *workload);

/* Hash of all that a restart is needed for; never 0. */
uint64_t workload_generation(const struct desired_workload *workload);

#endif
