/* identify: what IDENTIFY (PACKET) DEVICE tells, ATA-6 8.12 and 8.13. */
#include "hw/ide/ide_int.h"

#include <string.h>

static void put(IdeDrive *d, unsigned word, uint16_t v)
{
    st16_le(d->buf + 2 * word, v);
}

/* ATA strings: padded with spaces, bytes swapped in each word. */
static void put_string(IdeDrive *d, unsigned word, const char *s, unsigned len)
{
    size_t n = strlen(s);

    for (unsigned i = 0; i < len; i++)
        d->buf[2 * word + (i ^ 1)] = i < n ? s[i] : ' ';
}

void ide_geometry(IdeDrive *d)
{
    enum { HEADS = 16, SECTORS = 63, CYLINDERS_MAX = 16383 };

    d->nb_sectors = block_dev_size(d->drive) / IDE_SECTOR;
    d->heads = HEADS;
    d->sectors = SECTORS;
    d->cylinders = MIN(MAX(d->nb_sectors / (HEADS * SECTORS), 2), CYLINDERS_MAX);
}

static void put_dma_modes(IdeDrive *d)
{
    uint8_t type = d->dma_mode >> 3, bit = 1u << (d->dma_mode & 7);

    put(d, 62, 0x07 | (type == 2 ? bit << 8 : 0));      /* single word DMA 0-2 */
    put(d, 63, 0x07 | (type == 4 ? bit << 8 : 0));      /* multiword DMA 0-2 */
    put(d, 64, 0x03);           /* PIO 3-4 */
    for (int w = 65; w <= 68; w++)
        put(d, w, 120);         /* ns per cycle */
    put(d, 88, 0x3f | (type == 8 ? bit << 8 : 0));      /* Ultra DMA 0-5 */
}

/* Serial number, buffer, firmware and model: the same words in both answers. */
static void put_names(IdeDrive *d)
{
    put_string(d, 10, d->serial, 20);
    put(d, 20, 3);
    put(d, 21, 512);
    put(d, 22, 4);
    put_string(d, 23, d->ver, 8);
    put_string(d, 27, d->model, 40);
}

void ata_identify(IdeDrive *d)
{
    uint32_t chs = d->cylinders * d->heads * d->sectors, lba28 = MIN(d->nb_sectors, (1u << 28) - 1);
    unsigned exp = 0;

    memset(d->buf, 0, IDE_SECTOR);
    put(d, 0, 0x0040);
    put(d, 1, d->cylinders);
    put(d, 3, d->heads);
    put(d, 6, d->sectors);
    put_names(d);
    put(d, 47, 0x8000 | 16);
    put(d, 48, 1);
    put(d, 49, 1 << 11 | 1 << 9 | 1 << 8);      /* IORDY, LBA, DMA */
    put(d, 51, 0x200);
    put(d, 52, 0x200);
    put(d, 53, 7);
    put(d, 54, d->cylinders);
    put(d, 55, d->heads);
    put(d, 56, d->sectors);
    put(d, 57, chs);
    put(d, 58, chs >> 16);
    put(d, 59, d->multiple ? 0x100 | d->multiple : 0);
    put(d, 60, lba28);
    put(d, 61, lba28 >> 16);
    put_dma_modes(d);
    if (d->ide->sata) {
        put(d, 75, 31);         /* queue depth 32 */
        put(d, 76, 1 << 8 | 1 << 2 | 1 << 1);   /* NCQ, generations 1 and 2 */
    }
    put(d, 80, 0xf0);           /* ATA-4 to ATA-7 */
    put(d, 81, 0x16);
    put(d, 82, 1 << 14 | 1 << 5 | 1);           /* NOP, write cache, SMART */
    put(d, 83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10);  /* FLUSH (EXT), 48-bit */
    put(d, 84, 1 << 14 | 1 << 5 | (d->wwn ? 1 << 8 : 0));     /* general purpose logs */
    put(d, 85, 1 << 14 | (d->wce ? 1 << 5 : 0) | d->smart_on);
    put(d, 86, 1 << 13 | 1 << 12 | 1 << 10);
    put(d, 87, 1 << 14 | 1 << 5 | (d->wwn ? 1 << 8 : 0));
    put(d, 93, d->ide->sata ? 0 : 1 | 1 << 14 | 0x2000);
    for (int i = 0; i < 4; i++)
        put(d, 100 + i, d->nb_sectors >> (16 * i));
    while ((d->logical_block_size << exp) < d->physical_block_size && exp < 15)
        exp++;
    if (exp)
        put(d, 106, 0x6000 | exp);
    for (int i = 0; d->wwn && i < 4; i++)
        put(d, 108 + i, d->wwn >> (48 - 16 * i));
    if (block_conf_discard(&d->conf, d->drive)) {
        put(d, 105, 1);
        put(d, 169, 1);         /* TRIM */
        put(d, 69, 1 << 14 | 1 << 5);
    }
    put(d, 217, 1);             /* no rotation */
}

void ata_identify_packet(IdeDrive *d)
{
    memset(d->buf, 0, IDE_SECTOR);
    put(d, 0, 2 << 14 | 5 << 8 | 1 << 7 | 2 << 5);      /* ATAPI CD-ROM, removable, 12-byte packets */
    put_names(d);
    put(d, 48, 1);
    put(d, 49, 1 << 11 | 1 << 9 | 1 << 8);
    put(d, 53, 7);
    put_dma_modes(d);
    put(d, 71, 30);
    put(d, 72, 30);
    put(d, 80, 0x1e);
    for (int i = 0; d->wwn && i < 4; i++)
        put(d, 108 + i, d->wwn >> (48 - 16 * i));
    if (d->wwn)
        put(d, 87, 1 << 8);
}
