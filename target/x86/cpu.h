/*
 * cpu: the architectural state of one x86 processor, and the words engines share.
 *
 * Everything here belongs to the vcpu's own thread while it runs; others use vcpu_run_on().
 * Generated code addresses fields by offsetof, so the hot ones come first. Names follow the
 * Intel SDM. Reset values and the state description: target/x86/state.c.
 */
#ifndef TARGET_X86_CPU_H
#define TARGET_X86_CPU_H

#include "softmmu/tlb.h"
#include "softmmu/vcpu.h"

enum { R_RAX, R_RCX, R_RDX, R_RBX, R_RSP, R_RBP, R_RSI, R_RDI,
       R_R8, R_R9, R_R10, R_R11, R_R12, R_R13, R_R14, R_R15 };
enum { S_ES, S_CS, S_SS, S_DS, S_FS, S_GS, S_LDTR, S_TR, S_COUNT };

enum {                          /* RFLAGS */
    FL_CF = 1 << 0, FL_1 = 1 << 1, FL_PF = 1 << 2, FL_AF = 1 << 4, FL_ZF = 1 << 6, FL_SF = 1 << 7,
    FL_TF = 1 << 8, FL_IF = 1 << 9, FL_DF = 1 << 10, FL_OF = 1 << 11, FL_IOPL = 3 << 12,
    FL_NT = 1 << 14, FL_RF = 1 << 16, FL_VM = 1 << 17, FL_AC = 1 << 18, FL_VIF = 1 << 19,
    FL_VIP = 1 << 20, FL_ID = 1 << 21,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};
#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_NW (1u << 29)
#define CR0_CD (1u << 30)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_MCE (1u << 6)
#define CR4_PGE (1u << 7)
#define CR4_PCE (1u << 8)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_UMIP (1u << 11)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PCIDE (1u << 17)
#define CR4_OSXSAVE (1u << 18)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)
#define XCR0_X87 (1u << 0)
#define XCR0_SSE (1u << 1)
#define XCR0_AVX (1u << 2)

enum {                          /* exception vectors */
    EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10,
    EXC_NP, EXC_SS, EXC_GP, EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM,
};
enum { PF_P = 1 << 0, PF_W = 1 << 1, PF_U = 1 << 2, PF_RSVD = 1 << 3, PF_I = 1 << 4 };

typedef struct X86Seg {         /* visible selector and hidden descriptor cache */
    uint64_t base;
    uint32_t limit;             /* in bytes, inclusive (granularity applied) */
    uint32_t attr;              /* the descriptor's high dword, bits 8-23: type S DPL P AVL L D/B G */
    uint16_t sel;
} X86Seg;
#define SEG_TYPE(a) (((a) >> 8) & 15)
#define SEG_S (1u << 12)
#define SEG_DPL(a) (((a) >> 13) & 3)
#define SEG_P (1u << 15)
#define SEG_AVL (1u << 20)
#define SEG_L (1u << 21)
#define SEG_DB (1u << 22)
#define SEG_G (1u << 23)
#define SEG_CODE (1u << 11)     /* with S: code */
#define SEG_CONF (1u << 10)     /* code: conforming; data: expand-down */
#define SEG_WR (1u << 9)        /* code: readable; data: writable */
#define SEG_ACC (1u << 8)

typedef struct X86Table { uint64_t base; uint16_t limit; } X86Table;   /* GDTR, IDTR */

typedef union X86Vec {          /* one vector register; the low 32 bytes are YMM, 16 XMM */
    uint8_t b[64];
    uint16_t w[32];
    uint32_t d[16];
    uint64_t q[8];
    float ps[16];
    double pd[8];
} __attribute__((aligned(64))) X86Vec;

typedef struct X86Fp80 {        /* an x87 register: explicit integer bit in mant */
    uint64_t mant;
    uint16_t se;                /* sign and exponent */
} __attribute__((aligned(16))) X86Fp80;

typedef struct X87 {
    X86Fp80 r[8];               /* by physical number: ST(i) is r[(top + i) & 7]; MMX uses mant */
    uint16_t cw, sw;            /* sw without TOP: use x87_sw() */
    uint8_t top;
    uint8_t empty;              /* bit n: r[n] is empty */
    uint16_t fop;
    uint64_t fip, fdp;
    uint16_t fcs, fds;
} X87;

/* The mode word: what decoding and generated code may depend on besides the bytes; part of a
   block's key. Kept true by x86_update_mode() after any change of CR0, CR4, EFER, XCR0, CS,
   SS, DS, ES, EFLAGS.{TF,VM,AC}, SMM. */
