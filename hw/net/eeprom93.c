/* eeprom93: the command decoder of a 93C46 serial EEPROM. */
#include "hw/net/eeprom93.h"

#include <string.h>

enum { COMMAND, DATA_OUT, DATA_IN, COMMAND_BITS = 9, WORD_BITS = 16,
       OP_EXTENDED = 0, OP_WRITE = 1, OP_READ = 2, OP_ERASE = 3,
       EXT_DISABLE = 0, EXT_WRITE_ALL = 1, EXT_ERASE_ALL = 2, EXT_ENABLE = 3 };

void eeprom93_idle(Eeprom93 *e)
{
    e->phase = COMMAND;
    e->in = e->out = e->addr = e->count = 0;
    e->chip = e->clock = e->writable = false;
}

static void fill(Eeprom93 *e, uint16_t v)
{
    for (unsigned i = 0; i < EEPROM93_WORDS; i++)
        e->word[i] = v;
}

/* e->in holds start bit, opcode and address. */
static void command(Eeprom93 *e)
{
    unsigned op = e->in >> 6 & 3;

    e->addr = e->in & (EEPROM93_WORDS - 1);
    e->count = 0;
    e->in = 0;
    if (op == OP_READ) {
        e->out = e->word[e->addr];
        e->phase = DATA_OUT;
    } else if (op == OP_WRITE || (op == OP_EXTENDED && e->addr >> 4 == EXT_WRITE_ALL)) {
        e->addr |= op == OP_WRITE ? 0 : 0x80;
        e->phase = DATA_IN;
    } else if (op == OP_ERASE) {
        if (e->writable)
            e->word[e->addr] = 0xffff;
    } else if (e->addr >> 4 == EXT_ERASE_ALL) {
        if (e->writable)
            fill(e, 0xffff);
    } else {
        e->writable = e->addr >> 4 == EXT_ENABLE;
    }
}

static void clock_in(Eeprom93 *e, bool bit)
{
    if (e->phase == COMMAND && !e->count && !bit)
        return;                 /* before the start bit */
    e->count++;
    if (e->phase == DATA_OUT) {
        if (e->count > WORD_BITS) {     /* reading goes on with the next word */
            e->addr = (e->addr + 1) & (EEPROM93_WORDS - 1);
            e->out = e->word[e->addr];
            e->count = 1;
        }
        return;
    }
    e->in = e->in << 1 | bit;
    if (e->phase == COMMAND && e->count == COMMAND_BITS) {
        command(e);
    } else if (e->phase == DATA_IN && e->count == WORD_BITS) {
        if (e->writable && e->addr & 0x80)
            fill(e, e->in);
        else if (e->writable)
            e->word[e->addr] = e->in;
        e->phase = COMMAND;
        e->count = 0;
        e->in = 0;
    }
}

void eeprom93_wires(Eeprom93 *e, bool chip_select, bool clock, bool data_in)
{
    bool rising = clock && !e->clock;

    e->clock = clock;
    e->chip = chip_select;
    if (!chip_select) {
        e->phase = COMMAND;
        e->count = 0;
        e->in = 0;
    } else if (rising) {
        clock_in(e, data_in);
    }
}

/* Zero before the first data bit (the dummy bit), high ("ready") outside of a read. */
bool eeprom93_data_out(const Eeprom93 *e)
{
    if (e->phase != DATA_OUT)
        return true;
    return e->count && e->out >> (WORD_BITS - e->count) & 1;
}

static bool eeprom93_loaded(void *opaque, GError **err)
{
    const Eeprom93 *e = opaque;

    return (e->phase <= DATA_IN && e->count <= WORD_BITS && (e->addr & 0x7f) < EEPROM93_WORDS) ||
           err_set(err, "impossible state of the serial EEPROM");
}

const StateDesc eeprom93_state = {
    .name = "eeprom93", .version = 1, .loaded = eeprom93_loaded,
    .fields = (const StateField[]) {
        STATE_UARRAY(Eeprom93, word), STATE_U16(Eeprom93, in), STATE_U16(Eeprom93, out), STATE_U8(Eeprom93, count),
        STATE_U8(Eeprom93, phase), STATE_U8(Eeprom93, addr), STATE_B(Eeprom93, chip), STATE_B(Eeprom93, clock),
        STATE_B(Eeprom93, writable), STATE_END },
};
