/* test-pcspk: the speaker's sound, as a wav file has it. */
#include "hw/misc/pcspk.h"
#include "tests/hw/bench.h"
#include "ui/audio.h"
#include "util/bytes.h"

#include <glib/gstdio.h>
#include <unistd.h>

typedef struct Sound { Bench *b; AudioDev *audio; char *path; } Sound;

static Sound sound_new(void)
{
    g_autofree char *spec = NULL;
    g_autoptr(GError) err = NULL;
    Sound s = { .b = bench_new(NULL, NULL) };
    int fd = g_file_open_tmp("quern-XXXXXX.wav", &s.path, NULL);

    close(fd);
    spec = g_strdup_printf("wav,id=snd,path=%s,out.frequency=48000", s.path);
    s.audio = audio_open(spec, &err);
    g_assert_no_error(err);
    bench_backend(s.b, "audiodev", "snd", s.audio);
    bench_add(s.b, "isa-pit", NULL);
    bench_add(s.b, "isa-pcspk", "audiodev=snd");
    pcspk_connect(bench_dev(s.b, 1), bench_dev(s.b, 0));
    bench_reset(s.b);
    return s;
}

/* Ends the recording: its samples. */
static GArray *sound_free(Sound *s)
{
    GArray *samples = g_array_new(FALSE, FALSE, 2);
    g_autofree char *data = NULL;
    gsize len;

    bench_free(s->b);
    audio_close(s->audio);
    g_assert_true(g_file_get_contents(s->path, &data, &len, NULL));
    g_assert_cmpmem(data, 4, "RIFF", 4);
    g_assert_cmpuint(ld32_le((uint8_t *)data + 24), ==, 48000);
    g_assert_cmpuint(ld32_le((uint8_t *)data + 40), ==, len - 44);
    g_array_append_vals(samples, data + 44, (len - 44) / 2);
    g_unlink(s->path);
    g_free(s->path);
    return samples;
}

static unsigned crossings(const GArray *a, unsigned from, unsigned to)
{
    const int16_t *p = (const int16_t *)a->data;
    unsigned n = 0;

    for (unsigned i = from + 1; i < MIN(to, a->len); i++)
        n += (p[i - 1] < 0) != (p[i] < 0);
    return n;
}

static void tone(Bench *b, unsigned hz)
{
    unsigned count = 1193182 / hz;

    bench_out8(b, 0x43, 0xb6);
    bench_out8(b, 0x42, count);
    bench_out8(b, 0x42, count >> 8);
}

static void tones_have_their_pitch_and_length(void)
{
    Sound s = sound_new();
    GArray *a;

    tone(s.b, 1000);
    bench_out8(s.b, 0x61, 3);
    bench_step_ms(s.b, 500);
    tone(s.b, 250);
    bench_step_ms(s.b, 500);
    bench_out8(s.b, 0x61, 0);
    bench_step_ms(s.b, 1000);                   /* a pause is recorded too */
    bench_out8(s.b, 0x61, 3);
    bench_step_ms(s.b, 100);
    bench_out8(s.b, 0x61, 0);
    a = sound_free(&s);
    g_assert_cmpuint(a->len, >=, 48000 * 2 + 4700);
    g_assert_cmpuint(a->len, <=, 48000 * 2 + 4900);
    g_assert_cmpuint(crossings(a, 2400, 21600), >=, 798);       /* 0.4 s */
    g_assert_cmpuint(crossings(a, 2400, 21600), <=, 802);
    g_assert_cmpuint(crossings(a, 26400, 45600), >=, 198);
    g_assert_cmpuint(crossings(a, 26400, 45600), <=, 202);
    g_assert_cmpuint(crossings(a, 60000, 90000), ==, 0);
    g_array_unref(a);
}

/* Programs without the timer switch the speaker bit themselves. */
static void bit_banging_is_heard(void)
{
    Sound s = sound_new();
    GArray *a;

    bench_out8(s.b, 0x61, 0);
    for (int i = 0; i < 200; i++) {
        bench_out8(s.b, 0x61, i & 1 ? 2 : 0);   /* the timer's output rests high */
        bench_step_us(s.b, 1000);
    }
    a = sound_free(&s);
    g_assert_cmpuint(crossings(a, 0, a->len), >=, 180);
    g_assert_cmpuint(crossings(a, 0, a->len), <=, 200);
    g_array_unref(a);
}

static void bad_options_are_refused(void)
{
    static const char *const bad[] = { "wav", "wav,id=a,path=/nonexistent/x", "wav,id=a,path=/dev/null,pth=1", "wva,id=a",
                                       "wav,id=a,out.frequency=3" };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;

        g_assert_null(audio_open(bad[i], &err));
        g_assert_nonnull(err);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pcspk/tones", tones_have_their_pitch_and_length);
    g_test_add_func("/pcspk/bits", bit_banging_is_heard);
    g_test_add_func("/pcspk/options", bad_options_are_refused);
    return g_test_run();
}
