/*
 * wiring: per-machine registry of buses and interrupt router, and the search for firmware files.
 *
 * Firmware comes from -L folders, then from where Debian's seabios, vgabios, ipxe-qemu and ovmf
 * packages put it.
 */
#include "hw/core/wiring.h"

#include <errno.h>
#include <sys/stat.h>

typedef struct BoardCleanup {
    void (*fn)(void *data);
    void *data;
} BoardCleanup;

static const char *const system_path[] = {
    "/usr/local/share/quern", "/usr/share/quern", "/usr/share/seabios", "/usr/lib/ipxe/qemu",
    "/usr/share/ovmf", "/usr/share/OVMF", "/usr/share/qemu", NULL };

static void boot_entry_free(gpointer p)
{
    BootEntry *e = p;

    g_free(e->path);
    g_free(e);
}

Board *board_get(Machine *m)
{
    Board *b = m->board;

    if (b)
        return b;
    b = g_new0(Board, 1);
    b->machine = m;
    b->firmware_path = g_ptr_array_new_with_free_func(g_free);
    b->bootable = g_ptr_array_new_with_free_func(boot_entry_free);
    b->cleanup = g_ptr_array_new_with_free_func(g_free);
    m->board = b;
    m->board_free = board_free;
    return b;
}

void board_on_free(Machine *m, void (*fn)(void *data), void *data)
{
    BoardCleanup *c = g_new0(BoardCleanup, 1);

    c->fn = fn;
    c->data = data;
    g_ptr_array_add(board_get(m)->cleanup, c);
}

void board_free(Machine *m)
{
    Board *b = m->board;

    if (!b)
        return;
    for (unsigned i = b->cleanup->len; i > 0; i--) {
        BoardCleanup *c = g_ptr_array_index(b->cleanup, i - 1);
        c->fn(c->data);
    }
    g_ptr_array_unref(b->cleanup);
    g_ptr_array_unref(b->firmware_path);
    g_ptr_array_unref(b->bootable);
    g_free(b);
    m->board = NULL;
    m->board_free = NULL;
}

static const char *firmware_package(const char *name)
{
    static const struct { const char *prefix, *package; } packages[] = {
        { "bios", "seabios" }, { "vgabios", "seabios" }, { "pxe-", "ipxe-qemu" },
        { "efi-", "ipxe-qemu" }, { "OVMF", "ovmf" } };

    for (unsigned i = 0; i < ARRAY_LEN(packages); i++) {
        if (g_str_has_prefix(name, packages[i].prefix))
            return packages[i].package;
    }
    return NULL;
}

static char *firmware_try(const char *dir, const char *name)
{
    char *path = g_build_filename(dir, name, NULL);

    if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
        return path;
    g_free(path);
    return NULL;
}

char *firmware_folders(void)
{
    g_autofree char *lines = g_strjoinv("\n", (char **)system_path);

    return g_strconcat(lines, "\n", NULL);
}

char *firmware_find(Machine *m, const char *name, GError **err)
{
    Board *b = board_get(m);
    const char *package = firmware_package(name);
    g_autoptr(GString) places = g_string_new(NULL);
    char *path;

    if (g_file_test(name, G_FILE_TEST_IS_REGULAR))
        return g_strdup(name);
    if (strchr(name, '/')) {
        err_set_errno(err, ENOENT, "firmware file '%s'", name);
        return NULL;
    }
    for (unsigned i = 0; i < b->firmware_path->len; i++) {
        path = firmware_try(g_ptr_array_index(b->firmware_path, i), name);
        if (path)
            return path;
        g_string_append_printf(places, "%s ", (char *)g_ptr_array_index(b->firmware_path, i));
    }
    for (unsigned i = 0; system_path[i]; i++) {
        path = firmware_try(system_path[i], name);
        if (path)
            return path;
    }
    g_string_append(places, "/usr/share/seabios /usr/share/quern");
    err_set_code(err, ERR_NOT_FOUND, "firmware file '%s' not found in %s%s%s%s", name, places->str,
                 package ? ": install the package " : "", package ? package : "",
                 package ? ", or name a folder with -L" : "");
    return NULL;
}

GBytes *firmware_load(Machine *m, const char *name, uint64_t max, GError **err)
{
    g_autofree char *path = firmware_find(m, name, err);
    gsize len = 0;
    char *data = NULL;
    struct stat st;

    if (!path)
        return NULL;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size > max) {
        err_set(err, "firmware file '%s' is larger than %llu KiB", path, max / KiB);
        return NULL;
    }
    if (!g_file_get_contents(path, &data, &len, err)) {
        err_prefix(err, "firmware");
        return NULL;
    }
    return g_bytes_new_take(data, len);
}

static int boot_entry_compare(gconstpointer a, gconstpointer b)
{
    const BootEntry *x = *(BootEntry *const *)a, *y = *(BootEntry *const *)b;

    return x->index < y->index ? -1 : x->index > y->index;
}

void boot_order_add(Machine *m, Device *dev, int32_t index, const char *path)
{
    BootEntry *e;

    if (index < 0)
        return;
    e = g_new0(BootEntry, 1);
    e->index = index;
    e->path = g_strdup(path);
    e->dev = dev;
    g_ptr_array_add(board_get(m)->bootable, e);
    g_ptr_array_sort(board_get(m)->bootable, boot_entry_compare);
}

char *boot_order_text(Machine *m)
{
    GPtrArray *list = board_get(m)->bootable;
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < list->len; i++) {
        const BootEntry *e = g_ptr_array_index(list, i);
        g_string_append_printf(s, "%s%s", i ? "\n" : "", e->path);
    }
    if (s->len == 0) {
        g_string_free(s, TRUE);
        return NULL;
    }
    return g_string_free(s, FALSE);
}
