/*
 * region: guest memory and ports as a tree of regions.
 *
 * A region is RAM, ROM, I/O, an alias of a part of another region, or a container.
 * Children with a higher priority hide lower ones; holes show what is below. The tree
 * is flattened into a sorted FlatView which engines subscribe to. All functions that
 * change the tree need the machine lock; reading a FlatView needs a reference only.
 * Addresses, offsets and sizes are bytes.
 */
#ifndef SOFTMMU_REGION_H
#define SOFTMMU_REGION_H

#include "util/error.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * I/O handlers get an offset into their region and a size in bytes (1, 2, 4, 8).
 * min/max: access sizes the guest may use; others read as all ones and are ignored.
 * impl_min/impl_max: sizes the handlers implement; the core splits or widens (a widened
 * read is masked; a widened write is read-free: upper bytes are zero). 0 means: as min/max;
 * min 0 means 1, max 0 means 4. Both handlers must be set. Called with the machine lock
 * held unless lockless is set.
 */
typedef struct IoOps {
    uint64_t (*read)(void *opaque, uint64_t off, unsigned size);
    void (*write)(void *opaque, uint64_t off, uint64_t val, unsigned size);
    uint8_t min, max, impl_min, impl_max;
    bool lockless;              /* handlers do their own locking (LAPIC: per-vcpu state) */
    bool late_writes;           /* writes may be carried out later, in order, before the next read or redraw */
    bool unaligned;             /* handlers accept offsets that size does not divide */
} IoOps;

/* Why a page of RAM must be told about a store: bits of RamBlock.pages[]. */
enum {
    RAM_DIRTY_VGA = 1 << 0,         /* set = written since the display looked */
    RAM_DIRTY_MIGRATION = 1 << 1,   /* set = written since migration looked */
    RAM_DIRTY_ALL = RAM_DIRTY_VGA | RAM_DIRTY_MIGRATION,
    RAM_CODE = 1 << 7,              /* an engine holds decoded code of this page */
};

/* Host memory behind RAM and ROM regions: private, page granular. */
typedef struct RamBlock {
    char *name;
    uint8_t *host;              /* size bytes */
    uint64_t size;
    _Atomic uint8_t *pages;     /* one flag byte per 4 KiB page */
    /* Called for a store to a page with RAM_CODE set, after the store; offset and length
       inside the block. Set by the engine; any thread. */
    void (*code_written)(void *opaque, struct RamBlock *rb, uint64_t off, uint64_t len);
    void *code_opaque;
} RamBlock;

/* Allocates zeroed guest RAM (size rounded up to 4 KiB). Errors name the size wanted. */
RamBlock *ram_block_new(const char *name, uint64_t size, GError **err) MUST_CHECK;
void ram_block_free(RamBlock *rb);
/* A fast store into this page is allowed: every dirty bit set and no code. */
static inline bool ram_page_plain(const RamBlock *rb, uint64_t off)
{
    return (atomic_load_explicit(&rb->pages[off >> 12], memory_order_relaxed) &
            (RAM_DIRTY_ALL | RAM_CODE)) == RAM_DIRTY_ALL;
}
/* Marks [off, off+len) written: sets dirty bits and calls code_written for code pages. Any thread. */
void ram_mark_written(RamBlock *rb, uint64_t off, uint64_t len);
/* Tests and clears dirty bits of client (RAM_DIRTY_*) over a range; true if any page was dirty.
   Afterwards engines trap the next store (ram_listener protection event). Machine lock. */
bool ram_test_and_clear_dirty(RamBlock *rb, uint64_t off, uint64_t len, uint8_t client);

/* Before a look at dirty bits: hardware engines keep their own until asked. Machine lock. */
void ram_sync_dirty(RamBlock *rb);

typedef enum { REGION_CONTAINER, REGION_RAM, REGION_ROM, REGION_IO, REGION_ALIAS } RegionKind;

typedef struct Region Region;
struct Region {
    const char *name;           /* owned copy */
    RegionKind kind;
    uint64_t size;
    uint64_t addr;              /* offset in parent, valid when parent */
    int priority;
    bool enabled;
    Region *parent;
    GPtrArray *children;        /* by priority, high first */
    const IoOps *ops;           /* IO; and ROM with a write handler (flash, PAM) */
    void *opaque;
    RamBlock *ram;              /* RAM, ROM */
    uint64_t ram_offset;
    Region *alias;
    uint64_t alias_offset;
    void *owner;                /* the Device, for busy guard and traces; may be NULL */
    bool *busy;                 /* owner's busy flag, or NULL: re-entry answers all ones */
    struct AddressSpace *space; /* set on roots */
};

