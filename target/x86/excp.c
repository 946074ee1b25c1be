/*
 * excp: raising exceptions, delivering them and interrupts through the IDT.
 *
 * Intel SDM vol. 3 ch. 6. Delivery runs under its own unwind frame: a fault while delivering
 * becomes the next exception, a double fault or a triple fault by the contributory table.
 */
#include "target/x86/prot_int.h"
#include "target/x86/debug_int.h"
#include "util/log.h"

#include <inttypes.h>

const X86Insn x86_no_insn = { 0 };

void x86_raise(X86Cpu *c, int vector)
{
    c->exc = (X86Exception) { .vector = vector };
    siglongjmp(c->vcpu.unwind, UNWIND_EXCEPTION);
}

void x86_raise_err(X86Cpu *c, int vector, uint32_t error)
{
    c->exc = (X86Exception) { .vector = vector, .error = error, .has_error = true };
    siglongjmp(c->vcpu.unwind, UNWIND_EXCEPTION);
}

void x86_raise_pf(X86Cpu *c, uint64_t va, uint32_t error)
{
    c->cr2 = va;
    x86_raise_err(c, EXC_PF, error);
}

static bool contributory(int v)
{
    return v == EXC_DE || (v >= EXC_TS && v <= EXC_GP);
}

/* Is the saved RIP that of the faulting instruction, so that RF is set in the image? */
static bool fault_class(const X86Exception *e)
{
    if (e->soft || e->external)
        return false;
    switch (e->vector) {
    case EXC_DB: case EXC_NMI: case EXC_BP: case EXC_OF: case EXC_DF: case EXC_MC:
        return false;
    default:
        return true;
    }
}

static uint64_t flags_image(X86Cpu *c, const X86Exception *e)
{
    uint64_t f = x86_get_rflags(c);

    return fault_class(e) ? f | FL_RF : f;
}

/* ---- real mode ---- */

static void deliver_real(X86Cpu *c, const X86Exception *e)
{
    Stack s = x86_stack_current(c);
    uint64_t vec = c->idtr.base + (uint32_t)e->vector * 4;
    uint16_t ip, cs;

    if ((uint32_t)e->vector * 4 + 3 > c->idtr.limit)
        x86_raise_err(c, EXC_GP, (uint32_t)e->vector * 8 + 2);
    ip = (uint16_t)x86_ld_sys(c, vec, 2);
    cs = (uint16_t)x86_ld_sys(c, vec + 2, 2);
    x86_stack_push(c, &s, 2, x86_get_rflags(c));
    x86_stack_push(c, &s, 2, c->seg[S_CS].sel);
    x86_stack_push(c, &s, 2, c->rip);
    x86_stack_commit(c, &s);
    c->eflags &= ~(FL_IF | FL_TF | FL_AC | FL_RF);
    x86_seg_set_real(c, S_CS, cs);
    c->rip = ip;
    x86_update_mode(c);
}

/* ---- protected and long mode ---- */

typedef struct Target {         /* where a gate leads, checked */
    Desc cs;
    uint16_t sel;
    uint64_t rip;
    unsigned dpl;               /* new CPL */
    bool inner;                 /* to a more privileged level (or out of v86) */
    bool trap;                  /* IF stays */
    unsigned size;              /* of a stack slot */
    unsigned ist;
} Target;

static void check_code(X86Cpu *c, Target *t, unsigned ext)
{
    unsigned cpl = x86_cpl(c);

    if (!(t->sel & ~3))
        x86_raise_err(c, EXC_GP, ext);
    if (!x86_desc_read(c, t->sel, &t->cs) || !desc_is_code(&t->cs) || desc_dpl(&t->cs) > cpl)
        x86_raise_err(c, EXC_GP, (t->sel & ~3u) | ext);
    if (x86_long(c) && (t->cs.hi & (SEG_L | SEG_DB)) != SEG_L)
        x86_raise_err(c, EXC_GP, (t->sel & ~3u) | ext);
    if (!desc_present(&t->cs))
        x86_raise_err(c, EXC_NP, (t->sel & ~3u) | ext);
    t->inner = !(t->cs.hi & SEG_CONF) && desc_dpl(&t->cs) < cpl;
    t->dpl = t->inner ? desc_dpl(&t->cs) : cpl;
    if ((c->mode & MODE_VM86) && (!t->inner || t->dpl != 0))
        x86_raise_err(c, EXC_GP, (t->sel & ~3u) | ext);
}

