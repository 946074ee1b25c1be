/*
 * difftest_engine: a case on an engine: a small long-mode system whose handlers halt.
 *
 * Kernel pages live in the upper half: IDT with a gate per vector to a HLT, GDT with Linux's user
 * selectors, TSS with a stack. What the exception frame holds is the result of the case.
 */
#include "tests/cpu/difftest.h"

#include "softmmu/accel.h"
#include "target/x86/mem.h"
#include "util/bytes.h"

#define KERNEL 0xffff800000000000ULL
enum {                          /* physical layout */
    PA_PML4 = 0x1000, PA_PDPT_LO = 0x2000, PA_PD_LO = 0x3000, PA_PT_CODE = 0x4000, PA_PT_ARENA = 0x5000,
    PA_PDPT_HI = 0x6000, PA_PD_HI = 0x7000, PA_PT_HI = 0x8000,
    PA_CODE = 0x10000, PA_ARENA = 0x20000, PA_KERNEL = 0x30000,
    K_IDT = 0, K_GDT = 0x1000, K_TSS = 0x2000, K_HANDLERS = 0x3000, K_STACK_TOP = 0x6000, K_PAGES = 6,
    RAM_SIZE = 0x100000,
};
enum { SEL_KCS = 0x10, SEL_KDS = 0x18, SEL_UCS32 = 0x23, SEL_UDS = 0x2b, SEL_UCS64 = 0x33, SEL_TSS = 0x40 };

struct DtEngine {
    Machine *m;
    X86Cpu *c;
    const Accel *accel;         /* NULL: step */
    Region ram_region;
    RamBlock *ram;
};

static void put_pt(DtEngine *e, unsigned pa, unsigned index, uint64_t v) { st64_le(e->ram->host + pa + 8 * index, v); }

static void build_page_tables(DtEngine *e)
{
    unsigned i;

    put_pt(e, PA_PML4, 0, PA_PDPT_LO | 7);
    put_pt(e, PA_PDPT_LO, 0, PA_PD_LO | 7);
    put_pt(e, PA_PD_LO, DT_CODE >> 21, PA_PT_CODE | 7);
    put_pt(e, PA_PD_LO, DT_ARENA >> 21, PA_PT_ARENA | 7);
    for (i = 0; i < DT_CODE_SIZE >> 12; i++)
        put_pt(e, PA_PT_CODE, i, (PA_CODE + (i << 12)) | 5);
    for (i = 0; i < DT_ARENA_SIZE >> 12; i++)
        put_pt(e, PA_PT_ARENA, i, (PA_ARENA + (i << 12)) | (i < DT_RW_SIZE >> 12 ? 7 : 5));
    put_pt(e, PA_PML4, 256, PA_PDPT_HI | 3);
    put_pt(e, PA_PDPT_HI, 0, PA_PD_HI | 3);
    put_pt(e, PA_PD_HI, 0, PA_PT_HI | 3);
    for (i = 0; i < K_PAGES; i++)
        put_pt(e, PA_PT_HI, i, (PA_KERNEL + (i << 12)) | 3);
}

static void build_tables(DtEngine *e)
{
    uint8_t *k = e->ram->host + PA_KERNEL;
    unsigned i;

    for (i = 0; i < 256; i++) {
        uint64_t h = KERNEL + K_HANDLERS + 16 * i;
        uint8_t *g = k + K_IDT + 16 * i;

        st16_le(g, h);
        st16_le(g + 2, SEL_KCS);
        st16_le(g + 4, (i == 3 || i == 4 ? 0xee00 : 0x8e00));
        st16_le(g + 6, h >> 16);
        st32_le(g + 8, h >> 32);
        k[K_HANDLERS + 16 * i] = 0xf4;          /* HLT */
    }
    st64_le(k + K_GDT + SEL_KCS, 0x00af9b000000ffffULL);
    st64_le(k + K_GDT + SEL_KDS, 0x00cf93000000ffffULL);
    st64_le(k + K_GDT + (SEL_UCS32 & ~7), 0x00cffb000000ffffULL);
    st64_le(k + K_GDT + (SEL_UDS & ~7), 0x00cff3000000ffffULL);
    st64_le(k + K_GDT + (SEL_UCS64 & ~7), 0x00affb000000ffffULL);
    st64_le(k + K_TSS + 4, KERNEL + K_STACK_TOP);
    st16_le(k + K_TSS + 102, 0x68);
}

