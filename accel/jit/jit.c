/*
 * jit: the engine that translates guest code to host code of the same instruction set.
 *
 * How it works: docs/engine.md.
 */
#include "accel/jit/check.h"
#include "accel/jit/run_int.h"
#include "util/optlist.h"

#include "accel/soft/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TB_DEFAULT_MB = 64, TB_MIN_MB = 2, TB_MAX_MB = 1024, THRESHOLD_MAX = 200,
       TRACE_DEFAULT = 3, TRACE_MAX = 100 };

static bool host_has_avx(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx");
}

static bool host_has_bmi2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("bmi2");
}

static bool jit_probe(const void *cpu_model, GError **why)
{
    return true;
}

/* An option's value; *out stays where it is not given. */
static bool number(GHashTable *opts, const char *name, guint64 *out, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, name) : NULL;

    return !text || g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, out, NULL) ||
           err_set(err, "%s takes a number, not '%s'", name, text);
}

static bool flag(GHashTable *opts, const char *name, bool *out, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, name) : NULL;

    return !text || parse_bool_text(text, out, err) || err_prefix(err, "%s", name);
}

/* check=on, or check=N: the first N runs of each block. */
static bool read_check(GHashTable *opts, JitMachine *jm, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, "check") : NULL;
    guint64 first = 0;

    if (text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT32, &first, NULL))
        jm->check = first > 0;
    else if (!flag(opts, "check", &jm->check, err))
        return false;
    jm->check_first = first;
    return true;
}

static bool read_options(GHashTable *opts, JitMachine *jm, bool *perf, GError **err)
{
    guint64 mb = TB_DEFAULT_MB, traces = TRACE_DEFAULT, threshold;

    if (!number(opts, "tb-size", &mb, err) || !read_check(opts, jm, err))
        return false;
    threshold = jm->check ? 0 : HEAT_DEFAULT;
    if (!number(opts, "threshold", &threshold, err) || !number(opts, "trace", &traces, err) ||
        !flag(opts, "exact", &jm->exact, err) || !flag(opts, "perf", perf, err))
        return false;
    jm->tb_size = (size_t)CLAMP(mb, TB_MIN_MB, TB_MAX_MB) << 20;
    jm->threshold = MIN(threshold, THRESHOLD_MAX);
    jm->traces = MIN(traces, TRACE_MAX);
    return true;
}

static bool jit_create(Machine *m, GHashTable *opts, GError **err)
{
    g_autofree JitMachine *jm = g_new0(JitMachine, 1);
    bool perf = false;

    if (!read_options(opts, jm, &perf, err))
        return false;
    if (perf) {
        g_autofree char *path = g_strdup_printf("/tmp/perf-%d.map", (int)getpid());

        jm->perf = fopen(path, "we");
    }
    jm->code = soft_code_new(m, jit_code_written);
    m->accel_state = g_steal_pointer(&jm);
    return true;
}

static void jit_destroy(Machine *m)
{
    JitMachine *jm = m->accel_state;

    soft_code_free(jm->code);
    if (jm->perf)
        fclose(jm->perf);
    g_free(jm);
    m->accel_state = NULL;
}

static bool jit_vcpu_create(Vcpu *v, GError **err)
{
    JitMachine *jm = v->machine->accel_state;
    JitCpu *j = g_new0(JitCpu, 1);
    X86Cpu *c = x86_cpu(v);

    if (jm->check && v->index) {
        g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "-accel jit,check=on compares what one CPU does: give it a machine with -smp 1");
        g_free(j);
        return false;
    }
    j->c = c;
    j->m = jm;
    if (jm->check)
        j->check = jit_check_new(c);
    if (!jit_signals_install(err) || !jit_cache_create(&j->cache, jm->tb_size, err) ||
        !jit_shadow_create(j, err) || !jit_arena_create(j, err)) {
        jit_shadow_destroy(j);
        jit_cache_destroy(&j->cache);
        g_free(j);
        return false;
    }
    j->heat_limit = jm->threshold;
    j->has_avx = host_has_avx();
    j->has_bmi2 = host_has_bmi2();
    j->exact = jm->exact;
    j->hash_mask = HASH_START - 1;
    j->hash = jit_huge_alloc(HASH_START * sizeof *j->hash);
    jit_huge_advise(c, sizeof *c);
    j->pages = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    j->order = g_ptr_array_new();
    j->dirty = g_array_new(FALSE, FALSE, sizeof(JitDirty));
    g_mutex_init(&j->dirty_lock);
    j->interp = interp_new(c, jm->code, INTERP_ARENA_COLD);
    jit_env(c)->self = (uint64_t)(uintptr_t)c;
    jit_env(c)->host_mxcsr = 0x1f80;
    jit_env(c)->seen_tlb_gen = c->tlb_gen - 1;
    jit_env(c)->reach_n = REACH_LIST + 1;
    jit_stubs_make(j);
    jit_ibtc_clear(j);
    v->engine = j;
    return true;
}

