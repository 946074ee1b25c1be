/*
 * code: what a store to a page with translated code does.
 *
 * The storing vcpu drops its own blocks at once and leaves generated code after the instruction;
 * the others find the range in their dirty list when they look at the attention word.
 */
#include "accel/jit/jit_int.h"

enum { DIRTY_MAX = 4096 };

void jit_code_written(Vcpu *v, RamBlock *rb, uint64_t off, uint64_t len, bool own)
{
    JitCpu *j = v->engine;
    JitDirty d = { rb->host + off, len };

    if (!j)
        return;
    interp_code_written(j->interp, rb, off, len, own);
    if (own) {
        j->st.writes_on_code++;
        j->churn[jit_page_hash(d.host)] = CHURN_SEEN;
        j->version[jit_page_hash(d.host)]++;
        if (jit_invalidate(j, rb->host + off, len))
            jit_env(j->c)->leave = 1;
        return;
    }
    g_mutex_lock(&j->dirty_lock);
    if (j->dirty->len < DIRTY_MAX)
        g_array_append_val(j->dirty, d);
    else
        j->dirty_all = true;
    g_mutex_unlock(&j->dirty_lock);
    atomic_fetch_or_explicit(&v->attention, 1, memory_order_release);
}

void jit_code_take_dirty(JitCpu *j)
{
    interp_take_written(j->interp);
    g_mutex_lock(&j->dirty_lock);
    for (unsigned n = 0; n < j->dirty->len && !j->dirty_all; n++) {
        JitDirty d = g_array_index(j->dirty, JitDirty, n);

        jit_invalidate(j, d.host, d.len);
    }
    if (j->dirty_all)
        jit_flush(j);
    j->dirty_all = false;
    g_array_set_size(j->dirty, 0);
    g_mutex_unlock(&j->dirty_lock);
}
