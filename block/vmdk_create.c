/*
 * vmdk_create: new VMDK images: a descriptor, embedded or alone, and empty extents.
 */
#include <errno.h>
#include "block/vmdk_int.h"

const BlockCreateOption vmdk_create_options[] = {
    { "adapter_type", "Virtual adapter type: ide (default), lsilogic, buslogic or legacyESX" },
    { "backing_file", "File name of a base image" }, { "backing_fmt", "Must be vmdk when specified" },
    { "compat6", "VMDK version 6 image" }, { "hwversion", "VMDK hardware version" }, { "size", "Virtual disk size" },
    { "subformat", "VMDK flat extent format: monolithicSparse (default), monolithicFlat, twoGbMaxExtentSparse, "
      "twoGbMaxExtentFlat or streamOptimized" },
    { "zeroed_grain", "Enable efficient zero writes using the zeroed-grain GTE feature" }, { NULL, NULL },
};

enum { GRAIN = 128, GTES = 512, DESC_SECTORS = 20 };
#define SPLIT (2ULL * GiB - 64 * KiB)

/* Writes an empty sparse extent; text NULL: no descriptor inside. */
static bool sparse_extent(const char *path, uint64_t size, bool stream, bool zero_grain, const char *text, GError **err)
{
    uint64_t sectors = size / 512, grains = (sectors + GRAIN - 1) / GRAIN, tabs = (grains + GTES - 1) / GTES;
    uint64_t dir = (tabs * 4 + 511) / 512, tab_sectors = tabs * 4, at = 1 + (text ? DESC_SECTORS : 0);
    uint64_t rgd = at, gd = rgd + dir + tab_sectors, overhead = (gd + dir + tab_sectors + GRAIN - 1) / GRAIN * GRAIN;
    uint8_t h[S_HEADER] = { 0 };
    BlockNewFile f;

    if (grains > 32u << 20)
        return err_set(err, "The image is too large for this subformat");
    memcpy(h, "KDMV", 4);
    st32_le(h + S_VERSION, stream ? 3 : zero_grain ? 2 : 1);
    st32_le(h + S_FLAGS, FL_NEWLINE | FL_RGD | (stream ? FL_COMPRESSED | FL_MARKERS : 0) | (zero_grain ? FL_ZERO_GRAIN : 0));
    st64_le(h + S_CAPACITY, sectors);
    st64_le(h + S_GRAIN, GRAIN);
    st64_le(h + S_DESC_OFF, text ? 1 : 0);
    st64_le(h + S_DESC_SIZE, text ? DESC_SECTORS : 0);
    st32_le(h + S_GTES, GTES);
    st64_le(h + S_RGD, rgd);
    st64_le(h + S_GD, gd);
    st64_le(h + S_OVERHEAD, overhead);
    memcpy(h + S_CHECK, "\n \r\n", 4);
    st16_le(h + S_COMPRESS, stream ? 1 : 0);
    g_autofree uint8_t *d = g_malloc0(dir * 512 + 4);
    if (!block_newfile_open(&f, path, err) || !block_newfile_write(&f, 0, h, sizeof h, err) ||
        (text && !block_newfile_write(&f, 512, text, strlen(text), err)))
        return false;
    for (uint64_t i = 0; i < tabs; i++)
        st32_le(d + 4 * i, rgd + dir + 4 * i);
    if (!block_newfile_write(&f, rgd * 512, d, tabs * 4, err))
        return false;
    for (uint64_t i = 0; i < tabs; i++)
        st32_le(d + 4 * i, gd + dir + 4 * i);
    return block_newfile_write(&f, gd * 512, d, tabs * 4, err) && block_newfile_finish(&f, overhead * 512, NULL, err);
}

static bool flat_extent(const char *path, uint64_t size, GError **err)
{
    BlockNewFile f;

    return block_newfile_open(&f, path, err) && block_newfile_finish(&f, size, NULL, err);
}

static char *describe(const char *sub, const char *lines, uint32_t parent_cid, const char *backing, const char *adapter,
                      const char *hw, uint64_t size)
{
    bool ide = g_str_equal(adapter, "ide");
    uint64_t cyls = size / (ide ? 63 * 16 * 512 : 63 * 255 * 512);
    g_autofree char *hint = backing ? g_strdup_printf("parentFileNameHint=\"%s\"\n", backing) : g_strdup("");

    return g_strdup_printf("# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n%s\n"
        "# Extent description\n%s\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%s\"\n"
        "ddb.geometry.cylinders = \"%" PRIu64 "\"\nddb.geometry.heads = \"%d\"\nddb.geometry.sectors = \"63\"\n"
        "ddb.adapterType = \"%s\"\n", g_random_int(), parent_cid, sub, hint, lines, hw, cyls, ide ? 16 : 255, adapter);
}

static bool parent_cid_of(BlockGraph *g, const char *filename, const char *backing, uint32_t *cid, GError **err)
{
    g_autofree char *path = block_resolve_name(filename, backing);
    g_autoptr(GHashTable) o = block_opts_new();
    BlockNode *b;

    block_opts_set(o, "driver", "vmdk");
    b = block_open(g, path, o, BLOCK_NO_LOCK | BLOCK_NO_IO | BLOCK_NO_BACKING, err);
    if (!b)
        return err_prefix(err, "Invalid backing file for VMDK (it must be VMDK, too)");
    *cid = ((Vmdk *)b->priv)->cid;
    block_node_unref(b);
    return true;
}

