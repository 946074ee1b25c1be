/* test-region: trees, priorities, aliases, holes, access sizes, DMA borders, dirty bits. */
#include "softmmu/dma.h"
#include "softmmu/machine.h"

typedef struct Reg {
    uint64_t last_off, last_val;
    unsigned last_size, reads, writes;
    bool busy;
    AddressSpace *as;
} Reg;

static uint64_t reg_read(void *opaque, uint64_t off, unsigned size)
{
    Reg *r = opaque;

    r->reads++;
    r->last_off = off;
    r->last_size = size;
    return 0x8877665544332211ULL >> ((off & 7) * 8);
}

static void reg_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Reg *r = opaque;

    r->writes++;
    r->last_off = off;
    r->last_size = size;
    r->last_val = val;
}

static const IoOps ops_any = { reg_read, reg_write, .min = 1, .max = 8 };
static const IoOps ops_byte = { reg_read, reg_write, .min = 1, .max = 4, .impl_max = 1 };
static const IoOps ops_dword = { reg_read, reg_write, .min = 1, .max = 4, .impl_min = 4 };
static const IoOps ops_strict = { reg_read, reg_write, .min = 4, .max = 4 };

static uint64_t rd(Machine *m, uint64_t a, unsigned size)
{
    uint64_t v;

    addrspace_read(&m->mem, a, size, &v);
    return v;
}

static RamBlock *ram_new(uint64_t size)
{
    GError *err = NULL;
    RamBlock *rb = ram_block_new("test", size, &err);

    g_assert_no_error(err);
    return rb;
}

static void priority_hides_and_hole_shows(void)
{
    Machine *m = machine_new(true);
    RamBlock *rb = ram_new(0x4000);
    Region ram, io, top, low;
    Reg r = { 0 };

    region_init_ram(&ram, "ram", rb, 0, 0x4000);
    region_init_container(&top, "top", 0x2000);
    region_init_io(&io, "io", &ops_any, &r, 0x100);
    region_init_io(&low, "low", &ops_any, &r, 0x10000);
    region_add(&m->mem_root, &ram, 0, 0);
    region_add(&m->mem_root, &low, 0, -1);
    region_add(&top, &io, 0x1000, 0);
    region_add(&m->mem_root, &top, 0x1000, 5);
    rb->host[0x1000] = 0x5a;
    g_assert_cmphex(rd(m, 0x1000, 1), ==, 0x5a);        /* container without child: ram below */
    g_assert_cmphex(rd(m, 0x2000, 2), ==, 0x2211);      /* io above ram */
    g_assert_cmphex(r.last_off, ==, 0);
    g_assert_cmpuint(m->mem.view->n, ==, 4);            /* ram, io, ram, low */
    rd(m, 0x5003, 1);
    g_assert_cmphex(r.last_off, ==, 0x5003);
    region_set_enabled(&top, false);
    rb->host[0x2000] = 0x77;
    g_assert_cmphex(rd(m, 0x2000, 1), ==, 0x77);
    region_del(&low);
    g_assert_cmphex(rd(m, 0x5000, 4), ==, 0xffffffff);
    g_assert_cmpuint(m->mem.view->n, ==, 1);
    region_destroy(&io);
    region_destroy(&top);
    region_destroy(&low);
    region_destroy(&ram);
    machine_free(m);
    ram_block_free(rb);
}

static void alias_shows_part_of_target(void)
{
    Machine *m = machine_new(true);
    RamBlock *rb = ram_new(0x4000);
    Region ram, a, b;

    region_init_ram(&ram, "ram", rb, 0, 0x4000);
    region_init_alias(&a, "a", &ram, 0x1000, 0x1000);
    region_init_alias(&b, "b", &a, 0x800, 0x800);
    region_add(&m->mem_root, &a, 0x100000, 0);
    region_add(&m->mem_root, &b, 0xfffff000, 0);
    rb->host[0x1000] = 1;
    rb->host[0x1800] = 2;
    g_assert_cmphex(rd(m, 0x100000, 1), ==, 1);
    g_assert_cmphex(rd(m, 0xfffff000, 1), ==, 2);
    g_assert_null(flat_view_find(m->mem.view, 0xfffff800));
    g_assert_null(flat_view_find(m->mem.view, 0x101000));
    region_destroy(&b);
    region_destroy(&a);
    region_destroy(&ram);
    machine_free(m);
    ram_block_free(rb);
}

