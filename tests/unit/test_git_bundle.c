/* Commits from repository to repository, with real git. */
#include "tests/unit/git_bench.h"

static void bundles_carry_commits_between_repositories(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT], now[COMMIT_TEXT];
    char *bundle = NULL, *small = NULL;
    struct git_tree *tree = NULL;
    struct err err = {0};
    size_t size = 0, small_size = 0;

    push_first(bench);
    OK(git_init_bare(&bench->two, NULL, &err));
    OK(git_head(&bench->one, first, &err));

    /* The first sync of an empty repository. */
    bundle_of(&bench->one, "", first, &bundle, &size);
    OK(git_bundle_apply(&bench->two, bundle, size, first, &err));
    FAILS(git_head(&bench->two, now, &err), ERR_NOTFOUND, "no commit yet");
    OK(git_advance(&bench->two, "", first, &err));
    OK(git_head(&bench->two, now, &err));
    assert_string_equal(now, first);
    OK(git_bundle_apply(&bench->two, bundle, size, first, &err)); /* again, to no harm */

    /* What is new since. */
    person(bench,
           "head -c 100000 /dev/urandom >apps/a/random; git add .; git commit -qm r;"
           " git push -q one main; echo y >cluster.yaml; git commit -qam two; git push -q one main",
           NULL);
    OK(git_head(&bench->one, second, &err));
    bundle_of(&bench->one, first, second, &small, &small_size);
    assert_true(small_size > 100000 && small_size < 110000);
    OK(git_bundle_apply(&bench->two, small, small_size, second, &err));
    OK(git_advance(&bench->two, first, second, &err));
    OK(git_read_tree(&bench->two, second, &tree, &err));
    git_tree_free(tree);
    person(bench, "git --git-dir=../two.git fsck --strict --full", NULL);

    /* Git itself reads the same bytes. */
    FAILS(git_bundle_create(&bench->one, second, first, GIT_BUNDLE_MAX, &bundle, &size, &err),
          ERR_EXISTS, second);
    FAILS(git_bundle_create(&bench->one, first, second, 1000, &bundle, &size, &err), ERR_LIMIT,
          "1000 bytes");
    FAILS(git_bundle_create(&bench->one, first, HUGE_COMMIT, 1000, &bundle, &size, &err),
          ERR_NOTFOUND, HUGE_COMMIT);
    free(bundle);
    bundle_of(&bench->one, HUGE_COMMIT, second, &bundle, &size); /* unknown: everything */
    assert_true(size > 100000);
    free(bundle);
    free(small);
}

static void git_reads_our_bundles(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT], path[PATH_ROOM + 16];
    struct err err = {0};
    char *bundle;
    size_t size;
    FILE *file;

    push_first(bench);
    OK(git_head(&bench->one, first, &err));
    person(bench, "echo y >cluster.yaml; git commit -qam two; git push -q one main", NULL);
    OK(git_head(&bench->one, second, &err));
    bundle_of(&bench->one, first, second, &bundle, &size);
    snprintf(path, sizeof path, "%s/b.bundle", bench->root);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bundle, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bundle);
    person(bench,
           "git bundle verify -q ../b.bundle; git reset -q --hard HEAD~1;"
           " git fetch -q ../b.bundle main; test $(git log -1 --format=%s FETCH_HEAD) = two",
           NULL);
}

static void bad_bundles_are_refused(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT], head[COMMIT_TEXT];
    struct err err = {0};
    char *bundle, *part;
    size_t size, part_size;

    push_first(bench);
    OK(git_init_bare(&bench->two, NULL, &err));
    OK(git_head(&bench->one, first, &err));
    person(bench, "echo y >cluster.yaml; git commit -qam two; git push -q one main", NULL);
    OK(git_head(&bench->one, second, &err));
    bundle_of(&bench->one, NULL, second, &bundle, &size);
    bundle_of(&bench->one, first, second, &part, &part_size);

    FAILS(git_bundle_apply(&bench->two, part, part_size, second, &err), ERR_CONFLICT, first);
    FAILS(git_bundle_apply(&bench->two, bundle, size, first, &err), ERR_INVALID, "does not lead");
    FAILS(git_bundle_apply(&bench->two, bundle, size - 30, second, &err), ERR_INVALID, "unpack");
    FAILS(git_bundle_apply(&bench->two, bundle, 40, second, &err), ERR_INVALID, "header");
    FAILS(git_bundle_apply(&bench->two, bundle, 0, second, &err), ERR_INVALID, "not a Git bundle");
    bundle[size / 2 + 60] ^= 0x55;
    FAILS(git_bundle_apply(&bench->two, bundle, size, second, &err), ERR_INVALID, "unpack");
    bundle[size / 2 + 60] ^= 0x55;
    /* The thin pack under a header that keeps quiet about what it builds on. */
    {
        size_t line = sizeof "# v2 git bundle\n" - 1;
        size_t cut = 1 + COMMIT_TEXT;
        memmove(part + line, part + line + cut, part_size - line - cut);
        FAILS(git_bundle_apply(&bench->two, part, part_size - cut, second, &err), ERR_INVALID, "");
    }
    FAILS(git_head(&bench->two, head, &err), ERR_NOTFOUND, "no commit yet");
    FAILS(git_commit_exists(&bench->one, HUGE_COMMIT, &err), ERR_NOTFOUND, "");
    OK(git_bundle_apply(&bench->two, bundle, size, second, &err));
    free(bundle);
    free(part);
}

/* Git's own checks on arrival hold for what peers bring, too. */
static void broken_and_missing_objects_are_refused(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT];
    struct err err = {0};
    char *bundle;
    size_t size;

    push_first(bench);
    OK(git_init_bare(&bench->two, NULL, &err));
    OK(git_head(&bench->one, first, &err));
    /* The history is not whole: the first commit is there, its files are not. */
    person(bench,
           "git rm -qr .; echo y >new; git add .; git commit -qm two; git push -q one main;"
           " git cat-file commit HEAD~1 |"
           " git --git-dir=../two.git hash-object -t commit -w --stdin >../id;"
           " test $(cat ../id) = $(git rev-parse HEAD~1)",
           NULL);
    OK(git_head(&bench->one, second, &err));
    bundle_of(&bench->one, first, second, &bundle, &size);
    FAILS(git_bundle_apply(&bench->two, bundle, size, second, &err), ERR_INVALID,
          "check that the bundle is complete");
    free(bundle);
    bundle_of(&bench->one, NULL, second, &bundle, &size);
    OK(git_bundle_apply(&bench->two, bundle, size, second, &err));
    free(bundle);

    /* A file named ".git", put past the checks of a push into the sending repository. */
    person(bench,
           "export GIT_DIR=../one.git; blob=$(echo evil | git hash-object -w --stdin);"
           " tree=$(printf '100644 blob %s\\t.git\\n' $blob | git mktree);"
           " git update-ref refs/heads/main $(git commit-tree -m evil -p main $tree)",
           NULL);
    OK(git_head(&bench->one, second, &err));
    bundle_of(&bench->one, NULL, second, &bundle, &size);
    FAILS(git_bundle_apply(&bench->two, bundle, size, second, &err), ERR_INVALID, "hasDotgit");
    FAILS(git_commit_exists(&bench->two, second, &err), ERR_NOTFOUND, second);
    free(bundle);
}

int main(void)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BENCH(bundles_carry_commits_between_repositories),
        WITH_BENCH(git_reads_our_bundles),
        WITH_BENCH(bad_bundles_are_refused),
        WITH_BENCH(broken_and_missing_objects_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
