/*
 * cpuid: the answers of the CPUID instruction.
 *
 * Intel SDM vol. 2 CPUID; AMD APM vol. 3 appendix E; hypervisor leaves as commonly agreed:
 * 0x40000000 identifies, 0x40000010 gives TSC and bus frequency in kHz.
 */
#include "target/x86/cpuid.h"

#include <string.h>

enum { BUS_HZ = 1000000000 };   /* local APIC timer input */

static const struct { uint32_t leaf, sub; uint8_t reg, bit; } feature_bit[FEAT_COUNT] = {
    [FEAT_NONE] = { 0xffffffffu, 0, 0, 0 },
#define FEATURE(n, text, l, s, r, b) [FEAT_##n] = { l, s, r, b },
#include "target/x86/features.def"
#undef FEATURE
};

/* All feature bits of one leaf. */
static void feature_words(const X86Model *m, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        if (feature_bit[f].leaf == leaf && feature_bit[f].sub == sub && x86_model_has(m, f))
            out[feature_bit[f].reg] |= 1u << feature_bit[f].bit;
}

uint32_t x86_model_signature(const X86Model *m)
{
    uint32_t fam = MIN(m->family, 15), ext = m->family > 15 ? m->family - 15u : 0;

    return ext << 20 | (m->model >> 4) << 16 | fam << 8 | (m->model & 15u) << 4 | m->stepping;
}

unsigned x86_model_phys_bits(const X86Model *m)
{
    return x86_model_has(m, FEAT_LM) ? m->phys_bits : MIN(m->phys_bits, 36);
}

uint64_t x86_model_cr4_mask(const X86Model *m)
{
    static const struct { uint8_t feat; uint32_t bits; } need[] = {
        { FEAT_VME, CR4_VME | CR4_PVI }, { FEAT_TSC, CR4_TSD }, { FEAT_DE, CR4_DE }, { FEAT_PSE, CR4_PSE }, { FEAT_PAE, CR4_PAE },
        { FEAT_MCE, CR4_MCE }, { FEAT_PGE, CR4_PGE }, { FEAT_FXSR, CR4_OSFXSR }, { FEAT_SSE, CR4_OSXMMEXCPT },
        { FEAT_UMIP, CR4_UMIP }, { FEAT_FSGSBASE, CR4_FSGSBASE }, { FEAT_PCID, CR4_PCIDE }, { FEAT_XSAVE, CR4_OSXSAVE },
        { FEAT_SMEP, CR4_SMEP }, { FEAT_SMAP, CR4_SMAP } };
    uint64_t mask = CR4_PCE;

    for (unsigned i = 0; i < G_N_ELEMENTS(need); i++)
        if (x86_model_has(m, need[i].feat))
            mask |= need[i].bits;
    return mask;
}

uint64_t x86_model_efer_mask(const X86Model *m)
{
    return (x86_model_has(m, FEAT_SYSCALL) ? EFER_SCE : 0) | (x86_model_has(m, FEAT_LM) ? EFER_LME | EFER_LMA : 0) |
           (x86_model_has(m, FEAT_NX) ? EFER_NXE : 0) | (x86_model_has(m, FEAT_FXSR_OPT) ? 1u << 14 : 0) |
           (x86_model_has(m, FEAT_AUTO_IBRS) ? 1u << 21 : 0);
}

uint64_t x86_model_xcr0_mask(const X86Model *m)
{
    return XCR0_X87 | XCR0_SSE | (x86_model_has(m, FEAT_AVX) ? XCR0_AVX : 0);
}

static unsigned log2_up(unsigned n)
{
    unsigned b = 0;

    while ((1u << b) < n)
        b++;
    return b;
}

static void text_words(uint32_t out[3], const char *s)
{
    char buf[12] = { 0 };

    memcpy(buf, s, MIN(strlen(s), sizeof buf));
    memcpy(out, buf, sizeof buf);
}

static void leaf_1(X86Cpu *c, uint32_t out[4])
{
    const X86Model *m = c->model;
    unsigned logical = m->cores * m->threads;

    out[0] = x86_model_signature(m);
    out[1] = c->apic_id << 24 | 8 << 8;                 /* CLFLUSH line: 8 quadwords */
    if (logical > 1) {
        out[1] |= MIN(logical, 255u) << 16;
        out[3] |= 1u << 28;
    }
    feature_words(m, 1, 0, out);
    if (c->cr4 & CR4_OSXSAVE)
        out[2] |= 1u << 27;
    if (c->apic_ops && !(c->apic_ops->get_base(c) & 1u << 11))
        out[3] &= ~(1u << 9);
}

/* Caches: 32 KiB L1 data and code, 512 KiB L2, 16 MiB L3, 64-byte lines. */
static void leaf_4(X86Cpu *c, uint32_t sub, uint32_t out[4])
{
    static const struct { uint8_t type, level; uint16_t ways; uint32_t sets; } cache[] = {
        { 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 8, 1024 }, { 3, 3, 16, 16384 } };
    const X86Model *m = c->model;
    unsigned shared;

    if (sub >= G_N_ELEMENTS(cache))
        return;
    shared = cache[sub].level == 3 ? m->cores * m->threads : m->threads;
    out[0] = cache[sub].type | cache[sub].level << 5 | 1 << 8 | ((1u << log2_up(shared)) - 1) << 14 |
             ((1u << log2_up(m->cores)) - 1) << 26;
    out[1] = 63 | (cache[sub].ways - 1u) << 22;
    out[2] = cache[sub].sets - 1;
}

