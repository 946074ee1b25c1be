/* audio: the list of audio back-ends and the options they share. */
#include "ui/audio_int.h"

#include "util/log.h"

#include <string.h>

enum { RATE = 44100, RATE_MIN = 8000, RATE_MAX = 192000 };

static bool none_open(AudioDev *a, OptList *opts, GError **err)
{
    return true;
}

const AudioKind audio_none = { "none", "no sound", none_open };

static const AudioKind *const kinds[] = {
    &audio_none,
#if HAVE_SDL2
    &audio_sdl,
#endif
    &audio_wav,
    NULL
};

/* Drivers QEMU has; SDL reaches what they reach. */
static const char *const other_names[] = { "none", "wav", "sdl", "alsa", "pa", "pipewire", "jack", "oss", "spice", "dbus", NULL };

/* Sizes and formats of buffers: taken for compatibility, this layer needs none of them. */
static const char *const ignored[] = {
    "timer-period", "out.mixing-engine", "out.fixed-settings", "out.channels", "out.voices", "out.format", "out.buffer-length",
    "out.buffer-count", "in.mixing-engine", "in.fixed-settings", "in.frequency", "in.channels", "in.voices", "in.format",
    "in.buffer-length", "in.buffer-count", NULL };

char *audio_list_help(void)
{
    GString *s = g_string_new("Available audio drivers:\n");

    for (unsigned i = 0; kinds[i]; i++)
        g_string_append_printf(s, "%s\n", kinds[i]->name);
    return g_string_free(s, FALSE);
}

static const AudioKind *find_kind(const char *name, GError **err)
{
    const char *near;

    for (unsigned i = 0; kinds[i]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    for (unsigned i = 0; other_names[i]; i++)
        if (strcmp(other_names[i], name) == 0) {
            log_warn("-audiodev: this quern has no '%s' driver; %s instead", name, HAVE_SDL2 ? "sdl is used" : "no sound");
            return HAVE_SDL2 ? kinds[1] : &audio_none;
        }
    near = nearest_name(name, other_names);
    err_set(err, "unknown audio driver '%s'%s%s%s", name, near ? " (did you mean '" : "; see -audiodev help",
            near ? near : "", near ? "'?)" : "");
    return NULL;
}

AudioDev *audio_open(const char *spec, GError **err)
{
    g_autoptr(OptList) opts = optlist_parse(spec, "driver", err);
    const AudioKind *kind = opts ? find_kind(optlist_str(opts, "driver", "none"), err) : NULL;
    g_autoptr(GError) why = NULL;
    const char *id = kind ? optlist_str(opts, "id", NULL) : NULL;
    uint64_t rate;
    AudioDev *a;

    if (!kind || !optlist_uint(opts, "out.frequency", RATE, RATE_MAX, &rate, err))
        return NULL;
    if (!id || rate < RATE_MIN) {
        err_set(err, id ? "out.frequency is at least 8000" : "an id= is needed");
        return NULL;
    }
    for (unsigned i = 0; ignored[i]; i++)
        (void)optlist_str(opts, ignored[i], NULL);
    a = g_new0(AudioDev, 1);
    *a = (AudioDev) { .kind = kind, .id = g_strdup(id), .rate = rate };
    if (!kind->open(a, opts, &why)) {
        if (kind != &audio_wav) {       /* a guest is of use without sound, too */
            log_warn("-audiodev %s: %s; the guest runs without sound", id, why->message);
            a->kind = &audio_none;
        } else {
            g_propagate_error(err, g_steal_pointer(&why));
            a->kind = &audio_none;
            audio_close(a);
            return NULL;
        }
    }
    if (!optlist_check_unused(opts, err)) {
        audio_close(a);
        return NULL;
    }
    return a;
}

void audio_close(AudioDev *a)
{
    if (!a)
        return;
    if (a->kind->close)
        a->kind->close(a);
    g_free(a->id);
    g_free(a);
}

const char *audio_id(const AudioDev *a)
{
    return a->id;
}

unsigned audio_rate(const AudioDev *a)
{
    return a->rate;
}

void audio_play(AudioDev *a, const int16_t *samples, unsigned n)
{
    if (n && a->kind->play)
        a->kind->play(a, samples, n);
}

void audio_skip(AudioDev *a, uint64_t n)
{
    if (n && a->kind->skip)
        a->kind->skip(a, n);
}
