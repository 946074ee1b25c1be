/*
 * virtio_scsi: the virtio SCSI host adapter, virtio 1.2 section 5.6.
 *
 * Queue 0 controls, 1 reports events, 2 and up carry requests. Task management cancels at the
 * block layer; hot-plug and capacity changes are events.
 *
 * With an I/O thread, requests to fixed disks run there. What may need the machine lock (media that come and go, resets,
 * events) waits in `later` for the core to call back with both locks.
 */
#include "hw/core/iothread.h"
#include "hw/scsi/scsi.h"
#include "hw/virtio/virtio_pci.h"

#include <string.h>

#define F_INOUT (1ULL << 0)
#define F_HOTPLUG (1ULL << 1)
#define F_CHANGE (1ULL << 2)
enum { Q_CTRL, Q_EVENT, Q_REQUEST, CDB_DEFAULT = 32, SENSE_DEFAULT = 96, MAX_QUEUES = 8, SEG_MAX = 126, MAX_SECTORS = 65535,
       REQ_HEAD = 19, RESP_HEAD = 12, TMF_LEN = 24, AN_LEN = 20, EVENT_LEN = 16 };
enum { S_OK = 0, S_BAD_TARGET = 3, S_BUSY = 5, S_FAILURE = 9, S_INCORRECT_LUN = 12, TMF_COMPLETE = 0,
       TMF_LOGICAL_UNIT_RESET = 5, TMF_I_T_NEXUS_RESET = 6, TMF_ABORT_TASK = 0, EV_TRANSPORT_RESET = 1, EV_MISSED = 0x80000000u };

typedef struct VirtioScsi {
    VirtioPci vp;
    ScsiBus bus;
    uint32_t num_queues, virtqueue_size, max_sectors, cmd_per_lun;      /* properties */
    bool hotplug, param_change;
    IoThread *iothread;
    BlockContext context;
    uint32_t cdb_size, sense_size;      /* state */
    bool events_missed;
    unsigned in_flight;                 /* cache */
    GQueue later;                       /* of Later *; the I/O thread's lock */
    bool ctrl_later, event_later;
} VirtioScsi;

typedef struct Later { VirtQueue *vq; VirtElem *e; } Later;

typedef struct ScsiElem {
    ScsiReq req;                /* first */
    VirtioScsi *s;
    VirtQueue *vq;
    VirtElem *e;
    struct iovec *iov;
    bool to_guest;
} ScsiElem;

static VirtioScsi *scsi_of(VirtioDevice *v)
{
    return container_of(virtio_pci_of(v), VirtioScsi, vp);
}

/* 5.6.6.1: byte 0 is 1, byte 1 the target, then a single-level LUN. */
static bool parse_lun(const uint8_t *l, unsigned *target, unsigned *lun)
{
    *target = l[1];
    *lun = ld16_be(l + 2) & 0x3fff;
    return l[0] == 1;
}

static void respond(ScsiElem *se, uint8_t response)
{
    VirtioScsi *s = se->s;
    ScsiReq *r = &se->req;
    VirtElem *e = se->e;
    g_autofree uint8_t *resp = g_malloc0(RESP_HEAD + s->sense_size);
    size_t room = se->to_guest ? r->moved : 0;

    virtio_enter(&s->vp.v);
    if (r->status == SCSI_CHECK_CONDITION && response == S_OK) {
        unsigned n = MIN(s->sense_size, (uint32_t)SCSI_SENSE_LEN);

        st32_le(resp, n);
        memcpy(resp + RESP_HEAD, r->sense, n);
    }
    st32_le(resp + 4, r->data_len - MIN(r->moved, r->data_len));
    resp[10] = r->status;
    resp[11] = response;
    iov_from_buf(e->in, e->in_n, 0, resp, RESP_HEAD + s->sense_size);
    virtq_push(se->vq, e, RESP_HEAD + s->sense_size + room);
    virtq_notify(se->vq);
    s->in_flight--;
    virtio_leave(&s->vp.v);
    g_free(se->iov);
    g_free(se);
}

