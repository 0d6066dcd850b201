/* notify-smtp: sends mails for notification-service. It reads one request a line on standard input,
 *     {"id":"payment_success-17","to":"alice@example.com","text":"Payment successful for order
 * #17"} and answers each by a line on standard output: {"id":"...","result":"sent"}, or "later" or
 * "refused" with a "reason". It ends when its input does.
 *
 *     SMTP_URL            smtp://HOST[:PORT] or smtps://HOST[:PORT] (smtp://127.0.0.1:25)
 *     SMTP_FROM           the sender's address (orders@localhost)
 *     SMTP_TLS            none, try or required: STARTTLS (try)
 *     SMTP_USER           without it nobody logs in
 *     SMTP_PASSWORD_FILE  a file whose first line is the password
 *     SMTP_TIMEOUT        seconds for one mail (30) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "workloads/lib/emit.h"
#include "workloads/lib/env.h"
#include "workloads/lib/scan.h"
#include "workloads/lib/out.h"

#define LINE_LIMIT 4096
#define MAIL_MAX 8192
#define PASSWORD_MAX 256

struct mailer {
    CURL *curl;
    const char *from;
};

struct request {
    char id[128];
    char to[255];
    char text[512];
};

static bool read_request(const char *line, size_t len, struct request *request)
{
    struct scan in;
    struct span key;

    memset(request, 0, sizeof *request);
    scan_begin(&in, line, len);
    if (scan_object(&in))
        while (scan_member(&in, &key)) {
            if (span_is(key, "id"))
                (void)scan_string(&in, request->id, sizeof request->id);
            else if (span_is(key, "to"))
                (void)scan_string(&in, request->to, sizeof request->to);
            else if (span_is(key, "text"))
                (void)scan_string(&in, request->text, sizeof request->text);
            else
                (void)scan_skip(&in);
        }
    return scan_end(&in) && request->id[0] != '\0' && request->to[0] != '\0';
}

/* "=?UTF-8?B?...?=" (RFC 2047), in words of at most 45 bytes of text. */
static void put_header_text(struct out *o, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);

    for (size_t at = 0; at < len;) {
        size_t word = 0;
        size_t n = utf8_sequence(text + at, len - at);
        while (at + word < len && n > 0 && word + n <= 45) {
            word += n;
            n = at + word < len ? utf8_sequence(text + at + word, len - at - word) : 0;
        }
        if (word == 0) /* not UTF-8: scan_string lets none through */
            return;
        out_text(o, at == 0 ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
        for (size_t i = 0; i < word; i += 3) {
            uint32_t bits = 0;
            for (size_t k = 0; k < 3; k++)
                bits = bits << 8 | (i + k < word ? (unsigned char)text[at + i + k] : 0u);
            out_char(o, digits[bits >> 18 & 63]);
            out_char(o, digits[bits >> 12 & 63]);
            out_char(o, i + 1 < word ? digits[bits >> 6 & 63] : '=');
            out_char(o, i + 2 < word ? digits[bits & 63] : '=');
        }
        out_text(o, "?=");
        at += word;
    }
}

static void write_mail(const struct mailer *mailer, const struct request *request, struct out *o)
{
    time_t now = time(NULL);
    struct tm utc;
    char date[64];

    gmtime_r(&now, &utc);
    if (strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &utc) == 0)
        date[0] = '\0';
    out_text(o, "Date: ");
    out_text(o, date);
    out_text(o, "\r\nFrom: ");
    out_text(o, mailer->from);
    out_text(o, "\r\nTo: ");
    out_text(o, request->to);
    out_text(o, "\r\nMessage-ID: <");
    out_text(o, request->id); /* the same in every repeat, so that mail programs show one */
    out_text(o, "@orders.covey>\r\nSubject: ");
    put_header_text(o, request->text);
    out_text(o, "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Transfer-Encoding: 8bit\r\n\r\n");
    out_text(o, request->text);
    out_text(o, "\r\n");
}

struct reading {
    const char *at;
    size_t left;
};

static size_t give(char *to, size_t size, size_t count, void *context)
{
    struct reading *reading = context;
    size_t n = size * count < reading->left ? size * count : reading->left;

    memcpy(to, reading->at, n);
    reading->at += n;
    reading->left -= n;
    return n;
}

