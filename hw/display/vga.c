/*
 * vga: registers of the IBM VGA: sequencer, graphics and attribute controllers, CRTC, DAC.
 *
 * IBM PS/2 Hardware Interface Technical Reference (video subsystem). Left out: vertical retrace
 * interrupt, light pen, feature connector. docs/hw/vga.md.
 */
#include "hw/display/vga.h"

#include "util/log.h"

#include <string.h>
#include <sys/mman.h>

enum { P_ATTR = 0x3c0, P_ATTR_R = 0x3c1, P_MISC_W = 0x3c2, P_ENABLE = 0x3c3, P_SEQ = 0x3c4, P_SEQ_DATA = 0x3c5,
       P_DAC_MASK = 0x3c6, P_DAC_READ = 0x3c7, P_DAC_WRITE = 0x3c8, P_DAC_DATA = 0x3c9, P_FEATURE = 0x3ca,
       P_MISC_R = 0x3cc, P_GR = 0x3ce, P_GR_DATA = 0x3cf };
enum { MISC_COLOR = 1, MISC_RAM = 2, MISC_CLOCK = 0x0c };
enum { CRTC_PROTECT = 0x11 };
enum { STATUS_BLANK = 1, STATUS_RETRACE = 8 };

/* Bits that exist in each register. */
static const uint8_t seq_mask[VGA_SEQ_REGS] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff };
static const uint8_t gr_mask[VGA_GR_REGS] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };

/* ---- timing: what status register 1 shows ---- */

static uint8_t input_status(Vga *v)
{
    static const int64_t clocks[] = { 25175000, 28322000, 25175000, 25175000 };
    const uint8_t *c = v->crtc;
    int64_t hz = clocks[v->misc >> 2 & 3];
    unsigned dots = v->seq[1] & 1 ? 8 : 9;
    unsigned htotal = c[0] + 5, hshown = c[1] + 1;
    unsigned vtotal = (c[6] | (c[7] & 1) << 8 | (c[7] & 0x20) << 4) + 2;
    unsigned vshown = (c[0x12] | (c[7] & 2) << 7 | (c[7] & 0x40) << 3) + 1;
    unsigned sync = c[0x10] | (c[7] & 4) << 6 | (c[7] & 0x80) << 2, sync_lines = ((c[0x11] - sync) & 15) ?: 16;
    int64_t line_ns, now = device_now(v->dev), in_frame, line;
    uint8_t st = 0;

    if (v->seq[1] & 8)
        hz /= 2;
    if (hshown >= htotal)
        htotal = hshown + 20;
    if (vshown >= vtotal)
        vtotal = vshown + 45;
    if (sync < vshown || sync >= vtotal)
        sync = vshown;
    line_ns = MAX((int64_t)htotal * dots * NS_PER_SEC / hz, 1);
    in_frame = now % (line_ns * vtotal);
    line = in_frame / line_ns;
    if (line >= vshown || in_frame % line_ns * htotal / line_ns >= hshown)
        st |= STATUS_BLANK;
    if (line >= sync && line < sync + sync_lines)
        st |= STATUS_RETRACE;
    return st;
}

/* ---- registers with side effects ---- */

static void changed(Vga *v)
{
    vga_update_window(v);
}

static void write_attr(Vga *v, uint8_t val)
{
    v->ar_data = !v->ar_data;
    if (v->ar_data) {
        v->ar_index = val & 0x3f;
        return;
    }
    if ((v->ar_index & 0x1f) < VGA_AR_REGS) {
        unsigned i = v->ar_index & 0x1f;

        if (i < 16 && (v->ar_index & 0x20))
            return;             /* the palette is being shown: not writable */
        v->ar[i] = i < 16 || i == 0x12 ? val & 0x3f : i >= 0x13 ? val & 0x0f : i == 0x10 ? val & ~0x10 : val;
    }
}

