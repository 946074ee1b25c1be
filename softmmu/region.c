/* region: the tree of memory regions, its flattening into views, and view listeners. */
#include "softmmu/softmmu_int.h"

#include "util/bytes.h"

#include <inttypes.h>

enum { TREE_DEPTH_MAX = 64 };   /* alias chains deeper than this are a wiring mistake */

/* An address space, and views its tree had before: windows that are shown and hidden all the time (SMRAM: twice
   per SMI) lead to few different ones. */
enum { KEPT_VIEWS = 4 };
typedef struct Space {
    AddressSpace *as;
    struct { uint64_t shown; FlatView *view; } kept[KEPT_VIEWS];
    unsigned next;
    uint64_t structure;         /* tree_structure they are of */
} Space;

/* The machine lock is one per process, and so is what it guards: the list of address spaces (Space)
   to look at again when any tree changes, and the nesting of batches. tree_structure counts changes of
   trees other than regions shown or hidden; shown_set is the same again when the same ones are shown. */
static GPtrArray *spaces;
static unsigned batch_depth;
static bool batch_dirty;
static uint64_t tree_structure, shown_set;

static void tree_changed(void);
static void shown_changed(void);

static uint64_t token(const Region *r)
{
    uint64_t x = (uintptr_t)r * 0x9e3779b97f4a7c15ULL;

    return (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
}

static void region_init(Region *r, const char *name, RegionKind kind, uint64_t size)
{
    memset(r, 0, sizeof *r);
    r->name = g_strdup(name);
    r->kind = kind;
    r->size = size;
    r->enabled = true;
}

void region_init_container(Region *r, const char *name, uint64_t size)
{
    region_init(r, name, REGION_CONTAINER, size);
}

void region_init_ram(Region *r, const char *name, RamBlock *rb, uint64_t ram_offset, uint64_t size)
{
    region_init(r, name, REGION_RAM, size);
    g_assert(range_ok(ram_offset, size, rb->size));
    r->ram = rb;
    r->ram_offset = ram_offset;
}

void region_init_rom(Region *r, const char *name, RamBlock *rb, uint64_t ram_offset, uint64_t size,
                     const IoOps *ops, void *opaque)
{
    region_init_ram(r, name, rb, ram_offset, size);
    r->kind = REGION_ROM;
    r->ops = ops;
    r->opaque = opaque;
}

void region_init_io(Region *r, const char *name, const IoOps *ops, void *opaque, uint64_t size)
{
    region_init(r, name, REGION_IO, size);
    g_assert(ops && ops->read && ops->write);
    r->ops = ops;
    r->opaque = opaque;
}

void region_init_alias(Region *r, const char *name, Region *target, uint64_t off, uint64_t size)
{
    region_init(r, name, REGION_ALIAS, size);
    r->alias = target;
    r->alias_offset = off;
}

void region_destroy(Region *r)
{
    if (!r->name)
        return;
    region_batch_begin();
    region_del(r);
    while (r->children && r->children->len)
        region_del(g_ptr_array_index(r->children, 0));
    region_batch_end();
    if (r->children)
        g_ptr_array_free(r->children, true);
    g_free((char *)r->name);
    memset(r, 0, sizeof *r);
}

void region_add(Region *parent, Region *child, uint64_t addr, int priority)
{
    unsigned i;

    g_assert(!child->parent && child != parent);
    if (!parent->children)
        parent->children = g_ptr_array_new();
    child->parent = parent;
    child->addr = addr;
    child->priority = priority;
    /* Among equals the newest comes first. */
    for (i = 0; i < parent->children->len; i++)
        if (((Region *)g_ptr_array_index(parent->children, i))->priority <= priority)
            break;
    g_ptr_array_insert(parent->children, i, child);
    tree_changed();
}

void region_del(Region *child)
{
    if (!child->parent)
        return;
    g_ptr_array_remove(child->parent->children, child);
    child->parent = NULL;
    tree_changed();
}

void region_set_enabled(Region *r, bool on)
{
    if (r->enabled == on)
        return;
    r->enabled = on;
    shown_set += on ? token(r) : -token(r);
    shown_changed();
}

void region_set_addr(Region *r, uint64_t addr)
{
    if (r->addr == addr)
        return;
    r->addr = addr;
    tree_changed();
}

void region_set_size(Region *r, uint64_t size)
{
    if (r->size == size)
        return;
    r->size = size;
    tree_changed();
}

/* --- flattening --- */

typedef __int128 Wide;          /* addresses with room for a region that starts below 0 */

/* Adds the parts of r's [lo, hi) that nothing of higher priority covers yet. base: where r's
   first byte would lie. */
static void flatten_leaf(GArray *out, Region *r, Wide base, uint64_t lo, uint64_t hi)
{
    unsigned i = 0;

    while (lo < hi) {
        FlatRange fr;
        uint64_t end = hi;

        while (i < out->len) {
            const FlatRange *o = &g_array_index(out, FlatRange, i);

            if (o->addr > lo) {
                end = MIN(hi, o->addr);
                break;
            }
            if (o->addr + o->size > lo)
                lo = o->addr + o->size;
            i++;
        }
        if (lo >= hi)
            break;
        if (i >= out->len)
            end = hi;
        memset(&fr, 0, sizeof fr);      /* views are compared as bytes */
        fr.region = r;
        fr.addr = lo;
        fr.size = end - lo;
        fr.offset = (uint64_t)((Wide)lo - base);
        if (r->kind != REGION_IO) {
            fr.ram = r->ram;
            fr.ram_offset = r->ram_offset + fr.offset;
            fr.host = r->ram->host + fr.ram_offset;
            fr.readonly = r->kind == REGION_ROM;
        }
        g_array_insert_val(out, i, fr);
        i++;
        lo = end;
    }
}

static void flatten(GArray *out, Region *r, Wide base, Wide lo, Wide hi, unsigned depth)
{
    if (!r->enabled || depth > TREE_DEPTH_MAX)
        return;
    lo = MAX(lo, base);
    hi = MIN(hi, base + r->size);
    if (lo >= hi)
        return;
    if (r->kind == REGION_ALIAS) {
        flatten(out, r->alias, base - r->alias_offset, lo, hi, depth + 1);
        return;
    }
    for (unsigned i = 0; r->children && i < r->children->len; i++) {
        Region *c = g_ptr_array_index(r->children, i);

        flatten(out, c, base + c->addr, lo, hi, depth + 1);
    }
    if (r->kind != REGION_CONTAINER)
        flatten_leaf(out, r, base, (uint64_t)lo, (uint64_t)hi);
}

static bool ranges_join(const FlatRange *a, const FlatRange *b)
{
    return a->region == b->region && a->addr + a->size == b->addr &&
           a->offset + a->size == b->offset && a->readonly == b->readonly;
}

static FlatView *flat_view_build(Region *root)
{
    GArray *out = g_array_new(false, false, sizeof(FlatRange));
    FlatView *v = g_new0(FlatView, 1);
    unsigned n = 0;

    flatten(out, root, 0, 0, UINT64_MAX, 0);
    for (unsigned i = 0; i < out->len; i++) {
        FlatRange *fr = &g_array_index(out, FlatRange, i);
        FlatRange *last = n ? &g_array_index(out, FlatRange, n - 1) : NULL;

        if (last && ranges_join(last, fr))
            last->size += fr->size;
        else
            g_array_index(out, FlatRange, n++) = *fr;
    }
    g_array_set_size(out, n);
    v->n = n;
    v->ranges = (FlatRange *)(void *)g_array_free(out, false);
    atomic_init(&v->refs, 1);
    return v;
}

static bool views_equal(const FlatView *a, const FlatView *b)
{
    return a->n == b->n && (!a->n || !memcmp(a->ranges, b->ranges, a->n * sizeof(FlatRange)));
}

FlatView *addrspace_view_ref(AddressSpace *as)
{
    FlatView *v;

    g_mutex_lock(&as->view_lock);
    v = as->view;
    atomic_fetch_add(&v->refs, 1);
    g_mutex_unlock(&as->view_lock);
    return v;
}

void flat_view_unref(FlatView *v)
{
    if (v && atomic_fetch_sub(&v->refs, 1) == 1) {
        g_free(v->ranges);
        g_free(v);
    }
}

const FlatRange *flat_view_find(const FlatView *v, uint64_t addr)
{
    unsigned lo = 0, hi = v->n;

    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        const FlatRange *fr = &v->ranges[mid];

        if (addr < fr->addr)
            hi = mid;
        else if (addr - fr->addr >= fr->size)
            lo = mid + 1;
        else
            return fr;
    }
    return NULL;
}

