/* simple: the back-ends without a partner: null (swallows) and ringbuf (keeps the last bytes). */
#include "chardev/chardev_int.h"

#include <string.h>

static bool null_open(Chardev *c, OptList *opts, GError **err)
{
    c->open = true;
    return true;
}

static void null_close(Chardev *c)
{
}

static size_t null_write(Chardev *c, const uint8_t *buf, size_t len)
{
    return len;
}

const ChardevClass chardev_null = {
    .name = "null", .desc = "nothing: output vanishes, no input",
    .size = sizeof(Chardev), .open = null_open, .close = null_close, .write = null_write,
};

typedef struct RingChr {
    Chardev chr;
    uint8_t *buf;
    uint64_t size, head, used;          /* size is a power of two; head: oldest byte */
} RingChr;

static bool ring_open(Chardev *c, OptList *opts, GError **err)
{
    RingChr *r = container_of(c, RingChr, chr);

    if (!optlist_size(opts, "size", 65536, &r->size, err))
        return false;
    if (r->size == 0 || r->size > 64 * MiB || (r->size & (r->size - 1)))
        return err_set(err, "size must be a power of two of at most 64M");
    r->buf = g_malloc0(r->size);
    c->open = true;
    return true;
}

static void ring_close(Chardev *c)
{
    g_free(container_of(c, RingChr, chr)->buf);
}

static size_t ring_write(Chardev *c, const uint8_t *buf, size_t len)
{
    RingChr *r = container_of(c, RingChr, chr);

    for (size_t i = 0; i < len; i++) {
        r->buf[(r->head + r->used) & (r->size - 1)] = buf[i];
        if (r->used < r->size)
            r->used++;
        else
            r->head++;                  /* the oldest byte is lost */
    }
    return len;
}

const ChardevClass chardev_ringbuf = {
    .name = "ringbuf", .alias = "memory", .desc = "memory that keeps the last size=64k bytes of output",
    .size = sizeof(RingChr), .open = ring_open, .close = ring_close, .write = ring_write,
};

bool chardev_ringbuf_read(Chardev *chr, GByteArray *out, size_t max, GError **err)
{
    RingChr *r = container_of(chr, RingChr, chr);

    if (chr->cls != &chardev_ringbuf)
        return err_set(err, "character device '%s' is no ringbuf", chr->id);
    for (; max && r->used; max--, r->used--, r->head++)
        g_byte_array_append(out, &r->buf[r->head & (r->size - 1)], 1);
    return true;
}

bool chardev_ringbuf_write(Chardev *chr, const void *buf, size_t len, GError **err)
{
    if (chr->cls != &chardev_ringbuf)
        return err_set(err, "character device '%s' is no ringbuf", chr->id);
    ring_write(chr, buf, len);
    return true;
}
