/*
 * stubs: the shared pieces of generated code: ways in, ways out, calls of C bodies.
 *
 * Generated code has a stack of its own (jit_shadow_create), C code that of the thread; DF is clear, EFLAGS hold the guest's arithmetic
 * flags, guest registers are where jit_int.h says. Outside, everything is in X86Cpu.
 */
#include "accel/jit/trans_int.h"
#include "target/x86/flags.h"

#include <string.h>

enum { REACH_STEPS = 64, REACH_FEW = 2, REACH_MANY = 250, REACH_SOON = 20000 };

static const uint8_t pinned[] = { R_RAX, R_RCX, R_RDX, R_RBX, R_RBP, R_RSI, R_RDI, R_R8, R_R12, R_R13, R_R14, R_R15 };
static const uint8_t callee_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

static void push_r(Emit *e, unsigned r) { if (r >= 8) e8(e, 0x41); e8(e, 0x50 | (r & 7)); }
static void pop_r(Emit *e, unsigned r) { if (r >= 8) e8(e, 0x41); e8(e, 0x58 | (r & 7)); }

static void store_regs(Emit *e)
{
    for (unsigned i = 0; i < sizeof pinned; i++)
        e_st(e, true, m_gs(GS_GPR(pinned[i])), pinned[i]);
    e_st(e, true, m_gs(GS_GPR(R_RSP)), HSP);
}

static void load_regs(Emit *e)
{
    for (unsigned i = 0; i < sizeof pinned; i++)
        e_ld(e, true, pinned[i], m_gs(GS_GPR(pinned[i])));
    e_ld(e, true, HSP, m_gs(GS_GPR(R_RSP)));
}

/* Flags to env.flags and back. RAX is stored already, or not yet loaded. */
static void store_flags(Emit *e)
{
    e_flags_to_ax(e);
    e_st(e, false, m_gs(GS_ENV(flags)), H_RAX);
}

static void load_flags(Emit *e)
{
    e_ld(e, false, H_RAX, m_gs(GS_ENV(flags)));
    e_flags_from_ax(e);
}

static void call_c(Emit *e, const void *fn)
{
    e_mov_i(e, H_RAX, (uint64_t)(uintptr_t)fn);
    e_rr(e, false, 0xff, 2, H_RAX);
}

static void vec_move(Emit *e, bool avx, unsigned r, bool store)
{
    Enc x = { .map = 1, .op = store ? 0x11 : 0x10, .reg = r,
              .rm = h_mem(m_gs((int32_t)(offsetof(X86Cpu, vec) + r * sizeof(X86Vec)))) };

    x.flags = avx ? ENC_VEX | ENC_L : 0;
    e_enc(e, &x);
}

/* Out: keeps general registers, destroys flags. In: keeps flags too. */
static uint64_t make_vec(JitCpu *j, Emit *e, bool store)
{
    uint64_t at = e_rx(e, e_here(e));

    for (unsigned r = 0; r < 16; r++)
        vec_move(e, j->has_avx, r, store);
    if (store && j->has_avx) {
        e8(e, 0xc5);
        e8(e, 0xf8);
        e8(e, 0x77);            /* vzeroupper: C code mixes SSE */
    }
    if (store)
        e_enc(e, &(Enc) { .map = 1, .op = 0xae, .reg = 3, .rm = h_mem(m_gs(GS_CPU(mxcsr))) });
    e_enc(e, &(Enc) { .map = 1, .op = 0xae, .reg = 2, .rm = h_mem(m_gs(store ? GS_ENV(host_mxcsr) : GS_CPU(mxcsr))) });
    e_st8_i(e, m_gs(GS_ENV(vec_live)), !store);
    e8(e, 0xc3);
    return at;
}

/* fxsave64 / fxrstor64 gs:[fxarea] */
static void fx(Emit *e, bool store)
{
    e_enc(e, &(Enc) { .flags = ENC_W, .map = 1, .op = 0xae, .reg = store ? 0 : 1, .rm = h_mem(m_gs(GS_ENV(fxarea))) });
}

