/* bench: builds a CPU-less machine around devices under test. */
#include "tests/hw/bench.h"

#include "hw/core/wiring.h"
#include "softmmu/accel.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct Spec { char *cls, *props; Device *dev; } Spec;
typedef struct Back { char *kind, *id; void *backend; } Back;

static void spec_free(gpointer p)
{
    Spec *s = p;

    g_free(s->cls);
    g_free(s->props);
    g_free(s);
}

static void back_free(gpointer p)
{
    Back *k = p;

    g_free(k->kind);
    g_free(k->id);
    g_free(k);
}

static void irq_seen(void *opaque, int n, int level)
{
    Bench *b = opaque;

    level = !!level;
    b->irq_edges[n] += level && !b->irq_level[n];
    b->irq_level[n] = level;
}

static void intx_seen(void *opaque, unsigned slot, unsigned pin, int level)
{
    Bench *b = opaque;

    b->intx_level[slot & 31] = level;
}

static void msi_seen(void *opaque, uint64_t addr, uint32_t data)
{
    Bench *b = opaque;
    BenchMsi msi = { addr, data };

    g_array_append_val(b->msis, msi);
}

static void ram_region_free(void *data)
{
    region_destroy(data);
    g_free(data);
}

static void build_machine(Bench *b)
{
    GError *err = NULL;
    IsaBus *isa;
    PciBus *pci;
    Region *ram;

    b->m = machine_new(true);
    b->m->accel = accel_find("null");
    b->m->ram_size = BENCH_RAM;
    b->m->ram = ram_block_new("bench.ram", BENCH_RAM, &err);
    g_assert_no_error(err);
    ram = g_new0(Region, 1);
    region_init_ram(ram, "ram", b->m->ram, 0, BENCH_RAM);
    region_add(&b->m->mem_root, ram, 0, 0);
    board_on_free(b->m, ram_region_free, ram);
    isa = isa_bus_new(b->m, NULL);
    for (int i = 0; i < 16; i++)
        isa->irq[i] = (IrqLine) { irq_seen, b, i };
    pci = pci_bus_new(b->m, NULL, "pci.0", &b->m->mem_root, &b->m->port_root);
    pci->bus->hotplug = true;
    pci->set_irq = intx_seen;
    pci->set_irq_opaque = b;
    pci_set_msi_target(b->m, msi_seen, b);
    for (unsigned i = 0; i < b->backends->len; i++) {
        Back *k = g_ptr_array_index(b->backends, i);

        backend_register(b->m, k->kind, k->id, k->backend);
    }
    b->next_mmio = 0xe0000000;
    b->next_port = 0xc000;
}

static void drop_machine(Bench *b)
{
    machine_free(b->m);
    b->m = NULL;
}

static bool spec_realize(Bench *b, Spec *s, GError **err)
{
    s->dev = device_create(b->m, s->cls, NULL, s->props, err);
    if (s->dev && !b->dev)
        b->dev = s->dev;
    return s->dev != NULL;
}

Bench *bench_try(const char *cls, const char *props, GError **err)
{
    Bench *b = g_new0(Bench, 1);
    Spec *s;

    if (!machine_lock_held())
        machine_lock();
    b->specs = g_ptr_array_new_with_free_func(spec_free);
    b->backends = g_ptr_array_new_with_free_func(back_free);
    b->msis = g_array_new(false, false, sizeof(BenchMsi));
    build_machine(b);
    if (!cls)
        return b;
    s = g_new0(Spec, 1);
    s->cls = g_strdup(cls);
    s->props = g_strdup(props);
    g_ptr_array_add(b->specs, s);
    if (!spec_realize(b, s, err)) {
        bench_free(b);
        return NULL;
    }
    return b;
}

Bench *bench_new(const char *cls, const char *props)
{
    GError *err = NULL;
    Bench *b = bench_try(cls, props, &err);

    g_assert_no_error(err);
    return b;
}

void bench_backend(Bench *b, const char *kind, const char *id, void *backend)
{
    Back *k = g_new0(Back, 1);

    k->kind = g_strdup(kind);
    k->id = g_strdup(id);
    k->backend = backend;
    g_ptr_array_add(b->backends, k);
    backend_register(b->m, kind, id, backend);
}

Device *bench_add(Bench *b, const char *cls, const char *props)
{
    GError *err = NULL;
    Spec *s = g_new0(Spec, 1);

    s->cls = g_strdup(cls);
    s->props = g_strdup(props);
    g_ptr_array_add(b->specs, s);
    spec_realize(b, s, &err);
    g_assert_no_error(err);
    return s->dev;
}

void bench_free(Bench *b)
{
    drop_machine(b);
    g_ptr_array_free(b->specs, true);
    g_ptr_array_free(b->backends, true);
    g_array_free(b->msis, true);
    g_free(b);
}

/* --- accesses --- */

static uint64_t port_in(Bench *b, uint16_t port, unsigned size)
{
    uint64_t v;

    addrspace_read(&b->m->ports, port, size, &v);
    return v;
}

