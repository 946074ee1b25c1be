/*
 * kernel: -kernel, -initrd, -append: Linux bzImage and multiboot kernels, through fw_cfg and a ROM.
 *
 * Linux: Documentation/x86/boot.rst (protocol 2.00 and later, and the older zImage layout).
 * Firmware sets the machine up, then runs the boot ROM, which copies the parts to their places
 * (hw/i386/bootrom.c). Multiboot kernels: hw/i386/multiboot.c. docs/boot.md.
 */
#include "hw/i386/kernel_int.h"

#include "hw/i386/bootrom.h"

#include <stdlib.h>

enum {                          /* setup header fields: offsets into the first sectors */
    H_SETUP_SECTS = 0x1f1, H_VID_MODE = 0x1fa, H_BOOT_FLAG = 0x1fe, H_MAGIC = 0x202, H_VERSION = 0x206,
    H_LOADER = 0x210, H_LOADFLAGS = 0x211, H_INITRD = 0x218, H_INITRD_SIZE = 0x21c, H_HEAP_END = 0x224,
    H_CMDLINE = 0x228, H_INITRD_MAX = 0x22c, H_CMDLINE_SIZE = 0x238, H_PREF_ADDRESS = 0x258, H_INIT_SIZE = 0x260,
    HEADER_END = 0x268,
};
enum { LOADED_HIGH = 1 << 0, CAN_USE_HEAP = 1 << 7, LOADER_ID = 0xb0, SECTOR = 512 };
#define HDRS 0x53726448u                        /* "HdrS" */
#define FIRMWARE_TOP (512 * KiB)                /* kept for ACPI tables under the top of low memory */
#define MAX_CMDLINE (64 * KiB)

typedef struct LinuxPlan {
    uint8_t *setup;
    uint32_t setup_size, setup_addr, kernel_addr, cmdline_addr, initrd_addr;
    uint16_t version;
} LinuxPlan;

GBytes *kernel_read_file(const char *path, const char *option, uint64_t max, GError **err)
{
    g_autoptr(GError) why = NULL;
    char *data = NULL;
    gsize len = 0;

    if (!g_file_get_contents(path, &data, &len, &why)) {
        const char *reason = strrchr(why->message, ':');        /* GLib's text names the file in its own way */

        err_set(err, "%s: Could not open '%s'%s", option, path, reason ? reason : "");
        return NULL;
    }
    if (len > max) {
        g_free(data);
        err_set(err, "%s %s: %llu MiB do not fit the guest's memory", option, path, (unsigned long long)(len / MiB));
        return NULL;
    }
    return g_bytes_new_take(data, len);
}

/* vga=: a mode number, or normal, ext, ask. */
static void set_video_mode(uint8_t *setup, const char *cmdline)
{
    const char *at = strstr(cmdline, "vga=");
    unsigned long mode;

    if (!at || (at != cmdline && at[-1] != ' '))
        return;
    at += 4;
    if (g_str_has_prefix(at, "normal"))
        mode = 0xffff;
    else if (g_str_has_prefix(at, "ext"))
        mode = 0xfffe;
    else if (g_str_has_prefix(at, "ask"))
        mode = 0xfffd;
    else
        mode = strtoul(at, NULL, 0);
    st16_le(setup + H_VID_MODE, mode);
}

/* Memory layout by protocol version. */
static void plan_addresses(LinuxPlan *p)
{
    bool high = p->version >= 0x200 && (p->setup[H_LOADFLAGS] & LOADED_HIGH);

    p->setup_addr = high ? 0x10000 : 0x90000;
    p->kernel_addr = high ? 0x100000 : 0x10000;
    p->cmdline_addr = high ? 0x20000 : 0x9a000;
}

static bool place_initrd(LinuxPlan *p, const Pc *pc, uint64_t kernel_size, uint64_t size, GError **err)
{
    uint64_t max = p->version >= 0x203 ? ld32_le(p->setup + H_INITRD_MAX) : 0x37ffffff;
    uint64_t top = pc->below_4g > FIRMWARE_TOP ? pc->below_4g - FIRMWARE_TOP : 0, floor = p->kernel_addr + kernel_size;

    if (p->version >= 0x20a)
        floor = MAX(floor, ld64_le(p->setup + H_PREF_ADDRESS) + ld32_le(p->setup + H_INIT_SIZE));
    max = MIN(max + 1, top);
    if (size > max || ((max - size) & ~4095ULL) < floor)
        return err_set(err, "-initrd: %llu MiB do not fit beside the kernel in %llu MiB of memory: give more with -m",
                       (unsigned long long)(size / MiB), (unsigned long long)(pc->machine->ram_size / MiB));
    p->initrd_addr = (max - size) & ~4095ULL;
    return true;
}

static void fill_header(LinuxPlan *p, uint64_t initrd_size, const char *cmdline)
{
    uint8_t *s = p->setup;

    if (p->version >= 0x200)
        s[H_LOADER] = LOADER_ID;
    if (p->version >= 0x201) {
        s[H_LOADFLAGS] |= CAN_USE_HEAP;
        st16_le(s + H_HEAP_END, p->cmdline_addr - p->setup_addr - 0x200);
    }
    if (p->version >= 0x202) {
        st32_le(s + H_CMDLINE, p->cmdline_addr);
    } else {
        st16_le(s + 0x20, 0xa33f);
        st16_le(s + 0x22, p->cmdline_addr - p->setup_addr);
    }
    if (initrd_size) {
        st32_le(s + H_INITRD, p->initrd_addr);
        st32_le(s + H_INITRD_SIZE, initrd_size);
    }
    set_video_mode(s, cmdline);
}

