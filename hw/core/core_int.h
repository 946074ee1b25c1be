/* core_int: what the files of hw/core share. */
#ifndef HW_CORE_INT_H
#define HW_CORE_INT_H

#include "hw/core/device.h"

typedef struct DeviceCore {     /* Machine.device_core */
    GPtrArray *roots;           /* Bus * without owner, owned */
    GHashTable *backends;       /* "kind/id" -> void * */
    GHashTable *resolvers;      /* kind -> Resolver * */
    GPtrArray *globals;         /* GlobalProp * */
    GPtrArray *dead;            /* Device * to free once no vcpu can hold an old view */
    unsigned dead_source;       /* GLib source id, 0: none */
} DeviceCore;
typedef struct GlobalProp { char *driver, *prop, *value; } GlobalProp;

typedef struct Resolver { BackendResolver *fn; void *opaque; } Resolver;

DeviceCore *device_core(Machine *m);
/* Sets every property to its default, then to what -global says. */
void device_props_init(Device *dev);
void device_props_free(Device *dev);
bool device_class_is(const DeviceClass *cls, const char *name);

#endif
