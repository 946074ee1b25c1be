/* check: -accel jit,check=on: every block is run by a shadow processor too, and both ends compared. */
#include "accel/jit/check.h"

#include "target/x86/flags.h"
#include "target/x86/shadow.h"

#include <inttypes.h>
#include <string.h>

struct JitCheck {
    X86Shadow *shadow;
    bool clean;                 /* the last thing that ran was a checked block */
    uint64_t turns, checked, sampled, alone, skipped, raced;
};

enum { CHECK_EVERY = 61 };

typedef struct End {            /* how generated code came back */
    int unwound;                /* UNWIND_*, or 0 */
    uint64_t why;               /* JIT_EXIT_* */
    const JitExit *exit;        /* for JIT_EXIT_CHAIN */
} End;

JitCheck *jit_check_new(X86Cpu *c)
{
    JitCheck *k = g_new0(JitCheck, 1);

    k->shadow = x86_shadow_new(c);
    return k;
}

void jit_check_free(JitCheck *k)
{
    if (k)
        x86_shadow_free(k->shadow);
    g_free(k);
}

void jit_check_dirty(JitCheck *k) { k->clean = false; }

bool jit_check_alone(const X86Insn *i)
{
    static const char *const checked[] = { "swapgs", "stac", "clac", "lgdt", "lidt", "lldt", "ltr", NULL };
    static const char *const others[] = {
        "rdtsc", "rdtscp", "rdpmc", "rdrand", "rdseed", "monitor", "mwait", "rsm", "cpuid", "pause",
        /* approximations, which are the host's in generated code */
        "rcpps", "rcpss", "rsqrtps", "rsqrtss", "vrcpps", "vrcpss", "vrsqrtps", "vrsqrtss", "fsin", "fcos", "fsincos",
        "fptan", "fpatan", "f2xm1", "fyl2x", "fyl2xp1",
        /* these show pointers and reserved bits that are the host's */
        "fxsave", "fnsave", "fnstenv", "xsave", "xsavec", "xsaveopt", NULL };
    const X86Row *r = x86_row(i);

    if (i->row == X86_ROW_UD || i->row == X86_ROW_NM)
        return false;
    return r->cls & CL_IO || (r->cls & CL_PRIV && !g_strv_contains(checked, r->mnemonic)) ||
           g_strv_contains(others, r->mnemonic);
}

uint16_t jit_check_undefined(const X86Insn *i, uint16_t undefined)
{
    const X86Row *r = x86_row(i);
    bool keeps = (r->rd == FL_ARITH && r->wr) || r->cls & CL_STR;      /* all of them, if the count is 0 */

    return ((keeps ? undefined : undefined & ~r->wr) | r->un) & FL_ARITH;
}

/* ---- comparing ---- */

typedef struct Report {
    GString *s;                 /* NULL: only whether there is a difference */
    bool any;
} Report;

static void differ(Report *r, const char *name, uint64_t before, uint64_t shadow, uint64_t jit)
{
    if (shadow == jit)
        return;
    r->any = true;
    if (r->s)
        g_string_append_printf(r->s, "  %-10s %016" PRIx64 "  %016" PRIx64 "  %016" PRIx64 "\n", name, before, shadow, jit);
}

static void differ_n(Report *r, const char *name, unsigned n, uint64_t before, uint64_t shadow, uint64_t jit)
{
    char text[32];

    if (shadow == jit)
        return;
    g_snprintf(text, sizeof text, "%s%u", name, n);
    differ(r, text, before, shadow, jit);
}

