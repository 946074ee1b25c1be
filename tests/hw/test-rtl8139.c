/* test-rtl8139: classic and C+ rings, offloads, EEPROM, statistics, timer, and hostile descriptors. */
#include "hw/net/rtl8139_regs.h"
#include "tests/hw/nicbench.h"

#include <string.h>
#include <zlib.h>

enum { RING = 0x10000, TXR = 0x30000, RXR = 0x31000, BUF = 0x40000, RXBUF = 0x60000 };

typedef NicBench Ctx;

static uint64_t rd(Ctx *c, unsigned off, unsigned size) { return nicbench_ld(c, off, size); }
static void wr(Ctx *c, unsigned off, unsigned size, uint32_t v) { nicbench_st(c, off, size, v); }
static Ctx *setup(void) { return nicbench_new("rtl8139", 1); }

static Ctx *setup_classic(void)
{
    Ctx *c = setup();

    wr(c, R_RBSTART, 4, RING);
    wr(c, R_CR, 1, CR_RE | CR_TE);
    wr(c, R_RCR, 4, RCR_APM | RCR_AB);
    return c;
}

static Ctx *setup_cplus(void)
{
    Ctx *c = setup();

    wr(c, R_CPCR, 2, CPCR_TX | CPCR_RX | CPCR_RXSUM);
    wr(c, R_TNPDS, 4, TXR);
    wr(c, R_RDSAR, 4, RXR);
    wr(c, R_CR, 1, CR_RE | CR_TE);
    wr(c, R_RCR, 4, RCR_APM | RCR_AB);
    return c;
}

static void desc(Ctx *c, uint64_t ring, unsigned i, uint32_t ctl, uint32_t second, uint64_t buf)
{
    uint8_t d[16];

    st32_le(d, ctl);
    st32_le(d + 4, second);
    st64_le(d + 8, buf);
    bench_mem_write(c->b, ring + 16 * i, d, 16);
}

static uint32_t word(Ctx *c, uint64_t addr)
{
    uint8_t b[4];

    bench_mem_read(c->b, addr, b, 4);
    return ld32_le(b);
}

static uint16_t microwire(Ctx *c, unsigned at)
{
    uint16_t v = 0, cmd = 6 << 6 | at;

    wr(c, R_9346CR, 1, CR93_PROGRAM | CR93_CS);
    for (int i = 8; i >= 0; i--) {
        uint8_t bit = cmd >> i & 1 ? CR93_DI : 0;

        wr(c, R_9346CR, 1, CR93_PROGRAM | CR93_CS | bit);
        wr(c, R_9346CR, 1, CR93_PROGRAM | CR93_CS | CR93_SK | bit);
    }
    for (int i = 0; i < 16; i++) {
        wr(c, R_9346CR, 1, CR93_PROGRAM | CR93_CS);
        wr(c, R_9346CR, 1, CR93_PROGRAM | CR93_CS | CR93_SK);
        v = v << 1 | (rd(c, R_9346CR, 1) & CR93_DO);
    }
    wr(c, R_9346CR, 1, 0);
    return v;
}

static void eeprom_holds_ids_and_address(void)
{
    Ctx *c = setup();

    g_assert_cmphex(microwire(c, 0), ==, 0x8129);
    g_assert_cmphex(microwire(c, 2), ==, 0x8139);
    g_assert_cmphex(microwire(c, 7), ==, 0x5452);
    g_assert_cmphex(microwire(c, 9), ==, 0xccbb);
    g_assert_cmphex(rd(c, R_IDR, 4), ==, 0xaa005452);
    nicbench_free(c);
}

static void configuration_is_locked(void)
{
    Ctx *c = setup();

    wr(c, R_IDR, 4, 0x11223344);
    g_assert_cmphex(rd(c, R_IDR, 4), ==, 0xaa005452);
    wr(c, R_9346CR, 1, CR93_UNLOCK);
    wr(c, R_IDR, 4, 0x11223344);
    g_assert_cmphex(rd(c, R_IDR, 4), ==, 0x11223344);
    wr(c, R_9346CR, 1, CR93_AUTOLOAD);
    g_assert_cmphex(rd(c, R_IDR, 4), ==, 0xaa005452);
    nicbench_free(c);
}

