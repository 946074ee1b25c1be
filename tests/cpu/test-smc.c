/*
 * test-smc: code that changes under the processor: by itself, through an alias, by another
 * processor, by a device; on both software engines.
 */
#include "tests/cpu/rig.h"

#include "softmmu/accel.h"
#include "softmmu/dma.h"

/* A store to an instruction that lies dist nops ahead in the same run. */
static void store_ahead_takes_effect(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);

    for (unsigned round = 0; round < 2; round++)
        for (unsigned dist = 0; dist < 120; dist++) {
            Code k = { .n = 0 };

            E(&k, 0xc6, 5);                     /* mov byte [rip + d], 0x42: the immediate of mov al, 1 */
            emit32(&k, dist + 1);
            E(&k, 0x42);
            for (unsigned n = 0; n < dist; n++)
                E(&k, 0x90);
            E(&k, 0xb0, 1);                     /* mov al, 1 */
            g_assert_true(rig_exec(r, RIG_64, k.b, k.n));
            g_assert_cmphex(r->c->gpr[R_RAX] & 0xff, ==, 0x42);
        }
    rig_free(r);
}

/* A loop that counts up its own immediate: sum of 0..199. */
static void loop_patches_itself(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    /* xor eax,eax; mov ecx,200; 1: add eax, imm32(0); inc dword [rip-10]; dec ecx; jnz 1b */
    static const uint8_t code[] = { 0x31, 0xc0, 0xb9, 200, 0, 0, 0, 0x05, 0, 0, 0, 0,
                                    0xff, 0x05, 0xf6, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75, 0xf1 };

    g_assert_true(rig_exec(r, RIG_64, code, sizeof code));
    g_assert_cmpuint(r->c->gpr[R_RAX], ==, 199 * 200 / 2);
    rig_free(r);
}

/* An instruction across a page border; its tail on the second page is patched. */
static void tail_on_next_page_is_seen(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    uint32_t border = RIG_CODE + 0x1000;
    Code k = { .n = 0 };

    for (unsigned v = 1; v <= 3; v++) {
        k.n = 0;
        E(&k, 0xc7, 0x04, 0x25);                /* mov dword [border + 1], v: upper bytes of the immediate */
        emit32(&k, border + 1);
        emit32(&k, v);
        E(&k, 0xe9);                            /* jmp border - 3 */
        emit32(&k, border - 3 - (RIG_CODE + k.n + 4));
        rig_mode(r, RIG_64);
        rig_put(r, RIG_CODE, k.b, k.n);
        k.n = 0;
        E(&k, 0x48, 0xb8, 0x11, 0x22, 0, 0, 0, 0, 0, 0, 0xe6, RIG_EXIT, 0xf4);   /* movabs rax, ...; out; hlt */
        rig_put(r, border - 3, k.b, k.n);
        g_assert_true(rig_run(r, 5000));
        g_assert_cmphex(r->c->gpr[R_RAX], ==, 0x2211 | (uint64_t)v << 16);
    }
    rig_free(r);
}

/* Linear 2 MiB up maps the same RAM as 0 (both 2 MiB pages to frame 0): patch there, run here. */
static void store_through_alias_is_seen(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    uint64_t pde = 0x87;
    Code k = { .n = 0 };

    /* call f; mov byte [alias of f + 1], 9; mov ebx, eax; call f; out */
    uint32_t f = RIG_CODE + 0x100, alias = f + (2 << 20);
    E(&k, 0xe8);
    emit32(&k, f - (RIG_CODE + k.n + 4));
    E(&k, 0xc6, 0x04, 0x25);
    emit32(&k, alias + 1);
    E(&k, 9, 0x89, 0xc3, 0xe8);
    emit32(&k, f - (RIG_CODE + k.n + 4));
    E(&k, 0xe6, RIG_EXIT, 0xf4);
    rig_mode(r, RIG_64);
    rig_put(r, 0x102008, &pde, 8);
    rig_put(r, RIG_CODE, k.b, k.n);
    k.n = 0;
    E(&k, 0xb8, 5, 0, 0, 0, 0xc3);
    rig_put(r, f, k.b, k.n);
    g_assert_true(rig_run(r, 5000));
    g_assert_cmpuint(r->c->gpr[R_RBX], ==, 5);
    g_assert_cmpuint(r->c->gpr[R_RAX], ==, 9);
    rig_free(r);
}

