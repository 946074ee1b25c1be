/*
 * jit_int: what the parts of the translator share.
 *
 * One JitCpu per vcpu: its own code cache, blocks and tables, used by its own thread only. The
 * exceptions are `dirty` (pages another thread wrote; under dirty_lock) and the counters.
 */
#ifndef ACCEL_JIT_INT_H
#define ACCEL_JIT_INT_H

#include "accel/jit/emit.h"
#include "accel/jit/env.h"
#include "accel/interp/interp.h"
#include "target/x86/mem.h"

#include <stdio.h>

/* Host registers with a role. Guest RSP lives in R9; guest R9-R11 live in X86Cpu.gpr. */
enum { S0 = H_R10, S1 = H_R11, HSP = H_R9 };
enum { JIT_BLOCK_INSNS = 64, JIT_MAX_INSNS = 80, JIT_MAX_EXITS = 96, JIT_MAX_COND = 10, HASH_START = 1 << 14 };

typedef struct JitBlock JitBlock;
typedef struct JitPage JitPage;
typedef struct JitCpu JitCpu;

/* FH_CC: env.cc_code makes them, as at every way into a block by a call, a return or an indirect branch. */
typedef enum { FH_HOST, FH_RECIPE, FH_SAVED, FH_DEAD, FH_CC } FlagHome;
typedef enum { RC_NONE, RC_CMP_RR, RC_CMP_RI, RC_TEST_RR, RC_TEST_RI, RC_LOGIC, RC_ADD_RI, RC_SUB_RI,
               RC_ADD_RR, RC_SUB_RR, RC_SAVED } RecipeKind;
/* How to make the flags again from guest registers that still hold what they need. */
typedef struct Recipe {
    uint8_t kind, size, a, b;   /* guest register numbers */
    int32_t imm;
    int32_t adj;                /* a has since moved by this constant (RSP) */
} Recipe;

typedef struct JitExit {        /* a direct branch */
    JitBlock *from, *to;
    struct JitExit *next_in;    /* of `to`'s incoming list */
    uint32_t patch;             /* its rel32; this and the following: offsets in the cache */
    uint32_t stub;              /* where the rel32 goes while not linked */
    uint32_t thunk;             /* far; 0: none yet */
    uint32_t lit, jump;         /* the thunk's literal and last rel32 */
    int32_t off;                /* target minus start of the page */
    bool nogroup;               /* wants the variant without group checks */
    bool far;                   /* the target is in another page: linked by way of a thunk */
    bool lazy;                  /* flags are at FH_CC on the way */
    bool flags_dead;            /* the target reads no flags: they may be anything on the way */
    bool refused;               /* a trace that could not be entered: never linked, see trace.c */
} JitExit;

typedef struct InsnMark {       /* side table: one per guest instruction */
    uint32_t host;              /* offset of its code from the block's code */
    int32_t off : 21;           /* its place, from the start of the block's page */
    uint32_t recipe : 8;        /* index into recipes when FH_RECIPE */
    uint32_t home : 3;          /* FlagHome at its host instruction */
} InsnMark;

#define MODE_JIT_NOGROUP (1u << 31)     /* key bit: variant without group checks */
#define MODE_JIT_LAZY (1u << 30)        /* key bit: reads or hands on flags, which are at FH_CC at its start */
#define MODE_JIT_KEYS (MODE_JIT_NOGROUP | MODE_JIT_LAZY)

/* host of an instruction that has no code: jit_fault_insn() must not find it. */
#define MARK_NONE UINT32_MAX

