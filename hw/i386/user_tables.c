/*
 * user_tables: ACPI tables (-acpitable) and option ROMs (-option-rom) the user adds.
 *
 * "data=" files hold what follows a table's 36-byte header (ACPI 1.0b 5.2.3), "file=" files hold whole tables;
 * several files joined by colons are one table. The other keys replace fields of the header.
 */
#include "hw/i386/board_int.h"
#include "util/optlist.h"

enum { HEADER = 36, TABLE_MAX = 1 << 20, ROM_MAX = 1 << 20 };

static bool join_files(GByteArray *out, const char *paths, GError **err)
{
    g_auto(GStrv) list = g_strsplit(paths, ":", -1);

    for (char **p = list; *p; p++) {
        g_autofree char *text = NULL;
        gsize len;

        if (!g_file_get_contents(*p, &text, &len, err))
            return false;
        if (len > TABLE_MAX - out->len)
            return err_set(err, "%s: an ACPI table may have 1 MiB", *p);
        g_byte_array_append(out, (const uint8_t *)text, len);
    }
    return true;
}

/* A fixed-width text field, filled up with zeros. */
static bool text_field(OptList *l, const char *key, uint8_t *p, size_t size, GError **err)
{
    const char *s = optlist_str(l, key, NULL);

    if (!s)
        return true;
    if (strlen(s) > size)
        return err_set(err, "%s=%s is longer than %zu characters", key, s, size);
    memset(p, 0, size);
    memcpy(p, s, strlen(s));
    return true;
}

static bool number_field(OptList *l, const char *key, uint8_t *p, size_t size, GError **err)
{
    uint64_t v;

    if (!optlist_has(l, key))
        return true;
    if (!optlist_uint(l, key, 0, size == 1 ? 0xff : 0xffffffff, &v, err))
        return false;
    for (size_t i = 0; i < size; i++)
        p[i] = v >> 8 * i;
    return true;
}

static bool set_header(OptList *l, uint8_t *h, GError **err)
{
    return text_field(l, "sig", h, 4, err) && number_field(l, "rev", h + 8, 1, err) &&
           text_field(l, "oem_id", h + 10, 6, err) && text_field(l, "oem_table_id", h + 16, 8, err) &&
           number_field(l, "oem_rev", h + 24, 4, err) && text_field(l, "asl_compiler_id", h + 28, 4, err) &&
           number_field(l, "asl_compiler_rev", h + 32, 4, err);
}

static GBytes *read_table(const char *text, GError **err)
{
    static const uint8_t blank[HEADER] = "OEM \0\0\0\0\1\0QUERN QUERNPC \1\0\0\0QURN\1\0\0";
    g_autoptr(OptList) l = optlist_parse(text, NULL, err);
    g_autoptr(GByteArray) t = g_byte_array_new();
    const char *data, *file;

    if (!l)
        return NULL;
    data = optlist_str(l, "data", NULL);
    file = optlist_str(l, "file", NULL);
    if (!data == !file) {
        err_set(err, "one of data= (without a header) and file= (with one) is needed");
        return NULL;
    }
    if (data)
        g_byte_array_append(t, blank, HEADER);
    if (!join_files(t, data ? data : file, err))
        return NULL;
    if (t->len < HEADER) {
        err_set(err, "%s is shorter than an ACPI table's header", file);
        return NULL;
    }
    if (!set_header(l, t->data, err) || !optlist_check_unused(l, err))
        return NULL;
    st32_le(t->data + 4, t->len);
    t->data[9] = 0;             /* checksum: the loader script's affair */
    return g_byte_array_free_to_bytes(g_steal_pointer(&t));
}

bool pc_user_tables(Pc *pc, GError **err)
{
    const GPtrArray *list = pc->cfg.acpitables;

    pc->acpi_tables = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    for (unsigned i = 0; list && i < list->len; i++) {
        GBytes *t;

        if (i == PC_USER_TABLES)
            return err_set(err, "-acpitable: no more than %d tables", PC_USER_TABLES);
        t = read_table(g_ptr_array_index(list, i), err);
        if (!t)
            return err_prefix(err, "-acpitable %s", (char *)g_ptr_array_index(list, i));
        g_ptr_array_add(pc->acpi_tables, t);
    }
    return true;
}

static bool add_rom(Pc *pc, const char *text, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "romfile", err);
    g_autoptr(GBytes) data = NULL;
    g_autofree char *base = NULL, *name = NULL, *path = NULL;
    const char *file;
    uint64_t index;

    if (!l)
        return false;
    file = optlist_str(l, "romfile", NULL);
    if (!file)
        return err_set(err, "romfile= is missing");
    if (!optlist_uint(l, "bootindex", 0, INT32_MAX, &index, err))
        return false;
    data = firmware_load(pc->machine, file, ROM_MAX, err);
    if (!data)
        return false;
    base = g_path_get_basename(file);
    name = g_strconcat("genroms/", base, NULL);
    path = g_strconcat("/rom@", name, NULL);
    if (optlist_has(l, "bootindex"))
        boot_order_add(pc->machine, NULL, index, path);
    return optlist_check_unused(l, err) && fw_cfg_add_file(pc->fw_cfg, name, data, err);
}

bool pc_user_roms(Pc *pc, GError **err)
{
    const GPtrArray *list = pc->cfg.option_roms;

    for (unsigned i = 0; list && i < list->len; i++) {
        if (!add_rom(pc, g_ptr_array_index(list, i), err))
            return err_prefix(err, "-option-rom %s", (char *)g_ptr_array_index(list, i));
    }
    return true;
}
