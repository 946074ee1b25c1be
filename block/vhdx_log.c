/*
 * vhdx_log: checksums, headers and the replay of the metadata log.
 *
 * The log is a ring of 4 KiB sectors. The live entries are the longest run of valid ones with
 * rising numbers whose last names a tail inside the run; a torn end fails its checksum.
 */
#include <errno.h>
#include "block/vhdx_int.h"

enum { SECTOR = 4096, L_LEN = 8, L_TAIL = 12, L_SEQ = 16, L_COUNT = 24, L_GUID = 32, L_FLUSHED = 48, L_LAST = 56, L_HEAD = 64 };

uint32_t vhdx_crc(const void *buf, size_t len, uint32_t crc)
{
    static const uint32_t nibble[16] = {        /* CRC-32C, polynomial 82f63b78, four bits at a time */
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *p = buf;

    crc = ~crc;
    while (len--) {
        crc ^= *p++;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

uint32_t vhdx_sum(const uint8_t *p, size_t len, size_t at)
{
    static const uint8_t zero[4];
    uint32_t c = vhdx_crc(p, at, 0);

    c = vhdx_crc(zero, 4, c);
    return vhdx_crc(p + at + 4, len - at - 4, c);
}

int vhdx_header_update(BlockNode *file, Vhdx *s)
{
    int ret = 0;

    for (int i = 0; i < 2 && !ret; i++) {       /* the older slot first: one stays valid throughout */
        s->slot ^= 1;
        st64_le(s->header + HD_SEQ, ld64_le(s->header + HD_SEQ) + 1);
        st32_le(s->header + 4, vhdx_sum(s->header, HD_SIZE, 4));
        ret = block_pwrite(file, VHDX_HEADER(s->slot), s->header, HD_SIZE);
        ret = ret ? ret : block_flush(file);
    }
    return ret;
}

typedef struct Log {
    uint8_t *ring;              /* twice: an entry that wraps is still in one piece */
    uint32_t sectors;
    struct { uint32_t len; uint64_t seq; } *at;  /* len 0: no valid entry starts here */
} Log;

static uint32_t desc_sectors(uint32_t count) { return (L_HEAD + (uint64_t)count * 32 + SECTOR - 1) / SECTOR; }

static void find_entries(Log *l, const uint8_t *guid)
{
    for (uint32_t i = 0; i < l->sectors; i++) {
        const uint8_t *e = l->ring + (size_t)i * SECTOR;
        uint32_t len = ld32_le(e + L_LEN), tail = ld32_le(e + L_TAIL), count = ld32_le(e + L_COUNT), data = 0;
        if (memcmp(e, "loge", 4) || memcmp(e + L_GUID, guid, 16) || !len || len % SECTOR || len / SECTOR > l->sectors ||
            tail % SECTOR || tail / SECTOR >= l->sectors || !ld64_le(e + L_SEQ) || count > len / 32 ||
            desc_sectors(count) > len / SECTOR)
            continue;
        for (uint32_t k = 0; k < count; k++)
            data += !memcmp(e + L_HEAD + 32 * (size_t)k, "desc", 4);
        if (desc_sectors(count) + data > len / SECTOR || vhdx_sum(e, len, 4) != ld32_le(e + 4))
            continue;
        l->at[i].len = len / SECTOR;
        l->at[i].seq = ld64_le(e + L_SEQ);
    }
}

/* The best run: *tail is its first entry to apply, *head the last. */
static bool find_run(Log *l, uint32_t *tail, uint32_t *head)
{
    uint64_t best = 0;

    for (uint32_t start = 0; start < l->sectors; start++) {
        uint32_t i = start, last, walked;
        if (!l->at[i].len)
            continue;
        last = i;
        walked = l->at[i].len;
        for (uint32_t next = (i + l->at[i].len) % l->sectors;
             l->at[next].len && l->at[next].seq == l->at[last].seq + 1 && walked + l->at[next].len <= l->sectors;
             next = (last + l->at[last].len) % l->sectors) {
            last = next;
            walked += l->at[next].len;
        }
        uint32_t t = ld32_le(l->ring + (size_t)last * SECTOR + L_TAIL) / SECTOR;
        bool inside = false;
        for (i = start; !inside; i = (i + l->at[i].len) % l->sectors) {
            inside = i == t;
            if (i == last)
                break;
        }
        if (inside && l->at[last].seq > best) {
            best = l->at[last].seq;
            *tail = t;
            *head = last;
        }
    }
    return best != 0;
}

static int apply_zero(BlockNode *f, uint64_t off, uint64_t len)
{
    return len ? block_pwrite_zeroes(f, off, len, 0) : 0;
}

static int apply_entry(BlockNode *f, const uint8_t *e, uint64_t log_off, uint64_t log_len)
{
    uint32_t count = ld32_le(e + L_COUNT), data = desc_sectors(count);
    uint64_t seq = ld64_le(e + L_SEQ);
    int ret = 0;

    for (uint32_t k = 0; k < count && !ret; k++) {
        const uint8_t *d = e + L_HEAD + 32 * (size_t)k;
        bool zero = !memcmp(d, "zero", 4);
        uint64_t off = ld64_le(d + 16), len = zero ? ld64_le(d + 8) : SECTOR;
        if ((!zero && memcmp(d, "desc", 4)) || ld64_le(d + 24) != seq || (off | len) % SECTOR || off < VHDX_REGIONS(0) ||
            len > 64ULL * 1024 * GiB || off > INT64_MAX - len || (off < log_off + log_len && log_off < off + len))
            return -EINVAL;
        if (zero) {
            ret = apply_zero(f, off, len);
            continue;
        }
        uint8_t out[SECTOR];
        const uint8_t *s = e + (size_t)data++ * SECTOR;
        if (memcmp(s, "data", 4) || ((uint64_t)ld32_le(s + 4) << 32 | ld32_le(s + 4092)) != seq)
            return -EINVAL;
        memcpy(out, d + 8, 8);
        memcpy(out + 8, s + 8, 4084);
        memcpy(out + 4092, d + 4, 4);
        ret = block_pwrite(f, off, out, SECTOR);
    }
    return ret;
}

static bool replay(BlockNode *n, Vhdx *s, Log *l, uint64_t off, uint64_t len, GError **err)
{
    uint32_t tail, head;

    find_entries(l, s->header + HD_LOG_GUID);
    if (!find_run(l, &tail, &head))
        return true;                    /* nothing in it was ever complete */
    const uint8_t *h = l->ring + (size_t)head * SECTOR;
    if (block_node_size(n->file) < ld64_le(h + L_FLUSHED))
        return err_set(err, "the file is shorter (%" PRIu64 ") than its log says (%" PRIu64 ")", block_node_size(n->file),
                       ld64_le(h + L_FLUSHED));
    for (uint32_t i = tail; ; i = (i + l->at[i].len) % l->sectors) {
        int ret = apply_entry(n->file, l->ring + (size_t)i * SECTOR, off, len);
        if (ret)
            return err_set_errno(err, -ret, "Could not replay log entry %" PRIu64, l->at[i].seq);
        if (i == head)
            break;
    }
    uint64_t last = ld64_le(h + L_LAST);
    if (last > block_node_size(n->file) && last < 64ULL * 1024 * GiB && !block_truncate(n->file, last, "off", err))
        return false;
    int ret = block_flush(n->file);
    return ret ? err_set_errno(err, -ret, "Could not flush") : true;
}

bool vhdx_log_replay(BlockNode *n, Vhdx *s, GError **err)
{
    static const uint8_t none[16];
    uint64_t off = ld64_le(s->header + HD_LOG_OFF), len = ld32_le(s->header + HD_LOG_LEN);
    Log l = { .sectors = len / SECTOR };
    bool ok;
    int ret;

    if (!memcmp(s->header + HD_LOG_GUID, none, 16))
        return true;
    if (n->flags & BLOCK_NO_IO)
        return true;
    if (n->read_only)
        return err_set(err, "VHDX image file '%s' opened read-only, but contains a log that needs to be replayed; "
                       "open it once for writing, or run: quern img check -r all '%s'", n->filename, n->filename);
    if (len > 64 * MiB)
        return err_set(err, "the log is too large (%" PRIu64 " bytes)", len);
    l.ring = g_malloc(2 * len);
    l.at = g_malloc0(sizeof *l.at * (l.sectors + 1));
    ret = block_pread(n->file, off, l.ring, len);
    memcpy(l.ring + len, l.ring, len);
    ok = ret ? err_set_errno(err, -ret, "Could not read the log") : replay(n, s, &l, off, len, err);
    g_free(l.ring);
    g_free(l.at);
    if (!ok)
        return false;
    memset(s->header + HD_LOG_GUID, 0, 16);
    ret = vhdx_header_update(n->file, s);
    return ret ? err_set_errno(err, -ret, "Could not update the headers") : true;
}
