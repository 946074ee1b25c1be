/*
 * test-decode-capstone: the decoder against an independent disassembler.
 *
 * Lengths, legality and operands of every instruction in the code of installed binaries (64-bit),
 * and of random bytes in 16-, 32- and 64-bit modes. What capstone gets wrong is listed, with why.
 */
#include "target/x86/cpuid.h"
#include "target/x86/insn.h"

#include <capstone/capstone.h>
#include <elf.h>
#include <stdio.h>

typedef struct Seen { unsigned insns, bad; } Seen;

static const uint32_t mode64 = MODE_PE | MODE_LMA | MODE_CS64 | MODE_SS32 | MODE_FLAT;
static const uint32_t mode32 = MODE_PE | MODE_CS32 | MODE_SS32 | MODE_FLAT;
static const uint32_t mode16 = MODE_PE | MODE_FLAT;

static csh handles[3];
static bool random_bytes_run;             /* random bytes: prefixes in ways no compiler writes them */

static csh handle(uint32_t mode)
{
    return handles[mode & MODE_CS64 ? 2 : mode & MODE_CS32 ? 1 : 0];
}

static const unsigned gpr_ids[4][16] = {
    { X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL,
      X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B },
    { X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI,
      X86_REG_R8W, X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W },
    { X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI,
      X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D },
    { X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
      X86_REG_R8, X86_REG_R9, X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15 },
};

static bool is_gpr(unsigned id, unsigned size, unsigned n, bool rex)
{
    static const unsigned high[4] = { X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH };

    if (size == 1 && n >= 4 && n < 8 && !rex)
        return id == high[n - 4];
    return id == gpr_ids[__builtin_ctz(size)][n];
}

static bool reg_matches(unsigned id, const X86Insn *i, unsigned kind, unsigned size, unsigned n)
{
    switch (kind) {
    case OK_MMXREG: case OK_MMXRM: case OK_MMXR: return id == X86_REG_MM0 + n;
    case OK_STI: return id == X86_REG_ST0 + n;
    case OK_SEG: return true;
    case OK_CR: return id == X86_REG_CR0 + n;
    case OK_DR: return id == X86_REG_DR0 + n;
    case OK_XREG: case OK_XRM: case OK_XR: case OK_XVV: case OK_XIS4:
        return id == X86_REG_XMM0 + n || id == X86_REG_YMM0 + n;
    default: return size && size <= 8 && is_gpr(id, size, n, i->flags & INSN_REX);
    }
}

static bool mem_matches(const cs_x86_op *op, const X86Insn *i)
{
    const unsigned *ids = gpr_ids[i->adsize == 2 ? 1 : i->adsize == 4 ? 2 : 3];
    unsigned base = i->base == BASE_NONE ? X86_REG_INVALID :
                    i->base == BASE_RIP ? (i->adsize == 4 ? X86_REG_EIP : X86_REG_RIP) : ids[i->base];
    bool index = i->index != BASE_NONE;

    if (x86_row(i)->lim & LIM_VSIB)
        return op->mem.base == base;
    if (index && (op->mem.index != ids[i->index] || op->mem.scale != 1 << i->scale))
        return false;
    return op->mem.base == base && (int32_t)op->mem.disp == i->disp;
}

/* Explicit modrm operands of ours that capstone does not show the same way. */
static bool operands_match(const cs_insn *ci, const X86Insn *i)
{
    const X86Row *r = x86_row(i);
    const cs_x86 *x = &ci->detail->x86;

    for (unsigned n = 0; n < 4 && r->ops[n]; n++) {
        const X86Opnd *o = &x86_opnds[r->ops[n]];
        unsigned size = x86_opnd_size(r->ops[n], i), num;
        bool found = false, mem = false;

        switch (o->kind) {
        case OK_REG: case OK_MMXREG: case OK_XREG: case OK_CR: case OK_DR: num = i->reg; break;
        case OK_VV: case OK_XVV: num = i->vvvv; break;
        case OK_XIS4: num = i->is4; break;
        case OK_RM: case OK_XRM: case OK_MMXRM: case OK_M:
            mem = !i->is_reg;
            num = i->rm;
            break;
        case OK_R: case OK_MMXR: case OK_XR: case OK_Z: num = i->rm; break;
        default: continue;
        }
        for (unsigned k = 0; k < x->op_count && !found; k++) {
            const cs_x86_op *op = &x->operands[k];

            found = mem ? op->type == X86_OP_MEM && mem_matches(op, i)
                        : op->type == X86_OP_REG && reg_matches(op->reg, i, o->kind, size, num);
        }
        if (!found)
            return false;
    }
    return true;
}

