/*
 * int_lock: read-modify-write on guest memory, with and without LOCK.
 *
 * Inside a page of RAM a locked operation is one host atomic. Accesses that cross a page, or hit
 * a device, are split; one lock serializes the locked ones among themselves.
 */
#include "target/x86/int_int.h"

static GMutex split_lock;       /* allow-listed: a host bus has one LOCK# line too */

#define LOCKED_LOOP(bits)                                                                    \
    static uint64_t locked##bits(uint##bits##_t *p, RmwFn *fn, uint64_t b, unsigned carry)   \
    {                                                                                        \
        uint##bits##_t old = __atomic_load_n(p, __ATOMIC_RELAXED);                           \
                                                                                             \
        while (!__atomic_compare_exchange_n(p, &old, (uint##bits##_t)fn(old, b, carry), false, \
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))             \
            ;                                                                                \
        return old;                                                                          \
    }
LOCKED_LOOP(8)
LOCKED_LOOP(16)
LOCKED_LOOP(32)
LOCKED_LOOP(64)

static uint64_t locked(void *p, unsigned size, RmwFn *fn, uint64_t b, unsigned carry)
{
    switch (size) {
    case 1: return locked8(p, fn, b, carry);
    case 2: return locked16(p, fn, b, carry);
    case 4: return locked32(p, fn, b, carry);
    default: return locked64(p, fn, b, carry);
    }
}

static uint64_t plain(void *p, unsigned size, RmwFn *fn, uint64_t b, unsigned carry)
{
    uint64_t old;

    switch (size) {
    case 1: old = *(uint8_t *)p; *(uint8_t *)p = fn(old, b, carry); break;
    case 2: old = *(x86_any16 *)p; *(x86_any16 *)p = fn(old, b, carry); break;
    case 4: old = *(x86_any32 *)p; *(x86_any32 *)p = fn(old, b, carry); break;
    default: old = *(x86_any64 *)p; *(x86_any64 *)p = fn(old, b, carry); break;
    }
    return old;
}

uint64_t x86_rmw(X86Cpu *c, void *p, uint64_t va, unsigned size, bool lock, RmwFn *fn, uint64_t b, unsigned carry)
{
    uint64_t old;

    if (p)
        return lock ? locked(p, size, fn, b, carry) : plain(p, size, fn, b, carry);
    if (lock) {
        p = x86_host_rmw(c, va, size, c->data_bank);
        if (p) {
            old = locked(p, size, fn, b, carry);
            x86_host_rmw_done(c, va, size, c->data_bank);
            return old;
        }
    }
    x86_probe_w(c, va, size, c->data_bank);     /* whatever can fault does it here, outside the lock */
    if (lock)
        g_mutex_lock(&split_lock);
    old = x86_ld(c, va, size);
    x86_st(c, va, size, fn(old, b, carry));
    if (lock)
        g_mutex_unlock(&split_lock);
    return old;
}

static uint64_t cmpxchg_host(void *p, unsigned size, uint64_t expect, uint64_t desired)
{
#define CAS(T) { T e = expect; \
        __atomic_compare_exchange_n((T *)p, &e, (T)desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); return e; }
    switch (size) {
    case 1: CAS(uint8_t)
    case 2: CAS(uint16_t)
    case 4: CAS(uint32_t)
    default: CAS(uint64_t)
    }
#undef CAS
}

uint64_t x86_cmpxchg_mem(X86Cpu *c, uint64_t va, unsigned size, bool lock, uint64_t expect, uint64_t desired)
{
    void *p = rmw_ptr(c, va, size);
    uint64_t old;

    if (p)
        return cmpxchg_host(p, size, expect, desired);
    p = x86_host_rmw(c, va, size, c->data_bank);
    if (p) {
        old = cmpxchg_host(p, size, expect, desired);
        x86_host_rmw_done(c, va, size, c->data_bank);
        return old;
    }
    x86_probe_w(c, va, size, c->data_bank);
    g_mutex_lock(&split_lock);
    old = x86_ld(c, va, size);
    x86_st(c, va, size, old == expect ? desired : old);
    g_mutex_unlock(&split_lock);
    return old;
}

#if defined(__x86_64__)
static bool cas16(unsigned __int128 *p, unsigned __int128 *expect, unsigned __int128 desired)
{
    unsigned __int128 old = __sync_val_compare_and_swap(p, *expect, desired);
    bool same = old == *expect;

    *expect = old;
    return same;
}
#else
static bool cas16(unsigned __int128 *p, unsigned __int128 *expect, unsigned __int128 desired)
{
    bool same;

    g_mutex_lock(&split_lock);
    same = *p == *expect;
    if (same)
        *p = desired;
    else
        *expect = *p;
    g_mutex_unlock(&split_lock);
    return same;
}
#endif

