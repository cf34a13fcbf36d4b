/* The list of known differences: its reader, and the search for an entry that covers one. The
 * format stands at the head of differences.txt. */
#include "decode_diff.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 400
#define MAX_WITH    3

struct entry {
    unsigned line;
    char *text;
    enum difference_kind kind;
    uint32_t modes; /* bit n: mode 16 << n */
    uint32_t maps;  /* bit n: enum insn_map n */
    uint32_t opcodes[8];
    uint32_t regs;           /* bit n: ModRM.reg n */
    uint32_t with[MAX_WITH]; /* one of each set must be there */
    unsigned with_count;
    uint32_t without;            /* none of these may */
    bool memory, registers;      /* ModRM.mod */
    char *ours, *theirs, *group; /* patterns with commas between them, or NULL */
    uint64_t uses;
};

struct explanations {
    char *path;
    struct entry entries[MAX_ENTRIES];
    unsigned count;
};

/* ---- Reading -------------------------------------------------------------------------------- */

_Noreturn static void fail(const struct explanations *x, unsigned line, const char *what)
{
    fprintf(stderr, "%s:%u: cannot understand '%s'\n", x->path, line, what);
    exit(2);
}

static uint32_t bit_of(const char *word, const char *const *names, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        if (names[n] != NULL && strcmp(names[n], word) == 0)
            return 1u << n;
    return 0;
}

/* The union of the bits of the words between commas; 0 if one is unknown. */
static uint32_t bits_of(char *words, const char *const *names, unsigned count)
{
    uint32_t bits = 0;
    char *word;

    while ((word = strsep(&words, ",")) != NULL) {
        uint32_t bit = bit_of(word, names, count);

        if (bit == 0)
            return 0;
        bits |= bit;
    }
    return bits;
}

/* "40-4f,90" */
static bool read_opcodes(struct entry *e, char *words)
{
    char *word;

    memset(e->opcodes, 0, sizeof(e->opcodes));
    while ((word = strsep(&words, ",")) != NULL) {
        unsigned first, last;
        int length = 0;

        if (sscanf(word, "%2x-%2x%n", &first, &last, &length) != 2) {
            if (sscanf(word, "%2x%n", &first, &length) != 1)
                return false;
            last = first;
        }
        if (word[length] != '\0')
            return false;
        for (unsigned n = first; n <= last; n++)
            e->opcodes[n / 32] |= 1u << n % 32;
    }
    return true;
}

static bool read_condition(struct entry *e, const char *key, char *value)
{
    static const char *const modes[] = {"16", "32", "64"};
    static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7"};

    if (strcmp(key, "mode") == 0)
        return (e->modes = bits_of(value, modes, 3)) != 0;
    if (strcmp(key, "map") == 0)
        return (e->maps = bits_of(value, space_map_names, MAP_COUNT)) != 0;
    if (strcmp(key, "op") == 0)
        return read_opcodes(e, value);
    if (strcmp(key, "reg") == 0)
        return (e->regs = bits_of(value, digits, 8)) != 0;
    if (strcmp(key, "with") == 0 && e->with_count < MAX_WITH)
        return (e->with[e->with_count++] =
                    bits_of(value, space_prefix_names, SPACE_PREFIX_COUNT)) != 0;
    if (strcmp(key, "without") == 0)
        return (e->without = bits_of(value, space_prefix_names, SPACE_PREFIX_COUNT)) != 0;
    if (strcmp(key, "mod") == 0) {
        e->memory = strcmp(value, "mem") == 0;
        e->registers = strcmp(value, "reg") == 0;
        return e->memory || e->registers;
    }
    if (strcmp(key, "ours") == 0)
        return (e->ours = strdup(value)) != NULL;
    if (strcmp(key, "theirs") == 0)
        return (e->theirs = strdup(value)) != NULL;
    return strcmp(key, "group") == 0 && (e->group = strdup(value)) != NULL;
}

