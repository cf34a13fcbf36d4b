/*
 * The walker and its surroundings: addresses and A20, tables in ROM, devices and themselves, PDPTE
 * registers, inspections and reports.
 */
#include "walk_bench.h"
#include "tests/unit/run_suite.h"

/* --- Addresses --- */

START_TEST(each_entry_is_selected_by_its_own_bits_of_the_address)
{
    struct bench *b = bench_create(1);

    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        bool wide = paths[i].mode >= ORACLE_4LEVEL;

        for (unsigned bit = 0; bit < (wide ? 64 : 32); bit++) {
            set_path(b, &paths[i]);
            b->r.m.physical_bits = 46;
            b->linear ^= (uint64_t)1 << bit;
            /* Another entry is used now; it does not refer to anything. */
            check_all_accesses(b);
            b->linear ^= (uint64_t)1 << bit;
            check_all_accesses(b);
        }
    }
    bench_destroy(b, "address bits");
}
END_TEST

START_TEST(the_root_is_where_the_address_bits_of_cr3_say)
{
    struct bench *b = bench_create(1);

    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++)
        for (unsigned bit = 0; bit < 40; bit++) {
            set_path(b, &paths[i]);
            b->r.m.physical_bits = 40;
            b->r.m.cr3 ^= (uint64_t)1 << bit;
            check_all_accesses(b);
        }
    bench_destroy(b, "CR3");
}
END_TEST

START_TEST(an_address_is_canonical_by_the_width_of_the_mode)
{
    static const uint64_t addresses[] = {
        0,
        0x00007fffffffffff,
        0x0000800000000000,
        0xffff7fffffffffff,
        0xffff800000000000,
        0x00ffffffffffffff,
        0x0100000000000000,
        0xfeffffffffffffff,
        0xff00000000000000,
        0x8000000000000000,
        UINT64_MAX,
    };
    struct bench *b = bench_create(1);

    for (unsigned i = 4; i < ARRAY_SIZE(paths); i++)
        for (unsigned n = 0; n < ARRAY_SIZE(addresses); n++) {
            struct oracle_cpu cpu;

            set_path(b, &paths[i]);
            cpu = oracle_of(&b->r.m);
            ck_assert_int_eq(mmu_address_canonical(&b->r.m, addresses[n]),
                             oracle_canonical(&cpu, addresses[n]));
            b->linear = addresses[n];
            check_all_accesses(b);
        }
    bench_destroy(b, "canonical addresses");
}
END_TEST

START_TEST(without_paging_an_address_is_its_own)
{
    struct bench *b = bench_create(1);
    struct mmu_walk w;

    b->path = (struct path){"no paging", ORACLE_NONE, 0, 1};
    select_mode(&b->r.m, ORACLE_NONE);
    for (unsigned bit = 0; bit < 32; bit++) {
        b->linear = 1u << bit | 0x123;
        for (unsigned set = 0; set < SET_ALL; set++) {
            set_controls(&b->r.m, ORACLE_NONE, set);
            check_all_accesses(b);
        }
    }
    mmu_walk(&b->r.m, gva(0x00123456), MMU_WRITE, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_OK);
    ck_assert_uint_eq(w.gpa.v, 0x123456);
    ck_assert_uint_eq(w.count, 0);
    bench_destroy(b, "no paging");
}
END_TEST

START_TEST(the_a20_gate_masks_tables_and_pages)
{
    struct bench *b = bench_create(1);

    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        set_path(b, &paths[i]);
        b->r.m.a20_mask = ~BIT64(20);
        check_all_accesses(b);
        /* With bit 20 set in every address the same tables are found. */
        b->r.m.cr3 |= BIT64(20);
        for (unsigned level = paths[i].top; level > paths[i].leaf; level--)
            if (level != 3 || paths[i].leaf == 1)
                put(b, level, b->entry[level] | BIT64(20));
        b->linear |= BIT64(20);
        check_all_accesses(b);
    }
    bench_destroy(b, "A20");
}
END_TEST

/* --- Walks that look only, tables in odd places --- */

START_TEST(an_inspection_gives_the_same_answer_and_leaves_no_trace)
{
    struct bench *b = bench_create(1);

    for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
        uint64_t walks, rest = 0xffffffffffffffdf; /* A clear */

        set_path(b, &paths[i]);
        walks = b->r.m.walks;
        for (unsigned level = paths[i].top; level >= paths[i].leaf; level--)
            put(b, level, b->entry[level] & rest);
        for (enum mmu_access access = MMU_READ; access <= MMU_FETCH; access++) {
            struct oracle_cpu cpu = oracle_of(&b->r.m);
            struct oracle_answer a =
                oracle_access(&cpu, b->linear, oracle_kind_of(access), ORACLE_USER);
            struct mmu_walk w;

            mmu_walk_inspect(&b->r.m, gva(b->linear), access, TLB_VIEW_USER, &w);
            ck_assert_ptr_null(walk_difference(&w, &a, false));
            b->cases++;
            for (unsigned level = paths[i].top; level >= paths[i].leaf; level--)
                ck_assert_uint_eq(stored(b, level), b->entry[level]);
        }
        ck_assert_uint_eq(b->r.m.walks, walks);
    }
    bench_destroy(b, "inspection");
}
END_TEST

