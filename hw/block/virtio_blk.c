/*
 * virtio_blk: the virtio block device, virtio 1.2 section 5.2.
 *
 * Requests go straight from guest memory to the block layer. Reset cancels and waits, so no
 * completion finds a ring that is gone.
 */
#include "hw/block/conf.h"
#include "hw/core/iothread.h"
#include "hw/virtio/virtio_pci.h"

#include <string.h>

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13,
       S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, HEADER = 16, ID_LEN = 20, RANGE_LEN = 16, RANGE_UNMAP = 1,
       SECTOR = 512, SEG_MAX = 126, DISCARD_SECTORS_MAX = 4 * 1024 * 1024, RANGES_MAX = 64 };
#define F_SEG_MAX (1ULL << 2)
#define F_GEOMETRY (1ULL << 4)
#define F_RO (1ULL << 5)
#define F_BLK_SIZE (1ULL << 6)
#define F_FLUSH (1ULL << 9)
#define F_TOPOLOGY (1ULL << 10)
#define F_CONFIG_WCE (1ULL << 11)
#define F_MQ (1ULL << 12)
#define F_DISCARD (1ULL << 13)
#define F_WRITE_ZEROES (1ULL << 14)

typedef struct VirtioBlk {
    VirtioPci vp;
    BlockDev *drive;            /* properties */
    char *serial;
    uint32_t num_queues, queue_size, logical_block_size, physical_block_size;
    bool discard, write_zeroes, config_wce, scsi;
    BlockConf conf;
    IoThread *iothread;
    bool wce;                   /* state */
} VirtioBlk;

typedef struct BlkReq {
    VirtioBlk *s;
    VirtQueue *vq;
    VirtElem *e;
    uint32_t type;
    uint64_t sector;
    unsigned range, ranges;     /* DISCARD, WRITE_ZEROES: next and count */
} BlkReq;

static VirtioBlk *blk_of(VirtioDevice *v)
{
    return container_of(virtio_pci_of(v), VirtioBlk, vp);
}

/* The last writable byte is the status; what precedes it is the data. */
static void finish(BlkReq *r, uint8_t status, uint32_t written)
{
    VirtElem *e = r->e;
    VirtQueue *vq = r->vq;

    iov_from_buf(e->in, e->in_n, e->in_len - 1, &status, 1);
    virtq_push(vq, e, r->type == T_IN || r->type == T_GET_ID ? written + 1 : e->in_len);
    virtq_notify(vq);
    g_free(r);
}

static void rw_done(void *opaque, int ret)
{
    BlkReq *r = opaque;

    finish(r, ret < 0 ? S_IOERR : S_OK, r->e->in_len - 1);
}

/* Up to n data bytes of a scatter list after `skip`, as a list of its own. */
static unsigned cut(const struct iovec *iov, unsigned n, size_t skip, size_t bytes, struct iovec *out)
{
    unsigned k = 0;

    for (unsigned i = 0; i < n && bytes; i++) {
        size_t len;

        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        len = MIN(iov[i].iov_len - skip, bytes);
        out[k++] = (struct iovec) { (uint8_t *)iov[i].iov_base + skip, len };
        bytes -= len;
        skip = 0;
    }
    return k;
}

static void submit_rw(BlkReq *r)
{
    VirtioBlk *s = r->s;
    VirtElem *e = r->e;
    bool read = r->type == T_IN;
    size_t bytes = read ? e->in_len - 1 : e->out_len - HEADER;
    unsigned n = read ? e->in_n : e->out_n;
    g_autofree struct iovec *iov = g_new(struct iovec, n);
    uint64_t off, sectors = block_dev_size(s->drive) / SECTOR;

    n = read ? cut(e->in, n, 0, bytes, iov) : cut(e->out, n, HEADER, bytes, iov);
    if (bytes % s->logical_block_size || !range_ok(r->sector, bytes / SECTOR, sectors) ||
        r->sector % (s->logical_block_size / SECTOR)) {
        finish(r, S_IOERR, 0);
        return;
    }
    if (!bytes) {
        finish(r, S_OK, 0);
        return;
    }
    off = r->sector * SECTOR;
    if (read)
        block_dev_readv(s->drive, off, iov, n, rw_done, r);
    else
        block_dev_writev(s->drive, off, iov, n, 0, rw_done, r);
}

