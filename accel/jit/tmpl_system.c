/*
 * tmpl_system: the system instructions kernels use all the time.
 *
 * STI's one-instruction shadow is kept by the shape of the block: exactly one more instruction is
 * translated, then the attention word is looked at. STAC and CLAC change the mode word, so they
 * end the block and drop the paired calls made under the other mode.
 */
#include "accel/jit/trans_int.h"

static bool is_sti(const X86Insn *i) { return i->map == MAP_1 && i->opcode == 0xfb; }
static bool is_0f01(const TInsn *x, uint8_t modrm)
{
    return x->i->map == MAP_0F && x->i->opcode == 0x01 && X_KIND(x->row->ext) == 0x600 && (x->row->ext & 0xff) == modrm;
}
static bool is_swapgs(const Tr *t, const TInsn *x) { return is_0f01(x, 0xf8) && t->code64 && !(t->mode & MODE_CPL); }

bool system_goes_on(const Tr *t, const TInsn *x)
{
    return (is_sti(x->i) && t->mode & MODE_IOPL_OK) || is_swapgs(t, x) || regs_go_on(t, x);
}

bool system_keeps_flags(const TInsn *x)
{
    const X86Insn *i = x->i;

    return (i->map == MAP_1 && (i->opcode == 0xfa || i->opcode == 0xfb)) || (i->map == MAP_0F && i->opcode == 0x31) ||
           is_0f01(x, 0xf8) || is_0f01(x, 0xca) || is_0f01(x, 0xcb) || regs_keep_flags(x);
}

bool system_is_ac(const TInsn *x) { return is_0f01(x, 0xca) || is_0f01(x, 0xcb); }

static bool sti(Tr *t, unsigned k)
{
    Emit *e = &t->e;
    uint8_t *none;

    if (k + 1 >= t->n)          /* the instruction in its shadow is not here */
        return false;
    fl_clobber(t, t->t[k].live_in);
    e_alu_mi(e, false, 1, m_gs(GS_CPU(eflags)), FL_IF);
    e_alu_mi(e, false, 7, m_gs(GS_CPU(vcpu.irq)), 0);
    none = e_jcc8_fwd(e, 0x74);
    e_st_i(e, false, m_gs(GS_CPU(vcpu.attention)), 1);
    e_bind8(e, none);
    t->poll_end = true;
    return true;
}

static bool cli(Tr *t, unsigned k)
{
    fl_clobber(t, t->t[k].live_in);
    e_alu_mi(&t->e, false, 4, m_gs(GS_CPU(eflags)), ~FL_IF);
    return true;
}

static bool swapgs(Tr *t)
{
    HMem base = m_gs((int32_t)offsetof(X86Cpu, seg[S_GS].base)), other = m_gs(GS_CPU(msr.kernel_gs_base));

    e_ld(&t->e, true, S0, base);
    e_ld(&t->e, true, S1, other);
    e_st(&t->e, true, base, S1);
    e_st(&t->e, true, other, S0);
    t->s1_group = -1;
    return true;
}

static bool set_ac(Tr *t, unsigned k, bool on)
{
    const TInsn *x = &t->t[k];
    Emit *e = &t->e;
    uint32_t mode = on ? t->mode | MODE_SMAP_A : t->mode & ~MODE_SMAP_A;

    if (t->mode & MODE_CPL || !(t->c->cr4 & CR4_SMAP))
        return false;
    fl_clobber(t, x->live_in);
    e_enc(e, &(Enc) { .op = 0xf7, .rm = h_mem(m_gs(GS_CPU(cr4))), .imm_len = 4,
                      .imm = { 0, 0, CR4_SMAP >> 16, 0 } });    /* test */
    mem_add_slow(t, e_jcc_fwd(e, CC_E), k);
    e_alu_mi(e, false, on ? 1 : 4, m_gs(GS_CPU(eflags)), on ? FL_AC : ~FL_AC);
    e_st_i(e, false, m_gs(GS_CPU(mode)), (int32_t)mode);
    e_st8_i(e, m_gs(GS_CPU(data_bank)), on ? TLB_A : TLB_K);
    if (mode != t->mode) {
        e_mov_i(e, S1, (uint64_t)mode * MODE_SALT - (uint64_t)t->mode * MODE_SALT);
        e_rm(e, true, 0x01, S1, m_gs(GS_ENV(salt)));
    }
    e_ld(e, true, H_RSP, m_gs(GS_ENV(shadow)));
    if (x->next < TLB_PAGE) {
        tr_exit(t, x->next, 0);
        t->exits[t->n_exits - 1].other_mode = true;
    } else {
        fl_host(t, S1);
        tr_exit_far(t, x->next);
    }
    t->ended = true;
    return true;
}

