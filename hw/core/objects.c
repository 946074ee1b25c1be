/* objects: the kinds of -object, most of them described by their options alone. */
#include "hw/core/objects.h"

#include "hw/core/core_int.h"
#include "hw/core/iothread.h"

#include "net/net.h"

typedef struct ObjectKind {
    const char *name, *backend; /* back-end kind it is registered as */
    const char *keys;           /* options it takes, separated by spaces */
    bool (*add)(Machine *m, OptList *o, GError **err);
    void *(*make)(Machine *m, const char *id);  /* what the name stands for; NULL: the options themselves */
    bool (*drop)(Machine *m, void *made, GError **err);         /* undoes make; false: in use */
} ObjectKind;

static NetPort *filtered_port(Machine *m, OptList *o, GError **err)
{
    const char *netdev = optlist_str(o, "netdev", "");
    NetPort *p = backend_find(m, "netdev", netdev);

    if (!p)
        err_set(err, "there is no netdev '%s'", netdev);
    return p;
}

static bool dump_add(Machine *m, OptList *o, GError **err)
{
    NetPort *p = filtered_port(m, o, err);
    const char *file = optlist_str(o, "file", NULL);
    uint64_t maxlen;

    if (!p || !optlist_uint(o, "maxlen", 65536, UINT32_MAX, &maxlen, err))
        return false;
    return file ? net_dump_attach(p, file, maxlen, err) : err_set(err, "filter-dump needs file=");
}

/* The netdev may have gone before its filters, and taken them with it. */
static bool drop_dump(Machine *m, void *made, GError **err)
{
    NetPort *p = filtered_port(m, made, NULL);

    if (p)
        net_dump_detach(p, optlist_str(made, "file", ""));
    return true;
}

/* queue=: which frames a filter watches. */
static bool filter_ways(OptList *o, bool *to, bool *from, GError **err)
{
    const char *queue = optlist_str(o, "queue", "all");
    bool all = g_str_equal(queue, "all");

    *to = all || g_str_equal(queue, "rx");
    *from = all || g_str_equal(queue, "tx");
    return *to || *from || err_set(err, "queue=%s: it is all, rx (frames to the netdev) or tx (frames from it)", queue);
}

static bool buffer_add(Machine *m, OptList *o, GError **err)
{
    NetPort *p = filtered_port(m, o, err);
    uint64_t interval;
    bool to, from;

    return p && optlist_uint(o, "interval", 0, UINT32_MAX, &interval, err) && filter_ways(o, &to, &from, err) &&
           net_buffer_attach(p, interval, to, from, err);
}

static bool throttle_add(Machine *m, OptList *o, GError **err)
{
    NetPort *p = filtered_port(m, o, err);
    NetThrottleLimits limits = { 0 };
    uint64_t frames;
    bool to, from;

    if (!p || !optlist_size(o, "rate", 0, &limits.rate, err) || !optlist_size(o, "burst", 0, &limits.burst, err) ||
        !optlist_uint(o, "frames", 256, 65536, &frames, err) || !filter_ways(o, &to, &from, err))
        return false;
    limits.frames = frames;
    return net_throttle_attach(p, &limits, to, from, err);
}

static bool drop_throttle(Machine *m, void *made, GError **err)
{
    NetPort *p = filtered_port(m, made, NULL);

    if (p)
        net_throttle_detach(p);
    return true;
}

static bool drop_buffer(Machine *m, void *made, GError **err)
{
    NetPort *p = filtered_port(m, made, NULL);

    if (p)
        net_buffer_detach(p);
    return true;
}

static void end_iothread(void *data)
{
    iothread_free(data);
}

static void *make_iothread(Machine *m, const char *id)
{
    IoThread *t = iothread_new(id);

    machine_on_free(m, end_iothread, t);
    return t;
}

