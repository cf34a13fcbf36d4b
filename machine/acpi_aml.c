#include "machine/acpi_aml.h"

#include "base/check.h"
#include "machine/le.h"

#include <string.h>

/* Opcodes, specification 20.3 */
#define ZERO_OP               0x00
#define ONE_OP                0x01
#define NAME_OP               0x08
#define BYTE_PREFIX           0x0a
#define WORD_PREFIX           0x0b
#define DWORD_PREFIX          0x0c
#define STRING_PREFIX         0x0d
#define QWORD_PREFIX          0x0e
#define SCOPE_OP              0x10
#define BUFFER_OP             0x11
#define PACKAGE_OP            0x12
#define METHOD_OP             0x14
#define DUAL_NAME_PREFIX      0x2e
#define MULTI_NAME_PREFIX     0x2f
#define EXT_PREFIX            0x5b
#define EXT_REGION_OP         0x80
#define EXT_FIELD_OP          0x81
#define EXT_DEVICE_OP         0x82
#define LOCAL0_OP             0x60
#define ARG0_OP               0x68
#define STORE_OP              0x70
#define FIND_SET_RIGHT_BIT_OP 0x82
#define LNOT_OP               0x92
#define CREATE_WORD_FIELD_OP  0x8b
#define IF_OP                 0xa0
#define ELSE_OP               0xa1
#define RETURN_OP             0xa4

#define METHOD_SERIALIZED 0x08
#define REGION_PCI_CONFIG 0x02
#define FIELD_BYTE_ACCESS 0x01

/* Resource descriptors, specification 6.4.2 and 6.4.3; the lengths of small ones are in them. */
#define SMALL_IRQ_NO_FLAGS 0x22
#define SMALL_IRQ          0x23
#define SMALL_IO           0x47
#define SMALL_END          0x79
#define LARGE_MEMORY32     0x86
#define LARGE_DWORD_SPACE  0x87
#define LARGE_WORD_SPACE   0x88

#define IO_DECODE16          0x01
#define IRQ_LEVEL_LOW_SHARED 0x18

/* Address spaces: type, general flags (6.4.3.5), type specific flags */
#define SPACE_MEMORY      0
#define SPACE_IO          1
#define SPACE_BUS         2
#define SPACE_FIXED       0x0c /* both ends are fixed; positive decoding, passed on */
#define IO_ENTIRE_RANGE   0x03
#define MEMORY_CACHEABLE  0x02
#define MEMORY_READ_WRITE 0x01

#define PACKAGE_LENGTH_MAX 4

void aml_init(struct aml *a, uint8_t *bytes, size_t size)
{
    *a = (struct aml){.bytes = bytes, .size = size};
}

bool aml_finish(const struct aml *a)
{
    CHECK(a->depth == 0 || a->full);
    return !a->full;
}

/* Makes room for n bytes at `at` and returns it; NULL if there is none. */
static uint8_t *insert(struct aml *a, size_t at, size_t n)
{
    if (a->full || n > a->size - a->length) {
        a->full = true;
        return NULL;
    }
    memmove(a->bytes + at + n, a->bytes + at, a->length - at);
    a->length += n;
    return a->bytes + at;
}

static void put_byte(struct aml *a, uint8_t v)
{
    uint8_t *p = insert(a, a->length, 1);

    if (p != NULL)
        *p = v;
}

static void put_bytes(struct aml *a, const void *bytes, size_t n)
{
    uint8_t *p = insert(a, a->length, n);

    if (p != NULL)
        memcpy(p, bytes, n);
}

static void put_extended(struct aml *a, uint8_t opcode)
{
    put_byte(a, EXT_PREFIX);
    put_byte(a, opcode);
}

/* --- Packages --- */

static void open_package(struct aml *a, bool sized)
{
    CHECK(a->depth < AML_DEPTH_MAX);
    a->open[a->depth].start = a->length;
    a->open[a->depth].sized = sized;
    a->depth++;
}

/* The encoding of a package length; the number of its bytes. It counts itself unless it is the
 * width of a field. */
static size_t encode_package_length(uint8_t bytes[PACKAGE_LENGTH_MAX], size_t content, bool self)
{
    size_t n = 1, length = content + self;

    if (length > 0x3f) {
        for (n = 2; (length = content + (self ? n : 0)) >= (size_t)1 << (8 * n - 4); n++)
            CHECK(n < PACKAGE_LENGTH_MAX);
    }
    if (n == 1) {
        bytes[0] = (uint8_t)length;
        return n;
    }
    bytes[0] = (uint8_t)((n - 1) << 6 | (length & 0xf));
    length >>= 4;
    for (size_t i = 1; i < n; i++, length >>= 8)
        bytes[i] = (uint8_t)length;
    return n;
}