/* Splits the file; the setup part is a copy, to be filled in. */
static bool parse_linux(LinuxPlan *p, GBytes *file, const char *path, GError **err)
{
    gsize size;
    const uint8_t *d = g_bytes_get_data(file, &size);
    unsigned sects;

    if (size < HEADER_END + SECTOR || ld16_le(d + H_BOOT_FLAG) != 0xaa55)
        return err_set(err, "-kernel %s is neither a Linux bzImage nor a multiboot kernel", path);
    p->version = ld32_le(d + H_MAGIC) == HDRS ? ld16_le(d + H_VERSION) : 0;
    sects = d[H_SETUP_SECTS] ? d[H_SETUP_SECTS] : 4;
    p->setup_size = (sects + 1) * SECTOR;
    if (p->setup_size >= size)
        return err_set(err, "-kernel %s: the file ends inside its set-up code", path);
    p->setup = g_malloc0(MAX(p->setup_size, 4 * KiB));
    memcpy(p->setup, d, p->setup_size);
    return true;
}

void kernel_publish(Pc *pc, uint16_t addr_key, uint16_t size_key, uint16_t data_key, uint32_t addr, GBytes *data)
{
    fw_cfg_add_int(pc->fw_cfg, addr_key, addr, 4);
    fw_cfg_add_int(pc->fw_cfg, size_key, g_bytes_get_size(data), 4);
    fw_cfg_add_bytes(pc->fw_cfg, data_key, data);
}

bool kernel_add_rom(Pc *pc, const BootRom *rom, GError **err)
{
    g_autoptr(GBytes) image = bootrom_build(rom);

    boot_order_add(pc->machine, NULL, 0, "/rom@genroms/" BOOTROM_NAME);
    return fw_cfg_add_file(pc->fw_cfg, "genroms/" BOOTROM_NAME, image, err);
}

static void add_load(BootRom *rom, uint16_t key, uint64_t len, uint64_t addr)
{
    rom->load[rom->loads++] = (BootLoad) { key, len, addr };
}

static bool setup_linux(Pc *pc, GBytes *file, GError **err)
{
    const char *cmdline = pc->cfg.append ? pc->cfg.append : "";
    g_autoptr(GBytes) kernel = NULL, setup = NULL, text = g_bytes_new(cmdline, strlen(cmdline) + 1), initrd = NULL;
    BootRom rom = { .title = "Linux (-kernel)" };
    LinuxPlan p = { 0 };
    uint64_t limit;
    bool ok;

    if (!parse_linux(&p, file, pc->cfg.kernel, err))
        return false;
    plan_addresses(&p);
    limit = p.version >= 0x206 ? ld32_le(p.setup + H_CMDLINE_SIZE) : 255;
    if (strlen(cmdline) > MIN(limit, MAX_CMDLINE))
        log_warn("-append: this kernel reads the first %llu characters only", (unsigned long long)MIN(limit, MAX_CMDLINE));
    kernel = g_bytes_new_from_bytes(file, p.setup_size, g_bytes_get_size(file) - p.setup_size);
    ok = strlen(cmdline) < MAX_CMDLINE ? p.kernel_addr + g_bytes_get_size(kernel) < pc->below_4g : false;
    if (!ok)
        err_set(err, "-kernel %s: kernel or command line does not fit the guest's memory", pc->cfg.kernel);
    if (ok && pc->cfg.initrd) {
        initrd = kernel_read_file(pc->cfg.initrd, "-initrd", pc->below_4g, err);
        ok = initrd && place_initrd(&p, pc, g_bytes_get_size(kernel), g_bytes_get_size(initrd), err);
    }
    if (!ok) {
        g_free(p.setup);
        return false;
    }
    fill_header(&p, initrd ? g_bytes_get_size(initrd) : 0, cmdline);
    setup = g_bytes_new_take(p.setup, p.setup_size);
    kernel_publish(pc, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, p.setup_addr, setup);
    kernel_publish(pc, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, p.kernel_addr, kernel);
    kernel_publish(pc, FW_CFG_CMDLINE_ADDR, FW_CFG_CMDLINE_SIZE, FW_CFG_CMDLINE_DATA, p.cmdline_addr, text);
    add_load(&rom, FW_CFG_SETUP_DATA, p.setup_size, p.setup_addr);
    add_load(&rom, FW_CFG_KERNEL_DATA, g_bytes_get_size(kernel), p.kernel_addr);
    add_load(&rom, FW_CFG_CMDLINE_DATA, g_bytes_get_size(text), p.cmdline_addr);
    if (initrd) {
        kernel_publish(pc, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, p.initrd_addr, initrd);
        if (g_bytes_get_size(initrd))
            add_load(&rom, FW_CFG_INITRD_DATA, g_bytes_get_size(initrd), p.initrd_addr);
    }
    rom.segment = p.setup_addr >> 4;
    rom.stack = MIN(p.cmdline_addr - p.setup_addr, 0x10000) - 16;
    return kernel_add_rom(pc, &rom, err);
}

bool pc_kernel_setup(Pc *pc, GError **err)
{
    g_autoptr(GBytes) file = kernel_read_file(pc->cfg.kernel, "-kernel", pc->below_4g, err);

    if (!file)
        return false;
    if (multiboot_detect(file))
        return multiboot_setup(pc, file, err);
    return setup_linux(pc, file, err);
}
