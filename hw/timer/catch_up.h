/*
 * catch_up: how periodic timers make up for ticks on a host that gave them no processor time.
 *
 * Ticks that are not too old follow one by one, far enough apart for the guest to take each.
 */
#ifndef HW_TIMER_CATCH_UP_H
#define HW_TIMER_CATCH_UP_H

#include "util/bytes.h"

#define MAX_CATCH_UP_NS (500 * NS_PER_MS)       /* ticks older than this are lost */
#define CATCH_UP_GAP_NS (250 * NS_PER_US)       /* between ticks being made up for */

#endif