/* Sends; returns "sent", "later" or "refused". */
static const char *send_mail(struct mailer *mailer, const struct request *request,
                             char reason[CURL_ERROR_SIZE])
{
    char storage[MAIL_MAX];
    struct reading reading;
    struct curl_slist *to = curl_slist_append(NULL, request->to);
    struct out o;
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    long answer = 0;

    out_init(&o, storage, sizeof storage, 0);
    write_mail(mailer, request, &o);
    reading = (struct reading){o.data, o.len};
    reason[0] = '\0';
    if (to != NULL && !o.failed) {
        curl_easy_setopt(mailer->curl, CURLOPT_MAIL_RCPT, to);
        curl_easy_setopt(mailer->curl, CURLOPT_READDATA, &reading);
        curl_easy_setopt(mailer->curl, CURLOPT_ERRORBUFFER, reason);
        rc = curl_easy_perform(mailer->curl);
        curl_easy_getinfo(mailer->curl, CURLINFO_RESPONSE_CODE, &answer);
    }
    curl_slist_free_all(to);
    if (rc == CURLE_OK)
        return "sent";
    if (reason[0] == '\0')
        snprintf(reason, CURL_ERROR_SIZE, "%s", curl_easy_strerror(rc));
    /* RFC 5321: 550 to 554 are about this mail; other refusals are about us or now. */
    return answer >= 550 && answer <= 554 && rc != CURLE_LOGIN_DENIED ? "refused" : "later";
}

static int answer_line(const struct request *request, const char *result, const char *reason)
{
    char storage[LINE_LIMIT];
    struct out o;

    out_init(&o, storage, sizeof storage, 0);
    emit_object(&o);
    emit_key_string(&o, "id", request->id);
    emit_key_string(&o, "result", result);
    if (strcmp(result, "sent") != 0)
        emit_key_string(&o, "reason", reason);
    emit_object_end(&o);
    out_char(&o, '\n');
    return fwrite(o.data, 1, o.len, stdout) == o.len && fflush(stdout) == 0 ? 0 : -1;
}

static void read_password(struct env *env, char password[PASSWORD_MAX])
{
    const char *path = env_string(env, "SMTP_PASSWORD_FILE", NULL);
    FILE *f;

    password[0] = '\0';
    if (path == NULL)
        return;
    f = fopen(path, "re");
    if (f == NULL || fgets(password, PASSWORD_MAX, f) == NULL)
        env_problem(env, "SMTP_PASSWORD_FILE", "a file with a password in its first line");
    if (f != NULL)
        fclose(f);
    password[strcspn(password, "\r\n")] = '\0';
}

static int configure(struct mailer *mailer, struct env *env)
{
    static const char *const tls[] = {"none", "try", "required", NULL};
    static const long levels[] = {CURLUSESSL_NONE, CURLUSESSL_TRY, CURLUSESSL_ALL};
    const char *url = env_string(env, "SMTP_URL", "smtp://127.0.0.1:25");
    const char *user = env_string(env, "SMTP_USER", NULL);
    size_t level = env_choice(env, "SMTP_TLS", tls, 1);
    int64_t timeout = env_int(env, "SMTP_TIMEOUT", 30, 1, 50);
    char password[PASSWORD_MAX];
    int status;

    mailer->from = env_string(env, "SMTP_FROM", "orders@localhost");
    read_password(env, password);
    if (strncmp(url, "smtp://", 7) != 0 && strncmp(url, "smtps://", 8) != 0)
        env_problem(env, "SMTP_URL", "smtp://HOST[:PORT] or smtps://HOST[:PORT]");
    if (strpbrk(mailer->from, " \r\n<>") != NULL || strchr(mailer->from, '@') == NULL)
        env_problem(env, "SMTP_FROM", "an address as name@domain");
    status = env_check(env, "notify-smtp");
    if (status != 0)
        return status;
    curl_easy_setopt(mailer->curl, CURLOPT_URL, url);
    curl_easy_setopt(mailer->curl, CURLOPT_MAIL_FROM, mailer->from);
    curl_easy_setopt(mailer->curl, CURLOPT_USE_SSL, levels[level]);
    curl_easy_setopt(mailer->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(mailer->curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(mailer->curl, CURLOPT_TIMEOUT, (long)timeout);
    curl_easy_setopt(mailer->curl, CURLOPT_NOSIGNAL, 1L);
    if (user != NULL) {
        curl_easy_setopt(mailer->curl, CURLOPT_USERNAME, user);
        curl_easy_setopt(mailer->curl, CURLOPT_PASSWORD, password);
    }
    return 0;
}

static int serve(struct mailer *mailer)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    int status = 0;

    while (status == 0 && (len = getline(&line, &size, stdin)) > 0) {
        char reason[CURL_ERROR_SIZE] = "the request is not well-formed";
        struct request request;
        const char *result = "refused";
        if (read_request(line, (size_t)len, &request))
            result = send_mail(mailer, &request, reason);
        if (answer_line(&request, result, reason) != 0)
            status = 1;
    }
    free(line);
    return status;
}

int main(void)
{
    struct mailer mailer = {0};
    struct env env;
    int status;

    env_init(&env);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        fprintf(stderr, "notify-smtp: libcurl cannot start\n");
        return 1;
    }
    mailer.curl = curl_easy_init();
    if (mailer.curl == NULL) {
        fprintf(stderr, "notify-smtp: out of memory\n");
        status = 1;
        goto out;
    }
    status = configure(&mailer, &env);
    if (status == 0)
        status = serve(&mailer);
out:
    curl_easy_cleanup(mailer.curl);
    curl_global_cleanup();
    return status;
}