/* Reads and checks the gate. True: it was a task gate and the switch is done. */
static bool open_gate(X86Cpu *c, const X86Exception *e, Target *t, unsigned ext)
{
    unsigned width = x86_long(c) ? 16 : 8;
    uint32_t code = (uint32_t)e->vector * 8 + 2;
    Desc g = { .lin = c->idtr.base + (uint32_t)e->vector * width };
    unsigned type;

    if ((uint32_t)e->vector * width + width - 1 > c->idtr.limit)
        x86_raise_err(c, EXC_GP, code | ext);
    if (!x86_long(c))
        g.lin = (uint32_t)g.lin;
    g.lo = (uint32_t)x86_ld_sys(c, g.lin, 4);
    g.hi = (uint32_t)x86_ld_sys(c, g.lin + 4, 4);
    type = desc_type(&g);
    if (desc_s(&g) || (x86_long(c) ? type != SYS_INT32 && type != SYS_TRAP32
                                   : type != SYS_TASK && (type & 6) != 6))
        x86_raise_err(c, EXC_GP, code | ext);
    if (e->soft && desc_dpl(&g) < x86_cpl(c))
        x86_raise_err(c, EXC_GP, code);
    if (!desc_present(&g))
        x86_raise_err(c, EXC_NP, code | ext);
    if (type == SYS_TASK) {
        uint16_t sel = gate_sel(&g);
        Desc d;

        if ((sel & 4) || !x86_desc_read_sys(c, sel, &d))
            x86_raise_err(c, EXC_GP, (sel & ~3u) | ext);
        x86_task_switch(c, sel, &d, TASK_CALL, e->has_error, e->error, ext);
        return true;
    }
    t->sel = gate_sel(&g);
    t->trap = type & 1;
    t->size = x86_long(c) ? 8 : type & 8 ? 4 : 2;
    t->rip = t->size == 2 ? g.lo & 0xffff : gate_offset(&g);
    if (t->size == 8) {
        t->rip |= (uint64_t)x86_ld_sys(c, g.lin + 8, 4) << 32;
        t->ist = g.hi & 7;
    }
    check_code(c, t, ext);
    return false;
}

/* The stack the handler starts on. */
static Stack new_stack(X86Cpu *c, const Target *t, unsigned ext)
{
    X86Seg ss;
    uint16_t sel;
    uint32_t sp;

    if (x86_long(c)) {
        uint64_t rsp = c->gpr[R_RSP];

        if (t->ist || t->inner)
            rsp = x86_tss_rsp(c, t->dpl, t->ist, ext);
        return x86_stack_on(c, &c->seg[S_SS], rsp & ~15ull, t->dpl, true, ext);
    }
    if (!t->inner)
        return x86_stack_on(c, &c->seg[S_SS], c->gpr[R_RSP], t->dpl, false, ext);
    x86_tss_stack(c, t->dpl, &sel, &sp, ext);
    ss = x86_seg_check_ss(c, sel, t->dpl, ext, EXC_TS);
    return x86_stack_on(c, &ss, sp, t->dpl, false, (sel & ~3u) | ext);
}

/* Long mode: the whole frame at once, when it lies in one page that may be written plainly. */
static bool push_frame_fast(X86Cpu *c, Stack *s, const X86Exception *e)
{
    unsigned n = e->has_error ? 6 : 5;
    uint64_t lin = s->sp - 8 * n;
    const TlbEntry *t = &c->tlb[s->bank][tlb_index(lin)];
    uint64_t off = lin ^ t->tag_w;
    uint8_t *f = (uint8_t *)(uintptr_t)(t->host_page + off);

    if (off > TLB_PAGE - 8 * n)
        return false;
    if (e->has_error) {
        st64_le(f, e->error);
        f += 8;
    }
    st64_le(f, c->rip);
    st64_le(f + 8, c->seg[S_CS].sel);
    st64_le(f + 16, flags_image(c, e));
    st64_le(f + 24, c->gpr[R_RSP]);
    st64_le(f + 32, c->seg[S_SS].sel);
    s->sp = lin;
    return true;
}

