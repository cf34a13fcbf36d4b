/*
 * The program: see decode_diff.h. Usage: decode [-f] [-v] <list of known differences>.
 *   -f  every ModRM byte, not a sample; so does GNOMON_FULL in the environment
 *   -v  how often each entry of the list was needed
 * Fails on a difference that no entry explains, and on an entry that explains nothing.
 */
#include "decode_diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CLASSES 60000
#define MAX_REPORTS 60
#define FULL_ROUNDS 4

/* Unexplained differences that are alike, by their first. */
struct class
{
    enum difference_kind kind;
    struct encoding e;
    const struct insn_row *row;
    unsigned our_length, their_length;
    char name[32], operand[80], text[80];
    uint32_t modes;
    uint64_t count;
};

struct run {
    struct comparer *comparer;
    struct explanations *known;
    uint64_t cases, kinds[DIFFERENCE_KIND_COUNT], unexplained;
    struct class classes[MAX_CLASSES];
    unsigned class_count;
};

static bool alike(const struct class *c, enum difference_kind kind, const struct encoding *e,
                  const struct decoded *d)
{
    return c->kind == kind && c->e.map == e->map && c->e.opcode == e->opcode && c->row == d->row &&
           c->e.prefixes == e->prefixes && strcmp(c->name, d->name) == 0;
}

static void remember(struct run *r, enum difference_kind kind, const struct encoding *e,
                     const struct decoded *d)
{
    struct class *c = r->classes;

    r->unexplained++;
    while (c < r->classes + r->class_count && !alike(c, kind, e, d))
        c++;
    if (c == r->classes + MAX_CLASSES)
        return;
    if (c == r->classes + r->class_count) {
        r->class_count++;
        *c = (struct class){.kind = kind, .e = *e, .row = d->row, .our_length = d->length};
        snprintf(c->name, sizeof(c->name), "%s", d->name);
        snprintf(c->operand, sizeof(c->operand), "%s", d->operand);
        if (d->theirs != NULL) {
            c->their_length = d->their_length;
            snprintf(c->text, sizeof(c->text), "%.20s %.50s", d->theirs->mnemonic,
                     d->theirs->op_str);
        }
    }
    c->modes |= e->mode;
    c->count++;
}

static void visit(void *opaque, const struct encoding *e)
{
    struct run *r = opaque;
    struct decoded d;
    enum difference_kind kind = compare(r->comparer, e, &d);

    r->cases++;
    r->kinds[kind]++;
    if (kind != DIFFERENCE_NONE && !explanations_cover(r->known, kind, e, &d))
        remember(r, kind, e, &d);
}

static void print_class(const struct class *c)
{
    printf("%s map=%s op=%02x mode=", difference_names[c->kind], space_map_names[c->e.map],
           c->e.opcode);
    for (unsigned mode = 16; mode <= 64; mode *= 2)
        if (c->modes & mode)
            printf("%s%u", c->modes & (mode - 1) ? "," : "", mode);
    for (unsigned n = 0; n < SPACE_PREFIX_COUNT; n++)
        if (c->e.prefixes >> n & 1)
            printf(" with=%s", space_prefix_names[n]);
    printf(" ours=%s theirs=%s, %" PRIu64 " of them\n  %u-bit", c->row != NULL ? c->row->id : "-",
           c->text[0] != '\0' ? c->name : "-", c->count, c->e.mode);
    for (unsigned n = 0; n < sizeof(c->e.bytes); n++)
        printf(" %02x", c->e.bytes[n]);
    printf("\n  ours: %u bytes; theirs: %u bytes, %s\n", c->our_length, c->their_length, c->text);
    if (c->operand[0] != '\0')
        printf("  operand: %s\n", c->operand);
}

int main(int argc, char **argv)
{
    struct run *r = calloc(1, sizeof(*r));
    bool full = getenv("GNOMON_FULL") != NULL, verbose = false;
    unsigned useless;
    int option;

    while ((option = getopt(argc, argv, "fv")) != -1) {
        full |= option == 'f';
        verbose |= option == 'v';
    }
    if (r == NULL || optind + 1 != argc) {
        fprintf(stderr, "usage: %s [-f] [-v] <list of known differences>\n", argv[0]);
        return 2;
    }
    r->comparer = comparer_create();
    r->known = explanations_read(argv[optind]);
    for (unsigned round = 0; round < (full ? FULL_ROUNDS : 1); round++)
        space_walk(full, round, visit, r);
    for (unsigned n = 0; n < r->class_count && (verbose || n < MAX_REPORTS); n++)
        print_class(&r->classes[n]);
    useless = explanations_report(r->known, verbose);
    printf("%" PRIu64 " encodings; differences:", r->cases);
    for (unsigned n = 1; n < DIFFERENCE_KIND_COUNT; n++)
        printf(" %s %" PRIu64, difference_names[n], r->kinds[n]);
    printf("\n%" PRIu64 " unexplained, of %u classes; %u entries of the list of no use\n",
           r->unexplained, r->class_count, useless);
    useless += r->class_count;
    explanations_free(r->known);
    comparer_destroy(r->comparer);
    free(r);
    return useless == 0 ? 0 : 1;
}
