/* test-board: the PC as firmware sees it: memory map, fw_cfg, tables, boot ROM, kernel loaders. */
#include "hw/i386/board.h"
#include "hw/i386/bootrom.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/pci.h"
#include "softmmu/accel.h"
#include "target/x86/cpuid.h"
#include "tests/hw/bench.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct Pcs { Machine *m; MachineConfig cfg; X86Model *model; } Pcs;

static void config(Pcs *p)
{
    if (!machine_lock_held())
        machine_lock();
    memset(p, 0, sizeof *p);
    p->model = x86_model_parse(NULL, NULL);
    p->cfg = (MachineConfig) { .ram_size = 64 * MiB, .cpus = 1, .maxcpus = 1, .cpu_model = p->model,
                               .splash_time = -1, .reboot_timeout = -1 };
}

static bool build(Pcs *p, GError **err)
{
    p->m = machine_new(true);
    p->m->accel = accel_find("null");
    return board_create(p->m, &p->cfg, err) && board_finish(p->m, err);
}

static void pc_new(Pcs *p)
{
    g_autoptr(GError) err = NULL;

    build(p, &err);
    g_assert_no_error(err);
    machine_reset(p->m, CAUSE_NONE);
}

static void pc_free(Pcs *p)
{
    if (p->m)
        machine_free(p->m);
    x86_model_free(p->model);
}

static void out(Pcs *p, uint16_t port, unsigned size, uint64_t v) { addrspace_write(&p->m->ports, port, size, v); }
static uint64_t in(Pcs *p, uint16_t port, unsigned size)
{
    uint64_t v = 0;

    addrspace_read(&p->m->ports, port, size, &v);
    return v;
}
static uint64_t ld(Pcs *p, uint64_t addr, unsigned size)
{
    uint64_t v = 0;

    addrspace_read(&p->m->mem, addr, size, &v);
    return v;
}

static void fw_read(Pcs *p, uint16_t key, void *buf, size_t len)
{
    out(p, 0x510, 2, key);
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = in(p, 0x511, 1);
}

static GByteArray *fw_file(Pcs *p, const char *name)
{
    uint8_t n[4], entry[64];
    GByteArray *a = g_byte_array_new();

    out(p, 0x510, 2, FW_CFG_FILE_DIR);
    for (unsigned i = 0; i < 4; i++)
        n[i] = in(p, 0x511, 1);
    for (unsigned i = 0; i < ld32_be(n); i++) {
        for (unsigned k = 0; k < 64; k++)
            entry[k] = in(p, 0x511, 1);
        if (!strcmp((char *)entry + 8, name)) {
            g_byte_array_set_size(a, ld32_be(entry));
            fw_read(p, ld16_be(entry + 4), a->data, a->len);
            return a;
        }
    }
    g_byte_array_unref(a);
    return NULL;
}

/* --- memory map --- */

static void pc_reset_vector_is_firmware(void)
{
    Pcs p;

    config(&p);
    pc_new(&p);
    g_assert_cmphex(ld(&p, 0xfffffff0, 1), ==, 0xea);
    g_assert_cmphex(ld(&p, 0xffff0, 1), ==, 0xea);
    g_assert_cmphex(ld(&p, 64 * MiB, 4), ==, 0xffffffff);
    pc_free(&p);
}

static void cfg_write8(Pcs *p, unsigned devfn, unsigned off, uint8_t v)
{
    out(p, 0xcf8, 4, 0x80000000 | devfn << 8 | (off & 0xfc));
    out(p, 0xcfc + (off & 3), 1, v);
}