/* REP MOVSB lays code over the instructions that follow it. */
static void string_store_over_code_is_seen(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    Code k = { .n = 0 };

    E(&k, 0xbe);                                /* mov esi, src; mov edi, dst; mov ecx, 5; rep movsb; dst: mov eax, 1 */
    emit32(&k, RIG_DATA);
    E(&k, 0xbf);
    emit32(&k, RIG_CODE + 17);
    E(&k, 0xb9, 5, 0, 0, 0, 0xf3, 0xa4, 0xb8, 1, 0, 0, 0);
    g_assert_cmpuint(k.n, ==, 22);
    for (unsigned v = 7; v < 12; v++) {
        uint8_t patch[5] = { 0xb8, v };

        rig_put(r, RIG_DATA, patch, 5);
        g_assert_true(rig_exec(r, RIG_64, k.b, k.n));
        g_assert_cmpuint(r->c->gpr[R_RAX], ==, v);
    }
    rig_free(r);
}

/* A device writes over an endless loop: the loop ends. */
static void device_store_ends_loop(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    static const uint8_t code[] = { 0xff, 0xc0, 0xeb, 0xfc, 0xe6, RIG_EXIT, 0xf4 };  /* 1: inc eax; jmp 1b; out; hlt */
    static const uint8_t nops[] = { 0x90, 0x90 };

    rig_mode(r, RIG_64);
    rig_put(r, RIG_CODE, code, sizeof code);
    g_assert_false(rig_run(r, 100));
    g_assert_true(r->c->gpr[R_RAX] > 1000);
    dma_write(&r->m->mem, RIG_CODE + 2, nops, 2);
    g_assert_true(rig_run(r, 5000));
    rig_free(r);
}

/*
 * CPU 1 calls f in a loop and stores what it returns; CPU 0 patches f's immediate, waits until
 * CPU 1 reports it, and goes on to the next value.
 */
static void other_cpu_patches_function(gconstpointer engine)
{
    enum { ROUNDS = 200 };
    Rig *r = rig_new(engine, 2);
    uint32_t f = RIG_CODE + 0x800, shared = RIG_DATA, one = RIG_CODE + 0x400;
    Code k = { .n = 0 };

    rig_mode(r, RIG_64);
    /* mov ecx, 1; 1: mov [f+1], ecx; 2: cmp [shared], ecx; jne 2b; inc ecx; cmp ecx, ROUNDS; jbe 1b; out; hlt */
    E(&k, 0xb9, 1, 0, 0, 0, 0x89, 0x0c, 0x25);
    emit32(&k, f + 1);
    E(&k, 0x39, 0x0c, 0x25);
    emit32(&k, shared);
    E(&k, 0x75, 0xf7, 0xff, 0xc1, 0x81, 0xf9);
    emit32(&k, ROUNDS);
    E(&k, 0x76, 0xe6, 0xe6, RIG_EXIT, 0xf4);
    rig_put(r, RIG_CODE, k.b, k.n);
    k.n = 0;
    E(&k, 0xe8);                                /* 1: call f; mov [shared], eax; cpuid-free: jmp 1b */
    emit32(&k, f - (one + 5));
    E(&k, 0x89, 0x04, 0x25);
    emit32(&k, shared);
    E(&k, 0xeb, (uint8_t)-14);
    rig_put(r, one, k.b, k.n);
    rig_put(r, f, (const uint8_t[]){ 0xb8, 0, 0, 0, 0, 0xc3 }, 6);
    rig_mode_cpu(r, 1, RIG_64);
    x86_cpu(g_ptr_array_index(r->m->vcpus, 1))->rip = one;
    x86_cpu(g_ptr_array_index(r->m->vcpus, 1))->gpr[R_RSP] = RIG_STACK - 0x1000;
    g_assert_true(rig_run(r, 60000));
    g_assert_cmpuint(r->c->gpr[R_RCX], ==, ROUNDS + 1);
    rig_free(r);
}

