/* registry: the list of device classes from hw/devices.def, and its help texts. */
#include "hw/core/core_int.h"

#include <stdlib.h>

#define DEVICE(n) extern const DeviceClass n##_class;
#include "hw/devices.def"
#undef DEVICE

static const DeviceClass *const registered[] = {
#define DEVICE(n) &n##_class,
#include "hw/devices.def"
#undef DEVICE
    NULL
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const DeviceClass *const *)a)->name, (*(const DeviceClass *const *)b)->name);
}

const DeviceClass *const *device_class_list(void)
{
    static const DeviceClass *sorted[G_N_ELEMENTS(registered)];     /* constant once filled */
    static gsize once;

    if (g_once_init_enter(&once)) {
        memcpy(sorted, registered, sizeof sorted);
        qsort(sorted, G_N_ELEMENTS(sorted) - 1, sizeof sorted[0], by_name);
        g_once_init_leave(&once, 1);
    }
    return sorted;
}

bool device_class_is(const DeviceClass *cls, const char *name)
{
    if (!strcmp(cls->name, name))
        return true;
    for (const char *const *a = cls->aliases; a && *a; a++)
        if (!strcmp(*a, name))
            return true;
    return false;
}

const DeviceClass *device_class_find(const char *name)
{
    for (const DeviceClass *const *c = device_class_list(); *c; c++)
        if (device_class_is(*c, name))
            return *c;
    return NULL;
}

const char *bus_kind_name(BusKind k)
{
    static const char *const names[BUS_KINDS] = {
        [BUS_SYSTEM] = "System", [BUS_ISA] = "ISA", [BUS_PCI] = "PCI", [BUS_IDE] = "IDE",
        [BUS_FLOPPY] = "floppy-bus", [BUS_SCSI] = "SCSI", [BUS_USB] = "usb-bus",
        [BUS_VIRTIO] = "virtio-bus", [BUS_VIRTIO_SERIAL] = "virtio-serial-bus",
        [BUS_I2C] = "i2c-bus", [BUS_PS2] = "ps2-bus",
    };

    return names[k];
}

/* ORDER: DeviceCategory */
static const char *const category_names[] = { "Misc", "Controller/Bridge/Hub", "Storage", "Network",
    "Input", "Display", "Sound", "USB", "CPU", "Watchdog" };

char *device_list_help(void)
{
    GString *out = g_string_new(NULL);

    for (unsigned cat = 0; cat < G_N_ELEMENTS(category_names); cat++) {
        bool any = false;

        for (const DeviceClass *const *c = device_class_list(); *c; c++) {
            const DeviceClass *cls = *c;

            if (cls->internal || cls->category != cat)
                continue;
            if (!any)
                g_string_append_printf(out, "%s%s devices:\n", out->len ? "\n" : "", category_names[cat]);
            any = true;
            g_string_append_printf(out, "name \"%s\", bus %s", cls->name, bus_kind_name(cls->bus));
            if (cls->aliases && cls->aliases[0])
                g_string_append_printf(out, ", alias \"%s\"", cls->aliases[0]);
            if (cls->desc)
                g_string_append_printf(out, ", desc \"%s\"", cls->desc);
            g_string_append_c(out, '\n');
        }
    }
    return g_string_free(out, false);
}

static void describe_type(GString *out, const PropDesc *p)
{
    static const char *const names[] = { [PROP_BOOL_] = "bool", [PROP_SIZE_] = "size", [PROP_STRING_] = "str",
        [PROP_MAC_] = "str", [PROP_BACKEND_] = "str", [PROP_ONOFFAUTO_] = "OnOffAuto" };

    switch (p->kind) {
    case PROP_UINT_: g_string_append_printf(out, "uint%u", p->size * 8); break;
    case PROP_INT_: g_string_append_printf(out, "int%u", p->size * 8); break;
    case PROP_ENUM_:
        for (const char *const *v = p->values; *v; v++)
            g_string_append_printf(out, "%s%s", v == p->values ? "" : "|", *v);
        break;
    default: g_string_append(out, names[p->kind]);
    }
}

static void describe_default(GString *out, const PropDesc *p)
{
    static const char *const tri[] = { "auto", "on", "off" };

    switch (p->kind) {
    case PROP_BOOL_: g_string_append_printf(out, " (default: %s)", p->def ? "true" : "false"); break;
    case PROP_UINT_: case PROP_INT_: case PROP_SIZE_:
        g_string_append_printf(out, " (default: %" G_GINT64_FORMAT ")", (gint64)p->def);
        break;
    case PROP_ENUM_: g_string_append_printf(out, " (default: \"%s\")", p->values[p->def]); break;
    case PROP_ONOFFAUTO_: g_string_append_printf(out, " (default: \"%s\")", tri[p->def]); break;
    case PROP_STRING_:
        if (p->def_str)
            g_string_append_printf(out, " (default: \"%s\")", p->def_str);
        break;
    default: break;
    }
}

char *device_class_help(const DeviceClass *cls)
{
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "%s options:\n", cls->name);
    for (const PropDesc *p = cls->props; p && p->kind != PROP_END_; p++) {
        g_autoptr(GString) left = g_string_new(NULL);

        g_string_append_printf(left, "  %s=<", p->name);
        describe_type(left, p);
        g_string_append_c(left, '>');
        g_string_append_printf(out, "%-24s - %s", left->str, p->backend && !p->help ? p->backend : p->help ? p->help : "");
        describe_default(out, p);
        g_string_append_c(out, '\n');
    }
    g_string_append_printf(out, "  %-22s - place in the boot order, lowest first (default: -1)\n", "bootindex=<int32>");
    return g_string_free(out, false);
}