static X86Seg user_seg(uint16_t sel, uint64_t desc)
{
    return (X86Seg) { .sel = sel, .limit = 0xffffffff, .attr = desc >> 32 & 0xf0ff00 };
}

static void enter_user(DtEngine *e, const DtCase *k)
{
    X86Cpu *c = e->c;

    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    c->cr3 = PA_PML4;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PGE;
    c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    c->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    c->gdtr = (X86Table) { KERNEL + K_GDT, 0xfff };
    c->idtr = (X86Table) { KERNEL + K_IDT, 0xfff };
    c->seg[S_TR] = (X86Seg) { .base = KERNEL + K_TSS, .limit = 0x67, .attr = 0x8b00, .sel = SEL_TSS };
    c->seg[S_CS] = k->compat ? user_seg(SEL_UCS32, 0x00cffb000000ffffULL) : user_seg(SEL_UCS64, 0x00affb000000ffffULL);
    c->seg[S_SS] = c->seg[S_DS] = c->seg[S_ES] = user_seg(SEL_UDS, 0x00cff3000000ffffULL);
    c->seg[S_FS] = c->seg[S_GS] = user_seg(0, 0x00cff3000000ffffULL);
    c->vcpu.halted = false;
    c->vcpu.stopped = c->vcpu.stop_request = false;
    c->in_exception_delivery = false;
    c->exc.vector = -1;
    c->cr2 = 0;
}

static void load_regs(X86Cpu *c, const DtRegs *r)
{
    unsigned i;

    memcpy(c->gpr, r->gpr, sizeof c->gpr);
    c->rip = r->rip;
    x86_set_rflags(c, r->rflags | FL_IF);
    c->mxcsr = r->mxcsr;
    c->x87.cw = r->cw;
    c->x87.sw = r->sw & ~0x3800;
    c->x87.top = r->sw >> 11 & 7;
    c->x87.empty = ~r->tags;
    c->x87.fop = r->fop;
    c->x87.fip = r->fip;
    c->x87.fdp = r->fdp;
    c->x87.fcs = c->x87.fds = 0;
    for (i = 0; i < 8; i++)
        c->x87.r[(c->x87.top + i) & 7] = (X86Fp80) { .mant = r->st[i].mant, .se = r->st[i].se };
    for (i = 0; i < 16; i++) {
        memset(&c->vec[i], 0, sizeof c->vec[i]);
        memcpy(&c->vec[i], r->ymm[i], 32);
    }
    x86_update_mode(c);
}

static void save_regs(const X86Cpu *c, DtRegs *r)
{
    unsigned i;

    memcpy(r->gpr, c->gpr, sizeof c->gpr);
    r->mxcsr = c->mxcsr;
    r->cw = c->x87.cw;
    r->sw = (c->x87.sw & ~0x3800) | c->x87.top << 11;
    r->tags = ~c->x87.empty;
    r->fop = c->x87.fop;
    r->fip = c->x87.fip;
    r->fdp = c->x87.fdp;
    for (i = 0; i < 8; i++) {
        r->st[i].mant = c->x87.r[(c->x87.top + i) & 7].mant;
        r->st[i].se = c->x87.r[(c->x87.top + i) & 7].se;
    }
    for (i = 0; i < 16; i++)
        memcpy(r->ymm[i], &c->vec[i], 32);
}

/* The frame the exception pushed tells where and why the sequence ended. */
static void take_frame(DtEngine *e, DtResult *r)
{
    X86Cpu *c = e->c;
    uint64_t sp = c->gpr[R_RSP] - KERNEL;
    const uint8_t *f;

    r->vector = -1;
    if (c->rip < KERNEL + K_HANDLERS || c->rip >= KERNEL + K_HANDLERS + 0x1000 || sp > K_STACK_TOP - 40)
        return;
    r->vector = (c->rip - KERNEL - K_HANDLERS) / 16;
    f = e->ram->host + PA_KERNEL + sp;
    if (sp == K_STACK_TOP - 48) {
        r->error = ld64_le(f);
        f += 8;
    } else {
        r->error = 0;
    }
    r->out.rip = ld64_le(f);
    r->out.rflags = ld64_le(f + 16);
    r->out.gpr[R_RSP] = ld64_le(f + 24);
    r->cr2 = c->cr2;
}

