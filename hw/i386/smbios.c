/*
 * smbios: System Management BIOS tables: what the machine says it is, and -smbios.
 *
 * DSP0134, SMBIOS 2.8. Firmware gets the structures and the entry point as fw_cfg files and fills
 * in their address. The defaults name the same maker and product as QEMU does for this board,
 * because guest software looks for them. docs/smbios.md.
 */
#include "hw/i386/board_int.h"
#include "target/x86/cpu.h"
#include "target/x86/cpuid.h"
#include "util/optlist.h"

enum { MAX_TYPE = 42, MAX_STRINGS = 255, MAX_OEM = 200 };
enum { MEM_DEVICE_MAX_GIB = 16 };

typedef struct SmbiosUser {     /* what -smbios said, by type */
    OptList *type[MAX_TYPE];
    GPtrArray *ports, *onboard; /* of OptList *: types that may be given several times */
    GByteArray *raw;            /* tables from file= */
    bool raw_type[256];
    unsigned raw_count, raw_max;
} SmbiosUser;

typedef struct SmbiosBuild {
    GByteArray *out, *strings;
    unsigned string_count, count, max_len;
    guint start;
    SmbiosUser *user;
} SmbiosBuild;

static const char *const type_keys[MAX_TYPE] = {
    [0] = "vendor version date release uefi",
    [1] = "manufacturer product version serial uuid sku family",
    [2] = "manufacturer product version serial asset location",
    [3] = "manufacturer version serial asset sku",
    [4] = "sock_pfx manufacturer version serial asset part max-speed current-speed processor-id",
    [8] = "internal_reference external_reference connector_type port_type",
    [11] = "value path",
    [17] = "loc_pfx bank manufacturer serial asset part speed",
    [41] = "designation kind instance pcidev",
};

/* --- structures --- */

static void put(SmbiosBuild *b, uint64_t v, unsigned bytes)
{
    uint8_t raw[8];

    st64_le(raw, v);
    g_byte_array_append(b->out, raw, bytes);
}

static void begin(SmbiosBuild *b, uint8_t type, uint16_t handle)
{
    b->start = b->out->len;
    b->string_count = 0;
    g_byte_array_set_size(b->strings, 0);
    put(b, type, 1);
    put(b, 0, 1);
    put(b, handle, 2);
}

/* A string field: the number of a string that follows the structure; 0: none. */
static void put_string(SmbiosBuild *b, const char *s)
{
    if (!s || !*s || b->string_count >= MAX_STRINGS) {
        put(b, 0, 1);
        return;
    }
    g_byte_array_append(b->strings, (const uint8_t *)s, strlen(s) + 1);
    put(b, ++b->string_count, 1);
}

static void end(SmbiosBuild *b)
{
    b->out->data[b->start + 1] = b->out->len - b->start;
    g_byte_array_append(b->out, b->strings->data, b->strings->len);
    put(b, 0, b->string_count ? 1 : 2);
    b->max_len = MAX(b->max_len, b->out->len - b->start);
    b->count++;
}

static const char *option(const SmbiosBuild *b, unsigned type, const char *key, const char *def)
{
    return b->user->type[type] ? optlist_str(b->user->type[type], key, def) : def;
}

static uint64_t number(const SmbiosBuild *b, unsigned type, const char *key, uint64_t def)
{
    const char *text = option(b, type, key, NULL);

    return text ? g_ascii_strtoull(text, NULL, 0) : def;
}

static void add_bios(SmbiosBuild *b)
{
    const char *release = option(b, 0, "release", "0.0");
    const char *dot = strchr(release, '.');
    bool uefi = !g_strcmp0(option(b, 0, "uefi", "off"), "on");

    begin(b, 0, 0);
    put_string(b, option(b, 0, "vendor", "SeaBIOS"));
    put_string(b, option(b, 0, "version", NULL));
    put(b, 0xe800, 2);
    put_string(b, option(b, 0, "date", "04/01/2014"));
    put(b, 0, 1);                               /* ROM size */
    put(b, 1 << 3, 8);                          /* characteristics: not supported */
    put(b, 0, 1);
    put(b, 0x14 | (uefi ? 1 << 3 : 0), 1);      /* a virtual machine */
    put(b, g_ascii_strtoull(release, NULL, 10), 1);
    put(b, dot ? g_ascii_strtoull(dot + 1, NULL, 10) : 0, 1);
    put(b, 0xffff, 2);                          /* embedded controller: none */
    end(b);
}

