/* test-fragments: datagrams cut and joined, and what liars with fragments get. */
#include "net/fragments.h"
#include "net/slirp_guard.h"
#include "util/bytes.h"

#include <glib.h>
#include <string.h>

enum { ETH = 14, UDP = 17, TCP = 6, MTU = 1500 };

typedef struct Wire {
    GPtrArray *frames;          /* of GBytes */
} Wire;

static bool keep(void *opaque, const uint8_t *f, size_t len)
{
    g_assert_cmpuint(len, <=, ETH + MTU);
    g_ptr_array_add(((Wire *)opaque)->frames, g_bytes_new(f, len));
    return true;
}

static void free_bytes(gpointer p) { g_bytes_unref(p); }

/* A whole frame with n bytes behind the IP header. */
static uint8_t *datagram(bool v6, uint8_t proto, size_t n, size_t *len)
{
    size_t head = ETH + (v6 ? 40 : 20);
    uint8_t *f = g_malloc0(head + n);

    *len = head + n;
    st16_be(f + 12, v6 ? 0x86dd : 0x0800);
    f[ETH] = v6 ? 0x60 : 0x45;
    if (v6) {
        st16_be(f + ETH + 4, n);
        f[ETH + 6] = proto;
        f[ETH + 7] = 64;
        f[ETH + 23] = 1;
        f[ETH + 39] = 2;
    } else {
        st16_be(f + ETH + 2, n + 20);
        st16_be(f + ETH + 4, 0x1234);
        f[ETH + 8] = 64;
        f[ETH + 9] = proto;
        st32_be(f + ETH + 12, 0x0a00020f);
        st32_be(f + ETH + 16, 0x0a000202);
    }
    for (size_t i = 0; i < n; i++)
        f[head + i] = i * 7 + i / 251;
    if (proto == UDP && n >= 8) {
        st16_be(f + head + 2, 4000);
        st16_be(f + head + 4, n);
    }
    return f;
}

/* One piece of a datagram: offset and length in bytes. */
static uint8_t *piece(bool v6, uint16_t id, size_t at, size_t n, bool more, size_t *len)
{
    size_t lead = ETH + (v6 ? 48 : 20);
    uint8_t *f = datagram(v6, v6 ? 44 : UDP, n + (v6 ? 8 : 0), len);

    for (size_t i = 0; i < n; i++)
        f[lead + i] = at * 3 + i * 5;
    if (v6) {
        f[ETH + 40] = UDP;
        f[ETH + 41] = 0;
        st16_be(f + ETH + 42, at | more);
        st32_be(f + ETH + 44, id);
    } else {
        st16_be(f + ETH + 4, id);
        st16_be(f + ETH + 6, at / 8 | (more ? 0x2000 : 0));
    }
    return f;
}

static uint8_t *give(Fragments *fr, bool v6, uint16_t id, size_t at, size_t n, bool more, size_t *whole, const char **why)
{
    size_t len;
    g_autofree uint8_t *f = piece(v6, id, at, n, more, &len);

    g_assert_true(fragment_is(f, len));
    return fragments_join(fr, f, len, 1000, whole, why);
}

static void order(guint how, guint n, guint *at)
{
    for (guint i = 0; i < n; i++)
        at[i] = how == 0 ? i : how == 1 ? n - 1 - i : (i * 7 + 3) % n;
}

/* Whatever the order, and whether IPv4 or IPv6, the datagram that was cut comes out again. */
static void what_is_cut_is_joined_again(void)
{
    static const size_t sizes[] = { 1481, 1500, 2000, 7008, 9001, 65000, 65515 - 8 };
    Fragments *fr = fragments_new();

    for (guint k = 0; k < G_N_ELEMENTS(sizes) * 6; k++) {
        bool v6 = k % 2;
        guint how = k / 2 % 3, at[64];
        size_t len, whole = 0;
        g_autofree uint8_t *f = datagram(v6, UDP, sizes[k / 6], &len);
        Wire w = { g_ptr_array_new_with_free_func(free_bytes) };
        uint8_t *joined = NULL;

        g_assert_true(fragments_cut(fr, f, len, MTU, keep, &w));
        g_assert_cmpuint(w.frames->len, ==, (sizes[k / 6] + (v6 ? 1447 : 1479)) / (v6 ? 1448 : 1480));
        order(w.frames->len % 7 ? how : 0, w.frames->len, at);
        for (guint i = 0; i < w.frames->len; i++) {
            gsize n;
            const uint8_t *p = g_bytes_get_data(w.frames->pdata[at[i]], &n);
            g_autofree uint8_t *copy = g_memdup2(p, n);
            const char *why = NULL;

            g_assert_true(slirp_guard(copy, n, &why));
            g_assert_null(joined);
            joined = fragments_join(fr, copy, n, k, &whole, &why);
            g_assert_null(why);
        }
        g_assert_nonnull(joined);
        g_assert_cmpuint(whole, ==, len);
        g_assert_cmpmem(joined + ETH + (v6 ? 40 : 20), whole - ETH - (v6 ? 40 : 20), f + ETH + (v6 ? 40 : 20), len - ETH - (v6 ? 40 : 20));
        g_assert_false(fragment_is(joined, whole));
        g_ptr_array_unref(w.frames);
    }
    fragments_free(fr);
}

