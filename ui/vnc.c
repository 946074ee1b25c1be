/* vnc: the VNC server. */
#include "ui/ui_int.h"

bool display_open_vnc(Ui *ui, const char *spec, GError **err)
{
    return err_set_code(err, ERR_UNSUPPORTED, "VNC is not built in yet");
}

bool display_vnc_set_password(Ui *ui, const char *password, GError **err)
{
    return err_set_code(err, ERR_UNSUPPORTED, "VNC is not built in yet");
}

char *display_vnc_describe(Ui *ui)
{
    return g_strdup("Server: disabled\n");
}
