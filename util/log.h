/*
 * log: the voices that are not errors.
 *
 * log_guest: the guest broke a rule of its hardware.  log_unimp: quern lacks
 * something the guest asked for.  Both are off unless -d guest_errors / -d unimp,
 * and limited to 10 lines a second per call site, with a count of what was left out.
 * log_warn: something the host user should know; always on, stderr.
 * Thread-safe. The log file and mask are the allow-listed globals of this file.
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    LOG_UNIMP = 1u << 0,
    LOG_GUEST_ERROR = 1u << 1,
    LOG_INT = 1u << 2,          /* interrupts and exceptions delivered */
    LOG_CPU_RESET = 1u << 3,
    LOG_IN_ASM = 1u << 4,       /* guest code as it is decoded */
    LOG_OUT_ASM = 1u << 5,      /* host code as it is generated */
    LOG_EXEC = 1u << 6,         /* each block entered */
    LOG_CPU = 1u << 7,          /* registers at each block */
    LOG_MMU = 1u << 8,
    LOG_PAGE = 1u << 9,
    LOG_TRACE = 1u << 10,       /* trace points chosen by -trace */
} LogItem;

typedef struct LogSite {        /* one per call site, zero-initialized */
    int64_t window_start;       /* monotonic us */
    unsigned in_window, suppressed;
} LogSite;

extern uint32_t log_mask;       /* LogItem bits; read without a lock */

static inline bool log_on(LogItem item) { return __builtin_expect(log_mask & item, 0); }

/* Parses "int,guest_errors,trace:ide*" as -d does; "help" text by log_items_help(). */
bool log_set_items(const char *spec, GError **err);
bool log_set_file(const char *path, GError **err);      /* -D */
/* -trace: false if no trace point has such a name. */
bool log_enable_trace(const char *pattern, GError **err);
char *log_traces_help(void);                            /* names of all trace points, a line each */
char *log_items_help(void);                              /* caller frees */

void log_printf(const char *fmt, ...) G_GNUC_PRINTF(1, 2);   /* to the log, unconditionally */
void log_limited(LogSite *site, LogItem item, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
void log_warn(const char *fmt, ...) G_GNUC_PRINTF(1, 2);     /* "quern: warning: ..." */
void log_info(const char *fmt, ...) G_GNUC_PRINTF(1, 2);     /* "quern: ..." on stderr */

#define log_guest(...) do { static LogSite site_; \
        if (log_on(LOG_GUEST_ERROR)) log_limited(&site_, LOG_GUEST_ERROR, __VA_ARGS__); } while (0)
#define log_unimp(...) do { static LogSite site_; \
        if (log_on(LOG_UNIMP)) log_limited(&site_, LOG_UNIMP, __VA_ARGS__); } while (0)

/*
 * Trace points: always compiled, off by default, chosen by name with -trace 'ide_*'.
 *   trace(ide_read, "reg=%u val=%#x", reg, val);
 */
typedef struct TracePoint {
    const char *name;
    int state;                  /* 0 not looked at yet, 1 off, 2 on; reset when patterns change */
    unsigned generation;
} TracePoint;
/* All of them stand in one section of the program, so that they can be listed. */
#define TRACE_SECTION __attribute__((section("trace_points"), used, aligned(8)))
bool trace_point_on(TracePoint *tp);
#define trace(event, ...) do { static TRACE_SECTION TracePoint tp_ = { #event, 0, 0 }; \
        if (log_on(LOG_TRACE) && trace_point_on(&tp_)) { \
            log_printf(#event " " __VA_ARGS__); log_printf("\n"); } } while (0)

#endif
