/*
 * sys_io: IN, OUT, INS and OUTS with the I/O permission bitmap.
 *
 * INS and OUTS move a run of elements inside one page under one hold of the machine lock; the
 * registers are committed after each run, so faults and interrupts find a restartable instruction.
 */
#include "target/x86/debug_int.h"
#include "target/x86/operand.h"
#include "target/x86/prot_int.h"

enum { IO_RUN = 4096 };         /* elements in one run: how long the lock may be held */

/* #GP(0) unless IOPL or the TSS allows the ports. */
static void check_ports(X86Cpu *c, uint16_t port, unsigned size)
{
    const X86Seg *tr = &c->seg[S_TR];
    uint32_t map, bits;

    if (c->mode & MODE_IOPL_OK)
        return;
    if (!(tr->attr & SEG_P) || !(SEG_TYPE(tr->attr) & 8) || tr->limit < 0x67)
        x86_raise_err(c, EXC_GP, 0);
    map = (uint32_t)x86_ld_sys(c, tr->base + 0x66, 2) + port / 8u;
    if (map + 1 > tr->limit)
        x86_raise_err(c, EXC_GP, 0);
    bits = (uint32_t)x86_ld_sys(c, tr->base + map, 2) >> (port & 7);
    if (bits & ((1u << size) - 1))
        x86_raise_err(c, EXC_GP, 0);
}

static unsigned io_size(const X86Insn *i) { return MIN(i->opsize, 4u); }

static void watch(X86Cpu *c, uint16_t port, unsigned size)
{
    if (G_UNLIKELY(c->dr[7] & 0xff))
        x86_debug_io(c, port, size);
}

static void in_port(X86Cpu *c, const X86Insn *i, uint16_t port)
{
    unsigned size = io_size(i);

    check_ports(c, port, size);
    x86_gpr_wr(c, i, R_RAX, size, x86_in(c, port, size));
    watch(c, port, size);
}
static void out_port(X86Cpu *c, const X86Insn *i, uint16_t port)
{
    unsigned size = io_size(i);

    check_ports(c, port, size);
    x86_out(c, port, (uint32_t)(c->gpr[R_RAX] & x86_mask(size)), size);
    watch(c, port, size);
}
static void in_i(X86Cpu *c, const X86Insn *i) { in_port(c, i, i->imm & 0xff); }
static void in_dx(X86Cpu *c, const X86Insn *i) { in_port(c, i, (uint16_t)c->gpr[R_RDX]); }
static void out_i(X86Cpu *c, const X86Insn *i) { out_port(c, i, i->imm & 0xff); }
static void out_dx(X86Cpu *c, const X86Insn *i) { out_port(c, i, (uint16_t)c->gpr[R_RDX]); }
BODY1(in_i, in_i);
BODY1(in_dx, in_dx);
BODY1(out_i, out_i);
BODY1(out_dx, out_dx);

/* ---- strings ---- */

static bool repeated(const X86Insn *i) { return i->flags & (INSN_REP | INSN_REPNE); }

static uint64_t count(const X86Cpu *c, const X86Insn *i)
{
    return repeated(i) ? c->gpr[R_RCX] & x86_mask(i->adsize) : 1;
}

static void step(X86Cpu *c, const X86Insn *i, unsigned reg, uint64_t n, unsigned size)
{
    uint64_t by = n * size, v = c->eflags & FL_DF ? c->gpr[reg] - by : c->gpr[reg] + by;

    x86_gpr_wr(c, i, reg, i->adsize, v & x86_mask(i->adsize));
    if (repeated(i))
        x86_gpr_wr(c, i, R_RCX, i->adsize, (c->gpr[R_RCX] - n) & x86_mask(i->adsize));
}