static void push_frame(X86Cpu *c, Stack *s, const Target *t, const X86Exception *e)
{
    static const uint8_t order[] = { S_GS, S_FS, S_DS, S_ES };

    if (t->size == 8 && push_frame_fast(c, s, e))
        return;

    if (c->mode & MODE_VM86)
        for (unsigned i = 0; i < sizeof order; i++)
            x86_stack_push(c, s, t->size, c->seg[order[i]].sel);
    if (t->inner || t->size == 8) {
        x86_stack_push(c, s, t->size, c->seg[S_SS].sel);
        x86_stack_push(c, s, t->size, c->gpr[R_RSP]);
    }
    x86_stack_push(c, s, t->size, flags_image(c, e));
    x86_stack_push(c, s, t->size, c->seg[S_CS].sel);
    x86_stack_push(c, s, t->size, c->rip);
    if (e->has_error)
        x86_stack_push(c, s, t->size, e->error);
}

static void deliver_gate(X86Cpu *c, const X86Exception *e)
{
    unsigned ext = !e->soft;
    Target t = { 0 };
    Stack s;

    if (open_gate(c, e, &t, ext))
        return;
    s = new_stack(c, &t, ext);
    push_frame(c, &s, &t, e);
    if (!x86_rip_ok(c, &t.cs, t.rip))
        x86_raise_err(c, EXC_GP, ext);
    x86_desc_mark_accessed(c, &t.cs);

    if (c->mode & MODE_VM86)
        for (unsigned r = 0; r < S_LDTR; r++)
            if (r != S_CS && r != S_SS)
                x86_seg_set_null(c, r, 0, 0);
    if (t.inner) {
        if (x86_long(c))
            x86_seg_set_null(c, S_SS, (uint16_t)t.dpl, t.dpl);
        else
            c->seg[S_SS] = s.ss;
    }
    x86_stack_commit(c, &s);
    x86_cs_set(c, t.sel, &t.cs, t.dpl);
    c->rip = t.rip;
    c->eflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM | (t.trap ? 0 : FL_IF));
    x86_update_mode(c);
}

/* ---- VM86 extensions: INT n through the redirection bitmap (SDM vol. 3, 20.3.3) ---- */

/* True when software interrupt n of a VME v86 task goes to its own real-mode vector table. */
static bool vme_redirects(X86Cpu *c, unsigned n)
{
    const X86Seg *tr = &c->seg[S_TR];
    uint32_t map;

    if (!(c->cr4 & CR4_VME) || tr->limit < 0x67 || !(SEG_TYPE(tr->attr) & 8))
        return false;
    map = (uint32_t)x86_ld_sys(c, tr->base + 0x66, 2);
    if (map < 32 || map - 32 + n / 8 > tr->limit)
        return false;
    return !(x86_ld_sys(c, tr->base + map - 32 + n / 8, 1) >> (n % 8) & 1);
}

static void deliver_vme(X86Cpu *c, const X86Exception *e)
{
    Stack s = x86_stack_current(c);
    uint32_t f = (uint32_t)x86_get_rflags(c);
    bool virt = (f & FL_IOPL) != FL_IOPL;
    uint16_t ip = x86_ldb16(c, (uint32_t)e->vector * 4, TLB_U);
    uint16_t cs = x86_ldb16(c, (uint32_t)e->vector * 4 + 2, TLB_U);

    if (virt)
        f = (f & ~FL_IF) | FL_IOPL | (f & FL_VIF ? FL_IF : 0);
    x86_stack_push(c, &s, 2, f);
    x86_stack_push(c, &s, 2, c->seg[S_CS].sel);
    x86_stack_push(c, &s, 2, c->rip);
    x86_stack_commit(c, &s);
    c->eflags &= ~(FL_TF | FL_NT | FL_RF | (virt ? FL_VIF : FL_IF));
    x86_seg_set_real(c, S_CS, cs);
    c->rip = ip;
    x86_update_mode(c);
}

static void deliver_once(X86Cpu *c, const X86Exception *e)
{
    if (!(c->cr0 & CR0_PE)) {
        deliver_real(c, e);
        return;
    }
    if (e->intn && (c->mode & MODE_VM86)) {
        if (vme_redirects(c, (unsigned)e->vector)) {
            deliver_vme(c, e);
            return;
        }
        if ((c->eflags & FL_IOPL) != FL_IOPL)
            x86_raise_err(c, EXC_GP, 0);
    }
    deliver_gate(c, e);
}