static void next_range(void *opaque, int ret)
{
    BlkReq *r = opaque;
    VirtioBlk *s = r->s;
    uint8_t b[RANGE_LEN];
    uint64_t sector;
    uint32_t n, flags;

    if (ret < 0 || r->range == r->ranges) {
        finish(r, ret < 0 ? S_IOERR : S_OK, 0);
        return;
    }
    iov_to_buf(r->e->out, r->e->out_n, HEADER + RANGE_LEN * r->range++, b, sizeof b);
    sector = ld64_le(b);
    n = ld32_le(b + 8);
    flags = ld32_le(b + 12);
    if ((flags & ~RANGE_UNMAP) || (r->type == T_DISCARD && flags)) {
        finish(r, S_UNSUPP, 0);
    } else if (n > DISCARD_SECTORS_MAX || !range_ok(sector, n, block_dev_size(s->drive) / SECTOR)) {
        finish(r, S_IOERR, 0);
    } else if (r->type == T_DISCARD) {
        block_dev_discard(s->drive, sector * SECTOR, (uint64_t)n * SECTOR, next_range, r);
    } else {
        block_dev_write_zeroes(s->drive, sector * SECTOR, (uint64_t)n * SECTOR,
                               flags & RANGE_UNMAP ? BLOCK_REQ_UNMAP : 0, next_range, r);
    }
}

static void submit_ranges(BlkReq *r)
{
    size_t bytes = r->e->out_len - HEADER;

    r->ranges = bytes / RANGE_LEN;
    if (!r->ranges || bytes % RANGE_LEN || r->ranges > RANGES_MAX)
        finish(r, r->ranges > RANGES_MAX ? S_UNSUPP : S_IOERR, 0);
    else if (block_dev_read_only(r->s->drive))
        finish(r, S_IOERR, 0);
    else
        next_range(r, 0);
}

static void get_id(BlkReq *r)
{
    char id[ID_LEN] = { 0 };
    size_t room = MIN(r->e->in_len - 1, (size_t)ID_LEN);

    memcpy(id, r->s->serial, MIN(strlen(r->s->serial), sizeof id));
    iov_from_buf(r->e->in, r->e->in_n, 0, id, room);
    finish(r, S_OK, room);
}

static bool supports(VirtioBlk *s, uint32_t type)
{
    return type == T_DISCARD ? virtio_has(&s->vp.v, F_DISCARD) : virtio_has(&s->vp.v, F_WRITE_ZEROES);
}

static void start(VirtioBlk *s, VirtQueue *vq, VirtElem *e)
{
    uint8_t h[HEADER];
    BlkReq *r;

    if (e->out_len < HEADER || !e->in_len) {
        virtio_error(&s->vp.v, "request without header or status byte");
        virtq_detach(vq, e);
        return;
    }
    iov_to_buf(e->out, e->out_n, 0, h, sizeof h);
    r = g_new0(BlkReq, 1);
    *r = (BlkReq) { .s = s, .vq = vq, .e = e, .type = ld32_le(h), .sector = ld64_le(h + 8) };
    switch (r->type) {
    case T_IN: submit_rw(r); break;
    case T_OUT:
        if (block_dev_read_only(s->drive))
            finish(r, S_IOERR, 0);
        else
            submit_rw(r);
        break;
    case T_FLUSH: block_dev_flush(s->drive, rw_done, r); break;
    case T_GET_ID: get_id(r); break;
    case T_DISCARD: case T_WRITE_ZEROES:
        if (supports(s, r->type))
            submit_ranges(r);
        else
            finish(r, S_UNSUPP, 0);
        break;
    default: finish(r, S_UNSUPP, 0);
    }
}

static void kick(VirtioDevice *v, VirtQueue *vq)
{
    VirtioBlk *s = blk_of(v);
    unsigned budget = 2 * VIRTQ_MAX_SIZE;

    do {
        VirtElem *e;

        virtq_set_notification(vq, false);
        while (budget && (e = virtq_pop(vq))) {
            budget--;
            start(s, vq, e);
        }
        virtq_set_notification(vq, true);
    } while (budget && !virtq_empty(vq));
}

