/*
 * aml: a small assembler for ACPI Machine Language and resource templates.
 *
 * ACPI 5.0 chapter 20 (grammar) and 6.4 (resource data types). A block is opened, filled, then
 * closed into its parent, which is when its length is known. Plain terms are appended in order.
 */
#ifndef HW_ACPI_AML_H
#define HW_ACPI_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef GByteArray Aml;

enum { AML_SCOPE = 0x10, AML_DEVICE = 0x5b82, AML_METHOD = 0x14, AML_PACKAGE = 0x12, AML_BUFFER = 0x11,
       AML_FIELD = 0x5b81, AML_IF = 0xa0, AML_PROCESSOR = 0x5b83 };
enum { AML_ARG0 = 0x68, AML_LOCAL0 = 0x60 };

Aml *aml_new(void);
/* Appends body as a block of that kind and frees it. */
void aml_close(Aml *parent, unsigned kind, Aml *body);
Aml *aml_scope(const char *name);               /* also for AML_DEVICE */
Aml *aml_method(const char *name, unsigned args);
Aml *aml_package(unsigned elements);
Aml *aml_field(const char *region, unsigned flags);
Aml *aml_processor(const char *name, unsigned id);
Aml *aml_if_and(const char *name, uint64_t mask);       /* If (And (name, mask)) */

void aml_op(Aml *a, uint8_t op);
void aml_path(Aml *a, const char *name);        /* "\\_SB.PCI0.ISA", "^PRQ0" */
void aml_int(Aml *a, uint64_t v);
void aml_eisa_id(Aml *a, const char *id);       /* "PNP0A03" */
void aml_name(Aml *a, const char *name);        /* Name (name, ...): the object follows */
void aml_name_int(Aml *a, const char *name, uint64_t v);
void aml_name_eisa(Aml *a, const char *name, const char *id);
void aml_return_int(Aml *a, uint64_t v);
void aml_return_path(Aml *a, const char *name);
void aml_op_region(Aml *a, const char *name, uint8_t space, uint64_t offset, uint64_t len);
void aml_field_unit(Aml *a, const char *name, unsigned bits);
void aml_create_dword_field(Aml *a, const char *buffer, uint8_t buffer_op, unsigned offset, const char *name);

/* Resource templates: fill one, then aml_close_resources() adds the end tag and makes it a buffer. */
void aml_close_resources(Aml *parent, Aml *body);
void aml_res_io(Aml *a, uint16_t min, uint16_t max, uint8_t align, uint8_t len);
void aml_res_irq(Aml *a, unsigned irq);
void aml_res_interrupts(Aml *a, const uint8_t *gsi, unsigned n);        /* level, high, shared */
void aml_res_dma(Aml *a, unsigned channel);
void aml_res_memory32(Aml *a, uint32_t base, uint32_t len);
void aml_res_bus(Aml *a, uint16_t min, uint16_t max);
void aml_res_io_window(Aml *a, uint16_t min, uint16_t max);
void aml_res_memory_window(Aml *a, uint32_t min, uint32_t max, bool cacheable);
void aml_res_memory64_window(Aml *a, uint64_t min, uint64_t max);

#endif
