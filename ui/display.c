/* display: the list of displays, their choice, and what happens when one cannot start. */
#include "ui/ui_int.h"

#include "util/log.h"

#include <stdlib.h>
#include <string.h>

static bool none_open(Ui *ui, OptList *opts, GError **err)
{
    return true;
}

const DisplayKind display_none = { "none", "no display; the guest's screen stays reachable by screendump", true, none_open };

static const DisplayKind *const kinds[] = {
    &display_none,
#if HAVE_SDL2
    &display_sdl,
#endif
#if HAVE_CURSES
    &display_curses,
#endif
#if HAVE_VNC
    &display_vnc,
    &display_web,
#endif
    NULL
};

/* Names QEMU has and quern shows in another way, or a build left out. */
static const char *const other_names[] = { "gtk", "sdl", "curses", "vnc", "web", "egl-headless", "dbus",
                                           "spice-app", "cocoa", NULL };

const DisplayKind *const *display_kinds(void)
{
    return kinds;
}

static const DisplayKind *kind_find(const char *name)
{
    for (unsigned i = 0; kinds[i]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

char *display_list_help(void)
{
    GString *s = g_string_new("Available display backend types:\n");

    for (unsigned i = 0; kinds[i]; i++)
        g_string_append_printf(s, "%-10s %s\n", kinds[i]->name, kinds[i]->desc);
    return g_string_free(s, FALSE);
}

static bool has_window_system(void)
{
    const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");

    return (x && *x) || (wayland && *wayland);
}

/* Tries kind name without options; false leaves no trace. */
static bool try_kind(Ui *ui, const char *name, GString *why)
{
    const DisplayKind *k = kind_find(name);
    g_autoptr(OptList) opts = optlist_new();
    g_autoptr(GError) err = NULL;

    if (!k)
        return false;
    if (k->open(ui, opts, &err))
        return true;
    g_string_append_printf(why, "%s%s: %s", why->len ? "; " : "", name, err->message);
    return false;
}

/* The next useful display: a window, else the web page, whose address is printed. */
static void fall_back(Ui *ui, const char *not_this)
{
    g_autoptr(GString) why = g_string_new(NULL);

    if (has_window_system() && strcmp(not_this, "sdl") != 0 && try_kind(ui, "sdl", why)) {
        if (*not_this)
            log_info("a window is opened instead");
        return;
    }
    if (strcmp(not_this, "web") != 0 && try_kind(ui, "web", why))
        return;
    log_warn("no display could be opened%s%s; the guest runs without one", why->len ? ": " : "", why->str);
}

static bool unknown_kind(const char *name, GError **err)
{
    const char *near = nearest_name(name, other_names);

    for (unsigned i = 0; other_names[i]; i++)
        if (strcmp(other_names[i], name) == 0) {
            g_autoptr(GString) have = g_string_new(NULL);

            for (unsigned j = 0; kinds[j]; j++)
                g_string_append_printf(have, "%s%s", j ? ", " : "", kinds[j]->name);
            return err_set_code(err, ERR_UNSUPPORTED, "this quern has no '%s' display; it has %s", name, have->str);
        }
    return err_set(err, "unknown display '%s'%s%s%s", name, near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "; see -display help");
}

bool display_open(Ui *ui, const char *spec, GError **err)
{
    g_autoptr(OptList) opts = NULL;
    g_autoptr(GError) why = NULL;
    const DisplayKind *k;
    const char *name;

    if (!spec) {
        fall_back(ui, "");
        return true;
    }
    if (!*spec)
        return err_set(err, "a display is missing; see -display help");
    if (g_str_has_prefix(spec, "vnc="))
        return display_open_vnc(ui, spec + 4, err);
    opts = optlist_parse(spec, "type", err);
    if (!opts)
        return false;
    name = optlist_str(opts, "type", "none");
    if (strcmp(name, "default") == 0) {
        fall_back(ui, "");
        return true;
    }
    k = kind_find(name);
    if (!k && strcmp(name, "gtk") == 0)
        k = kind_find("sdl");           /* the window there is */
    if (!k)
        return unknown_kind(name, err);
    if (k->open(ui, opts, &why))
        return optlist_check_unused(opts, err);
    if (!optlist_check_unused(opts, err))
        return false;                   /* the options are wrong: say that */
    if (why->code != ERR_UNSUPPORTED) {
        g_propagate_error(err, g_steal_pointer(&why));
        return false;
    }
    log_warn("the %s display cannot start: %s", name, why->message);
    fall_back(ui, name);
    return true;
}

#if !HAVE_VNC
bool display_open_vnc(Ui *ui, const char *spec, GError **err)
{
    return err_set_code(err, ERR_UNSUPPORTED, "this quern was built without libvncserver");
}

bool display_vnc_set_password(Ui *ui, const char *password, GError **err)
{
    return err_set_code(err, ERR_UNSUPPORTED, "this quern was built without libvncserver");
}

char *display_vnc_describe(Ui *ui)
{
    return g_strdup("Server: disabled\n");
}
#endif
