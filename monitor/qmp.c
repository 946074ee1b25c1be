/* qmp: the monitor for programs. */
#include "monitor/monitor.h"

bool qmp_attach(Machine *m, Chardev *chr, bool pretty, GError **err)
{
    return err_set(err, "QMP is not available yet");
}
