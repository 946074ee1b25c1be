/*
 * qcow2_codec: compressed clusters: raw deflate (libdeflate) and zstd.
 *
 * Codec states are large, so idle ones wait in lists of the image.
 */
#include <errno.h>
#include <libdeflate.h>
#include <zstd.h>
#include "block/qcow2_int.h"

enum { DEFLATE_LEVEL = 4, ZSTD_LEVEL = 3 };

static void *codec_pop(Qcow2 *s, GSList **list)
{
    void *c = NULL;

    g_mutex_lock(&s->lock);
    if (*list) {
        c = (*list)->data;
        *list = g_slist_delete_link(*list, *list);
    }
    g_mutex_unlock(&s->lock);
    return c;
}

static void codec_push(Qcow2 *s, GSList **list, void *c)
{
    g_mutex_lock(&s->lock);
    *list = g_slist_prepend(*list, c);
    g_mutex_unlock(&s->lock);
}

static int inflate_zstd(Qcow2 *s, ZSTD_DCtx *d, const void *in, size_t in_len, void *out)
{
    ZSTD_inBuffer ib = { in, in_len, 0 };
    ZSTD_outBuffer ob = { out, s->cluster_size, 0 };

    ZSTD_DCtx_reset(d, ZSTD_reset_session_only);
    while (ob.pos < ob.size) {
        size_t before_in = ib.pos, before_out = ob.pos;
        size_t r = ZSTD_decompressStream(d, &ob, &ib);
        if (ZSTD_isError(r))
            return -EIO;
        if (ib.pos == before_in && ob.pos == before_out)
            return -EIO;                /* the input ended early */
    }
    return 0;
}

int qcow2_inflate(Qcow2 *s, const void *in, size_t in_len, void *out)
{
    void *c = codec_pop(s, &s->inflaters);
    size_t used, made;
    int ret;

    if (s->comp_type == 1) {
        if (!c)
            c = ZSTD_createDCtx();
        ret = c ? inflate_zstd(s, c, in, in_len, out) : -ENOMEM;
    } else {
        if (!c)
            c = libdeflate_alloc_decompressor();
        enum libdeflate_result r = c ? libdeflate_deflate_decompress_ex(c, in, in_len, out, s->cluster_size, &used, &made)
                                     : LIBDEFLATE_BAD_DATA;
        ret = r == LIBDEFLATE_SUCCESS && made == s->cluster_size ? 0 : c ? -EIO : -ENOMEM;
    }
    if (c)
        codec_push(s, &s->inflaters, c);
    return ret;
}

size_t qcow2_deflate(Qcow2 *s, const void *in, void *out)
{
    void *c = codec_pop(s, &s->deflaters);
    size_t n = 0;

    if (s->comp_type == 1) {
        if (!c)
            c = ZSTD_createCCtx();
        if (c) {
            n = ZSTD_compressCCtx(c, out, s->cluster_size - 1, in, s->cluster_size, ZSTD_LEVEL);
            if (ZSTD_isError(n))
                n = 0;
        }
    } else {
        if (!c)
            c = libdeflate_alloc_compressor(DEFLATE_LEVEL);
        if (c)
            n = libdeflate_deflate_compress(c, in, s->cluster_size, out, s->cluster_size - 1);
    }
    if (c)
        codec_push(s, &s->deflaters, c);
    return n;
}

void qcow2_codec_free(Qcow2 *s)
{
    for (GSList *l = s->deflaters; l; l = l->next)
        if (s->comp_type == 1)
            ZSTD_freeCCtx(l->data);
        else
            libdeflate_free_compressor(l->data);
    for (GSList *l = s->inflaters; l; l = l->next)
        if (s->comp_type == 1)
            ZSTD_freeDCtx(l->data);
        else
            libdeflate_free_decompressor(l->data);
    g_slist_free(s->deflaters);
    g_slist_free(s->inflaters);
}
