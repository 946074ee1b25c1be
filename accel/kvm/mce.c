/*
 * mce: machine checks: banks at creation, and errors the machine injects.
 *
 * Intel SDM vol. 3 chapter 15: an injected error shows in the first bank as uncorrected.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

enum { BANKS = 10 };
#define MCG_CTL_P (1ull << 8)
#define MCI_VAL (1ull << 63)
#define MCI_UC (1ull << 61)
#define MCI_EN (1ull << 60)
#define MCI_PCC (1ull << 57)
#define MCG_MCIP (1ull << 2)
#define MCG_RIPV (1ull << 0)

void kvm_mce_init(KvmVcpu *k)
{
    uint64_t can = 0, want;

    if (!k->vm->caps.mce || kvm_dev_ioctl(k->vm, KVM_X86_GET_MCE_CAP_SUPPORTED, &can))
        return;
    want = MIN(k->vm->caps.mce_banks, BANKS) | (can & MCG_CTL_P);
    if (kvm_ioctl(k, KVM_X86_SETUP_MCE, &want))
        log_info("this host's KVM keeps no machine check banks");
}

/* VCPU_IRQ_MCE: an uncorrected error that no address belongs to. */
bool kvm_mce_inject(KvmVcpu *k, X86Cpu *c)
{
    struct kvm_x86_mce m = { .status = MCI_VAL | MCI_UC | MCI_EN | MCI_PCC | 1, .mcg_status = MCG_MCIP | MCG_RIPV,
                             .bank = 0 };

    return k->vm->caps.mce && kvm_ioctl(k, KVM_X86_SET_MCE, &m) == 0;
}
