/*
 * interp_int: the interpreter's decoded blocks.
 */
#ifndef ACCEL_INTERP_INT_H
#define ACCEL_INTERP_INT_H

#include "accel/interp/interp.h"

enum { BLOCK_INSNS = 32, HASH_BITS = 15, JUMP_BITS = 12, PAGE_HITS = 3 };

typedef struct Block Block;
struct Block {
    const uint8_t *key;         /* host address of the first byte */
    uint32_t mode;
    uint16_t n, len;            /* instructions, bytes */
    bool dead;                  /* its bytes changed: not to be entered again */
    Block *hash_next, *page_next;
    struct { uint64_t lin, space; Block *to; } next[2];  /* what followed last: falling through, jumping */
    X86Insn insns[];
};

typedef struct CodePage {       /* a page with blocks */
    RamBlock *ram;
    uint64_t off;
    uint64_t lines;             /* 64-byte lines that blocks cover */
    unsigned hits;              /* stores to such lines since a block was added */
    Block *blocks;
} CodePage;

typedef struct Jump {           /* where the block at a linear address was found last */
    uint64_t lin;
    uint64_t space;             /* X86Cpu.code_space then */
    Block *block;
    uint32_t mode;
} Jump;

typedef struct Written { RamBlock *rb; uint64_t off, len; } Written;

struct Interp {
    X86Cpu *c;
    SoftCode *code;
    const X86Insn *stop;        /* end of the current block, or nearer: leave there */
    Block *current;
    Block *last;                /* ran to its end just now; NULL: do not link */
    uint64_t last_end;          /* where falling through it leads, linear */
    Jump jumps[1 << JUMP_BITS];
    Block *hash[1 << HASH_BITS];
    GHashTable *pages;          /* host page -> CodePage */
    uint8_t *arena;
    size_t arena_size, arena_used;
    Block *scratch;             /* one instruction that is not remembered */
    GMutex written_lock;
    GArray *written;            /* of Written: stores by other threads; written_lock */
    uint64_t decoded, dropped;
    unsigned forgets;
};

/* blocks.c: the block for c->rip; may raise #PF or #GP for the fetch. */
Block *interp_find(Interp *e, uint64_t lin);
void interp_forget_all(Interp *e);
/* fast.c: a quicker function for i in this mode than its body, or the body. */
X86Op *interp_fast(const X86Insn *i, uint32_t mode);

#endif
