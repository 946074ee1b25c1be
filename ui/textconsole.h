/*
 * textconsole: a terminal drawn as a screen: the monitor or a serial port inside a window.
 *
 * Understands UTF-8 and the common part of ANSI X3.64 / VT100: cursor movement, erasing, colours.
 */
#ifndef UI_TEXTCONSOLE_H
#define UI_TEXTCONSOLE_H

#include "ui/console.h"

#include <stddef.h>

typedef struct TextConsole TextConsole;
/* input: what is typed, as a terminal sends it. cols, rows 0: 80 x 25; clamped to 400 x 200. */
TextConsole *textconsole_new(Ui *ui, const char *label, int cols, int rows,
                             void (*input)(void *opaque, const uint8_t *buf, size_t len), void *opaque);
void textconsole_free(TextConsole *t);
void textconsole_write(TextConsole *t, const uint8_t *buf, size_t len);

extern const uint8_t text_font[95][9];

#endif