static void req_done(ScsiReq *r)
{
    respond((ScsiElem *)r, S_OK);
}

/* The data part of a request: what follows the headers, in one direction. */
static void find_data(ScsiElem *se, size_t out_skip, size_t in_skip)
{
    VirtElem *e = se->e;
    bool in = e->in_len > in_skip;
    const struct iovec *from = in ? e->in : e->out;
    unsigned n = in ? e->in_n : e->out_n, k = 0;
    size_t skip = in ? in_skip : out_skip;

    se->to_guest = in;
    se->iov = g_new0(struct iovec, n + 1);
    for (unsigned i = 0; i < n; i++) {
        if (skip >= from[i].iov_len) {
            skip -= from[i].iov_len;
            continue;
        }
        se->iov[k++] = (struct iovec) { (uint8_t *)from[i].iov_base + skip, from[i].iov_len - skip };
        skip = 0;
    }
    se->req.data = se->iov;
    se->req.ndata = k;
    se->req.data_len = iov_len(se->iov, k);
}

static bool target_exists(const VirtioScsi *s, unsigned target)
{
    const ScsiDisk *d = s->bus.live;

    while (d && d->target != target)
        d = d->next_live;
    return d != NULL;
}

static void put_off(VirtioScsi *s, VirtQueue *vq, VirtElem *e)
{
    Later *l = g_new(Later, 1);

    *l = (Later) { vq, e };
    g_queue_push_tail(&s->later, l);
    virtio_defer(&s->vp.v);
}

static void start(VirtioScsi *s, VirtQueue *vq, VirtElem *e)
{
    uint8_t head[REQ_HEAD + SCSI_CDB_MAX] = { 0 };
    unsigned target, lun;
    ScsiDisk *d;
    ScsiElem *se;

    if (e->out_len < REQ_HEAD + s->cdb_size || e->in_len < RESP_HEAD + s->sense_size) {
        virtio_error(&s->vp.v, "SCSI request without room for its headers");
        virtq_detach(vq, e);
        return;
    }
    iov_to_buf(e->out, e->out_n, 0, head, REQ_HEAD + MIN(s->cdb_size, (uint32_t)SCSI_CDB_MAX));
    bool valid = parse_lun(head, &target, &lun);
    d = valid ? scsi_find(&s->bus, target, lun) : NULL;
    if (d && !scsi_is_fixed(d) && virtio_on_iothread(&s->vp.v)) {
        put_off(s, vq, e);
        return;
    }
    se = g_new0(ScsiElem, 1);
    se->s = s;
    se->vq = vq;
    se->e = e;
    se->req.done = req_done;
    se->req.cdb_len = scsi_cdb_len(head[REQ_HEAD]);
    memcpy(se->req.cdb, head + REQ_HEAD, SCSI_CDB_MAX);
    find_data(se, REQ_HEAD + s->cdb_size, RESP_HEAD + s->sense_size);
    s->in_flight++;
    se->req.disk = d;
    if (!valid)
        respond(se, S_FAILURE);
    else if (d)
        scsi_submit(&se->req);
    else if (target_exists(s, target))
        scsi_submit_absent(&s->bus, target, &se->req);
    else
        respond(se, S_BAD_TARGET);
}

static void request_kick(VirtioDevice *v, VirtQueue *vq)
{
    unsigned budget = 2 * VIRTQ_MAX_SIZE;
    VirtElem *e;

    do {
        virtq_set_notification(vq, false);
        while (budget && (e = virtq_pop(vq))) {
            budget--;
            start(scsi_of(v), vq, e);
        }
        virtq_set_notification(vq, true);
    } while (budget && !virtq_empty(vq));
}