/* Registers are stored and RSP is aligned: puts vector and x87 state where C looks for it. */
static void sync_out(JitCpu *j, Emit *e)
{
    uint8_t *skip_v, *skip_f;

    e_cmp8_i(e, m_gs(GS_ENV(vec_live)), 0);
    skip_v = e_jcc8_fwd(e, 0x74);
    e_call(e, j->stubs.vec_out);
    e_bind8(e, skip_v);
    e_cmp8_i(e, m_gs(GS_ENV(fpu_live)), 0);
    skip_f = e_jcc8_fwd(e, 0x74);
    fx(e, true);
    e_enc(e, &(Enc) { .op = 0xd9, .reg = 6, .rm = h_mem(m_gs(GS_ENV(fpu_env))) });     /* fnstenv */
    e8(e, 0xdb);
    e8(e, 0xe3);                /* fninit */
    e_st8_i(e, m_gs(GS_ENV(fpu_live)), 0);
    e_ld(e, true, H_RDI, m_gs(GS_ENV(self)));
    call_c(e, jit_fpu_out);
    e_bind8(e, skip_f);
}

static void fpu_in(JitCpu *j, Emit *e)
{
    fx(e, false);
    e_st8_i(e, m_gs(GS_ENV(fpu_live)), 1);
}

/* On to gs:[go] with the state of X86Cpu; as through the branch cache: r10 = RIP, r11 = index. */
static void go_on(Emit *e)
{
    load_flags(e);
    load_regs(e);
    e_ld(e, true, S0, m_gs(GS_CPU(rip)));
    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S0) });
    e_jmp_m(e, m_gs(GS_ENV(go)));
}

/* The same with an empty stack of pairs. */
static void go(Emit *e)
{
    e_ld(e, true, H_RSP, m_gs(GS_ENV(shadow)));
    go_on(e);
}

static void make_enter(JitCpu *j, Emit *e)
{
    uint8_t *skip;

    j->stubs.enter = e_rx(e, e_here(e));
    for (unsigned i = 0; i < sizeof callee_saved; i++)
        push_r(e, callee_saved[i]);
    e_alu_ri(e, true, 5, H_RSP, 8);
    e_st(e, true, m_gs(GS_ENV(host_rsp)), H_RSP);
    e_st(e, true, m_gs(GS_ENV(go)), H_RSI);
    e_rr(e, false, 0x85, H_RDX, H_RDX);         /* third argument: restore x87 state */
    skip = e_jcc8_fwd(e, 0x74);
    fpu_in(j, e);
    e_call(e, j->stubs.vec_in);
    e_bind8(e, skip);
    go(e);
}

/* Common end: exit_arg is set, eax = reason comes from the second word on the way. */
static uint64_t make_exit(JitCpu *j, Emit *e)
{
    uint64_t at = e_rx(e, e_here(e));

    /* r11 = reason */
    store_regs(e);
    store_flags(e);
    e_ld(e, true, H_RSP, m_gs(GS_ENV(host_rsp)));
    e_mov(e, true, H_RBX, S1);
    sync_out(j, e);
    e_mov(e, true, H_RAX, H_RBX);
    e_alu_ri(e, true, 0, H_RSP, 8);
    for (int i = sizeof callee_saved - 1; i >= 0; i--)
        pop_r(e, callee_saved[i]);
    e8(e, 0xc3);
    return at;
}

static uint64_t make_way_out(Emit *e, uint64_t common, int reason, int32_t store_s0, int32_t store_s1)
{
    uint64_t at = e_rx(e, e_here(e));

    if (store_s0)
        e_st(e, true, m_gs(store_s0), S0);
    if (store_s1)
        e_st(e, true, m_gs(store_s1), S1);
    e_mov_i(e, S1, reason);
    e_jmp(e, common);
    return at;
}

/* Runs one C body; the run loop's frame catches what it raises. */
static void call_body(X86Cpu *c, const X86Insn *i)
{
    JitEnv *e = jit_env(c);

    x86_flags_put(c, jit_flags_get(e));
    i->fn(c, i);
    jit_check_tlb(c);
    jit_flags_put(e, x86_flags_get(c));
}

/* A body that ended its block: where to go on, or 0 for the run loop. */
static uint64_t call_body_end(X86Cpu *c, const X86Insn *i)
{
    JitEnv *e = jit_env(c);

    x86_flags_put(c, jit_flags_get(e));
    i->fn(c, i);
    e->go = jit_continue(c);
    jit_flags_put(e, x86_flags_get(c));
    return e->go;
}

static void call_body_fpu(X86Cpu *c, const X86Insn *i)
{
    call_body(c, i);
    jit_fpu_in(c);
}

