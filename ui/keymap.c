/*
 * keymap: which key types which character on a keyboard layout.
 *
 * Each layout is the US one with differing keys replaced: a key, and what it gives alone, with Shift
 * and with AltGr (0: nothing).
 */
#include "ui/keys.h"

#include "util/bytes.h"

#include <glib.h>
#include <stddef.h>
#include <string.h>

typedef struct MapKey { KeyCode key; uint32_t plain, shift, altgr; } MapKey;

static const MapKey us[] = {
    { KEY_GRAVE_ACCENT, '`', '~' }, { KEY_1, '1', '!' }, { KEY_2, '2', '@' }, { KEY_3, '3', '#' },
    { KEY_4, '4', '$' }, { KEY_5, '5', '%' }, { KEY_6, '6', '^' }, { KEY_7, '7', '&' }, { KEY_8, '8', '*' },
    { KEY_9, '9', '(' }, { KEY_0, '0', ')' }, { KEY_MINUS, '-', '_' }, { KEY_EQUAL, '=', '+' },
    { KEY_Q, 'q', 'Q' }, { KEY_W, 'w', 'W' }, { KEY_E, 'e', 'E' }, { KEY_R, 'r', 'R' }, { KEY_T, 't', 'T' },
    { KEY_Y, 'y', 'Y' }, { KEY_U, 'u', 'U' }, { KEY_I, 'i', 'I' }, { KEY_O, 'o', 'O' }, { KEY_P, 'p', 'P' },
    { KEY_BRACKET_LEFT, '[', '{' }, { KEY_BRACKET_RIGHT, ']', '}' }, { KEY_BACKSLASH, '\\', '|' },
    { KEY_A, 'a', 'A' }, { KEY_S, 's', 'S' }, { KEY_D, 'd', 'D' }, { KEY_F, 'f', 'F' }, { KEY_G, 'g', 'G' },
    { KEY_H, 'h', 'H' }, { KEY_J, 'j', 'J' }, { KEY_K, 'k', 'K' }, { KEY_L, 'l', 'L' },
    { KEY_SEMICOLON, ';', ':' }, { KEY_APOSTROPHE, '\'', '"' },
    { KEY_Z, 'z', 'Z' }, { KEY_X, 'x', 'X' }, { KEY_C, 'c', 'C' }, { KEY_V, 'v', 'V' }, { KEY_B, 'b', 'B' },
    { KEY_N, 'n', 'N' }, { KEY_M, 'm', 'M' }, { KEY_COMMA, ',', '<' }, { KEY_DOT, '.', '>' },
    { KEY_SLASH, '/', '?' }, { KEY_LESS, '<', '>' }, { KEY_SPC, ' ', ' ' }, { KEY_NONE },
};
static const MapKey gb[] = {
    { KEY_2, '2', '"' }, { KEY_3, '3', 0xa3 }, { KEY_APOSTROPHE, '\'', '@' }, { KEY_BACKSLASH, '#', '~' },
    { KEY_GRAVE_ACCENT, '`', 0xac, 0xa6 }, { KEY_LESS, '\\', '|' }, { KEY_4, '4', '$', 0x20ac }, { KEY_NONE },
};
static const MapKey de[] = {
    { KEY_GRAVE_ACCENT, '^', 0xb0 }, { KEY_2, '2', '"', 0xb2 }, { KEY_3, '3', 0xa7, 0xb3 }, { KEY_6, '6', '&' },
    { KEY_7, '7', '/', '{' }, { KEY_8, '8', '(', '[' }, { KEY_9, '9', ')', ']' }, { KEY_0, '0', '=', '}' },
    { KEY_MINUS, 0xdf, '?', '\\' }, { KEY_EQUAL, 0xb4, '`' }, { KEY_Q, 'q', 'Q', '@' }, { KEY_E, 'e', 'E', 0x20ac },
    { KEY_Y, 'z', 'Z' }, { KEY_Z, 'y', 'Y' }, { KEY_BRACKET_LEFT, 0xfc, 0xdc }, { KEY_BRACKET_RIGHT, '+', '*', '~' },
    { KEY_SEMICOLON, 0xf6, 0xd6 }, { KEY_APOSTROPHE, 0xe4, 0xc4 }, { KEY_BACKSLASH, '#', '\'' },
    { KEY_LESS, '<', '>', '|' }, { KEY_M, 'm', 'M', 0xb5 }, { KEY_COMMA, ',', ';' }, { KEY_DOT, '.', ':' },
    { KEY_SLASH, '-', '_' }, { KEY_NONE },
};
static const MapKey fr[] = {
    { KEY_GRAVE_ACCENT, 0xb2, 0 }, { KEY_1, '&', '1' }, { KEY_2, 0xe9, '2', '~' }, { KEY_3, '"', '3', '#' },
    { KEY_4, '\'', '4', '{' }, { KEY_5, '(', '5', '[' }, { KEY_6, '-', '6', '|' }, { KEY_7, 0xe8, '7', '`' },
    { KEY_8, '_', '8', '\\' }, { KEY_9, 0xe7, '9', '^' }, { KEY_0, 0xe0, '0', '@' }, { KEY_MINUS, ')', 0xb0, ']' },
    { KEY_EQUAL, '=', '+', '}' }, { KEY_Q, 'a', 'A' }, { KEY_W, 'z', 'Z' }, { KEY_A, 'q', 'Q' },
    { KEY_Z, 'w', 'W' }, { KEY_E, 'e', 'E', 0x20ac }, { KEY_BRACKET_LEFT, '^', 0xa8 },
    { KEY_BRACKET_RIGHT, '$', 0xa3 }, { KEY_SEMICOLON, 'm', 'M' }, { KEY_APOSTROPHE, 0xf9, '%' },
    { KEY_BACKSLASH, '*', 0xb5 }, { KEY_M, ',', '?' }, { KEY_COMMA, ';', '.' }, { KEY_DOT, ':', '/' },
    { KEY_SLASH, '!', 0xa7 }, { KEY_LESS, '<', '>' }, { KEY_NONE },
};
static const MapKey es[] = {
    { KEY_GRAVE_ACCENT, 0xba, 0xaa, '\\' }, { KEY_1, '1', '!', '|' }, { KEY_2, '2', '"', '@' },
    { KEY_3, '3', 0xb7, '#' }, { KEY_4, '4', '$', '~' }, { KEY_6, '6', '&', 0xac }, { KEY_7, '7', '/' },
    { KEY_8, '8', '(' }, { KEY_9, '9', ')' }, { KEY_0, '0', '=' }, { KEY_MINUS, '\'', '?' },
    { KEY_EQUAL, 0xa1, 0xbf }, { KEY_E, 'e', 'E', 0x20ac }, { KEY_BRACKET_LEFT, '`', '^', '[' },
    { KEY_BRACKET_RIGHT, '+', '*', ']' }, { KEY_SEMICOLON, 0xf1, 0xd1 }, { KEY_APOSTROPHE, 0xb4, 0xa8, '{' },
    { KEY_BACKSLASH, 0xe7, 0xc7, '}' }, { KEY_COMMA, ',', ';' }, { KEY_DOT, '.', ':' }, { KEY_SLASH, '-', '_' },
    { KEY_LESS, '<', '>' }, { KEY_NONE },
};
static const MapKey it[] = {
    { KEY_GRAVE_ACCENT, '\\', '|' }, { KEY_2, '2', '"' }, { KEY_3, '3', 0xa3 }, { KEY_6, '6', '&' },
    { KEY_7, '7', '/' }, { KEY_8, '8', '(' }, { KEY_9, '9', ')' }, { KEY_0, '0', '=' }, { KEY_MINUS, '\'', '?' },
    { KEY_EQUAL, 0xec, '^' }, { KEY_E, 'e', 'E', 0x20ac }, { KEY_BRACKET_LEFT, 0xe8, 0xe9, '[' },
    { KEY_BRACKET_RIGHT, '+', '*', ']' }, { KEY_SEMICOLON, 0xf2, 0xe7, '@' }, { KEY_APOSTROPHE, 0xe0, 0xb0, '#' },
    { KEY_BACKSLASH, 0xf9, 0xa7 }, { KEY_COMMA, ',', ';' }, { KEY_DOT, '.', ':' }, { KEY_SLASH, '-', '_' },
    { KEY_LESS, '<', '>' }, { KEY_NONE },
};

