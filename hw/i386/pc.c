/*
 * pc: the i440FX/PIIX3 PC: wires processors, chipset, ISA devices and firmware together.
 *
 * PCI: 00.0 host bridge, 01.0 ISA bridge, 01.1 IDE, 01.2 UHCI, 01.3 power management, then VGA and
 * network cards. A global system interrupt n reaches PIC input n and I/O APIC input n; ISA
 * interrupt 0 goes to I/O APIC input 2 (the MADT says so). docs/hw/pc.md. Machine lock.
 */
#include "hw/acpi/piix4_pm.h"
#include "hw/block/fdc.h"
#include "hw/i386/board_int.h"
#include "hw/isa/piix3.h"
#include "hw/misc/pcspk.h"
#include "hw/pci/i440fx.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "softmmu/accel.h"
#include "target/x86/cpu.h"
#include "target/x86/mem.h"
#include "util/optlist.h"

enum { BIOS_MAX = 16 * MiB, ISA_BIOS_MAX = 128 * KiB };
enum {                          /* CMOS bytes firmware reads (SeaBIOS and BIOS interrupt lists) */
    CMOS_FLOPPY = 0x10, CMOS_EQUIPMENT = 0x14, CMOS_BASE_MEM = 0x15, CMOS_EXT_MEM = 0x17, CMOS_EXT_MEM2 = 0x30,
    CMOS_MEM_16M = 0x34, CMOS_BOOT3 = 0x38, CMOS_BOOT12 = 0x3d, CMOS_MEM_4G = 0x5b, CMOS_CPUS = 0x5f,
};

/* --- interrupts --- */

static void gsi_set(void *opaque, int n, int level)
{
    PcGsi *g = &((Pc *)opaque)->gsi[n];

    g->raised += level && !g->up;
    g->up = level;
    irq_set(&g->pic, level);
    irq_set(&g->ioapic, level);
}

static IrqLine gsi_line(Pc *pc, int n)
{
    return (IrqLine) { gsi_set, pc, n };
}

/* An engine that keeps PIC and I/O APIC knows by itself where a global interrupt goes. */
static void engine_gsi_set(void *opaque, int n, int level)
{
    Machine *m = ((Pc *)opaque)->machine;

    irqchip_of(m)->line(m, n, level);
}

static void pit_replaced(void *opaque, int n, int level)
{
    Pc *pc = opaque;

    if (pc->pit)
        i8254_set_irq_off(pc->pit, level);
}

static int pic_ack(void *opaque)
{
    return i8259_ack(opaque);
}

static void broadcast_eoi(void *opaque, uint8_t vector)
{
    ioapic_eoi(opaque, vector);
}

static bool create_interrupts(Pc *pc, GError **err)
{
    Machine *m = pc->machine;
    IsaBus *isa = isa_bus(m);

    pc->pic = device_create(m, "isa-i8259", isa->bus, NULL, err);
    pc->ioapic = pc->pic ? device_create(m, "ioapic", NULL, NULL, err) : NULL;
    if (!pc->ioapic)
        return false;
    for (int n = 0; n < GSIS; n++) {
        if (irqchip_mode(m) == IRQCHIP_ON) {
            pc->gsi[n].pic = (IrqLine) { engine_gsi_set, pc, n };
            continue;
        }
        if (n < 16 && n != 2)
            pc->gsi[n].pic = i8259_input(pc->pic, n);
        if (n != 0)
            pc->gsi[n].ioapic = ioapic_input(pc->ioapic, n);
    }
    if (irqchip_mode(m) != IRQCHIP_ON)
        pc->gsi[0].ioapic = ioapic_input(pc->ioapic, 2);
    i8259_connect(pc->pic, lapic_bus_lint0(pc->lapics));
    lapic_bus_connect(pc->lapics, broadcast_eoi, pc->ioapic, pic_ack, pc->pic);
    for (int n = 0; n < 16; n++)
        isa->irq[n] = gsi_line(pc, n);
    return true;
}

/* --- processors --- */

static void set_a20(Vcpu *v, void *opaque)
{
    x86_set_a20(x86_cpu(v), ((Pc *)opaque)->a20);
}

