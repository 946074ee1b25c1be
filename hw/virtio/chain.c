/* chain: descriptor chains: collecting, checking, mapping. */
#include "hw/virtio/virtio_int.h"

#include <string.h>

bool virt_chain_add(VirtQueue *vq, VirtChain *c, const VirtDesc *d)
{
    bool write = d->flags & DESC_WRITE;

    if (c->total >= VIRTQ_MAX_SIZE) {
        virtio_error(vq->v, "descriptor chain longer than %d", VIRTQ_MAX_SIZE);
        return false;
    }
    if (!d->len) {
        virtio_error(vq->v, "descriptor of length zero");
        return false;
    }
    if (!write && c->in_n) {
        virtio_error(vq->v, "readable descriptor after a writable one");
        return false;
    }
    c->seg[c->total].addr = d->addr;
    c->seg[c->total].len = d->len;
    c->total++;
    if (write) {
        c->in_n++;
        c->in_len += d->len;
    } else {
        c->out_n++;
        c->out_len += d->len;
    }
    return true;
}

bool virt_chain_indirect(VirtQueue *vq, VirtChain *c, const VirtDesc *d, bool packed)
{
    unsigned n = d->len / DESC_SIZE, i = 0, steps = 0;
    AddressSpace *as = device_mem(vq->v->dev);

    if (!d->len || d->len % DESC_SIZE || n > VIRTQ_MAX_SIZE) {
        virtio_error(vq->v, "indirect table of %u bytes", d->len);
        return false;
    }
    for (;;) {
        uint8_t b[DESC_SIZE];
        VirtDesc x;

        if (!dma_read(as, d->addr + i * DESC_SIZE, b, sizeof b)) {
            virtio_error(vq->v, "indirect table outside RAM");
            return false;
        }
        x = (VirtDesc) { ld64_le(b), ld32_le(b + 8), packed ? ld16_le(b + 14) : ld16_le(b + 12), ld16_le(b + 14) };
        if (x.flags & DESC_INDIRECT) {
            virtio_error(vq->v, "indirect descriptor inside an indirect table");
            return false;
        }
        if (!virt_chain_add(vq, c, &x))
            return false;
        steps++;
        if (packed ? steps == n : !(x.flags & DESC_NEXT))
            return true;
        i = packed ? steps : x.next;
        if (i >= n || steps >= n) {
            virtio_error(vq->v, "indirect chain leaves its table or loops");
            return false;
        }
    }
}

/* Maps one segment, which may fall apart at RAM block borders. */
static bool map_segment(VirtQueue *vq, uint64_t addr, uint32_t len, bool write, GArray *iov, GArray *spans)
{
    while (len) {
        DmaSpan s = dma_map(device_mem(vq->v->dev), addr, len, write);
        struct iovec v = { s.host, s.len };

        if (!s.host || !s.len) {
            virtio_error(vq->v, "descriptor points outside RAM (%#" G_GINT64_MODIFIER "x)", addr);
            return false;
        }
        g_array_append_val(iov, v);
        g_array_append_val(spans, s);
        addr += s.len;
        len -= s.len;
    }
    return true;
}

VirtElem *virt_chain_map(VirtQueue *vq, const VirtChain *c, uint16_t id, uint16_t ndescs)
{
    GArray *iov = g_array_sized_new(FALSE, FALSE, sizeof(struct iovec), c->total);
    GArray *spans = g_array_sized_new(FALSE, FALSE, sizeof(DmaSpan), c->total);
    VirtElem *e = g_new0(VirtElem, 1);
    bool ok = true;

    for (unsigned i = 0; i < c->total && ok; i++) {
        ok = map_segment(vq, c->seg[i].addr, c->seg[i].len, i >= c->out_n, iov, spans);
        if (i + 1 == c->out_n)
            e->out_n = iov->len;
    }
    e->in_n = iov->len - e->out_n;
    e->out = (struct iovec *)(void *)g_array_free(iov, FALSE);
    e->spans = (DmaSpan *)(void *)g_array_free(spans, FALSE);
    e->in = e->out + e->out_n;
    e->id = id;
    e->ndescs = ndescs;
    e->out_len = c->out_len;
    e->in_len = c->in_len;
    if (vq->v->vc->replay) {
        e->seg = g_memdup2(c->seg, c->total * sizeof c->seg[0]);
        e->seg_n = c->total;
        e->seg_out = c->out_n;
    }
    if (!ok) {
        virt_elem_free(e, 0);
        return NULL;
    }
    return e;
}

void virt_elem_free(VirtElem *e, uint32_t written)
{
    for (unsigned i = 0; i < e->out_n + e->in_n; i++) {
        uint64_t done = i < e->out_n ? 0 : MIN(written, e->spans[i].len);

        dma_unmap(&e->spans[i], done);
        if (i >= e->out_n)
            written -= done;
    }
    g_free(e->out);
    g_free(e->spans);
    g_free(e->seg);
    g_free(e);
}

void virt_map_set(VirtMap *m, uint64_t addr, uint32_t len)
{
    virt_map_drop(m);
    m->addr = addr;
    m->len = len;
}

void virt_map_drop(VirtMap *m)
{
    if (m->span.host)
        dma_unmap(&m->span, 0);
    memset(&m->span, 0, sizeof m->span);
}

uint8_t *virt_map_at(VirtQueue *vq, VirtMap *m, uint32_t off, uint32_t len)
{
    AddressSpace *as = device_mem(vq->v->dev);

    if (m->span.host && m->span.view != as->view)
        virt_map_drop(m);
    if (!m->span.host)
        m->span = dma_map(as, m->addr, m->len, true);
    if (!m->span.host || m->span.len < m->len || !range_ok(off, len, m->len)) {
        virtio_error(vq->v, "queue %u lies outside RAM", vq->index);
        return NULL;
    }
    return (uint8_t *)m->span.host + off;
}

void virt_map_wrote(VirtMap *m, uint32_t off, uint32_t len)
{
    if (!ram_page_plain(m->span.ram, m->span.ram_offset + off))
        ram_mark_written(m->span.ram, m->span.ram_offset + off, len);
}