struct JitBlock {
    const uint8_t *key;         /* host address of the first instruction's bytes */
    uint32_t mode;
    uint16_t n, len;            /* instructions, guest bytes */
    uint8_t uses;               /* USES_* */
    bool dead, live_in;         /* live_in: reads flags it did not set */
    uint64_t code, entry;       /* executable addresses */
    uint64_t ientry;            /* way in with r10 = RIP, flags at FH_CC; 0: not needed so far */
    uint32_t code_len, cold;    /* cold: offset in the cache of what belongs out of line */
    X86Insn *insns;             /* NULL: decode them from raw when needed, with jit_block_insn() */
    const uint8_t *raw;         /* the bytes it was made from, and some more: raw_len */
    uint16_t raw_len;
    InsnMark *marks;
    Recipe *recipes;
    JitExit *exits, *incoming;
    unsigned n_exits;
    JitBlock *page_next;
    uint64_t token;             /* the page's */
    JitBlock *alias_of;         /* stands for the tail of that block's instruction in the next page */
    uint64_t peek_lines;        /* 64-byte lines of the page whose code it drew conclusions from */
    struct JitTrace *trace;     /* NULL: a plain block */
    uint32_t runs;              /* with check: how often it was compared */
    uint16_t *live;             /* with check=on: flags live before each instruction, and at the end */
};
/* Runs in the interpreter before translation; the second: of code on pages whose code was overwritten lately. */
enum { HEAT_ENTRIES = 1 << 16, HEAT_DEFAULT = 1, HEAT_CHURN = 4, CHURN_ENTRIES = 1 << 12, CHURN_SEEN = 2 };
enum { USES_NONE, USES_VEC, USES_FPU };

struct JitPage {                /* a page with code */
    const uint8_t *host;
    RamBlock *ram;              /* NULL: ROM */
    uint64_t ram_offset;
    uint64_t token;             /* random; no other page has or had it */
    JitBlock *blocks;
    uint64_t lines;             /* 64-byte lines with translated bytes */
    unsigned written;           /* times a store hit code here */
};

enum { JIT_EXIT_LOOKUP, JIT_EXIT_CHAIN, JIT_EXIT_POLL_DEAD, JIT_EXIT_FPU, JIT_EXIT_SIGNAL, JIT_EXIT_BODY,
       JIT_EXIT_DEAD, JIT_EXIT_GUARD, JIT_EXIT_COUNT };

typedef struct JitStubs {       /* executable addresses */
    uint64_t enter, exit_chain, exit_miss, exit_rip, exit_poll, exit_poll_dead, exit_fpu, exit_signal, exit_dead, exit_guard;
    uint64_t cc_load, cc_save;  /* called: FH_CC to EFLAGS and back (destroys r11) */
    uint64_t cc_saved, cc_get;  /* env.cc_code of parked flags; FH_CC's flags for C */
    uint64_t exit_poll_cc, far_again_cc;
    uint64_t far_again, ret_empty, cbody[3], cbody_end, syscall, sysret, vec_out, vec_in, stk_fill[TLB_BANKS], reach_fill[2][TLB_N];
    uint64_t str[2][2][2][4][TLB_N];    /* tmpl_string.c: by 64-bit code, STOS, REP, log2 of the size, bank */
    uint64_t lo, hi;            /* all stubs */
} JitStubs;

typedef struct CodeCache {
    uint8_t *rw;
    uint64_t rx;
    size_t size, used, stub_bytes;      /* hot code: [0, hot_size) */
    size_t hot_size, cold;      /* slow paths and ways out: [hot_size, size), used up to cold */
} CodeCache;

/* What a call of a C body needs: made when it first happens. The call is MOV r10d, imm32 (instruction of the block,
   then jit_id of this), and a CALL of BODY_CALL bytes. */
enum { BODY_CALL = 5 };
typedef struct JitBody {
    X86Insn i;
    int64_t next;               /* address of the following instruction minus vbase */
} JitBody;

typedef struct JitSlot {        /* of the table of blocks: open addressing, NULL ends a search */
    uint64_t tag;               /* hash of key and mode */
    JitBlock *b;
} JitSlot;

/* Where C bodies that end a block go on mostly: no search while the salt is the same and no block has died. */
enum { NEAR_ENTRIES = 2048 };
typedef struct JitNear { uint64_t rip, salt, entry, age; } JitNear;

