/* virtio: device status, features, queues; the ring layouts are split.c and packed.c. */
#include "hw/virtio/virtio_int.h"

#include "hw/core/iothread.h"

static const VirtRingOps *ring(const VirtQueue *vq)
{
    return virtio_has(vq->v, VIRTIO_F_RING_PACKED) ? &virt_packed_ring : &virt_split_ring;
}

void virtio_init(VirtioDevice *v, Device *dev, const VirtioClass *vc)
{
    v->dev = dev;
    v->vc = vc;
    v->nqueues = 0;
    v->config_vector = VIRTIO_NO_VECTOR;
}

VirtQueue *virtio_add_queue(VirtioDevice *v, uint16_t max_size, void (*kick)(VirtioDevice *, VirtQueue *))
{
    VirtQueue *vq;

    g_return_val_if_fail(v->nqueues < VIRTIO_MAX_QUEUES && max_size <= VIRTQ_MAX_SIZE, NULL);
    vq = &v->queues[v->nqueues];
    vq->v = v;
    vq->index = v->nqueues++;
    vq->max_size = vq->size = max_size;
    vq->kick = kick;
    vq->vector = VIRTIO_NO_VECTOR;
    return vq;
}

static void queue_reset(VirtQueue *vq)
{
    virtq_disable(vq);
    vq->size = vq->max_size;
    vq->desc = vq->avail = vq->used = 0;
    vq->vector = VIRTIO_NO_VECTOR;
    vq->last_avail = vq->used_idx = vq->signalled_used = 0;
    vq->filled = vq->filled_slots = 0;
    vq->signalled_valid = false;
    vq->avail_wrap = vq->used_wrap = true;
    vq->notify_on = true;
    g_clear_pointer(&vq->parked, g_free);
    vq->parked_len = 0;
}

void virtio_cleanup(VirtioDevice *v)
{
    for (unsigned i = 0; i < v->nqueues; i++)
        queue_reset(&v->queues[i]);
    v->nqueues = 0;
}

void virtio_reset(VirtioDevice *v)
{
    atomic_store(&v->kicked, 0);
    v->notify_due = 0;
    v->config_due = v->work_due = false;
    if (v->vc->reset)
        v->vc->reset(v);
    v->status = v->isr = 0;
    v->features = 0;
    v->legacy = false;
    v->broken = false;
    v->config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < v->nqueues; i++)
        queue_reset(&v->queues[i]);
    v->notify(v, VIRTIO_NO_VECTOR);     /* isr is 0: the line goes down */
}

/* Rings in use keep their format: a packed ring is not a split one of the same addresses (a legacy driver may
   choose features after its queues, but never this one). */
static bool format_is_settled(VirtioDevice *v, uint64_t features)
{
    if (!((features ^ v->features) & VIRTIO_F_RING_PACKED))
        return false;
    for (unsigned i = 0; i < v->nqueues; i++) {
        if (v->queues[i].enabled)
            return true;
    }
    return false;
}

void virtio_set_features(VirtioDevice *v, uint64_t features)
{
    features &= v->host_features;
    if (format_is_settled(v, features)) {
        virtio_error(v, "another ring format while a queue is enabled");
        return;
    }
    v->features = features;
    if (v->vc->features_set)
        v->vc->features_set(v);
}

void virtio_set_status(VirtioDevice *v, uint8_t status)
{
    uint8_t old = v->status;

    if (!status) {
        virtio_reset(v);
        return;
    }
    /* A modern driver that did not accept VERSION_1 is refused here (3.1.1 step 6). */
    if (!v->legacy && (status & VIRTIO_S_FEATURES_OK) && !virtio_has(v, VIRTIO_F_VERSION_1))
        status &= ~VIRTIO_S_FEATURES_OK;
    v->status = status | (v->broken ? VIRTIO_S_NEEDS_RESET : 0);
    if (v->vc->status_set)
        v->vc->status_set(v, old);
}

void virtio_config_changed(VirtioDevice *v)
{
    if (virtio_on_iothread(v)) {
        v->config_due = true;
        iothread_defer(v->client);
        return;
    }
    v->generation++;
    if (!(v->status & VIRTIO_S_DRIVER))
        return;
    v->isr |= 3;
    v->notify(v, v->config_vector);
}

