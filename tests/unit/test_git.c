/* The flock's repository, with real git: pushes, hostile trees, hooks. */
#include "tests/unit/git_bench.h"

#include "agent/io/os_git_frozen.h"

#include <utime.h>

static void repository_is_made_once(void **state)
{
    const struct bench *bench = *state;
    const struct git_hooks hooks = {.agentctl = "/opt/it's here/agentctl",
                                    .socket = "/run/covey/agent.sock"};
    char path[PATH_ROOM + 32], text[512] = "", head[COMMIT_TEXT];
    struct stat before[2], after[2];
    struct err err = {0};
    FILE *file;

    FAILS(git_head(&bench->one, head, &err), ERR_IO, "not a git repository");
    OK(git_init_bare(&bench->one, &hooks, &err));
    FAILS(git_head(&bench->one, head, &err), ERR_NOTFOUND, "no commit yet");
    snprintf(path, sizeof path, "%s/hooks/pre-receive", bench->one.path);
    file = fopen(path, "re");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    assert_string_equal(text, "#!/bin/sh\n"
                              "# Written by agentd when it starts: changes are lost.\n"
                              "exec '/opt/it'\\''s here/agentctl' hook pre-receive --socket "
                              "'/run/covey/agent.sock'\n");

    /* Again: not a byte is written. */
    assert_int_equal(stat(path, &before[0]), 0);
    snprintf(path, sizeof path, "%s/config", bench->one.path);
    assert_int_equal(stat(path, &before[1]), 0);
    OK(git_init_bare(&bench->one, &hooks, &err));
    assert_int_equal(stat(path, &after[1]), 0);
    snprintf(path, sizeof path, "%s/hooks/pre-receive", bench->one.path);
    assert_int_equal(stat(path, &after[0]), 0);
    for (int i = 0; i < 2; i++) {
        assert_true(before[i].st_ino == after[i].st_ino);
        assert_true(before[i].st_mtim.tv_nsec == after[i].st_mtim.tv_nsec);
    }

    /* What somebody changed is put right. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    person(bench, "git --git-dir=../one.git config receive.denyNonFastForwards false", NULL);
    OK(git_init_bare(&bench->one, &hooks, &err));
    assert_int_equal(lstat(path, &after[0]), 0);
    assert_true(S_ISREG(after[0].st_mode));
    assert_int_equal(after[0].st_mode & 0777, 0755);
    person(bench, "test $(git --git-dir=../one.git config receive.denyNonFastForwards) = true",
           NULL);
}

static void repository_that_was_not_finished_is_finished(void **state)
{
    const struct bench *bench = *state;
    char head[COMMIT_TEXT];
    struct err err = {0};

    person(bench, "mkdir -p ../one.git/objects", NULL);
    push_first(bench);
    OK(git_head(&bench->one, head, &err));
    person(bench, "rm ../one.git/HEAD", NULL);
    FAILS(git_head(&bench->one, head, &err), ERR_IO, "not a git repository");
    OK(git_init_bare(&bench->one, NULL, &err));
    OK(git_head(&bench->one, head, &err));
    person(bench, "echo file >../two.git", NULL);
    FAILS(git_init_bare(&bench->two, NULL, &err), ERR_IO, "is not a folder");
}

static void push_is_taken_and_a_forced_one_refused(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT], now[COMMIT_TEXT], said[CHILD_ERRORS_MAX];
    struct git_commit info;
    struct err err = {0};
    bool yes = false;

    push_first(bench);
    OK(git_head(&bench->one, first, &err));
    person(bench,
           "echo y >cluster.yaml; git commit -qam \"$(printf 'Zwei: \\303\\244\\033[31m')\";"
           " git push -q one main",
           NULL);
    OK(git_head(&bench->one, second, &err));
    OK(git_is_ancestor(&bench->one, first, second, &yes, &err));
    assert_true(yes);
    OK(git_is_ancestor(&bench->one, second, first, &yes, &err));
    assert_false(yes);
    OK(git_is_ancestor(&bench->one, second, second, &yes, &err));
    assert_true(yes);
    OK(git_describe(&bench->one, second, &info, &err));
    assert_string_equal(info.parent, first);
    assert_string_equal(info.author, "Ada");
    assert_string_equal(info.subject, "Zwei: \303\244 [31m");
    assert_true(info.time > 1600000000);
    OK(git_describe(&bench->one, first, &info, &err));
    assert_string_equal(info.parent, "");

    assert_int_not_equal(person(bench,
                                "git reset -q --hard HEAD~1; echo z >cluster.yaml;"
                                " git commit -qam other; git push -qf one main",
                                said),
                         0);
    assert_non_null(strstr(said, "non-fast-forward"));
    assert_int_not_equal(person(bench, "git push -q one :main", said), 0);
    assert_non_null(strstr(said, "deletion prohibited"));
    OK(git_head(&bench->one, now, &err));
    assert_string_equal(now, second);
}

static void questions_about_what_is_not_there(void **state)
{
    const struct bench *bench = *state;
    struct git_repo other = bench->one;
    char head[COMMIT_TEXT];
    struct git_commit info;
    struct git_tree *tree = NULL;
    struct err err = {0};
    bool yes;

    push_first(bench);
    OK(git_head(&bench->one, head, &err));
    OK(git_commit_exists(&bench->one, head, &err));
    FAILS(git_commit_exists(&bench->one, HUGE_COMMIT, &err), ERR_NOTFOUND, HUGE_COMMIT);
    FAILS(git_is_ancestor(&bench->one, head, HUGE_COMMIT, &yes, &err), ERR_NOTFOUND, HUGE_COMMIT);
    FAILS(git_describe(&bench->one, HUGE_COMMIT, &info, &err), ERR_NOTFOUND, HUGE_COMMIT);
    FAILS(git_read_tree(&bench->one, HUGE_COMMIT, &tree, &err), ERR_NOTFOUND, HUGE_COMMIT);
    FAILS(git_commit_exists(&bench->one, "--help", &err), ERR_INVALID, "--help");
    FAILS(git_commit_exists(&bench->one, "main", &err), ERR_INVALID, "main");
    other.branch = "--upload-pack=x";
    FAILS(git_head(&other, head, &err), ERR_INVALID, "no name of a branch");
    other.branch = "a/../b";
    FAILS(git_head(&other, head, &err), ERR_INVALID, "no name of a branch");
    other.branch = "feature/x";
    FAILS(git_head(&other, head, &err), ERR_NOTFOUND, "feature/x");

    /* The repository vanishes. */
    person(bench, "mv ../one.git ../gone.git", NULL);
    FAILS(git_head(&bench->one, head, &err), ERR_IO, "not a git repository");
    FAILS(git_commit_exists(&bench->one, head, &err), ERR_IO, "not a git repository");
    FAILS(git_read_tree(&bench->one, head, &tree, &err), ERR_IO, "not a git repository");
    FAILS(git_advance(&bench->one, head, head, &err), ERR_IO, "not a git repository");
    assert_null(tree);
    /* Its objects do. */
    person(bench, "mv ../gone.git ../one.git; rm -rf ../one.git/objects/*", NULL);
    FAILS(git_read_tree(&bench->one, head, &tree, &err), ERR_NOTFOUND, head);
}

