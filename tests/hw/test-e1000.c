/* test-e1000: EEPROM, rings, offloads, and hostile descriptors. */
#include "hw/net/e1000_regs.h"
#include "tests/hw/nicbench.h"

#include <string.h>

enum { TXR = 0x10000, RXR = 0x11000, BUF = 0x20000, RXBUF = 0x40000, RING = 8 };

typedef NicBench Ctx;

static uint32_t rd(Ctx *c, unsigned off) { return nicbench_ld(c, off, 4); }
static void wr(Ctx *c, unsigned off, uint32_t v) { nicbench_st(c, off, 4, v); }

static Ctx *setup(void)
{
    Ctx *c = nicbench_new("e1000", 0);

    wr(c, E_TDBAL, TXR);
    wr(c, E_TDLEN, RING * 16);
    wr(c, E_TCTL, TCTL_EN);
    wr(c, E_RDBAL, RXR);
    wr(c, E_RDLEN, RING * 16);
    for (int i = 0; i < RING; i++) {
        uint8_t d[16] = { 0 };

        st64_le(d, RXBUF + i * 2048);
        bench_mem_write(c->b, RXR + 16 * i, d, 16);
    }
    wr(c, E_RCTL, RCTL_EN | RCTL_BAM);
    wr(c, E_RDT, RING - 1);
    return c;
}

static void txd(Ctx *c, unsigned i, uint64_t low, uint32_t cmd, uint32_t high)
{
    uint8_t d[16];

    st64_le(d, low);
    st32_le(d + 8, cmd);
    st32_le(d + 12, high);
    bench_mem_write(c->b, TXR + 16 * i, d, 16);
}

static void eeprom_holds_mac_and_checksum(void)
{
    Ctx *c = setup();
    uint16_t sum = 0;

    for (int i = 0; i < 64; i++) {
        wr(c, E_EERD, i << 8 | 1);
        g_assert_cmpuint(rd(c, E_EERD) & 16, ==, 16);
        sum += rd(c, E_EERD) >> 16;
        if (i == 2)
            g_assert_cmphex(rd(c, E_EERD) >> 16, ==, 0xccbb);
    }
    g_assert_cmphex(sum, ==, 0xbaba);
    nicbench_free(c);
}

static uint16_t microwire(Ctx *c, unsigned word)
{
    uint16_t v = 0, cmd = 6 << 6 | word;

    wr(c, E_EECD, EECD_CS);
    for (int i = 8; i >= 0; i--) {
        uint32_t bit = cmd >> i & 1 ? EECD_DI : 0;

        wr(c, E_EECD, EECD_CS | bit);
        wr(c, E_EECD, EECD_CS | bit | EECD_SK);
    }
    for (int i = 0; i < 16; i++) {
        wr(c, E_EECD, EECD_CS);
        wr(c, E_EECD, EECD_CS | EECD_SK);
        v = v << 1 | !!(rd(c, E_EECD) & EECD_DO);
    }
    wr(c, E_EECD, 0);
    return v;
}

static void eeprom_answers_microwire(void)
{
    Ctx *c = setup();

    g_assert_cmphex(microwire(c, 0), ==, 0x5452);
    g_assert_cmphex(microwire(c, 1), ==, 0xaa00);
    g_assert_cmphex(microwire(c, 2), ==, 0xccbb);
    nicbench_free(c);
}

static void frame_is_sent_and_reported(void)
{
    Ctx *c = setup();
    uint8_t f[100] = { 1, 2, 3, 4, 5, 6 }, dd;

    bench_mem_write(c->b, BUF, f, sizeof f);
    txd(c, 0, BUF, sizeof f | TXD_EOP | TXD_RS, 0);
    wr(c, E_IMS, ICR_TXDW);
    wr(c, E_TDT, 1);
    g_assert_cmpuint(c->frames, ==, 1);
    g_assert_cmpmem(c->last, c->len, f, sizeof f);
    bench_mem_read(c->b, TXR + 12, &dd, 1);
    g_assert_cmpuint(dd & 1, ==, 1);
    CHECK(bench_intx(c->b, bench_dev(c->b, 0)));
    g_assert_cmpuint(rd(c, E_ICR) & ICR_TXDW, ==, ICR_TXDW);
    CHECK(!bench_intx(c->b, bench_dev(c->b, 0)));
    nicbench_free(c);
}

