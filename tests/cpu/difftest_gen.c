/*
 * difftest_gen: random instruction sequences from the rows of insns.def, and interesting data.
 */
#include "tests/cpu/difftest.h"

#include "util/bytes.h"

struct DtGen {
    const X86Model *model;
    DtOptions o;
    uint16_t *rows;             /* the ones to choose from */
    unsigned n_rows;
    uint64_t s[2];              /* xorshift128+ state */
    uint8_t *pool;
};

/* ---- random values ---- */

static uint64_t next64(DtGen *g)
{
    uint64_t a = g->s[0], b = g->s[1];

    g->s[0] = b;
    a ^= a << 23;
    g->s[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return g->s[1] + b;
}
static unsigned below(DtGen *g, unsigned n) { return (next64(g) >> 16) % n; }
static bool chance(DtGen *g, unsigned one_in) { return below(g, one_in) == 0; }
static void reseed(DtGen *g, uint64_t n)
{
    unsigned i;

    g->s[0] = (g->o.seed * 0x9e3779b97f4a7c15ULL) ^ (n * 0xbf58476d1ce4e5b9ULL) ^ 0x1234567;
    g->s[1] = n ^ 0x94d049bb133111ebULL;
    for (i = 0; i < 8; i++)
        next64(g);
}

static uint32_t value_f32(DtGen *g)
{
    static const uint32_t k[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000,
        0x7f800001, 0xff923456, 0x7fe12345, 1, 0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff, 0xff7fffff,
        0x40000000, 0x3fc00000, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0x34000000, 0x3effffff, 0x3f000000 };

    switch (below(g, 6)) {
    case 0: return k[below(g, G_N_ELEMENTS(k))];
    case 1: return next64(g);
    case 2: return next64(g) & 0x807fffff;                      /* denormal */
    case 3: return (next64(g) & 0x80ff0000) | (110 + below(g, 40)) << 23;      /* few bits, near 1 */
    default: return (next64(g) & 0x807fffff) | (110 + below(g, 40)) << 23;
    }
}
static uint64_t value_f64(DtGen *g)
{
    static const uint64_t k[] = { 0, 1ULL << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000,
        0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001, 0xfff4567812345678, 0x7ffabcdef0123456, 1, 0x000fffffffffffff,
        0x0010000000000000, 0x7fefffffffffffff, 0x4000000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000200000,
        0x43e0000000000000, 0xc3e0000000000000, 0x43dfffffffffffff, 0x47efffffe0000000, 0x47efffffefffffff, 0x3810000000000000,
        0x380fffffffffffff, 0x36a0000000000000, 0x3fe0000000000000, 0x3fdfffffffffffff };

    switch (below(g, 6)) {
    case 0: return k[below(g, G_N_ELEMENTS(k))];
    case 1: return next64(g);
    case 2: return next64(g) & 0x800fffffffffffffULL;
    case 3: return (next64(g) & 0x800f000000000000ULL) | (uint64_t)(1000 + below(g, 50)) << 52;
    case 4: return (next64(g) & 0x800fffffffffffffULL) | (uint64_t)(860 + below(g, 300)) << 52;
    default: return (next64(g) & 0x800fffffffffffffULL) | (uint64_t)(1000 + below(g, 50)) << 52;
    }
}
static uint64_t value_int(DtGen *g)
{
    switch (below(g, 6)) {
    case 0: return below(g, 20);
    case 1: return -(uint64_t)below(g, 20);
    case 2: return 1ULL << below(g, 64);
    case 3: return ~(1ULL << below(g, 64));
    case 4: return (uint32_t)next64(g);
    default: return next64(g);
    }
}
static void value_x80(DtGen *g, uint64_t *mant, uint16_t *se)
{
    Fp a;

    switch (below(g, 8)) {
    case 0: *mant = next64(g); *se = next64(g); return;         /* anything, unsupported forms too */
    case 1: *mant = next64(g) | 1ULL << 63; *se = next64(g); return;
    case 2: *mant = chance(g, 2) ? 1ULL << 63 : next64(g) | 1ULL << 63; *se = 0x7fff | (next64(g) & 0x8000); return;
    case 3: *mant = next64(g) >> below(g, 64); *se = next64(g) & 0x8000; return;
    case 4: a = fp_from_f64(value_f64(g)); break;
    case 5: a = fp_from_i64(value_int(g)); break;
    default:
        *mant = next64(g) | 1ULL << 63;
        *se = (next64(g) & 0x8000) | (0x3fff - 34 + below(g, 68));
        return;
    }
    *mant = fp_to_x80(a).mant;
    *se = fp_to_x80(a).se;
}
static uint64_t value64(DtGen *g)
{
    uint64_t m;
    uint16_t se;

    switch (below(g, 5)) {
    case 0: return value_f32(g) | (uint64_t)value_f32(g) << 32;
    case 1: return value_f64(g);
    case 2: value_x80(g, &m, &se); return m;
    case 3: return (uint64_t)below(g, 64) << 32 | below(g, 64);
    default: return value_int(g);
    }
}
/* A pointer into the arena, often near a border. */
static uint64_t pointer(DtGen *g)
{
    unsigned off;

    switch (below(g, 12)) {
    case 0: off = below(g, 64); break;
    case 1: off = 0x1000 - 48 + below(g, 64); break;
    case 2: off = 0x2000 - 48 + below(g, 64); break;
    case 3: off = 0x3000 - 48 + below(g, 64); break;
    default: off = below(g, DT_RW_SIZE);
    }
    return DT_ARENA + (chance(g, 3) ? off : off & ~31u);
}

/* ---- choosing rows ---- */

static const char *const never[] = {    /* leave user mode, or depend on what is not modelled alike */
    "(bad)", "(nm)", "int", "int1", "int3", "into", "hlt", "syscall", "sysenter", "sysexit", "sysret", "cpuid", "rdtsc", "rdtscp",
    "rdrand", "rdseed", "rdpid", "rdpmc", "sgdt", "sidt", "sldt", "str", "smsw", "lar", "lsl", "verr", "verw", "rdfsbase", "rdgsbase",
    "wrfsbase", "wrgsbase", "popf", "iret", "retf", "xgetbv", "monitor", "mwait", "monitorx", "mwaitx", "clzero", "in", "out", "ins",
    "outs", "cli", "sti", "lfs", "lgs", "lss", "lds", "les", "arpl", "ud0", "ud1", "ud2",
    "rdsspq", "serialize", "invd", "vmcall", "vmmcall", "clflush", "clflushopt", "clwb", "enter", NULL
};

const char *const dt_x87_functions[] = { "f2xm1", "fyl2x", "fyl2xp1", "fpatan", "fsin", "fcos", "fsincos", "fptan", NULL };
/* These store MXCSR_MASK, in which AMD has bit 17. */
const char *const dt_mask_stores[] = { "fxsave", "xsave", "xsavec", "xsaveopt", NULL };
const char *const dt_approximations[] = { "rcpps", "rcpss", "rsqrtps", "rsqrtss", "vrcpps", "vrcpss", "vrsqrtps", "vrsqrtss", NULL };

static const char *class_of(const X86Row *r)
{
    return r->cls & CL_AVX ? "avx" : r->cls & CL_MMX ? "mmx" : r->cls & CL_SSE ? "sse" : r->cls & CL_X87 ? "x87" : "int";
}

static bool row_wanted(const DtGen *g, const X86Row *r)
{
    unsigned n;

    if (r->cls & (CL_PRIV | CL_IO | CL_BR) || g_strv_contains(never, r->mnemonic))
        return false;
    if (!x86_model_has(g->model, r->feat))
        return false;
    for (n = 0; n < 4; n++) {
        unsigned k = x86_opnds[r->ops[n]].kind;

        if (k == OK_SEG || k == OK_CR || k == OK_DR || k == OK_FAR)
            return false;
        if (r->ops[n] >= OPND_SegES && r->ops[n] <= OPND_SegGS)
            return false;
    }
    if (g->o.only && !g_str_has_prefix(r->mnemonic, g->o.only))
        return false;
    if (g->o.classes) {
        g_auto(GStrv) want = g_strsplit(g->o.classes, ",", 0);

        return g_strv_contains((const char *const *)want, class_of(r));
    }
    return true;
}

bool dt_gen_safe(const char *mnemonic)
{
    for (unsigned i = 0; i < x86_row_count; i++) {
        const X86Row *r = &x86_rows[i];

        if (!strcmp(r->mnemonic, mnemonic))
            return !(r->cls & (CL_PRIV | CL_IO | CL_BR | CL_STR)) && !g_strv_contains(never, mnemonic);
    }
    return false;
}

DtGen *dt_gen_new(const X86Model *model, const DtOptions *o)
{
    DtGen *g = g_new0(DtGen, 1);
    unsigned i;

    g->model = model;
    g->o = *o;
    g->rows = g_new(uint16_t, x86_row_count);
    for (i = 0; i < x86_row_count; i++) {
        if (row_wanted(g, &x86_rows[i]))
            g->rows[g->n_rows++] = i;
    }
    reseed(g, ~0ULL);
    g->pool = g_malloc(DT_POOL + DT_ARENA_SIZE);
    for (i = 0; i < (DT_POOL + DT_ARENA_SIZE) / 8; i++)
        st64_le(g->pool + 8 * i, value64(g));
    return g;
}
void dt_gen_free(DtGen *g)
{
    g_free(g->rows);
    g_free(g->pool);
    g_free(g);
}
const uint8_t *dt_gen_pool(DtGen *g) { return g->pool; }

/* ---- encoding ---- */

typedef struct Enc {
    uint8_t b[24];
    unsigned n;
} Enc;
static void put(Enc *e, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes && e->n < sizeof e->b; i++)
        e->b[e->n++] = v >> (8 * i);
}