static void forget_kept(Space *s)
{
    for (unsigned i = 0; i < KEPT_VIEWS; i++) {
        flat_view_unref(s->kept[i].view);
        s->kept[i].view = NULL;
    }
}

/* A reference to what the tree looks like now: the view in force, if it is equal to that. */
static FlatView *view_now(Space *s)
{
    FlatView *v = NULL, *old = s->as->view;

    if (s->structure != tree_structure)
        forget_kept(s);
    s->structure = tree_structure;
    for (unsigned i = 0; i < KEPT_VIEWS && !v; i++)
        if (s->kept[i].view && s->kept[i].shown == shown_set)
            v = s->kept[i].view;
    if (!v) {
        unsigned n = s->next++ % KEPT_VIEWS;

        v = flat_view_build(s->as->root);
        if (old && views_equal(old, v)) {
            flat_view_unref(v);
            v = old;
            atomic_fetch_add(&v->refs, 1);
        }
        flat_view_unref(s->kept[n].view);
        s->kept[n].shown = shown_set;
        s->kept[n].view = v;
    }
    atomic_fetch_add(&v->refs, 1);
    return v;
}

static void addrspace_update(Space *s)
{
    AddressSpace *as = s->as;
    FlatView *now = view_now(s), *old = as->view;

    if (old == now) {
        flat_view_unref(now);
        return;
    }
    g_mutex_lock(&as->view_lock);
    as->view = now;
    g_mutex_unlock(&as->view_lock);
    for (unsigned i = 0; i < as->listeners->len; i++) {
        RegionListener *l = &g_array_index(as->listeners, RegionListener, i);

        if (l->changed)
            l->changed(l->opaque, old, now);
    }
    flat_view_unref(old);
}

