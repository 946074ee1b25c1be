/*
 * difftest_host: the host CPU as the reference: a child process that lives in a signal handler.
 *
 * Every trap delivers the state the sequence left in the signal frame; the handler stores it, puts
 * the next case's state into the same frame and returns into it. No assembly is needed, and one
 * case costs one signal.
 */
#include "tests/cpu/difftest.h"

#include "util/bytes.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

typedef struct Shared {         /* parent and child see it */
    unsigned next;              /* case that runs or runs next */
    DtResult results[];
} Shared;

/* The child's: one batch per process. */
static struct {
    const DtCase *cases;
    Shared *shared;
    const uint8_t *pool;
    unsigned count;
    uint8_t *code, *arena;      /* writable aliases */
    bool running;
} child;

static const int greg_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void take_fp(DtRegs *r, const uint8_t *x)
{
    uint64_t have = ld64_le(x + 512);
    unsigned i;

    memset(r->st, 0, sizeof r->st);
    memset(r->ymm, 0, sizeof r->ymm);
    r->mxcsr = ld32_le(x + 24);
    if (have & 1) {
        r->cw = ld16_le(x);
        r->sw = ld16_le(x + 2);
        r->tags = x[4];
        r->fop = ld16_le(x + 6);
        r->fip = ld64_le(x + 8);
        r->fdp = ld64_le(x + 16);
        for (i = 0; i < 8; i++) {
            r->st[i].mant = ld64_le(x + 32 + 16 * i);
            r->st[i].se = ld16_le(x + 40 + 16 * i);
        }
    } else {
        r->cw = 0x37f;
        r->sw = r->tags = r->fop = 0;
        r->fip = r->fdp = 0;
    }
    for (i = 0; i < 16; i++) {
        if (have & 2)
            memcpy(r->ymm[i], x + 160 + 16 * i, 16);
        if (have & 4)
            memcpy(&r->ymm[i][2], x + 576 + 16 * i, 16);
    }
}

static void put_fp(const DtRegs *r, uint8_t *x)
{
    unsigned i;

    st64_le(x + 512, 7);
    st32_le(x + 24, r->mxcsr);
    st16_le(x, r->cw);
    st16_le(x + 2, r->sw);
    x[4] = r->tags;
    st16_le(x + 6, r->fop);
    st64_le(x + 8, r->fip);
    st64_le(x + 16, r->fdp);
    for (i = 0; i < 8; i++) {
        st64_le(x + 32 + 16 * i, r->st[i].mant);
        st64_le(x + 40 + 16 * i, r->st[i].se);
    }
    for (i = 0; i < 16; i++) {
        memcpy(x + 160 + 16 * i, r->ymm[i], 16);
        memcpy(x + 576 + 16 * i, &r->ymm[i][2], 16);
    }
}

static void store_result(const ucontext_t *u)
{
    DtResult *r = &child.shared->results[child.shared->next];
    const greg_t *g = u->uc_mcontext.gregs;
    unsigned i;

    for (i = 0; i < 16; i++)
        r->out.gpr[i] = g[greg_of[i]];
    r->out.rip = g[REG_RIP];
    r->out.rflags = g[REG_EFL];
    take_fp(&r->out, (const uint8_t *)u->uc_mcontext.fpregs);
    r->vector = g[REG_TRAPNO];
    r->error = g[REG_ERR];
    r->cr2 = g[REG_CR2];
    memcpy(r->mem, (void *)(uintptr_t)DT_ARENA, DT_RW_SIZE);
}

static void load_case(ucontext_t *u)
{
    const DtCase *k = &child.cases[child.shared->next];
    greg_t *g = u->uc_mcontext.gregs;
    unsigned i;

    memcpy(child.arena, child.pool + k->pool, DT_ARENA_SIZE);
    memset(child.code, 0xcc, DT_CODE_SIZE);
    memcpy(child.code + k->code_off, k->code, k->len + 1);
    for (i = 0; i < 16; i++)
        g[greg_of[i]] = k->in.gpr[i];
    g[REG_RIP] = k->in.rip;
    g[REG_EFL] = k->in.rflags;
    g[REG_CSGSFS] = (k->compat ? 0x23 : 0x33) | 0x2bULL << 48;
    put_fp(&k->in, (uint8_t *)u->uc_mcontext.fpregs);
}