typedef struct Form {           /* what the encoding of one row needs */
    const X86Row *r;
    bool modrm, memory, vsib, compat, p66, p67;
    unsigned w, l, rex;         /* rex: R X B as 4 2 1 */
    uint8_t reg, rm, index, vvvv, is4;
} Form;

static bool uses_modrm(const X86Row *r)
{
    unsigned n;

    if (r->ext != X_ANY)
        return true;
    for (n = 0; n < 4 && r->ops[n]; n++) {
        switch (x86_opnds[r->ops[n]].kind) {
        case OK_RM: case OK_REG: case OK_R: case OK_M: case OK_MMXREG: case OK_MMXRM: case OK_MMXR:
        case OK_XREG: case OK_XRM: case OK_XR: case OK_STI: return true;
        default: break;
        }
    }
    return false;
}
static bool has_kind(const X86Row *r, unsigned kind)
{
    unsigned n;

    for (n = 0; n < 4; n++) {
        if (r->ops[n] && x86_opnds[r->ops[n]].kind == kind)
            return true;
    }
    return false;
}

static bool memory_form(DtGen *g, const X86Row *r)
{
    switch (X_KIND(r->ext)) {
    case X_MEM: case X_M(0): return true;
    case X_REG: case X_R(0): case X_B(0): return false;
    }
    if (has_kind(r, OK_M))
        return true;
    if (has_kind(r, OK_R) || has_kind(r, OK_MMXR) || has_kind(r, OK_XR) || has_kind(r, OK_STI))
        return false;
    return chance(g, 2);
}