/* "dir/name.vmdk" and "-s001" give "dir/name-s001.vmdk". */
static char *sibling(const char *filename, const char *suffix)
{
    size_t n = strlen(filename);

    return g_str_has_suffix(filename, ".vmdk") ? g_strdup_printf("%.*s%s.vmdk", (int)n - 5, filename, suffix)
                                               : g_strdup_printf("%s%s", filename, suffix);
}

static bool make_files(const char *filename, const char *sub, uint64_t size, bool zero_grain, GString *lines, GError **err)
{
    bool split = g_str_has_prefix(sub, "twoGb"), flat = g_str_has_suffix(sub, "Flat");
    unsigned k = 1;

    for (uint64_t off = 0; off < size || k == 1; k++) {
        uint64_t part = split ? MIN(size - off, SPLIT) : size;
        g_autofree char *suffix = split ? g_strdup_printf("-%c%03u", flat ? 'f' : 's', k) : g_strdup("-flat");
        g_autofree char *path = sibling(filename, suffix), *base = g_path_get_basename(path);
        if (!(flat ? flat_extent(path, part, err) : sparse_extent(path, part, false, zero_grain, NULL, err)))
            return false;
        g_string_append_printf(lines, "RW %" PRIu64 " %s \"%s\"%s\n", part / 512, flat ? "FLAT" : "SPARSE", base, flat ? " 0" : "");
        off += part;
    }
    return true;
}

static void show(GString *out, const char *key, const char *value)
{
    if (value)
        g_string_append_printf(out, " %s=%s", key, value);
}

bool vmdk_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    g_autofree char *sub = g_strdup("monolithicSparse"), *adapter = g_strdup("ide"), *hw = NULL, *backing = NULL, *fmt = NULL;
    static const char *const subs[] = { "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                        "streamOptimized", NULL };
    g_autoptr(GString) lines = g_string_new(NULL);
    bool compat6 = false, zero_grain = false, zero_given = block_opts_get(opts, "zeroed_grain") != NULL;
    uint32_t pcid = UINT32_MAX;
    uint64_t size;
    BlockNewFile f;

    if (!block_create_size(opts, &size, err) || !block_opts_take_bool(opts, "compat6", &compat6, err) ||
        !block_opts_take_bool(opts, "zeroed_grain", &zero_grain, err))
        return false;
    bool adapter_given = block_opts_take(opts, "adapter_type", &adapter), sub_given = block_opts_take(opts, "subformat", &sub);
    block_opts_take(opts, "hwversion", &hw);
    block_opts_take(opts, "backing_fmt", &fmt);
    block_opts_take(opts, "backing_file", &backing);
    g_string_append_printf(shown, "size=%" PRIu64, size);
    show(shown, "adapter_type", adapter_given ? adapter : NULL);
    show(shown, "backing_file", backing);
    show(shown, "backing_fmt", fmt);
    show(shown, "compat6", compat6 ? "on" : "off");
    show(shown, "hwversion", hw ? hw : "undefined");
    show(shown, "subformat", sub_given ? sub : NULL);
    show(shown, "zeroed_grain", zero_given ? zero_grain ? "on" : "off" : NULL);
    if (compat6 && hw && strcmp(hw, "undefined"))
        return err_set(err, "compat6 cannot be enabled with hwversion set");
    if (!g_strv_contains(subs, sub))
        return err_set(err, "Invalid subformat '%s'", sub);
    bool mono = g_str_equal(sub, "monolithicSparse"), stream = g_str_equal(sub, "streamOptimized");
    bool flat = g_str_has_suffix(sub, "Flat");
    if (backing && flat)
        return err_set(err, "Flat image can't have backing file");
    if (zero_grain && flat)
        return err_set(err, "Flat image can't enable zeroed grain");
    if (backing && !parent_cid_of(g, filename, backing, &pcid, err))
        return false;
    if (mono || stream) {
        g_autofree char *base = g_path_get_basename(filename);
        if (g_str_has_suffix(base, BLOCK_PART_SUFFIX))
            base[strlen(base) - strlen(BLOCK_PART_SUFFIX)] = 0;
        g_string_append_printf(lines, "RW %" PRIu64 " SPARSE \"%s\"\n", size / 512, base);
    } else if (!make_files(filename, sub, size, zero_grain, lines, err)) {
        return false;
    }
    g_autofree char *text = describe(sub, lines->str, pcid, backing, adapter, hw ? hw : compat6 ? "6" : "4", size);
    if (mono || stream)
        return strlen(text) > DESC_SECTORS * 512 ? err_set(err, "the descriptor is too long") :
               sparse_extent(filename, size, stream, zero_grain, text, err);
    return block_newfile_open(&f, filename, err) && block_newfile_write(&f, 0, text, strlen(text), err) &&
           block_newfile_finish(&f, 0, NULL, err);
}
