/*
 * gdb: a server for GDB's remote serial protocol (GDB manual, appendix E): packets, threads, running and stopping.
 *
 * Processors are threads 1, 2, ... The machine stands while the debugger looks: a packet that arrives
 * while it runs (other than an interrupt) stops it first. The peer may be anybody who reaches the
 * port: every length and number is checked, and a packet longer than we announced is refused.
 */
#include "monitor/gdb_int.h"

#include "monitor/monitor.h"
#include "util/log.h"

#include <string.h>

enum { PACKET_MAX = 0x4000, CHUNK = 0x1000, CTRL_C = 3, ESCAPE = 0x7d, SIG_INT = 2, SIG_TRAP = 5 };
enum { IDLE, BODY, SUM1, SUM2 };

/* --- sending --- */

static void send_frame(Gdb *g)
{
    if (g->open)
        chr_write_all(&g->fe, g->sent->str, g->sent->len);
}

/* Bytes as they are: what would end or escape a packet is escaped. */
static void reply_bytes(Gdb *g, const char *data, size_t len)
{
    uint8_t sum = 0;

    g_string_assign(g->sent, "$");
    for (size_t i = 0; i < len; i++) {
        char c = data[i];

        if (c == '$' || c == '#' || c == '*' || c == ESCAPE) {
            g_string_append_c(g->sent, ESCAPE);
            c ^= 0x20;
        }
        g_string_append_c(g->sent, c);
    }
    for (size_t i = 1; i < g->sent->len; i++)
        sum += (uint8_t)g->sent->str[i];
    g_string_append_printf(g->sent, "#%02x", sum);
    send_frame(g);
}

static void reply(Gdb *g, const char *text)
{
    reply_bytes(g, text, strlen(text));
}

static void reply_ok(Gdb *g, bool ok)
{
    reply(g, ok ? "OK" : "E22");
}

static void append_hex(GString *s, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g_string_append_printf(s, "%02x", b[i]);
}

/* --- parsing --- */

static bool take_hex(const char **p, uint64_t *v)
{
    const char *start = *p;

    for (*v = 0; g_ascii_isxdigit(**p) && *p - start < 16; (*p)++)
        *v = *v << 4 | (unsigned)g_ascii_xdigit_value(**p);
    return *p > start && !g_ascii_isxdigit(**p);
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* addr,len */
static bool take_range(const char **p, uint64_t *addr, uint64_t *len)
{
    return take_hex(p, addr) && take_char(p, ',') && take_hex(p, len);
}

/* Hex digits to bytes; false unless there are exactly len. */
static bool take_bytes(const char *p, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!g_ascii_isxdigit(p[2 * i]) || !g_ascii_isxdigit(p[2 * i + 1]))
            return false;
        out[i] = (uint8_t)(g_ascii_xdigit_value(p[2 * i]) << 4 | g_ascii_xdigit_value(p[2 * i + 1]));
    }
    return !p[2 * len];
}

/* A thread number: -1 all, 0 any, else 1 and up. */
static bool take_thread(const char **p, int *n)
{
    uint64_t v;

    if (take_char(p, '-'))
        return *n = -1, take_char(p, '1');
    if (!take_hex(p, &v) || v > INT16_MAX)
        return false;
    *n = (int)v;
    return true;
}

/* --- stopping --- */

static VcpuDebug *plan(Gdb *g, unsigned cpu)
{
    return cpu < g->nplans ? &g->plans[cpu] : NULL;
}

static const char *watch_word(Gdb *g, uint64_t addr)
{
    for (guint i = 0; i < g->watches->len; i++) {
        const VcpuWatch *w = &g_array_index(g->watches, VcpuWatch, i);

        if (w->addr == addr)
            return !w->read ? "watch" : w->write ? "awatch" : "rwatch";
    }
    return "watch";
}

static const char *break_word(Gdb *g, uint64_t rip)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        const GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->addr == rip)
            return b->hard ? g->hwbreak ? "hwbreak:;" : "" : g->swbreak ? "swbreak:;" : "";
    }
    return "";
}

