/*
 * snapshot: the state of a whole machine in a file.
 *
 * Layout: magic, u64 clock, then RAM blocks (name, size, 1 MiB chunks that are not all zero, each
 * zstd-compressed), vcpu sections, device sections. A file is untrusted input.
 */
#include "softmmu/softmmu_int.h"
#include "softmmu/accel.h"

#include "util/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <zstd.h>

#define SNAPSHOT_MAGIC "quern state 1\n\0\0"
enum { MAGIC_LEN = 16, CHUNK = 1 << 20, ZSTD_LEVEL = 1 };
#define CHUNK_END UINT64_MAX

typedef struct In {
    const uint8_t *p, *end;
} In;

static void put64(GByteArray *out, uint64_t v)
{
    uint8_t b[8];

    st64_le(b, v);
    g_byte_array_append(out, b, 8);
}

static bool get64(In *in, uint64_t *v, GError **err)
{
    if (in->end - in->p < 8)
        return err_set(err, "the saved state is cut short");
    *v = ld64_le(in->p);
    in->p += 8;
    return true;
}

/* Every block a snapshot carries: the machine's, RAM in the tree, what devices named. ROM comes from
   files; one that can be written (flash) is named by its device. */
static void collect_tree(GPtrArray *out, const Region *r, unsigned depth)
{
    if (depth > 64)
        return;
    if (r->kind == REGION_RAM && !g_ptr_array_find(out, r->ram, NULL))
        g_ptr_array_add(out, r->ram);
    if (r->kind == REGION_ALIAS)
        collect_tree(out, r->alias, depth + 1);
    for (unsigned i = 0; r->children && i < r->children->len; i++)
        collect_tree(out, g_ptr_array_index(r->children, i), depth + 1);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    return strcmp((*(RamBlock *const *)a)->name, (*(RamBlock *const *)b)->name);
}

static GPtrArray *collect_ram(Machine *m)
{
    GPtrArray *out = g_ptr_array_new();

    if (m->ram)
        g_ptr_array_add(out, m->ram);
    for (unsigned i = 0; i < m->ram_blocks->len; i++)
        if (!g_ptr_array_find(out, g_ptr_array_index(m->ram_blocks, i), NULL))
            g_ptr_array_add(out, g_ptr_array_index(m->ram_blocks, i));
    collect_tree(out, &m->mem_root, 0);
    g_ptr_array_sort(out, by_name);
    return out;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return !p[0] && !memcmp(p, p + 1, len - 1);
}

static bool write_out(FILE *f, GByteArray *out, GError **err)
{
    if (fwrite(out->data, 1, out->len, f) != out->len)
        return err_set_errno(err, errno, "writing the state file");
    g_byte_array_set_size(out, 0);
    return true;
}

static bool save_ram(FILE *f, GByteArray *out, RamBlock *rb, GError **err)
{
    g_autofree uint8_t *packed = g_malloc(ZSTD_compressBound(CHUNK));

    put64(out, strlen(rb->name));
    g_byte_array_append(out, (const uint8_t *)rb->name, strlen(rb->name));
    put64(out, rb->size);
    for (uint64_t off = 0; off < rb->size; off += CHUNK) {
        size_t len = MIN(CHUNK, rb->size - off), n;

        if (all_zero(rb->host + off, len))
            continue;
        n = ZSTD_compress(packed, ZSTD_compressBound(CHUNK), rb->host + off, len, ZSTD_LEVEL);
        if (ZSTD_isError(n))
            return err_set(err, "compressing guest memory: %s", ZSTD_getErrorName(n));
        put64(out, off);
        put64(out, n);
        g_byte_array_append(out, packed, n);
        if (!write_out(f, out, err))
            return false;
    }
    put64(out, CHUNK_END);
    return write_out(f, out, err);
}

static bool save_all(Machine *m, FILE *f, GError **err)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GPtrArray) ram = collect_ram(m);

    g_byte_array_append(out, (const uint8_t *)SNAPSHOT_MAGIC, MAGIC_LEN);
    put64(out, clock_ns(m->clocks, CLOCK_VM));
    put64(out, ram->len);
    for (unsigned i = 0; i < ram->len; i++) {
        RamBlock *rb = g_ptr_array_index(ram, i);

        if (!save_ram(f, out, rb, err))
            return false;
    }
    put64(out, m->vcpus->len);
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, i);
        g_autofree char *name = g_strdup_printf("cpu/%u", i);

        if (m->accel && m->accel->pull)
            m->accel->pull(v);
        put64(out, atomic_load(&v->irq));
        put64(out, v->halted | v->sipi_vector << 8);
        state_save(out, name, v->ops->state, v);
    }
    if (m->device_ops)
        m->device_ops->save(m, out);
    return write_out(f, out, err);
}

