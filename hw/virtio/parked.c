/*
 * parked: requests that were in flight when a state was saved.
 *
 * A stopped machine has none but those that wait for the host to mend an error (werror=stop). The ring alone cannot
 * bring them back: the device has taken them, and a packed ring may have written over their descriptors. So a state
 * holds what the descriptors said, and the loaded device starts them again.
 */
#include "hw/virtio/virtio_int.h"

#include "util/bytes.h"

enum { HEAD = 8, SEG = 12 };

void virtq_track(VirtQueue *vq, VirtElem *e)
{
    if (!vq->v->vc->replay)
        return;
    e->older = vq->flight;
    if (e->older)
        e->older->newer = e;
    vq->flight = e;
}

void virtq_untrack(VirtQueue *vq, VirtElem *e)
{
    if (!vq->v->vc->replay)
        return;
    if (e->newer)
        e->newer->older = e->older;
    else
        vq->flight = e->older;
    if (e->older)
        e->older->newer = e->newer;
}

void virtq_park(VirtQueue *vq)
{
    GByteArray *a;
    VirtElem *e = vq->flight;

    if (!e)
        return;                 /* what was loaded and has not started yet stays */
    a = g_byte_array_new();
    while (e->older)
        e = e->older;
    for (; e; e = e->newer) {
        uint8_t b[HEAD];

        st16_le(b, e->id);
        st16_le(b + 2, e->ndescs);
        st16_le(b + 4, e->seg_out);
        st16_le(b + 6, e->seg_n);
        g_byte_array_append(a, b, HEAD);
        for (unsigned i = 0; i < e->seg_n; i++) {
            uint8_t s[SEG];

            st64_le(s, e->seg[i].addr);
            st32_le(s + 8, e->seg[i].len);
            g_byte_array_append(a, s, SEG);
        }
    }
    g_free(vq->parked);
    vq->parked_len = a->len;
    vq->parked = g_byte_array_free(a, FALSE);
}

/* One saved request; advances *p. NULL: the state does not make sense. */
static VirtElem *take(VirtQueue *vq, const uint8_t **p, const uint8_t *end)
{
    const uint8_t *h = *p;
    unsigned out, n;
    VirtChain c;

    if (end - h < HEAD)
        return NULL;
    out = ld16_le(h + 4);
    n = ld16_le(h + 6);
    if (out > n || (size_t)(end - h - HEAD) < (size_t)n * SEG || vq->in_use >= vq->size || ld16_le(h + 2) > vq->size)
        return NULL;
    c.out_n = c.in_n = c.total = 0;
    c.out_len = c.in_len = 0;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *s = h + HEAD + i * SEG;
        VirtDesc d = { ld64_le(s), ld32_le(s + 8), i >= out ? DESC_WRITE : 0, 0 };

        if (!virt_chain_add(vq, &c, &d))
            return NULL;
    }
    *p = h + HEAD + n * SEG;
    return virt_chain_map(vq, &c, ld16_le(h), ld16_le(h + 2));
}

void virtq_replay(VirtQueue *vq)
{
    g_autofree uint8_t *list = g_steal_pointer(&vq->parked);
    const uint8_t *p = list, *end = list + vq->parked_len;

    vq->parked_len = 0;
    if (!list || !vq->v->vc->replay || !vq->enabled)
        return;
    while (p < end && !vq->v->broken) {
        VirtElem *e = take(vq, &p, end);

        if (!e) {
            virtio_error(vq->v, "queue %u: impossible request in the saved state", vq->index);
            return;
        }
        vq->in_use++;
        virtq_track(vq, e);
        vq->v->vc->replay(vq->v, vq, e);
    }
}