static void reply_stop(Gdb *g, unsigned cpu, const VcpuDebug *d)
{
    g_autoptr(GString) s = g_string_new(NULL);
    X86Cpu *c = gdb_cpu(g, cpu);

    g_string_append_printf(s, "T%02xthread:%x;", d && d->hit != DEBUG_NONE ? SIG_TRAP : SIG_INT, cpu + 1);
    if (d && d->hit == DEBUG_WATCH)
        g_string_append_printf(s, "%s:%" G_GINT64_MODIFIER "x;", watch_word(g, d->hit_addr), d->hit_addr);
    else if (d && (d->hit == DEBUG_TRAP || d->hit == DEBUG_STOP))
        g_string_append(s, break_word(g, c->rip));
    reply(g, s->str);
}

static void clear_plans(Gdb *g)
{
    for (unsigned i = 0; i < g->nplans; i++)
        g->plans[i].hold = g->plans[i].step = false;
}

static gboolean resume(gpointer opaque)
{
    Gdb *g = opaque;

    g->resume = 0;
    if (g->running && g->m->state == RUN_DEBUG)
        machine_start(g->m);
    return G_SOURCE_REMOVE;
}

/* The machine stands: because of what? */
static void stopped(Gdb *g)
{
    int hit = -1, page = -1;

    for (unsigned i = 0; i < g->nplans; i++) {
        if (g->plans[i].hit == DEBUG_PAGE)
            page = (int)i;
        else if (g->plans[i].hit != DEBUG_NONE)
            hit = (int)i;
    }
    if (page >= 0)
        gdb_page_in(g, page, g->plans[page].hit_addr);
    if (hit < 0 && g->m->state == RUN_DEBUG) {  /* also when two processors stopped for one page */
        if (page >= 0)
            g->plans[page].hit = DEBUG_NONE;
        if (!g->resume)
            g->resume = g_idle_add(resume, g);
        return;
    }
    g->running = false;
    if (hit >= 0)
        g->cpu = (unsigned)hit;
    clear_plans(g);
    reply_stop(g, g->cpu, hit >= 0 ? plan(g, hit) : NULL);
    for (unsigned i = 0; i < g->nplans; i++)
        g->plans[i].hit = DEBUG_NONE;
}

static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    Gdb *g = opaque;

    if (!g->open)
        return;
    if (ev == EVENT_STOP && g->running)
        stopped(g);
    else if (ev == EVENT_RESET)
        gdb_break_reset(g);
    else if (ev == EVENT_SHUTDOWN && g->running && !g->m->no_shutdown)
        reply(g, "W00");
}

static void ensure_stopped(Gdb *g)
{
    if (g->m->state != RUN_RUNNING)
        return;
    g->running = false;
    machine_stop(g->m, RUN_PAUSED);
}

/* --- running --- */

static void go(Gdb *g)
{
    for (unsigned i = 0; i < g->nplans; i++)
        g->plans[i].hit = DEBUG_NONE;
    gdb_arm(g);
    g->running = true;
    machine_start(g->m);
}

/* c, s, C, S: one processor steps, or all run. */
static void old_resume(Gdb *g, bool step, const char *p)
{
    X86Cpu *c = gdb_cpu(g, g->cpu);
    uint64_t at;

    if (*p && take_hex(&p, &at) && !*p) {
        c->rip = at;
        if (g->m->accel->push)
            g->m->accel->push(&c->vcpu);
    }
    for (unsigned i = 0; i < g->nplans; i++) {
        g->plans[i].step = step && i == g->cpu;
        g->plans[i].hold = step && i != g->cpu;
    }
    go(g);
}

