/*
 * mmc: the SCSI multimedia commands of a CD/DVD drive, for every transport (ATAPI, SCSI).
 *
 * MMC-5 and SPC-3. A command is a pure step from tray, medium and CDB to a reply; moving sectors, sense
 * data and identification stay with the transport. Machine lock.
 */
#ifndef HW_BLOCK_MMC_H
#define HW_BLOCK_MMC_H

#include "block/block.h"
#include "softmmu/state.h"

enum { MMC_SECTOR = 2048, MMC_REPLY_MAX = 2052, MMC_CDB = 12 };
enum { MMC_KEY_NOT_READY = 2, MMC_KEY_ILLEGAL = 5 };

typedef struct MmcCd {
    BlockDev *drive;            /* the transport's */
    bool tray_open, tray_locked;        /* state */
    uint8_t event;              /* for GET EVENT STATUS: 0 none, 1 eject asked for, 2 new medium, 3 medium gone */
} MmcCd;
extern const StateDesc mmc_state;

typedef struct MmcReply {
    uint8_t key, asc, ascq;     /* key 0: good */
    bool loaded;                /* the tray closed with a medium: a unit attention follows */
    uint32_t len, allowed;      /* bytes of buf; allocation length */
    uint8_t buf[MMC_REPLY_MAX];
} MmcReply;

/* False: not one of these commands (r is untouched). cdb: at least MMC_CDB bytes. */
bool mmc_command(MmcCd *d, const uint8_t *cdb, MmcReply *r);
bool mmc_has_disc(const MmcCd *d);
uint64_t mmc_sectors(const MmcCd *d);           /* of 2048 bytes */
/* Page 2ah (capabilities), 0eh, 01h into p (at least 22 bytes, zeroed); its length, 0: no such page. */
unsigned mmc_mode_page(const MmcCd *d, unsigned page, uint8_t *p);
void mmc_reset(MmcCd *d);
/* For the drive's BlockDevOps. */
void mmc_media_changed(MmcCd *d, bool load);
void mmc_eject_request(MmcCd *d, bool force);

#endif