static void a20_changed(void *opaque, int n, int level)
{
    Pc *pc = opaque;
    GPtrArray *vcpus = pc->machine->vcpus;

    if (!!level == pc->a20)
        return;
    pc->a20 = level;
    for (unsigned i = 0; i < vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(vcpus, i);

        if (v == vcpu_current() || v->stopped)
            set_a20(v, pc);
        else
            vcpu_queue(v, set_a20, pc);
    }
}

static void smm_changed(void *opaque, X86Cpu *c, bool in)
{
    bool held = machine_lock_held();

    if (!held)
        machine_lock();
    i440fx_set_smm(opaque, c->vcpu.index, in);
    if (!held)
        machine_unlock();
}

static bool create_cpus(Pc *pc, GError **err)
{
    for (unsigned i = 0; i < pc->cpus; i++) {
        X86Cpu *c = x86_cpu_new(pc->machine, pc->cfg.cpu_model, i, err);

        if (!c || !lapic_create(pc->lapics, c, err))
            return false;
    }
    return true;
}

/* --- chipset and on-board devices --- */

static Device *add(Pc *pc, const char *cls, Bus *bus, const char *props, GError **err)
{
    return device_create(pc->machine, cls, bus, props, err);
}

static bool create_timers(Pc *pc, GError **err)
{
    IrqLine irq0 = gsi_line(pc, 0), irq8 = gsi_line(pc, 8), gsi[HPET_PINS];
    Bus *isa = isa_bus(pc->machine)->bus;
    g_autofree char *rtc = g_strdup_printf("clock=%s", pc->cfg.rtc_clock ? pc->cfg.rtc_clock : "host");
    g_autofree char *sound = NULL;
    Device *speaker;

    if (!pc->cfg.no_hpet) {
        pc->hpet = add(pc, "hpet", NULL, NULL, err);
        if (!pc->hpet)
            return false;
        for (int n = 0; n < HPET_PINS; n++)
            gsi[n] = n == 2 && pc->gsi[0].ioapic.fn ? pc->gsi[0].ioapic : gsi_line(pc, n);
        hpet_connect(pc->hpet, gsi);
        hpet_connect_replacing(pc->hpet, (IrqLine) { pit_replaced, pc, 0 });
        irq0 = hpet_legacy_input(pc->hpet, 0);
        irq8 = hpet_legacy_input(pc->hpet, 1);
    }
    pc->rtc = add(pc, "mc146818rtc", isa, rtc, err);
    if (!pc->rtc || !mc146818_set_base(pc->rtc, pc->cfg.rtc_base, err))
        return false;
    mc146818_connect(pc->rtc, irq8);
    pc->pit = add(pc, "isa-pit", isa, NULL, err);
    if (!pc->pit)
        return false;
    i8254_connect(pc->pit, irq0);
    if (pc->cfg.machine_opts && g_hash_table_lookup(pc->cfg.machine_opts, "pcspk-audiodev"))
        sound = g_strdup_printf("audiodev=%s", (char *)g_hash_table_lookup(pc->cfg.machine_opts, "pcspk-audiodev"));
    speaker = add(pc, "isa-pcspk", isa, sound, err);
    if (speaker)
        pcspk_connect(speaker, pc->pit);
    return speaker;
}

static bool create_chipset(Pc *pc, GError **err)
{
    PciBus *pci = pci_root(pc->machine);
    IrqLine pirq[16], sci;
    g_autofree char *pm = g_strdup_printf("addr=1.3,smm_enabled=%s,disable_s3=%s,disable_s4=%s", pc->smm ? "on" : "off",
                                          pc->s3 ? "off" : "on", pc->s4 ? "off" : "on");

    pc->isa_bridge = add(pc, "PIIX3", pci->bus, "addr=1.0,multifunction=on", err);
    if (!pc->isa_bridge)
        return false;
    for (unsigned n = 0; n < 16; n++) {
        if (!isa_claim_irq(pc->isa_bridge, &pirq[n], n, err))
            return false;
    }
    piix3_connect(pc->isa_bridge, pci, pirq);
    if (device_class_find("piix3-ide") && !add(pc, "piix3-ide", pci->bus, "addr=1.1", err))
        return false;
    if (pc->cfg.usb && !add(pc, "piix3-usb-uhci", pci->bus, "addr=1.2", err))
        return false;
    if (!pc->acpi)
        return true;
    pc->pm = add(pc, "PIIX4_PM", pci->bus, pm, err);
    if (!pc->pm || !isa_claim_irq(pc->pm, &sci, PIIX4_SCI, err))
        return false;
    piix4_pm_connect(pc->pm, sci);
    piix4_pm_hotplug(pc->pm, pci);
    return true;
}

