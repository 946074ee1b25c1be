/*
 * vnc_client: one thread for each VNC viewer: it reads what the viewer says and sends at the viewer's pace.
 *
 * libvncserver's own two threads for a client change and use its encodings at the same time, and its
 * change of the screen's size waits for slow viewers. Here a client's state belongs to one thread; the
 * main thread touches only what libvncserver guards by updateMutex, and never waits for a viewer.
 */
#include "ui/vnc_int.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

typedef struct VncClient {
    VncServer *v;
    rfbClientPtr cl;
    int wake_fd;                /* eventfd: there is something to send */
} VncClient;

/* Messages a viewer may send; the library knows more (scaling, file transfer, chat), which nobody needs. */
static bool message_ok(rfbClientPtr cl)
{
    static const uint8_t known[] = { rfbSetPixelFormat, rfbSetEncodings, rfbFramebufferUpdateRequest, rfbKeyEvent,
                                     rfbPointerEvent, rfbClientCutText, rfbSetDesktopSize };
    uint8_t type;

    if (cl->state != RFB_NORMAL || cl->wsctx || recv(cl->sock, &type, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        return true;
    return memchr(known, type, sizeof known);
}

static void take_messages(rfbClientPtr cl)
{
    do {
        if (!message_ok(cl)) {
            rfbCloseClient(cl);
            return;
        }
        rfbProcessClientMessage(cl);
    } while (cl->sock >= 0 && webSocketsHasDataInBuffer(cl));
}

static gpointer client_thread(gpointer opaque)
{
    VncClient *c = opaque;
    VncServer *v = c->v;
    rfbClientPtr cl = c->cl;

    while (cl->sock >= 0 && !atomic_load(&v->closing)) {
        struct pollfd p[2] = { { .fd = cl->sock, .events = POLLIN }, { .fd = c->wake_fd, .events = POLLIN } };
        uint64_t n;

        if (poll(p, 2, LOOK_MS) < 0)
            continue;
        if (p[1].revents && read(c->wake_fd, &n, sizeof n) < 0)
            break;
        if (p[0].revents)
            take_messages(cl);
        if (cl->sock >= 0)
            rfbUpdateClient(cl);
    }
    g_mutex_lock(&v->lock);
    g_ptr_array_remove(v->viewers, c);
    g_mutex_unlock(&v->lock);
    if (cl->sock >= 0)
        rfbCloseClient(cl);
    rfbClientConnectionGone(cl);        /* frees cl; the last use of v is its hook */
    close(c->wake_fd);
    g_free(c);
    return NULL;
}

void vnc_adopt_client(VncServer *v, int fd)
{
    VncClient *c;
    GThread *t;
    rfbClientPtr cl;

    if (atomic_load(&v->clients) >= VNC_CLIENTS_MAX || atomic_load(&v->closing)) {
        close(fd);
        return;
    }
    cl = rfbNewClient(v->screen, fd);
    if (!cl)
        return;
    c = g_new(VncClient, 1);
    *c = (VncClient) { v, cl, eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) };
    g_mutex_lock(&v->lock);
    g_ptr_array_add(v->viewers, c);
    g_mutex_unlock(&v->lock);
    t = c->wake_fd >= 0 ? g_thread_try_new("vnc client", client_thread, c, NULL) : NULL;
    if (t) {
        g_thread_unref(t);
        return;
    }
    g_mutex_lock(&v->lock);
    g_ptr_array_remove(v->viewers, c);
    g_mutex_unlock(&v->lock);
    rfbCloseClient(cl);
    rfbClientConnectionGone(cl);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    g_free(c);
}

void vnc_wake_clients(VncServer *v)
{
    uint64_t one = 1;

    g_mutex_lock(&v->lock);
    for (guint i = 0; i < v->viewers->len; i++) {
        VncClient *c = v->viewers->pdata[i];

        if (write(c->wake_fd, &one, sizeof one) < 0)
            continue;           /* the counter is full: the thread is about to look */
    }
    g_mutex_unlock(&v->lock);
}

void vnc_hang_up(VncServer *v)
{
    g_mutex_lock(&v->lock);
    for (guint i = 0; i < v->viewers->len; i++) {
        VncClient *c = v->viewers->pdata[i];
        int fd = c->cl->sock;

        if (fd >= 0)
            shutdown(fd, SHUT_RDWR);    /* ends a blocked read or write; the thread closes */
    }
    g_mutex_unlock(&v->lock);
    vnc_wake_clients(v);
}

/*
 * A viewer that is just being sent a rectangle reads pixels by the old size or the new one: wrong
 * ones for a moment, inside the reserved picture in any case. Then it is told the size and sent all.
 */
void vnc_resize_screen(VncServer *v, int w, int h)
{
    rfbScreenInfoPtr s = v->screen;
    rfbClientIteratorPtr it;
    rfbClientPtr cl;

    s->width = w;
    s->height = h;
    s->paddedWidthInBytes = w * 4;
    s->cursorX = MIN(s->cursorX, w - 1);
    s->cursorY = MIN(s->cursorY, h - 1);
    it = rfbGetClientIterator(s);
    while ((cl = rfbClientIteratorNext(it))) {
        pthread_mutex_lock(&cl->updateMutex);
        sraRgnDestroy(cl->modifiedRegion);
        cl->modifiedRegion = sraRgnCreateRect(0, 0, w, h);
        sraRgnMakeEmpty(cl->copyRegion);
        cl->copyDX = cl->copyDY = 0;
        if (cl->useNewFBSize)
            cl->newFBSizePending = TRUE;
        pthread_mutex_unlock(&cl->updateMutex);
    }
    rfbReleaseClientIterator(it);
}
