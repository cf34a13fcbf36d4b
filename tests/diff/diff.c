/* The differential oracle's main program: see diff.h.
 *
 *     diff [--soft] [cases [seed [mnemonic]]]
 *
 * Case n has the seed (seed << 32) + n; seeds of single cases, as reports name them, are taken as
 * they are. A mnemonic that ends in * stands for all that begin so. --soft: the interpreter never
 * computes on the host's floating-point units; otherwise it does both. With GNOMON_FULL in the
 * environment there are ten times as many cases. */
#include "diff.h"

#include "base/bits.h"
#include "cpu/insn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_REPORTS 40
#define FULL_FACTOR 10

/* So many cases reach every row often enough that one that never ran to its end is an error. */
#define CASES_FOR_COVERAGE 400000u

struct choice {
    uint16_t row;
    uint8_t mode; /* enum diff_mode */
};

struct run {
    uint64_t seed, total;
    bool only_soft;
    const char *only; /* mnemonic, or NULL */
    struct guest *guest;
    struct diff_case *cases;
    struct choice *choices;            /* pairs that are tested, each as often as it weighs */
    unsigned choice_count, once_count; /* the first ones: each pair once */
    uint64_t done, sequences, steps, differences, crashes, runaways;
    unsigned *row_reports; /* reports printed for each row */
    unsigned reports;
    struct {
        bool generated, completed;
    } (*coverage)[DIFF_COUNT];
};

static const char *const register_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                               "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                               "r12", "r13", "r14", "r15"};
static const char *const mode_names[DIFF_COUNT] = {"64-bit", "flat 32-bit", "32-bit", "16-bit"};

static void print_case(const struct diff_case *c)
{
    printf("%s, seed %" PRIu64 ":", mode_names[c->mode], c->seed);
    for (unsigned k = 0; k < c->count; k++) {
        const struct insn_row *row = &insn_rows[c->count == 1 ? c->row : (unsigned)c->step[k].row];
        unsigned start = c->count == 1 ? 0 : c->step[k].start;
        unsigned end = c->count == 1 ? c->length : c->step[k + 1].start;

        printf("%s%s %s =", c->count == 1 ? " " : "\n    ", row->id, row->operands);
        for (unsigned n = start; n < end; n++)
            printf(" %02x", c->code[n]);
    }
}

static void print_state(const struct diff_case *c)
{
    const struct diff_state *s = &c->in;
    uint32_t attrs = 0;

    for (unsigned n = 0; n < c->count; n++)
        attrs |= insn_rows[c->count == 1 ? c->row : (unsigned)c->step[n].row].attrs;
    for (unsigned n = 0; n < 16; n++)
        printf("  %s=%016" PRIx64 "%s", register_names[n], s->gpr[n], n % 4 == 3 ? "\n" : "");
    printf("  flags=%" PRIx64 " mxcsr=%x fcw=%x fsw=%x ftw=%x es=%x cs=%x ss=%x ds=%x\n", s->rflags,
           s->mxcsr, s->fcw, s->fsw, s->ftw, s->selector[0], s->selector[1], s->selector[2],
           s->selector[3]);
    if (attrs & A_X87)
        for (unsigned n = 0; n < 8; n++)
            printf("  st%u=%04x:%016" PRIx64 "%s", n, s->st[n].sign_exponent, s->st[n].significand,
                   n % 4 == 3 ? "\n" : "");
    if (attrs & (A_SSE | A_AVX))
        for (unsigned n = 0; n < 16; n++)
            printf("  ymm%u=%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n", n,
                   s->ymm[n][1], s->ymm[n][0], s->xmm[n][1], s->xmm[n][0]);
}

/* Cases that may compute on the host's units are also run without. */
static bool has_units(const struct diff_case *c)
{
    uint32_t attrs = insn_rows[c->row].attrs;

    for (unsigned n = 0; c->count > 1 && n < c->count; n++)
        attrs |= insn_rows[c->step[n].row].attrs;
    return (attrs & A_X87) || ((attrs & (A_SSE | A_MMX | A_AVX)) && c->theme.kind != VALUE_INTEGER);
}

static void report(struct run *r, const struct diff_case *c, const struct diff_state *host,
                   bool soft, const char *text)
{
    r->differences++;
    if (r->row_reports[c->row]++ >= 2 || r->reports++ >= MAX_REPORTS)
        return;
    print_case(c);
    printf("\n  vector %u at %" PRIx64 "\n  host/gnomon%s:%s\n", host->vector, host->rip,
           soft ? ", soft-float" : "", text);
    print_state(c);
}

