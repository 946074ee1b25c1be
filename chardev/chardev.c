/*
 * chardev: front-ends, back-ends and the set of them: attaching, writing, events, log files.
 *
 * Everything runs under the machine lock. Events and input that cannot be delivered where they
 * arise (a front-end may be inside its own register handler) wait for an idle source.
 */
#include "chardev/chardev_int.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PENDING_MAX = 1024 * 1024 };

struct ChardevSet {
    GPtrArray *list;            /* of Chardev *, owned, creation order */
    ChardevHooks hooks;
    uint8_t escape;
    const ChardevConsoleOps *console_ops;
    void *console_opaque;
    unsigned serial;            /* for ids nobody gave */
};

static const ChardevClass *const classes[] = {
    &chardev_file, &chardev_null, &chardev_pipe, &chardev_pty, &chardev_ringbuf, &chardev_serial,
    &chardev_socket, &chardev_stdio, &chardev_udp, &chardev_vc,
};

/* ---- front-end side ---- */

void chr_fe_event(ChardevFe *fe, ChrEvent ev)
{
    if (ev == CHR_EVENT_OPEN) {
        if (fe->told_open)
            return;
        fe->told_open = true;
    } else if (ev == CHR_EVENT_CLOSE) {
        if (!fe->told_open)
            return;
        fe->told_open = false;
    }
    if (fe->ops && fe->ops->event)
        fe->ops->event(fe->opaque, ev);
}

size_t chr_fe_room(ChardevFe *fe)
{
    return fe->ops && fe->ops->can_receive ? fe->ops->can_receive(fe->opaque) : 0;
}

void chr_fe_receive(ChardevFe *fe, const uint8_t *buf, size_t len)
{
    if (len && fe->ops && fe->ops->receive)
        fe->ops->receive(fe->opaque, buf, len);
}

static void fe_writable(ChardevFe *fe)
{
    if (!fe->want_write)
        return;
    fe->want_write = false;
    if (fe->ops && fe->ops->writable)
        fe->ops->writable(fe->opaque);
}

static gboolean run_kick(gpointer opaque)
{
    Chardev *c = opaque;

    c->kick_source = 0;
    if (c->mux) {
        mux_kick(c->mux);
    } else if (c->fe) {
        if (c->open)
            chr_fe_event(c->fe, CHR_EVENT_OPEN);
        if (!c->pending->len && c->fe)
            fe_writable(c->fe);
    }
    if (c->cls->accept_input)
        c->cls->accept_input(c);
    return G_SOURCE_REMOVE;
}

void chr_kick(Chardev *c)
{
    if (!c->kick_source)
        c->kick_source = g_idle_add_full(G_PRIORITY_DEFAULT, run_kick, c, NULL);
}

bool chr_attach(ChardevFe *fe, Chardev *chr, const ChardevFeOps *ops, void *opaque, GError **err)
{
    *fe = (ChardevFe) { .ops = ops, .opaque = opaque };
    if (!chr)
        return true;
    if (chr->mux) {
        if (!mux_attach(chr->mux, fe, err))
            return false;
    } else if (chr->fe) {
        return err_set(err, "character device '%s' is already in use; mux=on lets several share it", chr->id);
    } else {
        chr->fe = fe;
    }
    fe->chr = chr;
    chr_kick(chr);
    return true;
}

void chr_detach(ChardevFe *fe)
{
    Chardev *c = fe->chr;

    if (!c)
        return;
    if (c->mux)
        mux_detach(c->mux, fe);
    else if (c->fe == fe)
        c->fe = NULL;
    fe->chr = NULL;
}

static void log_output(Chardev *c, const uint8_t *buf, size_t len)
{
    while (c->log_fd >= 0 && len) {
        ssize_t n = write(c->log_fd, buf, len);

        if (n <= 0) {
            if (n < 0 && errno == EINTR)
                continue;
            log_warn("chardev %s: its log file cannot be written (%s); logging ends", c->id, g_strerror(errno));
            close(c->log_fd);
            c->log_fd = -1;
            return;
        }
        buf += n;
        len -= n;
    }
}

size_t chr_raw_write(Chardev *c, const uint8_t *buf, size_t len)
{
    size_t n = len;

    if (c->pending->len)
        return 0;
    if (c->open)
        n = c->cls->write(c, buf, len);
    log_output(c, buf, n);
    return n;
}

void chr_raw_write_all(Chardev *c, const uint8_t *buf, size_t len)
{
    size_t n = chr_raw_write(c, buf, len);

    if (n < len && len - n <= PENDING_MAX - MIN(c->pending->len, PENDING_MAX))
        g_byte_array_append(c->pending, buf + n, len - n);
}

