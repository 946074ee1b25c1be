/*
 * acpi_tables: FACS, DSDT, FADT, MADT, HPET, WAET, RSDT and RSDP, and the script that places them.
 *
 * ACPI 1.0b tables. They go to firmware as fw_cfg files with a "table loader" script (allocate,
 * add pointer, add checksum). They are built again when firmware reads the script, because only
 * then do the PCI windows hold addresses. docs/acpi.md.
 */
#include "hw/acpi/piix4_pm.h"
#include "hw/i386/acpi_int.h"
#include "softmmu/vcpu.h"
#include "target/x86/cpu.h"

#define TABLES_FILE "etc/acpi/tables"
#define RSDP_FILE "etc/acpi/rsdp"
#define LOADER_FILE "etc/table-loader"
enum { HEADER = 36, LOADER_ENTRY = 128, FILE_NAME = 56, MAX_TABLES = 8 + PC_USER_TABLES };
enum { CMD_ALLOCATE = 1, CMD_POINTER = 2, CMD_CHECKSUM = 3, ZONE_HIGH = 1, ZONE_FSEG = 2 };

typedef struct AcpiBuild {
    GByteArray *tables, *rsdp, *loader;
    uint32_t listed[MAX_TABLES];                /* offsets of tables the RSDT names */
    unsigned n;
} AcpiBuild;

static void put(GByteArray *a, uint64_t v, unsigned bytes)
{
    uint8_t raw[8];

    st64_le(raw, v);
    g_byte_array_append(a, raw, bytes);
}

static void put_zeros(GByteArray *a, unsigned n)
{
    static const uint8_t zeros[64];

    for (; n > 0; n -= MIN(n, sizeof zeros))
        g_byte_array_append(a, zeros, MIN(n, sizeof zeros));
}

static uint8_t *loader_entry(AcpiBuild *b, uint32_t command, const char *file)
{
    guint at = b->loader->len;

    put_zeros(b->loader, LOADER_ENTRY);
    st32_le(b->loader->data + at, command);
    g_strlcpy((char *)b->loader->data + at + 4, file, FILE_NAME);
    return b->loader->data + at + 4 + FILE_NAME;
}

static void cmd_allocate(AcpiBuild *b, const char *file, uint32_t align, uint8_t zone)
{
    uint8_t *p = loader_entry(b, CMD_ALLOCATE, file);

    st32_le(p, align);
    p[4] = zone;
}

/* The field at offset of file, 4 bytes, holds an offset into TABLES_FILE: make it an address. */
static void cmd_pointer(AcpiBuild *b, const char *file, uint32_t offset)
{
    uint8_t *p = loader_entry(b, CMD_POINTER, file);

    g_strlcpy((char *)p, TABLES_FILE, FILE_NAME);
    st32_le(p + FILE_NAME, offset);
    p[FILE_NAME + 4] = 4;
}

static void cmd_checksum(AcpiBuild *b, const char *file, uint32_t at, uint32_t start, uint32_t len)
{
    uint8_t *p = loader_entry(b, CMD_CHECKSUM, file);

    st32_le(p, at);
    st32_le(p + 4, start);
    st32_le(p + 8, len);
}

/* Standard header; length and checksum come with table_end(). */
static uint32_t table_begin(AcpiBuild *b, const char *sig, uint8_t revision)
{
    GByteArray *t = b->tables;
    uint32_t at;

    put_zeros(t, -t->len & 7);
    at = t->len;
    g_byte_array_append(t, (const uint8_t *)sig, 4);
    put(t, 0, 4);
    put(t, revision, 1);
    put(t, 0, 1);
    g_byte_array_append(t, (const uint8_t *)"QUERN ", 6);
    g_byte_array_append(t, (const uint8_t *)"QUERNPC ", 8);
    put(t, 1, 4);
    g_byte_array_append(t, (const uint8_t *)"QURN", 4);
    put(t, 1, 4);
    return at;
}

static void table_end(AcpiBuild *b, uint32_t at, bool listed)
{
    uint32_t len = b->tables->len - at;

    st32_le(b->tables->data + at + 4, len);
    cmd_checksum(b, TABLES_FILE, at + 9, at, len);
    if (listed && b->n < MAX_TABLES)
        b->listed[b->n++] = at;
}

