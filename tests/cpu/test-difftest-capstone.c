/*
 * test-difftest: the differential tester: a few seconds of it as a test, or as many cases as asked.
 *
 *   test-difftest-capstone --cases N [--seed S] [--classes int,x87,mmx,sse,avx] [--only MNEMONIC]
 *                          [--engine step|interp|jit] [--insns N] [--compat] [--no-exceptions] [--case N]
 */
#include "tests/cpu/difftest.h"

#include "softmmu/accel.h"

#include <capstone/capstone.h>
#include <inttypes.h>
#include <stdio.h>

enum { BATCH = 256, MAX_REPORTS = 20 };

typedef struct Run {
    DtGen *gen;
    DtEngine *engine;
    const X86Model *model;
    GHashTable *counts;         /* differing cases by mnemonic of the last reduced instruction */
    uint64_t cases, differ;
    unsigned reports;
    bool verbose;
} Run;

/* ---- comparing ---- */

static unsigned insn_at(const DtCase *k, uint64_t rip)
{
    unsigned i;

    for (i = 0; i < k->n; i++) {
        if (rip <= k->in.rip + k->at[i])
            return i;
    }
    return k->n;
}

static void diff(GString *s, const char *what, uint64_t in, uint64_t host, uint64_t ours)
{
    g_string_append_printf(s, "  %-8s was %016" PRIx64 "  host %016" PRIx64 "  engine %016" PRIx64 "\n", what, in, host, ours);
}

static bool is_approximate(const DtCase *k, const char *const *names)
{
    for (unsigned i = 0; i < k->n; i++) {
        if (g_strv_contains(names, x86_rows[k->row[i]].mnemonic))
            return true;
    }
    return false;
}
/* x87 elementary functions: one unit in the last place, and C1 (rounded up) may differ. */
#define x87_functions dt_x87_functions
#define approximations dt_approximations

/* Which byte of these faults first is up to the processor. */
static const char *const big_images[] = { "fxrstor", "frstor", "fldenv", "fxsave", "fnsave", "fnstenv", "xsave", "xsavec",
                                           "xsaveopt", "xrstor", NULL };
static bool close80(uint64_t am, uint16_t ase, uint64_t bm, uint16_t bse)
{
    uint64_t d = am > bm ? am - bm : bm - am;

    if (ase == bse)
        return d <= 1;
    /* A carry into the exponent. */
    return (ase ^ bse) < 0x8000 && (ase + 1 == bse || bse + 1 == ase) && (am == 1ULL << 63 || bm == 1ULL << 63) && d >= 0x7ffffffffffffffeULL;
}

/* Did r end in a memory fault of an instruction so named? */
static bool faults_in(const DtCase *k, const DtResult *r, const char *name)
{
    unsigned i = insn_at(k, r->out.rip);

    return (r->vector == EXC_PF || r->vector == EXC_GP) && i < k->n && !strcmp(x86_rows[k->row[i]].mnemonic, name);
}

