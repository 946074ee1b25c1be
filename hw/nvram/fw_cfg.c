/*
 * fw_cfg: the firmware configuration device: selector, data port and DMA.
 *
 * Interface: the "QEMU firmware configuration device" specification, as SeaBIOS, edk2, GRUB and
 * Linux use it. Items are read only; writes are refused. Every read checks the offset against the
 * item as it is then. docs/hw/fw_cfg.md. Machine lock.
 */
#include "hw/nvram/fw_cfg.h"

#include "hw/core/wiring.h"
#include "util/optlist.h"

enum { PORT_SELECT = 0x510, PORT_DMA = 0x514 };
enum { KEY_ARCH = 0x8000, KEY_WRITE = 0x4000, ARCH_KEYS = 8 };
enum { DMA_ERROR = 1 << 0, DMA_READ = 1 << 1, DMA_SKIP = 1 << 2, DMA_SELECT = 1 << 3, DMA_WRITE = 1 << 4 };
enum { ID_TRADITIONAL = 1 << 0, ID_DMA = 1 << 1 };
enum { NAME_SIZE = 56, DIR_ENTRY = 64, KEYS = FW_CFG_FILE_FIRST + FW_CFG_FILE_SLOTS };
#define DMA_SIGNATURE 0x51454d5520434647ULL     /* "QEMU CFG" */
#define MAX_BEYOND_END (1 * MiB)                /* zeros given past the end of an item, per request */

typedef struct FirstRead {
    char *name;
    void (*fn)(void *opaque);
    void *opaque;
    bool done;
} FirstRead;

struct FwCfg {
    Device dev;
    Region io, dma_io;
    GBytes *item[KEYS], *arch[ARCH_KEYS];
    char *name[FW_CFG_FILE_SLOTS];
    GPtrArray *first_reads;     /* of FirstRead * */
    uint16_t selected;          /* state */
    uint32_t offset;
    uint64_t dma_addr;
};

FwCfg *fw_cfg_of(Device *dev)
{
    return (FwCfg *)dev;
}

FwCfg *fw_cfg_find(Machine *m)
{
    return m->board ? m->board->fw_cfg : NULL;
}

static GBytes **slot(FwCfg *f, uint16_t key)
{
    if (key & KEY_ARCH)
        return (key & 0x3fff) < ARCH_KEYS ? &f->arch[key & 0x3fff] : NULL;
    return key < KEYS ? &f->item[key] : NULL;
}

void fw_cfg_add_bytes(FwCfg *f, uint16_t key, GBytes *data)
{
    GBytes **at = slot(f, key), *old = at ? *at : NULL;

    g_assert(at);
    *at = g_bytes_ref(data);
    g_clear_pointer(&old, g_bytes_unref);
}

void fw_cfg_add_int(FwCfg *f, uint16_t key, uint64_t val, unsigned size)
{
    uint8_t raw[8];
    g_autoptr(GBytes) data = NULL;

    st64_le(raw, val);
    data = g_bytes_new(raw, MIN(size, 8));
    fw_cfg_add_bytes(f, key, data);
}

uint16_t fw_cfg_file_key(const FwCfg *f, const char *name)
{
    for (unsigned i = 0; i < FW_CFG_FILE_SLOTS && f->name[i]; i++) {
        if (!strcmp(f->name[i], name))
            return FW_CFG_FILE_FIRST + i;
    }
    return 0;
}

bool fw_cfg_has_file(const FwCfg *f, const char *name)
{
    return fw_cfg_file_key(f, name) != 0;
}

/* The directory: entries in key order, big endian. */
static void directory_update(FwCfg *f)
{
    g_autoptr(GByteArray) dir = g_byte_array_new();
    g_autoptr(GBytes) data = NULL;
    uint8_t entry[DIR_ENTRY];
    unsigned n = 0;

    while (n < FW_CFG_FILE_SLOTS && f->name[n])
        n++;
    st32_be(entry, n);
    g_byte_array_append(dir, entry, 4);
    for (unsigned i = 0; i < n; i++) {
        memset(entry, 0, sizeof entry);
        st32_be(entry, g_bytes_get_size(f->item[FW_CFG_FILE_FIRST + i]));
        st16_be(entry + 4, FW_CFG_FILE_FIRST + i);
        g_strlcpy((char *)entry + 8, f->name[i], NAME_SIZE);
        g_byte_array_append(dir, entry, sizeof entry);
    }
    data = g_bytes_new(dir->data, dir->len);
    fw_cfg_add_bytes(f, FW_CFG_FILE_DIR, data);
}