/* ebx = what a call of a C body has in r10, rbp = its RSP, vector state is put away: rbx = its JitBody. */
static void find_body(JitCpu *j, Emit *e)
{
    uint8_t *known, *found;

    e_alu_ri(e, false, 7, H_RBX, JIT_ID_MIN);
    known = e_jcc8_fwd(e, 0x73);
    e_ld(e, true, H_RDI, m_gs(GS_ENV(self)));
    e_ld(e, true, H_RSI, m_base(H_RBP, 0));
    call_c(e, jit_body);
    e_mov(e, true, H_RBX, H_RAX);
    found = e_jcc8_fwd(e, 0xeb);
    e_bind8(e, known);
    e_mov_i(e, H_RAX, (uint64_t)(uintptr_t)j->arena);
    e_lea(e, true, H_RBX, m_bi(H_RAX, H_RBX, JIT_ID_SHIFT, 0));
    e_bind8(e, found);
}

/*
 * r10d = what jit_body() says, called (RSP is 8 off). Comes
 * back with all registers as the body left them, or leaves to the run loop if the body asked.
 */
static uint64_t make_cbody(JitCpu *j, Emit *e, int uses, bool ends)
{
    uint64_t at = e_rx(e, e_here(e));
    uint8_t *leave;

    store_regs(e);
    store_flags(e);
    e_mov(e, true, H_RBP, H_RSP);
    e_ld(e, true, H_RSP, m_gs(GS_ENV(host_rsp)));
    e_mov(e, false, H_RBX, S0);
    sync_out(j, e);
    find_body(j, e);
    e_st(e, true, m_gs(GS_CPU(insn)), H_RBX);
    e_ld(e, true, H_RAX, m_base(H_RBX, offsetof(JitBody, next)));
    e_rm(e, true, 0x03, H_RAX, m_gs(GS_ENV(vbase)));
    e_st(e, true, m_gs(GS_CPU(rip)), H_RAX);
    e_ld(e, true, H_RDI, m_gs(GS_ENV(self)));
    e_mov(e, true, H_RSI, H_RBX);
    call_c(e, ends ? (const void *)call_body_end : uses == USES_FPU ? (const void *)call_body_fpu :
              (const void *)call_body);
    if (ends) {
        e_rr(e, true, 0x85, H_RAX, H_RAX);
        leave = e_jcc_fwd(e, CC_E);
        go(e);
        e_bind(e, leave);
    } else {
        e_cmp8_i(e, m_gs(GS_ENV(leave)), 0);
        leave = e_jcc_fwd(e, CC_NE);
        if (uses == USES_FPU)
            fpu_in(j, e);
        if (uses)
            e_call(e, j->stubs.vec_in);
        e_mov(e, true, H_RSP, H_RBP);
        load_flags(e);
        load_regs(e);
        e8(e, 0xc3);
        e_bind(e, leave);
    }
    e_mov_i(e, H_RAX, JIT_EXIT_BODY);
    e_alu_ri(e, true, 0, H_RSP, 8);
    for (int i = sizeof callee_saved - 1; i >= 0; i--)
        pop_r(e, callee_saved[i]);
    e8(e, 0xc3);
    return at;
}

/* r10 = RIP the branch cache does not know: C looks further; paired calls stay. */
static uint64_t make_miss(JitCpu *j, Emit *e, uint64_t (*ask)(X86Cpu *), bool cc)
{
    uint64_t at = e_rx(e, e_here(e));
    uint8_t *none;

    if (cc)
        e_call(e, j->stubs.cc_load);
    e_st(e, true, m_gs(GS_CPU(rip)), S0);
    store_regs(e);
    store_flags(e);
    e_mov(e, true, H_RBP, H_RSP);
    e_ld(e, true, H_RSP, m_gs(GS_ENV(host_rsp)));
    sync_out(j, e);
    e_ld(e, true, H_RDI, m_gs(GS_ENV(self)));
    call_c(e, ask);
    e_rr(e, true, 0x85, H_RAX, H_RAX);
    none = e_jcc_fwd(e, CC_E);
    e_st(e, true, m_gs(GS_ENV(go)), H_RAX);
    e_mov(e, true, H_RSP, H_RBP);
    go_on(e);
    e_bind(e, none);
    e_mov_i(e, H_RAX, JIT_EXIT_LOOKUP);
    e_alu_ri(e, true, 0, H_RSP, 8);
    for (int i = sizeof callee_saved - 1; i >= 0; i--)
        pop_r(e, callee_saved[i]);
    e8(e, 0xc3);
    return at;
}

