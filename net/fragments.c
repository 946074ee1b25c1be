/* fragments: joins and cuts IP datagrams; bounded in number, size and time. */
#include "net/fragments.h"

#include "util/bytes.h"

#include <glib.h>
#include <string.h>

enum { ETH = 14, IP4_MIN = 20, IP4_HEADER_MAX = 60, IP6_HEADER = 40, FRAG6 = 8, NEXT_FRAG6 = 44, DATA_MAX = 65535, MORE4 = 0x2000, MORE6 = 1,
       OFFSET4 = 0x1fff, UNIT = 8, UNITS = DATA_MAX / UNIT + 1, HEADERS_MAX = ETH + IP4_HEADER_MAX, KEY_MAX = 37, CUT_MAX = 9216 };
enum { TYPE_IP4 = 0x0800, TYPE_IP6 = 0x86dd };

typedef struct Piece {
    uint8_t key[KEY_MAX];       /* family, addresses, identification, IPv4: protocol */
    const uint8_t *headers;     /* ethernet and IP, without IPv6's fragment header */
    size_t headers_len;
    const uint8_t *data;
    size_t at, len;
    bool more;
    uint8_t next;               /* IPv6: what the data are */
} Piece;

typedef struct Datagram {
    uint8_t key[KEY_MAX];
    int64_t until;              /* 0: free */
    uint8_t *buf;               /* HEADERS_MAX, then data; NULL: it was refused, and so is what still comes of it */
    uint8_t have[UNITS / 8 + 1];        /* bitmap of units of 8 bytes */
    size_t got, total;          /* units there; bytes (0: the last piece is missing) */
    size_t headers_len;         /* 0: the first piece is missing */
    uint8_t headers[HEADERS_MAX];
    uint8_t next;
} Datagram;

struct Fragments {
    Datagram datagram[FRAGMENTS_DATAGRAMS];
    uint8_t *whole;             /* the last one that was completed */
    uint32_t id6;               /* of the last IPv6 datagram cut */
};

Fragments *fragments_new(void)
{
    return g_new0(Fragments, 1);
}

static void forget(Datagram *d)
{
    g_free(d->buf);
    memset(d, 0, sizeof *d);
}

void fragments_free(Fragments *f)
{
    if (!f)
        return;
    for (int i = 0; i < FRAGMENTS_DATAGRAMS; i++)
        forget(&f->datagram[i]);
    g_free(f->whole);
    g_free(f);
}

bool fragment_is(const uint8_t *frame, size_t len)
{
    if (len < ETH + IP4_MIN)
        return false;
    if (ld16_be(frame + 12) == TYPE_IP4)
        return ld16_be(frame + ETH + 6) & (MORE4 | OFFSET4);
    return ld16_be(frame + 12) == TYPE_IP6 && frame[ETH + 6] == NEXT_FRAG6;
}

/* The lengths were checked by slirp_guard(). */
static void parse(const uint8_t *frame, Piece *p)
{
    const uint8_t *ip = frame + ETH, *x = ip + IP6_HEADER;

    memset(p, 0, sizeof *p);
    p->headers = frame;
    if (ip[0] >> 4 == 4) {
        size_t hlen = (ip[0] & 15) * 4;

        p->key[0] = 4;
        memcpy(p->key + 1, ip + 12, 8);
        memcpy(p->key + 9, ip + 4, 2);
        p->key[11] = ip[9];
        p->headers_len = ETH + hlen;
        p->data = ip + hlen;
        p->len = ld16_be(ip + 2) - hlen;
        p->at = (ld16_be(ip + 6) & OFFSET4) * UNIT;
        p->more = ld16_be(ip + 6) & MORE4;
        return;
    }
    p->key[0] = 6;
    memcpy(p->key + 1, ip + 8, 32);
    memcpy(p->key + 33, x + 4, 4);
    p->headers_len = ETH + IP6_HEADER;
    p->data = x + FRAG6;
    p->len = ld16_be(ip + 4) - FRAG6;
    p->at = ld16_be(x + 2) & ~7u;
    p->more = ld16_be(x + 2) & MORE6;
    p->next = x[0];
}

/* Its place: begun, free, or that of the oldest. */
static Datagram *find(Fragments *f, const Piece *p, int64_t now_ms)
{
    Datagram *place = &f->datagram[0];

    for (int i = 0; i < FRAGMENTS_DATAGRAMS; i++) {
        Datagram *d = &f->datagram[i];

        if (d->until && d->until <= now_ms)
            forget(d);
        if (d->until && !memcmp(d->key, p->key, KEY_MAX))
            return d;
        if (d->until < place->until)
            place = d;
    }
    forget(place);
    memcpy(place->key, p->key, KEY_MAX);
    place->until = now_ms + FRAGMENTS_LIFE_MS;
    place->buf = g_malloc(HEADERS_MAX + DATA_MAX);
    return place;
}

static unsigned units_there(const Datagram *d, size_t from, size_t to)
{
    unsigned n = 0;

    for (size_t u = from; u < to; u++)
        n += d->have[u / 8] >> u % 8 & 1;
    return n;
}

