/*
 * lapic_int: the local APIC's state, shared by its register file and its message bus.
 *
 * Who may touch what: IRR and TMR bits are set by any thread (atomically) and taken by the owner;
 * id, ldr, dfr, svr, base, ppr and the LVT are written by the owner alone and read by any thread.
 * Everything else is the owner's (its vcpu thread, or anyone while it stands still). After each
 * change the INTR line is worked out again: lower, look, raise - so a request that arrives in
 * between is never lost.
 */
#ifndef HW_INTC_LAPIC_INT_H
#define HW_INTC_LAPIC_INT_H

#include "hw/intc/lapic.h"
#include "target/x86/cpu.h"

enum {                          /* register offsets / 16 */
    REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b,
    REG_RRD = 0x0c, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18,
    REG_IRR = 0x20, REG_ESR = 0x28, REG_CMCI = 0x2f, REG_ICR = 0x30, REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32, REG_LVT_TIMER = 0x32, REG_LVT_THERMAL = 0x33, REG_LVT_PERF = 0x34,
    REG_LVT_LINT0 = 0x35, REG_LVT_LINT1 = 0x36, REG_LVT_ERROR = 0x37,
    REG_INITIAL = 0x38, REG_CURRENT = 0x39, REG_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f,
};
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };
enum { DM_FIXED, DM_LOWEST, DM_SMI, DM_RESERVED, DM_NMI, DM_INIT, DM_STARTUP, DM_EXTINT };
#define LVT_MASKED (1u << 16)
#define LVT_LEVEL (1u << 15)
#define LVT_REMOTE_IRR (1u << 14)
#define LVT_MODE(v) ((v) >> 8 & 7)
#define TIMER_MODE(v) ((v) >> 17 & 3)
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };
#define SVR_ENABLE (1u << 8)
#define SVR_NO_EOI_BROADCAST (1u << 12)
#define BASE_BSP (1u << 8)
#define BASE_X2APIC (1u << 10)
#define BASE_ENABLE (1u << 11)
#define ESR_SEND_ILLEGAL (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER (1u << 7)
#define APIC_DEFAULT_BASE 0xfee00000ull

typedef struct Lapic {
    Device dev;
    LapicBus *bus;
    X86Cpu *cpu;
    Timer timer;
    uint64_t base;              /* IA32_APIC_BASE */
    uint32_t id;                /* x2APIC identifier */
    uint32_t xapic_id;          /* what software made of it: 8 bits */
    uint32_t ldr, dfr, svr, tpr, esr, esr_shadow, icr_high, icr;
    uint32_t lvt[LVTS];
    uint32_t isr[8], irr[8], tmr[8];
    uint32_t divide, initial;
    int64_t count_start;        /* vm ns when the count began */
    int64_t timer_next;         /* vm ns of the next expiry, 0: none */
    uint64_t tsc_deadline;
    bool in_engine;             /* the engine keeps the APIC: this is its state between the engine's runs */
    bool init_pending;          /* an INIT arrived: reset before it is taken */
    uint32_t ppr;               /* cache */
} Lapic;

typedef struct LapicSmm { void (*fn)(void *opaque, X86Cpu *c, bool in); void *opaque; } LapicSmm;

struct LapicBus {
    Machine *machine;
    Region window;
    GPtrArray *apics;           /* of Lapic *, by processor index */
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;
    int (*pic_ack)(void *opaque);
    void *pic_opaque;
    LapicSmm smm;
    _Atomic int pic_level;
};

static inline uint32_t peek(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void poke(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline bool x2apic_on(const Lapic *s) { return __atomic_load_n(&s->base, __ATOMIC_RELAXED) & BASE_X2APIC; }
static inline bool apic_on(const Lapic *s) { return __atomic_load_n(&s->base, __ATOMIC_RELAXED) & BASE_ENABLE; }
static inline bool soft_on(const Lapic *s) { return peek(&s->svr) & SVR_ENABLE; }

/* Any thread: latch a vector and raise INTR if its priority allows. */
void lapic_set_irr(Lapic *s, uint8_t vector, bool level);
void lapic_update_intr(Lapic *s);
void lapic_update_ppr(Lapic *s);
void lapic_error(Lapic *s, uint32_t bit);
/* Deliver through LVT entry i as its mode says. */
void lapic_local(Lapic *s, unsigned i);
/* Message bus (lapic_bus.c). */
void lapic_bus_send(LapicBus *bus, uint32_t dest, bool dest32, bool logical, unsigned mode, uint8_t vector, bool level);
void lapic_send_ipi(Lapic *s, uint64_t icr);
bool lapic_reg_read(Lapic *s, unsigned reg, uint32_t *val);
bool lapic_reg_write(Lapic *s, unsigned reg, uint32_t val);
void lapic_init_reset(Lapic *s);
/* To and from an engine that keeps the APIC (lapic_engine.c). */
void lapic_get_regs(X86Cpu *c, X86ApicRegs *r);
void lapic_set_regs(X86Cpu *c, const X86ApicRegs *r);
/* An interrupt message to s alone. */
void lapic_engine_send(Lapic *s, unsigned mode, uint8_t vector, bool level);
/* Timer (lapic_timer.c). */
void lapic_timer_expire(void *opaque);
void lapic_timer_arm(Lapic *s, bool restart);
uint32_t lapic_timer_current(const Lapic *s);
void lapic_set_deadline(Lapic *s, uint64_t tsc);
extern const X86ApicOps lapic_cpu_ops;

#endif