static void pc_shadow_ram_follows_the_pam_registers(void)
{
    Pcs p;

    config(&p);
    pc_new(&p);
    addrspace_write(&p.m->mem, 0xffff0, 1, 0x11);
    g_assert_cmphex(ld(&p, 0xffff0, 1), ==, 0xea);
    cfg_write8(&p, 0, 0x59, 0x30);
    addrspace_write(&p.m->mem, 0xffff0, 1, 0x11);
    g_assert_cmphex(ld(&p, 0xffff0, 1), ==, 0x11);
    cfg_write8(&p, 0, 0x59, 0x10);
    addrspace_write(&p.m->mem, 0xffff0, 1, 0x22);
    g_assert_cmphex(ld(&p, 0xffff0, 1), ==, 0x11);
    machine_reset(p.m, CAUSE_GUEST_RESET);
    g_assert_cmphex(ld(&p, 0xffff0, 1), ==, 0xea);
    pc_free(&p);
}

static void pc_smram_opens_and_locks(void)
{
    Pcs p;

    config(&p);
    pc_new(&p);
    addrspace_write(&p.m->mem, 0xa8000, 1, 0x33);
    g_assert_cmphex(ld(&p, 0xa8000, 1), ==, 0xff);
    cfg_write8(&p, 0, 0x72, 0x4a);
    addrspace_write(&p.m->mem, 0xa8000, 1, 0x33);
    g_assert_cmphex(ld(&p, 0xa8000, 1), ==, 0x33);
    cfg_write8(&p, 0, 0x72, 0x1a);              /* locked, closed to all but SMM */
    g_assert_cmphex(ld(&p, 0xa8000, 1), ==, 0xff);
    cfg_write8(&p, 0, 0x72, 0x4a);
    g_assert_cmphex(ld(&p, 0xa8000, 1), ==, 0xff);
    pc_free(&p);
}

static void pc_memory_splits_below_four_gib(void)
{
    Pcs p;
    g_autoptr(GByteArray) e820 = NULL;

    config(&p);
    p.cfg.ram_size = 4 * GiB;
    pc_new(&p);
    g_assert_cmphex(ld(&p, 3 * GiB, 4), ==, 0xffffffff);
    addrspace_write(&p.m->mem, 5 * GiB - 4, 4, 0x1234);
    g_assert_cmphex(ld(&p, 5 * GiB - 4, 4), ==, 0x1234);
    e820 = fw_file(&p, "etc/e820");
    g_assert_cmpuint(e820->len, ==, 40);
    g_assert_cmphex(ld64_le(e820->data + 8), ==, 3 * GiB);
    g_assert_cmphex(ld64_le(e820->data + 28), ==, 1 * GiB);
    pc_free(&p);
}

static void pc_reset_control_sits_inside_the_address_port(void)
{
    Pcs p;

    config(&p);
    pc_new(&p);
    out(&p, 0xcf8, 4, 0x80000800);
    g_assert_cmphex(in(&p, 0xcfc, 4), ==, 0x70008086);
    out(&p, 0xcf9, 1, 2);
    g_assert_cmphex(in(&p, 0xcf9, 1), ==, 2);
    g_assert_cmphex(in(&p, 0xcfc, 4), ==, 0x70008086);
    g_assert_cmphex(atomic_load(&p.m->requests), ==, 0);
    out(&p, 0xcf9, 1, 6);
    CHECK(atomic_load(&p.m->requests));
    pc_free(&p);
}

/* --- fw_cfg --- */

static void fw_cfg_signature_and_figures(void)
{
    uint8_t b[8];
    Pcs p;

    config(&p);
    pc_new(&p);
    fw_read(&p, FW_CFG_SIGNATURE, b, 4);
    CHECK(!memcmp(b, "QEMU", 4));
    fw_read(&p, FW_CFG_RAM_SIZE, b, 8);
    g_assert_cmphex(ld64_le(b), ==, 64 * MiB);
    fw_read(&p, 0x3fff, b, 8);                  /* no such key: zeros */
    g_assert_cmphex(ld64_le(b), ==, 0);
    fw_read(&p, 0xffff, b, 8);
    g_assert_cmphex(ld64_le(b), ==, 0);
    g_assert_cmphex(__builtin_bswap64(in(&p, 0x514, 8)), ==, 0x51454d5520434647ULL);
    pc_free(&p);
}