/* RFC 5722; CVE-2018-11806, 2019-14378, 2019-15890, 2020-1983 were in code that tried to make sense of such. */
static void overlaps_take_the_datagram_with_them(gconstpointer family)
{
    static const struct { size_t a, an, b, bn; bool amore, bmore; } cases[] = {
        { 0, 1480, 1472, 1480, true, true }, { 1480, 1480, 0, 1488, true, true }, { 0, 3000 & ~7, 8, 16, true, true },
        { 8, 16, 0, 1480, true, true }, { 1480, 100, 1480, 200, false, false }, { 1480, 100, 1480, 104, false, true },
        { 1480, 100, 1584, 104, false, true }, { 2960, 80, 1480, 100, true, false }, { 1480, 100, 2960, 10, false, false },
        { 0, 65520, 65512, 8, true, false },
    };
    bool v6 = GPOINTER_TO_INT(family) == 6;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fragments *fr = fragments_new();
        const char *why;
        size_t whole;

        if (!v6 && cases[i].an > 65515) {
            fragments_free(fr);
            continue;
        }
        g_assert_null(give(fr, v6, 7, cases[i].a, cases[i].an, cases[i].amore, &whole, &why));
        g_assert_null(why);
        g_assert_null(give(fr, v6, 7, cases[i].b, cases[i].bn, cases[i].bmore, &whole, &why));
        g_assert_nonnull(why);
        /* Nothing that comes later completes it. */
        for (size_t at = 0; at < 65512; at += 1480) {
            g_assert_null(give(fr, v6, 7, at, 1480, at + 1480 < 64000, &whole, &why));
            g_assert_nonnull(why);
        }
        /* Another one is not hurt. */
        g_assert_null(give(fr, v6, 8, 0, 1480, true, &whole, &why));
        g_assert_nonnull(give(fr, v6, 8, 1480, 20, false, &whole, &why));
        fragments_free(fr);
    }
}

static void a_piece_that_comes_twice_does_no_harm(gconstpointer family)
{
    bool v6 = GPOINTER_TO_INT(family) == 6;
    Fragments *fr = fragments_new();
    const char *why;
    size_t whole;

    for (int i = 0; i < 3; i++) {
        g_assert_null(give(fr, v6, 9, 1480, 20, false, &whole, &why));
        g_assert_null(why);
    }
    g_assert_nonnull(give(fr, v6, 9, 0, 1480, true, &whole, &why));
    g_assert_cmpuint(whole, ==, ETH + (v6 ? 40 : 20) + 1500);
    fragments_free(fr);
}

static void impossible_pieces_are_refused(gconstpointer family)
{
    bool v6 = GPOINTER_TO_INT(family) == 6;
    Fragments *fr = fragments_new();
    const char *why;
    size_t whole;

    g_assert_null(give(fr, v6, 1, 0, 1481, true, &whole, &why));
    g_assert_nonnull(why);
    g_assert_null(give(fr, v6, 2, 65528, 64, false, &whole, &why));
    g_assert_nonnull(why);
    g_assert_null(give(fr, v6, 3, 8, 0, true, &whole, &why));
    g_assert_nonnull(why);
    fragments_free(fr);
}

/* A guest that begins datagrams without end costs 16 of them, and the 17th goes through. */
static void beginnings_are_bounded_in_number_and_time(void)
{
    Fragments *fr = fragments_new();
    const char *why;
    size_t whole, len;
    g_autofree uint8_t *last = piece(false, 5, 1480, 20, false, &len);

    for (guint id = 0; id < 5000; id++) {
        g_assert_null(give(fr, id % 2, id, 0, 1480, true, &whole, &why));
        g_assert_null(why);
    }
    g_assert_nonnull(give(fr, true, 4999, 1480, 20, false, &whole, &why));
    g_assert_null(give(fr, false, 5, 0, 1480, true, &whole, &why));
    g_assert_null(fragments_join(fr, last, len, 1000 + FRAGMENTS_LIFE_MS, &whole, &why));       /* its beginning is forgotten */
    g_assert_null(why);
    fragments_free(fr);
}

