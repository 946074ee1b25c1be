/*
 * uart16550: PC16550D serial port core (National Semiconductor data sheet, 1995).
 *
 * Bytes leave as fast as the back-end takes them; the divisor only sets the length of the receive
 * time-out. The interrupt line does not depend on OUT2, since systems written against emulators
 * leave it clear. Modem inputs CTS, DSR and DCD are always on. docs/hw/serial.md.
 */
#include "hw/char/uart16550.h"

#include <string.h>

enum { R_DATA, R_IER, R_IIR, R_LCR, R_MCR, R_LSR, R_MSR, R_SCR };
enum { IER_RX = 1, IER_THR = 2, IER_LINE = 4, IER_MODEM = 8, IER_MASK = 0x0f };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_THR = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 0x0c, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_DMA = 8, FCR_LEVEL = 0xc0 };
enum { LCR_DLAB = 0x80, LCR_BREAK = 0x40 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40,
       LSR_FIFO_ERR = 0x80, LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI };
enum { MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8, MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40,
       MSR_DCD = 0x80, MSR_DELTAS = 0x0f };

static bool fifo_mode(const Uart16550 *u)
{
    return u->fcr & FCR_ENABLE;
}

static unsigned trigger_level(const Uart16550 *u)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };

    return fifo_mode(u) ? levels[u->fcr >> 6] : 1;
}

static uint8_t interrupt_id(const Uart16550 *u)
{
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->rx.count >= trigger_level(u))
        return IIR_RX;
    if ((u->ier & IER_RX) && u->timeout_pending && u->rx.count)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THR) && u->thr_pending)
        return IIR_THR;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void uart_update(Uart16550 *u)
{
    timer_set(&u->timeout, u->timeout_at);
    irq_set(&u->irq, interrupt_id(u) != IIR_NONE);
}

/* Four characters' time, start and stop bits included. */
static int64_t timeout_ns(const Uart16550 *u)
{
    unsigned divisor = u->dll | u->dlm << 8;
    unsigned bits = 1 + 5 + (u->lcr & 3) + 1 + !!(u->lcr & 4) + !!(u->lcr & 8);

    return (int64_t)MAX(divisor, 1) * bits * 4 * NS_PER_SEC / 115200;
}

static void restart_timeout(Uart16550 *u)
{
    u->timeout_at = fifo_mode(u) && u->rx.count ? clock_ns(u->timeout.clocks, CLOCK_VM) + timeout_ns(u) : 0;
}

/* ---- receiving ---- */

/* The line status shows the errors of the byte at the head. */
static void show_head(Uart16550 *u)
{
    u->lsr &= ~(LSR_DR | LSR_FIFO_ERR);
    if (!u->rx.count)
        return;
    u->lsr |= LSR_DR | (u->rx.errors[u->rx.head] & LSR_ERRORS);
    for (unsigned i = 0; fifo_mode(u) && i < u->rx.count; i++)
        if (u->rx.errors[(u->rx.head + i) % UART_FIFO])
            u->lsr |= LSR_FIFO_ERR;
}

static void push_rx(Uart16550 *u, uint8_t byte, uint8_t errors)
{
    unsigned depth = fifo_mode(u) ? UART_FIFO : 1;
    unsigned at;

    if (u->rx.count >= depth) {
        u->lsr |= LSR_OE;
        if (fifo_mode(u))
            return;                     /* the shift register is overwritten, the FIFO stays */
        u->rx.count = 0;
    }
    at = (u->rx.head + u->rx.count++) % UART_FIFO;
    u->rx.data[at] = byte;
    u->rx.errors[at] = errors;
    u->timeout_pending = false;
    restart_timeout(u);
    show_head(u);
}

static uint8_t pop_rx(Uart16550 *u)
{
    uint8_t byte = u->rx.data[u->rx.head];

    if (!u->rx.count)
        return byte;                    /* the last byte stays readable */
    u->rx.errors[u->rx.head] = 0;
    if (u->rx.count > 1 || fifo_mode(u))
        u->rx.head = (u->rx.head + 1) % UART_FIFO;
    u->rx.count--;
    u->timeout_pending = false;
    restart_timeout(u);
    show_head(u);
    chr_accept_input(&u->fe);
    return byte;
}

static size_t uart_can_receive(void *opaque)
{
    Uart16550 *u = opaque;

    if (u->mcr & MCR_LOOP)
        return 0;
    return (fifo_mode(u) ? UART_FIFO : 1) - MIN(u->rx.count, fifo_mode(u) ? UART_FIFO : 1);
}