static uint32_t fw_dma(Pcs *p, uint32_t control, uint32_t len, uint64_t addr)
{
    uint8_t d[16];

    st32_be(d, control);
    st32_be(d + 4, len);
    st64_be(d + 8, addr);
    dma_write(&p->m->mem, 0x1000, d, 16);
    out(p, 0x514, 4, 0);
    out(p, 0x518, 4, __builtin_bswap32(0x1000));
    dma_read(&p->m->mem, 0x1000, d, 4);
    return ld32_be(d);
}

static void fw_cfg_dma_reads_skips_and_refuses(void)
{
    uint8_t b[4];
    Pcs p;

    config(&p);
    pc_new(&p);
    g_assert_cmphex(fw_dma(&p, FW_CFG_SIGNATURE << 16 | 8 | 2, 2, 0x2000), ==, 0);
    dma_read(&p.m->mem, 0x2000, b, 2);
    CHECK(!memcmp(b, "QE", 2));
    g_assert_cmphex(fw_dma(&p, 4, 1, 0), ==, 0);
    g_assert_cmphex(fw_dma(&p, 2, 1, 0x2000), ==, 0);
    dma_read(&p.m->mem, 0x2000, b, 1);
    CHECK(b[0] == 'U');
    g_assert_cmphex(fw_dma(&p, 16, 4, 0x2000), ==, 1);          /* writing is refused */
    g_assert_cmphex(fw_dma(&p, FW_CFG_SIGNATURE << 16 | 8 | 2, 4, 0xfee00000), ==, 1);   /* not RAM */
    g_assert_cmphex(fw_dma(&p, 8 | 2, 0xffffffff, 0x2000), ==, 1);      /* 4 GiB of zeros: bounded */
    pc_free(&p);
}

/* CVE-2016-1714: no selected entry may be read past its end. */
static void fw_cfg_random_use_is_survived(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(4);
    Pcs p;

    config(&p);
    pc_new(&p);
    for (unsigned i = 0; i < 20000; i++) {
        out(&p, 0x510 + g_rand_int_range(r, 0, 12), 1u << g_rand_int_range(r, 0, 3), g_rand_int(r) & 0x80ff);
        in(&p, 0x510 + g_rand_int_range(r, 0, 12), 1u << g_rand_int_range(r, 0, 3));
        if (i % 8 == 0)
            fw_dma(&p, g_rand_int(r) & 0x80ff001f, g_rand_int(r) & 0xffff, g_rand_int(r));
    }
    pc_free(&p);
}

static void fw_cfg_user_entries_appear_and_errors_tell(void)
{
    static const char *const bad[] = { "opt/x", "opt/x,string=a,file=/b", "name=,string=a", "opt/x,strin=a" };
    g_autoptr(GByteArray) data = NULL;
    Pcs p;

    config(&p);
    p.cfg.fw_cfg = g_ptr_array_new();
    g_ptr_array_add(p.cfg.fw_cfg, (char *)"name=opt/org.test/a,string=hello,,you");
    pc_new(&p);
    data = fw_file(&p, "opt/org.test/a");
    g_assert_cmpuint(data->len, ==, 9);
    CHECK(!memcmp(data->data, "hello,you", 9));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(GError) err = NULL;

        CHECK(!fw_cfg_add_user(fw_cfg_find(p.m), bad[i], &err));
        CHECK(err);
    }
    g_ptr_array_unref(p.cfg.fw_cfg);
    pc_free(&p);
}

/* --- tables --- */

