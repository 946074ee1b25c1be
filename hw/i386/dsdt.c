/*
 * dsdt: the differentiated system description table of the PC board.
 *
 * What an operating system cannot find by itself: the PCI windows and interrupt links, ISA devices,
 * processors, sleep states. ACPI 1.0b terms only, so that old guests read it too.
 */
#include "hw/acpi/aml.h"
#include "hw/acpi/piix4_pm.h"
#include "hw/block/fdc.h"
#include "hw/i386/acpi_int.h"
#include "hw/pci/i440fx.h"

enum { SPACE_IO = 1, SPACE_PCI_CONFIG = 2, FIELD_BYTE = 1, FIELD_DWORD = 3, OP_STORE = 0x70, OP_OR = 0x7d, OP_AND = 0x7b,
       OP_NOTIFY = 0x86 };
static const uint8_t link_irqs[] = { 5, 10, 11 };

static void add_sleep_state(Aml *a, const char *name, unsigned type)
{
    Aml *p = aml_package(4);

    aml_int(p, type);
    aml_int(p, type);
    aml_int(p, 0);
    aml_int(p, 0);
    aml_name(a, name);
    aml_close(a, AML_PACKAGE, p);
}

static void add_host_windows(Aml *dev, Pc *pc)
{
    uint64_t lo, hi, lo64, hi64;
    Aml *r = aml_new();

    i440fx_pci_windows(pc->bridge, &lo, &hi, &lo64, &hi64);
    aml_res_bus(r, 0, 0xff);
    aml_res_io(r, 0xcf8, 0xcf8, 1, 8);
    aml_res_io_window(r, 0, 0xcf7);
    aml_res_io_window(r, 0xd00, 0xffff);
    aml_res_memory_window(r, 0xa0000, 0xbffff, true);
    aml_res_memory_window(r, lo, hi, false);
    if (lo64)
        aml_res_memory64_window(r, lo64, hi64);
    aml_name(dev, "_CRS");
    aml_close_resources(dev, r);
}

/* Slot s, pin p: link (s + p - 1) mod 4; the power management function uses the SCI's own link. */
static void add_routing(Aml *dev)
{
    static const char *const links[] = { "LNKA", "LNKB", "LNKC", "LNKD" };
    Aml *table = aml_package(128);

    for (unsigned i = 0; i < 128; i++) {
        unsigned slot = i / 4, pin = i % 4;
        Aml *e = aml_package(4);

        aml_int(e, slot << 16 | 0xffff);
        aml_int(e, pin);
        aml_path(e, slot == 1 && pin == 0 ? "LNKS" : links[(slot + pin - 1) & 3]);
        aml_int(e, 0);
        aml_close(table, AML_PACKAGE, e);
    }
    aml_name(dev, "_PRT");
    aml_close(dev, AML_PACKAGE, table);
}

static Aml *isa_device(const char *name, const char *hid)
{
    Aml *d = aml_scope(name);

    aml_name_eisa(d, "_HID", hid);
    aml_name_int(d, "_STA", 0x0f);
    return d;
}

static void close_isa_device(Aml *isa, Aml *d, Aml *resources)
{
    aml_name(d, "_CRS");
    aml_close_resources(d, resources);
    aml_close(isa, AML_DEVICE, d);
}

