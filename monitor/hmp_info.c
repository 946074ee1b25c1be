/* hmp_info: what "info" shows of the machine, its CPUs and its devices. */
#include "monitor/hmp_int.h"

#include "hw/i386/board.h"
#include "softmmu/accel.h"
#include "util/bytes.h"

#include <stdlib.h>

HmpFn hmp_info_status, hmp_info_version, hmp_info_name, hmp_info_uuid, hmp_info_kvm, hmp_info_cpus,
      hmp_info_registers, hmp_info_mtree, hmp_info_qtree, hmp_info_qdm, hmp_info_irq, hmp_info_pic, hmp_info_lapic,
      hmp_info_pci, hmp_info_jit, hmp_info_history, hmp_info_memory_size, hmp_info_ramblock;

void hmp_info_status(Hmp *h, int argc, char **argv)
{
    RunState s = h->m->state;

    hmp_printf(h, "VM status: %s", s == RUN_RUNNING ? "running" : "paused");
    if (s != RUN_RUNNING && s != RUN_PAUSED)
        hmp_printf(h, " (%s)", run_state_name(s));
    hmp_printf(h, "\n");
}

void hmp_info_version(Hmp *h, int argc, char **argv) { hmp_printf(h, "7.2.0 (quern 0.1)\n"); }
void hmp_info_name(Hmp *h, int argc, char **argv) { hmp_printf(h, "%s\n", h->m->name ? h->m->name : ""); }

void hmp_info_uuid(Hmp *h, int argc, char **argv)
{
    const uint8_t *u = h->m->uuid;

    hmp_printf(h, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", u[0], u[1], u[2],
               u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

void hmp_info_kvm(Hmp *h, int argc, char **argv)
{
    bool on = h->m->accel && !strcmp(h->m->accel->name, "kvm");

    hmp_printf(h, "kvm support: %s\n", on ? "enabled" : accel_find("kvm") ? "disabled" : "not compiled");
}

void hmp_info_cpus(Hmp *h, int argc, char **argv)
{
    for (unsigned i = 0; i < h->m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(h->m->vcpus, i);

        hmp_printf(h, "%c CPU #%u: thread_id=%d%s\n", v == hmp_vcpu(h) ? '*' : ' ', i, v->host_tid,
                   v->halted ? " (halted)" : "");
    }
}

typedef struct Described { char *text; } Described;

static void describe_on(Vcpu *v, void *opaque)
{
    Described *d = opaque;

    if (v->machine->accel && v->machine->accel->pull)
        v->machine->accel->pull(v);
    d->text = v->ops->describe ? v->ops->describe(v) : NULL;
}

void hmp_info_registers(Hmp *h, int argc, char **argv)
{
    bool all = argc > 1 && !strcmp(argv[1], "-a");

    for (unsigned i = 0; i < h->m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(h->m->vcpus, i);
        Described d = { NULL };

        if (!all && v != hmp_vcpu(h))
            continue;
        vcpu_run_on(v, describe_on, &d);
        hmp_printf(h, "\nCPU#%u\n", i);
        hmp_take(h, d.text);
    }
}

void hmp_info_mtree(Hmp *h, int argc, char **argv)
{
    bool flat = argc > 1 && !strcmp(argv[1], "-f");

    hmp_take(h, addrspace_describe(&h->m->mem, flat));
    hmp_printf(h, "\n");
    hmp_take(h, addrspace_describe(&h->m->ports, flat));
}

void hmp_info_qtree(Hmp *h, int argc, char **argv) { hmp_take(h, device_tree_describe(h->m)); }
void hmp_info_qdm(Hmp *h, int argc, char **argv) { hmp_take(h, device_list_help()); }

static void board_part(Hmp *h, char *text)
{
    if (text)
        hmp_take(h, text);
    else
        hmp_printf(h, "this machine has none\n");
}

void hmp_info_irq(Hmp *h, int argc, char **argv) { board_part(h, board_info_irq(h->m)); }
void hmp_info_pic(Hmp *h, int argc, char **argv) { board_part(h, board_info_pic(h->m)); }
void hmp_info_pci(Hmp *h, int argc, char **argv) { board_part(h, board_info_pci(h->m)); }

void hmp_info_lapic(Hmp *h, int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : MAX(h->cpu, 0);

    if (n < 0 || n >= (int)h->m->vcpus->len)
        hmp_printf(h, "there is no CPU %d\n", n);
    else
        board_part(h, board_info_lapic(h->m, n));
}

void hmp_info_jit(Hmp *h, int argc, char **argv)
{
    const Accel *a = h->m->accel;

    hmp_printf(h, "engine: %s (%s)\n", a ? a->name : "none", a ? a->desc : "");
    if (a && a->describe)
        hmp_take(h, a->describe(h->m));
}

void hmp_info_history(Hmp *h, int argc, char **argv)
{
    for (unsigned i = 0; h->history && i < h->history->len; i++)
        hmp_printf(h, "%u: '%s'\n", i, (char *)g_ptr_array_index(h->history, i));
}

void hmp_info_memory_size(Hmp *h, int argc, char **argv)
{
    hmp_printf(h, "base memory: %" G_GUINT64_FORMAT "\n", h->m->ram_size);
}

void hmp_info_ramblock(Hmp *h, int argc, char **argv)
{
    hmp_printf(h, "%24s %18s\n", "Block Name", "Size");
    if (h->m->ram)
        hmp_printf(h, "%24s %#18" G_GINT64_MODIFIER "x\n", h->m->ram->name, h->m->ram->size);
    for (unsigned i = 0; i < h->m->ram_blocks->len; i++) {
        RamBlock *rb = g_ptr_array_index(h->m->ram_blocks, i);

        if (rb != h->m->ram)
            hmp_printf(h, "%24s %#18" G_GINT64_MODIFIER "x\n", rb->name, rb->size);
    }
}
