/*
 * test-generic: every class in hw/devices.def: reset is idempotent, saved state survives a fresh
 * instance byte for byte after random accesses, and no sequence of register accesses crashes it.
 */
#include "tests/hw/bench.h"

#include <stdlib.h>

static const struct { const char *cls, *props; } with[] = {
#define WITH(c, p) { c, p },
#include "tests/hw/generic.def"
#undef WITH
    { NULL, NULL }
};

static const char *props_of(const char *cls)
{
    for (unsigned i = 0; with[i].cls; i++)
        if (!strcmp(with[i].cls, cls))
            return with[i].props;
    return NULL;
}

/* The name of the field at byte *off of d's saved body, or NULL with *off reduced by what d takes. */
static const char *field_at(const StateDesc *d, uint64_t *off, const uint8_t *obj)
{
    for (const StateField *f = d->fields; f && f->kind != STATE_END_; f++) {
        uint64_t len = (uint64_t)f->elem * f->count;

        if (f->kind == STATE_STRUCT_) {
            for (unsigned i = 0; i < f->count; i++) {
                const char *name = field_at(f->sub, off, obj + f->offset + (size_t)i * f->elem);

                if (name)
                    return name;
            }
            continue;
        }
        if (f->kind == STATE_POINTER_) {
            const uint8_t *l = obj + f->len_off;

            len = 8 + (f->elem == 4 ? *(const uint32_t *)(const void *)l : *(const uint64_t *)(const void *)l);
        }
        if (*off < len)
            return f->name;
        *off -= len;
    }
    return NULL;
}

/* Which device and field the first difference of two saves lies in. */
static void explain(Bench *b, const GByteArray *x, const GByteArray *y)
{
    uint64_t diff = 0, at = 0;

    while (diff < x->len && diff < y->len && x->data[diff] == y->data[diff])
        diff++;
    for (unsigned i = 0; i < b->m->devices->len && at < x->len; i++) {
        Device *d = g_ptr_array_index(b->m->devices, i);
        uint64_t name_len, body, start;

        if (d->cls->state->none_why)
            continue;
        name_len = ld16_le(x->data + at);
        start = at + 2 + name_len + 8;
        body = ld32_le(x->data + start - 4);
        if (diff >= start && diff < start + body) {
            uint64_t off = diff - start;
            const char *f = field_at(d->cls->state, &off, (const uint8_t *)d);

            g_test_message("%s: field '%s' differs at byte %" G_GUINT64_FORMAT " of it", d->state_name,
                           f ? f : "?", off);
            return;
        }
        at = start + body;
    }
    g_test_message("saves differ at byte %" G_GUINT64_FORMAT, diff);
}

static void same_saves(Bench *b, const GByteArray *x, const char *when)
{
    g_autoptr(GByteArray) y = bench_save(b);

    if (x->len == y->len && (!x->len || !memcmp(x->data, y->data, x->len)))
        return;
    explain(b, x, y);
    g_test_message("state is not the same %s", when);
    g_test_fail();
}

static uint32_t random_value(GRand *r)
{
    switch (g_rand_int_range(r, 0, 6)) {
    case 0: return 0;
    case 1: return UINT32_MAX;
    case 2: return 1u << g_rand_int_range(r, 0, 32);
    case 3: return g_rand_int_range(r, 0, 256);
    case 4: return g_rand_int_range(r, 0, BENCH_RAM) & ~3u;     /* looks like an address */
    default: return g_rand_int(r);
    }
}

static void random_access(GRand *r, AddressSpace *as)
{
    FlatView *v = addrspace_view_ref(as);
    unsigned pick = v->n ? g_rand_int_range(r, 0, v->n) : 0;
    FlatRange fr = v->n ? v->ranges[pick] : (FlatRange) { 0 };
    unsigned size = 1u << g_rand_int_range(r, 0, as->root->size > 0x10000 ? 4 : 3);
    uint64_t addr, val;

    flat_view_unref(v);
    if (!fr.size || (fr.host && g_rand_int_range(r, 0, 16)))
        return;
    addr = fr.addr + (fr.size > UINT32_MAX ? g_rand_int(r) : g_rand_int_range(r, 0, MIN(fr.size, 0x7fffffff)));
    if (g_rand_int_range(r, 0, 4))
        addr &= ~(uint64_t)(size - 1);
    if (g_rand_boolean(r))
        addrspace_read(as, addr, size, &val);
    else
        addrspace_write(as, addr, size, random_value(r) | (uint64_t)random_value(r) << 32);
}

static void fuzz(Bench *b, GRand *r, int n)
{
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC;       /* bounded; order does not depend on it */

    for (int i = 0; i < n && (i % 256 || g_get_monotonic_time() < end); i++) {
        int what = g_rand_int_range(r, 0, 100);

        if (what < 45)
            random_access(r, &b->m->ports);
        else if (what < 90)
            random_access(r, &b->m->mem);
        else if (what < 95)
            bench_step_ns(b, g_rand_int_range(r, 0, 1000000));
        else if (b->dev->cls->bus == BUS_PCI)
            bench_cfg_write(b, b->dev, g_rand_int_range(r, 0, 64) * 4, random_value(r), 4);
        if (i % 64 == 63)
            machine_loop_once(b->m, false);
        b->m->quit = false;
    }
}

static void device_keeps_its_state(gconstpointer data)
{
    const DeviceClass *cls = data;
    GRand *r = g_rand_new_with_seed(20260101);
    g_autoptr(GError) err = NULL;
    g_autoptr(GByteArray) first = NULL;
    Bench *b = bench_try(cls->name, props_of(cls->name), &err);

    if (!b) {
        g_test_skip(err->message);
        g_rand_free(r);
        return;
    }
    bench_reset(b);
    first = bench_save(b);
    bench_reset(b);
    same_saves(b, first, "after a second reset");
    for (int round = 0; round < 3; round++) {
        g_autoptr(GByteArray) before = NULL;

        if (cls->bus == BUS_PCI)
            bench_pci_map(b, b->dev);
        fuzz(b, r, g_test_quick() ? 2000 : 20000);
        before = bench_save(b);
        bench_roundtrip(b);
        same_saves(b, before, "after save, new machine and load");
    }
    bench_free(b);
    g_rand_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (const DeviceClass *const *c = device_class_list(); *c; c++) {
        g_autofree char *path = g_strdup_printf("/device/%s", (*c)->name);

        g_test_add_data_func(path, *c, device_keeps_its_state);
    }
    return g_test_run();
}