static void classic_buffers_are_sent_in_turn(void)
{
    Ctx *c = setup_classic();
    uint8_t f[100] = { 1, 2, 3 };

    wr(c, R_IMR, 2, ISR_TOK);
    for (int i = 0; i < 6; i++) {
        f[20] = i;
        bench_mem_write(c->b, BUF, f, sizeof f);
        wr(c, R_TSAD + 4 * (i % 4), 4, BUF);
        wr(c, R_TSD + 4 * (i % 4), 4, sizeof f);
        g_assert_cmpuint(c->frames, ==, i + 1);
        g_assert_cmpuint(c->last[20], ==, i);
        g_assert_cmphex(rd(c, R_TSD + 4 * (i % 4), 4), ==, (TSD_OWN | TSD_TOK | sizeof f));
    }
    CHECK(bench_intx(c->b, bench_dev(c->b, 0)));
    wr(c, R_ISR, 2, ISR_TOK);
    CHECK(!bench_intx(c->b, bench_dev(c->b, 0)));
    nicbench_free(c);
}

static void classic_ring_wraps_and_waits(void)
{
    Ctx *c = setup_classic();
    uint8_t f[1000];
    unsigned got = 0, read = 0;

    memset(f, 0xff, sizeof f);
    g_assert_cmpuint(rd(c, R_CR, 1) & CR_BUFE, ==, CR_BUFE);
    for (int i = 0; i < 12; i++)
        net_send(c->port, f, sizeof f);         /* eight fit, the others wait */
    while (!(rd(c, R_CR, 1) & CR_BUFE)) {
        uint32_t h = word(c, RING + read);

        g_assert_cmphex(h & 0xffff, ==, RX_ROK | RX_BAR);
        g_assert_cmpuint(h >> 16, ==, sizeof f + 4);
        read = (read + 4 + (h >> 16) + 3) / 4 * 4 % 8192;
        wr(c, R_CAPR, 2, read - 16);
        got++;
    }
    g_assert_cmpuint(got, ==, 12);
    nicbench_free(c);
}

/* A driver that polls: it reads a batch, acknowledges after each frame, and while the ring is full again
   by then it must be told that there is more, for no further frame can tell it. */
static void classic_ring_full_behind_an_acknowledge_interrupts(void)
{
    Ctx *c = setup_classic();
    uint8_t f[1000];
    unsigned got = 0, read = 0;

    memset(f, 0xff, sizeof f);
    wr(c, R_IMR, 2, ISR_ROK | ISR_RXOVW);
    for (int i = 0; i < 40; i++)
        net_send(c->port, f, sizeof f);
    for (int round = 0; round < 100 && bench_intx(c->b, bench_dev(c->b, 0)); round++) {
        for (int batch = 0; batch < 5 && !(rd(c, R_CR, 1) & CR_BUFE); batch++, got++) {
            read = (read + 4 + 1004 + 3) / 4 * 4 % 8192;
            wr(c, R_CAPR, 2, read - 16);
            wr(c, R_ISR, 2, ISR_ROK | ISR_RXOVW);
        }
        bench_step_ms(c->b, got < 35 ? 0 : 2);          /* the last ones: none waits behind them */
    }
    g_assert_cmpuint(got, ==, 40);
    nicbench_free(c);
}

/* Acknowledging without reading must not bring the interrupt back at once, or the guest hangs in it. */
static void classic_ring_left_full_interrupts_by_the_clock(void)
{
    Ctx *c = setup_classic();
    uint8_t f[1000];

    memset(f, 0xff, sizeof f);
    wr(c, R_IMR, 2, ISR_ROK | ISR_RXOVW);
    for (int i = 0; i < 12; i++)
        net_send(c->port, f, sizeof f);
    wr(c, R_ISR, 2, ISR_ROK | ISR_RXOVW);
    CHECK(!bench_intx(c->b, bench_dev(c->b, 0)));
    bench_step_ms(c->b, 2);
    CHECK(bench_intx(c->b, bench_dev(c->b, 0)));
    nicbench_free(c);
}

