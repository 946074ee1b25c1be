/*
 * state: writes and reads state sections from StateDesc tables.
 *
 * A section is: u16 name length, name, u32 version, u32 body length, body. The body is the fields in
 * order, integers little endian. Reading checks a whole section before it stores anything.
 */
#include "softmmu/state.h"

#include "util/bytes.h"

enum { NAME_MAX_LEN = 256, NEST_MAX = 8 };

typedef struct Reader {
    const uint8_t *p, *end;
    const char *name;           /* of the section, for messages */
    bool dry;                   /* check only */
    GError **err;
} Reader;

static void put(GByteArray *out, uint64_t v, unsigned size)
{
    uint8_t b[8];

    st64_le(b, v);
    g_byte_array_append(out, b, size);
}

static uint64_t field_get(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return *(const uint16_t *)(const void *)p;
    case 4: return *(const uint32_t *)(const void *)p;
    default: return *(const uint64_t *)(const void *)p;
    }
}

static void field_set(uint8_t *p, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: *p = v; break;
    case 2: *(uint16_t *)(void *)p = v; break;
    case 4: *(uint32_t *)(void *)p = v; break;
    default: *(uint64_t *)(void *)p = v; break;
    }
}

static void save_fields(GByteArray *out, const StateDesc *d, uint8_t *obj)
{
    if (d->saving)
        d->saving(obj);
    for (const StateField *f = d->fields; f && f->kind != STATE_END_; f++) {
        uint8_t *p = obj + f->offset;

        switch (f->kind) {
        case STATE_BYTES:
            g_byte_array_append(out, p, f->elem * f->count);
            break;
        case STATE_STRUCT_:
            for (uint32_t i = 0; i < f->count; i++)
                save_fields(out, f->sub, p + (size_t)i * f->elem);
            break;
        case STATE_POINTER_: {
            uint64_t len = field_get(obj + f->len_off, f->elem);
            const uint8_t *buf = *(uint8_t **)(void *)p;

            len = buf ? MIN(len, f->max) : 0;
            put(out, len, 8);
            if (len)
                g_byte_array_append(out, buf, len);
            break;
        }
        default:
            for (uint32_t i = 0; i < f->count; i++)
                put(out, field_get(p + (size_t)i * f->elem, f->elem), f->elem);
        }
    }
}

void state_save(GByteArray *out, const char *name, const StateDesc *d, void *obj)
{
    size_t len = strlen(name);
    unsigned at;

    g_assert(len < NAME_MAX_LEN);
    put(out, len, 2);
    g_byte_array_append(out, (const uint8_t *)name, len);
    put(out, d->version, 4);
    at = out->len;
    put(out, 0, 4);
    save_fields(out, d, obj);
    st32_le(out->data + at, out->len - at - 4);
}

static bool take(Reader *r, uint64_t len, const uint8_t **bytes)
{
    if (len > (uint64_t)(r->end - r->p))
        return err_set(r->err, "state of '%s' is cut short", r->name);
    *bytes = r->p;
    r->p += len;
    return true;
}

static bool load_scalars(Reader *r, const StateField *f, uint8_t *p)
{
    const uint8_t *b;

    for (uint32_t i = 0; i < f->count; i++) {
        uint8_t raw[8] = { 0 };
        uint64_t v;

        if (!take(r, f->elem, &b))
            return false;
        memcpy(raw, b, f->elem);
        v = ld64_le(raw);
        if ((f->kind == STATE_UINT && f->max && v > f->max) || (f->kind == STATE_BOOL && v > 1))
            return err_set(r->err, "state of '%s': '%s' has an impossible value", r->name, f->name);
        if (!r->dry)
            field_set(p + (size_t)i * f->elem, v, f->elem);
    }
    return true;
}

static bool load_buffer(Reader *r, const StateField *f, uint8_t *obj)
{
    uint8_t **buf = (uint8_t **)(void *)(obj + f->offset);
    const uint8_t *b;
    uint64_t len;

    if (!take(r, 8, &b))
        return false;
    len = ld64_le(b);
    if (len > f->max || (f->elem == 4 && len > UINT32_MAX))
        return err_set(r->err, "state of '%s': '%s' is too long", r->name, f->name);
    if (!take(r, len, &b))
        return false;
    if (!r->dry) {
        g_free(*buf);
        *buf = len ? g_memdup2(b, len) : NULL;
        field_set(obj + f->len_off, len, f->elem);
    }
    return true;
}

static bool load_fields(Reader *r, const StateDesc *d, uint8_t *obj, unsigned depth)
{
    for (const StateField *f = d->fields; f && f->kind != STATE_END_; f++) {
        uint8_t *p = obj + f->offset;
        const uint8_t *b;

        switch (f->kind) {
        case STATE_BYTES:
            if (!take(r, (uint64_t)f->elem * f->count, &b))
                return false;
            if (!r->dry)
                memcpy(p, b, (size_t)f->elem * f->count);
            break;
        case STATE_STRUCT_:
            g_assert(depth < NEST_MAX);
            for (uint32_t i = 0; i < f->count; i++)
                if (!load_fields(r, f->sub, p + (size_t)i * f->elem, depth + 1))
                    return false;
            break;
        case STATE_POINTER_:
            if (!load_buffer(r, f, obj))
                return false;
            break;
        default:
            if (!load_scalars(r, f, p))
                return false;
        }
    }
    if (!r->dry && d->loaded && !d->loaded(obj, r->err))
        return err_prefix(r->err, "state of '%s'", r->name);
    return true;
}

bool state_load(const uint8_t **p, const uint8_t *end, const char *name, const StateDesc *d,
                void *obj, GError **err)
{
    Reader r = { .p = *p, .end = end, .name = name, .dry = true, .err = err };
    size_t want = strlen(name);
    int min = d->min_version ? d->min_version : d->version;
    const uint8_t *b, *body;
    uint32_t version, len;

    if (!take(&r, 2, &b) || ld16_le(b) != want || !take(&r, want, &b) || memcmp(b, name, want)) {
        if (err && !*err)
            err_set(err, "the saved state has no section '%s' here", name);
        return false;
    }
    if (!take(&r, 8, &b))
        return false;
    version = ld32_le(b);
    len = ld32_le(b + 4);
    if (version > (uint32_t)d->version || version < (uint32_t)min)
        return err_set(err, "state of '%s' has version %u, this program reads %d to %d", name, version,
                       min, d->version);
    if (!take(&r, len, &body))
        return false;
    *p = r.p;
    r.p = body;
    r.end = body + len;
    if (!load_fields(&r, d, obj, 0))
        return false;
    if (r.p != r.end)
        return err_set(err, "state of '%s' is longer than it should be", name);
    r.p = body;
    r.dry = false;
    return load_fields(&r, d, obj, 0);
}
