/* display_fallback: a stand-in with the display "none" only; ui/display.c replaces this file. */
#include "ui/display.h"

#include <string.h>

bool display_open(Ui *ui, const char *spec, GError **err)
{
    return !spec || !strcmp(spec, "none") || err_set(err, "only -display none is built in");
}

bool display_open_vnc(Ui *ui, const char *spec, GError **err) { return err_set(err, "VNC is not built in"); }
bool display_vnc_set_password(Ui *ui, const char *password, GError **err) { return err_set(err, "VNC is not built in"); }
char *display_vnc_describe(Ui *ui) { return g_strdup("Server: disabled\n"); }
char *display_list_help(void) { return g_strdup("Available display types:\nnone\n"); }
