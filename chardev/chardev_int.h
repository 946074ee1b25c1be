/*
 * chardev_int: what back-ends of this folder implement and call.
 */
#ifndef CHARDEV_CHARDEV_INT_H
#define CHARDEV_CHARDEV_INT_H

#include "chardev/chardev.h"
#include "util/bytes.h"

typedef struct ChardevClass {
    const char *name, *desc;
    const char *alias;                          /* or NULL */
    size_t size;                                /* of the struct that embeds Chardev first */
    /* Reads its options; on failure close() is not called: the callee undoes its own work. */
    bool (*open)(Chardev *c, OptList *opts, GError **err);
    void (*close)(Chardev *c);
    /* Takes what it can without blocking; after a short count it calls chr_be_writable() once. */
    size_t (*write)(Chardev *c, const uint8_t *buf, size_t len);
    void (*accept_input)(Chardev *c);           /* chr_be_room() may have grown */
    void (*send_break)(Chardev *c);
    char *(*describe)(Chardev *c);
} ChardevClass;

typedef struct ChardevMux ChardevMux;

struct Chardev {
    const ChardevClass *cls;
    ChardevSet *set;
    char *id;
    ChardevFe *fe;              /* the front-end; NULL also when multiplexed */
    ChardevMux *mux;            /* several front-ends */
    bool open;                  /* somebody is at the other end */
    bool interactive;           /* a person types: never stop reading, Ctrl-A must work */
    int log_fd;                 /* logfile=, -1: none */
    GByteArray *pending;        /* accepted by chr_write_all, not yet by the back-end */
    guint kick_source;          /* idle source that delivers late events and input */
};

/* For back-ends. */
size_t chr_be_room(Chardev *c);                 /* bytes chr_be_receive may bring */
void chr_be_receive(Chardev *c, const uint8_t *buf, size_t len);
void chr_be_event(Chardev *c, ChrEvent ev);     /* OPEN and CLOSE also set c->open */
void chr_be_writable(Chardev *c);
void chr_be_message(Chardev *c, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* One front-end, after the multiplexer or without. */
void chr_fe_event(ChardevFe *fe, ChrEvent ev);
size_t chr_fe_room(ChardevFe *fe);
void chr_fe_receive(ChardevFe *fe, const uint8_t *buf, size_t len);
void chr_kick(Chardev *c);                      /* schedule chr_run_kick on the main loop */
/* Below the multiplexer: back-end write with pending and log. */
size_t chr_raw_write(Chardev *c, const uint8_t *buf, size_t len);
void chr_raw_write_all(Chardev *c, const uint8_t *buf, size_t len);

ChardevMux *mux_new(Chardev *c);
void mux_free(ChardevMux *m);
bool mux_attach(ChardevMux *m, ChardevFe *fe, GError **err);
void mux_detach(ChardevMux *m, ChardevFe *fe);
bool mux_in_use(const ChardevMux *m);
size_t mux_room(ChardevMux *m);
void mux_receive(ChardevMux *m, const uint8_t *buf, size_t len);
void mux_event(ChardevMux *m, ChrEvent ev);
void mux_kick(ChardevMux *m);                   /* deliver late events and buffered input */
void mux_writable(ChardevMux *m);
size_t mux_write(ChardevMux *m, ChardevFe *fe, const uint8_t *buf, size_t len);
const ChardevHooks *chardevs_hooks(const ChardevSet *set);
uint8_t chardevs_escape(const ChardevSet *set);
const ChardevConsoleOps *chardevs_consoles(const ChardevSet *set, void **opaque);      /* NULL: none */

/* A pair of file descriptors watched by the main loop; embedded in back-ends. */
typedef struct ChrFd {
    Chardev *chr;
    int rfd, wfd;               /* -1: none; may be equal */
    guint in, out;              /* sources */
    bool may_block;             /* wfd is a blocking descriptor: write small pieces after poll */
    bool regular;               /* wfd is a plain file: always writable */
    void (*hangup)(Chardev *c); /* end of input or error; NULL: input just ends */
    /* Between the descriptor and the front-end (telnet); returns the new length. Or NULL. */
    size_t (*filter)(Chardev *c, uint8_t *buf, size_t len);
} ChrFd;
void chr_fd_start(ChrFd *f, Chardev *c, int rfd, int wfd);      /* takes the descriptors */
void chr_fd_watch_input(ChrFd *f);              /* as the front-end has room */
size_t chr_fd_write(ChrFd *f, const uint8_t *buf, size_t len);
void chr_fd_stop(ChrFd *f);                     /* forgets and closes both */

extern const ChardevClass chardev_null, chardev_ringbuf, chardev_stdio, chardev_pty, chardev_file, chardev_pipe,
    chardev_socket, chardev_serial, chardev_udp, chardev_vc;

#endif