bool machine_save(Machine *m, const char *path, GError **err)
{
    g_autofree char *tmp = g_strconcat(path, ".part", NULL);
    FILE *f = fopen(tmp, "wbe");
    bool ok;

    if (!f)
        return err_set_errno(err, errno, "cannot create '%s'", tmp);
    ok = save_all(m, f, err);
    if (fclose(f) && ok)
        ok = err_set_errno(err, errno, "writing '%s'", tmp);
    if (ok && rename(tmp, path) < 0)
        ok = err_set_errno(err, errno, "cannot rename '%s' to '%s'", tmp, path);
    if (!ok)
        remove(tmp);
    return ok;
}

/* --- loading --- */

/* The block whose name comes next, taken out of ram. */
static RamBlock *take_named(In *in, GPtrArray *ram, GError **err)
{
    uint64_t len;

    if (!get64(in, &len, err))
        return NULL;
    if (len > (uint64_t)(in->end - in->p) || len > 256) {
        err_set(err, "the saved state is damaged");
        return NULL;
    }
    for (unsigned i = 0; i < ram->len; i++) {
        RamBlock *rb = g_ptr_array_index(ram, i);

        if (strlen(rb->name) == len && !memcmp(in->p, rb->name, len)) {
            in->p += len;
            return g_ptr_array_remove_index(ram, i);
        }
    }
    err_set(err, "the saved state is of another machine: this one has no memory '%.*s'", (int)len, in->p);
    return NULL;
}

static bool load_ram(In *in, GPtrArray *ram, GError **err)
{
    RamBlock *rb = take_named(in, ram, err);
    uint64_t len, size, off, n;

    if (!rb)
        return false;
    if (!get64(in, &size, err))
        return false;
    if (size != rb->size)
        return err_set(err, "the saved state has %" G_GUINT64_FORMAT " bytes of memory '%s', this machine %"
                       G_GUINT64_FORMAT, size, rb->name, rb->size);
    memset(rb->host, 0, rb->size);
    for (;;) {
        if (!get64(in, &off, err))
            return false;
        if (off == CHUNK_END)
            break;
        if (!get64(in, &n, err))
            return false;
        if (off >= rb->size || off % CHUNK || n > (uint64_t)(in->end - in->p))
            return err_set(err, "the saved state has a broken piece of memory '%s'", rb->name);
        len = MIN(CHUNK, rb->size - off);
        if (ZSTD_decompress(rb->host + off, len, in->p, n) != len)
            return err_set(err, "the saved state has a damaged piece of memory '%s'", rb->name);
        in->p += n;
    }
    ram_mark_written(rb, 0, rb->size);
    return true;
}

static bool load_vcpu(In *in, Machine *m, unsigned i, GError **err)
{
    Vcpu *v = g_ptr_array_index(m->vcpus, i);
    g_autofree char *name = g_strdup_printf("cpu/%u", i);
    uint64_t irq, halt;

    if (!get64(in, &irq, err) || !get64(in, &halt, err) ||
        !state_load(&in->p, in->end, name, v->ops->state, v, err))
        return false;
    atomic_store(&v->irq, (uint32_t)irq);
    v->halted = halt & 1;
    v->sipi_vector = halt >> 8;
    if (v->ops->flush_tlb)
        v->ops->flush_tlb(v);
    if (m->accel && m->accel->push)
        m->accel->push(v);
    return true;
}

static bool load_all(Machine *m, In *in, GError **err)
{
    g_autoptr(GPtrArray) ram = collect_ram(m);
    uint64_t vm_ns, n;

    if (in->end - in->p < MAGIC_LEN || memcmp(in->p, SNAPSHOT_MAGIC, MAGIC_LEN))
        return err_set(err, "this is not a saved state");
    in->p += MAGIC_LEN;
    if (!get64(in, &vm_ns, err) || !get64(in, &n, err))
        return false;
    for (; n; n--)
        if (!load_ram(in, ram, err))
            return false;
    if (!get64(in, &n, err))
        return false;
    if (n != m->vcpus->len)
        return err_set(err, "the saved state has %" G_GUINT64_FORMAT " CPUs, this machine %u", n, m->vcpus->len);
    clocks_set_vm_ns(m->clocks, vm_ns & INT64_MAX);
    for (unsigned i = 0; i < m->vcpus->len; i++)
        if (!load_vcpu(in, m, i, err))
            return false;
    if (m->device_ops && !m->device_ops->load(m, &in->p, in->end, err))
        return false;
    return true;
}

bool machine_load(Machine *m, const char *path, GError **err)
{
    g_autoptr(GMappedFile) map = g_mapped_file_new(path, false, err);
    In in;
    bool ok;

    if (!map)
        return false;
    in.p = (const uint8_t *)g_mapped_file_get_contents(map);
    in.end = in.p + g_mapped_file_get_length(map);
    if (m->device_ops)
        m->device_ops->reset(m);        /* requests under way end before the memory they point to changes */
    region_batch_begin();
    ok = load_all(m, &in, err);
    region_batch_end();
    if (!ok)
        machine_reset(m, CAUSE_NONE);   /* a half-loaded machine must not run on */
    return ok;
}
