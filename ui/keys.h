/*
 * keys: key codes by position, their names, and the codes other worlds give them.
 *
 * One table (ui/keys.def) in terms of a 105-key PC keyboard; names are those sendkey and QMP use.
 */
#ifndef UI_KEYS_H
#define UI_KEYS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum KeyCode {
    KEY_NONE,
#define KEY(sym, ...) KEY_##sym,
#include "ui/keys.def"
#undef KEY
    KEY_CODES
} KeyCode;

typedef struct KeyInfo {
    const char *name;           /* "shift_r" */
    uint8_t set1;               /* scan code set 1 make code, bit 7: has an E0 prefix; 0: special or none */
    uint8_t set2;               /* set 2 make code without the prefix; 0: none */
    uint8_t set3;               /* set 3 make code; 0: none */
    uint8_t hid;                /* USB HID usage on page 7; 0: none. SDL scan codes have the same values */
    uint16_t evdev;             /* Linux input event code; 0: none */
} KeyInfo;

const KeyInfo *key_info(KeyCode k);             /* of any value; unknown ones give the empty row */
const char *key_code_name(KeyCode k);
KeyCode key_by_name(const char *name);          /* also "0x1e" (set 1 number) and common aliases; KEY_NONE unknown */
KeyCode key_by_number(unsigned set1);           /* QMP "number": set 1 code, E0 as 0x80 */
KeyCode key_by_hid(uint8_t usage);
KeyCode key_by_evdev(unsigned code);
/* Key and shift/altgr state that type a character (Unicode) on a keyboard layout: ui/keymap.c. */
typedef struct KeyStroke { KeyCode key; bool shift, altgr, ctrl; } KeyStroke;
bool key_for_char(const char *layout, uint32_t ch, KeyStroke *out);
/* What a key types with these modifiers; 0: nothing. */
uint32_t key_char(const char *layout, KeyCode k, bool shift, bool altgr);
/* X keysym (as VNC sends) to key on a layout; KEY_NONE: no such key there. */
KeyCode key_for_keysym(const char *layout, uint32_t keysym);
bool key_layout_known(const char *layout);      /* "en-us", "de", "fr" ... */

#endif