static void files_of_a_commit_are_read(void **state)
{
    const struct bench *bench = *state;
    char head[COMMIT_TEXT];
    const struct desired_file *files;
    struct git_tree *tree = NULL;
    struct err err = {0};
    size_t count;

    push_first(bench);
    person(bench,
           "printf 'a\\0b' >apps/a/binary; : >apps/a/empty; mkdir 'apps/b c'; echo ü >'apps/b c/ü';"
           " cp cluster.yaml apps/a/same; chmod +x apps/a/same;"
           " git add .; git commit -qm files; git push -q one main",
           NULL);
    OK(git_head(&bench->one, head, &err));
    OK(git_read_tree(&bench->one, head, &tree, &err));
    files = git_tree_files(tree, &count);
    assert_int_equal(count, 6);
    assert_string_equal(files[0].path, "apps/a/a.yaml");
    assert_memory_equal(files[0].data, "kind: Workload\n", files[0].size);
    assert_string_equal(files[1].path, "apps/a/binary");
    assert_int_equal(files[1].size, 3);
    assert_memory_equal(files[1].data, "a\0b", 3);
    assert_int_equal(files[2].size, 0);
    assert_string_equal(files[3].path, "apps/a/same");
    assert_memory_equal(files[3].data, "x\n", 2);
    assert_string_equal(files[4].path, "apps/b c/ü");
    assert_string_equal(files[5].path, "cluster.yaml");
    git_tree_free(tree);

    person(bench, "git rm -qr .; git commit -qm nothing; git push -q one main", NULL);
    OK(git_head(&bench->one, head, &err));
    OK(git_read_tree(&bench->one, head, &tree, &err));
    (void)git_tree_files(tree, &count);
    assert_int_equal(count, 0);
    git_tree_free(tree);
}