bool fw_cfg_add_file(FwCfg *f, const char *name, GBytes *data, GError **err)
{
    uint16_t key = fw_cfg_file_key(f, name);
    unsigned i = 0;

    if (g_bytes_get_size(data) > UINT32_MAX)
        return err_set(err, "fw_cfg file '%s' is larger than 4 GiB", name);
    if (!*name || strlen(name) >= NAME_SIZE)
        return err_set(err, "fw_cfg file name '%s' is empty or longer than %d characters", name, NAME_SIZE - 1);
    if (!key) {
        while (i < FW_CFG_FILE_SLOTS && f->name[i])
            i++;
        if (i == FW_CFG_FILE_SLOTS)
            return err_set(err, "no room for fw_cfg file '%s': there are %d already", name, FW_CFG_FILE_SLOTS);
        f->name[i] = g_strdup(name);
        key = FW_CFG_FILE_FIRST + i;
    }
    fw_cfg_add_bytes(f, key, data);
    directory_update(f);
    return true;
}

static void first_read_free(gpointer p)
{
    FirstRead *r = p;

    g_free(r->name);
    g_free(r);
}

void fw_cfg_on_first_read(FwCfg *f, const char *name, void (*fn)(void *opaque), void *opaque)
{
    FirstRead *r = g_new0(FirstRead, 1);

    r->name = g_strdup(name);
    r->fn = fn;
    r->opaque = opaque;
    g_ptr_array_add(f->first_reads, r);
}

bool fw_cfg_add_user(FwCfg *f, const char *text, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "name", err);
    const char *name, *file, *string;
    g_autofree char *content = NULL;
    g_autoptr(GBytes) data = NULL;
    gsize len = 0;

    if (!l)
        return false;
    name = optlist_str(l, "name", NULL);
    file = optlist_str(l, "file", NULL);
    string = optlist_str(l, "string", NULL);
    if (!optlist_check_unused(l, err))
        return err_prefix(err, "-fw_cfg");
    if (!name)
        return err_set(err, "-fw_cfg '%s': name= is missing", text);
    if (!file == !string)
        return err_set(err, "-fw_cfg '%s': give one of file= and string=", text);
    if (!g_str_has_prefix(name, "opt/"))
        log_warn("-fw_cfg name '%s' does not begin with \"opt/\": it may clash with a name firmware uses", name);
    if (file && !g_file_get_contents(file, &content, &len, err))
        return err_prefix(err, "-fw_cfg");
    data = file ? g_bytes_new(content, len) : g_bytes_new(string, strlen(string));
    return fw_cfg_add_file(f, name, data, err);
}

/* Guest side. */

static void run_first_reads(FwCfg *f, uint16_t key)
{
    for (unsigned i = 0; i < f->first_reads->len; i++) {
        FirstRead *r = g_ptr_array_index(f->first_reads, i);

        if (!r->done && fw_cfg_file_key(f, r->name) == key) {
            r->done = true;
            r->fn(r->opaque);
        }
    }
}

static void select_key(FwCfg *f, uint16_t key)
{
    trace(fw_cfg_select, "key=%#x", key);
    f->selected = key & ~KEY_WRITE;
    f->offset = 0;
    if (f->selected >= FW_CFG_FILE_FIRST && f->selected < KEYS)
        run_first_reads(f, f->selected);
}

/* What is left of the selected item; never NULL with len > 0. */
static const uint8_t *rest(FwCfg *f, uint64_t *len)
{
    GBytes **at = slot(f, f->selected);
    gsize size = 0;
    const uint8_t *data = at && *at ? g_bytes_get_data(*at, &size) : NULL;

    *len = data && f->offset < size ? size - f->offset : 0;
    return *len ? data + f->offset : NULL;
}

static uint8_t read_byte(FwCfg *f)
{
    uint64_t len;
    const uint8_t *p = rest(f, &len);

    if (!len)
        return 0;
    f->offset++;
    return *p;
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    return off == 1 ? read_byte(opaque) : 0;
}

static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    if (off == 0 && size == 2)
        select_key(opaque, val);
}

static const IoOps io_ops = { io_read, io_write, .min = 1, .max = 2, .unaligned = true };

