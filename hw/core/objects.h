/*
 * objects: -object and object_add: helpers that devices and back-ends name by id.
 *
 * Kinds are a table in objects.c; an object becomes a back-end of the kind in its row, so that
 * PROP_BACKEND and backend_find see it. Machine lock held.
 */
#ifndef HW_CORE_OBJECTS_H
#define HW_CORE_OBJECTS_H

#include "hw/core/device.h"
#include "util/optlist.h"

/* opts: "qom-type", "id" and what the kind takes; opts must live as long as the machine. */
bool object_add(Machine *m, OptList *opts, GError **err) MUST_CHECK;
bool object_del(Machine *m, const char *id, GError **err) MUST_CHECK;
/* Every back-end of one kind, in no order. */
void backend_each(Machine *m, const char *kind, void (*fn)(const char *id, void *backend, void *opaque), void *opaque);
char *object_list_help(void);           /* "-object help"; caller frees */

#endif