/* Text "550e8400-e29b-..." to the byte order of the table: first three fields little endian. */
static bool parse_uuid(const char *text, uint8_t out[16])
{
    unsigned n = 0;

    for (const char *p = text; *p && n < 32; p++) {
        if (*p == '-')
            continue;
        if (!g_ascii_isxdigit(*p))
            return false;
        out[n / 2] = n % 2 ? out[n / 2] | g_ascii_xdigit_value(*p) : g_ascii_xdigit_value(*p) << 4;
        n++;
    }
    return n == 32;
}

static void put_uuid(SmbiosBuild *b, const Pc *pc)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    const char *text = option(b, 1, "uuid", NULL);
    uint8_t uuid[16] = { 0 };

    if (pc->cfg.uuid)
        memcpy(uuid, pc->cfg.uuid, 16);
    if (text)
        parse_uuid(text, uuid);
    for (unsigned i = 0; i < 16; i++)
        put(b, uuid[order[i]], 1);
}

static void add_system(SmbiosBuild *b, const Pc *pc, const char *version)
{
    begin(b, 1, 0x100);
    put_string(b, option(b, 1, "manufacturer", "QEMU"));
    put_string(b, option(b, 1, "product", "Standard PC (i440FX + PIIX, 1996)"));
    put_string(b, option(b, 1, "version", version));
    put_string(b, option(b, 1, "serial", NULL));
    put_uuid(b, pc);
    put(b, 6, 1);                               /* woken by the power switch */
    put_string(b, option(b, 1, "sku", NULL));
    put_string(b, option(b, 1, "family", NULL));
    end(b);
}

static void add_baseboard(SmbiosBuild *b, const char *version)
{
    begin(b, 2, 0x200);
    put_string(b, option(b, 2, "manufacturer", "QEMU"));
    put_string(b, option(b, 2, "product", "Standard PC (i440FX + PIIX, 1996)"));
    put_string(b, option(b, 2, "version", version));
    put_string(b, option(b, 2, "serial", NULL));
    put_string(b, option(b, 2, "asset", NULL));
    put(b, 1, 1);                               /* hosts the others */
    put_string(b, option(b, 2, "location", NULL));
    put(b, 0x300, 2);
    put(b, 0x0a, 1);                            /* motherboard */
    put(b, 0, 1);
    end(b);
}

static void add_chassis(SmbiosBuild *b, const char *version)
{
    begin(b, 3, 0x300);
    put_string(b, option(b, 3, "manufacturer", "QEMU"));
    put(b, 1, 1);                               /* other */
    put_string(b, option(b, 3, "version", version));
    put_string(b, option(b, 3, "serial", NULL));
    put_string(b, option(b, 3, "asset", NULL));
    put(b, 0x02030303, 4);                      /* states: safe; security: unknown */
    put(b, 0, 4);
    put(b, 0, 4);                               /* height, cords, contained elements */
    put_string(b, option(b, 3, "sku", NULL));
    end(b);
}

static void add_processor(SmbiosBuild *b, const Pc *pc, unsigned i, unsigned cores, unsigned threads, const char *version)
{
    const struct X86Model *model = pc->cfg.cpu_model;
    g_autofree char *socket = g_strdup_printf("%s%2x", option(b, 4, "sock_pfx", "CPU"), i);
    uint64_t id = model ? x86_model_signature(model) : 0, speed = number(b, 4, "max-speed", 2000);

    begin(b, 4, 0x400 + i);
    put_string(b, socket);
    put(b, 3, 1);                               /* central processor */
    put(b, 1, 1);                               /* family: other */
    put_string(b, option(b, 4, "manufacturer", "QEMU"));
    put(b, number(b, 4, "processor-id", id), 8);
    put_string(b, option(b, 4, "version", version));
    put(b, 0, 1);
    put(b, 0, 2);                               /* external clock: unknown */
    put(b, speed, 2);
    put(b, number(b, 4, "current-speed", speed), 2);
    put(b, 0x41, 1);                            /* populated, enabled */
    put(b, 1, 1);                               /* upgrade: other */
    put(b, 0xffff, 2);                          /* caches: not given */
    put(b, 0xffff, 2);
    put(b, 0xffff, 2);
    put_string(b, option(b, 4, "serial", NULL));
    put_string(b, option(b, 4, "asset", NULL));
    put_string(b, option(b, 4, "part", NULL));
    put(b, MIN(cores, 255), 1);
    put(b, MIN(cores, 255), 1);
    put(b, MIN(cores * threads, 255), 1);
    put(b, 2, 2);                               /* characteristics: unknown */
    put(b, 1, 2);
    put(b, cores, 2);                           /* 3.0 fields repeat the counts */
    put(b, cores, 2);
    put(b, cores * threads, 2);
    end(b);
}

