/* test-mmu: page walks, rights, faults, accessed and dirty bits, flushes, PCID, large pages. */
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"
#include "tests/cpu/rig.h"

enum { PML4 = 0x200000, PDPT = 0x201000, PD = 0x202000, PT = 0x203000, PT2 = 0x204000, PAGE = 0x300000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)

static uint64_t get64(Rig *r, uint64_t pa) { return ld64_le(r->m->ram->host + pa); }
static void set64(Rig *r, uint64_t pa, uint64_t v) { st64_le(r->m->ram->host + pa, v); }
static void set32(Rig *r, uint64_t pa, uint32_t v) { st32_le(r->m->ram->host + pa, v); }

/* Long mode, VA 0x400000.. -> page table at PT; PAGE + n * 4096 behind it. */
static Rig *long_rig(void)
{
    Rig *r = rig_new("interp", 1);

    rig_mode(r, RIG_64);
    memset(r->m->ram->host + PML4, 0, 0x5000);
    set64(r, PML4, PDPT | P | W | U);
    set64(r, PDPT, PD | P | W | U);
    set64(r, PD + 8 * 2, PT | P | W | U);
    for (unsigned n = 0; n < 512; n++)
        set64(r, PT + 8 * n, (PAGE + n * 4096ull) | P | W | U);
    r->c->cr3 = PML4;
    r->c->cr4 |= CR4_PGE;
    r->c->cr0 |= CR0_WP;
    x86_update_mode(r->c);
    x86_tlb_flush_all(r->c);
    return r;
}
static void end(Rig *r)
{
    rig_free(r);
}

/* The vector an access raises, or -1; the error code in r->c->exc. */
static int access_at(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank)
{
    c->exc.vector = -1;
    if (sigsetjmp(c->vcpu.unwind, 0))
        return c->exc.vector;
    if (acc == ACC_W)
        x86_stb32(c, va, 0x12345678, bank);
    else if (acc == ACC_R)
        x86_ldb32(c, va, bank);
    else
        x86_fetch_page(c, va);
    return -1;
}
static void expect_pf(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank, uint32_t error)
{
    g_assert_cmpint(access_at(c, va, acc, bank), ==, EXC_PF);
    g_assert_cmphex(c->exc.error, ==, error);
    g_assert_cmphex(c->cr2, ==, va);
}
static void expect_ok(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank)
{
    g_assert_cmpint(access_at(c, va, acc, bank), ==, -1);
}

static void long_mode_sets_accessed_and_dirty(void)
{
    Rig *r = long_rig();

    expect_ok(r->c, 0x400000, ACC_R, TLB_K);
    g_assert_cmphex(get64(r, PML4) & (A | D), ==, A);
    g_assert_cmphex(get64(r, PD + 16) & (A | D), ==, A);
    g_assert_cmphex(get64(r, PT) & (A | D), ==, A);
    expect_ok(r->c, 0x400010, ACC_W, TLB_K);
    g_assert_cmphex(get64(r, PT) & (A | D), ==, A | D);
    g_assert_cmphex(ld32_le(r->m->ram->host + PAGE + 0x10), ==, 0x12345678);
    g_assert_cmphex(get64(r, PT + 8) & (A | D), ==, 0);
    end(r);
}

static void faults_have_exact_error_codes(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    set64(r, PT + 8 * 1, 0);
    set64(r, PT + 8 * 2, (PAGE + 0x2000) | P | U);
    set64(r, PT + 8 * 3, (PAGE + 0x3000) | P | W);
    set64(r, PT + 8 * 4, (PAGE + 0x4000) | P | W | U | NX);
    set64(r, PT + 8 * 5, (PAGE + 0x5000) | P | W | U | (1ull << 45));
    expect_pf(c, 0x401000, ACC_R, TLB_K, 0);
    expect_pf(c, 0x401000, ACC_W, TLB_U, PF_W | PF_U);
    expect_pf(c, 0x402ffc, ACC_W, TLB_U, PF_P | PF_W | PF_U);
    expect_pf(c, 0x402ffc, ACC_W, TLB_K, PF_P | PF_W);
    expect_ok(c, 0x402ffc, ACC_R, TLB_U);
    expect_pf(c, 0x403000, ACC_R, TLB_U, PF_P | PF_U);
    expect_ok(c, 0x403000, ACC_W, TLB_K);
    expect_pf(c, 0x404000, ACC_X, TLB_K, PF_P | PF_I);
    expect_ok(c, 0x404000, ACC_R, TLB_U);
    expect_pf(c, 0x405000, ACC_R, TLB_K, PF_P | PF_RSVD);
    g_assert_cmpint(access_at(c, 0x0000800000000000ull, ACC_R, TLB_K), ==, EXC_GP);
    end(r);
}

