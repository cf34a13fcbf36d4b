/*
 * The differential oracle: random instructions, one or several in a row, run on the host's
 * processor and in the interpreter from the same state, and everything a user program can see is
 * compared: registers, flags that the manual defines, memory, x87 and SSE state, segment registers,
 * the exception with its error code and address.
 *
 *   rows.c      which rows of the instruction table are tested, and how often
 *   encode.c    encodes an instruction of a row with random operands
 *   generate.c  puts cases together: single instructions and sequences
 *   state.c     the registers and the memory that they start with, out of values.c
 *   host.c      runs a batch natively in one child process, driven by signals
 *   guest.c     runs a case on a vCPU, at CPL 3 in 64-bit or compatibility mode
 *   allowed.c   compares; allowances.c knows what processors may do differently
 *   diff.c      picks rows and reports
 *
 * Both sides map the same linear addresses: code at CODE_BASE, two pages of data at DATA_BASE; and
 * both have the same descriptors (layout.c), made on the host by modify_ldt.
 */
#ifndef TESTS_DIFF_DIFF_H
#define TESTS_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODE_BASE  0x0ba00000ull /* no value that instructions are given lies near it */
#define SLOT_SIZE  256u /* one case's code, surrounded by INT3 */
#define SLOT_ENTRY 40u  /* where it starts in its slot */
#define CODE_SIZE  (BATCH_SIZE * SLOT_SIZE)
#define DATA_BASE                                                                                  \
    0x23400000ull /* no bit offset at the edge of 32 bits leads from here to the code */
#define DATA_SIZE  8192u
#define LINE_SIZE  64u
#define LINE_COUNT (DATA_SIZE / LINE_SIZE)
#define BATCH_SIZE 1024u

/* The segments that are not flat: the data pages, with a little before them that is not mapped and
 * a little at their end that is beyond the limit. */
#define SEGMENT_BASE       (DATA_BASE - 0x1000)
#define SEGMENT_LIMIT_DATA (0x1000u + DATA_SIZE - 0x101)

#define BEHIND_CODE  16u /* no code of a single instruction is here any more */
#define MAX_SEQUENCE 12u
#define MAX_CODE     192u
#define PATCH_BYTES  4096u
#define MAX_PATCHES  256u

/* What code a case is. */
enum diff_mode {
    DIFF_64, /* 64-bit */
    DIFF_FLAT, /* 32-bit, flat segments */
    DIFF_32,   /* 32-bit, segments of the local descriptor table */
    DIFF_16,   /* 16-bit, likewise */
    DIFF_COUNT,
};

/* The local descriptor table. After the first ones, each slot has a code segment of 16 and one of
 * 32 bits, whose base is the slot. */
enum diff_descriptor {
    LDT_DATA16,  /* data: D/B clear */
    LDT_DATA32,  /* data: D/B set */
    LDT_READ,    /* data that cannot be written */
    LDT_EXECUTE, /* code that cannot be read */
    LDT_ABSENT,  /* data, not present */
    LDT_DOWN,    /* data that expands down */
    LDT_SLOTS,
    LDT_COUNT = LDT_SLOTS + 2 * BATCH_SIZE,
};

#define LDT_SELECTOR(n) ((uint16_t)((n)*8 + 7))

/* The global descriptors that Linux has for user programs. */
#define SELECTOR_CODE32 0x23
#define SELECTOR_DATA   0x2b
#define SELECTOR_CODE64 0x33

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
    uint16_t selector[6];      /* by enum segment_index */
    uint64_t fs_base, gs_base; /* a case starts with FS and GS null */
    uint8_t vector; /* the exception that ended the case; 3: it ran to the INT3 behind it */
    uint32_t error_code;
    uint64_t cr2; /* only for vector 14 */
};

/* Bytes of the data pages that a case sets. */
struct diff_patch {
    uint16_t offset, size, bytes; /* bytes: index into diff_case.bytes */
};

/* One instruction of a case. */
struct diff_step {
    uint16_t row;
    uint8_t start;            /* offset in the code */
    uint16_t undefined_flags; /* those that are undefined before it */
};

struct diff_case {
    uint64_t seed;
    unsigned row; /* of its first instruction */
    enum diff_mode mode;
    unsigned count; /* instructions */
    struct diff_step step[MAX_SEQUENCE + 1]; /* one more, for what is behind the last */
    uint8_t code[MAX_CODE];
    unsigned length;
    uint64_t target; /* linear address of the memory operand, or 0; if count is 1 */
    struct value_theme theme;
    struct diff_state in;
    unsigned patch_count, byte_count;
    struct diff_patch patch[MAX_PATCHES];
    uint8_t bytes[PATCH_BYTES];
};

/* A line of the data pages that does not hold what it did before all cases of the batch. */
struct diff_line {
    uint16_t number;
    uint8_t bytes[LINE_SIZE];
};

struct diff_result {
    bool soft; /* computed without the host's floating-point units */
    struct diff_state out;
    unsigned line_count; /* of the host's */
    const struct diff_line *lines;
    uint8_t *data; /* the data pages, only while two results are compared */
};