void virtio_error(VirtioDevice *v, const char *fmt, ...)
{
    g_autofree char *msg = NULL;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    log_guest("%s: %s; the device waits for a reset", v->dev->cls->name, msg);
    if (v->broken)
        return;
    v->broken = true;
    if (virtio_has(v, VIRTIO_F_VERSION_1)) {
        v->status |= VIRTIO_S_NEEDS_RESET;
        virtio_config_changed(v);
    }
}

static uint64_t split_avail_len(const VirtQueue *vq) { return 4 + 2ULL * vq->size + 2; }
static uint64_t split_used_len(const VirtQueue *vq) { return 4 + 8ULL * vq->size + 2; }

bool virtq_enable(VirtQueue *vq)
{
    bool packed = virtio_has(vq->v, VIRTIO_F_RING_PACKED);

    if (vq->enabled)
        return true;
    if (!vq->size || vq->size > vq->max_size || (!packed && (vq->size & (vq->size - 1))) ||
        !vq->desc || (vq->desc & 15) || (vq->avail & 1) || (vq->used & 3)) {
        virtio_error(vq->v, "queue %u: impossible size %u or address", vq->index, vq->size);
        return false;
    }
    virt_map_set(&vq->map_desc, vq->desc, vq->size * 16);
    virt_map_set(&vq->map_avail, vq->avail, packed ? 4 : split_avail_len(vq));
    virt_map_set(&vq->map_used, vq->used, packed ? 4 : split_used_len(vq));
    vq->notify_on = true;
    vq->enabled = true;
    return true;
}

void virtq_disable(VirtQueue *vq)
{
    vq->enabled = false;
    virt_map_drop(&vq->map_desc);
    virt_map_drop(&vq->map_avail);
    virt_map_drop(&vq->map_used);
}

static void serve(VirtQueue *vq)
{
    if (vq->enabled && virtio_ready(vq->v) && vq->kick)
        vq->kick(vq->v, vq);
}

void virtq_kick(VirtQueue *vq)
{
    struct IoClient *c = vq->v->client;

    if (!c) {
        serve(vq);
        return;
    }
    atomic_fetch_or(&vq->v->kicked, 1ULL << vq->index);
    iothread_kick(c);
}

static void iothread_work(void *opaque)
{
    VirtioDevice *v = opaque;
    uint64_t queues = atomic_exchange(&v->kicked, 0);

    for (unsigned i = 0; i < v->nqueues; i++) {
        if (queues >> i & 1)
            serve(&v->queues[i]);
    }
}

static void iothread_deliver(void *opaque)
{
    VirtioDevice *v = opaque;
    uint64_t due = v->notify_due;

    v->notify_due = 0;
    if (v->config_due) {
        v->config_due = false;
        virtio_config_changed(v);
    }
    if (v->work_due) {
        v->work_due = false;
        v->vc->deferred(v);
    }
    for (unsigned i = 0; i < v->nqueues; i++) {
        if (due >> i & 1) {
            v->isr |= 1;
            v->notify(v, v->queues[i].vector);
        }
    }
}

/* A stopped machine has nothing under way: kicks are served, requests done, interrupts where they belong. */
static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    VirtioDevice *v = opaque;

    if (ev != EVENT_STOP)
        return;
    virtio_enter(v);
    iothread_work(v);
    if (v->vc->settle)
        v->vc->settle(v);
    virtio_leave(v);
}

void virtio_use_iothread(VirtioDevice *v, struct IoThread *t)
{
    machine_listen(v->dev->machine, machine_event, v);
    v->iothread = t;
    v->client = iothread_attach(t, iothread_work, iothread_deliver, v);
}

void virtio_drop_iothread(VirtioDevice *v)
{
    if (v->client) {
        machine_unlisten(v->dev->machine, machine_event, v);
        iothread_detach(v->client);
    }
    v->client = NULL;
    v->iothread = NULL;
}

void virtio_enter(VirtioDevice *v)
{
    if (v->iothread)
        iothread_enter(v->iothread);
}