static void sizes_are_split_widened_or_refused(void)
{
    Machine *m = machine_new(true);
    Region byte, dword, strict;
    Reg r = { 0 };

    region_init_io(&byte, "byte", &ops_byte, &r, 0x10);
    region_init_io(&dword, "dword", &ops_dword, &r, 0x10);
    region_init_io(&strict, "strict", &ops_strict, &r, 0x10);
    region_add(&m->mem_root, &byte, 0, 0);
    region_add(&m->mem_root, &dword, 0x100, 0);
    region_add(&m->mem_root, &strict, 0x200, 0);
    g_assert_cmphex(rd(m, 0, 4), ==, 0x44332211);
    g_assert_cmpuint(r.reads, ==, 4);
    g_assert_cmphex(rd(m, 0, 8), ==, UINT64_MAX);       /* above max */
    g_assert_cmphex(rd(m, 0x102, 1), ==, 0x33);         /* widened to 4, shifted */
    g_assert_cmpuint(r.last_size, ==, 4);
    addrspace_write(&m->mem, 0x102, 1, 0xab);
    g_assert_cmphex(r.last_off, ==, 0);
    g_assert_cmphex(r.last_val, ==, 0xab0000);
    g_assert_cmphex(rd(m, 0x200, 2), ==, 0xffff);
    g_assert_cmphex(rd(m, 0x0e, 4), ==, 0xffff8877);    /* over the border into a hole */
    region_destroy(&byte);
    region_destroy(&dword);
    region_destroy(&strict);
    machine_free(m);
}

static void dword_goes_to_the_owner_of_its_first_byte(void)
{
    Machine *m = machine_new(true);
    Region conf, reset;
    Reg c = { 0 }, r = { 0 };

    region_init_io(&conf, "conf", &ops_any, &c, 8);
    region_init_io(&reset, "reset", &ops_any, &r, 1);
    region_add(&m->mem_root, &conf, 0xcf8, 0);
    region_add(&m->mem_root, &reset, 0xcf9, 1);
    addrspace_write(&m->mem, 0xcf8, 4, 0x80000000);
    g_assert_cmphex(c.last_val, ==, 0x80000000);
    g_assert_cmpuint(r.writes, ==, 0);
    addrspace_write(&m->mem, 0xcf9, 1, 6);
    g_assert_cmphex(r.last_val, ==, 6);
    region_destroy(&conf);
    region_destroy(&reset);
    machine_free(m);
}

static uint64_t evil_read(void *opaque, uint64_t off, unsigned size)
{
    Reg *r = opaque;
    uint64_t v;

    r->reads++;
    addrspace_read(r->as, 0x1000, 4, &v);
    return v;
}
static const IoOps ops_evil = { evil_read, reg_write, .max = 4 };

static void busy_device_reads_ones(void)
{
    Machine *m = machine_new(true);
    Reg r = { .as = &m->mem };
    Region io;

    region_init_io(&io, "evil", &ops_evil, &r, 0x10);
    io.busy = &r.busy;
    region_add(&m->mem_root, &io, 0x1000, 0);
    g_assert_cmphex(rd(m, 0x1000, 4), ==, 0xffffffff);
    g_assert_cmpuint(r.reads, ==, 1);
    g_assert_false(r.busy);
    region_destroy(&io);
    machine_free(m);
}

static void dma_stops_at_holes_and_io(void)
{
    Machine *m = machine_new(true);
    RamBlock *rb = ram_new(0x2000);
    Region a, b, io, rom;
    uint8_t buf[0x30];
    Reg r = { 0 };
    DmaSpan s;

    region_init_ram(&a, "a", rb, 0, 0x1000);
    region_init_rom(&rom, "rom", rb, 0x1000, 0x1000, NULL, NULL);
    region_init_ram(&b, "b", rb, 0, 0x1000);
    region_init_io(&io, "io", &ops_any, &r, 0x10);
    region_add(&m->mem_root, &a, 0x1000, 0);
    region_add(&m->mem_root, &io, 0x2000, 0);
    region_add(&m->mem_root, &rom, 0x8000, 0);
    memset(rb->host, 0x11, 0x1000);
    memset(buf, 0xee, sizeof buf);
    g_assert_false(dma_read(&m->mem, 0x1ff0, buf, 0x30));
    g_assert_cmphex(buf[0x0f], ==, 0x11);
    g_assert_cmphex(buf[0x10], ==, 0);          /* MMIO is not read */
    g_assert_cmphex(buf[0x2f], ==, 0);          /* nor is a hole */
    g_assert_cmpuint(r.reads, ==, 0);
    g_assert_false(dma_write(&m->mem, 0x8000, buf, 4));
    g_assert_false(dma_write(&m->mem, UINT64_MAX - 1, buf, 4));
    g_assert_true(dma_fill(&m->mem, 0x1004, 0x22, 4));
    g_assert_cmphex(rb->host[4], ==, 0x22);
    s = dma_map(&m->mem, 0x1f00, 0x1000, true);
    g_assert_cmphex(s.len, ==, 0x100);
    dma_unmap(&s, 0);
    s = dma_map(&m->mem, 0x2000, 4, false);
    g_assert_null(s.host);
    region_destroy(&a);
    region_destroy(&b);
    region_destroy(&io);
    region_destroy(&rom);
    machine_free(m);
    ram_block_free(rb);
}

