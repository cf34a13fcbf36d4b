/*
 * State streams: how a device or processor saves and restores itself. One function per thing
 * serves both directions (`pit_serialize(pit, s)`): each state_u32(s, &x) writes x when saving and
 * reads it when loading, so the two cannot drift apart. The format is little endian with named,
 * versioned sections. A stream being loaded is hostile input: a wrong section, a short stream or a
 * failed state_check makes the stream fail; every later call is then a no-op that leaves zeroes,
 * and the caller asks state_finish once at the end. Not thread-safe.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state;

/* A stream that collects; its bytes are read with state_data. */
struct state *state_create_saving(void);

/* A stream over bytes that it does not own and that must outlive it. */
struct state *state_create_loading(const void *bytes, size_t length);

void state_destroy(struct state *s);

bool state_is_loading(const struct state *s);

/* The bytes collected so far and their count; valid until the next call on the stream. */
const void *state_data(const struct state *s, size_t *length);

/* Opens a section; when loading, the name and version found must be the ones given. */
void state_section(struct state *s, const char *name, uint32_t version);

void state_bool(struct state *s, bool *v);
void state_u8(struct state *s, uint8_t *v);
void state_u16(struct state *s, uint16_t *v);
void state_u32(struct state *s, uint32_t *v);
void state_u64(struct state *s, uint64_t *v);
void state_bytes(struct state *s, void *bytes, size_t length);

/* Any integer lvalue of 1, 2, 4 or 8 bytes, enums included; bool has its own function. */
#define state_int(s, lvalue_ptr)                                                                   \
    _Generic((lvalue_ptr), uint8_t * : state_u8, uint16_t * : state_u16, uint32_t * : state_u32,   \
             uint64_t * : state_u64, bool * : state_bool)((s), (lvalue_ptr))

/* When loading, fails the stream unless the condition holds: range checks of what was read. */
void state_check(struct state *s, bool condition, const char *what);

/* A 64-bit checksum: tells damage, not malice. The same on every host. */
uint64_t state_checksum(const void *bytes, size_t length);

/* Saving: appends the checksum of what was collected so far, as the last thing of all. */
void state_seal(struct state *s);

/* Loading: compares the checksum at the end with the bytes before it, as the first thing of all; a
 * stream that was damaged or cut short fails before anything is loaded from it. */
void state_verify_seal(struct state *s);

/* True if everything went well; else false and the error filled. When loading, also fails if bytes
 * are left over. */
bool state_finish(struct state *s, struct error *err);

/* True once the stream has failed; a device can then leave its load early. */
bool state_failed(const struct state *s);

#endif
