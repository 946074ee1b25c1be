/* device: life of devices and buses, reset, saved state, and the back-ends they look up. */
#include "hw/core/core_int.h"

#include "softmmu/vcpu.h"
#include "util/optlist.h"

static void core_free(Machine *m);
static void core_save(Machine *m, GByteArray *out);
static bool core_load(Machine *m, const uint8_t **p, const uint8_t *end, GError **err);

static void global_free(gpointer p)
{
    GlobalProp *g = p;

    g_free(g->driver);
    g_free(g->prop);
    g_free(g->value);
    g_free(g);
}

static void bus_free(gpointer p)
{
    Bus *b = p;

    g_ptr_array_free(b->children, true);
    g_free(b->name);
    g_free(b);
}

DeviceCore *device_core(Machine *m)
{
    static const MachineDeviceOps ops = {
        .reset = devices_reset_all, .save = core_save, .load = core_load, .free = core_free };
    DeviceCore *c = m->device_core;

    if (!c) {
        c = m->device_core = g_new0(DeviceCore, 1);
        c->roots = g_ptr_array_new_with_free_func(bus_free);
        c->backends = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        c->resolvers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        c->globals = g_ptr_array_new_with_free_func(global_free);
        c->dead = g_ptr_array_new();
        m->device_ops = &ops;
    }
    return c;
}

/* --- buses --- */

Bus *bus_new(BusKind kind, const char *name, Device *owner, Machine *m)
{
    Bus *b = g_new0(Bus, 1);

    b->kind = kind;
    b->name = g_strdup(name);
    b->owner = owner;
    b->machine = m;
    b->children = g_ptr_array_new();
    if (owner) {
        if (!owner->buses)
            owner->buses = g_ptr_array_new_with_free_func(bus_free);
        g_ptr_array_add(owner->buses, b);
    } else {
        g_ptr_array_add(device_core(m)->roots, b);
    }
    return b;
}

GPtrArray *bus_roots(Machine *m)
{
    return device_core(m)->roots;
}

/* Every bus of the machine in creation order of its owners; fn returns true to stop. */
static Bus *bus_search(Machine *m, bool (*fn)(Bus *b, const void *arg), const void *arg)
{
    GPtrArray *roots = bus_roots(m);

    for (unsigned i = 0; i < roots->len; i++)
        if (fn(g_ptr_array_index(roots, i), arg))
            return g_ptr_array_index(roots, i);
    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        for (unsigned j = 0; d->buses && j < d->buses->len; j++)
            if (fn(g_ptr_array_index(d->buses, j), arg))
                return g_ptr_array_index(d->buses, j);
    }
    return NULL;
}

static bool bus_is(Bus *b, const void *name)
{
    return !strcmp(b->name, name) || (b->owner && b->owner->id && !strcmp(b->owner->id, name));
}

Bus *bus_find(Machine *m, const char *name)
{
    return bus_search(m, bus_is, name);
}

typedef struct Placing { Device *dev; GError *first; } Placing;

static bool try_attach(Bus *b, const void *arg)
{
    Placing *p = (Placing *)arg;
    GError *err = NULL;

    if (b->kind != p->dev->cls->bus || b->owner == p->dev)
        return false;
    if (!b->attach || b->attach(b, p->dev, &err))
        return true;
    if (!p->first)
        p->first = err;
    else
        g_error_free(err);
    return false;
}

static bool place(Device *dev, Bus *bus, GError **err)
{
    Placing p = { .dev = dev };

    if (!bus && dev->cls->bus == BUS_SYSTEM)
        return true;
    if (bus) {
        if (bus->kind != dev->cls->bus)
            return err_set(err, "device '%s' does not go on bus '%s': it wants a %s bus", dev->cls->name,
                           bus->name, bus_kind_name(dev->cls->bus));
        if (bus->attach && !bus->attach(bus, dev, err))
            return false;
    } else {
        bus = bus_search(dev->machine, try_attach, &p);
        if (!bus) {
            if (p.first)
                g_propagate_error(err, p.first);
            else
                err_set(err, "device '%s' needs a %s bus and the machine has none", dev->cls->name,
                        bus_kind_name(dev->cls->bus));
            return false;
        }
        g_clear_error(&p.first);
    }
    dev->bus = bus;
    g_ptr_array_add(bus->children, dev);
    return true;
}

static void unplace(Device *dev)
{
    Bus *bus = dev->bus;

    if (!bus)
        return;
    if (bus->detach)
        bus->detach(bus, dev);
    g_ptr_array_remove(bus->children, dev);
    dev->bus = NULL;
}

/* --- life --- */

Device *device_new(Machine *m, const DeviceClass *cls, const char *id)
{
    Device *dev = g_malloc0(cls->size);

    g_assert(cls->state && cls->size >= sizeof(Device));
    dev->cls = cls;
    dev->machine = m;
    dev->id = g_strdup(id);
    dev->bootindex = -1;
    dev->set_props = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    dev->regions = g_ptr_array_new();
    dev->timers = g_ptr_array_new();
    device_props_init(dev);
    return dev;
}