static void page_crossing_store_checks_both_pages_first(void)
{
    Rig *r = long_rig();

    set64(r, PT + 8 * 1, (PAGE + 0x1000) | P);
    g_assert_cmpint(access_at(r->c, 0x400ffe, ACC_W, TLB_U), ==, EXC_PF);
    g_assert_cmphex(r->c->exc.error, ==, PF_P | PF_W | PF_U);
    g_assert_cmphex(r->c->cr2, ==, 0x401000);
    g_assert_cmphex(ld16_le(r->m->ram->host + PAGE + 0xffe), ==, 0);
    end(r);
}

static void wp_smep_smap_rule_supervisor_accesses(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    set64(r, PT + 8 * 2, (PAGE + 0x2000) | P | U);
    c->cr0 &= ~(uint64_t)CR0_WP;
    x86_tlb_flush_all(c);
    expect_ok(c, 0x402000, ACC_W, TLB_K);
    g_assert_cmphex(get64(r, PT + 16) & D, ==, D);
    c->cr4 |= CR4_SMEP | CR4_SMAP;
    x86_tlb_flush_all(c);
    expect_pf(c, 0x400000, ACC_X, TLB_K, PF_P | PF_I);
    expect_pf(c, 0x400000, ACC_R, TLB_K, PF_P);
    expect_ok(c, 0x400000, ACC_R, TLB_A);
    expect_ok(c, 0x400000, ACC_W, TLB_A);
    expect_ok(c, 0x400000, ACC_R, TLB_U);
    g_assert_cmpuint(c->data_bank, ==, TLB_K);
    c->eflags |= FL_AC;
    x86_update_mode(c);
    g_assert_cmpuint(c->data_bank, ==, TLB_A);
    end(r);
}

static void stale_entry_stays_until_invlpg(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    expect_ok(c, 0x400000, ACC_R, TLB_K);
    set64(r, PT, 0);
    expect_ok(c, 0x400000, ACC_R, TLB_K);
    x86_tlb_flush_page(c, 0x400abc);
    expect_pf(c, 0x400000, ACC_R, TLB_K, 0);
    end(r);
}

static void more_rights_need_no_flush(void)
{
    Rig *r = long_rig();

    set64(r, PT, PAGE | P);
    expect_pf(r->c, 0x400000, ACC_W, TLB_U, PF_P | PF_W | PF_U);
    expect_ok(r->c, 0x400000, ACC_R, TLB_K);
    set64(r, PT, PAGE | P | W | U);
    expect_ok(r->c, 0x400000, ACC_W, TLB_U);
    end(r);
}

static void large_page_invlpg_drops_all_of_it(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    set64(r, PD + 8 * 3, 0x200000 | P | W | U | PS);
    expect_ok(c, 0x600000, ACC_R, TLB_K);
    expect_ok(c, 0x7ff000, ACC_R, TLB_K);
    set64(r, PD + 8 * 3, 0);
    x86_tlb_flush_page(c, 0x680000);
    expect_pf(c, 0x600000, ACC_R, TLB_K, 0);
    expect_pf(c, 0x7ff000, ACC_R, TLB_K, 0);
    set64(r, PD + 8 * 3, 0x200000 | P | W | U | PS | 1 << 13);
    expect_pf(c, 0x600000, ACC_R, TLB_K, PF_P | PF_RSVD);
    end(r);
}

static void huge_page_maps_and_flushes(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    set64(r, PDPT + 8 * 1, P | W | U | PS);
    expect_ok(c, 0x40000000 + PAGE, ACC_W, TLB_K);
    g_assert_cmphex(ld32_le(r->m->ram->host + PAGE), ==, 0x12345678);
    expect_ok(c, 0x40000000 + 0x800000, ACC_R, TLB_K);
    set64(r, PDPT + 8 * 1, 0);
    x86_tlb_flush_page(c, 0x40000000);
    expect_pf(c, 0x40000000 + PAGE, ACC_R, TLB_K, 0);
    expect_pf(c, 0x40000000 + 0x800000, ACC_R, TLB_K, 0);
    end(r);
}