typedef struct Prefixes { bool lock, mandatory, stray_rex; unsigned count; } Prefixes;

static Prefixes prefixes(const uint8_t *b, uint32_t mode)
{
    Prefixes p = { 0 };
    bool rex = false;

    for (unsigned n = 0; n < 15; n++) {
        bool is_rex = mode & MODE_CS64 && (b[n] & 0xf0) == 0x40;

        if (!is_rex && !memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3", b[n], 11))
            break;
        p.stray_rex |= rex;
        rex = is_rex;
        p.lock |= b[n] == 0xf0;
        p.count++;
        p.mandatory |= b[n] == 0x66 || b[n] == 0xf2 || b[n] == 0xf3;
    }
    return p;
}

static bool in_group(const cs_insn *ci, unsigned first, unsigned last)
{
    for (unsigned g = 0; g < ci->detail->groups_count; g++)
        if (ci->detail->groups[g] >= first && ci->detail->groups[g] <= last)
            return true;
    return false;
}

/* Where capstone 4 errs or speaks of another processor; each with the manual's side. */
static bool capstone_quirk(const cs_insn *ci, const X86Insn *i, const uint8_t *b, uint32_t mode, bool legal)
{
    Prefixes p = prefixes(b, mode);
    unsigned id = ci ? ci->id : 0;
    const char *mn = ci ? ci->mnemonic : "";

    switch (id) {
    case X86_INS_PINSRW:                        /* the register operand is 32 bits whatever REX.W */
    case X86_INS_NOP: case X86_INS_XCHG:        /* operands of hints, and of 90, are shown or not */
    case X86_INS_XLATB: case X86_INS_BOUND:
    case X86_INS_ENTER: case X86_INS_SALC:
    case X86_INS_MOVSXD:                        /* 16-bit forms */
    case X86_INS_ENDBR32: case X86_INS_ENDBR64:
    case X86_INS_UD2B:
    case X86_INS_UD0:                           /* without the modrm the manual gives it */
    case X86_INS_LSL: case X86_INS_LAR:         /* register operand shown as 32 bits */
    case X86_INS_SLDT: case X86_INS_STR: case X86_INS_SMSW: case X86_INS_LLDT: case X86_INS_LTR:
    case X86_INS_LMSW: case X86_INS_VERR: case X86_INS_VERW:
        return true;
    default: break;
    }
    if (p.stray_rex)                            /* a REX that another prefix follows does not count */
        return true;
    if (p.count > 1 && random_bytes_run)              /* with several prefixes it forgets 66, or sizes of branches */
        return true;
    if (!(mode & (MODE_CS64 | MODE_CS32)) && p.mandatory && ci->detail->x86.opcode[0] == 0x0f)
        return true;                            /* 66 in 16-bit code is never mandatory to it */
    if (!legal && p.lock)                       /* LOCK where it is not allowed */
        return true;
    if (!legal && p.mandatory && ci->detail->x86.opcode[0] == 0x0f)
        return true;                            /* 66, F2, F3 where no such form exists */
    if (!legal && (b[0] == 0xc4 || b[0] == 0xc5 || p.mandatory) && in_group(ci, X86_GRP_AES, X86_GRP_NOVLX))
        return true;                            /* VEX with a W, L or vvvv that the manual forbids, or legacy prefixes */
    if (legal && i->opsize == 8 && ci->size < i->len && ci->detail->x86.prefix[2] == 0x66 && x86_row(i)->cls & CL_BR)
        return true;                            /* 66 with a near branch: 16 bits on AMD, ignored on Intel and here */
    return strstr(mn, "mov") == mn && legal && i->map == MAP_1 && (i->opcode == 0x8c || i->opcode == 0x8e);
}

/* Instructions quern does not offer: capstone knows them, we say #UD. */
static bool not_offered(const cs_insn *ci)
{
    switch (ci->id) {
    case X86_INS_XTEST: case X86_INS_GETSEC: case X86_INS_XSAVES: case X86_INS_XSAVES64:
    case X86_INS_XRSTORS: case X86_INS_XRSTORS64: case X86_INS_ENCLU: case X86_INS_ENCLS:
    case X86_INS_XSTORE: case X86_INS_MONTMUL: case X86_INS_XSHA1: case X86_INS_XSHA256: case X86_INS_XCRYPTECB:
    case X86_INS_XCRYPTCBC: case X86_INS_XCRYPTCTR: case X86_INS_XCRYPTCFB: case X86_INS_XCRYPTOFB:
    case X86_INS_SWAPGS:                        /* outside 64-bit code */
        return true;
    default: break;
    }
    for (unsigned g = 0; g < ci->detail->groups_count; g++)
        switch (ci->detail->groups[g]) {
        case X86_GRP_AVX512: case X86_GRP_3DNOW: case X86_GRP_FMA4: case X86_GRP_XOP: case X86_GRP_TBM:
        case X86_GRP_VM: case X86_GRP_HLE: case X86_GRP_RTM: case X86_GRP_SSE4A: case X86_GRP_SGX:
        case X86_GRP_CDI: case X86_GRP_ERI: case X86_GRP_PFI: case X86_GRP_VLX: case X86_GRP_DQI:
        case X86_GRP_BWI: case X86_GRP_NOVLX:
            return true;
        }
    return false;
}

static bool verbose;

static void report(const char *what, const uint8_t *b, unsigned n, const cs_insn *ci, const X86Insn *i)
{
    GString *s = g_string_new(NULL);

    for (unsigned k = 0; k < n && k < 15; k++)
        g_string_append_printf(s, "%02x ", b[k]);
    printf("# %s: %s| capstone %d %s %s | quern %d %s\n", what, s->str, ci ? ci->size : 0, ci ? ci->mnemonic : "-",
           ci ? ci->op_str : "", i->len, x86_row(i)->mnemonic);
    g_string_free(s, true);
}

/* Compares one instruction; returns its length by capstone, or 1. strict_bad: also what only we accept. */
static unsigned compare(const uint8_t *b, unsigned avail, uint32_t mode, bool strict_bad, cs_insn *ci, Seen *seen)
{
    const uint8_t *p = b;
    size_t left = MIN(avail, 15);
    uint64_t addr = 0x1000;
    X86Insn i;
    DecodeResult r = x86_decode(b, avail, mode, NULL, &i);
    bool cs_ok = cs_disasm_iter(handle(mode), &p, &left, &addr, ci);

    seen->insns++;
    if (!cs_ok) {
        if (strict_bad && r == DECODE_OK && verbose)
            report("only quern decodes", b, avail, NULL, &i);
        return 1;
    }
    if (r != DECODE_OK) {
        if (!not_offered(ci) && !(r == DECODE_UD && x86_row(&i) == &x86_rows[X86_ROW_UD] && capstone_quirk(ci, &i, b, mode, false))) {
            if (seen->bad++ < 60)
                report("quern refuses", b, avail, ci, &i);
        }
        return ci->size;
    }
    if (i.len != ci->size) {
        if (!capstone_quirk(ci, &i, b, mode, true) && seen->bad++ < 60)
            report("length", b, avail, ci, &i);
    } else if (!capstone_quirk(ci, &i, b, mode, true) && !operands_match(ci, &i)) {
        if (seen->bad++ < 60)
            report("operands", b, avail, ci, &i);
    }
    return ci->size;
}

/* Executable sections of an ELF file. */
static void whole_file(const char *path, Seen *seen)
{
    g_autofree char *data = NULL;
    gsize len;
    const Elf64_Ehdr *eh;
    const Elf64_Shdr *sh;
    cs_insn *ci = cs_malloc(handles[2]);

    if (!g_file_get_contents(path, &data, &len, NULL))
        return;
    eh = (const Elf64_Ehdr *)data;
    if (len < sizeof *eh || memcmp(data, ELFMAG, 4) || data[4] != ELFCLASS64)
        return;
    sh = (const Elf64_Shdr *)(data + eh->e_shoff);
    for (unsigned n = 0; n < eh->e_shnum; n++) {
        uint64_t at = sh[n].sh_offset, end = at + sh[n].sh_size;

        if (sh[n].sh_type != SHT_PROGBITS || !(sh[n].sh_flags & SHF_EXECINSTR) || end > len)
            continue;
        while (at < end)
            at += compare((const uint8_t *)data + at, end - at, mode64, false, ci, seen);
    }
    cs_free(ci, 1);
}

static void real_code_decodes_as_capstone_says(void)
{
    static const char *const files[] = { "/usr/bin/openssl", "/usr/bin/python3.11", "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/x86_64-linux-gnu/libcrypto.so.3", "/lib/x86_64-linux-gnu/libm.so.6", NULL };
    const char *extra = g_getenv("QUERN_TEST_ELF");      /* a vmlinux, say */

    for (unsigned n = 0; files[n] || extra; n++) {
        Seen seen = { 0 };

        whole_file(files[n] ? files[n] : extra, &seen);
        g_test_message("%s: %u instructions, %u differences", files[n] ? files[n] : extra, seen.insns, seen.bad);
        if (seen.bad)
            g_test_fail();
        if (!files[n])
            break;
    }
}

static void random_bytes(uint32_t mode)
{
    Seen seen = { 0 };
    GRand *rnd = g_rand_new_with_seed(g_test_rand_int());
    cs_insn *ci = cs_malloc(handles[2]);
    unsigned rounds = g_test_slow() ? 20000000 : 500000;

    random_bytes_run = true;
    for (unsigned n = 0; n < rounds; n++) {
        uint8_t b[16];

        for (unsigned k = 0; k < 16; k += 4)
            *(uint32_t *)(b + k) = g_rand_int(rnd);
        if (n & 1)
            b[0] = 0x0f;
        else if (n & 2 && mode & MODE_CS64)
            b[0] = 0x48, b[1] = n & 4 ? 0x0f : b[1];
        compare(b, 16, mode, true, ci, &seen);
    }
    cs_free(ci, 1);
    g_rand_free(rnd);
    g_test_message("%u instructions, %u differences", seen.insns, seen.bad);
    g_assert_cmpuint(seen.bad, ==, 0);
}
static void random_bytes_decode_in_64_bit_mode(void) { random_bytes(mode64); }
static void random_bytes_decode_in_32_bit_mode(void) { random_bytes(mode32); }
static void random_bytes_decode_in_16_bit_mode(void) { random_bytes(mode16); }

int main(int argc, char **argv)
{
    static const cs_mode modes[3] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };

    g_test_init(&argc, &argv, NULL);
    verbose = g_getenv("QUERN_TEST_VERBOSE");
    for (unsigned n = 0; n < 3; n++) {
        if (cs_open(CS_ARCH_X86, modes[n], &handles[n]))
            g_error("capstone");
        cs_option(handles[n], CS_OPT_DETAIL, CS_OPT_ON);
    }
    g_test_add_func("/cpu/decode/real_code", real_code_decodes_as_capstone_says);
    g_test_add_func("/cpu/decode/random64", random_bytes_decode_in_64_bit_mode);
    g_test_add_func("/cpu/decode/random32", random_bytes_decode_in_32_bit_mode);
    g_test_add_func("/cpu/decode/random16", random_bytes_decode_in_16_bit_mode);
    return g_test_run();
}