static bool create_isa_devices(Pc *pc, GError **err)
{
    Bus *isa = isa_bus(pc->machine)->bus;

    pc->dma = add(pc, "i8257", isa, NULL, err);
    if (!pc->dma || !add(pc, "port92", isa, NULL, err))
        return false;
    if (device_class_find("i8042") && !add(pc, "i8042", isa, NULL, err))
        return false;
    pc->fdc = add(pc, "isa-fdc", isa, NULL, err);
    return pc->fdc;
}

static bool create_ports(Pc *pc, GError **err)
{
    Bus *isa = isa_bus(pc->machine)->bus;

    for (unsigned i = 0; i < BOARD_SERIALS; i++) {
        g_autofree char *props = g_strdup_printf("index=%u,chardev=%s", i, pc->cfg.serial[i]);

        if (pc->cfg.serial[i] && !add(pc, "isa-serial", isa, props, err))
            return false;
    }
    for (unsigned i = 0; i < BOARD_PARALLELS; i++) {
        g_autofree char *props = g_strdup_printf("index=%u,chardev=%s", i, pc->cfg.parallel[i]);

        if (pc->cfg.parallel[i] && !add(pc, "isa-parallel", isa, props, err))
            return false;
    }
    return true;
}

static bool create_cards(Pc *pc, GError **err)
{
    Bus *pci = pci_root(pc->machine)->bus;

    if (pc->cfg.vga && !add(pc, pc->cfg.vga, NULL, g_str_has_prefix(pc->cfg.vga, "isa-") ? NULL : "addr=2", err))
        return false;
    for (unsigned i = 0; pc->cfg.nics && i < pc->cfg.nics->len; i++) {
        g_auto(GStrv) part = g_strsplit(g_ptr_array_index(pc->cfg.nics, i), ",", 2);

        if (!add(pc, part[0], g_str_has_prefix(part[0], "ne2k_isa") ? NULL : pci, part[1], err))
            return false;
    }
    return true;
}

/* --- memory and firmware --- */

static bool create_memory(Pc *pc, GError **err)
{
    Machine *m = pc->machine;
    uint64_t limit = 0xe0000000, size = pc->cfg.ram_size;
    const char *max = pc->cfg.machine_opts ? g_hash_table_lookup(pc->cfg.machine_opts, "max-ram-below-4g") : NULL;

    if (size < MiB)
        return err_set(err, "a PC needs at least 1 MiB of memory");
    if (max && !parse_size_text(max, 1, &limit, err))
        return err_prefix(err, "max-ram-below-4g");
    limit = CLAMP(limit & ~(MiB - 1), MiB, 0xe0000000);
    size = (size + 4095) & ~4095ULL;
    m->ram = ram_block_new("pc.ram", size, err);
    if (!m->ram)
        return false;
    m->ram_size = size;
    pc->below_4g = size <= limit ? size : max ? limit : 3 * GiB;
    pc->above_4g = size - pc->below_4g;
    pc->bridge = i440fx_create(m, pc->below_4g, err);
    return pc->bridge;
}

/* Is there anything in the last 16 bytes? */
static bool has_reset_code(const uint8_t *bios, uint64_t size)
{
    for (uint64_t i = size - 15; i < size; i++) {
        if (bios[i] != bios[size - 16] || (bios[i] && bios[i] != 0xff))
            return true;
    }
    return false;
}

