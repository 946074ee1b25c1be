/*
 * tmpl_string: MOVS and STOS, single and repeated, whose runs stay inside a page on each side.
 *
 * Shared stubs, one per kind, element size and bank, do everything: both TLB checks, then the host's own
 * string instruction on host addresses, so overlaps mean what they mean on a processor. Whatever is
 * unusual (DF set, a page border, a miss) has nothing done and goes to the C body.
 */
#include "accel/jit/trans_int.h"

enum { TAG_MASK = (TLB_ENTRIES - 1) * sizeof(TlbEntry) };

typedef struct Str { Emit *e; bool wide; unsigned bank; uint8_t *out[8]; unsigned n_out; } Str;

static void leave_if(Str *s, unsigned cc) { s->out[s->n_out++] = e_jcc_fwd(s->e, cc); }

/* r11 = host address of the bytes (RAX many) at guest address `reg`; leaves with ZF clear if they are not plain. */
static void look_up(Str *s, unsigned reg, bool write)
{
    Emit *e = s->e;
    int32_t tlb = (int32_t)(offsetof(X86Cpu, tlb) + s->bank * sizeof(TlbEntry) * TLB_ENTRIES);

    e_mov(e, s->wide, S0, reg);
    e_mov(e, false, S1, reg);
    e_shift_i(e, false, 5, S1, 7);
    e_alu_ri(e, false, 4, S1, TAG_MASK);
    e_rm(e, true, 0x33, S0, m_gsb(S1, tlb + (write ? offsetof(TlbEntry, tag_w) : offsetof(TlbEntry, tag_r))));
    e_ld(e, true, S1, m_gsb(S1, tlb + offsetof(TlbEntry, host_page)));
    e_alu_ri(e, true, 7, S0, TLB_PAGE - 1);
    leave_if(s, CC_A);
    e_lea(e, true, S1, m_bi(S1, S0, 0, 0));
    e_rr(e, false, 0x03, S0, H_RAX);
    e_alu_ri(e, false, 7, S0, TLB_PAGE);
    leave_if(s, CC_A);
}

static void host_string(Emit *e, uint8_t op, unsigned log, bool rep)
{
    if (rep)
        e8(e, 0xf3);
    if (log == 1)
        e8(e, 0x66);
    if (log == 3)
        e8(e, 0x48);
    e8(e, op + (log > 0));
}

/* RAX = bytes; it is parked. Leaves if they cannot lie in one page. */
static void byte_count(Str *s, unsigned log, bool rep)
{
    Emit *e = s->e;

    e_st(e, true, m_gs(GS_ENV(tmp)), H_RAX);
    if (!rep) {
        e_mov_i(e, H_RAX, 1u << log);
        return;
    }
    e_alu_ri(e, s->wide, 7, H_RCX, TLB_PAGE >> log);
    leave_if(s, CC_A);
    e_mov(e, false, H_RAX, H_RCX);
    if (log)
        e_shift_i(e, false, 4, H_RAX, log);
}

static void move(Str *s, unsigned log, bool rep)
{
    Emit *e = s->e;

    look_up(s, H_RSI, false);
    e_st(e, true, m_gs(GS_ENV(tmp) + 8), S1);
    look_up(s, H_RDI, true);
    e_lea(e, s->wide, S0, m_bi(H_RSI, H_RAX, 0, 0));
    e_st(e, true, m_gs(GS_ENV(tmp) + 16), S0);
    e_lea(e, s->wide, S0, m_bi(H_RDI, H_RAX, 0, 0));
    e_ld(e, true, H_RSI, m_gs(GS_ENV(tmp) + 8));
    e_mov(e, true, H_RDI, S1);
    if (rep && !s->wide)
        e_mov(e, false, H_RCX, H_RCX);
    host_string(e, 0xa4, log, rep);
    e_ld(e, true, H_RSI, m_gs(GS_ENV(tmp) + 16));
    e_mov(e, true, H_RDI, S0);
    e_ld(e, true, H_RAX, m_gs(GS_ENV(tmp)));
}

static void store(Str *s, unsigned log, bool rep)
{
    Emit *e = s->e;

    look_up(s, H_RDI, true);
    e_lea(e, s->wide, S0, m_bi(H_RDI, H_RAX, 0, 0));
    e_mov(e, true, H_RDI, S1);
    e_ld(e, true, H_RAX, m_gs(GS_ENV(tmp)));
    if (rep && !s->wide)
        e_mov(e, false, H_RCX, H_RCX);
    host_string(e, 0xaa, log, rep);
    e_mov(e, true, H_RDI, S0);
}

uint64_t jit_make_string(Emit *e, bool stos, bool wide, bool rep, unsigned log, unsigned bank)
{
    uint64_t at = e_rx(e, e_here(e));
    Str s = { .e = e, .wide = wide, .bank = bank };

    e_enc(e, &(Enc) { .op = 0xf6, .rm = h_mem(m_gs(GS_CPU(eflags) + 1)), .imm_len = 1, .imm = { FL_DF >> 8 } });
    uint8_t *down = e_jcc_fwd(e, CC_NE);
    byte_count(&s, log, rep);
    if (stos)
        store(&s, log, rep);
    else
        move(&s, log, rep);
    e_rr(e, false, 0x33, S0, S0);
    e8(e, 0xc3);
    for (unsigned n = 0; n < s.n_out; n++)
        e_bind(e, s.out[n]);
    e_ld(e, true, H_RAX, m_gs(GS_ENV(tmp)));
    e_bind(e, down);
    e8(e, 0xc3);
    return at;
}

bool tmpl_string(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    bool stos = (i->opcode & 0xfe) == 0xaa, rep = i->flags & (INSN_REP | INSN_REPNE);
    uint32_t changes = 1u << R_RDI | (stos ? 0 : 1u << R_RSI) | (rep ? 1u << R_RCX : 0);

    if (i->map != MAP_1 || (!stos && (i->opcode & 0xfe) != 0xa4) || t->bank == TLB_N)
        return false;
    if (i->adsize != (t->code64 ? 8 : 4) || i->seg == S_FS || i->seg == S_GS || i->seg == S_CS)
        return false;
    fl_clobber(t, x->live_in);
    fl_writes(t, changes, x->live_out, S0);
    fl_clobber(t, t->j->exact ? FL_ALL : x->live_out);
    t->s1_group = -1;
    e_call(&t->e, t->j->stubs.str[t->code64][stos][rep][__builtin_ctz(i->opsize)][t->bank]);
    mem_add_slow(t, e_jcc_fwd(&t->e, CC_NE), k);
    mem_slow_resume(t);
    return true;
}