/* Does what firmware does with the script, in host memory, with the tables "at" base. */
static void run_loader(const GByteArray *loader, GByteArray *tables, GByteArray *rsdp, uint32_t base)
{
    for (unsigned i = 0; i + 128 <= loader->len; i += 128) {
        const uint8_t *e = loader->data + i;
        GByteArray *dst = !strcmp((const char *)e + 4, "etc/acpi/rsdp") ? rsdp : tables;
        const uint8_t *arg = e + 4 + 56;

        if (ld32_le(e) == 2) {
            uint32_t at = ld32_le(arg + 56);

            CHECK(at + 4 <= dst->len);
            CHECK(ld32_le(dst->data + at) < tables->len);
            st32_le(dst->data + at, ld32_le(dst->data + at) + base);
        } else if (ld32_le(e) == 3) {
            uint32_t at = ld32_le(arg), start = ld32_le(arg + 4), len = ld32_le(arg + 8);
            uint8_t sum = 0;

            CHECK(range_ok(start, len, dst->len) && at < dst->len);
            for (uint32_t k = 0; k < len; k++)
                sum += dst->data[start + k];
            dst->data[at] -= sum;
        }
    }
}

static void acpi_tables_link_and_sum_up(void)
{
    g_autoptr(GByteArray) tables = NULL, rsdp = NULL, loader = NULL;
    uint32_t base = 0x3ff0000, rsdt, n;
    unsigned found = 0;
    Pcs p;

    config(&p);
    pc_new(&p);
    loader = fw_file(&p, "etc/table-loader");
    tables = fw_file(&p, "etc/acpi/tables");
    rsdp = fw_file(&p, "etc/acpi/rsdp");
    g_assert_cmpuint(tables->len % 4096, ==, 0);
    run_loader(loader, tables, rsdp, base);
    rsdt = ld32_le(rsdp->data + 16) - base;
    n = (ld32_le(tables->data + rsdt + 4) - 36) / 4;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *t = tables->data + (ld32_le(tables->data + rsdt + 36 + 4 * i) - base);
        uint8_t sum = 0;

        for (uint32_t k = 0; k < ld32_le(t + 4); k++)
            sum += t[k];
        g_assert_cmphex(sum, ==, 0);
        if (!memcmp(t, "FACP", 4)) {
            CHECK(!memcmp(tables->data + (ld32_le(t + 40) - base), "DSDT", 4));
            CHECK(!memcmp(tables->data + (ld32_le(t + 36) - base), "FACS", 4));
            found |= 1;
        }
        found |= !memcmp(t, "APIC", 4) ? 2 : !memcmp(t, "HPET", 4) ? 4 : 0;
    }
    g_assert_cmphex(found, ==, 7);
    pc_free(&p);
}

static void smbios_describes_the_machine(void)
{
    g_autoptr(GByteArray) tables = NULL, anchor = NULL;
    unsigned at = 0, n = 0, types = 0;
    Pcs p;

    config(&p);
    p.cfg.smbios = g_ptr_array_new();
    g_ptr_array_add(p.cfg.smbios, (char *)"type=1,manufacturer=Acme,serial=4711");
    g_ptr_array_add(p.cfg.smbios, (char *)"type=11,value=one,value=two");
    pc_new(&p);
    tables = fw_file(&p, "etc/smbios/smbios-tables");
    anchor = fw_file(&p, "etc/smbios/smbios-anchor");
    g_assert_cmpuint(ld16_le(anchor->data + 22), ==, tables->len);
    while (at + 4 <= tables->len) {
        types |= tables->data[at] < 32 ? 1u << tables->data[at] : 0;
        at += tables->data[at + 1];
        while (at + 1 < tables->len && (tables->data[at] || tables->data[at + 1]))
            at++;
        at += 2;
        n++;
    }
    g_assert_cmpuint(at, ==, tables->len);
    g_assert_cmpuint(n, ==, ld16_le(anchor->data + 28));
    CHECK(types & 1 << 1 && types & 1 << 4 && types & 1 << 11 && types & 1 << 17);
    CHECK(memmem(tables->data, tables->len, "Acme\0" "Standard", 13));
    g_ptr_array_unref(p.cfg.smbios);
    pc_free(&p);
}

static void smbios_errors_tell(void)
{
    static const char *const bad[] = { "type=5", "manufacturer=x", "type=1,manufacturr=x", "type=1,uuid=zz", "file=/nonexistent",
                                       "type=4,max-speed=fast" };

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(GError) err = NULL;
        Pcs p;

        config(&p);
        p.cfg.smbios = g_ptr_array_new();
        g_ptr_array_add(p.cfg.smbios, (char *)bad[i]);
        CHECK(!build(&p, &err));
        CHECK(err);
        g_ptr_array_unref(p.cfg.smbios);
        pc_free(&p);
    }
}