/* Types 16, 17 and 19: one array, a device per 16 GiB, a mapping below and one above 4 GiB. */
static void add_mapping(SmbiosBuild *b, unsigned n, uint64_t start, uint64_t size)
{
    bool wide = (start + size) / KiB > UINT32_MAX;

    begin(b, 19, 0x1300 + n);
    put(b, wide ? UINT32_MAX : start / KiB, 4);
    put(b, wide ? UINT32_MAX : (start + size) / KiB - 1, 4);
    put(b, 0x1000, 2);
    put(b, 1, 1);
    put(b, wide ? start : 0, 8);
    put(b, wide ? start + size - 1 : 0, 8);
    end(b);
}

static void add_memory_device(SmbiosBuild *b, unsigned i, uint64_t size)
{
    g_autofree char *location = g_strdup_printf("%s %u", option(b, 17, "loc_pfx", "DIMM"), i);
    uint64_t mib = size / MiB;

    begin(b, 17, 0x1100 + i);
    put(b, 0x1000, 2);
    put(b, 0xfffe, 2);                          /* error information: none */
    put(b, 0xffff, 2);                          /* widths: unknown */
    put(b, 0xffff, 2);
    put(b, mib < 0x7fff ? mib : 0x7fff, 2);
    put(b, 9, 1);                               /* DIMM */
    put(b, 0, 1);
    put_string(b, location);
    put_string(b, option(b, 17, "bank", NULL));
    put(b, 7, 1);                               /* RAM */
    put(b, 2, 2);                               /* detail: other */
    put(b, number(b, 17, "speed", 0), 2);
    put_string(b, option(b, 17, "manufacturer", "QEMU"));
    put_string(b, option(b, 17, "serial", NULL));
    put_string(b, option(b, 17, "asset", NULL));
    put_string(b, option(b, 17, "part", NULL));
    put(b, 0, 1);
    put(b, mib < 0x7fff ? 0 : mib, 4);
    put(b, number(b, 17, "speed", 0), 2);
    put(b, 0, 6);                               /* voltages: unknown */
    end(b);
}

static void add_memory(SmbiosBuild *b, const Pc *pc)
{
    uint64_t size = pc->machine->ram_size, unit = (uint64_t)MEM_DEVICE_MAX_GIB * GiB;
    unsigned n = MIN((size + unit - 1) / unit, 256);

    begin(b, 16, 0x1000);
    put(b, 1, 1);                               /* other location */
    put(b, 3, 1);                               /* system memory */
    put(b, 6, 1);                               /* multi-bit ECC */
    put(b, size / KiB < 0x80000000 ? size / KiB : 0x80000000, 4);
    put(b, 0xfffe, 2);
    put(b, n, 2);
    put(b, size / KiB < 0x80000000 ? 0 : size, 8);
    end(b);
    for (unsigned i = 0; i < n; i++)
        add_memory_device(b, i, MIN(unit, size - i * unit));
    add_mapping(b, 0, 0, pc->below_4g);
    if (pc->above_4g)
        add_mapping(b, 1, 4 * GiB, pc->above_4g);
}

/* Type 11: value= may repeat; path= gives a value from a file. */
static bool add_oem_strings(SmbiosBuild *b, GError **err)
{
    g_autofree const char **values = optlist_all(b->user->type[11], "value"), **paths = optlist_all(b->user->type[11], "path");
    unsigned n = 0, at;

    begin(b, 11, 0xb00);
    at = b->out->len;
    put(b, 0, 1);
    for (unsigned i = 0; values[i] && n < MAX_OEM; i++, n++)
        g_byte_array_append(b->strings, (const uint8_t *)values[i], strlen(values[i]) + 1);
    for (unsigned i = 0; paths[i] && n < MAX_OEM; i++, n++) {
        g_autofree char *text = NULL;

        if (!g_file_get_contents(paths[i], &text, NULL, err))
            return err_prefix(err, "-smbios type=11");
        g_byte_array_append(b->strings, (const uint8_t *)text, strlen(text) + 1);
    }
    b->out->data[at] = n;
    b->string_count = n;
    end(b);
    return true;
}

