/*
 * qmp_int: what a file of QMP commands needs.
 *
 * To add a command: one row in monitor/qmp.def and a function JsonNode *qmp_NAME(Qmp *, JsonObject *args,
 * GError **err). NULL without err answers {}. The row's argument list is checked before the call:
 * "name:s" required string, "name?:i" optional integer; types s i b o (object) a (array) * (anything);
 * "..." allows others.
 */
#ifndef MONITOR_QMP_INT_H
#define MONITOR_QMP_INT_H

#include "hw/core/device.h"
#include "monitor/monitor.h"

#include <json-glib/json-glib.h>

typedef struct Qmp { Machine *m; bool ready; } Qmp;
typedef JsonNode *QmpFn(Qmp *q, JsonObject *args, GError **err);
typedef struct QmpCmd { const char *name, *args; QmpFn *fn; } QmpCmd;
const QmpCmd *qmp_commands(size_t *n);

/* args' member or a default; presence and type were checked. */
const char *qmp_str(JsonObject *args, const char *name, const char *def);
int64_t qmp_int(JsonObject *args, const char *name, int64_t def);
bool qmp_bool(JsonObject *args, const char *name, bool def);
/* args as options: nested members get dotted keys. */
OptList *qmp_options(JsonObject *args, GError **err);
/* A node from JSON text we wrote ourselves. */
JsonNode *qmp_node(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
JsonNode *qmp_take_object(JsonObject *o);
JsonNode *qmp_take_array(JsonArray *a);

#endif
