/*
 * slirp_guard: the frame filter between a guest and libslirp.
 *
 * libslirp 4.7 trusts some header fields (CVE-2026-9539 and the class in HARDENING 2.3). Frames
 * whose headers contradict their length are dropped before the library sees them, and the TCP
 * urgent pointer is cleared. Pure function of the frame.
 */
#ifndef NET_SLIRP_GUARD_H
#define NET_SLIRP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* May modify the frame in place. False: drop it; *why (a constant) says which rule it broke. */
bool slirp_guard(uint8_t *frame, size_t len, const char **why);

#endif