static void add_port(SmbiosBuild *b, OptList *l, unsigned i)
{
    begin(b, 8, 0x800 + i);
    put_string(b, optlist_str(l, "internal_reference", NULL));
    put(b, 0, 1);
    put_string(b, optlist_str(l, "external_reference", NULL));
    put(b, g_ascii_strtoull(optlist_str(l, "connector_type", "0"), NULL, 0), 1);
    put(b, g_ascii_strtoull(optlist_str(l, "port_type", "0"), NULL, 0), 1);
    end(b);
}

static void add_onboard(SmbiosBuild *b, OptList *l, unsigned i)
{
    static const char *const kinds[] = { "invalid", "other", "unknown", "video", "scsi", "ethernet", "tokenring",
                                         "sound", "pata", "sata", "sas" };
    const char *kind = optlist_str(l, "kind", "other");
    unsigned k = 1;

    for (unsigned n = 0; n < ARRAY_LEN(kinds); n++)
        k = !strcmp(kind, kinds[n]) ? n : k;
    begin(b, 41, 0x2900 + i);
    put_string(b, optlist_str(l, "designation", NULL));
    put(b, k | 0x80, 1);
    put(b, g_ascii_strtoull(optlist_str(l, "instance", "1"), NULL, 0), 1);
    put(b, 0xffff, 2);                          /* segment, bus, function: not given */
    put(b, 0xff, 1);
    put(b, 0xff, 1);
    end(b);
}

/* --- -smbios --- */

static bool check_keys(OptList *l, unsigned type, GError **err)
{
    g_auto(GStrv) keys = g_strsplit(type_keys[type], " ", -1);

    for (unsigned i = 0; keys[i]; i++)
        optlist_str(l, keys[i], NULL);
    optlist_str(l, "type", NULL);
    if (!optlist_check_unused(l, err))
        return err_prefix(err, "-smbios type=%u", type);
    return true;
}

/* A binary structure as dmidecode --dump would give: header, formatted part, strings, double zero. */
static bool read_raw(SmbiosUser *u, const char *path, GError **err)
{
    g_autofree char *data = NULL;
    gsize len = 0;

    if (!g_file_get_contents(path, &data, &len, err))
        return err_prefix(err, "-smbios");
    if (len < 6 || (uint8_t)data[1] < 4 || (uint8_t)data[1] > len - 2 || len > 64 * KiB || data[len - 1] || data[len - 2])
        return err_set(err, "-smbios %s: no SMBIOS structure (header, then strings ended by two zero bytes)", path);
    g_byte_array_append(u->raw, (uint8_t *)data, len);
    u->raw_type[(uint8_t)data[0]] = true;
    u->raw_max = MAX(u->raw_max, len);
    u->raw_count++;
    return true;
}

static bool take_option(SmbiosUser *u, const char *text, GError **err)
{
    OptList *l = optlist_parse(text, "file", err);
    const char *file = l ? optlist_str(l, "file", NULL) : NULL;
    uint64_t type, probe;
    uint8_t uuid[16];

    if (!l)
        return err_prefix(err, "-smbios");
    if (file) {
        bool ok = optlist_check_unused(l, err) && read_raw(u, file, err);

        optlist_free(l);
        return ok;
    }
    if (!optlist_uint(l, "type", MAX_TYPE, UINT64_MAX, &type, err) || type >= MAX_TYPE || !type_keys[type]) {
        optlist_free(l);
        if (err && !*err)
            err_set(err, "-smbios '%s': type= must be 0, 1, 2, 3, 4, 8, 11, 17 or 41", text);
        return false;
    }
    if (!check_keys(l, type, err)) {
        optlist_free(l);
        return false;
    }
    if (type == 1 && optlist_str(l, "uuid", NULL) && !parse_uuid(optlist_str(l, "uuid", NULL), uuid)) {
        err_set(err, "-smbios: uuid '%s' is not of the form 550e8400-e29b-41d4-a716-446655440000", optlist_str(l, "uuid", NULL));
        optlist_free(l);
        return false;
    }
    for (unsigned i = 0; type == 4 && i < 3; i++) {
        static const char *const keys[] = { "max-speed", "current-speed", "processor-id" };

        if (!optlist_uint(l, keys[i], 0, i < 2 ? 0xffff : UINT64_MAX, &probe, err)) {
            optlist_free(l);
            return err_prefix(err, "-smbios type=4");
        }
    }
    if (type == 8 || type == 41) {
        g_ptr_array_add(type == 8 ? u->ports : u->onboard, l);
    } else if (u->type[type]) {
        for (unsigned i = 0; i < l->items->len; i++) {  /* the same type again: values add up */
            OptItem *it = g_ptr_array_index(l->items, i);
            optlist_add(u->type[type], it->key, it->value);
        }
        optlist_free(l);
    } else {
        u->type[type] = l;
    }
    return true;
}