enum {
    MODE_CPL = 3 << 0,
    MODE_PE = 1 << 2,
    MODE_VM86 = 1 << 3,
    MODE_LMA = 1 << 4,          /* long mode active (64-bit or compatibility) */
    MODE_CS64 = 1 << 5,         /* 64-bit code */
    MODE_CS32 = 1 << 6,         /* CS.D: 32-bit default sizes */
    MODE_SS32 = 1 << 7,         /* SS.B (set in 64-bit code too) */
    MODE_FLAT = 1 << 8,         /* CS, SS, DS, ES: base 0, full limit (always in 64-bit code) */
    MODE_TF = 1 << 9,           /* single step or debug: one instruction per block */
    MODE_FPU_NM = 1 << 10,      /* x87 use faults #NM (CR0.EM or TS) */
    MODE_SSE_NM = 1 << 11,      /* CR0.TS: vector use faults #NM */
    MODE_SSE_UD = 1 << 12,      /* CR0.EM or no CR4.OSFXSR: SSE is #UD */
    MODE_AVX_UD = 1 << 13,      /* no CR4.OSXSAVE or XCR0 without AVX: VEX vector is #UD */
    MODE_SMAP_A = 1 << 14,      /* data accesses use bank TLB_A (CPL<3, SMAP on, AC=1) */
    MODE_AM = 1 << 15,          /* alignment checks on: CR0.AM, EFLAGS.AC, CPL 3 */
    MODE_SMM = 1 << 16,
    MODE_IOPL_OK = 1 << 17,     /* CPL <= IOPL: cli, sti, in, out without asking the TSS */
    MODE_SHADOW = 1 << 18,      /* interrupt shadow (STI, MOV SS): block is one instruction */
    MODE_UMIP = 1 << 19,
    MODE_STEP = 1 << 20,        /* EFLAGS.TF (MODE_TF is set too) */
};

typedef struct X86Exception {   /* one being raised or delivered */
    int vector;                 /* -1: none */
    uint32_t error;
    bool has_error;
    bool soft;                  /* INT n, INT3, INTO: gate DPL is checked, RIP is the next one */
    bool external;              /* hardware interrupt */
    bool intn;                  /* with soft: the INT n instruction (v86 treats it apart) */
} X86Exception;

enum { X86_ENGINE_AREA = 1600 << 10 };

typedef struct X86Cpu X86Cpu;
typedef struct X86Insn X86Insn;

/* A local APIC's registers for an engine that keeps them: word n of the register page is at 16 n. */
typedef struct X86ApicRegs {
    uint32_t reg[64];
    uint64_t base, tsc_deadline;
} X86ApicRegs;

/* The door to the local APIC (and the PIC behind it); set by the board. Machine lock held for
   ack; msr and tpr calls take what they need themselves. */
typedef struct X86ApicOps {
    int (*ack)(X86Cpu *c);                      /* vector to deliver now, or -1 (spurious, masked) */
    uint8_t (*get_tpr)(X86Cpu *c);              /* CR8 form: 0-15 */
    void (*set_tpr)(X86Cpu *c, uint8_t cr8);
    uint64_t (*get_base)(X86Cpu *c);            /* IA32_APIC_BASE */
    bool (*set_base)(X86Cpu *c, uint64_t v);    /* false: #GP */
    bool (*rdmsr)(X86Cpu *c, uint32_t msr, uint64_t *v);    /* x2APIC 0x800-0x83f, TSC deadline; false: #GP */
    bool (*wrmsr)(X86Cpu *c, uint32_t msr, uint64_t v);
    void (*poll)(X86Cpu *c);                    /* VCPU_IRQ_POLL, on the vcpu thread, lock held */
    void (*smm)(X86Cpu *c, bool in);            /* entered or left SMM: show or hide SMRAM; NULL: nothing to do */
    void (*get_regs)(X86Cpu *c, X86ApicRegs *r);        /* from and to an engine that keeps the APIC: see */
    void (*set_regs)(X86Cpu *c, const X86ApicRegs *r);  /* softmmu/irqchip.h; own thread or stopped */
} X86ApicOps;

typedef struct X86Held {        /* an event an engine had begun to deliver when its state was taken */
    bool valid, has_error, external, soft;
    uint8_t vector;
    uint32_t error;
} X86Held;

typedef struct X86Msrs {        /* plain storage; meaning in target/x86/msr.c */
    uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux, tsc_adjust;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, mtrr_def, mtrr_fix[11], mtrr_var[16];
    uint64_t misc_enable, mcg_status, mcg_ctl, mce_banks[40], smbase, spec_ctrl, feature_control, debugctl;
    uint64_t pv[8], hv[8];      /* paravirtual interfaces of an engine (accel/kvm/msrs.c); 0: unused by the guest */
} X86Msrs;

struct X86Cpu {
    Vcpu vcpu;

    /* Hot: addressed by generated code. */
    uint64_t gpr[16];
    uint64_t rip;
    const X86Insn *insn;        /* the one being executed: a raised fault takes its length off rip */
    uint64_t lf_res, lf_aux;    /* lazy arithmetic flags: target/x86/flags.h */
    uint32_t eflags;            /* RFLAGS less the arithmetic bits, FL_1 set */
    uint32_t mode;              /* MODE_* */
    uint8_t data_bank;          /* TlbBank of ordinary data accesses now */
    uint8_t vl_dirty;           /* unused by the interpreter */
    uint32_t mxcsr;
    X86Seg seg[S_COUNT];
    uint64_t tsc_offset;        /* guest TSC = host TSC + this (x86_rdtsc) */
    uint64_t tsc_still;         /* the host's while the machine is stopped; 0: it runs */

