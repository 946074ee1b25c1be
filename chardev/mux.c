/*
 * mux: several front-ends on one Chardev; Ctrl-A (or -echr) picks the one that gets the input.
 *
 * Output of all front-ends is shown as it comes. Input waits in a buffer for each front-end, so
 * that a guest that does not read never keeps Ctrl-A from working.
 */
#include "chardev/chardev_int.h"

#include <string.h>
#include <time.h>

enum { MUX_FRONTS = 8, MUX_INPUT_MAX = 64 * 1024 };

struct ChardevMux {
    Chardev *chr;
    ChardevFe *fe[MUX_FRONTS];
    GByteArray *input[MUX_FRONTS];      /* not yet taken */
    int focus;                          /* -1: nobody yet */
    bool escape;                        /* the escape key was the last key */
    bool timestamps, line_start;
    int64_t start_us;
    uint8_t told_focus;                 /* bit per slot: FOCUS_IN was delivered */
};

ChardevMux *mux_new(Chardev *c)
{
    ChardevMux *m = g_new0(ChardevMux, 1);

    m->chr = c;
    m->focus = -1;
    m->line_start = true;
    m->start_us = g_get_monotonic_time();
    return m;
}

void mux_free(ChardevMux *m)
{
    for (int i = 0; i < MUX_FRONTS; i++)
        if (m->fe[i])
            chr_detach(m->fe[i]);
    m->chr->mux = NULL;
    g_free(m);
}

bool mux_attach(ChardevMux *m, ChardevFe *fe, GError **err)
{
    for (int i = 0; i < MUX_FRONTS; i++) {
        if (m->fe[i])
            continue;
        m->fe[i] = fe;
        m->input[i] = g_byte_array_new();
        fe->mux_slot = i;
        if (m->focus < 0)
            m->focus = i;
        return true;
    }
    return err_set(err, "character device '%s' is shared by too many users (%d)", m->chr->id, MUX_FRONTS);
}

static void set_focus(ChardevMux *m, int slot)
{
    if (slot == m->focus)
        return;
    if (m->focus >= 0 && m->fe[m->focus] && (m->told_focus & 1 << m->focus)) {
        m->told_focus &= ~(1 << m->focus);
        chr_fe_event(m->fe[m->focus], CHR_EVENT_FOCUS_OUT);
    }
    m->focus = slot;
    chr_kick(m->chr);
}

static int next_slot(const ChardevMux *m)
{
    for (int i = 1; i <= MUX_FRONTS; i++) {
        int s = (MAX(m->focus, 0) + i) % MUX_FRONTS;

        if (m->fe[s])
            return s;
    }
    return -1;
}

void mux_detach(ChardevMux *m, ChardevFe *fe)
{
    int s = fe->mux_slot;

    if (s < 0 || s >= MUX_FRONTS || m->fe[s] != fe)
        return;
    m->fe[s] = NULL;
    m->told_focus &= ~(1 << s);
    g_byte_array_unref(m->input[s]);
    m->input[s] = NULL;
    if (m->focus == s)
        set_focus(m, next_slot(m));
}

bool mux_in_use(const ChardevMux *m)
{
    return next_slot(m) >= 0;
}

size_t mux_room(ChardevMux *m)
{
    if (m->chr->interactive)
        return 4096;
    if (m->focus < 0 || !m->fe[m->focus])
        return 0;
    return MUX_INPUT_MAX - MIN(m->input[m->focus]->len, MUX_INPUT_MAX);
}

static void deliver_slot(ChardevMux *m, int s)
{
    /* bounded: each turn removes bytes, and receive() cannot add any here */
    while (m->fe[s] && m->input[s]->len) {
        g_autofree uint8_t *chunk = NULL;
        size_t n = MIN(chr_fe_room(m->fe[s]), m->input[s]->len);

        if (!n)
            return;
        chunk = g_memdup2(m->input[s]->data, n);
        g_byte_array_remove_range(m->input[s], 0, n);
        chr_fe_receive(m->fe[s], chunk, n);
    }
}

static void deliver(ChardevMux *m)
{
    for (int s = 0; s < MUX_FRONTS; s++)
        deliver_slot(m, s);
}

