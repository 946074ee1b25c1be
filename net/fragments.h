/*
 * fragments: IP fragments between a guest and libslirp: joined on the way in, cut on the way out.
 *
 * libslirp's own joining has been wrong more than once (HARDENING 2.3), hides transport headers from the
 * frame filter and exists for IPv4 only. It never sees a fragment now. RFC 791 3.2, RFC 8200 4.5, RFC 5722:
 * fragments that overlap, contradict each other or reach beyond 64 KiB take their whole datagram with them.
 */
#ifndef NET_FRAGMENTS_H
#define NET_FRAGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAGMENTS_DATAGRAMS = 16, FRAGMENTS_LIFE_MS = 30000 };   /* begun at one time; how long one may take */

typedef struct Fragments Fragments;
Fragments *fragments_new(void);
void fragments_free(Fragments *f);

/* Is it a piece of a datagram? For frames that passed slirp_guard(). */
bool fragment_is(const uint8_t *frame, size_t len);
/*
 * Takes a fragment that passed slirp_guard(). The whole frame when it was the last missing one (valid until
 * the next call; whole: its length), else NULL: *why is NULL when it was kept, or says why it was dropped.
 */
uint8_t *fragments_join(Fragments *f, const uint8_t *frame, size_t len, int64_t now_ms, size_t *whole, const char **why);
/* Sends an IP frame in pieces whose packets have mtu bytes at most. False when a send() was false. */
bool fragments_cut(Fragments *f, const uint8_t *frame, size_t len, size_t mtu,
                   bool (*send)(void *opaque, const uint8_t *frame, size_t len), void *opaque);

#endif