static void write_dac(Vga *v, uint8_t val)
{
    v->dac_temp[v->dac_sub] = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC ? val : val & 0x3f;
    if (++v->dac_sub == 3) {
        memcpy(v->palette + v->dac_write * 3, v->dac_temp, 3);
        v->dac_sub = 0;
        v->dac_write++;
    }
}

static uint8_t read_dac(Vga *v)
{
    uint8_t val = v->palette[v->dac_read * 3 + v->dac_sub];

    if (++v->dac_sub == 3) {
        v->dac_sub = 0;
        v->dac_read++;
    }
    return val;
}

static void write_crtc(Vga *v, uint8_t val)
{
    unsigned i = v->crtc_index;

    if (i >= VGA_CRTC_REGS)
        return;
    if ((v->crtc[CRTC_PROTECT] & 0x80) && i <= 7) {
        if (i == 7)             /* line compare bit 8 is not protected */
            v->crtc[7] = (v->crtc[7] & ~0x10) | (val & 0x10);
        return;
    }
    v->crtc[i] = val;
}

uint8_t vga_port_read(Vga *v, unsigned port)
{
    unsigned folded = port & ~0x60u, color = v->misc & MISC_COLOR ? 0x3d0 : 0x3b0;
    uint8_t st;

    switch (port) {
    case P_ATTR:
        return v->ar_data ? 0 : v->ar_index;
    case P_ATTR_R:
        return (v->ar_index & 0x1f) < VGA_AR_REGS ? v->ar[v->ar_index & 0x1f] : 0;
    case P_MISC_W:
        return 0x10;            /* input status 0: a colour monitor answers the switch sense */
    case P_ENABLE:
        return 1;
    case P_SEQ:
        return v->seq_index;
    case P_SEQ_DATA:
        return v->seq[v->seq_index & 7];
    case P_DAC_MASK:
        return v->dac_mask;
    case P_DAC_READ:
        return v->dac_state;
    case P_DAC_WRITE:
        return v->dac_write;
    case P_DAC_DATA:
        return read_dac(v);
    case P_FEATURE:
        return v->feature;
    case P_MISC_R:
        return v->misc;
    case P_GR:
        return v->gr_index;
    case P_GR_DATA:
        return v->gr[v->gr_index & 15];
    }
    if ((port & 0x3f0) != color)
        return 0xff;
    switch (folded) {
    case 0x394: case 0x390: case 0x392: case 0x396:
        return v->crtc_index;
    case 0x395: case 0x391: case 0x393: case 0x397:
        return v->crtc_index < VGA_CRTC_REGS ? v->crtc[v->crtc_index] : 0xff;
    case 0x39a:
        st = input_status(v);
        v->ar_data = false;
        return st;
    }
    return 0xff;
}

void vga_port_write(Vga *v, unsigned port, uint8_t val)
{
    unsigned folded = port & ~0x60u, color = v->misc & MISC_COLOR ? 0x3d0 : 0x3b0;

    switch (port) {
    case P_ATTR:
        write_attr(v, val);
        return;
    case P_MISC_W:
        v->misc = val & ~0x10;
        changed(v);
        return;
    case P_SEQ:
        v->seq_index = val & 7;
        return;
    case P_SEQ_DATA:
        v->seq[v->seq_index & 7] = val & seq_mask[v->seq_index & 7];
        changed(v);
        return;
    case P_DAC_MASK:
        v->dac_mask = val;
        return;
    case P_DAC_READ:
        v->dac_read = val;
        v->dac_sub = 0;
        v->dac_state = 3;
        return;
    case P_DAC_WRITE:
        v->dac_write = val;
        v->dac_sub = 0;
        v->dac_state = 0;
        return;
    case P_DAC_DATA:
        write_dac(v, val);
        return;
    case P_GR:
        v->gr_index = val & 15;
        return;
    case P_GR_DATA:
        v->gr[v->gr_index & 15] = val & gr_mask[v->gr_index & 15];
        changed(v);
        return;
    }
    if ((port & 0x3f0) != color)
        return;
    switch (folded) {
    case 0x394: case 0x390: case 0x392: case 0x396:
        v->crtc_index = val;
        break;
    case 0x395: case 0x391: case 0x393: case 0x397:
        write_crtc(v, val);
        break;
    case 0x39a:
        v->feature = val & 0x10;
        break;
    }
}

