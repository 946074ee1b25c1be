/*
 * test-guests: runs the bare-metal guests of tests/guests on an engine and compares what they say.
 *
 * Each NAME.expected was checked against the manual and against Bochs. The engines: the interpreter, the
 * jit, and the jit under the eyes of the interpreter; or the one in QUERN_TEST_ENGINE.
 */
#include "tests/cpu/rig.h"

#include "softmmu/accel.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

static GString *said;
static const char *guest_dir;

static uint64_t con_read(void *opaque, uint64_t off, unsigned size) { return 0xe9; }
static void con_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { g_string_append_c(said, (char)val); }
static const IoOps con_ops = { con_read, con_write, .max = 1 };

static uint32_t load_elf(Rig *r, const char *path)
{
    g_autofree char *data = NULL;
    const Elf32_Ehdr *eh;
    gsize len;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    eh = (const void *)data;
    for (unsigned i = 0; i < eh->e_phnum; i++) {
        const Elf32_Phdr *ph = (const void *)(data + eh->e_phoff + i * sizeof *ph);

        if (ph->p_type != PT_LOAD)
            continue;
        memset(r->m->ram->host + ph->p_paddr, 0, ph->p_memsz);
        rig_put(r, ph->p_paddr, data + ph->p_offset, ph->p_filesz);
    }
    return eh->e_entry;
}

/* Line by line, so that a failure names the line. */
static void compare(const char *got, const char *want)
{
    g_auto(GStrv) g = g_strsplit(got, "\n", -1), w = g_strsplit(want, "\n", -1);

    for (unsigned i = 0; w[i]; i++)
        g_assert_cmpstr(g[i] ? g[i] : "(end)", ==, w[i]);
    g_assert_cmpuint(g_strv_length(g), ==, g_strv_length(w));
}

typedef struct Job { const char *engine, *guest; } Job;

static void run(const void *opaque)
{
    const Job *job = opaque;
    const char *name = job->guest;
    g_autofree char *elf = g_strdup_printf("%s/%s.elf", guest_dir, name);
    g_autofree char *file = g_strdup_printf("tests/guests/%s.expected", name);
    g_autofree char *want = NULL;
    Region con;
    Rig *r;
    bool ended;

    if (!g_file_test(elf, G_FILE_TEST_EXISTS)) {
        g_test_skip("no compiler for 32-bit code");
        return;
    }
    g_assert_true(g_file_get_contents(file, &want, NULL, NULL));
    said = g_string_new(NULL);
    r = rig_new(job->engine, 1);
    region_init_io(&con, "con", &con_ops, NULL, 1);
    region_add(&r->m->port_root, &con, 0xe9, 0);
    rig_mode(r, RIG_32);
    r->c->cr4 = 0;
    r->c->cr0 = CR0_PE | CR0_ET;
    x86_update_mode(r->c);
    r->c->rip = load_elf(r, elf);
    ended = rig_run(r, 10000);
    compare(said->str, want);
    g_assert_true(ended);
    region_del(&con);
    rig_free(r);
    region_destroy(&con);
    g_string_free(said, TRUE);
}

int main(int argc, char **argv)
{
    static const char *const guests[] = { "excp32", "tasks32", "v86", "long64" };
    const char *engines[] = { "interp", "jit", "jit,check=on", "jit,check=on,exact=on" };
    Job jobs[G_N_ELEMENTS(engines) * G_N_ELEMENTS(guests)];
    unsigned n_engines = G_N_ELEMENTS(engines);
    g_autofree char *dir = g_dir_make_tmp("quern-guests-XXXXXX", NULL), *cmd = NULL;
    int status, ret;

    g_test_init(&argc, &argv, NULL);
    guest_dir = dir;
    cmd = g_strdup_printf("tests/guests/build.sh %s", dir);
    if (!g_spawn_command_line_sync(cmd, NULL, NULL, &status, NULL))
        g_test_message("build.sh did not run");
    machine_lock();
    if (g_getenv("QUERN_TEST_ENGINE")) {
        engines[0] = g_getenv("QUERN_TEST_ENGINE");
        n_engines = 1;
    } else if (!accel_find("jit")) {
        n_engines = 1;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(guests) * n_engines; i++) {
        Job *job = &jobs[i];
        g_autofree char *path = NULL;

        *job = (Job) { engines[i / G_N_ELEMENTS(guests)], guests[i % G_N_ELEMENTS(guests)] };
        path = g_strdup_printf("/guests/%s/%s", job->engine, job->guest);
        g_test_add_data_func(path, job, run);
    }
    ret = g_test_run();
    for (unsigned i = 0; i < G_N_ELEMENTS(guests); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s.elf", dir, guests[i]);
        remove(path);
    }
    remove(dir);
    return ret;
}
