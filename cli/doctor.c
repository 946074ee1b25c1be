/* doctor: what this host offers to guests, one line per finding. */
#include "cli/cli.h"

#include "softmmu/accel.h"
#include "util/bytes.h"

#include <unistd.h>

static void say(bool good, const char *what, const char *detail)
{
    printf("%-5s %-10s %s\n", good ? "ok" : "--", what, detail);
}

int verb_doctor(int argc, char **argv)
{
    static const char *const firmware[][2] = {
        { "bios-256k.bin", "seabios" }, { "vgabios-stdvga.bin", "seabios" },
        { "efi-e1000.rom", "ipxe-qemu" }, { "OVMF_CODE_4M.fd", "ovmf" } };
    g_autofree char *mem = g_strdup_printf("%ld MiB", sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024);
    g_autofree char *cpus = g_strdup_printf("%ld", sysconf(_SC_NPROCESSORS_ONLN));
    Machine *m = machine_new(true);

    machine_lock();
    for (const Accel *const *a = accel_list(); *a; a++) {
        g_autoptr(GError) err = NULL;
        bool ok = (*a)->probe(&err);

        say(ok, (*a)->name, ok ? (*a)->desc : err ? err->message : "does not work here");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(firmware); i++) {
        g_autoptr(GError) err = NULL;
        g_autofree char *path = firmware_find(m, firmware[i][0], &err);
        g_autofree char *hint = g_strdup_printf("%s is missing: apt-get install %s", firmware[i][0], firmware[i][1]);

        say(path, "firmware", path ? path : hint);
    }
    say(true, "memory", mem);
    say(true, "cpus", cpus);
    say(getenv("DISPLAY") || getenv("WAYLAND_DISPLAY"), "display",
        getenv("WAYLAND_DISPLAY") ? "Wayland" : getenv("DISPLAY") ? "X11" : "none: the guest's screen is shown in the terminal, by VNC or in a browser");
    machine_free(m);
    machine_unlock();
    return 0;
}
