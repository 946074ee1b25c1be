/* props: device properties as text: defaults, parsing, printing, -global. */
#include "hw/core/core_int.h"

#include "util/optlist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const onoffauto[] = { "auto", "on", "off", NULL };

static void *field(Device *dev, const PropDesc *p)
{
    return (char *)dev + p->offset;
}

static void put_int(void *f, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)f = v; break;
    case 2: *(uint16_t *)f = v; break;
    case 4: *(uint32_t *)f = v; break;
    default: *(uint64_t *)f = v;
    }
}

static uint64_t get_uint(const void *f, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)f;
    case 2: return *(const uint16_t *)f;
    case 4: return *(const uint32_t *)f;
    default: return *(const uint64_t *)f;
    }
}

static int64_t get_int(const void *f, unsigned size)
{
    unsigned shift = 64 - size * 8;

    return (int64_t)(get_uint(f, size) << shift) >> shift;
}

static const PropDesc *prop_find(const DeviceClass *cls, const char *name)
{
    for (const PropDesc *p = cls->props; p && p->kind != PROP_END_; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

static bool unknown_prop(const DeviceClass *cls, const char *name, GError **err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    for (const PropDesc *p = cls->props; p && p->kind != PROP_END_; p++)
        g_ptr_array_add(names, (char *)p->name);
    g_ptr_array_add(names, (char *)"bootindex");
    g_ptr_array_add(names, NULL);
    near = nearest_name(name, (const char *const *)names->pdata);
    if (near)
        return err_set_code(err, ERR_NOT_FOUND, "device '%s' has no property '%s' (did you mean '%s'?)",
                            cls->name, name, near);
    return err_set_code(err, ERR_NOT_FOUND, "device '%s' has no property '%s'; -device %s,help lists them",
                        cls->name, name, cls->name);
}

static bool set_choice(const char *what, const char *const *names, const char *value, int *out, GError **err)
{
    g_autofree char *all = NULL;

    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], value)) {
            *out = i;
            return true;
        }
    }
    all = g_strjoinv(", ", (char **)names);
    return err_set(err, "property '%s' cannot be '%s'; it is one of %s", what, value, all);
}

static bool parse_int_text(const char *text, unsigned size, int64_t *out, GError **err)
{
    char *end;
    int64_t v, max = size == 8 ? INT64_MAX : (1LL << (size * 8 - 1)) - 1;

    errno = 0;
    v = strtoll(text, &end, 0);
    if (!*text || *end || errno || v > max || v < -max - 1)
        return err_set(err, "'%s' is not a whole number that fits", text);
    *out = v;
    return true;
}