static void leaf_topology(X86Cpu *c, uint32_t sub, uint32_t out[4])
{
    unsigned smt = log2_up(c->model->threads), pkg = smt + log2_up(c->model->cores);

    out[2] = sub & 0xff;
    out[3] = c->apic_id;
    if (sub == 0) {
        out[0] = smt;
        out[1] = c->model->threads;
        out[2] |= 1 << 8;
    } else if (sub == 1) {
        out[0] = pkg;
        out[1] = c->model->cores * c->model->threads;
        out[2] |= 2 << 8;
    }
}

static void leaf_xsave(X86Cpu *c, uint32_t sub, uint32_t out[4])
{
    const X86Model *m = c->model;
    bool avx = x86_model_has(m, FEAT_AVX);

    if (!x86_model_has(m, FEAT_XSAVE))
        return;
    if (sub == 0) {
        out[0] = (uint32_t)x86_model_xcr0_mask(m);
        out[1] = c->xcr0 & XCR0_AVX ? 832 : 576;
        out[2] = avx ? 832 : 576;
    } else if (sub == 1) {
        feature_words(m, 0xd, 1, out);
        out[1] = c->xcr0 & XCR0_AVX ? 832 : 576;
    } else if (sub == 2 && avx) {
        out[0] = 256;
        out[1] = 576;
    }
}

static void basic(X86Cpu *c, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    const X86Model *m = c->model;
    uint64_t hz = x86_tsc_hz();
    uint32_t v[3];

    switch (leaf) {
    case 0:
        text_words(v, m->vendor);
        out[0] = m->family < 6 ? 1 : 0x16;
        out[1] = v[0];
        out[3] = v[1];
        out[2] = v[2];
        break;
    case 1: leaf_1(c, out); break;
    case 2:
        out[0] = 0x00feff01;                            /* see leaf 4; TLB unknown */
        break;
    case 4: leaf_4(c, sub, out); break;
    case 6:
    case 7:
        if (sub == 0)
            feature_words(m, leaf, 0, out);
        break;
    case 0xb: leaf_topology(c, sub, out); break;
    case 0xd: leaf_xsave(c, sub, out); break;
    case 0x15:                                          /* TSC = crystal * EBX / EAX */
        out[0] = 1000;
        out[1] = (uint32_t)(hz / (BUS_HZ / 1000));
        out[2] = BUS_HZ;
        break;
    case 0x16:
        out[0] = out[1] = (uint32_t)(hz / 1000000);
        out[2] = BUS_HZ / 1000000;
        break;
    default: break;
    }
}

static void extended(X86Cpu *c, uint32_t leaf, uint32_t out[4])
{
    const X86Model *m = c->model;
    bool amd = !strcmp(m->vendor, "AuthenticAMD");
    unsigned logical = m->cores * m->threads;
    char brand[48] = { 0 };
    uint32_t v[3];

    switch (leaf) {
    case 0x80000000u:
        text_words(v, m->vendor);
        out[0] = x86_model_has(m, FEAT_LM) ? (amd ? 0x80000021u : 0x80000008u) : 0x80000004u;
        out[1] = v[0];
        out[3] = v[1];
        out[2] = v[2];
        break;
    case 0x80000001u:
        out[0] = x86_model_signature(m);
        feature_words(m, leaf, 0, out);
        if (amd) {                                      /* AMD repeats leaf 1's EDX */
            uint32_t w[4] = { 0 };
            feature_words(m, 1, 0, w);
            out[3] |= w[3] & 0x0183f3ffu;
            if (logical > 1)
                out[2] |= 1 << 1;
        }
        break;
    case 0x80000002u: case 0x80000003u: case 0x80000004u:
        memcpy(brand, m->brand, MIN(strlen(m->brand), sizeof brand));
        memcpy(out, brand + (leaf - 0x80000002u) * 16, 16);
        break;
    case 0x80000005u:
        out[0] = out[1] = 0x01ff01ff;                   /* TLBs */
        out[2] = out[3] = 32 << 24 | 8 << 16 | 1 << 8 | 64;
        break;
    case 0x80000006u:
        out[1] = 0x42004200;
        out[2] = 512 << 16 | 6 << 12 | 1 << 8 | 64;
        out[3] = amd ? 32 << 18 | 8 << 12 | 1 << 8 | 64 : 0;
        break;
    case 0x80000007u:
        feature_words(m, leaf, 0, out);
        break;
    case 0x80000008u:
        out[0] = x86_model_phys_bits(m) | 48 << 8;
        feature_words(m, leaf, 0, out);
        if (amd && logical > 1)
            out[2] = (logical - 1) | log2_up(logical) << 12;
        break;
    case 0x80000021u:
        feature_words(m, leaf, 0, out);
        break;
    default: break;
    }
}

static void hypervisor(const X86Model *m, uint32_t leaf, uint32_t out[4])
{
    if (leaf == 0x40000000u) {
        out[0] = 0x40000010u;
        text_words(out + 1, "quernquernvm");
    } else if (leaf == 0x40000010u) {
        out[0] = (uint32_t)(x86_tsc_hz() / 1000);
        out[1] = BUS_HZ / 1000;
    }
}

void x86_cpuid(X86Cpu *c, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    const X86Model *m = c->model;

    memset(out, 0, 4 * sizeof *out);
    if (leaf >= 0x80000000u)
        extended(c, leaf, out);
    else if (leaf >= 0x40000000u && leaf <= 0x400000ffu && m->hypervisor_leaf && x86_model_has(m, FEAT_HYPERVISOR))
        hypervisor(m, leaf, out);
    else
        basic(c, leaf, sub, out);
}