/* Task management: resets and aborts wait for what is in flight; queries find nothing. */
static uint8_t task_management(VirtioScsi *s, const uint8_t *req)
{
    uint32_t subtype = ld32_le(req + 4);
    unsigned target, lun;
    ScsiDisk *d;

    if (!parse_lun(req + 8, &target, &lun))
        return S_FAILURE;
    for (d = s->bus.live; subtype == TMF_I_T_NEXUS_RESET && d; d = d->next_live)
        if (d->target == target)
            device_reset(&d->dev);
    if (subtype == TMF_I_T_NEXUS_RESET)
        return TMF_COMPLETE;
    d = scsi_find(&s->bus, target, lun);
    if (!d)
        return S_BAD_TARGET;
    if (subtype == TMF_LOGICAL_UNIT_RESET)
        device_reset(&d->dev);
    else if (subtype <= 2)
        scsi_cancel_all(d);
    return TMF_COMPLETE;
}

static void ctrl_kick(VirtioDevice *v, VirtQueue *vq)
{
    VirtioScsi *s = scsi_of(v);
    unsigned budget = VIRTQ_MAX_SIZE;
    VirtElem *e;

    if (virtio_on_iothread(v)) {
        s->ctrl_later = true;
        virtio_defer(v);
        return;
    }
    while (budget-- && (e = virtq_pop(vq))) {
        uint8_t req[TMF_LEN] = { 0 }, resp[5] = { 0 };
        unsigned n = 5;

        iov_to_buf(e->out, e->out_n, 0, req, sizeof req);
        if (ld32_le(req) == 0 && e->out_len >= TMF_LEN) {
            resp[0] = task_management(s, req);
            n = 1;
        } else if (ld32_le(req) > 2 || e->out_len < AN_LEN) {
            virtio_error(v, "unknown control request %u", ld32_le(req));
            virtq_detach(vq, e);
            return;
        }
        n = iov_from_buf(e->in, e->in_n, 0, resp, n);
        virtq_push(vq, e, n);
        virtq_notify(vq);
    }
}

static void send_event(VirtioScsi *s, uint32_t event, uint32_t reason, const ScsiDisk *d)
{
    VirtQueue *vq = &s->vp.v.queues[Q_EVENT];
    VirtElem *e = virtio_ready(&s->vp.v) ? virtq_pop(vq) : NULL;
    uint8_t b[EVENT_LEN] = { 0 };

    if (!e) {
        s->events_missed = true;
        return;
    }
    st32_le(b, event | (s->events_missed ? EV_MISSED : 0));
    s->events_missed = false;
    if (d) {
        b[4] = 1;
        b[5] = d->target;
        st16_be(b + 6, d->lun | (d->lun >= 256 ? 0x4000 : 0));
    }
    st32_le(b + 12, reason);
    virtq_push(vq, e, iov_from_buf(e->in, e->in_n, 0, b, sizeof b));
    virtq_notify(vq);
}

static void event_kick(VirtioDevice *v, VirtQueue *vq)
{
    VirtioScsi *s = scsi_of(v);

    if (!s->events_missed)
        return;
    s->event_later = virtio_on_iothread(v);
    if (s->event_later)
        virtio_defer(v);
    else
        send_event(s, 0, 0, NULL);
}

static void deferred(VirtioDevice *v)
{
    VirtioScsi *s = scsi_of(v);
    Later *l;

    while ((l = g_queue_pop_head(&s->later))) {
        start(s, l->vq, l->e);
        g_free(l);
    }
    if (s->ctrl_later) {
        s->ctrl_later = false;
        ctrl_kick(v, &v->queues[Q_CTRL]);
    }
    if (s->event_later) {
        s->event_later = false;
        event_kick(v, &v->queues[Q_EVENT]);
    }
}

static void settle(VirtioDevice *v)
{
    deferred(v);
    for (ScsiDisk *d = scsi_of(v)->bus.live; d; d = d->next_live)
        block_dev_drain(d->drive);
}

