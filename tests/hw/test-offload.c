/* test-offload: checksums found and filled in, TCP segments, UDP fragments, and lying headers. */
#include "hw/net/nic.h"
#include "hw/net/offload.h"

typedef struct Out {
    unsigned frames;
    size_t bytes;               /* of payload */
    size_t head;
    uint8_t last[2048];
    size_t len;
} Out;

static bool keep(void *opaque, const uint8_t *f, size_t len)
{
    Out *o = opaque;

    o->frames++;
    o->bytes += len - o->head;
    o->len = len;
    memcpy(o->last, f, MIN(len, sizeof o->last));
    return true;
}

static void make(uint8_t *f, size_t len, uint8_t proto)
{
    memset(f, 0x5a, len);
    st16_be(f + 12, 0x0800);
    f[14] = 0x45;
    st16_be(f + 16, len - 14);
    st16_be(f + 20, 0);
    f[23] = proto;
    if (proto == 6) {
        f[46] = 0x50;
        f[47] = 0x19;
        st32_be(f + 38, 1000);
    } else {
        st16_be(f + 38, len - 34);
    }
}

static void filled_sums_are_found_right_and_damage_wrong(void)
{
    static const uint8_t protos[] = { 6, 17 };

    for (int i = 0; i < 2; i++) {
        for (size_t len = 60; len < 1500; len += 37) {
            uint8_t f[1500];
            unsigned kind = i ? SUM_UDP : SUM_TCP;

            make(f, len, protos[i]);
            sums_fill(f, len, SUM_IP | kind);
            g_assert_cmphex(sums_check(f, len), ==, SUM_IP | kind);
            f[len - 1] ^= 4;
            g_assert_cmphex(sums_check(f, len), ==, SUM_IP | kind | SUM_BAD_L4);
            f[27] ^= 4;
            g_assert_cmphex(sums_check(f, len) & SUM_BAD_IP, ==, SUM_BAD_IP);
        }
    }
}

static void tcp_is_cut_into_segments_with_right_sums(void)
{
    uint8_t f[54 + 3001], scratch[4096];
    Out o = { .head = 54 };
    Gso g;

    make(f, sizeof f, 6);
    g_assert_true(gso_parse(f, sizeof f, &g));
    g.mss = 1000;
    g_assert_true(gso_segment(f, sizeof f, &g, scratch, keep, &o));
    g_assert_cmpuint(o.frames, ==, 4);
    g_assert_cmpuint(o.bytes, ==, 3001);
    g_assert_cmpuint(ld32_be(o.last + 38), ==, 4000);
    g_assert_cmphex(o.last[47], ==, 0x19);
    o.last[o.len] = 0;
    g_assert_cmphex(sums_check(o.last, o.len), ==, SUM_IP | SUM_TCP);
}

static void udp_is_cut_into_fragments(void)
{
    uint8_t f[42 + 4000], scratch[4096];
    Out o = { .head = 34 };
    Gso g;

    make(f, sizeof f, 17);
    g_assert_true(gso_parse(f, sizeof f, &g));
    g.mss = 1480;
    g_assert_true(gso_segment(f, sizeof f, &g, scratch, keep, &o));
    g_assert_cmpuint(o.frames, ==, 3);
    g_assert_cmpuint(o.bytes, ==, 4008);
    g_assert_cmphex(ld16_be(o.last + 20), ==, 2960 / 8);
    g_assert_cmphex(sums_check(o.last, o.len) & SUM_BAD_IP, ==, 0);
    g_assert_cmphex(sums_check(f, sizeof f), ==, SUM_IP | SUM_UDP);     /* the datagram's sum, before it was cut */
}

static void random_headers_stay_inside_the_frame(void)
{
    uint8_t *scratch = g_malloc(70000);

    for (int i = 0; i < 50000; i++) {
        size_t len = g_test_rand_int_range(14, 400);
        g_autofree uint8_t *f = g_malloc(len);
        Out o = { 0 };
        Gso g;

        for (size_t k = 0; k < len; k++)
            f[k] = g_test_rand_int();
        st16_be(f + 12, i % 2 ? 0x0800 : 0x86dd);
        if (len > 24) {
            f[14] = i % 2 ? 0x45 + i % 3 : 0x60;
            f[i % 2 ? 23 : 20] = i % 4 < 2 ? 6 : 17;
        }
        sums_check(f, len);
        sums_fill(f, len, SUM_IP | SUM_TCP | SUM_UDP);
        if (gso_parse(f, len, &g)) {
            g.mss = g_test_rand_int_range(1, 65536);
            gso_segment(f, len, &g, scratch, keep, &o);
        }
    }
    g_free(scratch);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/offload/filled_sums_are_found_right_and_damage_wrong", filled_sums_are_found_right_and_damage_wrong);
    g_test_add_func("/offload/tcp_is_cut_into_segments_with_right_sums", tcp_is_cut_into_segments_with_right_sums);
    g_test_add_func("/offload/udp_is_cut_into_fragments", udp_is_cut_into_fragments);
    g_test_add_func("/offload/random_headers_stay_inside_the_frame", random_headers_stay_inside_the_frame);
    return g_test_run();
}