/* Quad q of vector register n. */
static inline uint64_t *diff_quad(struct diff_state *s, unsigned n, unsigned q)
{
    if (n >= 16)
        return &s->high[n - 16][q];
    return q < 2 ? &s->xmm[n][q] : q < 4 ? &s->ymm[n][q - 2] : &s->zmm[n][q - 4];
}

static inline bool mode_is_long(const struct diff_case *c)
{
    return c->mode == DIFF_64;
}

/* Segments are not flat. */
static inline bool mode_is_segmented(const struct diff_case *c)
{
    return c->mode == DIFF_32 || c->mode == DIFF_16;
}

static inline uint64_t slot_address(unsigned slot)
{
    return CODE_BASE + slot * SLOT_SIZE + SLOT_ENTRY;
}

/* What RIP holds at the first instruction. */
static inline uint64_t case_entry(const struct diff_case *c, unsigned slot)
{
    return mode_is_segmented(c) ? SLOT_ENTRY : slot_address(slot);
}

/* What to add to an offset in the data segments. */
static inline uint64_t case_data_base(const struct diff_case *c)
{
    return mode_is_segmented(c) ? SEGMENT_BASE : 0;
}

/* rows.c */
enum row_class {
    ROW_TESTED,
    ROW_ABSENT,   /* the host's processor lacks it */
    ROW_NO_MODE,  /* does not exist in the mode */
    ROW_EXCLUDED, /* a user program cannot run it alike on two systems */
};

enum row_class row_class(unsigned row, enum diff_mode mode);
/* Rows that have more to show are picked more often. */
unsigned row_weight(unsigned row);
/* A row for a sequence; like >= 0: of the same kind as that one. */
unsigned rows_pick(enum diff_mode mode, int like, uint64_t *random);
/* Whether it can stand in a sequence: it leaves nothing that allowances are needed for. */
bool row_in_sequence(unsigned row);
/* It can never run to its end, for a user program. */
bool row_always_faults(unsigned row);
/* Loads or stores FS or its base. */
bool row_touches_fs(unsigned row);

/* What encode_step made. */
struct encoded {
    uint64_t target; /* linear address of the memory operand, or 0 */
    unsigned operand_bits;
    unsigned jump_at, jump_size; /* a branch's displacement in the code; size 0: none */
};

/* encode.c: appends an instruction to the case; sets up c->in for it if it is the only one. */
struct encoded encode_step(struct diff_case *c, unsigned row, unsigned slot, bool alone,
                           uint64_t *random);

/* generate.c */
void generate_case(struct diff_case *c, unsigned row, enum diff_mode mode, uint64_t seed,
                   unsigned slot);

/* state.c: the registers first; the memory when the encoding is known. */
void state_registers(struct diff_case *c, unsigned slot, bool alone, uint64_t *random);
void state_memory(struct diff_case *c, unsigned row, unsigned slot, const struct encoded *e,
                  uint64_t *random);
/* The data pages before any case, by the number of the batch. */
void state_image(uint8_t data[DATA_SIZE], uint64_t batch);

/* allowed.c: writes what differs into text; returns true if anything does that no allowance
 * covers. Both results have their data. */
bool compare_results(const struct diff_case *c, unsigned slot, const struct diff_result *host,
                     const struct diff_result *ours, char *text, size_t size);

/* allowances.c */
void allow(const struct diff_case *c, const struct diff_result *host, struct diff_result *ours);
bool allowance_exists(unsigned row); /* for the row in particular */
/* Prints how often each allowance was needed. */
void allow_print(void);

/* host.c. The cases of a batch lie in memory of its own: BATCH_SIZE. */
struct diff_case *host_create(void);

enum host_end {
    HOST_DONE,    /* perhaps not with all */
    HOST_DIED,    /* of a signal that no case should bring about */
    HOST_RUNAWAY, /* the case does not end */
};

/* Runs the cases from first on; *done have results, results[first] and on, valid until the next
 * run. If the child did not end well, that was in the case after those. image: the data pages. */
enum host_end host_run(const uint8_t *image, unsigned first, unsigned count,
                       const struct diff_result **results, unsigned *done);
bool host_has_feature(unsigned feature);
/* Programs can read and write the bases of FS and GS (CR4.FSGSBASE). */
bool host_has_fsgsbase(void);
/* Of every case; the host's C library needs it. */
uint64_t host_fs_base(void);

/* guest.c */
struct guest;
struct guest *guest_create(void);
void guest_destroy(struct guest *g);
/* Puts the batch's code and data in place, then runs its cases one by one. */
void guest_load(struct guest *g, const struct diff_case *cases, unsigned first, unsigned count,
                const uint8_t *image);
/* soft: without the host's floating-point units. r->data then points into the guest's memory, until
 * guest_clean makes that good again. */
void guest_run(struct guest *g, struct diff_case *c, unsigned slot, bool soft,
               struct diff_result *r);
void guest_clean(struct guest *g);

/* layout.c: descriptors, as both sides have them. */
struct diff_segment {
    uint32_t base, limit; /* limit in units of the granularity */
    bool code, big, writable, down, pages, present;
};

struct diff_segment layout_segment(unsigned n);

#endif