static bool drop_iothread(Machine *m, void *made, GError **err)
{
    if (iothread_in_use(made))
        return err_set(err, "iothread '%s' is in use by a device", iothread_id(made));
    machine_off_free(m, end_iothread, made);
    iothread_free(made);
    return true;
}

static const ObjectKind kinds[] = {
    { "filter-buffer", "filter", "netdev interval queue", buffer_add, NULL, drop_buffer },
    { "filter-dump", "filter", "netdev file maxlen queue", dump_add, NULL, drop_dump },
    { "filter-throttle", "filter", "netdev rate burst frames queue", throttle_add, NULL, drop_throttle },
    { "iothread", "iothread", "poll-max-ns poll-grow poll-shrink thread-pool-min thread-pool-max", NULL, make_iothread, drop_iothread },
    { "memory-backend-ram", "memory-backend", "size share merge dump prealloc host-nodes policy reserve", NULL },
    { "memory-backend-memfd", "memory-backend", "size share merge dump prealloc seal hugetlb hugetlbsize reserve", NULL },
    { "memory-backend-file", "memory-backend", "size share merge dump prealloc mem-path discard-data pmem readonly align reserve", NULL },
    { "rng-random", "rng", "filename", NULL },
    { "rng-builtin", "rng", "", NULL },
    { "secret", "secret", "data file format keyid iv", NULL },
};

static const ObjectKind *kind_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

static bool unknown_kind(const char *name, GError **err)
{
    const char *names[G_N_ELEMENTS(kinds) + 1] = { NULL };
    const char *near;

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        names[i] = kinds[i].name;
    near = nearest_name(name, names);
    return err_set(err, "'%s' is not a kind of object%s%s%s; -object help lists them", name,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

bool object_add(Machine *m, OptList *o, GError **err)
{
    const char *type = optlist_str(o, "qom-type", NULL), *id = optlist_str(o, "id", NULL);
    const ObjectKind *k = type ? kind_find(type) : NULL;
    g_auto(GStrv) keys = k ? g_strsplit(k->keys, " ", -1) : NULL;

    if (!type)
        return err_set(err, "which kind of object?");
    if (!k)
        return unknown_kind(type, err);
    if (!id)
        return err_set(err, "an object needs id=");
    for (char **key = keys; *key; key++)
        optlist_str(o, *key, NULL);
    if (!optlist_check_unused(o, err))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (backend_find(m, kinds[i].backend, id))
            return err_set(err, "there is already an object '%s'", id);
    if (k->add && !k->add(m, o, err))
        return false;
    backend_register(m, k->backend, id, k->make ? k->make(m, id) : (void *)o);
    return true;
}

/* Kinds may share a back-end kind; what is registered is then their options. */
static bool is_of_kind(const ObjectKind *k, void *made)
{
    return k->make || g_str_equal(optlist_str(made, "qom-type", ""), k->name);
}

bool object_del(Machine *m, const char *id, GError **err)
{
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        void *made = backend_find(m, kinds[i].backend, id);

        if (made && is_of_kind(&kinds[i], made)) {
            if (kinds[i].drop && !kinds[i].drop(m, made, err))
                return false;
            backend_unregister(m, kinds[i].backend, id);
            return true;
        }
    }
    return err_set_code(err, ERR_NOT_FOUND, "there is no object '%s'", id);
}

void backend_each(Machine *m, const char *kind, void (*fn)(const char *id, void *backend, void *opaque), void *opaque)
{
    g_autofree char *prefix = g_strconcat(kind, "/", NULL);
    GHashTableIter it;
    gpointer key, backend;

    g_hash_table_iter_init(&it, device_core(m)->backends);
    while (g_hash_table_iter_next(&it, &key, &backend)) {
        if (g_str_has_prefix(key, prefix))
            fn((const char *)key + strlen(prefix), backend, opaque);
    }
}

char *object_list_help(void)
{
    GString *out = g_string_new("List of user creatable objects:\n");

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        g_string_append_printf(out, "  %s\n", kinds[i].name);
    return g_string_free(out, false);
}
