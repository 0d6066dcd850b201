/* A commit while it is being read: what desired_parse keeps until all documents are known. */
#ifndef COVEY_DESIRED_BUILD_H
#define COVEY_DESIRED_BUILD_H

#include "agent/desired/kinds.h"

/* Another object that a document names: looked up when all of them are known. */
struct need {
    const char *path; /* of the field that names it */
    int line;
    const char *workload;
    const char *port; /* NULL: dependsOn */
    struct need *next;
};

struct workload_item {
    struct desired_workload workload;
    struct need *needs, **needs_end;
    size_t need_count;
    unsigned visit; /* of the search for cycles */
    struct workload_item *next;
};

struct vip_item {
    struct desired_vip vip; /* address: as written, family 0 where it is not */
    int address_line;
    struct vip_item *next;
};

struct foreign_item {
    struct desired_foreign foreign;
    struct foreign_item *next;
};

struct build {
    struct desired *desired;
    struct arena *arena;  /* of the result */
    struct arena scratch; /* of everything that ends with the parse */
    struct report report;
    int cluster_line; /* of the Cluster document; 0: none yet */
    size_t objects;
    struct workload_item *workload_items; /* newest first */
    struct vip_item *vip_items;
    struct foreign_item *foreign_items;
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

/* Checks that need all documents, then the sorted arrays of the result. To be called only when the
 * report is empty. */
int workloads_finish(struct build *build);
int vips_finish(struct build *build);

/* Hash of all that a restart is needed for; never 0. */
uint64_t workload_generation(const struct desired_workload *workload);

#endif
