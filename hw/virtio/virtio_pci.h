/*
 * virtio_pci: the PCI transport of virtio: modern (virtio 1.2 section 4.1) and transitional.
 *
 * A device struct embeds VirtioPci first. Layout as QEMU users' guests know it: BAR 0 legacy
 * ports, BAR 1 MSI-X, BAR 4 the modern structures.
 */
#ifndef HW_VIRTIO_VIRTIO_PCI_H
#define HW_VIRTIO_VIRTIO_PCI_H

#include "hw/pci/pci.h"
#include "hw/virtio/virtio.h"

typedef struct VirtioPci {
    PciDevice pci;
    VirtioDevice v;
    Region legacy_io, modern, common, isr_region, device, notify_region;
    uint32_t vectors;           /* property; 0 = no MSI-X, ~0 = the device's default */
    int disable_legacy;         /* property: auto off on */
    bool disable_modern;        /* property */
    bool packed, event_idx, indirect_desc, ioeventfd;   /* properties */
    struct VirtioEvents *events;        /* eventfds into and out of the guest, or NULL */
    uint8_t window_cap;         /* offset of the configuration access capability */
    uint32_t feature_select[2]; /* device, driver */
    uint16_t queue_select;
    uint64_t guest_features;    /* as written so far */
    uint32_t nqueues_saved;     /* state: checked against nqueues */
} VirtioPci;

static inline VirtioPci *virtio_pci_of(VirtioDevice *v) { return container_of(v, VirtioPci, v); }

#define VIRTIO_PCI_PROPS(T) \
    PCI_PROPS(T), \
    { PROP_F_(VirtioPci, vectors, PROP_UINT_, UINT32_MAX, .help = "MSI-X vectors (default: one per queue and one)") }, \
    { .name = "disable-legacy", .kind = PROP_ONOFFAUTO_, .offset = offsetof(VirtioPci, disable_legacy), .size = sizeof(int), \
      .help = "modern interface only" }, \
    { .name = "disable-modern", .kind = PROP_BOOL_, .offset = offsetof(VirtioPci, disable_modern), .size = sizeof(bool), \
      .help = "legacy interface only" }, \
    { PROP_F_(VirtioPci, packed, PROP_BOOL_, 0, .help = "offer packed rings") }, \
    { PROP_F_(VirtioPci, ioeventfd, PROP_BOOL_, 1, .help = "kicks by eventfd where the engine can") }, \
    { PROP_F_(VirtioPci, event_idx, PROP_BOOL_, 1, .help = "offer event indices") }, \
    { PROP_F_(VirtioPci, indirect_desc, PROP_BOOL_, 1, .help = "offer indirect descriptors") }

/* After virtio_init and adding the queues: capabilities, BARs, ids. */
bool virtio_pci_realize(VirtioPci *p, GError **err) MUST_CHECK;
void virtio_pci_unrealize(VirtioPci *p);
void virtio_pci_reset(VirtioPci *p);
extern const StateDesc virtio_pci_state;
#define STATE_VIRTIO_PCI(T, f) STATE_STRUCT(T, f, &virtio_pci_state)

#endif
