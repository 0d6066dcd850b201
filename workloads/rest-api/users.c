#include "workloads/rest-api/users.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "workloads/lib/emit.h"

struct user {
    int64_t id;
    char *name;
    char *email;
};

struct users {
    pthread_mutex_t lock;
    struct user *all; /* ordered by id */
    size_t count;
    size_t capacity;
    int64_t next_id;
};

int users_new(struct users **out, struct err *err)
{
    static const char *const first[][2] = {{"Alice", "alice@example.com"},
                                           {"Bob", "bob@example.com"},
                                           {"Charlie", "charlie@example.com"},
                                           {"Diana", "diana@example.com"},
                                           {"Eve", "eve@example.com"}};
    struct users *users = calloc(1, sizeof *users);

    if (users == NULL)
        return err_set(err, ERR_NOMEM, "make the list of users");
    pthread_mutex_init(&users->lock, NULL);
    users->next_id = 1;
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        struct out ignored;
        int64_t id;
        int rc;
        out_init(&ignored, NULL, 0, 0);
        rc = users_add(users, first[i][0], first[i][1], &id, &ignored);
        if (rc != ERR_NONE) {
            users_free(users);
            return err_set(err, rc, "make the list of users");
        }
    }
    *out = users;
    return ERR_NONE;
}

void users_free(struct users *users)
{
    if (users == NULL)
        return;
    for (size_t i = 0; i < users->count; i++) {
        free(users->all[i].name);
        free(users->all[i].email);
    }
    free(users->all);
    pthread_mutex_destroy(&users->lock);
    free(users);
}

/* The index of the first user whose id is not less than @id. */
static size_t find(const struct users *users, int64_t id)
{
    size_t low = 0;
    size_t high = users->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (users->all[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct user *lookup(const struct users *users, int64_t id)
{
    size_t i = find(users, id);
    return i < users->count && users->all[i].id == id ? &users->all[i] : NULL;
}

static bool email_taken(const struct users *users, const char *email, const struct user *except)
{
    for (size_t i = 0; i < users->count; i++)
        if (&users->all[i] != except && strcasecmp(users->all[i].email, email) == 0)
            return true;
    return false;
}

static void emit_user(const struct user *user, struct out *o)
{
    emit_object(o);
    emit_key_int(o, "id", user->id);
    emit_key_string(o, "name", user->name);
    emit_key_string(o, "email", user->email);
    emit_object_end(o);
}

void users_emit_page(struct users *users, int64_t after, size_t limit, struct out *o)
{
    size_t from;
    size_t count;

    pthread_mutex_lock(&users->lock);
    from = after < 0 ? 0 : after == INT64_MAX ? users->count : find(users, after + 1);
    count = users->count - from < limit ? users->count - from : limit;
    emit_object(o);
    emit_key(o, "users");
    emit_array(o);
    for (size_t i = from; i < from + count; i++)
        emit_user(&users->all[i], o);
    emit_array_end(o);
    emit_key_int(o, "count", (int64_t)count);
    emit_key_int(o, "total", (int64_t)users->count);
    emit_key(o, "next");
    if (count > 0 && from + count < users->count)
        emit_int(o, users->all[from + count - 1].id);
    else
        emit_null(o);
    emit_object_end(o);
    pthread_mutex_unlock(&users->lock);
}

int users_emit(struct users *users, int64_t id, struct out *o)
{
    const struct user *user;

    pthread_mutex_lock(&users->lock);
    user = lookup(users, id);
    if (user != NULL)
        emit_user(user, o);
    pthread_mutex_unlock(&users->lock);
    return user != NULL ? ERR_NONE : ERR_NOTFOUND;
}

static int reserve(struct users *users)
{
    size_t capacity = users->capacity == 0 ? 16 : users->capacity * 2;
    struct user *all;

    if (users->count == USERS_MAX)
        return ERR_FULL;
    if (users->count < users->capacity)
        return ERR_NONE;
    all = realloc(users->all, capacity * sizeof *all);
    if (all == NULL)
        return ERR_NOMEM;
    users->all = all;
    users->capacity = capacity;
    return ERR_NONE;
}

static int add_locked(struct users *users, const char *name, const char *email, struct user **out)
{
    struct user user = {.id = users->next_id};
    int rc;

    if (email_taken(users, email, NULL))
        return ERR_EXISTS;
    rc = reserve(users);
    if (rc != ERR_NONE)
        return rc;
    user.name = strdup(name);
    user.email = strdup(email);
    if (user.name == NULL || user.email == NULL) {
        free(user.name);
        free(user.email);
        return ERR_NOMEM;
    }
    users->next_id++;
    users->all[users->count] = user;
    *out = &users->all[users->count++];
    return ERR_NONE;
}

int users_add(struct users *users, const char *name, const char *email, int64_t *id, struct out *o)
{
    struct user *user;
    int rc;

    pthread_mutex_lock(&users->lock);
    rc = add_locked(users, name, email, &user);
    if (rc == ERR_NONE) {
        *id = user->id;
        emit_user(user, o);
    }
    pthread_mutex_unlock(&users->lock);
    return rc;
}

static int change_locked(struct users *users, int64_t id, const char *name, const char *email,
                         struct user **out)
{
    struct user *user = lookup(users, id);
    char *new_name;
    char *new_email;

    if (user == NULL)
        return ERR_NOTFOUND;
    if (email != NULL && email_taken(users, email, user))
        return ERR_EXISTS;
    new_name = strdup(name != NULL ? name : user->name);
    new_email = strdup(email != NULL ? email : user->email);
    if (new_name == NULL || new_email == NULL) {
        free(new_name);
        free(new_email);
        return ERR_NOMEM;
    }
    free(user->name);
    free(user->email);
    user->name = new_name;
    user->email = new_email;
    *out = user;
    return ERR_NONE;
}

int users_change(struct users *users, int64_t id, const char *name, const char *email,
                 struct out *o)
{
    struct user *user;
    int rc;

    pthread_mutex_lock(&users->lock);
    rc = change_locked(users, id, name, email, &user);
    if (rc == ERR_NONE)
        emit_user(user, o);
    pthread_mutex_unlock(&users->lock);
    return rc;
}

int users_remove(struct users *users, int64_t id)
{
    struct user *user;

    pthread_mutex_lock(&users->lock);
    user = lookup(users, id);
    if (user != NULL) {
        size_t behind = users->count - (size_t)(user - users->all) - 1;
        free(user->name);
        free(user->email);
        memmove(user, user + 1, behind * sizeof *user);
        users->count--;
    }
    pthread_mutex_unlock(&users->lock);
    return user != NULL ? ERR_NONE : ERR_NOTFOUND;
}
