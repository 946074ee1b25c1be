/* scsi_int: between the bus and the disk; private to hw/scsi/. */
#ifndef HW_SCSI_SCSI_INT_H
#define HW_SCSI_SCSI_INT_H

#include "hw/scsi/scsi.h"
#include "hw/virtio/virtio.h"

enum { KEY_NONE = 0, KEY_NOT_READY = 2, KEY_MEDIUM = 3, KEY_HARDWARE = 4, KEY_ILLEGAL = 5, KEY_ATTENTION = 6, KEY_PROTECT = 7 };

/* A disk can be found by requests from now on; no longer, and none is in flight. */
void scsi_bus_add(ScsiDisk *d);
void scsi_bus_remove(ScsiDisk *d);
void scsi_fail(ScsiReq *r, uint8_t key, uint8_t asc, uint8_t ascq);
void scsi_ok(ScsiReq *r);
void scsi_report_luns(ScsiBus *b, unsigned target, ScsiReq *r);
/* Reads and writes of disk.c's sibling rw.c: block addresses checked there. */
void scsi_rw(ScsiReq *r, bool write, uint64_t lba, uint64_t count, bool fua);
void scsi_flush(ScsiReq *r);
void scsi_unmap(ScsiReq *r);
void scsi_write_same(ScsiReq *r, uint64_t lba, uint64_t count);
bool scsi_illegal_field(ScsiReq *r);    /* fails r; returns false */
/* inquiry.c */
void scsi_inquiry(ScsiReq *r);
void scsi_mode_sense(ScsiReq *r, bool ten);
void scsi_mode_select(ScsiReq *r, bool ten);
#endif