static void bus_changed(ScsiBus *b, ScsiDisk *d, bool added)
{
    enum { RESCAN = 1, REMOVED = 2 };
    VirtioScsi *s = b->opaque;

    virtio_enter(&s->vp.v);
    if (virtio_has(&s->vp.v, F_HOTPLUG))
        send_event(s, EV_TRANSPORT_RESET, added ? RESCAN : REMOVED, d);
    virtio_leave(&s->vp.v);
}

static void get_config(VirtioDevice *v, uint8_t *c)
{
    VirtioScsi *s = scsi_of(v);

    st32_le(c, s->num_queues);
    st32_le(c + 4, SEG_MAX);
    st32_le(c + 8, s->max_sectors);
    st32_le(c + 12, s->cmd_per_lun);
    st32_le(c + 16, EVENT_LEN);
    st32_le(c + 20, s->sense_size);
    st32_le(c + 24, s->cdb_size);
    st16_le(c + 28, 0);
    st16_le(c + 30, SCSI_TARGETS - 1);
    st32_le(c + 32, SCSI_LUNS - 1);
}

static void set_config(VirtioDevice *v, const uint8_t *c)
{
    VirtioScsi *s = scsi_of(v);
    uint32_t sense = ld32_le(c + 20), cdb = ld32_le(c + 24);

    if (sense > 252 || !cdb || cdb > SCSI_CDB_MAX || s->in_flight) {
        virtio_error(v, "impossible sense or CDB size");
        return;
    }
    s->sense_size = sense;
    s->cdb_size = cdb;
}

static uint64_t adjust_features(VirtioDevice *v, uint64_t f)
{
    VirtioScsi *s = scsi_of(v);

    return f | (s->hotplug ? F_HOTPLUG : 0) | (s->param_change ? F_CHANGE : 0);
}

static void vdev_reset(VirtioDevice *v)
{
    VirtioScsi *s = scsi_of(v);

    Later *l;

    for (ScsiDisk *d = s->bus.live; d; d = d->next_live)
        scsi_cancel_all(d);
    while ((l = g_queue_pop_head(&s->later))) {
        virtq_detach(l->vq, l->e);
        g_free(l);
    }
    s->ctrl_later = s->event_later = false;
    s->cdb_size = CDB_DEFAULT;
    s->sense_size = SENSE_DEFAULT;
    s->events_missed = false;
}

/* Control and event requests are answered at once or wait on purpose: only queues from 2 on have something to repeat. */
static void replay(VirtioDevice *v, VirtQueue *vq, VirtElem *e)
{
    if (vq->index >= Q_REQUEST)
        start(scsi_of(v), vq, e);
    else
        virtq_detach(vq, e);
}

static const VirtioClass scsi_vclass = {
    .id = 8, .pci_class = 0x010000, .config_size = 36, .get_config = get_config, .set_config = set_config,
    .adjust_features = adjust_features, .reset = vdev_reset, .settle = settle,
    .deferred = deferred, .replay = replay,
};

static void enter(void *opaque) { iothread_enter(opaque); }
static void leave(void *opaque) { iothread_leave(opaque); }

static void start_iothread(VirtioScsi *s)
{
    if (!s->iothread)
        return;
    s->context = (BlockContext) { iothread_context(s->iothread), enter, leave, s->iothread };
    s->bus.context = &s->context;
    virtio_use_iothread(&s->vp.v, s->iothread);
}

