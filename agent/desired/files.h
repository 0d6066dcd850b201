/* The files of a commit while it is read. For files.c and parse.c only. */
#ifndef COVEY_DESIRED_FILES_H
#define COVEY_DESIRED_FILES_H

#include "agent/desired/build.h"

#define CLUSTER_FILE "cluster.yaml"
#define APPS "apps/"

/* The files of the commit that concern Covey, by path. */
struct files {
    const struct desired_file **sorted;
    size_t count;
    char **folders; /* with a kustomization.yaml, sorted; a folder in another of them is left out */
    size_t folder_count;
};

/* Those that concern Covey, by path, within their limits; 0, or the code of an error that stands in
 * the report. */
int files_sort(struct build *build, const struct desired_file *all, size_t count,
               struct files *files);
int files_folders(struct build *build, struct files *files); /* after that: of kustomize */

/* A folder above the one that holds @path, or with @own that one itself, belongs to kustomize. */
bool files_in_folder(const struct files *files, const char *path, bool own);

/* Whether it is read as YAML: also one that might be a source, for none may be lost. */
bool files_document(const struct desired_file *file);
bool files_kustomization(const char *path);
const char *files_base_name(const char *path);

#endif
