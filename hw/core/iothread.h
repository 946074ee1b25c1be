/*
 * iothread: threads that serve devices without the machine lock (-object iothread).
 *
 * Each has a main context and one recursive lock. What a client (a device) shares with its thread is
 * touched only between iothread_enter() and iothread_leave(). Lock order: machine lock first, then the
 * thread's; the thread itself takes the machine lock only with its own released, to deliver what a
 * client deferred (interrupts).
 */
#ifndef HW_CORE_IOTHREAD_H
#define HW_CORE_IOTHREAD_H

#include <glib.h>
#include <stdbool.h>

typedef struct IoThread IoThread;
typedef struct IoClient IoClient;

IoThread *iothread_new(const char *id);
/* No clients are left. Releases the machine lock while the thread ends. */
void iothread_free(IoThread *t);
const char *iothread_id(const IoThread *t);
bool iothread_in_use(IoThread *t);
int iothread_tid(const IoThread *t);            /* of the host; 0: not started yet */
GMainContext *iothread_context(IoThread *t);
void iothread_enter(IoThread *t);               /* may nest */
void iothread_leave(IoThread *t);               /* the outermost one delivers, when it may */

/* work runs on the thread, entered, after each kick; deliver with the machine lock and entered. */
IoClient *iothread_attach(IoThread *t, void (*work)(void *opaque), void (*deliver)(void *opaque), void *opaque);
/* Machine lock held: neither function runs once this returns. */
void iothread_detach(IoClient *c);
void iothread_kick(IoClient *c);                /* any thread, no lock */
void iothread_defer(IoClient *c);               /* entered, without the machine lock */

#endif