static unsigned protects, codes;
static void protect_seen(void *opaque, RamBlock *rb, uint64_t off, uint64_t len) { protects++; }
static void code_seen(void *opaque, RamBlock *rb, uint64_t off, uint64_t len) { codes++; }

static void stores_set_dirty_bits_and_tell_code(void)
{
    Machine *m = machine_new(true);
    RamBlock *rb = ram_new(0x3000);
    RegionListener l = { .protect = protect_seen };
    Region ram;

    protects = codes = 0;
    addrspace_listen(&m->mem, &l);
    region_init_ram(&ram, "ram", rb, 0, 0x3000);
    region_add(&m->mem_root, &ram, 0, 0);
    g_assert_true(ram_page_plain(rb, 0x1000));
    g_assert_true(ram_test_and_clear_dirty(rb, 0, 0x3000, RAM_DIRTY_VGA));
    g_assert_cmpuint(protects, ==, 1);
    g_assert_false(ram_test_and_clear_dirty(rb, 0, 0x3000, RAM_DIRTY_VGA));
    g_assert_false(ram_page_plain(rb, 0x1000));
    dma_st32(&m->mem, 0x1ffe, 1);               /* two pages */
    g_assert_false(ram_test_and_clear_dirty(rb, 0, 0x1000, RAM_DIRTY_VGA));
    g_assert_true(ram_test_and_clear_dirty(rb, 0x2000, 0x1000, RAM_DIRTY_VGA));
    rb->code_written = code_seen;
    atomic_fetch_or(&rb->pages[0], RAM_CODE);
    addrspace_write(&m->mem, 8, 4, 1);
    addrspace_write(&m->mem, 0x1008, 4, 1);
    g_assert_cmpuint(codes, ==, 1);
    region_destroy(&ram);
    machine_free(m);
    ram_block_free(rb);
}

/* A window shown and hidden again and again: the same views come back, until the tree itself changes. */
static void views_of_shown_and_hidden_windows_come_back(void)
{
    Machine *m = machine_new(true);
    RamBlock *rb = ram_new(0x4000);
    Region low, window, more;
    const FlatView *with, *without;
    Reg r = { 0 };

    region_init_ram(&low, "low", rb, 0, 0x4000);
    region_init_io(&window, "window", &ops_any, &r, 0x1000);
    region_init_io(&more, "more", &ops_any, &r, 0x1000);
    region_add(&m->mem_root, &low, 0, 0);
    region_add(&m->mem_root, &window, 0x1000, 1);
    with = m->mem.view;
    region_set_enabled(&window, false);
    without = m->mem.view;
    g_assert_true(with != without);
    for (unsigned n = 0; n < 3; n++) {
        region_set_enabled(&window, true);
        g_assert_true(m->mem.view == with);
        g_assert_true(flat_view_find(with, 0x1000)->region == &window);
        region_set_enabled(&window, false);
        g_assert_true(m->mem.view == without);
        g_assert_true(flat_view_find(without, 0x1000)->region == &low);
    }
    region_add(&m->mem_root, &more, 0x2000, 1);
    region_set_enabled(&window, true);
    g_assert_true(flat_view_find(m->mem.view, 0x1000)->region == &window);
    g_assert_true(flat_view_find(m->mem.view, 0x2000)->region == &more);
    region_destroy(&more);
    region_set_enabled(&window, false);
    g_assert_true(flat_view_find(m->mem.view, 0x1000)->region == &low);
    g_assert_true(flat_view_find(m->mem.view, 0x2000)->region == &low);
    region_destroy(&window);
    region_destroy(&low);
    machine_free(m);
    ram_block_free(rb);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/region/priority", priority_hides_and_hole_shows);
    g_test_add_func("/region/shown-and-hidden", views_of_shown_and_hidden_windows_come_back);
    g_test_add_func("/region/alias", alias_shows_part_of_target);
    g_test_add_func("/region/sizes", sizes_are_split_widened_or_refused);
    g_test_add_func("/region/first-byte", dword_goes_to_the_owner_of_its_first_byte);
    g_test_add_func("/region/busy", busy_device_reads_ones);
    g_test_add_func("/region/dma", dma_stops_at_holes_and_io);
    g_test_add_func("/region/dirty", stores_set_dirty_bits_and_tell_code);
    return g_test_run();
}