/* r10 = RIP, r11 = JitExit whose thunk does not know the target's page in this address space; RCX is parked or, with
   cc, flags are at FH_CC. */
static uint64_t make_far_again(JitCpu *j, Emit *e, uint64_t relink, bool cc)
{
    uint64_t at = e_rx(e, e_here(e));

    e_st(e, true, m_gs(GS_ENV(far_exit)), S1);
    if (cc)
        e_call(e, j->stubs.cc_load);
    else
        e_ld(e, true, H_RCX, m_gs(GS_ENV(rcx_park)));
    e_jmp(e, relink);
    return at;
}

static void make_cc(JitStubs *s, Emit *e)
{
    const HMem code = m_gs(GS_ENV(cc_code));

    s->cc_load = e_rx(e, e_here(e));
    e_st(e, true, m_gs(GS_ENV(cc_park)), S0);
    e_st(e, true, m_gs(GS_ENV(cc_park) + 8), S1);
    e_rm(e, false, 0xff, 2, code);
    e_ld(e, true, S0, m_gs(GS_ENV(cc_park)));
    e_ld(e, true, S1, m_gs(GS_ENV(cc_park) + 8));
    e8(e, 0xc3);
    s->cc_saved = e_rx(e, e_here(e));
    fl_restore(e, S1);
    e8(e, 0xc3);
    s->cc_save = e_rx(e, e_here(e));
    fl_save(e);
    e_mov_i(e, S1, s->cc_saved);
    e_st(e, true, code, S1);
    e8(e, 0xc3);
    s->cc_get = e_rx(e, e_here(e));
    e_rm(e, false, 0xff, 2, code);
    e8(e, 0x9c);
    e8(e, 0x58);                /* pushfq; pop rax */
    e8(e, 0xc3);
}

/* A way out that is come to with flags at FH_CC. */
static uint64_t make_way_out_cc(JitCpu *j, Emit *e, uint64_t common, int reason)
{
    uint64_t at = e_rx(e, e_here(e));

    e_call(e, j->stubs.cc_load);
    make_way_out(e, common, reason, GS_CPU(rip), 0);
    return at;
}

/* The empty stack of pairs: r10 = RIP, which happened to equal the word there. */
static uint64_t make_ret_empty(Emit *e)
{
    uint64_t at = e_rx(e, e_here(e));

    e_lea(e, true, H_RSP, m_base(H_RSP, -8));
    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S0) });
    e_jmp_m(e, (HMem) { H_NONE, S1, 3, true, GS_ENV(ibtc_host) });
    return at;
}

/*
 * r10 = address, r11 = bank * 32 KiB from the first bank, called: makes the stack cache of the
 * bank hold its page if the TLB lets it be written. Destroys r10, r11 and flags; ZF set: filled.
 */
static uint64_t make_stk_fill(Emit *e, unsigned bank)
{
    uint64_t at = e_rx(e, e_here(e));
    int32_t tlb = (int32_t)(offsetof(X86Cpu, tlb) + bank * sizeof(TlbEntry) * TLB_ENTRIES);
    uint8_t *miss;

    e_mov(e, false, S1, S0);
    e_shift_i(e, false, 5, S1, 7);
    e_alu_ri(e, false, 4, S1, (TLB_ENTRIES - 1) * sizeof(TlbEntry));
    e_alu_ri(e, true, 4, S0, -4096);
    e_rm(e, true, 0x3b, S0, m_gsb(S1, tlb + offsetof(TlbEntry, tag_w)));
    miss = e_jcc8_fwd(e, 0x75);
    e_st(e, true, m_gs(GS_ENV(stk_page) + 8 * bank), S0);
    e_ld(e, true, S1, m_gsb(S1, tlb + offsetof(TlbEntry, host_page)));
    e_rr(e, true, 0x2b, S1, S0);
    e_st(e, true, m_gs(GS_ENV(stk_delta) + 8 * bank), S1);
    e_rr(e, false, 0x33, S0, S0);
    e_bind8(e, miss);
    e8(e, 0xc3);
    return at;
}

