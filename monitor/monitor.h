/*
 * monitor: the door to the monitors: HMP for people, QMP for programs.
 *
 * Commands are rows of monitor/hmp.def and monitor/hmp_info.def (HMP) and monitor/qmp.def (QMP).
 * Machine lock held throughout; a session lives until its machine is freed.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "chardev/chardev.h"
#include "softmmu/machine.h"
#include "util/optlist.h"

bool hmp_attach(Machine *m, Chardev *chr, GError **err) MUST_CHECK;
bool qmp_attach(Machine *m, Chardev *chr, bool pretty, GError **err) MUST_CHECK;
/* Runs one HMP line on behalf of cpu (-1: the first) and returns what it prints; caller frees. */
char *hmp_run(Machine *m, const char *line, int cpu);

/* -netdev and netdev_add: o holds "type", "id" and that type's options. netdev_del also pulls a card's cable. */
bool netdev_add(Machine *m, OptList *o, GError **err) MUST_CHECK;
bool netdev_del(Machine *m, const char *id, GError **err) MUST_CHECK;
/* The named cards (NULL: all) tell the network their addresses, as plan says. */
struct NetAnnouncePlan;
bool announce_self(Machine *m, const struct NetAnnouncePlan *plan, char **names, GError **err) MUST_CHECK;

#endif