static bool dma_transfer(FwCfg *f, uint32_t control, uint32_t length, uint64_t address)
{
    AddressSpace *as = device_mem(&f->dev);
    uint64_t have, n;
    const uint8_t *p;

    if (control & DMA_SELECT)
        select_key(f, control >> 16);
    p = rest(f, &have);
    n = MIN(have, length);
    if (control & DMA_READ) {
        if (n && !dma_write(as, address, p, n))
            return false;
        if (length > n && !dma_fill(as, address + n, 0, MIN(length - n, MAX_BEYOND_END)))
            return false;
        f->offset += n;
        return length - n <= MAX_BEYOND_END;
    }
    if (control & DMA_WRITE) {
        log_guest("fw_cfg: write to read-only item %#x\n", f->selected);
        return false;
    }
    if (control & DMA_SKIP)
        f->offset += n;
    return true;
}

/* The request block: control, length, address, big endian; control is written back. */
static void dma_request(FwCfg *f)
{
    AddressSpace *as = device_mem(&f->dev);
    uint8_t raw[16], status[4];
    uint64_t addr = f->dma_addr;
    bool ok;

    f->dma_addr = 0;
    if (!dma_read(as, addr, raw, sizeof raw)) {
        log_guest("fw_cfg: request block at %#llx is not in RAM\n", (unsigned long long)addr);
        st32_be(status, DMA_ERROR);
        dma_write(as, addr, status, sizeof status);
        return;
    }
    ok = dma_transfer(f, ld32_be(raw), ld32_be(raw + 4), ld64_be(raw + 8));
    st32_be(status, ok ? 0 : DMA_ERROR);
    dma_write(as, addr, status, sizeof status);
}

static uint64_t dma_io_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t sig = DMA_SIGNATURE >> (8 - off - size) * 8;

    switch (size) {             /* big endian */
    case 1: return sig & 0xff;
    case 2: return __builtin_bswap16(sig);
    case 4: return __builtin_bswap32(sig);
    }
    return __builtin_bswap64(sig);
}

static void dma_io_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    FwCfg *f = opaque;

    if (size == 4 && off == 0) {
        f->dma_addr = (uint64_t)__builtin_bswap32(val) << 32;
    } else if (size == 4 && off == 4) {
        f->dma_addr |= __builtin_bswap32(val);
        dma_request(f);
    } else if (size == 8 && off == 0) {
        f->dma_addr = __builtin_bswap64(val);
        dma_request(f);
    }
}

static const IoOps dma_ops = { dma_io_read, dma_io_write, .min = 1, .max = 8 };

static void fw_cfg_reset(Device *dev)
{
    FwCfg *f = (FwCfg *)dev;

    f->selected = 0;
    f->offset = 0;
    f->dma_addr = 0;
    for (unsigned i = 0; i < f->first_reads->len; i++)
        ((FirstRead *)g_ptr_array_index(f->first_reads, i))->done = false;
}

static bool fw_cfg_realize(Device *dev, GError **err)
{
    FwCfg *f = (FwCfg *)dev;
    g_autoptr(GBytes) sig = g_bytes_new_static("QEMU", 4);

    f->first_reads = g_ptr_array_new_with_free_func(first_read_free);
    fw_cfg_add_bytes(f, FW_CFG_SIGNATURE, sig);
    fw_cfg_add_int(f, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, 4);
    directory_update(f);
    device_init_io(dev, &f->io, "fw_cfg", &io_ops, 2);
    device_init_io(dev, &f->dma_io, "fw_cfg-dma", &dma_ops, 8);
    device_map_pio(dev, &f->io, PORT_SELECT);
    device_map_pio(dev, &f->dma_io, PORT_DMA);
    board_get(dev->machine)->fw_cfg = f;
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *f = (FwCfg *)dev;

    for (unsigned i = 0; i < KEYS; i++)
        g_clear_pointer(&f->item[i], g_bytes_unref);
    for (unsigned i = 0; i < ARCH_KEYS; i++)
        g_clear_pointer(&f->arch[i], g_bytes_unref);
    for (unsigned i = 0; i < FW_CFG_FILE_SLOTS; i++)
        g_clear_pointer(&f->name[i], g_free);
    g_clear_pointer(&f->first_reads, g_ptr_array_unref);
    if (dev->machine->board)
        dev->machine->board->fw_cfg = NULL;
}

const DeviceClass fw_cfg_class = {
    .name = "fw_cfg", .desc = "firmware configuration", .category = DEVCAT_MISC, .bus = BUS_SYSTEM,
    .size = sizeof(FwCfg), .internal = true, .no_hotplug = true,
    .realize = fw_cfg_realize, .unrealize = fw_cfg_unrealize, .reset = fw_cfg_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1,
        .fields = (const StateField[]) {
            STATE_U16(FwCfg, selected), STATE_U32(FwCfg, offset), STATE_U64(FwCfg, dma_addr), STATE_END } },
};
