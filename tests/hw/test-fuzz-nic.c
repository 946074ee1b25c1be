/*
 * test-fuzz-nic: a hostile driver and a hostile wire for the network cards.
 *
 * Random registers in any order and size, rings that loop, lengths that wrap, buffers over each other,
 * over the rings, in MMIO and beyond RAM, frames of any length from the wire, a wire that is busy, resets,
 * saves and loads, until a time budget is used up; no step may use a second of CPU time. Means most under
 * AddressSanitizer. The seed is fixed; FUZZ_SECONDS=n runs each
 * card that long from a new one, --seed=R02S... repeats a run.
 */
#include "hw/net/e1000_regs.h"
#include "hw/net/rtl8139_regs.h"
#include "net/net.h"
#include "tests/hw/bench.h"
#include "util/bytes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AREA = 0x10000, AREA_LEN = 0x8000, TXR = AREA, RXR = AREA + 0x1000, BUF = AREA + 0x4000, STEP_MAX_MS = 1000,
       COMMON_CFG = 0x40, NOTIFY = 0x3000 };
enum { V_NEXT = 1, V_WRITE = 2, V_INDIRECT = 4, V_QUEUES = 7 };

typedef struct Fuzz Fuzz;
typedef struct Card {
    const char *name, *cls, *props;
    unsigned bar;               /* its registers */
    void (*start)(Fuzz *f), (*descriptor)(Fuzz *f), (*kick)(Fuzz *f);
} Card;
struct Fuzz {
    Bench *b;
    Device *pci;
    NetPort *wire;
    const Card *card;
    bool busy;                  /* the wire takes nothing now */
    unsigned mild;              /* of how many values of a virtio driver one is a lie */
    unsigned frames;
    uint8_t frame[65536];
};

static unsigned rnd(unsigned n) { return (uint32_t)g_test_rand_int() % n; }

static int64_t cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static bool wire_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Fuzz *f = opaque;

    if (f->busy)
        return false;
    f->frames++;
    g_assert_cmpuint(len, <=, NET_FRAME_MAX);
    f->frame[0] ^= len ? frame[0] ^ frame[len - 1] : 0;         /* reads it: a sanitizer looks */
    return true;
}

static bool wire_receive_offload(void *opaque, const uint8_t *frame, size_t len, const NetOffload *o)
{
    return wire_receive(opaque, frame, len);
}

static const NetPortOps wire_ops = { .receive = wire_receive, .receive_offload = wire_receive_offload };

/* ---- values a driver should not give ---- */
static uint64_t bar(Fuzz *f)
{
    PciDevice *pd = pci_device(f->pci);

    return pd->bar[f->card->bar].is_mapped ? pd->bar[f->card->bar].mapped : 0xe0000000;
}

static uint64_t address(Fuzz *f)
{
    switch (rnd(12)) {
    case 0:
        return bar(f) + (rnd(0x4000) & ~3u);
    case 1:
        return BENCH_RAM - rnd(64);
    case 2:
        return BENCH_RAM + rnd(1 << 30);
    case 3:
        return UINT64_MAX - rnd(0x10000);
    case 4:
        return UINT32_MAX - rnd(0x100);
    case 5:
        return AREA + rnd(AREA_LEN);            /* not aligned */
    case 6:
        return TXR + (rnd(0x2000) & ~15u);      /* the rings themselves */
    default:
        return BUF + (rnd(0x3000) & ~63u);
    }
}

