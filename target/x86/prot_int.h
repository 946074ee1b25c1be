/*
 * prot_int: protected-mode building blocks shared by segment loads, far transfers, interrupts and tasks.
 */
#ifndef TARGET_X86_PROT_INT_H
#define TARGET_X86_PROT_INT_H

#include "target/x86/flags.h"
#include "target/x86/mem.h"
#include "target/x86/regs.h"

typedef struct Desc {           /* a descriptor as read from its table */
    uint64_t lin;               /* where it is */
    uint32_t lo, hi;
    uint32_t base_hi;           /* 16-byte system descriptors: base 63:32 */
} Desc;

enum {                          /* system descriptor types */
    SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK = 5, SYS_INT16 = 6, SYS_TRAP16 = 7,
    SYS_TSS32 = 9, SYS_TSS32_BUSY = 11, SYS_CALL32 = 12, SYS_INT32 = 14, SYS_TRAP32 = 15,
};
static inline unsigned desc_type(const Desc *d) { return d->hi >> 8 & 15; }
static inline unsigned desc_dpl(const Desc *d) { return d->hi >> 13 & 3; }
static inline bool desc_s(const Desc *d) { return d->hi & SEG_S; }
static inline bool desc_present(const Desc *d) { return d->hi & SEG_P; }
static inline bool desc_is_code(const Desc *d) { return (d->hi & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE); }
static inline uint64_t desc_base(const Desc *d)
{
    return (d->lo >> 16) | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
}
static inline uint32_t desc_limit(const Desc *d)
{
    uint32_t l = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi & SEG_G ? l << 12 | 0xfff : l;
}
static inline uint32_t gate_offset(const Desc *d) { return (d->hi & 0xffff0000u) | (d->lo & 0xffff); }
static inline uint16_t gate_sel(const Desc *d) { return d->lo >> 16; }

/* Reads the 8-byte descriptor of sel from GDT or LDT; false: null, or beyond the table. */
bool x86_desc_read(X86Cpu *c, uint16_t sel, Desc *d);
/* In long mode also the upper half of a 16-byte system descriptor; false as above or bad upper type. */
bool x86_desc_read_sys(X86Cpu *c, uint16_t sel, Desc *d);
void x86_desc_mark_accessed(X86Cpu *c, Desc *d);
X86Seg x86_desc_seg(uint16_t sel, const Desc *d);

static inline bool x86_protected(const X86Cpu *c) { return (c->mode & (MODE_PE | MODE_VM86)) == MODE_PE; }
static inline bool x86_long(const X86Cpu *c) { return c->efer & EFER_LMA; }

/* Real and virtual-8086 mode: base is 16 times the selector. No checks. */
void x86_seg_set_real(X86Cpu *c, unsigned s, uint16_t sel);
/* MOV/POP to a data segment register or SS in the current mode, with all checks. Mode word updated. */
void x86_seg_load(X86Cpu *c, unsigned s, uint16_t sel);
/* A null selector in s. dpl: kept for SS, whose DPL is the CPL. */
void x86_seg_set_null(X86Cpu *c, unsigned s, uint16_t sel, unsigned dpl);
/* A flat segment as SYSCALL and friends build it. */
void x86_seg_set_flat(X86Cpu *c, unsigned s, uint16_t sel, uint32_t attr);
/* Descriptor of a new stack segment for privilege level dpl; faults are #TS/#SS(sel) + ext. */
X86Seg x86_seg_check_ss(X86Cpu *c, uint16_t sel, unsigned dpl, unsigned ext, int fault);
/* After a return to an outer level: data segments that level may not use become null. */
void x86_seg_drop_outer(X86Cpu *c);
/* Code segment and rip at once; cpl replaces the selector's RPL. */
void x86_cs_set(X86Cpu *c, uint16_t sel, const Desc *d, unsigned cpl);
/* Would rip fit the code segment d? (canonical in 64-bit code) */
bool x86_rip_ok(X86Cpu *c, const Desc *d, uint64_t rip);
/* The code segment is for 64-bit code (long mode, L=1). */
static inline bool desc_code64(X86Cpu *c, const Desc *d) { return x86_long(c) && (d->hi & SEG_L); }

/* A stack being written to or read from before it becomes current. */
typedef struct Stack {
    X86Seg ss;
    uint64_t sp, mask;
    unsigned bank;
    uint32_t ss_error;          /* error code of #SS when it does not fit */
} Stack;
Stack x86_stack_current(X86Cpu *c);
Stack x86_stack_on(X86Cpu *c, const X86Seg *ss, uint64_t sp, unsigned cpl, bool code64, uint32_t ss_error);
void x86_stack_push(X86Cpu *c, Stack *s, unsigned size, uint64_t v);
uint64_t x86_stack_pop(X86Cpu *c, Stack *s, unsigned size);
/* rSP takes s->sp (only the part the stack size has). */
void x86_stack_commit(X86Cpu *c, const Stack *s);

/* SS:SP (or RSP) for privilege level from the TSS; raises #TS. long mode: ist 0-7, ss is not used. */
void x86_tss_stack(X86Cpu *c, unsigned dpl, uint16_t *ss, uint32_t *sp, unsigned ext);
uint64_t x86_tss_rsp(X86Cpu *c, unsigned dpl, unsigned ist, unsigned ext);

typedef enum { TASK_JMP, TASK_CALL, TASK_IRET } TaskHow;
/* Switches to the task whose TSS descriptor is d (checked available/busy here). */
void x86_task_switch(X86Cpu *c, uint16_t sel, Desc *d, TaskHow how, bool has_error, uint32_t error, unsigned ext);

/* An instruction of no length: what c->insn is where a fault must not move rip. */
extern const X86Insn x86_no_insn;
/* PAE: loads the four page-directory pointers at cr3; false (nothing changed): reserved bits set. */
bool x86_load_pdptes(X86Cpu *c, uint64_t cr3);

/* Can a processor be in such a state? */
bool x86_modes_possible(uint64_t cr0, uint64_t cr4, uint64_t efer);

/* Triple fault: halts c and asks for a machine reset. Always false. */
bool x86_shutdown(X86Cpu *c);

/* RFLAGS from an image under mask (IRET, POPF, task switch): writes bits of mask, updates the mode word. */
void x86_flags_load(X86Cpu *c, uint64_t image, uint64_t mask);

/* IF went from clear to set, or an event may have become deliverable: look before the next block. */
static inline void x86_attend(X86Cpu *c)
{
    if (atomic_load_explicit(&c->vcpu.irq, memory_order_relaxed))
        atomic_fetch_or_explicit(&c->vcpu.attention, 1, memory_order_relaxed);
}

#endif
