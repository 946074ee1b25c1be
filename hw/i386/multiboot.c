/*
 * multiboot: loads multiboot 1 kernels: ELF32, ELF64 and a.out-kludge images, with modules.
 *
 * Multiboot Specification 0.6.96. The image is laid out in host memory as it will lie in the
 * guest, then copied there by the boot ROM, which also fills in the BIOS memory map. Every header
 * field is checked against file and guest memory: the file is not trusted. docs/boot.md.
 */
#include "hw/i386/kernel_int.h"

enum { SEARCH = 8192, HEADER_MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002 };
enum { F_MEMINFO = 1 << 1, F_VIDEO = 1 << 2, F_ADDRESSES = 1 << 16 };
enum {                          /* low memory: see emit_memory_map() for the map */
    MAP_ADDR = 0x8000, INFO_ADDR = 0x9000, GDT_OFF = 0x80, GDTR_OFF = 0xa0, STUB_OFF = 0xc0, MODS_OFF = 0x100,
    INFO_MAX = 0x16000,
};
enum {                          /* information structure */
    I_FLAGS = 0, I_MEM_LOWER = 4, I_MEM_UPPER = 8, I_CMDLINE = 16, I_MODS_COUNT = 20, I_MODS = 24,
    I_MMAP_LENGTH = 44, I_MMAP = 48, I_LOADER_NAME = 64,
};
enum { INFO_MEM = 1 << 0, INFO_CMDLINE = 1 << 2, INFO_MODS = 1 << 3, INFO_MMAP = 1 << 6, INFO_NAME = 1 << 9 };

typedef struct MbImage {        /* the kernel as it will lie in memory */
    uint64_t low, high, entry;
    uint8_t *data;
} MbImage;

static const uint8_t *find_header(const uint8_t *d, gsize size, gsize *off)
{
    for (gsize i = 0; i + 12 <= MIN(size, SEARCH); i += 4) {
        if (ld32_le(d + i) == HEADER_MAGIC && ld32_le(d + i) + ld32_le(d + i + 4) + ld32_le(d + i + 8) == 0) {
            *off = i;
            return d + i;
        }
    }
    return NULL;
}

bool multiboot_detect(GBytes *file)
{
    gsize size, off;
    const uint8_t *d = g_bytes_get_data(file, &size);

    return find_header(d, size, &off) != NULL;
}

typedef struct MbSegment { uint64_t file_off, file_len, addr, mem_len; } MbSegment;

/* First pass fixes the extent, second copies: the same walk with place set. */
static bool take_segment(MbImage *im, const MbSegment *s, const uint8_t *d, gsize size, uint64_t memory, bool place, GError **err)
{
    uint64_t end;

    if (!s->mem_len)
        return true;
    if (!range_ok(s->file_off, s->file_len, size) || s->file_len > s->mem_len || !add_ok(s->addr, s->mem_len, &end) ||
        end > memory)
        return err_set(err, "multiboot kernel: a segment of %llu bytes at %#llx leaves the file or the guest's memory",
                       (unsigned long long)s->mem_len, (unsigned long long)s->addr);
    if (place)
        memcpy(im->data + (s->addr - im->low), d + s->file_off, s->file_len);
    im->low = MIN(im->low, s->addr);
    im->high = MAX(im->high, end);
    return true;
}

static bool walk_elf(MbImage *im, const uint8_t *d, gsize size, uint64_t memory, bool place, GError **err)
{
    bool wide = d[4] == 2;
    uint64_t phoff = wide ? ld64_le(d + 32) : ld32_le(d + 28), seen_low = UINT64_MAX;
    unsigned entry = ld16_le(d + (wide ? 54 : 42)), n = ld16_le(d + (wide ? 56 : 44)), need = wide ? 56 : 32;
    uint64_t virt = 0;

    im->entry = wide ? ld64_le(d + 24) : ld32_le(d + 24);
    if (entry < need || !range_ok(phoff, (uint64_t)entry * n, size))
        return err_set(err, "multiboot kernel: bad ELF program headers");
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *p = d + phoff + (uint64_t)i * entry;
        MbSegment s = wide ? (MbSegment) { ld64_le(p + 8), ld64_le(p + 32), ld64_le(p + 24), ld64_le(p + 40) }
                           : (MbSegment) { ld32_le(p + 4), ld32_le(p + 16), ld32_le(p + 12), ld32_le(p + 20) };

        if (ld32_le(p) != 1)
            continue;
        virt = wide ? ld64_le(p + 16) : ld32_le(p + 8);
        if (im->entry >= virt && im->entry - virt < s.mem_len && virt != s.addr && seen_low == UINT64_MAX)
            seen_low = im->entry - virt + s.addr;       /* entry given as a virtual address */
        if (!take_segment(im, &s, d, size, memory, place, err))
            return false;
    }
    if (seen_low != UINT64_MAX)
        im->entry = seen_low;
    return im->high || err_set(err, "multiboot kernel: nothing to load in the ELF file");
}