/* vCont;action[:thread]...: the first that fits a thread counts; threads without one stand. */
static void vcont(Gdb *g, const char *p)
{
    g_autofree char *todo = g_malloc0(g->nplans + 1);
    bool any = false;

    while (take_char(&p, ';')) {
        char action = *p ? *p++ : 0;
        uint64_t signal;
        int thread = -1;

        if (((action == 'C' || action == 'S') && !take_hex(&p, &signal)) || !strchr("cCsSt", action) || !action ||
            (take_char(&p, ':') && !take_thread(&p, &thread))) {
            reply_ok(g, false);
            return;
        }
        for (unsigned i = 0; i < g->nplans; i++) {
            if (!todo[i] && (thread <= 0 || (unsigned)thread == i + 1))
                todo[i] = g_ascii_tolower(action);
        }
    }
    for (unsigned i = 0; i < g->nplans; i++) {
        g->plans[i].step = todo[i] == 's';
        g->plans[i].hold = todo[i] != 's' && todo[i] != 'c';
        any |= !g->plans[i].hold;
    }
    if (*p || !any) {
        clear_plans(g);
        reply_ok(g, false);
        return;
    }
    go(g);
}

/* --- registers and memory --- */

static void read_regs(Gdb *g)
{
    g_autoptr(GString) s = g_string_new(NULL);
    X86Cpu *c = gdb_cpu(g, g->cpu);
    uint8_t b[16];

    for (guint i = 0; i < g->regs->len; i++) {
        const GdbReg *r = &g_array_index(g->regs, GdbReg, i);

        gdb_reg_read(r, c, b);
        append_hex(s, b, r->bytes);
    }
    reply(g, s->str);
}

static bool write_done(Gdb *g, X86Cpu *c, bool ok)
{
    x86_update_mode(c);
    if (g->m->accel->push)
        g->m->accel->push(&c->vcpu);
    return ok;
}

static bool write_regs(Gdb *g, const char *p)
{
    X86Cpu *c = gdb_cpu(g, g->cpu);
    size_t total = 0, at = 0;
    g_autofree uint8_t *b = NULL;
    bool ok = true;

    for (guint i = 0; i < g->regs->len; i++)
        total += g_array_index(g->regs, GdbReg, i).bytes;
    b = g_malloc(total);
    if (!take_bytes(p, b, total))
        return false;
    for (guint i = 0; i < g->regs->len; i++) {
        const GdbReg *r = &g_array_index(g->regs, GdbReg, i);

        ok &= gdb_reg_write(r, c, b + at);
        at += r->bytes;
    }
    return write_done(g, c, ok);
}

static const GdbReg *take_reg(Gdb *g, const char **p)
{
    uint64_t n;

    return take_hex(p, &n) && n < g->regs->len ? &g_array_index(g->regs, GdbReg, n) : NULL;
}

static void read_reg(Gdb *g, const char *p)
{
    const GdbReg *r = take_reg(g, &p);
    g_autoptr(GString) s = g_string_new(NULL);
    uint8_t b[16];

    if (!r || *p) {
        reply_ok(g, false);
        return;
    }
    gdb_reg_read(r, gdb_cpu(g, g->cpu), b);
    append_hex(s, b, r->bytes);
    reply(g, s->str);
}

static bool write_reg(Gdb *g, const char *p)
{
    const GdbReg *r = take_reg(g, &p);
    X86Cpu *c = gdb_cpu(g, g->cpu);
    uint8_t b[16];

    return r && take_char(&p, '=') && take_bytes(p, b, r->bytes) && write_done(g, c, gdb_reg_write(r, c, b));
}

static void read_memory(Gdb *g, const char *p)
{
    g_autoptr(GString) s = g_string_new(NULL);
    uint8_t b[PACKET_MAX / 2];
    uint64_t addr, len;

    if (!take_range(&p, &addr, &len) || *p || len > sizeof b || !gdb_read(g, addr, b, len)) {
        reply(g, "E14");
        return;
    }
    append_hex(s, b, len);
    reply(g, s->str);
}

static bool write_memory(Gdb *g, const char *p, const char *end, bool binary)
{
    uint8_t b[PACKET_MAX];
    uint64_t addr, len;

    if (!take_range(&p, &addr, &len) || !take_char(&p, ':') || len > sizeof b)
        return false;
    if (binary)
        return (size_t)(end - p) == len && gdb_write(g, addr, (const uint8_t *)p, len);
    return take_bytes(p, b, len) && gdb_write(g, addr, b, len);
}

/* --- breakpoints --- */