/* Takes away what the outside world can still reach: timers and regions. */
static void device_detach(Device *dev)
{
    for (unsigned i = 0; i < dev->timers->len; i++)
        timer_del(g_ptr_array_index(dev->timers, i));
    g_ptr_array_set_size(dev->timers, 0);
    region_batch_begin();
    for (unsigned i = 0; i < dev->regions->len; i++)
        region_del(g_ptr_array_index(dev->regions, i));
    region_batch_end();
}

static void device_free(Device *dev)
{
    for (unsigned i = 0; i < dev->regions->len; i++)
        region_destroy(g_ptr_array_index(dev->regions, i));
    device_props_free(dev);
    g_clear_pointer(&dev->buses, g_ptr_array_unref);
    g_ptr_array_free(dev->regions, true);
    g_ptr_array_free(dev->timers, true);
    g_hash_table_unref(dev->set_props);
    g_free(dev->state_name);
    g_free(dev->id);
    g_free(dev);
}

void device_discard(Device *dev)
{
    g_assert(dev->phase == PHASE_NEW);
    device_free(dev);
}

static gboolean free_dead(gpointer data)
{
    Machine *m = data;
    DeviceCore *c = device_core(m);

    c->dead_source = 0;
    machine_sync_views(m);
    while (c->dead->len)
        device_free(g_ptr_array_steal_index(c->dead, c->dead->len - 1));
    return G_SOURCE_REMOVE;
}

/* A vcpu may be about to enter a handler through an old view: memory goes when none can. */
static void device_bury(Device *dev)
{
    Machine *m = dev->machine;
    DeviceCore *c = device_core(m);

    dev->phase = PHASE_DEAD;
    if (!m->vcpus->len) {
        device_free(dev);
        return;
    }
    g_ptr_array_add(c->dead, dev);
    if (!vcpu_current()) {
        if (c->dead_source)
            g_source_remove(c->dead_source);
        free_dead(m);
    } else if (!c->dead_source) {
        c->dead_source = g_idle_add(free_dead, m);
    }
}

static char *make_state_name(Machine *m, const DeviceClass *cls)
{
    for (unsigned n = 0;; n++) {
        char *name = g_strdup_printf("%s/%u", cls->name, n);
        bool taken = false;

        for (unsigned i = 0; i < m->devices->len && !taken; i++)
            taken = !strcmp(((Device *)g_ptr_array_index(m->devices, i))->state_name, name);
        if (!taken)
            return name;
        g_free(name);
    }
}

bool device_realize(Device *dev, Bus *bus, GError **err)
{
    Machine *m = dev->machine;

    if (dev->id && device_find(m, dev->id)) {
        err_set(err, "there is already a device with id '%s'", dev->id);
        device_free(dev);
        return false;
    }
    if (!place(dev, bus, err)) {
        device_bury(dev);
        return false;
    }
    dev->state_name = make_state_name(m, dev->cls);
    region_batch_begin();
    if (dev->cls->realize && !dev->cls->realize(dev, err)) {
        device_detach(dev);
        unplace(dev);
        region_batch_end();
        device_bury(dev);
        return false;
    }
    region_batch_end();
    dev->phase = PHASE_LIVE;
    g_ptr_array_add(m->devices, dev);
    device_reset(dev);
    if (m->state != RUN_PRELAUNCH && dev->bus && dev->bus->plugged)
        dev->bus->plugged(dev->bus, dev);
    return true;
}

Device *device_create(Machine *m, const char *name, Bus *bus, const char *props, GError **err)
{
    const DeviceClass *cls = device_class_find(name);
    Device *dev;

    if (!cls) {
        err_set_code(err, ERR_NOT_FOUND, "there is no device '%s'", name);
        return NULL;
    }
    dev = device_new(m, cls, NULL);
    if (props) {
        g_autoptr(OptList) l = optlist_parse(props, NULL, err);

        for (unsigned i = 0; l && i < l->items->len; i++) {
            OptItem *it = g_ptr_array_index(l->items, i);

            if (!strcmp(it->key, "id"))
                dev->id = (g_free(dev->id), g_strdup(it->value));
            else if (!device_set_prop(dev, it->key, it->value, err))
                goto fail;
        }
        if (!l)
            goto fail;
    }
    return device_realize(dev, bus, err) ? dev : NULL;
fail:
    device_free(dev);
    return NULL;
}

