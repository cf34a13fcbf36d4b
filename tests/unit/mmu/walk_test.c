/*
 * The walker against the oracle of walk_oracle.h: every combination of the bits that matter in the
 * last entry with control bits, access and privilege; pairs of entries; every bit and pair of
 * bits alone. A slow build takes a sample; GNOMON_FULL=1 in the environment takes all.
 */
#include "walk_bench.h"
#include "tests/unit/run_suite.h"

/* --- The last entry, exhaustively --- */

/* P, R/W, U/S, A, D, PAT or nothing, G; then XD, a reserved address bit, a bit of the protection
 * key, and for large pages a reserved bit below the address. */
static const uint8_t leaf_bits_32[] = {0, 1, 2, 5, 6, 7, 8};
static const uint8_t leaf_bits_4m[] = {0, 1, 2, 5, 6, 8, 12, 13, 20, 21};
static const uint8_t leaf_bits_4k[] = {0, 1, 2, 5, 6, 7, 8, 63, 45, 59};
static const uint8_t leaf_bits_large[] = {0, 1, 2, 5, 6, 8, 12, 63, 45, 59, 20};

static void leaf_with_controls(struct bench *b, unsigned set)
{
    /* What key 0 and key 1 forbid: nothing, access, writing; all other keys forbid all. */
    static const uint32_t pkru[] = {0xfffffff0, 0xfffffff1, 0xfffffff8, 0xfffffff4, 0xfffffff2};
    unsigned choices = set & SET_PKE ? ARRAY_SIZE(pkru) : 1;

    set_controls(&b->r.m, b->path.mode, set);
    for (unsigned i = 0; i < choices; i++) {
        b->r.m.pkru = set & SET_PKE ? pkru[i] : 0xffffffff;
        check_all_accesses(b);
    }
}

static void leaf_exhaustively(struct bench *b, const struct path *p)
{
    bool large = p->leaf > 1, narrow = p->mode == ORACLE_32BIT;
    const uint8_t *bits =
        narrow ? (large ? leaf_bits_4m : leaf_bits_32) : (large ? leaf_bits_large : leaf_bits_4k);
    unsigned count = narrow ? (large ? sizeof(leaf_bits_4m) : sizeof(leaf_bits_32))
                            : (large ? sizeof(leaf_bits_large) : sizeof(leaf_bits_4k));

    set_path(b, p);
    b->r.m.physical_bits = 40;
    for (unsigned n = 0; n < 1u << count; n++) {
        put(b, p->leaf, address_part(p, p->leaf) | (large ? PTE_PS : 0) | spread(n, bits, count));
        for (unsigned set = 0; set < SET_ALL; set++) {
            if (p->mode == ORACLE_32BIT && (set & SET_NXE) && (set & SET_PKE))
                continue; /* neither means anything there */
            leaf_with_controls(b, set);
        }
    }
}

START_TEST(the_last_entry_decides_as_the_manual_says)
{
    /* 5-level walks differ above the last entry only: a sample does, but for GNOMON_FULL. */
    struct bench *b = bench_create(paths[_i].mode == ORACLE_5LEVEL ? 41 : 7);
    char what[64];

    leaf_exhaustively(b, &paths[_i]);
    snprintf(what, sizeof(what), "last entry, %s", paths[_i].name);
    bench_destroy(b, what);
}
END_TEST

/* --- Pairs of entries --- */

/* P, R/W, U/S, A, PS or PAT, XD, a reserved address bit. */
static const uint8_t pair_bits[] = {0, 1, 2, 5, 7, 63, 45};
static const uint8_t pair_bits_32[] = {0, 1, 2, 5, 7, 6, 8};

static void pair_of_levels(struct bench *b, const struct path *p, unsigned upper, unsigned lower)
{
    static const uint8_t sets[] = {
        0,      SET_WP | SET_NXE,   SET_WP | SET_NXE | SET_SMEP | SET_SMAP | SET_PGE | SET_PKE,
        SET_WP, SET_NXE | SET_SMAP, SET_SMEP | SET_PKE,
    };
    const uint8_t *bits = p->mode == ORACLE_32BIT ? pair_bits_32 : pair_bits;

    set_path(b, p);
    b->r.m.physical_bits = 40;
    b->r.m.pkru = 2;
    for (unsigned n = 0; n < 1u << (2 * sizeof(pair_bits)); n++) {
        put(b, upper, address_part(p, upper) | spread(n, bits, sizeof(pair_bits)));
        put(b, lower,
            address_part(p, lower) | spread(n >> sizeof(pair_bits), bits, sizeof(pair_bits)));
        for (unsigned i = 0; i < ARRAY_SIZE(sets) && possible(b); i++) {
            set_controls(&b->r.m, p->mode, sets[i]);
            check_all_accesses(b);
        }
    }
}