static void breakpoint(Gdb *g, bool on, const char *p)
{
    uint64_t type, addr, kind;
    VcpuWatch w;
    bool ok = true;

    if (!take_hex(&p, &type) || !take_char(&p, ',') || !take_range(&p, &addr, &kind) || (*p && *p != ';')) {
        reply_ok(g, false);
        return;
    }
    w = (VcpuWatch) { .addr = addr, .len = kind, .read = type != 2, .write = type != 3 };
    if (type > 4) {
        reply(g, "");
        return;
    }
    if (on)
        ok = type <= 1 ? gdb_break_add(g, addr, type == 1) : gdb_watch_add(g, w);
    else if (type <= 1)
        gdb_break_del(g, addr, type == 1);
    else
        gdb_watch_del(g, w);
    reply_ok(g, ok);
}

/* --- queries --- */

static void reply_features(Gdb *g, const char *p)
{
    g_autoptr(GString) s = g_string_new(NULL);
    uint64_t off, len, have = strlen(g->xml);

    if (!g_str_has_prefix(p, "target.xml:")) {
        reply(g, "E00");
        return;
    }
    p += strlen("target.xml:");
    if (!take_range(&p, &off, &len) || *p || off > have) {
        reply(g, "E01");
        return;
    }
    len = MIN(MIN(len, CHUNK), have - off);
    g_string_append_c(s, off + len < have ? 'm' : 'l');
    g_string_append_len(s, g->xml + off, len);
    reply_bytes(g, s->str, s->len);
}

static void reply_threads(Gdb *g, bool first)
{
    g_autoptr(GString) s = g_string_new("m");

    if (first)
        g->thread_next = 0;
    for (unsigned i = 0; i < 64 && g->thread_next < g->nplans; i++)
        g_string_append_printf(s, "%s%x", i ? "," : "", ++g->thread_next);
    reply(g, s->len > 1 ? s->str : "l");
}

static void reply_thread_info(Gdb *g, const char *p)
{
    g_autoptr(GString) s = g_string_new(NULL);
    char text[64];
    int n;

    if (!take_thread(&p, &n) || *p || n < 1 || (unsigned)n > g->nplans) {
        reply_ok(g, false);
        return;
    }
    g_snprintf(text, sizeof text, "CPU %d (%s)", n - 1, gdb_cpu(g, n - 1)->vcpu.halted ? "halted" : "running");
    append_hex(s, (uint8_t *)text, strlen(text));
    reply(g, s->str);
}

/* A line for the monitor, in hex; what it prints comes back the same way. */
static void monitor_command(Gdb *g, const char *p)
{
    size_t len = strlen(p) / 2;
    g_autofree char *line = g_malloc0(len + 1), *out = NULL;
    g_autoptr(GString) s = g_string_new(NULL);

    if (!take_bytes(p, (uint8_t *)line, len)) {
        reply_ok(g, false);
        return;
    }
    out = hmp_run(g->m, line, (int)g->cpu);
    for (size_t at = 0, all = out ? strlen(out) : 0; at < all; at += CHUNK) {
        g_string_assign(s, "O");
        append_hex(s, (uint8_t *)out + at, MIN(all - at, CHUNK));
        reply(g, s->str);
    }
    if (g->m->state == RUN_RUNNING)     /* "cont": the debugger believes it stands */
        ensure_stopped(g);
    reply(g, "OK");
}

static void query(Gdb *g, const char *p)
{
    if (g_str_has_prefix(p, "Supported")) {
        g->swbreak = strstr(p, "swbreak+") != NULL;
        g->hwbreak = strstr(p, "hwbreak+") != NULL;
        reply(g, "PacketSize=4000;qXfer:features:read+;swbreak+;hwbreak+;QStartNoAckMode+;vContSupported+");
    } else if (g_str_has_prefix(p, "Xfer:features:read:")) {
        reply_features(g, p + strlen("Xfer:features:read:"));
    } else if (!strcmp(p, "fThreadInfo") || !strcmp(p, "sThreadInfo")) {
        reply_threads(g, *p == 'f');
    } else if (g_str_has_prefix(p, "ThreadExtraInfo,")) {
        reply_thread_info(g, p + strlen("ThreadExtraInfo,"));
    } else if (g_str_has_prefix(p, "Rcmd,")) {
        monitor_command(g, p + strlen("Rcmd,"));
    } else if (!strcmp(p, "C")) {
        char text[16];

        g_snprintf(text, sizeof text, "QC%x", g->cpu + 1);
        reply(g, text);
    } else if (g_str_has_prefix(p, "Attached")) {
        reply(g, "1");
    } else if (!strcmp(p, "qemu.PhyMemMode")) {
        reply(g, g->physical ? "1" : "0");
    } else {
        reply(g, "");
    }
}

