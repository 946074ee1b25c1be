/*
 * qcow2_map: from guest offsets to L2 entries. Everything here runs with the lock held.
 */
#include <errno.h>
#include "block/qcow2_int.h"

uint64_t qcow2_l2e(const Qcow2 *s, const Table *t, unsigned i) { return ld64_be(t->data + (size_t)i * s->entry_size); }

uint64_t qcow2_l2b(const Qcow2 *s, const Table *t, unsigned i)
{
    return s->ext_l2 ? ld64_be(t->data + (size_t)i * 16 + 8) : 0;
}

void qcow2_l2_set(Qcow2 *s, Table *t, unsigned i, uint64_t e, uint64_t bitmap)
{
    st64_be(t->data + (size_t)i * s->entry_size, e);
    if (s->ext_l2)
        st64_be(t->data + (size_t)i * 16 + 8, bitmap);
    qcow2_table_touch(s, &s->l2c, t, i * s->entry_size, s->entry_size);
}

static uint64_t l1_index(const Qcow2 *s, uint64_t guest) { return guest >> (s->cluster_bits + s->l2_bits); }

static int l1_offset(Qcow2 *s, uint64_t i, uint64_t *off)
{
    uint64_t e = s->l1[i];

    *off = e & OFF_MASK;
    if ((e & L1_RESERVED) || (*off & (s->cluster_size - 1)))
        return qcow2_damage(s, "bad L1 entry", s->l1_off + i * 8);
    return 0;
}

int qcow2_l2_load(Qcow2 *s, uint64_t guest, Table **t)
{
    uint64_t i = l1_index(s, guest), off;
    int ret;

    *t = NULL;
    if (i >= s->l1_size)
        return -EINVAL;
    ret = l1_offset(s, i, &off);
    if (ret || !off)
        return ret;
    return qcow2_table_get(s, &s->l2c, off, t);
}

static void l1_set(Qcow2 *s, uint64_t i, uint64_t e)
{
    s->l1[i] = e;
    s->l1_dirty[i / 64] = 1;
    s->l1_any = true;
}

int qcow2_l2_writable(Qcow2 *s, uint64_t guest, Table **out)
{
    uint64_t i = l1_index(s, guest), old, off, one = 1;
    Table *t = NULL, *n;
    int ret;

    if (i >= s->l1_size)
        return -EINVAL;
    ret = l1_offset(s, i, &old);
    if (ret)
        return ret;
    if (old) {
        ret = qcow2_table_get(s, &s->l2c, old, &t);
        if (ret)
            return ret;
        if (s->l1[i] & F_COPIED) {
            *out = t;
            return 0;
        }
    }
    ret = qcow2_alloc(s, &one, true, &off, NULL);
    if (ret)
        return ret;
    if (t)
        t->pins++;
    n = qcow2_table_new(s, &s->l2c, off);
    if (t)
        t->pins--;
    if (!n) {
        qcow2_unalloc(s, off, s->cluster_size);
        return -ENOMEM;
    }
    if (t)
        memcpy(n->data, t->data, s->cluster_size);
    l1_set(s, i, off | F_COPIED);
    qcow2_meta_add(s, off, s->cluster_size);
    if (old)
        qcow2_free_later(s, old, s->cluster_size, false);
    *out = n;
    return 0;
}

void qcow2_comp_span(const Qcow2 *s, uint64_t e, uint64_t *off, uint64_t *len)
{
    unsigned x = 62 - (s->cluster_bits - 8);
    uint64_t sectors = (e >> x & ((1ULL << (s->cluster_bits - 8)) - 1)) + 1;

    *off = e & ((1ULL << x) - 1) & ((1ULL << 56) - 1);
    *len = sectors * 512 - (*off & 511);
}

void qcow2_free_entry(Qcow2 *s, uint64_t e, bool discard)
{
    uint64_t off, len;

    if (e & F_COMPRESSED) {
        qcow2_comp_span(s, e, &off, &len);
        qcow2_free_later(s, off, len, false);
    } else if ((e & OFF_MASK) && !s->external) {
        qcow2_free_later(s, e & OFF_MASK, s->cluster_size, discard);
    }
}

bool qcow2_entry_has(const Qcow2 *s, uint64_t e)
{
    return (e & OFF_MASK) || (s->external && (e & F_COPIED));
}

QType qcow2_classify(const Qcow2 *s, uint64_t e, uint64_t bitmap, unsigned sc)
{
    bool has = qcow2_entry_has(s, e);

    if (e & F_COMPRESSED)
        return Q_COMPRESSED;
    if (s->ext_l2) {
        bool alloc = bitmap >> sc & 1, zero = bitmap >> (32 + sc) & 1;
        if (zero)
            return has ? Q_ZERO_ALLOC : Q_ZERO;
        return has && alloc ? Q_NORMAL : Q_UNALLOC;
    }
    if ((e & F_ZERO) && s->version >= 3)
        return has ? Q_ZERO_ALLOC : Q_ZERO;
    return has ? Q_NORMAL : Q_UNALLOC;
}

static int entry_ok(Qcow2 *s, const Table *t, unsigned i, uint64_t e, uint64_t bitmap)
{
    uint64_t at = t->off + (uint64_t)i * s->entry_size;

    if (e & F_COMPRESSED)
        return s->external || bitmap ? qcow2_damage(s, "bad compressed L2 entry", at) : 0;
    if ((e & L2_STD_RESERVED) || (e & OFF_MASK & (s->cluster_size - 1)))
        return qcow2_damage(s, "bad L2 entry", at);
    if (s->ext_l2 && (bitmap & bitmap >> 32 & 0xffffffff))
        return qcow2_damage(s, "bad subcluster bitmap", at);
    return 0;
}

int qcow2_map(Qcow2 *s, uint64_t guest, uint64_t bytes, QType *type, uint64_t *entry, uint64_t *host, uint64_t *len)
{
    uint64_t l2_span = 1ULL << (s->cluster_bits + s->l2_bits), in = guest & (s->cluster_size - 1), done = 0;
    unsigned i = guest >> s->cluster_bits & ((1u << s->l2_bits) - 1);
    bool first_lies = false;
    Table *t;
    int ret = qcow2_l2_load(s, guest, &t);

    bytes = MIN(bytes, l2_span - (guest & (l2_span - 1)));
    *type = Q_UNALLOC;
    *entry = *host = 0;
    *len = bytes;
    if (ret || !t)
        return ret;
    for (; done < bytes; i++, in = 0) {
        uint64_t e = qcow2_l2e(s, t, i), b = qcow2_l2b(s, t, i);
        ret = entry_ok(s, t, i, e, b);
        if (ret)
            return ret;
        unsigned sc = in >> s->sc_bits, sc_end = s->cluster_size >> s->sc_bits;
        for (; sc < sc_end && done < bytes; sc++) {
            QType q = qcow2_classify(s, e, b, sc);
            bool lies = q == Q_NORMAL || q == Q_ZERO_ALLOC || (q == Q_UNALLOC && qcow2_entry_has(s, e));
            uint64_t h = lies ? (e & OFF_MASK) + in : 0;
            if (!done) {
                *type = q;
                *entry = e;
                *host = h;
                first_lies = lies;
            } else if (q != *type || (q == Q_COMPRESSED && in == 0) || lies != first_lies ||
                       (lies && h != *host + done)) {
                *len = done;
                return 0;
            }
            uint64_t piece = s->sc_size - (in & (s->sc_size - 1));
            done += piece;
            in += piece;
        }
    }
    *len = MIN(done, bytes);
    return 0;
}