void virtio_leave(VirtioDevice *v)
{
    if (v->iothread)
        iothread_leave(v->iothread);
}

void virtio_park(VirtioDevice *v)
{
    for (unsigned i = 0; i < v->nqueues; i++)
        virtq_park(&v->queues[i]);
}

void virtio_replay(VirtioDevice *v)
{
    virtio_enter(v);
    for (unsigned i = 0; i < v->nqueues; i++)
        virtq_replay(&v->queues[i]);
    virtio_leave(v);
}

bool virtio_on_iothread(const VirtioDevice *v) { return v->client && !machine_lock_held(); }

void virtio_defer(VirtioDevice *v)
{
    v->work_due = true;
    iothread_defer(v->client);
}

static bool usable(VirtQueue *vq)
{
    return vq->enabled && !vq->v->broken;
}

bool virtq_empty(VirtQueue *vq)
{
    return !usable(vq) || ring(vq)->empty(vq);
}

VirtElem *virtq_pop(VirtQueue *vq)
{
    VirtElem *e;

    if (!usable(vq))
        return NULL;
    if (vq->in_use >= vq->size) {
        if (!ring(vq)->empty(vq))
            virtio_error(vq->v, "queue %u: more buffers in flight than the queue holds", vq->index);
        return NULL;
    }
    e = ring(vq)->pop(vq);
    vq->in_use += e != NULL;
    if (e)
        virtq_track(vq, e);
    return e;
}

void virtq_fill(VirtQueue *vq, VirtElem *e, uint32_t written)
{
    written = MIN(written, e->in_len);
    if (usable(vq)) {
        ring(vq)->fill(vq, e, written);
        vq->filled++;
        vq->filled_slots += e->ndescs;
    }
    vq->in_use -= vq->in_use > 0;
    virtq_untrack(vq, e);
    virt_elem_free(e, written);
}

void virtq_publish(VirtQueue *vq)
{
    if (usable(vq) && vq->filled)
        ring(vq)->publish(vq, vq->filled, vq->filled_slots);
    vq->filled = vq->filled_slots = 0;
}

void virtq_push(VirtQueue *vq, VirtElem *e, uint32_t written)
{
    virtq_fill(vq, e, written);
    virtq_publish(vq);
}

void virtq_unpop(VirtQueue *vq, VirtElem *e)
{
    if (usable(vq))
        ring(vq)->unpop(vq, e);
    virtq_detach(vq, e);
}

void virtq_detach(VirtQueue *vq, VirtElem *e)
{
    vq->in_use -= vq->in_use > 0;
    virtq_untrack(vq, e);
    virt_elem_free(e, UINT32_MAX);      /* conservatively: all of it may have been written */
}

void virtq_notify(VirtQueue *vq)
{
    if (!usable(vq) || !ring(vq)->wants_interrupt(vq))
        return;
    if (virtio_on_iothread(vq->v)) {
        vq->v->notify_due |= 1ULL << vq->index;
        iothread_defer(vq->v->client);
        return;
    }
    vq->v->isr |= 1;
    vq->v->notify(vq->v, vq->vector);
}

void virtq_set_notification(VirtQueue *vq, bool on)
{
    vq->notify_on = on;
    if (usable(vq))
        ring(vq)->set_notification(vq, on);
}

const StateDesc virtio_queue_state = {
    .name = "virtqueue", .version = 2,
    .fields = (const StateField[]) {
        STATE_UMAX(VirtQueue, size, VIRTQ_MAX_SIZE), STATE_B(VirtQueue, enabled), STATE_U64(VirtQueue, desc),
        STATE_U64(VirtQueue, avail), STATE_U64(VirtQueue, used), STATE_U16(VirtQueue, vector),
        STATE_U16(VirtQueue, last_avail), STATE_U16(VirtQueue, used_idx), STATE_U16(VirtQueue, signalled_used),
        STATE_B(VirtQueue, signalled_valid), STATE_B(VirtQueue, notify_on), STATE_B(VirtQueue, avail_wrap),
        STATE_B(VirtQueue, used_wrap), STATE_PBUF(VirtQueue, parked, parked_len, VIRTQ_PARKED_MAX), STATE_END },
};
