/*
 * fuzz-image: opens any bytes as every image format, reads, writes, checks. First byte picks the format.
 *
 * With bit 4 of the first byte the rest is a sparse file: records of a sector number (u16), a length (u16) and
 * so many bytes, little-endian; so formats whose header spans megabytes (vhdx) have small inputs, too.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "block/image.h"
#include "util/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool fill(int fd, const uint8_t *p, size_t size, bool sparse)
{
    if (!sparse)
        return write(fd, p, size) == (ssize_t)size;
    while (size >= 4) {
        size_t at = 512 * (size_t)ld16_le(p), len = MIN(ld16_le(p + 2), size - 4);
        if (len ? pwrite(fd, p + 4, len, at) != (ssize_t)len : ftruncate(fd, at) < 0)
            return false;
        p += 4 + len;
        size -= 4 + len;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = { "qcow2", "vmdk", "vdi", "vpc", "vhdx" };
    char path[64], buf[4096] = { 0 };
    GError *err = NULL;

    if (size < 2)
        return 0;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || !fill(fd, data + 1, size - 1, data[0] & 0x10))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    BlockGraph *g = block_graph_new(NULL);
    g_autoptr(GHashTable) o = block_opts_new();
    block_opts_set(o, "driver", formats[(data[0] & 0x0f) % 5]);
    BlockNode *n = block_open(g, path, o, (data[0] & 0x80 ? 0 : BLOCK_RDWR) | BLOCK_NO_BACKING | BLOCK_NO_LOCK |
                              BLOCK_NO_FLUSH | BLOCK_UNMAP | (data[0] & 0x40 ? BLOCK_CHECK : 0), &err);
    if (!n != !!err)
        abort();
    if (n) {
        uint64_t len = block_node_size(n);
        BlockCheck res = { 0 };
        BlockStatus st;
        BlockInfo info;
        if (block_info(n, &info, NULL))
            block_info_clear(&info);
        for (uint64_t off = 0, i = 0; off < len && i < 8; i++, off = len / 8 * i) {
            (void)!block_pread(n, off, buf, MIN(sizeof buf, len - off));
            (void)!block_status(n, off, len - off, &st);
            if (!block_node_read_only(n))
                (void)!block_pwrite(n, off, buf, MIN(sizeof buf, len - off));
        }
        g_ptr_array_unref(block_snapshot_list(n));
        if (block_can_check(n))
            block_check(n, data[0] & 0x20 && !block_node_read_only(n) ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0, &res, NULL);
        block_node_close(n, NULL);
    }
    g_clear_error(&err);
    block_graph_free(g);
    close(fd);
    return 0;
}
