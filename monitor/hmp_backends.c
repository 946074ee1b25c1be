/* hmp_backends: screens, keys, mice, character devices. */
#include "monitor/hmp_int.h"

#include "chardev/chardev.h"
#include "ui/display.h"

#include <stdlib.h>

HmpFn hmp_change_vnc, hmp_screendump, hmp_sendkey, hmp_mouse_move, hmp_mouse_button, hmp_mouse_set, hmp_set_password,
      hmp_info_mice, hmp_info_vnc, hmp_info_chardev, hmp_chardev_add, hmp_chardev_remove, hmp_ringbuf_read,
      hmp_ringbuf_write;

static Ui *ui_of(Hmp *h) { return machine_service(h->m, "ui"); }

void hmp_screendump(Hmp *h, int argc, char **argv)
{
    const char *format = NULL, *path = NULL;
    GError *err = NULL;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-f") && i + 1 < argc)
            format = argv[++i];
        else
            path = argv[i];
    }
    if (!path)
        hmp_printf(h, "screendump [-f ppm|png] FILE\n");
    else if (!ui_of(h) || !ui_screendump(ui_of(h), NULL, path, format, &err))
        hmp_error(h, err);
}

void hmp_sendkey(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc < 2)
        hmp_printf(h, "sendkey KEY[-KEY...] [hold_ms]\n");
    else if (ui_of(h) && !ui_send_keys(ui_of(h), argv[1], argc > 2 ? atoi(argv[2]) : 0, &err))
        hmp_error(h, err);
}

void hmp_mouse_move(Hmp *h, int argc, char **argv)
{
    if (argc >= 3 && ui_of(h))
        ui_mouse_move(ui_of(h), atoi(argv[1]), atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 0);
}

void hmp_mouse_button(Hmp *h, int argc, char **argv)
{
    if (argc > 1 && ui_of(h))
        ui_mouse_buttons(ui_of(h), atoi(argv[1]));
}

void hmp_mouse_set(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc > 1 && ui_of(h) && !ui_select_mouse(ui_of(h), atoi(argv[1]), &err))
        hmp_error(h, err);
}

void hmp_info_mice(Hmp *h, int argc, char **argv)
{
    if (ui_of(h))
        hmp_take(h, ui_list_mice(ui_of(h)));
}

void hmp_set_password(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc < 2)
        hmp_printf(h, "set_password vnc PASSWORD\n");
    else if (ui_of(h) && !display_vnc_set_password(ui_of(h), argv[argc - 1], &err))
        hmp_error(h, err);
}

/* "change vnc password [PASSWORD]": without it, it is asked for. */
void hmp_change_vnc(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc < 3 || strcmp(argv[2], "password") != 0 || !ui_of(h)) {
        hmp_printf(h, "change vnc password [PASSWORD]\n");
    } else if (argc == 3 && h->history) {
        h->question = "Password: ";
        h->then = "change vnc password";
    } else if (!display_vnc_set_password(ui_of(h), argc > 3 ? argv[3] : "", &err)) {
        hmp_error(h, err);
    }
}

void hmp_info_vnc(Hmp *h, int argc, char **argv)
{
    if (ui_of(h))
        hmp_take(h, display_vnc_describe(ui_of(h)));
}

/* --- character devices --- */

static ChardevSet *chardevs_of(Hmp *h) { return machine_service(h->m, "chardevs"); }

static void describe_chardev(void *opaque, Chardev *chr)
{
    g_autofree char *text = chardev_describe(chr);

    hmp_printf(opaque, "%s: filename=%s\n", chardev_id(chr), text);
}

void hmp_info_chardev(Hmp *h, int argc, char **argv)
{
    if (chardevs_of(h))
        chardev_foreach(chardevs_of(h), describe_chardev, h);
}

void hmp_chardev_add(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc < 2 || !chardevs_of(h))
        hmp_printf(h, "chardev-add BACKEND,id=NAME,...\n");
    else if (!chardev_parse(chardevs_of(h), argv[1], &err))
        hmp_error(h, err);
}

void hmp_chardev_remove(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (chardevs_of(h) && !chardev_remove(chardevs_of(h), argc > 1 ? argv[1] : "", &err))
        hmp_error(h, err);
}

static Chardev *ringbuf_of(Hmp *h, int argc, char **argv)
{
    Chardev *c = argc > 2 && chardevs_of(h) ? chardev_find(chardevs_of(h), argv[1]) : NULL;

    if (!c)
        hmp_printf(h, "Error: there is no chardev '%s'\n", argc > 1 ? argv[1] : "");
    return c;
}

void hmp_ringbuf_read(Hmp *h, int argc, char **argv)
{
    Chardev *c = ringbuf_of(h, argc, argv);
    g_autoptr(GByteArray) out = g_byte_array_new();
    GError *err = NULL;

    if (!c)
        return;
    if (!chardev_ringbuf_read(c, out, MAX(atoi(argv[2]), 0), &err))
        hmp_error(h, err);
    g_string_append_len(h->out, (const char *)out->data, out->len);
}

void hmp_ringbuf_write(Hmp *h, int argc, char **argv)
{
    Chardev *c = ringbuf_of(h, argc, argv);
    GError *err = NULL;

    if (c && !chardev_ringbuf_write(c, argv[2], strlen(argv[2]), &err))
        hmp_error(h, err);
}