/* Initializers: the Region's memory belongs to the caller (usually a device struct). size up to
   2^64-1; use UINT64_MAX for "everything". The name is copied. */
void region_init_container(Region *r, const char *name, uint64_t size);
void region_init_ram(Region *r, const char *name, RamBlock *rb, uint64_t ram_offset, uint64_t size);
/* Reads come from memory, writes go to ops->write (NULL ops: ignored). */
void region_init_rom(Region *r, const char *name, RamBlock *rb, uint64_t ram_offset, uint64_t size,
                     const IoOps *ops, void *opaque);
void region_init_io(Region *r, const char *name, const IoOps *ops, void *opaque, uint64_t size);
void region_init_alias(Region *r, const char *name, Region *target, uint64_t off, uint64_t size);
void region_destroy(Region *r);         /* detaches and frees inner parts */

void region_add(Region *parent, Region *child, uint64_t addr, int priority);
void region_del(Region *child);         /* from its parent; harmless when detached */
void region_set_enabled(Region *r, bool on);
void region_set_addr(Region *r, uint64_t addr);
void region_set_size(Region *r, uint64_t size);
/* Several changes, one flattening (nestable). */
void region_batch_begin(void);
void region_batch_end(void);

typedef struct FlatRange {
    uint64_t addr, size;
    Region *region;             /* RAM, ROM or IO; never a container or alias */
    uint64_t offset;            /* of addr inside region */
    uint8_t *host;              /* RAM/ROM: host address of addr; else NULL */
    RamBlock *ram;
    uint64_t ram_offset;        /* of addr inside ram */
    bool readonly;              /* ROM: stores go to region->ops or nowhere */
} FlatRange;

typedef struct FlatView {
    _Atomic int refs;
    unsigned n;
    FlatRange *ranges;          /* sorted by addr, no overlap */
} FlatView;

typedef struct AddressSpace AddressSpace;
typedef struct RegionListener {
    /* The view changed: runs under the machine lock with all vcpus told to refresh. old may be NULL. */
    void (*changed)(void *opaque, const FlatView *old, const FlatView *now);
    /* Dirty bits were cleared in a RAM range: fast stores there must trap again. */
    void (*protect)(void *opaque, RamBlock *rb, uint64_t off, uint64_t len);
    /* Somebody is about to look at rb's dirty bits: put what the engine knows there. */
    void (*sync)(void *opaque, RamBlock *rb);
    void *opaque;
} RegionListener;

struct AddressSpace {
    const char *name;
    Region *root;
    FlatView *view;             /* current; take with addrspace_view_ref */
    GMutex view_lock;
    GArray *listeners;          /* of RegionListener */
};

void addrspace_init(AddressSpace *as, const char *name, Region *root);
void addrspace_destroy(AddressSpace *as);
void addrspace_listen(AddressSpace *as, const RegionListener *l);
void addrspace_unlisten(AddressSpace *as, const void *opaque);          /* every listener with this opaque */
FlatView *addrspace_view_ref(AddressSpace *as);         /* any thread */
void flat_view_unref(FlatView *v);
/* The range that contains addr, or NULL for a hole. */
const FlatRange *flat_view_find(const FlatView *v, uint64_t addr);

/* Does an access of size bytes at addr (inside fr) go to fr as a whole? A device that claims the first
   byte gets all that lies in its region, also where another region hides a part of it. */
static inline bool flat_range_takes(const FlatRange *fr, uint64_t addr, unsigned size)
{
    return fr->host ? size <= fr->size && addr - fr->addr <= fr->size - size
                    : size <= fr->region->size && fr->offset + (addr - fr->addr) <= fr->region->size - size;
}

/*
 * One access of 1, 2, 4 or 8 bytes as a CPU or a bus master makes it; splits at range
 * borders; holes read all ones. Takes the machine lock itself when the target needs it
 * and the caller does not hold it. Returns false if any byte hit a hole.
 */
bool addrspace_read(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *val);
bool addrspace_write(AddressSpace *as, uint64_t addr, unsigned size, uint64_t val);
/* As above on a view the caller holds and a range already found (engines' slow path). */
uint64_t flat_range_read(const FlatRange *fr, uint64_t addr, unsigned size);
void flat_range_write(const FlatRange *fr, uint64_t addr, unsigned size, uint64_t val);

/* Text of "info mtree": tree, or flat view. Caller frees. */
char *addrspace_describe(AddressSpace *as, bool flat);

#endif