/* CVE-2026-9539 through the back door: the urgent pointer in the first of two pieces. */
static void urgent_data_in_fragments_meets_the_frame_filter(void)
{
    Fragments *fr = fragments_new();
    size_t len, whole;
    g_autofree uint8_t *f = datagram(false, TCP, 48, &len), *second = NULL;
    const char *why;
    uint8_t *joined;

    f[ETH + 20 + 12] = 0x50;
    f[ETH + 20 + 13] = 0x38;            /* PSH, ACK, URG */
    st16_be(f + ETH + 20 + 18, 0xffff);
    second = g_memdup2(f, len);
    st16_be(f + ETH + 2, 20 + 24);
    st16_be(f + ETH + 6, 0x2000);
    st16_be(second + ETH + 2, 20 + 24);
    st16_be(second + ETH + 6, 3);
    g_assert_true(slirp_guard(f, len - 24, &why));
    g_assert_null(fragments_join(fr, f, len - 24, 0, &whole, &why));
    memmove(second + ETH + 20, second + ETH + 44, 24);
    joined = fragments_join(fr, second, len - 24, 0, &whole, &why);
    g_assert_nonnull(joined);
    g_assert_cmpuint(whole, ==, len);
    g_assert_true(slirp_guard(joined, whole, &why));
    g_assert_cmphex(joined[ETH + 20 + 13], ==, 0x18);
    g_assert_cmphex(ld16_be(joined + ETH + 20 + 18), ==, 0);
    fragments_free(fr);
}

/* A whole frame made of pieces still has to make sense; a piece inside pieces never does. */
static void joined_frames_are_looked_at_again(void)
{
    Fragments *fr = fragments_new();
    const char *why;
    size_t whole;
    uint8_t *joined;

    g_assert_null(give(fr, false, 6, 0, 16, true, &whole, &why));
    joined = give(fr, false, 6, 16, 10, false, &whole, &why);
    g_assert_nonnull(joined);
    st16_be(joined + ETH + 24, 27);     /* UDP length one too large */
    g_assert_false(slirp_guard(joined, whole, &why));
    g_assert_nonnull(why);
    fragments_free(fr);
}

static void random_pieces_stay_inside(void)
{
    Fragments *fr = fragments_new();
    guint joined = 0;

    for (int i = 0; i < 30000; i++) {
        size_t len, whole = 0, n = g_test_rand_int_range(0, 200) * (i % 3 ? 8 : 1);
        bool v6 = i & 1, more = g_test_rand_int_range(0, 3);
        g_autofree uint8_t *f = piece(v6, g_test_rand_int_range(0, 20), g_test_rand_int_range(0, i % 5 ? 12 : 8192) * 8, n, more, &len);
        const char *why = NULL;
        uint8_t *w;

        if (!slirp_guard(f, len, &why) || !fragment_is(f, len))
            continue;
        w = fragments_join(fr, f, len, i * 10, &whole, &why);
        if (w) {
            joined++;
            g_assert_cmpuint(whole, <=, ETH + 40 + 65535);
            g_assert_cmpuint(w[0] + w[whole - 1], >=, 0);
        }
    }
    g_assert_cmpuint(joined, >, 0);
    fragments_free(fr);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fragments/what_is_cut_is_joined_again", what_is_cut_is_joined_again);
    g_test_add_data_func("/fragments/overlaps_take_the_datagram_with_them/4", GINT_TO_POINTER(4), overlaps_take_the_datagram_with_them);
    g_test_add_data_func("/fragments/overlaps_take_the_datagram_with_them/6", GINT_TO_POINTER(6), overlaps_take_the_datagram_with_them);
    g_test_add_data_func("/fragments/a_piece_that_comes_twice_does_no_harm/4", GINT_TO_POINTER(4), a_piece_that_comes_twice_does_no_harm);
    g_test_add_data_func("/fragments/a_piece_that_comes_twice_does_no_harm/6", GINT_TO_POINTER(6), a_piece_that_comes_twice_does_no_harm);
    g_test_add_data_func("/fragments/impossible_pieces_are_refused/4", GINT_TO_POINTER(4), impossible_pieces_are_refused);
    g_test_add_data_func("/fragments/impossible_pieces_are_refused/6", GINT_TO_POINTER(6), impossible_pieces_are_refused);
    g_test_add_func("/fragments/beginnings_are_bounded_in_number_and_time", beginnings_are_bounded_in_number_and_time);
    g_test_add_func("/fragments/urgent_data_in_fragments_meets_the_frame_filter", urgent_data_in_fragments_meets_the_frame_filter);
    g_test_add_func("/fragments/joined_frames_are_looked_at_again", joined_frames_are_looked_at_again);
    g_test_add_func("/fragments/random_pieces_stay_inside", random_pieces_stay_inside);
    return g_test_run();
}
