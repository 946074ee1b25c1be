/*
 * bootrom: assembles the option ROM that loads a kernel by fw_cfg DMA and jumps to it.
 *
 * BIOS Boot Specification 1.01, appendix A (expansion header with a boot entry vector). The code
 * is a few dozen real-mode instructions; it is put together here, byte by byte with the
 * instruction beside, because the addresses in it are known only at run time and so that building
 * quern needs no x86 assembler. What to load is a table of ready-made DMA request blocks.
 */
#include "hw/i386/bootrom.h"

#include "util/bytes.h"

#include <string.h>

enum { PNP_HEADER = 0x20, NAME = 0x48, CODE = 0x70, BLOCK = 512 };
enum { DMA_READ_SELECT = 1 << 1 | 1 << 3, DMA_BLOCK = 16 };

typedef struct Asm { GByteArray *out; } Asm;

#define EMIT(a, ...) do { const uint8_t b_[] = { __VA_ARGS__ }; g_byte_array_append((a)->out, b_, sizeof b_); } while (0)
#define W16(v) (uint8_t)(v), (uint8_t)((v) >> 8)
#define W32(v) W16(v), W16((v) >> 16)

/* Each request block in turn: its linear address, byte-swapped, to the low half of the DMA port. */
static void emit_loads(Asm *a, unsigned table, unsigned n)
{
    EMIT(a, 0xfa,                               /* cli */
            0xfc,                               /* cld */
            0x66, 0x31, 0xdb,                   /* xor ebx, ebx */
            0x8c, 0xcb,                         /* mov bx, cs */
            0x66, 0xc1, 0xe3, 4,                /* shl ebx, 4 */
            0x66, 0x81, 0xc3, W32(table),       /* add ebx, table */
            0xb9, W16(n),                       /* mov cx, n */
            0xba, W16(0x518),                   /* mov dx, 518h */
            0x66, 0x89, 0xd8,                   /* next: mov eax, ebx */
            0x66, 0x0f, 0xc8,                   /* bswap eax */
            0x66, 0xef,                         /* out dx, eax */
            0x66, 0x83, 0xc3, DMA_BLOCK,        /* add ebx, 16 */
            0xe2, (uint8_t)-14);                /* loop next */
}

/* Linux boot protocol: every data segment and SS at the setup code, entry 200h into it. */
static void emit_linux(Asm *a, const BootRom *b)
{
    EMIT(a, 0xb8, W16(b->segment),              /* mov ax, segment */
            0x8e, 0xd8, 0x8e, 0xc0,             /* mov ds, ax; mov es, ax */
            0x8e, 0xe0, 0x8e, 0xe8,             /* mov fs, ax; mov gs, ax */
            0x8e, 0xd0,                         /* mov ss, ax */
            0x66, 0xbc, W16(b->stack), 0, 0,    /* mov esp, stack */
            0xea, W16(0), W16(b->segment + 0x20));  /* jmp far segment+20h:0 */
}

/* The BIOS memory map as multiboot wants it: a size before each 20-byte entry. */
static void emit_memory_map(Asm *a, const BootRom *b)
{
    EMIT(a, 0xfb,                               /* sti */
            0x31, 0xc0, 0x8e, 0xc0, 0x8e, 0xd8, /* xor ax, ax; mov es, ax; mov ds, ax */
            0xbf, W16(b->map_addr + 4),         /* mov di, map + 4 */
            0x66, 0x31, 0xdb,                   /* xor ebx, ebx */
            0x66, 0xb8, W32(0xe820),            /* next: mov eax, e820h */
            0x66, 0xba, W32(0x534d4150),        /* mov edx, 'SMAP' */
            0x66, 0xb9, W32(20),                /* mov ecx, 20 */
            0xcd, 0x15,                         /* int 15h */
            0x72, 21,                           /* jc done */
            0x66, 0xc7, 0x45, 0xfc, W32(20),    /* mov dword [di-4], 20 */
            0x83, 0xc7, 24,                     /* add di, 24 */
            0x81, 0xff, W16(b->map_addr + 0xff0),   /* cmp di, map + ff0h */
            0x73, 5,                            /* jae done */
            0x66, 0x85, 0xdb,                   /* test ebx, ebx */
            0x75, (uint8_t)-43,                 /* jnz next */
            0x81, 0xef, W16(b->map_addr + 4),   /* done: sub di, map + 4 */
            0x89, 0x3e, W16(b->map_len_addr),   /* mov [map_len], di */
            0xfa);                              /* cli */
}

static void emit_multiboot(Asm *a, const BootRom *b)
{
    emit_memory_map(a, b);
    EMIT(a, 0x66, 0x0f, 0x01, 0x16, W16(b->gdtr_addr),  /* lgdt [gdtr] */
            0x0f, 0x20, 0xc0,                   /* mov eax, cr0 */
            0x0c, 1,                            /* or al, 1 */
            0x0f, 0x22, 0xc0,                   /* mov cr0, eax */
            0x66, 0xea, W32(b->entry), W16(8)); /* jmp dword 8:entry */
}

static void put_header(uint8_t *rom, size_t size, const char *title)
{
    uint8_t *pnp = rom + PNP_HEADER, sum = 0;

    rom[0] = 0x55;
    rom[1] = 0xaa;
    rom[2] = size / BLOCK;
    rom[3] = 0xcb;                              /* initialization: retf */
    st16_le(rom + 0x1a, PNP_HEADER);
    memcpy(pnp, "$PnP", 4);
    pnp[4] = 1;                                 /* revision */
    pnp[5] = 2;                                 /* length / 16 */
    st16_le(pnp + 0x10, NAME);                  /* product string */
    pnp[0x12] = 0x02;                           /* a network-like boot device: class 2 */
    pnp[0x15] = 0x14;                           /* shadowable in read-only memory, is a boot device */
    st16_le(pnp + 0x1a, CODE);                  /* boot entry vector */
    for (unsigned i = 0; i < 32; i++)
        sum += pnp[i];
    pnp[9] = -sum;
    g_strlcpy((char *)rom + NAME, title, CODE - NAME);
}

GBytes *bootrom_build(const BootRom *b)
{
    g_autoptr(GByteArray) code = g_byte_array_new();
    unsigned table = BLOCK, n = MIN(b->loads, BOOTROM_MAX_LOADS);
    size_t size = 2 * BLOCK;
    uint8_t *rom = g_malloc0(size), sum = 0;
    Asm a = { code };

    emit_loads(&a, table, n);
    if (b->multiboot)
        emit_multiboot(&a, b);
    else
        emit_linux(&a, b);
    g_assert(code->len <= BLOCK - CODE);
    put_header(rom, size, b->title);
    memcpy(rom + CODE, code->data, code->len);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *d = rom + table + i * DMA_BLOCK;

        st32_be(d, (uint32_t)b->load[i].key << 16 | DMA_READ_SELECT);
        st32_be(d + 4, b->load[i].len);
        st64_be(d + 8, b->load[i].addr);
    }
    for (size_t i = 0; i < size; i++)
        sum += rom[i];
    rom[size - 1] = -sum;
    return g_bytes_new_take(rom, size);
}