START_TEST(two_entries_combine_as_the_manual_says)
{
    struct bench *b = bench_create(paths[_i].mode == ORACLE_5LEVEL ? 53 : 13);
    const struct path *p = &paths[_i];
    char what[64];

    for (unsigned upper = p->top; upper > p->leaf; upper--)
        for (unsigned lower = upper - 1; lower >= p->leaf; lower--)
            pair_of_levels(b, p, upper, lower);
    if (p->top == p->leaf)
        b->cases++; /* 32-bit 4 MiB: there is one entry only */
    snprintf(what, sizeof(what), "pairs of entries, %s", p->name);
    bench_destroy(b, what);
}
END_TEST

/* --- Every bit of every entry, alone and with another one --- */

static void every_bit(struct bench *b, const struct path *p, unsigned level, unsigned physical_bits)
{
    unsigned width = 8 * b->entry_size;
    uint64_t base = open_entry(p, level);

    b->r.m.physical_bits = (uint8_t)physical_bits;
    for (unsigned first = 0; first < width; first++)
        for (unsigned second = first; second < width; second++) {
            uint64_t flip = (uint64_t)1 << first | (uint64_t)1 << second;

            put(b, level, base ^ flip);
            for (unsigned set = 0; set < 4 && possible(b); set++) {
                set_controls(&b->r.m, p->mode,
                             (set & 1 ? SET_NXE : 0) | (set & 2 ? SET_WP | SET_PKE | SET_PGE : 0));
                check_all_accesses(b);
            }
        }
    put(b, level, base);
}

START_TEST(every_bit_of_every_entry_means_what_the_manual_says)
{
    static const uint8_t widths[] = {36, 39, 40, 46, 52};
    struct bench *b = bench_create(7);
    const struct path *p = &paths[_i];
    char what[64];

    set_path(b, p);
    b->r.m.pkru = 0xa4924929;
    for (unsigned level = p->top; level >= p->leaf; level--)
        for (unsigned i = 0; i < sizeof(widths); i++)
            every_bit(b, p, level, widths[i]);
    b->r.m.gib_pages = false;
    for (unsigned level = p->top; level >= p->leaf; level--)
        every_bit(b, p, level, 46);
    snprintf(what, sizeof(what), "single bits and pairs of bits, %s", p->name);
    bench_destroy(b, what);
}
END_TEST

START_TEST(without_page_size_extensions_bit_7_of_a_pde_means_nothing)
{
    struct bench *b = bench_create(1);

    set_path(b, &paths[0]);
    put(b, 2, open_entry(&paths[0], 2) | PTE_PS);
    b->r.m.cr4 &= ~CR4_PSE;
    check_all_accesses(b);
    b->r.m.cr4 |= CR4_PSE;
    check_all_accesses(b);
    bench_destroy(b, "PSE off");
}
END_TEST

START_TEST(four_mebibyte_pages_reach_as_far_as_maxphyaddr_allows)
{
    struct bench *b = bench_create(1);

    set_path(b, &paths[1]);
    for (unsigned width = 32; width <= 52; width++)
        for (unsigned n = 0; n < 512; n++) {
            b->r.m.physical_bits = (uint8_t)width;
            put(b, 2, 0xc0400000 | n << 13 | PTE_PS | 7);
            check_all_accesses(b);
        }
    bench_destroy(b, "PSE-36");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("walk");

    tcase_set_timeout(tc, 600);
    tcase_add_loop_test(tc, the_last_entry_decides_as_the_manual_says, 0, ARRAY_SIZE(paths));
    tcase_add_loop_test(tc, two_entries_combine_as_the_manual_says, 0, ARRAY_SIZE(paths));
    tcase_add_loop_test(tc, every_bit_of_every_entry_means_what_the_manual_says, 0,
                        ARRAY_SIZE(paths));
    tcase_add_test(tc, without_page_size_extensions_bit_7_of_a_pde_means_nothing);
    tcase_add_test(tc, four_mebibyte_pages_reach_as_far_as_maxphyaddr_allows);
    return run_suite("walk", tc);
}