/* --- kernels --- */

static char *temp_file(const void *data, size_t len)
{
    char *path = NULL;
    int fd = g_file_open_tmp("quern-kernel-XXXXXX", &path, NULL);

    g_assert_cmpint(write(fd, data, len), ==, (ssize_t)len);
    close(fd);
    return path;
}

static bool boots(const void *data, size_t len, Pcs *p, GError **err)
{
    g_autofree char *path = temp_file(data, len);
    bool ok;

    config(p);
    p->cfg.kernel = path;
    p->cfg.append = "console=ttyS0";
    ok = build(p, err);
    g_unlink(path);
    return ok;
}

static void bootrom_is_a_valid_option_rom(void)
{
    BootRom r = { .title = "test", .loads = 1, .load = { { 0x11, 100, 0x100000 } }, .segment = 0x1000, .stack = 0xfff0 };

    for (unsigned mb = 0; mb < 2; mb++) {
        g_autoptr(GBytes) rom = NULL;
        const uint8_t *d;
        uint8_t sum = 0;
        gsize len;

        r.multiboot = mb;
        rom = bootrom_build(&r);
        d = g_bytes_get_data(rom, &len);
        g_assert_cmphex(ld16_le(d), ==, 0xaa55);
        g_assert_cmpuint(d[2] * 512, ==, len);
        for (gsize i = 0; i < len; i++)
            sum += d[i];
        g_assert_cmphex(sum, ==, 0);
        CHECK(!memcmp(d + ld16_le(d + 0x1a), "$PnP", 4));
    }
}

static void kernel_linux_header_is_filled_in(void)
{
    uint8_t k[16 * 1024] = { 0 }, setup[1024];
    g_autoptr(GError) err = NULL;
    Pcs p;

    k[0x1f1] = 1;
    st16_le(k + 0x1fe, 0xaa55);
    memcpy(k + 0x202, "HdrS", 4);
    st16_le(k + 0x206, 0x20f);
    k[0x211] = 1;
    st32_le(k + 0x238, 2047);
    CHECK(boots(k, sizeof k, &p, &err));
    fw_read(&p, FW_CFG_SETUP_DATA, setup, sizeof setup);
    g_assert_cmphex(setup[0x210], ==, 0xb0);
    g_assert_cmphex(ld32_le(setup + 0x228), ==, 0x20000);
    fw_read(&p, FW_CFG_CMDLINE_DATA, setup, 14);
    CHECK(!memcmp(setup, "console=ttyS0", 14));
    pc_free(&p);
}

static size_t multiboot_flat(uint8_t *k, uint32_t load, uint32_t load_end, uint32_t bss_end)
{
    memset(k, 0, 4096);
    st32_le(k + 16, 0x1badb002);
    st32_le(k + 20, 1 << 16);
    st32_le(k + 24, -(0x1badb002u + (1 << 16)));
    st32_le(k + 28, load + 16);
    st32_le(k + 32, load);
    st32_le(k + 36, load_end);
    st32_le(k + 40, bss_end);
    st32_le(k + 44, load + 64);
    return 4096;
}

static void kernel_multiboot_flat_is_laid_out(void)
{
    uint8_t k[4096], b[4];
    g_autoptr(GError) err = NULL;
    Pcs p;

    CHECK(boots(k, multiboot_flat(k, 0x100000, 0, 0x110000), &p, &err));
    fw_read(&p, FW_CFG_KERNEL_ADDR, b, 4);
    g_assert_cmphex(ld32_le(b), ==, 0x100000);
    fw_read(&p, FW_CFG_KERNEL_SIZE, b, 4);
    g_assert_cmphex(ld32_le(b), ==, 0x10000);
    pc_free(&p);
}