static void user_free(SmbiosUser *u)
{
    for (unsigned i = 0; i < MAX_TYPE; i++)
        g_clear_pointer(&u->type[i], optlist_free);
    g_ptr_array_unref(u->ports);
    g_ptr_array_unref(u->onboard);
    g_byte_array_unref(u->raw);
}

/* The entry point: firmware fills in table address and checksums. */
static void entry_point(const SmbiosBuild *b, uint8_t ep[31])
{
    memset(ep, 0, 31);
    memcpy(ep, "_SM_", 4);
    ep[5] = 31;
    ep[6] = 2;
    ep[7] = 8;
    st16_le(ep + 8, MIN(b->max_len, 0xffff));
    memcpy(ep + 16, "_DMI_", 5);
    st16_le(ep + 22, b->out->len);
    st16_le(ep + 28, b->count);
    ep[30] = 0x28;
}

static bool build(SmbiosBuild *b, const Pc *pc, GError **err)
{
    const char *version = board_class_find(pc->cfg.type, NULL)->name;
    unsigned cores = MAX(pc->cfg.cores, 1), threads = MAX(pc->cfg.threads, 1);
    unsigned sockets = MAX(pc->cpus / (cores * threads), 1);
    SmbiosUser *u = b->user;

    if (u->type[0])
        add_bios(b);
    if (!u->raw_type[1])
        add_system(b, pc, version);
    if (u->type[2])
        add_baseboard(b, version);
    if (!u->raw_type[3])
        add_chassis(b, version);
    for (unsigned i = 0; i < sockets && !u->raw_type[4]; i++)
        add_processor(b, pc, i, cores, threads, version);
    for (unsigned i = 0; i < u->ports->len; i++)
        add_port(b, g_ptr_array_index(u->ports, i), i);
    if (u->type[11] && !add_oem_strings(b, err))
        return false;
    if (!u->raw_type[16])
        add_memory(b, pc);
    begin(b, 32, 0x2000);                       /* boot: no errors */
    put(b, 0, 6);
    put(b, 0, 1);
    end(b);
    for (unsigned i = 0; i < u->onboard->len; i++)
        add_onboard(b, g_ptr_array_index(u->onboard, i), i);
    g_byte_array_append(b->out, u->raw->data, u->raw->len);
    b->count += u->raw_count;
    b->max_len = MAX(b->max_len, u->raw_max);
    begin(b, 127, 0x7f00);
    end(b);
    return b->out->len <= 0xffff || err_set(err, "-smbios: the tables are larger than 64 KiB");
}

bool pc_smbios_setup(Pc *pc, GError **err)
{
    SmbiosUser u = { .ports = g_ptr_array_new_with_free_func((GDestroyNotify)optlist_free),
                     .onboard = g_ptr_array_new_with_free_func((GDestroyNotify)optlist_free), .raw = g_byte_array_new() };
    SmbiosBuild b = { .out = g_byte_array_new(), .strings = g_byte_array_new(), .user = &u };
    bool ok = true;
    uint8_t ep[31];

    for (unsigned i = 0; ok && pc->cfg.smbios && i < pc->cfg.smbios->len; i++)
        ok = take_option(&u, g_ptr_array_index(pc->cfg.smbios, i), err);
    ok = ok && build(&b, pc, err);
    if (ok) {
        g_autoptr(GBytes) tables = g_bytes_new(b.out->data, b.out->len), anchor = NULL;

        entry_point(&b, ep);
        anchor = g_bytes_new(ep, sizeof ep);
        ok = fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-tables", tables, err) &&
             fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-anchor", anchor, err);
    }
    g_byte_array_unref(b.out);
    g_byte_array_unref(b.strings);
    user_free(&u);
    return ok;
}