static uint32_t add_facs(AcpiBuild *b)
{
    uint32_t at;

    put_zeros(b->tables, -b->tables->len & 63);
    at = b->tables->len;
    g_byte_array_append(b->tables, (const uint8_t *)"FACS", 4);
    put(b->tables, 64, 4);
    put_zeros(b->tables, 56);
    return at;
}

static void add_fadt(AcpiBuild *b, uint32_t facs, uint32_t dsdt)
{
    GByteArray *t = b->tables;
    uint32_t at = table_begin(b, "FACP", 1);

    cmd_pointer(b, TABLES_FILE, t->len);
    put(t, facs, 4);
    cmd_pointer(b, TABLES_FILE, t->len);
    put(t, dsdt, 4);
    put(t, 1, 1);                               /* interrupt model: multiple APIC */
    put(t, 0, 1);
    put(t, PIIX4_SCI, 2);
    put(t, 0xb2, 4);                            /* SMI command port, and what to write there */
    put(t, 0xf1, 1);                            /* ACPI enable */
    put(t, 0xf0, 1);                            /* ACPI disable */
    put(t, 0, 2);                               /* S4BIOS, reserved */
    put(t, PIIX4_PM_BASE, 4);                   /* PM1a event block */
    put(t, 0, 4);
    put(t, PIIX4_PM_BASE + 4, 4);               /* PM1a control block */
    put(t, 0, 4);
    put(t, 0, 4);                               /* PM2 */
    put(t, PIIX4_PM_BASE + 8, 4);               /* PM timer */
    put(t, PIIX4_GPE_BASE, 4);
    put(t, 0, 4);
    put(t, 0x04000204, 4);                      /* lengths: PM1 event 4, control 2, PM2 0, timer 4 */
    put(t, 4, 1);                               /* GPE0 length */
    put(t, 0, 2);
    put(t, 0, 1);
    put(t, 0xfff, 2);                           /* C2, C3 latency: not offered */
    put(t, 0xfff, 2);
    put(t, 0, 4);                               /* flush size, stride */
    put(t, 0, 2);                               /* duty cycle */
    put(t, 0, 2);                               /* day and month alarm: none */
    put(t, 0x32, 1);                            /* century */
    put(t, 0, 3);
    put(t, 1 << 0 | 1 << 2 | 1 << 5 | 1 << 7 | 1 << 15, 4);     /* WBINVD, C1, no sleep button, RTC wakes from S4,
                                                                   platform clock */
    table_end(b, at, true);
}

static void add_override(GByteArray *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    put(t, 2, 1);
    put(t, 10, 1);
    put(t, 0, 1);                               /* ISA */
    put(t, irq, 1);
    put(t, gsi, 4);
    put(t, flags, 2);
}

static void add_madt(AcpiBuild *b, const Pc *pc)
{
    static const uint8_t level_irqs[] = { 5, 9, 10, 11 };
    GByteArray *t = b->tables;
    uint32_t at = table_begin(b, "APIC", 1);

    put(t, 0xfee00000, 4);
    put(t, 1, 4);                               /* there are 8259s too */
    for (unsigned i = 0; i < pc->cpus; i++) {
        put(t, 0, 1);
        put(t, 8, 1);
        put(t, i, 1);
        put(t, x86_cpu(g_ptr_array_index(pc->machine->vcpus, i))->apic_id, 1);
        put(t, 1, 4);
    }
    put(t, 1, 1);                               /* I/O APIC 0 */
    put(t, 12, 1);
    put(t, 0, 2);
    put(t, 0xfec00000, 4);
    put(t, 0, 4);
    add_override(t, 0, 2, 0);
    for (unsigned i = 0; i < ARRAY_LEN(level_irqs); i++)
        add_override(t, level_irqs[i], level_irqs[i], 0x0d);
    put(t, 4, 1);                               /* NMI: LINT1 of every processor */
    put(t, 6, 1);
    put(t, 0xff, 1);
    put(t, 0, 2);
    put(t, 1, 1);
    table_end(b, at, true);
}

