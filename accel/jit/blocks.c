/*
 * blocks: finding, linking and dropping translated blocks.
 *
 * A block is known by the host address of its bytes and the mode word, so every virtual mapping of
 * a page shares it. Code memory is a bump allocator: dropping a block takes it out of all tables,
 * its memory comes back when the whole cache is flushed.
 */
#include "accel/jit/jit_int.h"

#include <string.h>
#include <sys/mman.h>

enum { KILL_PAGE_AFTER = 3 };      /* stores that hit code with no translation in between */

static uint64_t hash_of(const uint8_t *key, uint32_t mode)
{
    uint64_t h = ((uintptr_t)key ^ (uint64_t)mode << 48 ^ mode >> 16) * 0x9e3779b97f4a7c15ULL;

    return h ^ h >> 32;
}

static JitBlock *find(JitCpu *j, const uint8_t *key, uint32_t mode)
{
    uint64_t tag = hash_of(key, mode);

    for (uint64_t n = tag & j->hash_mask; j->hash[n].b; n = (n + 1) & j->hash_mask)
        if (j->hash[n].tag == tag && j->hash[n].b->key == key && j->hash[n].b->mode == mode)
            return j->hash[n].b;
    return NULL;
}

JitBlock *jit_block_find(JitCpu *j, const uint8_t *key, uint32_t mode)
{
    JitBlock *b = find(j, key, mode);

    if (!b && mode & MODE_JIT_LAZY) {
        b = find(j, key, mode & ~MODE_JIT_LAZY);
        if (b && b->live_in)
            return NULL;
    }
    return b;
}

static void hash_place(JitCpu *j, JitSlot s)
{
    uint64_t n = s.tag & j->hash_mask;

    while (j->hash[n].b)
        n = (n + 1) & j->hash_mask;
    j->hash[n] = s;
}

static void hash_grow(JitCpu *j)
{
    JitSlot *old = j->hash;
    uint64_t n = j->hash_mask + 1;

    j->hash = jit_huge_alloc(2 * n * sizeof *old);
    j->hash_mask = 2 * n - 1;
    for (uint64_t k = 0; k < n; k++)
        if (old[k].b)
            hash_place(j, old[k]);
    munmap(old, n * sizeof *old);
}

static void hash_put(JitCpu *j, JitBlock *b)
{
    if (++j->hash_used > j->hash_mask / 2)
        hash_grow(j);
    hash_place(j, (JitSlot) { hash_of(b->key, b->mode), b });
}

/* Closes the gap: later members of the run move up if that does not put them before their place. */
static void hash_drop(JitCpu *j, const JitBlock *b)
{
    uint64_t gap = hash_of(b->key, b->mode) & j->hash_mask;

    while (j->hash[gap].b && j->hash[gap].b != b)
        gap = (gap + 1) & j->hash_mask;
    if (!j->hash[gap].b)
        return;
    for (uint64_t n = (gap + 1) & j->hash_mask; j->hash[n].b; n = (n + 1) & j->hash_mask) {
        uint64_t home = j->hash[n].tag & j->hash_mask;

        if (((n - home) & j->hash_mask) >= ((n - gap) & j->hash_mask)) {
            j->hash[gap] = j->hash[n];
            gap = n;
        }
    }
    j->hash[gap].b = NULL;
    j->hash_used--;
}

static const uint8_t *page_of(const uint8_t *p) { return (const uint8_t *)((uintptr_t)p & ~(uintptr_t)4095); }

uint64_t jit_line_mask(unsigned off, unsigned len)
{
    unsigned a = off >> 6, b = (off + len - 1) >> 6;

    return (~0ULL << a) & (~0ULL >> (63 - MIN(b, 63u)));
}

JitPage *jit_page(JitCpu *j, const X86Fetch *f)
{
    JitPage *p = g_hash_table_lookup(j->pages, f->host);

    if (!p) {
        if (f->ram)
            soft_code_hold(j->m->code, j->c, f->ram, f->ram_offset);
        p = g_new0(JitPage, 1);
        *p = (JitPage) { .host = f->host, .ram = f->ram, .ram_offset = f->ram_offset,
                         .token = ++j->next_token * 0xd6e8feb86659fd93ULL };
        g_hash_table_insert(j->pages, (gpointer)f->host, p);
    }
    return p;
}

void jit_block_add(JitCpu *j, JitBlock *b, JitPage *p)
{
    p->written = 0;
    b->token = p->token;
    b->page_next = p->blocks;
    p->blocks = b;
    p->lines |= jit_line_mask(b->key - p->host, b->len) | b->peek_lines;
    hash_put(j, b);
    g_ptr_array_add(j->order, b);
}

