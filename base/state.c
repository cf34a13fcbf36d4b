/*
 * Format: a sequence of fields without padding, integers little endian. A section opens with
 *
 *   u32 SECTION_MAGIC, u8 name length, name bytes, u32 version
 *
 * and ends where the next one, or the stream, begins.
 */
#include "base/state.h"

#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

#define SECTION_MAGIC    0x54534e47u /* "GNST" */
#define SECTION_NAME_MAX 255
#define INITIAL_SIZE     4096
#define SEAL_SIZE        8
#define CHECKSUM_FACTOR  0x9e3779b97f4a7c15u

struct state {
    bool loading;
    bool failed;
    struct error error;                 /* set when failed */
    char section[SECTION_NAME_MAX + 1]; /* the one open now, for messages; "" before the first */
    uint8_t *buffer;                    /* saving: the bytes, owned */
    const uint8_t *source;              /* loading: the bytes, not owned */
    size_t size;                        /* saving: bytes allocated; loading: bytes in all */
    size_t used;                        /* saving: bytes written; loading: bytes consumed */
};

struct state *state_create_saving(void)
{
    struct state *s = host_alloc(sizeof(*s));

    s->size = INITIAL_SIZE;
    s->buffer = host_alloc(s->size);
    return s;
}

struct state *state_create_loading(const void *bytes, size_t length)
{
    struct state *s = host_alloc(sizeof(*s));

    s->loading = true;
    s->source = bytes;
    s->size = length;
    return s;
}

void state_destroy(struct state *s)
{
    if (s == NULL)
        return;
    free(s->buffer);
    free(s);
}

bool state_is_loading(const struct state *s)
{
    return s->loading;
}

bool state_failed(const struct state *s)
{
    return s->failed;
}

const void *state_data(const struct state *s, size_t *length)
{
    CHECK(!s->loading);
    *length = s->used;
    return s->buffer;
}

static void fail(struct state *s, const char *what)
{
    if (s->failed)
        return;
    s->failed = true;
    if (s->section[0] == '\0')
        error_set(&s->error, "saved state: %s", what);
    else
        error_set(&s->error, "saved state, section '%s': %s", s->section, what);
}

static void put(struct state *s, const void *bytes, size_t length)
{
    if (length > s->size - s->used) {
        size_t size = s->size;
        CHECK(length <= SIZE_MAX / 4 && size <= SIZE_MAX / 4);
        while (length > size - s->used)
            size *= 2;
        s->buffer = realloc(s->buffer, size);
        CHECK(s->buffer != NULL);
        s->size = size;
    }
    if (length > 0)
        memcpy(s->buffer + s->used, bytes, length);
    s->used += length;
}

static void get(struct state *s, void *bytes, size_t length)
{
    if (!s->failed && length > s->size - s->used)
        fail(s, "the stream ends too early");
    if (length == 0)
        return;
    if (s->failed) {
        memset(bytes, 0, length);
        return;
    }
    memcpy(bytes, s->source + s->used, length);
    s->used += length;
}

void state_bytes(struct state *s, void *bytes, size_t length)
{
    if (s->loading)
        get(s, bytes, length);
    else
        put(s, bytes, length);
}

/* An integer of `size` bytes, least significant first whatever the host's order. */
static uint64_t integer(struct state *s, uint64_t v, unsigned size)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(v >> 8 * i);
    state_bytes(s, bytes, size);
    v = 0;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)bytes[i] << 8 * i;
    return v;
}

void state_u8(struct state *s, uint8_t *v)
{
    state_bytes(s, v, 1);
}

void state_u16(struct state *s, uint16_t *v)
{
    *v = (uint16_t)integer(s, *v, 2);
}

void state_u32(struct state *s, uint32_t *v)
{
    *v = (uint32_t)integer(s, *v, 4);
}

void state_u64(struct state *s, uint64_t *v)
{
    *v = integer(s, *v, 8);
}

void state_bool(struct state *s, bool *v)
{
    uint8_t byte = !s->loading && *v; /* *v may be uninitialised when loading */

    state_u8(s, &byte);
    if (s->loading && byte > 1) {
        fail(s, "a flag is neither 0 nor 1");
        byte = 0;
    }
    *v = byte != 0;
}

static void load_section(struct state *s, const char *name, uint32_t version)
{
    char found_name[SECTION_NAME_MAX + 1] = "";
    uint32_t magic = 0, found_version = 0;
    uint8_t length = 0;

    state_u32(s, &magic);
    if (!s->failed && magic != SECTION_MAGIC) {
        error_set(&s->error, "saved state: no section begins where '%s' is expected", name);
        s->failed = true;
    }
    state_u8(s, &length);
    state_bytes(s, found_name, length);
    state_u32(s, &found_version);
    if (s->failed)
        return;
    if (length != strlen(name) || memcmp(found_name, name, length) != 0) {
        error_set(&s->error, "saved state: section '%s' where '%s' is expected", found_name, name);
        s->failed = true;
    } else if (found_version != version) {
        error_set(&s->error,
                  "saved state: section '%s' has version %u, this program reads version %u", name,
                  (unsigned)found_version, (unsigned)version);
        s->failed = true;
    }
}

void state_section(struct state *s, const char *name, uint32_t version)
{
    uint32_t magic = SECTION_MAGIC;
    size_t length = strlen(name);
    uint8_t length_byte = (uint8_t)length;

    CHECK(length > 0 && length <= SECTION_NAME_MAX);
    if (s->loading) {
        load_section(s, name, version);
    } else {
        state_u32(s, &magic);
        state_u8(s, &length_byte);
        put(s, name, length);
        state_u32(s, &version);
    }
    memcpy(s->section, name, length + 1);
}

void state_check(struct state *s, bool condition, const char *what)
{
    if (s->loading && !condition)
        fail(s, what);
}

/* The first `count` bytes, 8 at most, as an integer whose rest is 0. */
static uint64_t load_le64(const uint8_t *bytes, size_t count)
{
    uint64_t v = 0;

    memcpy(&v, bytes, count);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

uint64_t state_checksum(const void *bytes, size_t length)
{
    const uint8_t *p = bytes;
    uint64_t sum = length;

    for (size_t left = length; left > 0;) {
        size_t count = left < 8 ? left : 8;

        sum = (sum ^ load_le64(p, count)) * CHECKSUM_FACTOR;
        sum ^= sum >> 29;
        p += count;
        left -= count;
    }
    return sum;
}

void state_seal(struct state *s)
{
    uint64_t sum = state_checksum(s->buffer, s->used);

    CHECK(!s->loading);
    state_u64(s, &sum);
}

void state_verify_seal(struct state *s)
{
    CHECK(s->loading && s->used == 0);
    if (s->failed)
        return;
    if (s->size < SEAL_SIZE) {
        fail(s, "the stream ends too early");
        return;
    }
    s->size -= SEAL_SIZE;
    if (state_checksum(s->source, s->size) != load_le64(s->source + s->size, SEAL_SIZE))
        fail(s, "damaged or cut short: its checksum is wrong");
}

bool state_finish(struct state *s, struct error *err)
{
    if (s->loading && !s->failed && s->used != s->size)
        fail(s, "bytes are left over at the end");
    if (s->failed)
        return error_set(err, "%s", s->error.text);
    return true;
}
