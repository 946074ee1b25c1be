/*
 * aml: byte encodings of ACPI Machine Language and resource descriptors.
 */
#include "hw/acpi/aml.h"

#include "util/bytes.h"

#include <string.h>

enum { OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e,
       OP_EXT = 0x5b, OP_REGION = 0x80, OP_AND = 0x7b, OP_CREATE_DWORD = 0x8a, OP_RETURN = 0xa4 };

Aml *aml_new(void)
{
    return g_byte_array_new();
}

void aml_op(Aml *a, uint8_t op)
{
    g_byte_array_append(a, &op, 1);
}

static void put(Aml *a, uint64_t v, unsigned bytes)
{
    uint8_t raw[8];

    st64_le(raw, v);
    g_byte_array_append(a, raw, bytes);
}

/* Package length: it counts itself. */
static void put_length(Aml *a, unsigned body)
{
    if (body + 1 < 0x40) {
        aml_op(a, body + 1);
    } else {
        unsigned extra = body + 2 < 1 << 12 ? 1 : body + 3 < 1 << 20 ? 2 : 3, len = body + 1 + extra;

        aml_op(a, extra << 6 | (len & 15));
        put(a, len >> 4, extra);
    }
}

void aml_close(Aml *parent, unsigned kind, Aml *body)
{
    if (kind >> 8)
        aml_op(parent, kind >> 8);
    aml_op(parent, kind);
    put_length(parent, body->len);
    g_byte_array_append(parent, body->data, body->len);
    g_byte_array_unref(body);
}

void aml_path(Aml *a, const char *name)
{
    g_auto(GStrv) seg = NULL;
    unsigned n;

    while (*name == '\\' || *name == '^')
        aml_op(a, *name++);
    if (!*name) {
        aml_op(a, 0);
        return;
    }
    seg = g_strsplit(name, ".", -1);
    n = g_strv_length(seg);
    if (n == 2)
        aml_op(a, 0x2e);
    else if (n > 2) {
        aml_op(a, 0x2f);
        aml_op(a, n);
    }
    for (unsigned i = 0; i < n; i++) {
        char four[4] = { '_', '_', '_', '_' };

        memcpy(four, seg[i], MIN(strlen(seg[i]), 4));
        g_byte_array_append(a, (uint8_t *)four, 4);
    }
}

Aml *aml_scope(const char *name)
{
    Aml *a = aml_new();

    aml_path(a, name);
    return a;
}

Aml *aml_method(const char *name, unsigned args)
{
    Aml *a = aml_scope(name);

    aml_op(a, args & 7);
    return a;
}

Aml *aml_package(unsigned elements)
{
    Aml *a = aml_new();

    aml_op(a, elements);
    return a;
}

Aml *aml_field(const char *region, unsigned flags)
{
    Aml *a = aml_scope(region);

    aml_op(a, flags);
    return a;
}

Aml *aml_processor(const char *name, unsigned id)
{
    Aml *a = aml_scope(name);

    aml_op(a, id);
    put(a, 0, 5);               /* no P_BLK */
    return a;
}

Aml *aml_if_and(const char *name, uint64_t mask)
{
    Aml *a = aml_new();

    aml_op(a, OP_AND);
    aml_path(a, name);
    aml_int(a, mask);
    aml_op(a, 0);
    return a;
}

void aml_int(Aml *a, uint64_t v)
{
    unsigned bytes = v <= 1 ? 0 : v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;

    aml_op(a, bytes == 0 ? v : bytes == 1 ? OP_BYTE : bytes == 2 ? OP_WORD : bytes == 4 ? OP_DWORD : OP_QWORD);
    put(a, v, bytes);
}

static unsigned hex_digit(char c)
{
    return g_ascii_xdigit_value(c) & 15;
}

/* Three letters of five bits and four hexadecimal digits, big endian. */
void aml_eisa_id(Aml *a, const char *id)
{
    uint32_t v = (id[0] - 0x40u) << 26 | (id[1] - 0x40u) << 21 | (id[2] - 0x40u) << 16 | hex_digit(id[3]) << 12 |
                 hex_digit(id[4]) << 8 | hex_digit(id[5]) << 4 | hex_digit(id[6]);

    aml_op(a, OP_DWORD);
    put(a, __builtin_bswap32(v), 4);
}

