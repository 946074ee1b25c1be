/*
 * ide: ATA and ATAPI drives behind a task file; a controller supplies registers, interrupt and DMA.
 *
 * ATA/ATAPI-6 (T13/1410D) and MMC-5. An IdeBus is one channel with up to two drives. The
 * controller forwards task file accesses and, for DMA commands, hands out guest memory through
 * IdeDmaOps. Used by the PIIX (hw/ide/piix.c) and AHCI. Machine lock held.
 */
#ifndef HW_IDE_IDE_H
#define HW_IDE_IDE_H

#include "hw/block/conf.h"
#include "hw/block/mmc.h"
#include "hw/core/device.h"

enum { IDE_SECTOR = 512, IDE_CD_SECTOR = 2048, IDE_BUF = 128 * 1024, IDE_MAX_DMA = 1024 * 1024, IDE_MAX_SG = 1024 };
enum {                          /* status */
    ST_ERR = 0x01, ST_DRQ = 0x08, ST_SEEK = 0x10, ST_DF = 0x20, ST_READY = 0x40, ST_BUSY = 0x80,
};
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40, ER_ICRC = 0x80 };
enum { DEV_LBA = 0x40, DEV_UNIT = 0x10 };
enum { CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };
enum { IDE_REG_DATA, IDE_REG_ERROR, IDE_REG_COUNT, IDE_REG_LBA0, IDE_REG_LBA1, IDE_REG_LBA2, IDE_REG_DEVICE,
       IDE_REG_STATUS };

typedef struct IdeBus IdeBus;
typedef struct IdeDrive IdeDrive;
typedef enum { IDE_HD, IDE_CD } IdeKind;
/* What happens when the PIO buffer is used up; saved as a number. */
typedef enum { XFER_NONE, XFER_DATA_IN, XFER_READ, XFER_WRITE, XFER_PACKET, XFER_PACKET_IN, XFER_PACKET_READ,
               XFER_PACKET_OUT, XFER_COUNT } IdeXfer;
typedef enum { IDE_DMA_NONE, IDE_DMA_READ, IDE_DMA_WRITE, IDE_DMA_TRIM, IDE_DMA_PACKET_READ, IDE_DMA_PACKET_BUF,
               IDE_DMA_COUNT } IdeDmaKind;

typedef struct IdeDmaOps {
    /* A DMA command waits: call ide_dma_run() when memory is ready (may be at once). */
    void (*start)(void *opaque, IdeDrive *d);
    /* Maps up to max bytes of guest memory for the next part; to_device: the drive will read it.
       Appends DmaSpan to spans; returns the bytes mapped, 0: no memory left. */
    uint64_t (*map)(void *opaque, GArray *spans, uint64_t max, bool to_device);
    /* The DMA command ended (good or bad). */
    void (*done)(void *opaque, bool ok);
    void (*reset)(void *opaque);
    /* A drive came (after its realize) or is about to go. Optional. */
    void (*plugged)(void *opaque, IdeDrive *d, bool present);
} IdeDmaOps;

struct IdeBus {
    Bus *bus;
    IdeDrive *drive[2];
    uint8_t unit;               /* selected */
    uint8_t control;            /* device control register */
    bool sata;                  /* one drive, native command queuing (AHCI) */
    IrqLine irq;
    const IdeDmaOps *dma;
    void *dma_opaque;
};

struct IdeDrive {
    Device dev;
    IdeBus *ide;
    BlockDev *drive;            /* property */
    IdeKind kind;
    char *serial, *ver, *model; /* properties */
    uint64_t wwn;
    uint32_t unit;              /* property: 0, 1 or ~0 for the next free */
    uint32_t logical_block_size, physical_block_size;
    BlockConf conf;

