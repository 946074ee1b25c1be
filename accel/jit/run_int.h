/* run_int: the run loop's door inside the folder. */
#ifndef ACCEL_JIT_RUN_INT_H
#define ACCEL_JIT_RUN_INT_H

#include "accel/jit/jit_int.h"
#include "softmmu/accel.h"

VcpuExit jit_run(Vcpu *v);

#endif