static void get_config(VirtioDevice *v, uint8_t *c)
{
    VirtioBlk *s = blk_of(v);
    uint64_t sectors = block_dev_size(s->drive) / SECTOR;
    unsigned exp = 0;

    st64_le(c, sectors);
    st32_le(c + 12, SEG_MAX);
    st16_le(c + 16, MIN(sectors / (16 * 63), 65535));
    c[18] = 16;
    c[19] = 63;
    st32_le(c + 20, s->logical_block_size);
    while ((s->logical_block_size << exp) < s->physical_block_size && exp < 15)
        exp++;
    c[24] = exp;
    st16_le(c + 26, MAX(s->conf.min_io_size / s->logical_block_size, 1u));
    st32_le(c + 28, s->conf.opt_io_size / s->logical_block_size);
    c[32] = s->wce;
    st16_le(c + 34, v->nqueues);
    st32_le(c + 36, DISCARD_SECTORS_MAX);
    st32_le(c + 40, RANGES_MAX);
    st32_le(c + 44, block_conf_granularity(&s->conf, s->logical_block_size) * (s->logical_block_size / SECTOR));
    st32_le(c + 48, DISCARD_SECTORS_MAX);
    st32_le(c + 52, RANGES_MAX);
    c[56] = 1;
}

static void set_wce(VirtioBlk *s, bool on)
{
    s->wce = on;
    block_dev_set_wce(s->drive, on);
}

static void set_config(VirtioDevice *v, const uint8_t *c)
{
    VirtioBlk *s = blk_of(v);

    if (virtio_has(v, F_CONFIG_WCE) && c[32] != s->wce)
        set_wce(s, c[32]);
}

static uint64_t adjust_features(VirtioDevice *v, uint64_t f)
{
    VirtioBlk *s = blk_of(v);

    f |= F_SEG_MAX | F_GEOMETRY | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY;
    if (block_dev_read_only(s->drive))
        f |= F_RO;
    if (s->config_wce)
        f |= F_CONFIG_WCE;
    if (v->nqueues > 1)
        f |= F_MQ;
    if (s->discard && block_conf_discard(&s->conf, s->drive))
        f |= F_DISCARD;
    if (s->write_zeroes)
        f |= F_WRITE_ZEROES;
    return f;
}

/* 5.2.6.2: a driver that took neither FLUSH nor CONFIG_WCE gets write-through. */
static void features_set(VirtioDevice *v)
{
    VirtioBlk *s = blk_of(v);

    if (!virtio_has(v, F_FLUSH) && !virtio_has(v, F_CONFIG_WCE))
        set_wce(s, false);
}

static void vdev_reset(VirtioDevice *v)
{
    VirtioBlk *s = blk_of(v);

    if (block_dev_in_flight(s->drive))
        block_dev_cancel_all(s->drive);
    set_wce(s, s->conf.wce);
}

static void start_replay(VirtioDevice *v, VirtQueue *vq, VirtElem *e) { start(blk_of(v), vq, e); }
static void settle(VirtioDevice *v) { block_dev_drain(blk_of(v)->drive); }

static const VirtioClass blk_vclass = {
    .id = 2, .pci_class = 0x010000, .config_size = 60, .get_config = get_config, .set_config = set_config,
    .adjust_features = adjust_features, .features_set = features_set, .reset = vdev_reset, .settle = settle,
    .replay = start_replay,
};

static void media_resized(void *opaque)
{
    virtio_config_changed(&((VirtioBlk *)opaque)->vp.v);
}

static const BlockDevOps drive_ops = { .resized = media_resized };

static bool check_props(VirtioBlk *s, GError **err)
{
    const char *name = s->vp.pci.dev.cls->name;
    uint32_t l = s->logical_block_size, p = s->physical_block_size;

    if (!s->drive)
        return err_set(err, "%s: which disk? Add drive=ID of a -drive or -blockdev", name);
    if (!block_dev_has_medium(s->drive))
        return err_set(err, "%s: drive '%s' is empty; virtio disks need an image", name, block_dev_name(s->drive));
    if (l < SECTOR || l > 32768 || (l & (l - 1)) || p < l || p > 2 * MiB || (p & (p - 1)))
        return err_set(err, "%s: block sizes must be powers of two, 512 to 32768 (logical) and not below it (physical)",
                       name);
    if (!s->num_queues || s->num_queues > 16)
        return err_set(err, "%s: num-queues=%u: 1 to 16", name, s->num_queues);
    if (s->queue_size < 4 || s->queue_size > VIRTQ_MAX_SIZE || (s->queue_size & (s->queue_size - 1)))
        return err_set(err, "%s: queue-size=%u: a power of two from 4 to %d", name, s->queue_size, VIRTQ_MAX_SIZE);
    return true;
}

static void enter(void *opaque) { iothread_enter(opaque); }
static void leave(void *opaque) { iothread_leave(opaque); }