static void uart_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Uart16550 *u = opaque;

    for (size_t i = 0; i < len; i++)
        push_rx(u, buf[i], 0);
    uart_update(u);
}

static void uart_event(void *opaque, ChrEvent ev)
{
    Uart16550 *u = opaque;

    if (ev != CHR_EVENT_BREAK || (u->mcr & MCR_LOOP))
        return;
    push_rx(u, 0, LSR_BI);
    uart_update(u);
}

static void uart_timeout(void *opaque)
{
    Uart16550 *u = opaque;

    u->timeout_at = 0;
    u->timeout_pending = u->rx.count > 0;
    uart_update(u);
}

/* ---- sending ---- */

/* Moves what the back-end takes; sets the line status by what is left. */
static void send(Uart16550 *u)
{
    while (u->tx.count && !u->blocked) {
        uint8_t byte = u->tx.data[u->tx.head];

        if (u->mcr & MCR_LOOP)
            push_rx(u, byte, 0);
        else if (chr_write(&u->fe, &byte, 1) == 0) {
            u->blocked = true;
            break;
        }
        u->tx.head = (u->tx.head + 1) % UART_FIFO;
        u->tx.count--;
    }
    if (!u->tx.count && !(u->lsr & LSR_THRE)) {
        u->lsr |= LSR_THRE | LSR_TEMT;
        u->thr_pending = true;
    }
}

static void uart_writable(void *opaque)
{
    Uart16550 *u = opaque;

    u->blocked = false;
    send(u);
    uart_update(u);
}

static void write_thr(Uart16550 *u, uint8_t val)
{
    unsigned depth = fifo_mode(u) ? UART_FIFO : 1;

    u->thr_pending = false;
    u->lsr &= ~(LSR_THRE | LSR_TEMT);
    if (u->tx.count < depth)
        u->tx.data[(u->tx.head + u->tx.count++) % UART_FIFO] = val;
    else
        u->tx.data[(u->tx.head + u->tx.count - 1) % UART_FIFO] = val;
    send(u);
}

/* ---- modem lines ---- */

