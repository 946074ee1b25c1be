/* bytes: unaligned little- and big-endian loads and stores on host memory. */
#ifndef UTIL_BYTES_H
#define UTIL_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESS(bits, order, conv_in, conv_out)                             \
    static inline uint##bits##_t ld##bits##_##order(const void *p)               \
    {                                                                            \
        uint##bits##_t v;                                                        \
        memcpy(&v, p, sizeof v);                                                 \
        return conv_in(v);                                                       \
    }                                                                            \
    static inline void st##bits##_##order(void *p, uint##bits##_t v)             \
    {                                                                            \
        v = conv_out(v);                                                         \
        memcpy(p, &v, sizeof v);                                                 \
    }
BYTES_ACCESS(16, le, le16toh, htole16)
BYTES_ACCESS(32, le, le32toh, htole32)
BYTES_ACCESS(64, le, le64toh, htole64)
BYTES_ACCESS(16, be, be16toh, htobe16)
BYTES_ACCESS(32, be, be32toh, htobe32)
BYTES_ACCESS(64, be, be64toh, htobe64)
#undef BYTES_ACCESS

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define KiB (1024ULL)
#define MiB (1024ULL * KiB)
#define GiB (1024ULL * MiB)
#define NS_PER_SEC 1000000000LL
#define NS_PER_MS 1000000LL
#define NS_PER_US 1000LL

/* Checked size arithmetic: false on overflow, *out untouched then. */
static inline _Bool add_ok(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_add_overflow(a, b, &r))
        return 0;
    *out = r;
    return 1;
}
static inline _Bool mul_ok(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;

    if (__builtin_mul_overflow(a, b, &r))
        return 0;
    *out = r;
    return 1;
}
/* True when [off, off+len) lies inside [0, size). */
static inline _Bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

#endif
