/* virtio_pci: configuration structures, legacy ports, interrupts and state of the PCI transport. */
#include "hw/virtio/virtio_pci.h"

#include "hw/virtio/virtio_events.h"

#include <string.h>

enum { PCI_ID_MODERN = 0x1040, PCI_ID_LEGACY = 0x1000, CAP_VENDOR = 9, CFG_SUBSYSTEM_ID = 0x2e, CFG_DEVICE_ID = 2,
       CFG_REVISION = 8 };
enum { VCAP_COMMON = 1, VCAP_NOTIFY, VCAP_ISR, VCAP_DEVICE, VCAP_WINDOW, WINDOW_BAR = 4, WINDOW_OFFSET = 8,
       WINDOW_LENGTH = 12, WINDOW_DATA = 16, WINDOW_LEN = 20 };
enum { BAR_LEGACY = 0, BAR_MSIX = 1, BAR_MODERN = 4, MODERN_SIZE = 0x4000, PART = 0x1000, NOTIFY_MULTIPLIER = 4 };
enum {                          /* common configuration, 4.1.4.3 */
    C_DFSELECT = 0x00, C_DF = 0x04, C_GFSELECT = 0x08, C_GF = 0x0c, C_MSIX = 0x10, C_NUMQ = 0x12, C_STATUS = 0x14,
    C_GENERATION = 0x15, C_QSELECT = 0x16, C_QSIZE = 0x18, C_QVECTOR = 0x1a, C_QENABLE = 0x1c, C_QNOFF = 0x1e,
    C_QDESC = 0x20, C_QAVAIL = 0x28, C_QUSED = 0x30, C_QNOTIFDATA = 0x38, C_QRESET = 0x3a,
};
enum {                          /* legacy ports, 4.1.4.8 */
    L_HOST_FEATURES = 0, L_GUEST_FEATURES = 4, L_QUEUE_PFN = 8, L_QUEUE_NUM = 12, L_QUEUE_SEL = 14, L_QUEUE_NOTIFY = 16,
    L_STATUS = 18, L_ISR = 19, L_CONFIG_VECTOR = 20, L_QUEUE_VECTOR = 22, L_CONFIG = 20, L_CONFIG_MSIX = 24,
    L_ALIGN = 4096,
};

static void transport_notify(VirtioDevice *v, uint16_t vector)
{
    VirtioPci *p = virtio_pci_of(v);

    if (!pci_msix_enabled(&p->pci))
        pci_set_intx(&p->pci, v->isr & 1);
    else if (vector != VIRTIO_NO_VECTOR && !virtio_events_interrupt(p->events, vector))
        pci_msix_notify(&p->pci, vector);
}

static uint8_t read_isr(VirtioPci *p)
{
    uint8_t isr = p->v.isr;

    p->v.isr = 0;
    pci_set_intx(&p->pci, 0);
    return isr;
}

static VirtQueue *selected(VirtioPci *p)
{
    return p->queue_select < p->v.nqueues ? &p->v.queues[p->queue_select] : NULL;
}

static uint16_t valid_vector(VirtioPci *p, uint16_t vector)
{
    return vector < p->pci.msix_vectors ? vector : VIRTIO_NO_VECTOR;
}

static uint64_t queue_field(const VirtQueue *vq, unsigned off)
{
    switch (off) {
    case C_QSIZE: return vq->size;
    case C_QVECTOR: return vq->vector;
    case C_QENABLE: return vq->enabled;
    case C_QNOFF: return vq->index;
    case C_QDESC: return (uint32_t)vq->desc;
    case C_QDESC + 4: return vq->desc >> 32;
    case C_QAVAIL: return (uint32_t)vq->avail;
    case C_QAVAIL + 4: return vq->avail >> 32;
    case C_QUSED: return (uint32_t)vq->used;
    case C_QUSED + 4: return vq->used >> 32;
    case C_QNOTIFDATA: return vq->index;
    default: return 0;
    }
}

static uint64_t common_read(void *opaque, uint64_t off, unsigned size)
{
    VirtioPci *p = opaque;
    const VirtQueue *vq = selected(p);

    switch (off) {
    case C_DFSELECT: return p->feature_select[0];
    case C_DF: return p->feature_select[0] < 2 ? (uint32_t)(p->v.host_features >> (32 * p->feature_select[0])) : 0;
    case C_GFSELECT: return p->feature_select[1];
    case C_GF: return p->feature_select[1] < 2 ? (uint32_t)(p->guest_features >> (32 * p->feature_select[1])) : 0;
    case C_MSIX: return p->v.config_vector;
    case C_NUMQ: return p->v.nqueues;
    case C_STATUS: return p->v.status;
    case C_GENERATION: return p->v.generation;
    case C_QSELECT: return p->queue_select;
    default: return vq ? queue_field(vq, off) : 0;
    }
}

