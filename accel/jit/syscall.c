/*
 * syscall: SYSCALL and SYSRET of 64-bit code without leaving generated code.
 *
 * What usual kernels do is done here; everything else (single-stepping, odd flags, a waiting event, a return
 * address that is not canonical ...) goes to the C body with the state as it was. Both ways end at the branch
 * cache, whose targets check that they are meant.
 */
#include "accel/jit/jit_int.h"
#include "target/x86/regs.h"

enum { CS64 = 0x00af9b00, SS = 0x00cf9300, DPL3 = 3 << 13 };
/* RFLAGS a process may have at SYSCALL or get by SYSRET here; what else is in RFLAGS needs the C body. */
enum { PLAIN = FL_ARITH | FL_IF | FL_ID, ODD = FL_WRITABLE & ~PLAIN };
#define GS_SEG(s, field) GS_CPU(seg[s].field)

typedef struct Path { Emit *e; uint8_t *slow[8]; unsigned n; } Path;

static void alu_m(Emit *e, unsigned op, unsigned r, int32_t gs) { e_rm(e, false, op, r, m_gs(gs)); }
static void slow_if(Path *p, unsigned cc) { p->slow[p->n++] = e_jcc_fwd(p->e, cc); }

static void test_mi(Path *p, int32_t gs, uint32_t bits, unsigned slow_cc)
{
    Enc x = { .op = 0xf7, .rm = h_mem(m_gs(gs)), .imm_len = 4 };

    st32_le(x.imm, bits);
    e_enc(p->e, &x);
    slow_if(p, slow_cc);
}

/* RAX and the flags are put away; whatever leads to the C body later gets them back. */
static void begin(Path *p)
{
    Emit *e = p->e;

    e_st(e, true, m_gs(GS_GPR(R_RAX)), H_RAX);
    e_flags_to_ax(e);
    e_st(e, false, m_gs(GS_ENV(flags)), H_RAX);
    test_mi(p, GS_CPU(efer), EFER_SCE, CC_E);
    e_alu_mi(e, false, 7, m_gs(GS_CPU(vcpu.attention)), 0);
    slow_if(p, CC_NE);
}

static void finish(JitCpu *j, Path *p)
{
    Emit *e = p->e;

    e_ld(e, true, H_RAX, m_gs(GS_GPR(R_RAX)));
    e_call(e, j->stubs.cc_save);
    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S0) });
    e_jmp_m(e, (HMem) { H_NONE, S1, 3, true, GS_ENV(ibtc_host) });
    for (unsigned n = 0; n < p->n; n++)
        e_bind(e, p->slow[n]);
    e_ld(e, false, H_RAX, m_gs(GS_ENV(flags)));
    e_flags_from_ax(e);
    e_ld(e, true, H_RAX, m_gs(GS_GPR(R_RAX)));
    e_jmp(e, j->stubs.cbody_end);
}

/* eax = selector of CS; SS is `apart` from it. */
static void set_segments(Emit *e, int apart, uint32_t dpl)
{
    const unsigned seg[] = { S_CS, S_SS };

    for (unsigned n = 0; n < 2; n++) {
        if (n)
            e_lea(e, false, H_RAX, m_base(H_RAX, apart));
        e_enc(e, &(Enc) { .flags = ENC_66, .op = 0x89, .reg = H_RAX, .rm = h_mem(m_gs(GS_SEG(seg[n], sel))) });
        e_st_i(e, true, m_gs(GS_SEG(seg[n], base)), 0);
        e_st_i(e, false, m_gs(GS_SEG(seg[n], limit)), -1);
        e_st_i(e, false, m_gs(GS_SEG(seg[n], attr)), (int32_t)((n ? SS : CS64) | dpl));
    }
}

/* eax = the new mode word. */
static void set_mode(Emit *e, bool user)
{
    e_st(e, false, m_gs(GS_CPU(mode)), H_RAX);
    e_st8_i(e, m_gs(GS_CPU(data_bank)), user ? TLB_U : TLB_K);
    e_mov_i(e, S1, MODE_SALT);
    e_enc(e, &(Enc) { .flags = ENC_W, .map = 1, .op = 0xaf, .reg = H_RAX, .rm = h_reg(S1) });  /* imul */
    e_rm(e, true, 0x03, H_RAX, m_gs(GS_ENV(space) + 8 * user));
    e_st(e, true, m_gs(GS_ENV(salt)), H_RAX);
    e_ld(e, true, H_RSP, m_gs(GS_ENV(shadow)));
}