static bool parse_mac(const char *text, uint8_t *mac, GError **err)
{
    unsigned b[6];
    int n = 0;

    if ((sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6 &&
         sscanf(text, "%2x-%2x-%2x-%2x-%2x-%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6) ||
        text[n])
        return err_set(err, "'%s' is not a MAC address like 52:54:00:12:34:56", text);
    for (int i = 0; i < 6; i++)
        mac[i] = b[i];
    return true;
}

static bool find_backend(Device *dev, const PropDesc *p, const char *id, GError **err)
{
    void *b = backend_find(dev->machine, p->backend, id);
    Resolver *r = g_hash_table_lookup(device_core(dev->machine)->resolvers, p->backend);

    if (!b && r) {
        b = r->fn(r->opaque, id, err);
        if (!b)
            return false;
    }
    if (!b)
        return err_set_code(err, ERR_NOT_FOUND, "property '%s': there is no %s with id '%s'", p->name,
                            p->backend, id);
    *(void **)field(dev, p) = b;
    return true;
}

static bool parse_prop(Device *dev, const PropDesc *p, const char *value, GError **err)
{
    void *f = field(dev, p);
    uint64_t u, max = p->max ? p->max : p->size >= 8 ? UINT64_MAX : (1ULL << (p->size * 8)) - 1;
    int64_t i;
    bool b;

    switch (p->kind) {
    case PROP_BOOL_:
        if (!parse_bool_text(value, &b, err))
            return false;
        *(bool *)f = b;
        return true;
    case PROP_UINT_:
        if (!parse_uint_text(value, max, &u, err))
            return false;
        put_int(f, p->size, u);
        return true;
    case PROP_INT_:
        if (!parse_int_text(value, p->size, &i, err))
            return false;
        put_int(f, p->size, i);
        return true;
    case PROP_SIZE_:
        if (!parse_size_text(value, 1, &u, err))
            return false;
        if (u > max)
            return err_set(err, "'%s' is too large", value);
        put_int(f, p->size, u);
        return true;
    case PROP_STRING_:
        g_free(*(char **)f);
        *(char **)f = g_strdup(value);
        return true;
    case PROP_MAC_: return parse_mac(value, f, err);
    case PROP_ENUM_: return set_choice(p->name, p->values, value, f, err);
    case PROP_ONOFFAUTO_:
        if (!strcmp(value, "true") || !strcmp(value, "yes"))
            value = "on";
        else if (!strcmp(value, "false") || !strcmp(value, "no"))
            value = "off";
        return set_choice(p->name, onoffauto, value, f, err);
    case PROP_BACKEND_: return find_backend(dev, p, value, err);
    default: return err_set(err, "property '%s' cannot be set", p->name);
    }
}

bool device_set_prop(Device *dev, const char *name, const char *value, GError **err)
{
    const PropDesc *p = prop_find(dev->cls, name);
    int64_t i;

    if (dev->phase != PHASE_NEW)
        return err_set(err, "property '%s' of '%s' is fixed once the device runs", name, dev->cls->name);
    if (p) {
        if (!parse_prop(dev, p, value, err)) {
            err_prefix(err, "%s: %s", dev->cls->name, name);
            return false;
        }
    } else if (!strcmp(name, "bootindex")) {
        if (!parse_int_text(value, 4, &i, err))
            return err_prefix(err, "%s: bootindex", dev->cls->name);
        dev->bootindex = i;
    } else {
        return unknown_prop(dev->cls, name, err);
    }
    g_hash_table_insert(dev->set_props, g_strdup(name), g_strdup(value));
    return true;
}

void device_set_backend(Device *dev, const char *prop, void *backend)
{
    const PropDesc *p = prop_find(dev->cls, prop);

    g_assert(p && p->kind == PROP_BACKEND_ && dev->phase == PHASE_NEW);
    *(void **)field(dev, p) = backend;
}

char *device_get_prop(Device *dev, const char *name)
{
    const PropDesc *p = prop_find(dev->cls, name);
    const uint8_t *mac;
    const char *set;
    void *f;

    if (!p)
        return strcmp(name, "bootindex") ? NULL : g_strdup_printf("%d", dev->bootindex);
    f = field(dev, p);
    switch (p->kind) {
    case PROP_BOOL_: return g_strdup(*(bool *)f ? "true" : "false");
    case PROP_UINT_: case PROP_SIZE_: return g_strdup_printf("%" G_GUINT64_FORMAT, get_uint(f, p->size));
    case PROP_INT_: return g_strdup_printf("%" G_GINT64_FORMAT, get_int(f, p->size));
    case PROP_STRING_: return g_strdup(*(char **)f ? *(char **)f : "");
    case PROP_MAC_:
        mac = f;
        return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    case PROP_ENUM_: return g_strdup(p->values[*(int *)f]);
    case PROP_ONOFFAUTO_: return g_strdup(onoffauto[*(int *)f]);
    case PROP_BACKEND_:
        set = g_hash_table_lookup(dev->set_props, name);
        return g_strdup(set ? set : *(void **)f ? "(set)" : "");
    default: return NULL;
    }
}

void device_props_init(Device *dev)
{
    DeviceCore *core = device_core(dev->machine);

    for (const PropDesc *p = dev->cls->props; p && p->kind != PROP_END_; p++) {
        void *f = field(dev, p);

        switch (p->kind) {
        case PROP_BOOL_: *(bool *)f = p->def; break;
        case PROP_UINT_: case PROP_INT_: case PROP_SIZE_: put_int(f, p->size, p->def); break;
        case PROP_ENUM_: case PROP_ONOFFAUTO_: *(int *)f = p->def; break;
        case PROP_STRING_: *(char **)f = g_strdup(p->def_str); break;
        default: break;
        }
    }
    for (unsigned i = 0; i < core->globals->len; i++) {
        GlobalProp *g = g_ptr_array_index(core->globals, i);
        g_autoptr(GError) err = NULL;

        if (device_class_is(dev->cls, g->driver) && !device_set_prop(dev, g->prop, g->value, &err))
            log_warn("-global %s.%s=%s: %s", g->driver, g->prop, g->value, err->message);
    }
}

void device_props_free(Device *dev)
{
    for (const PropDesc *p = dev->cls->props; p && p->kind != PROP_END_; p++)
        if (p->kind == PROP_STRING_)
            g_clear_pointer((char **)field(dev, p), g_free);
}

bool device_add_global(Machine *m, const char *driver, const char *prop, const char *value, GError **err)
{
    const DeviceClass *cls = device_class_find(driver);
    GlobalProp *g;

    if (!cls) {
        log_warn("-global %s.%s: there is no device '%s'", driver, prop, driver);
        return true;
    }
    if (!prop_find(cls, prop) && strcmp(prop, "bootindex"))
        return unknown_prop(cls, prop, err);
    g = g_new0(GlobalProp, 1);
    g->driver = g_strdup(driver);
    g->prop = g_strdup(prop);
    g->value = g_strdup(value);
    g_ptr_array_add(device_core(m)->globals, g);
    return true;
}
