/* vc: a text console inside the guest's window (or terminal, or VNC screen list). */
#include "chardev/chardev_int.h"

enum { CELL_W = 8, CELL_H = 16, TYPED_MAX = 4096 };

typedef struct VcChr {
    Chardev chr;
    const ChardevConsoleOps *ops;
    void *console;
    GByteArray *typed;          /* not yet taken by the front-end */
} VcChr;

static void vc_deliver(Chardev *c)
{
    VcChr *v = container_of(c, VcChr, chr);
    size_t n;

    /* bounded: each turn removes bytes */
    while (v->typed->len && (n = MIN(chr_be_room(c), v->typed->len)) > 0) {
        g_autofree uint8_t *chunk = g_memdup2(v->typed->data, n);

        g_byte_array_remove_range(v->typed, 0, n);
        chr_be_receive(c, chunk, n);
    }
}

static void vc_typed(void *opaque, const uint8_t *buf, size_t len)
{
    VcChr *v = opaque;

    if (v->typed->len + len <= TYPED_MAX)
        g_byte_array_append(v->typed, buf, len);
    chr_kick(&v->chr);          /* a terminal's answer arises inside a write */
}

static bool vc_open(Chardev *c, OptList *opts, GError **err)
{
    VcChr *v = container_of(c, VcChr, chr);
    uint64_t cols, rows, w, h;
    void *opaque;

    if (!optlist_uint(opts, "cols", 0, 1000, &cols, err) || !optlist_uint(opts, "rows", 0, 1000, &rows, err) ||
        !optlist_uint(opts, "width", 0, 16384, &w, err) || !optlist_uint(opts, "height", 0, 16384, &h, err))
        return false;
    v->ops = chardevs_consoles(c->set, &opaque);
    if (!v->ops)
        return err_set(err, "there is no window to put a text console in");
    v->typed = g_byte_array_new();
    v->console = v->ops->open(opaque, c->id, cols ? cols : w / CELL_W, rows ? rows : h / CELL_H, vc_typed, v);
    c->open = true;
    return true;
}

static void vc_close(Chardev *c)
{
    VcChr *v = container_of(c, VcChr, chr);

    v->ops->close(v->console);
    g_byte_array_unref(v->typed);
}

static size_t vc_write(Chardev *c, const uint8_t *buf, size_t len)
{
    VcChr *v = container_of(c, VcChr, chr);

    v->ops->write(v->console, buf, len);
    return len;
}

const ChardevClass chardev_vc = {
    .name = "vc", .desc = "a text console inside the window, cols=,rows= or width=,height=",
    .size = sizeof(VcChr), .open = vc_open, .close = vc_close, .write = vc_write, .accept_input = vc_deliver,
};