/* Called like the body of an instruction that ends its block, from 64-bit code of CPL 3; r11 = next instruction minus vbase. */
static uint64_t make_syscall(JitCpu *j, Emit *e)
{
    uint64_t at = e_rx(e, e_here(e));
    Path p = { .e = e };

    begin(&p);
    test_mi(&p, GS_CPU(eflags), ODD, CC_NE);
    alu_m(e, 0x8b, H_RAX, GS_CPU(msr.fmask));
    e_rr(e, false, 0xf7, 2, H_RAX);                     /* not eax */
    e_enc(e, &(Enc) { .op = 0xf7, .rm = h_reg(H_RAX), .imm_len = 4, .imm = { FL_ARITH & 0xff, FL_ARITH >> 8 } });  /* test */
    slow_if(&p, CC_NE);
    e_st(e, false, m_gs(GS_ENV(tmp)), H_RAX);           /* what is kept */
    /* R11: RFLAGS as they were; RCX: the next instruction. */
    e_enc(e, &(Enc) { .map = 1, .op = 0xb6, .reg = H_RCX, .rm = h_mem(m_gs(GS_ENV(flags) + 1)) });
    e_alu_ri(e, false, 4, H_RCX, FL_ARITH & 0xff);
    alu_m(e, 0x8b, H_RAX, GS_ENV(flags));
    e_alu_ri(e, false, 4, H_RAX, 1);
    e_shift_i(e, false, 4, H_RAX, 11);
    e_rr(e, false, 0x0b, H_RCX, H_RAX);
    alu_m(e, 0x0b, H_RCX, GS_CPU(eflags));
    e_st(e, true, m_gs(GS_GPR(R_R11)), H_RCX);
    e_mov(e, false, H_RCX, S1);
    e_rm(e, true, 0x03, H_RCX, m_gs(GS_ENV(vbase)));
    e_ld(e, false, H_RAX, m_gs(GS_ENV(tmp)));
    alu_m(e, 0x21, H_RAX, GS_CPU(eflags));
    e_alu_mi(e, false, 1, m_gs(GS_CPU(eflags)), FL_1);
    alu_m(e, 0x8b, H_RAX, GS_CPU(msr.star) + 4);
    e_alu_ri(e, false, 4, H_RAX, 0xfffc);
    set_segments(e, 8, 0);
    alu_m(e, 0x8b, H_RAX, GS_CPU(mode));
    e_alu_ri(e, false, 4, H_RAX, ~(MODE_CPL | MODE_UMIP));
    e_alu_ri(e, false, 1, H_RAX, MODE_IOPL_OK);
    set_mode(e, false);
    e_ld(e, true, S0, m_gs(GS_CPU(msr.lstar)));
    e_mov_i(e, H_RAX, 0);
    e_alu_ri(e, false, 0, H_RAX, 1);                    /* all six flags clear */
    finish(j, &p);
    return at;
}

/* The same for SYSRET with a 64-bit operand, CPL 0. */
static uint64_t make_sysret(JitCpu *j, Emit *e)
{
    uint64_t at = e_rx(e, e_here(e));
    Path p = { .e = e };

    begin(&p);
    e_alu_mi(e, false, 7, m_gs(GS_CPU(vcpu.irq)), 0);   /* IF may become set */
    slow_if(&p, CC_NE);
    test_mi(&p, GS_GPR(R_R11), ODD, CC_NE);
    e_mov(e, true, H_RAX, H_RCX);
    e_shift_i(e, true, 4, H_RAX, 16);
    e_shift_i(e, true, 7, H_RAX, 16);
    e_rr(e, true, 0x3b, H_RAX, H_RCX);
    slow_if(&p, CC_NE);
    alu_m(e, 0x8b, H_RAX, GS_GPR(R_R11));
    e_alu_ri(e, false, 4, H_RAX, FL_IF | FL_ID);
    e_alu_ri(e, false, 1, H_RAX, FL_1);
    e_st(e, false, m_gs(GS_CPU(eflags)), H_RAX);
    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = H_RAX, .rm = h_mem(m_gs(GS_CPU(msr.star) + 6)) });
    e_alu_ri(e, false, 1, H_RAX, 3);
    e_lea(e, false, H_RAX, m_base(H_RAX, 16));
    set_segments(e, -8, DPL3);
    alu_m(e, 0x8b, S0, GS_CPU(cr4));
    e_alu_ri(e, false, 4, S0, CR4_UMIP);
    e_shift_i(e, false, 4, S0, 8);
    alu_m(e, 0x8b, H_RAX, GS_CPU(mode));
    e_alu_ri(e, false, 4, H_RAX, ~(MODE_IOPL_OK | MODE_SMAP_A));
    e_alu_ri(e, false, 1, H_RAX, 3);
    e_rr(e, false, 0x0b, H_RAX, S0);
    set_mode(e, true);
    alu_m(e, 0x8b, S0, GS_GPR(R_R11));
    e_mov(e, false, H_RAX, S0);
    e_shift_i(e, false, 4, H_RAX, 8);
    e_shift_i(e, false, 5, S0, 11);
    e_alu_ri(e, false, 4, S0, 1);
    e_rr(e, false, 0x0b, H_RAX, S0);
    e_flags_from_ax(e);
    e_mov(e, true, S0, H_RCX);
    finish(j, &p);
    return at;
}
_Static_assert(MODE_UMIP == CR4_UMIP << 8, "set_mode of SYSRET");

void jit_make_syscall(JitCpu *j, Emit *e)
{
    j->stubs.syscall = make_syscall(j, e);
    j->stubs.sysret = make_sysret(j, e);
}
