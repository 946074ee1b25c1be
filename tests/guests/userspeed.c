/* userspeed: work for ring 3 alone (tests/bench/bench-kvm.py): no system call inside a job, the same sum wherever it runs. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 1 << 20 };
typedef uint32_t V4 __attribute__((vector_size(16)));

static uint32_t area[WORDS];

/* Multiplications, shifts and branches that depend on each other. */
static uint64_t compute(unsigned rounds)
{
    uint64_t x = 88172645463325252ull, sum = 0;

    for (uint64_t i = 0; i < rounds * 1000000ull; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        sum += x & 1 ? x * 2862933555777941757ull : i;
    }
    return sum;
}

/* Loads and stores all over 4 MiB, each address from the value before. */
static uint64_t memory(unsigned rounds)
{
    uint32_t at = 1;

    for (uint32_t i = 0; i < WORDS; i++)
        area[i] = i * 2654435761u;
    for (uint64_t i = 0; i < rounds * 1000000ull; i++) {
        at = at * 1664525u + area[at % WORDS] + 1013904223u;
        area[(at >> 8) % WORDS] += (uint32_t)i;
    }
    return at;
}

/* Additions, shifts and logic on vectors of four. */
static uint64_t simd(unsigned rounds)
{
    V4 a = { 1, 2, 3, 4 }, b = { 5, 6, 7, 8 }, c = { 9, 10, 11, 12 };

    for (uint64_t i = 0; i < rounds * 1000000ull; i++) {
        a += b ^ (c << 7);
        b += c ^ (a >> 9);
        c += a ^ (b << 13);
    }
    a ^= b + c;
    return (uint64_t)(a[0] ^ a[2]) << 32 | (a[1] ^ a[3]);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; uint64_t (*run)(unsigned); } jobs[] = {
        { "compute", compute }, { "memory", memory }, { "simd", simd } };

    for (size_t i = 0; argc == 3 && i < sizeof jobs / sizeof *jobs; i++) {
        if (!strcmp(argv[1], jobs[i].name)) {
            printf("%s %016llx\n", argv[1], (unsigned long long)jobs[i].run((unsigned)atoi(argv[2])));
            return 0;
        }
    }
    fprintf(stderr, "usage: userspeed compute|memory|simd MILLIONS\n");
    return 1;
}
