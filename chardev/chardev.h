/*
 * chardev: the door to byte streams: terminals, sockets, files; with back-pressure both ways.
 *
 * A Chardev is a host back-end with an id. A front-end (a UART, the monitor) embeds a ChardevFe
 * and attaches it to one Chardev; a multiplexed Chardev takes several and Ctrl-A picks the one
 * that gets the input. All functions run under the machine lock; callbacks come from the main
 * loop, which holds it. Callbacks never arrive from inside chr_attach() or chr_write().
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include "util/optlist.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Chardev Chardev;
typedef struct ChardevSet ChardevSet;
typedef struct ChardevFe ChardevFe;

typedef enum {
    CHR_EVENT_OPEN,             /* the other side is there (also right after attach, if it already is) */
    CHR_EVENT_CLOSE,            /* the other side went away; writes vanish until OPEN */
    CHR_EVENT_BREAK,            /* a serial break condition */
    CHR_EVENT_FOCUS_IN,         /* multiplexed: this front-end gets the input from now on */
    CHR_EVENT_FOCUS_OUT,
} ChrEvent;

/* What a front-end supplies; every entry but receive and can_receive may be NULL. */
typedef struct ChardevFeOps {
    size_t (*can_receive)(void *opaque);        /* how many bytes receive() may bring now */
    void (*receive)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, ChrEvent ev);
    void (*writable)(void *opaque);             /* after a short chr_write: try again */
} ChardevFeOps;

struct ChardevFe {
    Chardev *chr;               /* NULL: not attached; then output vanishes */
    const ChardevFeOps *ops;
    void *opaque;
    bool want_write;            /* a write was short: writable() is due */
    bool told_open;
    int mux_slot;               /* on a multiplexed Chardev */
};

/* Attaches fe to chr (NULL: to nothing, which always works). Fails if chr is taken. */
bool chr_attach(ChardevFe *fe, Chardev *chr, const ChardevFeOps *ops, void *opaque, GError **err) MUST_CHECK;
void chr_detach(ChardevFe *fe);         /* harmless when not attached */
/* Returns how many bytes were accepted; fewer than len: writable() will be called once. Nobody
   connected counts as accepted. */
size_t chr_write(ChardevFe *fe, const void *buf, size_t len);
/* As chr_write, but keeps what the back-end does not take yet (up to 1 MiB, then drops). For text output. */
void chr_write_all(ChardevFe *fe, const void *buf, size_t len);
/* The front-end can receive again after can_receive() was smaller than wished. */
void chr_accept_input(ChardevFe *fe);
void chr_send_break(ChardevFe *fe);

/* The Chardevs of one machine, by id. */
typedef struct ChardevHooks {           /* Ctrl-A x and s of a multiplexer; entries may be NULL */
    void (*quit)(void *opaque);
    void (*sync_disks)(void *opaque);
    void (*created)(void *opaque, Chardev *chr);        /* e.g. backend_register(m, "chardev", id, chr) */
    void (*removed)(void *opaque, Chardev *chr);
    void (*message)(void *opaque, const char *line);    /* "char device redirected to ..."; NULL: stderr */
    void *opaque;
} ChardevHooks;
ChardevSet *chardevs_new(const ChardevHooks *hooks);    /* hooks are copied; NULL: none */
void chardevs_free(ChardevSet *set);                    /* closes all; front-ends become unattached; no hook is called */
void chardevs_set_escape(ChardevSet *set, uint8_t ch);   /* -echr; 0: no escape key */
Chardev *chardev_find(ChardevSet *set, const char *id);
/* What makes the screens of the "vc" back-end (ui/textconsole.h); without it vc is an error. */
typedef struct ChardevConsoleOps {
    /* Returns the console; typed bytes go to input(chr, ...). cols, rows 0: default. */
    void *(*open)(void *opaque, const char *label, int cols, int rows,
                  void (*input)(void *chr, const uint8_t *buf, size_t len), void *chr);
    void (*write)(void *console, const uint8_t *buf, size_t len);
    void (*close)(void *console);
} ChardevConsoleOps;
void chardevs_set_consoles(ChardevSet *set, const ChardevConsoleOps *ops, void *opaque);
/* Calls fn for each, in creation order. */
void chardev_foreach(ChardevSet *set, void (*fn)(void *opaque, Chardev *chr), void *opaque);
const char *chardev_id(const Chardev *chr);
char *chardev_describe(const Chardev *chr);             /* "pty:/dev/pts/3"; caller frees */
bool chardev_in_use(const Chardev *chr);
bool chardev_is_mux(const Chardev *chr);                /* several front-ends take turns (Ctrl-A c) */

/* -chardev: "socket,id=c0,path=/x,server=on,wait=off" with doubled commas for literal ones. */
Chardev *chardev_parse(ChardevSet *set, const char *spec, GError **err);
/* The same from options: "backend", "id" and what the back-end takes. Unknown ones are errors. */
Chardev *chardev_create(ChardevSet *set, OptList *opts, GError **err);
/*
 * -serial, -monitor, -parallel, -debugcon: "stdio", "mon:stdio", "pty", "null", "vc:80Cx24C", "file:F",
 * "pipe:P", "tcp:h:p,server,nowait", "telnet:...", "unix:P,server=on", "chardev:ID", "none" ...
 * Creates a Chardev named id. "mon:" makes it multiplexed and sets *wants_monitor (may be NULL).
 * For "none" returns NULL with no error set.
 */
Chardev *chardev_parse_short(ChardevSet *set, const char *id, const char *spec, bool *wants_monitor, GError **err);
bool chardev_remove(ChardevSet *set, const char *id, GError **err) MUST_CHECK;
/* ringbuf back-end: up to max bytes not read yet. False if chr is no ringbuf. */
bool chardev_ringbuf_read(Chardev *chr, GByteArray *out, size_t max, GError **err) MUST_CHECK;
bool chardev_ringbuf_write(Chardev *chr, const void *buf, size_t len, GError **err) MUST_CHECK;
/* Text of "-chardev help"; caller frees. */
char *chardev_list_help(void);

/*
 * Puts every terminal a stdio back-end has changed back into its first state. Async-signal-safe;
 * called at exit and by the fatal-signal handlers the stdio back-end installs.
 */
void chardev_restore_terminals(void);

#endif
