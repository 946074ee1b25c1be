/*
 * i8237: the two ISA DMA controllers, as devices with a DMA channel use them.
 *
 * A device pulls: when it has data it asks how much the guest programmed and moves that. Channel
 * counts are in bytes for channels 0-3 and 5-7 alike.
 */
#ifndef HW_ISA_I8237_H
#define HW_ISA_I8237_H

#include "hw/isa/isa.h"

typedef enum { ISA_DMA_VERIFY, ISA_DMA_TO_MEMORY, ISA_DMA_FROM_MEMORY } IsaDmaKind;

/* Is channel ch enabled and unmasked? Then *left is the bytes to go and *kind the direction. */
bool isa_dma_ready(IsaDma *dma, unsigned ch, uint32_t *left, IsaDmaKind *kind);
/* Moves at most len bytes; returns what was moved. *tc: terminal count was reached. */
uint32_t isa_dma_to_memory(IsaDma *dma, unsigned ch, const void *buf, uint32_t len, bool *tc);
uint32_t isa_dma_from_memory(IsaDma *dma, unsigned ch, void *buf, uint32_t len, bool *tc);
/* Whoever waits for a channel hears when the guest unmasks or programs it. */
void isa_dma_listen(IsaDma *dma, unsigned ch, void (*fn)(void *opaque), void *opaque);

#endif
