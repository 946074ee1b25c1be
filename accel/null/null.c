/* null: an engine that executes nothing: it links everything and powers device tests. */
#include "softmmu/accel.h"

static bool null_probe(const void *cpu_model, GError **why)
{
    return true;
}

/* A guest that does nothing for ever: asleep until somebody wants the vcpu. */
static VcpuExit null_run(Vcpu *v)
{
    atomic_store(&v->attention, 0);
    if (vcpu_attend(v))
        return VCPU_EXIT_KICK;
    v->halted = true;
    return VCPU_EXIT_HALT;
}

const Accel null_accel = {
    .name = "null",
    .desc = "executes nothing (for tests)",
    .probe = null_probe,
    .run = null_run,
};
