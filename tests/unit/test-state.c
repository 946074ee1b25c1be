/* test-state: round trips, and what a hostile saved state may not do. */
#include "softmmu/state.h"

#include "util/bytes.h"

typedef struct Inner { uint16_t a; bool b; } Inner;
typedef struct Thing {
    uint8_t u8, idx;
    uint32_t arr[3];
    int64_t when;
    uint8_t raw[5];
    Inner in[2];
    uint8_t *buf;
    uint32_t buf_len;
    unsigned loads;
} Thing;

static bool thing_loaded(void *opaque, GError **err)
{
    Thing *t = opaque;

    t->loads++;
    return t->when >= 0 || err_set(err, "time runs backwards");
}

static const StateDesc inner_state = { .version = 1, .fields = (const StateField[]) {
    STATE_U16(Inner, a), STATE_B(Inner, b), STATE_END } };
static const StateDesc thing_state = { .version = 3, .min_version = 2, .loaded = thing_loaded,
    .fields = (const StateField[]) {
        STATE_U8(Thing, u8), STATE_UMAX(Thing, idx, 7), STATE_UARRAY(Thing, arr), STATE_I64(Thing, when),
        STATE_BUF(Thing, raw), STATE_STRUCTS(Thing, in, &inner_state),
        STATE_PBUF(Thing, buf, buf_len, 16), STATE_END } };

static Thing *thing_new(void)
{
    Thing *t = g_new0(Thing, 1);

    t->u8 = 9;
    t->idx = 7;
    t->arr[2] = 0xdeadbeef;
    t->when = 1LL << 40;
    memcpy(t->raw, "hello", 5);
    t->in[1] = (Inner) { 0x1234, true };
    t->buf = g_memdup2("abc", 3);
    t->buf_len = 3;
    return t;
}

static void thing_free(Thing *t)
{
    g_free(t->buf);
    g_free(t);
}

static bool try_load(const uint8_t *d, size_t n, Thing *t)
{
    const uint8_t *p = d;
    GError *err = NULL;
    bool ok = state_load(&p, d + n, "thing/0", &thing_state, t, &err);

    g_assert_true(ok == !err);
    g_clear_error(&err);
    return ok;
}

static void roundtrip_is_byte_equal(void)
{
    Thing *a = thing_new(), *b = g_new0(Thing, 1);
    g_autoptr(GByteArray) one = g_byte_array_new(), two = g_byte_array_new();

    state_save(one, "thing/0", &thing_state, a);
    g_assert_true(try_load(one->data, one->len, b));
    g_assert_cmpuint(b->loads, ==, 1);
    g_assert_cmpmem(b->buf, b->buf_len, "abc", 3);
    g_assert_true(b->in[1].b);
    state_save(two, "thing/0", &thing_state, b);
    g_assert_cmpmem(one->data, one->len, two->data, two->len);
    thing_free(a);
    thing_free(b);
}

static void damaged_state_is_refused_and_harmless(void)
{
    Thing *a = thing_new(), *b = g_new0(Thing, 1);
    g_autoptr(GByteArray) good = g_byte_array_new();
    GRand *r = g_rand_new_with_seed(1);
    size_t body = 2 + 7 + 8;

    state_save(good, "thing/0", &thing_state, a);
    for (size_t n = 0; n < good->len; n++)              /* every truncation */
        g_assert_false(try_load(good->data, n, b));
    good->data[body + 1] = 8;                           /* idx above its bound */
    g_assert_false(try_load(good->data, good->len, b));
    g_assert_cmpuint(b->u8, ==, 0);                     /* nothing was stored */
    good->data[body + 1] = 7;
    good->data[body + 2 + 12 + 7] = 0xff;               /* loaded() refuses */
    g_assert_false(try_load(good->data, good->len, b));
    good->data[body + 2 + 12 + 7] = 0;
    for (int i = 0; i < 20000; i++) {
        g_autofree uint8_t *d = g_memdup2(good->data, good->len);

        for (int k = 0; k < 3; k++)
            d[g_rand_int_range(r, 0, good->len)] = g_rand_int(r);
        try_load(d, good->len, b);
        g_assert_cmpuint(b->idx, <=, 7);
        g_assert_cmpuint(b->buf_len, <=, 16);
    }
    g_rand_free(r);
    thing_free(a);
    thing_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/roundtrip", roundtrip_is_byte_equal);
    g_test_add_func("/state/hostile", damaged_state_is_refused_and_harmless);
    return g_test_run();
}