static uint64_t with_half(uint64_t old, bool high, uint32_t v)
{
    return high ? (uint32_t)old | (uint64_t)v << 32 : (old & ~0xffffffffULL) | v;
}

/* Queue registers are frozen while the queue is enabled. */
static void queue_write(VirtioPci *p, VirtQueue *vq, unsigned off, uint32_t val)
{
    if (off == C_QVECTOR) {
        vq->vector = valid_vector(p, val);
        return;
    }
    if (vq->enabled) {
        log_guest("%s: queue %u register %#x written while enabled", p->pci.dev.cls->name, vq->index, off);
        return;
    }
    switch (off) {
    case C_QSIZE: vq->size = val <= vq->max_size ? val : 0; break;     /* 0: enabling it fails, saving it does not */
    case C_QENABLE:
        if (val == 1)
            virtq_enable(vq);
        break;
    case C_QDESC: case C_QDESC + 4: vq->desc = with_half(vq->desc, off & 4, val); break;
    case C_QAVAIL: case C_QAVAIL + 4: vq->avail = with_half(vq->avail, off & 4, val); break;
    case C_QUSED: case C_QUSED + 4: vq->used = with_half(vq->used, off & 4, val); break;
    }
}

static void common_write_entered(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    VirtioPci *p = opaque;
    VirtQueue *vq = selected(p);

    switch (off) {
    case C_DFSELECT: p->feature_select[0] = val; break;
    case C_GFSELECT: p->feature_select[1] = val; break;
    case C_GF:
        if (p->feature_select[1] < 2 && !(p->v.status & VIRTIO_S_FEATURES_OK)) {
            p->guest_features = with_half(p->guest_features, p->feature_select[1], val);
            virtio_set_features(&p->v, p->guest_features);
        }
        break;
    case C_MSIX: p->v.config_vector = valid_vector(p, val); break;
    case C_STATUS:
        if (!(uint8_t)val)
            p->guest_features = 0;
        virtio_set_status(&p->v, val);
        break;
    case C_QSELECT: p->queue_select = val; break;
    default:
        if (vq)
            queue_write(p, vq, off, val);
    }
}

static void common_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    virtio_enter(&((VirtioPci *)opaque)->v);
    common_write_entered(opaque, off, val, size);
    virtio_leave(&((VirtioPci *)opaque)->v);
}

static uint64_t isr_read(void *opaque, uint64_t off, unsigned size)
{
    return read_isr(opaque);
}

static void ignore_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
}

static uint64_t config_bytes_read(VirtioPci *p, uint64_t off, unsigned size)
{
    uint8_t cfg[VIRTIO_CONFIG_MAX + 8] = { 0 };

    if (off >= VIRTIO_CONFIG_MAX)
        return UINT64_MAX;
    p->v.vc->get_config(&p->v, cfg);
    memset(cfg + p->v.vc->config_size, 0, sizeof cfg - p->v.vc->config_size);
    return ld64_le(cfg + off) & (size == 8 ? UINT64_MAX : (1ULL << size * 8) - 1);
}

static void config_bytes_write(VirtioPci *p, uint64_t off, uint64_t val, unsigned size)
{
    uint8_t cfg[VIRTIO_CONFIG_MAX] = { 0 }, bytes[8];

    if (!p->v.vc->set_config || !range_ok(off, size, p->v.vc->config_size))
        return;
    p->v.vc->get_config(&p->v, cfg);
    st64_le(bytes, val);
    memcpy(cfg + off, bytes, size);
    p->v.vc->set_config(&p->v, cfg);
}

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    return config_bytes_read(opaque, off, size);
}

static void device_write_entered(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    config_bytes_write(opaque, off, val, size);
}

static void device_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    virtio_enter(&((VirtioPci *)opaque)->v);
    device_write_entered(opaque, off, val, size);
    virtio_leave(&((VirtioPci *)opaque)->v);
}

static uint64_t notify_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    VirtioPci *p = opaque;
    unsigned n = off / NOTIFY_MULTIPLIER;

    if (n < p->v.nqueues && n < VIRTIO_MAX_QUEUES)
        virtq_kick(&p->v.queues[n]);
}

