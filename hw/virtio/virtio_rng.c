/*
 * virtio_rng: the virtio entropy device, virtio 1.2 section 5.4.
 *
 * Bytes come from the host's getrandom(), or from the file of -object rng-random,filename=. With
 * max-bytes and period the guest gets no more than that; its buffers then wait.
 */
#include "hw/virtio/virtio_pci.h"
#include "util/optlist.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { CHUNK = 4096, PASS_MAX = 64 * 1024 };

typedef struct VirtioRng {
    VirtioPci vp;
    OptList *rng;               /* properties */
    uint64_t max_bytes;
    uint32_t period;
    int fd;                     /* of the object's file; -1: getrandom */
    Timer refill;
    int64_t quota;              /* state: bytes left in this period */
} VirtioRng;

static VirtioRng *rng_of(VirtioDevice *v)
{
    return container_of(virtio_pci_of(v), VirtioRng, vp);
}

static size_t get_bytes(VirtioRng *s, uint8_t *buf, size_t len)
{
    ssize_t n = s->fd >= 0 ? read(s->fd, buf, len) : getrandom(buf, len, 0);

    return n > 0 ? n : 0;
}

static uint32_t fill(VirtioRng *s, VirtElem *e)
{
    size_t want = MIN(e->in_len, (size_t)PASS_MAX), done = 0;

    want = MIN((uint64_t)want, (uint64_t)s->quota);
    while (done < want) {
        uint8_t buf[CHUNK];
        size_t n = get_bytes(s, buf, MIN(want - done, sizeof buf));

        if (!n)
            break;
        iov_from_buf(e->in, e->in_n, done, buf, n);
        done += n;
    }
    s->quota -= done;
    return done;
}

static void serve(VirtioRng *s)
{
    VirtQueue *vq = &s->vp.v.queues[0];
    unsigned budget = VIRTQ_MAX_SIZE;
    VirtElem *e;

    while (budget-- && s->quota > 0 && (e = virtq_pop(vq))) {
        uint32_t n = e->in_len ? fill(s, e) : 0;

        virtq_push(vq, e, n);
        virtq_notify(vq);
    }
    if (s->quota <= 0 && !timer_active(&s->refill))
        timer_set(&s->refill, device_now(s->vp.v.dev) + s->period * NS_PER_MS);
}

static void kick(VirtioDevice *v, VirtQueue *vq)
{
    serve(rng_of(v));
}

static void period_over(void *opaque)
{
    VirtioRng *s = opaque;

    s->quota = MIN(s->max_bytes, (uint64_t)INT64_MAX);
    if (virtio_ready(&s->vp.v))
        serve(s);
}

static void get_config(VirtioDevice *v, uint8_t *config)
{
}

static void vdev_reset(VirtioDevice *v)
{
    VirtioRng *s = rng_of(v);

    timer_del(&s->refill);
    s->quota = MIN(s->max_bytes, (uint64_t)INT64_MAX);
}

static const VirtioClass rng_vclass = { .id = 4, .pci_class = 0x00ff00, .get_config = get_config, .reset = vdev_reset };

static bool rng_realize(Device *dev, GError **err)
{
    VirtioRng *s = container_of(dev, VirtioRng, vp.pci.dev);
    const char *file = s->rng ? optlist_str(s->rng, "filename", NULL) : NULL;

    s->fd = -1;
    if (!s->max_bytes || !s->period)
        return err_set(err, "%s: max-bytes and period must not be 0", dev->cls->name);
    if (file && !g_str_equal(file, "/dev/urandom") && !g_str_equal(file, "/dev/random")) {
        s->fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (s->fd < 0)
            return err_set_errno(err, errno, "%s: entropy file %s", dev->cls->name, file);
    }
    device_timer_init(dev, &s->refill, period_over);
    virtio_init(&s->vp.v, dev, &rng_vclass);
    virtio_add_queue(&s->vp.v, 8, kick);
    if (virtio_pci_realize(&s->vp, err))
        return true;
    if (s->fd >= 0)
        close(s->fd);
    return false;
}

static void rng_unrealize(Device *dev)
{
    VirtioRng *s = container_of(dev, VirtioRng, vp.pci.dev);

    timer_del(&s->refill);
    virtio_pci_unrealize(&s->vp);
    if (s->fd >= 0)
        close(s->fd);
}

static void rng_reset(Device *dev)
{
    virtio_pci_reset(&container_of(dev, VirtioRng, vp.pci.dev)->vp);
}

static bool rng_loaded(void *opaque, GError **err)
{
    VirtioRng *s = opaque;

    if (s->quota < 0 || (uint64_t)s->quota > s->max_bytes)
        return err_set(err, "virtio-rng: impossible quota");
    if (!s->quota)
        timer_set(&s->refill, device_now(s->vp.v.dev) + s->period * NS_PER_MS);
    return true;
}

static const char *const rng_aliases[] = { "virtio-rng", "virtio-rng-pci-transitional", NULL };
static const PciClass rng_pci = { .vendor = 0x1af4, .device = 0x1005, .class_code = 0x00ff00, .intx = true };

const DeviceClass virtio_rng_pci_class = {
    .name = "virtio-rng-pci", .aliases = rng_aliases, .desc = "virtio entropy source", .category = DEVCAT_MISC,
    .bus = BUS_PCI, .size = sizeof(VirtioRng), .realize = rng_realize, .unrealize = rng_unrealize, .reset = rng_reset,
    .props = (const PropDesc[]) {
        VIRTIO_PCI_PROPS(VirtioRng),
        PROP_BACKEND(VirtioRng, rng, "rng", "an -object rng-random or rng-builtin; default: the host's generator"),
        { .name = "max-bytes", .kind = PROP_UINT_, .offset = offsetof(VirtioRng, max_bytes), .size = 8, .def = INT64_MAX,
          .help = "bytes in each period" },
        PROP_U32(VirtioRng, period, 65536, "milliseconds"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = rng_loaded,
        .fields = (const StateField[]) { STATE_VIRTIO_PCI(VirtioRng, vp), STATE_I64(VirtioRng, quota), STATE_END } },
    .bus_class = &rng_pci,
};
