/*
 * code: the shared table of pages with code, and the handshake that makes stores to them visible.
 *
 * Also what makes stores visible to displays and migration again after they cleared dirty bits.
 */
#include "accel/soft/code.h"

struct SoftCode {
    Machine *machine;
    SoftCodeWritten *written;
    GMutex lock;
    GHashTable *holders;        /* host page -> number of holds; lock */
};

/* ---- dirty bits that were cleared ---- */

typedef struct Protect { RamBlock *rb; uint64_t off, len; } Protect;

static bool has_block(Machine *m, RamBlock *rb)
{
    return rb == m->ram || g_ptr_array_find(m->ram_blocks, rb, NULL);
}

/*
 * On the vcpu's thread. What was stored between clearing the bits and now left no mark: where the vcpu
 * could store without one, the pages count as written once more.
 */
static void protect_now(Vcpu *v, void *opaque)
{
    g_autofree Protect *p = opaque;

    if (has_block(v->machine, p->rb) && x86_tlb_protect(x86_cpu(v), p->rb, p->off, p->len))
        ram_mark_written(p->rb, p->off, p->len);
}

static void on_protect(void *opaque, RamBlock *rb, uint64_t off, uint64_t len)
{
    SoftCode *s = opaque;
    GPtrArray *vcpus = s->machine->vcpus;

    if (!has_block(s->machine, rb))
        return;                 /* another machine's */
    for (unsigned n = 0; n < vcpus->len; n++) {
        Protect *p = g_new(Protect, 1);

        *p = (Protect) { rb, off, len };
        vcpu_queue(g_ptr_array_index(vcpus, n), protect_now, p);
    }
}

SoftCode *soft_code_new(Machine *m, SoftCodeWritten *written)
{
    RegionListener l = { .protect = on_protect };
    SoftCode *s = g_new0(SoftCode, 1);

    s->machine = m;
    s->written = written;
    g_mutex_init(&s->lock);
    s->holders = g_hash_table_new(NULL, NULL);
    l.opaque = s;
    addrspace_listen(&m->mem, &l);
    return s;
}

void soft_code_free(SoftCode *s)
{
    addrspace_unlisten(&s->machine->mem, s);
    g_hash_table_destroy(s->holders);
    g_mutex_clear(&s->lock);
    g_free(s);
}

/* RamBlock.code_written */
static void on_written(void *opaque, RamBlock *rb, uint64_t off, uint64_t len)
{
    SoftCode *s = opaque;
    GPtrArray *vcpus = s->machine->vcpus;
    Vcpu *self = vcpu_current();

    for (unsigned n = 0; n < vcpus->len; n++) {
        Vcpu *v = g_ptr_array_index(vcpus, n);

        s->written(v, rb, off, len, v == self);
    }
}

typedef struct Withdraw { RamBlock *rb; uint64_t off; } Withdraw;

static void withdraw(Vcpu *v, void *opaque)
{
    Withdraw *w = opaque;

    x86_tlb_protect(x86_cpu(v), w->rb, w->off, TLB_PAGE);
}

void soft_code_hold(SoftCode *s, X86Cpu *c, RamBlock *rb, uint64_t off)
{
    GPtrArray *vcpus = s->machine->vcpus;
    Withdraw w = { rb, off & ~(uint64_t)(TLB_PAGE - 1) };
    gpointer key = rb->host + w.off;

    rb->code_opaque = s;
    rb->code_written = on_written;
    g_mutex_lock(&s->lock);
    g_hash_table_insert(s->holders, key, GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(s->holders, key)) + 1));
    atomic_fetch_or(&rb->pages[w.off >> 12], RAM_CODE);
    g_mutex_unlock(&s->lock);
    x86_tlb_protect(c, rb, w.off, TLB_PAGE);
    if (vcpus->len == 1)
        return;
    machine_lock();
    for (unsigned n = 0; n < vcpus->len; n++)
        if (g_ptr_array_index(vcpus, n) != &c->vcpu)
            vcpu_run_on(g_ptr_array_index(vcpus, n), withdraw, &w);
    machine_unlock();
}

void soft_code_release(SoftCode *s, RamBlock *rb, uint64_t off)
{
    gpointer key = rb->host + (off & ~(uint64_t)(TLB_PAGE - 1));
    unsigned n;

    g_mutex_lock(&s->lock);
    n = GPOINTER_TO_UINT(g_hash_table_lookup(s->holders, key));
    if (n > 1) {
        g_hash_table_insert(s->holders, key, GUINT_TO_POINTER(n - 1));
    } else {
        g_hash_table_remove(s->holders, key);
        atomic_fetch_and(&rb->pages[off >> 12], (uint8_t)~RAM_CODE);
    }
    g_mutex_unlock(&s->lock);
}