static void compare_segments(Report *r, const X86Cpu *a, const X86Cpu *s, const X86Cpu *c)
{
    static const char *const name[S_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr" };

    if (!memcmp(s->seg, c->seg, sizeof s->seg) && !memcmp(&s->gdtr, &c->gdtr, sizeof s->gdtr) &&
        !memcmp(&s->idtr, &c->idtr, sizeof s->idtr))
        return;
    for (unsigned n = 0; n < S_COUNT; n++) {
        differ(r, name[n], a->seg[n].sel, s->seg[n].sel, c->seg[n].sel);
        differ(r, name[n], a->seg[n].base, s->seg[n].base, c->seg[n].base);
        differ(r, name[n], (uint64_t)a->seg[n].attr << 32 | a->seg[n].limit, (uint64_t)s->seg[n].attr << 32 | s->seg[n].limit,
               (uint64_t)c->seg[n].attr << 32 | c->seg[n].limit);
    }
    differ(r, "gdtr", a->gdtr.base, s->gdtr.base, c->gdtr.base);
    differ(r, "gdtr limit", a->gdtr.limit, s->gdtr.limit, c->gdtr.limit);
    differ(r, "idtr", a->idtr.base, s->idtr.base, c->idtr.base);
    differ(r, "idtr limit", a->idtr.limit, s->idtr.limit, c->idtr.limit);
}

static void compare_vectors(Report *r, const X86Cpu *a, const X86Cpu *s, const X86Cpu *c)
{
    for (unsigned n = 0; n < 16; n++) {
        if (!memcmp(&s->vec[n], &c->vec[n], 32))
            continue;
        for (unsigned q = 0; q < 4; q++) {
            char name[32];

            g_snprintf(name, sizeof name, "ymm%u.%u", n, q);
            differ(r, name, a->vec[n].q[q], s->vec[n].q[q], c->vec[n].q[q]);
        }
    }
    differ(r, "mxcsr", a->mxcsr, s->mxcsr, c->mxcsr);
    differ(r, "x87 cw", a->x87.cw, s->x87.cw, c->x87.cw);
    differ(r, "x87 sw", a->x87.sw, s->x87.sw, c->x87.sw);
    differ(r, "x87 top", a->x87.top, s->x87.top, c->x87.top);
    differ(r, "x87 empty", a->x87.empty, s->x87.empty, c->x87.empty);
    for (unsigned n = 0; n < 8; n++) {
        differ_n(r, "x87 mant", n, a->x87.r[n].mant, s->x87.r[n].mant, c->x87.r[n].mant);
        differ_n(r, "x87 exp", n, a->x87.r[n].se, s->x87.r[n].se, c->x87.r[n].se);
    }
}

static void compare_regs(Report *r, const X86Cpu *a, const X86Cpu *s, const X86Cpu *c, uint16_t flags)
{
    static const char *const name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
    bool code64 = s->mode & MODE_CS64;

    differ(r, "rip", a->rip, code64 ? s->rip : (uint32_t)s->rip, code64 ? c->rip : (uint32_t)c->rip);
    for (unsigned n = 0; n < 16; n++)
        differ(r, name[n], a->gpr[n], s->gpr[n], c->gpr[n]);
    differ(r, "flags", x86_flags_get(a), x86_flags_get(s) & flags, x86_flags_get(c) & flags);
    differ(r, "rflags", a->eflags, s->eflags, c->eflags);
    differ(r, "mode", a->mode, s->mode, c->mode);
    differ(r, "data bank", a->data_bank, s->data_bank, c->data_bank);
    differ(r, "cr0", a->cr0, s->cr0, c->cr0);
    differ(r, "cr2", a->cr2, s->cr2, c->cr2);
    differ(r, "cr3", a->cr3, s->cr3, c->cr3);
    differ(r, "cr4", a->cr4, s->cr4, c->cr4);
    differ(r, "efer", a->efer, s->efer, c->efer);
    differ(r, "xcr0", a->xcr0, s->xcr0, c->xcr0);
    differ(r, "gs (other)", a->msr.kernel_gs_base, s->msr.kernel_gs_base, c->msr.kernel_gs_base);
    differ(r, "nmi masked", a->nmi_masked, s->nmi_masked, c->nmi_masked);
    compare_segments(r, a, s, c);
    compare_vectors(r, a, s, c);
}

static void compare_end(Report *r, const X86Cpu *s, const X86Cpu *c, ShadowEnd se, const End *e)
{
    bool raised = se == SHADOW_RAISED;

    differ(r, "exception", 0, raised ? 0x100 | s->exc.vector : 0,
           e->unwound == UNWIND_EXCEPTION ? 0x100 | c->exc.vector : 0);
    if (!raised || e->unwound != UNWIND_EXCEPTION)
        return;
    differ(r, "error code", 0, s->exc.error, c->exc.error);
    differ(r, "kind", 0, s->exc.soft << 1 | s->exc.intn, c->exc.soft << 1 | c->exc.intn);
    differ(r, "length", 0, s->insn->len, c->insn->len);
}

/* Flags that mean something after the first n instructions of b, where generated code ended as e says. */
static uint16_t flags_that_count(const JitCpu *j, const JitBlock *b, unsigned n, const End *e)
{
    uint16_t undefined = 0, live = FL_ARITH;
    uint64_t next = x86_shadow_start(j->check->shadow)->rip;
    bool branched;

    for (unsigned k = 0; k < n && k < b->n; k++) {
        undefined = jit_check_undefined(&b->insns[k], undefined);
        next += b->insns[k].len;
    }
    branched = n < b->n && !e->unwound && (uint32_t)j->c->rip != (uint32_t)next;
    if (e->why == JIT_EXIT_POLL_DEAD || (e->why == JIT_EXIT_CHAIN && e->exit && e->exit->flags_dead))
        live = 0;
    else if (!j->exact && !branched)    /* dead flags may be gone already, exits have not made them again */
        live = b->live[n];
    return live & ~undefined;
}

static bool matches(JitCpu *j, JitBlock *b, unsigned n, ShadowEnd se, const End *e, GString *text)
{
    JitCheck *k = j->check;
    const X86Cpu *a = x86_shadow_start(k->shadow), *s = x86_shadow_cpu(k->shadow);
    Report r = { .s = text };
    ShadowDiff d;

    compare_regs(&r, a, s, j->c, flags_that_count(j, b, n, e));
    compare_end(&r, s, j->c, se, e);
    if (x86_shadow_differs(k->shadow, &d)) {
        r.any = true;
        if (text)
            g_string_append_printf(text, "  memory %016" PRIx64 ": before %02x, interpreter %02x, translation %02x\n",
                                   d.va, d.before, d.shadow, d.now);
    }
    return !r.any;
}

static void print_block(GString *s, const JitBlock *b, uint64_t rip)
{
    const uint8_t *p = b->key;

    for (unsigned n = 0; n < b->n; n++) {
        const X86Insn *i = &b->insns[n];
        GString *bytes = g_string_new(NULL);

        for (unsigned m = 0; m < i->len && p + m < b->key + b->len; m++)
            g_string_append_printf(bytes, "%02x ", p[m]);
        g_string_append_printf(s, "  %016" PRIx64 "  %-32s %s\n", rip, bytes->str, x86_row(i)->mnemonic);
        g_string_free(bytes, TRUE);
        p += i->len;
        rip += i->len;
    }
}

static void report(JitCpu *j, JitBlock *b, unsigned n, ShadowEnd se, const End *e)
{
    static const char *const ends[JIT_EXIT_COUNT] = { "lookup", "chain", "event", "x87", "fault", "body", "dead", "crossing" };
    g_autoptr(GString) s = g_string_new(NULL);
    const X86Cpu *a = x86_shadow_start(j->check->shadow);

    g_string_append_printf(s, "quern: jit check: CPU %d: the translated block at %#" PRIx64 " does not do what its instructions do\n"
                           "  mode %#x, %u instructions, %u of them run; end: %s\n", j->c->vcpu.index, a->rip, b->mode, b->n, n,
                           e->unwound ? "exception" : ends[e->why]);
    print_block(s, b, a->rip);
    g_string_append(s, "             before            interpreter       translation\n");
    matches(j, b, n, se, e, s);
    g_string_append(s, "  registers before:");
    for (unsigned g = 0; g < 16; g++)
        g_string_append_printf(s, " %" PRIx64, a->gpr[g]);
    g_string_append_printf(s, " flags %x\n", x86_flags_get(a));
    g_printerr("%s", s->str);
}

/* ---- running ---- */

/* Generated code may stop early: after how many instructions does rip say? b->n + 1: none. */
static unsigned stopped_after(JitCpu *j, const JitBlock *b, unsigned from)
{
    const X86Cpu *a = x86_shadow_start(j->check->shadow);
    uint64_t rip = a->rip, at = j->c->rip;

    for (unsigned n = 0; n < b->n; n++) {
        if (n >= from && (a->mode & MODE_CS64 ? rip == at : (uint32_t)rip == (uint32_t)at))
            return n;
        rip += b->insns[n].len;
    }
    return b->n + 1;
}

static bool rerun_matches(JitCpu *j, JitBlock *b, unsigned limit, const End *e)
{
    unsigned done;
    ShadowEnd se;

    x86_shadow_again(j->check->shadow);
    se = x86_shadow_run(j->check->shadow, b->insns, limit, &done);
    return se != SHADOW_CANNOT && matches(j, b, done, se, e, NULL);
}

/* The end states differ. Did generated code stop earlier, rightly, or did memory change meanwhile? */
static bool explained(JitCpu *j, JitBlock *b, unsigned done, ShadowEnd se, const End *e)
{
    JitCheck *k = j->check;

    if (e->unwound == UNWIND_RESUME && se != SHADOW_RESUME) {   /* a string instruction lets events in */
        k->skipped++;
        return true;
    }
    if (se == SHADOW_RAISED && !e->unwound && (uint64_t)((int64_t)(j->c->rip << 16) >> 16) != j->c->rip) {
        k->skipped++;           /* a branch out of canonical space: faults where it leads, not where it stands */
        return true;
    }
    if (!e->unwound)
        for (unsigned n = stopped_after(j, b, 0); n < b->n; n = stopped_after(j, b, n + 1))
            if (rerun_matches(j, b, n, e))
                return true;
    if (rerun_matches(j, b, b->n, e)) {         /* a device changed what the block reads between the two */
        k->raced++;
        return true;
    }
    return false;
}

bool jit_check_block(JitCpu *j, JitBlock *b, uint64_t (*run)(JitCpu *j, JitBlock *b))
{
    JitCheck *k = j->check;
    Vcpu *v = &j->c->vcpu;
    volatile bool alone = b->n == 1 && jit_check_alone(&b->insns[0]), sampled;
    volatile ShadowEnd se = SHADOW_CANNOT;
    volatile unsigned done = 0;
    sigjmp_buf outer;
    bool ok = true;
    End e = { 0 };

    sampled = !alone && j->m->check_first && b->runs >= j->m->check_first && k->turns++ % CHECK_EVERY;
    alone |= sampled;
    if (!alone) {
        unsigned n;

        x86_shadow_begin(k->shadow, !k->clean);
        se = x86_shadow_run(k->shadow, b->insns, b->n, &n);
        done = n;
    }
    if (!sampled)
        k->clean = false;
    memcpy(outer, v->unwind, sizeof outer);
    e.unwound = sigsetjmp(v->unwind, 0);
    if (!e.unwound) {
        e.why = run(j, b);
        e.exit = j->pending_exit;
    }
    memcpy(v->unwind, outer, sizeof outer);
    b->runs++;
    if (sampled) {
        k->clean &= !e.unwound;
        k->sampled++;
    } else if (alone) {
        k->alone++;
    } else if (se == SHADOW_CANNOT) {
        k->skipped++;
    } else {
        k->checked++;
        k->clean = !e.unwound;
        if (!matches(j, b, done, se, &e, NULL) && !explained(j, b, done, se, &e)) {
            unsigned n;

            x86_shadow_again(k->shadow);
            se = x86_shadow_run(k->shadow, b->insns, b->n, &n);
            report(j, b, n, se, &e);
            ok = false;
        }
    }
    if (e.unwound && ok)
        siglongjmp(v->unwind, e.unwound);
    return ok;
}

char *jit_check_describe(const JitCheck *k)
{
    return g_strdup_printf("  checked %" PRIu64 " blocks, not checked: %" PRIu64 " of devices and time, %" PRIu64
                           " that met a device or an event, %" PRIu64 " by sampling; memory changed meanwhile %" PRIu64 " times\n",
                           k->checked, k->alone, k->skipped, k->sampled, k->raced);
}
