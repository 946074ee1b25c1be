/*
 * int_string: MOVS, STOS, LODS, CMPS, SCAS, repeated in runs that stay inside a page.
 *
 * Registers are committed after each run, so a fault or an interrupt finds a restartable
 * instruction. Between runs the attention word is looked at: the budget of a guest's REP.
 * INS and OUTS, which need port permissions, are with the ports.
 */
#include "target/x86/int_int.h"
#include "target/x86/regs.h"

/* One string operand: where it is now, and how far it may go without leaving page or wrap. */
static inline bool run_flat(const X86Cpu *c, unsigned s)
{
    return c->mode & MODE_CS64 || (c->mode & MODE_FLAT && s != S_FS && s != S_GS);
}

/* How many of the n elements from off on lie inside segment s, whose access rights have been seen to. */
static uint64_t run_in_segment(const X86Cpu *c, unsigned s, uint64_t off, uint64_t n, unsigned size)
{
    const X86Seg *g = &c->seg[s];

    if (run_flat(c, s))
        return n;
    if ((g->attr & (SEG_S | SEG_CODE | SEG_CONF)) == (SEG_S | SEG_CONF) || off > g->limit)      /* expand-down */
        return 0;
    return MIN(n, ((uint64_t)g->limit - off + 1) / size);
}

static uint64_t run_length(const X86Cpu *c, const X86Insn *i, uint64_t off, uint64_t lin, uint64_t n)
{
    uint64_t page = (TLB_PAGE - (lin & (TLB_PAGE - 1))) >> __builtin_ctz(i->opsize), wrap;

    if (i->adsize != 8) {
        wrap = (x86_mask(i->adsize) - off + 1) >> __builtin_ctz(i->opsize);
        if (wrap < page)
            page = wrap;
    }
    return n < page ? n : page;
}

static inline void advance(X86Cpu *c, const X86Insn *i, unsigned r, uint64_t bytes)
{
    uint64_t v = (c->eflags & FL_DF ? c->gpr[r] - bytes : c->gpr[r] + bytes) & x86_mask(i->adsize);

    x86_gpr_wr(c, i, r, i->adsize, v);
}

static inline bool repeated(const X86Insn *i) { return i->flags & (INSN_REP | INSN_REPNE); }
static inline uint64_t rep_count(const X86Cpu *c, const X86Insn *i)
{
    return repeated(i) ? c->gpr[R_RCX] & x86_mask(i->adsize) : 1;
}
static inline void count_down(X86Cpu *c, const X86Insn *i, uint64_t done)
{
    if (repeated(i))
        x86_gpr_wr(c, i, R_RCX, i->adsize, (c->gpr[R_RCX] - done) & x86_mask(i->adsize));
}

/* With iterations left: if somebody wants attention, come back to this instruction later. */
static inline void yield(X86Cpu *c, const X86Insn *i)
{
    if (atomic_load_explicit(&c->vcpu.attention, memory_order_relaxed)) {
        c->rip -= i->len;
        siglongjmp(c->vcpu.unwind, UNWIND_RESUME);
    }
}

static inline uint64_t src_lin(X86Cpu *c, const X86Insn *i)
{
    return x86_lin(c, i->seg, c->gpr[R_RSI] & x86_mask(i->adsize), i->opsize, false);
}
static inline uint64_t dst_lin(X86Cpu *c, const X86Insn *i, bool write)
{
    return x86_lin(c, S_ES, c->gpr[R_RDI] & x86_mask(i->adsize), i->opsize, write);
}

/* Elements one at a time, in order: what overlapping copies mean. */
static void copy_up(uint8_t *d, const uint8_t *s, uint64_t n, unsigned size)
{
    switch (size) {
    case 1: for (; n--; d++, s++) *d = *s; break;
    case 2: for (; n--; d += 2, s += 2) st16_le(d, ld16_le(s)); break;
    case 4: for (; n--; d += 4, s += 4) st32_le(d, ld32_le(s)); break;
    default: for (; n--; d += 8, s += 8) st64_le(d, ld64_le(s)); break;
    }
}