static const IoOps common_ops = { common_read, common_write, .min = 1, .max = 4 };
static const IoOps isr_ops = { isr_read, ignore_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };
static const IoOps device_ops = { device_read, device_write, .min = 1, .max = 8, .unaligned = true };
static const IoOps notify_ops = { notify_read, notify_write, .min = 1, .max = 4 };
/* With an I/O thread a kick is a word and a wake-up: no lock at all. */
static const IoOps notify_ops_lockless = { notify_read, notify_write, .min = 1, .max = 4, .lockless = true };

/*
 * The configuration access capability (4.1.4.9): for drivers that cannot reach memory BARs, four bytes of
 * configuration space stand for a register of the modern structures. iPXE insists on finding it.
 */
static void window_access(PciDevice *pd, unsigned off, unsigned len, bool write)
{
    static const IoOps *const parts[] = { &common_ops, &isr_ops, &device_ops, &notify_ops };
    VirtioPci *p = container_of(pd, VirtioPci, pci);
    uint8_t *c = pd->config + p->window_cap, *data = c + WINDOW_DATA;
    uint32_t at = ld32_le(c + WINDOW_OFFSET), size = ld32_le(c + WINDOW_LENGTH);

    if (off >= p->window_cap + WINDOW_LEN || off + len <= p->window_cap + WINDOW_DATA || c[WINDOW_BAR] != BAR_MODERN ||
        (size != 1 && size != 2 && size != 4) || at % size || at >= MODERN_SIZE)
        return;
    if (write)
        parts[at / PART]->write(p, at % PART, ld32_le(data) & (UINT32_MAX >> (32 - 8 * size)), size);
    else
        st32_le(data, parts[at / PART]->read(p, at % PART, size));
}

static bool add_window(VirtioPci *p)
{
    uint8_t cap = pci_add_capability(&p->pci, CAP_VENDOR, WINDOW_LEN), *w = p->pci.wmask + cap;

    if (!cap)
        return false;
    p->pci.config[cap + 2] = WINDOW_LEN;
    p->pci.config[cap + 3] = VCAP_WINDOW;
    w[WINDOW_BAR] = 0xff;
    memset(w + WINDOW_OFFSET, 0xff, WINDOW_LEN - WINDOW_OFFSET);
    p->window_cap = cap;
    p->pci.config_window = window_access;
    return true;
}

/* Legacy: one page number places the whole split ring, aligned to 4 KiB. */
static void legacy_set_pfn(VirtioPci *p, VirtQueue *vq, uint32_t pfn)
{
    uint64_t avail_end;

    if (!pfn) {
        virtio_reset(&p->v);
        return;
    }
    virtq_disable(vq);
    vq->desc = (uint64_t)pfn * L_ALIGN;
    vq->avail = vq->desc + 16 * (uint64_t)vq->size;
    avail_end = vq->avail + 4 + 2 * (uint64_t)vq->size + 2;
    vq->used = (avail_end + L_ALIGN - 1) & ~(uint64_t)(L_ALIGN - 1);
    virtq_enable(vq);
}

static unsigned legacy_config_off(VirtioPci *p)
{
    return pci_msix_enabled(&p->pci) ? L_CONFIG_MSIX : L_CONFIG;
}

static uint64_t legacy_read(void *opaque, uint64_t off, unsigned size)
{
    VirtioPci *p = opaque;
    const VirtQueue *vq = selected(p);

    if (off >= legacy_config_off(p))
        return config_bytes_read(p, off - legacy_config_off(p), size);
    switch (off) {
    case L_HOST_FEATURES: return (uint32_t)p->v.host_features;
    case L_GUEST_FEATURES: return (uint32_t)p->v.features;
    case L_QUEUE_PFN: return vq ? vq->desc / L_ALIGN : 0;
    case L_QUEUE_NUM: return vq ? vq->max_size : 0;
    case L_QUEUE_SEL: return p->queue_select;
    case L_STATUS: return p->v.status;
    case L_ISR: return read_isr(p);
    case L_CONFIG_VECTOR: return p->v.config_vector;
    case L_QUEUE_VECTOR: return vq ? vq->vector : VIRTIO_NO_VECTOR;
    default: return UINT64_MAX;
    }
}

static void legacy_write_entered(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    VirtioPci *p = opaque;
    VirtQueue *vq = selected(p);

    p->v.legacy = true;
    if (off >= legacy_config_off(p)) {
        config_bytes_write(p, off - legacy_config_off(p), val, size);
        return;
    }
    switch (off) {
    case L_GUEST_FEATURES: virtio_set_features(&p->v, (uint32_t)val); break;
    case L_QUEUE_PFN:
        if (vq)
            legacy_set_pfn(p, vq, val);
        break;
    case L_QUEUE_SEL: p->queue_select = val; break;
    case L_QUEUE_NOTIFY:
        if (val < p->v.nqueues)
            virtq_kick(&p->v.queues[val]);
        break;
    case L_STATUS: virtio_set_status(&p->v, val); p->v.legacy = true; break;
    case L_CONFIG_VECTOR: p->v.config_vector = valid_vector(p, val); break;
    case L_QUEUE_VECTOR:
        if (vq)
            vq->vector = valid_vector(p, val);
        break;
    }
}