/* Text of the differences, or NULL. */
static char *compare(const DtCase *k, const DtResult *h, const DtResult *q, const uint8_t *pool)
{
    static const char *const name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };
    const DtRegs *a = &h->out, *b = &q->out;
    bool functions = is_approximate(k, x87_functions), approx = is_approximate(k, approximations);
    uint32_t fl = FL_ARITH | FL_DF | FL_AC;
    GString *s;
    unsigned i, j;

    if (a->mxcsr >> 16)         /* AMD's misaligned mode was switched on: quern has no such bit */
        return NULL;
    s = g_string_new(NULL);

    bool ends = h->vector == q->vector && a->rip == b->rip;

    /* Which of two bad pointers CMPS finds first is not architectural. */
    if (faults_in(k, h, "cmps") && faults_in(k, q, "cmps"))
        ends = a->rip == b->rip;
    /* 32-bit operands across the 4 GiB border: AMD raises #GP, Intel may wrap. */
    else if (k->compat && (h->vector == EXC_GP || h->vector == EXC_SS) && (q->vector == EXC_GP || (q->vector == EXC_PF && (uint32_t)q->cr2 >= 0xffffffe0)))
        ends = a->rip == b->rip;
    /* Operands across the end of the canonical half: both parts are bad. */
    else if (h->vector == EXC_GP && q->vector == EXC_PF && q->cr2 >> 5 == 0x7fffffffffe0 >> 5)
        ends = a->rip == b->rip;
    /* Which comes first of a misaligned operand and a bad page or address: AMD and Intel differ. */
    else if (k->in.rflags & FL_AC && (h->vector == EXC_AC) != (q->vector == EXC_AC))
        ends = a->rip == b->rip && h->vector != 3 && q->vector != 3;
    else if (!ends)
        ;
    else if (h->vector != EXC_PF)
        ends = h->error == q->error;
    else                        /* the present bit is the host kernel's affair: lazy mapping, its own half */
        ends = !((h->error ^ q->error) & ~PF_P) && (h->cr2 == q->cr2 || is_approximate(k, big_images));
    if (!ends)
        g_string_append_printf(s, "  end      host vector %d error %x cr2 %" PRIx64 " at +%" PRIx64
                               "  engine vector %d error %x cr2 %" PRIx64 " at +%" PRIx64 "\n",
                               h->vector, h->error, h->cr2, a->rip - k->in.rip, q->vector, q->error, q->cr2, b->rip - k->in.rip);
    fl &= ~dt_undefined_flags(k, insn_at(k, a->rip));
    if ((a->rflags ^ b->rflags) & fl)
        diff(s, "rflags", k->in.rflags, a->rflags & fl, b->rflags & fl);
    for (i = 0; i < 16; i++) {
        if (a->gpr[i] != b->gpr[i])
            diff(s, name[i], k->in.gpr[i], a->gpr[i], b->gpr[i]);
    }
    if (a->mxcsr != b->mxcsr)
        diff(s, "mxcsr", k->in.mxcsr, a->mxcsr, b->mxcsr);
    if (a->cw != b->cw)
        diff(s, "x87 cw", k->in.cw, a->cw, b->cw);
    if ((a->sw ^ b->sw) & (functions ? ~0x200u : ~0u))
        diff(s, "x87 sw", k->in.sw, a->sw, b->sw);
    if (a->tags != b->tags)
        diff(s, "x87 tags", k->in.tags, a->tags, b->tags);
    for (i = 0; i < 8; i++) {
        bool same = a->st[i].mant == b->st[i].mant && a->st[i].se == b->st[i].se;

        if (!same && !(functions && close80(a->st[i].mant, a->st[i].se, b->st[i].mant, b->st[i].se)))
            g_string_append_printf(s, "  st%u      was %04x %016" PRIx64 "  host %04x %016" PRIx64 "  engine %04x %016" PRIx64 "\n", i,
                                   k->in.st[i].se, k->in.st[i].mant, a->st[i].se, a->st[i].mant, b->st[i].se, b->st[i].mant);
    }
    for (i = 0; i < 16 && !approx; i++) {
        for (j = 0; j < 4; j++) {
            if (a->ymm[i][j] != b->ymm[i][j]) {
                g_autofree char *t = g_strdup_printf("ymm%u.%u", i, j);

                diff(s, t, k->in.ymm[i][j], a->ymm[i][j], b->ymm[i][j]);
            }
        }
    }
    for (i = 0; i < DT_RW_SIZE && !approx && !functions; i++) {
        if (h->mem[i] == 2 && !q->mem[i] && k->masks)
            continue;
        if (h->mem[i] != q->mem[i]) {
            g_string_append_printf(s, "  memory   +%04x was %02x  host %02x  engine %02x\n", i, pool[k->pool + i], h->mem[i], q->mem[i]);
            break;
        }
    }
    return g_string_free(s, s->len == 0);
}

static bool differs(const DtCase *k, const DtResult *h, const DtResult *q, const uint8_t *pool)
{
    g_autofree char *text = compare(k, h, q, pool);

    return text;
}

/* ---- reducing and reporting ---- */

static char *run_one(Run *r, const DtCase *k)
{
    DtResult *h = g_new0(DtResult, 1), *q = g_new0(DtResult, 1);
    unsigned died;
    char *text;

    if (!dt_host_run(k, h, 1, dt_gen_pool(r->gen), &died)) {
        text = g_strdup("  the host child died\n");
    } else {
        dt_engine_run(r->engine, k, q, dt_gen_pool(r->gen));
        text = compare(k, h, q, dt_gen_pool(r->gen));
    }
    g_free(h);
    g_free(q);
    return text;
}