static void global_pages_survive_cr3_only(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    set64(r, PT + 8, (PAGE + 0x1000) | P | W | G);
    expect_ok(c, 0x400000, ACC_R, TLB_K);
    expect_ok(c, 0x401000, ACC_R, TLB_K);
    set64(r, PT, 0);
    set64(r, PT + 8, 0);
    x86_tlb_flush_nonglobal(c);
    expect_pf(c, 0x400000, ACC_R, TLB_K, 0);
    expect_ok(c, 0x401000, ACC_R, TLB_K);
    x86_tlb_flush_all(c);
    expect_pf(c, 0x401000, ACC_R, TLB_K, 0);
    end(r);
}

/* As MOV CR3 does it. */
static void switch_to(X86Cpu *c, uint64_t cr3, bool keep)
{
    c->cr3 = cr3;
    x86_tlb_switch_pcid(c, keep);
}

static void pcid_keeps_translations_of_each_space(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;
    uint64_t space, other = 0x205000;

    memset(r->m->ram->host + other, 0, 4096);
    c->cr4 |= CR4_PCIDE;
    x86_tlb_flush_all(c);
    switch_to(c, PML4 | 1, false);
    space = c->code_space;
    expect_ok(c, 0x400000, ACC_R, TLB_U);
    set64(r, PT, 0);
    switch_to(c, other | 2, false);
    expect_pf(c, 0x400000, ACC_R, TLB_U, PF_U);
    switch_to(c, PML4 | 1, true);
    expect_ok(c, 0x400000, ACC_R, TLB_U);
    g_assert_cmphex(c->code_space, ==, space);
    switch_to(c, other | 2, true);
    x86_tlb_flush_pcid(c, 1);
    switch_to(c, PML4 | 1, true);
    expect_pf(c, 0x400000, ACC_R, TLB_U, PF_U);
    g_assert_cmphex(c->code_space, !=, space);
    end(r);
}

static void invpcid_single_address_in_other_space(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    c->cr4 |= CR4_PCIDE;
    x86_tlb_flush_all(c);
    switch_to(c, PML4 | 1, false);
    expect_ok(c, 0x400000, ACC_R, TLB_U);
    expect_ok(c, 0x401000, ACC_R, TLB_U);
    set64(r, PT, 0);
    set64(r, PT + 8, 0);
    switch_to(c, PML4 | 2, false);
    x86_tlb_flush_page_pcid(c, 0x400000, 1);
    switch_to(c, PML4 | 1, true);
    expect_pf(c, 0x400000, ACC_R, TLB_U, PF_U);
    expect_ok(c, 0x401000, ACC_R, TLB_U);
    end(r);
}

static void withdrawn_store_right_returns_when_page_is_plain(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;
    TlbEntry *e = &c->tlb[TLB_K][tlb_index(0x400000)];

    ram_mark_written(r->m->ram, PAGE, 4096);
    expect_ok(c, 0x400000, ACC_W, TLB_K);
    g_assert_cmphex(e->tag_w, ==, 0x400000);
    ram_test_and_clear_dirty(r->m->ram, PAGE, 4096, RAM_DIRTY_VGA);
    x86_tlb_protect(c, r->m->ram, PAGE, 4096);
    g_assert_cmphex(e->tag_w, ==, tlb_invalid(tlb_index(0x400000)));
    expect_ok(c, 0x400000, ACC_W, TLB_K);
    g_assert_true(ram_page_plain(r->m->ram, PAGE));
    g_assert_cmphex(e->tag_w, ==, 0x400000);
    end(r);
}

/* Tables for PAE and 32-bit: VA 0x400000 as above, supervisor. */
static void pae_walk_and_pdptes(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    rig_mode(r, RIG_32);
    set64(r, PDPT, PD | P);
    c->cr4 |= CR4_PAE;
    c->cr3 = PDPT;
    g_assert_true(x86_load_pdptes(c, PDPT));
    c->cr0 |= CR0_PG;
    x86_update_mode(c);
    x86_tlb_flush_all(c);
    expect_ok(c, 0x400000, ACC_W, TLB_U);
    g_assert_cmphex(get64(r, PT) & (A | D), ==, A | D);
    set64(r, PDPT + 8, PD | P | W);
    g_assert_false(x86_load_pdptes(c, PDPT));
    expect_pf(c, 0x40000000, ACC_R, TLB_K, 0);
    end(r);
}