/* modrm, SIB and displacement of a memory operand. */
static void put_memory(DtGen *g, Enc *e, const Form *f, const DtCase *k)
{
    unsigned reg = (f->reg & 7) << 3, base = f->rm & 7, kind = below(g, 10);
    uint32_t target = pointer(g);
    unsigned full = base | (f->rex & 1) << 3;
    int64_t disp;

    if (f->p67 && f->compat) {                  /* 16-bit addressing: out of reach, faults */
        put(e, reg | 6, 1);
        put(e, next64(g), 2);
        return;
    }
    if (f->r && (!strncmp(f->r->mnemonic, "xs", 2) || !strncmp(f->r->mnemonic, "xr", 2))) {
        target = DT_ARENA + (target & 0xfc0);   /* images that fit and are aligned */
        kind = 0;
    }
    if (f->vsib || kind < 4) {                  /* absolute, perhaps with a (vector) index */
        put(e, reg | 4, 1);
        put(e, 5 | (f->vsib ? (f->index & 7) << 3 : 4 << 3) | (f->vsib ? below(g, 4) << 6 : 0), 1);
        put(e, target, 4);
        return;
    }
    if (kind == 4 && !f->compat) {              /* RIP-relative; the displacement is near enough */
        put(e, reg | 5, 1);
        put(e, below(g, 256) - 128, 4);
        return;
    }
    disp = target - k->in.gpr[full];
    if (kind < 7 && disp == (int32_t)disp) {    /* register and the displacement that leads into the arena */
        put(e, reg | 0x80 | base, 1);
        if (base == 4)
            put(e, 0x24, 1);
        put(e, disp, 4);
    } else if (kind == 7) {                     /* anything: base, index, scale, small displacement */
        put(e, reg | 0x44, 1);
        put(e, next64(g), 2);
    } else {
        put(e, reg | 0x40 | base, 1);
        if (base == 4)
            put(e, 0x24, 1);
        put(e, below(g, 3) ? 0 : next64(g), 1);
    }
}