static bool scsi_realize(Device *dev, GError **err)
{
    VirtioScsi *s = container_of(dev, VirtioScsi, vp.pci.dev);
    g_autofree char *name = g_strdup_printf("%s.0", dev->id ? dev->id : "scsi");

    if (!s->num_queues || s->num_queues > MAX_QUEUES)
        return err_set(err, "%s: num_queues=%u: 1 to %d", dev->cls->name, s->num_queues, MAX_QUEUES);
    if (s->virtqueue_size < 4 || s->virtqueue_size > VIRTQ_MAX_SIZE || (s->virtqueue_size & (s->virtqueue_size - 1)))
        return err_set(err, "%s: virtqueue_size=%u: a power of two from 4 to %d", dev->cls->name, s->virtqueue_size,
                       VIRTQ_MAX_SIZE);
    s->cdb_size = CDB_DEFAULT;
    s->sense_size = SENSE_DEFAULT;
    virtio_init(&s->vp.v, dev, &scsi_vclass);
    virtio_add_queue(&s->vp.v, s->virtqueue_size, ctrl_kick);
    virtio_add_queue(&s->vp.v, s->virtqueue_size, event_kick);
    for (unsigned i = 0; i < s->num_queues; i++)
        virtio_add_queue(&s->vp.v, s->virtqueue_size, request_kick);
    g_queue_init(&s->later);
    start_iothread(s);
    if (!virtio_pci_realize(&s->vp, err)) {
        virtio_drop_iothread(&s->vp.v);
        return false;
    }
    s->bus.max_target = SCSI_TARGETS - 1;
    s->bus.max_lun = SCSI_LUNS - 1;
    s->bus.changed = bus_changed;
    s->bus.opaque = s;
    scsi_bus_init(&s->bus, dev, name);
    return true;
}

static void scsi_unrealize(Device *dev)
{
    VirtioScsi *s = container_of(dev, VirtioScsi, vp.pci.dev);

    virtio_enter(&s->vp.v);
    vdev_reset(&s->vp.v);       /* what waits in later goes, too */
    virtio_leave(&s->vp.v);
    virtio_pci_unrealize(&s->vp);
    virtio_drop_iothread(&s->vp.v);
}

static void scsi_reset(Device *dev)
{
    virtio_pci_reset(&container_of(dev, VirtioScsi, vp.pci.dev)->vp);
}

static bool scsi_loaded(void *opaque, GError **err)
{
    VirtioScsi *s = opaque;

    if (!s->cdb_size || s->cdb_size > SCSI_CDB_MAX || s->sense_size > 252)
        return err_set(err, "virtio-scsi: impossible sense or CDB size");
    return true;
}

static const char *const scsi_aliases[] = { "virtio-scsi", "virtio-scsi-pci-transitional", NULL };
static const PciClass scsi_pci = { .vendor = 0x1af4, .device = 0x1004, .class_code = 0x010000, .intx = true };

const DeviceClass virtio_scsi_pci_class = {
    .name = "virtio-scsi-pci", .aliases = scsi_aliases, .desc = "virtio SCSI host adapter", .category = DEVCAT_STORAGE,
    .bus = BUS_PCI, .size = sizeof(VirtioScsi), .realize = scsi_realize, .unrealize = scsi_unrealize, .reset = scsi_reset,
    .props = (const PropDesc[]) {
        VIRTIO_PCI_PROPS(VirtioScsi),
        PROP_BACKEND(VirtioScsi, iothread, "iothread", "the -object iothread that runs the requests"),
        PROP_U32(VirtioScsi, num_queues, 1, "request queues, 1 to 8"),
        PROP_U32(VirtioScsi, virtqueue_size, 256, "entries of a queue"),
        PROP_U32(VirtioScsi, max_sectors, MAX_SECTORS, "largest transfer told to the driver"),
        PROP_U32(VirtioScsi, cmd_per_lun, 128, "commands for a LUN at a time"),
        PROP_BOOL(VirtioScsi, hotplug, 1, "report added and removed disks"),
        PROP_BOOL(VirtioScsi, param_change, 1, "report changed capacity"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = scsi_loaded,
        .fields = (const StateField[]) {
            STATE_VIRTIO_PCI(VirtioScsi, vp), STATE_U32(VirtioScsi, cdb_size), STATE_U32(VirtioScsi, sense_size),
            STATE_B(VirtioScsi, events_missed), STATE_END } },
    .bus_class = &scsi_pci,
};
