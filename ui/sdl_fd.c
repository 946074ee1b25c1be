/* sdl_fd: the file descriptor on which a window's events arrive. Apart, because Xlib has a KeyCode of its own. */
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