static void print_help(ChardevMux *m)
{
    uint8_t e = chardevs_escape(m->chr->set);
    g_autofree char *key = e < 27 ? g_strdup_printf("C-%c", 'a' + e - 1) : g_strdup_printf("%c", e);
    g_autofree char *text = g_strdup_printf(
        "\r\n%s h    print this help\r\n%s x    quit\r\n%s s    write disk data back to its files\r\n"
        "%s t    time stamps on or off\r\n%s b    send a break\r\n%s c    switch between console and monitor\r\n"
        "%s %s  send %s\r\n", key, key, key, key, key, key, key, key, key);

    chr_raw_write_all(m->chr, (const uint8_t *)text, strlen(text));
}

/* The key after the escape key; true: it is input after all. */
static bool command(ChardevMux *m, uint8_t ch)
{
    const ChardevHooks *h = chardevs_hooks(m->chr->set);
    static const char bye[] = "\r\nquern: terminated\r\n";

    if (ch == chardevs_escape(m->chr->set))
        return true;
    switch (ch) {
    case 'h': case '?':
        print_help(m);
        break;
    case 'x':
        if (h->quit) {
            chr_raw_write_all(m->chr, (const uint8_t *)bye, sizeof bye - 1);
            h->quit(h->opaque);
        }
        break;
    case 's':
        if (h->sync_disks)
            h->sync_disks(h->opaque);
        break;
    case 'b':
        if (m->focus >= 0 && m->fe[m->focus])
            chr_fe_event(m->fe[m->focus], CHR_EVENT_BREAK);
        break;
    case 'c':
        set_focus(m, next_slot(m));
        break;
    case 't':
        m->timestamps = !m->timestamps;
        m->line_start = true;
        m->start_us = g_get_monotonic_time();
        break;
    }
    return false;
}

void mux_receive(ChardevMux *m, const uint8_t *buf, size_t len)
{
    uint8_t esc = chardevs_escape(m->chr->set);

    for (size_t i = 0; i < len; i++) {
        bool plain = true;

        if (m->escape) {
            m->escape = false;
            plain = command(m, buf[i]);
        } else if (esc && buf[i] == esc) {
            m->escape = true;
            plain = false;
        }
        if (plain && m->focus >= 0 && m->fe[m->focus] && m->input[m->focus]->len < MUX_INPUT_MAX)
            g_byte_array_append(m->input[m->focus], &buf[i], 1);
    }
    deliver(m);
}

void mux_event(ChardevMux *m, ChrEvent ev)
{
    if (ev == CHR_EVENT_BREAK) {
        if (m->focus >= 0 && m->fe[m->focus])
            chr_fe_event(m->fe[m->focus], ev);
        return;
    }
    for (int i = 0; i < MUX_FRONTS; i++)
        if (m->fe[i])
            chr_fe_event(m->fe[i], ev);
}

void mux_writable(ChardevMux *m)
{
    for (int i = 0; i < MUX_FRONTS; i++) {
        ChardevFe *fe = m->fe[i];

        if (!fe || !fe->want_write)
            continue;
        fe->want_write = false;
        if (fe->ops && fe->ops->writable)
            fe->ops->writable(fe->opaque);
    }
}

void mux_kick(ChardevMux *m)
{
    if (m->chr->open)
        mux_event(m, CHR_EVENT_OPEN);
    if (m->focus >= 0 && m->fe[m->focus] && !(m->told_focus & 1 << m->focus)) {
        m->told_focus |= 1 << m->focus;
        chr_fe_event(m->fe[m->focus], CHR_EVENT_FOCUS_IN);
    }
    if (!m->chr->pending->len)
        mux_writable(m);
    deliver(m);
}

size_t mux_write(ChardevMux *m, ChardevFe *fe, const uint8_t *buf, size_t len)
{
    g_autoptr(GByteArray) out = NULL;

    if (!m->timestamps)
        return chr_raw_write(m->chr, buf, len);
    if (m->chr->pending->len)
        return 0;
    out = g_byte_array_new();
    for (size_t i = 0; i < len; i++) {
        if (m->line_start) {
            int64_t ms = (g_get_monotonic_time() - m->start_us) / 1000;
            g_autofree char *t = g_strdup_printf("[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000),
                    (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));

            g_byte_array_append(out, (const uint8_t *)t, strlen(t));
            m->line_start = false;
        }
        g_byte_array_append(out, &buf[i], 1);
        m->line_start = buf[i] == '\n';
    }
    chr_raw_write_all(m->chr, out->data, out->len);
    return len;
}