static void tree_changed(void)
{
    tree_structure++;
    shown_changed();
}

static void shown_changed(void)
{
    if (batch_depth) {
        batch_dirty = true;
        return;
    }
    batch_dirty = false;
    for (unsigned i = 0; spaces && i < spaces->len; i++)
        addrspace_update(g_ptr_array_index(spaces, i));
}

void region_batch_begin(void)
{
    batch_depth++;
}

void region_batch_end(void)
{
    g_assert(batch_depth);
    if (--batch_depth == 0 && batch_dirty)
        shown_changed();
}

static void space_free(gpointer p)
{
    forget_kept(p);
    g_free(p);
}

void addrspace_init(AddressSpace *as, const char *name, Region *root)
{
    Space *s = g_new0(Space, 1);

    s->as = as;
    memset(as, 0, sizeof *as);
    as->name = name;
    as->root = root;
    root->space = as;
    g_mutex_init(&as->view_lock);
    as->listeners = g_array_new(false, false, sizeof(RegionListener));
    if (!spaces)
        spaces = g_ptr_array_new_with_free_func(space_free);
    g_ptr_array_add(spaces, s);
    addrspace_update(s);
}

void addrspace_destroy(AddressSpace *as)
{
    if (!as->listeners)
        return;
    for (unsigned i = spaces->len; i-- > 0;)
        if (((Space *)g_ptr_array_index(spaces, i))->as == as)
            g_ptr_array_remove_index(spaces, i);
    if (!spaces->len)
        g_clear_pointer(&spaces, g_ptr_array_unref);
    flat_view_unref(as->view);
    g_array_free(as->listeners, true);
    g_mutex_clear(&as->view_lock);
    as->root->space = NULL;
    memset(as, 0, sizeof *as);
}

