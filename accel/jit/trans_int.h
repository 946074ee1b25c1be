/*
 * trans_int: the state of one translation, shared by the template files.
 */
#ifndef ACCEL_JIT_TRANS_INT_H
#define ACCEL_JIT_TRANS_INT_H

#include "accel/jit/jit_int.h"

enum { FL_ALL = FL_ARITH, MAX_SLOW = 2 * JIT_MAX_INSNS };

typedef struct Access {         /* a memory access that belongs to a group */
    int8_t group;               /* -1: none */
    int32_t pos;                /* its first byte, on the group's scale */
} Access;

typedef struct TInsn {          /* a guest instruction of the block */
    const X86Insn *i;
    const X86Row *row;
    const uint8_t *raw;
    int32_t off, next;          /* from the start of the block's page; a trace may leave it */
    uint16_t rd, kill;          /* flags read, surely overwritten */
    uint16_t live_in, live_out;
    uint16_t read_out;          /* flags after it that an instruction of this block reads */
    bool touches;               /* reads or changes host flags */
    bool follow;                /* the trace goes on where this branch leads */
    int16_t call;               /* follow, RET: the call it comes back from */
    Access mem, stk;            /* of the memory operand; of push, pop, call, ret */
} TInsn;

typedef struct Slow {           /* out-of-line continuation of instruction k by its C body */
    uint8_t *at, *resume;       /* its jcc; where to come back, NULL: the body ends the block */
    uint8_t *retry;             /* stack cache: try this again after a refill */
    uint8_t *found;             /* r10 = page: if the TLB has it after all, on from here; see mem_const() */
    bool write;
    bool to_cc;                 /* at resume flags are expected at FH_CC */
    int32_t disp;
    uint16_t k, size;
    uint8_t base;
    FlagHome home;
    Recipe rc;
} Slow;

typedef struct ReachTmp {       /* out of line: an access outside its reach asks the TLB */
    uint8_t *at, *back;
    uint16_t slot, size;
    int16_t slow, exit;         /* whose jcc is the TLB's miss */
    bool write;
} ReachTmp;

typedef enum { X_CHAIN, X_FAR, X_POLL, X_NOGROUP, X_GUARD, X_CC } ExitKind;
typedef struct ExitTmp {
    uint8_t *at;                /* rel32 to bind */
    int32_t toff;               /* target minus page start */
    uint8_t kind;
    bool flags_dead;            /* X_POLL: the target does not read flags */
    bool lazy;                  /* flags are at FH_CC */
    bool other_mode;            /* the mode word has changed on the way */
    bool refused;               /* X_NOGROUP: before a trace's first instruction */
    FlagHome home;              /* X_NOGROUP: state of flags there */
    Recipe rc;
    uint8_t *retry;             /* stack group: after a refill */
    uint8_t *found;             /* X_NOGROUP: as in Slow */
    bool write;
    int32_t disp;
    uint16_t size;
} ExitTmp;

typedef struct Group {          /* accesses proved by one check; see group.c */
    uint8_t base, index, scale; /* guest registers, BASE_RIP, BASE_NONE */
    bool write;
    bool hoisted;               /* proved once, before the block's loop */
    uint8_t count;
    int8_t id;
    uint16_t first;             /* instruction with the first access */
    int32_t lo, hi;             /* bytes, relative to base at the start of its epoch */
    int32_t first_pos, first_disp;      /* of the first access: on that scale; its displacement */
} Group;

typedef struct Tr {
    Emit e;
    JitCpu *j;
    X86Cpu *c;
    const uint8_t *page;
    uint8_t *start;             /* of the code, writable alias */
    uint32_t mode;
    unsigned now;               /* instruction being emitted */
    unsigned n, n_slow, n_reach, n_exits, n_recipes, uses, bank;
    bool code64, ended, nogroup, lazy, poll_end;
    JitTrace *trace;            /* NULL: a plain block */
    bool closed;                /* the trace ends where it began */
    bool loops;                 /* a branch of the block goes to its start: see group.c */
    uint8_t *loop_top;          /* where it goes */
    FlagHome home;
    Recipe rc;                  /* valid unless RC_NONE */
    uint64_t entry, peek_lines;
    bool peeked;                /* fl_peek() was asked for this place last */
    int32_t peeked_at;
    uint16_t peeked_flags;
    Group groups[JIT_GROUPS];
    unsigned n_groups;
    int s1_group;               /* r11 holds this group's host address; -1: none */
    TInsn t[JIT_MAX_INSNS];
    InsnMark marks[JIT_MAX_INSNS];
    Recipe recipes[3 * JIT_MAX_INSNS];
    ReachTmp reach[MAX_SLOW];
    Slow slow[MAX_SLOW];
    ExitTmp exits[JIT_MAX_EXITS];
} Tr;

/* Host register of guest general register g, or -1 for those that live in memory. */
static inline int tr_host(unsigned g) { return g == R_RSP ? HSP : g >= R_R9 && g <= R_R11 ? -1 : (int)g; }
/* Puts guest register g into scratch s if it lives in memory; returns the host register. */
unsigned tr_get(Tr *t, unsigned g, unsigned s);
void tr_put(Tr *t, unsigned g, unsigned s);     /* scratch s back to g, if g lives in memory */

