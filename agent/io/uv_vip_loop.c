/* The life of the executor on the loop: its sockets, its beginning and its end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/io/os_clock.h"
#include "agent/io/uv_vip_inside.h"

#define REACH_WINDOW_MS 250 /* below the shortest lease that solo ownership can live on */

/* ---- sockets ---- */

static void free_vip(struct uv_vip *vip)
{
    for (size_t i = 0; i < vip->address_count; i++)
        free(vip->addresses[i]);
    free(vip->addresses);
    free(vip->members);
    os_fence_drop(vip->begun);
    os_fence_free(vip->fence);
    os_netlink_close(vip->netlink);
    free(vip);
}

static void handle_closed(struct uv_vip *vip)
{
    void (*closed)(void *context) = vip->closed;
    void *context = vip->closed_context;

    if (--vip->handles > 0 || !vip->closing)
        return;
    free_vip(vip);
    if (closed != NULL)
        closed(context);
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void close_source(const struct vip_source *source)
{
    os_arp_close(source->arp);
    os_echo_close(source->echo);
    os_watch_close(source->watch);
}

static void free_socket(struct vip_socket *s)
{
    close_source(&(struct vip_source){s->arp, s->echo, s->watch});
    free(s);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct vip_socket *s = handle->data;
    struct uv_vip *vip = s->vip;

    free_socket(s);
    handle_closed(vip);
}

static int file_of(const struct vip_source *source)
{
    if (source->arp != NULL)
        return os_arp_fd(source->arp);
    return source->echo != NULL ? os_echo_fd(source->echo) : os_watch_fd(source->watch);
}

int vip_socket_open(struct uv_vip *vip, const struct vip_source *source, uv_poll_cb readable,
                    struct vip_socket **socket, struct err *err)
{
    struct vip_socket *s = calloc(1, sizeof *s);
    int rc;

    if (s == NULL) {
        close_source(source);
        return err_set(err, ERR_NOMEM, "watch the network");
    }
    s->vip = vip;
    s->arp = source->arp;
    s->echo = source->echo;
    s->watch = source->watch;
    s->poll.data = s;
    rc = uv_poll_init(vip->loop, &s->poll, file_of(source));
    if (rc != 0) {
        free_socket(s);
        return err_set(err, ERR_IO, "watch the network: %s", uv_strerror(rc));
    }
    vip->handles++;
    rc = uv_poll_start(&s->poll, UV_READABLE, readable);
    if (rc != 0) {
        vip_socket_close(s);
        return err_set(err, ERR_IO, "watch the network: %s", uv_strerror(rc));
    }
    *socket = s;
    return ERR_NONE;
}

void vip_socket_close(struct vip_socket *socket)
{
    if (socket != NULL)
        uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
}

size_t uv_vip_raw_sockets(const struct uv_vip *vip, int fds[UV_VIP_RAW_MAX])
{
    size_t count = 0;

    if (vip != NULL && vip->arp != NULL)
        fds[count++] = os_arp_fd(vip->arp->arp);
    if (vip != NULL && vip->echo != NULL)
        fds[count++] = os_echo_fd(vip->echo->echo);
    return count;
}

/* ---- beginning and end ---- */

int uv_vip_create(struct uv_loop_s *loop, const char *interface, struct os_fence_begun *begun,
                  const struct addr *resumed, size_t resumed_count, struct post post,
                  struct uv_vip **vip, struct err *err)
{
    struct uv_vip *v = calloc(1, sizeof *v);
    int rc;

    if (v == NULL) {
        os_fence_drop(begun);
        return err_set(err, ERR_NOMEM, "set up virtual addresses");
    }
    v->begun = begun;
    v->loop = loop;
    v->post = post;
    v->looked_up = (mono_t){INT64_MIN};
    v->clients_at = MONO_NEVER;
    reach_init(&v->reach, REACH_WINDOW_MS);
    rc = os_netlink_open(&v->netlink, err);
    if (rc == ERR_NONE)
        rc = os_link_get(v->netlink, interface, &v->link, err);
    if (rc != ERR_NONE)
        goto err_after_alloc;
    snprintf(v->interface, sizeof v->interface, "%s", interface);
    v->was_down = !v->link.up || !v->link.carrier;
    rc = vip_take_over(v, resumed, resumed_count, err);
    if (rc != ERR_NONE)
        goto err_after_alloc;
    uv_timer_init(loop, &v->timer);
    v->timer.data = v;
    v->handles = 1;
    rc = vip_arp_open(v, err);
    if (rc == ERR_NONE)
        rc = vip_watch_open(v, err);
    if (rc != ERR_NONE)
        goto err_after_timer;
    *vip = v;
    return ERR_NONE;

err_after_timer:
    uv_vip_close(v, true, NULL, NULL);
    return rc;
err_after_alloc:
    free_vip(v);
    return rc;
}

void uv_vip_close(struct uv_vip *vip, bool keep, void (*closed)(void *context), void *context)
{
    if (vip == NULL) {
        if (closed != NULL)
            closed(context);
        return;
    }
    for (size_t i = 0; !keep && i < vip->address_count; i++)
        if (vip->addresses[i]->guarded)
            vip_shut_both(vip, &vip->addresses[i]->address, NULL);
    vip->closing = true;
    vip->closed = closed;
    vip->closed_context = context;
    vip_socket_close(vip->watch);
    vip_socket_close(vip->arp);
    vip_socket_close(vip->echo);
    uv_close((uv_handle_t *)&vip->timer, on_timer_closed);
}
