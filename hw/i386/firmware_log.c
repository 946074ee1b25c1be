/*
 * firmware_log: listens to what SeaBIOS says on its debug port, to tell the user when it gives up.
 *
 * SeaBIOS writes its messages to port 402h if that port reads e9h. What it boots from and why that
 * failed are lines there, whatever the screen shows. A debug console the user puts on the port
 * comes first. The text is the guest's, so it is cut and cleaned, and the user is told once.
 */
#include "hw/i386/board_int.h"
#include "util/log.h"

enum { PORT = 0x402, READBACK = 0xe9, LINE_MAX_LEN = 100, TRIED_MAX = 6 };

typedef struct FirmwareLog {
    Region io;
    GString *line, *medium;     /* the line so far; what the firmware boots from now */
    GPtrArray *tried;           /* "Hard Disk: not a bootable disk" */
    bool told;
} FirmwareLog;

static void tell(FirmwareLog *s)
{
    g_autofree char *why = NULL;

    if (s->told)
        return;
    s->told = true;
    g_ptr_array_add(s->tried, NULL);
    why = g_strjoinv("; ", (char **)s->tried->pdata);
    g_ptr_array_set_size(s->tried, s->tried->len - 1);
    log_info("the firmware found nothing to boot%s%s%s; name a disk or CD image (quern debian.iso), or -kernel",
             *why ? " (" : "", why, *why ? ")" : "");
}

static void end_of_line(FirmwareLog *s)
{
    const char *text = s->line->str;

    if (g_str_has_prefix(text, "Booting from ")) {
        size_t len;

        g_string_assign(s->medium, text + strlen("Booting from "));
        for (len = s->medium->len; len && s->medium->str[len - 1] == '.'; len--)
            ;
        g_string_truncate(s->medium, len);
    } else if (g_str_has_prefix(text, "Boot failed: ")) {
        if (s->tried->len < TRIED_MAX)
            g_ptr_array_add(s->tried, g_strdup_printf("%s: %s", *s->medium->str ? s->medium->str : "boot",
                                                      text + strlen("Boot failed: ")));
    } else if (g_str_has_prefix(text, "No bootable device.")) {
        tell(s);
    } else if (g_str_has_prefix(text, "SeaBIOS (version")) {    /* starts over */
        g_ptr_array_set_size(s->tried, 0);
        g_string_truncate(s->medium, 0);
    }
    g_string_truncate(s->line, 0);
}

static uint64_t log_read(void *opaque, uint64_t off, unsigned size)
{
    return READBACK;
}

static void log_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    FirmwareLog *s = opaque;
    char c = val;

    if (c == '\n')
        end_of_line(s);
    else if (s->line->len < LINE_MAX_LEN && c != '\r')
        g_string_append_c(s->line, g_ascii_isprint(c) ? c : '?');
}

static const IoOps log_io = { log_read, log_write, .min = 1, .max = 1 };

static void log_free(void *data)
{
    FirmwareLog *s = data;

    region_destroy(&s->io);
    g_string_free(s->line, true);
    g_string_free(s->medium, true);
    g_ptr_array_free(s->tried, true);
    g_free(s);
}

void pc_firmware_log(Machine *m)
{
    FirmwareLog *s = g_new0(FirmwareLog, 1);

    s->line = g_string_new(NULL);
    s->medium = g_string_new(NULL);
    s->tried = g_ptr_array_new_with_free_func(g_free);
    region_init_io(&s->io, "firmware-log", &log_io, s, 1);
    region_add(&m->port_root, &s->io, PORT, -1);
    board_on_free(m, log_free, s);
}