static void step_until_halt(X86Cpu *c)
{
    X86Insn insn;
    volatile unsigned budget = 100000;

    if (sigsetjmp(c->vcpu.unwind, 0) == UNWIND_EXCEPTION) {
        if (!c->exc.soft && !c->exc.external)
            c->rip -= c->insn->len;
        if (!x86_deliver(c))
            return;
    }
    while (!c->vcpu.halted && x86_cpl(c) == 3 && --budget) {
        X86Fetch f;
        uint8_t bytes[16];
        unsigned n = 4096 - (c->rip & 4095), got;

        c->insn = &x86_no_insn;
        f = x86_fetch_page(c, c->rip);
        got = n < 15 ? n : 15;
        memcpy(bytes, f.host + (c->rip & 4095), got);
        if (x86_decode(bytes, got, c->mode, c->model, &insn) == DECODE_MORE) {
            f = x86_fetch_page(c, c->rip + got);
            memcpy(bytes + got, f.host, 15 - got);
            x86_decode(bytes, 15, c->mode, c->model, &insn);
        }
        c->insn = &insn;
        c->rip += insn.len;
        insn.fn(c, &insn);
    }
}

void dt_engine_run(DtEngine *e, const DtCase *k, DtResult *r, const uint8_t *pool)
{
    RamBlock *rb = e->ram;
    unsigned spins = 0;

    memcpy(rb->host + PA_ARENA, pool + k->pool, DT_ARENA_SIZE);
    memset(rb->host + PA_CODE, 0xcc, DT_CODE_SIZE);
    memcpy(rb->host + PA_CODE + k->code_off, k->code, k->len + 1);
    ram_mark_written(rb, PA_CODE, DT_CODE_SIZE);
    enter_user(e, k);
    load_regs(e->c, &k->in);
    if (!(k->pool & 0x30))      /* now and then accesses miss the TLB first */
        x86_tlb_flush_all(e->c);
    if (e->accel) {
        while (!e->c->vcpu.halted && spins++ < 100)
            e->accel->run(&e->c->vcpu);
    } else {
        step_until_halt(e->c);
    }
    save_regs(e->c, &r->out);
    take_frame(e, r);
    memcpy(r->mem, rb->host + PA_ARENA, DT_RW_SIZE);
}

DtEngine *dt_engine_new(const char *name, const X86Model *model, GError **err)
{
    DtEngine *e = g_new0(DtEngine, 1);

    machine_lock();
    e->m = machine_new(true);
    e->ram = ram_block_new("ram", RAM_SIZE, err);
    if (!e->ram)
        goto fail;
    region_init_ram(&e->ram_region, "ram", e->ram, 0, RAM_SIZE);
    region_add(&e->m->mem_root, &e->ram_region, 0, 0);
    if (strcmp(name, "step")) {
        g_autoptr(GHashTable) opts = g_hash_table_new(g_str_hash, g_str_equal);

        g_hash_table_insert(opts, (char *)"exact", (char *)"on");        /* jit: flags at faults too */
        g_hash_table_insert(opts, (char *)"threshold", (char *)"0");
        e->accel = e->m->accel = accel_find(name);
        if (!e->accel) {
            err_set(err, "no engine '%s'", name);
            goto fail;
        }
        if (e->accel->create && !e->accel->create(e->m, opts, err))
            goto fail;
    }
    e->c = x86_cpu_new(e->m, model, 0, err);
    if (!e->c)
        goto fail;
    g_ptr_array_remove(e->m->vcpus, e->c);
    if (!vcpu_attach(e->m, &e->c->vcpu, err))
        goto fail;
    build_page_tables(e);
    build_tables(e);
    machine_unlock();
    return e;
fail:
    machine_unlock();
    g_free(e);
    return NULL;
}

void dt_engine_free(DtEngine *e)
{
    /* The process ends soon, and the machine, which goes on, still knows the region inside e. */
}