/* The BIOS ends at 4 GiB; its last 128 KiB show below 1 MiB too, until RAM shadows them. */
static bool load_bios(Pc *pc, GError **err)
{
    const char *name = pc->cfg.bios ? pc->cfg.bios : "bios-256k.bin";
    g_autoptr(GBytes) data = firmware_load(pc->machine, name, BIOS_MAX, err);
    Region *pci = i440fx_pci_memory(pc->bridge);
    uint64_t size, low;

    if (!data)
        return false;
    size = g_bytes_get_size(data);
    if (size == 0 || size % (64 * KiB))
        return err_set(err, "BIOS '%s' is no multiple of 64 KiB long", name);
    if (!has_reset_code(g_bytes_get_data(data, NULL), size))
        return err_set(err, "BIOS '%s' has nothing at its end, where the processor starts", name);
    pc->bios = ram_block_new("pc.bios", size, err);
    if (!pc->bios)
        return false;
    memcpy(pc->bios->host, g_bytes_get_data(data, NULL), size);
    low = MIN(size, ISA_BIOS_MAX);
    region_init_rom(&pc->bios_high, "bios", pc->bios, 0, size, NULL, NULL);
    region_init_alias(&pc->bios_low, "isa-bios", &pc->bios_high, size - low, low);
    region_add(pci, &pc->bios_high, 4 * GiB - size, 0);
    region_add(pci, &pc->bios_low, MiB - low, 0);
    return true;
}

/* --- what firmware is told --- */

static void cmos_word(Pc *pc, unsigned index, unsigned val)
{
    mc146818_set_cmos(pc->rtc, index, val);
    mc146818_set_cmos(pc->rtc, index + 1, val >> 8);
}

static bool boot_codes(const char *order, uint8_t code[3], GError **err)
{
    memset(code, 0, 3);
    for (unsigned i = 0; order[i]; i++) {
        uint8_t c = order[i] == 'a' || order[i] == 'b' ? 1 : order[i] == 'c' ? 2 : order[i] == 'd' ? 3 :
                    order[i] >= 'n' && order[i] <= 'p' ? 4 : 0;

        if (!c)
            return err_set(err, "-boot order '%s': '%c' is not a (floppy), c (disk), d (CD) or n (network)", order, order[i]);
        if (i < 3)
            code[i] = c;
    }
    return true;
}

static void cmos_boot(Pc *pc, const char *order)
{
    uint8_t code[3];
    g_autoptr(GError) ignored = NULL;

    if (!boot_codes(order, code, &ignored))
        return;
    mc146818_set_cmos(pc->rtc, CMOS_BOOT12, code[1] << 4 | code[0]);
    mc146818_set_cmos(pc->rtc, CMOS_BOOT3, code[2] << 4 | 1);      /* no floppy signature check */
}

typedef struct BootOnce { Pc *pc; char *order; unsigned resets; } BootOnce;

/* -boot once=: the first reset is the start of the machine, the second ends it. */
static void boot_once_event(void *opaque, MachineEvent ev, const char *detail)
{
    BootOnce *b = opaque;

    if (ev == EVENT_RESET && b->order && ++b->resets > 1) {
        cmos_boot(b->pc, b->order);
        g_clear_pointer(&b->order, g_free);
    }
}

static void boot_once_free(void *data)
{
    g_free(((BootOnce *)data)->order);
    g_free(data);
}

static bool set_boot_order(Pc *pc, GError **err)
{
    const char *order = pc->cfg.boot_order ? pc->cfg.boot_order : "cad";
    const char *once = pc->cfg.boot_once;
    uint8_t code[3];
    BootOnce *b;

    if (!boot_codes(order, code, err) || (once && !boot_codes(once, code, err)))
        return false;
    cmos_boot(pc, once ? once : order);
    if (!once)
        return true;
    b = g_new0(BootOnce, 1);
    b->pc = pc;
    b->order = g_strdup(order);
    machine_listen(pc->machine, boot_once_event, b);
    board_on_free(pc->machine, boot_once_free, b);
    return true;
}

static bool set_cmos(Pc *pc, GError **err)
{
    uint64_t ext = pc->below_4g - MiB, high = pc->below_4g > 16 * MiB ? pc->below_4g - 16 * MiB : 0;

    cmos_word(pc, CMOS_BASE_MEM, 640);
    cmos_word(pc, CMOS_EXT_MEM, MIN(ext / KiB, 65535));
    cmos_word(pc, CMOS_EXT_MEM2, MIN(ext / KiB, 65535));
    cmos_word(pc, CMOS_MEM_16M, MIN(high / (64 * KiB), 65535));
    for (unsigned i = 0; i < 3; i++)
        mc146818_set_cmos(pc->rtc, CMOS_MEM_4G + i, pc->above_4g / (64 * KiB) >> 8 * i);
    mc146818_set_cmos(pc->rtc, CMOS_CPUS, MAX(pc->cpus, 1) - 1);
    return set_boot_order(pc, err);
}