void addrspace_unlisten(AddressSpace *as, const void *opaque)
{
    for (guint i = as->listeners->len; i-- > 0; ) {
        if (g_array_index(as->listeners, RegionListener, i).opaque == opaque)
            g_array_remove_index(as->listeners, i);
    }
}

void addrspace_listen(AddressSpace *as, const RegionListener *l)
{
    g_array_append_val(as->listeners, *l);
    if (l->changed)
        l->changed(l->opaque, NULL, as->view);
}

void region_notify_protect(RamBlock *rb, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; spaces && i < spaces->len; i++) {
        AddressSpace *as = ((Space *)g_ptr_array_index(spaces, i))->as;

        for (unsigned j = 0; j < as->listeners->len; j++) {
            RegionListener *l = &g_array_index(as->listeners, RegionListener, j);

            if (l->protect)
                l->protect(l->opaque, rb, off, len);
        }
    }
}

void ram_sync_dirty(RamBlock *rb)
{
    for (unsigned i = 0; spaces && i < spaces->len; i++) {
        AddressSpace *as = ((Space *)g_ptr_array_index(spaces, i))->as;

        for (unsigned j = 0; j < as->listeners->len; j++) {
            RegionListener *l = &g_array_index(as->listeners, RegionListener, j);

            if (l->sync)
                l->sync(l->opaque, rb);
        }
    }
}

/* --- "info mtree" --- */

static const char *kind_name(const Region *r)
{
    switch (r->kind) {
    case REGION_RAM: return "ram";
    case REGION_ROM: return "rom";
    default: return "i/o";
    }
}

static void describe_tree(GString *out, const Region *r, uint64_t base, unsigned depth)
{
    uint64_t last = base + (r->size ? r->size - 1 : 0);

    if (depth > TREE_DEPTH_MAX)
        return;
    g_string_append_printf(out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", (int)depth * 2, "",
                           base, last, r->priority, kind_name(r));
    if (r->kind == REGION_ALIAS)
        g_string_append_printf(out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name, r->alias->name,
                               r->alias_offset, r->alias_offset + (r->size ? r->size - 1 : 0));
    else
        g_string_append(out, r->name);
    g_string_append(out, r->enabled ? "\n" : " [disabled]\n");
    for (unsigned i = 0; r->children && i < r->children->len; i++) {
        const Region *c = g_ptr_array_index(r->children, i);

        describe_tree(out, c, base + c->addr, depth + 1);
    }
}

char *addrspace_describe(AddressSpace *as, bool flat)
{
    GString *out = g_string_new(NULL);

    if (!flat) {
        g_string_append_printf(out, "address-space: %s\n", as->name);
        describe_tree(out, as->root, 0, 1);
        return g_string_free(out, false);
    }
    g_string_append_printf(out, "FlatView\n AS \"%s\", root: %s\n", as->name, as->root->name);
    for (unsigned i = 0; i < as->view->n; i++) {
        const FlatRange *fr = &as->view->ranges[i];

        g_string_append_printf(out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", fr->addr,
                               fr->addr + fr->size - 1, fr->region->priority, kind_name(fr->region),
                               fr->region->name);
        if (fr->offset)
            g_string_append_printf(out, " @%016" PRIx64, fr->offset);
        g_string_append_c(out, '\n');
    }
    return g_string_free(out, false);
}
