/* vhdx_int: header fields and the parts of an open VHDX image. */
#ifndef BLOCK_VHDX_INT_H
#define BLOCK_VHDX_INT_H

#include "block/blockmap.h"

enum { HD_SEQ = 8, HD_FILE_GUID = 16, HD_DATA_GUID = 32, HD_LOG_GUID = 48, HD_LOG_VERSION = 64, HD_VERSION = 66,
       HD_LOG_LEN = 68, HD_LOG_OFF = 72, HD_SIZE = 4096, RT_SIZE = 65536 };
#define VHDX_HEADER(i) ((1 + (uint64_t)(i)) * 64 * KiB)
#define VHDX_REGIONS(i) ((3 + (uint64_t)(i)) * 64 * KiB)

typedef struct Vhdx {
    BlockMap b;
    uint8_t header[HD_SIZE];    /* the one in force */
    int slot;                   /* where it lies: 0 or 1 */
    uint64_t bat_off, bat_len, meta_off, meta_len;
    uint32_t logical, ratio;    /* ratio: payload entries per bitmap entry */
    GMutex head_lock;
    bool touched;               /* identity changed in this session */
} Vhdx;

uint32_t vhdx_crc(const void *p, size_t len, uint32_t crc);     /* CRC-32C; crc 0 starts */
uint32_t vhdx_sum(const uint8_t *p, size_t len, size_t at);     /* with the field at `at` taken as zero */
/* Writes s->header with new sequence numbers into both slots, one after the other. */
int vhdx_header_update(BlockNode *file, Vhdx *s);
/* Applies the log named by s->header, if any, and forgets it. */
bool vhdx_log_replay(BlockNode *n, Vhdx *s, GError **err);
extern const BlockCreateOption vhdx_create_options[];
bool vhdx_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err);

extern const uint8_t vhdx_guid_bat[16], vhdx_guid_meta[16], vhdx_guid_param[16], vhdx_guid_size[16],
    vhdx_guid_page83[16], vhdx_guid_logical[16], vhdx_guid_physical[16], vhdx_guid_parent[16];

#endif
