/* hmp_memory: memory, ports and page tables seen from the monitor, and the expressions that address them. */
#include "monitor/hmp_int.h"

#include "softmmu/accel.h"
#include "softmmu/dma.h"
#include "target/x86/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

HmpFn hmp_x, hmp_xp, hmp_in, hmp_out, hmp_print, hmp_gva2gpa, hmp_gpa2hva, hmp_memsave, hmp_pmemsave, hmp_sum;

enum { DUMP_MAX = 1 << 20, EXPR_DEPTH = 32 };

/* --- expressions --- */

typedef struct Expr {
    const char *p;
    Hmp *h;
    unsigned depth;
    GError **err;
} Expr;

static bool expr_or(Expr *e, uint64_t *v);

static void skip(Expr *e)
{
    while (*e->p == ' ' || *e->p == '\t')
        e->p++;
}

static bool reg_value(X86Cpu *c, const char *name, uint64_t *v)
{
    static const char *const gpr[] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
    static const char *const segs[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    char kind = *name == 'r' || *name == 'e' ? *name : 0;
    uint64_t mask = kind == 'r' ? UINT64_MAX : kind == 'e' ? UINT32_MAX : 0xffff;

    for (unsigned i = 0; i < 8; i++) {
        if (!strcmp(name + (kind != 0), gpr[i])) {
            *v = c->gpr[i] & mask;
            return true;
        }
    }
    if (*name == 'r' && g_ascii_isdigit(name[1]) && atoi(name + 1) < 16) {
        *v = c->gpr[atoi(name + 1)];
        return true;
    }
    if (!strcmp(name, "rip") || !strcmp(name, "eip") || !strcmp(name, "pc"))
        *v = c->rip;
    else if (!strcmp(name, "eflags") || !strcmp(name, "rflags"))
        *v = x86_get_rflags(c);
    else if (!strcmp(name, "cr0"))
        *v = c->cr0;
    else if (!strcmp(name, "cr2"))
        *v = c->cr2;
    else if (!strcmp(name, "cr3"))
        *v = c->cr3;
    else if (!strcmp(name, "cr4"))
        *v = c->cr4;
    else {
        for (unsigned i = 0; i < G_N_ELEMENTS(segs); i++) {
            if (!strcmp(name, segs[i])) {
                *v = c->seg[i].sel;
                return true;
            }
        }
        return false;
    }
    return true;
}

typedef struct RegRead { const char *name; uint64_t v; bool ok; } RegRead;

static void read_reg_on(Vcpu *v, void *opaque)
{
    RegRead *r = opaque;

    if (v->machine->accel && v->machine->accel->pull)
        v->machine->accel->pull(v);
    r->ok = reg_value(x86_cpu(v), r->name, &r->v);
}

static bool expr_atom(Expr *e, uint64_t *v)
{
    char *end;

    skip(e);
    if (*e->p == '(') {
        if (++e->depth > EXPR_DEPTH)
            return err_set(e->err, "the expression is too deep");
        e->p++;
        if (!expr_or(e, v))
            return false;
        skip(e);
        if (*e->p++ != ')')
            return err_set(e->err, "')' is missing");
        e->depth--;
        return true;
    }
    if (*e->p == '-' || *e->p == '~') {
        char op = *e->p++;

        if (++e->depth > EXPR_DEPTH || !expr_atom(e, v))
            return false;
        e->depth--;
        *v = op == '-' ? -*v : ~*v;
        return true;
    }
    if (*e->p == '$') {
        size_t n = 1 + strspn(e->p + 1, "abcdefghijklmnopqrstuvwxyz0123456789");
        g_autofree char *name = g_strndup(e->p + 1, n - 1);
        RegRead r = { .name = name };

        e->p += n;
        if (hmp_vcpu(e->h))
            vcpu_run_on(hmp_vcpu(e->h), read_reg_on, &r);
        *v = r.v;
        return r.ok || err_set(e->err, "there is no register '%s'", name);
    }
    if (*e->p == '\'' && e->p[1] && e->p[2] == '\'') {
        *v = (uint8_t)e->p[1];
        e->p += 3;
        return true;
    }
    errno = 0;
    *v = strtoull(e->p, &end, 0);
    if (end == e->p || errno)
        return err_set(e->err, "a number is expected at '%s'", e->p);
    e->p = end;
    return true;
}

static bool expr_mul(Expr *e, uint64_t *v)
{
    uint64_t r;

    if (!expr_atom(e, v))
        return false;
    for (;;) {
        char op;

        skip(e);
        op = *e->p;
        if (op != '*' && op != '/' && op != '%')
            return true;
        e->p++;
        if (!expr_atom(e, &r))
            return false;
        if (op != '*' && !r)
            return err_set(e->err, "division by zero");
        *v = op == '*' ? *v * r : op == '/' ? *v / r : *v % r;
    }
}

static bool expr_sum(Expr *e, uint64_t *v)
{
    uint64_t r;

    if (!expr_mul(e, v))
        return false;
    for (;;) {
        char op;

        skip(e);
        op = *e->p;
        if (op != '+' && op != '-')
            return true;
        e->p++;
        if (!expr_mul(e, &r))
            return false;
        *v = op == '+' ? *v + r : *v - r;
    }
}

static bool expr_or(Expr *e, uint64_t *v)
{
    uint64_t r;

    if (!expr_sum(e, v))
        return false;
    for (;;) {
        char op;

        skip(e);
        op = *e->p;
        if ((op == '<' || op == '>') && e->p[1] == op)
            e->p += 2;
        else if (op == '|' || op == '&' || op == '^')
            e->p++;
        else
            return true;
        if (!expr_sum(e, &r))
            return false;
        switch (op) {
        case '|': *v |= r; break;
        case '&': *v &= r; break;
        case '^': *v ^= r; break;
        case '<': *v = r < 64 ? *v << r : 0; break;
        default: *v = r < 64 ? *v >> r : 0; break;
        }
    }
}

bool hmp_expr(Hmp *h, const char *text, uint64_t *out, GError **err)
{
    Expr e = { .p = text, .h = h, .err = err };

    if (!expr_or(&e, out)) {
        if (err && !*err)
            err_set(err, "the expression is too deep");
        return false;
    }
    skip(&e);
    return !*e.p || err_set(err, "'%s' is left over", e.p);
}

/* The words from argv[first] on as one expression. */
static bool arg_expr(Hmp *h, int argc, char **argv, int first, int end, uint64_t *v)
{
    g_autoptr(GString) text = g_string_new(NULL);
    GError *err = NULL;

    for (int i = first; i < MIN(argc, end); i++)
        g_string_append_printf(text, "%s ", argv[i]);
    if (hmp_expr(h, text->str, v, &err))
        return true;
    hmp_error(h, err);
    return false;
}

/* --- formats --- */

typedef struct Format { unsigned count, size; char form; } Format;

static Format format_parse(const char *s, char form, unsigned size)
{
    Format f = { 1, size, form };

    if (g_ascii_isdigit(*s)) {
        unsigned long n = strtoul(s, (char **)&s, 10);

        f.count = MIN(n, DUMP_MAX);
    }
    for (; *s; s++) {
        if (strchr("xduoci", *s))
            f.form = *s;
        else if (strchr("bhwg", *s))
            f.size = *s == 'b' ? 1 : *s == 'h' ? 2 : *s == 'w' ? 4 : 8;
    }
    if (f.form == 'c')
        f.size = 1;
    return f;
}

static void print_value(Hmp *h, Format f, uint64_t v)
{
    unsigned shift = 64 - f.size * 8;

    switch (f.form) {
    case 'd': hmp_printf(h, "%" PRId64, (int64_t)(v << shift) >> shift); break;
    case 'u': hmp_printf(h, "%" PRIu64, v); break;
    case 'o': hmp_printf(h, "0%" PRIo64, v); break;
    case 'c': hmp_printf(h, v >= ' ' && v < 127 ? "'%c'" : "'\\x%02x'", (int)v); break;
    default: hmp_printf(h, "0x%0*" PRIx64, f.size * 2, v);
    }
}

/* --- reading guest memory by linear address, on the vcpu's thread --- */

typedef struct MemRead { uint64_t va; uint8_t *buf; uint64_t len; bool ok; uint64_t pa; } MemRead;

static void read_va_on(Vcpu *v, void *opaque)
{
    MemRead *r = opaque;

    if (v->machine->accel && v->machine->accel->pull)
        v->machine->accel->pull(v);
    r->ok = true;
    for (uint64_t done = 0; done < r->len && r->ok;) {
        uint64_t va = r->va + done, pa, n = MIN(r->len - done, 4096 - (va & 4095));

        r->ok = x86_translate_debug(x86_cpu(v), va, &pa);
        if (r->ok) {
            r->pa = pa;
            dma_read(&v->machine->mem, pa, r->buf + done, n);
        }
        done += n;
    }
}

static bool read_mem(Hmp *h, uint64_t addr, void *buf, uint64_t len, bool virt)
{
    MemRead r = { .va = addr, .buf = buf, .len = len };

    if (!virt || !hmp_vcpu(h))
        return dma_read(&h->m->mem, addr, buf, len);
    vcpu_run_on(hmp_vcpu(h), read_va_on, &r);
    return r.ok;
}

static void dump(Hmp *h, int argc, char **argv, bool virt)
{
    Format f = format_parse(h->format, 'x', 4);
    g_autofree uint8_t *buf = NULL;
    uint64_t addr, len = (uint64_t)f.count * f.size;
    unsigned per_line = f.size == 8 ? 2 : f.size == 4 ? 4 : f.size == 2 ? 8 : f.form == 'c' ? 8 : 8;

    if (argc < 2) {
        hmp_printf(h, "%s /FMT ADDR\n", argv[0]);
        return;
    }
    if (!arg_expr(h, argc, argv, 1, argc, &addr))
        return;
    if (f.form == 'i') {
        hmp_printf(h, "Error: instructions are not shown; use x/%ubx and a disassembler\n", f.count * 16);
        return;
    }
    buf = g_malloc0(len + 8);
    if (!read_mem(h, addr, buf, len, virt))
        hmp_printf(h, "Cannot access memory\n");
    else
        for (unsigned i = 0; i < f.count; i++) {
            uint64_t v = ld64_le(buf + (size_t)i * f.size) & (f.size == 8 ? UINT64_MAX : (1ULL << (f.size * 8)) - 1);

            if (i % per_line == 0)
                hmp_printf(h, "%s%016" PRIx64 ":", i ? "\n" : "", addr + (uint64_t)i * f.size);
            hmp_printf(h, " ");
            print_value(h, f, v);
        }
    hmp_printf(h, "\n");
}

void hmp_x(Hmp *h, int argc, char **argv) { dump(h, argc, argv, true); }
void hmp_xp(Hmp *h, int argc, char **argv) { dump(h, argc, argv, false); }

void hmp_print(Hmp *h, int argc, char **argv)
{
    Format f = format_parse(h->format, 'd', 8);
    uint64_t v;

    if (!arg_expr(h, argc, argv, 1, argc, &v))
        return;
    if (f.form == 'x')
        hmp_printf(h, "0x%" PRIx64, v);
    else
        print_value(h, f, v);
    hmp_printf(h, "\n");
}

void hmp_in(Hmp *h, int argc, char **argv)
{
    Format f = format_parse(h->format, 'x', 1);
    uint64_t port, v;

    if (argc < 2 || !arg_expr(h, argc, argv, 1, argc, &port))
        return;
    f.size = MIN(f.size, 4);
    addrspace_read(&h->m->ports, port & 0xffff, f.size, &v);
    hmp_printf(h, "portl[0x%04x] = 0x%0*" PRIx64 "\n", (unsigned)port & 0xffff, f.size * 2, v);
}

void hmp_out(Hmp *h, int argc, char **argv)
{
    Format f = format_parse(h->format, 'x', 1);
    uint64_t port, v;

    if (argc < 3 || !arg_expr(h, argc, argv, 1, 2, &port) || !arg_expr(h, argc, argv, 2, argc, &v))
        return;
    addrspace_write(&h->m->ports, port & 0xffff, MIN(f.size, 4), v);
}

void hmp_gva2gpa(Hmp *h, int argc, char **argv)
{
    uint8_t byte;
    MemRead r = { .buf = &byte, .len = 1 };

    if (!hmp_vcpu(h) || !arg_expr(h, argc, argv, 1, argc, &r.va))
        return;
    vcpu_run_on(hmp_vcpu(h), read_va_on, &r);
    if (r.ok)
        hmp_printf(h, "gpa: %#" PRIx64 "\n", r.pa);
    else
        hmp_printf(h, "Unmapped\n");
}

void hmp_gpa2hva(Hmp *h, int argc, char **argv)
{
    DmaSpan s;
    uint64_t pa;

    if (!arg_expr(h, argc, argv, 1, argc, &pa))
        return;
    s = dma_map(&h->m->mem, pa, 1, false);
    if (s.host)
        hmp_printf(h, "Host virtual address for 0x%" PRIx64 " (%s) is %p\n", pa, s.ram->name, s.host);
    else
        hmp_printf(h, "No memory is mapped at address 0x%" PRIx64 "\n", pa);
    dma_unmap(&s, 0);
}

static void save_to_file(Hmp *h, int argc, char **argv, bool virt)
{
    uint64_t addr, size;
    FILE *f;

    if (argc != 4) {
        hmp_printf(h, "%s ADDR SIZE FILE\n", argv[0]);
        return;
    }
    if (!arg_expr(h, argc, argv, 1, 2, &addr) || !arg_expr(h, argc, argv, 2, 3, &size))
        return;
    f = fopen(argv[3], "wbe");
    if (!f) {
        hmp_printf(h, "Error: cannot create '%s': %s\n", argv[3], g_strerror(errno));
        return;
    }
    while (size) {
        uint8_t page[4096];
        uint64_t n = MIN(size, sizeof page - (addr & 4095));

        if (!read_mem(h, addr, page, n, virt)) {
            hmp_printf(h, "Error: cannot read memory at %#" PRIx64 "\n", addr);
            break;
        }
        if (fwrite(page, 1, n, f) != n) {
            hmp_printf(h, "Error: writing '%s': %s\n", argv[3], g_strerror(errno));
            break;
        }
        addr += n;
        size -= n;
    }
    fclose(f);
}

void hmp_memsave(Hmp *h, int argc, char **argv) { save_to_file(h, argc, argv, true); }
void hmp_pmemsave(Hmp *h, int argc, char **argv) { save_to_file(h, argc, argv, false); }

void hmp_sum(Hmp *h, int argc, char **argv)
{
    uint64_t addr, size;
    uint16_t sum = 0;

    if (!arg_expr(h, argc, argv, 1, 2, &addr) || !arg_expr(h, argc, argv, 2, argc, &size))
        return;
    size = MIN(size, h->m->ram_size);
    for (uint64_t i = 0; i < size; i++) {
        uint8_t b;

        dma_read(&h->m->mem, addr + i, &b, 1);
        sum = (sum >> 1) | (sum << 15);
        sum += b;
    }
    hmp_printf(h, "%05d\n", sum);
}