static void expect_mixed(const struct bench *bench, const char *commit,
                         const struct git_frozen *frozen, size_t frozen_count, const char *wanted)
{
    const struct desired_file *files;
    struct git_mixed *mixed = NULL;
    struct err err = {0};
    char text[512] = "";
    size_t count, used = 0;

    OK(git_mixed_read(&bench->one, commit, frozen, frozen_count, &mixed, &err));
    files = git_mixed_files(mixed, &count);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s=%.*s ", files[i].path,
                                 (int)files[i].size, files[i].data);
    assert_string_equal(text, wanted);
    git_mixed_free(mixed);
}

static void frozen_apps_stay_as_they_were(void **state)
{
    const struct bench *bench = *state;
    struct git_frozen frozen[2] = {{.app = "b"}, {.app = "c"}};
    char head[COMMIT_TEXT];
    struct err err = {0};

    push_first(bench);
    person(bench,
           "git rm -qrf .; mkdir -p apps/a apps/b apps/bb; printf 1 | tee apps/a/x apps/b/x "
           "apps/b/gone apps/bb/x; git add .; git commit -qm 1; git push -q one main",
           NULL);
    OK(git_head(&bench->one, frozen[0].commit, &err));
    person(bench,
           "rm apps/b/gone; mkdir apps/c; printf 2 | tee apps/a/x apps/b/x apps/b/new apps/bb/x "
           "apps/c/x; git add -A; git commit -qm 2; git push -q one main",
           NULL);
    OK(git_head(&bench->one, head, &err));
    expect_mixed(bench, head, frozen, 0,
                 "apps/a/x=2 apps/b/new=2 apps/b/x=2 apps/bb/x=2 apps/c/x=2 ");
    expect_mixed(bench, head, frozen, 1,
                 "apps/a/x=2 apps/bb/x=2 apps/c/x=2 apps/b/gone=1 apps/b/x=1 ");
    /* It did not exist when it was suspended; one of a commit that is not here is not held back. */
    memcpy(frozen[1].commit, frozen[0].commit, COMMIT_TEXT);
    expect_mixed(bench, head, frozen, 2, "apps/a/x=2 apps/bb/x=2 apps/b/gone=1 apps/b/x=1 ");
    memset(frozen[1].commit, 'e', COMMIT_TEXT - 1);
    expect_mixed(bench, head, &frozen[1], 1,
                 "apps/a/x=2 apps/b/new=2 apps/b/x=2 apps/bb/x=2 apps/c/x=2 ");
    /* What does not come before the commit was never accepted for it. */
    person(bench,
           "git checkout -q --orphan other; printf evil >apps/b/x; git add .; git commit -qm other;"
           " git push -q one other; git checkout -q main",
           NULL);
    OK(git_resolve(&bench->one, "other", frozen[0].commit, &err));
    expect_mixed(bench, head, frozen, 1,
                 "apps/a/x=2 apps/b/new=2 apps/b/x=2 apps/bb/x=2 apps/c/x=2 ");
}