static void log_delivery(X86Cpu *c, const X86Exception *e)
{
    static const char *const names[] = { "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "v9",
        "#TS", "#NP", "#SS", "#GP", "#PF", "v15", "#MF", "#AC", "#MC", "#XM" };
    const char *what = e->external ? "irq" : e->soft ? "int" : (size_t)e->vector < ARRAY_LEN(names) ? names[e->vector] : "exc";

    log_printf("cpu%d: %s v=%02x e=%04x cpl=%u cs:ip=%04x:%016" PRIx64 " sp=%04x:%016" PRIx64 " cr2=%016" PRIx64
               " rax=%016" PRIx64 " efl=%08" PRIx64 " mode=%x\n", c->vcpu.index, what, e->vector, e->error,
               x86_cpl(c), c->seg[S_CS].sel, c->rip, c->seg[S_SS].sel, c->gpr[R_RSP], c->cr2, c->gpr[R_RAX],
               x86_get_rflags(c), c->mode);
}

bool x86_shutdown(X86Cpu *c)
{
    log_guest("cpu%d: triple fault at %04x:%016" PRIx64 ", cr3 %016" PRIx64 "\n", c->vcpu.index,
              c->seg[S_CS].sel, c->rip, c->cr3);
    if (log_on(LOG_INT))
        log_printf("cpu%d: shutdown\n", c->vcpu.index);
    c->exc.vector = -1;
    c->vcpu.halted = true;
    c->vcpu.exit_reason = VCPU_EXIT_TRIPLE_FAULT;
    machine_request_reset(c->vcpu.machine, CAUSE_TRIPLE_FAULT);
    return false;
}

/* What a fault during delivery of e becomes. False: shutdown. */
static bool combine(X86Exception *e, const X86Exception *next)
{
    bool hard = !e->soft && !e->external;

    if (hard && e->vector == EXC_DF)
        return false;
    if (hard && ((contributory(e->vector) && contributory(next->vector)) ||
                 (e->vector == EXC_PF && (contributory(next->vector) || next->vector == EXC_PF))))
        *e = (X86Exception) { .vector = EXC_DF, .has_error = true };
    else
        *e = *next;
    return true;
}

bool x86_deliver(X86Cpu *c)
{
    X86Exception e = c->exc;             /* in memory: its address is taken */
    const X86Insn *insn = c->insn;
    uint64_t rip = c->rip;
    uint16_t task = c->seg[S_TR].sel;
    volatile unsigned depth;
    sigjmp_buf outer;

    memcpy(&outer, &c->vcpu.unwind, sizeof outer);
    c->in_exception_delivery = true;
    c->no_step = e.soft && (c->mode & MODE_STEP);
    c->mode &= ~MODE_SHADOW;
    for (depth = 0;; depth++) {
        if (G_UNLIKELY(log_on(LOG_INT)))
            log_delivery(c, &e);
        if (!sigsetjmp(c->vcpu.unwind, 0)) {
            x86_debug_before_delivery(c, &e);
            deliver_once(c, &e);
            break;
        }
        /* Only what did not change since sigsetjmp, or lives in memory, is used from here on. */
        if (e.soft && depth == 0 && insn && c->seg[S_TR].sel == task)
            c->rip = rip - insn->len;
        if (!combine(&e, &c->exc) || depth == 8) {
            memcpy(&c->vcpu.unwind, &outer, sizeof outer);
            c->in_exception_delivery = false;
            return x86_shutdown(c);
        }
    }
    memcpy(&c->vcpu.unwind, &outer, sizeof outer);
    c->in_exception_delivery = false;
    c->exc.vector = -1;
    x86_attend(c);
    if (G_UNLIKELY(c->mode & MODE_TF))
        x86_debug_fetch(c);
    return true;
}

/* ---- events between instructions ---- */

static bool intr_open(const X86Cpu *c)
{
    return (c->eflags & FL_IF) && !(c->mode & MODE_SHADOW);
}