/* The shortest encoding of an integer; the number of its bytes. */
static size_t encode_integer(uint8_t bytes[9], uint64_t v)
{
    if (v <= 1) {
        bytes[0] = v == 0 ? ZERO_OP : ONE_OP;
        return 1;
    }
    le64_put(bytes + 1, v);
    if (v <= UINT8_MAX) {
        bytes[0] = BYTE_PREFIX;
        return 2;
    }
    if (v <= UINT16_MAX) {
        bytes[0] = WORD_PREFIX;
        return 3;
    }
    if (v <= UINT32_MAX) {
        bytes[0] = DWORD_PREFIX;
        return 5;
    }
    bytes[0] = QWORD_PREFIX;
    return 9;
}

void aml_end(struct aml *a)
{
    uint8_t bytes[9];
    size_t start, n;
    uint8_t *p;

    CHECK(a->depth > 0);
    a->depth--;
    start = a->open[a->depth].start;
    if (a->open[a->depth].sized) {
        n = encode_integer(bytes, a->length - start);
        p = insert(a, start, n);
        if (p != NULL)
            memcpy(p, bytes, n);
    }
    n = encode_package_length(bytes, a->length - start, true);
    p = insert(a, start, n);
    if (p != NULL)
        memcpy(p, bytes, n);
}

/* --- Data and names --- */

void aml_integer(struct aml *a, uint64_t value)
{
    uint8_t bytes[9];

    put_bytes(a, bytes, encode_integer(bytes, value));
}

void aml_string(struct aml *a, const char *text)
{
    put_byte(a, STRING_PREFIX);
    put_bytes(a, text, strlen(text) + 1);
}

static void put_segment(struct aml *a, const char *name, size_t length)
{
    char segment[AML_NAME_SIZE] = {'_', '_', '_', '_'};

    CHECK(length > 0 && length <= sizeof(segment));
    memcpy(segment, name, length);
    put_bytes(a, segment, sizeof(segment));
}

