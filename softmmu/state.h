/*
 * state: device and CPU state described in data; saved, loaded and checked from one table.
 *
 * A StateDesc lists fields in order. Saving writes name, version and fields; loading checks
 * each against its bounds, then calls loaded() for what a range cannot say. A loader treats
 * the stream as hostile: on any error the object keeps being safe to destroy and the whole
 * load fails. Integers are stored little endian.
 */
#ifndef SOFTMMU_STATE_H
#define SOFTMMU_STATE_H

#include "util/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum {
    STATE_END_ = 0, STATE_UINT, STATE_INT, STATE_BOOL, STATE_BYTES,     /* fixed size */
    STATE_STRUCT_,              /* count structs of elem bytes described by sub */
    STATE_POINTER_,             /* pointer to a buffer whose length is the u32/u64 field at len_off */
} StateKind;

typedef struct StateDesc StateDesc;
typedef struct StateField {
    const char *name;
    StateKind kind;
    uint32_t offset;            /* in the struct */
    uint32_t elem;              /* bytes of one element: 1, 2, 4, 8 (UINT, INT) or any */
    uint32_t count;             /* elements, 1 for a scalar */
    uint64_t max;               /* UINT: largest value allowed; 0 = no bound. POINTER: largest length */
    const StateDesc *sub;
    uint32_t len_off;
} StateField;

struct StateDesc {
    const char *name;           /* NULL: the device's name */
    int version, min_version;
    const StateField *fields;   /* ends with STATE_END */
    void (*saving)(void *opaque);                       /* put caches into fields; optional */
    bool (*loaded)(void *opaque, GError **err);         /* validate, rebuild caches, drive lines */
    const char *none_why;       /* STATE_NONE: why there is nothing to save */
};
#define STATE_NONE(why) (&(const StateDesc) { .version = 1, .none_why = (why) })

#define STATE_F_(T, f, k, e, n, ...) { #f, (k), offsetof(T, f), (e), (n), __VA_ARGS__ }
#define STATE_SIZEOK_(T, f, b) (sizeof(((T *)0)->f) + 0 * sizeof(char[sizeof(((T *)0)->f) == (b) ? 1 : -1]))
#define STATE_U8(T, f)   STATE_F_(T, f, STATE_UINT, STATE_SIZEOK_(T, f, 1), 1)
#define STATE_U16(T, f)  STATE_F_(T, f, STATE_UINT, STATE_SIZEOK_(T, f, 2), 1)
#define STATE_U32(T, f)  STATE_F_(T, f, STATE_UINT, STATE_SIZEOK_(T, f, 4), 1)
#define STATE_U64(T, f)  STATE_F_(T, f, STATE_UINT, STATE_SIZEOK_(T, f, 8), 1)
#define STATE_I32(T, f)  STATE_F_(T, f, STATE_INT, STATE_SIZEOK_(T, f, 4), 1)
#define STATE_I64(T, f)  STATE_F_(T, f, STATE_INT, STATE_SIZEOK_(T, f, 8), 1)
#define STATE_B(T, f)    STATE_F_(T, f, STATE_BOOL, STATE_SIZEOK_(T, f, 1), 1)
/* Unsigned scalar of any width, at most max (inclusive). */
#define STATE_UMAX(T, f, m) STATE_F_(T, f, STATE_UINT, sizeof(((T *)0)->f), 1, (m))
/* A C array of unsigned integers / of raw bytes. */
#define STATE_UARRAY(T, f) STATE_F_(T, f, STATE_UINT, sizeof(((T *)0)->f[0]), \
        sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]))
#define STATE_BUF(T, f)  STATE_F_(T, f, STATE_BYTES, 1, sizeof(((T *)0)->f))
#define STATE_STRUCT(T, f, d) STATE_F_(T, f, STATE_STRUCT_, sizeof(((T *)0)->f), 1, 0, (d))
#define STATE_STRUCTS(T, f, d) STATE_F_(T, f, STATE_STRUCT_, sizeof(((T *)0)->f[0]), \
        sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), 0, (d))
/* Buffer behind pointer f, its length in field l (u32 or u64), allocated with g_malloc, at most m. */
#define STATE_PBUF(T, f, l, m) STATE_F_(T, f, STATE_POINTER_, sizeof(((T *)0)->l), 1, (m), NULL, offsetof(T, l))
#define STATE_END { NULL, STATE_END_ }

/* Appends obj's state to out. name: instance ("piix4-pm/0"). */
void state_save(GByteArray *out, const char *name, const StateDesc *d, void *obj);
/* Reads one section from [*p, end); advances *p. Fails when name or version differ or data is impossible. */
bool state_load(const uint8_t **p, const uint8_t *end, const char *name, const StateDesc *d,
                void *obj, GError **err) MUST_CHECK;

#endif