static uint32_t length(void)
{
    static const uint32_t edges[] = { 0, 1, 13, 14, 17, 18, 54, 59, 60, 61, 0x7ff, 0x800, 0xfff, 0x1000, 0x3fff, 0x4000, 0xfffe, 0xffff,
                                      0x10000, 0x10ffc, 0x11000, 0xfffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

    return rnd(3) ? rnd(2) ? rnd(2000) : rnd(0x10000) : edges[rnd(G_N_ELEMENTS(edges))];
}

static uint32_t value(Fuzz *f)
{
    switch (rnd(6)) {
    case 0:
        return length();
    case 1:
        return address(f);
    case 2:
        return rnd(64);
    case 3:
        return 1u << rnd(32);
    default:
        return g_test_rand_int();
    }
}

/* Something the offload engines look into: TCP or UDP over IPv4 or IPv6, tagged or not, and lies. */
static void put_packet(uint8_t *p, size_t room)
{
    size_t at = 14;

    for (size_t i = 0; i < room; i++)
        p[i] = i < 12 && rnd(3) ? 0xff : g_test_rand_int();
    if (rnd(4) == 0) {
        st16_be(p + 12, 0x8100);
        at = 18;
    }
    if (rnd(3)) {
        st16_be(p + at - 2, 0x0800);
        p[at] = rnd(5) ? 0x45 : 0x40 | rnd(16);
        if (rnd(3))
            st16_be(p + at + 2, rnd(3) ? room - at : length());
        st16_be(p + at + 6, rnd(4) ? 0 : rnd(0x10000));
        p[at + 9] = rnd(2) ? 6 : 17;
        at += 20;
    } else {
        st16_be(p + at - 2, 0x86dd);
        p[at] = 0x60;
        p[at + 6] = rnd(3) ? 6 : rnd(2) ? 17 : rnd(256);
        at += 40;
    }
    if (rnd(4))
        p[at + 12] = rnd(5) ? 0x50 : rnd(16) << 4;
}

static void put_buffer(Fuzz *f)
{
    uint8_t p[160], h[12] = { rnd(2), rnd(2) ? 1 : rnd(8), 0, 0, rnd(3) ? rnd(4) : 0, 0, rnd(60), 0, rnd(40), 0 };
    uint64_t at = BUF + (rnd(0x3000) & ~63u);

    put_packet(p, sizeof p);
    if (rnd(2)) {               /* behind a header of virtio's */
        bench_mem_write(f->b, at, h, sizeof h);
        at += rnd(2) ? 12 : 10;
    }
    bench_mem_write(f->b, at, p, sizeof p);
}

static void store(Fuzz *f, uint64_t at, uint64_t low, uint32_t third, uint32_t fourth)
{
    uint8_t d[16];

    st64_le(d, low);
    st32_le(d + 8, third);
    st32_le(d + 12, fourth);
    bench_mem_write(f->b, at, d, sizeof d);
}

static void wr(Fuzz *f, unsigned off, unsigned size, uint64_t v) { bench_st(f->b, bar(f) + off, size, v); }

/* ---- e1000 ---- */
static void e1000_start(Fuzz *f)
{
    static const uint32_t ring_lengths[] = { 128, 128, 256, 1024, 0xfff80 };

    wr(f, E_TDBAL, 4, TXR);
    wr(f, E_TDBAH, 4, 0);
    wr(f, E_TDLEN, 4, ring_lengths[rnd(5)]);
    wr(f, E_TDH, 4, 0);
    wr(f, E_TCTL, 4, TCTL_EN);
    wr(f, E_RDBAL, 4, rnd(4) ? RXR : TXR);
    wr(f, E_RDBAH, 4, 0);
    wr(f, E_RDLEN, 4, ring_lengths[rnd(5)]);
    wr(f, E_RDH, 4, 0);
    wr(f, E_RCTL, 4, RCTL_EN | RCTL_BAM | RCTL_UPE | RCTL_MPE | (rnd(2) ? RCTL_LPE : 0) | rnd(4) << 16 | (rnd(2) ? RCTL_BSEX : 0) |
       (rnd(8) ? 0 : RCTL_LOOPBACK));
    if (rnd(2))
        wr(f, E_CTRL, 4, CTRL_VME | CTRL_SLU);
    wr(f, E_RXCSUM, 4, rnd(0x400));
    wr(f, E_RDT, 4, rnd(8));
}

static void e1000_descriptor(Fuzz *f)
{
    uint64_t at = (rnd(3) ? TXR : RXR) + 16 * rnd(8);

    if (rnd(4) == 0)            /* context: offsets of headers, mss */
        store(f, at, (uint64_t)g_test_rand_int() << 32 | value(f), TXD_DEXT | rnd(4) << 24 | (rnd(2) ? TXD_TSE : 0) | rnd(0x100000),
              rnd(256) << 8 | (rnd(2) ? rnd(4) : rnd(0x10000)) << 16);
    else
        store(f, at, address(f), (length() & 0xfffff) | (rnd(2) ? TXD_DEXT | TXD_DTYP_DATA : 0) | (uint32_t)rnd(256) << 24, g_test_rand_int());
}

static void e1000_kick(Fuzz *f)
{
    static const uint16_t hot[] = { E_TDT, E_RDT, E_TDH, E_RDH, E_TDLEN, E_RDLEN, E_TDBAL, E_RDBAL, E_TDBAH, E_RCTL, E_TCTL, E_MDIC,
                                    E_EECD, E_EERD, E_ICS, E_IMS, E_ITR, E_VET, E_RA, E_RA + 4 };

    if (rnd(3))
        wr(f, rnd(3) ? E_TDT : E_RDT, 4, rnd(8));
    else
        wr(f, hot[rnd(G_N_ELEMENTS(hot))], 1u << rnd(4), value(f));
}

/* ---- rtl8139 ---- */
static void rtl_start(Fuzz *f)
{
    bool cplus = rnd(2);

    wr(f, R_CR, 1, 0);
    wr(f, R_CPCR, 2, cplus ? CPCR_TX | CPCR_RX | CPCR_RXSUM | CPCR_RXVLAN : 0);
    wr(f, R_TNPDS, 4, TXR);
    wr(f, R_TNPDS + 4, 4, 0);
    wr(f, R_THPDS, 4, TXR + 0x100);
    wr(f, R_RDSAR, 4, rnd(4) ? RXR : TXR);
    wr(f, R_RDSAR + 4, 4, 0);
    wr(f, R_RBSTART, 4, address(f));
    wr(f, R_CR, 1, CR_RE | CR_TE);
    wr(f, R_TCR, 4, rnd(8) ? 0 : TCR_LBK);
    wr(f, R_RCR, 4, RCR_AAP | RCR_APM | RCR_AM | RCR_AB | rnd(4) << 11 | (rnd(2) ? RCR_WRAP : 0));
}

static void rtl_descriptor(Fuzz *f)
{
    uint32_t ctl = (rnd(4) ? D_OWN : 0) | (rnd(4) ? 0 : D_EOR) | (rnd(2) ? D_FS : 0) | (rnd(2) ? D_LS : 0) |
                   (rnd(3) ? 0 : TD_LARGE | rnd(4) << 16) | (rnd(2) ? rnd(8) << 16 : 0) | (length() & 0xffff);
    uint64_t at = address(f);

    store(f, TXR + (rnd(3) ? 0 : rnd(2) ? 0x100 : 0x1000) + 16 * rnd(6), ctl | (uint64_t)(rnd(4) ? 0 : value(f)) << 32, at, at >> 32);
}

static void rtl_kick(Fuzz *f)
{
    switch (rnd(6)) {
    case 0:
        wr(f, R_TSAD + 4 * rnd(4), 4, address(f));
        break;
    case 1:
        wr(f, R_TSD + 4 * rnd(4), 4, rnd(4) ? rnd(0x2000) : value(f));
        break;
    case 2:
        wr(f, R_TPPOLL, 1, TPPOLL_NPQ | TPPOLL_HPQ);
        break;
    case 3:
        wr(f, R_CAPR, 2, rnd(3) ? rnd(0x10000) & ~3u : value(f));
        break;
    case 4:
        wr(f, R_9346CR, 1, CR93_PROGRAM | rnd(16));
        break;
    default:
        wr(f, R_ISR, 2, 0xffff);
    }
}

/* ---- virtio ---- */
static void virtio_start_legacy(Fuzz *f)
{
    uint16_t io;

    if (pci_device(f->pci)->bar[0].kind != PCI_BAR_IO || !pci_device(f->pci)->bar[0].is_mapped)
        return;
    io = bench_bar(f->b, f->pci, 0);
    bench_out8(f->b, io + 0x12, 0);
    bench_out8(f->b, io + 0x12, 3);
    bench_out32(f->b, io + 4, g_test_rand_int());
    for (unsigned q = 0; q < V_QUEUES; q++) {
        bench_out16(f->b, io + 0x0e, q);
        bench_out32(f->b, io + 8, rnd(8) ? (AREA >> 12) + rnd(4) : value(f));
    }
    bench_out8(f->b, io + 0x12, 7);
}

static void virtio_start(Fuzz *f)
{
    if (rnd(3) == 0) {
        virtio_start_legacy(f);
        return;
    }
    f->mild = rnd(2) ? 200 : 8;
    wr(f, 0x14, 1, 0);
    wr(f, 0x14, 1, 3);
    wr(f, 8, 4, 0);
    wr(f, 12, 4, rnd(3) ? 0xffffffff : (uint32_t)g_test_rand_int());
    wr(f, 8, 4, 1);
    wr(f, 12, 4, 1 | (rnd(2) ? 4 : 0) | (rnd(2) ? rnd(256) : 0));       /* VERSION_1, sometimes packed rings */
    wr(f, 0x14, 1, 11);
    for (unsigned q = 0; q < V_QUEUES; q++) {
        wr(f, 0x16, 2, q);
        wr(f, 0x18, 2, rnd(f->mild) ? 8u << rnd(3) : value(f));
        for (int ring = 0; ring < 3; ring++) {
            uint64_t at = rnd(f->mild) ? TXR + 0x800 * ring + 0x80 * (q % 4) : address(f);

            if (ring == 1 && rnd(f->mild))
                bench_st(f->b, at, 4, 0);

            wr(f, 0x20 + 8 * ring, 4, at);
            wr(f, 0x24 + 8 * ring, 4, rnd(f->mild) ? 0 : at >> 32);
        }
        wr(f, 0x1c, 2, 1);
    }
    wr(f, 0x14, 1, 15);
}

static bool lie(Fuzz *f) { return rnd(MAX(f->mild, 8)) == 0; }

static void virtio_descriptor(Fuzz *f)
{
    static const uint16_t flags[] = { 0, 0x80, 0x8000, 0x8080 };
    unsigned table = rnd(4);    /* 0 and 2 receive, 1 and 3 send, mostly */
    bool to_guest = lie(f) ? rnd(2) : !(table & 1);

    switch (rnd(4)) {
    case 0: {                   /* an available ring: a few more heads */
        uint64_t ring = TXR + 0x800 + 0x80 * rnd(4);

        if (lie(f))
            bench_st(f->b, ring, 2, rnd(2));
        for (int k = 0; k < 40; k++)
            bench_st(f->b, ring + 4 + 2 * k, 2, lie(f) ? value(f) : rnd(8));
        bench_st(f->b, ring + 2, 2, lie(f) ? value(f) : bench_ld(f->b, ring + 2, 2) + 1);
        break;
    }
    case 1:                     /* a control command */
        bench_st(f->b, BUF + (rnd(0x3000) & ~63u), 8, rnd(7) | rnd(8) << 8 | (uint64_t)value(f) << 16);
        break;
    default:
        for (unsigned i = rnd(8); i < 8; i++) {
            uint16_t fl = (i == 7 || rnd(3) ? 0 : V_NEXT) | (lie(f) ? V_INDIRECT : 0) | flags[rnd(4)] | (to_guest ? V_WRITE : 0);
            uint16_t next = lie(f) ? rnd(0x10000) : rnd(8) ? i + 1 : rnd(8);

            store(f, TXR + 0x80 * table + 16 * i, lie(f) ? address(f) : BUF + (rnd(0x3000) & ~63u),
                  lie(f) ? length() : rnd(4) ? 60 + rnd(1600) : 2 + rnd(0x10000), fl | (uint32_t)next << 16);
        }
    }
}

static void virtio_kick(Fuzz *f)
{
    unsigned q = lie(f) ? rnd(0x400) : rnd(V_QUEUES);

    if (rnd(8) == 0)            /* broken by now, probably */
        virtio_start(f);
    if (rnd(4) || pci_device(f->pci)->bar[0].kind != PCI_BAR_IO || !pci_device(f->pci)->bar[0].is_mapped)
        wr(f, NOTIFY + 4 * q, 2, q);
    else
        bench_out16(f->b, bench_bar(f->b, f->pci, 0) + 0x10, q);
}

/* ---- what every card gets ---- */
static void touch_bar(Fuzz *f)
{
    PciDevice *pd = pci_device(f->pci);
    unsigned n = rnd(PCI_BARS), size = 1u << rnd(4);
    uint64_t len = pd->bar[n].size, off;

    if (!pd->bar[n].region || !pd->bar[n].is_mapped || !len)
        return;
    off = rnd(2) ? rnd(MIN(len, COMMON_CFG)) : rnd(MIN(len, 0x6000));
    if (rnd(4))
        off &= ~(uint64_t)(size - 1);
    if (pd->bar[n].kind == PCI_BAR_IO) {
        uint16_t port = bench_bar(f->b, f->pci, n) + off;

        rnd(4) ? size == 1 ? bench_out8(f->b, port, value(f)) : size == 2 ? bench_out16(f->b, port, value(f))
                                                                        : bench_out32(f->b, port, value(f))
               : (void)bench_in16(f->b, port);
    } else if (rnd(4)) {
        bench_st(f->b, bench_bar(f->b, f->pci, n) + off, size, value(f));
    } else {
        bench_ld(f->b, bench_bar(f->b, f->pci, n) + off, size);
    }
}

static void frame_from_wire(Fuzz *f)
{
    static const uint8_t mac[] = { 0x52, 0x54, 0, 0xaa, 0xbb, 0xcc };
    size_t len = rnd(4) ? rnd(1600) : rnd(sizeof f->frame);
    NetOffload o = { rnd(3), rnd(6), rnd(100), rnd(3000), rnd(0x10000), rnd(0x10000) };

    if (len >= 80)
        put_packet(f->frame, 80);
    if (len >= sizeof mac && rnd(2))
        memcpy(f->frame, mac, sizeof mac);
    if (rnd(4) == 0 && net_peer_takes(f->wire, &o))
        net_send_offload(f->wire, f->frame, len, &o);
    else
        net_send(f->wire, f->frame, len);
}

static void wire_mood(Fuzz *f)
{
    f->busy = rnd(3) == 0;
    if (rnd(4) == 0)
        net_port_set_link(f->wire, rnd(4));
    if (rnd(4) == 0)
        net_port_set_takes(f->wire, rnd(16));
    if (!f->busy)
        net_port_ready(f->wire);
}

static void upheaval(Fuzz *f)
{
    switch (rnd(12)) {
    case 0:
        bench_roundtrip(f->b);
        f->pci = bench_dev(f->b, 0);
        break;
    case 1: case 2:
        bench_reset(f->b);
        f->b->next_mmio = 0xe0000000;
        f->b->next_port = 0xc000;
        bench_pci_map(f->b, f->pci);
        f->card->start(f);
        break;
    case 3:
        bench_cfg_write(f->b, f->pci, 4, rnd(8), 2);            /* bus master may be off */
        break;
    default:
        bench_cfg_write(f->b, f->pci, 4, 7, 2);
        f->card->start(f);
    }
}

static void one_step(Fuzz *f, unsigned what)
{
    switch (what) {
    case 0:
        bench_step_us(f->b, rnd(3000));
        break;
    case 1:
        machine_loop_once(f->b->m, false);
        break;
    case 2:
        wire_mood(f);
        break;
    case 3: case 4:
        frame_from_wire(f);
        break;
    case 5:
        if (rnd(10) == 0)
            upheaval(f);
        break;
    case 6:
        put_buffer(f);
        break;
    case 7:
        touch_bar(f);
        break;
    case 8: case 9: case 10:
        f->card->kick(f);
        break;
    default:
        f->card->descriptor(f);
    }
}

static Fuzz *fuzz_new(const Card *card)
{
    Fuzz *f = g_new0(Fuzz, 1);
    g_autofree char *props = g_strdup_printf("netdev=w,mac=52:54:00:aa:bb:cc,romfile=%s", card->props);

    f->card = card;
    f->b = bench_new(NULL, NULL);
    f->wire = net_port_new("test", "w", &wire_ops, f);
    f->wire->gives = 15;
    f->wire->queues = 3;
    bench_backend(f->b, "netdev", "w", f->wire);
    f->pci = bench_add(f->b, card->cls, props);
    bench_reset(f->b);
    bench_pci_map(f->b, f->pci);
    return f;
}

static void fuzz_free(Fuzz *f)
{
    bench_free(f->b);
    net_port_free(f->wire);
    g_free(f);
}

static void fuzz(const void *data)
{
    const char *seconds = g_getenv("FUZZ_SECONDS");
    Fuzz *f = fuzz_new(data);
    int64_t end = g_get_monotonic_time() + (seconds ? atoi(seconds) * G_USEC_PER_SEC : G_USEC_PER_SEC / 2);
    uint64_t steps = 0;

    f->card->start(f);
    while (g_get_monotonic_time() < end) {
        for (int i = 0; i < 50; i++, steps++) {
            unsigned what = rnd(16);
            int64_t before = cpu_ms(), took;

            one_step(f, what);
            took = cpu_ms() - before;
            if (took > STEP_MAX_MS)
                g_error("%s: step %" G_GUINT64_FORMAT " of kind %u took %d ms", f->card->name, steps, what, (int)took);
        }
    }
    g_test_message("%s: %" G_GUINT64_FORMAT " steps, %u frames sent", f->card->name, steps, f->frames);
    fuzz_free(f);
}

/* ---- rings full of frames to be cut into segments of one byte ---- */
enum { BOMB_BYTES = 65000, BOMB_FRAMES = 64, BOMB_BUF = 0x100000 };

static void put_bomb(Fuzz *f, unsigned header)
{
    uint8_t p[12 + 54] = { 0 };

    st16_be(p + header + 12, 0x0800);
    p[header + 14] = 0x45;
    st16_be(p + header + 16, BOMB_BYTES - 14);
    p[header + 23] = 6;
    p[header + 46] = 0x50;
    if (header) {
        p[1] = 1;               /* GSO over TCP and IPv4, a byte each */
        p[4] = 1;
    }
    bench_mem_write(f->b, BOMB_BUF, p, sizeof p);
}

static void bomb_e1000(Fuzz *f)
{
    put_bomb(f, 0);
    store(f, TXR, 0, TXD_DEXT | TXD_TSE | TXC_TCP | TXC_IP, 54 << 8 | 1 << 16);
    for (int i = 1; i < BOMB_FRAMES; i++)
        store(f, TXR + 16 * i, BOMB_BUF, TXD_DEXT | TXD_DTYP_DATA | TXD_TSE | TXD_EOP | BOMB_BYTES, 0);
    wr(f, E_TDBAL, 4, TXR);
    wr(f, E_TDLEN, 4, BOMB_FRAMES * 16);
    wr(f, E_TCTL, 4, TCTL_EN);
    wr(f, E_TDT, 4, BOMB_FRAMES - 1);
}

static void bomb_rtl(Fuzz *f)
{
    put_bomb(f, 0);
    for (int i = 0; i < BOMB_FRAMES; i++)
        store(f, TXR + 16 * i, D_OWN | D_FS | D_LS | TD_LARGE | 1 << 16 | BOMB_BYTES, BOMB_BUF, 0);
    wr(f, R_CPCR, 2, CPCR_TX);
    wr(f, R_TNPDS, 4, TXR);
    wr(f, R_CR, 1, CR_TE);
    wr(f, R_TPPOLL, 1, TPPOLL_NPQ);
}

static void bomb_virtio(Fuzz *f)
{
    put_bomb(f, 12);
    wr(f, 0x14, 1, 3);
    wr(f, 8, 4, 0);
    wr(f, 12, 4, 1 | 1 << 11);
    wr(f, 8, 4, 1);
    wr(f, 12, 4, 1);
    wr(f, 0x14, 1, 11);
    wr(f, 0x16, 2, 1);
    wr(f, 0x18, 2, BOMB_FRAMES);
    for (int ring = 0; ring < 3; ring++)
        wr(f, 0x20 + 8 * ring, 4, TXR + 0x1000 * ring);
    wr(f, 0x1c, 2, 1);
    wr(f, 0x14, 1, 15);
    store(f, TXR, BOMB_BUF, 12 + BOMB_BYTES, 0);
    bench_st(f->b, TXR + 0x1002, 2, BOMB_FRAMES);
    wr(f, NOTIFY + 4, 2, 1);
}

/* One access cuts one such frame at most; the others follow by the clock. */
static void segments_of_one_byte_go_out_in_portions(const void *data)
{
    Fuzz *f = fuzz_new(data);
    unsigned first;

    (g_str_equal(f->card->cls, "e1000") ? bomb_e1000 : g_str_equal(f->card->cls, "rtl8139") ? bomb_rtl : bomb_virtio)(f);
    first = f->frames;
    g_assert_cmpuint(first, >, BOMB_BYTES - 100);
    g_assert_cmpuint(first, <=, BOMB_BYTES);
    bench_step_ns(f->b, 2);
    g_assert_cmpuint(f->frames, >, first);
    fuzz_free(f);
}

static const Card cards[] = {
    { "e1000", "e1000", "", 0, e1000_start, e1000_descriptor, e1000_kick },
    { "rtl8139", "rtl8139", "", 1, rtl_start, rtl_descriptor, rtl_kick },
    { "virtio-net-modern", "virtio-net-pci", ",disable-legacy=on", 4, virtio_start, virtio_descriptor, virtio_kick },
    { "virtio-net-transitional", "virtio-net-pci", ",disable-legacy=off,mrg_rxbuf=off", 4, virtio_start, virtio_descriptor, virtio_kick },
    { "virtio-net-packed-mq", "virtio-net-pci", ",packed=on,mq=on", 4, virtio_start, virtio_descriptor, virtio_kick },
};

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new();
    bool seeded = g_getenv("FUZZ_SECONDS");
    char **list;

    for (int i = 0; i < argc; i++) {
        g_ptr_array_add(args, argv[i]);
        seeded |= g_str_has_prefix(argv[i], "--seed");
    }
    if (!seeded)                /* a short run is the same each time */
        g_ptr_array_add(args, (char *)"--seed=R02S00000000000000000000000000000005");
    argc = args->len;
    g_ptr_array_add(args, NULL);
    list = (char **)args->pdata;
    g_test_init(&argc, &list, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(cards); i++) {
        g_autofree char *path = g_strdup_printf("/fuzz-nic/%s", cards[i].name);
        g_autofree char *bomb = g_strdup_printf("/fuzz-nic/segments_of_one_byte_go_out_in_portions/%s", cards[i].name);

        g_test_add_data_func(bomb, &cards[i], segments_of_one_byte_go_out_in_portions);
        g_test_add_data_func(path, &cards[i], fuzz);
    }
    return g_test_run();
}