/* Copies n elements, which stay inside one page on either side, upwards; false: not plain pages, nothing done. */
static inline bool copy_run(X86Cpu *c, const X86Insn *i, uint64_t src, uint64_t dst, uint64_t n)
{
    unsigned size = i->opsize;
    uint64_t bytes = n * size;
    uint8_t *s, *d;

    /* Asked for once more: writing may have given the page, and so the source, another place. */
    if (!x86_host_r(c, src, size, c->data_bank) || !(d = x86_host_w(c, dst, size, c->data_bank)) ||
        !(s = x86_host_r(c, src, size, c->data_bank)))
        return false;
    if (d > s && d < s + bytes)
        copy_up(d, s, n, size);
    else
        memmove(d, s, bytes);
    return true;
}

/* A run of up to n elements upwards between plain pages; 0: do one element the slow way. */
static uint64_t movs_run(X86Cpu *c, const X86Insn *i, uint64_t src, uint64_t dst, uint64_t n)
{
    uint64_t si = c->gpr[R_RSI] & x86_mask(i->adsize), di = c->gpr[R_RDI] & x86_mask(i->adsize);

    n = run_in_segment(c, i->seg, si, run_length(c, i, si, src, n), i->opsize);
    n = run_in_segment(c, S_ES, di, run_length(c, i, di, dst, n), i->opsize);
    return n && copy_run(c, i, src, dst, n) ? n : 0;
}

/* What nearly all string instructions are: 64-bit, upwards, inside one page each. Decompressors and
   memcpy issue them by the million with a handful of bytes, so the way here is short. */
static inline bool plain64(const X86Cpu *c, const X86Insn *i)
{
    return c->mode & MODE_CS64 && i->adsize == 8 && !(c->eflags & FL_DF);
}
static inline bool in_page(uint64_t lin, uint64_t bytes)
{
    return (lin & (TLB_PAGE - 1)) + bytes <= TLB_PAGE && x86_canonical(lin);
}

static bool movs_short(X86Cpu *c, const X86Insn *i)
{
    uint64_t n = repeated(i) ? c->gpr[R_RCX] : 1, src = c->gpr[R_RSI], dst = c->gpr[R_RDI], bytes = n * i->opsize;

    if (!plain64(c, i) || n - 1 >= TLB_PAGE || i->seg == S_FS || i->seg == S_GS || !in_page(src, bytes) || !in_page(dst, bytes) ||
        !copy_run(c, i, src, dst, n))
        return false;
    c->gpr[R_RSI] = src + bytes;
    c->gpr[R_RDI] = dst + bytes;
    if (repeated(i))
        c->gpr[R_RCX] = 0;
    return true;
}

static void movs(X86Cpu *c, const X86Insn *i)
{
    uint64_t left = rep_count(c, i), done;
    bool up = !(c->eflags & FL_DF);

    while (left) {
        uint64_t src = src_lin(c, i), dst = dst_lin(c, i, true);

        done = up && left > 1 ? movs_run(c, i, src, dst, left) : 0;
        if (!done) {
            x86_st(c, dst, i->opsize, x86_ld(c, src, i->opsize));
            done = 1;
        }
        advance(c, i, R_RSI, done * i->opsize);
        advance(c, i, R_RDI, done * i->opsize);
        count_down(c, i, done);
        left -= done;
        if (left)
            yield(c, i);
    }
}
static void movs_any(X86Cpu *c, const X86Insn *i)
{
    if (!movs_short(c, i))
        movs(c, i);
}
BODY1(movs, movs_any);

static void fill(uint8_t *d, uint64_t v, uint64_t n, unsigned size)
{
    switch (size) {
    case 1: memset(d, v, n); break;
    case 2: for (; n--; d += 2) st16_le(d, v); break;
    case 4: for (; n--; d += 4) st32_le(d, v); break;
    default: for (; n--; d += 8) st64_le(d, v); break;
    }
}

static bool stos_short(X86Cpu *c, const X86Insn *i)
{
    uint64_t n = repeated(i) ? c->gpr[R_RCX] : 1, dst = c->gpr[R_RDI], bytes = n * i->opsize;
    uint8_t *d;

    if (!plain64(c, i) || n - 1 >= TLB_PAGE || !in_page(dst, bytes) || !(d = x86_host_w(c, dst, i->opsize, c->data_bank)))
        return false;
    fill(d, c->gpr[R_RAX], n, i->opsize);
    c->gpr[R_RDI] = dst + bytes;
    if (repeated(i))
        c->gpr[R_RCX] = 0;
    return true;
}

