/* virtio_int: the two ring layouts behind virtq_*; private to hw/virtio/. */
#ifndef HW_VIRTIO_VIRTIO_INT_H
#define HW_VIRTIO_VIRTIO_INT_H

#include "hw/virtio/virtio.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15, DESC_SIZE = 16 };

typedef struct VirtDesc {       /* one descriptor, copied */
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;       /* packed: next holds the buffer id */
} VirtDesc;

/* A chain being collected: segments in order, readable first. */
typedef struct VirtChain {
    unsigned out_n, in_n, total;
    VirtSeg seg[VIRTQ_MAX_SIZE];
    size_t out_len, in_len;
} VirtChain;
/* Adds a descriptor; false after virtio_error when it breaks a rule. */
bool virt_chain_add(VirtQueue *vq, VirtChain *c, const VirtDesc *d);
/* Maps a collected chain; NULL after virtio_error when it is not all RAM. */
VirtElem *virt_chain_map(VirtQueue *vq, const VirtChain *c, uint16_t id, uint16_t ndescs);
/* Collects the table of an INDIRECT descriptor. packed: no NEXT flags, order is the chain. */
bool virt_chain_indirect(VirtQueue *vq, VirtChain *c, const VirtDesc *d, bool packed);
void virt_elem_free(VirtElem *e, uint32_t written);

/* What is in flight: kept with the saved state, and started again when the machine runs (parked.c). */
enum { VIRTQ_PARKED_MAX = 16 << 20 };
void virtq_track(VirtQueue *vq, VirtElem *e);
void virtq_untrack(VirtQueue *vq, VirtElem *e);
void virtq_park(VirtQueue *vq);
void virtq_replay(VirtQueue *vq);

/* Host address of [off, off + len) of a mapped ring part, or NULL (and broken). */
uint8_t *virt_map_at(VirtQueue *vq, VirtMap *m, uint32_t off, uint32_t len);
void virt_map_set(VirtMap *m, uint64_t addr, uint32_t len);
void virt_map_drop(VirtMap *m);
/* The driver's view of a store into a ring: dirty tracking. */
void virt_map_wrote(VirtMap *m, uint32_t off, uint32_t len);

typedef struct VirtRingOps {
    bool (*empty)(VirtQueue *vq);
    VirtElem *(*pop)(VirtQueue *vq);
    void (*unpop)(VirtQueue *vq, const VirtElem *e);
    void (*fill)(VirtQueue *vq, const VirtElem *e, uint32_t written);
    void (*publish)(VirtQueue *vq, unsigned count, unsigned slots);
    bool (*wants_interrupt)(VirtQueue *vq);
    void (*set_notification)(VirtQueue *vq, bool on);
} VirtRingOps;
extern const VirtRingOps virt_split_ring, virt_packed_ring;

#endif
