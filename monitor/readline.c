/* readline: a small line editor: cursor keys, history, word and line kill, completion. */
#include "monitor/hmp_int.h"

enum { LINE_MAX_LEN = 4096, HISTORY_MAX = 256 };
enum { CTRL_A = 1, CTRL_B, CTRL_C, CTRL_D, CTRL_E, CTRL_F, TAB = 9, CTRL_K = 11, CTRL_L, CTRL_N = 14,
       CTRL_P = 16, CTRL_U = 21, CTRL_W = 23, ESC = 27, DEL = 127 };
typedef enum { IN_TEXT, IN_ESC, IN_CSI } InputState;

struct Readline {
    char *prompt;
    const char *question;       /* the next line is its answer: not shown, not remembered; or NULL */
    ReadlineOps ops;
    void *opaque;
    GString *line;
    size_t at;                  /* cursor */
    InputState state;
    int param;                  /* of a CSI sequence */
    bool after_cr;              /* swallow the LF of CR LF */
    GPtrArray *history;
    int recall;                 /* entry shown; history->len: the new line */
};

Readline *readline_new(const char *prompt, const ReadlineOps *ops, void *opaque)
{
    Readline *r = g_new0(Readline, 1);

    r->prompt = g_strdup(prompt);
    r->ops = *ops;
    r->opaque = opaque;
    r->line = g_string_new(NULL);
    r->history = g_ptr_array_new_with_free_func(g_free);
    return r;
}

void readline_free(Readline *r)
{
    g_free(r->prompt);
    g_string_free(r->line, true);
    g_ptr_array_free(r->history, true);
    g_free(r);
}

GPtrArray *readline_history(Readline *r)
{
    return r->history;
}

static void echo(Readline *r, const char *s)
{
    if (!r->question)
        r->ops.echo(r->opaque, s, strlen(s));
}

/* Redraws from the cursor to the end of line and puts the cursor back. */
static void redraw_tail(Readline *r)
{
    size_t back = r->line->len - r->at;

    echo(r, r->line->str + r->at);
    echo(r, "\033[K");
    if (back) {
        g_autofree char *move = g_strdup_printf("\033[%zuD", back);

        echo(r, move);
    }
}

void readline_ask(Readline *r, const char *question)
{
    r->question = question;
}

void readline_show(Readline *r)
{
    const char *prompt = r->question ? r->question : r->prompt;

    r->ops.echo(r->opaque, prompt, strlen(prompt));
    if (r->question)
        return;
    r->ops.echo(r->opaque, r->line->str, r->at);
    if (r->at < r->line->len)
        redraw_tail(r);
}

static void move_to(Readline *r, size_t pos)
{
    g_autofree char *seq = NULL;

    if (pos == r->at)
        return;
    seq = pos < r->at ? g_strdup_printf("\033[%zuD", r->at - pos) : g_strdup_printf("\033[%zuC", pos - r->at);
    r->at = pos;
    echo(r, seq);
}

static void insert(Readline *r, const char *s)
{
    if (r->line->len + strlen(s) > LINE_MAX_LEN)
        return;
    g_string_insert(r->line, r->at, s);
    r->at += strlen(s);
    echo(r, s);
    if (r->at < r->line->len)
        redraw_tail(r);
}

/* Deletes [from, to) and leaves the cursor at from. */
static void cut(Readline *r, size_t from, size_t to)
{
    move_to(r, from);
    if (from == to)
        return;
    g_string_erase(r->line, from, to - from);
    redraw_tail(r);
}

static void recall(Readline *r, int which)
{
    const char *s;

    if (which < 0 || which > (int)r->history->len || r->question)
        return;
    r->recall = which;
    s = which < (int)r->history->len ? g_ptr_array_index(r->history, which) : "";
    cut(r, 0, r->line->len);
    insert(r, s);
}

static size_t word_start(const Readline *r)
{
    size_t i = r->at;

    while (i && r->line->str[i - 1] == ' ')
        i--;
    while (i && r->line->str[i - 1] != ' ')
        i--;
    return i;
}

static size_t common_length(GPtrArray *words)
{
    const char *first = g_ptr_array_index(words, 0);
    size_t n = strlen(first);

    for (unsigned i = 1; i < words->len; i++) {
        const char *w = g_ptr_array_index(words, i);
        size_t k = 0;

        while (k < n && w[k] == first[k])
            k++;
        n = k;
    }
    return n;
}