/* ---- regions ---- */

static uint64_t ports_b_read(void *o, uint64_t off, unsigned size) { return vga_port_read(o, 0x3b0 + off); }
static uint64_t ports_c_read(void *o, uint64_t off, unsigned size) { return vga_port_read(o, 0x3c0 + off); }
static uint64_t ports_d_read(void *o, uint64_t off, unsigned size) { return vga_port_read(o, 0x3d0 + off); }
static void ports_b_write(void *o, uint64_t off, uint64_t val, unsigned size) { vga_port_write(o, 0x3b0 + off, val); }
static void ports_c_write(void *o, uint64_t off, uint64_t val, unsigned size) { vga_port_write(o, 0x3c0 + off, val); }
static void ports_d_write(void *o, uint64_t off, uint64_t val, unsigned size) { vga_port_write(o, 0x3d0 + off, val); }
static const IoOps ports_b_ops = { ports_b_read, ports_b_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1, .unaligned = true };
static const IoOps ports_c_ops = { ports_c_read, ports_c_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1, .unaligned = true };
static const IoOps ports_d_ops = { ports_d_read, ports_d_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1, .unaligned = true };

/* 1ce: index; 1cf and 1d0: data, as 16-bit words. */
static uint64_t vbe_port_read(void *opaque, uint64_t off, unsigned size)
{
    Vga *v = opaque;

    return off == 0 ? v->vbe_index : vbe_read(v, v->vbe_index);
}

static void vbe_port_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Vga *v = opaque;

    if (off == 0)
        v->vbe_index = val;
    else
        vbe_write(v, v->vbe_index, val);
}

static const IoOps vbe_ports_ops = { vbe_port_read, vbe_port_write, .min = 1, .max = 2, .impl_min = 1, .impl_max = 2,
                                     .unaligned = true };

void vga_update_window(Vga *v)
{
    uint32_t offset = 0;
    bool linear = v->window_parent && vga_window_linear(v, &offset);

    if (linear == v->window_on && (!linear || v->linear_window.ram_offset == offset))
        return;
    region_batch_begin();
    if (v->window_on) {
        region_del(&v->linear_window);
        region_destroy(&v->linear_window);
    }
    v->window_on = linear;
    if (linear) {
        region_init_ram(&v->linear_window, "vga-linear", v->vram, offset, 0x10000);
        region_add(v->window_parent, &v->linear_window, 0xa0000, 3);
    }
    region_batch_end();
}

void vga_map_legacy(Vga *v, Region *mem, Region *ports)
{
    device_init_io(v->dev, &v->window, "vga", &vga_window_ops, 0x20000);
    device_init_io(v->dev, &v->ports_b, "vga-mono", &ports_b_ops, 12);
    device_init_io(v->dev, &v->ports_c, "vga-ports", &ports_c_ops, 16);
    device_init_io(v->dev, &v->ports_d, "vga-color", &ports_d_ops, 16);
    device_init_io(v->dev, &v->ports_vbe, "vbe", &vbe_ports_ops, 3);
    v->window.opaque = v->ports_b.opaque = v->ports_c.opaque = v->ports_d.opaque = v->ports_vbe.opaque = v;
    region_add(mem, &v->window, 0xa0000, 2);
    region_add(ports, &v->ports_b, 0x3b0, 0);
    region_add(ports, &v->ports_c, 0x3c0, 0);
    region_add(ports, &v->ports_d, 0x3d0, 0);
    region_add(ports, &v->ports_vbe, 0x1ce, 0);
    v->window_parent = mem;
    vga_update_window(v);
}

/* ---- life ---- */

