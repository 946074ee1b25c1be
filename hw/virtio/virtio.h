/*
 * virtio: queues and device model of virtio 1.2, independent of the transport.
 *
 * A device embeds VirtioPci first (hw/virtio/virtio_pci.h), points its VirtioDevice at a const
 * VirtioClass and makes queues in realize. Descriptors are copied once, checked, then used; a
 * broken ring stops the device (NEEDS_RESET) instead of anything else. Machine lock held.
 */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H

#include "hw/core/device.h"

#include <sys/uio.h>

enum { VIRTQ_MAX_SIZE = 1024, VIRTIO_MAX_QUEUES = 64, VIRTIO_CONFIG_MAX = 256, VIRTIO_NO_VECTOR = 0xffff };
enum {                          /* device status, 2.1 */
    VIRTIO_S_ACKNOWLEDGE = 1, VIRTIO_S_DRIVER = 2, VIRTIO_S_DRIVER_OK = 4, VIRTIO_S_FEATURES_OK = 8,
    VIRTIO_S_NEEDS_RESET = 64, VIRTIO_S_FAILED = 128,
};
#define VIRTIO_F_NOTIFY_ON_EMPTY (1ULL << 24)
#define VIRTIO_F_ANY_LAYOUT (1ULL << 27)
#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX (1ULL << 29)
#define VIRTIO_F_VERSION_1 (1ULL << 32)
#define VIRTIO_F_RING_PACKED (1ULL << 34)
#define VIRTIO_F_IN_ORDER (1ULL << 35)
#define VIRTIO_F_RING_RESET (1ULL << 40)

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtQueue VirtQueue;

/* A part of a ring in guest RAM, kept mapped while the memory map stays. */
typedef struct VirtMap {
    uint64_t addr;
    uint32_t len;
    DmaSpan span;
} VirtMap;

struct VirtQueue {
    VirtioDevice *v;
    void (*kick)(VirtioDevice *v, VirtQueue *vq);       /* the driver made buffers available */
    uint16_t index;
    uint16_t max_size;
    uint16_t size;              /* chosen by the driver, frozen while enabled */
    bool enabled;
    uint64_t desc, avail, used; /* packed: ring, driver area, device area */
    uint16_t vector;
    uint16_t last_avail, used_idx, signalled_used;
    bool signalled_valid, notify_on;
    bool avail_wrap, used_wrap; /* packed ring wrap counters */
    uint16_t in_use;            /* elements popped and not pushed */
    uint16_t filled, filled_slots;      /* filled and not published yet */
    VirtMap map_desc, map_avail, map_used;
    struct VirtElem *flight;    /* popped and not pushed, newest first; only with a replay() */
    uint8_t *parked;            /* of a saved state: what was in flight, to be replayed */
    uint32_t parked_len;
};

typedef struct VirtSeg { uint64_t addr; uint32_t len; } VirtSeg;

typedef struct VirtElem {
    uint16_t id;                /* head index, or packed buffer id */
    uint16_t ndescs;            /* packed: ring slots it takes */
    unsigned out_n, in_n;       /* device-readable, device-writable segments */
    struct iovec *out, *in;     /* host memory; inside this allocation */
    DmaSpan *spans;             /* out_n + in_n */
    size_t out_len, in_len;
    void *opaque;               /* the device's */
    struct VirtElem *older, *newer;     /* in flight */
    struct VirtSeg *seg;        /* the driver's addresses, readable first; only with a replay() */
    unsigned seg_n, seg_out;
} VirtElem;

typedef struct VirtioClass {
    uint16_t id;                /* virtio device id, section 5 */
    uint32_t pci_class;
    bool modern_only;
    uint64_t features;          /* bits 0-23 and 50+ the device may offer; ring features come from the core */
    uint16_t config_size;
    void (*get_config)(VirtioDevice *v, uint8_t *config);       /* fill config_size bytes (zeroed before) */
    void (*set_config)(VirtioDevice *v, const uint8_t *config); /* the driver wrote; optional */
    uint64_t (*adjust_features)(VirtioDevice *v, uint64_t offered);     /* by properties; optional */
    void (*features_set)(VirtioDevice *v);                      /* v->features is final; optional */
    void (*status_set)(VirtioDevice *v, uint8_t old);           /* optional */
    void (*reset)(VirtioDevice *v);                             /* cancel what is in flight; optional */
    void (*settle)(VirtioDevice *v);                            /* wait for what is in flight; optional */
    /* A request that was in flight when the state was saved, as if just popped; optional. Without it none may be. */
    void (*replay)(VirtioDevice *v, VirtQueue *vq, VirtElem *e);
    void (*deferred)(VirtioDevice *v);                          /* with the machine lock, after virtio_defer() */
} VirtioClass;

