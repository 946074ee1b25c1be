/*
 * rtl8139_regs: register map of the Realtek RTL8139C+.
 *
 * RTL8139C(L)+ data sheet, chapters 6 and 9. Values are byte offsets in BAR 0 (ports) and BAR 1 (memory).
 */
#ifndef HW_NET_RTL8139_REGS_H
#define HW_NET_RTL8139_REGS_H

enum {
    R_IDR = 0x00, R_MAR = 0x08, R_TSD = 0x10, R_DTCCR = 0x10, R_TSAD = 0x20, R_TNPDS = 0x20, R_THPDS = 0x28,
    R_RBSTART = 0x30, R_ERBCR = 0x34, R_ERSR = 0x36, R_CR = 0x37, R_CAPR = 0x38, R_CBR = 0x3a, R_IMR = 0x3c,
    R_ISR = 0x3e, R_TCR = 0x40, R_RCR = 0x44, R_TCTR = 0x48, R_MPC = 0x4c, R_9346CR = 0x50, R_CONFIG0 = 0x51,
    R_CONFIG1 = 0x52, R_TIMERINT = 0x54, R_MSR = 0x58, R_CONFIG3 = 0x59, R_CONFIG4 = 0x5a, R_MULINT = 0x5c,
    R_RERID = 0x5e, R_TSAD_ALL = 0x60, R_BMCR = 0x62, R_BMSR = 0x64, R_ANAR = 0x66, R_ANLPAR = 0x68, R_ANER = 0x6a,
    R_NWAYTR = 0x70, R_CSCR = 0x74, R_PHY1 = 0x78, R_TWISTER = 0x7c, R_PHY2 = 0x80, R_WAKEUP = 0x84,
    R_CONFIG5 = 0xd8, R_TPPOLL = 0xd9, R_CPCR = 0xe0, R_INTMITIGATE = 0xe2, R_RDSAR = 0xe4, R_MTPS = 0xec,
    R_SIZE = 0x100,
};
enum {
    TSD_SIZE = 0x1fff, TSD_OWN = 1 << 13, TSD_TUN = 1 << 14, TSD_TOK = 1 << 15, TSD_TABT = 1 << 30,
    DTCCR_CMD = 1 << 3,
    CR_BUFE = 1, CR_TE = 1 << 2, CR_RE = 1 << 3, CR_RST = 1 << 4,
    ISR_ROK = 1, ISR_RER = 2, ISR_TOK = 4, ISR_TER = 8, ISR_RXOVW = 0x10, ISR_LINK = 0x20, ISR_FOVW = 0x40,
    ISR_TDU = 0x80, ISR_SWINT = 0x100, ISR_TIMEOUT = 0x4000, ISR_SERR = 0x8000,
    TCR_CLRABT = 1, TCR_LBK = 3 << 17, RCR_AAP = 1, RCR_APM = 2, RCR_AM = 4, RCR_AB = 8, RCR_WRAP = 0x80,
    RCR_RBLEN = 3 << 11, CR93_EEM = 0xc0, CR93_PROGRAM = 0x80, CR93_UNLOCK = 0xc0, CR93_AUTOLOAD = 0x40,
    CR93_CS = 8, CR93_SK = 4, CR93_DI = 2, CR93_DO = 1,
    MSR_LINKB = 4, BMSR_LINK = 4, BMSR_ANEG = 0x20, BMCR_RESET = 0x8000, BMCR_RESTART = 0x200,
    TPPOLL_HPQ = 0x80, TPPOLL_NPQ = 0x40, TPPOLL_SWINT = 1, CPCR_TX = 1, CPCR_RX = 2, CPCR_RXSUM = 0x20,
    CPCR_RXVLAN = 0x40,
};
enum {                          /* header of a frame in the classic ring */
    RX_ROK = 1, RX_RUNT = 0x10, RX_BAR = 0x2000, RX_PAM = 0x4000, RX_MAR = 0x8000,
};
#define D_OWN (1u << 31)        /* C+ descriptors */
#define D_EOR (1u << 30)
#define D_FS (1u << 29)
#define D_LS (1u << 28)
#define TD_LARGE (1u << 27)
#define TD_IPCS (1u << 18)
#define TD_UDPCS (1u << 17)
#define TD_TCPCS (1u << 16)
#define TD_TAG (1u << 17)       /* second word */
#define RD_MAR (1u << 26)
#define RD_PAM (1u << 25)
#define RD_BAR (1u << 24)
#define RD_PID_TCP (1u << 16)
#define RD_PID_UDP (2u << 16)
#define RD_PID_IP (3u << 16)
#define RD_BAD_IP (1u << 15)
#define RD_BAD_UDP (1u << 14)
#define RD_BAD_TCP (1u << 13)
#define RD_TAG (1u << 16)       /* second word */

#endif