static void put_immediates(DtGen *g, Enc *e, const Form *f)
{
    unsigned n, op = f->p66 && f->r->pfx != P_66 && !(f->r->cls & (CL_SSE | CL_AVX | CL_MMX)) ? 2 : f->w ? 8 : 4;

    if (f->r->lim & LIM_BYTE)
        op = 1;
    for (n = 0; n < 4 && f->r->ops[n]; n++) {
        const X86Opnd *o = &x86_opnds[f->r->ops[n]];

        switch (o->kind) {
        case OK_IMM: case OK_IMMS: case OK_IMM2: case OK_REL:
            if (o->size == OS_B)
                put(e, chance(g, 2) ? below(g, 20) : next64(g), 1);
            else
                put(e, value_int(g), o->size == OS_W ? 2 : o->size == OS_V ? (op == 1 ? 1 : op) : op == 2 ? 2 : 4);
            break;
        case OK_MOFFS: put(e, pointer(g), f->p67 == f->compat ? (f->compat ? 2 : 8) : 4); break;
        case OK_XIS4: put(e, f->is4 << 4, 1); break;
        default: break;
        }
    }
}

static void put_vex(Enc *e, const Form *f, unsigned map)
{
    static const uint8_t pp[] = { [P_ANY] = 0, [P_NP] = 0, [P_66] = 1, [P_F3] = 2, [P_F2] = 3, [P_NF] = 0 };
    unsigned p = (~f->vvvv & 15) << 3 | f->l << 2 | pp[f->r->pfx];

    if (map == MAP_V0F && !f->w && !(f->rex & 3) && (f->reg & 1)) {
        put(e, 0xc5, 1);
        put(e, (~f->rex & 4) << 5 | p, 1);
    } else {
        put(e, 0xc4, 1);
        put(e, (~f->rex & 7) << 5 | (map - MAP_V0F + 1), 1);
        put(e, f->w << 7 | p, 1);
    }
}