struct VirtioDevice {
    Device *dev;
    const VirtioClass *vc;
    uint64_t host_features, features;   /* offered; accepted */
    uint8_t status, isr;
    uint8_t generation;         /* of the configuration */
    uint16_t config_vector;
    unsigned nqueues;
    VirtQueue queues[VIRTIO_MAX_QUEUES];
    bool broken;
    /* An I/O thread serves the queues; the machine lock holder enters it to touch them. NULL: the machine lock. */
    struct IoThread *iothread;
    struct IoClient *client;
    _Atomic uint64_t kicked;    /* queues */
    uint64_t notify_due;        /* queues whose interrupt waits for the machine lock */
    bool config_due, work_due;
    /* transport */
    void (*notify)(VirtioDevice *v, uint16_t vector);
    bool legacy;                /* the driver uses the transitional interface */
};

/* Realize-time. vc stays valid. Then one virtio_add_queue per queue, in order. */
void virtio_init(VirtioDevice *v, Device *dev, const VirtioClass *vc);
VirtQueue *virtio_add_queue(VirtioDevice *v, uint16_t max_size, void (*kick)(VirtioDevice *, VirtQueue *));
void virtio_cleanup(VirtioDevice *v);
void virtio_reset(VirtioDevice *v);
static inline bool virtio_has(const VirtioDevice *v, uint64_t feature) { return v->features & feature; }
static inline bool virtio_ready(const VirtioDevice *v)
{ return (v->status & VIRTIO_S_DRIVER_OK) && !v->broken; }
/* The device's configuration changed: bumps the generation and interrupts. */
void virtio_config_changed(VirtioDevice *v);
/* The driver broke the rules: log, NEEDS_RESET, stop every queue until reset. */
void virtio_error(VirtioDevice *v, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* In realize, after the queues exist: t runs them from now on. In unrealize: virtio_drop_iothread(). */
void virtio_use_iothread(VirtioDevice *v, struct IoThread *t);
void virtio_drop_iothread(VirtioDevice *v);
void virtio_enter(VirtioDevice *v);             /* nothing without an I/O thread */
void virtio_leave(VirtioDevice *v);
/* Around a saved state: requests in flight go into the queues' parked; those are started again. */
void virtio_park(VirtioDevice *v);
void virtio_replay(VirtioDevice *v);
/* True when the I/O thread runs this without the machine lock. */
bool virtio_on_iothread(const VirtioDevice *v);
/* On the I/O thread: the class's deferred() runs soon, entered and with the machine lock. */
void virtio_defer(VirtioDevice *v);

/* Transport side. */
void virtio_set_status(VirtioDevice *v, uint8_t status);
void virtio_set_features(VirtioDevice *v, uint64_t features);
void virtq_kick(VirtQueue *vq);
/* Takes addresses and size into use; false (and broken) when they cannot be. */
bool virtq_enable(VirtQueue *vq);
void virtq_disable(VirtQueue *vq);
extern const StateDesc virtio_queue_state;

/* Next available buffer chain, mapped; NULL when there is none or the ring is broken. Ends with
   virtq_push (or virtq_detach when nothing shall be returned to the driver). */
VirtElem *virtq_pop(VirtQueue *vq);
/* Returns elem with `written` bytes stored into its in segments, frees it. No interrupt yet. */
void virtq_push(VirtQueue *vq, VirtElem *elem, uint32_t written);
/* Several elements that the driver must see at once (mergeable receive buffers): fill each, then publish. */
void virtq_fill(VirtQueue *vq, VirtElem *elem, uint32_t written);
void virtq_publish(VirtQueue *vq);
/* Gives elem back unused: the next pop returns it again. Last popped only. */
void virtq_unpop(VirtQueue *vq, VirtElem *elem);
void virtq_detach(VirtQueue *vq, VirtElem *elem);
/* Interrupts the driver if it wants that. */
void virtq_notify(VirtQueue *vq);
bool virtq_empty(VirtQueue *vq);
/* Asks the driver to kick or not; after switching on, look at virtq_empty() once more. */
void virtq_set_notification(VirtQueue *vq, bool on);

size_t iov_len(const struct iovec *iov, unsigned n);
size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t off, const void *buf, size_t len);
size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t off, void *buf, size_t len);

#endif