static void make_tcp(uint8_t *f, size_t len)
{
    memset(f, 0, len);
    st16_be(f + 12, 0x0800);
    f[14] = 0x45;
    st16_be(f + 16, len - 14);
    f[22] = 64;
    f[23] = 6;
    st32_be(f + 26, 0x0a00020f);
    st32_be(f + 30, 0x0a000202);
    f[46] = 0x50;
    f[47] = 0x18;
    for (size_t i = 54; i < len; i++)
        f[i] = i;
}

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
    for (size_t i = 0; i < n; i++)
        s += p[i] << (i % 2 ? 0 : 8);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return s;
}

static void check_sums(const uint8_t *f, size_t len)
{
    g_assert_cmphex(sum16(f + 14, 20, 0), ==, 0xffff);
    g_assert_cmphex(sum16(f + 34, len - 34, sum16(f + 26, 8, 6 + len - 34)), ==, 0xffff);
}

static void cplus_fragments_leave_as_one_frame_with_checksums(void)
{
    Ctx *c = setup_cplus();
    uint8_t f[301];

    make_tcp(f, sizeof f);
    bench_mem_write(c->b, BUF, f, sizeof f);
    desc(c, TXR, 0, D_OWN | D_FS | TD_IPCS | TD_TCPCS | 100, 0, BUF);
    desc(c, TXR, 1, D_OWN | D_EOR | D_LS | TD_IPCS | TD_TCPCS | 201, 0, BUF + 100);
    wr(c, R_TPPOLL, 1, TPPOLL_NPQ);
    g_assert_cmpuint(c->frames, ==, 1);
    g_assert_cmpuint(c->len, ==, sizeof f);
    g_assert_cmpmem(c->last + 54, sizeof f - 54, f + 54, sizeof f - 54);
    check_sums(c->last, c->len);
    g_assert_cmphex(word(c, TXR) & D_OWN, ==, 0);
    g_assert_cmphex(rd(c, R_ISR, 2) & (ISR_TOK | ISR_TDU), ==, ISR_TOK | ISR_TDU);
    nicbench_free(c);
}

static void cplus_large_send_is_segmented(void)
{
    Ctx *c = setup_cplus();
    uint8_t f[54 + 4000];

    make_tcp(f, sizeof f);
    bench_mem_write(c->b, BUF, f, sizeof f);
    desc(c, TXR, 0, D_OWN | D_FS | D_LS | TD_LARGE | 1000 << 16 | sizeof f, TD_TAG | 0x6400, BUF);
    wr(c, R_TPPOLL, 1, TPPOLL_NPQ);
    g_assert_cmpuint(c->frames, ==, 4);
    g_assert_cmpuint(c->len, ==, 1058);
    g_assert_cmphex(ld32_be(c->last + 12), ==, 0x81000064);
    memmove(c->last + 12, c->last + 16, c->len - 16);
    check_sums(c->last, c->len - 4);
    g_assert_cmpuint(ld32_be(c->last + 38), ==, 3000);
    nicbench_free(c);
}

