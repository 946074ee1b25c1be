/*
 * e1000_regs: register map of the Intel 82540EM.
 *
 * PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), chapter 13.
 * Values are byte offsets in BAR 0.
 */
#ifndef HW_NET_E1000_REGS_H
#define HW_NET_E1000_REGS_H

enum {
    E_CTRL = 0x0000, E_STATUS = 0x0008, E_EECD = 0x0010, E_EERD = 0x0014, E_CTRL_EXT = 0x0018, E_MDIC = 0x0020,
    E_FCAL = 0x0028, E_FCAH = 0x002c, E_FCT = 0x0030, E_VET = 0x0038, E_ICR = 0x00c0, E_ITR = 0x00c4, E_ICS = 0x00c8,
    E_IMS = 0x00d0, E_IMC = 0x00d8, E_RCTL = 0x0100, E_FCTTV = 0x0170, E_TXCW = 0x0178, E_RXCW = 0x0180,
    E_TCTL = 0x0400, E_TIPG = 0x0410, E_AIFS = 0x0458, E_LEDCTL = 0x0e00, E_PBA = 0x1000,
    E_FCRTL = 0x2160, E_FCRTH = 0x2168, E_RDFH = 0x2410, E_RDFPC = 0x2430,
    E_RDBAL = 0x2800, E_RDBAH = 0x2804, E_RDLEN = 0x2808, E_RDH = 0x2810, E_RDT = 0x2818, E_RDTR = 0x2820,
    E_RADV = 0x282c, E_RSRPD = 0x2c00, E_TDFH = 0x3410, E_TDFPC = 0x3430,
    E_TDBAL = 0x3800, E_TDBAH = 0x3804, E_TDLEN = 0x3808, E_TDH = 0x3810, E_TDT = 0x3818, E_TIDV = 0x3820,
    E_TXDCTL = 0x3828, E_TADV = 0x382c, E_RXDCTL = 0x2828, E_TSPMT = 0x3830,
    E_STATS = 0x4000, E_MPC = 0x4010, E_GPRC = 0x4074, E_BPRC = 0x4078, E_MPRC = 0x407c, E_GPTC = 0x4080,
    E_GORCL = 0x4088, E_GORCH = 0x408c, E_GOTCL = 0x4090, E_GOTCH = 0x4094, E_RUC = 0x40a4, E_ROC = 0x40ac,
    E_TORL = 0x40c0, E_TORH = 0x40c4, E_TOTL = 0x40c8, E_TOTH = 0x40cc, E_TPR = 0x40d0, E_TPT = 0x40d4,
    E_MPTC = 0x40f0, E_BPTC = 0x40f4, E_TSCTC = 0x40f8, E_STATS_END = 0x4100,
    E_RXCSUM = 0x5000, E_MTA = 0x5200, E_RA = 0x5400, E_RA_END = 0x5480, E_VFTA = 0x5600, E_VFTA_END = 0x5800,
    E_WUC = 0x5800, E_WUFC = 0x5808, E_MANC = 0x5820, E_MMIO_SIZE = 0x20000,
};
enum {
    CTRL_SLU = 1 << 6, CTRL_RST = 1 << 26, CTRL_VME = 1 << 30, STATUS_FD = 1, STATUS_LU = 2, STATUS_SPEED_1000 = 2 << 6,
    EECD_SK = 1, EECD_CS = 2, EECD_DI = 4, EECD_DO = 8, EECD_REQ = 1 << 6, EECD_GNT = 1 << 7, EECD_PRES = 1 << 8,
    EERD_START = 1, EERD_DONE = 1 << 4, MDIC_WRITE = 1 << 26, MDIC_READ = 2 << 26, MDIC_READY = 1 << 28,
    MDIC_INT = 1 << 29, MDIC_ERROR = 1 << 30,
    ICR_TXDW = 1, ICR_TXQE = 2, ICR_LSC = 4, ICR_RXDMT0 = 1 << 4, ICR_RXO = 1 << 6, ICR_RXT0 = 1 << 7, ICR_MDAC = 1 << 9,
    RCTL_EN = 1 << 1, RCTL_UPE = 1 << 3, RCTL_MPE = 1 << 4, RCTL_LPE = 1 << 5, RCTL_LOOPBACK = 3 << 6, RCTL_BAM = 1 << 15,
    RCTL_VFE = 1 << 18, RCTL_BSEX = 1 << 25, RCTL_SECRC = 1 << 26,
    TCTL_EN = 1 << 1, TCTL_PSP = 1 << 3, RAH_AV = 1 << 31,
};
enum {                          /* descriptors, 3.2 and 3.3 */
    TXD_EOP = 1 << 24, TXD_IFCS = 1 << 25, TXD_IC = 1 << 26, TXD_TSE = 1 << 26, TXD_RS = 1 << 27, TXD_DEXT = 1 << 29,
    TXD_VLE = 1 << 30, TXD_IDE = 1 << 31, TXD_DTYP = 0xf << 20, TXD_DTYP_DATA = 1 << 20, TXC_TCP = 1 << 24, TXC_IP = 1 << 25,
    TXD_DD = 1, TXD_IXSM = 1, TXD_TXSM = 2, RXD_DD = 1, RXD_EOP = 2, RXD_IXSM = 4, RXD_VP = 8, DESC_LEN = 16,
};

#endif
