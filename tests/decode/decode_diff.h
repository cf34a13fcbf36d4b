/*
 * The decoder against Capstone, over the whole opcode space: both decode the same bytes, and what
 * they say is compared: whether it is an instruction, its name, its length, its operands.
 *
 *   space.c     the encodings: modes, maps, opcodes, prefixes, ModRM and what follows
 *   compare.c   decodes one both ways
 *   operands.c  compares addresses, registers, immediates and operand sizes
 *   names.c     the names that differ only in spelling
 *   explain.c   the list of differences that are known, differences.txt
 *   main.c      walks, counts, reports
 *   host.c      a program of its own: VEX and EVEX encodings against the host's processor
 *
 * Two wrongs would agree; that is what the oracle of tests/diff/ is for.
 */
#ifndef TESTS_DECODE_DECODE_DIFF_H
#define TESTS_DECODE_DECODE_DIFF_H

#include "base/bits.h"
#include "cpu/cpu.h"
#include "cpu/insn.h"

#include <capstone/capstone.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- space.c ---- */

/* Prefixes of an encoding, and the bits of VEX and EVEX that are like them. */
enum space_prefix {
    WITH_66 = 1 << 0, /* in VEX and EVEX encodings these three stand for pp */
    WITH_F2 = 1 << 1,
    WITH_F3 = 1 << 2,
    WITH_W = 1 << 3,   /* REX.W, VEX.W or EVEX.W */
    WITH_RXB = 1 << 4, /* REX with some of R, X, B; not W */
    WITH_LOCK = 1 << 5,
    WITH_67 = 1 << 6,
    WITH_FS = 1 << 7,
    WITH_L = 1 << 8,      /* VEX.L, EVEX.L */
    WITH_VVVV = 1 << 9,   /* vvvv is not 1111b */
    WITH_C5 = 1 << 10,    /* the VEX prefix of two bytes */
    WITH_STALE = 1 << 11, /* REX before another prefix, where it does not count */
    WITH_CS = 1 << 12,
    WITH_L2 = 1 << 13,  /* EVEX.L'; with WITH_L the length that is reserved */
    WITH_Z = 1 << 14,   /* EVEX.z */
    WITH_B = 1 << 15,   /* EVEX.b */
    WITH_AAA = 1 << 16, /* EVEX.aaa names an opmask register */
    WITH_V2 = 1 << 17,  /* EVEX.V' */
};
#define SPACE_PREFIX_COUNT 18

struct encoding {
    uint8_t mode; /* 16, 32, 64 */
    uint8_t map;  /* enum insn_map */
    uint8_t opcode;
    uint8_t modrm;     /* what follows the opcode, whether it is one or not */
    uint32_t prefixes; /* enum space_prefix */
    uint8_t bytes[15]; /* everything, and more than any instruction takes behind it */
};

typedef void space_visit_fn(void *opaque, const struct encoding *e);

/* Visits every encoding in a fixed order. full: every ModRM byte; else a few for each opcode.
 * round: SIB, displacements and immediates are others in each. */
void space_walk(bool full, unsigned round, space_visit_fn *visit, void *opaque);

/* ---- compare.c ---- */

enum difference_kind {
    DIFFERENCE_NONE,
    DIFFERENCE_MISSING, /* Capstone has it, the table does not */
    DIFFERENCE_PREFIX,  /* the same, but the table would if 66, F2, F3 were not there */
    DIFFERENCE_EXTRA,   /* the other way round */
    DIFFERENCE_NAME,
    DIFFERENCE_LENGTH,
    DIFFERENCE_OPERAND,
    DIFFERENCE_KIND_COUNT,
};

/* How one encoding was decoded. */
struct decoded {
    const struct insn_row *row; /* ours, or NULL */
    struct insn insn;
    unsigned length;
    unsigned bits; /* of its operands, or 0: operand_bits */
    csh capstone;
    const cs_insn *theirs; /* or NULL */
    unsigned their_length;
    char name[32];    /* theirs, without prefixes */
    char operand[80]; /* for DIFFERENCE_OPERAND: what differs */
};

struct comparer;
struct comparer *comparer_create(void);
void comparer_destroy(struct comparer *c);

enum difference_kind compare(struct comparer *c, const struct encoding *e, struct decoded *d);

/* ---- operands.c ---- */

/* The operand size that picked the op function; 0 if one serves several. */
unsigned operand_bits(const struct decoded *d);

/* Writes what differs into d->operand and returns false; true if nothing does. */
bool operands_agree(const struct encoding *e, struct decoded *d);

/* ---- names.c ---- */

/* Whether Capstone's name is the row's, or another spelling of it. bits: of the operands, or 0. */
bool names_agree(const char *ours, const char *theirs, unsigned bits);

/* ---- explain.c ---- */

struct explanations;

/* Reads the list; exits with a message if it cannot be read. */
struct explanations *explanations_read(const char *path);
void explanations_free(struct explanations *x);
/* True if an entry covers the difference; the entry is counted. */
bool explanations_cover(struct explanations *x, enum difference_kind kind, const struct encoding *e,
                        const struct decoded *d);
/* Prints the entries with their counts (all), or only those that were of no use. Returns how many
 * of those there are. */
unsigned explanations_report(const struct explanations *x, bool all);

extern const char *const difference_names[DIFFERENCE_KIND_COUNT];
extern const char *const space_map_names[MAP_COUNT];
extern const char *const space_prefix_names[SPACE_PREFIX_COUNT];

#endif
