/* ahci_int: registers of a port and its command slots; private to hw/ide/ahci*.c. */
#ifndef HW_IDE_AHCI_INT_H
#define HW_IDE_AHCI_INT_H

#include "hw/ide/ide.h"
#include "hw/pci/pci.h"

enum { AHCI_PORTS = 6, AHCI_SLOTS = 32 };
enum {                          /* PxIS and PxIE, AHCI 1.3.1 section 3.3.5 */
    PIS_DHRS = 1 << 0, PIS_PSS = 1 << 1, PIS_SDBS = 1 << 3, PIS_PCS = 1 << 6, PIS_PRCS = 1 << 22, PIS_IFS = 1 << 27,
    PIS_HBFS = 1 << 29, PIS_TFES = 1 << 30,
};
#define PIS_VALID 0xfdc000ffu
#define PIS_RW1C (PIS_VALID & ~(uint32_t)PIS_PCS & ~(uint32_t)PIS_PRCS)
enum {                          /* PxCMD */
    PCMD_ST = 1 << 0, PCMD_SUD = 1 << 1, PCMD_POD = 1 << 2, PCMD_CLO = 1 << 3, PCMD_FRE = 1 << 4, PCMD_CCS = 0x1f << 8,
    PCMD_FR = 1 << 14, PCMD_CR = 1 << 15, PCMD_HPCP = 1 << 18, PCMD_ATAPI = 1 << 24, PCMD_DLAE = 1 << 25, PCMD_ALPE = 1 << 26,
    PCMD_ASP = 1 << 27,
};
#define PCMD_ICC 0xf0000000u

typedef struct Ahci Ahci;
typedef struct AhciPort AhciPort;

/* Where the next bytes of a command go: its table of physical regions, walked once. */
typedef struct AhciPrd {
    uint64_t table, addr;
    uint32_t count, next, left;
} AhciPrd;

typedef struct AhciSlot {
    AhciPort *p;
    uint8_t tag;
    uint64_t header;            /* guest address of the command header */
    uint32_t moved;             /* bytes, for PRDBC */
    AhciPrd prd;
    IdeNcq ncq;
} AhciSlot;

struct AhciPort {
    Ahci *s;
    unsigned n;
    IdeBus ide;
    uint64_t clb, fb;           /* state: registers */
    uint32_t is, ie, cmd, tfd, sig, sctl, serr, sact, ci;
    /* caches: what runs. A loaded state starts its commands again. */
    int cur;                    /* slot of the command the drive has, -1: none */
    uint32_t queued;            /* slots whose queued command runs */
    bool advancing, again, running, rerun, halted;
    AhciSlot slot[AHCI_SLOTS];
};

struct Ahci {
    PciDevice pci;
    Region regs, idp;
    uint32_t ghc, is, index;    /* state */
    AhciPort port[AHCI_PORTS];
};

/* ahci_cmd.c */
void ahci_port_init(AhciPort *p);
void ahci_port_run(AhciPort *p);                /* starts what waits in PxCI */
void ahci_port_stop(AhciPort *p);               /* PxCMD.ST went to 0 */
void ahci_port_signature(AhciPort *p);          /* the drive's first FIS after a reset */
/* ahci.c */
void ahci_raise(AhciPort *p, uint32_t bits);    /* PxIS |= bits */

#endif