static bool load_elf(MbImage *im, const uint8_t *d, gsize size, uint64_t memory, GError **err)
{
    if (size < 64 || !walk_elf(im, d, size, memory, false, err))
        return size >= 64 ? false : err_set(err, "multiboot kernel: truncated ELF header");
    im->data = g_try_malloc0(im->high - im->low);
    if (!im->data)
        return err_set(err, "multiboot kernel: no memory for its %llu MiB", (unsigned long long)((im->high - im->low) / MiB));
    return walk_elf(im, d, size, memory, true, err);
}

/* Addresses in the header instead of ELF ("a.out kludge"). */
static bool load_flat(MbImage *im, const uint8_t *d, gsize size, gsize off, uint64_t memory, GError **err)
{
    uint32_t header = ld32_le(d + off + 12), load = ld32_le(d + off + 16), load_end = ld32_le(d + off + 20);
    uint32_t bss_end = ld32_le(d + off + 24);
    MbSegment s = { .addr = load };

    im->entry = ld32_le(d + off + 28);
    if (header < load || header - load > off)
        return err_set(err, "multiboot kernel: header address %#x does not fit load address %#x", header, load);
    s.file_off = off - (header - load);
    s.file_len = load_end ? (uint64_t)load_end - load : size - s.file_off;
    if (load_end && load_end < load)
        return err_set(err, "multiboot kernel: load end %#x lies before load address %#x", load_end, load);
    s.file_len = MIN(s.file_len, size - s.file_off);
    s.mem_len = bss_end > load ? MAX(bss_end - load, s.file_len) : s.file_len;
    if (!take_segment(im, &s, d, size, memory, false, err))
        return false;
    if (!s.mem_len)
        return err_set(err, "multiboot kernel: nothing to load");
    im->data = g_try_malloc0(im->high - im->low);
    if (!im->data)
        return err_set(err, "multiboot kernel: no memory for its %llu MiB", (unsigned long long)((im->high - im->low) / MiB));
    return take_segment(im, &s, d, size, memory, true, err);
}

typedef struct MbModules {
    GByteArray *list, *strings, *data;          /* 16-byte entries; their text; module contents */
    uint32_t base;                              /* address of data */
    unsigned n;
} MbModules;

static void align_to(GByteArray *a, guint align)
{
    guint old = a->len;

    g_byte_array_set_size(a, (old + align - 1) / align * align);
    memset(a->data + old, 0, a->len - old);
}

/* "-initrd 'file args,file2'": a comma separates modules, a space ends the file's name. */
static bool add_modules(MbModules *mods, const Pc *pc, GError **err)
{
    g_auto(GStrv) parts = g_strsplit(pc->cfg.initrd, ",", -1);

    for (unsigned i = 0; parts[i]; i++) {
        g_autofree char *path = g_strndup(parts[i], strcspn(parts[i], " "));
        g_autoptr(GBytes) data = kernel_read_file(path, "-initrd", pc->below_4g, err);
        uint8_t entry[16] = { 0 };
        gsize len;

        if (!data)
            return false;
        len = g_bytes_get_size(data);
        if (mods->base + (uint64_t)mods->data->len + len + 2 * MiB > pc->below_4g)
            return err_set(err, "-initrd %s: the modules do not fit the guest's memory", path);
        st32_le(entry, mods->base + mods->data->len);
        st32_le(entry + 4, mods->base + mods->data->len + len);
        st32_le(entry + 8, mods->strings->len);         /* made an address later */
        g_byte_array_append(mods->list, entry, sizeof entry);
        g_byte_array_append(mods->strings, (const guint8 *)parts[i], strlen(parts[i]) + 1);
        g_byte_array_append(mods->data, g_bytes_get_data(data, NULL), len);
        align_to(mods->data, 4096);
        mods->n++;
    }
    return true;
}

/* 32-bit code that sets the registers multiboot promises and jumps to the kernel. */
static void put_stub(uint8_t *at, uint32_t entry)
{
    const uint8_t code[] = {
        0x66, 0xb8, 0x10, 0x00,                         /* mov ax, 10h */
        0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8, 0x8e, 0xd0,    /* mov ds/es/fs/gs/ss, ax */
        0xb8, 0, 0, 0, 0,                               /* mov eax, loader magic */
        0xbb, 0, 0, 0, 0,                               /* mov ebx, information */
        0xb9, 0, 0, 0, 0,                               /* mov ecx, entry */
        0xff, 0xe1,                                     /* jmp ecx */
    };

    memcpy(at, code, sizeof code);
    st32_le(at + 15, LOADER_MAGIC);
    st32_le(at + 20, INFO_ADDR);
    st32_le(at + 25, entry);
}