static void cplus_receive_reports_checksums(void)
{
    Ctx *c = setup_cplus();
    uint8_t f[200], got[204];

    make_tcp(f, sizeof f);
    st16_be(f + 24, ~sum16(f + 14, 20, 0));
    st16_be(f + 50, ~sum16(f + 34, sizeof f - 34, sum16(f + 26, 8, 6 + sizeof f - 34)));
    memset(f, 0xff, 6);
    desc(c, RXR, 0, D_OWN | 2048, 0, RXBUF);
    desc(c, RXR, 1, D_OWN | D_EOR | 2048, 0, RXBUF + 2048);
    net_send(c->port, f, sizeof f);
    f[100] ^= 1;
    net_send(c->port, f, sizeof f);
    f[100] ^= 1;
    net_send(c->port, f, sizeof f);             /* no descriptor: waits */
    g_assert_cmphex(word(c, RXR), ==, D_FS | D_LS | RD_BAR | RD_PID_TCP | 204);
    g_assert_cmphex(word(c, RXR + 16), ==, (D_EOR | D_FS | D_LS | RD_BAR | RD_PID_TCP | RD_BAD_TCP | 204));
    bench_mem_read(c->b, RXBUF, got, sizeof got);
    g_assert_cmpmem(got, 200, f, 200);
    g_assert_cmphex(ld32_le(got + 200), ==, crc32(0, f, 200));
    desc(c, RXR, 0, D_OWN | 2048, 0, RXBUF);
    bench_step_ms(c->b, 2);
    g_assert_cmphex(word(c, RXR) & D_OWN, ==, 0);
    nicbench_free(c);
}