START_TEST(tables_in_rom_keep_their_bits_and_do_not_loop)
{
    struct bench *b = bench_create(1);
    struct mmu_walk w;

    set_path(b, &paths[4]);
    b->at[1] = RIG_ROM + index_of(&b->path, b->linear, 1) * 8;
    put(b, 2, RIG_ROM | 7);
    put(b, 1, 0x5000 | 7);
    mmu_walk(&b->r.m, gva(b->linear), MMU_WRITE, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_OK);
    ck_assert_uint_eq(w.levels[3].source, WALK_FROM_ROM);
    ck_assert_uint_eq(rig_peek(&b->r, b->at[1]), 0x5007);
    ck_assert_uint_eq(rig_peek(&b->r, b->at[2]), RIG_ROM | 0x27);
    ck_assert(w.mapping.dirty); /* or each store to the page would walk */
    b->cases++;
    bench_destroy(b, "ROM");
}
END_TEST

START_TEST(tables_in_a_device_are_read_there_and_only_at_an_exact_point)
{
    struct bench *b = bench_create(1);
    unsigned index = index_of(&paths[4], linear_of[ORACLE_4LEVEL], 1);
    struct mmu_walk w;

    set_path(b, &paths[4]);
    put(b, 2, RIG_IO | 7);
    guest_store64(b->r.device + 8 * index, 0x5007);
    mmu_walk(&b->r.m, gva(b->linear), MMU_WRITE, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_OK);
    ck_assert_uint_eq(w.levels[3].source, WALK_FROM_IO);
    ck_assert_uint_eq(guest_load64(b->r.device + 8 * index), 0x5067);
    b->r.device_reads = 0;
    b->r.m.exact = true;
    mmu_walk(&b->r.m, gva(b->linear), MMU_READ, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_RESTART);
    ck_assert_uint_eq(b->r.device_reads, 0);
    b->r.m.exact_point = true;
    mmu_walk(&b->r.m, gva(b->linear), MMU_READ, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_OK);
    ck_assert_uint_gt(b->r.device_reads, 0);
    mmu_walk_inspect(&b->r.m, gva(b->linear), MMU_READ, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_RESERVED); /* not asked: all ones */
    b->cases++;
    bench_destroy(b, "device");
}
END_TEST

START_TEST(a_table_that_refers_to_itself_is_walked_level_by_level)
{
    struct bench *b = bench_create(1);
    struct oracle_cpu cpu;
    struct oracle_answer a;
    struct mmu_walk w;

    /* One entry is PML4E, PDPTE, PDE and PTE at once. */
    set_path(b, &paths[4]);
    b->linear = (uint64_t)0xffff << 48 | (uint64_t)511 << 39 | (uint64_t)511 << 30 | 511 << 21 |
                511 << 12 | 0xff8;
    b->r.m.cr3 = 0x600000;
    rig_poke(&b->r, 0x600ff8, 0x600003);
    cpu = oracle_of(&b->r.m);
    a = oracle_access(&cpu, b->linear, ORACLE_STORE, ORACLE_SUPERVISOR);
    ck_assert_int_eq(a.end, ORACLE_TRANSLATED);
    mmu_walk(&b->r.m, gva(b->linear), MMU_WRITE, TLB_VIEW_SUPERVISOR, &w);
    ck_assert_ptr_null(walk_difference(&w, &a, true));
    ck_assert_uint_eq(w.gpa.v, 0x600ff8);
    ck_assert_uint_eq(rig_peek(&b->r, 0x600ff8), 0x600063);
    b->cases++;
    bench_destroy(b, "self reference");
}
END_TEST

START_TEST(setting_a_bit_in_a_watched_frame_is_announced)
{
    struct bench *b = bench_create(1);
    struct mmu_walk w;

    set_path(b, &paths[4]);
    put(b, 1, b->entry[1] & ~PTE_A);
    mmu_frame_watch(&b->r.m, mpa(b->at[1]), FRAME_WATCH_DIRTY);
    mmu_walk(&b->r.m, gva(b->linear), MMU_READ, TLB_VIEW_USER, &w);
    ck_assert_uint_eq(atomic_load(&machine_memory_frame(b->r.memory, mpa(b->at[1]))->watch), 0);
    b->cases++;
    bench_destroy(b, "watched table");
}
END_TEST

/* --- PDPTE registers --- */

