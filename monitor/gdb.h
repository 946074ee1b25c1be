/* gdb: a server for GDB's remote serial protocol (GDB manual, appendix E): -gdb, -s. */
#ifndef MONITOR_GDB_H
#define MONITOR_GDB_H

#include "chardev/chardev.h"
#include "softmmu/machine.h"

/* Serves one debugger at a time on chr until the machine is freed. Machine lock held. */
bool gdb_attach(Machine *m, Chardev *chr, GError **err) MUST_CHECK;

#endif