void device_unplug(Device *dev)
{
    Machine *m = dev->machine;

    for (unsigned i = 0; dev->buses && i < dev->buses->len; i++) {
        Bus *b = g_ptr_array_index(dev->buses, i);

        while (b->children->len)
            device_unplug(g_ptr_array_index(b->children, b->children->len - 1));
    }
    region_batch_begin();
    if (dev->cls->unrealize)
        dev->cls->unrealize(dev);
    device_detach(dev);
    unplace(dev);
    region_batch_end();
    g_ptr_array_remove(m->devices, dev);
    if (dev->user_created) {
        g_autofree char *detail = dev->id
            ? g_strdup_printf("{\"device\": \"%s\", \"path\": \"/machine/peripheral/%s\"}", dev->id, dev->id)
            : g_strdup_printf("{\"path\": \"/machine/peripheral-anon/%s\"}", dev->state_name);

        machine_emit(m, EVENT_DEVICE_DELETED, detail);
    }
    device_bury(dev);
}

bool device_unplug_request(Device *dev, GError **err)
{
    if (dev->cls->no_hotplug || (dev->bus && !dev->bus->hotplug))
        return err_set(err, "Bus '%s' does not support hotplugging", dev->bus ? dev->bus->name : "main-system-bus");
    if (dev->machine->state == RUN_PRELAUNCH || !dev->bus || !dev->bus->unplug_request ||
        !dev->bus->unplug_request(dev->bus, dev))
        device_unplug(dev);
    return true;
}

Device *device_find(Machine *m, const char *id)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        if (d->id && !strcmp(d->id, id))
            return d;
    }
    return NULL;
}

static void core_free(Machine *m)
{
    DeviceCore *c = device_core(m);

    while (m->devices->len)
        device_unplug(g_ptr_array_index(m->devices, m->devices->len - 1));
    if (c->dead_source)
        g_source_remove(c->dead_source);
    while (c->dead->len)
        device_free(g_ptr_array_steal_index(c->dead, c->dead->len - 1));
    g_ptr_array_free(c->roots, true);
    g_ptr_array_free(c->dead, true);
    g_ptr_array_free(c->globals, true);
    g_hash_table_unref(c->backends);
    g_hash_table_unref(c->resolvers);
    g_clear_pointer(&m->device_core, g_free);
    m->device_ops = NULL;
}

/* --- reset and state --- */

void device_reset(Device *dev)
{
    if (dev->bus && dev->bus->reset_child)
        dev->bus->reset_child(dev->bus, dev);
    if (dev->cls->reset)
        dev->cls->reset(dev);
}

void devices_reset_all(Machine *m)
{
    region_batch_begin();
    for (unsigned i = 0; i < m->devices->len; i++)
        device_reset(g_ptr_array_index(m->devices, i));
    region_batch_end();
}

static void core_save(Machine *m, GByteArray *out)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        if (!d->cls->state->none_why)
            state_save(out, d->state_name, d->cls->state, d);
    }
}

static bool core_load(Machine *m, const uint8_t **p, const uint8_t *end, GError **err)
{
    for (unsigned i = 0; i < m->devices->len; i++) {
        Device *d = g_ptr_array_index(m->devices, i);

        if (!d->cls->state->none_why && !state_load(p, end, d->state_name, d->cls->state, d, err))
            return false;
    }
    return *p == end || err_set(err, "the saved state has devices this machine lacks");
}

/* --- back-ends --- */

static char *backend_key(const char *kind, const char *id)
{
    return g_strconcat(kind, "/", id, NULL);
}

void backend_register(Machine *m, const char *kind, const char *id, void *backend)
{
    g_hash_table_insert(device_core(m)->backends, backend_key(kind, id), backend);
}

void backend_unregister(Machine *m, const char *kind, const char *id)
{
    g_autofree char *key = backend_key(kind, id);

    if (m->device_core)
        g_hash_table_remove(device_core(m)->backends, key);
}

void *backend_find(Machine *m, const char *kind, const char *id)
{
    g_autofree char *key = backend_key(kind, id);

    return g_hash_table_lookup(device_core(m)->backends, key);
}

void backend_set_resolver(Machine *m, const char *kind, BackendResolver *fn, void *opaque)
{
    Resolver *r = g_new0(Resolver, 1);

    r->fn = fn;
    r->opaque = opaque;
    g_hash_table_insert(device_core(m)->resolvers, g_strdup(kind), r);
}

/* --- helpers of realize functions --- */

void device_init_io(Device *dev, Region *r, const char *name, const IoOps *ops, uint64_t size)
{
    region_init_io(r, name, ops, dev, size);
    r->owner = dev;
    r->busy = &dev->busy;
    g_ptr_array_add(dev->regions, r);
}

void device_init_container(Device *dev, Region *r, const char *name, uint64_t size)
{
    region_init_container(r, name, size);
    g_ptr_array_add(dev->regions, r);
}

void device_map_pio(Device *dev, Region *r, uint16_t port)
{
    region_add(&dev->machine->port_root, r, port, 1);
}

void device_map_mmio(Device *dev, Region *r, uint64_t addr)
{
    region_add(&dev->machine->mem_root, r, addr, 1);
}

void device_timer_init(Device *dev, Timer *t, void (*fn)(void *))
{
    timer_init(t, dev->machine->clocks, CLOCK_VM, fn, dev);
    t->busy = &dev->busy;
    g_ptr_array_add(dev->timers, t);
}