START_TEST(pdptes_load_all_or_none)
{
    struct bench *b = bench_create(1);
    struct mmu_context *m = &b->r.m;

    select_mode(m, ORACLE_PAE);
    for (unsigned width = 36; width <= 52; width += 4)
        for (unsigned slot = 0; slot < 4; slot++)
            for (unsigned bit = 0; bit < 64; bit++)
                for (unsigned present = 0; present < 2; present++) {
                    uint64_t table[4] = {0x1001, 0x2001, 0x3001, 0x4001};
                    struct oracle_cpu cpu;
                    bool loaded;

                    m->physical_bits = (uint8_t)width;
                    cpu = oracle_of(m);
                    table[slot] = (table[slot] & ~(uint64_t)1) | present | (uint64_t)1 << bit;
                    for (unsigned i = 0; i < 4; i++) {
                        rig_poke(&b->r, 0x7fe0 + 8 * i, table[i]);
                        m->pdpte[i] = i;
                    }
                    loaded = mmu_load_pdptes(m, 0x7fe0 | 0x18);
                    ck_assert_int_eq(loaded, oracle_pdptes_loadable(&cpu, table));
                    for (unsigned i = 0; i < 4; i++)
                        ck_assert_uint_eq(m->pdpte[i], loaded ? table[i] : i);
                    b->cases++;
                }
    bench_destroy(b, "PDPTE registers");
}
END_TEST

static char *report(struct bench *b, enum mmu_access access)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct mmu_walk w;

    mmu_walk(&b->r.m, gva(b->linear), access, TLB_VIEW_USER, &w);
    mmu_walk_print(out, &w);
    fclose(out);
    b->cases++;
    return text;
}

START_TEST(a_report_names_every_level)
{
    struct bench *b = bench_create(1);
    char *text;

    set_path(b, &paths[4]);
    put(b, 1, 0x1c0000027);
    text = report(b, MMU_READ);
    ck_assert_str_eq(text, "read of 0x7654acdef101, user, paging 4-level: translated\n"
                           "  level 4 at 0x0000600760: 0000000000400027 uwx P A\n"
                           "  level 3 at 0x0000400a90: 0000000000000027 uwx P A\n"
                           "  level 2 at 0x0000000b30: 0000000000200027 uwx P A\n"
                           "  level 1 at 0x0000200f78: 00000001c0000027 uwx P A\n"
                           "  physical 0x1c0000101, page of 4 KiB, uwx, key 0\n");
    free(text);
    b->r.m.cr4 |= CR4_PGE;
    b->r.m.efer |= EFER_NXE;
    put(b, 2, 0x80000001c00001e5 | (uint64_t)9 << 59);
    text = report(b, MMU_WRITE);
    ck_assert_str_eq(text,
                     "write of 0x7654acdef101, user, paging 4-level: access denied, error code "
                     "0x7\n"
                     "  level 4 at 0x0000600760: 0000000000400027 uwx P A\n"
                     "  level 3 at 0x0000400a90: 0000000000000027 uwx P A\n"
                     "  level 2 at 0x0000000b30: c8000001c00001e5 u-- P A D\n"
                     "  physical 0x1c01ef101, page of 2048 KiB, u-- global, key 9\n");
    free(text);
    put(b, 3, RIG_ROM | 1);
    text = report(b, MMU_READ);
    ck_assert_str_eq(text, "read of 0x7654acdef101, user, paging 4-level: not present, error code "
                           "0x4\n"
                           "  level 4 at 0x0000600760: 0000000000400027 uwx P A\n"
                           "  level 3 at 0x0000400a90: 0000000002000001 --x P\n"
                           "  level 2 at 0x0002000b30: 0000000000000000 --x (ROM)\n");
    free(text);
    bench_destroy(b, "report");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("walk places");

    tcase_add_test(tc, each_entry_is_selected_by_its_own_bits_of_the_address);
    tcase_add_test(tc, the_root_is_where_the_address_bits_of_cr3_say);
    tcase_add_test(tc, an_address_is_canonical_by_the_width_of_the_mode);
    tcase_add_test(tc, without_paging_an_address_is_its_own);
    tcase_add_test(tc, the_a20_gate_masks_tables_and_pages);
    tcase_add_test(tc, an_inspection_gives_the_same_answer_and_leaves_no_trace);
    tcase_add_test(tc, tables_in_rom_keep_their_bits_and_do_not_loop);
    tcase_add_test(tc, tables_in_a_device_are_read_there_and_only_at_an_exact_point);
    tcase_add_test(tc, a_table_that_refers_to_itself_is_walked_level_by_level);
    tcase_add_test(tc, setting_a_bit_in_a_watched_frame_is_announced);
    tcase_add_test(tc, pdptes_load_all_or_none);
    tcase_add_test(tc, a_report_names_every_level);
    return run_suite("walk places", tc);
}