static void complete(Readline *r)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *head = g_strndup(r->line->str, r->at), *more = NULL;
    size_t have = r->at - word_start(r), common;

    if (r->at && r->line->str[r->at - 1] == ' ')
        have = 0;
    if (!r->question)
        r->ops.complete(r->opaque, head, words);
    if (!words->len)
        return;
    common = common_length(words);
    if (common > have) {
        more = g_strndup((char *)g_ptr_array_index(words, 0) + have, common - have);
        insert(r, more);
    }
    if (words->len == 1) {
        insert(r, " ");
    } else if (common <= have) {
        echo(r, "\r\n");
        for (unsigned i = 0; i < words->len; i++) {
            echo(r, g_ptr_array_index(words, i));
            echo(r, i + 1 < words->len ? "  " : "\r\n");
        }
        readline_show(r);
    }
}

static void enter(Readline *r)
{
    g_autofree char *line = g_strdup(r->line->str);
    bool answer = r->question;

    r->question = NULL;
    echo(r, "\r\n");
    g_string_truncate(r->line, 0);
    r->at = 0;
    if (!answer && *g_strstrip(line) && (!r->history->len ||
        strcmp(g_ptr_array_index(r->history, r->history->len - 1), line))) {
        g_ptr_array_add(r->history, g_strdup(line));
        if (r->history->len > HISTORY_MAX)
            g_ptr_array_remove_index(r->history, 0);
    }
    r->recall = r->history->len;
    r->ops.line(r->opaque, line);
}

static void csi(Readline *r, uint8_t c)
{
    r->state = IN_TEXT;
    switch (c) {
    case 'A': recall(r, r->recall - 1); break;
    case 'B': recall(r, r->recall + 1); break;
    case 'C': move_to(r, MIN(r->at + 1, r->line->len)); break;
    case 'D': move_to(r, r->at ? r->at - 1 : 0); break;
    case 'H': move_to(r, 0); break;
    case 'F': move_to(r, r->line->len); break;
    case '~':
        if (r->param == 1 || r->param == 7)
            move_to(r, 0);
        else if (r->param == 4 || r->param == 8)
            move_to(r, r->line->len);
        else if (r->param == 3 && r->at < r->line->len)
            cut(r, r->at, r->at + 1);
        break;
    default:
        if (c >= '0' && c <= '9') {
            r->param = r->param * 10 % 1000 + c - '0';
            r->state = IN_CSI;
        }
    }
}

static void control(Readline *r, uint8_t c)
{
    switch (c) {
    case CTRL_A: move_to(r, 0); break;
    case CTRL_B: move_to(r, r->at ? r->at - 1 : 0); break;
    case CTRL_C:
        echo(r, "^C\r\n");
        g_string_truncate(r->line, 0);
        r->at = 0;
        readline_show(r);
        break;
    case CTRL_D:
        if (r->at < r->line->len)
            cut(r, r->at, r->at + 1);
        break;
    case CTRL_E: move_to(r, r->line->len); break;
    case CTRL_F: move_to(r, MIN(r->at + 1, r->line->len)); break;
    case TAB: complete(r); break;
    case CTRL_K: cut(r, r->at, r->line->len); break;
    case CTRL_L:
        echo(r, "\033[2J\033[H");
        readline_show(r);
        break;
    case CTRL_N: recall(r, r->recall + 1); break;
    case CTRL_P: recall(r, r->recall - 1); break;
    case CTRL_U: cut(r, 0, r->at); break;
    case CTRL_W: cut(r, word_start(r), r->at); break;
    case '\b': case DEL:
        if (r->at)
            cut(r, r->at - 1, r->at);
        break;
    case ESC: r->state = IN_ESC; break;
    default: break;
    }
}

void readline_feed(Readline *r, uint8_t c)
{
    char s[2] = { c, 0 };
    bool lf_after_cr = c == '\n' && r->after_cr;

    r->after_cr = c == '\r';
    if (lf_after_cr)
        return;
    if (r->state == IN_ESC) {
        r->state = c == '[' || c == 'O' ? IN_CSI : IN_TEXT;
        r->param = 0;
    } else if (r->state == IN_CSI) {
        csi(r, c);
    } else if (c == '\r' || c == '\n') {
        enter(r);
    } else if (c < ' ' || c == DEL) {
        control(r, c);
    } else {
        insert(r, s);
    }
}
