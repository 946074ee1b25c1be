/*
 * test-fuzz: the fuzzer's image target without a fuzzer: its packed corpus, and random changes of each entry.
 *
 * tests/fuzz/image.corpus holds records of a length (u16, little-endian) and so many bytes; the long run is
 * `make fuzz-block`.
 */
#include "tests/fuzz/fuzz-image.c"

static void change(GRand *r, GByteArray *a)
{
    static const uint32_t odd[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffe, 0x10000, 0x200, 0xff };
    guint at = g_rand_int_range(r, 1, a->len);

    switch (g_rand_int_range(r, 0, 4)) {
    case 0: a->data[at] ^= 1 << g_rand_int_range(r, 0, 8); break;
    case 1: a->data[at] = g_rand_int(r); break;
    case 2:
        if (at + 4 <= a->len)
            st32_be(a->data + at, odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))]);
        break;
    default:
        if (at + 8 <= a->len)
            st32_le(a->data + at, odd[g_rand_int_range(r, 0, G_N_ELEMENTS(odd))]);
    }
}

static void changed_images_never_crash(void)
{
    const char *src = g_getenv("QUERN_SRC") ? g_getenv("QUERN_SRC") : ".";
    g_autofree char *path = g_build_filename(src, "tests/fuzz/image.corpus", NULL), *data = NULL;
    int64_t end = g_get_monotonic_time() + (g_test_slow() ? 60 : 4) * G_USEC_PER_SEC;
    GRand *r = g_rand_new_with_seed(g_test_rand_int());
    size_t len, entries = 0, runs = 0;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    for (int round = 0; round < 1000 && (round == 0 || g_get_monotonic_time() < end); round++)
        for (size_t at = 0; at + 2 < len && (round == 0 || g_get_monotonic_time() < end); runs++) {
            size_t n = ld16_le(data + at);
            g_autoptr(GByteArray) a = g_byte_array_new();
            g_assert_true(n > 1 && at + 2 + n <= len);
            g_byte_array_append(a, (uint8_t *)data + at + 2, n);
            for (int k = 0; round && k < 1 + round % 4; k++)
                change(r, a);
            LLVMFuzzerTestOneInput(a->data, a->len);
            at += 2 + n;
            entries += round == 0;
        }
    g_test_message("%zu entries, %zu runs", entries, runs);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_test_add_func("/fuzz/changed_images_never_crash", changed_images_never_crash);
    return g_test_run();
}