uint8_t bench_in8(Bench *b, uint16_t port) { return port_in(b, port, 1); }
uint16_t bench_in16(Bench *b, uint16_t port) { return port_in(b, port, 2); }
uint32_t bench_in32(Bench *b, uint16_t port) { return port_in(b, port, 4); }
void bench_out8(Bench *b, uint16_t port, uint8_t v) { addrspace_write(&b->m->ports, port, 1, v); }
void bench_out16(Bench *b, uint16_t port, uint16_t v) { addrspace_write(&b->m->ports, port, 2, v); }
void bench_out32(Bench *b, uint16_t port, uint32_t v) { addrspace_write(&b->m->ports, port, 4, v); }

uint64_t bench_ld(Bench *b, uint64_t addr, unsigned size)
{
    uint64_t v;

    addrspace_read(&b->m->mem, addr, size, &v);
    return v;
}

void bench_st(Bench *b, uint64_t addr, unsigned size, uint64_t v)
{
    addrspace_write(&b->m->mem, addr, size, v);
}

void bench_mem_read(Bench *b, uint64_t addr, void *buf, uint64_t len)
{
    CHECK(dma_read(&b->m->mem, addr, buf, len));
}

void bench_mem_write(Bench *b, uint64_t addr, const void *buf, uint64_t len)
{
    CHECK(dma_write(&b->m->mem, addr, buf, len));
}

void bench_step_ns(Bench *b, int64_t ns)
{
    clocks_step(b->m->clocks, ns);
}

bool bench_wait(Bench *b, bool (*cond)(void *opaque), void *opaque)
{
    gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    while (!cond(opaque)) {
        if (g_get_monotonic_time() > end)
            return false;
        machine_loop_once(b->m, false);
        machine_unlock();       /* worker threads may want it */
        g_usleep(50);
        machine_lock();
    }
    return true;
}

bool bench_irq(Bench *b, unsigned n) { return b->irq_level[n]; }

bool bench_intx(Bench *b, Device *dev)
{
    return b->intx_level[pci_device(dev)->devfn >> 3];
}

/* --- PCI --- */

uint32_t bench_cfg_read(Bench *b, Device *dev, unsigned off, unsigned size)
{
    return pci_config_read(pci_root(b->m), 0, pci_device(dev)->devfn, off, size);
}

void bench_cfg_write(Bench *b, Device *dev, unsigned off, uint32_t v, unsigned size)
{
    pci_config_write(pci_root(b->m), 0, pci_device(dev)->devfn, off, v, size);
}

void bench_pci_map(Bench *b, Device *dev)
{
    PciDevice *pd = pci_device(dev);

    for (unsigned i = 0; i < PCI_BARS; i++) {
        uint64_t size = pd->bar[i].size;
        bool io = pd->bar[i].kind == PCI_BAR_IO;
        uint64_t *next = io ? &b->next_port : &b->next_mmio;
        bool wide = pd->bar[i].kind == PCI_BAR_MEM64 || pd->bar[i].kind == PCI_BAR_MEM64_PREF;

        if (!pd->bar[i].region)
            continue;
        *next = (*next + size - 1) & ~(size - 1);
        bench_cfg_write(b, dev, 0x10 + i * 4, *next, 4);
        if (wide)
            bench_cfg_write(b, dev, 0x14 + i * 4, 0, 4);
        *next += size;
    }
    bench_cfg_write(b, dev, 4, 7, 2);
}

uint64_t bench_bar(Bench *b, Device *dev, unsigned bar)
{
    PciDevice *pd = pci_device(dev);

    CHECK(pd->bar[bar].is_mapped);
    return pd->bar[bar].mapped;
}

/* --- reset and state --- */

void bench_reset(Bench *b)
{
    machine_reset(b->m, CAUSE_NONE);
}

GByteArray *bench_save(Bench *b)
{
    GByteArray *out = g_byte_array_new();

    b->m->device_ops->save(b->m, out);
    return out;
}

Device *bench_dev(Bench *b, unsigned i)
{
    return ((Spec *)g_ptr_array_index(b->specs, i))->dev;
}

void bench_roundtrip(Bench *b)
{
    GError *err = NULL;
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("quern-bench-XXXXXX", &path, &err);
    uint64_t mmio = b->next_mmio, port = b->next_port;

    g_assert_no_error(err);
    close(fd);
    CHECK(machine_save(b->m, path, &err) || !err);
    g_assert_no_error(err);
    drop_machine(b);
    memset(b->irq_level, 0, sizeof b->irq_level);
    memset(b->intx_level, 0, sizeof b->intx_level);
    b->dev = NULL;
    build_machine(b);
    b->next_mmio = mmio;
    b->next_port = port;
    for (unsigned i = 0; i < b->specs->len; i++) {
        spec_realize(b, g_ptr_array_index(b->specs, i), &err);
        g_assert_no_error(err);
    }
    if (!machine_load(b->m, path, &err))
        g_assert_no_error(err);
    g_unlink(path);
}