bool x86_irq_deliverable(const X86Cpu *c)
{
    uint32_t irq = atomic_load_explicit(&((X86Cpu *)c)->vcpu.irq, memory_order_acquire);

    if (c->wait_sipi)
        return irq & (VCPU_IRQ_SIPI | VCPU_IRQ_INIT | VCPU_IRQ_POLL);
    if (irq & (VCPU_IRQ_INIT | VCPU_IRQ_POLL | VCPU_IRQ_MCE))
        return true;
    if ((irq & VCPU_IRQ_SMI) && !c->smm)
        return true;
    if ((irq & VCPU_IRQ_NMI) && !c->nmi_masked)
        return true;
    return (irq & VCPU_IRQ_INTR) && intr_open(c);
}

static bool deliver_event(X86Cpu *c, int vector, bool external)
{
    c->vcpu.halted = false;
    c->mwait_addr = ~0ull;
    c->insn = &x86_no_insn;
    c->exc = (X86Exception) { .vector = vector, .external = external };
    x86_deliver(c);
    return true;
}

static bool take(X86Cpu *c, uint32_t bit)
{
    return atomic_fetch_and_explicit(&c->vcpu.irq, ~bit, memory_order_acq_rel) & bit;
}

static int ack(X86Cpu *c)
{
    bool held = machine_lock_held();
    int v;

    if (!held)
        machine_lock();
    v = c->apic_ops ? c->apic_ops->ack(c) : -1;
    if (!held)
        machine_unlock();
    return v;
}

static void poll(X86Cpu *c)
{
    bool held = machine_lock_held();

    if (!c->apic_ops || !c->apic_ops->poll)
        return;
    if (!held)
        machine_lock();
    c->apic_ops->poll(c);
    if (!held)
        machine_unlock();
}

static bool start_ap(X86Cpu *c)
{
    if (!take(c, VCPU_IRQ_SIPI) || !c->wait_sipi)
        return false;
    c->wait_sipi = false;
    c->vcpu.halted = false;
    c->seg[S_CS].sel = (uint16_t)(c->vcpu.sipi_vector << 8);
    c->seg[S_CS].base = (uint32_t)c->vcpu.sipi_vector << 12;
    c->rip = 0;
    x86_update_mode(c);
    return true;
}

/* What another engine had begun to deliver when it saved its state. */
static bool deliver_held(X86Cpu *c)
{
    const X86Held h = c->held;

    c->held.valid = false;
    c->insn = &x86_no_insn;
    c->vcpu.halted = false;
    c->exc = (X86Exception) { .vector = h.vector, .error = h.error, .has_error = h.has_error, .soft = h.soft,
                              .external = h.external };
    x86_deliver(c);
    return true;
}

bool x86_service(X86Cpu *c)
{
    uint32_t irq = atomic_load_explicit(&c->vcpu.irq, memory_order_acquire);

    if (c->held.valid)
        return deliver_held(c);
    if (c->db_pending)
        return x86_debug_trap(c);
    if (!irq)
        return false;
    if ((irq & VCPU_IRQ_POLL) && take(c, VCPU_IRQ_POLL)) {
        poll(c);
        irq = atomic_load_explicit(&c->vcpu.irq, memory_order_acquire);
    }
    if ((irq & VCPU_IRQ_SMI) && !c->smm && !c->wait_sipi && take(c, VCPU_IRQ_SMI)) {
        x86_smm_enter(c);
        return true;
    }
    if ((irq & VCPU_IRQ_INIT) && !c->smm && take(c, VCPU_IRQ_INIT)) {
        c->vcpu.ops->init_reset(&c->vcpu);
        return true;
    }
    if ((irq & VCPU_IRQ_SIPI) && start_ap(c))
        return true;
    if (c->wait_sipi)
        return false;
    if ((irq & VCPU_IRQ_MCE) && take(c, VCPU_IRQ_MCE) && (c->cr4 & CR4_MCE))
        return deliver_event(c, EXC_MC, false);
    if ((irq & VCPU_IRQ_NMI) && !c->nmi_masked && !(c->mode & MODE_SHADOW) && take(c, VCPU_IRQ_NMI)) {
        c->nmi_masked = true;
        return deliver_event(c, EXC_NMI, true);
    }
    if ((irq & VCPU_IRQ_INTR) && intr_open(c)) {
        int v = ack(c);

        if (v >= 0)
            return deliver_event(c, v, true);
    }
    return false;
}