/* A page a trace runs through beside its first: at entry + d it must be `host`. */
enum { TRACE_PAGES = 4, TRACE_HEADS = 1024, TRACE_SITES = 16 };
typedef struct JitTrace {
    unsigned n_pages, refused;  /* refused: times it could not be entered */
    uint16_t seen;              /* its word in env.far_seen: the trace may be entered from there, if it has more pages */
    unsigned n_sites;
    struct { uint16_t slot; uint8_t k; } site[TRACE_SITES];    /* of env.reach; the instruction */
    uint64_t no_reach;          /* instructions whose addresses jump about */
    struct { const uint8_t *host; int32_t d; } page[TRACE_PAGES];
} JitTrace;
typedef struct TraceHead {      /* a place generated code was found going back to */
    const uint8_t *key;
    uint32_t mode;
    uint8_t seen, tries;
    uint64_t no_reach;          /* see JitTrace */
} TraceHead;

typedef struct JitStats {
    uint64_t blocks, insns, guest_bytes, code_bytes, flushes, invalidated, chained, lookups, interp, enters,
             signals, cinsns, saves, writes_on_code, traces, recorded, exits[JIT_EXIT_COUNT];
} JitStats;

typedef struct JitMachine {     /* Machine.accel_state */
    SoftCode *code;
    size_t tb_size;
    unsigned threshold;
    bool exact, check;
    unsigned traces;            /* times a way back must be met before it is recorded; 0: no traces */
    unsigned check_first;       /* check=N: this many runs of each block, then one in CHECK_EVERY; 0: all */
    FILE *perf;                 /* perf=on: the map perf reads symbols of generated code from */
} JitMachine;

struct JitCpu {
    X86Cpu *c;
    JitMachine *m;
    Interp *interp;
    CodeCache cache;
    JitStubs stubs;
    JitSlot *hash;
    uint64_t hash_mask, hash_used, next_token;      /* the table grows: never more than half full */
    uint64_t age;               /* goes up when blocks die */
    bool seen_used[FAR_TRACES], reach_used[REACH_SLOTS];        /* by traces */
    TraceHead heads[TRACE_HEADS];       /* by hash */
    X86Insn rec_insn;           /* of trace.c: outlives the unwinding of its body */
    TraceHead want;             /* record when this is reached; key NULL: nothing */
    JitNear near[NEAR_ENTRIES];
    GHashTable *pages;          /* host page -> JitPage */
    GPtrArray *order;           /* blocks by code address */
    uint8_t *arena;             /* descriptions of blocks; generated code names them by their offset, see jit_id() */
    size_t arena_size, arena_used;
    uint32_t heat_limit;
    uint32_t heat_used;
    uint8_t churn[CHURN_ENTRIES];       /* by hash of a page: code on it was overwritten */
    uint8_t version[CHURN_ENTRIES];     /* by the same: counts those stores, so that new code starts cold */
    uint8_t heat[HEAT_ENTRIES];         /* runs so far, by hash of the block's start */
    uint8_t *shadow;            /* SHADOW_SIZE bytes, the lowest SHADOW_GUARD unmapped */
    GMutex dirty_lock;
    GArray *dirty;              /* JitDirty written by other threads */
    bool dirty_all;             /* more than fits: everything */
    JitStats st;
    bool has_avx, has_bmi2, exact, want_flush;
    bool local_kernel;          /* supervisor code on pages that are not global was seen this epoch */
    uint32_t seen_epoch;        /* X86Cpu.code_epoch local_kernel belongs to */
    bool failed;                /* check=on found a difference: the machine stops */
    bool one_interp;            /* the next block is the interpreter's */
    bool settle;                /* dead flags were given up: run on until all are written */
    bool want_lazy;             /* the branch cache missed the next block: flags are going to be at FH_CC */
    bool polled;                /* came out where generated code looks at the attention word */
    bool want_fpu;              /* the next block wants x87 state in the host's registers */
    struct JitCheck *check;     /* check=on: check.h */
    JitBody spare;              /* of the instruction that faulted; of a call if the arena is full */
    JitExit *pending_exit;      /* the exit we came from: link it to what is found */
};

typedef struct JitDirty { const uint8_t *host; uint64_t len; } JitDirty;