static const struct { const char *name; const MapKey *map; } layouts[] = {
    { "en-us", NULL }, { "us", NULL }, { "en-gb", gb }, { "gb", gb }, { "de", de }, { "fr", fr }, { "es", es },
    { "it", it },
};

static const MapKey *layout_map(const char *name)
{
    for (unsigned i = 0; name && i < ARRAY_LEN(layouts); i++)
        if (strcmp(layouts[i].name, name) == 0)
            return layouts[i].map;
    return NULL;
}

bool key_layout_known(const char *layout)
{
    for (unsigned i = 0; i < ARRAY_LEN(layouts); i++)
        if (strcmp(layouts[i].name, layout) == 0)
            return true;
    return false;
}

static bool find(const MapKey *m, uint32_t ch, const MapKey *hidden_by, KeyStroke *out)
{
    for (; m && m->key != KEY_NONE; m++) {
        const MapKey *h = hidden_by;

        while (h && h->key != KEY_NONE && h->key != m->key)
            h++;
        if (h && h->key != KEY_NONE)
            continue;           /* the layout gives this key another meaning */
        if (m->plain == ch || m->shift == ch || m->altgr == ch) {
            *out = (KeyStroke) { m->key, .shift = m->plain != ch && m->shift == ch,
                                 .altgr = m->plain != ch && m->shift != ch };
            return true;
        }
    }
    return false;
}