static void cmpxchg16b(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x86_ea(c, i, 16, true);
    unsigned __int128 expect = (unsigned __int128)c->gpr[R_RDX] << 64 | c->gpr[R_RAX];
    unsigned __int128 desired = (unsigned __int128)c->gpr[R_RCX] << 64 | c->gpr[R_RBX];
    void *p;
    bool same;

    if (va & 15)
        x86_raise_err(c, EXC_GP, 0);
    p = rmw_ptr(c, va, 16);
    if (p) {
        same = cas16(p, &expect, desired);
    } else if ((p = x86_host_rmw(c, va, 16, c->data_bank))) {
        same = cas16(p, &expect, desired);
        x86_host_rmw_done(c, va, 16, c->data_bank);
    } else {
        unsigned __int128 old;

        x86_probe_w(c, va, 16, c->data_bank);
        old = (unsigned __int128)x86_ld64(c, va + 8) << 64 | x86_ld64(c, va);
        same = old == expect;
        expect = same ? desired : old;
        x86_st64(c, va, expect);
        x86_st64(c, va + 8, expect >> 64);
    }
    if (!same) {
        c->gpr[R_RAX] = expect;
        c->gpr[R_RDX] = expect >> 64;
    }
    x86_flags_change(c, FL_ZF, same ? FL_ZF : 0);
}
BODY1(cmpxchg16b, cmpxchg16b);

static void cmpxchg8b(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x86_ea(c, i, 8, true);
    uint64_t expect = c->gpr[R_RDX] << 32 | (uint32_t)c->gpr[R_RAX];
    uint64_t desired = c->gpr[R_RCX] << 32 | (uint32_t)c->gpr[R_RBX];
    uint64_t old = x86_cmpxchg_mem(c, va, 8, true, expect, desired);

    if (old != expect) {
        c->gpr[R_RAX] = (uint32_t)old;
        c->gpr[R_RDX] = old >> 32;
    }
    x86_flags_change(c, FL_ZF, old == expect ? FL_ZF : 0);
}
BODY1(cmpxchg8b, cmpxchg8b);

/* The accumulator is compared with the destination; flags as of CMP accumulator, destination. */
static void cmpxchg(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t acc = c->gpr[R_RAX] & x86_mask(size), src = x86_rd_g(c, i), old;

    if (i->is_reg) {
        old = x86_gpr_rd(c, i, i->rm, size);
        if (old == acc)
            x86_gpr_wr(c, i, i->rm, size, src);
    } else {
        old = x86_cmpxchg_mem(c, x86_ea(c, i, size, true), size, i->flags & INSN_LOCK, acc, src);
    }
    if (old != acc) {
        if (size == 1)
            c->gpr[R_RAX] = (c->gpr[R_RAX] & ~0xffULL) | old;
        else
            x86_gpr_wr(c, i, R_RAX, size, old);
    }
    lf_arith(c, x86_sext(acc - old, size), lf_sub_carries(acc, old, acc - old), size * 8);
}
BODY1(cmpxchg, cmpxchg);

static uint64_t fn_new(uint64_t a, uint64_t b, unsigned carry) { return b; }
static uint64_t fn_add(uint64_t a, uint64_t b, unsigned carry) { return a + b; }

/* XCHG with memory is locked whatever the prefix says. */
static void xchg(X86Cpu *c, const X86Insn *i)
{
    uint64_t src = x86_rd_g(c, i), old;

    if (i->is_reg) {
        old = x86_gpr_rd(c, i, i->rm, i->opsize);
        x86_wr_g(c, i, old);
        x86_gpr_wr(c, i, i->rm, i->opsize, src);
        return;
    }
    uint64_t va = x86_ea(c, i, i->opsize, true);
    old = x86_rmw(c, rmw_ptr(c, va, i->opsize), va, i->opsize, true, fn_new, src, 0);
    x86_wr_g(c, i, old);
}
BODY1(xchg, xchg);

static void xadd(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t src = x86_rd_g(c, i), old;

    if (i->is_reg) {
        old = x86_gpr_rd(c, i, i->rm, size);
        x86_wr_g(c, i, old);
        x86_gpr_wr(c, i, i->rm, size, old + src);
    } else {
        uint64_t va = x86_ea(c, i, size, true);

        old = x86_rmw(c, rmw_ptr(c, va, size), va, size, i->flags & INSN_LOCK, fn_add, src, 0);
        x86_wr_g(c, i, old);
    }
    lf_arith(c, x86_sext(old + src, size), lf_add_carries(old, src, old + src), size * 8);
}
BODY1(xadd, xadd);
