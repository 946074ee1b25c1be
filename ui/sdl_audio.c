/* sdl_audio: sound through SDL2, which finds the host's sound system. */
#include "ui/audio_int.h"

#include <SDL.h>

enum { LEAD_MS = 60, QUEUE_MAX_MS = 250 };      /* what is queued before sound starts, and at most */

static bool sdl_audio_open(AudioDev *a, OptList *opts, GError **err)
{
    SDL_AudioSpec want = { .freq = a->rate, .format = AUDIO_S16SYS, .channels = 1, .samples = 512 };
    SDL_AudioDeviceID id;

    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    if (SDL_InitSubSystem(SDL_INIT_AUDIO) != 0)
        return err_set(err, "no sound on this host: %s", SDL_GetError());
    id = SDL_OpenAudioDevice(NULL, 0, &want, NULL, 0);
    if (!id) {
        err_set(err, "no sound on this host: %s", SDL_GetError());
        SDL_QuitSubSystem(SDL_INIT_AUDIO);
        return false;
    }
    a->impl = GUINT_TO_POINTER(id);
    return true;
}

static void sdl_audio_close(AudioDev *a)
{
    SDL_CloseAudioDevice(GPOINTER_TO_UINT(a->impl));
    SDL_QuitSubSystem(SDL_INIT_AUDIO);
}

/* The device runs only while there is something to play: an idle guest costs nothing. */
static void sdl_audio_play(AudioDev *a, const int16_t *samples, unsigned n)
{
    SDL_AudioDeviceID id = GPOINTER_TO_UINT(a->impl);
    unsigned queued = SDL_GetQueuedAudioSize(id) / 2, lead = a->rate * LEAD_MS / 1000;

    if (queued > a->rate * QUEUE_MAX_MS / 1000)
        return;                 /* the host is behind: rather a gap than a delay */
    if (!queued) {
        g_autofree int16_t *silence = g_new0(int16_t, lead);

        SDL_QueueAudio(id, silence, lead * 2);
        SDL_PauseAudioDevice(id, 0);
    }
    SDL_QueueAudio(id, samples, n * 2);
}

static void sdl_audio_skip(AudioDev *a, uint64_t n)
{
    if (!SDL_GetQueuedAudioSize(GPOINTER_TO_UINT(a->impl)))
        SDL_PauseAudioDevice(GPOINTER_TO_UINT(a->impl), 1);
}

const AudioKind audio_sdl = { "sdl", "the host's speakers", sdl_audio_open, sdl_audio_close, sdl_audio_play, sdl_audio_skip };
