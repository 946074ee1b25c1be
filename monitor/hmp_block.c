/* hmp_block: disks in the monitor: what is attached, statistics, media change. */
#include "monitor/hmp_int.h"

#include "block/block.h"
#include "block/image.h"

HmpFn hmp_change_vnc, hmp_info_block, hmp_info_blockstats, hmp_eject, hmp_change, hmp_drive_add, hmp_drive_del;

static BlockGraph *graph_of(Hmp *h) { return machine_service(h->m, "block"); }

void hmp_info_block(Hmp *h, int argc, char **argv)
{
    BlockGraph *g = graph_of(h);
    bool first = true;

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d)) {
        BlockNode *n = block_dev_node(d);
        BlockNode *back = n ? block_node_backing(n) : NULL;

        hmp_printf(h, "%s%s", first ? "" : "\n", block_dev_name(d));
        if (n)
            hmp_printf(h, " (%s): %s (%s%s)\n", block_node_name(n), block_node_filename(n) ? block_node_filename(n) : "",
                       block_node_format(n), block_dev_read_only(d) ? ", read-only" : "");
        else
            hmp_printf(h, ": [not inserted]\n");
        if (block_dev_attached(d))
            hmp_printf(h, "    Attached to:      %s\n", *block_dev_device_id(d) ? block_dev_device_id(d) : block_dev_name(d));
        if (block_drive_place(d)->cdrom || !n)
            hmp_printf(h, "    Removable device: not locked, tray closed\n");
        if (n)
            hmp_printf(h, "    Cache mode:       %s\n", block_dev_wce(d) ? "writeback" : "writethrough");
        if (back)
            hmp_printf(h, "    Backing file:     %s\n", block_node_filename(back));
        first = false;
    }
}

void hmp_info_blockstats(Hmp *h, int argc, char **argv)
{
    BlockGraph *g = graph_of(h);

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d)) {
        const BlockStats *s = block_dev_stats(d);

        hmp_printf(h, "%s: rd_bytes=%" G_GUINT64_FORMAT " wr_bytes=%" G_GUINT64_FORMAT " rd_operations=%" G_GUINT64_FORMAT
                   " wr_operations=%" G_GUINT64_FORMAT " flush_operations=%" G_GUINT64_FORMAT " wr_total_time_ns=%"
                   G_GUINT64_FORMAT " rd_total_time_ns=%" G_GUINT64_FORMAT " flush_total_time_ns=%" G_GUINT64_FORMAT "\n",
                   block_dev_name(d), s->bytes[BLOCK_STAT_READ], s->bytes[BLOCK_STAT_WRITE], s->ops[BLOCK_STAT_READ],
                   s->ops[BLOCK_STAT_WRITE], s->ops[BLOCK_STAT_FLUSH], s->total_ns[BLOCK_STAT_WRITE],
                   s->total_ns[BLOCK_STAT_READ], s->total_ns[BLOCK_STAT_FLUSH]);
    }
}

static BlockDev *drive_named(Hmp *h, const char *name)
{
    BlockGraph *g = graph_of(h);

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d))
        if (!strcmp(block_dev_name(d), name) || !strcmp(block_dev_device_id(d), name))
            return d;
    hmp_printf(h, "Error: there is no drive '%s'\n", name);
    return NULL;
}

void hmp_eject(Hmp *h, int argc, char **argv)
{
    bool force = argc > 1 && !strcmp(argv[1], "-f");
    BlockDev *d = argc > 1 + force ? drive_named(h, argv[1 + force]) : NULL;
    GError *err = NULL;

    if (argc <= 1 + force)
        hmp_printf(h, "eject [-f] DRIVE\n");
    else if (d && !block_dev_eject(d, force, &err))
        hmp_error(h, err);
}

/* The first word was a PCI address for if=virtio; only if=none makes sense in a running machine. */
void hmp_drive_add(Hmp *h, int argc, char **argv)
{
    g_autoptr(GHashTable) o = NULL;
    GError *err = NULL;

    if (argc < 3 || !graph_of(h)) {
        hmp_printf(h, "drive_add 0 if=none,id=ID,file=FILE...\n");
        return;
    }
    o = block_opts_parse(argv[2], NULL, &err);
    if (o && g_strcmp0(block_opts_get(o, "if"), "none"))
        err_set(&err, "drives added to a running machine need if=none; a device_add takes them");
    if (!err && o && block_drive_add(graph_of(h), o, &err))
        hmp_printf(h, "OK\n");
    if (err)
        hmp_error(h, err);
}

void hmp_drive_del(Hmp *h, int argc, char **argv)
{
    BlockDev *d = argc > 1 ? drive_named(h, argv[1]) : NULL;

    if (argc < 2)
        hmp_printf(h, "drive_del ID\n");
    else if (d && block_dev_attached(d))
        hmp_printf(h, "Error: drive '%s' is in use by a device; device_del that first\n", argv[1]);
    else if (d)
        block_dev_delete(d);
}

void hmp_change(Hmp *h, int argc, char **argv)
{
    BlockDev *d = NULL;
    GError *err = NULL;

    if (argc > 1 && strcmp(argv[1], "vnc") == 0) {
        hmp_change_vnc(h, argc, argv);
        return;
    }
    d = argc > 2 ? drive_named(h, argv[1]) : NULL;
    if (argc <= 2)
        hmp_printf(h, "change DRIVE FILE [FORMAT], change vnc password [PASSWORD]\n");
    else if (d && !block_dev_change_medium(d, argv[2], argc > 3 ? argv[3] : NULL, &err))
        hmp_error(h, err);
}
