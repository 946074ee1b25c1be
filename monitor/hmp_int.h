/*
 * hmp_int: what a file of HMP commands needs.
 *
 * To add a command: one row in monitor/hmp.def (or hmp_info.def for "info NAME") and a function
 * void hmp_NAME(Hmp *h, int argc, char **argv). argv[0] is the command; options such as -f are
 * ordinary words. A row whose arguments start with '*' gets everything after the command as argv[1].
 */
#ifndef MONITOR_HMP_INT_H
#define MONITOR_HMP_INT_H

#include "hw/core/wiring.h"
#include "monitor/monitor.h"
#include "softmmu/vcpu.h"
#include "target/x86/cpu.h"

typedef struct Hmp {
    Machine *m;
    GString *out;
    int cpu;                    /* of "cpu N" */
    const char *format;         /* "/10xw" after x, xp, p, i, o: without the slash; or "" */
    GPtrArray *history;         /* char *, of the session; NULL when there is none */
    const char *question;       /* set by a command: asks for a line that is not shown; it comes back as */
    const char *then;           /* this command's last argument. Static strings */
} Hmp;

typedef void HmpFn(Hmp *h, int argc, char **argv);
typedef struct HmpCmd { const char *name, *args, *help; HmpFn *fn; } HmpCmd;
const HmpCmd *hmp_commands(size_t *n);
const HmpCmd *hmp_infos(size_t *n);

void hmp_printf(Hmp *h, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Prints "Error: ..." and frees *err, if it is set. */
void hmp_error(Hmp *h, GError *err);
void hmp_take(Hmp *h, char *text);      /* prints and frees; NULL prints nothing */
Vcpu *hmp_vcpu(Hmp *h);                 /* the selected one, NULL: the machine has none */
/* "0x7c00", "$rip+4", "(1<<20)|3". */
bool hmp_expr(Hmp *h, const char *text, uint64_t *out, GError **err);

/* A line editor for one session: bytes in, echo out, complete lines to fn. */
typedef struct Readline Readline;
typedef struct ReadlineOps {
    void (*line)(void *opaque, const char *line);
    void (*echo)(void *opaque, const char *text, size_t len);
    void (*complete)(void *opaque, const char *prefix, GPtrArray *out);    /* whole words that fit */
} ReadlineOps;
Readline *readline_new(const char *prompt, const ReadlineOps *ops, void *opaque);
void readline_free(Readline *r);
void readline_feed(Readline *r, uint8_t c);
void readline_show(Readline *r);        /* prompt and what is typed so far */
/* The next line answers question: not shown while typed, not in the history. question stays the caller's. */
void readline_ask(Readline *r, const char *question);
GPtrArray *readline_history(Readline *r);

#endif