/* Notes which instructions of a case ran to their end. */
static void note_coverage(struct run *r, const struct diff_case *c, unsigned slot,
                          const struct diff_state *host)
{
    bool completed = host->vector == 3;

    if (c->count == 1) {
        r->coverage[c->row][c->mode].generated = true;
        r->coverage[c->row][c->mode].completed |= completed;
        return;
    }
    r->sequences++;
    for (unsigned n = 0; n < c->count; n++) {
        if (host->rip <= case_entry(c, slot) + c->step[n].start)
            break;
        r->steps++;
    }
}

static void check_case(struct run *r, unsigned slot, const struct diff_result *native,
                       uint8_t *data, const uint8_t *image)
{
    struct diff_case *c = &r->cases[slot];
    struct diff_result host = *native, emulated;
    char text[4096];

    for (unsigned n = 0; n < host.line_count; n++)
        memcpy(data + host.lines[n].number * LINE_SIZE, host.lines[n].bytes, LINE_SIZE);
    host.data = data;
    note_coverage(r, c, slot, &host.out);
    for (unsigned soft = r->only_soft; soft <= (r->only_soft || has_units(c)); soft++) {
        guest_run(r->guest, c, slot, soft, &emulated);
        if (compare_results(c, slot, &host, &emulated, text, sizeof(text)))
            report(r, c, &host.out, soft, text);
        guest_clean(r->guest);
    }
    for (unsigned n = 0; n < host.line_count; n++)
        memcpy(data + host.lines[n].number * LINE_SIZE, image + host.lines[n].number * LINE_SIZE,
               LINE_SIZE);
}

/* A case that killed the child. One that runs forever has to do so in the interpreter, too. */
static void check_death(struct run *r, unsigned slot, enum host_end end)
{
    struct diff_result emulated;

    if (end == HOST_RUNAWAY) {
        guest_run(r->guest, &r->cases[slot], slot, r->only_soft, &emulated);
        guest_clean(r->guest);
        if (emulated.out.vector == 255) {
            r->runaways++;
            return;
        }
    }
    printf("host child %s at ", end == HOST_RUNAWAY ? "ran away" : "died");
    print_case(&r->cases[slot]);
    printf("\n");
    r->crashes++;
}

static struct choice choose(const struct run *r, uint64_t seed)
{
    uint64_t n = (uint32_t)seed;

    if (n >= r->once_count) {
        n = seed * 0x9e3779b97f4a7c15ull;
        n = (n ^ n >> 29) * 0xbf58476d1ce4e5b9ull >> 32;
    }
    return r->choices[n % r->choice_count];
}

/* Cases whose seeds differ below BATCH_SIZE share a memory image, and the slot is the seed's. */
static void run_batch(struct run *r)
{
    uint64_t seed = r->seed + r->done;
    unsigned first = (unsigned)(seed % BATCH_SIZE);
    unsigned end = (unsigned)MIN((uint64_t)BATCH_SIZE, first + r->total - r->done), done;
    uint8_t image[DATA_SIZE], data[DATA_SIZE];
    const struct diff_result *native;

    state_image(image, seed / BATCH_SIZE);
    memcpy(data, image, DATA_SIZE);
    for (unsigned n = first; n < end; n++) {
        struct choice pick = choose(r, seed + n - first);

        generate_case(&r->cases[n], pick.row, pick.mode, seed + n - first, n);
    }
    guest_load(r->guest, r->cases, first, end - first, image);
    r->done += end - first;
    while (first < end) {
        enum host_end how = host_run(image, first, end - first, &native, &done);

        for (unsigned n = first; n < first + done; n++)
            check_case(r, n, &native[n], data, image);
        first += done;
        if (how != HOST_DONE)
            check_death(r, first++, how);
    }
}

/* Mnemonics are equal, or begin alike if the pattern ends in a star. */
static bool mnemonic_fits(const char *mnemonic, const char *pattern)
{
    size_t length = strlen(pattern);

    if (length > 0 && pattern[length - 1] == '*')
        return strncmp(mnemonic, pattern, length - 1) == 0;
    return strcmp(mnemonic, pattern) == 0;
}