/* One step of make_reach_fill(): is the page at rbx in the TLB, with the same distance (rdx) to the host's? Jumps away if not. */
static void reach_step(Emit *e, int32_t tlb, int32_t tag, uint8_t *no[2])
{
    e_mov(e, false, H_RAX, H_RBX);
    e_shift_i(e, false, 5, H_RAX, 7);
    e_alu_ri(e, false, 4, H_RAX, (TLB_ENTRIES - 1) * sizeof(TlbEntry));
    e_rm(e, true, 0x39, H_RBX, m_gsb(H_RAX, tlb + tag));
    no[0] = e_jcc8_fwd(e, 0x75);
    e_ld(e, true, H_RAX, m_gsb(H_RAX, tlb + (int32_t)offsetof(TlbEntry, host_page)));
    e_rr(e, true, 0x2b, H_RAX, H_RBX);
    e_rr(e, true, 0x3b, H_RAX, H_RDX);
    no[1] = e_jcc8_fwd(e, 0x75);
}

/*
 * r10 = address, r11 = offset of a Reach in env.reach, called: moves it to the pages around the address, if the TLB has that
 * one. If the last time is not long ago, the next one will be after many misses. Keeps r10; destroys r11 and flags.
 */
static uint64_t make_reach_fill(Emit *e, bool write, unsigned bank)
{
    static const uint8_t used[] = { R_RAX, R_RCX, R_RDX, R_RBX, R_RSI, R_RDI };
    uint64_t at = e_rx(e, e_here(e)), again;
    int32_t tlb = (int32_t)(offsetof(X86Cpu, tlb) + bank * sizeof(TlbEntry) * TLB_ENTRIES), r = GS_ENV(reach);
    int32_t tag = write ? offsetof(TlbEntry, tag_w) : offsetof(TlbEntry, tag_r);
    uint8_t *no[2], *miss, *any;

    for (unsigned i = 0; i < sizeof used; i++)          /* X86Cpu's copies are free while generated code runs */
        e_st(e, true, m_gs(GS_GPR(used[i])), used[i]);
    e_mov(e, true, H_RDI, S0);
    e_alu_ri(e, true, 4, H_RDI, -TLB_PAGE);
    e_mov(e, false, H_RAX, H_RDI);
    e_shift_i(e, false, 5, H_RAX, 7);
    e_alu_ri(e, false, 4, H_RAX, (TLB_ENTRIES - 1) * sizeof(TlbEntry));
    e_rm(e, true, 0x39, H_RDI, m_gsb(H_RAX, tlb + tag));
    miss = e_jcc_fwd(e, CC_NE);
    e_ld(e, true, H_RDX, m_gsb(H_RAX, tlb + (int32_t)offsetof(TlbEntry, host_page)));
    e_rr(e, true, 0x2b, H_RDX, H_RDI);
    e_mov(e, true, H_RSI, H_RDI);
    for (unsigned up = 0; up < 2; up++) {
        e_mov_i(e, H_RCX, REACH_STEPS);
        again = e_rx(e, e_here(e));
        e_lea(e, true, H_RBX, m_base(up ? H_RDI : H_RSI, up ? TLB_PAGE : -TLB_PAGE));
        reach_step(e, tlb, tag, no);
        e_mov(e, true, up ? H_RDI : H_RSI, H_RBX);
        e_alu_ri(e, false, 5, H_RCX, 1);
        e_jcc(e, CC_NE, again);
        e_bind8(e, no[0]);
        e_bind8(e, no[1]);
    }
    e_st(e, true, m_gsb(S1, r + (int32_t)offsetof(Reach, lo)), H_RSI);
    e_st(e, true, m_gsb(S1, r + (int32_t)offsetof(Reach, delta)), H_RDX);
    e_rr(e, true, 0x2b, H_RDI, H_RSI);
    e_lea(e, true, H_RAX, m_base(H_RDI, TLB_PAGE - 16));
    e_st(e, true, m_gsb(S1, r + (int32_t)offsetof(Reach, len)), H_RAX);
    e_lea(e, true, H_RAX, m_base(H_RDI, TLB_PAGE - 512));
    e_st(e, true, m_gsb(S1, r + (int32_t)offsetof(Reach, len) + 8), H_RAX);
    e_ld(e, false, H_RAX, m_gs(GS_ENV(reach_n)));
    e_alu_ri(e, false, 7, H_RAX, REACH_LIST);
    any = e_jcc8_fwd(e, 0x73);
    e_st(e, false, (HMem) { H_NONE, H_RAX, 2, true, GS_ENV(reach_list) }, S1);
    e_bind8(e, any);
    e_rm(e, false, 0xff, 0, m_gs(GS_ENV(reach_n)));
    e_bind(e, miss);
    e8(e, 0x0f);
    e8(e, 0x31);                /* rdtsc */
    e_mov(e, false, H_RCX, H_RAX);
    e_rm(e, false, 0x2b, H_RCX, m_gsb(S1, r + (int32_t)offsetof(Reach, last)));
    e_st(e, false, m_gsb(S1, r + (int32_t)offsetof(Reach, last)), H_RAX);
    e_alu_ri(e, false, 7, H_RCX, REACH_SOON);
    e_mov_i(e, H_RAX, REACH_FEW);
    e_mov_i(e, H_RCX, REACH_MANY);
    e_enc(e, &(Enc) { .map = 1, .op = 0x42, .reg = H_RAX, .rm = h_reg(H_RCX) });        /* cmovb */
    e_alu_mi(e, false, 2, m_gsb(S1, r + (int32_t)offsetof(Reach, bad)), 0);     /* adc */
    e_st(e, false, m_gsb(S1, r + (int32_t)offsetof(Reach, left)), H_RAX);
    for (unsigned i = 0; i < sizeof used; i++)
        e_ld(e, true, used[i], m_gs(GS_GPR(used[i])));
    e8(e, 0xc3);
    return at;
}