static DtCase without(const DtCase *k, unsigned i)
{
    unsigned from = k->at[i], to = i + 1 < k->n ? k->at[i + 1] : k->len, j;
    DtCase c = *k;

    memmove(c.code + from, c.code + to, k->len + 1 - to);
    c.len -= to - from;
    c.n--;
    for (j = i; j < c.n; j++) {
        c.at[j] = k->at[j + 1] - (to - from);
        c.row[j] = k->row[j + 1];
        c.jump[j] = k->jump[j + 1];
    }
    for (j = 0; j < c.n; j++)
        c.jump[j] -= c.jump[j] > i;
    dt_patch_jumps(&c);
    return c;
}

static void reduce(Run *r, DtCase *k)
{
    for (unsigned i = k->n; i-- > 0 && k->n > 1;) {
        DtCase c = without(k, i);
        g_autofree char *t = run_one(r, &c);

        if (t)
            *k = c;
    }
}

static void print_code(const DtCase *k)
{
    cs_insn *insn;
    csh cs;
    size_t n, i;

    if (cs_open(CS_ARCH_X86, k->compat ? CS_MODE_32 : CS_MODE_64, &cs) != CS_ERR_OK)
        return;
    for (i = 0; i < k->n; i++) {
        unsigned len = (i + 1 < k->n ? k->at[i + 1] : k->len) - k->at[i];

        printf("#   +%02x ", k->at[i]);
        for (n = 0; n < len; n++)
            printf("%02x", k->code[k->at[i] + n]);
        if (cs_disasm(cs, k->code + k->at[i], len, k->in.rip + k->at[i], 1, &insn) == 1) {
            printf("  %s %s\n", insn->mnemonic, insn->op_str);
            cs_free(insn, 1);
        } else {
            printf("  (%s)\n", x86_rows[k->row[i]].mnemonic);
        }
    }
    cs_close(&cs);
}

static void report(Run *r, const DtCase *k, uint64_t n, const char *first)
{
    DtCase c = *k;
    g_autofree char *text = NULL;
    const char *mn;

    r->differ++;
    reduce(r, &c);
    mn = x86_rows[c.row[c.n - 1]].mnemonic;
    g_hash_table_insert(r->counts, (char *)mn, GINT_TO_POINTER(GPOINTER_TO_INT(g_hash_table_lookup(r->counts, mn)) + 1));
    if (GPOINTER_TO_INT(g_hash_table_lookup(r->counts, mn)) > 2 || r->reports++ >= MAX_REPORTS)
        return;
    text = run_one(r, &c);
    printf("# case %" PRIu64 "%s: mxcsr %04x cw %04x sw %04x\n", n, c.compat ? " (32-bit)" : "", c.in.mxcsr, c.in.cw, c.in.sw);
    print_code(&c);
    for (unsigned i = 0; i < 16; i++)
        printf("%s%" PRIx64 "%s", i ? " " : "# in: ", c.in.gpr[i], i == 15 ? "\n" : "");
    for (unsigned i = 0; i < 8 && c.n && x86_rows[c.row[c.n - 1]].cls & CL_X87; i++)
        printf("%s%04x:%016" PRIx64 "%s", i ? " " : "# st: ", c.in.st[i].se, c.in.st[i].mant, i == 7 ? "\n" : "");
    printf("#%s\n", text ? text : " (not reproduced alone)");
    if (!text)
        printf("#%s\n", first);
}

static void run_batch(Run *r, uint64_t first, unsigned count)
{
    DtCase *k = g_new0(DtCase, count);
    DtResult *h = g_new0(DtResult, count), *q = g_new0(DtResult, 1);
    unsigned i, died = 0, from = 0;

    for (i = 0; i < count; i++)
        g_assert_true(dt_gen_case(r->gen, first + i, &k[i]));
    while (from < count && !dt_host_run(k + from, h + from, count - from, dt_gen_pool(r->gen), &died)) {
        if (from + died >= count)
            break;
        printf("# case %" PRIu64 ": the host child died\n", first + from + died);
        print_code(&k[from + died]);
        h[from + died].vector = -2;
        from += died + 1;
    }
    for (i = 0; i < count; i++) {
        g_autofree char *text = NULL;

        if (h[i].vector == -2)
            continue;
        memset(q, 0, sizeof *q);
        dt_engine_run(r->engine, &k[i], q, dt_gen_pool(r->gen));
        text = compare(&k[i], &h[i], q, dt_gen_pool(r->gen));
        /* AMD's x87 pointers are lost when the host's kernel switches tasks in mid-sequence: ask the host again. */
        if (text && dt_host_run(&k[i], &h[i], 1, dt_gen_pool(r->gen), &died) && !differs(&k[i], &h[i], q, dt_gen_pool(r->gen)))
            g_clear_pointer(&text, g_free);
        if (r->verbose) {
            printf("# case %" PRIu64 "%s at %" PRIx64 "\n", first + i, k[i].compat ? " (32-bit)" : "", k[i].in.rip);
            print_code(&k[i]);
        }
        if (text)
            report(r, &k[i], first + i, text);
    }
    r->cases += count;
    g_free(k);
    g_free(h);
    g_free(q);
}