void aml_path(struct aml *a, const char *path)
{
    size_t count = 1;

    while (*path == '\\' || *path == '^')
        put_byte(a, (uint8_t)*path++);
    if (*path == 0) {
        put_byte(a, 0);
        return;
    }
    for (const char *p = path; *p != 0; p++)
        count += *p == '.';
    if (count == 2) {
        put_byte(a, DUAL_NAME_PREFIX);
    } else if (count > 2) {
        put_byte(a, MULTI_NAME_PREFIX);
        put_byte(a, (uint8_t)count);
    }
    while (count-- > 0) {
        size_t length = strcspn(path, ".");

        put_segment(a, path, length);
        path += length + 1;
    }
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits each and four digits, as a big-endian number; 6.1.5. */
void aml_eisa_id(struct aml *a, const char *id)
{
    uint32_t letters = 0, digits = 0;
    uint8_t bytes[4];

    CHECK(strlen(id) == 7);
    for (unsigned i = 0; i < 3; i++)
        letters = letters << 5 | ((uint32_t)(id[i] - '@') & 0x1f);
    for (unsigned i = 3; i < 7; i++)
        digits = digits << 4 | hex_digit(id[i]);
    bytes[0] = (uint8_t)(letters >> 8);
    bytes[1] = (uint8_t)letters;
    bytes[2] = (uint8_t)(digits >> 8);
    bytes[3] = (uint8_t)digits;
    aml_integer(a, le32_get(bytes));
}

void aml_name(struct aml *a, const char *path)
{
    put_byte(a, NAME_OP);
    aml_path(a, path);
}

void aml_name_integer(struct aml *a, const char *path, uint64_t value)
{
    aml_name(a, path);
    aml_integer(a, value);
}

void aml_name_string(struct aml *a, const char *path, const char *text)
{
    aml_name(a, path);
    aml_string(a, text);
}

void aml_name_eisa_id(struct aml *a, const char *path, const char *id)
{
    aml_name(a, path);
    aml_eisa_id(a, id);
}

/* --- Terms with a package length --- */

void aml_scope(struct aml *a, const char *path)
{
    put_byte(a, SCOPE_OP);
    open_package(a, false);
    aml_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
    put_extended(a, EXT_DEVICE_OP);
    open_package(a, false);
    aml_path(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned argument_count, bool serialized)
{
    put_byte(a, METHOD_OP);
    open_package(a, false);
    aml_path(a, path);
    put_byte(a, (uint8_t)(argument_count | (serialized ? METHOD_SERIALIZED : 0)));
}

void aml_package(struct aml *a, uint8_t element_count)
{
    put_byte(a, PACKAGE_OP);
    open_package(a, false);
    put_byte(a, element_count);
}

void aml_if(struct aml *a)
{
    put_byte(a, IF_OP);
    open_package(a, false);
}

void aml_else(struct aml *a)
{
    aml_end(a);
    put_byte(a, ELSE_OP);
    open_package(a, false);
}

/* --- Statements and expressions --- */

void aml_return(struct aml *a)
{
    put_byte(a, RETURN_OP);
}

void aml_operation(struct aml *a, enum aml_operation operation)
{
    put_byte(a, (uint8_t)operation);
}

void aml_not(struct aml *a)
{
    put_byte(a, LNOT_OP);
}

void aml_find_set_right_bit(struct aml *a)
{
    put_byte(a, FIND_SET_RIGHT_BIT_OP);
}

void aml_store(struct aml *a)
{
    put_byte(a, STORE_OP);
}

void aml_local(struct aml *a, unsigned n)
{
    CHECK(n < 8);
    put_byte(a, (uint8_t)(LOCAL0_OP + n));
}

void aml_argument(struct aml *a, unsigned n)
{
    CHECK(n < 7);
    put_byte(a, (uint8_t)(ARG0_OP + n));
}

void aml_create_word_field(struct aml *a)
{
    put_byte(a, CREATE_WORD_FIELD_OP);
}

void aml_pci_config_region(struct aml *a, const char *path, uint8_t offset, uint8_t length)
{
    put_extended(a, EXT_REGION_OP);
    aml_path(a, path);
    put_byte(a, REGION_PCI_CONFIG);
    aml_integer(a, offset);
    aml_integer(a, length);
}

void aml_field(struct aml *a, const char *region)
{
    put_extended(a, EXT_FIELD_OP);
    open_package(a, false);
    aml_path(a, region);
    put_byte(a, FIELD_BYTE_ACCESS);
}

void aml_field_unit(struct aml *a, const char *name, unsigned bits)
{
    uint8_t bytes[PACKAGE_LENGTH_MAX];

    put_segment(a, name, strlen(name));
    put_bytes(a, bytes, encode_package_length(bytes, bits, false));
}

/* --- Resource templates --- */

void aml_resources(struct aml *a)
{
    put_byte(a, BUFFER_OP);
    open_package(a, true);
}

void aml_resources_end(struct aml *a)
{
    put_byte(a, SMALL_END);
    put_byte(a, 0); /* a checksum of 0 is taken for a right one */
    aml_end(a);
}

void aml_io(struct aml *a, uint16_t first, uint8_t count)
{
    uint8_t d[8] = {SMALL_IO, IO_DECODE16};

    le16_put(d + 2, first);
    le16_put(d + 4, first);
    d[6] = 1;
    d[7] = count;
    put_bytes(a, d, sizeof(d));
}

void aml_irq_edge(struct aml *a, uint16_t irqs)
{
    uint8_t d[3] = {SMALL_IRQ_NO_FLAGS};

    le16_put(d + 1, irqs);
    put_bytes(a, d, sizeof(d));
}

void aml_irq_level(struct aml *a, uint16_t irqs)
{
    uint8_t d[4] = {SMALL_IRQ};

    le16_put(d + AML_IRQ_MASK_OFFSET, irqs);
    d[3] = IRQ_LEVEL_LOW_SHARED;
    put_bytes(a, d, sizeof(d));
}

void aml_memory32(struct aml *a, uint32_t base, uint32_t size, bool writable)
{
    uint8_t d[12] = {LARGE_MEMORY32};

    le16_put(d + 1, sizeof(d) - 3);
    d[3] = writable;
    le32_put(d + 4, base);
    le32_put(d + 8, size);
    put_bytes(a, d, sizeof(d));
}

static void word_window(struct aml *a, uint8_t type, uint8_t flags, uint16_t first, uint16_t last)
{
    uint8_t d[16] = {LARGE_WORD_SPACE};

    le16_put(d + 1, sizeof(d) - 3);
    d[3] = type;
    d[4] = SPACE_FIXED;
    d[5] = flags;
    le16_put(d + 8, first);
    le16_put(d + 10, last);
    le16_put(d + 14, (uint16_t)(last - first + 1));
    put_bytes(a, d, sizeof(d));
}

void aml_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
    word_window(a, SPACE_BUS, 0, first, last);
}

void aml_io_window(struct aml *a, uint16_t first, uint16_t last)
{
    word_window(a, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_memory_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
    uint8_t d[26] = {LARGE_DWORD_SPACE};

    le16_put(d + 1, sizeof(d) - 3);
    d[3] = SPACE_MEMORY;
    d[4] = SPACE_FIXED;
    d[5] = MEMORY_READ_WRITE | (cacheable ? MEMORY_CACHEABLE : 0);
    le32_put(d + 10, first);
    le32_put(d + 14, last);
    le32_put(d + 22, last - first + 1);
    put_bytes(a, d, sizeof(d));
}