/* CVE-2018-7550, CVE-2017-14167: addresses that wrap, leave memory, bss before load. */
static void kernel_hostile_files_are_refused_or_harmless(void)
{
    static const uint32_t bad[][3] = { { 0xfffff000, 0, 0 }, { 0x3fff000, 0, 0x80000000 }, { 0x100000, 0x1000, 0 },
                                       { 0x7000000, 0, 0 } };
    g_autoptr(GRand) r = g_rand_new_with_seed(8);
    uint8_t k[8192];

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(GError) err = NULL;
        Pcs p;

        CHECK(!boots(k, multiboot_flat(k, bad[i][0], bad[i][1], bad[i][2]), &p, &err));
        CHECK(err);
        pc_free(&p);
    }
    for (unsigned i = 0; i < 150; i++) {
        g_autoptr(GError) err = NULL;
        size_t len = multiboot_flat(k, 0x100000, 0, 0);
        Pcs p;

        if (i & 1) {                            /* ELF with a multiboot header and noise */
            memcpy(k, "\177ELF\1\1\1", 7);
            st32_le(k + 20 + 0, 0);
            memmove(k + 0x400, k + 16, 64);
            st32_le(k + 0x404, 0);
            st32_le(k + 0x408, -0x1badb002u);
            st32_le(k + 28, 52);
            st16_le(k + 42, 32);
            st16_le(k + 44, 1);
            st32_le(k + 52, 1);
            for (unsigned n = 0; n < 6; n++)
                st32_le(k + 56 + 4 * n, g_rand_int(r) >> g_rand_int_range(r, 0, 31));
        } else {
            for (unsigned n = 0; n < 4; n++)
                k[28 + g_rand_int_range(r, 0, 20)] = g_rand_int(r);
        }
        boots(k, len, &p, &err);
        pc_free(&p);
    }
}

static void kernel_nonsense_is_an_error(void)
{
    uint8_t k[4096] = { 0 };
    g_autoptr(GError) err = NULL;
    Pcs p;

    CHECK(!boots(k, sizeof k, &p, &err));
    CHECK(strstr(err->message, "neither"));
    pc_free(&p);
}

/* --- names --- */

static void board_names_are_found_and_suggested(void)
{
    g_autoptr(GError) err = NULL;

    g_assert_cmpstr(board_class_find("pc", &err)->name, ==, "pc-i440fx-7.2");
    CHECK(board_class_find(NULL, &err)->is_default);
    CHECK(!board_class_find("pc-i440fx-7.3", &err));
    CHECK(strstr(err->message, "did you mean"));
}

static void board_missing_firmware_is_one_clear_error(void)
{
    g_autoptr(GError) err = NULL;
    Pcs p;

    config(&p);
    p.cfg.bios = "bios-none.bin";
    CHECK(!build(&p, &err));
    CHECK(strstr(err->message, "bios-none.bin"));
    pc_free(&p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/hw/board/" #f, f)
    T(pc_reset_vector_is_firmware);
    T(pc_shadow_ram_follows_the_pam_registers);
    T(pc_smram_opens_and_locks);
    T(pc_memory_splits_below_four_gib);
    T(pc_reset_control_sits_inside_the_address_port);
    T(fw_cfg_signature_and_figures);
    T(fw_cfg_dma_reads_skips_and_refuses);
    T(fw_cfg_random_use_is_survived);
    T(fw_cfg_user_entries_appear_and_errors_tell);
    T(acpi_tables_link_and_sum_up);
    T(smbios_describes_the_machine);
    T(smbios_errors_tell);
    T(bootrom_is_a_valid_option_rom);
    T(kernel_linux_header_is_filled_in);
    T(kernel_multiboot_flat_is_laid_out);
    T(kernel_hostile_files_are_refused_or_harmless);
    T(kernel_nonsense_is_an_error);
    T(board_names_are_found_and_suggested);
    T(board_missing_firmware_is_one_clear_error);
#undef T
    return g_test_run();
}