size_t chr_write(ChardevFe *fe, const void *buf, size_t len)
{
    Chardev *c = fe->chr;
    size_t n;

    if (!c || !len)
        return len;
    n = c->mux ? mux_write(c->mux, fe, buf, len) : chr_raw_write(c, buf, len);
    if (n < len)
        fe->want_write = true;
    return n;
}

void chr_write_all(ChardevFe *fe, const void *buf, size_t len)
{
    Chardev *c = fe->chr;
    size_t n;

    if (!c || !len)
        return;
    n = c->mux ? mux_write(c->mux, fe, buf, len) : chr_raw_write(c, buf, len);
    if (n < len && len - n <= PENDING_MAX - MIN(c->pending->len, PENDING_MAX))
        g_byte_array_append(c->pending, (const uint8_t *)buf + n, len - n);
}

void chr_accept_input(ChardevFe *fe)
{
    if (fe->chr)
        chr_kick(fe->chr);
}

void chr_send_break(ChardevFe *fe)
{
    if (fe->chr && fe->chr->cls->send_break)
        fe->chr->cls->send_break(fe->chr);
}

/* ---- back-end side ---- */

size_t chr_be_room(Chardev *c)
{
    if (c->mux)
        return mux_room(c->mux);
    return c->fe ? chr_fe_room(c->fe) : 0;
}

void chr_be_receive(Chardev *c, const uint8_t *buf, size_t len)
{
    if (c->mux)
        mux_receive(c->mux, buf, len);
    else if (c->fe)
        chr_fe_receive(c->fe, buf, len);
}

void chr_be_event(Chardev *c, ChrEvent ev)
{
    if (ev == CHR_EVENT_OPEN) {
        c->open = true;
    } else if (ev == CHR_EVENT_CLOSE) {
        c->open = false;
        g_byte_array_set_size(c->pending, 0);
        chr_kick(c);            /* writers that wait may go on: into the void */
    }
    if (c->mux)
        mux_event(c->mux, ev);
    else if (c->fe)
        chr_fe_event(c->fe, ev);
}

void chr_be_writable(Chardev *c)
{
    if (c->pending->len) {
        size_t n = c->open ? c->cls->write(c, c->pending->data, c->pending->len) : c->pending->len;

        log_output(c, c->pending->data, n);
        g_byte_array_remove_range(c->pending, 0, n);
        if (c->pending->len)
            return;
    }
    if (c->mux)
        mux_writable(c->mux);
    else if (c->fe)
        fe_writable(c->fe);
}

void chr_be_message(Chardev *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (c->set->hooks.message)
        c->set->hooks.message(c->set->hooks.opaque, text);
    else
        fprintf(stderr, "%s\n", text);
}

/* ---- the set ---- */

ChardevSet *chardevs_new(const ChardevHooks *hooks)
{
    ChardevSet *s = g_new0(ChardevSet, 1);

    s->list = g_ptr_array_new();
    if (hooks)
        s->hooks = *hooks;
    s->escape = 1;              /* Ctrl-A */
    return s;
}

const ChardevHooks *chardevs_hooks(const ChardevSet *set)
{
    return &set->hooks;
}

void chardevs_set_consoles(ChardevSet *set, const ChardevConsoleOps *ops, void *opaque)
{
    set->console_ops = ops;
    set->console_opaque = opaque;
}

const ChardevConsoleOps *chardevs_consoles(const ChardevSet *set, void **opaque)
{
    *opaque = set->console_opaque;
    return set->console_ops;
}

uint8_t chardevs_escape(const ChardevSet *set)
{
    return set->escape;
}

void chardevs_set_escape(ChardevSet *set, uint8_t ch)
{
    set->escape = ch;
}

static void chardev_destroy(Chardev *c)
{
    if (c->set->hooks.removed)
        c->set->hooks.removed(c->set->hooks.opaque, c);
    if (c->fe)
        chr_detach(c->fe);
    if (c->mux)
        mux_free(c->mux);
    if (c->pending->len && c->open)
        c->cls->write(c, c->pending->data, c->pending->len);
    c->cls->close(c);
    if (c->kick_source)
        g_source_remove(c->kick_source);
    if (c->log_fd >= 0)
        close(c->log_fd);
    g_byte_array_unref(c->pending);
    g_free(c->id);
    g_free(c);
}

void chardevs_free(ChardevSet *set)
{
    if (!set)
        return;
    set->hooks = (ChardevHooks) { 0 };
    for (int i = (int)set->list->len - 1; i >= 0; i--)
        chardev_destroy(set->list->pdata[i]);
    g_ptr_array_unref(set->list);
    g_free(set);
}

Chardev *chardev_find(ChardevSet *set, const char *id)
{
    for (guint i = 0; i < set->list->len; i++) {
        Chardev *c = set->list->pdata[i];

        if (strcmp(c->id, id) == 0)
            return c;
    }
    return NULL;
}