static GBytes *build_info(Pc *pc, const MbImage *im, MbModules *mods, GError **err)
{
    g_autofree char *cmdline = g_strconcat(pc->cfg.kernel, pc->cfg.append ? " " : "", pc->cfg.append, NULL);
    static const char name[] = "quern";
    uint32_t strings = MODS_OFF + mods->list->len, cmd = strings + mods->strings->len, id = cmd + strlen(cmdline) + 1;
    uint32_t size = id + sizeof name;
    uint8_t *b;

    if (size > INFO_MAX) {
        err_set(err, "-append, -initrd: too long for a multiboot kernel");
        return NULL;
    }
    b = g_malloc0(size);
    st32_le(b + I_FLAGS, INFO_MEM | INFO_CMDLINE | INFO_MMAP | INFO_NAME | (mods->n ? INFO_MODS : 0));
    st32_le(b + I_MEM_LOWER, 639);
    st32_le(b + I_MEM_UPPER, (pc->below_4g - MiB) / KiB);
    st32_le(b + I_CMDLINE, INFO_ADDR + cmd);
    st32_le(b + I_MODS_COUNT, mods->n);
    st32_le(b + I_MODS, INFO_ADDR + MODS_OFF);
    st32_le(b + I_MMAP, MAP_ADDR);
    st32_le(b + I_LOADER_NAME, INFO_ADDR + id);
    st64_le(b + GDT_OFF + 8, 0x00cf9b000000ffffULL);    /* code: base 0, 4 GiB */
    st64_le(b + GDT_OFF + 16, 0x00cf93000000ffffULL);   /* data */
    st16_le(b + GDTR_OFF, 23);
    st32_le(b + GDTR_OFF + 2, INFO_ADDR + GDT_OFF);
    put_stub(b + STUB_OFF, im->entry);
    for (unsigned i = 0; i < mods->n; i++) {
        uint8_t *e = mods->list->data + 16 * i;

        st32_le(e + 8, INFO_ADDR + strings + ld32_le(e + 8));
    }
    if (mods->n) {
        memcpy(b + MODS_OFF, mods->list->data, mods->list->len);
        memcpy(b + strings, mods->strings->data, mods->strings->len);
    }
    memcpy(b + cmd, cmdline, strlen(cmdline) + 1);
    memcpy(b + id, name, sizeof name);
    return g_bytes_new_take(b, size);
}

static bool publish(Pc *pc, MbImage *im, MbModules *mods, GError **err)
{
    g_autoptr(GBytes) kernel = g_bytes_new_take(g_steal_pointer(&im->data), im->high - im->low);
    g_autoptr(GBytes) info = build_info(pc, im, mods, err);
    g_autoptr(GBytes) data = g_bytes_new(mods->data->data, mods->data->len);
    BootRom rom = { .title = "Multiboot (-kernel)", .multiboot = true, .map_addr = MAP_ADDR,
                    .map_len_addr = INFO_ADDR + I_MMAP_LENGTH, .gdtr_addr = INFO_ADDR + GDTR_OFF,
                    .entry = INFO_ADDR + STUB_OFF };

    if (!info)
        return false;
    kernel_publish(pc, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, im->low, kernel);
    kernel_publish(pc, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, INFO_ADDR, info);
    rom.load[rom.loads++] = (BootLoad) { FW_CFG_KERNEL_DATA, g_bytes_get_size(kernel), im->low };
    rom.load[rom.loads++] = (BootLoad) { FW_CFG_SETUP_DATA, g_bytes_get_size(info), INFO_ADDR };
    if (mods->data->len) {
        kernel_publish(pc, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, mods->base, data);
        rom.load[rom.loads++] = (BootLoad) { FW_CFG_INITRD_DATA, mods->data->len, mods->base };
    }
    return kernel_add_rom(pc, &rom, err);
}

static bool load_image(MbImage *im, const Pc *pc, GBytes *file, GError **err)
{
    gsize size, off = 0;
    const uint8_t *d = g_bytes_get_data(file, &size);
    uint32_t flags = ld32_le(find_header(d, size, &off) + 4);

    if ((flags & 0xffff) & ~(F_MEMINFO | F_VIDEO | 1))
        return err_set(err, "multiboot kernel asks for features %#x that this loader lacks", flags & 0xffff);
    if (flags & F_ADDRESSES)
        return off + 32 <= size ? load_flat(im, d, size, off, pc->below_4g, err)
                                : err_set(err, "multiboot kernel: truncated header");
    if (size > 4 && !memcmp(d, "\177ELF", 4))
        return load_elf(im, d, size, pc->below_4g, err);
    return err_set(err, "multiboot kernel is no ELF file and its header gives no addresses");
}

bool multiboot_setup(Pc *pc, GBytes *file, GError **err)
{
    MbImage im = { .low = UINT64_MAX };
    MbModules mods = { g_byte_array_new(), g_byte_array_new(), g_byte_array_new(), 0, 0 };
    bool ok = load_image(&im, pc, file, err);

    if (ok) {
        mods.base = MAX((im.high + 4095) & ~4095ULL, MiB);
        ok = !pc->cfg.initrd || add_modules(&mods, pc, err);
    }
    ok = ok && publish(pc, &im, &mods, err);
    g_free(im.data);
    g_byte_array_unref(mods.list);
    g_byte_array_unref(mods.strings);
    g_byte_array_unref(mods.data);
    return ok;
}