/* Elements that may go in one run from offset off at lin: up to the page's or the segment's end. */
static uint64_t run_length(X86Cpu *c, const X86Insn *i, unsigned seg, uint64_t off, uint64_t lin, uint64_t left, unsigned size)
{
    uint64_t n = (TLB_PAGE - (lin & (TLB_PAGE - 1))) / size;
    bool flat = (c->mode & MODE_CS64) || (c->mode & MODE_FLAT && seg != S_FS && seg != S_GS);

    if ((c->eflags & FL_DF) || !flat || (c->mode & MODE_TF))
        return 1;
    if (i->adsize != 8)
        n = MIN(n, (x86_mask(i->adsize) - off + 1) / size);
    return MAX(MIN(MIN(n, left), (uint64_t)IO_RUN), 1u);
}

static void store(uint8_t *p, uint32_t v, unsigned size)
{
    if (size == 1)
        *p = (uint8_t)v;
    else if (size == 2)
        st16_le(p, (uint16_t)v);
    else
        st32_le(p, v);
}

static void ins_run(X86Cpu *c, uint16_t port, uint8_t *host, uint64_t n, unsigned size)
{
    bool held = machine_lock_held();

    if (!held)
        machine_lock();
    for (uint64_t k = 0; k < n; k++)
        store(host + k * size, x86_in(c, port, size), size);
    if (!held)
        machine_unlock();
}

static void outs_run(X86Cpu *c, uint16_t port, const uint8_t *host, uint64_t n, unsigned size)
{
    bool held = machine_lock_held();

    if (!held)
        machine_lock();
    for (uint64_t k = 0; k < n; k++, host += size)
        x86_out(c, port, size == 1 ? *host : size == 2 ? ld16_le(host) : ld32_le(host), size);
    if (!held)
        machine_unlock();
}

/* Elements are left: let events in, then come back to this instruction. */
static void pause_run(X86Cpu *c, const X86Insn *i)
{
    if (!atomic_load_explicit(&c->vcpu.attention, memory_order_relaxed) && !(c->mode & MODE_TF))
        return;
    c->rip -= i->len;
    siglongjmp(c->vcpu.unwind, UNWIND_RESUME);
}

static void ins(X86Cpu *c, const X86Insn *i)
{
    uint16_t port = (uint16_t)c->gpr[R_RDX];
    unsigned size = io_size(i);
    uint64_t left = count(c, i);

    check_ports(c, port, size);
    while (left) {
        uint64_t off = c->gpr[R_RDI] & x86_mask(i->adsize), lin = x86_lin(c, S_ES, off, size, true);
        uint64_t n = run_length(c, i, S_ES, off, lin, left, size);
        void *host = x86_host_w(c, lin, size, c->data_bank);

        if (host) {
            ins_run(c, port, host, n, size);
        } else {
            n = 1;
            x86_probe_w(c, lin, size, c->data_bank);
            x86_st(c, lin, size, x86_in(c, port, size));
        }
        step(c, i, R_RDI, n, size);
        left -= n;
        watch(c, port, size);
        if (left)
            pause_run(c, i);
    }
}

static void outs(X86Cpu *c, const X86Insn *i)
{
    uint16_t port = (uint16_t)c->gpr[R_RDX];
    unsigned size = io_size(i);
    uint64_t left = count(c, i);

    check_ports(c, port, size);
    while (left) {
        uint64_t off = c->gpr[R_RSI] & x86_mask(i->adsize), lin = x86_lin(c, i->seg, off, size, false);
        uint64_t n = run_length(c, i, i->seg, off, lin, left, size);
        const void *host = x86_host_r(c, lin, size, c->data_bank);

        if (host) {
            outs_run(c, port, host, n, size);
        } else {
            n = 1;
            x86_out(c, port, (uint32_t)x86_ld(c, lin, size), size);
        }
        step(c, i, R_RSI, n, size);
        left -= n;
        watch(c, port, size);
        if (left)
            pause_run(c, i);
    }
}
BODY1(ins, ins);
BODY1(outs, outs);