static uint8_t modem_inputs(const Uart16550 *u)
{
    if (!(u->mcr & MCR_LOOP))
        return MSR_CTS | MSR_DSR | MSR_DCD;
    return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
           (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void update_modem(Uart16550 *u)
{
    uint8_t now = modem_inputs(u), was = u->msr & 0xf0, diff = now ^ was;

    u->msr = now | (u->msr & MSR_DELTAS) | (diff & MSR_CTS ? MSR_DCTS : 0) | (diff & MSR_DSR ? MSR_DDSR : 0) |
             (was & ~now & MSR_RI ? MSR_TERI : 0) | (diff & MSR_DCD ? MSR_DDCD : 0);
}

/* ---- registers ---- */

static void write_fcr(Uart16550 *u, uint8_t val)
{
    if ((val ^ u->fcr) & FCR_ENABLE)
        val |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (!(val & FCR_ENABLE))            /* without the enable bit the others are not programmed */
        val &= FCR_ENABLE | FCR_CLEAR_RX | FCR_CLEAR_TX;
    u->fcr = val & (FCR_ENABLE | FCR_DMA | FCR_LEVEL);
    if (val & FCR_CLEAR_RX) {
        memset(&u->rx, 0, sizeof u->rx);
        u->timeout_pending = false;
        u->timeout_at = 0;
        u->lsr &= ~LSR_BI;
        show_head(u);
        chr_accept_input(&u->fe);
    }
    if (val & FCR_CLEAR_TX) {
        memset(&u->tx, 0, sizeof u->tx);
        if (!(u->lsr & LSR_THRE))
            u->thr_pending = true;
        u->lsr |= LSR_THRE | LSR_TEMT;
    }
}

static void write_ier(Uart16550 *u, uint8_t val)
{
    bool thr_rises = (val & ~u->ier) & IER_THR;

    u->ier = val & IER_MASK;
    if (thr_rises && (u->lsr & LSR_THRE))
        u->thr_pending = true;          /* enabling reports an empty transmitter at once */
}

static void write_mcr(Uart16550 *u, uint8_t val)
{
    bool was_loop = u->mcr & MCR_LOOP;

    u->mcr = val & MCR_MASK;
    update_modem(u);
    if (was_loop && !(u->mcr & MCR_LOOP))
        chr_accept_input(&u->fe);
}

static void uart_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Uart16550 *u = opaque;
    bool dlab = u->lcr & LCR_DLAB;

    switch (off & 7) {
    case R_DATA:
        if (dlab)
            u->dll = val;
        else
            write_thr(u, val);
        break;
    case R_IER:
        if (dlab)
            u->dlm = val;
        else
            write_ier(u, val);
        break;
    case R_IIR:
        write_fcr(u, val);
        break;
    case R_LCR:
        if ((val & ~u->lcr) & LCR_BREAK)
            chr_send_break(&u->fe);
        u->lcr = val;
        break;
    case R_MCR:
        write_mcr(u, val);
        break;
    case R_SCR:
        u->scr = val;
        break;
    default:
        break;                          /* LSR and MSR are read-only in normal use */
    }
    uart_update(u);
}

static uint8_t read_reg(Uart16550 *u, unsigned reg)
{
    bool dlab = u->lcr & LCR_DLAB;
    uint8_t v;

    switch (reg) {
    case R_DATA:
        return dlab ? u->dll : pop_rx(u);
    case R_IER:
        return dlab ? u->dlm : u->ier;
    case R_IIR:
        v = interrupt_id(u);
        if (v == IIR_THR)
            u->thr_pending = false;
        return v | (fifo_mode(u) ? IIR_FIFO : 0);
    case R_LCR:
        return u->lcr;
    case R_MCR:
        return u->mcr;
    case R_LSR:
        v = u->lsr;
        u->lsr &= ~LSR_ERRORS;
        if (u->rx.count)
            u->rx.errors[u->rx.head] = 0;
        show_head(u);
        return v;
    case R_MSR:
        v = u->msr;
        u->msr &= ~MSR_DELTAS;
        return v;
    default:
        return u->scr;
    }
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned size)
{
    Uart16550 *u = opaque;
    uint8_t v = read_reg(u, off & 7);

    uart_update(u);
    return v;
}

const IoOps uart16550_io_ops = { uart_read, uart_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

/* ---- life ---- */

static const ChardevFeOps fe_ops = { uart_can_receive, uart_receive, uart_event, uart_writable };

bool uart16550_init(Uart16550 *u, Machine *m, Chardev *chr, GError **err)
{
    timer_init(&u->timeout, m->clocks, CLOCK_VM, uart_timeout, u);
    return chr_attach(&u->fe, chr, &fe_ops, u, err);
}

void uart16550_cleanup(Uart16550 *u)
{
    timer_del(&u->timeout);
    chr_detach(&u->fe);
}

void uart16550_reset(Uart16550 *u)
{
    u->ier = u->lcr = u->mcr = u->scr = u->fcr = 0;
    u->lsr = LSR_THRE | LSR_TEMT;
    u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    u->dll = 12;                        /* 9600 baud; the chip leaves it undefined */
    u->dlm = 0;
    u->thr_pending = u->timeout_pending = u->blocked = false;
    memset(&u->rx, 0, sizeof u->rx);
    memset(&u->tx, 0, sizeof u->tx);
    u->timeout_at = 0;
    chr_accept_input(&u->fe);
    uart_update(u);
}

static bool uart_loaded(void *opaque, GError **err)
{
    Uart16550 *u = opaque;

    if (u->timeout_at < 0 || u->rx.count > (fifo_mode(u) ? UART_FIFO : 1) ||
        u->tx.count > (fifo_mode(u) ? UART_FIFO : 1))
        return err_set(err, "impossible serial port state");
    u->blocked = false;
    send(u);
    uart_update(u);
    return true;
}

static const StateDesc fifo_state = {
    .name = "uart-fifo", .version = 1,
    .fields = (const StateField[]) {
        STATE_BUF(UartFifo, data), STATE_BUF(UartFifo, errors),
        STATE_UMAX(UartFifo, head, UART_FIFO - 1), STATE_UMAX(UartFifo, count, UART_FIFO), STATE_END },
};
const StateDesc uart16550_state = {
    .name = "uart16550", .version = 1, .loaded = uart_loaded,
    .fields = (const StateField[]) {
        STATE_UMAX(Uart16550, ier, IER_MASK), STATE_U8(Uart16550, lcr), STATE_UMAX(Uart16550, mcr, MCR_MASK),
        STATE_U8(Uart16550, lsr), STATE_U8(Uart16550, msr), STATE_U8(Uart16550, scr), STATE_U8(Uart16550, fcr),
        STATE_U8(Uart16550, dll), STATE_U8(Uart16550, dlm), STATE_B(Uart16550, thr_pending),
        STATE_B(Uart16550, timeout_pending), STATE_STRUCT(Uart16550, rx, &fifo_state),
        STATE_STRUCT(Uart16550, tx, &fifo_state), STATE_I64(Uart16550, timeout_at), STATE_END },
};
