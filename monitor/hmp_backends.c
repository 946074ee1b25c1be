/* hmp_backends: screens, keys, mice, network, character devices. */
#include "monitor/hmp_int.h"

#include "chardev/chardev.h"
#include "net/net.h"
#include "ui/display.h"

#include <stdlib.h>

HmpFn hmp_screendump, hmp_sendkey, hmp_mouse_move, hmp_mouse_button, hmp_mouse_set, hmp_set_password,
      hmp_info_mice, hmp_info_vnc, hmp_info_network, hmp_info_usernet, hmp_set_link, hmp_hostfwd_add,
      hmp_hostfwd_remove, hmp_info_chardev, hmp_chardev_add, hmp_chardev_remove, hmp_ringbuf_read,
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

void hmp_info_vnc(Hmp *h, int argc, char **argv)
{
    if (ui_of(h))
        hmp_take(h, display_vnc_describe(ui_of(h)));
}

/* --- network --- */

static GPtrArray *ports_of(Hmp *h) { return machine_service(h->m, "netports"); }

static void describe_port(Hmp *h, const NetPort *p, const char *lead, int index)
{
    g_autofree char *more = p->ops && p->ops->describe ? p->ops->describe(p->opaque) : NULL;

    /* A back-end's own text starts with "type=". */
    if (more && g_str_has_prefix(more, "type="))
        hmp_printf(h, "%s%s: index=%d,%s\n", lead, p->id, index, more);
    else
        hmp_printf(h, "%s%s: index=%d,type=%s%s%s\n", lead, p->id, index, p->type, more ? "," : "", more ? more : "");
}

void hmp_info_network(Hmp *h, int argc, char **argv)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *p = g_ptr_array_index(ports, i);

        if (p->peer) {
            describe_port(h, p->peer, "", 0);
            describe_port(h, p, " \\ ", 0);
        } else {
            describe_port(h, p, "", 0);
        }
    }
}

void hmp_info_usernet(Hmp *h, int argc, char **argv)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++)
        hmp_take(h, net_user_describe(g_ptr_array_index(ports, i)));
}

static NetPort *port_find(Hmp *h, const char *name)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *p = g_ptr_array_index(ports, i);

        if (!strcmp(p->id, name))
            return p;
        if (p->peer && !strcmp(p->peer->id, name))
            return p->peer;
    }
    return NULL;
}

void hmp_set_link(Hmp *h, int argc, char **argv)
{
    NetPort *p = argc == 3 ? port_find(h, argv[1]) : NULL;

    if (argc != 3)
        hmp_printf(h, "set_link NAME on|off\n");
    else if (!p)
        hmp_printf(h, "Error: there is no network port '%s'\n", argv[1]);
    else
        net_port_set_link(p, !strcmp(argv[2], "on"));
}

static void hostfwd(Hmp *h, int argc, char **argv, bool add)
{
    GPtrArray *ports = ports_of(h);
    NetPort *p = NULL;
    GError *err = NULL;

    if (argc < 2) {
        hmp_printf(h, "%s [id] tcp|udp:[addr]:port-[addr]:port\n", argv[0]);
        return;
    }
    if (argc > 2)
        p = port_find(h, argv[1]);
    for (unsigned i = 0; !p && argc == 2 && ports && i < ports->len; i++)
        if (!strcmp(((NetPort *)g_ptr_array_index(ports, i))->type, "user"))
            p = g_ptr_array_index(ports, i);
    if (!p)
        hmp_printf(h, "Error: there is no such user network\n");
    else if (!(add ? net_user_hostfwd_add(p, argv[argc - 1], &err) : net_user_hostfwd_remove(p, argv[argc - 1], &err)))
        hmp_error(h, err);
}

void hmp_hostfwd_add(Hmp *h, int argc, char **argv) { hostfwd(h, argc, argv, true); }
void hmp_hostfwd_remove(Hmp *h, int argc, char **argv) { hostfwd(h, argc, argv, false); }

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
