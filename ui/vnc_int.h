/* vnc_int: one VNC server: screen copy, listeners, clients; shared by vnc*.c and web.c. */
#ifndef UI_VNC_INT_H
#define UI_VNC_INT_H

#include "ui/ui_int.h"

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <stdatomic.h>

enum { VNC_LISTENERS = 4, VNC_CLIENTS_MAX = 16 };

typedef enum { LISTEN_RFB, LISTEN_WEB } ListenKind;

typedef struct VncServer VncServer;
typedef struct VncListener {
    int fd;
    ListenKind kind;
    char *text;                 /* "127.0.0.1:5901" */
    char *unlink_path;
} VncListener;

struct VncServer {
    Ui *ui;
    Console *con;
    DisplayListener *dl;
    rfbScreenInfoPtr screen;
    uint8_t *pixels;            /* reserved for the largest screen, so that a resize never moves it */
    GThread *acceptor;
    int stop_fd;                /* eventfd: ends the acceptor */
    VncListener listener[VNC_LISTENERS];
    int listeners;
    _Atomic int clients;
    _Atomic int web_requests;   /* threads that serve pages */
    _Atomic bool closing;
    bool use_password;
    _Atomic int leds;           /* rfbKeyboardMask* of the lock lights */
    bool dirty;                 /* main thread: clients have something to send since the last tick */
    GMutex lock;                /* guards what follows: touched by client threads */
    char *name;                 /* what viewers write above their window */
    char password[9];           /* empty: locked */
    GPtrArray *viewers;         /* of VncClient * */
    GQueue events;              /* of VncEvent */
    bool drain_queued;
    char token[33], session[33];        /* web: one-time token, then the page's cookie; empty: none */
    int last_x, last_y;         /* main thread: relative pointers */
    unsigned last_buttons;
    bool by_position;           /* the page: key symbols stand for places on a US keyboard */
    VncServer *next;
};

/* vnc.c */
VncServer *vnc_server_new(Ui *ui, GError **err);
void vnc_server_free(VncServer *v);
/* vnc_client.c */
void vnc_adopt_client(VncServer *v, int fd);    /* acceptor or page thread; takes fd */
void vnc_wake_clients(VncServer *v);            /* there is something to send */
void vnc_hang_up(VncServer *v);                 /* v->closing is set: ends their threads soon */
void vnc_resize_screen(VncServer *v, int w, int h);     /* main thread */
/* vnc_listen.c */
bool vnc_listen_tcp(VncServer *v, ListenKind kind, const char *host, unsigned port, unsigned to, GError **err);
bool vnc_listen_unix(VncServer *v, const char *path, GError **err);
bool vnc_start_acceptor(VncServer *v, GError **err);
unsigned vnc_listener_port(const VncListener *l);
/* web.c */
void web_serve(VncServer *v, int fd);           /* own thread; takes fd */
void web_new_token(char out[33]);
extern const char web_page[];

#endif