static void put_legacy(DtGen *g, Enc *e, Form *f)
{
    static const uint8_t prefix[] = { [P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2 };
    const X86Row *r = f->r;
    unsigned rex = f->rex | f->w << 3;

    if (f->p67)
        put(e, 0x67, 1);
    if (r->cls & CL_LOCK && f->memory && chance(g, 3))
        put(e, 0xf0, 1);
    if (r->cls & CL_STR && chance(g, 2))
        put(e, chance(g, 2) ? 0xf3 : 0xf2, 1);
    if (f->p66 && r->pfx != P_66)
        put(e, 0x66, 1);
    if (r->pfx == P_66 || r->pfx == P_F3 || r->pfx == P_F2)
        put(e, prefix[r->pfx], 1);
    if (!f->compat && (rex || chance(g, 4)))
        put(e, 0x40 | rex, 1);
    if (r->map != MAP_1)
        put(e, 0x0f, 1);
    if (r->map == MAP_38 || r->map == MAP_3A)
        put(e, r->map == MAP_38 ? 0x38 : 0x3a, 1);
}

static unsigned choose_bit(DtGen *g, uint32_t lim, uint32_t zero, uint32_t one)
{
    return lim & zero ? 0 : lim & one ? 1 : below(g, 2);
}

static void encode(DtGen *g, Enc *e, const X86Row *r, const DtCase *k)
{
    Form f = { .r = r, .compat = k->compat, .modrm = uses_modrm(r), .vsib = r->lim & LIM_VSIB };
    bool vex = r->map >= MAP_V0F;
    unsigned opcode = r->opcode;

    e->n = 0;
    f.memory = f.modrm && memory_form(g, r);
    f.w = k->compat && !vex ? 0 : choose_bit(g, r->lim, LIM_W0, LIM_W1);
    if (!vex && !(r->lim & (LIM_W0 | LIM_W1)) && (r->cls & (CL_X87 | CL_STACK)) && !chance(g, 8))
        f.w = 0;
    f.l = choose_bit(g, r->lim, LIM_L0, LIM_L1);
    f.rex = k->compat ? 0 : below(g, 8);
    f.reg = below(g, 8);
    f.rm = below(g, 8);
    f.index = below(g, 8);
    f.vvvv = has_kind(r, OK_XVV) || has_kind(r, OK_VV) ? below(g, k->compat ? 8 : 16) : 0;
    f.is4 = below(g, k->compat ? 8 : 16);
    f.p66 = (r->pfx == P_ANY || r->pfx == P_NF) && !vex && chance(g, 4);
    f.p67 = (f.memory || r->cls & CL_STR || has_kind(r, OK_MOFFS)) && !vex && chance(g, k->compat ? 40 : 12);
    if (X_KIND(r->ext) >= X_D(0) && X_KIND(r->ext) <= X_R(0))
        f.reg = r->ext & 7;
    if (vex)
        put_vex(e, &f, r->map);
    else
        put_legacy(g, e, &f);
    if (r->lim & LIM_PLUSR)
        opcode += f.rm;
    put(e, opcode, 1);
    if (X_KIND(r->ext) == X_B(0))
        put(e, r->ext & 0xff, 1);
    else if (f.memory)
        put_memory(g, e, &f, k);
    else if (f.modrm)
        put(e, 0xc0 | f.reg << 3 | f.rm, 1);
    put_immediates(g, e, &f);
}

/* ---- cases ---- */

static void random_regs(DtGen *g, DtCase *k)
{
    DtRegs *r = &k->in;
    unsigned i, j;

    memset(r, 0, sizeof *r);
    for (i = 0; i < 16; i++)
        r->gpr[i] = chance(g, 3) ? pointer(g) : value_int(g);
    for (i = R_RSP; i <= R_RDI; i++) {
        if (!chance(g, 10))
            r->gpr[i] = pointer(g);
    }
    if (!chance(g, 8))
        r->gpr[R_RSP] = DT_ARENA + 0x400 + (below(g, 0x180) << 3);
    if (chance(g, 2))
        r->gpr[R_RCX] = below(g, 64);
    r->rflags = (next64(g) & (FL_ARITH | (chance(g, 3) ? FL_DF : 0) | (g->o.align && chance(g, 16) ? FL_AC : 0))) | FL_1 | FL_IF;
    r->mxcsr = 0x1f80;
    if (chance(g, 2))
        r->mxcsr |= below(g, 64) | below(g, 4) << 13 | (chance(g, 3) ? 0x40 : 0) | (chance(g, 3) ? 0x8000 : 0);
    if (g->o.exceptions && chance(g, 6))
        r->mxcsr &= ~(below(g, 64) << 7);
    if (chance(g, 2))
        r->mxcsr |= 0x20;
    r->cw = 0x37f;
    if (chance(g, 2))
        r->cw = 0x7f | below(g, 4) << 10 | (chance(g, 2) ? 3 : 2 * below(g, 2)) << 8;
    if (g->o.exceptions && chance(g, 8))
        r->cw &= ~below(g, 64);
    r->sw = (next64(g) & 0x7f00) | (chance(g, 2) ? below(g, 64) & r->cw : 0);
    r->tags = chance(g, 4) ? next64(g) : chance(g, 3) ? 0xff : 0xfc | below(g, 4);
    if (chance(g, 2))
        r->tags = (uint8_t)(0x3f << (r->sw >> 11 & 7) | 0x3f >> (8 - (r->sw >> 11 & 7)));
    for (i = 0; i < 8; i++)
        value_x80(g, &r->st[i].mant, &r->st[i].se);
    for (i = 0; i < 16; i++) {
        unsigned kind = below(g, 6);

        for (j = 0; j < 4; j++)
            r->ymm[i][j] = kind < 2 ? value_f32(g) | (uint64_t)value_f32(g) << 32 : kind < 4 ? value_f64(g) : value64(g);
    }
    if (k->compat) {
        for (i = 0; i < 16; i++)
            r->gpr[i] = i < 8 ? (uint32_t)r->gpr[i] : 0;
    }
}

/* A row whose flags do not depend on what is undefined so far. */
static bool flags_fit(const X86Row *r, uint32_t undefined)
{
    bool shift = r->rd == FL_ARITH && r->wr;        /* reads the flags only to keep them */

    if (shift && !strncmp(r->mnemonic, "rc", 2))
        return !(undefined & FL_CF);
    return shift || !(r->rd & undefined);
}
static uint32_t flags_after(const X86Row *r, uint32_t undefined)
{
    bool keeps = (r->rd == FL_ARITH && r->wr) || r->cls & CL_STR;

    return ((keeps ? undefined : undefined & ~r->wr) | r->un) & FL_ARITH;
}
uint32_t dt_undefined_flags(const DtCase *k, unsigned i)
{
    uint32_t u = 0, at[DT_MAX_INSNS + 8] = { 0 };

    for (unsigned n = 0; n < i && n < k->n; n++) {
        u |= at[n];
        u = flags_after(&x86_rows[k->row[n]], u);
        if (k->jump[n])
            at[k->jump[n]] |= u;
    }
    return u | at[i];
}

void dt_patch_jumps(DtCase *k)
{
    for (unsigned n = 0; n < k->n; n++) {
        unsigned next = n + 1 < k->n ? k->at[n + 1] : k->len;
        unsigned to = k->jump[n] < k->n ? k->at[k->jump[n]] : k->len;

        if (!k->jump[n])
            continue;
        if (next - k->at[n] >= 5)
            st32_le(k->code + next - 4, to - next);
        else
            k->code[next - 1] = to - next;
    }
}

/* A branch over up to three instructions: Jcc, JMP, CALL, JRCXZ, LOOPcc. */
static void encode_jump(DtGen *g, Enc *e)
{
    e->n = 0;
    switch (below(g, 8)) {
    case 0: put(e, 0xeb, 1); put(e, 0, 1); break;
    case 1: put(e, 0xe9 - chance(g, 2), 1); put(e, 0, 4); break;
    case 2: put(e, 0xe0 + below(g, 4), 1); put(e, 0, 1); break;
    case 3: case 4: put(e, 0x0f, 1); put(e, 0x80 + below(g, 16), 1); put(e, 0, 4); break;
    default: put(e, 0x70 + below(g, 16), 1); put(e, 0, 1);
    }
}

/* Any prefixes, opcode and modrm; memory operands in reach. */
static void encode_raw(DtGen *g, Enc *e, const DtCase *k)
{
    static const uint8_t prefix[] = { 0x66, 0xf2, 0xf3, 0x66, 0xf3, 0xf0 };
    Form f = { .compat = k->compat, .reg = below(g, 8), .rm = below(g, 8), .rex = k->compat ? 0 : below(g, 8), .w = below(g, 2) };
    unsigned map = below(g, 8), n;

    e->n = 0;
    for (n = below(g, 6); n > 3; n--)
        put(e, prefix[below(g, sizeof prefix)], 1);
    if (map >= 5) {
        put(e, 0xc4, 1);
        put(e, (~f.rex & 7) << 5 | (map - 4), 1);
        put(e, f.w << 7 | (chance(g, 3) ? next64(g) & 0x7f : 0x78 | (next64(g) & 7)), 1);
    } else {
        if (!k->compat && chance(g, 2))
            put(e, 0x40 | f.w << 3 | f.rex, 1);
        if (map)
            put(e, 0x0f, 1);
        if (map >= 3)
            put(e, map == 3 ? 0x38 : 0x3a, 1);
    }
    put(e, next64(g), 1);
    if (chance(g, 2))
        put(e, 0xc0 | f.reg << 3 | f.rm, 1);
    else
        put_memory(g, e, &f, k);
    put(e, next64(g), 4);
}

static bool raw_case(DtGen *g, DtCase *k)
{
    for (unsigned tries = 0; tries < 10000; tries++) {
        X86Insn i;
        DecodeResult d;
        Enc e;

        encode_raw(g, &e, k);
        d = x86_decode(e.b, MIN(e.n, 15), k->compat ? MODE_PE | MODE_LMA | MODE_CS32 | MODE_SS32 | MODE_FLAT | 3 :
                       MODE_PE | MODE_LMA | MODE_CS64 | MODE_SS32 | MODE_FLAT | 3, g->model, &i);
        if (d == DECODE_OK && !row_wanted(g, &x86_rows[i.row]))
            continue;
        if (d == DECODE_OK && (i.seg == S_FS || i.seg == S_GS))
            continue;                           /* the host's FS base is libc's */
        if (i.map == MAP_0F && (i.opcode == 0x01 || (i.opcode & ~2) == 0x20))
            continue;                           /* system instructions AMD adds: CLZERO; LOCK MOV CR0 is MOV CR8 */
        if ((i.opcode & ~1) == 0xce && i.map != MAP_1)
            continue;                           /* GFNI, which hosts have without saying so */
        if (d == DECODE_OK && i.opsize == 2 && g_str_has_prefix(x86_rows[i.row].mnemonic, "sh"))
            continue;
        if (d == DECODE_UD && i.map == MAP_V3A && i.opcode < 2)
            continue;                           /* VPERMQ and VPERMPD with VEX.W clear: AMD runs them, Intel's manual says #UD */
        if (d != DECODE_OK && (d != DECODE_UD || !chance(g, 8) || g->o.raw_known(e.b, e.n, k->compat)))
            continue;
        k->n = 1;
        k->row[0] = d == DECODE_OK ? i.row : X86_ROW_UD;
        k->masks = g_strv_contains(dt_mask_stores, x86_rows[k->row[0]].mnemonic);
        k->len = d == DECODE_OK ? i.len : MIN(e.n, 15);
        memcpy(k->code, e.b, k->len);
        return true;
    }
    return false;
}

/* Might it bring a stored MXCSR_MASK into a register, or make another value of it? Restores skip that field. */
static bool shows_memory(const X86Row *r, const X86Insn *i)
{
    static const char *const skip[] = { "fxrstor", "xrstor", NULL };

    if (g_strv_contains(skip, r->mnemonic) || g_strv_contains(dt_mask_stores, r->mnemonic))
        return false;
    if (r->cls & (CL_STR | CL_STACK) || !strcmp(r->mnemonic, "xlatb"))
        return true;
    if (i->is_reg || r->lim & LIM_NOSEGLIM)
        return false;
    switch (x86_opnds[r->ops[0]].kind) {
    case OK_RM: case OK_M: case OK_XRM: case OK_MMXRM: case OK_MOFFS: return !(r->cls & CL_W);
    default: return true;
    }
}

/* What hosts do in their own ways. */
static bool differs_by_host(const DtCase *k, const X86Row *r, const X86Insn *i)
{
    static const char *const by_word[] = { "shld", "shrd", NULL };

    if (i->opsize == 2 && g_strv_contains(by_word, r->mnemonic))
        return true;                            /* counts above 16 are undefined */
    if (i->opsize == 2 && !i->is_reg && !strcmp(r->mnemonic, "movsxd"))
        return true;                            /* AMD reads 32 bits, Intel 16 */
    return k->masks && shows_memory(r, i);
}

bool dt_gen_case(DtGen *g, uint64_t n, DtCase *k)
{
    uint32_t undefined = 0;
    unsigned want, tries = 0;

    if (!g->n_rows)
        return false;
    reseed(g, n);
    memset(k, 0, sizeof *k);
    k->compat = g->o.always_compat || (g->o.compat && chance(g, 4));
    random_regs(g, k);
    k->pool = below(g, DT_POOL / 16) * 16;
    want = 1 + below(g, g->o.max_insns);
    if (g->o.raw_known && !raw_case(g, k))
        return false;
    while (!g->o.raw_known && k->n < want && tries++ < 1000) {
        const X86Row *r = &x86_rows[g->rows[below(g, g->n_rows)]];
        bool jump = g->o.jumps && chance(g, 5);
        X86Insn i;
        Enc e;

        if (r->lim & (k->compat ? LIM_ONLY64 : LIM_NO64))
            continue;
        if (jump)
            encode_jump(g, &e);
        else
            encode(g, &e, r, k);
        if (x86_decode(e.b, e.n, k->compat ? MODE_PE | MODE_LMA | MODE_CS32 | MODE_SS32 | MODE_FLAT | 3 :
                       MODE_PE | MODE_LMA | MODE_CS64 | MODE_SS32 | MODE_FLAT | 3, g->model, &i) != DECODE_OK || i.len != e.n)
            continue;
        r = &x86_rows[i.row];                   /* prefixes may have made it another one */
        if (!jump && differs_by_host(k, r, &i))
            continue;
        undefined = dt_undefined_flags(k, k->n);
        if ((!jump && !row_wanted(g, r)) || !flags_fit(r, undefined))
            continue;
        if (jump)
            k->jump[k->n] = k->n + 1 + below(g, 4);
        k->at[k->n] = k->len;
        k->row[k->n++] = i.row;
        memcpy(k->code + k->len, e.b, e.n);
        k->len += e.n;
        k->masks |= g_strv_contains(dt_mask_stores, r->mnemonic);
        if (g_strv_contains(dt_x87_functions, r->mnemonic) || g_strv_contains(dt_approximations, r->mnemonic))
            break;
    }
    for (tries = 0; tries < k->n; tries++)
        k->jump[tries] = MIN(k->jump[tries], k->n);
    dt_patch_jumps(k);
    k->code[k->len] = 0xcc;
    k->code_off = chance(g, 4) ? 0x1000 - below(g, k->len + 1) : below(g, 0x100);
    k->in.rip = DT_CODE + k->code_off;
    return k->n > 0;
}
