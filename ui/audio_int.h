/* audio_int: what an audio back-end implements. */
#ifndef UI_AUDIO_INT_H
#define UI_AUDIO_INT_H

#include "ui/audio.h"
#include "util/optlist.h"

typedef struct AudioKind {
    const char *name, *desc;
    bool (*open)(AudioDev *a, OptList *opts, GError **err);
    void (*close)(AudioDev *a);
    void (*play)(AudioDev *a, const int16_t *samples, unsigned n);
    void (*skip)(AudioDev *a, uint64_t n);
} AudioKind;

struct AudioDev {
    const AudioKind *kind;
    char *id;
    unsigned rate;
    void *impl;
};

extern const AudioKind audio_none, audio_wav, audio_sdl;

#endif
