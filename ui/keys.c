/* keys: the table of keys and the ways to find one in it. */
#include "ui/keys.h"

#include "util/bytes.h"

#include <glib.h>

static const KeyInfo keys[KEY_CODES] = {
#define KEY(sym, ...) [KEY_##sym] = { __VA_ARGS__ },
#include "ui/keys.def"
#undef KEY
};

static const struct { const char *name; KeyCode key; } aliases[] = {
    { "shift_l", KEY_SHIFT }, { "ctrl_l", KEY_CTRL }, { "alt_l", KEY_ALT }, { "altgr", KEY_ALT_R },
    { "enter", KEY_RET }, { "return", KEY_RET }, { "space", KEY_SPC }, { "escape", KEY_ESC },
    { "del", KEY_DELETE }, { "ins", KEY_INSERT }, { "pageup", KEY_PGUP }, { "pagedown", KEY_PGDN },
    { "menu", KEY_COMPOSE }, { "asterisk", KEY_KP_MULTIPLY }, { "win", KEY_META_L }, { "super", KEY_META_L },
    { "prtsc", KEY_PRINT }, { "capslock", KEY_CAPS_LOCK }, { "numlock", KEY_NUM_LOCK },
};

const KeyInfo *key_info(KeyCode k)
{
    return &keys[(unsigned)k < KEY_CODES ? k : KEY_NONE];
}

const char *key_code_name(KeyCode k)
{
    const char *n = key_info(k)->name;

    return n ? n : "none";
}

KeyCode key_by_number(unsigned set1)
{
    /* 0x54 is what Alt+Print sends, and the number some tools use for print itself */
    for (unsigned k = 1; set1 && k < KEY_CODES; k++)
        if (keys[k].set1 == set1)
            return k;
    if ((set1 & 0xff00) == 0xe000)
        return key_by_number((set1 & 0x7f) | 0x80);
    return KEY_NONE;
}

KeyCode key_by_name(const char *name)
{
    for (unsigned k = 1; k < KEY_CODES; k++)
        if (g_ascii_strcasecmp(keys[k].name, name) == 0)
            return k;
    for (unsigned i = 0; i < ARRAY_LEN(aliases); i++)
        if (g_ascii_strcasecmp(aliases[i].name, name) == 0)
            return aliases[i].key;
    if (g_str_has_prefix(name, "0x") || g_str_has_prefix(name, "0X")) {
        guint64 n;

        if (g_ascii_string_to_unsigned(name + 2, 16, 1, 0xffff, &n, NULL))
            return key_by_number(n);
    }
    return KEY_NONE;
}

KeyCode key_by_hid(uint8_t usage)
{
    if (usage == keys[KEY_PRINT].hid)
        return KEY_PRINT;               /* not SYSRQ, which shares the usage */
    if (usage == 0x32)
        return KEY_BACKSLASH;           /* ISO keyboards' hash key */
    for (unsigned k = 1; usage && k < KEY_CODES; k++)
        if (keys[k].hid == usage)
            return k;
    return KEY_NONE;
}

KeyCode key_by_evdev(unsigned code)
{
    if (code == keys[KEY_PRINT].evdev)
        return KEY_PRINT;
    for (unsigned k = 1; code && k < KEY_CODES; k++)
        if (keys[k].evdev == code)
            return k;
    return KEY_NONE;
}