static void add_hpet(AcpiBuild *b)
{
    GByteArray *t = b->tables;
    uint32_t at = table_begin(b, "HPET", 1);

    put(t, 0x8086a201, 4);                      /* the capability register's low half */
    put(t, 0, 4);                               /* address: in memory */
    put(t, 0xfed00000, 8);
    put(t, 0, 4);                               /* number 0, no minimum tick, no page protection */
    table_end(b, at, true);
}

/* Emulated devices need no workarounds: the clock needs no double read, the timer is sound. */
static void add_waet(AcpiBuild *b)
{
    uint32_t at = table_begin(b, "WAET", 1);

    put(b->tables, 1 << 1, 4);
    table_end(b, at, true);
}

static void add_user_table(AcpiBuild *b, GBytes *table)
{
    gsize len;
    const uint8_t *data = g_bytes_get_data(table, &len);
    uint32_t at;

    put_zeros(b->tables, -b->tables->len & 7);
    at = b->tables->len;
    g_byte_array_append(b->tables, data, len);
    table_end(b, at, true);
}

static void add_rsdt(AcpiBuild *b)
{
    GByteArray *t = b->tables;
    uint32_t at = table_begin(b, "RSDT", 1);

    for (unsigned i = 0; i < b->n; i++) {
        cmd_pointer(b, TABLES_FILE, t->len);
        put(t, b->listed[i], 4);
    }
    table_end(b, at, false);
    g_byte_array_append(b->rsdp, (const uint8_t *)"RSD PTR ", 8);
    put(b->rsdp, 0, 1);
    g_byte_array_append(b->rsdp, (const uint8_t *)"QUERN ", 6);
    put(b->rsdp, 0, 1);                         /* revision: ACPI 1.0 */
    put(b->rsdp, at, 4);
    cmd_pointer(b, RSDP_FILE, 16);
    cmd_checksum(b, RSDP_FILE, 8, 0, 20);
}

static void build(AcpiBuild *b, Pc *pc)
{
    g_autoptr(GByteArray) body = acpi_dsdt_body(pc);
    uint32_t facs, dsdt;

    b->tables = g_byte_array_new();
    b->rsdp = g_byte_array_new();
    b->loader = g_byte_array_new();
    b->n = 0;
    cmd_allocate(b, RSDP_FILE, 16, ZONE_FSEG);
    cmd_allocate(b, TABLES_FILE, 64, ZONE_HIGH);
    facs = add_facs(b);
    dsdt = table_begin(b, "DSDT", 1);
    g_byte_array_append(b->tables, body->data, body->len);
    table_end(b, dsdt, false);
    add_fadt(b, facs, dsdt);
    add_madt(b, pc);
    if (pc->hpet)
        add_hpet(b);
    add_waet(b);
    for (unsigned i = 0; i < pc->acpi_tables->len; i++)
        add_user_table(b, g_ptr_array_index(pc->acpi_tables, i));
    add_rsdt(b);
    /* Room for windows that are not there yet: sizes must not change between the two builds. */
    put_zeros(b->tables, 256);
    put_zeros(b->tables, -b->tables->len & 4095);
}

static bool publish(Pc *pc, GError **err)
{
    AcpiBuild b;
    g_autoptr(GBytes) tables = NULL, rsdp = NULL, loader = NULL;

    build(&b, pc);
    tables = g_byte_array_free_to_bytes(b.tables);
    rsdp = g_byte_array_free_to_bytes(b.rsdp);
    loader = g_byte_array_free_to_bytes(b.loader);
    return fw_cfg_add_file(pc->fw_cfg, TABLES_FILE, tables, err) && fw_cfg_add_file(pc->fw_cfg, RSDP_FILE, rsdp, err) &&
           fw_cfg_add_file(pc->fw_cfg, LOADER_FILE, loader, err);
}

static void rebuild(void *opaque)
{
    g_autoptr(GError) err = NULL;

    if (!publish(opaque, &err))
        log_warn("ACPI tables: %s", err->message);
}

bool pc_acpi_setup(Pc *pc, GError **err)
{
    if (!publish(pc, err))
        return false;
    fw_cfg_on_first_read(pc->fw_cfg, LOADER_FILE, rebuild, pc);
    return true;
}