static void read_entry(struct explanations *x, unsigned line, char *text)
{
    struct entry *e = &x->entries[x->count++];
    char *rest = strstr(text, " : "), *word;

    *e = (struct entry){.line = line,
                        .modes = ~0u,
                        .maps = ~0u,
                        .regs = ~0u,
                        .memory = true,
                        .registers = true,
                        .text = strdup(text)};
    memset(e->opcodes, 0xff, sizeof(e->opcodes));
    if (rest == NULL || x->count == MAX_ENTRIES)
        fail(x, line, text);
    *rest = '\0';
    rest = text;
    word = strsep(&rest, " ");
    while (e->kind < DIFFERENCE_KIND_COUNT && strcmp(difference_names[e->kind], word) != 0)
        e->kind++;
    if (e->kind == DIFFERENCE_KIND_COUNT)
        fail(x, line, word);
    while ((word = strsep(&rest, " ")) != NULL) {
        char *value = strchr(word, '=');

        if (*word == '\0')
            continue;
        if (value == NULL)
            fail(x, line, word);
        *value++ = '\0';
        if (!read_condition(e, word, value))
            fail(x, line, e->text);
    }
}

struct explanations *explanations_read(const char *path)
{
    struct explanations *x = calloc(1, sizeof(*x));
    FILE *file = fopen(path, "r");
    char text[512];

    if (file == NULL || x == NULL) {
        perror(path);
        exit(2);
    }
    x->path = strdup(path);
    for (unsigned line = 1; fgets(text, sizeof(text), file) != NULL; line++) {
        text[strcspn(text, "\n")] = '\0';
        if (text[0] != '\0' && text[0] != '#')
            read_entry(x, line, text);
    }
    fclose(file);
    return x;
}

void explanations_free(struct explanations *x)
{
    for (unsigned n = 0; n < x->count; n++) {
        free(x->entries[n].text);
        free(x->entries[n].ours);
        free(x->entries[n].theirs);
        free(x->entries[n].group);
    }
    free(x->path);
    free(x);
}

/* ---- Search --------------------------------------------------------------------------------- */

static bool one_matches(const char *patterns, const char *name)
{
    char pattern[64];

    if (patterns == NULL)
        return true;
    while (*patterns != '\0') {
        size_t length = strcspn(patterns, ",");

        snprintf(pattern, sizeof(pattern), "%.*s", (int)length, patterns);
        if (fnmatch(pattern, name, 0) == 0)
            return true;
        patterns += length + (patterns[length] == ',');
    }
    return false;
}

static bool group_matches(const struct entry *x, const struct decoded *d)
{
    if (x->group == NULL)
        return true;
    for (unsigned n = 0; d->theirs != NULL && n < d->theirs->detail->groups_count; n++) {
        const char *name = cs_group_name(d->capstone, d->theirs->detail->groups[n]);

        if (name != NULL && one_matches(x->group, name))
            return true;
    }
    return false;
}

static bool entry_covers(const struct entry *x, enum difference_kind kind, const struct encoding *e,
                         const struct decoded *d)
{
    if (x->kind != kind || !(x->modes & e->mode / 16u) || !(x->maps >> e->map & 1) ||
        !(x->opcodes[e->opcode / 32] >> e->opcode % 32 & 1) ||
        !(x->regs >> (e->modrm >> 3 & 7) & 1) || (x->without & e->prefixes))
        return false;
    if (!(e->modrm >= 0xc0 ? x->registers : x->memory))
        return false;
    for (unsigned n = 0; n < x->with_count; n++)
        if (!(x->with[n] & e->prefixes))
            return false;
    return one_matches(x->ours, d->row != NULL ? d->row->mnemonic : "-") &&
           one_matches(x->theirs, d->theirs != NULL ? d->name : "-") && group_matches(x, d);
}

bool explanations_cover(struct explanations *x, enum difference_kind kind, const struct encoding *e,
                        const struct decoded *d)
{
    for (unsigned n = 0; n < x->count; n++) {
        if (entry_covers(&x->entries[n], kind, e, d)) {
            x->entries[n].uses++;
            return true;
        }
    }
    return false;
}

unsigned explanations_report(const struct explanations *x, bool all)
{
    unsigned useless = 0;

    for (unsigned n = 0; n < x->count; n++) {
        const struct entry *e = &x->entries[n];

        useless += e->uses == 0;
        if (all)
            printf("%9llu  %s\n", (unsigned long long)e->uses, e->text);
        else if (e->uses == 0)
            printf("%s:%u: explains nothing any more: %s\n", x->path, e->line, e->text);
    }
    return useless;
}