/* Drives are there by now. */
static void set_cmos_floppies(Pc *pc)
{
    unsigned a = fdc_cmos_type(pc->fdc, 0), b = fdc_cmos_type(pc->fdc, 1), n = (a != 0) + (b != 0);

    mc146818_set_cmos(pc->rtc, CMOS_FLOPPY, a << 4 | b);
    mc146818_set_cmos(pc->rtc, CMOS_EQUIPMENT, 0x06 | (n ? 1 | (n - 1) << 6 : 0));      /* FPU, PS/2 mouse, floppies */
}

static bool add_file(Pc *pc, const char *name, const void *data, size_t len, GError **err)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, len);

    return fw_cfg_add_file(pc->fw_cfg, name, bytes, err);
}

static bool add_e820(Pc *pc, GError **err)
{
    uint8_t map[2 * 20] = { 0 };
    unsigned n = 1;

    st64_le(map + 8, pc->below_4g);
    st32_le(map + 16, 1);
    if (pc->above_4g) {
        st64_le(map + 20, 4 * GiB);
        st64_le(map + 28, pc->above_4g);
        st32_le(map + 36, 1);
        n = 2;
    }
    return add_file(pc, "etc/e820", map, n * 20, err);
}

static bool add_boot_files(Pc *pc, GError **err)
{
    uint8_t states[6] = { 0x80, 0, 0, 0x80 | 1, 0x80 | 2, 0x80 }, word[8];
    g_autofree char *order = boot_order_text(pc->machine);

    states[3] = 1 | (pc->s3 ? 0x80 : 0);
    states[4] = 2 | (pc->s4 ? 0x80 : 0);
    if (!add_file(pc, "etc/system-states", states, sizeof states, err))
        return false;
    if (pc->cfg.boot_strict && order) {
        char *strict = g_strconcat(order, "\nHALT", NULL);

        g_free(order);
        order = strict;
    }
    if (order && !add_file(pc, "bootorder", order, strlen(order) + 1, err))
        return false;
    /* SeaBIOS then shows its text screen on the first serial port too. */
    st16_le(word, 0x3f8);
    if (pc->cfg.serial_screen && pc->cfg.serial[0] && !add_file(pc, "etc/sercon-port", word, 2, err))
        return false;
    st16_le(word, MAX(pc->cfg.splash_time, 0));
    if (pc->cfg.splash_time > 0 && !add_file(pc, "etc/boot-menu-wait", word, 2, err))
        return false;
    st32_le(word, pc->cfg.reboot_timeout);
    return pc->cfg.reboot_timeout <= 0 || add_file(pc, "etc/boot-fail-wait", word, 4, err);
}

static bool create_fw_cfg(Pc *pc, GError **err)
{
    FwCfg *f;
    g_autofree uint8_t *numa = g_malloc0((1 + MAX(pc->maxcpus, 1)) * 8);
    g_autoptr(GBytes) numa_bytes = g_bytes_new(numa, (1 + MAX(pc->maxcpus, 1)) * 8);

    pc->fw_cfg_dev = add(pc, "fw_cfg", NULL, NULL, err);
    if (!pc->fw_cfg_dev)
        return false;
    f = pc->fw_cfg = fw_cfg_of(pc->fw_cfg_dev);
    fw_cfg_add_int(f, FW_CFG_RAM_SIZE, pc->machine->ram_size, 8);
    fw_cfg_add_int(f, FW_CFG_NOGRAPHIC, !pc->cfg.vga, 2);
    fw_cfg_add_int(f, FW_CFG_NB_CPUS, pc->cpus, 2);
    fw_cfg_add_int(f, FW_CFG_MAX_CPUS, MAX(pc->maxcpus, 1), 2);
    fw_cfg_add_int(f, FW_CFG_BOOT_MENU, pc->cfg.boot_menu, 2);
    fw_cfg_add_int(f, FW_CFG_X86_IRQ0_OVERRIDE, 1, 4);
    fw_cfg_add_bytes(f, FW_CFG_NUMA, numa_bytes);
    if (pc->cfg.uuid) {
        g_autoptr(GBytes) uuid = g_bytes_new(pc->cfg.uuid, 16);

        fw_cfg_add_bytes(f, FW_CFG_UUID, uuid);
    }
    return add_e820(pc, err);
}