static uint64_t run_cases(const char *engine, const DtOptions *o, uint64_t first, uint64_t count, bool verbose)
{
    g_autofree char *spec = dt_host_model();
    GError *err = NULL;
    X86Model *model = x86_model_parse(spec, &err);
    Run r = { .verbose = verbose, .counts = g_hash_table_new(g_str_hash, g_str_equal) };
    GHashTableIter it;
    gpointer key, val;
    DtCase k;

    g_assert_no_error(err);
    r.model = model;
    r.gen = dt_gen_new(model, o);
    if (!dt_gen_case(r.gen, 0, &k)) {
        printf("# no instructions of that kind\n");
        return 0;
    }
    r.engine = dt_engine_new(engine, model, &err);
    g_assert_no_error(err);
    while (count) {
        unsigned n = count < BATCH ? count : BATCH;

        run_batch(&r, first, n);
        first += n;
        count -= n;
    }
    printf("# %" PRIu64 " cases, %" PRIu64 " differ\n", r.cases, r.differ);
    g_hash_table_iter_init(&it, r.counts);
    while (g_hash_table_iter_next(&it, &key, &val))
        printf("#   %s: %d\n", (char *)key, GPOINTER_TO_INT(val));
    g_hash_table_destroy(r.counts);
    dt_engine_free(r.engine);
    dt_gen_free(r.gen);
    x86_model_free(model);
    return r.differ;
}

/* ---- raw bytes ---- */

/* Bytes the decoder refuses though capstone knows them. Harmless ones run all the same (capstone
   overlooks LOCK, vvvv and prefixes that make them illegal); the others are counted by name. */
static GHashTable *missing;
static bool raw_known(const uint8_t *bytes, unsigned len, bool compat)
{
    static const char *const invalid_anyway[] = { "ud0", "ud1", "ud2", NULL };
    cs_insn *insn;
    csh cs;
    bool known = false;

    if (cs_open(CS_ARCH_X86, compat ? CS_MODE_32 : CS_MODE_64, &cs) != CS_ERR_OK)
        return true;
    if (cs_disasm(cs, bytes, len, 0, 1, &insn) == 1) {
        const char *name = strrchr(insn->mnemonic, ' ');

        name = name ? name + 1 : insn->mnemonic;
        known = !g_strv_contains(invalid_anyway, name) && !dt_gen_safe(name);
        if (known && missing)
            g_hash_table_insert(missing, g_strdup(insn->mnemonic),
                                GINT_TO_POINTER(GPOINTER_TO_INT(g_hash_table_lookup(missing, insn->mnemonic)) + 1));
        cs_free(insn, 1);
    }
    cs_close(&cs);
    return known;
}

static void print_missing(void)
{
    GHashTableIter it;
    gpointer key, val;

    g_hash_table_iter_init(&it, missing);
    while (g_hash_table_iter_next(&it, &key, &val))
        printf("# refused, though capstone knows it: %s (%d)\n", (char *)key, GPOINTER_TO_INT(val));
}

/* ---- as a test ---- */

static void check(const char *engine, const char *classes)
{
    DtOptions o = { .seed = 1, .max_insns = 8, .classes = classes, .compat = true, .exceptions = true, .jumps = true,
                    .align = true };

    g_assert_cmpuint(run_cases(engine, &o, 0, 6000, false), ==, 0);
}
static void check_interp(gconstpointer classes) { check("interp", classes); }
static void check_jit(gconstpointer classes)
{
    if (accel_find("jit"))
        check("jit", classes);
    else
        g_test_skip("no jit in this build");
}
static void check_raw(void)
{
#ifdef __SANITIZE_ADDRESS__
    g_test_skip("random addresses meet the sanitizer's own memory");
#else
    DtOptions o = { .seed = 1, .max_insns = 1, .compat = true, .raw_known = raw_known };

    g_assert_cmpuint(run_cases("interp", &o, 0, 5000, false), ==, 0);
#endif
}