/* Two CPUs count one variable up with LOCK INC on a page that also holds code. */
static void locked_counts_on_code_page_are_exact(gconstpointer engine)
{
    rig_count_locked(engine, RIG_CODE + 0x200, RIG_CODE + 0x210);
}

/* A load from this device lets another thread patch the immediate of the last instruction. */
enum { PATCHER = RIG_EXIT_MEM + 0x1000 };
static gpointer patch(gpointer data)
{
    Rig *r = data;
    uint8_t *imm = r->m->ram->host + RIG_CODE + 10;

    *imm = 2;
    ram_mark_written(r->m->ram, RIG_CODE + 10, 1);
    return NULL;
}
static uint64_t patcher_read(void *opaque, uint64_t off, unsigned size)
{
    g_thread_join(g_thread_new("patch", patch, opaque));
    return 0;
}
static void patcher_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { }
static const IoOps patcher_ops = { patcher_read, patcher_write, .max = 4 };

/* After a serializing instruction the processor runs what others have stored before it. */
static void serializing_sees_other_store(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    Region device;
    Code k = { .n = 0 };

    region_init_io(&device, "patcher", &patcher_ops, r, 4);
    region_add(&r->m->mem_root, &device, PATCHER, 1);
    E(&k, 0x8b, 0x04, 0x25);                    /* mov eax, [PATCHER]; cpuid; mov edi, 1 */
    emit32(&k, PATCHER);
    E(&k, 0x0f, 0xa2, 0xbf, 1, 0, 0, 0);
    for (unsigned round = 0; round < 3; round++) {
        g_assert_true(rig_exec(r, RIG_64, k.b, k.n));
        g_assert_cmpuint(r->c->gpr[R_RDI], ==, 2);
    }
    region_del(&device);
    machine_sync_views(r->m);
    region_destroy(&device);
    rig_free(r);
}

/* A display clears the mark of a page again and again; the same loop keeps storing there. */
static void stores_after_clearing_are_marked(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    Code k = { .n = 0 };
    unsigned seen = 0;

    E(&k, 0xff, 0x04, 0x25);                    /* 1: inc dword [RIG_DATA]; jmp 1b */
    emit32(&k, RIG_DATA);
    E(&k, 0xeb, 0xf7);
    rig_mode(r, RIG_64);
    rig_put(r, RIG_CODE, k.b, k.n);
    r->c->vcpu.halted = false;
    machine_start(r->m);
    for (unsigned i = 0; i < 2000 && seen < 20; i++) {
        seen += ram_test_and_clear_dirty(r->m->ram, RIG_DATA, 4096, RAM_DIRTY_VGA);
        machine_loop_once(r->m, false);
        machine_unlock();
        g_usleep(1000);
        machine_lock();
    }
    machine_stop(r->m, RUN_PAUSED);
    g_assert_cmpuint(seen, ==, 20);
    rig_free(r);
}

int main(int argc, char **argv)
{
#define T(f) { #f, f }
    static const RigTest tests[] = {
        T(store_ahead_takes_effect),
        T(loop_patches_itself),
        T(tail_on_next_page_is_seen),
        T(store_through_alias_is_seen),
        T(string_store_over_code_is_seen),
        T(device_store_ends_loop),
        T(other_cpu_patches_function),
        T(serializing_sees_other_store),
        T(stores_after_clearing_are_marked),
        T(locked_counts_on_code_page_are_exact),
    };

    return rig_main(argc, argv, "/cpu/smc", false, tests, G_N_ELEMENTS(tests));
}
