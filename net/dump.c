/* dump: pcap capture of the frames a port sends or gets, readable by Wireshark. */
#include "net/net.h"

#include "util/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

typedef struct Dump {
    FILE *f;
    char *path;
    uint32_t snaplen;
} Dump;

static void dump_free(gpointer opaque)
{
    Dump *d = opaque;

    fclose(d->f);
    g_free(d->path);
    g_free(d);
}

enum { LINKTYPE_ETHERNET = 1 };

/* libpcap file format: 24-byte header, then 16 bytes before each frame, in host order. */
bool net_dump_attach(NetPort *p, const char *path, uint64_t snaplen, GError **err)
{
    struct { uint32_t magic; uint16_t major, minor; int32_t zone; uint32_t sigfigs, snaplen, link; }
        head = { 0xa1b2c3d4, 2, 4, 0, 0, MIN(snaplen, NET_FRAME_MAX), LINKTYPE_ETHERNET };
    FILE *f = fopen(path, "we");
    Dump *d;

    if (!f)
        return err_set_errno(err, errno, "capture file %s", path);
    if (fwrite(&head, sizeof head, 1, f) != 1 || fflush(f)) {
        int e = errno;

        fclose(f);
        return err_set_errno(err, e, "capture file %s", path);
    }
    d = g_new0(Dump, 1);
    d->f = f;
    d->path = g_strdup(path);
    d->snaplen = head.snaplen;
    if (!p->dumps)
        p->dumps = g_ptr_array_new_with_free_func(dump_free);
    g_ptr_array_add(p->dumps, d);
    return true;
}

void net_dump_detach(NetPort *p, const char *path)
{
    for (guint i = p->dumps ? p->dumps->len : 0; i-- > 0; ) {
        if (g_str_equal(((Dump *)p->dumps->pdata[i])->path, path))
            g_ptr_array_remove_index(p->dumps, i);
    }
}

static void dump_one(Dump *d, const uint8_t *frame, size_t len)
{
    int64_t now = g_get_real_time();
    uint32_t keep = MIN(len, d->snaplen);
    uint32_t rec[4] = { now / G_USEC_PER_SEC, now % G_USEC_PER_SEC, keep, len };

    fwrite(rec, sizeof rec, 1, d->f);
    fwrite(frame, keep, 1, d->f);
    fflush(d->f);
}

void net_dump_frame(NetPort *p, const uint8_t *frame, size_t len)
{
    for (guint i = 0; p->dumps && i < p->dumps->len; i++)
        dump_one(p->dumps->pdata[i], frame, len);
}
