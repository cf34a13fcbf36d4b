/*
 * The differential oracle: random instructions run on the host's processor and in the interpreter
 * from the same state, and everything a user program can see is compared: registers, flags that the
 * manual defines, memory, x87 and SSE state, the exception with its error code and address.
 *
 *   generate.c  encodes cases: rows of the instruction table, and a seed
 *   state.c     the registers and the memory that they start with, out of values.c
 *   host.c      runs a batch natively in one child process, driven by signals
 *   guest.c     runs a case on a vCPU, in 64-bit or compatibility mode at CPL 3
 *   allowed.c   compares, and knows what processors may do differently
 *   diff.c      picks rows and reports
 *
 * Both sides map the same linear addresses: code at CODE_BASE, two pages of data at DATA_BASE.
 */
#ifndef TESTS_DIFF_DIFF_H
#define TESTS_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODE_BASE  0x10000000ull
#define SLOT_SIZE  128u /* one case's code, surrounded by INT3 */
#define SLOT_ENTRY 48u  /* where it starts in its slot */
#define DATA_BASE                                                                                  \
    0x23400000ull /* no bit offset at the edge of 32 bits leads from here to the code */
#define DATA_SIZE  8192u
#define BATCH_SIZE 256u

enum value_kind { VALUE_INTEGER, VALUE_SINGLE, VALUE_DOUBLE, VALUE_MIXED };

/* What the values of a case have in common (values.h). */
struct value_theme {
    enum value_kind kind; /* of vector lanes */
    int exponent;         /* unbiased; floating-point values lie around it */
};

/* A value in an x87 register. */
struct diff_float80 {
    uint64_t significand;
    uint16_t sign_exponent;
};

/* What a program can see. */
struct diff_state {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    uint64_t xmm[16][2];
    uint64_t ymm[16][2]; /* bits 128 to 255; 0 where the host has no AVX */
    uint64_t zmm[16][4]; /* bits 256 to 511; this and the rest 0 where it has no AVX-512 */
    uint64_t high[16][8]; /* registers 16 to 31 */
    uint64_t opmask[8];
    uint32_t mxcsr;
    uint16_t fcw, fsw; /* fsw with TOP in place */
    uint8_t ftw;       /* abridged: bit n, physical register n is in use */
    uint16_t fop;      /* last x87 instruction: 11 bits; its address and that of its operand */
    uint64_t fip, fdp;
    struct diff_float80 st[8]; /* by stack position */
    uint8_t vector; /* the exception that ended the case; 3: it ran to the INT3 behind it */
    uint32_t error_code;
    uint64_t cr2; /* only for vector 14 */
};

struct diff_case {
    uint64_t seed;
    unsigned row;
    bool compat; /* 32-bit code */
    uint8_t code[16];
    unsigned length;
    uint64_t target; /* linear address of the memory operand, or 0 */
    struct value_theme theme;
    struct diff_state in;
    uint8_t data[DATA_SIZE];
};

struct diff_result {
    bool soft; /* computed without the host's floating-point units */
    struct diff_state out;
    uint8_t data[DATA_SIZE];
};

/* Quad q of vector register n. */
static inline uint64_t *diff_quad(struct diff_state *s, unsigned n, unsigned q)
{
    if (n >= 16)
        return &s->high[n - 16][q];
    return q < 2 ? &s->xmm[n][q] : q < 4 ? &s->ymm[n][q - 2] : &s->zmm[n][q - 4];
}

/* generate.c */
bool generate_row_eligible(unsigned row, bool compat);
/* slot: where the code will lie, for RIP-relative operands. */
void generate_case(struct diff_case *c, unsigned row, bool compat, uint64_t seed, unsigned slot);

/* state.c: rows that have more to show are picked more often. */
unsigned state_row_weight(unsigned row);
/* The registers first; the memory when the encoding is known. */
void state_registers(struct diff_case *c, uint64_t *random);
void state_memory(struct diff_case *c, unsigned operand_bits, uint64_t *random);

/* allowed.c: writes what differs into text; returns true if anything does that no allowance
 * covers. */
bool compare_results(const struct diff_case *c, const struct diff_result *host,
                     const struct diff_result *ours, char *text, size_t size);
/* Prints how often each allowance was needed. */
void compare_print_allowances(void);

/* host.c: runs count cases (at most BATCH_SIZE); false if the child died: *done cases have results.
 */
void host_create(void);
bool host_run(const struct diff_case *cases, unsigned count, struct diff_result *results,
              unsigned *done);
bool host_has_feature(unsigned feature);

/* guest.c */
struct guest;
struct guest *guest_create(void);
void guest_destroy(struct guest *g);
/* Puts the batch's code in place, then runs its cases one by one. */
void guest_load(struct guest *g, const struct diff_case *cases, unsigned count);
/* soft: without the host's floating-point units. */
void guest_run(struct guest *g, struct diff_case *c, unsigned slot, bool soft,
               struct diff_result *r);

static inline uint64_t slot_address(unsigned slot)
{
    return CODE_BASE + slot * SLOT_SIZE + SLOT_ENTRY;
}

#endif
