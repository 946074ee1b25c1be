/* irqchip: which interrupt controllers a machine's engine keeps. */
#include "softmmu/accel.h"

IrqchipMode irqchip_mode(const Machine *m)
{
    const Accel *a = m->accel;

    return a && a->irqchip && m->accel_state ? a->irqchip->mode((Machine *)m) : IRQCHIP_OFF;
}

const AccelIrqchip *irqchip_of(const Machine *m)
{
    return irqchip_mode(m) == IRQCHIP_OFF ? NULL : m->accel->irqchip;
}