void jit_block_watch(JitCpu *j, JitBlock *of, JitPage *p, uint64_t lines)
{
    JitBlock *b = jit_arena(j, sizeof *b);

    *b = (JitBlock) { .key = p->host, .len = 1, .alias_of = of, .peek_lines = lines };
    b->page_next = p->blocks;
    p->blocks = b;
    p->lines |= lines | 1;
}

void jit_block_alias(JitCpu *j, JitBlock *of, JitPage *p, unsigned len)
{
    JitBlock *b = jit_arena(j, sizeof *b);

    *b = (JitBlock) { .key = p->host, .len = len, .alias_of = of };
    b->page_next = p->blocks;
    p->blocks = b;
    p->lines |= jit_line_mask(0, len);
}

JitBlock *jit_block_at_pc(JitCpu *j, uint64_t pc)
{
    unsigned lo = 0, hi = j->order->len;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        JitBlock *b = g_ptr_array_index(j->order, mid);

        if (pc < b->code)
            hi = mid;
        else if (pc >= b->code + b->code_len)
            lo = mid + 1;
        else
            return b;
    }
    return NULL;
}

JitBlock *jit_block_at_cold(JitCpu *j, uint64_t pc)
{
    unsigned lo = 0, hi = j->order->len;
    uint64_t off = pc - j->cache.rx;

    while (lo < hi) {           /* the last that begins at pc or before */
        unsigned mid = (lo + hi) / 2;

        if (((JitBlock *)g_ptr_array_index(j->order, mid))->cold <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? g_ptr_array_index(j->order, lo - 1) : NULL;
}

X86Insn jit_block_insn(const JitCpu *j, const JitBlock *b, unsigned k)
{
    unsigned at = b->marks[k].off - b->marks[0].off;
    X86Insn i;

    if (b->insns)
        return b->insns[k];
    x86_decode(b->raw + at, b->raw_len - at, b->mode & ~MODE_JIT_KEYS, j->c->model, &i);
    return i;
}

const JitBody *jit_body(X86Cpu *c, uint64_t ret)
{
    JitCpu *j = c->vcpu.engine;
    const JitBlock *b = ret - j->cache.rx <= j->cache.hot_size ? jit_block_at_pc(j, ret - 1) : jit_block_at_cold(j, ret - 1);
    uint8_t *imm = j->cache.rw + (ret - j->cache.rx) - BODY_CALL - 4;
    bool keep = jit_arena_room(j) > 4096;
    JitBody *y = keep ? jit_arena(j, sizeof *y) : &j->spare;
    uint32_t k, id;

    memcpy(&k, imm, 4);
    y->i = jit_block_insn(j, b, k);
    y->next = b->marks[k].off + y->i.len;
    id = jit_id(j, y);
    if (keep)
        memcpy(imm, &id, 4);
    return y;
}

void jit_patch32(JitCpu *j, uint8_t *at, uint64_t target)
{
    uint64_t rx = j->cache.rx + (at - j->cache.rw);
    int32_t d = target - (rx + 4);

    __atomic_store_n((int32_t *)at, d, __ATOMIC_RELEASE);
}

/* Takes x out of its target's list. */
static void forget(JitExit *x)
{
    for (JitExit **pp = &x->to->incoming; *pp; pp = &(*pp)->next_in) {
        if (*pp == x) {
            *pp = x->next_in;
            break;
        }
    }
}

void jit_relink(JitCpu *j, JitExit *x, JitBlock *to)
{
    if (x->to == to)
        return;
    if (x->to)
        forget(x);
    x->to = to;
    x->next_in = to->incoming;
    to->incoming = x;
    j->st.chained++;
}

void jit_link(JitCpu *j, JitExit *x, JitBlock *to)
{
    if (x->to || x->from->dead || to->dead || !jit_fits(x, to))
        return;
    jit_relink(j, x, to);
    jit_patch32(j, j->cache.rw + x->patch, to->entry);
}

static void unlink_exit(JitCpu *j, JitExit *x)
{
    jit_patch32(j, j->cache.rw + x->patch, j->cache.rx + x->stub);
    x->to = NULL;
}

static void drop_outgoing(JitBlock *b)
{
    for (unsigned i = 0; i < b->n_exits; i++) {
        JitExit *x = &b->exits[i];

        if (x->to && x->to != b)
            forget(x);
    }
}

void jit_block_kill(JitCpu *j, JitBlock *b)
{
    if (b->dead)
        return;
    b->dead = true;
    if (b->trace)
        jit_trace_free(j, b->trace);
    j->age++;
    for (JitExit *x = b->incoming; x; x = x->next_in)
        unlink_exit(j, x);
    b->incoming = NULL;
    drop_outgoing(b);
    hash_drop(j, b);
    /* Whoever still comes through the branch cache, with r10 = RIP, goes to the run loop. */
    if (b->ientry) {
        uint8_t *at = j->cache.rw + (b->ientry - j->cache.rx);

        *at = 0xe9;
        jit_patch32(j, at + 1, j->stubs.exit_dead);
    }
    j->st.invalidated++;
}

static void drop_page(JitCpu *j, JitPage *p)
{
    if (p->ram)
        soft_code_release(j->m->code, p->ram, p->ram_offset);
    g_hash_table_remove(j->pages, p->host);
}

/* A page being overwritten piece by piece: let the stores run at full speed. */
static void kill_page(JitCpu *j, JitPage *p)
{
    for (JitBlock *b = p->blocks; b; b = b->page_next)
        jit_block_kill(j, b->alias_of ? b->alias_of : b);
    p->blocks = NULL;
    p->lines = 0;
}

bool jit_invalidate(JitCpu *j, const uint8_t *host, uint64_t len)
{
    bool any = false;

    for (const uint8_t *pg = page_of(host); pg < host + len; pg += 4096) {
        JitPage *p = g_hash_table_lookup(j->pages, pg);
        const uint8_t *a = MAX(host, pg), *z = MIN(host + len, pg + 4096);

        uint64_t hit = jit_line_mask(a - pg, z - a);

        if (!p || !(p->lines & hit))
            continue;
        p->lines = 0;
        for (JitBlock **pp = &p->blocks; *pp;) {
            JitBlock *b = *pp;

            if ((b->key < z && b->key + b->len > a) || b->peek_lines & hit) {
                *pp = b->page_next;
                jit_block_kill(j, b->alias_of ? b->alias_of : b);
                any = true;
            } else {
                p->lines |= jit_line_mask(b->key - pg, b->len) | b->peek_lines;
                pp = &b->page_next;
            }
        }
        p->written += any;
        if (p->blocks && p->written >= KILL_PAGE_AFTER)
            kill_page(j, p);
        if (!p->blocks)
            drop_page(j, p);
    }
    return any;
}

void jit_ibtc_clear(JitCpu *j)
{
    JitEnv *e = jit_env(j->c);

    for (unsigned i = 0; i < IBTC_ENTRIES; i++)
        e->ibtc_host[i] = j->stubs.exit_miss;
}

void jit_ibtc_drop(JitCpu *j, uint64_t va)
{
    JitEnv *e = jit_env(j->c);
    unsigned n = va & (IBTC_ENTRIES - 1);

    e->ibtc_host[n] = j->stubs.exit_miss;
}

void jit_ibtc_set(JitCpu *j, uint64_t va, uint64_t host)
{
    JitEnv *e = jit_env(j->c);

    e->ibtc_host[va & (IBTC_ENTRIES - 1)] = host;
}

void jit_tag_set(JitCpu *j, uint64_t va, const JitBlock *b)
{
    JitEnv *e = jit_env(j->c);
    uint64_t page = va & ~(uint64_t)(TLB_PAGE - 1), n = page >> (j->has_bmi2 ? 12 : 8) & (IBTC_ENTRIES - 1);

    e->code_tag[(b->mode & MODE_CPL) == 3][n] = -(page + b->token + e->salt - j->c->mode * MODE_SALT);
}

void jit_flush(JitCpu *j)
{
    GHashTableIter it;
    gpointer p;

    g_hash_table_iter_init(&it, j->pages);
    while (g_hash_table_iter_next(&it, NULL, &p))
        if (((JitPage *)p)->ram)
            soft_code_release(j->m->code, ((JitPage *)p)->ram, ((JitPage *)p)->ram_offset);
    memset(j->hash, 0, (j->hash_mask + 1) * sizeof *j->hash);
    j->hash_used = 0;
    j->age++;
    g_hash_table_remove_all(j->pages);
    g_ptr_array_set_size(j->order, 0);
    jit_arena_reset(j);
    jit_env(j->c)->far_exit = 0;
    j->cache.used = j->cache.stub_bytes;
    j->cache.cold = j->cache.hot_size;
    jit_ibtc_clear(j);
    memset(j->seen_used, 0, sizeof j->seen_used);
    memset(j->reach_used, 0, sizeof j->reach_used);
    j->want.key = NULL;
    j->st.flushes++;
}
