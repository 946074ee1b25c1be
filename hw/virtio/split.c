/* split: the split virtqueue, virtio 1.2 section 2.7. */
#include "hw/virtio/virtio_int.h"

#include <stdatomic.h>

enum { AVAIL_IDX = 2, AVAIL_RING = 4, USED_IDX = 2, USED_RING = 4, USED_ELEM = 8,
       AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

static uint16_t avail_u16(VirtQueue *vq, uint32_t off)
{
    const uint8_t *p = virt_map_at(vq, &vq->map_avail, off, 2);

    return p ? le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE)) : 0;
}

static void used_store(VirtQueue *vq, uint32_t off, const void *data, uint32_t len)
{
    uint8_t *p = virt_map_at(vq, &vq->map_used, off, len);

    if (!p)
        return;
    if (len == 2)
        __atomic_store_n((uint16_t *)(void *)p, *(const uint16_t *)data, __ATOMIC_RELEASE);
    else
        memcpy(p, data, len);
    virt_map_wrote(&vq->map_used, off, len);
}

static void used_u16(VirtQueue *vq, uint32_t off, uint16_t v)
{
    v = htole16(v);
    used_store(vq, off, &v, 2);
}

/* avail_event sits behind the used ring, used_event behind the available ring. */
static uint32_t avail_event_off(const VirtQueue *vq) { return USED_RING + USED_ELEM * vq->size; }
static uint32_t used_event_off(const VirtQueue *vq) { return AVAIL_RING + 2 * vq->size; }

static bool split_empty(VirtQueue *vq)
{
    return avail_u16(vq, AVAIL_IDX) == vq->last_avail;
}

static bool read_desc(VirtQueue *vq, unsigned i, VirtDesc *d)
{
    const uint8_t *p = virt_map_at(vq, &vq->map_desc, i * DESC_SIZE, DESC_SIZE);
    uint8_t b[DESC_SIZE];

    if (!p)
        return false;
    memcpy(b, p, sizeof b);
    *d = (VirtDesc) { ld64_le(b), ld32_le(b + 8), ld16_le(b + 12), ld16_le(b + 14) };
    return true;
}

static bool collect(VirtQueue *vq, unsigned head, VirtChain *c)
{
    unsigned i = head;

    for (unsigned steps = 0; ; steps++) {
        VirtDesc d;

        if (i >= vq->size || steps >= vq->size) {
            virtio_error(vq->v, "queue %u: descriptor chain loops or leaves the table", vq->index);
            return false;
        }
        if (!read_desc(vq, i, &d))
            return false;
        if (d.flags & DESC_INDIRECT) {
            if (steps || (d.flags & DESC_NEXT)) {
                virtio_error(vq->v, "queue %u: indirect descriptor in a chain", vq->index);
                return false;
            }
            return virt_chain_indirect(vq, c, &d, false);
        }
        if (!virt_chain_add(vq, c, &d))
            return false;
        if (!(d.flags & DESC_NEXT))
            return true;
        i = d.next;
    }
}

static VirtElem *split_pop(VirtQueue *vq)
{
    uint16_t idx = avail_u16(vq, AVAIL_IDX), waiting = idx - vq->last_avail, head;
    VirtChain c;
    VirtElem *e;

    if (vq->v->broken || !waiting)
        return NULL;
    if (waiting > vq->size) {
        virtio_error(vq->v, "queue %u: available index jumped by %u", vq->index, waiting);
        return NULL;
    }
    head = avail_u16(vq, AVAIL_RING + 2 * (vq->last_avail % vq->size));
    c.out_n = c.in_n = c.total = 0;
    c.out_len = c.in_len = 0;
    if (!collect(vq, head, &c))
        return NULL;
    e = virt_chain_map(vq, &c, head, 1);
    if (!e)
        return NULL;
    vq->last_avail++;
    if (virtio_has(vq->v, VIRTIO_F_EVENT_IDX) && vq->notify_on)
        used_u16(vq, avail_event_off(vq), vq->last_avail);
    return e;
}

static void split_unpop(VirtQueue *vq, const VirtElem *e)
{
    vq->last_avail--;
}

static void split_fill(VirtQueue *vq, const VirtElem *e, uint32_t written)
{
    uint32_t entry[2] = { htole32(e->id), htole32(written) };
    unsigned slot = (uint16_t)(vq->used_idx + vq->filled) % vq->size;

    used_store(vq, USED_RING + slot * USED_ELEM, entry, sizeof entry);
}

static void split_publish(VirtQueue *vq, unsigned count, unsigned slots)
{
    uint16_t old = vq->used_idx;

    vq->used_idx += count;
    used_u16(vq, USED_IDX, vq->used_idx);
    if ((uint16_t)(vq->used_idx - vq->signalled_used) < (uint16_t)(vq->used_idx - old))
        vq->signalled_valid = false;
}

/* 2.7.7: with EVENT_IDX, interrupt when used_idx passed used_event since the last time. */
static bool split_wants_interrupt(VirtQueue *vq)
{
    uint16_t event, old = vq->signalled_used, now = vq->used_idx;
    bool valid = vq->signalled_valid;

    atomic_thread_fence(memory_order_seq_cst);
    if (!virtio_has(vq->v, VIRTIO_F_EVENT_IDX))
        return !(avail_u16(vq, 0) & AVAIL_NO_INTERRUPT);
    vq->signalled_used = now;
    vq->signalled_valid = true;
    event = avail_u16(vq, used_event_off(vq));
    return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

static void split_set_notification(VirtQueue *vq, bool on)
{
    if (virtio_has(vq->v, VIRTIO_F_EVENT_IDX)) {
        if (on)
            used_u16(vq, avail_event_off(vq), avail_u16(vq, AVAIL_IDX));
    } else {
        used_u16(vq, 0, on ? 0 : USED_NO_NOTIFY);
    }
    if (on)
        atomic_thread_fence(memory_order_seq_cst);
}

const VirtRingOps virt_split_ring = {
    split_empty, split_pop, split_unpop, split_fill, split_publish, split_wants_interrupt, split_set_notification,
};
