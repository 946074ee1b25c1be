/*
 * offload: what a NIC does for its driver before a frame leaves: segmentation and checksums.
 *
 * RFC 791, 793, 8200. Pure functions of the frame; every offset a guest gives is checked.
 */
#ifndef HW_NET_OFFLOAD_H
#define HW_NET_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP } GsoKind;
typedef struct Gso {
    GsoKind kind;
    size_t l3, l4, payload;     /* offsets of the IP header, the TCP/UDP header, the data */
    size_t mss;                 /* data bytes of a segment */
} Gso;
/* Finds the headers of an ethernet frame (VLAN tag allowed); false: not what kind says. */
bool gso_parse(const uint8_t *frame, size_t len, Gso *g);
/*
 * Calls emit for each segment, headers rewritten and checksums complete. scratch has room for
 * payload + mss + 8 bytes. UDP is cut into IP fragments of mss bytes. False when emit did (a full queue:
 * the rest was still emitted).
 */
bool gso_segment(uint8_t *frame, size_t len, const Gso *g, uint8_t *scratch,
                 bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque);
/* Sets IP length and all checksums of a frame that goes out whole. */
void gso_finish(uint8_t *frame, size_t len, const Gso *g);

/* What a card tells its driver of a received IPv4 frame, or fills in for one to send. */
enum { SUM_IP = 1, SUM_TCP = 2, SUM_UDP = 4,            /* what the frame is */
       SUM_BAD_IP = 8, SUM_BAD_L4 = 16 };               /* which checksum is wrong */
/* Looks at an untagged ethernet frame; 0: not IPv4, or its lengths are impossible. */
unsigned sums_check(const uint8_t *frame, size_t len);
/* Completes the IPv4 header's checksum (what & SUM_IP) and the whole TCP or UDP one (SUM_TCP, SUM_UDP). */
void sums_fill(uint8_t *frame, size_t len, unsigned what);

#endif