/* NULL: it fits. "": it came twice. */
static const char *contradiction(const Datagram *d, const Piece *p)
{
    size_t from = p->at / UNIT, to = (p->at + p->len + UNIT - 1) / UNIT, end = p->at + p->len;
    unsigned there;

    if (!p->len || (p->more && p->len % UNIT))
        return "IP fragment of impossible length";
    if (end > DATA_MAX || end + p->headers_len - ETH > DATA_MAX + (p->key[0] == 6 ? IP6_HEADER : 0))
        return "IP fragment beyond 64 KiB";
    there = units_there(d, from, to);
    if (there == to - from && (p->more ? !d->total || end <= d->total : end == d->total) &&
        !memcmp(d->buf + HEADERS_MAX + p->at, p->data, p->len))
        return "";
    if (there)
        return "IP fragments overlap";
    if (d->total && (!p->more || end > d->total))
        return "IP fragments with two ends";
    if (!p->more && units_there(d, to, UNITS))
        return "IP fragment behind the end";
    return NULL;
}

static void store(Datagram *d, const Piece *p)
{
    memcpy(d->buf + HEADERS_MAX + p->at, p->data, p->len);
    for (size_t u = p->at / UNIT; u < (p->at + p->len + UNIT - 1) / UNIT; u++, d->got++)
        d->have[u / 8] |= 1 << u % 8;
    if (!p->more)
        d->total = p->at + p->len;
    if (!p->at) {
        memcpy(d->headers, p->headers, p->headers_len);
        d->headers_len = p->headers_len;
        d->next = p->next;
    }
}

static uint16_t header_sum(const uint8_t *p, size_t len)
{
    uint32_t s = 0;

    for (size_t i = 0; i + 1 < len; i += 2)
        s += ld16_be(p + i);
    s = (s & 0xffff) + (s >> 16);
    return ~((s & 0xffff) + (s >> 16));
}

static void seal4(uint8_t *ip, size_t hlen, size_t total, uint16_t flags)
{
    st16_be(ip + 2, total);
    st16_be(ip + 6, flags);
    st16_be(ip + 10, 0);
    st16_be(ip + 10, header_sum(ip, hlen));
}

static uint8_t *finish(Fragments *f, Datagram *d, size_t *whole)
{
    uint8_t *frame = d->buf + HEADERS_MAX - d->headers_len, *ip = frame + ETH;

    memcpy(frame, d->headers, d->headers_len);
    *whole = d->headers_len + d->total;
    if (ip[0] >> 4 == 4) {
        seal4(ip, d->headers_len - ETH, *whole - ETH, 0);
    } else {
        st16_be(ip + 4, d->total);
        ip[6] = d->next;
    }
    g_free(f->whole);
    f->whole = g_steal_pointer(&d->buf);
    forget(d);
    return frame;
}

/* RFC 5722: what still comes of it is refused too. A piece that is a whole datagram has no name to remember. */
static void refuse(Datagram *d, const Piece *p)
{
    if (!p->at && !p->more)
        forget(d);
    else
        g_clear_pointer(&d->buf, g_free);
}

uint8_t *fragments_join(Fragments *f, const uint8_t *frame, size_t len, int64_t now_ms, size_t *whole, const char **why)
{
    Datagram *d;
    Piece p;

    *why = NULL;
    parse(frame, &p);
    if (!p.at && !p.more)       /* RFC 6946: complete, whatever others of its name say */
        memset(p.key, 0xff, sizeof p.key);
    d = find(f, &p, now_ms);
    if (!d->buf) {
        *why = "IP fragment of a datagram that was refused";
        return NULL;
    }
    *why = contradiction(d, &p);
    if (*why && !**why) {
        *why = NULL;
        return NULL;
    }
    if (*why) {
        refuse(d, &p);
        return NULL;
    }
    store(d, &p);
    if (!d->total || !d->headers_len || d->got != (d->total + UNIT - 1) / UNIT)
        return NULL;
    if (d->headers_len - ETH + d->total > DATA_MAX + (p.key[0] == 4 ? 0 : IP6_HEADER)) {       /* the first piece's header is longer */
        refuse(d, &p);
        *why = "IP fragment beyond 64 KiB";
        return NULL;
    }
    return finish(f, d, whole);
}

bool fragments_cut(Fragments *f, const uint8_t *frame, size_t len, size_t mtu,
                   bool (*send)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    bool v6 = frame[ETH] >> 4 == 6, ok = true;
    size_t hlen = v6 ? IP6_HEADER : (frame[ETH] & 15) * 4, head = ETH + hlen, lead = head + (v6 ? FRAG6 : 0);
    size_t total = MIN(len - ETH, v6 ? IP6_HEADER + (size_t)ld16_be(frame + ETH + 4) : ld16_be(frame + ETH + 2)), step, n;
    uint8_t out[CUT_MAX];

    if (mtu + ETH > CUT_MAX || mtu + ETH < lead + UNIT || len < head || total < hlen)
        return true;
    step = (mtu + ETH - lead) & ~(size_t)(UNIT - 1);
    f->id6++;
    for (size_t at = 0; at < total - hlen; at += n) {
        bool more = total - hlen - at > step;

        n = MIN(step, total - hlen - at);
        memcpy(out, frame, head);
        memcpy(out + lead, frame + head + at, n);
        if (v6) {
            out[ETH + 6] = NEXT_FRAG6;
            st16_be(out + ETH + 4, FRAG6 + n);
            out[head] = frame[ETH + 6];
            out[head + 1] = 0;
            st16_be(out + head + 2, at | more);
            st32_be(out + head + 4, f->id6);
        } else {
            seal4(out + ETH, hlen, hlen + n, at / UNIT | (more ? MORE4 : 0));
        }
        ok &= send(opaque, out, lead + n);
    }
    return ok;
}
