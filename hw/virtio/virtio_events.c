/*
 * virtio_events: see virtio_events.h.
 *
 * Where a queue's notify register lies follows from the views of memory and ports, so a listener
 * moves the engine's watch with the BARs. An interrupt's route is made at its first use and changed
 * when the guest has changed the vector since.
 */
#include "hw/virtio/virtio_events.h"

#include "softmmu/accel.h"
#include "util/watch.h"

#include <sys/eventfd.h>
#include <unistd.h>

typedef struct Place { uint64_t addr; bool set; } Place;       /* of a notify register, as told to the engine */

typedef struct Kick {
    struct VirtioEvents *e;
    unsigned queue;
    int fd;
    guint source;
    Place modern, legacy;
} Kick;

typedef struct Vector {
    int fd, route;              /* -1: none yet */
    uint64_t addr;
    uint32_t data;
    bool hopeless;              /* the engine has no more routes */
} Vector;

typedef struct VirtioEvents {
    VirtioPci *p;
    Machine *m;
    const AccelEvents *ops;
    unsigned multiplier, notify_off, queues, vectors;
    Kick *kicks;
    Vector *vector;
} VirtioEvents;

enum { NOTIFY_SIZE = 2 };

static bool take(int fd)
{
    uint64_t n;

    return read(fd, &n, sizeof n) == sizeof n;
}

static gboolean kicked(gint fd, GIOCondition cond, gpointer opaque)
{
    Kick *k = opaque;

    if (take(fd) && k->queue < k->e->p->v.nqueues)
        virtq_kick(&k->e->p->v.queues[k->queue]);
    return G_SOURCE_CONTINUE;
}

/* A machine that stands has no kicks under way: its state may be saved. */
static void run_state_changed(void *opaque, MachineEvent ev, const char *detail)
{
    VirtioEvents *e = opaque;

    for (unsigned i = 0; e->kicks && ev == EVENT_STOP && i < e->queues; i++)
        kicked(e->kicks[i].fd, G_IO_IN, &e->kicks[i]);
}

static void place(Kick *k, Place *at, bool port, bool set, uint64_t addr)
{
    const AccelEvents *ops = k->e->ops;

    if (at->set && (!set || at->addr != addr)) {
        ops->io(k->e->m, port, at->addr, NOTIFY_SIZE, port, k->queue, k->fd, false);
        at->set = false;
    }
    if (set && !at->set) {
        at->set = ops->io(k->e->m, port, addr, NOTIFY_SIZE, port, k->queue, k->fd, true);
        at->addr = addr;
    }
}

/* Where [off, off + NOTIFY_SIZE) of r shows in view. */
static bool find(const FlatView *view, const Region *r, uint64_t off, uint64_t *addr)
{
    for (unsigned i = 0; i < view->n; i++) {
        const FlatRange *f = &view->ranges[i];

        if (f->region == r && off >= f->offset && off - f->offset + NOTIFY_SIZE <= f->size) {
            *addr = f->addr + (off - f->offset);
            return true;
        }
    }
    return false;
}

static void memory_changed(void *opaque, const FlatView *old, const FlatView *now)
{
    VirtioEvents *e = opaque;

    for (unsigned i = 0; i < e->queues; i++) {
        uint64_t addr = 0;
        bool shown = find(now, &e->p->notify_region, (uint64_t)i * e->multiplier, &addr);

        place(&e->kicks[i], &e->kicks[i].modern, false, shown, addr);
    }
}

static void ports_changed(void *opaque, const FlatView *old, const FlatView *now)
{
    VirtioEvents *e = opaque;
    uint64_t addr = 0;
    bool shown = find(now, &e->p->legacy_io, e->notify_off, &addr);

    for (unsigned i = 0; i < e->queues; i++)
        place(&e->kicks[i], &e->kicks[i].legacy, true, shown, addr);
}

static bool open_fds(VirtioEvents *e)
{
    for (unsigned i = 0; i < e->queues; i++)
        e->kicks[i] = (Kick) { .e = e, .queue = i, .fd = -1 };
    for (unsigned i = 0; i < e->vectors; i++)
        e->vector[i] = (Vector) { .fd = -1, .route = -1 };
    for (unsigned i = 0; i < e->queues; i++) {
        e->kicks[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (e->kicks[i].fd < 0)
            return false;
        e->kicks[i].source = watch_fd(e->kicks[i].fd, G_IO_IN, kicked, &e->kicks[i]);
    }
    return true;
}

static void close_kicks(VirtioEvents *e)
{
    for (unsigned i = 0; i < e->queues; i++) {
        place(&e->kicks[i], &e->kicks[i].modern, false, false, 0);
        place(&e->kicks[i], &e->kicks[i].legacy, true, false, 0);
        if (e->kicks[i].source)
            g_source_remove(e->kicks[i].source);
        if (e->kicks[i].fd >= 0)
            close(e->kicks[i].fd);
    }
    g_clear_pointer(&e->kicks, g_free);
    e->queues = 0;
}

VirtioEvents *virtio_events_new(VirtioPci *p, unsigned multiplier, unsigned notify_off)
{
    Machine *m = p->pci.dev.machine;
    RegionListener mem = { .changed = memory_changed }, ports = { .changed = ports_changed };
    VirtioEvents *e;

    if (!m->accel || !m->accel->events || !m->accel_state)
        return NULL;
    e = g_new0(VirtioEvents, 1);
    e->p = p;
    e->m = m;
    e->ops = m->accel->events;
    e->multiplier = multiplier;
    e->notify_off = notify_off;
    e->queues = p->v.client ? 0 : p->v.nqueues;         /* an I/O thread is kicked directly */
    e->vectors = p->pci.msix_vectors;
    e->kicks = g_new0(Kick, e->queues);
    e->vector = g_new0(Vector, e->vectors);
    if (!open_fds(e)) {
        virtio_events_free(e);
        return NULL;
    }
    mem.opaque = ports.opaque = e;
    addrspace_listen(&m->mem, &mem);
    addrspace_listen(&m->ports, &ports);
    machine_listen(m, run_state_changed, e);
    return e;
}

void virtio_events_free(VirtioEvents *e)
{
    if (!e)
        return;
    machine_unlisten(e->m, run_state_changed, e);
    addrspace_unlisten(&e->m->mem, e);
    addrspace_unlisten(&e->m->ports, e);
    close_kicks(e);
    for (unsigned i = 0; i < e->vectors; i++) {
        if (e->vector[i].route >= 0)
            e->ops->msi_free(e->m, e->vector[i].route, e->vector[i].fd);
        if (e->vector[i].fd >= 0)
            close(e->vector[i].fd);
    }
    g_free(e->vector);
    g_free(e);
}

static bool route(VirtioEvents *e, Vector *v, uint64_t addr, uint32_t data)
{
    if (v->route >= 0 && v->addr == addr && v->data == data)
        return true;
    if (v->hopeless)
        return false;
    if (v->fd < 0)
        v->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (v->route < 0)
        v->route = v->fd < 0 ? -1 : e->ops->msi_new(e->m, addr, data, v->fd);
    else if (!e->ops->msi_change(e->m, v->route, addr, data))
        return false;
    v->addr = addr;
    v->data = data;
    v->hopeless = v->route < 0;
    return !v->hopeless;
}

bool virtio_events_interrupt(VirtioEvents *e, unsigned n)
{
    const uint64_t one = 1;
    uint64_t addr;
    uint32_t data;

    return e && n < e->vectors && pci_msix_message(&e->p->pci, n, &addr, &data) && route(e, &e->vector[n], addr, data) &&
           write(e->vector[n].fd, &one, sizeof one) == sizeof one;
}