static const ConsoleOps console_ops = { .update = vga_update_display, .invalidate = vga_invalidate };

bool vga_init(Vga *v, Device *dev, uint64_t vram_size, bool legacy, GError **err)
{
    uint64_t size = MiB;

    if (vram_size > 256 * MiB)
        return err_set(err, "%s: vgamem_mb is at most 256", dev->cls->name);
    while (size < vram_size)
        size *= 2;
    v->dev = dev;
    v->vram_size = size;
    v->vram = ram_block_new("vga.vram", size, err);
    if (!v->vram)
        return false;
    machine_add_ram(dev->machine, v->vram);
    region_init_ram(&v->lfb, "vga.vram", v->vram, 0, size);
    v->cache.dirty = g_malloc0(size >> 12);
    v->con = console_new(device_ui(dev), "VGA", &console_ops, v);
    vga_invalidate(v);
    return true;
}

void vga_cleanup(Vga *v)
{
    console_free(v->con);
    if (v->window_parent) {
        if (v->window_on)
            region_destroy(&v->linear_window);
        region_destroy(&v->window);
        region_destroy(&v->ports_b);
        region_destroy(&v->ports_c);
        region_destroy(&v->ports_d);
        region_destroy(&v->ports_vbe);
    }
    region_destroy(&v->lfb);
    vga_cache_free(v);
    machine_del_ram(v->dev->machine, v->vram);
    ram_block_free(v->vram);
}

/* Video memory is private to the process: given back to the host, it reads zero, and takes no room until it is used. */
static void clear_vram(Vga *v)
{
    if (madvise(v->vram->host, v->vram_size, MADV_DONTNEED))
        memset(v->vram->host, 0, v->vram_size);
    ram_mark_written(v->vram, 0, v->vram_size);
}

void vga_reset(Vga *v)
{
    v->misc = v->feature = 0;
    v->seq_index = v->gr_index = v->crtc_index = v->ar_index = 0;
    v->ar_data = false;
    memset(v->seq, 0, sizeof v->seq);
    memset(v->gr, 0, sizeof v->gr);
    memset(v->crtc, 0, sizeof v->crtc);
    memset(v->ar, 0, sizeof v->ar);
    memset(v->palette, 0, sizeof v->palette);
    memset(v->dac_temp, 0, sizeof v->dac_temp);
    memset(v->vbe, 0, sizeof v->vbe);
    clear_vram(v);
    v->dac_mask = 0xff;
    v->dac_read = v->dac_write = v->dac_sub = v->dac_state = 0;
    v->latch = 0;
    v->vbe_index = 0;
    v->vbe[VBE_ID] = 0xb0c5;
    vga_update_window(v);
    vga_invalidate(v);
}

static bool vga_loaded(void *opaque, GError **err)
{
    Vga *v = opaque;

    vbe_fix(v);
    vga_update_window(v);
    vga_invalidate(v);
    return true;
}

const StateDesc vga_state = {
    .name = "vga", .version = 1, .loaded = vga_loaded,
    .fields = (const StateField[]) {
        STATE_U8(Vga, misc), STATE_U8(Vga, feature), STATE_UMAX(Vga, seq_index, 7), STATE_BUF(Vga, seq),
        STATE_UMAX(Vga, gr_index, 15), STATE_BUF(Vga, gr), STATE_U8(Vga, crtc_index), STATE_BUF(Vga, crtc),
        STATE_UMAX(Vga, ar_index, 0x3f), STATE_BUF(Vga, ar), STATE_B(Vga, ar_data), STATE_U8(Vga, dac_mask),
        STATE_U8(Vga, dac_read), STATE_U8(Vga, dac_write), STATE_UMAX(Vga, dac_sub, 2), STATE_U8(Vga, dac_state),
        STATE_BUF(Vga, dac_temp), STATE_BUF(Vga, palette), STATE_U32(Vga, latch), STATE_U16(Vga, vbe_index),
        STATE_UARRAY(Vga, vbe), STATE_END },
};