    /* state */
    uint8_t feature[2], count[2], lba[3][2];    /* [0] current, [1] previous (HOB) */
    uint8_t select, status, error;
    bool lba48;
    uint8_t multiple;           /* sectors per DRQ of READ/WRITE MULTIPLE */
    uint8_t dma_mode;           /* SET FEATURES transfer mode */
    bool wce, smart_on;
    uint8_t xfer;               /* IdeXfer */
    uint32_t data_pos, data_end;
    uint64_t sector;            /* next one of the command under way */
    uint32_t nsectors;          /* left */
    uint32_t block_sectors;     /* per DRQ block */
    uint8_t dma_kind;           /* IdeDmaKind */
    bool dma_active;
    uint8_t buf[IDE_BUF];
    /* ATAPI */
    uint8_t packet[12];
    uint8_t ncq_log[16];        /* what log page 10h tells of the queued command that failed */
    uint32_t packet_left;       /* bytes the host may still fetch */
    uint32_t pio_taken;         /* bytes of buf it already has */
    uint32_t byte_limit;
    uint32_t cd_sector_size;    /* 2048 or 2352 of the read under way */
    uint8_t sense_key, asc, ascq;
    MmcCd mmc;
    uint8_t cd_changed;         /* a unit attention is due */

    /* caches */
    uint64_t nb_sectors;
    uint16_t cylinders;
    uint8_t heads, sectors;
    GArray *spans;              /* of the DMA part in flight */
    uint64_t dma_bytes;
    struct iovec pio_iov;
    uint32_t generation;        /* bumped by reset: late completions are ignored */
};

/*
 * One queued command (READ and WRITE FPDMA QUEUED). The controller owns it: in use from ide_ncq_start()
 * until done() or a cancelled drive (ide_drive_reset, ide_cancel).
 */
typedef struct IdeNcq {
    uint64_t (*map)(void *opaque, GArray *spans, uint64_t max, bool to_device);     /* as IdeDmaOps.map */
    void (*done)(void *opaque, uint8_t status, uint8_t error);
    void *opaque;
    uint8_t tag;
    /* of the drive */
    IdeDrive *d;
    bool write, fua;
    uint64_t sector, part;
    uint32_t nsectors, generation;
    GArray *spans;
} IdeNcq;

/* Controller side. */
void ide_bus_init(IdeBus *ide, Device *owner, const char *name, IrqLine irq, const IdeDmaOps *dma, void *dma_opaque);
uint8_t ide_read(IdeBus *ide, unsigned reg);            /* command block 1-7 */
void ide_write(IdeBus *ide, unsigned reg, uint8_t val);
uint32_t ide_data_read(IdeBus *ide, unsigned size);     /* 2 or 4 */
void ide_data_write(IdeBus *ide, uint32_t val, unsigned size);
uint8_t ide_alt_status(IdeBus *ide);
void ide_control_write(IdeBus *ide, uint8_t val);
void ide_bus_reset(IdeBus *ide);
void ide_dma_run(IdeDrive *d);                          /* memory is there: go on */
/* The whole task file at once, then the command in it: a Register Host to Device FIS (SATA 2.6, 10.3.4). */
void ide_issue_fis(IdeBus *ide, const uint8_t fis[20]);
/* A PIO part waits for the host: its bytes in d->buf, or NULL. ide_pio_taken() says that they were moved. */
uint8_t *ide_pio_pending(IdeDrive *d, uint32_t *len, bool *to_drive);
void ide_pio_taken(IdeDrive *d);
/* Cancels and waits for what is in flight; the drive is ready for the next command. */
void ide_stop(IdeDrive *d);
void ide_drive_reset(IdeDrive *d);              /* as by SRST; the registers hold the signature */
bool ide_is_ncq(uint8_t command);
/* Starts the queued command of fis; a command that cannot start is reported by done() at once. */
void ide_ncq_start(IdeDrive *d, IdeNcq *q, const uint8_t fis[20]);
extern const StateDesc ide_bus_state;
static inline IdeDrive *ide_selected(IdeBus *ide) { return ide->drive[ide->unit]; }

#endif
