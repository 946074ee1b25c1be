/* drives: -drive, -hda, -cdrom ... and -device become block back-ends and devices. */
#include "cli/cli.h"

#include "block/block.h"

#include <fcntl.h>
#include <unistd.h>

enum { IDE_SLOTS = 4, CDROM_SLOT = 2 };

bool device_wanted(Cli *cli, const char *const *names)
{
    for (unsigned i = 0; i < cli->devices->len; i++) {
        CliItem *it = g_ptr_array_index(cli->devices, i);
        g_autoptr(OptList) l = optlist_parse(it->text, "driver", NULL);

        if (l && g_strv_contains(names, optlist_str(l, "driver", "")))
            return true;
    }
    return false;
}

/* ISO 9660 volume descriptor: such a file given by name alone is a CD. */
static bool is_cd_image(const char *path)
{
    uint8_t b[6] = { 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool cd;

    if (fd < 0)
        return false;
    /* A hybrid image (with a partition table) is a CD too: that is what its maker tests. */
    cd = pread(fd, b, 6, 32768) == 6 && !memcmp(b, "\001CD001", 6);
    close(fd);
    return cd;
}

static bool add_short(Services *s, const char *option, const char *file, GError **err)
{
    static const struct { const char *option, *extra; } how[] = {
        { "-hda", "if=ide,index=0" }, { "-hdb", "if=ide,index=1" }, { "-hdc", "if=ide,index=2" },
        { "-hdd", "if=ide,index=3" }, { "-cdrom", "if=ide,index=2,media=cdrom" },
        { "-fda", "if=floppy,index=0" }, { "-fdb", "if=floppy,index=1" }, { "-pflash", "if=pflash" } };

    for (size_t i = 0; i < G_N_ELEMENTS(how); i++)
        if (!strcmp(how[i].option, option))
            return block_drive_add_file(s->block, file, how[i].extra, err) || err_prefix(err, "%s", option);
    return err_set(err, "%s is not a drive option", option);
}

bool block_options(Services *s, Cli *cli, GError **err)
{
    block_graph_set_snapshot(s->block, cli->snapshot);
    if (cli->image_policy && !block_graph_set_policy(s->block, cli->image_policy))
        return err_set(err, "-image-policy %s is not known: use any, beside or none", cli->image_policy);
    for (unsigned i = 0; i < cli->blockdevs->len; i++) {
        CliItem *it = g_ptr_array_index(cli->blockdevs, i);
        g_autoptr(GHashTable) o = block_opts_parse(it->text, "driver", err);

        if (!o || !block_blockdev_add(s->block, o, err))
            return err_prefix(err, "-blockdev %s", it->text);
    }
    for (unsigned i = 0; i < cli->drives->len; i++) {
        CliItem *it = g_ptr_array_index(cli->drives, i);
        g_autoptr(GHashTable) o = NULL;

        if (strcmp(it->option, "-drive")) {
            if (!add_short(s, it->option, it->text, err))
                return false;
            continue;
        }
        o = block_opts_parse(it->text, NULL, err);
        if (!o || !block_drive_add(s->block, o, err))
            return err_prefix(err, "-drive %s", it->text);
    }
    for (unsigned i = 0; i < cli->disks->len; i++) {
        CliItem *it = g_ptr_array_index(cli->disks, i);
        bool cd = is_cd_image(it->text);

        if (!block_drive_add_file(s->block, it->text, cd ? "if=ide,index=2,media=cdrom" : "if=ide", err))
            return false;
        if (cd && !cli->cfg.boot_order)
            cli->cfg.boot_order = "dc";
    }
    return true;
}

/* Creates cls for the drive on bus (NULL: the first with room). */
static bool drive_device(Machine *m, BlockDev *dev, const char *cls, const char *bus, const char *more, GError **err)
{
    g_autofree char *props = g_strdup_printf("drive=%s%s%s", block_dev_name(dev), more ? "," : "", more ? more : "");
    Bus *b = bus ? bus_find(m, bus) : NULL;

    if (!device_class_find(cls))
        return err_set(err, "drive '%s' needs a %s, which is not available", block_dev_name(dev), cls);
    if (bus && !b)
        return err_set(err, "drive '%s': this machine has no %s", block_dev_name(dev), bus);
    return device_create(m, cls, b, props, err) || err_prefix(err, "drive '%s'", block_dev_name(dev));
}

static bool ide_device(Machine *m, BlockDev *dev, const BlockPlace *p, unsigned *used, GError **err)
{
    g_autofree char *bus = NULL, *unit = NULL;
    int slot = p->index;

    if (p->bus >= 0 && p->unit >= 0)
        slot = p->bus * 2 + p->unit;
    for (int i = 0; slot < 0 && i < IDE_SLOTS; i++) {
        int want = p->cdrom ? (CDROM_SLOT + i) % IDE_SLOTS : i;

        if (!(*used & 1u << want))
            slot = want;
    }
    if (slot < 0 || slot >= IDE_SLOTS)
        return err_set(err, "drive '%s': the IDE channels take four drives", block_dev_name(dev));
    if (*used & 1u << slot)
        return err_set(err, "drive '%s': IDE place index=%d is taken", block_dev_name(dev), slot);
    *used |= 1u << slot;
    bus = g_strdup_printf("ide.%d", slot / 2);
    unit = g_strdup_printf("unit=%d", slot % 2);
    return drive_device(m, dev, p->cdrom ? "ide-cd" : "ide-hd", bus, unit, err);
}

static bool place_drives(Services *s, unsigned *ide_used, GError **err)
{
    BlockDev *dev = NULL;

    /* Those with a fixed place first, so that the others fill what is left. */
    for (int pass = 0; pass < 2; pass++) {
        for (dev = block_drive_next(s->block, NULL); dev; dev = block_drive_next(s->block, dev)) {
            const BlockPlace *p = block_drive_place(dev);
            bool fixed = p->index >= 0 || (p->bus >= 0 && p->unit >= 0);
            g_autofree char *unit = NULL;
            bool ok = true;

            if (block_dev_attached(dev) || fixed != !pass)
                continue;
            switch (p->type) {
            case BLOCK_IF_DEFAULT:
            case BLOCK_IF_IDE: ok = ide_device(s->m, dev, p, ide_used, err); break;
            case BLOCK_IF_VIRTIO: ok = drive_device(s->m, dev, "virtio-blk-pci", NULL, NULL, err); break;
            case BLOCK_IF_FLOPPY:
                unit = p->index >= 0 ? g_strdup_printf("unit=%d", p->index) : NULL;
                ok = drive_device(s->m, dev, "floppy", NULL, unit, err);
                break;
            case BLOCK_IF_SCSI: ok = drive_device(s->m, dev, p->cdrom ? "scsi-cd" : "scsi-hd", NULL, NULL, err); break;
            default: break;     /* none: a -device takes it; pflash: the board did */
            }
            if (!ok)
                return false;
        }
    }
    return true;
}

static bool add_devices(Services *s, Cli *cli, GError **err)
{
    for (unsigned i = 0; i < cli->devices->len; i++) {
        CliItem *it = g_ptr_array_index(cli->devices, i);
        g_autoptr(OptList) l = optlist_parse(it->text, "driver", err);

        if (!l || !device_add(s->m, l, err))
            return err_prefix(err, "-device %s", it->text);
    }
    return true;
}

bool user_devices(Services *s, Cli *cli, GError **err)
{
    static const char *const own_cd[] = { "ide-cd", "ide-hd", "scsi-cd", NULL };
    unsigned ide_used = 0;
    Bus *cd_bus;

    if (!place_drives(s, &ide_used, err) || !add_devices(s, cli, err))
        return false;
    cd_bus = bus_find(s->m, "ide.1");
    if (!cli->cfg.nodefaults && !device_wanted(cli, own_cd) && !(ide_used & 1u << CDROM_SLOT) && cd_bus) {
        BlockDev *empty = block_dev_new_empty(s->block, "ide1-cd0");

        return drive_device(s->m, empty, "ide-cd", "ide.1", "unit=0", err);
    }
    return true;
}