void jit_stubs_make(JitCpu *j)
{
    CodeCache *k = &j->cache;
    Emit e = { .p = k->rw, .end = k->rw + 65536, .rx = (int64_t)k->rx - (int64_t)(uintptr_t)k->rw };
    JitStubs *s = &j->stubs;
    uint64_t common, relink;

    s->lo = k->rx;
    s->vec_out = make_vec(j, &e, true);
    s->vec_in = make_vec(j, &e, false);
    make_enter(j, &e);
    common = make_exit(j, &e);
    s->exit_chain = make_way_out(&e, common, JIT_EXIT_CHAIN, 0, GS_ENV(exit_arg));
    make_cc(s, &e);
    s->exit_miss = make_miss(j, &e, jit_miss, true);
    relink = make_miss(j, &e, jit_far_miss, false);
    s->far_again = make_far_again(j, &e, relink, false);
    s->far_again_cc = make_far_again(j, &e, relink, true);
    s->ret_empty = make_ret_empty(&e);
    *(uint64_t *)(uintptr_t)jit_env(j->c)->shadow = s->ret_empty;
    s->exit_rip = make_way_out(&e, common, JIT_EXIT_LOOKUP, 0, 0);
    s->exit_poll = make_way_out(&e, common, JIT_EXIT_LOOKUP, GS_CPU(rip), 0);
    s->exit_poll_dead = make_way_out(&e, common, JIT_EXIT_POLL_DEAD, GS_CPU(rip), 0);
    s->exit_fpu = make_way_out(&e, common, JIT_EXIT_FPU, GS_CPU(rip), 0);
    s->exit_signal = make_way_out(&e, common, JIT_EXIT_SIGNAL, 0, 0);
    s->exit_guard = make_way_out(&e, common, JIT_EXIT_GUARD, GS_CPU(rip), 0);
    s->exit_dead = make_way_out_cc(j, &e, common, JIT_EXIT_DEAD);
    s->exit_poll_cc = make_way_out_cc(j, &e, common, JIT_EXIT_LOOKUP);
    for (int u = 0; u < 3; u++)
        s->cbody[u] = make_cbody(j, &e, u, false);
    s->cbody_end = make_cbody(j, &e, USES_NONE, true);
    jit_make_syscall(j, &e);
    for (unsigned b = 0; b < TLB_BANKS; b++)
        s->stk_fill[b] = make_stk_fill(&e, b);
    for (unsigned n = 0; n < 2 * TLB_N; n++)
        s->reach_fill[n / TLB_N][n % TLB_N] = make_reach_fill(&e, n / TLB_N, n % TLB_N);
    for (unsigned n = 0; n < 32; n++)
        for (unsigned b = 0; b < TLB_N; b++)
            s->str[n >> 4][n >> 3 & 1][n >> 2 & 1][n & 3][b] = jit_make_string(&e, n >> 3 & 1, n >> 4, n >> 2 & 1, n & 3, b);
    s->hi = e_rx(&e, e_here(&e));
    k->stub_bytes = k->used = (e.p - k->rw + 63) & ~(size_t)63;
}
