/* gdb_int: one gdb server: its breakpoints, its view of registers and memory; private to monitor/gdb*.c. */
#ifndef MONITOR_GDB_INT_H
#define MONITOR_GDB_INT_H

#include "monitor/gdb.h"
#include "softmmu/accel.h"
#include "target/x86/mem.h"

typedef enum { BREAK_TRAP, BREAK_LAZY, BREAK_STOP } BreakHow;

typedef struct GdbBreak {       /* Z0 and Z1 */
    uint64_t addr, pa;          /* pa: of a trap */
    BreakHow how;
    bool hard;                  /* Z1 */
    uint8_t was;                /* the byte under the INT3 */
} GdbBreak;

typedef struct GdbReg {
    char name[12];
    const char *type, *group;
    uint8_t kind, index;
    uint16_t bytes;
} GdbReg;

typedef struct Gdb {
    Machine *m;
    ChardevFe fe;
    GString *in, *sent;         /* the packet arriving; the last one sent, for a resend */
    uint8_t state, sum, got_sum;
    bool escaped, overlong;
    bool open, no_ack, running, was_running, swbreak, hwbreak, physical;
    unsigned cpu;               /* of registers, memory and the next step */
    guint resume;               /* idle source: on after pages came in */
    unsigned thread_next;       /* qsThreadInfo */

    GArray *breaks;             /* of GdbBreak */
    GArray *traps, *lazy, *stops, *watches;     /* what VcpuDebug wants */
    VcpuDebug *plans;
    unsigned nplans;

    GArray *regs;               /* of GdbReg */
    char *xml;
} Gdb;

/* gdb_break.c: false: too many, or more than the engine can do. */
bool gdb_break_add(Gdb *g, uint64_t addr, bool hard);
void gdb_break_del(Gdb *g, uint64_t addr, bool hard);
bool gdb_watch_add(Gdb *g, VcpuWatch w);
void gdb_watch_del(Gdb *g, VcpuWatch w);
/* Gives every vcpu its plan. False: the engine cannot do all of it. */
bool gdb_arm(Gdb *g);
void gdb_plans_new(Gdb *g);
/* All breakpoints go, and no vcpu has a plan. The second leaves guest and engines as they are: the machine goes, too. */
void gdb_plans_free(Gdb *g);
void gdb_plans_drop(Gdb *g);
/* Pages that lazy breakpoints wait for: turns those of va's page into traps. */
void gdb_page_in(Gdb *g, unsigned cpu, uint64_t va);
/* After a reset: traps that are no longer there wait for their page again. */
void gdb_break_reset(Gdb *g);
/* Guest memory as it is without the traps; false: not all of it is memory. */
bool gdb_read(Gdb *g, uint64_t addr, uint8_t *buf, size_t len);
bool gdb_write(Gdb *g, uint64_t addr, const uint8_t *buf, size_t len);

/* gdb_regs.c */
void gdb_regs_init(Gdb *g, const X86Cpu *c);
void gdb_reg_read(const GdbReg *r, X86Cpu *c, uint8_t *out);
bool gdb_reg_write(const GdbReg *r, X86Cpu *c, const uint8_t *in);

static inline X86Cpu *gdb_cpu(Gdb *g, unsigned n)
{
    Vcpu *v = g_ptr_array_index(g->m->vcpus, n);

    if (g->m->accel->pull)
        g->m->accel->pull(v);
    return x86_cpu(v);
}

#endif