static void on_trap(int sig, siginfo_t *info, void *ctx)
{
    /* The sequence may have left alignment checks on. */
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andl $0xfffbffff, (%%rsp); popfq; lea 128(%%rsp), %%rsp" : : : "cc", "memory");
    if (child.running) {
        if (sig == SIGALRM)
            _exit(3);
        store_result(ctx);
        child.shared->next++;
    }
    child.running = true;
    if (child.shared->next == child.count)
        _exit(0);
    load_case(ctx);
}

/* Maps part of fd at va (NULL: anywhere); the child ends if that fails. */
static uint8_t *map_at(uint64_t va, size_t size, int prot, int fd, size_t off)
{
    void *p = mmap((void *)(uintptr_t)va, size, prot, MAP_SHARED | (va ? MAP_FIXED_NOREPLACE : 0), fd, off);

    if (p == MAP_FAILED)
        _exit(4);
    return p;
}

static void run_child(void)
{
    static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1, SIGALRM };
    stack_t alt = { .ss_size = 1 << 16 };
    struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    int fd = memfd_create("difftest", 0);
    unsigned i;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alt.ss_sp = mmap(NULL, alt.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || ftruncate(fd, DT_CODE_SIZE + DT_ARENA_SIZE) < 0 || alt.ss_sp == MAP_FAILED)
        _exit(4);
    child.code = map_at(0, DT_CODE_SIZE, PROT_READ | PROT_WRITE, fd, 0);
    child.arena = map_at(0, DT_ARENA_SIZE, PROT_READ | PROT_WRITE, fd, DT_CODE_SIZE);
    map_at(DT_CODE, DT_CODE_SIZE, PROT_READ | PROT_EXEC, fd, 0);
    map_at(DT_ARENA, DT_RW_SIZE, PROT_READ | PROT_WRITE, fd, DT_CODE_SIZE);
    map_at(DT_ARENA + DT_RW_SIZE, DT_ARENA_SIZE - DT_RW_SIZE, PROT_READ, fd, DT_CODE_SIZE + DT_RW_SIZE);
    sigaltstack(&alt, NULL);
    sigfillset(&sa.sa_mask);
    for (i = 0; i < G_N_ELEMENTS(sigs); i++)
        sigaction(sigs[i], &sa, NULL);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));
    alarm(20);
    raise(SIGUSR1);
    _exit(4);
}

bool dt_host_run(const DtCase *cases, DtResult *results, unsigned count, const uint8_t *pool, unsigned *died)
{
    size_t size = sizeof(Shared) + count * sizeof(DtResult);
    Shared *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid;
    bool ok;

    g_assert_true(s != MAP_FAILED);
    child.cases = cases;
    child.shared = s;
    child.pool = pool;
    child.count = count;
    pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        run_child();
    while (waitpid(pid, &status, 0) < 0)
        ;
    ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    *died = s->next;
    memcpy(results, s->results, count * sizeof(DtResult));
    munmap(s, size);
    return ok;
}

static bool host_has(unsigned leaf, unsigned sub, unsigned reg, unsigned bit)
{
    unsigned r[4] = { 0 };

    if (!__get_cpuid_count(leaf, sub, &r[0], &r[1], &r[2], &r[3]))
        return false;
    return r[reg] >> bit & 1;
}

char *dt_host_model(void)
{
    static const struct { const char *name; unsigned leaf, sub, reg, bit; } f[] = {
#define FEATURE(n, text, leaf, sub, reg, bit) { text, leaf, sub, reg, bit },
#include "target/x86/features.def"
#undef FEATURE
    };
    /* Only what changes how user-mode instructions decode or behave. */
    static const char *const user[] = { "ssse3", "fma", "cx16", "sse4.1", "sse4.2", "movbe", "popcnt", "aes", "avx", "f16c",
        "bmi1", "avx2", "bmi2", "adx", "sha-ni", "vaes", "vpclmulqdq", "pclmulqdq", "abm", "sse4a", "gfni", "clwb",
        "clflushopt", "xsaveopt", "xsavec", "clzero", "rdpid", NULL };
    GString *s = g_string_new("max");
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(f); i++) {
        if (g_strv_contains(user, f[i].name) && !host_has(f[i].leaf, f[i].sub, f[i].reg, f[i].bit))
            g_string_append_printf(s, ",-%s", f[i].name);
    }
    return g_string_free(s, FALSE);
}
#else
char *dt_host_model(void) { return NULL; }
bool dt_host_run(const DtCase *cases, DtResult *results, unsigned count, const uint8_t *pool, unsigned *died) { return false; }
#endif