static void stos(X86Cpu *c, const X86Insn *i)
{
    uint64_t left = rep_count(c, i), done, v = c->gpr[R_RAX];
    bool up = !(c->eflags & FL_DF);

    while (left) {
        uint64_t dst = dst_lin(c, i, true), di = c->gpr[R_RDI] & x86_mask(i->adsize);
        uint8_t *d;

        done = up && left > 1 ? run_in_segment(c, S_ES, di, run_length(c, i, di, dst, left), i->opsize) : 0;
        if (done && (d = x86_host_w(c, dst, i->opsize, c->data_bank))) {
            fill(d, v, done, i->opsize);
        } else {
            x86_st(c, dst, i->opsize, v);
            done = 1;
        }
        advance(c, i, R_RDI, done * i->opsize);
        count_down(c, i, done);
        left -= done;
        if (left)
            yield(c, i);
    }
}
static void stos_any(X86Cpu *c, const X86Insn *i)
{
    if (!stos_short(c, i))
        stos(c, i);
}
BODY1(stos, stos_any);

static void lods(X86Cpu *c, const X86Insn *i)
{
    uint64_t left = rep_count(c, i);

    while (left) {
        uint64_t v = x86_ld(c, src_lin(c, i), i->opsize);

        x86_gpr_wr(c, i, R_RAX, i->opsize, v);
        advance(c, i, R_RSI, i->opsize);
        count_down(c, i, 1);
        if (--left)
            yield(c, i);
    }
}
BODY1(lods, lods);

static void compare_flags(X86Cpu *c, uint64_t a, uint64_t b, unsigned size)
{
    lf_arith(c, x86_sext(a - b, size), lf_sub_carries(a, b, a - b), size * 8);
}

static inline uint64_t element(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return ld16_le(p);
    case 4: return ld32_le(p);
    default: return ld64_le(p);
    }
}

/* Compares up to n elements; step 0 keeps an operand still. Stops after the one that ends the
   repetition; *a, *b: the last pair. */
static uint64_t compare_run(const uint8_t *p, unsigned p_step, const uint8_t *q, uint64_t n, unsigned size,
                            bool while_equal, uint64_t *a, uint64_t *b)
{
    uint64_t k = 0;

    do {
        *a = element(p, size);
        *b = element(q, size);
        p += p_step;
        q += size;
        k++;
    } while (k < n && (*a == *b) == while_equal);
    return k;
}

/* CMPS and SCAS: the first operand is DS:rSI or the accumulator, the second ES:rDI. */
static void compare(X86Cpu *c, const X86Insn *i, bool scas)
{
    unsigned size = i->opsize;
    uint64_t left = rep_count(c, i), done, a, b, acc = c->gpr[R_RAX] & x86_mask(size);
    bool while_equal = !(i->flags & INSN_REPNE), rep = repeated(i);
    bool up = rep && !(c->eflags & FL_DF);

    while (left) {
        uint64_t src = scas ? 0 : src_lin(c, i), dst = dst_lin(c, i, false);
        const uint8_t *p = (const uint8_t *)&acc, *q;

        uint64_t si = c->gpr[R_RSI] & x86_mask(i->adsize), di = c->gpr[R_RDI] & x86_mask(i->adsize);

        done = up ? run_in_segment(c, S_ES, di, run_length(c, i, di, dst, left), size) : 0;
        if (done && !scas)
            done = run_in_segment(c, i->seg, si, run_length(c, i, si, src, done), size);
        if (done && (q = x86_host_r(c, dst, size, c->data_bank)) &&
            (scas || (p = x86_host_r(c, src, size, c->data_bank)))) {
            done = compare_run(p, scas ? 0 : size, q, done, size, while_equal, &a, &b);
        } else {
            b = x86_ld(c, dst, size);           /* faults in this order */
            a = scas ? acc : x86_ld(c, src, size);
            done = 1;
        }
        if (!scas)
            advance(c, i, R_RSI, done * size);
        advance(c, i, R_RDI, done * size);
        count_down(c, i, done);
        compare_flags(c, a, b, size);
        left -= done;
        if (rep && (a == b) != while_equal)
            break;
        if (left)
            yield(c, i);
    }
}
static void cmps(X86Cpu *c, const X86Insn *i) { compare(c, i, false); }
static void scas(X86Cpu *c, const X86Insn *i) { compare(c, i, true); }
BODY1(cmps, cmps);
BODY1(scas, scas);