static void set(Gdb *g, const char *p)
{
    if (!strcmp(p, "StartNoAckMode")) {
        reply(g, "OK");
        g->no_ack = true;
    } else if (!strcmp(p, "qemu.PhyMemMode:0") || !strcmp(p, "qemu.PhyMemMode:1")) {
        g->physical = p[strlen(p) - 1] == '1';
        reply(g, "OK");
    } else {
        reply(g, "");
    }
}

static bool thread_exists(Gdb *g, const char *p, bool choose)
{
    int n;

    if (!take_thread(&p, &n) || *p || (n > 0 && (unsigned)n > g->nplans))
        return false;
    if (choose && n > 0)
        g->cpu = n - 1;
    return true;
}

/* --- packets --- */

static void let_go(Gdb *g)
{
    bool cont = g->was_running && g->m->state != RUN_SHUTDOWN;

    g->running = g->open = false;
    if (g->resume)
        g_source_remove(g->resume);
    g->resume = 0;
    if (g->plans && g->m->state == RUN_RUNNING) {
        machine_stop(g->m, RUN_PAUSED);
        cont = true;
    }
    gdb_plans_free(g);
    if (cont)
        machine_start(g->m);
}

static void packet_v(Gdb *g, const char *p)
{
    if (!strcmp(p, "Cont?"))
        reply(g, "vCont;c;C;s;S");
    else if (g_str_has_prefix(p, "Cont;"))
        vcont(g, p + 4);
    else if (g_str_has_prefix(p, "Kill")) {
        reply(g, "OK");
        machine_request_shutdown(g->m, CAUSE_HOST_SIGNAL);
    } else
        reply(g, "");
}

static void packet_signal(Gdb *g, bool step, const char *p)
{
    uint64_t signal;

    if (!take_hex(&p, &signal) || (*p && !take_char(&p, ';')))
        reply_ok(g, false);
    else
        old_resume(g, step, p);
}

static void packet(Gdb *g, const char *p, size_t len)
{
    const char *rest = p + 1;

    switch (*p) {
    case '?': reply_stop(g, g->cpu, NULL); break;
    case 'g': read_regs(g); break;
    case 'G': reply_ok(g, write_regs(g, rest)); break;
    case 'p': read_reg(g, rest); break;
    case 'P': reply_ok(g, write_reg(g, rest)); break;
    case 'm': read_memory(g, rest); break;
    case 'M': case 'X': reply_ok(g, write_memory(g, rest, p + len, *p == 'X')); break;
    case 'Z': case 'z': breakpoint(g, *p == 'Z', rest); break;
    case 'c': case 's': old_resume(g, *p == 's', rest); break;
    case 'C': case 'S': packet_signal(g, *p == 'S', rest); break;
    case 'v': packet_v(g, rest); break;
    case 'q': query(g, rest); break;
    case 'Q': set(g, rest); break;
    case 'H': reply_ok(g, *rest && thread_exists(g, rest + 1, *rest == 'g')); break;
    case 'T': reply_ok(g, thread_exists(g, rest, false)); break;
    case 'D':
        reply(g, "OK");
        g->was_running = true;
        let_go(g);
        g->open = true;         /* the line stays: another debugger may come on it */
        break;
    case 'k': machine_request_shutdown(g->m, CAUSE_HOST_SIGNAL); break;
    default: reply(g, ""); break;
    }
}