void chardev_foreach(ChardevSet *set, void (*fn)(void *opaque, Chardev *chr), void *opaque)
{
    for (guint i = 0; i < set->list->len; i++)
        fn(opaque, set->list->pdata[i]);
}

const char *chardev_id(const Chardev *chr)
{
    return chr->id;
}

char *chardev_describe(const Chardev *chr)
{
    if (chr->cls->describe)
        return chr->cls->describe((Chardev *)chr);
    return g_strdup(chr->cls->name);
}

bool chardev_is_mux(const Chardev *chr)
{
    return chr->mux != NULL;
}

bool chardev_in_use(const Chardev *chr)
{
    return chr->mux ? mux_in_use(chr->mux) : chr->fe != NULL;
}

bool chardev_remove(ChardevSet *set, const char *id, GError **err)
{
    Chardev *c = chardev_find(set, id);

    if (!c)
        return err_set_code(err, ERR_NOT_FOUND, "no character device '%s'", id);
    if (chardev_in_use(c))
        return err_set(err, "character device '%s' is in use", id);
    g_ptr_array_remove(set->list, c);
    chardev_destroy(c);
    return true;
}

static const ChardevClass *class_find(const char *name, GError **err)
{
    const char *names[ARRAY_LEN(classes) + 1] = { NULL };
    const char *near;

    for (unsigned i = 0; i < ARRAY_LEN(classes); i++) {
        if (strcmp(classes[i]->name, name) == 0 || g_strcmp0(classes[i]->alias, name) == 0)
            return classes[i];
        names[i] = classes[i]->name;
    }
    near = nearest_name(name, names);
    err_set(err, "unknown character device type '%s'%s%s%s", name, near ? " (did you mean '" : "",
            near ? near : "", near ? "'?)" : "");
    return NULL;
}

static bool open_log(Chardev *c, OptList *opts, GError **err)
{
    const char *path = optlist_str(opts, "logfile", NULL);
    bool append;

    if (!optlist_bool(opts, "logappend", false, &append, err))
        return false;
    if (!path)
        return true;
    c->log_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);
    if (c->log_fd < 0)
        return err_set_errno(err, errno, "chardev %s: opening the log file '%s'", c->id, path);
    return true;
}

static bool chardev_start(Chardev *c, OptList *opts, GError **err)
{
    bool mux;

    if (!optlist_bool(opts, "mux", false, &mux, err) || !open_log(c, opts, err))
        return false;
    if (mux)
        c->mux = mux_new(c);
    if (!c->cls->open(c, opts, err))
        return false;
    if (!optlist_check_unused(opts, err)) {
        c->cls->close(c);
        return false;
    }
    return true;
}

Chardev *chardev_create(ChardevSet *set, OptList *opts, GError **err)
{
    const char *backend = optlist_str(opts, "backend", NULL);
    const char *id = optlist_str(opts, "id", NULL);
    const ChardevClass *cls;
    Chardev *c;

    if (!backend) {
        err_set(err, "a character device needs a type, for example socket,id=c0,...");
        return NULL;
    }
    if (id && chardev_find(set, id)) {
        err_set(err, "there is already a character device '%s'", id);
        return NULL;
    }
    cls = class_find(backend, err);
    if (!cls)
        return NULL;
    c = g_malloc0(cls->size);
    c->cls = cls;
    c->set = set;
    c->id = id ? g_strdup(id) : g_strdup_printf("chr%u", set->serial++);
    c->log_fd = -1;
    c->pending = g_byte_array_new();
    if (!chardev_start(c, opts, err)) {
        if (c->mux)
            mux_free(c->mux);
        if (c->kick_source)
            g_source_remove(c->kick_source);
        if (c->log_fd >= 0)
            close(c->log_fd);
        err_prefix(err, "character device '%s'", c->id);
        g_byte_array_unref(c->pending);
        g_free(c->id);
        g_free(c);
        return NULL;
    }
    g_ptr_array_add(set->list, c);
    if (set->hooks.created)
        set->hooks.created(set->hooks.opaque, c);
    return c;
}

Chardev *chardev_parse(ChardevSet *set, const char *spec, GError **err)
{
    g_autoptr(OptList) opts = optlist_parse(spec, "backend", err);

    if (!opts)
        return NULL;
    if (!optlist_str(opts, "id", NULL)) {
        err_set(err, "-chardev needs an id: -chardev %s,id=NAME", spec);
        return NULL;
    }
    return chardev_create(set, opts, err);
}

char *chardev_list_help(void)
{
    GString *s = g_string_new("Available chardev backend types:\n");

    for (unsigned i = 0; i < ARRAY_LEN(classes); i++)
        g_string_append_printf(s, "  %-10s %s\n", classes[i]->name, classes[i]->desc);
    return g_string_free(s, FALSE);
}
