/*
 * pcspk: system control port B and the speaker: timer 2 gate, speaker enable, refresh and timer outputs.
 *
 * As in the PIIX data sheet, 290550 section 2.5.3. The speaker follows timer output AND speaker bit. Its
 * samples are made from the timer's state just before that changes, and every 20 ms while it is on, so
 * that tones and tones made by switching the bit come out alike. Parity and channel checks never
 * happen. docs/hw/pcspk.md. Machine lock.
 */
#include "hw/misc/pcspk.h"

#include "hw/isa/isa.h"
#include "hw/timer/i8254.h"
#include "ui/audio.h"

enum { GATE2 = 1 << 0, SPEAKER = 1 << 1, WRITABLE = 0x0f, REFRESH = 1 << 4, OUT2 = 1 << 5 };
enum { REFRESH_HALF_NS = 15085 };
enum { AMPLITUDE = 10000, OVERSAMPLE = 4, CHUNK = 512, PLAY_NS = 20 * 1000 * 1000, LATE_SAMPLES_PER_S = 4 };
enum { FADE_TURNS = 10 };       /* of PLAY_NS, after the speaker was switched off */

typedef struct Pcspk {
    Device dev;
    Region io;
    Device *pit;
    Timer timer;
    AudioDev *audiodev;         /* property */
    uint8_t out;                /* state */
    int64_t next;               /* caches: number of the next sample since the clock's start */
    int fade;                   /* turns left until the timer stops */
    int last, level;            /* filter: the speaker's coil passes no constant level */
} Pcspk;

void pcspk_connect(Device *dev, Device *pit)
{
    ((Pcspk *)dev)->pit = pit;
}

/* ---- sound ---- */

static int sample(Pcspk *s, int64_t n, unsigned rate)
{
    int sum = 0, in;

    for (int k = 0; k < OVERSAMPLE && (s->out & SPEAKER); k++)
        sum += i8254_out_at(s->pit, 2, (int64_t)((__int128)(n * OVERSAMPLE + k) * NS_PER_SEC / (rate * OVERSAMPLE)));
    in = sum * AMPLITUDE / OVERSAMPLE;
    s->level = in - s->last + s->level - s->level / 128;
    s->last = in;
    return CLAMP(s->level, -32768, 32767);
}

/* Makes the samples that are due up to now. */
static void pcspk_play(Pcspk *s)
{
    unsigned rate;
    int64_t end;
    int16_t buf[CHUNK];

    if (!s->audiodev || !s->pit)
        return;
    rate = audio_rate(s->audiodev);
    end = (int64_t)((__int128)device_now(&s->dev) * rate / NS_PER_SEC);
    if (!s->fade || end - s->next > rate / LATE_SAMPLES_PER_S) {        /* it was silent, or time jumped */
        if (end > s->next)
            audio_skip(s->audiodev, end - s->next);
        s->next = end;
    }
    (void)i8254_out(s->pit, 2);         /* a timer inside the engine tells its state */
    while (s->next < end) {
        unsigned n = MIN(end - s->next, CHUNK);

        for (unsigned i = 0; i < n; i++)
            buf[i] = sample(s, s->next + i, rate);
        audio_play(s->audiodev, buf, n);
        s->next += n;
    }
}

static void before_timer_change(void *opaque)
{
    pcspk_play(opaque);
}

static void pcspk_turn(void *opaque)
{
    Pcspk *s = opaque;

    pcspk_play(s);
    s->fade = s->out & SPEAKER ? FADE_TURNS : s->fade - 1;
    timer_set(&s->timer, s->fade > 0 ? device_now(&s->dev) + PLAY_NS : 0);
}

static void pcspk_update(Pcspk *s)
{
    if (s->pit)
        i8254_set_gate(s->pit, 2, s->out & GATE2);
    if (s->audiodev && (s->out & SPEAKER)) {
        s->fade = FADE_TURNS;
        if (!timer_active(&s->timer))
            timer_set(&s->timer, device_now(&s->dev) + PLAY_NS);
    }
}

/* ---- the port ---- */

static uint64_t pcspk_read(void *opaque, uint64_t off, unsigned size)
{
    Pcspk *s = opaque;
    bool refresh = device_now(&s->dev) / REFRESH_HALF_NS & 1;

    return s->out | (refresh ? REFRESH : 0) | (s->pit && i8254_out(s->pit, 2) ? OUT2 : 0);
}

static void pcspk_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Pcspk *s = opaque;

    pcspk_play(s);
    s->out = val & WRITABLE;
    pcspk_update(s);
}

static const IoOps pcspk_ops = { pcspk_read, pcspk_write, .min = 1, .max = 1 };

static void pcspk_reset(Device *dev)
{
    Pcspk *s = (Pcspk *)dev;

    s->out = 0;
    s->last = s->level = s->fade = 0;
    s->next = 0;
    timer_set(&s->timer, 0);
    if (s->pit)
        i8254_before_change(s->pit, 2, before_timer_change, s);
    pcspk_update(s);
}

static bool pcspk_loaded(void *opaque, GError **err)
{
    Pcspk *s = opaque;

    s->next = s->fade = 0;
    pcspk_update(s);
    return true;
}

static bool pcspk_realize(Device *dev, GError **err)
{
    Pcspk *s = (Pcspk *)dev;

    timer_init(&s->timer, dev->machine->clocks, CLOCK_VM, pcspk_turn, s);
    return isa_attach_pio(dev, &s->io, "pcspk", &pcspk_ops, 0x61, 1, err);
}

static void pcspk_unrealize(Device *dev)
{
    timer_del(&((Pcspk *)dev)->timer);
}

const DeviceClass pcspk_class = {
    .name = "isa-pcspk", .desc = "PC speaker port", .category = DEVCAT_SOUND, .bus = BUS_ISA,
    .size = sizeof(Pcspk), .internal = true, .no_hotplug = true,
    .realize = pcspk_realize, .unrealize = pcspk_unrealize, .reset = pcspk_reset,
    .props = (const PropDesc[]) {
        PROP_BACKEND(Pcspk, audiodev, "audiodev", "the -audiodev that plays its sound"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = pcspk_loaded,
        .fields = (const StateField[]) { STATE_UMAX(Pcspk, out, WRITABLE), STATE_END } },
};
