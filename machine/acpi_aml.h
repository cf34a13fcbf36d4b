/*
 * Writes ACPI machine language: the few terms that the DSDT of machine/acpi_dsdt.c is made of. ACPI
 * specification 6.4, chapters 20 (grammar) and 6.4 (resource descriptors).
 *
 * Terms are appended one after another; those with a package length are opened and closed by
 * aml_end, and nest. A writer that has run out of room takes no more, and aml_finish says so.
 */
#ifndef MACHINE_ACPI_AML_H
#define MACHINE_ACPI_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH_MAX   16
#define AML_NAME_SIZE   4
#define AML_PACKAGE_MAX 0xfffffffu /* the largest package length */

struct aml {
    uint8_t *bytes;
    size_t size;   /* room */
    size_t length; /* written */
    bool full;     /* something did not fit */
    unsigned depth;
    struct {
        size_t start; /* where the package length is to be put in */
        bool sized;   /* a buffer: its size as an integer comes before its content */
    } open[AML_DEPTH_MAX];
};

void aml_init(struct aml *a, uint8_t *bytes, size_t size);

/* Everything fitted. All that was opened has been closed. */
bool aml_finish(const struct aml *a);

/* Closes what was opened last: its package length is put in now. */
void aml_end(struct aml *a);

/* --- Data and names --- */

/* In the shortest encoding. */
void aml_integer(struct aml *a, uint64_t value);

/* ASCII. */
void aml_string(struct aml *a, const char *text);

/* A name or path: segments of up to four characters joined with '.', perhaps after '\' or '^'s;
 * shorter segments are filled up with '_'. As a term it refers to the object. */
void aml_path(struct aml *a, const char *path);

/* A compressed EISA identifier, "PNP0A03". */
void aml_eisa_id(struct aml *a, const char *id);

/* Name(path, ...): the object is the next term. */
void aml_name(struct aml *a, const char *path);

/* Name(path, value) for the usual kinds of objects. */
void aml_name_integer(struct aml *a, const char *path, uint64_t value);
void aml_name_string(struct aml *a, const char *path, const char *text);
void aml_name_eisa_id(struct aml *a, const char *path, const char *id);

/* --- Opened, to be closed with aml_end --- */

void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_method(struct aml *a, const char *path, unsigned argument_count, bool serialized);
void aml_package(struct aml *a, uint8_t element_count);

/* The predicate is the next term. */
void aml_if(struct aml *a);

/* Closes the If that is open and opens its Else. */
void aml_else(struct aml *a);

/* --- Statements and expressions; operands are the next terms --- */

void aml_return(struct aml *a);

/* Operations with two operands and a target, which is the third term: the integer 0 for none. */
enum aml_operation {
    AML_ADD = 0x72,
    AML_SUBTRACT = 0x74,
    AML_SHIFT_LEFT = 0x79,
    AML_AND = 0x7b,
    AML_OR = 0x7d,
};
void aml_operation(struct aml *a, enum aml_operation operation);

/* LNot(operand) */
void aml_not(struct aml *a);

/* One operand and a target. */
void aml_find_set_right_bit(struct aml *a);

/* Store(source, target) */
void aml_store(struct aml *a);

/* Local0 to Local7, Arg0 to Arg6. */
void aml_local(struct aml *a, unsigned n);
void aml_argument(struct aml *a, unsigned n);

/* CreateWordField(buffer, byte offset, name): the buffer and the offset are the next two terms, and
 * then aml_path. */
void aml_create_word_field(struct aml *a);

/* OperationRegion(path, PCI_Config, offset, length) of the function whose device is open. */
void aml_pci_config_region(struct aml *a, const char *path, uint8_t offset, uint8_t length);

/* Field(region, ByteAcc, NoLock, Preserve) { }: opened, with aml_field_unit for each unit. */
void aml_field(struct aml *a, const char *region);
void aml_field_unit(struct aml *a, const char *name, unsigned bits);

/* --- Resource templates --- */

/* A buffer of descriptors, opened; aml_resources_end closes it instead of aml_end. */
void aml_resources(struct aml *a);
void aml_resources_end(struct aml *a);

/* IO(Decode16, first, first, 1, count) */
void aml_io(struct aml *a, uint16_t first, uint8_t count);

/* IRQNoFlags() { irqs }: active high, edge triggered. Bit n is interrupt n. */
void aml_irq_edge(struct aml *a, uint16_t irqs);

/* IRQ(Level, ActiveLow, Shared) { irqs }. The mask lies AML_IRQ_MASK_OFFSET bytes into it. */
#define AML_IRQ_MASK_OFFSET 1
void aml_irq_level(struct aml *a, uint16_t irqs);

/* Memory32Fixed */
void aml_memory32(struct aml *a, uint32_t base, uint32_t size, bool writable);

/* What a bridge passes on, both ends included. */
void aml_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable);

#endif
