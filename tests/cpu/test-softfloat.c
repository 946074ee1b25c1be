/* test-softfloat: softfloat against the host's arithmetic, and the rules hosts cannot show. */
#include "target/x86/softfloat.h"

#include <math.h>
#include <string.h>

static uint64_t rnd(void)
{
    return (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}
/* Exponents close together, so that sums and products stay interesting; and now and then anything. */
static uint64_t rnd64(void)
{
    uint64_t v = rnd();

    return v & 7 ? (v & 0x800fffffffffffffULL) | (uint64_t)(1000 + (v >> 56) % 50) << 52 : v;
}
static uint32_t rnd32(void)
{
    uint32_t v = rnd();

    return v & 7 ? (v & 0x807fffff) | (110 + (v >> 8) % 40) << 23 : v;
}
static double f64(uint64_t v) { double d; memcpy(&d, &v, 8); return d; }
static uint64_t bits64(double d) { uint64_t v; memcpy(&v, &d, 8); return v; }
static float f32(uint32_t v) { float d; memcpy(&d, &v, 4); return d; }
static uint32_t bits32(float d) { uint32_t v; memcpy(&v, &d, 4); return v; }
static FpStatus nearest(void) { return (FpStatus) { .masks = FPX_ALL, .prec = 64 }; }

static void check64(const char *what, uint64_t x, uint64_t y, Fp got, double want)
{
    if (isnan(want) ? !fp_is_nan(got) : fp_to_f64(got) != bits64(want))
        g_error("%s %016" G_GINT64_MODIFIER "x %016" G_GINT64_MODIFIER "x: %016" G_GINT64_MODIFIER "x, host %016" G_GINT64_MODIFIER "x",
                what, x, y, fp_to_f64(got), bits64(want));
}

static void double_matches_host(void)
{
    for (unsigned n = 0; n < 200000; n++) {
        uint64_t x = rnd64(), y = rnd64(), z = rnd64();
        Fp a = fp_from_f64(x), b = fp_from_f64(y), c = fp_from_f64(z);
        FpStatus st = nearest();

        check64("add", x, y, fp_add(&st, &fp_f64, a, b), f64(x) + f64(y));
        check64("sub", x, y, fp_sub(&st, &fp_f64, a, b), f64(x) - f64(y));
        check64("mul", x, y, fp_mul(&st, &fp_f64, a, b), f64(x) * f64(y));
        check64("div", x, y, fp_div(&st, &fp_f64, a, b), f64(x) / f64(y));
        check64("sqrt", x, 0, fp_sqrt(&st, &fp_f64, a), sqrt(f64(x)));
        check64("fma", x, y, fp_fma(&st, &fp_f64, a, b, c, false, false), fma(f64(x), f64(y), f64(z)));
        check64("rint", x, 0, fp_rint(&st, a), nearbyint(f64(x)));
    }
}

static void single_matches_host(void)
{
    for (unsigned n = 0; n < 200000; n++) {
        uint32_t x = rnd32(), y = rnd32();
        Fp a = fp_from_f32(x), b = fp_from_f32(y);
        float want[3] = { f32(x) + f32(y), f32(x) * f32(y), f32(x) / f32(y) };
        FpStatus st = nearest();
        Fp got[3];

        got[0] = fp_add(&st, &fp_f32, a, b);
        got[1] = fp_mul(&st, &fp_f32, a, b);
        got[2] = fp_div(&st, &fp_f32, a, b);
        for (unsigned k = 0; k < 3; k++) {
            if (!isnan(want[k]))
                g_assert_cmphex(fp_to_f32(got[k]), ==, bits32(want[k]));
        }
        check64("widen", x, 0, fp_convert(&st, &fp_f64, a), f32(x));
    }
}

static void formats_round_trip(void)
{
    for (unsigned n = 0; n < 100000; n++) {
        uint64_t v = rnd();
        X86Fp80 x = fp_to_x80(fp_from_f64(v));

        g_assert_cmphex(fp_to_f64(fp_from_f64(v)), ==, v);
        g_assert_cmphex(fp_to_f32(fp_from_f32(v)), ==, (uint32_t)v);
        g_assert_cmphex(fp_to_f16(fp_from_f16(v)), ==, (uint16_t)v);
        g_assert_cmphex(fp_to_f64(fp_from_x80(x)), ==, v);
    }
}

static void rounding_follows_mode(void)
{
    static const uint32_t third[4] = { 0x3eaaaaab, 0x3eaaaaaa, 0x3eaaaaab, 0x3eaaaaaa };

    for (unsigned rm = 0; rm < 4; rm++) {
        FpStatus st = nearest();

        st.rm = rm;
        g_assert_cmphex(fp_to_f32(fp_div(&st, &fp_f32, fp_from_i64(1), fp_from_i64(3))), ==, third[rm]);
        g_assert_cmphex(st.flags, ==, FPX_P);
    }
}

static void denormals_flags_and_modes(void)
{
    const uint64_t tiny = 1, small = 0x0010000000000000ULL;
    FpStatus st = nearest();
    Fp r;

    r = fp_mul(&st, &fp_f64, fp_from_f64(small), fp_from_f64(0x3fe0000000000000ULL));
    g_assert_cmphex(fp_to_f64(r), ==, small >> 1);
    g_assert_cmphex(st.flags, ==, 0);           /* exact: a masked underflow is not reported */
    r = fp_add(&st, &fp_f64, fp_from_f64(tiny), fp_from_f64(tiny));
    g_assert_cmphex(fp_to_f64(r), ==, 2);
    g_assert_cmphex(st.flags, ==, FPX_D);
    st = nearest();
    st.daz = true;
    r = fp_add(&st, &fp_f64, fp_from_f64(tiny), fp_from_f64(tiny));
    g_assert_cmphex(fp_to_f64(r), ==, 0);
    g_assert_cmphex(st.flags, ==, 0);
    st = nearest();
    st.ftz = true;
    r = fp_mul(&st, &fp_f64, fp_from_f64(small), fp_from_f64(0x3fe0000000000000ULL));
    g_assert_cmphex(fp_to_f64(r), ==, 0);
    g_assert_cmphex(st.flags, ==, FPX_U | FPX_P);
}

static void nans_by_sse_and_x87_rules(void)
{
    Fp q = fp_from_f64(0x7ff8000000000001ULL), s = fp_from_f64(0xfff0000000000002ULL);
    FpStatus st = nearest();

    g_assert_cmphex(fp_to_f64(fp_add(&st, &fp_f64, q, s)), ==, 0x7ff8000000000001ULL);
    g_assert_cmphex(st.flags, ==, FPX_I);
    g_assert_cmphex(fp_to_f64(fp_add(&st, &fp_f64, s, q)), ==, 0xfff8000000000002ULL);
    st.x87 = true;              /* the quiet one wins whatever the order */
    g_assert_cmphex(fp_to_f64(fp_add(&st, &fp_f64, s, q)), ==, 0x7ff8000000000001ULL);
    st = nearest();
    g_assert_cmphex(fp_to_f64(fp_sub(&st, &fp_f64, fp_from_f64(0x7ff0000000000000ULL), fp_from_f64(0x7ff0000000000000ULL))), ==,
                    0xfff8000000000000ULL);
    g_assert_cmphex(st.flags, ==, FPX_I);
}

static void integers_saturate_to_indefinite(void)
{
    FpStatus st = nearest();

    g_assert_cmpint(fp_to_int(&st, fp_from_f64(0xc1e0000000000000ULL), 32), ==, INT32_MIN);
    g_assert_cmphex(st.flags, ==, 0);
    g_assert_cmpint(fp_to_int(&st, fp_from_f64(0x41e0000000000000ULL), 32), ==, INT32_MIN);
    g_assert_cmphex(st.flags, ==, FPX_I);
    st = nearest();
    g_assert_cmpint(fp_to_int(&st, fp_from_f64(0x4004000000000000ULL), 64), ==, 2);     /* 2.5 */
    g_assert_cmphex(st.flags, ==, FPX_P);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/softfloat/double_matches_host", double_matches_host);
    g_test_add_func("/softfloat/single_matches_host", single_matches_host);
    g_test_add_func("/softfloat/formats_round_trip", formats_round_trip);
    g_test_add_func("/softfloat/rounding_follows_mode", rounding_follows_mode);
    g_test_add_func("/softfloat/denormals_flags_and_modes", denormals_flags_and_modes);
    g_test_add_func("/softfloat/nans_by_sse_and_x87_rules", nans_by_sse_and_x87_rules);
    g_test_add_func("/softfloat/integers_saturate_to_indefinite", integers_saturate_to_indefinite);
    return g_test_run();
}