static void jit_vcpu_destroy(Vcpu *v)
{
    JitCpu *j = v->engine;

    v->engine = NULL;
    if (!j)
        return;
    jit_flush(j);
    jit_check_free(j->check);
    interp_free(j->interp);
    g_hash_table_destroy(j->pages);
    g_ptr_array_free(j->order, TRUE);
    munmap(j->arena, j->arena_size);
    g_array_free(j->dirty, TRUE);
    g_mutex_clear(&j->dirty_lock);
    jit_cache_destroy(&j->cache);
    jit_shadow_destroy(j);
    munmap(j->hash, (j->hash_mask + 1) * sizeof *j->hash);
    g_free(j);
}

static const char *const exit_names[JIT_EXIT_COUNT] = { "lookup", "chain", "event", "x87", "fault", "body", "dead",
    "crossing" };

static char *jit_describe(Machine *m)
{
    GString *s = g_string_new(NULL);

    for (unsigned n = 0; n < m->vcpus->len; n++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, n);
        const JitCpu *j = v->engine;
        const JitStats *t;

        if (!j)
            continue;
        t = &j->st;
        g_string_append_printf(s, "cpu %u: translated %" PRIu64 " blocks of %" PRIu64 " guest instructions, %" PRIu64
            " guest bytes -> %" PRIu64 " host bytes\n  cache %zu (out of line %zu) of %zu KiB, %" PRIu64 " flushes, %" PRIu64 " traces of %" PRIu64 " tried, %" PRIu64 " blocks dropped, %" PRIu64
            " stores to code\n  entered %" PRIu64 ", looked up %" PRIu64 ", linked %" PRIu64 ", interpreted blocks %"
            PRIu64 " (%" PRIu64 " instructions), host faults %" PRIu64 "\n  translated as calls %" PRIu64 ", flag saves %" PRIu64 "\n",
            n, t->blocks, t->insns, t->guest_bytes, t->code_bytes, (j->cache.used + j->cache.cold - j->cache.hot_size) >> 10, (j->cache.cold - j->cache.hot_size) >> 10, j->cache.size >> 10, t->flushes, t->traces, t->recorded,
            t->invalidated, t->writes_on_code, t->enters, t->lookups, t->chained, t->interp, v->stat_insns, t->signals, t->cinsns,
            t->saves);
        g_string_append(s, "  ways out:");
        for (unsigned k = 0; k < JIT_EXIT_COUNT; k++)
            g_string_append_printf(s, " %s %" PRIu64, exit_names[k], t->exits[k]);
        g_string_append_c(s, '\n');
        if (j->check) {
            g_autofree char *text = jit_check_describe(j->check);

            g_string_append(s, text);
        }
    }
    return g_string_free(s, FALSE);
}

const Accel jit_accel = {
    .name = "jit",
    .desc = "translator: guest code becomes host code of the same instruction set",
    .options = "tb-size thread threshold exact check perf trace",
    .probe = jit_probe,
    .create = jit_create,
    .destroy = jit_destroy,
    .vcpu_create = jit_vcpu_create,
    .vcpu_destroy = jit_vcpu_destroy,
    .run = jit_run, .debug = soft_debug,
    .describe = jit_describe,
};
