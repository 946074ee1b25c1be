/*
 * doctor: what this host offers to guests: a line per finding for people, or one JSON object (--json).
 */
#include "cli/cli.h"

#include "softmmu/accel.h"
#include "target/x86/cpuid.h"
#include "util/bytes.h"

#include <unistd.h>

typedef struct Report {
    bool json;
    GString *findings;          /* JSON objects so far */
    GString *facts;             /* of the engine being examined: JSON members, or lines */
} Report;

static void append_string(GString *s, const char *text)
{
    g_string_append_c(s, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            g_string_append_printf(s, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            g_string_append_printf(s, "\\u%04x", *text);
        else
            g_string_append_c(s, *text);
    }
    g_string_append_c(s, '"');
}

static void say(Report *r, bool good, const char *what, const char *detail)
{
    if (!r->json) {
        printf("%-5s %-10s %s\n%s", good ? "ok" : "--", what, detail, r->facts->str);
    } else {
        g_string_append_printf(r->findings, "%s\n  {\"what\": ", r->findings->len ? "," : "");
        append_string(r->findings, what);
        g_string_append_printf(r->findings, ", \"ok\": %s, \"detail\": ", good ? "true" : "false");
        append_string(r->findings, detail);
        if (r->facts->len)
            g_string_append_printf(r->findings, ", \"facts\": {%s}", r->facts->str);
        g_string_append_c(r->findings, '}');
    }
    g_string_truncate(r->facts, 0);
}

static void add_fact(void *opaque, const char *name, const char *value)
{
    Report *r = opaque;

    if (!r->json) {
        g_string_append_printf(r->facts, "      %s: %s\n", name, value);
        return;
    }
    if (r->facts->len)
        g_string_append(r->facts, ", ");
    append_string(r->facts, name);
    g_string_append(r->facts, ": ");
    append_string(r->facts, value);
}

/* With the processor that a guest has unless -cpu says otherwise. */
static void engines(Report *r)
{
    g_autoptr(GError) no_model = NULL;
    X86Model *model = x86_model_parse(NULL, &no_model);

    for (const Accel *const *a = accel_list(); *a; a++) {
        g_autoptr(GError) err = NULL;
        bool ok = (*a)->probe(model, &err);

        if ((*a)->examine)
            (*a)->examine(model, add_fact, r);
        say(r, ok, (*a)->name, ok ? (*a)->desc : err ? err->message : "does not work here");
    }
    if (model)
        x86_model_free(model);
}

static void firmware(Report *r, Machine *m)
{
    static const char *const files[][2] = {
        { "bios-256k.bin", "seabios" }, { "vgabios-stdvga.bin", "seabios" },
        { "efi-e1000.rom", "ipxe-qemu" }, { "OVMF_CODE_4M.fd", "ovmf" } };

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autoptr(GError) err = NULL;
        g_autofree char *path = firmware_find(m, files[i][0], &err);
        g_autofree char *hint = g_strdup_printf("%s is missing: apt-get install %s", files[i][0], files[i][1]);

        say(r, path, "firmware", path ? path : hint);
    }
}

int verb_doctor(int argc, char **argv)
{
    g_autofree char *mem = g_strdup_printf("%ld MiB", sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024);
    g_autofree char *cpus = g_strdup_printf("%ld", sysconf(_SC_NPROCESSORS_ONLN));
    g_autoptr(GString) findings = g_string_new(NULL), facts = g_string_new(NULL);
    Report r = { .json = argc > 1 && !strcmp(argv[1], "--json"), .findings = findings, .facts = facts };
    Machine *m;

    if (argc > 1 && !r.json) {
        fprintf(stderr, "quern doctor: '%s'? The only option is --json\n", argv[1]);
        return EXIT_FAILURE;
    }
    m = machine_new(true);
    machine_lock();
    engines(&r);
    firmware(&r, m);
    say(&r, true, "memory", mem);
    say(&r, true, "cpus", cpus);
    say(&r, getenv("DISPLAY") || getenv("WAYLAND_DISPLAY"), "display",
        getenv("WAYLAND_DISPLAY") ? "Wayland" : getenv("DISPLAY") ? "X11" : "none: the guest's screen is shown in the terminal, by VNC or in a browser");
    machine_free(m);
    machine_unlock();
    if (r.json)
        printf("[%s\n]\n", findings->str);
    return EXIT_SUCCESS;
}