static void legacy_walk_pse_and_pse36(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    rig_mode(r, RIG_32);
    set32(r, PD + 4 * 1, PT | P | W | U);
    set32(r, PT, PAGE | P | W | U);
    set32(r, PD + 4 * 2, P | W | PS);
    c->cr3 = PD;
    c->cr4 |= CR4_PSE;
    c->cr0 |= CR0_PG | CR0_WP;
    x86_update_mode(c);
    x86_tlb_flush_all(c);
    expect_ok(c, 0x400000, ACC_W, TLB_U);
    g_assert_cmphex(get64(r, PT) & (A | D), ==, A | D);
    expect_ok(c, 0x800000 + PAGE, ACC_R, TLB_K);
    expect_pf(c, 0x800000 + PAGE, ACC_R, TLB_U, PF_P | PF_U);
    set32(r, PD + 4 * 2, P | W | PS | 1 << 21);
    x86_tlb_flush_page(c, 0x800000);
    expect_pf(c, 0x800000 + PAGE, ACC_R, TLB_K, PF_P | PF_RSVD);
    /* PSE-36: physical bit 32 from entry bit 13: beyond the RAM there is, so all ones read. */
    set32(r, PD + 4 * 2, P | W | PS | 1 << 13);
    x86_tlb_flush_page(c, 0x800000);
    g_assert_cmphex(x86_ldb32(c, 0x800000, TLB_K), ==, 0xffffffff);
    end(r);
}

static void a20_gate_masks_bit_20(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    rig_mode(r, RIG_16);
    st32_le(r->m->ram->host + 0x1234, 0xaaaa5555);
    st32_le(r->m->ram->host + 0x101234, 0x11223344);
    g_assert_cmphex(x86_ldb32(c, 0x101234, TLB_K), ==, 0x11223344);
    x86_set_a20(c, false);
    g_assert_cmphex(x86_ldb32(c, 0x101234, TLB_K), ==, 0xaaaa5555);
    x86_set_a20(c, true);
    g_assert_cmphex(x86_ldb32(c, 0x101234, TLB_K), ==, 0x11223344);
    end(r);
}

static void data_breakpoint_is_latched(void)
{
    Rig *r = long_rig();
    X86Cpu *c = r->c;

    c->dr[0] = 0x400010;
    c->dr[7] = 0x400 | 1 | 1 << 16 | 3 << 18;           /* write, four bytes */
    c->mmu->watch_any = true;
    x86_tlb_flush_all(c);
    expect_ok(c, 0x400010, ACC_R, TLB_K);
    g_assert_cmphex(c->db_pending, ==, 0);
    expect_ok(c, 0x400014, ACC_W, TLB_K);
    g_assert_cmphex(c->db_pending, ==, 0);
    expect_ok(c, 0x40000d, ACC_W, TLB_K);
    g_assert_cmphex(c->db_pending, ==, 1);
    end(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/mmu/long_mode_sets_accessed_and_dirty", long_mode_sets_accessed_and_dirty);
    g_test_add_func("/mmu/faults_have_exact_error_codes", faults_have_exact_error_codes);
    g_test_add_func("/mmu/page_crossing_store_checks_both_pages_first", page_crossing_store_checks_both_pages_first);
    g_test_add_func("/mmu/wp_smep_smap_rule_supervisor_accesses", wp_smep_smap_rule_supervisor_accesses);
    g_test_add_func("/mmu/stale_entry_stays_until_invlpg", stale_entry_stays_until_invlpg);
    g_test_add_func("/mmu/more_rights_need_no_flush", more_rights_need_no_flush);
    g_test_add_func("/mmu/large_page_invlpg_drops_all_of_it", large_page_invlpg_drops_all_of_it);
    g_test_add_func("/mmu/huge_page_maps_and_flushes", huge_page_maps_and_flushes);
    g_test_add_func("/mmu/global_pages_survive_cr3_only", global_pages_survive_cr3_only);
    g_test_add_func("/mmu/pcid_keeps_translations_of_each_space", pcid_keeps_translations_of_each_space);
    g_test_add_func("/mmu/invpcid_single_address_in_other_space", invpcid_single_address_in_other_space);
    g_test_add_func("/mmu/withdrawn_store_right_returns_when_page_is_plain", withdrawn_store_right_returns_when_page_is_plain);
    g_test_add_func("/mmu/pae_walk_and_pdptes", pae_walk_and_pdptes);
    g_test_add_func("/mmu/legacy_walk_pse_and_pse36", legacy_walk_pse_and_pse36);
    g_test_add_func("/mmu/a20_gate_masks_bit_20", a20_gate_masks_bit_20);
    g_test_add_func("/mmu/data_breakpoint_is_latched", data_breakpoint_is_latched);
    return g_test_run();
}