/* 4000 data bytes with mss 1000 leave as four segments with good sums and advancing sequence numbers. */
static void large_send_is_segmented(void)
{
    Ctx *c = setup();
    uint8_t f[54 + 4000] = { 0 };

    st16_be(f + 12, 0x0800);
    f[14] = 0x45;
    f[23] = 6;
    f[46] = 0x50;
    f[47] = 0x18;
    bench_mem_write(c->b, BUF, f, sizeof f);
    txd(c, 0, 0, TXD_DEXT | TXD_TSE | TXC_TCP | TXC_IP | 4000, 54 << 8 | 1000u << 16);
    txd(c, 1, BUF, TXD_DEXT | TXD_DTYP_DATA | TXD_TSE | TXD_EOP | sizeof f, (TXD_IXSM | TXD_TXSM) << 8);
    wr(c, E_TDT, 2);
    g_assert_cmpuint(c->frames, ==, 4);
    g_assert_cmpuint(c->len, ==, 1054);
    g_assert_cmpuint(ld32_be(c->last + 38), ==, 3000);
    g_assert_cmpuint(c->last[47], ==, 0x18);
    nicbench_free(c);
}

static void received_frame_lands_in_ring(void)
{
    Ctx *c = setup();
    uint8_t f[80], got[80], d[16];

    memset(f, 0xff, sizeof f);
    g_assert_true(net_send(c->port, f, sizeof f));
    bench_mem_read(c->b, RXBUF, got, sizeof got);
    g_assert_cmpmem(got, 80, f, 80);
    bench_mem_read(c->b, RXR, d, 16);
    g_assert_cmpuint(ld16_le(d + 8), ==, 84);
    g_assert_cmpuint(d[12] & 3, ==, 3);
    for (int i = 0; i < RING + 3; i++)
        net_send(c->port, f, sizeof f);         /* more than fit: they wait */
    wr(c, E_RDT, 5);
    g_assert_cmpuint(rd(c, E_GPRC), >, RING);
    nicbench_free(c);
}

static void own_registers_as_buffer_are_harmless(void)
{
    Ctx *c = setup();

    txd(c, 0, c->bar, 4096 | TXD_EOP | TXD_RS, 0);
    txd(c, 1, c->bar + E_TDT, 8 | TXD_EOP, 0);
    wr(c, E_TDT, 2);
    wr(c, E_TDBAL, c->bar);
    wr(c, E_TDT, 3);
    nicbench_free(c);
}

static void random_registers_and_rings_are_survived(void)
{
    Ctx *c = setup();
    uint8_t f[2000];

    for (int i = 0; i < 60000; i++) {
        uint32_t r = g_test_rand_int(), off = r % 3 ? (r >> 4) % 0x6000 : (r % 2 ? 0x3800 : 0x2800) + (r >> 8) % 0x30;
        uint8_t junk[16];

        if (r % 7 == 0) {
            for (size_t k = 0; k < sizeof junk; k++)
                junk[k] = g_test_rand_int();
            bench_mem_write(c->b, TXR + r % 4096, junk, 16);
        }
        if (r % 5)
            bench_st(c->b, c->bar + off, 1 << (r >> 28 & 3), g_test_rand_int());
        else
            bench_ld(c->b, c->bar + off, 1 << (r >> 28 & 3));
        if (r % 50 == 0)
            net_send(c->port, f, 14 + r % 1900);
        if (r % 100 == 0)
            bench_step_us(c->b, 100);
    }
    bench_reset(c->b);
    nicbench_free(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/e1000/eeprom_holds_mac_and_checksum", eeprom_holds_mac_and_checksum);
    g_test_add_func("/e1000/eeprom_answers_microwire", eeprom_answers_microwire);
    g_test_add_func("/e1000/frame_is_sent_and_reported", frame_is_sent_and_reported);
    g_test_add_func("/e1000/large_send_is_segmented", large_send_is_segmented);
    g_test_add_func("/e1000/received_frame_lands_in_ring", received_frame_lands_in_ring);
    g_test_add_func("/e1000/own_registers_as_buffer_are_harmless", own_registers_as_buffer_are_harmless);
    g_test_add_func("/e1000/random_registers_and_rings_are_survived", random_registers_and_rings_are_survived);
    return g_test_run();
}