static void statistics_are_dumped_and_state_survives(void)
{
    Ctx *c = setup_cplus();
    uint8_t f[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

    desc(c, RXR, 0, D_OWN | D_EOR | 2048, 0, RXBUF);
    net_send(c->port, f, sizeof f);
    g_assert_cmphex(word(c, RXR) & D_OWN, ==, 0);
    bench_roundtrip(c->b);
    wr(c, R_DTCCR + 4, 4, 0);
    wr(c, R_DTCCR, 4, 0x5000 | DTCCR_CMD);
    g_assert_cmphex(rd(c, R_DTCCR, 4), ==, 0x5000);
    g_assert_cmpuint(word(c, 0x5008), ==, 1);
    g_assert_cmpuint(word(c, 0x5030), ==, 1);
    nicbench_free(c);
}

static void timer_interrupts_at_its_count(void)
{
    Ctx *c = setup();

    wr(c, R_IMR, 2, ISR_TIMEOUT);
    wr(c, R_TIMERINT, 4, 33000);                /* one millisecond */
    bench_step_us(c->b, 990);
    CHECK(!bench_intx(c->b, bench_dev(c->b, 0)));
    bench_step_us(c->b, 20);
    CHECK(bench_intx(c->b, bench_dev(c->b, 0)));
    wr(c, R_ISR, 2, ISR_TIMEOUT);
    CHECK(!bench_intx(c->b, bench_dev(c->b, 0)));
    nicbench_free(c);
}

static void multicast_hash_selects(void)
{
    Ctx *c = setup_classic();
    uint8_t f[60] = { 0x01, 0x00, 0x5e, 0, 0, 1 };

    wr(c, R_RCR, 4, RCR_AM);
    net_send(c->port, f, sizeof f);
    g_assert_cmpuint(rd(c, R_CBR, 2), ==, 0);
    wr(c, R_MAR, 4, 0x80000000);                /* 224.0.0.1 hashes to bit 31: CRC 7fa32d9bh */
    wr(c, R_MAR + 4, 4, 0);
    net_send(c->port, f, sizeof f);
    g_assert_cmpuint(rd(c, R_CBR, 2), ==, 68);
    nicbench_free(c);
}

static void link_change_interrupts(void)
{
    Ctx *c = setup();

    wr(c, R_IMR, 2, ISR_LINK);
    net_port_set_link(c->port, false);
    CHECK(bench_intx(c->b, bench_dev(c->b, 0)));
    g_assert_cmphex(rd(c, R_BMSR, 2) & BMSR_LINK, ==, 0);
    g_assert_cmphex(rd(c, R_MSR, 1) & MSR_LINKB, ==, MSR_LINKB);
    net_port_set_link(c->port, true);
    g_assert_cmphex(rd(c, R_BMSR, 2) & BMSR_LINK, ==, BMSR_LINK);
    nicbench_free(c);
}

/* Every descriptor owned by the card and no end mark: each kick ends, time goes on. */
static void endless_ring_is_bounded(void)
{
    Ctx *c = setup_cplus();

    for (int i = 0; i < 64; i++)
        desc(c, TXR, i, D_OWN | D_FS | 60, 0, TXR);     /* never a last one; the buffer is the ring */
    wr(c, R_TPPOLL, 1, TPPOLL_NPQ);
    desc(c, TXR, 0, D_OWN | D_LS | D_FS | 1500, 0, c->bar);     /* and one that points at the card itself */
    bench_step_ms(c->b, 1);
    wr(c, R_RDSAR, 4, c->bar);
    net_send(c->port, (const uint8_t *)"\xff\xff\xff\xff\xff\xff 8 bytes", 14);
    nicbench_free(c);
}

static void random_registers_and_rings_are_survived(void)
{
    Ctx *c = setup_cplus();
    uint8_t f[2000] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

    for (int i = 0; i < 80000; i++) {
        uint32_t r = g_test_rand_int();
        uint8_t junk[16];

        for (size_t k = 0; k < sizeof junk; k++)
            junk[k] = g_test_rand_int();
        if (r % 3 == 0)
            bench_mem_write(c->b, (r % 2 ? TXR : RXR) + r / 8 % 1024, junk, 16);
        if (r % 5)
            wr(c, (r >> 4) % 256, 1 << (r >> 28 & 3) % 3, g_test_rand_int() & ~(r % 64 ? 0x10u << 24 : 0));
        else
            rd(c, (r >> 4) % 256, 1 << (r >> 28 & 3) % 3);
        if (r % 40 == 0)
            net_send(c->port, f, 14 + r % 1900);
        if (r % 100 == 0)
            bench_step_us(c->b, 500);
        if (r % 1000 == 0) {
            wr(c, R_CPCR, 2, CPCR_TX | CPCR_RX);
            wr(c, R_CR, 1, CR_RE | CR_TE);
            wr(c, R_TNPDS, 4, TXR);
            wr(c, R_RDSAR, 4, RXR);
        }
    }
    bench_reset(c->b);
    nicbench_free(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtl8139/eeprom_holds_ids_and_address", eeprom_holds_ids_and_address);
    g_test_add_func("/rtl8139/configuration_is_locked", configuration_is_locked);
    g_test_add_func("/rtl8139/classic_buffers_are_sent_in_turn", classic_buffers_are_sent_in_turn);
    g_test_add_func("/rtl8139/classic_ring_wraps_and_waits", classic_ring_wraps_and_waits);
    g_test_add_func("/rtl8139/classic_ring_full_behind_an_acknowledge_interrupts", classic_ring_full_behind_an_acknowledge_interrupts);
    g_test_add_func("/rtl8139/classic_ring_left_full_interrupts_by_the_clock", classic_ring_left_full_interrupts_by_the_clock);
    g_test_add_func("/rtl8139/cplus_fragments_leave_as_one_frame_with_checksums", cplus_fragments_leave_as_one_frame_with_checksums);
    g_test_add_func("/rtl8139/cplus_large_send_is_segmented", cplus_large_send_is_segmented);
    g_test_add_func("/rtl8139/cplus_receive_reports_checksums", cplus_receive_reports_checksums);
    g_test_add_func("/rtl8139/statistics_are_dumped_and_state_survives", statistics_are_dumped_and_state_survives);
    g_test_add_func("/rtl8139/timer_interrupts_at_its_count", timer_interrupts_at_its_count);
    g_test_add_func("/rtl8139/multicast_hash_selects", multicast_hash_selects);
    g_test_add_func("/rtl8139/link_change_interrupts", link_change_interrupts);
    g_test_add_func("/rtl8139/endless_ring_is_bounded", endless_ring_is_bounded);
    g_test_add_func("/rtl8139/random_registers_and_rings_are_survived", random_registers_and_rings_are_survived);
    return g_test_run();
}
