/*
 * audio: where the guest's sound goes: a wav file, the host's speakers through SDL, or nowhere.
 *
 * A device makes mono samples by its own clock and hands them over; a back-end never blocks.
 * Machine lock held.
 */
#ifndef UI_AUDIO_H
#define UI_AUDIO_H

#include "util/error.h"

#include <stdint.h>

typedef struct AudioDev AudioDev;

/* The text after -audiodev: "wav,id=snd0,path=out.wav,out.frequency=44100". */
AudioDev *audio_open(const char *spec, GError **err) MUST_CHECK;
void audio_close(AudioDev *a);                  /* finishes the file; NULL: nothing */
const char *audio_id(const AudioDev *a);
unsigned audio_rate(const AudioDev *a);         /* samples a second */
/* n samples that follow the last ones. */
void audio_play(AudioDev *a, const int16_t *samples, unsigned n);
/* n samples' time passed in silence. */
void audio_skip(AudioDev *a, uint64_t n);
char *audio_list_help(void);                    /* "-audiodev help"; caller frees */

#endif