int main(int argc, char **argv)
{
    DtOptions o = { .seed = 1, .max_insns = 8 };
    gint64 cases = 0, seed = 1, one = -1, from = 0;
    gint insns = 8;
    gboolean raw = FALSE, compat = FALSE, always = FALSE, no_exceptions = FALSE;
    char *classes = NULL, *only = NULL, *engine = NULL;
    gboolean align = FALSE, jumps = FALSE, verbose = FALSE;
    const GOptionEntry options[] = {
        { "cases", 'n', 0, G_OPTION_ARG_INT64, &cases, "number of cases", "N" },
        { "from", 0, 0, G_OPTION_ARG_INT64, &from, "number of the first case", "N" },
        { "verbose", 'v', 0, G_OPTION_ARG_NONE, &verbose, "print every case", NULL },
        { "case", 0, 0, G_OPTION_ARG_INT64, &one, "only this case", "N" },
        { "seed", 's', 0, G_OPTION_ARG_INT64, &seed, "seed", "S" },
        { "insns", 0, 0, G_OPTION_ARG_INT, &insns, "at most this many instructions", "N" },
        { "classes", 'c', 0, G_OPTION_ARG_STRING, &classes, "int,x87,mmx,sse,avx", "LIST" },
        { "only", 0, 0, G_OPTION_ARG_STRING, &only, "mnemonics that start so", "PREFIX" },
        { "engine", 'e', 0, G_OPTION_ARG_STRING, &engine, "step, interp, jit", "NAME" },
        { "compat", 0, 0, G_OPTION_ARG_NONE, &compat, "some 32-bit code", NULL },
        { "compat-only", 0, 0, G_OPTION_ARG_NONE, &always, "32-bit code only", NULL },
        { "jumps", 'j', 0, G_OPTION_ARG_NONE, &jumps, "branches between the instructions", NULL },
        { "align", 'a', 0, G_OPTION_ARG_NONE, &align, "alignment checks on now and then", NULL },
        { "raw", 'r', 0, G_OPTION_ARG_NONE, &raw, "single instructions of random bytes", NULL },
        { "no-exceptions", 0, 0, G_OPTION_ARG_NONE, &no_exceptions, "keep floating-point exceptions masked", NULL },
        { NULL }
    };
    static const char *const list[] = { "int", "x87", "mmx", "sse", "avx" };
    GOptionContext *ctx = g_option_context_new(NULL);
    unsigned i;

    setvbuf(stdout, NULL, _IOLBF, 0);
    g_option_context_add_main_entries(ctx, options, NULL);
    g_option_context_set_ignore_unknown_options(ctx, TRUE);
    g_option_context_set_help_enabled(ctx, argc > 1 && !strcmp(argv[1], "--help"));
    g_option_context_parse(ctx, &argc, &argv, NULL);
    g_option_context_free(ctx);
    if (cases || one >= 0) {
        o.seed = seed;
        o.max_insns = CLAMP(insns, 1, DT_MAX_INSNS);
        o.classes = classes;
        o.only = only;
        o.compat = compat;
        o.always_compat = always;
        o.exceptions = !no_exceptions;
        o.jumps = jumps;
        o.align = align;
        o.raw_known = raw ? raw_known : NULL;
        missing = g_hash_table_new(g_str_hash, g_str_equal);
        i = run_cases(engine ? engine : "interp", &o, one >= 0 ? one : from, one >= 0 ? 1 : cases, verbose) != 0;
        print_missing();
        return i;
    }
    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(list); i++) {
        g_autofree char *interp = g_strdup_printf("/difftest/interp/%s", list[i]), *jit = g_strdup_printf("/difftest/jit/%s", list[i]);

        g_test_add_data_func(interp, list[i], check_interp);
        g_test_add_data_func(jit, list[i], check_jit);
    }
    g_test_add_func("/difftest/raw", check_raw);
    return g_test_run();
}