static void legacy_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    virtio_enter(&((VirtioPci *)opaque)->v);
    legacy_write_entered(opaque, off, val, size);
    virtio_leave(&((VirtioPci *)opaque)->v);
}

static const IoOps legacy_ops = { legacy_read, legacy_write, .min = 1, .max = 4, .unaligned = true };

/* One virtio_pci_cap: type, bar, offset and length of a structure (4.1.4). */
static uint8_t add_vcap(VirtioPci *p, uint8_t type, uint32_t off, uint32_t len, uint8_t cap_len)
{
    uint8_t cap = pci_add_capability(&p->pci, CAP_VENDOR, cap_len);
    uint8_t *c = p->pci.config + cap;

    if (!cap)
        return 0;
    c[2] = cap_len;
    c[3] = type;
    c[4] = BAR_MODERN;
    st32_le(c + 8, off);
    st32_le(c + 12, len);
    return cap;
}

static bool add_modern(VirtioPci *p, GError **err)
{
    Device *d = &p->pci.dev;
    uint8_t cap;

    device_init_container(d, &p->modern, "virtio-modern", MODERN_SIZE);
    device_init_io(d, &p->common, "virtio-common", &common_ops, PART);
    device_init_io(d, &p->isr_region, "virtio-isr", &isr_ops, PART);
    device_init_io(d, &p->device, "virtio-device", &device_ops, PART);
    device_init_io(d, &p->notify_region, "virtio-notify", p->v.client ? &notify_ops_lockless : &notify_ops, PART);
    if (p->v.client)
        p->notify_region.busy = NULL;   /* the guard belongs to the machine lock; a kick re-enters nothing */
    region_add(&p->modern, &p->common, 0, 0);
    region_add(&p->modern, &p->isr_region, PART, 0);
    region_add(&p->modern, &p->device, 2 * PART, 0);
    region_add(&p->modern, &p->notify_region, 3 * PART, 0);
    pci_bar(&p->pci, BAR_MODERN, PCI_BAR_MEM64_PREF, &p->modern);
    cap = add_vcap(p, VCAP_COMMON, 0, PART, 16);
    cap = cap && add_vcap(p, VCAP_ISR, PART, PART, 16);
    cap = cap && add_vcap(p, VCAP_DEVICE, 2 * PART, PART, 16);
    if (cap && (cap = add_vcap(p, VCAP_NOTIFY, 3 * PART, PART, 20)))
        st32_le(p->pci.config + cap + 16, NOTIFY_MULTIPLIER);
    cap = cap && add_window(p);
    return cap || err_set(err, "%s: no room for the virtio capabilities", d->cls->name);
}

static void set_ids(VirtioPci *p, bool modern_only)
{
    static const uint16_t legacy_ids[] = { [1] = 0x1000, [2] = 0x1001, [3] = 0x1003, [4] = 0x1005, [5] = 0x1002, [8] = 0x1004, [9] = 0x1009 };
    uint16_t id = p->v.vc->id;
    uint8_t *c = p->pci.config;

    if (modern_only || id >= ARRAY_LEN(legacy_ids) || !legacy_ids[id]) {
        st16_le(c + CFG_DEVICE_ID, PCI_ID_MODERN + id);
        st16_le(c + CFG_SUBSYSTEM_ID, 0x1100);
        c[CFG_REVISION] = 1;
    } else {
        st16_le(c + CFG_DEVICE_ID, legacy_ids[id]);
        st16_le(c + CFG_SUBSYSTEM_ID, id);
        c[CFG_REVISION] = 0;
    }
    pci_rom_set_ids(&p->pci);
}

static unsigned pow2_at_least(unsigned n)
{
    return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    VirtioPci *p = opaque;

    if (ev == EVENT_RESUME)
        virtio_replay(&p->v);
}