/* cache.c */
bool jit_cache_create(CodeCache *k, size_t size, GError **err);
void jit_cache_destroy(CodeCache *k);
/* Page-aligned zeroed memory in large pages if there are any; size: a multiple of a page. Free it with munmap. */
void *jit_huge_alloc(size_t size);
void jit_huge_advise(void *p, size_t size);
bool jit_arena_create(JitCpu *j, GError **err);
/* Zeroed, in jit_arena_room() bytes at most; freed by jit_flush. */
void *jit_arena(JitCpu *j, size_t bytes);
static inline size_t jit_arena_room(const JitCpu *j) { return j->arena_size - j->arena_used; }
void jit_arena_reset(JitCpu *j);
/* A short name for what lies in the arena; never below JIT_ID_MIN. */
enum { JIT_ID_MIN = 256, JIT_ID_SHIFT = 3 };
static inline uint32_t jit_id(const JitCpu *j, const void *p) { return ((const uint8_t *)p - j->arena) >> JIT_ID_SHIFT; }
static inline void *jit_by_id(const JitCpu *j, uint32_t id) { return j->arena + ((size_t)id << JIT_ID_SHIFT); }
static inline bool jit_in_cache(const JitCpu *j, uint64_t pc) { return pc - j->cache.rx < j->cache.cold; }

/* stubs.c */
void jit_stubs_make(JitCpu *j);

/* syscall.c: after stubs.cbody_end is made. */
void jit_make_syscall(JitCpu *j, Emit *e);

/* tmpl_string.c: MOVS or STOS on host addresses; called, destroys r10, r11, flags. ZF clear: nothing done. */
uint64_t jit_make_string(Emit *e, bool stos, bool wide, bool rep, unsigned log, unsigned bank);

/* blocks.c */
/* With MODE_JIT_LAZY in mode: one that can be entered with flags at FH_CC. */
JitBlock *jit_block_find(JitCpu *j, const uint8_t *key, uint32_t mode);
/* The page's record; from now on stores to it are noticed. Before its bytes are read. */
JitPage *jit_page(JitCpu *j, const X86Fetch *f);
void jit_block_add(JitCpu *j, JitBlock *b, JitPage *p);
/* Makes stores to these 64-byte lines of p kill `of`. */
void jit_block_watch(JitCpu *j, JitBlock *of, JitPage *p, uint64_t lines);
/* Makes a store to the first len bytes of p kill `of`. */
void jit_block_alias(JitCpu *j, JitBlock *of, JitPage *p, unsigned len);
JitBlock *jit_block_at_pc(JitCpu *j, uint64_t pc);
/* The block pc is out of line of. */
JitBlock *jit_block_at_cold(JitCpu *j, uint64_t pc);
/* For the stubs, of the CALL that returns to ret. */
const JitBody *jit_body(X86Cpu *c, uint64_t ret);
/* Its instruction k. */
X86Insn jit_block_insn(const JitCpu *j, const JitBlock *b, unsigned k);
void jit_block_kill(JitCpu *j, JitBlock *b);
void jit_link(JitCpu *j, JitExit *x, JitBlock *to);
/* Are flags where `to` wants them? */
static inline bool jit_fits(const JitExit *x, const JitBlock *to)
{
    return x->lazy ? to->mode & MODE_JIT_LAZY || !to->live_in : !(to->mode & MODE_JIT_LAZY);
}
void jit_relink(JitCpu *j, JitExit *x, JitBlock *to);   /* bookkeeping of x going to `to` from now on */
void jit_patch32(JitCpu *j, uint8_t *at, uint64_t target);
/* Kills blocks that hold bytes of [host, host+len). True if any. */
bool jit_invalidate(JitCpu *j, const uint8_t *host, uint64_t len);
void jit_flush(JitCpu *j);      /* drops everything; never called with generated code on the stack */
void jit_ibtc_set(JitCpu *j, uint64_t va, uint64_t host);
void jit_ibtc_drop(JitCpu *j, uint64_t va);
void jit_ibtc_clear(JitCpu *j);
/* b can be entered at va from now on while the code space in force is. */
void jit_tag_set(JitCpu *j, uint64_t va, const JitBlock *b);

static inline unsigned jit_page_hash(const uint8_t *host) { return ((uintptr_t)host >> 12) * 0x9e3779b97f4a7c15ULL >> 52; }
uint64_t jit_line_mask(unsigned off, unsigned len);     /* 64-byte lines of a page */

