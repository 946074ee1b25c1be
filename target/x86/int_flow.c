/*
 * int_flow: near jumps, calls and returns, loops, software interrupts.
 */
#include "target/x86/int_int.h"

/* target cut to the operand size and checked against the code segment. */
static inline uint64_t near_target(X86Cpu *c, const X86Insn *i, uint64_t target)
{
    if (__builtin_expect(c->mode & MODE_CS64, 1)) {
        if (__builtin_expect((uint64_t)((int64_t)(target << 16) >> 16) != target, 0))
            x86_raise_err(c, EXC_GP, 0);
        return target;
    }
    target &= i->opsize == 2 ? 0xffff : 0xffffffff;
    if (target > c->seg[S_CS].limit)
        x86_raise_err(c, EXC_GP, 0);
    return target;
}

void x86_branch(X86Cpu *c, const X86Insn *i, uint64_t target)
{
    c->rip = near_target(c, i, target);
}

#define CC(n, cc)                                                                           \
    static void j##cc(X86Cpu *c, const X86Insn *i)                                          \
    {                                                                                       \
        if (x86_cond(c, n))                                                                 \
            c->rip = near_target(c, i, c->rip + i->imm);                                    \
    }                                                                                       \
    BODY1(j##cc, j##cc);
X86_CONDITIONS(CC)

static void jmp_j(X86Cpu *c, const X86Insn *i) { c->rip = near_target(c, i, c->rip + i->imm); }
static void jmp_e(X86Cpu *c, const X86Insn *i) { c->rip = near_target(c, i, x86_rd_e(c, i)); }
BODY1(jmp_j, jmp_j);
BODY1(jmp_e, jmp_e);

static void call_to(X86Cpu *c, const X86Insn *i, uint64_t target)
{
    target = near_target(c, i, target);
    x86_push(c, i->opsize, c->rip);
    c->rip = target;
}
static void call_j(X86Cpu *c, const X86Insn *i) { call_to(c, i, c->rip + i->imm); }
static void call_e(X86Cpu *c, const X86Insn *i) { call_to(c, i, x86_rd_e(c, i)); }
BODY1(call_j, call_j);
BODY1(call_e, call_e);

static inline void ret_by(X86Cpu *c, const X86Insn *i, unsigned drop)
{
    uint64_t sp = c->gpr[R_RSP] & x86_sp_mask(c);
    uint64_t v = x86_ld(c, x86_lin(c, S_SS, sp, i->opsize, false), i->opsize);

    v = near_target(c, i, v);
    x86_set_sp(c, sp + i->opsize + drop);
    c->rip = v;
}
static void ret(X86Cpu *c, const X86Insn *i) { ret_by(c, i, 0); }
static void ret_i(X86Cpu *c, const X86Insn *i) { ret_by(c, i, i->imm); }
BODY1(ret, ret);
BODY1(ret_i, ret_i);

/* LOOP family: the count register has the address size; it is written after the target was checked. */
static void loop_if(X86Cpu *c, const X86Insn *i, bool cond)
{
    uint64_t n = (c->gpr[R_RCX] - 1) & x86_mask(i->adsize);

    if (n && cond)
        c->rip = near_target(c, i, c->rip + i->imm);
    x86_gpr_wr(c, i, R_RCX, i->adsize, n);
}
static void loop(X86Cpu *c, const X86Insn *i) { loop_if(c, i, true); }
static void loope(X86Cpu *c, const X86Insn *i) { loop_if(c, i, lf_zf(c)); }
static void loopne(X86Cpu *c, const X86Insn *i) { loop_if(c, i, !lf_zf(c)); }
static void jcxz(X86Cpu *c, const X86Insn *i)
{
    if (!(c->gpr[R_RCX] & x86_mask(i->adsize)))
        c->rip = near_target(c, i, c->rip + i->imm);
}
BODY1(loop, loop);
BODY1(loope, loope);
BODY1(loopne, loopne);
BODY1(jcxz, jcxz);

/* Software interrupts return after the instruction, so rip stays the next one. */
G_NORETURN static void soft_int(X86Cpu *c, X86Exception e)
{
    c->exc = e;
    siglongjmp(c->vcpu.unwind, UNWIND_EXCEPTION);
}
static void int_n(X86Cpu *c, const X86Insn *i)
{
    soft_int(c, (X86Exception){ .vector = i->imm & 0xff, .soft = true, .intn = true });
}
static void int3(X86Cpu *c, const X86Insn *i) { soft_int(c, (X86Exception){ .vector = EXC_BP, .soft = true }); }
static void into(X86Cpu *c, const X86Insn *i)
{
    if (lf_of(c))
        soft_int(c, (X86Exception){ .vector = EXC_OF, .soft = true });
}
/* INT1 is delivered like a hardware exception: no gate privilege check, but as a trap. */
static void int1(X86Cpu *c, const X86Insn *i) { soft_int(c, (X86Exception){ .vector = EXC_DB, .external = true }); }
BODY1(int_n, int_n);
BODY1(int3, int3);
BODY1(into, into);
BODY1(int1, int1);
