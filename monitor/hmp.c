/* hmp: the monitor for people: sessions on character devices, command table, dispatch. */
#include "monitor/hmp_int.h"

#include "util/bytes.h"

#define CMD(n, a, h, f) HmpFn f;
#define INFO(n, a, h, f) HmpFn f;
#include "monitor/hmp.def"
#include "monitor/hmp_info.def"
#undef CMD
#undef INFO

static const HmpCmd commands[] = {
#define CMD(n, a, h, f) { n, a, h, f },
#include "monitor/hmp.def"
#undef CMD
};
static const HmpCmd infos[] = {
#define INFO(n, a, h, f) { n, a, h, f },
#include "monitor/hmp_info.def"
#undef INFO
};

const HmpCmd *hmp_commands(size_t *n)
{
    *n = G_N_ELEMENTS(commands);
    return commands;
}

const HmpCmd *hmp_infos(size_t *n)
{
    *n = G_N_ELEMENTS(infos);
    return infos;
}

void hmp_printf(Hmp *h, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_string_append_vprintf(h->out, fmt, ap);
    va_end(ap);
}

void hmp_error(Hmp *h, GError *err)
{
    if (!err)
        return;
    hmp_printf(h, "Error: %s\n", err->message);
    g_error_free(err);
}

void hmp_take(Hmp *h, char *text)
{
    if (text)
        g_string_append(h->out, text);
    g_free(text);
}

Vcpu *hmp_vcpu(Hmp *h)
{
    GPtrArray *v = h->m->vcpus;

    if (!v->len)
        return NULL;
    return g_ptr_array_index(v, h->cpu >= 0 && h->cpu < (int)v->len ? h->cpu : 0);
}

/* Does word name c ("name|alias|...")? */
static bool cmd_is(const HmpCmd *c, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = c->name; p; p = strchr(p, '|'), p = p ? p + 1 : NULL)
        if (!strncmp(p, word, n) && (!p[n] || p[n] == '|'))
            return true;
    return false;
}

static const HmpCmd *cmd_find(const HmpCmd *table, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (cmd_is(&table[i], word))
            return &table[i];
    return NULL;
}

static const char *cmd_nearest(const HmpCmd *table, size_t n, const char *word, char **keep)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *near;

    for (size_t i = 0; i < n; i++) {
        g_auto(GStrv) parts = g_strsplit(table[i].name, "|", -1);

        for (char **p = parts; *p; p++)
            g_ptr_array_add(names, g_strdup(*p));
    }
    g_ptr_array_add(names, NULL);
    near = nearest_name(word, (const char *const *)names->pdata);
    return *keep = g_strdup(near);
}

static void unknown(Hmp *h, const HmpCmd *table, size_t n, const char *word, const char *what)
{
    g_autofree char *near = NULL;

    if (cmd_nearest(table, n, word, &near))
        hmp_printf(h, "unknown %s: '%s' (did you mean '%s'?)\n", what, word, near);
    else
        hmp_printf(h, "unknown %s: '%s'\n", what, word);
}

void hmp_info(Hmp *h, int argc, char **argv)
{
    const HmpCmd *c;

    if (argc < 2) {
        for (size_t i = 0; i < G_N_ELEMENTS(infos); i++)
            hmp_printf(h, "info %s %s -- %s\n", infos[i].name, infos[i].args, infos[i].help);
        return;
    }
    c = cmd_find(infos, G_N_ELEMENTS(infos), argv[1]);
    if (!c)
        unknown(h, infos, G_N_ELEMENTS(infos), argv[1], "info subject");
    else
        c->fn(h, argc - 1, argv + 1);
}

void hmp_help(Hmp *h, int argc, char **argv)
{
    bool any = false;

    if (argc > 1 && !strcmp(argv[1], "info")) {
        hmp_info(h, 1, argv);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (argc > 1 && !cmd_is(&commands[i], argv[1]))
            continue;
        hmp_printf(h, "%s %s -- %s\n", commands[i].name, commands[i].args + (*commands[i].args == '*'),
                   commands[i].help);
        any = true;
    }
    if (!any)
        unknown(h, commands, G_N_ELEMENTS(commands), argv[1], "command");
}

/* Words separated by spaces; "double quoted" ones keep theirs. */
static GPtrArray *split(const char *s)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    while (*s) {
        g_autoptr(GString) w = g_string_new(NULL);
        bool quoted = false;

        while (*s == ' ' || *s == '\t')
            s++;
        if (!*s)
            break;
        for (; *s && (quoted || (*s != ' ' && *s != '\t')); s++) {
            if (*s == '"')
                quoted = !quoted;
            else if (*s == '\\' && s[1] && quoted)
                g_string_append_c(w, *++s);
            else
                g_string_append_c(w, *s);
        }
        g_ptr_array_add(words, g_strdup(w->str));
    }
    return words;
}

static bool takes_format(const char *name)
{
    static const char *const with[] = { "x", "xp", "p", "print", "i", "o", NULL };

    return g_strv_contains(with, name);
}

