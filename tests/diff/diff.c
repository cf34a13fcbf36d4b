/* The differential oracle's main program: see diff.h. Usage: diff [cases] [seed] [mnemonic].
 * Case n has the seed (seed << 32) + n; seeds of single cases, as reports name them, are taken as
 * they are. With GNOMON_FULL in the environment there are ten times as many cases. */
#include "diff.h"

#include "base/bits.h"
#include "cpu/insn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_REPORTS 40
#define MAX_WEIGHT  3u /* entries that a row may have in run.rows */

struct run {
    uint64_t seed;
    const char *only; /* mnemonic, or NULL */
    unsigned *rows;   /* eligible rows; the second half for 32-bit code */
    unsigned row_count, compat_from;
    unsigned eligible[2]; /* rows in 64-bit and in 32-bit code */
    uint64_t cases, differences, crashes;
    unsigned *row_reports; /* reports printed for each row */
    unsigned reports;
};

static struct diff_case cases[BATCH_SIZE];
static struct diff_result native[BATCH_SIZE], emulated;

static const char *const register_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                               "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                               "r12", "r13", "r14", "r15"};

static void print_case(const struct diff_case *c)
{
    const struct insn_row *row = &insn_rows[c->row];

    printf("%s %s %s, seed %" PRIu64 ":", c->compat ? "32-bit" : "64-bit", row->id, row->operands,
           c->seed);
    for (unsigned n = 0; n < c->length; n++)
        printf(" %02x", c->code[n]);
}

static void print_state(const struct diff_case *c)
{
    const struct diff_state *s = &c->in;

    for (unsigned n = 0; n < 16; n++)
        printf("  %s=%016" PRIx64 "%s", register_names[n], s->gpr[n], n % 4 == 3 ? "\n" : "");
    printf("  flags=%" PRIx64 " mxcsr=%x fcw=%x fsw=%x ftw=%x\n", s->rflags, s->mxcsr, s->fcw,
           s->fsw, s->ftw);
    if (strstr(insn_rows[c->row].operands, "ST") != NULL || insn_rows[c->row].attrs & A_X87)
        for (unsigned n = 0; n < 8; n++)
            printf("  st%u=%04x:%016" PRIx64 "%s", n, s->st[n].sign_exponent, s->st[n].significand,
                   n % 4 == 3 ? "\n" : "");
    if (insn_rows[c->row].attrs & A_AVX)
        for (unsigned n = 0; n < 16; n++)
            printf("  ymm%u=%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n", n,
                   s->ymm[n][1], s->ymm[n][0], s->xmm[n][1], s->xmm[n][0]);
    if (insn_rows[c->row].attrs & A_SSE)
        for (unsigned n = 0; n < 16; n++)
            printf("  xmm%u=%016" PRIx64 "%016" PRIx64 "%s", n, s->xmm[n][1], s->xmm[n][0],
                   n % 2 ? "\n" : "");
}

/* Rows that may compute on the host's units are also run without. */
static bool has_units(const struct diff_case *c)
{
    uint32_t attrs = insn_rows[c->row].attrs;

    return (attrs & A_X87) || ((attrs & (A_SSE | A_MMX | A_AVX)) && c->theme.kind != VALUE_INTEGER);
}

static void report(struct run *r, const struct diff_case *c, bool soft, const char *text)
{
    r->differences++;
    if (r->row_reports[c->row]++ >= 2 || r->reports++ >= MAX_REPORTS)
        return;
    print_case(c);
    printf("\n  host/gnomon%s:%s\n", soft ? ", soft-float" : "", text);
    print_state(c);
}

static void run_batch(struct run *r, struct guest *g, unsigned count)
{
    char text[2048];
    unsigned done;

    for (unsigned n = 0; n < count; n++) {
        uint64_t seed = r->seed + r->cases + n;
        unsigned pick = (unsigned)((seed * 0x9e3779b97f4a7c15ull >> 32) % r->row_count);

        generate_case(&cases[n], r->rows[pick], pick >= r->compat_from, seed, n);
    }
    if (!host_run(cases, count, native, &done)) {
        /* The child died in case `done`, by a signal that we do not handle or by running away. */
        printf("host child died at ");
        print_case(&cases[done]);
        printf("\n");
        r->crashes++;
    }
    guest_load(g, cases, count);
    for (unsigned n = 0; n < done; n++)
        for (unsigned soft = 0; soft <= has_units(&cases[n]); soft++) {
            guest_run(g, &cases[n], n, soft, &emulated);
            if (compare_results(&cases[n], &native[n], &emulated, text, sizeof(text)))
                report(r, &cases[n], soft, text);
        }
    r->cases += count;
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
    r->rows = calloc(2 * MAX_WEIGHT * insn_row_count, sizeof(r->rows[0]));
    r->row_reports = calloc(insn_row_count, sizeof(r->row_reports[0]));
    for (unsigned compat = 0; compat < 2; compat++) {
        if (compat)
            r->compat_from = r->row_count;
        for (unsigned n = 0; n < insn_row_count; n++)
            if ((r->only == NULL || mnemonic_fits(insn_rows[n].mnemonic, r->only)) &&
                generate_row_eligible(n, compat)) {
                r->eligible[compat]++;
                for (unsigned k = MIN(state_row_weight(n), MAX_WEIGHT); k > 0; k--)
                    r->rows[r->row_count++] = n;
            }
    }
}

int main(int argc, char **argv)
{
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 0) : 500000;
    struct run r = {.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1};
    clock_t start = clock();
    struct guest *g;

    if (r.seed >> 32 == 0)
        r.seed <<= 32;
    if (getenv("GNOMON_FULL") != NULL)
        total *= 10;
    r.only = argc > 3 ? argv[3] : NULL;
    host_create();
    g = guest_create();
    collect_rows(&r);
    if (r.row_count == 0) {
        printf("diff: no row to test\n");
        return 1;
    }
    while (r.cases < total)
        run_batch(&r, g, (unsigned)MIN(total - r.cases, (uint64_t)BATCH_SIZE));
    printf("diff: seed %" PRIu64 ": %u rows in 64-bit and %u in 32-bit code, %" PRIu64
           " cases, %" PRIu64 " differences, %" PRIu64 " host failures, %.1f s\n",
           r.seed, r.eligible[0], r.eligible[1], r.cases, r.differences, r.crashes,
           (double)(clock() - start) / CLOCKS_PER_SEC);
    compare_print_allowances();
    guest_destroy(g);
    free(r.rows);
    free(r.row_reports);
    return r.differences != 0 || r.crashes != 0;
}
