/*
 * board: the list of machine types.
 */
#include "hw/i386/board_int.h"

static bool none_create(Machine *m, const MachineConfig *cfg, GError **err)
{
    if (cfg->ram_size) {
        m->ram = ram_block_new("none.ram", cfg->ram_size, err);
        if (!m->ram)
            return false;
        m->ram_size = cfg->ram_size;
    }
    return true;
}

static const BoardClass none_board = {
    .name = "none", .desc = "empty machine", .max_cpus = 1, .create = none_create };

/* Versioned names exist so that scripts written for a version go on working: one machine behind all. */
#define PC_VERSION(var, version, ...) static const BoardClass pc_##var = { .name = "pc-i440fx-" version, \
        .desc = "PC (i440FX + PIIX3)", .max_cpus = 255, .create = pc_create, __VA_ARGS__ }
PC_VERSION(7_2, "7.2", .alias = "pc", .is_default = true);
PC_VERSION(7_1, "7.1");
PC_VERSION(7_0, "7.0");
PC_VERSION(6_2, "6.2");
PC_VERSION(6_1, "6.1");
PC_VERSION(6_0, "6.0");
PC_VERSION(5_2, "5.2");
PC_VERSION(5_1, "5.1");
PC_VERSION(5_0, "5.0");
PC_VERSION(4_2, "4.2");
PC_VERSION(4_1, "4.1");
PC_VERSION(4_0, "4.0");
PC_VERSION(3_1, "3.1");
PC_VERSION(3_0, "3.0");
PC_VERSION(2_12, "2.12");
PC_VERSION(2_11, "2.11");
PC_VERSION(2_10, "2.10");
PC_VERSION(2_9, "2.9");
PC_VERSION(2_8, "2.8");

static const BoardClass *const boards[] = {
    &pc_7_2, &pc_7_1, &pc_7_0, &pc_6_2, &pc_6_1, &pc_6_0, &pc_5_2, &pc_5_1, &pc_5_0, &pc_4_2, &pc_4_1, &pc_4_0,
    &pc_3_1, &pc_3_0, &pc_2_12, &pc_2_11, &pc_2_10, &pc_2_9, &pc_2_8, &none_board, NULL };

const BoardClass *const *board_class_list(void)
{
    return boards;
}

const BoardClass *board_class_find(const char *name, GError **err)
{
    const char *names[2 * ARRAY_LEN(boards)], *near;
    unsigned n = 0;

    for (unsigned i = 0; boards[i]; i++) {
        if (name ? !strcmp(name, boards[i]->name) || !g_strcmp0(name, boards[i]->alias) : boards[i]->is_default)
            return boards[i];
        names[n++] = boards[i]->name;
        if (boards[i]->alias)
            names[n++] = boards[i]->alias;
    }
    names[n] = NULL;
    near = nearest_name(name, names);
    err_set_code(err, ERR_NOT_FOUND, "unknown machine type '%s'%s%s%s; -machine help lists them", name,
                 near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return NULL;
}

char *board_list_help(void)
{
    GString *s = g_string_new("Supported machines are:\n");

    for (unsigned i = 0; boards[i]; i++) {
        const BoardClass *b = boards[i];

        if (b->alias)
            g_string_append_printf(s, "%-20s %s (alias of %s)\n", b->alias, b->desc, b->name);
        g_string_append_printf(s, "%-20s %s%s\n", b->name, b->desc, b->is_default ? " (default)" : "");
    }
    return g_string_free(s, FALSE);
}

const char *const *board_option_names(void)
{
    static const char *const names[] = {
        "acpi", "hpet", "smm", "vmport", "usb", "graphics", "dump-guest-core", "mem-merge", "kernel-irqchip",
        "kernel_irqchip", "max-ram-below-4g", "i8042", "pit", "smbus", "pcspk-audiodev", "nvdimm", "smp", NULL };

    return names;
}

bool board_create(Machine *m, const MachineConfig *cfg, GError **err)
{
    const BoardClass *bc = board_class_find(cfg->type, err);

    if (!bc)
        return false;
    if (cfg->maxcpus > bc->max_cpus || cfg->cpus > bc->max_cpus)
        return err_set(err, "machine '%s' has at most %u CPUs, not %u", bc->name, bc->max_cpus,
                       MAX(cfg->cpus, cfg->maxcpus));
    for (unsigned i = 0; cfg->firmware_path && i < cfg->firmware_path->len; i++)
        g_ptr_array_add(board_get(m)->firmware_path, g_strdup(g_ptr_array_index(cfg->firmware_path, i)));
    return bc->create(m, cfg, err);
}

bool board_finish(Machine *m, GError **err)
{
    Pc *pc = m->board ? m->board->impl : NULL;

    return !pc || pc_finish(pc, err);
}

char *board_info_irq(Machine *m)
{
    Pc *pc = m->board ? m->board->impl : NULL;
    GString *s;

    if (!pc)
        return NULL;
    s = g_string_new("interrupt lines raised since start:\n");
    for (unsigned n = 0; n < GSIS; n++)
        if (pc->gsi[n].raised)
            g_string_append_printf(s, "%2u: %" G_GUINT64_FORMAT "\n", n, (guint64)pc->gsi[n].raised);
    return g_string_free(s, false);
}

char *board_info_pic(Machine *m)
{
    Pc *pc = m->board ? m->board->impl : NULL;
    g_autofree char *pic = NULL, *ioapic = NULL;

    if (!pc)
        return NULL;
    pic = i8259_describe(pc->pic);
    ioapic = ioapic_describe(pc->ioapic);
    return g_strconcat(pic, ioapic, NULL);
}

char *board_info_lapic(Machine *m, unsigned cpu)
{
    Pc *pc = m->board ? m->board->impl : NULL;

    return pc ? lapic_describe(pc->lapics, cpu) : NULL;
}

char *board_info_pci(Machine *m)
{
    return pci_root(m) ? pci_describe(m) : NULL;
}

void board_inject_nmi(Machine *m)
{
    Pc *pc = m->board ? m->board->impl : NULL;

    if (pc)
        lapic_bus_nmi(pc->lapics);
}