bool pc_finish(Pc *pc, GError **err)
{
    if (pc->cfg.kernel && !pc_kernel_setup(pc, err))
        return false;
    pc_collect_boot_order(pc);
    set_cmos_floppies(pc);
    if (!pc->cfg.kernel && (pc->cfg.initrd || pc->cfg.append))
        return err_set(err, "%s needs -kernel", pc->cfg.initrd ? "-initrd" : "-append");
    if (!pc_user_tables(pc, err) || !pc_user_roms(pc, err) || !add_boot_files(pc, err) || (pc->acpi && !pc_acpi_setup(pc, err)) || !pc_smbios_setup(pc, err))
        return false;
    for (unsigned i = 0; pc->cfg.fw_cfg && i < pc->cfg.fw_cfg->len; i++) {
        if (!fw_cfg_add_user(pc->fw_cfg, g_ptr_array_index(pc->cfg.fw_cfg, i), err))
            return false;
    }
    return true;
}

/* --- creation --- */

static void pc_free(void *data)
{
    Pc *pc = data;

    if (pc->bios) {
        region_destroy(&pc->bios_low);
        region_destroy(&pc->bios_high);
        ram_block_free(pc->bios);
    }
    g_clear_pointer(&pc->acpi_tables, g_ptr_array_unref);
    g_free(pc);
}

static bool switch_option(const Pc *pc, const char *name, bool def, bool *out, GError **err)
{
    const char *text = pc->cfg.machine_opts ? g_hash_table_lookup(pc->cfg.machine_opts, name) : NULL;

    *out = def;
    if (!text || !strcmp(text, "auto"))
        return true;
    return parse_bool_text(text, out, err) || err_prefix(err, "-machine %s", name);
}

/* Firmware that finds SMM set up leaves it alone: what an engine without it needs. */
static bool engine_has_smm(Machine *m)
{
    return !m->accel || !m->accel->has_smm || m->accel->has_smm(m);
}

static bool read_options(Pc *pc, GError **err)
{
    bool hpet, usb;

    if (!switch_option(pc, "acpi", !pc->cfg.no_acpi, &pc->acpi, err) || !switch_option(pc, "smm", engine_has_smm(pc->machine), &pc->smm, err) ||
        !switch_option(pc, "hpet", !pc->cfg.no_hpet, &hpet, err) || !switch_option(pc, "usb", pc->cfg.usb, &usb, err))
        return false;
    pc->cfg.no_hpet = !hpet;
    pc->cfg.usb = usb;
    pc->s3 = pc->s4 = true;
    return true;
}

bool pc_create(Machine *m, const MachineConfig *cfg, GError **err)
{
    Pc *pc = g_new0(Pc, 1);

    pc->machine = m;
    pc->cfg = *cfg;
    pc->cpus = cfg->cpus;
    pc->maxcpus = MAX(cfg->maxcpus, cfg->cpus);
    pc->a20 = true;
    board_get(m)->impl = pc;
    board_get(m)->a20 = (IrqLine) { a20_changed, pc, 0 };
    board_on_free(m, pc_free, pc);
    if (!read_options(pc, err) || !create_memory(pc, err))
        return false;
    pc->lapics = lapic_bus_new(m);
    lapic_bus_set_smm(pc->lapics, smm_changed, pc->bridge);
    isa_bus_new(m, NULL);
    pc_firmware_log(m);
    return create_cpus(pc, err) && create_interrupts(pc, err) && create_chipset(pc, err) && create_timers(pc, err) &&
           create_isa_devices(pc, err) && create_fw_cfg(pc, err) && load_bios(pc, err) && create_cards(pc, err) &&
           create_ports(pc, err) && set_cmos(pc, err);
}