/* code.c: stores to pages that hold translated code. */
void jit_code_written(Vcpu *v, RamBlock *rb, uint64_t off, uint64_t len, bool own);     /* SoftCodeWritten */
void jit_code_take_dirty(JitCpu *j);                            /* stores of other threads */

/* translate.c: translates the block at f.host + off. NULL: not translatable (crosses its page). */
JitBlock *jit_translate(JitCpu *j, const X86Fetch *f, unsigned off, uint32_t mode);
/* An instruction of a trace: its bytes, its place from the start of the first page, whether the trace follows its
   branch, and for a RET it follows the call it comes back from. */
typedef struct TraceStep {
    const uint8_t *raw;
    int32_t off;
    bool follow;
    int16_t call;
} TraceStep;
/* The n instructions of a way from the block's start back to it; tr: its other pages, set by the caller. */
JitBlock *jit_translate_trace(JitCpu *j, const X86Fetch *f, uint32_t mode, const TraceStep *steps, unsigned n, JitTrace *tr);
/* The one instruction at f.host + off that goes on in the page f2: checks f2's mapping each time. */
JitBlock *jit_translate_crossing(JitCpu *j, const X86Fetch *f, const X86Fetch *f2, unsigned off, uint32_t mode);

/* trace.c: see there. */
void jit_trace_sample(JitCpu *j);               /* an event met generated code on its way back to c->rip */
bool jit_trace_wanted(JitCpu *j, const uint8_t *key, uint32_t mode);
/* Runs the wanted code once by C bodies and translates the way it took. NULL: no trace; c has gone on in any case. */
JitBlock *jit_trace_record(JitCpu *j);
/* A slot of env.reach for instruction k of t; -1: none. */
int jit_trace_reach(JitCpu *j, JitTrace *t, unsigned k);
void jit_trace_free(JitCpu *j, JitTrace *t);     /* gives back what a dead trace had */
/* x, a trace's, was refused: the trace to enter now if its pages are in place after all. */
JitBlock *jit_trace_refused(JitCpu *j, JitExit *x);

/* exits.c */
/* The block's way in for the branch cache, made when first asked for; 0: no room. */
uint64_t jit_ientry(JitCpu *j, JitBlock *b);
/* Lets the far exit x go straight to the block `to` wherever its page is at that distance. */
void jit_link_far(JitCpu *j, JitExit *x, JitBlock *to);

/* Where to enter generated code for c->rip, env made ready for it; 0: let the run loop see. */
uint64_t jit_continue(X86Cpu *c);
/* The same for a miss of the branch cache: nothing but RIP has changed. */
uint64_t jit_miss(X86Cpu *c);
/* The same after the far exit env.far_exit was found stale: links it anew. */
uint64_t jit_far_miss(X86Cpu *c);
/* env words that mirror generations kept by mmu.c; after any C body. */
void jit_check_tlb(X86Cpu *c);

/* Generated code's stack: pairs of {guest return address, host return address}; see tmpl_branch.c. */
enum { SHADOW_SIZE = 1 << 20, SHADOW_GUARD = 65536, SHADOW_TOP = 256 };
bool jit_shadow_create(JitCpu *j, GError **err);
void jit_shadow_destroy(JitCpu *j);

/* fault.c */
void jit_thread_init(JitCpu *j);        /* this thread runs j now: its signal stack */
bool jit_signals_install(GError **err);
/* At a JIT_EXIT_SIGNAL: sets rip and flags of the instruction that faulted; NULL if not found. */
const X86Insn *jit_fault_insn(JitCpu *j);

/* vec.c: x87 state between X86Cpu and env.fxarea. */
void jit_fpu_out(X86Cpu *c);
void jit_fpu_in(X86Cpu *c);

/* The part of env.salt that is the mode's; the literal that a way into b adds to salt, page address and code tag: 0 if all is right. */
#define MODE_SALT 0xc2b2ae3d27d4eb4fULL
static inline uint64_t jit_entry_key(const JitBlock *b) { return b->token - (b->mode & ~MODE_JIT_KEYS) * MODE_SALT; }


#endif