bool virtio_pci_realize(VirtioPci *p, GError **err)
{
    VirtioDevice *v = &p->v;
    bool modern_only = v->vc->modern_only || p->disable_legacy == ONOFFAUTO_ON;
    unsigned vectors = p->vectors == UINT32_MAX ? v->nqueues + 1 : p->vectors;

    if (modern_only && p->disable_modern)
        return err_set(err, "%s: disable-modern=on leaves no interface", p->pci.dev.cls->name);
    v->notify = transport_notify;
    v->host_features = v->vc->features | VIRTIO_F_ANY_LAYOUT | (p->event_idx ? VIRTIO_F_EVENT_IDX : 0) |
                       (p->indirect_desc ? VIRTIO_F_INDIRECT_DESC : 0) |
                       (p->disable_modern ? 0 : VIRTIO_F_VERSION_1 | (p->packed ? VIRTIO_F_RING_PACKED : 0));
    if (v->vc->adjust_features)
        v->host_features = v->vc->adjust_features(v, v->host_features);
    set_ids(p, modern_only);
    if (vectors && !pci_msix_init(&p->pci, MIN(vectors, 2048), BAR_MSIX, NULL, 0, 0, err))
        return false;
    if (!p->disable_modern && !add_modern(p, err))
        return false;
    if (!modern_only) {
        device_init_io(&p->pci.dev, &p->legacy_io, "virtio-legacy", &legacy_ops,
                       pow2_at_least(L_CONFIG_MSIX + v->vc->config_size));
        pci_bar(&p->pci, BAR_LEGACY, PCI_BAR_IO, &p->legacy_io);
    }
    for (unsigned i = 0; i < v->nqueues; i++)
        v->queues[i].avail_wrap = v->queues[i].used_wrap = true;
    if (p->ioeventfd)
        p->events = virtio_events_new(p, NOTIFY_MULTIPLIER, L_QUEUE_NOTIFY);
    machine_listen(p->pci.dev.machine, machine_event, p);
    return true;
}

void virtio_pci_unrealize(VirtioPci *p)
{
    machine_unlisten(p->pci.dev.machine, machine_event, p);
    virtio_events_free(g_steal_pointer(&p->events));
    virtio_enter(&p->v);
    virtio_cleanup(&p->v);
    virtio_leave(&p->v);
}

void virtio_pci_reset(VirtioPci *p)
{
    virtio_enter(&p->v);
    virtio_reset(&p->v);
    virtio_leave(&p->v);
    p->feature_select[0] = p->feature_select[1] = 0;
    p->queue_select = 0;
    p->guest_features = 0;
}

static void state_saving(void *opaque)
{
    VirtioPci *p = opaque;

    p->nqueues_saved = p->v.nqueues;
    virtio_park(&p->v);
}

static bool state_loaded(void *opaque, GError **err)
{
    VirtioPci *p = opaque;

    if (p->nqueues_saved != p->v.nqueues)
        return err_set(err, "%s: state of %u queues, the device has %u", p->pci.dev.cls->name, p->nqueues_saved,
                       p->v.nqueues);
    p->v.features &= p->v.host_features;
    for (unsigned i = 0; i < p->v.nqueues; i++) {
        VirtQueue *vq = &p->v.queues[i];
        bool enabled = vq->enabled, on = vq->notify_on;
        uint16_t max = virtio_has(&p->v, VIRTIO_F_RING_PACKED) ? vq->size : UINT16_MAX;

        vq->in_use = vq->filled = vq->filled_slots = 0;
        if (max != UINT16_MAX && (vq->last_avail >= MAX(max, 1) || vq->used_idx >= MAX(max, 1)))
            return err_set(err, "%s: queue %u index beyond the ring", p->pci.dev.cls->name, i);
        vq->enabled = false;
        if (enabled && !virtq_enable(vq))
            return err_set(err, "%s: queue %u cannot be where the state says", p->pci.dev.cls->name, i);
        vq->notify_on = on;
    }
    return true;
}

static const StateDesc vdev_state = {
    .name = "virtio", .version = 1,
    .fields = (const StateField[]) {
        STATE_U64(VirtioDevice, features), STATE_U8(VirtioDevice, status), STATE_U8(VirtioDevice, isr),
        STATE_U8(VirtioDevice, generation), STATE_U16(VirtioDevice, config_vector), STATE_B(VirtioDevice, broken),
        STATE_B(VirtioDevice, legacy),
        STATE_STRUCTS(VirtioDevice, queues, &virtio_queue_state), STATE_END },
};

const StateDesc virtio_pci_state = {
    .name = "virtio-pci", .version = 1, .saving = state_saving, .loaded = state_loaded,
    .fields = (const StateField[]) {
        STATE_PCI(VirtioPci, pci), STATE_STRUCT(VirtioPci, v, &vdev_state), STATE_U32(VirtioPci, nqueues_saved),
        STATE_UARRAY(VirtioPci, feature_select), STATE_U16(VirtioPci, queue_select), STATE_U64(VirtioPci, guest_features),
        STATE_END },
};