static void attach_cpus(Gdb *g)
{
    if (g->plans)
        return;
    g->was_running = g->m->state == RUN_RUNNING;
    ensure_stopped(g);
    g->cpu = 0;
    gdb_plans_new(g);
    gdb_arm(g);
}

static void packet_arrived(Gdb *g)
{
    if (g->overlong || g->sum != g->got_sum) {
        if (!g->no_ack)
            chr_write_all(&g->fe, "-", 1);
        return;
    }
    if (!g->no_ack)
        chr_write_all(&g->fe, "+", 1);
    attach_cpus(g);
    ensure_stopped(g);
    packet(g, g->in->str, g->in->len);
}

static void start_packet(Gdb *g)
{
    g_string_truncate(g->in, 0);
    g->sum = 0;
    g->escaped = g->overlong = false;
    g->state = BODY;
}

static void interrupt(Gdb *g)
{
    if (g->running && g->m->state == RUN_RUNNING)
        machine_stop(g->m, RUN_PAUSED);         /* stopped() answers */
    else if (g->running)
        stopped(g);
}

static void body_byte(Gdb *g, uint8_t c)
{
    if (c == '#' && !g->escaped) {
        g->state = SUM1;
        return;
    }
    g->sum += c;
    if (c == ESCAPE && !g->escaped) {
        g->escaped = true;
        return;
    }
    if (g->in->len >= PACKET_MAX)
        g->overlong = true;
    else
        g_string_append_c(g->in, (char)(g->escaped ? c ^ 0x20 : c));
    g->escaped = false;
}

static void byte_arrived(Gdb *g, uint8_t c)
{
    switch (g->state) {
    case IDLE:
        if (c == '$')
            start_packet(g);
        else if (c == CTRL_C)
            interrupt(g);
        else if (c == '-' && !g->no_ack)
            send_frame(g);
        break;
    case BODY:
        body_byte(g, c);
        break;
    case SUM1:
        g->got_sum = g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) << 4 : 0;
        g->state = SUM2;
        break;
    default:
        g->got_sum |= g_ascii_isxdigit(c) ? g_ascii_xdigit_value(c) : 0;
        g->state = IDLE;
        packet_arrived(g);
    }
}

/* --- the line --- */

static size_t room(void *opaque)
{
    return 4096;
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    Gdb *g = opaque;

    for (size_t i = 0; i < len && g->open; i++)
        byte_arrived(g, buf[i]);
}

static void line_event(void *opaque, ChrEvent ev)
{
    Gdb *g = opaque;

    if (ev == CHR_EVENT_OPEN && !g->open) {
        g->state = IDLE;
        g->no_ack = g->physical = g->swbreak = g->hwbreak = false;
        g->open = true;
        g_string_truncate(g->sent, 0);
        attach_cpus(g);
    } else if (ev == CHR_EVENT_CLOSE && g->open) {
        let_go(g);
    }
}

static void gdb_free(Gdb *g)
{
    g_array_unref(g->regs);
    g_string_free(g->in, TRUE);
    g_string_free(g->sent, TRUE);
    g_free(g->xml);
    g_free(g);
}

static void server_free(void *opaque)
{
    Gdb *g = opaque;

    chr_detach(&g->fe);
    machine_unlisten(g->m, machine_event, g);
    if (g->resume)
        g_source_remove(g->resume);
    gdb_plans_drop(g);
    gdb_free(g);
}

bool gdb_attach(Machine *m, Chardev *chr, GError **err)
{
    static const ChardevFeOps ops = { .can_receive = room, .receive = receive, .event = line_event };
    Gdb *g;

    if (!m->accel || !m->accel->debug || !m->vcpus->len)
        return err_set(err, "this engine cannot debug a guest");
    g = g_new0(Gdb, 1);
    g->m = m;
    g->in = g_string_new(NULL);
    g->sent = g_string_new(NULL);
    gdb_regs_init(g, x86_cpu(g_ptr_array_index(m->vcpus, 0)));
    if (!chr_attach(&g->fe, chr, &ops, g, err)) {
        gdb_free(g);
        return false;
    }
    machine_listen(m, machine_event, g);
    machine_on_free(m, server_free, g);
    return true;
}
