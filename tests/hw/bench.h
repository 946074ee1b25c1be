/*
 * bench: one or more devices in a machine without CPUs, under virtual time.
 *
 * The machine has BENCH_RAM bytes of RAM at 0, an ISA bus whose 16 lines are watched and a PCI
 * bus whose INTA# lines and messages are watched. Every failure ends the test with a message.
 * The calling thread holds the machine lock from the first bench on.
 */
#ifndef TESTS_HW_BENCH_H
#define TESTS_HW_BENCH_H

#include "hw/core/device.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

#define BENCH_RAM (16 * MiB)
#define CHECK(x) g_assert_true(x)

typedef struct BenchMsi { uint64_t addr; uint32_t data; } BenchMsi;
typedef struct Bench {
    Machine *m;
    Device *dev;                /* the first device */
    GPtrArray *specs;           /* internal: "class\0props" of each device, to build them again */
    GPtrArray *backends;        /* internal */
    int irq_level[16];
    unsigned irq_edges[16];     /* rising edges seen */
    int intx_level[32];         /* by slot, any pin */
    GArray *msis;               /* of BenchMsi, in order */
    uint64_t next_mmio, next_port;      /* where bench_pci_map puts BARs next */
} Bench;

/* A machine with one device ("name", "prop=value,..." or NULL). cls NULL: no device yet. */
Bench *bench_new(const char *cls, const char *props);
/* The same, but the device may refuse: NULL and err. */
Bench *bench_try(const char *cls, const char *props, GError **err);
/* Back-ends must be registered before the device that names them: start with bench_new(NULL, NULL). */
void bench_backend(Bench *b, const char *kind, const char *id, void *backend);
Device *bench_add(Bench *b, const char *cls, const char *props);
void bench_free(Bench *b);

uint8_t bench_in8(Bench *b, uint16_t port);
uint16_t bench_in16(Bench *b, uint16_t port);
uint32_t bench_in32(Bench *b, uint16_t port);
void bench_out8(Bench *b, uint16_t port, uint8_t v);
void bench_out16(Bench *b, uint16_t port, uint16_t v);
void bench_out32(Bench *b, uint16_t port, uint32_t v);
uint64_t bench_ld(Bench *b, uint64_t addr, unsigned size);      /* as a CPU load: RAM or MMIO */
void bench_st(Bench *b, uint64_t addr, unsigned size, uint64_t v);
void bench_mem_read(Bench *b, uint64_t addr, void *buf, uint64_t len);  /* RAM only */
void bench_mem_write(Bench *b, uint64_t addr, const void *buf, uint64_t len);

void bench_step_ns(Bench *b, int64_t ns);
static inline void bench_step_us(Bench *b, int64_t us) { bench_step_ns(b, us * 1000); }
static inline void bench_step_ms(Bench *b, int64_t ms) { bench_step_ns(b, ms * NS_PER_MS); }
/* Runs the GLib main loop (block and net completions) until cond(opaque) or 5 s of host time;
   virtual time does not move. */
bool bench_wait(Bench *b, bool (*cond)(void *opaque), void *opaque);
bool bench_irq(Bench *b, unsigned n);           /* ISA line level */
bool bench_intx(Bench *b, Device *dev);         /* its INTx level */

/* Gives every BAR of a PCI device an address and sets I/O, memory and bus-master enable. */
void bench_pci_map(Bench *b, Device *dev);
uint64_t bench_bar(Bench *b, Device *dev, unsigned bar);
uint32_t bench_cfg_read(Bench *b, Device *dev, unsigned off, unsigned size);
void bench_cfg_write(Bench *b, Device *dev, unsigned off, uint32_t v, unsigned size);

void bench_reset(Bench *b);
/* Saves the machine, builds a fresh one from the same description, loads: everything the guest can
   see must survive. b->dev and other Device pointers change; bench_dev(b, i) gives the i-th again. */
void bench_roundtrip(Bench *b);
Device *bench_dev(Bench *b, unsigned i);
/* The devices' saved state (no RAM), for comparisons. */
GByteArray *bench_save(Bench *b);

#endif
