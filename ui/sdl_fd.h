/* sdl_fd: the file descriptor on which a window's events arrive. */
#ifndef UI_SDL_FD_H
#define UI_SDL_FD_H

/* window: SDL_Window *. -1: the window system has none that can be waited for. */
int sdl_event_fd(void *window);

#endif
