/* softmmu_int: what the files of softmmu share and nobody else sees. */
#ifndef SOFTMMU_INT_H
#define SOFTMMU_INT_H

#include "softmmu/machine.h"

/* Waits on c with the machine lock released; the caller holds the lock. */
void machine_cond_wait(GCond *c);
/* The condition broadcast when a vcpu stops, leaves guest code or finishes queued work. */
GCond *machine_cond(void);

/* Flags a dirty-bit change to every listener of every address space. Machine lock. */
void region_notify_protect(RamBlock *rb, uint64_t off, uint64_t len);

/* Asks every vcpu to take new flat views at its next block boundary. Machine lock. */
void vcpus_refresh_views(Machine *m);
/* Stops every vcpu and waits; undone by vcpus_resume. Machine lock, not from a vcpu thread. */
void vcpus_pause(Machine *m);
void vcpus_resume(Machine *m);
/* Makes the calling vcpu (if this is a vcpu's thread) leave guest code after this instruction. */
void vcpu_leave_current(Machine *m);

#endif