void aml_name(Aml *a, const char *name)
{
    aml_op(a, OP_NAME);
    aml_path(a, name);
}

void aml_name_int(Aml *a, const char *name, uint64_t v)
{
    aml_name(a, name);
    aml_int(a, v);
}

void aml_name_eisa(Aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisa_id(a, id);
}

void aml_return_int(Aml *a, uint64_t v)
{
    aml_op(a, OP_RETURN);
    aml_int(a, v);
}

void aml_return_path(Aml *a, const char *name)
{
    aml_op(a, OP_RETURN);
    aml_path(a, name);
}

void aml_op_region(Aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len)
{
    aml_op(a, OP_EXT);
    aml_op(a, OP_REGION);
    aml_path(a, name);
    aml_op(a, space);
    aml_int(a, offset);
    aml_int(a, len);
}

void aml_field_unit(Aml *a, const char *name, unsigned bits)
{
    char four[4] = { '_', '_', '_', '_' };

    memcpy(four, name, MIN(strlen(name), 4));
    g_byte_array_append(a, (uint8_t *)four, 4);
    put_length(a, bits - 1);
}

void aml_create_dword_field(Aml *a, const char *buffer, uint8_t buffer_op, unsigned offset, const char *name)
{
    aml_op(a, OP_CREATE_DWORD);
    if (buffer)
        aml_path(a, buffer);
    else
        aml_op(a, buffer_op);
    aml_int(a, offset);
    aml_path(a, name);
}

/* Resource data. */

void aml_close_resources(Aml *parent, Aml *body)
{
    Aml *buffer = aml_new();

    aml_op(body, 0x79);         /* end tag, checksum 0: not used */
    aml_op(body, 0);
    aml_int(buffer, body->len);
    g_byte_array_append(buffer, body->data, body->len);
    g_byte_array_unref(body);
    aml_close(parent, AML_BUFFER, buffer);
}

void aml_res_io(Aml *a, uint16_t min, uint16_t max, uint8_t align, uint8_t len)
{
    put(a, 0x0147, 2);          /* 16-bit decode */
    put(a, min, 2);
    put(a, max, 2);
    put(a, align, 1);
    put(a, len, 1);
}

void aml_res_irq(Aml *a, unsigned irq)
{
    put(a, 0x22, 1);
    put(a, 1u << irq, 2);
}

void aml_res_interrupts(Aml *a, const uint8_t *gsi, unsigned n)
{
    put(a, 0x89, 1);
    put(a, 2 + 4 * n, 2);
    put(a, 1 << 0 | 1 << 3, 1); /* consumer, level, active high, shared */
    put(a, n, 1);
    for (unsigned i = 0; i < n; i++)
        put(a, gsi[i], 4);
}

void aml_res_dma(Aml *a, unsigned channel)
{
    put(a, 0x2a, 1);
    put(a, 1u << channel, 1);
    put(a, 0, 1);
}

void aml_res_memory32(Aml *a, uint32_t base, uint32_t len)
{
    put(a, 0x86, 1);
    put(a, 9, 2);
    put(a, 1, 1);               /* writable */
    put(a, base, 4);
    put(a, len, 4);
}

static void put_window(Aml *a, uint8_t tag, unsigned width, uint8_t type, uint8_t type_flags, uint64_t min, uint64_t max)
{
    put(a, tag, 1);
    put(a, 3 + 5 * width, 2);
    put(a, type, 1);
    put(a, 0x0c, 1);            /* producer, positive decode, both limits fixed */
    put(a, type_flags, 1);
    put(a, 0, width);           /* granularity */
    put(a, min, width);
    put(a, max, width);
    put(a, 0, width);           /* translation */
    put(a, max - min + 1, width);
}

void aml_res_bus(Aml *a, uint16_t min, uint16_t max) { put_window(a, 0x88, 2, 2, 0, min, max); }
void aml_res_io_window(Aml *a, uint16_t min, uint16_t max) { put_window(a, 0x88, 2, 1, 3, min, max); }
void aml_res_memory_window(Aml *a, uint32_t min, uint32_t max, bool cacheable)
{
    put_window(a, 0x87, 4, 0, 1 | (cacheable ? 1 << 1 : 0), min, max);
}
void aml_res_memory64_window(Aml *a, uint64_t min, uint64_t max) { put_window(a, 0x8a, 8, 0, 1 | 1 << 1, min, max); }