static bool rdtsc(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    Emit *e = &t->e;

    if (x86_tsc_hz() == 1000000000u)    /* not the host's counter */
        return false;
    fl_clobber(t, x->live_in);
    if (t->mode & MODE_CPL) {
        e_enc(e, &(Enc) { .op = 0xf7, .rm = h_mem(m_gs(GS_CPU(cr4))), .imm_len = 4, .imm = { CR4_TSD } });
        mem_add_slow(t, e_jcc_fwd(e, CC_NE), k);
    }
    fl_writes(t, 1u << R_RAX | 1u << R_RDX, x->live_out, S0);
    fl_clobber(t, x->live_out);
    e8(e, 0x0f);
    e8(e, 0x31);
    e_shift_i(e, true, 4, H_RDX, 32);
    e_rr(e, true, 0x03, H_RAX, H_RDX);
    e_rm(e, true, 0x03, H_RAX, m_gs(GS_CPU(tsc_offset)));
    e_mov(e, true, H_RDX, H_RAX);
    e_shift_i(e, true, 5, H_RDX, 32);
    e_mov(e, false, H_RAX, H_RAX);
    mem_slow_resume(t);
    return true;
}

static bool pushf(Tr *t, unsigned k)
{
    int32_t w = t->code64 ? 8 : 4;
    Emit *e = &t->e;
    HMem m;

    if (t->t[k].i->opsize != w || (!t->code64 && !(t->mode & MODE_SS32)))
        return false;
    fl_host(t, S0);
    e8(e, 0x9c);
    e8(e, 0x41);
    e8(e, 0x5a);                /* pushfq; pop r10 */
    fl_clobber(t, FL_ALL);
    e_alu_ri(e, false, 4, S0, FL_ARITH);
    e_rm(e, false, 0x0b, S0, m_gs(GS_CPU(eflags)));
    e_alu_ri(e, false, 4, S0, ~(FL_VM | FL_RF));
    e_st(e, true, m_gs(GS_ENV(tmp)), S0);
    m = mem_stack_operand(t, k, -w, w);
    e_ld(e, true, S0, m_gs(GS_ENV(tmp)));
    e_st(e, t->code64, m, S0);
    fl_rsp_moves(t, -w, t->t[k].live_out, S0);
    e_lea(e, t->code64, HSP, m_base(HSP, -w));
    mem_slow_resume(t);
    return true;
}

/* SYSCALL of 64-bit processes, SYSRET to them: in front of the C body comes what syscall.c does. */
static bool fast_call(Tr *t, unsigned k, bool ret)
{
    const TInsn *x = &t->t[k];

    if (!t->code64 || (t->mode & MODE_CPL) != (ret ? 0 : 3) || (ret && x->i->opsize != 8))
        return false;
    fl_host(t, S0);
    e_mov_i(&t->e, S1, x->next);
    e_mov_i(&t->e, S0, k);      /* as tr_cbody_call() */
    e_call(&t->e, ret ? t->j->stubs.sysret : t->j->stubs.syscall);
    t->ended = true;
    return true;
}

bool tmpl_system(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;

    if (i->row == X86_ROW_UD || i->row == X86_ROW_NM)
        return false;
    if (i->map == MAP_1) {
        switch (i->opcode) {
        case 0x9c: return pushf(t, k);
        case 0xfa: return t->mode & MODE_IOPL_OK && cli(t, k);
        case 0xfb: return t->mode & MODE_IOPL_OK && sti(t, k);
        }
        return false;
    }
    if (i->map == MAP_0F && i->opcode == 0x31)
        return rdtsc(t, k);
    if (i->map == MAP_0F && (i->opcode == 0x05 || i->opcode == 0x07))
        return fast_call(t, k, i->opcode == 0x07);
    if (is_swapgs(t, x))
        return swapgs(t);
    return system_is_ac(x) && set_ac(t, k, is_0f01(x, 0xcb));
}
