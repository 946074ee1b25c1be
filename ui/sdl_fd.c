/* sdl_fd: where a window's events arrive: a file descriptor and two queues. Apart, because Xlib has a KeyCode of its own. */
#include "ui/sdl_fd.h"

#include <SDL.h>
#include <SDL_syswm.h>

int sdl_event_fd(void *window)
{
    SDL_SysWMinfo info;

    SDL_VERSION(&info.version);
#if defined(SDL_VIDEO_DRIVER_X11)
    if (SDL_GetWindowWMInfo(window, &info) && info.subsystem == SDL_SYSWM_X11)
        return ConnectionNumber(info.info.x11.display);
#endif
    return -1;
}

bool sdl_events_waiting(void *window)
{
    SDL_SysWMinfo info;

    if (SDL_HasEvents(SDL_FIRSTEVENT, SDL_LASTEVENT))
        return true;
    SDL_VERSION(&info.version);
#if defined(SDL_VIDEO_DRIVER_X11)
    if (SDL_GetWindowWMInfo(window, &info) && info.subsystem == SDL_SYSWM_X11)
        return QLength(info.info.x11.display) > 0;
#endif
    return false;
}
