/* fdc_int: the floppy controller and its drives; private to hw/block/fdc*.c and floppy.c. */
#ifndef HW_BLOCK_FDC_INT_H
#define HW_BLOCK_FDC_INT_H

#include "hw/block/conf.h"
#include "hw/block/fdc.h"
#include "hw/isa/i8237.h"
#include "hw/isa/isa.h"

enum { FD_SECTOR = 512, FDC_DRIVES = 2, FDC_PARAMS = 16 };
typedef enum { FDC_IDLE, FDC_COMMAND, FDC_EXECUTE, FDC_RESULT, FDC_PHASES } FdcPhase;
typedef enum { FDC_X_NONE, FDC_X_READ, FDC_X_WRITE, FDC_X_VERIFY, FDC_X_FORMAT, FDC_X_KINDS } FdcTransfer;
typedef enum { FD_TYPE_120, FD_TYPE_144, FD_TYPE_288, FD_TYPE_NONE, FD_TYPE_AUTO } FdType;

typedef struct Fdc Fdc;
typedef struct FloppyDrive {
    Device dev;
    Fdc *fdc;
    BlockDev *drive;            /* properties */
    uint32_t unit, logical_block_size, physical_block_size;
    int type_wanted;
    BlockConf conf;
    uint8_t track, head;        /* state: where the arm is */
    bool changed;               /* disk change line */
    /* caches: of the medium */
    FdType type;
    uint8_t spt, tracks, heads, rate;
} FloppyDrive;

struct Fdc {
    Device dev;
    Bus *bus;
    FloppyDrive *drive[FDC_DRIVES];
    Region low, high;
    IrqLine irq;
    uint32_t iobase, irq_no, dma_no;    /* properties */
    int fallback;
    bool check_media_rate;
    uint8_t dor, tdr, dsr;      /* state: registers; dsr holds the data rate too */
    uint8_t phase;              /* FdcPhase */
    uint8_t fifo[FDC_PARAMS];   /* command with parameters, or results */
    uint8_t fifo_pos, fifo_len;
    bool int_pending;
    uint8_t sense_left;         /* drives that still report after a reset */
    uint8_t st0_seek;           /* what SENSE INTERRUPT STATUS tells after a seek; 0x80: nothing */
    uint8_t specify[2], config, precomp, perpendicular;
    bool locked;
    uint8_t kind;               /* FdcTransfer under way */
    uint8_t unit;               /* its drive */
    uint8_t c, h, r, eot;       /* next sector; last of the track */
    bool multi, dma_mode, deleted, io;  /* io: a sector is on its way to or from the image */
    uint8_t fmt_left, filler;
    uint8_t verify_left;
    uint8_t buf[FD_SECTOR];
    uint16_t pos, len;
    bool tc;
    uint32_t generation;        /* cache: late completions are ignored */
    struct iovec iov;
};

/* floppy.c */
void floppy_revalidate(FloppyDrive *d);         /* geometry of what is in the drive */
static inline bool floppy_ready(const FloppyDrive *d) { return d && block_dev_has_medium(d->drive); }
/* fdc.c */
void fdc_medium_changed(FloppyDrive *d);

#endif
