#include "machine/symbols.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/host/host.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_LIMIT (2ull << 30)
#define REACH      (1u << 20)

/* ELF64 (System V ABI, "Object Files"): offsets and constants that are needed here. */
#define ELF_SHOFF       40
#define ELF_SHENTSIZE   58
#define ELF_SHNUM       60
#define SECTION_TYPE    4
#define SECTION_OFFSET  24
#define SECTION_SIZE    32
#define SECTION_LINK    40
#define SECTION_HEADER  64
#define SECTION_SYMTAB  2
#define SYMBOL_SIZE     24
#define SYMBOL_INFO     4
#define SYMBOL_SECTION  6
#define SYMBOL_VALUE    8
#define SYMBOL_MAX_TYPE 2 /* no type, object, function; sections and files are no names */

struct symbol {
    uint64_t address;
    size_t name; /* offset in names */
};

struct symbols {
    struct symbol *list; /* sorted by address */
    size_t count, size;
    char *names;
    size_t names_used, names_size;
};

struct bytes {
    const uint8_t *p;
    size_t size;
};

static uint64_t field(struct bytes b, uint64_t offset, unsigned size)
{
    uint64_t v = 0;

    if (offset > b.size || size > b.size - offset)
        return 0;
    for (unsigned n = size; n-- > 0;)
        v = v << 8 | b.p[offset + n];
    return v;
}

static void add(struct symbols *s, uint64_t address, const char *name, size_t length)
{
    if (s->count == s->size) {
        s->size = MAX(2 * s->size, 1024);
        s->list = realloc(s->list, s->size * sizeof(s->list[0]));
        CHECK(s->list != NULL);
    }
    if (s->names_used + length + 1 > s->names_size) {
        s->names_size = 2 * s->names_size + length + 65536;
        s->names = realloc(s->names, s->names_size);
        CHECK(s->names != NULL);
    }
    s->list[s->count++] = (struct symbol){address, s->names_used};
    memcpy(s->names + s->names_used, name, length);
    s->names[s->names_used + length] = '\0';
    s->names_used += length + 1;
}

static int compare(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->name < y->name ? -1 : x->name > y->name;
}

/* One line of System.map without its newline; false if it has another form. */
static bool parse_line(struct symbols *s, const char *line, size_t length)
{
    uint64_t address = 0;
    size_t n = 0;

    for (; n < length && n < 16 && isxdigit((unsigned char)line[n]); n++)
        address = address << 4 |
                  (uint64_t)(isdigit((unsigned char)line[n]) ? line[n] - '0'
                                                             : (line[n] | 0x20) - 'a' + 10);
    if (n == 0 || length < n + 4 || line[n] != ' ' || line[n + 2] != ' ')
        return false;
    if (line[n + 1] != 'A' && line[n + 1] != 'a') /* absolute values are no addresses */
        add(s, address, line + n + 3, length - n - 3);
    return true;
}

static bool parse_map(struct symbols *s, struct bytes b)
{
    const char *p = (const char *)b.p, *end = p + b.size;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t length = (size_t)((newline != NULL ? newline : end) - p);

        if (length > 0 && !parse_line(s, p, length))
            return false;
        p += length + 1;
    }
    return true;
}

static void parse_symtab(struct symbols *s, struct bytes b, uint64_t table, uint64_t size,
                         uint64_t strings, uint64_t strings_size)
{
    if (table > b.size || size > b.size - table || strings > b.size ||
        strings_size > b.size - strings)
        return;
    for (uint64_t at = table; at + SYMBOL_SIZE <= table + size; at += SYMBOL_SIZE) {
        uint64_t name = field(b, at, 4);
        unsigned type = field(b, at + SYMBOL_INFO, 1) & 0xf;
        const char *text = (const char *)b.p + strings + name;
        size_t length;

        if (type > SYMBOL_MAX_TYPE || field(b, at + SYMBOL_SECTION, 2) == 0 || name >= strings_size)
            continue;
        length = strnlen(text, strings_size - name);
        if (length > 0 && length < strings_size - name)
            add(s, field(b, at + SYMBOL_VALUE, 8), text, length);
    }
}

static void parse_elf(struct symbols *s, struct bytes b)
{
    uint64_t headers = field(b, ELF_SHOFF, 8);
    uint64_t step = field(b, ELF_SHENTSIZE, 2), count = field(b, ELF_SHNUM, 2);

    if (step < SECTION_HEADER || headers > b.size || count * step > b.size - headers)
        return;
    for (uint64_t n = 0; n < count; n++) {
        uint64_t at = headers + n * step, link = field(b, at + SECTION_LINK, 4);
        uint64_t strings = headers + link * step;

        if (field(b, at + SECTION_TYPE, 4) != SECTION_SYMTAB || link >= count)
            continue;
        parse_symtab(s, b, field(b, at + SECTION_OFFSET, 8), field(b, at + SECTION_SIZE, 8),
                     field(b, strings + SECTION_OFFSET, 8), field(b, strings + SECTION_SIZE, 8));
    }
}

struct symbols *symbols_parse(const char *what, const void *bytes, size_t size, struct error *err)
{
    struct symbols *s = host_alloc(sizeof(*s));
    struct bytes b = {bytes, size};
    bool known = true;

    if (size >= 64 && memcmp(bytes, "\177ELF\2\1", 6) == 0)
        parse_elf(s, b);
    else
        known = parse_map(s, b);
    if (!known)
        error_set(err, "%s: neither a System.map nor a 64-bit ELF file", what);
    else if (s->count == 0)
        error_set(err, "%s: no symbols in it", what);
    if (!known || s->count == 0) {
        symbols_destroy(s);
        return NULL;
    }
    qsort(s->list, s->count, sizeof(s->list[0]), compare);
    return s;
}

struct symbols *symbols_read(const char *path, struct error *err)
{
    size_t size;
    void *bytes = host_read_file(path, FILE_LIMIT, &size, err);
    struct symbols *s;

    if (bytes == NULL)
        return NULL;
    s = symbols_parse(path, bytes, size, err);
    free(bytes);
    return s;
}

void symbols_destroy(struct symbols *s)
{
    if (s == NULL)
        return;
    free(s->list);
    free(s->names);
    free(s);
}

const char *symbols_find(const struct symbols *s, uint64_t address, uint64_t *offset)
{
    size_t low = 0, high;

    if (s == NULL || address < s->list[0].address)
        return NULL;
    high = s->count; /* list[low] <= address < list[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (s->list[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    *offset = address - s->list[low].address;
    return *offset < REACH ? s->names + s->list[low].name : NULL;
}

const char *symbols_text(const struct symbols *s, uint64_t address, char *text, size_t size)
{
    uint64_t offset;
    const char *name = symbols_find(s, address, &offset);

    if (name == NULL)
        text[0] = '\0';
    else
        snprintf(text, size, "%s+%#" PRIx64, name, offset);
    return text;
}

bool symbols_address(const struct symbols *s, const char *name, uint64_t *address)
{
    for (size_t n = 0; s != NULL && n < s->count; n++) {
        if (strcmp(s->names + s->list[n].name, name) == 0) {
            *address = s->list[n].address;
            return true;
        }
    }
    return false;
}

size_t symbols_count(const struct symbols *s)
{
    return s->count;
}
