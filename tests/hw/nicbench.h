/* nicbench: a network card on a bench, and the wire behind it. */
#ifndef TESTS_HW_NICBENCH_H
#define TESTS_HW_NICBENCH_H

#include "net/net.h"
#include "tests/hw/bench.h"

typedef struct NicBench {
    Bench *b;
    NetPort *port;              /* the wire: net_send(port, ...) reaches the card */
    uint64_t bar;               /* of the registers */
    unsigned frames;            /* that came out of the card */
    size_t len, bytes;          /* of the last one, of all */
    uint8_t last[70000];
} NicBench;

/* A card with the address 52:54:00:aa:bb:cc whose BAR number bar is mapped. */
NicBench *nicbench_new(const char *cls, unsigned bar);
void nicbench_free(NicBench *c);
static inline uint64_t nicbench_ld(NicBench *c, unsigned off, unsigned size) { return bench_ld(c->b, c->bar + off, size); }
static inline void nicbench_st(NicBench *c, unsigned off, unsigned size, uint64_t v) { bench_st(c->b, c->bar + off, size, v); }

#endif