/* Commits what @script left in the clone, pushes it, and expects that reading it is refused. */
static void expect_refused(const struct bench *bench, const char *script, int code,
                           const char *part)
{
    char head[COMMIT_TEXT], whole[1024];
    struct git_tree *tree = NULL;
    struct err err = {0};

    snprintf(whole, sizeof whole,
             "git reset -q --hard one/main; git clean -qffdx; %s; git add -A 2>/dev/null;"
             " git commit -qm hostile; git push -q one HEAD:main",
             script);
    person(bench, whole, NULL);
    OK(git_head(&bench->one, head, &err));
    FAILS(git_read_tree(&bench->one, head, &tree, &err), code, part);
    assert_null(tree);
    /* Back to an innocent tree for the next one. */
    person(bench,
           "git read-tree --empty; git clean -qffdx;"
           " echo x >cluster.yaml; git add -A; git commit -qm back; git push -q one HEAD:main;"
           " git fetch -q one",
           NULL);
}

static void hostile_trees_are_refused(void **state)
{
    const struct bench *bench = *state;

    push_first(bench);
    person(bench, "git fetch -q one", NULL);
    expect_refused(bench, "ln -s /etc/passwd link.yaml", ERR_INVALID, "link.yaml: a symbolic link");
    expect_refused(bench, "git init -q sub; git -C sub commit -q --allow-empty -m sub", ERR_INVALID,
                   "sub: a submodule");
    expect_refused(bench, "head -c 1048577 /dev/zero >big.yaml", ERR_LIMIT, "big.yaml: 1048577");
    expect_refused(bench, "for i in $(seq 10 25); do head -c 1048576 /dev/zero >file$i; done",
                   ERR_LIMIT, "file25: with it");
    expect_refused(bench, "mkdir d; cd d; seq 1 4097 | xargs touch; cd ..", ERR_LIMIT,
                   "4098 files");
    expect_refused(bench, "touch \"$(printf 'a\\033[2J')\"", ERR_INVALID, "control character");
    expect_refused(bench, "n=$(printf '%0200d' 0); mkdir -p $n/$n/$n; echo x >$n/$n/$n/x",
                   ERR_LIMIT, "longer than 511");
}

static void branch_moves_from_where_it_was_seen(void **state)
{
    const struct bench *bench = *state;
    char first[COMMIT_TEXT], second[COMMIT_TEXT], now[COMMIT_TEXT], lock[PATH_ROOM + 32];
    const struct utimbuf long_ago = {.actime = 1, .modtime = 1};
    struct err err = {0};
    FILE *file;

    push_first(bench);
    OK(git_head(&bench->one, first, &err));
    person(bench, "echo y >cluster.yaml; git commit -qam two; git push -q one main", NULL);
    OK(git_head(&bench->one, second, &err));
    FAILS(git_advance(&bench->one, first, second, &err), ERR_CONFLICT, first);
    FAILS(git_advance(&bench->one, "", second, &err), ERR_CONFLICT, "does not stand at");
    OK(git_advance(&bench->one, second, first, &err));

    /* A lock that a killed git left behind. */
    snprintf(lock, sizeof lock, "%s/refs/heads/main.lock", bench->one.path);
    file = fopen(lock, "we");
    assert_non_null(file);
    fclose(file);
    FAILS(git_advance(&bench->one, first, second, &err), ERR_IO, "main.lock");
    OK(git_head(&bench->one, now, &err));
    assert_string_equal(now, first);
    assert_int_equal(utime(lock, &long_ago), 0);
    OK(git_advance(&bench->one, first, second, &err));
    assert_int_equal(access(lock, F_OK), -1);
    OK(git_tidy(&bench->one, &err));
}