bool key_for_char(const char *layout, uint32_t ch, KeyStroke *out)
{
    const MapKey *own = layout_map(layout);

    if (ch == '\n' || ch == '\r' || ch == '\t' || ch == 27 || ch == 8) {
        *out = (KeyStroke) { ch == '\t' ? KEY_TAB : ch == 27 ? KEY_ESC : ch == 8 ? KEY_BACKSPACE : KEY_RET };
        return true;
    }
    if (ch >= 1 && ch < 27) {
        if (!key_for_char(layout, 'a' + ch - 1, out))
            return false;
        out->ctrl = true;
        return true;
    }
    if (ch == 0)
        return false;
    return find(own, ch, NULL, out) || find(us, ch, own, out);
}

uint32_t key_char(const char *layout, KeyCode k, bool shift, bool altgr)
{
    const MapKey *maps[] = { layout_map(layout), us };

    for (unsigned i = 0; i < ARRAY_LEN(maps); i++)
        for (const MapKey *m = maps[i]; m && m->key != KEY_NONE; m++)
            if (m->key == k)
                return altgr ? m->altgr : shift ? m->shift : m->plain;
    return 0;
}

/* Keysyms that are no characters (X11 keysymdef.h values). */
static const struct { uint16_t sym; KeyCode key; } special[] = {
    { 0xff08, KEY_BACKSPACE }, { 0xff09, KEY_TAB }, { 0xfe20, KEY_TAB }, { 0xff0d, KEY_RET }, { 0xff13, KEY_PAUSE },
    { 0xff6b, KEY_PAUSE }, { 0xff14, KEY_SCROLL_LOCK }, { 0xff15, KEY_SYSRQ }, { 0xff1b, KEY_ESC }, { 0xffff, KEY_DELETE },
    { 0xff50, KEY_HOME }, { 0xff51, KEY_LEFT }, { 0xff52, KEY_UP }, { 0xff53, KEY_RIGHT }, { 0xff54, KEY_DOWN },
    { 0xff55, KEY_PGUP }, { 0xff56, KEY_PGDN }, { 0xff57, KEY_END }, { 0xff61, KEY_PRINT }, { 0xff63, KEY_INSERT },
    { 0xff67, KEY_COMPOSE }, { 0xff7f, KEY_NUM_LOCK }, { 0xff8d, KEY_KP_ENTER }, { 0xffaa, KEY_KP_MULTIPLY },
    { 0xffab, KEY_KP_ADD }, { 0xffac, KEY_KP_COMMA }, { 0xffad, KEY_KP_SUBTRACT }, { 0xffae, KEY_KP_DECIMAL },
    { 0xffaf, KEY_KP_DIVIDE }, { 0xffbd, KEY_KP_EQUALS }, { 0xff9f, KEY_KP_DECIMAL }, { 0xff9e, KEY_KP_0 },
    { 0xff9c, KEY_KP_1 }, { 0xff99, KEY_KP_2 }, { 0xff9b, KEY_KP_3 }, { 0xff96, KEY_KP_4 }, { 0xff9d, KEY_KP_5 },
    { 0xff98, KEY_KP_6 }, { 0xff95, KEY_KP_7 }, { 0xff97, KEY_KP_8 }, { 0xff9a, KEY_KP_9 },
    { 0xffb0, KEY_KP_0 }, { 0xffb1, KEY_KP_1 }, { 0xffb2, KEY_KP_2 }, { 0xffb3, KEY_KP_3 }, { 0xffb4, KEY_KP_4 },
    { 0xffb5, KEY_KP_5 }, { 0xffb6, KEY_KP_6 }, { 0xffb7, KEY_KP_7 }, { 0xffb8, KEY_KP_8 }, { 0xffb9, KEY_KP_9 },
    { 0xffbe, KEY_F1 }, { 0xffbf, KEY_F2 }, { 0xffc0, KEY_F3 }, { 0xffc1, KEY_F4 }, { 0xffc2, KEY_F5 },
    { 0xffc3, KEY_F6 }, { 0xffc4, KEY_F7 }, { 0xffc5, KEY_F8 }, { 0xffc6, KEY_F9 }, { 0xffc7, KEY_F10 },
    { 0xffc8, KEY_F11 }, { 0xffc9, KEY_F12 }, { 0xffe1, KEY_SHIFT }, { 0xffe2, KEY_SHIFT_R }, { 0xffe3, KEY_CTRL },
    { 0xffe4, KEY_CTRL_R }, { 0xffe5, KEY_CAPS_LOCK }, { 0xffe7, KEY_META_L }, { 0xffe8, KEY_META_R },
    { 0xffe9, KEY_ALT }, { 0xffea, KEY_ALT_R }, { 0xffeb, KEY_META_L }, { 0xffec, KEY_META_R }, { 0xfe03, KEY_ALT_R },
    { 0xff7e, KEY_ALT_R },
};
/* Dead keys, by the character they add. */
static const struct { uint16_t sym; uint16_t ch; } dead[] = {
    { 0xfe50, '`' }, { 0xfe51, 0xb4 }, { 0xfe52, '^' }, { 0xfe53, '~' }, { 0xfe57, 0xa8 },
};

KeyCode key_for_keysym(const char *layout, uint32_t keysym)
{
    uint32_t ch = keysym;
    KeyStroke k;

    for (unsigned i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].sym == keysym)
            return special[i].key;
    for (unsigned i = 0; i < ARRAY_LEN(dead); i++)
        if (dead[i].sym == keysym)
            ch = dead[i].ch;
    if (keysym == 0x20ac || (keysym & 0xff000000) == 0x01000000)
        ch = keysym & 0xffffff; /* Unicode keysyms */
    else if (ch >= 0x100 || ch < 0x20)
        return KEY_NONE;
    return key_for_char(layout, ch, &k) ? k.key : KEY_NONE;
}
