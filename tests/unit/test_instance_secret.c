/* Secrets in the texts of an instance, opened by the node that starts it. */
#include <stdio.h>
#include <unistd.h>

#include "agent/io/instance_secret.h"
#include "proto/wire/seal.h"
#include "tests/unit/desired_fixture.h"

static struct keys_identity pi1, pi2;
static struct desired *desired;

/* A repository with the secret db: password and note, sealed to pi1; swapped holds password's
 * ciphertext. */
static int set_up(void **state)
{
    char *password = malloc(SEAL_VALUE_TEXT_MAX), *note = malloc(SEAL_VALUE_TEXT_MAX);
    char box[SEAL_KEY_TEXT], document[2048];
    uint8_t key[SEAL_KEY];

    (void)state;
    assert_int_equal(keys_start(NULL), ERR_NONE);
    keys_generate(&pi1);
    keys_generate(&pi2);
    seal_new_key(key);
    assert_int_equal(seal_key(pi1.public_key, key, box), ERR_NONE);
    assert_int_equal(seal_value(key, "db", "password", "s3cret", 6, password), ERR_NONE);
    assert_int_equal(seal_value(key, "db", "note", "${secret:db/password}", 21, note), ERR_NONE);
    snprintf(document, sizeof document,
             "apiVersion: covey.dev/v1\nkind: SealedSecret\nmetadata: {name: db}\nspec:\n"
             "  recipients: [{node: pi1, key: \"%s\"}]\n"
             "  encryptedData: {password: \"%s\", note: \"%s\", swapped: \"%s\"}\n",
             box, password, note, password);
    desired = accepted(FILES(FILE_OF("apps/db/secret.yaml", document)));
    free(password);
    free(note);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    desired_free(desired);
    return 0;
}

static void opened(const char *text, const char *wanted)
{
    char *filled;
    struct err err = {0};

    if (instance_secret_text(&pi1, desired, text, &filled, &err) != ERR_NONE)
        fail_msg("%s", err.text);
    if (wanted == NULL)
        assert_null(filled);
    else
        assert_string_equal(filled, wanted);
    instance_secret_free(filled);
}

static void texts(void **state)
{
    (void)state;
    opened("nothing ${HOME} ${service:a/b}", NULL);
    opened("${secret:db/password}", "s3cret");
    opened("a=${secret:db/password};b=${secret:db/password}.", "a=s3cret;b=s3cret.");
    /* What a value holds is no reference. */
    opened("${secret:db/note}", "${secret:db/password}");
}

static void refused_with(const struct keys_identity *identity, const char *text, int code,
                         const char *words)
{
    char *filled = (char *)1;
    struct err err = {0};

    assert_int_equal(instance_secret_text(identity, desired, text, &filled, &err), code);
    assert_null(filled);
    assert_non_null(strstr(err.text, words));
    assert_null(strstr(err.text, "s3cret"));
}

static void errors(void **state)
{
    (void)state;
    refused_with(&pi2, "x ${secret:db/password}", ERR_DENIED, "not sealed to this node");
    refused_with(&pi1, "${secret:db/password} ${secret:db/other}", ERR_NOTFOUND, "no value other");
    refused_with(&pi1, "${secret:none/password}", ERR_NOTFOUND, "secret none");
    refused_with(&pi1, "${secret:db/swapped}", ERR_DENIED, "sealed for another name");
}

static void files(void **state)
{
    const struct desired_content content[] = {
        {.path = "plain", .text = "${secret:db/password}", .references = false},
        {.path = "conf", .text = "pw ${secret:db/password}", .references = true}};
    struct instance_secret_files out;
    struct err err;

    (void)state;
    assert_int_equal(instance_secret_files(&pi1, desired, "/", content, 1, &out, &err), ERR_NONE);
    assert_ptr_equal(out.files, content); /* no secret in it: no tmpfs is needed, no copy */
    instance_secret_files_free(&out);
    if (access("/dev/shm", W_OK) == 0) {
        assert_int_equal(instance_secret_files(&pi1, desired, "/dev/shm", content, 2, &out, &err),
                         ERR_NONE);
        assert_string_equal(out.files[0].text, "${secret:db/password}"); /* template: false */
        assert_string_equal(out.files[1].text, "pw s3cret");
        instance_secret_files_free(&out);
    }
    assert_int_equal(instance_secret_files(&pi2, desired, "/dev/shm", content, 2, &out, &err),
                     ERR_DENIED);
    instance_secret_files_free(&out);
    /* /proc stands for a disk here: it is no tmpfs on any machine. */
    assert_int_equal(instance_secret_files(&pi1, desired, "/proc", content, 2, &out, &err),
                     ERR_DENIED);
    assert_non_null(strstr(err.text, "tmpfs"));
    instance_secret_files_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(errors),
        cmocka_unit_test(files),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
