/*
 * eeprom93: a 93C46 serial EEPROM: 64 words of 16 bits behind three wires (Microwire).
 *
 * A command is a start bit, two opcode bits and six address bits, most significant first; a read
 * then shifts 16 bits out, a write takes 16 bits in. Writes need an earlier "enable" command.
 */
#ifndef HW_NET_EEPROM93_H
#define HW_NET_EEPROM93_H

#include "softmmu/state.h"

enum { EEPROM93_WORDS = 64 };

typedef struct Eeprom93 {
    uint16_t word[EEPROM93_WORDS];
    uint16_t in, out;           /* shift registers */
    uint8_t count;              /* bits of the current phase */
    uint8_t phase;              /* command, data out, data in */
    uint8_t addr;
    bool chip, clock;           /* levels of the wires */
    bool writable;
} Eeprom93;

/* The wires change; data moves on a rising clock while chip select is high. */
void eeprom93_wires(Eeprom93 *e, bool chip_select, bool clock, bool data_in);
bool eeprom93_data_out(const Eeprom93 *e);
/* The wires are idle and writes disabled; the words stay. */
void eeprom93_idle(Eeprom93 *e);
extern const StateDesc eeprom93_state;

#endif
