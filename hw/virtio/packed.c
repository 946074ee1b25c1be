/* packed: the packed virtqueue, virtio 1.2 section 2.8. */
#include "hw/virtio/virtio_int.h"

#include <stdatomic.h>

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2, EVENT_OFF = 0, EVENT_FLAGS = 2, EVENT_SIZE = 4,
       FLAGS_OFF = 14 };

static bool flags_available(uint16_t flags, bool wrap)
{
    return !!(flags & DESC_AVAIL) == wrap && !!(flags & DESC_USED) != wrap;
}

/* Flags first (acquire), then the rest of the descriptor. */
static bool read_desc(VirtQueue *vq, unsigned i, VirtDesc *d)
{
    const uint8_t *p = virt_map_at(vq, &vq->map_desc, i * DESC_SIZE, DESC_SIZE);

    if (!p)
        return false;
    d->flags = le16toh(__atomic_load_n((const uint16_t *)(const void *)(p + FLAGS_OFF), __ATOMIC_ACQUIRE));
    d->addr = ld64_le(p);
    d->len = ld32_le(p + 8);
    d->next = ld16_le(p + 12);
    return true;
}

static bool packed_empty(VirtQueue *vq)
{
    VirtDesc d;

    return !read_desc(vq, vq->last_avail, &d) || !flags_available(d.flags, vq->avail_wrap);
}

static VirtElem *packed_pop(VirtQueue *vq)
{
    unsigned i = vq->last_avail, n = 0;
    VirtDesc d;
    VirtChain c;
    VirtElem *e;

    if (vq->v->broken || packed_empty(vq))
        return NULL;
    c.out_n = c.in_n = c.total = 0;
    c.out_len = c.in_len = 0;
    do {
        if (n >= vq->size) {
            virtio_error(vq->v, "queue %u: descriptor chain longer than the ring", vq->index);
            return NULL;
        }
        if (!read_desc(vq, i, &d))
            return NULL;
        n++;
        i = i + 1 == vq->size ? 0 : i + 1;
        if (d.flags & DESC_INDIRECT) {
            if (n > 1 || (d.flags & DESC_NEXT)) {
                virtio_error(vq->v, "queue %u: indirect descriptor in a chain", vq->index);
                return NULL;
            }
            if (!virt_chain_indirect(vq, &c, &d, true))
                return NULL;
        } else if (!virt_chain_add(vq, &c, &d)) {
            return NULL;
        }
    } while (d.flags & DESC_NEXT);
    e = virt_chain_map(vq, &c, d.next, n);
    if (!e)
        return NULL;
    vq->last_avail += n;
    if (vq->last_avail >= vq->size) {
        vq->last_avail -= vq->size;
        vq->avail_wrap = !vq->avail_wrap;
    }
    return e;
}

static void packed_unpop(VirtQueue *vq, const VirtElem *e)
{
    if (vq->last_avail < e->ndescs) {
        vq->last_avail += vq->size;
        vq->avail_wrap = !vq->avail_wrap;
    }
    vq->last_avail -= e->ndescs;
}

/* The first element of a batch gets its flags in publish, so the driver sees all or none. */
static void packed_fill(VirtQueue *vq, const VirtElem *e, uint32_t written)
{
    unsigned slot = vq->used_idx + vq->filled_slots;
    bool wrap = vq->used_wrap;
    uint16_t flags;
    uint8_t *p;

    if (slot >= vq->size) {
        slot -= vq->size;
        wrap = !wrap;
    }
    p = virt_map_at(vq, &vq->map_desc, slot * DESC_SIZE, DESC_SIZE);
    if (!p)
        return;
    st32_le(p + 8, written);
    st16_le(p + 12, e->id);
    flags = (wrap ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0);
    if (vq->filled)
        __atomic_store_n((uint16_t *)(void *)(p + FLAGS_OFF), htole16(flags), __ATOMIC_RELEASE);
    virt_map_wrote(&vq->map_desc, slot * DESC_SIZE, DESC_SIZE);
}

static void packed_publish(VirtQueue *vq, unsigned count, unsigned slots)
{
    uint8_t *p = virt_map_at(vq, &vq->map_desc, vq->used_idx * DESC_SIZE, DESC_SIZE);
    uint16_t flags = vq->used_wrap ? DESC_AVAIL | DESC_USED : 0;

    if (!p)
        return;
    if (ld32_le(p + 8))
        flags |= DESC_WRITE;
    __atomic_store_n((uint16_t *)(void *)(p + FLAGS_OFF), htole16(flags), __ATOMIC_RELEASE);
    vq->used_idx += slots;
    if (vq->used_idx >= vq->size) {
        vq->used_idx -= vq->size;
        vq->used_wrap = !vq->used_wrap;
        vq->signalled_valid = false;
    }
}

static bool packed_wants_interrupt(VirtQueue *vq)
{
    const uint8_t *p = virt_map_at(vq, &vq->map_avail, 0, EVENT_SIZE);
    uint16_t off_wrap, flags, off, old = vq->signalled_used;
    bool valid = vq->signalled_valid;
    int event;

    if (!p)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    flags = ld16_le(p + EVENT_FLAGS) & 3;
    off_wrap = ld16_le(p + EVENT_OFF);
    vq->signalled_used = vq->used_idx;
    vq->signalled_valid = true;
    if (flags != EVENT_DESC || !virtio_has(vq->v, VIRTIO_F_EVENT_IDX))
        return flags != EVENT_DISABLE;
    off = off_wrap & 0x7fff;
    event = off - (vq->used_wrap != (off_wrap >> 15) ? vq->size : 0);
    return !valid || (uint16_t)(vq->used_idx - event - 1) < (uint16_t)(vq->used_idx - old);
}

static void packed_set_notification(VirtQueue *vq, bool on)
{
    uint8_t *p = virt_map_at(vq, &vq->map_used, 0, EVENT_SIZE);

    if (!p)
        return;
    st16_le(p + EVENT_OFF, vq->last_avail | vq->avail_wrap << 15);
    st16_le(p + EVENT_FLAGS, on ? (virtio_has(vq->v, VIRTIO_F_EVENT_IDX) ? EVENT_DESC : EVENT_ENABLE) : EVENT_DISABLE);
    virt_map_wrote(&vq->map_used, 0, EVENT_SIZE);
    if (on)
        atomic_thread_fence(memory_order_seq_cst);
}

const VirtRingOps virt_packed_ring = {
    packed_empty, packed_pop, packed_unpop, packed_fill, packed_publish, packed_wants_interrupt, packed_set_notification,
};
