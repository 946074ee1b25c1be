/*
 * vga: the core of an IBM VGA with Bochs VBE extensions, shared by its PCI and ISA cards.
 *
 * Video memory is one RAM block. A 32-bit word of it holds the four planes of one plane address
 * (plane 0 in the low byte), so that a linear byte address is at once a chain-4 address.
 * Everything runs under the machine lock. docs/hw/vga.md.
 */
#ifndef HW_DISPLAY_VGA_H
#define HW_DISPLAY_VGA_H

#include "hw/display/console.h"

enum { VGA_SEQ_REGS = 8, VGA_GR_REGS = 16, VGA_CRTC_REGS = 64, VGA_AR_REGS = 21, VGA_PALETTE = 768 };
enum { VBE_ID, VBE_XRES, VBE_YRES, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRT_WIDTH, VBE_VIRT_HEIGHT, VBE_X_OFFSET,
       VBE_Y_OFFSET, VBE_MEMORY, VBE_REGS };
enum { VBE_ENABLED = 1, VBE_GETCAPS = 2, VBE_8BIT_DAC = 0x20, VBE_LFB = 0x40, VBE_NOCLEAR = 0x80 };

/* What is on the screen, as plain numbers; a difference to the last frame means: draw all. */
typedef struct VgaMode {
    enum { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA, VGA_BYTES, VGA_LINEAR } kind;
    int width, height;          /* pixels on the console */
    int bpp;                    /* LINEAR: 8, 15, 16, 24, 32 */
    uint32_t start, pitch;      /* bytes into video memory */
    uint32_t split;             /* scan line after which the picture starts again at address 0 */
    int x_scale;                /* each pixel this many times */
    int row_lines, double_scan; /* scan lines of a character row; lines shown twice */
    int pan, byte_pan, preset_row;
    bool pan_ends_at_split;
    int char_w, cols;
    uint8_t fonts, attr_mode, underline;        /* text: SR3, AR10, CR14 */
    bool mono;
    uint8_t crtc_mode;          /* CR17: which address bits come from the row counter */
    uint8_t plane_mask;
    uint32_t mask;              /* of video memory addresses */
} VgaMode;

typedef struct VgaCache {       /* recomputed at will; never saved */
    VgaMode mode;
    bool redraw;                /* next update draws everything */
    bool direct;                /* the console shows video memory itself */
    uint32_t rgb[256];
    uint8_t *dirty;             /* a flag for each page of video memory, of this update */
    uint8_t *fetch;             /* one line, when it wraps around video memory */
    uint32_t *cells;            /* text: what each cell shows */
    ConsoleCell *out;           /* the same for terminals */
    unsigned cells_len;
    uint8_t font[2][256 * 32];
    uint32_t cursor_cell;
    bool cursor_shown, blink_shown, any_blink;
} VgaCache;

typedef struct Vga {
    Device *dev;
    Console *con;
    RamBlock *vram;
    uint32_t vram_size;         /* a power of two */
    Region window;              /* a0000-bffff */
    Region linear_window;       /* over it: 64 KiB of video memory without a handler */
    Region lfb;                 /* all of video memory */
    Region ports_b, ports_c, ports_d, ports_vbe;
    Region *window_parent;
    bool window_on;
    /* state */
    uint8_t misc, feature;
    uint8_t seq_index, seq[VGA_SEQ_REGS];
    uint8_t gr_index, gr[VGA_GR_REGS];
    uint8_t crtc_index, crtc[VGA_CRTC_REGS];
    uint8_t ar_index, ar[VGA_AR_REGS];
    bool ar_data;               /* the next write to 3c0 is data */
    uint8_t dac_mask, dac_read, dac_write, dac_sub, dac_state, dac_temp[3];
    uint8_t palette[VGA_PALETTE];
    uint32_t latch;
    uint16_t vbe_index, vbe[VBE_REGS];
    VgaCache cache;
} Vga;

extern const StateDesc vga_state;

/* Allocates video memory (vram_size rounded up to a power of two, 1 to 256 MiB) and the console. */
bool vga_init(Vga *v, Device *dev, uint64_t vram_size, bool legacy, GError **err) MUST_CHECK;
/* Maps a0000-bffff into mem and the VGA ports into ports. */
void vga_map_legacy(Vga *v, Region *mem, Region *ports);
void vga_cleanup(Vga *v);
void vga_reset(Vga *v);
void vga_update_window(Vga *v);                 /* after a change of what a0000-affff shows */
uint8_t vga_port_read(Vga *v, unsigned port);   /* 3b0-3df */
void vga_port_write(Vga *v, unsigned port, uint8_t val);

/* vga_vbe.c */
uint16_t vbe_read(Vga *v, unsigned reg);
void vbe_write(Vga *v, unsigned reg, uint16_t val);
static inline bool vbe_on(const Vga *v) { return v->vbe[VBE_ENABLE] & VBE_ENABLED; }
uint32_t vbe_pitch(const Vga *v);               /* bytes a line */
void vbe_fix(Vga *v);                           /* makes registers consistent: after enabling, after loading */
/* vga_mem.c */
extern const IoOps vga_window_ops;
bool vga_window_linear(const Vga *v, uint32_t *offset);
/* vga_draw.c, vga_text.c */
void vga_update_display(void *opaque);
void vga_invalidate(void *opaque);
void vga_cache_free(Vga *v);
void vga_draw_text(Vga *v, bool memory_changed);
bool vga_update_palette(Vga *v);                /* true if a colour changed */
/* edid.c: a 128-byte block for a monitor whose preferred mode is w x h. */
void edid_build(uint8_t out[128], unsigned w, unsigned h);

#endif