static void run_line(Hmp *h, const char *line)
{
    g_autofree char *copy = g_strdup(line), *word = NULL, *format = NULL;
    g_autoptr(GPtrArray) words = NULL;
    const char *rest, *slash;
    const HmpCmd *c;
    size_t n;

    g_strstrip(copy);
    if (!*copy || *copy == '#')
        return;
    n = strcspn(copy, " \t");
    word = g_strndup(copy, n);
    rest = copy + n;
    while (*rest == ' ' || *rest == '\t')
        rest++;
    slash = strchr(word, '/');
    if (slash) {
        g_autofree char *bare = g_strndup(word, slash - word);

        if (takes_format(bare)) {
            format = g_strdup(slash + 1);
            word[slash - word] = 0;
        }
    } else if (*rest == '/' && takes_format(word)) {
        n = strcspn(rest, " \t");
        format = g_strndup(rest + 1, n - 1);
        rest += n;
    }
    h->format = format ? format : "";
    c = cmd_find(commands, G_N_ELEMENTS(commands), word);
    if (!c) {
        unknown(h, commands, G_N_ELEMENTS(commands), word, "command");
        return;
    }
    words = *c->args == '*' ? g_ptr_array_new_with_free_func(g_free) : split(rest);
    if (*c->args == '*' && *rest)
        g_ptr_array_add(words, g_strdup(rest));
    g_ptr_array_insert(words, 0, g_strdup(word));
    g_ptr_array_add(words, NULL);
    c->fn(h, words->len - 1, (char **)words->pdata);
}

char *hmp_run(Machine *m, const char *line, int cpu)
{
    Hmp h = { .m = m, .out = g_string_new(NULL), .cpu = cpu };

    run_line(&h, line);
    return g_string_free(h.out, false);
}

/* --- sessions --- */

typedef struct HmpSession {
    ChardevFe fe;
    Machine *m;
    Readline *rl;
    int cpu;
    bool greeted, open, mux;
    const char *then;           /* the command the next line is the argument of, or NULL */
} HmpSession;

static void session_echo(void *opaque, const char *text, size_t len)
{
    HmpSession *s = opaque;

    chr_write_all(&s->fe, text, len);
}

static void session_print(HmpSession *s, const char *text)
{
    g_autoptr(GString) out = g_string_sized_new(strlen(text) + 64);

    for (; *text; text++) {
        if (*text == '\n')
            g_string_append_c(out, '\r');
        g_string_append_c(out, *text);
    }
    chr_write_all(&s->fe, out->str, out->len);
}

static void session_line(void *opaque, const char *line)
{
    HmpSession *s = opaque;
    Hmp h = { .m = s->m, .out = g_string_new(NULL), .cpu = s->cpu, .history = readline_history(s->rl) };
    g_autofree char *answered = s->then ? g_strdup_printf("%s %s", s->then, line) : NULL;

    if (!answered || *line)
        run_line(&h, answered ? answered : line);
    s->then = h.then;
    if (h.question)
        readline_ask(s->rl, h.question);
    s->cpu = h.cpu;
    if (h.out->len && h.out->str[h.out->len - 1] != '\n')
        g_string_append_c(h.out, '\n');
    session_print(s, h.out->str);
    g_string_free(h.out, true);
    readline_show(s->rl);
}

static void session_complete(void *opaque, const char *head, GPtrArray *out)
{
    const char *word = strrchr(head, ' ');
    bool info = g_str_has_prefix(head, "info ");
    const HmpCmd *table = info ? infos : commands;
    size_t n = info ? G_N_ELEMENTS(infos) : G_N_ELEMENTS(commands);

    if (word && !info)
        return;
    word = word ? word + 1 : head;
    for (size_t i = 0; i < n; i++) {
        g_autofree char *name = g_strndup(table[i].name, strcspn(table[i].name, "|"));

        if (g_str_has_prefix(name, word))
            g_ptr_array_add(out, g_steal_pointer(&name));
    }
}

static size_t session_room(void *opaque) { return 4096; }

static void session_receive(void *opaque, const uint8_t *buf, size_t len)
{
    HmpSession *s = opaque;

    for (size_t i = 0; i < len; i++)
        readline_feed(s->rl, buf[i]);
}

static void session_show(HmpSession *s)
{
    if (!s->greeted)
        session_print(s, "quern 0.1 monitor - type 'help' for more information\n");
    s->greeted = true;
    readline_show(s->rl);
}

static void session_event(void *opaque, ChrEvent ev)
{
    HmpSession *s = opaque;

    /* Behind a multiplexer the first words wait until the user switches here. */
    switch (ev) {
    case CHR_EVENT_OPEN:
        s->open = true;
        if (!s->mux)
            session_show(s);
        break;
    case CHR_EVENT_CLOSE:
        s->open = s->greeted = false;
        break;
    case CHR_EVENT_FOCUS_IN:
        session_print(s, "\n");
        session_show(s);
        break;
    default:
        break;
    }
}

static void session_free(void *data)
{
    HmpSession *s = data;

    chr_detach(&s->fe);
    readline_free(s->rl);
    g_free(s);
}

bool hmp_attach(Machine *m, Chardev *chr, GError **err)
{
    static const ChardevFeOps fe_ops = {
        .can_receive = session_room, .receive = session_receive, .event = session_event };
    static const ReadlineOps rl_ops = {
        .line = session_line, .echo = session_echo, .complete = session_complete };
    HmpSession *s = g_new0(HmpSession, 1);

    s->m = m;
    s->mux = chardev_is_mux(chr);
    s->rl = readline_new("(qemu) ", &rl_ops, s);
    if (!chr_attach(&s->fe, chr, &fe_ops, s, err)) {
        readline_free(s->rl);
        g_free(s);
        return false;
    }
    machine_on_free(m, session_free, s);
    return true;
}
