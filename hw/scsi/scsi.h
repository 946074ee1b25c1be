/*
 * scsi: SCSI devices behind a host adapter: commands in, data and sense out.
 *
 * SAM-5, SPC-4, SBC-3, MMC-5. An adapter makes a ScsiBus; disks sit on it by target and LUN.
 * A ScsiReq belongs to the adapter until its done() is called, exactly once. Machine lock held, or, for disks that
 * scsi_is_fixed() on a bus with a context, the context entered.
 */
#ifndef HW_SCSI_SCSI_H
#define HW_SCSI_SCSI_H

#include "hw/block/conf.h"
#include "hw/block/mmc.h"
#include "hw/core/device.h"

#include <sys/uio.h>

enum { SCSI_CDB_MAX = 32, SCSI_SENSE_LEN = 18, SCSI_REPLY_MAX = 4096, SCSI_TARGETS = 256, SCSI_LUNS = 16384 };
enum { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2, SCSI_BUSY = 8 };

typedef struct ScsiDisk ScsiDisk;
typedef struct ScsiBus {
    Bus *bus;
    unsigned max_target, max_lun;
    void (*changed)(struct ScsiBus *b, ScsiDisk *d, bool added);        /* hot-plug; optional */
    void *opaque;
    const BlockContext *context;        /* where requests of fixed disks run; NULL: with the machine lock */
    ScsiDisk *live;                     /* realized disks, in their order; context */
} ScsiBus;

typedef struct ScsiReq ScsiReq;
struct ScsiReq {
    ScsiDisk *disk;
    uint8_t cdb[SCSI_CDB_MAX];
    unsigned cdb_len;
    const struct iovec *data;   /* where data comes from or goes to; the adapter's */
    unsigned ndata;
    size_t data_len;
    /* result */
    uint8_t status;
    uint8_t sense[SCSI_SENSE_LEN];
    size_t moved;               /* bytes stored into or taken from data */
    void (*done)(ScsiReq *r);
    void *opaque;
    /* internal */
    uint32_t generation;
    struct iovec *iov;
    uint8_t *buf;
    unsigned step;
};

struct ScsiDisk {
    Device dev;
    ScsiBus *scsi;
    BlockDev *drive;            /* properties */
    uint32_t target, lun, channel;
    char *serial, *vendor, *product, *ver, *device_id;
    uint64_t wwn;
    uint32_t logical_block_size, physical_block_size, rotation_rate;
    bool removable, dpofua;
    BlockConf conf;
    bool cd;
    ScsiDisk *next_live;
    /* state */
    MmcCd mmc;
    bool wce;
    uint8_t unit_attention, attention_ascq;     /* ASC of the condition to report; 0: none */
    /* cache */
    uint32_t block;             /* bytes: 2048 for a CD */
    uint64_t blocks;
    uint32_t generation;
};

void scsi_bus_init(ScsiBus *b, Device *owner, const char *name);
/* Machine lock held: keeps requests of the bus's context out; may nest. */
void scsi_enter(ScsiBus *b);
void scsi_leave(ScsiBus *b);
ScsiDisk *scsi_find(ScsiBus *b, unsigned target, unsigned lun);
/* No medium that comes and goes: its requests never need the machine lock. */
static inline bool scsi_is_fixed(const ScsiDisk *d) { return !d->cd && !d->removable; }
/* Starts r; done() may come before this returns. */
void scsi_submit(ScsiReq *r);
/* For LUNs that are not there: INQUIRY, REPORT LUNS and REQUEST SENSE work, the rest fails. */
void scsi_submit_absent(ScsiBus *b, unsigned target, ScsiReq *r);
void scsi_cancel_all(ScsiDisk *d);
/* Length of a CDB by its first byte; 0: reserved group. */
unsigned scsi_cdb_len(uint8_t op);
void scsi_sense(ScsiReq *r, uint8_t key, uint8_t asc, uint8_t ascq);
/* Sends buf[0, len) into r's data, cut to allowed and to what the adapter offers; GOOD; done. */
void scsi_reply(ScsiReq *r, const void *buf, size_t len, size_t allowed);

#endif