static void start_iothread(VirtioBlk *s)
{
    BlockContext c = { .enter = enter, .leave = leave, .opaque = s->iothread };

    if (!s->iothread)
        return;
    c.context = iothread_context(s->iothread);
    block_dev_set_context(s->drive, &c);
    virtio_use_iothread(&s->vp.v, s->iothread);
}

static void stop_iothread(VirtioBlk *s)
{
    block_dev_set_context(s->drive, NULL);
    virtio_drop_iothread(&s->vp.v);
}

static bool blk_realize(Device *dev, GError **err)
{
    VirtioBlk *s = container_of(dev, VirtioBlk, vp.pci.dev);

    if (s->scsi)            /* management programs switch it off by name */
        return err_set(err, "scsi=on is not offered: virtio-blk passes no SCSI commands to the drive; use virtio-scsi-pci and scsi-hd");
    if (!check_props(s, err) || !block_conf_attach(&s->conf, s->drive, &drive_ops, s, dev, err))
        return false;
    if (!s->serial)
        s->serial = g_strdup("");
    virtio_init(&s->vp.v, dev, &blk_vclass);
    for (unsigned i = 0; i < s->num_queues; i++)
        virtio_add_queue(&s->vp.v, s->queue_size, kick);
    start_iothread(s);
    if (!virtio_pci_realize(&s->vp, err)) {
        stop_iothread(s);
        block_dev_detach(s->drive);
        return false;
    }
    return true;
}

static void blk_unrealize(Device *dev)
{
    VirtioBlk *s = container_of(dev, VirtioBlk, vp.pci.dev);

    block_dev_cancel_all(s->drive);
    virtio_pci_unrealize(&s->vp);
    stop_iothread(s);
    block_dev_detach(s->drive);
}

static void blk_reset(Device *dev)
{
    virtio_pci_reset(&container_of(dev, VirtioBlk, vp.pci.dev)->vp);
}

static bool blk_loaded(void *opaque, GError **err)
{
    VirtioBlk *s = opaque;

    set_wce(s, s->wce);
    return true;
}

static const char *const blk_aliases[] = { "virtio-blk", "virtio-blk-pci-transitional", NULL };
static const PciClass blk_pci = { .vendor = 0x1af4, .device = 0x1001, .class_code = 0x010000, .intx = true };

#define NAMED(text, field, k, d, h) { .name = text, .kind = k, .offset = offsetof(VirtioBlk, field), \
        .size = sizeof(((VirtioBlk *)0)->field), .def = d, .help = h }

const DeviceClass virtio_blk_pci_class = {
    .name = "virtio-blk-pci", .aliases = blk_aliases, .desc = "virtio block device", .category = DEVCAT_STORAGE,
    .bus = BUS_PCI, .size = sizeof(VirtioBlk), .realize = blk_realize, .unrealize = blk_unrealize, .reset = blk_reset,
    .props = (const PropDesc[]) {
        VIRTIO_PCI_PROPS(VirtioBlk),
        PROP_BACKEND(VirtioBlk, drive, "drive", "the -drive or -blockdev behind it"),
        PROP_BACKEND(VirtioBlk, iothread, "iothread", "the -object iothread that runs the requests"),
        PROP_STRING(VirtioBlk, serial, "serial number, up to 20 characters"),
        NAMED("num-queues", num_queues, PROP_UINT_, 1, "request queues, 1 to 16"),
        NAMED("queue-size", queue_size, PROP_UINT_, 256, "entries of a queue"),
        PROP_U32(VirtioBlk, logical_block_size, 512, "bytes"),
        PROP_U32(VirtioBlk, physical_block_size, 512, "bytes"),
        BLOCK_CONF_PROPS(VirtioBlk),
        PROP_BOOL(VirtioBlk, discard, 1, "offer discard when the image can"),
        NAMED("write-zeroes", write_zeroes, PROP_BOOL_, 1, "offer write-zeroes"),
        PROP_BOOL(VirtioBlk, scsi, 0, "SCSI commands of the guest reach the drive: only off is offered"),
        NAMED("config-wce", config_wce, PROP_BOOL_, 1, "the guest may switch the write cache"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = blk_loaded,
        .fields = (const StateField[]) {
            STATE_VIRTIO_PCI(VirtioBlk, vp), STATE_B(VirtioBlk, wce), STATE_END } },
    .bus_class = &blk_pci,
};
