/*
 * test-kill: SIGKILL at random moments of a workload like a guest's, on every format that can be written.
 *
 * A child writes, zeroes, discards and flushes, and tells through shared memory which operations it began and
 * which a flush covered. After the kill every sector that a flush covered and nobody touched since must read as
 * written, and the image must check without corruption or heal by itself at the next opening.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/block/imgutil.h"
#include "util/bytes.h"

enum { DISK = 4 * MiB, SECTORS = DISK / 512, OPS = 4000 };

static const struct Set { const char *format, *opts; bool snaps, hard; } sets[] = {
    { "qcow2", "cluster_size=64k", true }, { "qcow2", "cluster_size=4k", true }, { "qcow2", "cluster_size=512,refcount_bits=64", true },
    { "qcow2", "cluster_size=16k,extended_l2=on", true }, { "qcow2", "cluster_size=4k,lazy_refcounts=on,refcount_bits=1" },
    { "qcow2", "cluster_size=4k,compat=0.10", true, true }, { "vdi", "static=off" }, { "vpc", "subformat=dynamic,force_size=on" },
    { "vhdx", "block_size=1M" }, { "vmdk", "subformat=monolithicSparse" }, { "vmdk", "subformat=twoGbMaxExtentSparse" },
    { "raw", "preallocation=off" },
};

typedef struct Shared { volatile int begun, flushed; } Shared;
typedef enum { OP_WRITE, OP_ZERO, OP_DISCARD } OpKind;
typedef struct Op { OpKind kind; uint32_t sector, count; uint8_t fill; } Op;

/* Operation i of a run is a function of its seed. */
static Op op_at(uint32_t seed, int i)
{
    uint32_t x = (seed ^ 0x9e3779b9u) * (2 * i + 1) + i;
    Op op;

    x ^= x >> 15; x *= 0x2c1b3c6du; x ^= x >> 12;
    op.kind = x % 20 == 0 ? OP_DISCARD : x % 20 < 4 ? OP_ZERO : OP_WRITE;
    x *= 0x297a2d39u; x ^= x >> 15;
    op.count = 1 + x % (x & 0x400000 ? 8 : 300);
    x *= 0x2c1b3c6du; x ^= x >> 13;
    op.sector = x % (SECTORS - op.count);
    op.fill = 1 + i % 255;
    return op;
}

static void work(const struct Set *set, const char *path, uint32_t seed, Shared *sh)
{
    g_autofree char *spec = g_strdup_printf("driver=%s", set->format);
    g_autofree uint8_t *buf = g_malloc(DISK);
    Scratch t = { .g = block_graph_new(NULL) };
    BlockNode *n = image_open(&t, path, spec, BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH | BLOCK_NO_LOCK);

    for (int i = 0; i < OPS; i++) {
        Op op = op_at(seed, i);
        uint64_t off = op.sector * 512ULL, len = op.count * 512ULL;
        sh->begun = i + 1;
        memset(buf, op.fill, len);
        if (op.kind == OP_WRITE ? block_pwrite(n, off, buf, len) :
            op.kind == OP_ZERO ? block_pwrite_zeroes(n, off, len, i & 1 ? BLOCK_MAY_UNMAP : 0) : block_pdiscard(n, off, len))
            _exit(2);
        if (i % 9 == 8) {
            if (block_flush(n))
                _exit(3);
            sh->flushed = i + 1;
        }
        if (set->snaps && i % 60 == 40 && !block_snapshot_create(n, "s", NULL))
            _exit(4);
        if (set->snaps && i % 60 == 55 && !block_snapshot_delete(n, "s", NULL))
            _exit(5);
    }
    _exit(0);
}

static void note_bad(void *opaque, const char *text)
{
    if (g_str_has_prefix(text, "ERROR") && !strstr(text, "OFLAG_COPIED"))
        g_error("%s", text);
}

static void expect_healthy(Scratch *t, const struct Set *set, const char *path, const char *spec)
{
    g_autoptr(GError) err = NULL;
    BlockCheck res = { .note = note_bad }, fix = { 0 }, again = { .note = note_bad };
    BlockNode *n = image_open(t, path, spec, BLOCK_NO_LOCK);

    if (block_can_check(n)) {
        block_check(n, 0, &res, &err);
        g_assert_no_error(err);
        if (res.corruptions) {          /* snapshot marks: settled by the next writer */
            block_node_unref(n);
            n = image_open(t, path, spec, BLOCK_RDWR | BLOCK_NO_LOCK | BLOCK_NO_FLUSH);
            block_check(n, set->hard ? BLOCK_FIX_ERRORS : 0, &fix, &err);
            block_check(n, 0, &again, &err);
            g_assert_no_error(err);
            g_assert_cmpuint(again.corruptions, ==, 0);
        }
    }
    block_node_unref(n);
}

static void verify(Scratch *t, const struct Set *set, const char *path, uint32_t seed, const Shared *sh)
{
    g_autofree char *spec = g_strdup_printf("driver=%s", set->format);
    g_autofree uint8_t *want = g_malloc0(DISK), *got = g_malloc(DISK), *free_choice = g_malloc0(SECTORS);
    BlockNode *n;

    expect_healthy(t, set, path, spec);
    for (int i = 0; i < sh->begun; i++) {
        Op op = op_at(seed, i);
        memset(free_choice + op.sector, i >= sh->flushed || op.kind == OP_DISCARD, op.count);
        memset(want + op.sector * 512, op.kind == OP_WRITE ? op.fill : 0, op.count * 512);
    }
    n = image_open(t, path, spec, BLOCK_NO_LOCK);
    g_assert_cmpint(block_pread(n, 0, got, DISK), ==, 0);
    block_node_unref(n);
    for (int s = 0; s < SECTORS; s++)
        if (!free_choice[s] && memcmp(got + s * 512, want + s * 512, 512))
            g_error("%s %s seed %u: sector %d lost (%02x, not %02x) after %d of %d operations", set->format, set->opts, seed, s,
                    got[s * 512], want[s * 512], sh->flushed, sh->begun);
}

static void killed_workload_keeps_flushed_data(gconstpointer data)
{
    const struct Set *set = data;
    const char *kills = g_getenv("KILLS");
    int rounds = kills ? MAX(1, atoi(kills) / (int)ARRAY_LEN(sets)) : g_test_slow() ? 250 : 4;
    Shared *sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_autofree char *spec = g_strdup_printf("size=%d,%s", DISK, set->opts);
    int64_t begun = 0;

    for (int k = 0; k < rounds; k++) {
        uint32_t seed = g_random_int();
        Scratch t;
        int status;
        scratch_init(&t);
        g_autofree char *path = image_make(&t, "a", set->format, spec);
        *sh = (Shared) { 0, 0 };
        pid_t pid = fork();
        if (pid == 0)
            work(set, path, seed, sh);
        int enough = g_random_int_range(1, OPS / 8);        /* moments by progress, then a little by time */
        while (sh->begun < enough && waitpid(pid, &status, WNOHANG) == 0)
            g_usleep(20);
        g_usleep(g_random_int_range(0, 300));
        kill(pid, SIGKILL);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        begun += sh->begun;
        verify(&t, set, path, seed, sh);
        scratch_clear(&t);
    }
    g_test_message("%d kills, %d operations a run", rounds, (int)(begun / rounds));
    munmap(sh, sizeof *sh);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        g_autofree char *name = g_strdup_printf("/kill/killed_workload_keeps_flushed_data/%s/%s", sets[i].format, sets[i].opts);
        g_test_add_data_func(name, &sets[i], killed_workload_keeps_flushed_data);
    }
    return g_test_run();
}
