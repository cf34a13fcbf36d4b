/*
 * Names of a guest's addresses, for reports: read from a System.map (lines "address type name") or
 * from the symbol table of an ELF file such as vmlinux. Immutable once read.
 */
#ifndef MACHINE_SYMBOLS_H
#define MACHINE_SYMBOLS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;

/* NULL and err when the file cannot be read, is neither, or holds no code symbols. */
struct symbols *symbols_read(const char *path, struct error *err);

/* The same from bytes; `what` names them in errors. */
struct symbols *symbols_parse(const char *what, const void *bytes, size_t size, struct error *err);

void symbols_destroy(struct symbols *s);

/* The name of the last symbol at or below the address, and the distance; NULL when there is none
 * within 1 MiB, or s is NULL. */
const char *symbols_find(const struct symbols *s, uint64_t address, uint64_t *offset);

/* "name+0x12" or "", for messages. Returns text. */
const char *symbols_text(const struct symbols *s, uint64_t address, char *text, size_t size);

/* The address of the first symbol of this name; false if there is none, or s is NULL. */
bool symbols_address(const struct symbols *s, const char *name, uint64_t *address);

size_t symbols_count(const struct symbols *s);

#endif