/* flags.c */
void fl_effects(TInsn *x);
void fl_liveness(Tr *t, uint16_t at_end);
uint16_t fl_peek(Tr *t, int32_t off);           /* flags the code at off of this page may read */
void fl_clobber(Tr *t, uint16_t live);          /* code that destroys host flags follows */
void fl_host(Tr *t, unsigned scratch);          /* host flags must be the guest's */
void fl_emit(Tr *t, FlagHome home, const Recipe *rc, unsigned scratch);
/* What makes the flags goes to env.cc_*: FH_CC. Destroys scratch; if flags are in the host's register, r11 and flags too. */
void fl_lazy(Tr *t, unsigned scratch);
void fl_lazy_code(Emit *e, const Recipe *rc);   /* out of line: env.cc_code */
void fl_save(Emit *e);          /* parks the host's flags; destroys r11 and flags */
void fl_restore(Emit *e, unsigned scratch);     /* parked flags to the host's */
void fl_after(Tr *t, const TInsn *x);           /* x was emitted and touched flags */
/* x is about to change these guest registers (after its access, before its commit). */
void fl_writes(Tr *t, uint32_t gpr_mask, uint16_t live_out, unsigned scratch);
bool fl_writes_emits(const Tr *t, uint32_t gpr_mask, uint16_t live_out);        /* would fl_writes() need a scratch? */
void fl_rsp_moves(Tr *t, int32_t by, uint16_t live_out, unsigned scratch);
uint32_t fl_gpr_written(const TInsn *x);        /* mask of guest registers x may change */

/* mem.c */
bool mem_ok(const Tr *t, const X86Insn *i);     /* can the access be emitted? */
void mem_ea(Tr *t, const TInsn *x, unsigned s); /* linear address of the operand into scratch s (r10); may use r11 */
/* disp + base + index << scale into scratch s, without segment; w: all 64 bits. May use r11. */
void mem_address(Tr *t, unsigned base, unsigned index, unsigned scale, int32_t disp, bool w, unsigned s);
/* Host address of an access of x by k: afterwards [r11 + r10]; on failure the C body runs. */
void mem_check(Tr *t, unsigned k, unsigned size, bool write);
HMem mem_operand(Tr *t, unsigned k, unsigned size, bool write);   /* ea + check, or group */
/* Through the stack cache: afterwards [base + r11 + disp], base a host register; r10 is free. */
void mem_stack(Tr *t, unsigned k, unsigned base, int32_t disp, unsigned size);
/* r10 = address: r10 = offset in its page if the TLB has it, r11 = host page. No jump yet. */
void mem_lookup(Tr *t, bool write);
/*
 * An access at a constant address or distance from the code, inside one page: its place in the TLB is taken to be that of this
 * mapping of the code, so that the access waits for no address. Afterwards r11 = host page; r10 = page where the branch returned is
 * taken. With BASE_RIP mem_const_again() is to follow there: other mappings look in their own place.
 */
bool mem_is_const(const Tr *t, unsigned base, unsigned index, int32_t disp, unsigned size);
uint8_t *mem_const(Tr *t, unsigned base, int32_t disp, bool write);
void mem_const_again(Tr *t, bool write, uint8_t *found);
/* As mem_lookup() and the compare, by way of a reach; its miss is the jcc of slow path or exit `slow`, `exit` (or -1).
   Afterwards [r11 + r10]. */
void mem_reach(Tr *t, unsigned reach, bool write, unsigned size, int slow, int exit);
int mem_get_reach(Tr *t, unsigned k, unsigned size);    /* -1: no reach for k's access */
/* The stack access of push, pop, call, ret. */
HMem mem_stack_operand(Tr *t, unsigned k, int32_t disp, unsigned size);
void mem_add_slow(Tr *t, uint8_t *jcc, unsigned k);     /* jcc goes to k's C body */
void mem_slow_resume(Tr *t);                    /* slow paths since the instruction began come back here */

/* copy.c */
bool copy_ok(const Tr *t, const TInsn *x);
void copy_emit(Tr *t, unsigned k);

/* tmpl_*.c: return false if the form is left to the C body. */
bool tmpl_int(Tr *t, unsigned k);
bool tmpl_stack(Tr *t, unsigned k);
bool tmpl_branch(Tr *t, unsigned k);
bool tmpl_string(Tr *t, unsigned k);
bool tmpl_system(Tr *t, unsigned k);
bool tmpl_regs(Tr *t, unsigned k);
bool regs_keep_flags(const TInsn *x);           /* the same for instructions of tmpl_regs */
bool regs_go_on(const Tr *t, const TInsn *x);
/* BT, BTS, BTR, BTC with the bit number in a register. */
static inline bool is_bit_string(const X86Insn *i) { return i->map == MAP_0F && (i->opcode & 0xe7) == 0xa3; }
/* Classes that end a block. A port access may change the memory map: the new one holds for the next instruction. */
enum { CL_STOP = CL_END | CL_IO };
bool system_goes_on(const Tr *t, const TInsn *x);       /* CL_END, but its template continues the block */
bool system_keeps_flags(const TInsn *x);                /* its template neither reads nor writes flags */
bool system_is_ac(const TInsn *x);                      /* STAC, CLAC */
void tmpl_cbody(Tr *t, unsigned k);
void tr_cbody_call(Tr *t, unsigned k, bool ends);
/* Ends the path: to offset toff of the page (may be outside it), flags needed there. */
void tr_exit(Tr *t, int32_t toff, int32_t from_next);
void tr_exit_far(Tr *t, int32_t toff);          /* by the branch cache */
void tr_exit_indirect(Tr *t);                   /* r10 = RIP */
void tr_mark(Tr *t, unsigned k);                /* the host instruction of k follows: side table */

/* group.c */
void group_plan(Tr *t);
void group_start(Tr *t, unsigned k);            /* checks of groups that begin with k */
void group_loop(Tr *t);         /* checks that hold for all rounds of the block's loop, and its top */
HMem group_operand(Tr *t, const Access *a);     /* r10 stays free */

#endif