    uint64_t cr0, cr2, cr3, cr4, cr8, xcr0, efer;
    uint64_t dr[8];
    X86Table gdtr, idtr;
    X86Msrs msr;
    X86Exception exc;
    X86Held held;               /* delivered before anything else */
    bool nmi_masked, smm;
    bool in_exception_delivery; /* between raise and handler: for double fault */
    uint64_t pdpte[4];          /* PAE paging: loaded at MOV CR3 */
    uint64_t mwait_addr;        /* MONITOR armed; ~0: not */
    bool wait_sipi;             /* after INIT, until a start-up IPI */
    bool no_step;               /* the instruction under way delivered an event: no single-step trap after it */
    uint32_t db_pending;        /* DR6 bits of debug events to deliver before the next instruction */
    uint64_t rflags_image, tsc_image, tsc_skew; /* while the state is saved and loaded: RFLAGS, TSC, TSC less that of CPU 0 */

    X87 x87;
    X86Vec vec[32];

    /* Kept by mmu.c for engines that remember translations. tlb_gen changes whenever a first-level
       entry is dropped or loses a tag. code_space names the set of translations in force: it
       changes when a fetch may translate differently than before (CR3, flush, page flush), and
       takes an old value again only if nothing changed in that address space since. */
    /* code_epoch is the same for global translations, which all spaces share (X86Fetch.global). */
    uint32_t tlb_gen, code_epoch;
    uint64_t code_space;

    TlbEntry tlb[TLB_BANKS][TLB_ENTRIES] __attribute__((aligned(4096)));
    struct X86Mmu *mmu;         /* second-level TLB and walk caches: target/x86/mmu.c */
    const X86ApicOps *apic_ops;
    void *apic;
    const struct X86Model *model;   /* CPUID: target/x86/cpuid.c */
    uint32_t apic_id;
    bool bsp;

    /* The engine's words and tables that generated code reaches at a fixed distance from the cpu
       (accel/jit/env.h). Zero at creation; mapped lazily, so it costs nothing where unused. */
    uint8_t engine_area[X86_ENGINE_AREA] __attribute__((aligned(4096)));
};

static inline X86Cpu *x86_cpu(Vcpu *v) { return (X86Cpu *)v; }
static inline unsigned x86_cpl(const X86Cpu *c) { return c->mode & MODE_CPL; }

/* Reasons for siglongjmp(c->vcpu.unwind, ...). */
enum { UNWIND_EXCEPTION = 1,    /* c->exc is set: engine repairs rip, then x86_deliver() */
       UNWIND_EXIT,             /* leave run() with vcpu.exit_reason; rip already right */
       UNWIND_RESUME };         /* state changed under the block: look up c->rip again */

/* Raise: never returns; unwinds to the engine. The engine takes c->insn->len off c->rip for faults. */
G_NORETURN void x86_raise(X86Cpu *c, int vector);
G_NORETURN void x86_raise_err(X86Cpu *c, int vector, uint32_t error);
G_NORETURN void x86_raise_pf(X86Cpu *c, uint64_t va, uint32_t error);

/* Creates a CPU of model (from x86_model_parse) attached to m; powered-on state. NULL and err on failure. */
X86Cpu *x86_cpu_new(Machine *m, const struct X86Model *model, int index, GError **err) MUST_CHECK;
void x86_cpu_free(X86Cpu *c);
extern const VcpuOps x86_vcpu_ops;
char *x86_describe(Vcpu *v);    /* "info registers"; caller frees */

void x86_update_mode(X86Cpu *c);
/* RFLAGS with arithmetic bits materialized / split into lf_* and eflags (no checks, no mode update). */
uint64_t x86_get_rflags(X86Cpu *c);
void x86_set_rflags(X86Cpu *c, uint64_t v);
uint64_t x86_rdtsc(X86Cpu *c);          /* stands while the machine is stopped, except where KVM runs all of the guest */
uint64_t x86_tsc_hz(void);      /* guest TSC ticks per second */

/*
 * Deliver c->exc (exceptions, INT n, external interrupts) through the IDT of the current mode.
 * Faults while delivering become double or triple fault inside. c->rip must be exact: the
 * faulting instruction for faults, the next one for traps, soft and external interrupts.
 * Returns false on triple fault (machine reset requested, vcpu halted).
 */
bool x86_deliver(X86Cpu *c);
/*
 * Between blocks, attention was set: takes at most one of (in this order) SMI, INIT, NMI, SIPI,
 * INTR, debug trap, honouring IF, shadow and NMI mask. True: control flow changed. Takes the
 * machine lock where it must.
 */
bool x86_service(X86Cpu *c);
/*
 * After each instruction run in a block whose key had MODE_TF or MODE_SHADOW (such blocks are one
 * instruction long): key is that block's mode word. Ends the interrupt shadow, notices single-step
 * and breakpoints; when something is due, sets attention, so that x86_service() comes next.
 */
void x86_boundary(X86Cpu *c, uint32_t key);
/* Pending and deliverable right now (used by has_work and HLT). */
bool x86_irq_deliverable(const X86Cpu *c);

#endif
