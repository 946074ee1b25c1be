/* ide_int: between the parts of a drive; private to hw/ide/. */
#ifndef HW_IDE_IDE_INT_H
#define HW_IDE_IDE_INT_H

#include "hw/ide/ide.h"

bool ide_bus_attach(Bus *bus, Device *dev, GError **err);
void ide_bus_detach(Bus *bus, Device *dev);
void ide_set_irq(IdeDrive *d);
void ide_abort(IdeDrive *d);                    /* ABRT, command over, interrupt */
void ide_fail(IdeDrive *d, uint8_t error);
void ide_done(IdeDrive *d);                     /* READY, no error, interrupt */
/* Offers buf[0, len) for PIO; `xfer` says what follows when it was moved. */
void ide_pio_start(IdeDrive *d, uint32_t len, IdeXfer xfer);
void ide_pio_stop(IdeDrive *d);
void ide_signature(IdeDrive *d);                /* after reset and diagnostics */
void ide_geometry(IdeDrive *d);

void ata_command(IdeDrive *d, uint8_t cmd);
void ata_identify(IdeDrive *d);                 /* fills buf */
void ata_identify_packet(IdeDrive *d);
void ata_set_features(IdeDrive *d);
void ata_smart(IdeDrive *d);
void ata_read_log(IdeDrive *d);                 /* ncq.c */
void ide_unmap_spans(GArray *spans, bool wrote);
/* rw.c: sector and nsectors are set. */
void ata_read_pio(IdeDrive *d);
void ata_read_pio_next(IdeDrive *d);
void ata_write_pio_block(IdeDrive *d);
void ata_write_pio_start(IdeDrive *d);
void ata_dma_start(IdeDrive *d, IdeDmaKind kind);
void ata_flush(IdeDrive *d);
void ata_verify(IdeDrive *d);
void ide_cancel(IdeDrive *d);                   /* cancels and waits; registers stay */
/* The end of a request: finds the drive again and refuses completions from before a reset. */
typedef struct IdeReq { IdeDrive *d; uint32_t generation; void (*then)(IdeDrive *d, int ret); } IdeReq;
void ide_req_done(void *opaque, int ret);
IdeReq *ide_req(IdeDrive *d, void (*then)(IdeDrive *d, int ret));

void atapi_packet(IdeDrive *d);                 /* packet[] is complete */
void atapi_pio_next(IdeDrive *d);               /* XFER_PACKET_IN / _READ: the host took its part */
void atapi_start(IdeDrive *d);                  /* PACKET command */
void atapi_dma_finish(IdeDrive *d, int ret);
void atapi_ok(IdeDrive *d);
void atapi_error(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq);
/* Sends buf[0, len) cut to what the packet allows. */
void atapi_reply(IdeDrive *d, uint32_t len, uint32_t allowed);
void atapi_read(IdeDrive *d, uint64_t lba, uint64_t count, uint32_t sector_size);
void atapi_media_changed(IdeDrive *d, bool load);

enum { SENSE_NONE = 0, SENSE_NOT_READY = 2, SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5, SENSE_ATTENTION = 6,
       ASC_INVALID_OPCODE = 0x20, ASC_LBA = 0x21, ASC_INVALID_FIELD = 0x24, ASC_CHANGED = 0x28, ASC_READ = 0x11,
       ASC_NO_MEDIUM = 0x3a, ASC_LOCKED = 0x53, ASC_WRONG_MODE = 0x64 };

#endif
