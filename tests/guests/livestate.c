/*
 * livestate: a program whose x87, SSE and AVX state is in use all the time, for states that go from engine to engine.
 *
 * usage: livestate LINES TURNS [sse]. Each line is a number and three sums, the same wherever it runs. Meanwhile a timer's signals come
 * and the clock is looked at; what is odd about them is said at the end.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static volatile double in_handler = 1;
static volatile unsigned ticks;

static void tick(int sig)
{
    in_handler = in_handler * 1.0000001 + 0.5;
    ticks++;
}

#define CLOBBERED "xmm0", "xmm1", "xmm8", "xmm9", "xmm10", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory"

/* x87: values on the stack, precision and rounding of the control word; SSE: rounding of MXCSR; integers in XMM or YMM. */
#define TURN(name, load, step_vector, store) \
static void name(uint64_t turns, long double *x87, double *sse, uint64_t vec[4]) \
{ \
    static const uint64_t seeds[4] = { 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d }; \
    uint16_t cw = 0x0b7f, cw_old;               /* extended precision, upwards */ \
    uint32_t mxcsr = 0x3f80, mxcsr_old;         /* downwards */ \
    double step = 1.0 / 3; \
\
    __asm__ volatile( \
        "fnstcw %[cw_old]\n\tstmxcsr %[mxcsr_old]\n\tfldcw %[cw]\n\tldmxcsr %[mxcsr]\n\t" \
        "fldt %[x87]\n\tfldl %[step]\n\tfldpi\n\tmovsd %[sse], %%xmm0\n\tmovsd %[step], %%xmm1\n\t" load \
        "1:\n\tfadd %%st(1), %%st\n\tfxch %%st(2)\n\tfadd %%st(1), %%st\n\tfxch %%st(2)\n\taddsd %%xmm1, %%xmm0\n\t" step_vector \
        "dec %[turns]\n\tjnz 1b\n\tmovsd %%xmm0, %[sse]\n\t" store "faddp\n\tfaddp\n\tfstpt %[x87]\n\t" \
        "fldcw %[cw_old]\n\tldmxcsr %[mxcsr_old]" \
        : [turns] "+r"(turns), [x87] "+m"(*x87), [sse] "+m"(*sse), [vec] "+m"(*(uint64_t (*)[4])vec), [cw_old] "=m"(cw_old), \
          [mxcsr_old] "=m"(mxcsr_old) \
        : [cw] "m"(cw), [mxcsr] "m"(mxcsr), [step] "m"(step), [seeds] "m"(seeds) : CLOBBERED); \
}

TURN(turn_avx, "vmovdqu %[vec], %%ymm8\n\tvmovdqu %[seeds], %%ymm9\n\t",
     "vpaddq %%ymm9, %%ymm8, %%ymm8\n\tvpsrlq $29, %%ymm8, %%ymm10\n\tvpxor %%ymm10, %%ymm8, %%ymm8\n\tvpermq $0x39, %%ymm8, %%ymm8\n\t",
     "vmovdqu %%ymm8, %[vec]\n\tvzeroupper\n\t")
TURN(turn_sse, "movdqu %[vec], %%xmm8\n\tmovdqu %[seeds], %%xmm9\n\t",
     "paddq %%xmm9, %%xmm8\n\tmovdqa %%xmm8, %%xmm10\n\tpsrlq $29, %%xmm10\n\tpxor %%xmm10, %%xmm8\n\tpshufd $0x4e, %%xmm8, %%xmm8\n\t",
     "movdqu %%xmm8, %[vec]\n\t")

static double now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    unsigned lines = argc > 1 ? atoi(argv[1]) : 10;
    uint64_t turns = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000000, vec[4] __attribute__((aligned(32))) = { 1, 2, 3, 4 };
    struct itimerval every = { { 0, 20000 }, { 0, 20000 } };
    long double x87 = 1;
    double sse = 1, was = now(CLOCK_MONOTONIC), wall = now(CLOCK_REALTIME);
    const char *odd = "";

    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &every, NULL);
    for (unsigned i = 1; i <= lines; i++) {
        uint64_t bits[2] = { 0 }, s;
        double is, wall_is;

        (argc > 3 ? turn_sse : turn_avx)(turns, &x87, &sse, vec);
        memcpy(bits, &x87, 10);
        memcpy(&s, &sse, 8);
        printf("LIVE %u %04llx%016llx %016llx %016llx\n", i, (unsigned long long)bits[1], (unsigned long long)bits[0],
               (unsigned long long)s, (unsigned long long)(vec[0] ^ vec[1] * 3 ^ vec[2] * 5 ^ vec[3] * 7));
        fflush(stdout);
        is = now(CLOCK_MONOTONIC);
        wall_is = now(CLOCK_REALTIME);
        odd = is < was ? "the clock went back" : is - was > 120 ? "the clock jumped" : wall_is < wall ? "the date went back" : odd;
        was = is;
        wall = wall_is;
    }
    printf("END %s\n", *odd ? odd : ticks ? "well" : "no signals");
    return 0;
}