static void collect_rows(struct run *r)
{
    size_t weight = 0;

    for (unsigned n = 0; n < insn_row_count; n++)
        weight += (row_weight(n) + 1) * DIFF_COUNT;
    r->choices = calloc(weight, sizeof(r->choices[0]));
    r->row_reports = calloc(insn_row_count, sizeof(r->row_reports[0]));
    r->coverage = calloc(insn_row_count, sizeof(r->coverage[0]));
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned n = 0; n < insn_row_count; n++)
            for (unsigned mode = 0; mode < DIFF_COUNT; mode++)
                if ((r->only == NULL || mnemonic_fits(insn_rows[n].mnemonic, r->only)) &&
                    row_class(n, mode) == ROW_TESTED)
                    for (unsigned k = pass == 0 ? 1 : row_weight(n); k > 0; k--)
                        r->choices[r->choice_count++] = (struct choice){(uint16_t)n, (uint8_t)mode};
        if (pass == 0)
            r->once_count = r->choice_count;
    }
}

/* Prints the rows of a class in 64-bit or, where they only exist there, 32-bit code. */
static void print_rows(enum row_class class, const char *title)
{
    unsigned count = 0;

    for (unsigned n = 0; n < insn_row_count; n++) {
        enum diff_mode mode = row_class(n, DIFF_64) == ROW_NO_MODE ? DIFF_FLAT : DIFF_64;

        if (row_class(n, mode) == class)
            printf("%s %s", count++ == 0 ? title : "", insn_rows[n].id);
    }
    if (count > 0)
        printf(" (%u)\n", count);
}

/* Returns how many rows are not covered. */
static unsigned print_coverage(const struct run *r)
{
    unsigned rows[DIFF_COUNT] = {0}, missing = 0;

    for (unsigned n = 0; n < insn_row_count; n++)
        for (unsigned mode = 0; mode < DIFF_COUNT; mode++) {
            bool wanted = row_class(n, mode) == ROW_TESTED &&
                          (r->only == NULL || mnemonic_fits(insn_rows[n].mnemonic, r->only));
            bool complete = row_always_faults(n) || r->coverage[n][mode].completed;

            if (!wanted)
                continue;
            rows[mode] += r->coverage[n][mode].generated && complete;
            if (r->coverage[n][mode].generated && complete)
                continue;
            missing++;
            printf("  %s: %s in %s code\n",
                   r->coverage[n][mode].generated ? "never ran to its end" : "never generated",
                   insn_rows[n].id, mode_names[mode]);
        }
    printf("  rows covered: %u of the table's %u in 64-bit, %u in flat 32-bit, %u in segmented "
           "32-bit, %u in 16-bit code\n",
           rows[DIFF_64], insn_row_count, rows[DIFF_FLAT], rows[DIFF_32], rows[DIFF_16]);
    print_rows(ROW_ABSENT, "  skipped, not on this host:");
    print_rows(ROW_EXCLUDED, "  skipped, the system's business:");
    return missing;
}

static void parse(struct run *r, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--soft") == 0) {
        r->only_soft = true;
        argv++, argc--;
    }
    r->total = argc > 1 ? strtoull(argv[1], NULL, 0) : 500000;
    r->seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    r->only = argc > 3 ? argv[3] : NULL;
    if (r->seed >> 32 == 0)
        r->seed <<= 32;
    if (getenv("GNOMON_FULL") != NULL && r->total > 1000)
        r->total *= FULL_FACTOR;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    time_t start = time(NULL);
    unsigned missing = 0;

    r.cases = host_create();
    r.guest = guest_create();
    parse(&r, argc, argv);
    collect_rows(&r);
    if (r.choice_count == 0) {
        printf("diff: no row to test\n");
        return 1;
    }
    while (r.done < r.total)
        run_batch(&r);
    printf("diff: seed %" PRIu64 "%s: %" PRIu64 " cases, of which %" PRIu64
           " sequences that ran %" PRIu64 " instructions; %" PRIu64 " differences, %" PRIu64
           " host failures, %" PRIu64 " endless, %ld s\n",
           r.seed, r.only_soft ? ", soft-float" : "", r.done, r.sequences, r.steps, r.differences,
           r.crashes, r.runaways, (long)(time(NULL) - start));
    if (r.total >= CASES_FOR_COVERAGE && r.only == NULL)
        missing = print_coverage(&r);
    allow_print();
    guest_destroy(r.guest);
    free(r.choices);
    free(r.row_reports);
    free(r.coverage);
    return r.differences != 0 || r.crashes != 0 || missing != 0;
}
