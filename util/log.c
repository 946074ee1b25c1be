/* log: rate-limited log lines, log items by name, trace points by pattern. */
#include "util/log.h"

#include "util/bytes.h"
#include "util/error.h"

#include <stdio.h>

uint32_t log_mask;
static FILE *log_file;          /* NULL = stderr; set before threads start or under log_lock */
static GPtrArray *trace_patterns;
static unsigned trace_generation;
static GMutex log_lock;

static const struct { const char *name; LogItem item; const char *help; } items[] = {
    { "unimp", LOG_UNIMP, "things the guest asked for that quern lacks" },
    { "guest_errors", LOG_GUEST_ERROR, "broken rules of the hardware by the guest" },
    { "int", LOG_INT, "interrupts and exceptions in short format" },
    { "cpu_reset", LOG_CPU_RESET, "CPU state before each reset" },
    { "in_asm", LOG_IN_ASM, "guest code as it is decoded" },
    { "out_asm", LOG_OUT_ASM, "generated host code" },
    { "exec", LOG_EXEC, "each block as it is entered (large)" },
    { "cpu", LOG_CPU, "registers before each block (large)" },
    { "mmu", LOG_MMU, "page walks and TLB activity" },
    { "page", LOG_PAGE, "guest memory layout at start" },
};

char *log_items_help(void)
{
    GString *s = g_string_new("Log items (comma separated):\n");

    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        g_string_append_printf(s, "%-15s %s\n", items[i].name, items[i].help);
    g_string_append(s, "trace:PATTERN   enable trace points\n");
    return g_string_free(s, FALSE);
}

static bool set_item(const char *word, GError **err)
{
    const char *names[ARRAY_LEN(items) + 1] = { NULL };
    const char *near;

    if (g_str_has_prefix(word, "trace:"))
        return log_enable_trace(word + 6, err);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        names[i] = items[i].name;
        if (g_str_equal(word, items[i].name)) {
            log_mask |= items[i].item;
            return true;
        }
    }
    near = nearest_name(word, names);
    return err_set(err, "unknown log item '%s'%s%s%s; -d help lists them", word,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

bool log_set_items(const char *spec, GError **err)
{
    g_auto(GStrv) words = g_strsplit(spec, ",", -1);

    for (char **w = words; *w; w++) {
        if (**w && !set_item(*w, err))
            return false;
    }
    return true;
}

bool log_set_file(const char *path, GError **err)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return err_set_errno(err, errno, "log file %s", path);
    setvbuf(f, NULL, _IOLBF, 0);
    log_file = f;
    return true;
}

extern TracePoint __start_trace_points[] __attribute__((weak)), __stop_trace_points[] __attribute__((weak));

static gint by_name(gconstpointer a, gconstpointer b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Sorted, each name once, with a NULL behind the last. */
static GPtrArray *trace_names(void)
{
    GPtrArray *names = g_ptr_array_new();

    for (TracePoint *tp = __start_trace_points; tp < __stop_trace_points; tp++) {
        if (tp->name && !g_ptr_array_find_with_equal_func(names, tp->name, g_str_equal, NULL))
            g_ptr_array_add(names, (char *)tp->name);
    }
    g_ptr_array_sort(names, by_name);
    g_ptr_array_add(names, NULL);
    return names;
}

char *log_traces_help(void)
{
    g_autoptr(GPtrArray) names = trace_names();
    GString *s = g_string_new("Trace points (-trace 'PATTERN', with * and ?):\n");

    for (unsigned i = 0; names->pdata[i]; i++)
        g_string_append_printf(s, "%s\n", (char *)names->pdata[i]);
    return g_string_free(s, FALSE);
}

static bool trace_known(const char *pattern, GError **err)
{
    g_autoptr(GPtrArray) names = trace_names();
    const char *near;

    for (unsigned i = 0; names->pdata[i]; i++) {
        if (g_pattern_match_simple(pattern, names->pdata[i]))
            return true;
    }
    near = nearest_name(pattern, (const char *const *)names->pdata);
    return err_set(err, "no trace point matches '%s'%s%s%s; -trace help lists them", pattern,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

bool log_enable_trace(const char *pattern, GError **err)
{
    if (!trace_known(pattern, err))
        return false;
    g_mutex_lock(&log_lock);
    if (!trace_patterns)
        trace_patterns = g_ptr_array_new();
    g_ptr_array_add(trace_patterns, g_pattern_spec_new(pattern));
    trace_generation++;
    g_mutex_unlock(&log_lock);
    log_mask |= LOG_TRACE;
    return true;
}

bool trace_point_on(TracePoint *tp)
{
    if (tp->state && tp->generation == trace_generation)
        return tp->state == 2;
    g_mutex_lock(&log_lock);
    tp->state = 1;
    for (guint i = 0; trace_patterns && i < trace_patterns->len; i++) {
        if (g_pattern_spec_match_string(trace_patterns->pdata[i], tp->name))
            tp->state = 2;
    }
    tp->generation = trace_generation;
    g_mutex_unlock(&log_lock);
    return tp->state == 2;
}

static void log_va(const char *fmt, va_list ap)
{
    vfprintf(log_file ? log_file : stderr, fmt, ap);
}

void log_printf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_va(fmt, ap);
    va_end(ap);
}

void log_limited(LogSite *site, LogItem item, const char *fmt, ...)
{
    enum { LINES_PER_SECOND = 10 };
    g_autofree char *msg = NULL;
    int64_t now = g_get_monotonic_time();
    unsigned suppressed = 0;
    bool print;
    va_list ap;

    g_mutex_lock(&log_lock);
    if (now - site->window_start >= G_USEC_PER_SEC) {
        site->window_start = now;
        site->in_window = 0;
        suppressed = site->suppressed;
        site->suppressed = 0;
    }
    print = site->in_window++ < LINES_PER_SECOND;
    site->suppressed += !print;
    g_mutex_unlock(&log_lock);
    if (!print)
        return;
    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (suppressed)
        log_printf("(%u like the next left out)\n", suppressed);
    log_printf("%s: %s\n", item == LOG_UNIMP ? "unimp" : "guest", msg);
}

static void to_stderr(const char *prefix, const char *fmt, va_list ap)
{
    g_autofree char *msg = g_strdup_vprintf(fmt, ap);

    fprintf(stderr, "quern: %s%s\n", prefix, msg);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    to_stderr("warning: ", fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    to_stderr("", fmt, ap);
    va_end(ap);
}