static void add_serial(Aml *isa, unsigned i)
{
    static const uint16_t port[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    char name[5] = { 'C', 'O', 'M', '1' + i, 0 };
    Aml *d = isa_device(name, "PNP0501"), *r = aml_new();

    aml_name_int(d, "_UID", i + 1);
    aml_res_io(r, port[i], port[i], 0, 8);
    aml_res_irq(r, i % 2 ? 3 : 4);
    close_isa_device(isa, d, r);
}

static void add_isa_devices(Aml *isa, Pc *pc)
{
    Aml *d, *r;

    if (device_class_find("i8042")) {
        d = isa_device("KBD", "PNP0303");
        r = aml_new();
        aml_res_io(r, 0x60, 0x60, 1, 1);
        aml_res_io(r, 0x64, 0x64, 1, 1);
        aml_res_irq(r, 1);
        close_isa_device(isa, d, r);
        d = isa_device("MOU", "PNP0F13");
        r = aml_new();
        aml_res_irq(r, 12);
        close_isa_device(isa, d, r);
    }
    d = isa_device("RTC", "PNP0B00");
    r = aml_new();
    aml_res_io(r, 0x70, 0x70, 1, 8);
    aml_res_irq(r, 8);
    close_isa_device(isa, d, r);
    for (unsigned i = 0; i < BOARD_SERIALS; i++) {
        if (pc->cfg.serial[i])
            add_serial(isa, i);
    }
    if (fdc_cmos_type(pc->fdc, 0) || fdc_cmos_type(pc->fdc, 1)) {
        d = isa_device("FDC0", "PNP0700");
        r = aml_new();
        aml_res_io(r, 0x3f2, 0x3f2, 0, 4);
        aml_res_io(r, 0x3f7, 0x3f7, 0, 1);
        aml_res_irq(r, 6);
        aml_res_dma(r, 2);
        close_isa_device(isa, d, r);
    }
    if (pc->cfg.parallel[0]) {
        d = isa_device("LPT1", "PNP0400");
        r = aml_new();
        aml_res_io(r, 0x378, 0x378, 8, 8);
        aml_res_irq(r, 7);
        close_isa_device(isa, d, r);
    }
}

/* A slot whose cards may come and go; slots of the board's own functions have none of it. */
static bool slot_hotplug(const Pc *pc, unsigned slot)
{
    PciBus *bus = pci_root(pc->machine);

    for (unsigned f = 0; f < 8; f++) {
        if (bus->dev[slot << 3 | f] && bus->dev[slot << 3 | f]->dev.cls->no_hotplug)
            return false;
    }
    return bus->bus->hotplug;
}

static void slot_name(char name[5], unsigned slot)
{
    g_snprintf(name, 5, "S%03X", slot << 3);
}

/* Hot plug: the registers of PIIX4_PCIHP_BASE, a device with _EJ0 for each slot, PCNT to tell the news. */
static void add_hotplug(Aml *root, Pc *pc)
{
    Aml *f, *m = aml_method("PCNT", 0);

    aml_op_region(root, "PCST", SPACE_IO, PIIX4_PCIHP_BASE, 12);
    f = aml_field("PCST", FIELD_DWORD);
    aml_field_unit(f, "PCIU", 32);
    aml_field_unit(f, "PCID", 32);
    aml_field_unit(f, "PCEJ", 32);
    aml_close(root, AML_FIELD, f);
    aml_name_int(root, "PUP", 0);
    aml_name_int(root, "PDN", 0);
    aml_op(m, OP_STORE);        /* reading clears: once */
    aml_path(m, "PCIU");
    aml_path(m, "PUP");
    aml_op(m, OP_STORE);
    aml_path(m, "PCID");
    aml_path(m, "PDN");
    for (unsigned i = 0; i < 32; i++) {
        char name[5];
        Aml *d, *eject, *c;

        if (!slot_hotplug(pc, i))
            continue;
        slot_name(name, i);
        d = aml_scope(name);
        aml_name_int(d, "_ADR", (uint64_t)i << 16);
        aml_name_int(d, "_SUN", i);
        eject = aml_method("_EJ0", 1);
        aml_op(eject, OP_STORE);
        aml_int(eject, 1u << i);
        aml_path(eject, "PCEJ");
        aml_close(d, AML_METHOD, eject);
        aml_close(root, AML_DEVICE, d);
        for (unsigned k = 0; k < 2; k++) {
            c = aml_if_and(k ? "PDN" : "PUP", 1u << i);
            aml_op(c, OP_NOTIFY);
            aml_path(c, name);
            aml_int(c, k ? 3 : 1);      /* eject request, device check */
            aml_close(m, AML_IF, c);
        }
    }
    aml_close(root, AML_METHOD, m);
}

static void add_hotplug_event(Aml *a)
{
    Aml *gpe = aml_scope("\\_GPE"), *m = aml_method("_E01", 0);

    aml_path(m, "\\_SB.PCI0.PCNT");
    aml_close(gpe, AML_METHOD, m);
    aml_close(a, AML_SCOPE, gpe);
}

static void add_pci_root(Aml *sb, Pc *pc)
{
    Aml *root = aml_scope("PCI0"), *isa = aml_scope("ISA"), *f;

    aml_name_eisa(root, "_HID", "PNP0A03");
    aml_name_int(root, "_ADR", 0);
    aml_name_int(root, "_UID", 0);
    add_host_windows(root, pc);
    add_routing(root);

    aml_name_int(isa, "_ADR", 0x00010000);
    aml_op_region(isa, "P40C", SPACE_PCI_CONFIG, 0x60, 4);
    f = aml_field("P40C", FIELD_BYTE);
    for (unsigned i = 0; i < 4; i++) {
        char name[5] = { 'P', 'R', 'Q', '0' + i, 0 };

        aml_field_unit(f, name, 8);
    }
    aml_close(isa, AML_FIELD, f);
    add_isa_devices(isa, pc);
    aml_close(root, AML_DEVICE, isa);
    if (pci_root(pc->machine)->bus->hotplug)
        add_hotplug(root, pc);
    aml_close(sb, AML_DEVICE, root);
}

static void binary(Aml *m, uint8_t op, const char *left, uint64_t right, const char *target)
{
    aml_op(m, op);
    aml_path(m, left);
    aml_int(m, right);
    aml_path(m, target);
}

/* One PIRQ as a link device: the four methods move its routing register. */
static void add_link(Aml *sb, unsigned i)
{
    char name[5] = { 'L', 'N', 'K', 'A' + i, 0 };
    g_autofree char *reg = g_strdup_printf("\\_SB.PCI0.ISA.PRQ%u", i);
    Aml *d = aml_scope(name), *m, *r, *c;

    aml_name_eisa(d, "_HID", "PNP0C0F");
    aml_name_int(d, "_UID", i);
    m = aml_method("_STA", 0);
    c = aml_if_and(reg, 0x80);
    aml_return_int(c, 0x09);
    aml_close(m, AML_IF, c);
    aml_return_int(m, 0x0b);
    aml_close(d, AML_METHOD, m);
    m = aml_method("_DIS", 0);
    binary(m, OP_OR, reg, 0x80, reg);
    aml_close(d, AML_METHOD, m);
    r = aml_new();
    aml_res_interrupts(r, link_irqs, ARRAY_LEN(link_irqs));
    aml_name(d, "_PRS");
    aml_close_resources(d, r);
    r = aml_new();
    aml_res_interrupts(r, (const uint8_t[]) { 0 }, 1);
    aml_name(d, "BUFR");
    aml_close_resources(d, r);
    m = aml_method("_CRS", 0);
    aml_create_dword_field(m, "BUFR", 0, 5, "BIRQ");
    binary(m, OP_AND, reg, 0x0f, "BIRQ");
    aml_return_path(m, "BUFR");
    aml_close(d, AML_METHOD, m);
    m = aml_method("_SRS", 1);
    aml_create_dword_field(m, NULL, AML_ARG0, 5, "AIRQ");
    aml_op(m, OP_STORE);
    aml_path(m, "AIRQ");
    aml_path(m, reg);
    aml_close(d, AML_METHOD, m);
    aml_close(sb, AML_DEVICE, d);
}

/* The SCI's link: fixed to interrupt 9. */
static void add_sci_link(Aml *sb)
{
    static const char *const names[] = { "_PRS", "_CRS" };
    Aml *d = aml_scope("LNKS");

    aml_name_eisa(d, "_HID", "PNP0C0F");
    aml_name_int(d, "_UID", 4);
    aml_name_int(d, "_STA", 0x0b);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        Aml *r = aml_new();

        aml_res_interrupts(r, (const uint8_t[]) { 9 }, 1);
        aml_name(d, names[i]);
        aml_close_resources(d, r);
    }
    aml_close(d, AML_METHOD, aml_method("_DIS", 0));
    aml_close(d, AML_METHOD, aml_method("_SRS", 1));
    aml_close(sb, AML_DEVICE, d);
}