static void hook_sees_what_is_pushed(void **state)
{
    const struct bench *bench = *state;
    char said[CHILD_ERRORS_MAX], path[PATH_ROOM + 32], script[PATH_ROOM + 64];
    char self[PATH_ROOM] = "", head[COMMIT_TEXT];
    struct err err = {0};
    FILE *file;

    OK(git_init_bare(&bench->one, NULL, &err));
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(path, sizeof path, "%s/hooks", bench->one.path);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/hooks/pre-receive", bench->one.path);
    file = fopen(path, "we");
    assert_non_null(file);
    snprintf(script, sizeof script, "#!/bin/sh\nexec %s --as-hook\n", self);
    fputs(script, file);
    assert_int_equal(fchmod(fileno(file), 0755), 0);
    fclose(file);
    assert_int_not_equal(person(bench,
                                "ln -s x bad; git add .; git commit -qm bad;"
                                " git push -q one main",
                                said),
                         0);
    assert_non_null(strstr(said, "bad: a symbolic link"));
    FAILS(git_head(&bench->one, head, &err), ERR_NOTFOUND, "no commit yet");
    person(bench,
           "git rm -q bad; echo x >cluster.yaml; git add .; git commit -qm good;"
           " git push -q one main",
           NULL);
    OK(git_head(&bench->one, head, &err));
}

/* This program as a pre-receive hook: reads the tree of what is pushed, as agentctl does. */
static int be_hook(void)
{
    char line[256], path[PATH_ROOM];
    struct git_repo repo = {.path = path, .branch = "main"};
    struct git_tree *tree;
    struct err err = {0};
    char *id;

    if (getcwd(path, sizeof path) == NULL || fgets(line, sizeof line, stdin) == NULL)
        return 2;
    id = line + COMMIT_TEXT; /* "<old> <new> <ref>" */
    id[COMMIT_TEXT - 1] = '\0';
    if (git_commit_exists(&repo, id, &err) != ERR_NOTFOUND)
        return 3; /* without the quarantine the pushed objects cannot be seen */
    repo.in_hook = true;
    if (git_read_tree(&repo, id, &tree, &err) != ERR_NONE) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    git_tree_free(tree);
    return 0;
}

static void git_runs_as_the_owner(void **state)
{
    struct bench *bench = *state;
    char head[COMMIT_TEXT], path[PATH_ROOM + 32];
    struct err err = {0};
    struct stat st;

    if (geteuid() != 0)
        return; /* only root can become somebody else; CI runs as root */
    assert_int_equal(chmod(bench->root, 0755), 0);
    push_first(bench);
    bench->two.set_ids = true;
    bench->two.uid = 65534;
    bench->two.gid = 65534;
    OK(git_init_bare(&bench->two, NULL, &err));
    snprintf(path, sizeof path, "%s/config", bench->two.path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, 65534);
    {
        char *bundle;
        size_t size;
        OK(git_head(&bench->one, head, &err));
        bundle_of(&bench->one, NULL, head, &bundle, &size);
        OK(git_bundle_apply(&bench->two, bundle, size, head, &err));
        OK(git_advance(&bench->two, NULL, head, &err));
        free(bundle);
    }
    /* Another user asks the same repository: no complaint about its owner. */
    bench->two.set_ids = false;
    OK(git_head(&bench->two, head, &err));
    /* One who may not read it. */
    assert_int_equal(chmod(bench->one.path, 0700), 0);
    bench->one.set_ids = true;
    bench->one.uid = 65534;
    bench->one.gid = 65534;
    FAILS(git_head(&bench->one, head, &err), ERR_IO, "");
}

int main(int argc, char **argv)
{
#define WITH_BENCH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BENCH(repository_is_made_once),
        WITH_BENCH(repository_that_was_not_finished_is_finished),
        WITH_BENCH(push_is_taken_and_a_forced_one_refused),
        WITH_BENCH(questions_about_what_is_not_there),
        WITH_BENCH(files_of_a_commit_are_read),
        WITH_BENCH(frozen_apps_stay_as_they_were),
        WITH_BENCH(hostile_trees_are_refused),
        WITH_BENCH(branch_moves_from_where_it_was_seen),
        WITH_BENCH(hook_sees_what_is_pushed),
        WITH_BENCH(git_runs_as_the_owner),
    };
    if (argc > 1 && strcmp(argv[1], "--as-hook") == 0)
        return be_hook();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
