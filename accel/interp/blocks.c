/*
 * blocks: decoded blocks of one vcpu, keyed by host address of their bytes and mode word.
 *
 * Blocks live in an arena that is emptied as a whole. A block stays inside its page; an
 * instruction that crosses into the next one, or lies outside RAM, is decoded each time.
 */
#include "accel/interp/interp_int.h"

#include "util/log.h"

#include <inttypes.h>

static unsigned block_hash(const uint8_t *key, uint32_t mode)
{
    uint64_t h = ((uint64_t)(uintptr_t)key ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15ULL;

    return h >> (64 - HASH_BITS);
}

static unsigned jump_slot(uint64_t lin)
{
    return (lin ^ lin >> JUMP_BITS) & ((1 << JUMP_BITS) - 1);
}

Interp *interp_new(X86Cpu *c, SoftCode *code, size_t arena)
{
    Interp *e = g_new0(Interp, 1);

    e->c = c;
    e->code = code;
    e->pages = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    e->arena = g_malloc(arena);
    e->arena_size = arena;
    e->scratch = g_malloc0(sizeof(Block) + sizeof(X86Insn));
    e->written = g_array_new(false, false, sizeof(Written));
    g_mutex_init(&e->written_lock);
    return e;
}

void interp_forget_all(Interp *e)
{
    GHashTableIter it;
    gpointer page;

    g_hash_table_iter_init(&it, e->pages);
    while (g_hash_table_iter_next(&it, NULL, &page)) {
        CodePage *p = page;

        soft_code_release(e->code, p->ram, p->off);
    }
    g_hash_table_remove_all(e->pages);
    memset(e->jumps, 0, sizeof e->jumps);
    e->last = NULL;
    memset(e->hash, 0, sizeof e->hash);
    e->arena_used = 0;
    e->forgets++;
    e->current = NULL;
}

void interp_free(Interp *e)
{
    interp_forget_all(e);
    g_hash_table_destroy(e->pages);
    g_free(e->arena);
    g_free(e->scratch);
    g_array_free(e->written, true);
    g_mutex_clear(&e->written_lock);
    g_free(e);
}

/* ---- stores to code ---- */

static uint64_t lines_of(uint64_t first, uint64_t last)
{
    unsigned a = first >> 6, b = last >> 6;

    return (~0ULL >> (63 - (b - a))) << a;
}

static bool drop_range(Interp *e, CodePage *p, const uint8_t *host, uint64_t len)
{
    Block **at = &p->blocks;
    bool hit_current = false;
    uint64_t lines = 0;

    while (*at) {
        Block *b = *at;
        unsigned off;

        if (b->key < host + len && host < b->key + b->len) {
            Block **h = &e->hash[block_hash(b->key, b->mode)];

            while (*h && *h != b)
                h = &(*h)->hash_next;
            if (*h)
                *h = b->hash_next;
            b->dead = true;
            hit_current |= b == e->current;
            *at = b->page_next;
            e->dropped++;
        } else {
            off = (uintptr_t)b->key & (TLB_PAGE - 1);
            lines |= lines_of(off, off + b->len - 1);
            at = &b->page_next;
        }
    }
    p->lines = lines;
    return hit_current;
}

/* [off, off+len) of rb changed. True if the current block is among what was dropped. */
static bool drop(Interp *e, RamBlock *rb, uint64_t off, uint64_t len)
{
    bool hit = false;

    while (len) {
        uint64_t in = off & (TLB_PAGE - 1), part = MIN(len, TLB_PAGE - in);
        const uint8_t *host = rb->host + off;
        CodePage *p = g_hash_table_lookup(e->pages, host - in);

        if (p && p->lines & lines_of(in, in + part - 1)) {
            /* A page written over piece by piece: forget all of it, so that the rest runs at full speed. */
            if (++p->hits >= PAGE_HITS)
                hit |= drop_range(e, p, host - in, TLB_PAGE);
            else
                hit |= drop_range(e, p, host, part);
            if (!p->blocks) {
                soft_code_release(e->code, p->ram, p->off);
                g_hash_table_remove(e->pages, host - in);
            }
        }
        off += part;
        len -= part;
    }
    return hit;
}

void interp_code_written(Interp *e, RamBlock *rb, uint64_t off, uint64_t len, bool own)
{
    if (own) {
        /* The instruction under way is finished; then its block is left. */
        if (drop(e, rb, off, len))
            e->stop = e->c->insn + 1;
        return;
    }
    g_mutex_lock(&e->written_lock);
    if (e->written->len >= 4096) {
        /* Too many to remember one by one: everything may have changed. */
        g_array_set_size(e->written, 0);
        len = 0;
    }
    g_array_append_val(e->written, ((Written){ rb, off, len }));
    g_mutex_unlock(&e->written_lock);
    atomic_fetch_or_explicit(&e->c->vcpu.attention, 1, memory_order_release);
}

void interp_take_written(Interp *e)
{
    bool all = false;

    g_mutex_lock(&e->written_lock);
    for (unsigned n = 0; n < e->written->len && !all; n++) {
        Written *w = &g_array_index(e->written, Written, n);

        if (!w->len)
            all = true;
        else
            drop(e, w->rb, w->off, w->len);
    }
    g_array_set_size(e->written, 0);
    g_mutex_unlock(&e->written_lock);
    if (all)
        interp_forget_all(e);
}

/* ---- building ---- */

static CodePage *code_page(Interp *e, const X86Fetch *f)
{
    CodePage *p = g_hash_table_lookup(e->pages, f->host);

    if (!p) {
        soft_code_hold(e->code, e->c, f->ram, f->ram_offset);
        /* Waiting may have run queued work, but nothing that adds pages. */
        p = g_new0(CodePage, 1);
        p->ram = f->ram;
        p->off = f->ram_offset;
        g_hash_table_insert(e->pages, (gpointer)f->host, p);
    }
    return p;
}

static void log_insn(X86Cpu *c, uint64_t lin, const X86Insn *i)
{
    log_printf("cpu%d: %016" PRIx64 " len %u %s\n", c->vcpu.index, lin, i->len, x86_row(i)->mnemonic);
}

/* One instruction at lin, by bytes: across a page border, or from a device. */
static Block *single(Interp *e, uint64_t lin)
{
    X86Cpu *c = e->c;
    uint8_t buf[16];
    unsigned have = 0;
    DecodeResult r = DECODE_MORE;
    Block *b = e->scratch;

    /* Page by page, so that a fetch fault comes only if the instruction needs the next page. */
    while (r == DECODE_MORE && have < 15) {
        uint64_t at = c->mode & MODE_CS64 ? lin + have : (uint32_t)(lin + have);
        unsigned part = MIN(15 - have, TLB_PAGE - (at & (TLB_PAGE - 1)));
        X86Fetch f = x86_fetch_page(c, at);

        if (f.host) {
            memcpy(buf + have, f.host + (at & (TLB_PAGE - 1)), part);
        } else {
            for (unsigned n = 0; n < part; n++) {
                uint64_t v = 0xff;

                addrspace_read(&c->vcpu.machine->mem, f.pa + (at & (TLB_PAGE - 1)) + n, 1, &v);
                buf[have + n] = v;
            }
        }
        have += part;
        r = x86_decode(buf, have, c->mode, c->model, &b->insns[0]);
    }
    b->insns[0].fn = interp_fast(&b->insns[0], c->mode);
    b->mode = c->mode;
    b->insns[0].end = b->insns[0].len;
    b->next[0].to = b->next[1].to = NULL;
    b->n = 1;
    b->len = b->insns[0].len;
    return b;
}

static Block *build(Interp *e, const X86Fetch *f, uint64_t lin)
{
    X86Cpu *c = e->c;
    unsigned off = lin & (TLB_PAGE - 1), at = off;
    unsigned max = c->mode & (MODE_TF | MODE_SHADOW) ? 1 : BLOCK_INSNS;
    CodePage *p;
    Block *b, **slot;

    if (e->arena_size - e->arena_used < sizeof(Block) + BLOCK_INSNS * sizeof(X86Insn))
        interp_forget_all(e);
    p = code_page(e, f);
    b = (Block *)(e->arena + e->arena_used);
    *b = (Block){ .key = f->host + off, .mode = c->mode };
    while (b->n < max && at < TLB_PAGE) {
        X86Insn *i = &b->insns[b->n];
        uint32_t cls;

        if (x86_decode(f->host + at, TLB_PAGE - at, c->mode, c->model, i) == DECODE_MORE)
            break;
        i->fn = interp_fast(i, c->mode);
        b->n++;
        if (log_on(LOG_IN_ASM))
            log_insn(c, lin - off + at, i);
        at += i->len;
        i->end = at - off;
        cls = x86_row(i)->cls;
        if (cls & (CL_BR | CL_END | CL_IO))    /* a port access may change the memory map */
            break;
    }
    b->len = at - off;
    if (!b->n)
        return NULL;
    e->decoded += b->n;
    e->arena_used += sizeof(Block) + b->n * sizeof(X86Insn);
    e->arena_used = (e->arena_used + 15) & ~(size_t)15;
    slot = &e->hash[block_hash(b->key, b->mode)];
    b->hash_next = *slot;
    *slot = b;
    b->page_next = p->blocks;
    p->blocks = b;
    p->lines |= lines_of(off, at - 1);
    p->hits = 0;
    return b;
}

static Block *find_slow(Interp *e, uint64_t lin)
{
    X86Cpu *c = e->c;
    X86Fetch f = x86_fetch_page(c, lin);
    const uint8_t *key = f.host + (lin & (TLB_PAGE - 1));
    Block *b;

    if (!f.host || !f.ram)
        return single(e, lin);
    for (b = e->hash[block_hash(key, c->mode)]; b; b = b->hash_next)
        if (b->key == key && b->mode == c->mode)
            return b;
    b = build(e, &f, lin);
    return b ? b : single(e, lin);
}

Block *interp_find(Interp *e, uint64_t lin)
{
    X86Cpu *c = e->c;
    Jump *j = &e->jumps[jump_slot(lin)];
    Block *b = j->block;

    if (__builtin_expect(b && j->lin == lin && j->mode == c->mode && j->space == c->code_space && !b->dead, 1))
        return b;
    c->insn = &x86_no_insn;             /* a fetch fault belongs to no instruction */
    b = find_slow(e, lin);
    if (b != e->scratch)
        *j = (Jump){ .lin = lin, .space = c->code_space, .block = b, .mode = c->mode };
    return b;
}

unsigned interp_forgets(const Interp *e) { return e->forgets; }

void interp_stats(const Interp *e, uint64_t *decoded, uint64_t *dropped)
{
    *decoded = e->decoded;
    *dropped = e->dropped;
}