static void add_hpet(Aml *sb)
{
    Aml *d = aml_scope("HPET"), *r = aml_new();

    aml_name_eisa(d, "_HID", "PNP0103");
    aml_name_int(d, "_UID", 0);
    aml_res_memory32(r, 0xfed00000, 0x400);
    aml_name(d, "_CRS");
    aml_close_resources(d, r);
    aml_close(sb, AML_DEVICE, d);
}

GByteArray *acpi_dsdt_body(Pc *pc)
{
    Aml *a = aml_new(), *sb = aml_scope("\\_SB");

    add_pci_root(sb, pc);
    for (unsigned i = 0; i < 4; i++)
        add_link(sb, i);
    add_sci_link(sb);
    if (pc->hpet)
        add_hpet(sb);
    for (unsigned i = 0; i < pc->cpus; i++) {
        g_autofree char *name = g_strdup_printf("C%03X", i);

        aml_close(sb, AML_PROCESSOR, aml_processor(name, i));
    }
    aml_close(a, AML_SCOPE, sb);
    if (pci_root(pc->machine)->bus->hotplug)
        add_hotplug_event(a);
    if (pc->s3)
        add_sleep_state(a, "\\_S3", 1);
    if (pc->s4)
        add_sleep_state(a, "\\_S4", 2);
    add_sleep_state(a, "\\_S5", 0);
    return a;
}
