/* hmp_machine: run control, saved states, devices, logs. */
#include "monitor/hmp_int.h"

#include "hw/core/objects.h"
#include "hw/i386/board.h"
#include "util/log.h"
#include "util/optlist.h"

#include <stdlib.h>

HmpFn hmp_cont, hmp_stop, hmp_quit, hmp_system_reset, hmp_system_powerdown, hmp_system_wakeup, hmp_nmi,
      hmp_savevm, hmp_loadvm, hmp_device_add, hmp_device_del, hmp_object_add, hmp_object_del, hmp_log,
      hmp_logfile, hmp_trace_event, hmp_cpu;

void hmp_cont(Hmp *h, int argc, char **argv)
{
    if (h->m->state == RUN_SHUTDOWN || h->m->state == RUN_INTERNAL_ERROR)
        hmp_printf(h, "Error: the guest has ended (%s); system_reset starts it again\n",
                   run_state_name(h->m->state));
    else if (h->m->state == RUN_SUSPENDED)
        machine_wakeup(h->m);
    else
        machine_start(h->m);
}

void hmp_stop(Hmp *h, int argc, char **argv) { machine_stop(h->m, RUN_PAUSED); }
void hmp_quit(Hmp *h, int argc, char **argv) { machine_request_shutdown(h->m, CAUSE_HOST_QMP_QUIT); }
void hmp_system_reset(Hmp *h, int argc, char **argv) { machine_request_reset(h->m, CAUSE_HOST_QMP_RESET); }
void hmp_system_powerdown(Hmp *h, int argc, char **argv) { machine_request_powerdown(h->m); }
void hmp_system_wakeup(Hmp *h, int argc, char **argv) { machine_wakeup(h->m); }
void hmp_nmi(Hmp *h, int argc, char **argv) { board_inject_nmi(h->m); }

/* Stops the machine around fn and lets it go on if it ran. */
static void while_stopped(Hmp *h, const char *path, bool (*fn)(Machine *m, const char *path, GError **err))
{
    bool ran = h->m->state == RUN_RUNNING;
    RunState was = h->m->state;
    GError *err = NULL;

    machine_stop(h->m, RUN_PAUSED);
    if (!fn(h->m, path, &err))
        hmp_error(h, err);
    if (ran)
        machine_start(h->m);
    else
        h->m->state = was;
}

void hmp_savevm(Hmp *h, int argc, char **argv)
{
    if (argc != 2)
        hmp_printf(h, "savevm FILE\n");
    else
        while_stopped(h, argv[1], machine_save);
}

void hmp_loadvm(Hmp *h, int argc, char **argv)
{
    if (argc != 2)
        hmp_printf(h, "loadvm FILE\n");
    else
        while_stopped(h, argv[1], machine_load);
}

void hmp_device_add(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;
    g_autoptr(OptList) l = optlist_parse(argc > 1 ? argv[1] : "", "driver", &err);

    if (l && !g_strcmp0(optlist_str(l, "driver", NULL), "help"))
        hmp_take(h, device_list_help());
    else if (!l || !device_add(h->m, l, &err))
        hmp_error(h, err);
}

void hmp_device_del(Hmp *h, int argc, char **argv)
{
    Device *d = argc == 2 ? device_find(h->m, argv[1]) : NULL;
    GError *err = NULL;

    if (!d)
        hmp_printf(h, "Error: there is no device '%s'\n", argc > 1 ? argv[1] : "");
    else if (!device_unplug_request(d, &err))
        hmp_error(h, err);
}

static void optlist_drop(void *data) { optlist_free(data); }

void hmp_object_add(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;
    OptList *l = optlist_parse(argc > 1 ? argv[1] : "", "qom-type", &err);

    if (l)
        machine_on_free(h->m, optlist_drop, l);
    if (!l || !object_add(h->m, l, &err))
        hmp_error(h, err);
}

void hmp_object_del(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (!object_del(h->m, argc > 1 ? argv[1] : "", &err))
        hmp_error(h, err);
}

void hmp_log(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc != 2 || !strcmp(argv[1], "help"))
        hmp_take(h, log_items_help());
    else if (!log_set_items(argv[1], &err))
        hmp_error(h, err);
}

void hmp_logfile(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc != 2)
        hmp_printf(h, "logfile FILE\n");
    else if (!log_set_file(argv[1], &err))
        hmp_error(h, err);
}

void hmp_trace_event(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (argc < 2 || (argc > 2 && strcmp(argv[2], "on")))
        hmp_printf(h, "trace-event NAME on (switching off: log none)\n");
    else if (!log_enable_trace(argv[1], &err))
        hmp_error(h, err);
}

void hmp_cpu(Hmp *h, int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : -1;

    if (n < 0 || n >= (int)h->m->vcpus->len)
        hmp_printf(h, "Error: there are CPUs 0 to %d\n", (int)h->m->vcpus->len - 1);
    else
        h->cpu = n;
}
