/* device_add: devices a user asks for by name, and the text of the device tree. */
#include "hw/core/core_int.h"

#include "util/optlist.h"

const DeviceClass *device_class_for_user(const char *name, GError **err)
{
    const DeviceClass *cls = device_class_find(name);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    if (cls && !cls->internal)
        return cls;
    if (cls) {
        err_set(err, "device '%s' is part of the board and cannot be added", name);
        return NULL;
    }
    for (const DeviceClass *const *c = device_class_list(); *c; c++) {
        if ((*c)->internal)
            continue;
        g_ptr_array_add(names, (char *)(*c)->name);
        for (const char *const *a = (*c)->aliases; a && *a; a++)
            g_ptr_array_add(names, (char *)*a);
    }
    g_ptr_array_add(names, NULL);
    near = nearest_name(name, (const char *const *)names->pdata);
    if (near)
        err_set_code(err, ERR_NOT_FOUND, "'%s' is not a device (did you mean '%s'?)", name, near);
    else
        err_set_code(err, ERR_NOT_FOUND, "'%s' is not a device; -device help lists them", name);
    return NULL;
}

static void bus_names(Machine *m, GPtrArray *out)
{
    GPtrArray *roots = bus_roots(m);

    for (unsigned i = 0; i < roots->len; i++)
        g_ptr_array_add(out, ((Bus *)g_ptr_array_index(roots, i))->name);
    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        for (unsigned j = 0; d->buses && j < d->buses->len; j++)
            g_ptr_array_add(out, ((Bus *)g_ptr_array_index(d->buses, j))->name);
        if (d->id && d->buses && d->buses->len)
            g_ptr_array_add(out, d->id);
    }
    g_ptr_array_add(out, NULL);
}

static bool find_bus(Machine *m, const char *name, Bus **bus, GError **err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    *bus = NULL;
    if (!name || (*bus = bus_find(m, name)))
        return true;
    bus_names(m, names);
    near = nearest_name(name, (const char *const *)names->pdata);
    return err_set_code(err, ERR_NOT_FOUND, "there is no bus '%s'%s%s%s", name, near ? " (did you mean '" : "",
                        near ? near : "", near ? "'?)" : "");
}

static bool set_one(void *opaque, const char *key, const char *value, GError **err)
{
    return device_set_prop(opaque, key, value, err);
}

Device *device_add(Machine *m, struct OptList *opts, GError **err)
{
    const char *driver = optlist_str(opts, "driver", NULL), *id = optlist_str(opts, "id", NULL);
    const char *bus_name = optlist_str(opts, "bus", NULL);
    const DeviceClass *cls;
    Device *dev;
    Bus *bus;

    if (!driver) {
        err_set(err, "which device? Give its name, or 'help' for a list");
        return NULL;
    }
    cls = device_class_for_user(driver, err);
    if (!cls || !find_bus(m, bus_name, &bus, err))
        return NULL;
    if (m->state != RUN_PRELAUNCH && (cls->no_hotplug || (bus && !bus->hotplug))) {
        err_set(err, "device '%s' cannot be added while the machine runs", driver);
        return NULL;
    }
    dev = device_new(m, cls, id);
    dev->user_created = true;
    if (!optlist_each_unused(opts, set_one, dev, err)) {
        device_discard(dev);
        return NULL;
    }
    if (!device_realize(dev, bus, err))
        return NULL;
    return dev;
}

static void describe_device(GString *out, Device *d, int indent);

static void describe_bus(GString *out, Bus *b, int indent)
{
    g_string_append_printf(out, "%*sbus: %s\n%*s  type %s\n", indent, "", b->name, indent, "",
                           bus_kind_name(b->kind));
    for (unsigned i = 0; i < b->children->len; i++)
        describe_device(out, g_ptr_array_index(b->children, i), indent + 2);
}

static void describe_device(GString *out, Device *d, int indent)
{
    g_string_append_printf(out, "%*sdev: %s, id \"%s\"\n", indent, "", d->cls->name, d->id ? d->id : "");
    for (const PropDesc *p = d->cls->props; p && p->kind != PROP_END_; p++) {
        g_autofree char *text = device_get_prop(d, p->name);
        bool quote = p->kind == PROP_STRING_ || p->kind == PROP_BACKEND_ || p->kind == PROP_MAC_;

        g_string_append_printf(out, "%*s%s = %s%s%s\n", indent + 2, "", p->name, quote ? "\"" : "",
                               text ? text : "", quote ? "\"" : "");
    }
    for (unsigned i = 0; d->buses && i < d->buses->len; i++)
        describe_bus(out, g_ptr_array_index(d->buses, i), indent + 2);
}

char *device_tree_describe(Machine *m)
{
    GString *out = g_string_new("bus: main-system-bus\n  type System\n");
    GPtrArray *roots = bus_roots(m);

    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        if (!d->bus)
            describe_device(out, d, 2);
    }
    for (unsigned i = 0; i < roots->len; i++)
        describe_bus(out, g_ptr_array_index(roots, i), 2);
    return g_string_free(out, false);
}
