/* acpi_int: between the ACPI table builder and the DSDT's contents. */
#ifndef HW_I386_ACPI_INT_H
#define HW_I386_ACPI_INT_H

#include "hw/i386/board_int.h"

/* The DSDT's AML, without the table header. */
GByteArray *acpi_dsdt_body(Pc *pc);

#endif
