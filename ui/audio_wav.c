/*
 * audio_wav: sound into a RIFF WAVE file (Multimedia Programming Interface 1.0), mono, 16 bits.
 *
 * The sizes in the header are kept right after each write, so that the file is whole at any time.
 */
#include "ui/audio_int.h"

#include "util/bytes.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 44, PCM = 1, SILENCE_MAX_S = 60, CHUNK = 1024 };
#define DATA_MAX (UINT32_MAX - HEADER)

typedef struct Wav {
    int fd;
    uint64_t bytes;             /* of samples */
    bool failed;
} Wav;

static void fill_header(const AudioDev *a, uint8_t h[HEADER], uint32_t bytes)
{
    memcpy(h, "RIFF....WAVEfmt ", 16);
    st32_le(h + 4, bytes + HEADER - 8);
    st32_le(h + 16, 16);
    st16_le(h + 20, PCM);
    st16_le(h + 22, 1);
    st32_le(h + 24, a->rate);
    st32_le(h + 28, a->rate * 2);
    st16_le(h + 32, 2);
    st16_le(h + 34, 16);
    memcpy(h + 36, "data", 4);
    st32_le(h + 40, bytes);
}

static void put(AudioDev *a, const void *data, size_t len, uint64_t at)
{
    Wav *w = a->impl;

    if (w->failed || pwrite(w->fd, data, len, at) == (ssize_t)len)
        return;
    w->failed = true;
    log_warn("-audiodev %s: writing failed: %s", a->id, g_strerror(errno));
}

static void wav_play(AudioDev *a, const int16_t *samples, unsigned n)
{
    Wav *w = a->impl;
    uint8_t header[HEADER];
    g_autofree uint8_t *out = g_malloc(n * 2);

    if (w->bytes + n * 2 > DATA_MAX)
        return;
    for (unsigned i = 0; i < n; i++)
        st16_le(out + 2 * i, samples[i]);
    put(a, out, n * 2, HEADER + w->bytes);
    w->bytes += n * 2;
    fill_header(a, header, w->bytes);
    put(a, header, HEADER, 0);
}

/* Before the first sound there is nothing to record; long pauses are shortened. */
static void wav_skip(AudioDev *a, uint64_t n)
{
    static const int16_t silence[CHUNK];
    Wav *w = a->impl;

    n = MIN(n, (uint64_t)a->rate * SILENCE_MAX_S);
    for (; w->bytes && n; n -= MIN(n, CHUNK))
        wav_play(a, silence, MIN(n, CHUNK));
}

static bool wav_open(AudioDev *a, OptList *opts, GError **err)
{
    const char *path = optlist_str(opts, "path", "qemu.wav");
    uint8_t header[HEADER];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    Wav *w;

    if (fd < 0)
        return err_set_errno(err, errno, "opening '%s'", path);
    a->impl = w = g_new0(Wav, 1);
    w->fd = fd;
    fill_header(a, header, 0);
    put(a, header, HEADER, 0);
    return true;
}

static void wav_close(AudioDev *a)
{
    close(((Wav *)a->impl)->fd);
    g_free(a->impl);
}

const AudioKind audio_wav = { "wav", "a file: path=", wav_open, wav_close, wav_play, wav_skip };
