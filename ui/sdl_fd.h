/* sdl_fd: where a window's events arrive: a file descriptor and two queues. */
#ifndef UI_SDL_FD_H
#define UI_SDL_FD_H

#include <stdbool.h>

/* window: SDL_Window *. -1: the window system has none that can be waited for. */
int sdl_event_fd(void *window);
/* Events were already read from the descriptor, by drawing for example: it will not tell of them. No system call. */
bool sdl_events_waiting(void *window);

#endif
