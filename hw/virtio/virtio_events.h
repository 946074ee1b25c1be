/*
 * virtio_events: a device's kicks and interrupts as eventfds, where the engine can (softmmu/irqchip.h).
 *
 * A kick then costs the guest no trip through the vcpu's thread, and an interrupt needs no call into
 * the engine. Everything works the same without. Machine lock.
 */
#ifndef HW_VIRTIO_VIRTIO_EVENTS_H
#define HW_VIRTIO_VIRTIO_EVENTS_H

#include "hw/virtio/virtio_pci.h"

/* NULL when the engine has no such thing. notify: NOTIFY_MULTIPLIER bytes per queue; legacy: the
   queue notify register is notify_off bytes into it. Either region may be unused (no name). */
struct VirtioEvents *virtio_events_new(VirtioPci *p, unsigned multiplier, unsigned notify_off);
void virtio_events_free(struct VirtioEvents *e);
/* MSI-X vector v asks for an interrupt; false: send it the other way. e may be NULL. */
bool virtio_events_interrupt(struct VirtioEvents *e, unsigned v);

#endif
